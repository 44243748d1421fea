"""§7.3 What the search for steps, coarseness and residuals decides, where it can be told by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reference_encoder.balance import _descend, balanced
from reference_encoder.quantise import Settings
from reference_encoder.search import COARSEST, search_geometry
from reference_encoder.sensitivity import Sensitivity, fine_share, importance
from reference_encoder.tests.test_encode import avatar


def searched(felt: float, price: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(coarseness, residuals of scales, of rotations) of 50 Gaussians with the same values."""
    count = 50
    low, unread = np.full((count, 3), 21), np.full((count, 3), 5)
    scale, rotation = np.full((count, 3), 40) * [1, 2, 3], np.full((count, 3), 77)
    neighbour = np.maximum(np.arange(count)[:, None] - [1, 2], 0)
    coarseness = np.zeros((count, 2), np.int64)
    residuals = np.zeros((count, 3), np.int64), np.zeros((count, 3), np.int64)
    weights = np.full((count, 7), felt)
    search_geometry(
        low, unread, scale, rotation, weights, neighbour, 2731, 14 << 16, price, coarseness, *residuals
    )
    return coarseness[:, 0], *residuals


def test_bits_that_cost_nothing_are_all_spent() -> None:
    coarseness, scale, rotation = searched(1.0, 0.0)
    assert (coarseness == 0).all() and (rotation == 77).all()
    assert scale[0].tolist() == [40, 80, 120]
    assert (scale[2:] == 0).all()  # said by the neighbours


def test_errors_that_nobody_sees_are_all_made() -> None:
    coarseness, _, rotation = searched(0.0, 1.0)
    assert (coarseness == COARSEST).all() and (np.abs(rotation) <= 2).all()


def test_the_dearer_a_bit_the_coarser_the_steps() -> None:
    means = [searched(1.0, price)[0].mean() for price in (0.01, 1.0, 100.0, 10_000.0)]
    assert means == sorted(means) and means[0] < 1 < means[-1]


def test_descent_finds_the_least_of_a_bowl() -> None:
    least, place = _descend(lambda x: float(np.square(x - [3, -2]).sum()), np.array([0.25, 0.0]))
    assert place.tolist() == [2.75, -2.0] and least == pytest.approx(0.0625)  # moves are of half an octave


def seen(count: int, **kinds: float) -> Sensitivity:
    one, three = np.ones(count), np.ones((count, 3))
    found = Sensitivity(1e9 * one, 1e4 * three, 1e4 * three, 1e5 * one, 1e5 * one, 1e5)
    return replace(found, **{name: getattr(found, name) * factor for name, factor in kinds.items()})


def test_what_is_felt_more_gets_the_finer_steps() -> None:
    gaussians = avatar(300, degree=0).gaussians
    even = balanced(gaussians, seen(300), 1.0, Settings())
    places = balanced(gaussians, seen(300, position=4096), 1.0, Settings())
    colours = balanced(gaussians, seen(300, colour=4096), 1.0, Settings())
    assert places.position_step / places.scale_step < even.position_step / even.scale_step
    assert colours.colour_step / colours.opacity_step < even.colour_step / even.opacity_step
    chosen = balanced(gaussians, seen(300), 1.0, Settings(opacity_power=2, scale_blur=0.001))
    assert (chosen.opacity_power, chosen.scale_blur) == (2, 0.001)
    assert balanced(gaussians, seen(300, opacity=0), 1.0, Settings()) == Settings()


def test_priority_by_hand() -> None:
    """Of four Gaussians one is all head, one half: errors count 4 and 2 times as much, less the mean octave 3/4."""
    subject = avatar(4, 2)
    subject = replace(
        subject,
        rig=replace(subject.rig, names=("spine", "Head")),
        skin_joints=np.array([[0, 1]] * 4),
        skin_weights=np.array([[1.0, 0], [0, 1], [0.5, 0.5], [1, 0]]),
    )
    assert fine_share(subject).tolist() == [0, 1, 0.5, 0]
    assert importance(subject, 2.0) == pytest.approx(np.array([1, 4, 2, 1]) / 2**0.75)
    assert importance(subject, 1.0).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "fine"),
    [("left_index1", 1), ("jaw", 1), ("hand_l", 1), ("RightHandRing2", 1), ("ring_01_l", 1), ("neck", 0),
     ("spring", 0), ("Root", 0)],
)  # fmt: skip
def test_joints_of_face_and_hands_are_known_by_name(name: str, fine: int) -> None:
    subject = avatar(2, 1)
    assert fine_share(replace(subject, rig=replace(subject.rig, names=(name,)))) == pytest.approx([fine] * 2)
