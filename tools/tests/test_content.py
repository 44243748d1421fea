"""The content that ships: complete, finite, repeatable, and seen whole by its cameras."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import tools.content as content
from reference_encoder.avatar_file import load_avatar, save_avatar
from reference_encoder.content import Avatar, ContentError, Motion
from reference_encoder.float_model import forward_kinematics, skin_points
from reference_encoder.splat_transform import sh_basis
from tools.content.body import body_rig, make_body
from tools.content.light import KEY, irradiance, shine
from tools.content.surface import noise, relax, scatter, smooth, spread, step, vertex_normals


@pytest.fixture(scope="session")
def body() -> Avatar:
    return content.body_avatar()


def _digest(avatar: Avatar) -> str:
    digest, splat = hashlib.sha256(), avatar.gaussians
    for array in (
        splat.positions,
        splat.rotations,
        splat.scales,
        splat.opacities,
        splat.sh,
        avatar.skin_weights,
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(avatar.skin_joints.tobytes() + avatar.expressions.tobytes())
    return digest.hexdigest()


def _check(avatar: Avatar) -> None:
    splat, count = avatar.gaussians, avatar.gaussians.count
    arrays = (splat.positions, splat.rotations, splat.scales, splat.opacities, splat.sh, avatar.expressions)
    assert all(np.isfinite(array).all() for array in arrays)
    np.testing.assert_allclose(np.linalg.norm(splat.rotations, axis=1), 1, atol=1e-9)
    assert (splat.scales > 0).all() and (splat.scales < 0.1).all()
    assert avatar.skin_joints.shape == avatar.skin_weights.shape
    assert avatar.skin_joints.min() >= 0 and avatar.skin_joints.max() < avatar.rig.count
    np.testing.assert_allclose(avatar.skin_weights.sum(axis=1), 1, atol=1e-9)
    assert avatar.expressions.shape == (len(avatar.expression_names), count, 3)


def test_body(body):
    _check(body)
    assert body.gaussians.count == 64_000 and body.gaussians.sh_degree == 1
    assert (body.rig.count, body.rig.family, body.skin_weights.shape[1]) == (53, "makehuman53", 4)
    assert len(body.expression_names) == 52
    low, high = body.gaussians.positions.min(axis=0), body.gaussians.positions.max(axis=0)
    assert abs(low[1]) < 0.002 and 1.7 < high[1] < 1.9  # stands on the floor
    assert high[0] - low[0] > 1.7  # arms out
    np.testing.assert_array_equal(body.rig.joints, body_rig().joints)


def test_body_is_left_right_balanced(body):
    left = (body.gaussians.positions[:, 0] > 0).mean()
    assert 0.48 < left < 0.52


def test_expressions_move_the_face_only(body):
    moved = np.linalg.norm(body.expressions, axis=2).max(axis=0) > 1e-4
    assert moved.sum() > 8000
    assert body.gaussians.positions[moved, 1].min() > 1.35
    jaw = body.expressions[body.expression_names.index("jawOpen")]
    assert jaw[:, 1].min() < -0.02


def test_body_repeats_itself():
    small = make_body(count=12_000)
    assert small.gaussians.count == 12_000
    assert _digest(small) == _digest(make_body(count=12_000))


def test_body_refuses_sizes_it_cannot_make():
    with pytest.raises(ContentError, match="body: 99 Gaussians"):
        make_body(count=99)
    with pytest.raises(ContentError, match="SH degree 4"):
        make_body(sh_degree=4)


def test_body_through_a_file(body, tmp_path):
    save_avatar(tmp_path / "body.npz", body)
    loaded = load_avatar(tmp_path / "body.npz")
    np.testing.assert_array_equal(loaded.gaussians.positions, body.gaussians.positions.astype(np.float32))
    np.testing.assert_allclose(loaded.expressions, body.expressions, atol=1e-7)


def test_head():
    head = content.head_avatar()
    _check(head)
    assert head.gaussians.count == 20_018 and len(head.expression_names) == 51


@pytest.mark.parametrize(("name", "frames"), [("walk", 131), ("run", 44), ("cartwheel", 144), ("wave", 210)])
def test_clips(name, frames):
    motion = content.clip(name)
    assert motion.count == frames and motion.fps == 30
    assert motion.joint_names == body_rig().names and motion.expressions.shape == (frames, 0)
    np.testing.assert_allclose(motion.translations[0, [0, 2]], 0, atol=1e-9)
    facing = forward_kinematics(body_rig(), motion.rotations[0], np.zeros(3))[1, :, :3] @ [0, 0, 1]
    assert abs(facing[0]) < 1e-6 and facing[2] > 0.5


def test_unknown_clip():
    with pytest.raises(ContentError, match="'swim' is not one of walk"):
        content.clip("swim")


def test_feet_of_the_walk_meet_the_floor(body):
    motion, shoes = content.clip("walk"), body.gaussians.positions[:, 1] < 0.08
    lowest = []
    for frame in range(0, motion.count, 10):
        matrices = forward_kinematics(body.rig, motion.rotations[frame], motion.translations[frame])
        posed = skin_points(
            body.gaussians.positions[shoes], body.skin_joints[shoes], body.skin_weights[shoes], matrices
        )
        lowest.append(posed[:, 1].min())
    assert min(lowest) > -0.06 and np.median(lowest) < 0.03


def test_head_track_is_for_the_head():
    head, track = content.head_avatar(), content.head_track()
    assert track.expression_names == head.expression_names and track.joint_names == head.rig.names
    assert track.rotations.shape == (973, head.rig.count, 3) and track.fps == 30
    turned = np.flatnonzero(np.abs(track.rotations).max(axis=(0, 2)))
    assert [head.rig.names[joint] for joint in turned] == ["neckUpper", "head"]
    assert track.expressions[:, head.expression_names.index("jawOpen")].max() > 0.2


def _pixels(camera, points):
    seen = points @ (np.asarray(camera.rotation, float) / 2**30).T + np.asarray(camera.translation) / 2**20
    assert (seen[:, 2] > 0.2).all()
    focal, principal = np.array(camera.focal) / 256, np.array(camera.principal) / 256
    return seen[:, :2] / seen[:, 2:] * focal + principal


def _inside(camera, points):
    pixels = _pixels(camera, points)
    return ((pixels > 0) & (pixels < [camera.width, camera.height])).all(axis=1).mean()


@pytest.mark.parametrize(("width", "height"), [(640, 640), (960, 540), (300, 800)])
@pytest.mark.parametrize("turn", [0.0, 0.35, np.pi])
def test_cameras_see_all(body, width, height, turn):
    camera = content.body_camera(width, height, turn=turn)
    assert _inside(camera, body.gaussians.positions) == 1
    assert np.ptp(_pixels(camera, body.gaussians.positions), axis=0).max() > 0.7 * min(width, height)
    assert (
        _inside(content.head_camera(width, height, turn=turn), content.head_avatar().gaussians.positions)
        > 0.97
    )


def _posed(body: Avatar, motion: Motion, frame: int) -> np.ndarray:
    matrices = forward_kinematics(body.rig, motion.rotations[frame], motion.translations[frame])
    return skin_points(body.gaussians.positions, body.skin_joints, body.skin_weights, matrices)


@pytest.mark.parametrize("name", ["walk", "cartwheel"])
def test_moving_cameras_see_all(body, name):
    motion = content.clip(name)
    for frame in (0, motion.count // 2, motion.count - 1):
        points = _posed(body, motion, frame)
        assert _inside(content.body_camera(640, 480, motion=motion), points) > 0.999
        assert _inside(content.body_camera(640, 480, motion=motion, frame=frame), points) > 0.999


def test_sources_name_every_file_and_every_licence_is_there():
    here = Path(content.__file__).parent
    text = (here / "SOURCES.md").read_text(encoding="utf-8")
    for file in (*(here / "data").iterdir(), *(here / "licences").iterdir()):
        assert file.name in text
    assert "FLAME" in text and "mocap.cs.cmu.edu" in text
    assert sum(file.stat().st_size for file in here.rglob("*") if file.is_file()) < 8_000_000


# A unit square in the plane z = 0, as two triangles.
SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])


def test_scattered_points_lie_on_the_mesh():
    samples = scatter(*SQUARE, 1000, np.random.default_rng(0))
    np.testing.assert_array_equal(vertex_normals(*SQUARE), np.tile([0.0, 0, 1], (4, 1)))
    np.testing.assert_allclose(samples.points[:, 2], 0)
    np.testing.assert_allclose(samples.carry(SQUARE[0]), samples.points)
    assert (samples.points[:, :2] >= 0).all() and (samples.points[:, :2] <= 1).all()
    assert abs((samples.points[:, 0] > samples.points[:, 1]).sum() - 500) <= 1  # half on each triangle


def test_spread_points_keep_their_distance_and_leave_no_room():
    points = scatter(*SQUARE, 2000, np.random.default_rng(0)).points
    kept = points[spread(points, 0.1, np.random.default_rng(1))]
    apart = np.linalg.norm(kept[:, None] - kept, axis=2)
    assert apart[~np.eye(len(kept), dtype=bool)].min() > 0.1
    assert np.linalg.norm(points[:, None] - kept, axis=2).min(axis=1).max() <= 0.1


def test_relaxing_evens_out_and_keeps_the_count():
    points = scatter(*SQUARE, 4000, np.random.default_rng(0)).points
    kept = np.random.default_rng(1).choice(4000, 100, replace=False)
    even = relax(points, kept, 8)
    assert len(np.unique(even)) == 100

    def worst(chosen):
        return np.linalg.norm(points[:, None] - points[chosen], axis=2).min(axis=1).max()

    assert worst(even) < 0.7 * worst(kept)


def test_smoothing_moves_to_the_neighbours():
    vertices, faces = SQUARE
    moved = smooth(vertices, faces, 1, held=np.array([False, True, True, True]))
    # Vertex 0 has the neighbours 1, 2 and 3, whose mean is (2/3, 2/3, 0); it goes half of the way.
    np.testing.assert_allclose(moved[0], [1 / 3, 1 / 3, 0])
    np.testing.assert_array_equal(moved[1:], vertices[1:])


def test_step_and_noise():
    np.testing.assert_allclose(step(1.0, 3.0, np.array([0.0, 1, 2, 3, 9])), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(step(3.0, 1.0, np.array([0.0, 2, 4])), [1, 0.5, 0])
    points = np.random.default_rng(0).uniform(-5, 5, (500, 3))
    values = noise(points, 0.5)
    assert np.abs(values).max() <= 1 and values.std() > 0.1
    assert np.abs(noise(points + 1e-6, 0.5) - values).max() < 1e-4


def test_light_is_blocked_by_what_is_before_it():
    flat = np.stack(np.meshgrid(np.linspace(-0.3, 0.3, 121), np.linspace(-0.3, 0.3, 121)), axis=-1).reshape(
        -1, 2
    )
    side, up = np.linalg.svd(KEY[None])[2][1:]
    wall = flat @ np.stack([side, up])
    points, normals = np.concatenate([wall, wall - 0.1 * KEY]), np.tile(KEY, (2 * len(wall), 1))
    lit = irradiance(points, normals)
    middle = np.linalg.norm(flat, axis=1) < 0.1
    assert lit[: len(wall)][middle].min() > 0.9
    assert lit[len(wall) :][middle].max() < 0.6


def test_shine_is_seen_from_where_the_lamp_is_mirrored():
    normal = np.array([[0.0, 0.0, 1.0]])
    coefficients = shine(normal, np.ones(1), 3)
    mirrored = 2 * KEY[2] * normal[0] - KEY
    seen, unseen = (sh_basis(direction[None], 3)[0] @ coefficients[0] for direction in (-mirrored, mirrored))
    assert seen > 0.6 and abs(unseen) < 0.15  # directions run from the eye to the Gaussian
