"""How `hga bind` judges the way a splat stands, on the shipped body's own vertices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from reference_encoder.bind import better_orientation
from reference_encoder.content import Gaussians
from reference_encoder.rigs import BodyMesh, load_rig
from tools.content.body import BODY

_STANDING = {"y": np.eye(3), "-y": np.diag([1, -1, -1])}


@pytest.fixture(scope="module")
def person() -> BodyMesh:
    return load_rig(BODY)


def splat(positions: np.ndarray) -> Gaussians:
    count = len(positions)
    still = np.tile([1.0, 0, 0, 0], (count, 1))
    return Gaussians(positions, still, np.full((count, 3), 0.01), np.ones(count), np.zeros((count, 1, 3)))


@pytest.mark.parametrize(("up", "yaw"), [("-y", 90), ("y", 90), ("y", 180)])
def test_another_orientation_is_found_by_its_fit(person: BodyMesh, up: str, yaw: int) -> None:
    turn = Rotation.from_rotvec([0, np.radians(-yaw), 0]).as_matrix()
    standing = splat(person.vertices @ (_STANDING[up] @ turn).T)
    found, own = better_orientation(standing, person)
    assert found is not None and (found.up, found.yaw, found.opposite) == (up, yaw, False)
    assert found.median < 0.01 < own
    again, own = better_orientation(standing, person, up=up, yaw=np.radians(yaw))
    assert again is None and own < 0.01


def test_front_and_back_need_a_clear_difference(person: BodyMesh) -> None:
    backward = person.vertices * [-1, 1, -1]
    noise = np.random.default_rng(3).normal(0, 0.1, backward.shape)
    found, _ = better_orientation(splat(backward + noise), person)
    assert found is None


def test_a_splat_that_fits_nothing_gets_no_advice(person: BodyMesh) -> None:
    wide = person.vertices * [30, 1, 30]
    assert better_orientation(splat(wide), person)[0] is None
