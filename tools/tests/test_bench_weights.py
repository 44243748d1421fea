"""The benchmark of weight coding: sizes by hand, and what it says of a small network."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'hga[train]'")

from reference_encoder.generator import Layer  # noqa: E402
from tools.bench_weights import LAPLACE, OURS, at_equal_error, coders, laplace_bytes, levels_of  # noqa: E402


def test_the_ideal_code_is_that_of_its_probabilities() -> None:
    """Levels as a rounded Laplace distribution of scale 2 has them: the code has the length of its entropy."""
    share = {k: math.exp(-(abs(k) - 0.5) / 2) * (1 - math.exp(-0.5)) / 2 for k in range(-20, 21) if k}
    share[0] = 1 - math.exp(-0.25)
    counts = {k: round(100_000 * p) for k, p in share.items()}
    levels = np.repeat(list(counts), list(counts.values()))
    entropy = -sum(n * math.log2(n / len(levels)) for n in counts.values())
    assert laplace_bytes(levels) == pytest.approx(entropy / 8 + 2, rel=1e-3)
    assert laplace_bytes(np.zeros(1000, np.int64)) == pytest.approx(2, abs=0.1)


def test_bits_are_compared_at_equal_error() -> None:
    """Between errors of 1 and 100 the curve falls from 4 to 2 bits: at 10 it has 3."""
    uniform = [{"error": 1.0, LAPLACE: 4.0}, {"error": 100.0, LAPLACE: 2.0}]
    dependent = [{"error": 10.0, OURS: 2.4}, {"error": 100.0, OURS: 1.0}, {"error": 200.0, OURS: 0.1}]
    assert at_equal_error(uniform, dependent) == pytest.approx([0.8, 0.5])


def test_levels_of_dependent_layers_are_half_as_large() -> None:
    weights = np.array([4, 2, -6, 0]).reshape(1, 4, 1, 1)
    none = np.zeros(1, np.int64)
    assert levels_of(Layer(weights, none, none, none)).tolist() == [4, 2, -6, 0]
    assert levels_of(Layer(weights, none, none, none, dependent=True)).tolist() == [2, 1, -3, 0]
    assert coders([Layer(weights, none, none, none)], 3.0)[OURS] == 3.0
