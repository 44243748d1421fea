"""§7.3 From floats to integers: by hand, at the ends of what the format holds, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from reference_encoder import quantise
from reference_encoder.content import Avatar, ContentError, Gaussians, Rig
from reference_encoder.quantise import (
    Settings,
    check_avatar,
    equivalent_axes,
    integer_steps,
    integer_weights,
    spatial_order,
    to_integers,
)


def avatar(count: int = 3, joints: int = 2) -> Avatar:
    """Gaussians along x on a chain of joints one metre apart."""
    positions = np.zeros((count, 3))
    positions[:, 0] = np.arange(count)
    gaussians = Gaussians(
        positions,
        np.tile([1.0, 0, 0, 0], (count, 1)),
        np.full((count, 3), 0.1),
        np.ones(count),
        np.zeros((count, 1, 3)),
    )
    rest = np.zeros((joints, 3))
    rest[:, 0] = np.arange(joints)
    rig = Rig(tuple(f"j{n}" for n in range(joints)), np.arange(joints) - 1, rest)
    return Avatar(gaussians, rig, np.zeros((count, 1), int), np.ones((count, 1)))


@pytest.mark.parametrize(
    ("value", "quantum", "expected"),
    [(0.5, 1, 1), (-0.5, 1, 0), (1.49, 1, 1), (-1.5, 1, -1), (3, 2, 2), (0.3, 0.1, 3)],
)
def test_halves_round_upward(value: float, quantum: float, expected: int) -> None:
    assert to_integers(value, quantum) == expected


def test_steps_by_hand() -> None:
    steps = integer_steps(
        avatar(), Settings(effort=1, position_step=2**-10, scale_step=0.5, opacity_step=1 / 64, sh_step=0.25)
    )
    assert (steps.position, steps.scale, steps.opacity) == (1024, 32768, 256)
    steps = integer_steps(avatar(), Settings(effort=1, position_step=9, scale_step=0, opacity_step=3))
    assert (steps.position, steps.scale, steps.opacity) == (262144, 1, 16384)  # kept in their ranges
    assert integer_steps(avatar(), Settings(position_step=0)).position == 2  # 2 m in 21 bits
    blur = integer_steps(avatar(), Settings(scale_blur=2**-9)).blur
    assert blur == 15 << 16  # counted from 2^-24 m


def test_quantised_values_reach_their_largest_at_the_finest_steps() -> None:
    finest = Settings(rotation_step=0, expression_step=0)
    moved = replace(avatar(), expression_names=("e",), expressions=np.full((1, 3, 3), 2.0))
    steps = integer_steps(moved, finest)
    assert (
        steps.rotation * 1048575 >= 1.0966 * 2**28
    )  # half of the largest angle between 24 equivalents: 62.8 degrees
    assert 2 * to_integers(2.0, steps.expression_offset / 2**20) <= 131071


def test_spatial_order_by_hand() -> None:
    """x is the last bit of the curve, z the first: the corners of a cube in binary order."""
    corners = np.array([[n & 1, n >> 1 & 1, n >> 2] for n in (5, 3, 0, 7, 6, 1, 4, 2)], float)
    assert spatial_order(corners).tolist() == [2, 5, 7, 1, 6, 0, 4, 3]
    assert spatial_order(np.zeros((4, 3))).tolist() == [0, 1, 2, 3]  # stable


def test_small_rotations_are_the_same_ellipsoids() -> None:
    rng = np.random.default_rng(5)
    quaternions = rng.normal(size=(300, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    scales = rng.uniform(0.01, 1, (300, 3))
    vectors, turns = equivalent_axes(quaternions)
    turned = np.einsum("ni,nij->nj", scales, turns)
    before = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]).as_matrix() * scales[:, None]
    after = Rotation.from_rotvec(vectors).as_matrix() * turned[:, None]
    np.testing.assert_allclose(
        after @ after.transpose(0, 2, 1), before @ before.transpose(0, 2, 1), atol=1e-12
    )
    assert np.linalg.norm(vectors, axis=1).max() <= np.radians(62.8)


def test_weights_by_hand() -> None:
    """512 in all: 0.5, 0.3, 0.2 are 256, 153.6, 102.4; the largest remainder gets the one that is missing."""
    joints, weights, counts = integer_weights(np.array([[7, 2, 4]]), np.array([[0.5, 0.3, 0.2]]), 4, 9)
    assert joints.tolist() == [[2, 4, 7, 0, 0, 0, 0, 0]]
    assert weights.tolist() == [[154, 102, 256, 0, 0, 0, 0, 0]]
    assert counts.tolist() == [3]
    joints, weights, counts = integer_weights(np.array([[7, 2, 4]]), np.array([[0.5, 0.3, 0.2]]), 2, 9)
    assert (joints[0, :2].tolist(), weights[0, :2].tolist(), counts.tolist()) == ([2, 7], [192, 320], [2])


@pytest.mark.parametrize("bits", [9, 12, 16])
@pytest.mark.parametrize("influences", [1, 4, 8])
def test_weights_always_sum_to_one(bits: int, influences: int) -> None:
    rng = np.random.default_rng(bits)
    weights = rng.dirichlet(np.full(8, 0.2), 500)
    joints = np.stack([rng.permutation(255)[:8] for _ in range(500)])
    kept, integers, counts = integer_weights(joints, weights, influences, bits)
    assert (integers.sum(axis=1) == 1 << bits).all() and (integers >= 0).all()
    assert (counts <= influences).all() and ((integers > 0).sum(axis=1) == counts).all()
    assert (np.diff(np.where(integers > 0, kept, 999), axis=1) >= 0).all()


@pytest.mark.parametrize("name", ["positions", "rotations", "scales", "opacities", "sh"])
def test_gaussians_that_are_not_finite_are_refused(name: str) -> None:
    subject = avatar()
    getattr(subject.gaussians, name)[1] = np.nan
    with pytest.raises(ContentError, match=f"the {name} of Gaussian 1 are not finite"):
        check_avatar(subject)


def test_what_the_format_cannot_hold_is_refused() -> None:
    check_avatar(avatar())
    far = avatar()
    far.gaussians.positions[2] = 8.1
    wide = avatar()
    wide.rig.joints[1] = 9
    degree = replace(avatar(), gaussians=replace(avatar().gaussians, sh=np.zeros((3, 25, 3))))
    order = replace(avatar(), rig=replace(avatar().rig, parents=np.array([-1, 1])))
    roots = replace(avatar(), rig=replace(avatar().rig, parents=np.array([-1, -1])))
    names = replace(avatar(), expression_names=("e",) * 256)
    cases = [(far, "Gaussian 2"), (wide, "joint 1"), (degree, "degree 4"), (order, "parents first"),
             (roots, "one root"), (names, "256 expressions"), (avatar(1, 256), "256 joints"),
             (avatar(0), "0 Gaussians")]  # fmt: skip
    for subject, message in cases:
        with pytest.raises(ContentError, match=message):
            check_avatar(subject)


def test_there_is_one_way_from_float_to_integer() -> None:
    """Nothing else in the module rounds: the rule stands in one place."""
    import inspect

    source = inspect.getsource(quantise)
    assert "np.round" not in source and "np.rint" not in source
