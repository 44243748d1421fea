"""§7.9.3 Which whole numbers to send for weights: the best path through the trellis, errors weighed against bits.

The search is that of trellis-coded quantisation (Marcellin and Fischer 1990) by Viterbi's algorithm, as encoders of
video do it with adaptive contexts: each survivor carries what its contexts depend on.
"""

from __future__ import annotations

import numba
import numpy as np

import spec
from reference_decoder import jit

_C = spec.standard().constant_values
_TRELLIS = np.array(_C["TRELLIS"], np.int64)
_STATES = len(_TRELLIS) // 2
_START, _COLUMN, _INPUT, _ROW = (
    _C[f"WEIGHT_{name}"] for name in ("MEAN_START", "COLUMN_RATE", "INPUT_RATE", "ROW_RATE")
)
WEIGHT_MAX = 63
_MAGNITUDES = WEIGHT_MAX + 1

_follow = jit.function("follow_magnitude")
_class = jit.function("weight_class")
_dequantise = jit.function("dequantise_weight")


def quantise(
    target: np.ndarray, importance: np.ndarray, trade: float, *, dependent: bool, passes: int = 3
) -> np.ndarray:
    """§7.9.3 The weights (O, I, k, k), whole numbers in -63..63, that stand for `target` (O, I, k, k) in steps.

    The least sum of importance * error^2 + trade * bits, where importance (I,) is that of the input channels (the
    second moments of what they carry, say) and errors are in steps. With `dependent` they are values that a layer
    with `dependent_flag` 1 can have, else `trade` 0 rounds. Bits are those of the levels' statistics in the contexts
    of 8.3.4, found in `passes` passes.
    """
    taps = target.shape[2] * target.shape[3]
    flat = np.ascontiguousarray(target, np.float64).reshape(len(target), -1)
    weighted = np.repeat(np.asarray(importance, np.float64), taps)
    bits = _bits(np.zeros((2, _C["WEIGHT_CLASSES"], _MAGNITUDES)))
    for _ in range(passes if trade > 0 else 1):
        weights = np.zeros(flat.shape, np.int64)
        counts = np.zeros_like(bits)
        _search(flat, weighted, taps, float(trade), int(dependent), bits, weights, counts)
        bits = _bits(counts)
    return weights.reshape(target.shape)


def _bits(counts: np.ndarray) -> np.ndarray:
    """Bits (2, classes, magnitudes) of a level and its sign: what was counted, over the distribution to expect."""
    edges = np.array([0, *_C["WEIGHT_THRESHOLDS"], 2 * _C["WEIGHT_THRESHOLDS"][-1]]) / 320
    mean = (edges[:-1] + edges[1:])[:, None] / 2
    share = mean / (1 + mean)
    expected = (1 - share) * share ** np.arange(counts.shape[2])
    total = counts.sum(axis=2, keepdims=True)
    bits = -np.log2((counts + 8 * expected + 1e-9) / (total + 8))
    bits[:, :, 1:] += 1
    return np.asarray(bits)


@numba.njit(**jit.OPTIONS)
def _search(
    target: np.ndarray, importance: np.ndarray, taps: int, trade: float, dependent: int, bits: np.ndarray,
    weights: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """Fills `weights` (O, F), an output channel after the other, and counts what it takes."""
    fan_in = target.shape[1]
    column, inputs = np.full(fan_in, _START), np.full(fan_in // taps, _START)
    chosen = np.zeros(fan_in, np.int64)
    state, row = 0, _START
    for o in range(len(target)):
        _channel(o, target[o], importance, taps, trade, dependent, bits, column, inputs, state, row, chosen)
        total = 0
        for k in range(fan_in):
            halving = dependent * (state & 1)
            if o == 0:
                column[k] = row
                if k % taps == 0:
                    inputs[k // taps] = row
            total = 0 if k % taps == 0 else total
            level = chosen[k]
            counts[halving, _class(column[k], inputs[k // taps], row, total, k % taps), abs(level)] += 1
            weights[o, k] = _dequantise(level, dependent, halving)
            state = _TRELLIS[2 * state + (level & 1)]
            column[k] = _follow(column[k], level, _COLUMN)
            inputs[k // taps] = _follow(inputs[k // taps], level, _INPUT)
            row = _follow(row, level, _ROW)
            total += abs(level)


@numba.njit(**jit.OPTIONS)
def _channel(
    o: int, target: np.ndarray, importance: np.ndarray, taps: int, trade: float, dependent: int, bits: np.ndarray,
    column: np.ndarray, inputs: np.ndarray, start: int, first_row: int, chosen: np.ndarray,
) -> None:  # fmt: skip
    """Fills `chosen` with the levels of output channel o: the cheapest path that starts in a state of the trellis."""
    fan_in = len(target)
    cost, rows, totals = np.full(_STATES, np.inf), np.full(_STATES, first_row), np.zeros(_STATES, np.int64)
    cost[start] = 0
    level_to, state_before = np.zeros((fan_in, _STATES), np.int64), np.zeros((fan_in, _STATES), np.int64)
    for k in range(fan_in):
        tap, scale = k % taps, importance[k]
        next_cost, next_rows = np.full(_STATES, np.inf), np.zeros(_STATES, np.int64)
        next_totals = np.zeros(_STATES, np.int64)
        for state in range(_STATES):
            if cost[state] == np.inf:
                continue
            halving = dependent * (state & 1)
            total = 0 if tap == 0 else totals[state]
            known = (column[k], inputs[k // taps]) if o > 0 else (rows[state], rows[state])
            number = _class(known[0], known[1], rows[state], total, tap)
            nearest = int((abs(target[k]) + halving) / (1 + dependent))
            highest = (WEIGHT_MAX + halving) >> dependent
            for candidate in range(3):
                magnitude = 0 if candidate == 2 else min(nearest + candidate, highest)
                level = -magnitude if target[k] < 0 else magnitude
                error = target[k] - _dequantise(level, dependent, halving)
                price = cost[state] + scale * error * error + trade * bits[halving, number, magnitude]
                to = _TRELLIS[2 * state + (level & 1)] if dependent else 0
                if price < next_cost[to]:
                    next_cost[to], next_totals[to] = price, total + magnitude
                    next_rows[to] = _follow(rows[state], level, _ROW)
                    level_to[k, to], state_before[k, to] = level, state
        cost, rows, totals = next_cost, next_rows, next_totals
    state = int(np.argmin(cost))
    for k in range(fan_in - 1, -1, -1):
        chosen[k] = level_to[k, state]
        state = state_before[k, state]
