"""The layout of Gaussians on the maps and the network's inputs, by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from reference_encoder.content import Avatar, Gaussians, Motion, Rig
from reference_encoder.training.maps import MapLayout, first_turning_joint, pose_vector, seen_from, sides


def standing(points: list[list[float]]) -> Avatar:
    """Gaussians at `points` on a root at (0, 1, 0) and a joint above it."""
    count = len(points)
    gaussians = Gaussians(
        np.array(points),
        np.tile([1.0, 0, 0, 0], (count, 1)),
        np.ones((count, 3)),
        np.ones(count),
        np.zeros((count, 1, 3)),
    )
    rig = Rig(("root", "spine"), np.array([-1, 0]), np.array([[0.0, 1, 0], [0, 1.5, 0]]))
    return Avatar(gaussians, rig, np.zeros((count, 1), int), np.ones((count, 1)))


def test_front_and_back_are_halves_of_the_depth_around_a_point() -> None:
    points = np.array([[0, 0, 0.2], [0, 0, -0.1], [0, 0, 0.04], [1, 1, 5.0], [1, 1, 4.0]])
    assert sides(points).tolist() == [0, 1, 1, 0, 1]


def test_the_maps_just_hold_the_avatar() -> None:
    layout = MapLayout.of(standing([[-0.5, 0.0, 0.0], [0.5, 0.96, 0.0]]), 16, 8)
    np.testing.assert_allclose(layout.origin, [-0.52, -0.04], atol=1e-6)  # 1 m and 2 cm on either side
    assert layout.scale == np.floor(16 / 1.04 * 256) / 256
    assert layout.share.sum(axis=1).tolist() == [65536, 65536]


def test_samples_between_the_centres_of_texels() -> None:
    layout = MapLayout.of(standing([[-0.5, 0.0, 0.0], [0.5, 0.96, 0.0], [0.0, 0.48, 0.3]]), 16, 8)
    assert layout.side.tolist() == [0, 0, 0]
    place = np.floor((np.array([0.0, 0.48]) - layout.origin) * layout.scale * 256 + 0.5)  # about 8 texels
    column, row = (place - 128) / 256
    flat = np.zeros((2, 16, 16))
    flat[0] = 100 * np.arange(16)[:, None] + np.arange(16)
    found = (flat.ravel()[layout.texel[2]] * layout.share[2]).sum() / 65536
    assert abs(found - (100 * row + column)) < 1e-9


def test_inputs_are_means_in_steps_from_the_root() -> None:
    """Two points in one texel: rest heights -1 and -0.5 m from the root in steps of 2^-6 m, moved by 0.25 m."""
    avatar = standing([[0.0, 0.0, 0.0], [0.001, 0.5, 0.0], [4.0, 4.0, 0.0]])
    layout = MapLayout.of(avatar, 4, 1)
    posed = avatar.gaussians.positions - [0, 1, 0] + [0.25, 0, 0]
    maps = layout.inputs(posed)
    assert maps.shape == (12, 1, 1)
    rest = [[0, -64, 0], [0, -32, 0], [127, 127, 0]]  # 4 m and 3 m are beyond the range of 2 m
    expected = np.floor(np.mean(rest, axis=0) + 0.5)
    np.testing.assert_array_equal(maps[:, 0, 0], [32, 0, 0, *expected, 0, 0, 0, 0, 0, 0])


def test_seen_from_a_joint_its_turn_is_nothing() -> None:
    """The spine at (0, 1.5, 0) turns by a quarter, z to x and x to -z, on a root that went 5 m along x."""
    avatar = standing([[0.1, 1.7, 0.3]])
    turn = np.array([[0.0, 0.0, 0.0], [0.0, np.pi / 2, 0.0]])
    posed = np.array([[0.3 + 5, 1.7, -0.1]])
    seen = seen_from(avatar, 1, posed, turn, np.array([5.0, 0, 0]))
    np.testing.assert_allclose(seen, [[0.1, 0.2, 0.3]], atol=1e-9)


def test_the_pose_vector_leaves_out_what_turns_the_whole_figure() -> None:
    rig = Rig(("root", "hips", "leg", "spine"), np.array([-1, 0, 1, 1]), np.zeros((4, 3)))
    turns = np.array([[9.0, 9, 9], [1.0, 2.0, 3.0], [0.5, -0.01, 3.0], [0.25, 0, 0]])
    of_the_root = [64, 127, 127, 32, -1, 127, 16, 0, 0, 64, 19]
    assert pose_vector(rig, 0, turns, np.array([1.0, 0.3])).tolist() == of_the_root
    assert pose_vector(rig, 1, turns, np.array([1.0, 0.3])).tolist() == [0, 0, 0, *of_the_root[3:]]


def test_the_first_joint_that_turns() -> None:
    turns = np.zeros((2, 4, 3))
    turns[:, 1] = 0.5  # held, but not at rest
    still = Motion(turns, np.zeros((2, 3)), np.zeros((2, 0)), Fraction(30))
    assert first_turning_joint(still) == 0
    turns[1, 2:] = 0.1
    assert first_turning_joint(still) == 2
