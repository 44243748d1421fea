"""The ground truth: clothes that hang still at rest, move with the pose, and a set that the loader reads."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from reference_encoder.avatar_file import load_avatar
from reference_encoder.content import Avatar
from reference_encoder.float_model import forward_kinematics
from reference_encoder.training.dataset import FOREGROUND, load_multi_view
from tools.content import body_avatar, clip
from tools.content.clothed import Plan, lit, make_clothed, poses, thinned
from tools.content.drape import Drape


@functools.cache
def person() -> Avatar:
    return thinned(body_avatar(), 4000)


def pose(**turns: tuple[float, float, float]) -> np.ndarray:
    rig = person().rig
    rotations = np.zeros((rig.count, 3))
    for joint, turn in turns.items():
        rotations[rig.names.index(joint)] = turn
    return rotations


def test_nothing_happens_at_rest() -> None:
    moved, light = Drape(person())(pose(), np.zeros(52))
    assert np.abs(moved).max() < 1e-12 and np.abs(light - 1).max() < 1e-12


def test_the_whole_body_may_turn_without_a_fold() -> None:
    moved, light = Drape(person())(pose(Root=(0.3, 2.0, 0.1), pelvis=(0.0, 1.0, 0.0)), np.zeros(52))
    assert np.abs(moved).max() < 1e-12 and np.abs(light - 1).max() < 1e-12


@pytest.mark.parametrize(("joint", "turn", "at"), [
    ("calf_l", (1.4, 0.0, 0.0), (0.11, 0.524)), ("lowerarm_r", (0.0, 1.4, 0.0), (-0.442, 1.42)),
])  # fmt: skip
def test_cloth_folds_where_a_joint_bends(joint: str, turn: tuple, at: tuple[float, float]) -> None:
    """More than 2 mm up and down and visible shades near the joint, nothing on the other side of the body."""
    moved, light = Drape(person())(pose(**{joint: turn}), np.zeros(52))
    near = np.hypot(*(person().gaussians.positions[:, :2] - at).T) < 0.08
    other = person().gaussians.positions[:, 0] * np.sign(at[0]) < -0.07
    height = np.linalg.norm(moved[near], axis=1)
    assert 0.004 < height.max() < 0.06 and light[near].min() < 0.8 and light[near].max() > 1.05
    assert np.abs(moved[other]).max() < 1e-6 and np.abs(light[other] - 1).max() < 1e-6


def test_expressions_change_the_face_alone() -> None:
    names, weights = person().expression_names, np.zeros(52)
    weights[[names.index(name) for name in ("browInnerUp", "mouthSmileLeft")]] = 1
    _, light = Drape(person())(pose(), weights)
    head = person().rig.joints[person().rig.names.index("head")]
    changed = np.abs(light - 1) > 0.05
    assert changed.sum() > 20
    assert np.linalg.norm(person().gaussians.positions[changed] - head, axis=1).max() < 0.25


def test_light_multiplies_colours() -> None:
    sh = np.array([[[0.4, -0.2, 0.0], [0.1, 0.2, 0.3]]])
    basis = np.array([0.28209479177387814, 0.25])
    before, after = (0.5 + np.einsum("k,nkc->nc", basis, values) for values in (sh, lit(sh, np.array([0.7]))))
    np.testing.assert_allclose(after, 0.7 * before, rtol=1e-6)


def test_turning_at_the_root_is_the_same_motion() -> None:
    plan = Plan(clips=("cartwheel",), stride=30)
    motion, held_out = poses(person(), plan)
    original = clip("cartwheel")
    for frame in range(motion.count):
        still = original.translations[30 * frame] * [0, 1, 0]
        expected = forward_kinematics(person().rig, original.rotations[30 * frame], still)
        found = forward_kinematics(person().rig, motion.rotations[frame], motion.translations[frame])
        np.testing.assert_allclose(found[1:], expected[1:], atol=1e-9)
    assert held_out.tolist() == [False] * 4 + [True]


def test_a_tiny_set_is_read_by_the_loader(tmp_path: Path) -> None:
    plan = Plan(size=32, cameras=2, stride=60, clips=("walk",), gaussians=8000, template=500)
    make_clothed(tmp_path, plan)
    data, avatar = load_multi_view(tmp_path), load_avatar(tmp_path / "avatar.npz")
    assert (
        data.motion.joint_names == avatar.rig.names
        and data.motion.expression_names == avatar.expression_names
    )
    assert list(data.cameras) == ["cam00", "cam01"] and data.motion.count == 3
    assert data.frames(held_out=True) == [2]
    shown = data.view("cam00", 1)
    assert 0.03 < (shown.mask >= FOREGROUND).mean() < 0.3
    assert shown.target()[shown.mask == 0].max() == 0
