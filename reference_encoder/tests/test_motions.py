"""Motions: hand-made files, turns across 360 degrees, and rates."""

import gzip
import json
from fractions import Fraction

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from reference_encoder.content import ContentError, Motion
from reference_encoder.motions import decimate, frame_rate, load_bvh, load_motion, resample, unwrap
from reference_encoder.skeletons import SMPL_JOINTS, SMPLH_JOINTS, SMPLX_JOINTS, smplx_skeleton

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 1 2 3
  CHANNELS 6 Xposition Zposition Yposition Yrotation Xrotation Zrotation
  JOINT Chest
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0083333
0 0 0  0 0 0  0 0 0
4 6 5  90 0 0  0 90 90
"""


def write_amass(path, poses, **changes):
    arrays = {"poses": poses, "trans": np.zeros((len(poses), 3)), "mocap_frame_rate": 120.0} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def spin(degrees):
    """One joint that turns about z by each of the angles."""
    turns = np.zeros((len(degrees), 1, 3))
    turns[:, 0, 2] = np.radians(degrees)
    return turns


def test_unwrap_goes_on_across_half_a_turn():
    turned = unwrap(spin([170, 179, -172, -150]))  # that is 170, 179, 188, 210
    np.testing.assert_allclose(np.degrees(turned[:, 0, 2]), [170, 179, 188, 210])


def test_unwrap_jumps_back_only_beyond_a_full_turn():
    turned = unwrap(spin([120, -120, -10, 10, 20]))  # 120, 240, 350, then 370 is out of range
    np.testing.assert_allclose(np.degrees(turned[:, 0, 2]), [120, 240, 350, 10, 20], atol=1e-9)


def test_unwrap_keeps_the_axis_where_the_angle_is_nothing():
    turned = unwrap(spin([120, -120, -10, 0, -15]))
    np.testing.assert_allclose(np.degrees(turned[:, 0, 2]), [120, 240, 350, 360, 345], atol=1e-9)


def test_unwrap_brings_long_vectors_inside_and_starts_short():
    turned = unwrap(spin([720 + 200, 190]))
    np.testing.assert_allclose(np.degrees(turned[:, 0, 2]), [-160, -170])


def test_unwrap_keeps_every_rotation():
    random = np.random.default_rng(1)
    turns = random.normal(size=(40, 3, 3)) * 3
    turned = unwrap(turns)
    assert np.linalg.norm(turned, axis=-1).max() <= 2 * np.pi + 1e-12
    same = Rotation.from_rotvec(turned.reshape(-1, 3)) * Rotation.from_rotvec(turns.reshape(-1, 3)).inv()
    assert same.magnitude().max() < 1e-9


def clip(frames, fps):
    steps = np.arange(frames, dtype=np.float64)
    turns = np.zeros((frames, 1, 3))
    turns[:, 0, 1] = 0.1 * steps
    return Motion(turns, np.outer(steps, (1, 2, 3)), steps[:, None], Fraction(fps), ("pelvis",), ("smile",))


def test_resample_by_a_whole_ratio_keeps_the_very_frames():
    motion = clip(10, 120)
    kept = resample(motion, Fraction(30))
    assert kept.fps == 30
    np.testing.assert_array_equal(kept.translations[:, 0], [0, 4, 8])
    np.testing.assert_array_equal(kept.rotations, motion.rotations[[0, 4, 8]])
    np.testing.assert_array_equal(kept.expressions[:, 0], [0, 4, 8])


def test_resample_between_frames_is_halfway():
    between = resample(clip(3, 30), Fraction(60))
    assert between.count == 5
    np.testing.assert_allclose(between.rotations[:, 0, 1], [0, 0.05, 0.1, 0.15, 0.2], atol=1e-12)
    np.testing.assert_allclose(between.translations[1], [0.5, 1, 1.5])
    np.testing.assert_allclose(between.expressions[:, 0], [0, 0.5, 1, 1.5, 2])


def test_resample_stops_at_the_last_frame():
    assert resample(clip(10, 24), Fraction(30)).count == 12  # 9/24 s hold 11.25 steps of 1/30 s


def test_decimate_divides_the_exact_rate():
    assert decimate(clip(9, Fraction(120000, 1001)), 4).fps == Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (120.00048, 120),
        (119.87533, Fraction(120000, 1001)),
        (1 / 0.03333, 30),
        (29.97, Fraction(30000, 1001)),
    ],
)
def test_frame_rate_is_the_one_that_was_meant(rate, exact):
    assert frame_rate(rate, "clip") == exact


def test_smplx_names_stand_where_the_arrays_have_them():
    assert len(SMPLX_JOINTS) == len(set(SMPLX_JOINTS)) == 55
    assert (len(SMPLH_JOINTS), len(SMPL_JOINTS)) == (52, 24)
    assert [SMPLX_JOINTS.index(n) for n in ("head", "jaw", "left_index1", "right_index1")] == [15, 22, 25, 40]
    skeleton = smplx_skeleton()
    parents = {name: skeleton.names[p] for name, p in zip(skeleton.names, skeleton.parents, strict=True)}
    assert parents["right_thumb1"] == "right_wrist"
    assert parents["left_pinky3"] == "left_pinky2"
    assert parents["left_elbow"] == "left_shoulder"
    np.testing.assert_allclose(skeleton.joints[4], [0.10, -0.47, 0])  # left knee


def test_amass_file(tmp_path):
    poses = np.zeros((2, 165), dtype=np.float32)
    poses[1, 3 * 22 + 0] = 0.25  # jaw
    motion = load_motion(write_amass(tmp_path / "a.npz", poses, trans=np.array([[0, 1, 0], [0, 1, 2]])))
    assert (motion.fps, motion.joint_names, motion.expressions.shape) == (120, SMPLX_JOINTS, (2, 0))
    np.testing.assert_array_equal(motion.rotations[1, 22], [0.25, 0, 0])
    np.testing.assert_array_equal(motion.translations[1], [0, 1, 2])


def test_smplh_file_gets_a_still_jaw_and_eyes(tmp_path):
    poses = np.zeros((1, 156))
    poses[0, 3 * 22] = 0.5  # left index in SMPL-H
    rotations = load_motion(write_amass(tmp_path / "h.npz", poses)).rotations
    assert rotations.shape == (1, 55, 3)
    assert np.argwhere(rotations).tolist() == [[0, 25, 0]]


def test_z_up_file_is_turned_to_y_up(tmp_path):
    poses = np.zeros((1, 72))
    poses[0, 0] = np.pi / 2  # how a body made for y up stands in a world with z up
    file = write_amass(tmp_path / "z.npz", poses, trans=np.array([[1, 2, 3]]))
    motion = load_motion(file, up="z")
    np.testing.assert_allclose(motion.rotations[0, 0], 0, atol=1e-12)
    np.testing.assert_allclose(motion.translations[0], [1, 3, -2], atol=1e-12)


def test_single_pose(tmp_path):
    np.save(tmp_path / "pose.npy", np.full(165, 0.1))
    assert load_motion(tmp_path / "pose.npy").rotations.shape == (1, 55, 3)


@pytest.mark.parametrize(
    ("poses", "changes", "message"),
    [
        (np.zeros((2, 165)), {"mocap_frame_rate": None}, "no array 'mocap_frame_rate'"),
        (np.zeros((2, 165)), {"trans": None}, "no array 'trans'"),
        (np.zeros((2, 165)), {"trans": np.zeros((1, 3))}, r"trans of shape \(1, 3\)"),
        (np.zeros((2, 165)), {"mocap_frame_rate": 0.0}, "frame rate 0.0"),
        (np.zeros((2, 165)), {"mocap_frame_rate": [1.0, 2.0]}, "has 2 values"),
        (np.zeros((0, 165)), {}, "no frames"),
        (np.zeros((2, 164)), {}, r"shape \(2, 164\)"),
        (np.full((2, 165), np.nan), {}, "rotations of frame 0 are not finite"),
        (np.full((2, 165), "x"), {}, "array 'poses' is of"),
    ],
)
def test_unusable_amass_file_is_one_clear_line(tmp_path, poses, changes, message):
    file = write_amass(tmp_path / "clip.npz", poses, **changes)
    with pytest.raises(ContentError, match=f"^clip.npz: .*{message}") as raised:
        load_motion(file)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.bvh", "x.json", "x.json.gz", "x.txt"])
def test_rubbish_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x93rubbish\xff\x00")
    with pytest.raises(ContentError, match=f"^{name}: "):
        load_motion(tmp_path / name)


def test_bvh_of_two_joints(tmp_path):
    (tmp_path / "clip.bvh").write_text(BVH)
    motion, rig = load_bvh(tmp_path / "clip.bvh", scale=0.01)
    assert (rig.names, rig.parents.tolist(), motion.fps) == (("Hips", "Chest"), [-1, 0], 120)
    np.testing.assert_allclose(rig.joints, [[0.01, 0.02, 0.03], [0.01, 0.12, 0.03]])
    np.testing.assert_allclose(motion.translations, [[0, 0, 0], [0.04, 0.05, 0.06]])
    np.testing.assert_allclose(motion.rotations[1, 0], [0, np.pi / 2, 0], atol=1e-12)
    # Rx(90) Ry(90) takes x to y, y to z and z to x: a third of a turn about the diagonal.
    third = np.full(3, 2 * np.pi / 3 / np.sqrt(3))
    np.testing.assert_allclose(motion.rotations[1, 1], third, atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Frames: 2", "Frames: 3", "18 channel values, 3 frames of 9 expected"),
        ("Frames: 2", "Frames: 0", "0 frames"),
        ("Frame Time: 0.0083333", "Frame Time: 0", "frames of 0.0 s"),
        ("Xrotation Zrotation", "Xrotation Wrotation", "unknown channel 'Wrotation'"),
        ("OFFSET 0 10 0", "OFFSET 0 ten 0", "a number expected, 'ten' found"),
        ("90 0 0  0 90 90", "90 0 0  0 90 nan", "a number is not finite"),
        ("CHANNELS 3 Zrotation", "CHANNELS 3 Zposition", "joint Chest moves"),
        ("MOTION", "", "'frames:' has no place"),
    ],
)
def test_damaged_bvh_is_one_clear_line(tmp_path, old, new, message):
    text = BVH.replace("4 6 5  90 0 0  0 90 90", "4 6 5  90 0 0  9 90 90") if "position" in new else BVH
    (tmp_path / "clip.bvh").write_text(text.replace(old, new))
    with pytest.raises(ContentError, match=f"^clip.bvh: .*({message})"):
        load_motion(tmp_path / "clip.bvh", scale=0.01)


def test_bvh_without_known_legs_needs_a_scale(tmp_path):
    (tmp_path / "clip.bvh").write_text(BVH)
    with pytest.raises(ContentError, match="state metres per unit"):
        load_motion(tmp_path / "clip.bvh")


def write_track(path, **changes):
    frames = [{"weights": [0.5, 0.0], "time": i / 30, "rotation": []} for i in range(3)]
    track = {"names": ["jawOpen", "mouthLeft"], "frames": frames, "head_pose": [[0, 0.1, 0]] * 3} | changes
    with gzip.open(path, "wt") as file:
        json.dump(track, file)
    return path


def test_arkit_track(tmp_path):
    motion = load_motion(write_track(tmp_path / "face.json.gz"))
    assert (motion.fps, motion.joint_names) == (30, ("head",))
    assert motion.expression_names == ("jawOpen", "mouthLeft")
    np.testing.assert_array_equal(motion.expressions, [[0.5, 0]] * 3)
    np.testing.assert_array_equal(motion.rotations[:, 0], [[0, 0.1, 0]] * 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": [{"weights": [1], "time": 0}]}, "frame 0 has 1 weights, 2 expected"),
        ({"frames": [{"weights": [1, 2]}]}, "needs 'time'"),
        ({"frames": [{"weights": [1, "x"], "time": 0}]}, "not an ARKit track"),
        ({"head_pose": [[0, 0, 0]]}, r"head_pose of shape \(1, 3\)"),
        ({"frames": [{"weights": [1, 2], "time": 0}] * 3}, "times do not increase"),
        ({"frames": []}, "no frames|head_pose"),
    ],
)
def test_unusable_arkit_track_is_one_clear_line(tmp_path, changes, message):
    with pytest.raises(ContentError, match=message):
        load_motion(write_track(tmp_path / "face.json.gz", **changes))
