"""Rigs: small files with the real keys, kinematics by hand, and the way to and from the T-pose."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from reference_encoder.content import ContentError, Motion, Rig
from reference_encoder.float_model import forward_kinematics, joint_matrices, rotation_matrix, skin_points
from reference_encoder.retarget import match_expressions, retarget, t_pose, t_pose_rotations
from reference_encoder.rigs import BodyMesh, load_rig
from reference_encoder.skeletons import SMPLX_JOINTS, leg_length, smplx_names, smplx_skeleton

CHAIN = Rig(("a", "b"), np.array([-1, 0]), np.array([[0.0, 1.0, 0.0], [0.0, 3.0, 0.0]]))


def makehuman(**changes):
    """A mesh of one quad and a helper vertex that targets reach but the body does not have."""
    arrays = {
        "joint_names": np.array(["Root", "pelvis"]),
        "parents": np.array([-1, 0]),
        "quads": np.array([[0, 1, 2, 3]], dtype=np.int32),
        "uv_quads": np.array([[3, 2, 1, 0]], dtype=np.int32),
        "uv": np.zeros((4, 2), dtype=np.float32),
        "lbs_indices": np.array([[0, 1]] * 4, dtype=np.uint8),
        "lbs_weights": np.array([[0.25, 0.75]] * 4, dtype=np.float32),
        "v_thin": np.arange(12, dtype=np.float32).reshape(4, 3),
        "joints_thin": np.array([[0, 0, 0], [0, 1, 0]], dtype=np.float32),
        "v_wide": np.ones((4, 3), dtype=np.float32),
        "joints_wide": np.array([[0, 0, 0], [0, 2, 0]], dtype=np.float32),
        "mh_expr_names": np.array(["smile", "frown"]),
        "mh_expr_ptr": np.array([0, 2, 3]),
        "mh_expr_idx": np.array([1, 4, 3], dtype=np.int32),
        "mh_expr_val": np.array([[0, 0, 1], [9, 9, 9], [2, 0, 0]], dtype=np.float32),
    }
    return arrays | changes


def save(path, arrays):
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_makehuman_file(tmp_path):
    mesh = load_rig(save(tmp_path / "body.npz", makehuman()))
    assert (mesh.rig.names, mesh.rig.family, mesh.shapes) == (
        ("Root", "pelvis"),
        "makehuman53",
        ("thin", "wide"),
    )
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.uv_faces.tolist() == [[3, 2, 1], [3, 1, 0]]
    assert (mesh.skin_joints[0].tolist(), mesh.skin_weights[0].tolist()) == ([1, 0], [0.75, 0.25])
    assert mesh.expression_names == ("smile", "frown")
    assert np.argwhere(mesh.expressions).tolist() == [[0, 1, 2], [1, 3, 0]]


def test_shape_and_influences_are_chosen(tmp_path):
    mesh = load_rig(save(tmp_path / "body.npz", makehuman()), shape="wide", influences=1)
    np.testing.assert_array_equal(mesh.rig.joints[1], [0, 2, 0])
    assert (mesh.skin_joints.tolist(), mesh.skin_weights.tolist()) == ([[1]] * 4, [[1.0]] * 4)


def test_arkit_targets_replace_the_expressions(tmp_path):
    targets = {
        "arkit_names": np.array(["jawOpen"]),
        "arkit_ptr": np.array([0, 1]),
        "arkit_idx": np.array([2]),
        "arkit_val": np.array([[0, -1, 0]]),
    }
    body = save(tmp_path / "body.npz", makehuman())
    mesh = load_rig(body, arkit=save(tmp_path / "arkit.npz", targets))
    assert mesh.expression_names == ("jawOpen",)
    np.testing.assert_array_equal(mesh.expressions[0, 2], [0, -1, 0])


def test_soma_file(tmp_path):
    transforms = np.tile(np.eye(4), (3, 1, 1))
    transforms[:, 1, 3] = [1.0, 1.5, 0.5]
    arrays = {
        "bind_vertices": np.zeros((3, 3)),
        "faces": np.array([[0, 1, 2]]),
        "bind_rig_transform": transforms,
        "rig_joint_names": np.array(["Hips", "Spine1", "LeftLeg"]),
        "lbs_indices": np.array([[0], [1], [2]]),
        "lbs_weights": np.ones((3, 1)),
        "rig_joint_connections": np.array([[0, 1], [0, 2]]),
    }
    mesh = load_rig(save(tmp_path / "soma.npz", arrays))
    assert mesh.rig.parents.tolist() == [-1, 0, 0]
    np.testing.assert_array_equal(mesh.rig.joints[:, 1], [1.0, 1.5, 0.5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quads": None}, "no array 'quads'"),
        ({"lbs_indices": None}, "neither a MakeHuman body nor"),
        ({"lbs_weights": np.zeros((4, 2))}, "vertex 0 hangs on no joint"),
        ({"lbs_indices": np.full((4, 2), 7)}, r"skin joint index is outside \[0, 2\)"),
        ({"quads": np.array([[0, 1, 2, 4]])}, r"face index is outside \[0, 4\)"),
        ({"parents": np.array([1, -1])}, "joint Root has parent 1"),
        ({"v_thin": np.full((4, 3), np.nan)}, "not finite"),
        ({"mh_expr_ptr": np.array([0, 3])}, "mh_expr arrays do not fit"),
        ({"joints_thin": None, "joints_wide": None}, "no body shape"),
        ({"lbs_weights": np.ones((4, 1))}, r"\(4, 2\) joints for \(4, 1\) weights"),
        ({"quads": np.zeros((2, 3), dtype=int)}, "do not fit together"),
    ],
)
def test_unusable_rig_is_one_clear_line(tmp_path, changes, message):
    with pytest.raises(ContentError, match=message) as raised:
        load_rig(save(tmp_path / "body.npz", makehuman(**changes)))
    assert "\n" not in str(raised.value)


def test_unknown_shape_names_those_there_are(tmp_path):
    with pytest.raises(ContentError, match="no body shape 'tall', only thin, wide"):
        load_rig(save(tmp_path / "body.npz", makehuman()), shape="tall")


def test_rotation_matrix_by_hand():
    quarter = rotation_matrix(np.array([[0, 0, np.pi / 2], [0, 0, 0], [0, -2 * np.pi, 0]]))
    np.testing.assert_allclose(quarter[0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15)
    np.testing.assert_allclose(quarter[1:], [np.eye(3)] * 2, atol=1e-15)


def test_kinematics_of_two_bones_by_hand():
    rotations = np.array([[0, 0, np.pi / 2], [0, 0, np.pi / 2]])
    matrices = forward_kinematics(CHAIN, rotations, np.array([10.0, 0.0, 0.0]))
    # The root bone, 2 long, falls to -x from (10, 1); the tip 1 beyond b then points down.
    np.testing.assert_allclose(skin(matrices[1], [0, 3, 0]), [8, 1, 0], atol=1e-12)
    np.testing.assert_allclose(skin(matrices[1], [0, 4, 0]), [8, 0, 0], atol=1e-12)
    np.testing.assert_allclose(skin(matrices[0], [0, 1, 0]), [10, 1, 0], atol=1e-12)


def skin(matrix, point):
    return matrix[:, :3] @ point + matrix[:, 3]


def test_kinematics_keeps_leading_axes():
    frames = np.random.default_rng(0).normal(size=(5, 2, 3))
    together = forward_kinematics(CHAIN, frames, np.zeros((5, 3)))
    np.testing.assert_allclose(together[3], forward_kinematics(CHAIN, frames[3], np.zeros(3)), atol=1e-12)


def test_skinning_blends_by_hand():
    matrices = forward_kinematics(CHAIN, np.array([[0, 0, 0], [0, 0, np.pi / 2]]), np.zeros(3))
    joints, weights = np.array([[0, 1]]), np.array([[0.5, 0.5]])
    # Left behind at (0, 4) by a, taken to (-1, 3) by b: half of each.
    posed = skin_points(np.array([[0.0, 4.0, 0.0]]), joints, weights, matrices)
    np.testing.assert_allclose(posed, [[-0.5, 3.5, 0]], atol=1e-12)


def a_pose():
    """The SMPL-X-like skeleton with MakeHuman's names, arms hanging 45 degrees and legs apart."""
    base = smplx_skeleton()
    turns = np.zeros((55, 3))
    for side, sign in (("left", 1), ("right", -1)):
        turns[base.names.index(f"{side}_shoulder"), 2] = -sign * np.pi / 4
        turns[base.names.index(f"{side}_elbow"), 1] = -sign * 0.5
        turns[base.names.index(f"{side}_hip"), 2] = sign * 0.1
    joints = joint_matrices(base, turns, np.array([0, 0.95, 0]))[..., 3]
    return Rig(tuple(map(makehuman_name, base.names)), base.parents, joints)


def makehuman_name(name):
    side, _, part = name.rpartition("_")
    parts = {"hip": "thigh", "knee": "calf", "ankle": "foot", "foot": "ball", "collar": "clavicle"}
    parts |= {"shoulder": "upperarm", "elbow": "lowerarm", "wrist": "hand", "neck": "neck_01"}
    part = parts.get(part, part)
    part = f"{part[:-1]}_0{part[-1]}" if part[-1] in "123" and part != "neck_01" else part
    return f"{part}_{side[0]}" if side else part


def bone(joints, names, start, end):
    index = smplx_names(names)
    step = joints[..., index[end], :] - joints[..., index[start], :]
    return step / np.linalg.norm(step, axis=-1, keepdims=True)


def test_names_are_known_across_conventions():
    assert smplx_names(a_pose().names)["left_ankle"] == 7  # foot_l, not SMPL-X's left_foot
    assert smplx_names(("Hips", "LeftUpLeg", "LeftLeg", "LeftFoot"))["left_knee"] == 2
    assert smplx_names(("Hips", "Spine1", "Spine2", "Chest", "LeftLeg", "LeftShin"))["left_knee"] == 5
    assert smplx_names(("Hips", "LeftHip", "LeftKnee", "LeftAnkle"))["left_hip"] == 1
    assert smplx_names(SMPLX_JOINTS) == {name: j for j, name in enumerate(SMPLX_JOINTS)}


def test_leg_length_is_thigh_and_shin():
    expected = np.linalg.norm([0.04, 0.38, 0]) + np.linalg.norm([0.01, 0.40, 0.03])
    assert leg_length(smplx_skeleton()) == pytest.approx(expected)
    assert leg_length(CHAIN) is None


def test_t_pose_straightens_arms_and_legs():
    rig = a_pose()
    vertices = rig.joints.copy()  # a vertex at each joint, which must go where the joint goes
    mesh = BodyMesh(rig, vertices, np.zeros((0, 3), int), np.arange(55)[:, None], np.ones((55, 1)))
    straight = t_pose(mesh)
    joints, names = straight.rig.joints, rig.names
    np.testing.assert_allclose(straight.vertices, joints, atol=1e-12)
    np.testing.assert_allclose(bone(joints, names, "left_shoulder", "left_elbow"), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(bone(joints, names, "right_elbow", "right_wrist"), [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(bone(joints, names, "right_hip", "right_knee"), [0, -1, 0], atol=1e-12)
    for side in ("left", "right"):
        knuckles = bone(joints, names, f"{side}_pinky1", f"{side}_index1")
        np.testing.assert_allclose(knuckles[1], 0, atol=1e-12)
        assert knuckles[2] > 0.9  # palms down: the index finger is in front
        foot = bone(vertices, names, f"{side}_ankle", f"{side}_foot")  # as flat on the floor as before
        np.testing.assert_allclose(bone(joints, names, f"{side}_ankle", f"{side}_foot"), foot, atol=1e-12)
    assert joints[:, 1].min() == pytest.approx(vertices[:, 1].min())
    again = t_pose_rotations(straight.rig)
    np.testing.assert_allclose(again, np.tile(np.eye(3), (55, 1, 1)), atol=1e-7)


def test_t_pose_turns_expressions_with_the_skin():
    rig = a_pose()
    arm = np.array([[rig.names.index("upperarm_l")]])
    mesh = BodyMesh(rig, rig.joints[arm[0]], np.zeros((0, 3), int), arm, np.ones((1, 1)), ("flex",))
    mesh = replace(mesh, expressions=np.array([[[0.0, 0.0, 0.5]]]))
    turn = t_pose_rotations(rig)[arm[0, 0]]
    np.testing.assert_allclose(t_pose(mesh).expressions[0, 0], turn @ [0, 0, 0.5], atol=1e-12)


def random_motion(seed=3, frames=6):
    turns = np.random.default_rng(seed).normal(size=(frames, 55, 3)) * 0.5
    return Motion(turns, np.zeros((frames, 3)), np.zeros((frames, 0)), Fraction(30), SMPLX_JOINTS)


@pytest.mark.parametrize("posed", [False, True])
def test_limbs_point_the_same_way_on_either_rest_pose(posed):
    motion, rig = random_motion(), a_pose()
    if posed:
        mesh = BodyMesh(rig, rig.joints, np.zeros((0, 3), int), np.arange(55)[:, None], np.ones((55, 1)))
        rig = t_pose(mesh).rig
    moved = retarget(motion, rig)
    joints = joint_matrices(rig, moved.rotations, moved.translations)[..., 3]
    world = joint_matrices(smplx_skeleton(), motion.rotations, motion.translations)[..., :3]
    for start, end, rest in (
        ("left_shoulder", "left_elbow", (1, 0, 0)),
        ("right_elbow", "right_wrist", (-1, 0, 0)),
        ("right_hip", "right_knee", (0, -1, 0)),
        ("left_knee", "left_ankle", (0, -1, 0)),
    ):
        expected = world[:, SMPLX_JOINTS.index(start)] @ rest
        np.testing.assert_allclose(bone(joints, rig.names, start, end), expected, atol=1e-9)


def test_retargeting_to_the_same_skeleton_changes_nothing():
    motion = replace(random_motion(), translations=np.full((6, 3), 0.3))
    same = retarget(motion, smplx_skeleton(), ground=False)
    np.testing.assert_allclose(rotation_matrix(same.rotations), rotation_matrix(motion.rotations), atol=1e-12)
    np.testing.assert_allclose(same.translations, motion.translations)


def test_retargeting_puts_the_standing_feet_on_the_floor():
    still = replace(random_motion(), rotations=np.zeros((6, 55, 3)), translations=np.full((6, 3), 0.9))
    moved = retarget(still, smplx_skeleton())
    np.testing.assert_allclose(moved.translations, [[0.9, 0, 0.9]] * 6, atol=1e-12)


def test_a_face_track_turns_the_head_alone():
    turns = np.array([[[0.0, 0.3, 0.0]]])
    track = Motion(turns, np.zeros((1, 3)), np.array([[0.7]]), Fraction(30), ("head",), ("jawOpen",))
    moved = retarget(track, smplx_skeleton())
    assert np.argwhere(np.abs(moved.rotations) > 1e-12).tolist() == [[0, SMPLX_JOINTS.index("head"), 1]]
    assert moved.expressions.tolist() == [[0.7]]
    flame = Rig(("root", "neck"), np.array([-1, 0]), np.zeros((2, 3)))
    driven = retarget(track, flame, names={"neck": "head"})
    np.testing.assert_allclose(driven.rotations[0, 1], [0, 0.3, 0], atol=1e-12)


def test_joints_that_cannot_be_matched_are_an_error():
    motion = replace(random_motion(), joint_names=("nobody", *SMPLX_JOINTS[1:]))
    with pytest.raises(ContentError, match="joint 'nobody' is no SMPL-X name"):
        retarget(motion, smplx_skeleton())
    with pytest.raises(ContentError, match="none of its joints"):
        retarget(random_motion(), CHAIN)
    with pytest.raises(ContentError, match="55 joints, its skeleton has 2"):
        retarget(random_motion(), smplx_skeleton(), source=CHAIN)
    with pytest.raises(ContentError, match="cannot drive joint 'tail'"):
        retarget(random_motion(), smplx_skeleton(), names={"tail": "head"})


def test_expressions_are_matched_by_name():
    names = ("smile", "jawOpen")
    track = replace(random_motion(frames=1), expressions=np.array([[0.2, 0.7]]), expression_names=names)
    matched = match_expressions(track, ("jawOpen", "blink", "smile"))
    assert matched.expressions.tolist() == [[0.7, 0.0, 0.2]]
    assert matched.expression_names == ("jawOpen", "blink", "smile")
    assert match_expressions(random_motion(), ("blink",)).expressions.tolist() == [[0.0]] * 6
    with pytest.raises(ContentError, match="none of its 2 expressions is among the avatar's 1"):
        match_expressions(track, ("blink",))
