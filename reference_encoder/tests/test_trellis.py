"""The trellis search against all paths of a small layer, and what it must leave as it is."""

from __future__ import annotations

import itertools

import numpy as np

import spec
from reference_encoder.generator import quantised_levels
from reference_encoder.trellis import quantise

F = spec.document().functions
TRELLIS = spec.standard().constant_values["TRELLIS"]


def all_values(levels: tuple[int, ...]) -> list[int]:
    """What the levels stand for by clause 7.9.3."""
    state, found = 0, []
    for level in levels:
        found.append(F["dequantise_weight"](level, 1, state & 1))
        state = TRELLIS[2 * state + (level & 1)]
    return found


def test_without_trade_no_path_is_nearer() -> None:
    random = np.random.default_rng(2)
    paths = np.array([all_values(levels) for levels in itertools.product(range(-2, 3), repeat=6)])
    for _ in range(10):
        target, importance = random.uniform(-3, 3, 6), random.uniform(0.2, 2, 6)
        found = quantise(target.reshape(1, 6, 1, 1), importance, 0.0, dependent=True).ravel()
        assert found.tolist() in paths.tolist()
        least = (importance * (paths - target) ** 2).sum(axis=1).min()
        assert abs((importance * (found - target) ** 2).sum() - least) < 1e-9


def test_without_the_trellis_and_trade_it_rounds() -> None:
    target = np.random.default_rng(3).uniform(-70, 70, (4, 3, 3, 3))
    found = quantise(target, np.ones(3), 0.0, dependent=False)
    np.testing.assert_array_equal(found, np.rint(target).clip(-63, 63))


def test_a_layer_stays_on_the_trellis_over_all_its_channels() -> None:
    target = np.random.default_rng(4).normal(0, 4, (7, 5, 3, 3))
    found = quantise(target, np.ones(5), 0.2, dependent=True)
    levels = quantised_levels(found.ravel())
    assert all_values(tuple(levels.tolist())) == found.ravel().tolist()
    assert np.abs(found - target).mean() < 1


def test_the_largest_weights_are_kept_in_their_range() -> None:
    target = np.where(np.arange(48).reshape(2, 24, 1, 1) % 2, 90.0, -90.0)
    found = quantise(target, np.ones(24), 0.0, dependent=True)
    assert np.abs(found).max() <= 63 and np.abs(found).min() >= 62


def test_dearer_bits_make_smaller_levels_first_where_errors_matter_least() -> None:
    random = np.random.default_rng(5)
    target, importance = random.normal(0, 2, (16, 8, 3, 3)), np.repeat([0.2, 1.8], 4)
    last = np.inf
    for trade in (0.0, 0.2, 1.0):
        found = quantise(target, importance, trade, dependent=True)
        assert np.abs(found).sum() < last
        last = np.abs(found).sum()
    error = ((found - target) ** 2).mean(axis=(0, 2, 3))
    assert error[:4].min() > error[4:].max()
