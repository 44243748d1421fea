"""Binding: round trips through skinning, weights by hand, and splats brought into a mesh's frame."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from reference_encoder.bind import align, bind, measure_fit
from reference_encoder.content import ContentError, Gaussians, Rig
from reference_encoder.float_model import forward_kinematics, skin_points
from reference_encoder.rigs import BodyMesh
from reference_encoder.sh import rotate_sh_each
from reference_encoder.splat_transform import rotate_sh, sh_basis

RIG = Rig(("lower", "upper"), np.array([-1, 0]), np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))


def rod():
    """A strip of vertices, 2 m tall, that bends in the middle; its expression pushes along z."""
    height = np.repeat(np.linspace(0, 2, 41), 2)
    vertices = np.stack([np.tile([-0.1, 0.1], 41), height, np.zeros(82)], axis=1)
    upper = np.clip((height - 0.8) / 0.4, 0, 1)
    return BodyMesh(
        RIG,
        vertices,
        np.zeros((0, 3), int),
        np.tile([0, 1], (82, 1)),
        np.stack([1 - upper, upper], axis=1),
        ("push",),
        np.stack([np.zeros(82), np.zeros(82), height], axis=1)[None],
    )


def splat(positions, degree=0):
    count = len(positions)
    random = np.random.default_rng(2)
    return Gaussians(
        np.asarray(positions, dtype=np.float64),
        Rotation.random(count, rng=random).as_quat(scalar_first=True),
        random.uniform(0.01, 0.02, (count, 3)),
        np.ones(count),
        random.normal(size=(count, (degree + 1) ** 2, 3)),
    )


def around_the_rod(count):
    random = np.random.default_rng(5)
    return np.stack([random.uniform(-0.2, 0.2, count), random.uniform(0, 2, count), np.zeros(count)], axis=1)


def test_a_gaussian_on_a_vertex_takes_its_weights_and_expression():
    mesh = rod()
    avatar = bind(splat(mesh.vertices[[0, 41, 81]]), mesh)
    np.testing.assert_allclose(avatar.skin_weights[0], [1, 0], atol=1e-3)
    np.testing.assert_allclose(avatar.skin_weights[1], [0.5, 0.5], atol=1e-3)
    assert (avatar.skin_joints[0, 0], avatar.skin_joints[2, 0]) == (0, 1)
    np.testing.assert_allclose(avatar.expressions[0, :, 2], [0, 1, 2], atol=1e-3)
    assert avatar.expression_names == ("push",)


def test_between_two_vertices_the_weights_are_shared_by_distance():
    mesh = BodyMesh(
        RIG,
        np.array([[0.0, 0, 0], [3.0, 0, 0]]),
        np.zeros((0, 3), int),
        np.array([[0], [1]]),
        np.ones((2, 1)),
    )
    avatar = bind(splat([[1.0, 0, 0]]), mesh)  # distances 1 and 2: shares 4 to 1
    np.testing.assert_allclose(avatar.skin_weights, [[0.8, 0.2]], atol=1e-6)


def test_skinning_a_bound_splat_gives_the_splat_again():
    mesh, posed = rod(), splat(around_the_rod(200), degree=3)
    rotations, translation = np.array([[0.3, -0.2, 0.5], [0.1, 0.4, -1.0]]), np.array([0.1, 0.2, -3.0])
    matrices = forward_kinematics(RIG, rotations, translation)
    surface = skin_points(mesh.vertices, mesh.skin_joints, mesh.skin_weights, matrices)
    posed = replace(posed, positions=surface[np.arange(200) % 82] + 0.02)
    avatar = bind(posed, mesh, rotations, translation)
    again = skin_points(avatar.gaussians.positions, avatar.skin_joints, avatar.skin_weights, matrices)
    np.testing.assert_allclose(again, posed.positions, atol=1e-9)
    np.testing.assert_allclose(avatar.skin_weights.sum(axis=1), 1)
    np.testing.assert_array_equal(avatar.gaussians.scales, posed.scales)


def test_a_rigid_part_goes_back_by_its_own_rotation():
    mesh = rod()
    turn = Rotation.from_rotvec([0, 0, np.pi / 2])
    rotations = np.stack([np.zeros(3), turn.as_rotvec()])
    posed = splat([[-0.9, 1.0, 0.0]], degree=2)  # 0.9 above the bend before it fell to the left
    avatar = bind(posed, mesh, rotations, influences=1)
    assert avatar.skin_joints.tolist() == [[1]]
    np.testing.assert_allclose(avatar.gaussians.positions, [[0, 1.9, 0]], atol=1e-12)
    axes = Rotation.from_quat(avatar.gaussians.rotations, scalar_first=True).as_matrix()
    before = Rotation.from_quat(posed.rotations, scalar_first=True).as_matrix()
    np.testing.assert_allclose(axes[0], turn.inv().as_matrix() @ before[0], atol=1e-12)
    np.testing.assert_allclose(avatar.gaussians.sh, rotate_sh(posed.sh, turn.inv().as_matrix()), atol=1e-12)


def test_where_the_blend_collapses_the_strongest_joint_stands_alone():
    mesh = rod()
    half_turn = np.array([[0.0, 0, 0], [0, np.pi, 0]])  # x and z cancel where both joints weigh the same
    avatar = bind(splat([[0.0, 1.0, 0.0], [0.0, 0.1, 0.0]]), mesh, half_turn)
    assert sorted(avatar.skin_weights[0]) == [0, 1]
    assert np.isfinite(avatar.gaussians.positions).all()


def test_influences_are_the_strongest_and_sum_to_one():
    avatar = bind(splat([[0.0, 0.95, 0.0]]), rod(), influences=1)
    assert (avatar.skin_joints.tolist(), avatar.skin_weights.tolist()) == ([[0]], [[1.0]])


def test_bind_refuses_what_does_not_fit():
    with pytest.raises(ContentError, match="the rig has 2 joints"):
        bind(splat([[0, 0, 0]]), rod(), np.zeros((3, 3)))
    with pytest.raises(ContentError, match="9 influences"):
        bind(splat([[0, 0, 0]]), rod(), influences=9)
    with pytest.raises(ContentError, match="not finite"):
        bind(splat([[0, np.nan, 0]]), rod())


def test_sh_of_each_gaussian_turn_with_it():
    random = np.random.default_rng(7)
    turns = Rotation.random(50, rng=random).as_matrix()
    sh = random.normal(size=(50, 16, 3))
    turned = rotate_sh_each(sh, turns)
    directions = random.normal(size=(20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for before, after, turn in zip(sh, turned, turns, strict=True):
        seen = sh_basis(directions @ turn.T, 3) @ after  # at R d
        np.testing.assert_allclose(seen, sh_basis(directions, 3) @ before, atol=1e-12)


def test_sh_of_the_first_band_is_a_vector_by_hand():
    # The band is (-y, z, -x) but for a factor; a quarter turn about z takes x to y.
    sh = np.array([[[1.0], [0.0], [0.0], [-5.0]]])
    turned = rotate_sh_each(sh, Rotation.from_rotvec([[0, 0, np.pi / 2]]).as_matrix())
    np.testing.assert_allclose(turned[0, :, 0], [1, -5, 0, 0], atol=1e-12)


def test_sh_of_no_whole_degree_are_refused():
    with pytest.raises(ContentError, match="5 coefficients"):
        rotate_sh_each(np.zeros((1, 5, 3)), np.eye(3)[None])


@pytest.mark.parametrize("up", ["y", "-y", "z", "-z", "x", "-x"])
def test_align_stands_the_splat_up_on_the_floor_of_the_mesh(up):
    axis = "xyz".index(up[-1])
    positions = np.zeros((3, 3))
    positions[:, axis] = np.array([5.0, 6.0, 9.0]) * (-1 if up[0] == "-" else 1)
    aligned = align(splat(positions), rod(), up=up)
    np.testing.assert_allclose(aligned.positions, [[0, 0, 0], [0, 0.5, 0], [0, 2, 0]], atol=1e-12)


def test_align_turns_and_scales():
    source = splat([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.5, 0.0], [-0.2, 0.5, 0.0]])
    aligned = align(source, rod(), yaw=np.pi / 2, height=3.0)
    np.testing.assert_allclose(aligned.positions[2], [0, 1.5, -0.6], atol=1e-12)
    np.testing.assert_allclose(aligned.scales, 3 * source.scales)


def test_align_leaves_stray_gaussians_out_of_the_height():
    positions = np.zeros((1001, 3))
    positions[:1000, 1] = np.linspace(0, 1, 1000)
    positions[1000, 1] = 50.0
    aligned = align(splat(positions), rod(), trim=0.01)
    assert np.ptp(aligned.positions[:1000, 1]) == pytest.approx(2.0, rel=0.03)


def test_align_refuses_what_has_no_height():
    with pytest.raises(ContentError, match="up axis 'up'"):
        align(splat([[0, 0, 0]]), rod(), up="up")
    with pytest.raises(ContentError, match=r"a splat 0 units tall"):
        align(splat([[0, 0, 0]]), rod())


def test_the_fit_is_the_distance_to_the_nearest_vertex_by_opacity():
    positions = np.tile([0.1, 1.0, 0.0], (100, 1))
    positions[:, 2] = np.where(np.arange(100) < 60, 0.02, 0.3)
    fit = measure_fit(splat(positions), rod())
    assert (fit.median, fit.most) == (pytest.approx(0.02), pytest.approx(0.3))
    seen = replace(splat(positions), opacities=np.where(np.arange(100) < 60, 1.0, 0.01))
    assert measure_fit(seen, rod()).most == pytest.approx(0.02)
