"""§7.3.5, §7.3.6 Pictures as sums of colours, and colours and opacities from pictures."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from reference_decoder import Camera
from reference_encoder.blending import Blending, blending, in_threads, picture_of
from reference_encoder.refit import _least_squares
from reference_encoder.sensitivity import View, projected
from reference_encoder.tests.test_encode import avatar

CAMERA = Camera.look_at(np.array([0.0, 0, 3]), np.zeros(3), 48, 40, 0.7, background=(51, 102, 153))


def records(degree: int = 0) -> np.ndarray:
    gaussians = avatar(60, degree=degree).gaussians
    blends = np.broadcast_to(np.eye(3), (60, 3, 3))
    return projected(gaussians, View(gaussians.positions, blends, CAMERA), 2.0**-14)


def test_pictures_are_sums_of_colours() -> None:
    shown = records()
    parts, picture = blending(shown, CAMERA)
    assert (picture == picture_of(shown, CAMERA)).all()
    looks = np.zeros((60, 4))
    looks[shown[:, 0], :3] = shown[:, 7:10] / 4096
    through = 1 - parts.mix(np.tile([1.0, 1, 1, 0], (60, 1)), len(picture))
    made = parts.mix(looks, len(picture)) + through * np.array(CAMERA.background) / 255
    assert np.abs(made - picture).max() < 0.02  # shares below 1/1024 are left out
    assert np.abs(made - picture).mean() < 0.001


def test_slopes_are_what_a_little_more_opacity_does() -> None:
    shown = records()
    parts, picture = blending(shown, CAMERA)
    row = len(shown) // 2  # some lie before it, some behind
    more = shown.copy()
    more[row, 10] += 32
    looks = np.zeros((60, 4))
    looks[shown[row, 0], 3] = 32 / 2**14
    wanted, made = picture_of(more, CAMERA) - picture, parts.mix(looks, len(picture))
    assert np.abs(wanted).max() > 2e-4
    assert np.abs(made - wanted).max() < 0.03 * np.abs(wanted).max()


def test_gather_is_the_transpose_of_mix() -> None:
    parts, picture = blending(records(), CAMERA)
    rng = np.random.default_rng(3)
    looks, other = rng.normal(size=(60, 4)), rng.normal(size=picture.shape)
    across = (parts.mix(looks, len(picture)) * other).sum()
    assert across == pytest.approx((parts.gather(other, 60) * looks).sum())
    for kind in (0, 3):
        one = np.zeros((60, 4))
        one[7, kind] = 1
        assert (parts.mix(one, len(picture)) ** 2).sum() == pytest.approx(parts.squares(60)[7, kind])


def hand(share: list[float], error: list[float], slope: float = 0.0) -> tuple[Blending, np.ndarray]:
    """One Gaussian, number 1 of 2, in the first pixels."""
    count = len(share)
    entries = np.array([0, count]), np.arange(count, dtype=np.int32), np.array(share, np.float32)
    slopes = np.full((count, 3), slope, np.float32)
    return Blending(np.array([1]), *entries, slopes), np.repeat(np.array(error)[:, None], 3, axis=1)


FREE = np.ones((2, 4))


def test_least_squares_by_hand() -> None:
    """Shares 1/2 and 1/4, errors 0.2 and 0: (0.1) / (5/16 + the 0.01 that hold a colour), whatever the rounds."""
    for rounds in (1, 5):
        change = _least_squares([hand([0.5, 0.25], [0.2, 0.0])], FREE, rounds)
        assert change[1] == pytest.approx([0.1 / 0.3225] * 3 + [0]) and (change[0] == 0).all()
    two = _least_squares([hand([0.5], [0.2]), hand([0.5], [-0.1])], FREE, 2)
    assert two[1] == pytest.approx([0.05 / 0.52] * 3 + [0])


def test_least_squares_of_an_opacity_by_hand() -> None:
    """Slope 1/2 in three components that lack 0.2: 0.3 / (3/4 + the 0.001 that hold an opacity), if it is free."""
    change = _least_squares([hand([0.0], [0.2], 0.5)], FREE, 3)
    assert change[1] == pytest.approx([0, 0, 0, 0.3 / 0.751])
    held = _least_squares([hand([0.5], [0.2], 0.5)], FREE * [1, 1, 1, 0], 3)
    assert held[1] == pytest.approx([0.1 / 0.26] * 3 + [0])


def test_nothing_is_left_that_looks_could_mend() -> None:
    parts, picture = blending(records(), CAMERA)
    before = np.abs(parts.gather(picture, 60)).max()
    found = _least_squares([(parts, picture)], np.ones((60, 4)), 1000)
    rest = picture - parts.mix(found, len(picture))
    hold = [0.01, 0.01, 0.01, 0.001]
    assert np.abs(parts.gather(rest, 60) - hold * found).max() < 1e-6 * before


def test_threads_do_not_change_anything() -> None:
    parts, picture = blending(records(), CAMERA)
    found = [(parts, picture), (parts, picture**2)]
    results, threads = [], numba.get_num_threads()
    for count in (1, 2):
        numba.set_num_threads(min(count, threads))
        results.append(_least_squares(found, np.ones((60, 4)), 5))
    numba.set_num_threads(threads)
    assert (results[0] == results[1]).all()
    assert in_threads(lambda n: n * n, [3, 1, 2]) == [9, 1, 4]
