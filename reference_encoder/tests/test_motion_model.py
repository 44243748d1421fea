"""§7.5 How components of a pose move the body: by hand, against finite differences and the float model."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from reference_decoder import jit
from reference_encoder import float_model
from reference_encoder.content import Avatar, ContentError, Gaussians, Motion, Rig
from reference_encoder.motion_model import (
    descendants,
    kinematics,
    levers,
    motion_model,
    nearest_codes,
    reaches,
    right_jacobian,
    step_codes,
    whole_turns_removed,
)
from reference_encoder.quantise import Settings, rest_offsets

CHAIN = Rig(("a", "b", "c"), np.array([-1, 0, 1]), np.array([[0.0, 0, 0], [1, 0, 0], [1.5, 0, 0]]))


def avatar(rig: Rig = CHAIN) -> Avatar:
    """One Gaussian at each joint."""
    count = rig.count
    turned = np.tile([1.0, 0, 0, 0], (count, 1))
    gaussians = Gaussians(
        rig.joints.copy(), turned, np.full((count, 3), 0.01), np.ones(count), np.zeros((count, 1, 3))
    )
    return Avatar(gaussians, rig, np.arange(count)[:, None], np.ones((count, 1)))


def motion(frames: int = 2, expressions: int = 0) -> Motion:
    return Motion(
        np.zeros((frames, 3, 3)), np.zeros((frames, 3)), np.zeros((frames, expressions)), Fraction(30)
    )


def test_layout_by_hand() -> None:
    """Metres in Q.20, radians in Q.28, weights in Q.14 and at most 4."""
    moving = motion(1, 2)
    moving.translations[0] = [1, -0.25, 0]
    moving.rotations[0, 1] = [0, 0.5, -1]
    moving.expressions[0] = [0.5, 9]
    target = motion_model(avatar(), moving).target[0]
    assert target.tolist() == [2**20, -(2**18), 0, 0, 0, 0, 0, 2**27, -(2**28), 0, 0, 0, 8192, 65536]


def test_a_root_beyond_the_world_is_refused() -> None:
    far = motion(4)
    far.translations[2, 1] = 64.1
    with pytest.raises(ContentError, match="frame 2"):
        motion_model(avatar(), far)


def test_descendants_by_hand() -> None:
    table, counts = descendants(np.array([-1, 0, 1, 0]))
    assert [table[j, : counts[j]].tolist() for j in range(4)] == [[0, 1, 2, 3], [1, 2], [2], [3]]


def test_reaches_by_hand() -> None:
    """A Gaussian 2 m from joint 1 that is half its own counts; one that is less than half does not."""
    subject = replace(avatar(), skin_joints=np.array([[0, 1], [1, 0], [1, 2]]))
    subject.gaussians.positions[:] = [[0, 0, 0.1], [1, 2, 0], [1.5, 0, 0]]
    subject = replace(subject, skin_weights=np.array([[0.6, 0.4], [0.5, 0.5], [0.6, 0.4]]))
    assert reaches(subject) == pytest.approx([np.hypot(1, 2), 2, 0.03])


def test_levers_by_hand() -> None:
    """Turning the root about y or z moves the last joint by 1.5 m, about x only the 3 cm around it, of which 70%."""
    arms = levers(motion_model(avatar(), motion())).reshape(3, 3)
    assert arms == pytest.approx(np.array([[0.021, 1.5, 1.5], [0.021, 0.5, 0.5], [0.021] * 3]))


def test_step_codes_by_hand() -> None:
    codes = nearest_codes(np.array([0.1, 8, 15, 15.6, 16, 17, 30.9, 15 << 24, 1e12]))
    assert codes.tolist() == [0, 0, 7, 8, 8, 9, 15, 199, 199]
    settings = Settings(motion_tolerance=2**-10, motion_quantum=1.0, expression_weight_step=2**-4)
    codes = step_codes(motion_model(avatar(), motion(2, 1)), settings)
    steps = [int(jit.function("component_step")(code)) for code in codes]
    assert steps[:3] == [1024] * 3 and steps[-1] == 1024  # 2^-10 m in Q.20, 2^-4 in Q.14
    assert np.array(steps[3:12]) == pytest.approx(
        2**18 / np.array([0.021, 1.5, 1.5, 0.021, 0.5, 0.5, *[0.021] * 3]), rel=1 / 16
    )
    finest = step_codes(motion_model(avatar(), motion()), replace(settings, motion_tolerance=1e-30))
    assert [int(jit.function("component_step")(code)) for code in finest] == [16] * 3 + [256] * 9


def test_kinematics_is_that_of_the_float_model() -> None:
    rng = np.random.default_rng(1)
    rotations, translations = rng.normal(size=(4, 3, 3)), rng.normal(size=(4, 3))
    matrices, places = kinematics(CHAIN.parents, rest_offsets(CHAIN), rotations, translations)
    for f in range(4):
        exact = float_model.forward_kinematics(CHAIN, rotations[f], translations[f])
        assert matrices[f] == pytest.approx(exact[:, :, :3], abs=1e-12)
        moved = np.einsum("jab,jb->ja", exact[:, :, :3], CHAIN.joints) + exact[:, :, 3]
        assert places[f] == pytest.approx(moved, abs=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-5, 0.5, 3.0, 6.2])
def test_right_jacobian_is_the_derivative(angle: float) -> None:
    vector, small = angle * np.array([2.0, -1, 2]) / 3, 1e-6
    jacobian = right_jacobian(vector[None])[0]
    for c in range(3):
        changed = Rotation.from_rotvec(vector + small * np.eye(3)[c])
        turn = (Rotation.from_rotvec(vector).inv() * changed).as_rotvec() / small
        assert jacobian[:, c] == pytest.approx(turn, abs=1e-5)


def test_whole_turns_are_removed() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(200, 3)) * rng.uniform(0, 30, (200, 1))
    small = whole_turns_removed(vectors)
    assert np.linalg.norm(small, axis=1).max() <= 2 * np.pi + 1e-12
    difference = Rotation.from_rotvec(small).inv() * Rotation.from_rotvec(vectors)
    assert difference.magnitude().max() < 1e-12
    assert np.array_equal(
        small[np.linalg.norm(vectors, axis=1) <= 6.28], vectors[np.linalg.norm(vectors, axis=1) <= 6.28]
    )
