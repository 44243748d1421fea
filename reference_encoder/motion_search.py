"""§7.5 The residuals of a motion: for each frame those of least bits and error, in the closed loop of the decoder.

A frame is searched about its true pose, where errors of joints are linear in errors of components. The
search starts from residuals chosen from the root outwards, each so that it makes up for the errors of the
joints before it, and then changes single residuals and pairs while that lowers bits plus weighted squared
errors. Errors beyond the limits cost so much that they are kept wherever that is possible. What is found is
checked by forward kinematics of the decoded pose; if it does not keep the limits another start is tried, and
then the steps of the frame are halved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

import spec
from reference_decoder import jit
from reference_decoder.payload import int_zeros
from reference_encoder.motion_model import MotionModel, descendants
from reference_encoder.quantise import Settings
from spec.ports import fresh_contexts

_component_limit = jit.function("component_limit")
_component_step = jit.function("component_step")
_coded_frame = jit.function("coded_frame")
_follow_component = jit.function("follow_component")
_frame_bank = jit.function("frame_bank")
_frame_span = jit.function("frame_span")
_known_changes = jit.function("known_changes")
_later_span = jit.function("later_span")
_limit = jit.function("limit")
_predicted_change = jit.function("predicted_change")
_residual_class = jit.function("residual_class")
_running_mean = jit.function("running_mean")
_start_component = jit.function("start_component")
_update_context = jit.function("update_context")
_zero_probability = jit.function("zero_probability")

_FUNCTIONS = {name: jit.function(name) for name in ("reset_contexts", "start_sets")}

BANKS, HISTORY = jit.document_module().BANKS, jit.document_module().HISTORY
MAGNITUDE_CLASSES = jit.document_module().MAGNITUDE_CLASSES
MAGNITUDE_CONTEXTS = 2 * MAGNITUDE_CLASSES - 1
LARGEST = (1 << 24) - 1  # magnitude of a residual
CLASSES = 15  # context sets of magnitudes
SHIFTS = 4
FAR = 1000.0  # tolerances that a constant step never reaches
TABLE = 16  # magnitudes whose cost is looked up
RETRIES = 4  # of a frame whose errors are linear only nearly
SWEEPS = 6
PAIR_SWEEPS = 2
PAIR_SLACK = 12.0  # bits that the first change of a pair may lose
STARTS = np.array(
    [0.3, 1.0, 0.1, 3.0, 0.03, 10.0, 0.0, 0.6]
)  # how much a start prefers plain rounding; 0: only
BANK_WEIGHTS = np.array([8.0, 0.3, 1.0, 2.0])  # of errors in groups: other frames are predicted from them
SMALL_TURN = 0.0005  # weight of turns against displacements in a start, m^2


@dataclass(frozen=True)
class PlannedUnit:
    """§5.8 The frames of one motion unit, and the binary logarithm of the size of its groups."""

    first: int
    count: int
    key: bool
    group_shift: int


@dataclass(frozen=True)
class Residuals:
    """§7.5.1 What motion units carry, for all frames, and the poses that the decoder will obtain."""

    symbols: np.ndarray  # (F, C)
    shifts: np.ndarray  # (F,)
    poses: np.ndarray  # (F, C)


def search(
    model: MotionModel, codes: np.ndarray, plan: Sequence[PlannedUnit], settings: Settings
) -> Residuals:
    """§7.5 The residuals of all frames; `plan` says which frames make up which unit.

    The result depends on nothing but the arguments: it is found by one thread.
    """
    frames, count = model.target.shape
    table, counts = descendants(model.parents)
    standard = spec.standard()
    bases = np.array(
        [standard.context_bases[n] for n in ("step_shift", "residual_magnitude", "residual_sign")]
    )
    contexts = fresh_contexts(standard, "motion_frames", _FUNCTIONS, int_zeros)
    limits, weight = error_weights(settings)
    symbols, poses = np.zeros((frames, count), np.int64), np.zeros((frames, count), np.int64)
    shifts = np.zeros(frames, np.int64)
    body = (np.asarray(model.parents), table, counts, model.reach, model.offsets)
    motion = (model.target, model.unit, model.axes, model.places, model.matrices)
    effort = (weight, settings.motion_starts)
    order = frame_order(plan)
    _search(motion, body, np.asarray(codes), order, limits, effort, bases, contexts, symbols, shifts, poses)
    return Residuals(symbols, shifts, poses)


def error_weights(settings: Settings) -> tuple[np.ndarray, float]:
    """(2,) metres, the limits on the errors of joints and of the body, and the bits that such errors are worth.

    With a constant step the limits are far away and errors worth as much as with the tolerance of that step.
    """
    if settings.motion_step:
        limit = FAR * settings.motion_step / settings.motion_quantum
        return np.maximum([limit, limit], 1e-9), FAR**2 * settings.motion_lambda
    return np.maximum([settings.motion_tolerance, settings.shell_tolerance], 1e-9), settings.motion_lambda


def frame_order(plan: Sequence[PlannedUnit]) -> np.ndarray:
    """§7.5.2 (F, 5) the frames in the order of the stream: index, whether a key frame, spans, bank."""
    rows = []
    for unit in plan:
        place = int(unit.key), unit.group_shift, unit.count - 1
        for i in range(unit.count):
            f = _coded_frame(i, *place)
            spans = _frame_span(f, *place), _later_span(f, *place)
            rows.append((unit.first + f, int(unit.key and f == 0), *spans, _frame_bank(f, *place)))
    return np.array(rows)


@njit(**jit.OPTIONS)
def _search(motion, body, codes, order, limits, effort, bases, fresh, symbols, shifts, poses):
    target, unit, axes, places, matrices = motion
    frames, count = target.shape
    joints = len(body[0])
    steps = np.array([_component_step(code) for code in codes])
    bounds = np.array([_component_limit(n, joints) for n in range(count)])
    track, moments = np.zeros((count, HISTORY + frames), np.int64), np.zeros((BANKS * count, 5), np.int64)
    means, signs = np.zeros((BANKS, count), np.int64), np.zeros((BANKS, count), np.int64)
    predicted, contexts = np.zeros(count, np.int64), fresh.copy()
    classes, sign_sets = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for f, key, span, later, bank in order:
        t = HISTORY + f
        if key:
            contexts[:] = fresh
            signs[:] = 0
        for n in range(count):
            predicted[n] = 0
            classes[n], sign_sets[n] = 0, 0
            if not key:
                first, second = _known_changes(t, span, later, track[n])
                change = _predicted_change(first, second, bank, moments[bank * count + n])
                predicted[n] = _limit(track[n, t - span] + change, bounds[n])
                classes[n], sign_sets[n] = 1 + _residual_class(means[bank, n]), 1 + signs[bank, n]
        costs = _costs(contexts, bases, bank)
        problem = (target[f], unit, axes[f], places[f], predicted, steps, classes, sign_sets, matrices[f])
        weight = effort[0] * (BANK_WEIGHTS[bank] if span > 1 or later > 0 else 1.0)
        shifts[f] = _frame(problem, body, limits, (weight, effort[1]), costs, symbols[f])
        _adapt(contexts, bases, bank, symbols[f], shifts[f], classes, sign_sets)
        for n in range(count):
            k = symbols[f, n]
            size = k * (steps[n] >> shifts[f])
            if key:
                poses[f, n] = _limit(size, bounds[n])
                _start_component(poses[f, n], n, count, track[n, f:], moments)
                means[:, n] = 256 if k != 0 else 24
                continue
            row = moments[bank * count + n]
            poses[f, n] = _follow_component(t, span, later, bank, steps[n], bounds[n], size, track[n], row)
            means[bank, n] = _running_mean(means[bank, n], abs(k), shifts[f])
            signs[bank, n] = 0 if k == 0 else (1 if k > 0 else 2)


# What a residual costs


@njit(**jit.OPTIONS)
def _bin_cost(contexts, context, value):
    zero = _zero_probability(contexts, context)
    return -math.log2((32768 - zero if value else zero) / 32768)


@njit(**jit.OPTIONS)
def _costs(contexts, bases, bank):
    """Bits of magnitudes by class, of signs by set, and of step shifts, as the contexts are before a frame."""
    magnitudes = np.zeros((CLASSES, TABLE))
    for c in range(CLASSES):
        base = bases[1] + c * MAGNITUDE_CONTEXTS
        for k in range(TABLE):
            significant, more = 0, 0.0
            while (k >> significant) > 0:
                more += _bin_cost(contexts, base + significant, 1)
                significant += 1
            more += _bin_cost(contexts, base + significant, 0)
            if significant > 1:
                top = base + MAGNITUDE_CLASSES + significant - 2
                more += _bin_cost(contexts, top, (k >> (significant - 2)) & 1) + significant - 2
            magnitudes[c, k] = more
    signs = np.zeros((4, 2))
    for s in range(4):
        for value in range(2):
            signs[s, value] = _bin_cost(contexts, bases[2] + s, value)
    shifts = np.zeros(SHIFTS)
    for shift in range(SHIFTS):
        shifts[shift] = _bin_cost(contexts, bases[0] + 3 * bank, shift >> 1)
        shifts[shift] += _bin_cost(contexts, bases[0] + 3 * bank + 1 + (shift >> 1), shift & 1)
    return magnitudes, signs, shifts


@njit(**jit.OPTIONS)
def _bits(costs, class_, sign_set, k):
    magnitudes, signs, _ = costs
    if k == 0:
        return magnitudes[class_, 0]
    sign = signs[sign_set, 1 if k < 0 else 0]
    if abs(k) < TABLE:
        return magnitudes[class_, abs(k)] + sign
    return magnitudes[class_, TABLE - 1] + 2 * math.log2(abs(k) / (TABLE - 1)) + sign


@njit(**jit.OPTIONS)
def _adapt(contexts, bases, bank, symbols, shift, classes, sign_sets):
    """§C.3 What the arithmetic encoder does to the contexts when it writes a frame."""
    _update_context(contexts, bases[0] + 3 * bank, shift >> 1)
    _update_context(contexts, bases[0] + 3 * bank + 1 + (shift >> 1), shift & 1)
    for n in range(len(symbols)):
        k = abs(symbols[n])
        base = bases[1] + classes[n] * MAGNITUDE_CONTEXTS
        significant = 0
        while (k >> significant) > 0:
            _update_context(contexts, base + significant, 1)
            significant += 1
        if significant < MAGNITUDE_CLASSES:
            _update_context(contexts, base + significant, 0)
        if significant > 1:
            top = base + MAGNITUDE_CLASSES + significant - 2
            _update_context(contexts, top, (k >> (significant - 2)) & 1)
        if k:
            _update_context(contexts, bases[2] + sign_sets[n], 1 if symbols[n] < 0 else 0)


# What a residual does: errors (J, 7) are displacement 0..2 in m, turn 3..5 in rad, and what share of the limits is used


@njit(**jit.OPTIONS)
def _used(x, y, z, a, b, c, reach, limits):
    displacement = math.sqrt(x * x + y * y + z * z)
    surface = displacement + reach * math.sqrt(a * a + b * b + c * c)
    return max(displacement / limits[0], surface / limits[1])


@njit(**jit.OPTIONS)
def _penalty(used, weight):
    return weight * used * used + (3 + 300 * (used - 1) if used > 1 else 0.0)


@njit(**jit.OPTIONS)
def _moved(n, change, j, problem, errors):
    """The six errors of joint j after a change (physical units) of component n, which moves it."""
    x, y, z, a, b, c = errors[j, 0], errors[j, 1], errors[j, 2], errors[j, 3], errors[j, 4], errors[j, 5]
    if n < 3:
        if n == 0:
            x += change
        elif n == 1:
            y += change
        else:
            z += change
        return x, y, z, a, b, c
    axes, places = problem[2], problem[3]
    g = n // 3 - 1
    p, q, r = axes[n - 3, 0] * change, axes[n - 3, 1] * change, axes[n - 3, 2] * change
    u, v, w = places[j, 0] - places[g, 0], places[j, 1] - places[g, 1], places[j, 2] - places[g, 2]
    return x + q * w - r * v, y + r * u - p * w, z + p * v - q * u, a + p, b + q, c + r


@njit(**jit.OPTIONS)
def _apply(n, change, problem, body, limits, errors):
    _, table, counts, reach, _ = body
    g = max(n // 3 - 1, 0)
    for i in range(counts[g]):
        j = table[g, i]
        x, y, z, a, b, c = _moved(n, change, j, problem, errors)
        errors[j, 0], errors[j, 1], errors[j, 2] = x, y, z
        errors[j, 3], errors[j, 4], errors[j, 5] = a, b, c
        errors[j, 6] = _used(x, y, z, a, b, c, reach[j], limits)


@njit(**jit.OPTIONS)
def _difference(n, change, problem, body, limits, weight, errors):
    """By how much the penalty of all joints grows with a change."""
    _, table, counts, reach, _ = body
    g = max(n // 3 - 1, 0)
    total = 0.0
    for i in range(counts[g]):
        j = table[g, i]
        x, y, z, a, b, c = _moved(n, change, j, problem, errors)
        total += _penalty(_used(x, y, z, a, b, c, reach[j], limits), weight) - _penalty(errors[j, 6], weight)
    return total


@njit(**jit.OPTIONS)
def _exactly_used(k, shift, problem, body, limits):
    """What share of the limits the pose of residuals k uses, by forward kinematics of its own."""
    _, unit, _, places, predicted, steps, _, _, matrices = problem
    parents, _, _, reach, offsets = body
    joints = len(parents)
    pose = np.empty(3 + 3 * joints)
    for n in range(len(pose)):
        value = _limit(predicted[n] + k[n] * (steps[n] >> shift), _component_limit(n, joints))
        pose[n] = value * unit[n]
    turned, moved, local = np.empty((joints, 3, 3)), np.empty((joints, 3)), np.empty((3, 3))
    worst = 0.0
    for j in range(joints):
        _rotation(pose[3 + 3 * j], pose[4 + 3 * j], pose[5 + 3 * j], local)
        p, apart, turn = parents[j], 0.0, 0.0
        for r in range(3):
            moved[j, r] = offsets[0, r] + pose[r]
            if j:
                moved[j, r] = moved[p, r]
                for c in range(3):
                    moved[j, r] += turned[p, r, c] * offsets[j, c]
            for c in range(3):
                turned[j, r, c] = local[r, c]
                if j:
                    turned[j, r, c] = 0
                    for i in range(3):
                        turned[j, r, c] += turned[p, r, i] * local[i, c]
                turn += (turned[j, r, c] - matrices[j, r, c]) ** 2
            apart += (moved[j, r] - places[j, r]) ** 2
        surface = math.sqrt(apart) + reach[j] * math.sqrt(turn / 2)
        worst = max(worst, math.sqrt(apart) / limits[0], surface / limits[1])
    return worst


@njit(**jit.OPTIONS)
def _rotation(x, y, z, matrix):
    """The matrix of a rotation vector."""
    squared = x * x + y * y + z * z
    angle = math.sqrt(squared)
    a = math.sin(angle) / angle if angle > 1e-6 else 1.0
    b = (1 - math.cos(angle)) / squared if angle > 1e-6 else 0.5
    matrix[0, 0], matrix[1, 1], matrix[2, 2] = (
        1 - b * (y * y + z * z),
        1 - b * (x * x + z * z),
        1 - b * (x * x + y * y),
    )
    matrix[0, 1], matrix[1, 0] = b * x * y - a * z, b * x * y + a * z
    matrix[0, 2], matrix[2, 0] = b * x * z + a * y, b * x * z - a * y
    matrix[1, 2], matrix[2, 1] = b * y * z - a * x, b * y * z + a * x


# The search of one frame


@njit(**jit.OPTIONS)
def _frame(problem, body, limits, effort, costs, symbols):
    """Fills `symbols` with the best of the starts, more of them until the limits are kept; returns the shift."""
    weight, starts = effort
    joints, count = len(body[0]), len(symbols)
    k, errors = np.zeros(count, np.int64), np.zeros((joints, 7))
    best, best_shift, attempt, retries, found = math.inf, 0, 0, 0, False
    aim = limits.copy()
    while attempt < SHIFTS * len(STARTS) and not (found and attempt >= starts):
        shift = attempt // len(STARTS)
        _start(STARTS[attempt % len(STARTS)], shift, problem, body, aim, errors, k)
        _improve(shift, problem, body, aim, weight, costs, errors, k)
        total, used = costs[2][shift], 0.0
        for n in range(count):
            total += _bits(costs, problem[6][n], problem[7][n], k[n])
        for j in range(joints):
            total += _penalty(errors[j, 6], weight)
            used = max(used, errors[j, 6])
        exact = _exactly_used(k, shift, problem, body, limits)
        found |= exact <= 1
        total += 0 if exact <= 1 else 1000 * (1 + exact)
        if total < best:
            best, best_shift = total, shift
            symbols[:] = k
        if used <= 1 < exact and retries < RETRIES:
            aim *= max(0.99 / exact, 0.7)
            retries += 1
        else:
            attempt += 1
    return best_shift


@njit(**jit.OPTIONS)
def _start(plain, shift, problem, body, limits, errors, k):
    """Residuals from the root outwards, each the best for the children of its joint after those before it."""
    target, unit, _, _, predicted, steps, classes, _, _ = problem
    errors[:] = 0
    moving = 3 + 3 * len(body[0])
    for n in range(len(k)):
        aim = target[n]
        step = steps[n] >> shift
        still = classes[n] == 1 and abs(aim - predicted[n]) < 0.01 * step
        if plain > 0 and 3 <= n < moving and not still:
            aim -= _compensation(n, plain * (1e-3 / (step * unit[n])) ** 2, problem, body, errors) / unit[n]
        k[n] = min(max(math.floor((aim - predicted[n]) / step + 0.5), -LARGEST), LARGEST)
        if n < moving:
            _apply(n, (predicted[n] + k[n] * step - target[n]) * unit[n], problem, body, limits, errors)


@njit(**jit.OPTIONS)
def _compensation(n, plain, problem, body, errors):
    """The change of a rotation component that would best make up for the errors of the children of its joint."""
    parents, table, counts, _, _ = body
    axes, places = problem[2], problem[3]
    g = n // 3 - 1
    p, q, r = axes[n - 3, 0], axes[n - 3, 1], axes[n - 3, 2]
    gain = SMALL_TURN * (p * errors[g, 3] + q * errors[g, 4] + r * errors[g, 5])
    power = plain + SMALL_TURN * (p * p + q * q + r * r)
    for i in range(1, counts[g]):
        j = table[g, i]
        if parents[j] == g:
            u, v, w = places[j, 0] - places[g, 0], places[j, 1] - places[g, 1], places[j, 2] - places[g, 2]
            x, y, z = q * w - r * v, r * u - p * w, p * v - q * u
            gain += x * errors[j, 0] + y * errors[j, 1] + z * errors[j, 2]
            power += x * x + y * y + z * z
    return gain / power


@njit(**jit.OPTIONS)
def _improve(shift, problem, body, limits, weight, costs, errors, k):
    """Coordinate descent, at the end also over pairs of components of joints that are near each other."""
    unit, steps = problem[1], problem[5]
    moving = 3 + 3 * len(body[0])
    for sweep in range(SWEEPS):
        pairs = sweep >= SWEEPS - PAIR_SWEEPS
        changed = False
        for n in range(moving):
            if pairs:
                first, other, second = _best_pair(n, shift, problem, body, limits, weight, costs, errors, k)
            else:
                first, other, second = _best(n, shift, problem, body, limits, weight, costs, errors, k), -1, 0
            if first != k[n]:
                changed = True
                size = (steps[n] >> shift) * unit[n]
                _apply(n, (first - k[n]) * size, problem, body, limits, errors)
                k[n] = first
                if other >= 0:
                    size = (steps[other] >> shift) * unit[other]
                    _apply(other, (second - k[other]) * size, problem, body, limits, errors)
                    k[other] = second
        if pairs and not changed:
            break


@njit(**jit.OPTIONS)
def _best(n, shift, problem, body, limits, weight, costs, errors, k):
    """The best of a residual, its neighbours and, for a small one, 0."""
    class_, sign_set = problem[6][n], problem[7][n]
    size = (problem[5][n] >> shift) * problem[1][n]
    now = _bits(costs, class_, sign_set, k[n])
    best, least = k[n], -1e-9
    for trial in range(3):
        value = 0 if trial == 2 else k[n] - 1 + 2 * trial
        if abs(value) > LARGEST or (trial == 2 and not 2 <= abs(k[n]) <= 3):
            continue
        gain = _bits(costs, class_, sign_set, value) - now
        gain += _difference(n, (value - k[n]) * size, problem, body, limits, weight, errors)
        if gain < least:
            best, least = value, gain
    return best


@njit(**jit.OPTIONS)
def _best_pair(n, shift, problem, body, limits, weight, costs, errors, k):
    """The best change by one of residual n, alone or with a change by one of another near it."""
    classes, sign_sets = problem[6], problem[7]
    best, other, second, least = k[n], -1, 0, -1e-9
    if k[n] == 0 and classes[n] <= 1:
        return best, other, second
    unit, steps = problem[1], problem[5]
    size = (steps[n] >> shift) * unit[n]
    start = k[n]
    now = _bits(costs, classes[n], sign_sets[n], start)
    for value in (start - 1, start + 1):
        if abs(value) > LARGEST:
            continue
        alone = _bits(costs, classes[n], sign_sets[n], value) - now
        alone += _difference(n, (value - start) * size, problem, body, limits, weight, errors)
        if alone < least:
            best, other, least = value, -1, alone
        if alone >= least + PAIR_SLACK:
            continue
        _apply(n, (value - start) * size, problem, body, limits, errors)
        for m in range(len(body[0]) * 3 + 3):
            if m == n or not _near(n, m, body[0]) or (k[m] == 0 and classes[m] <= 1):
                continue
            there = _bits(costs, classes[m], sign_sets[m], k[m])
            for partner in (k[m] - 1, k[m] + 1):
                gain = alone + _bits(costs, classes[m], sign_sets[m], partner) - there
                if abs(partner) > LARGEST or gain > least + PAIR_SLACK:
                    continue
                step = (partner - k[m]) * (steps[m] >> shift) * unit[m]
                gain += _difference(m, step, problem, body, limits, weight, errors)
                if gain < least:
                    best, other, second, least = value, m, partner, gain
        _apply(n, (start - value) * size, problem, body, limits, errors)
    return best, other, second


@njit(**jit.OPTIONS)
def _near(n, m, parents):
    """Whether two components belong to one joint, or to joints of which one is (grand)parent of the other."""
    g, h = n // 3 - 1, m // 3 - 1
    if g == h:
        return True
    if h >= 0 and (parents[h] == g or (parents[h] >= 0 and parents[parents[h]] == g)):
        return True
    return g >= 0 and parents[g] == h
