"""§5.8 A motion as motion units, under limits on errors or at a bit rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from reference_encoder.content import Motion
from reference_encoder.motion_model import MotionModel, step_codes
from reference_encoder.motion_search import PlannedUnit, Residuals, search
from reference_encoder.quantise import Settings
from reference_encoder.units import unit

FINEST, COARSEST = 2.0**-6, 2.0**8  # what rate control may multiply tolerances by
BISECTIONS = 10


def motion_stream(
    model: MotionModel,
    motion: Motion,
    settings: Settings,
    known: Mapping[str, Any],
    progress: Callable[[str, int, int], None],
) -> tuple[np.ndarray, list[bytes]]:
    """§5.5, §5.8 The step codes of the avatar header and the motion units.

    `known` holds the counts of the header and the limits of the level. With a `bitrate` in the settings the
    tolerances are scaled until the units, without anything else of the stream, take at most that many kbit/s.
    """
    plan = planned_units(motion, settings, known["max_unit_frames"])
    if settings.bitrate == 0:
        return _coded(model, plan, settings, known, progress)
    room = settings.bitrate * 1000 / 8 * motion.count / float(motion.fps)
    low, high = np.log2(FINEST), np.log2(COARSEST)
    best = _coded(model, plan, scaled(settings, 2.0**high), known, progress)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        found = _coded(model, plan, scaled(settings, 2.0**middle), known, progress)
        if sum(map(len, found[1])) <= room:
            best, high = found, middle
        else:
            low = middle
    return best


def scaled(settings: Settings, factor: float) -> Settings:
    """Settings with all limits on the errors of motion and the step of expression weights times `factor`."""
    return replace(
        settings,
        motion_tolerance=settings.motion_tolerance * factor,
        shell_tolerance=settings.shell_tolerance * factor,
        expression_weight_step=settings.expression_weight_step * factor,
    )


def _coded(
    model: MotionModel,
    plan: Sequence[PlannedUnit],
    settings: Settings,
    known: Mapping[str, Any],
    progress: Callable[[str, int, int], None],
) -> tuple[np.ndarray, list[bytes]]:
    codes = step_codes(model, settings)
    contexts: dict[str, Any] = {}
    stream, place = [], {"next_frame": -1, "next_order": 0}
    found = search(model, codes, plan, settings)
    for number, planned in enumerate(plan):
        values = unit_values(planned, number, found)
        stream.append(unit("motion", values, {**known, **place}, contexts, checksum=settings.checksums))
        done = planned.first + planned.count
        place = {"next_frame": done, "next_order": (values["unit_order"] + 1) % 16}
        progress("frames", done, len(found.symbols))
    return codes, stream


def unit_values(planned: PlannedUnit, number: int, found: Residuals) -> dict[str, Any]:
    """§5.8 The elements of motion unit `number` of the stream."""
    part = slice(planned.first, planned.first + planned.count)
    return {
        "key_flag": int(planned.key),
        "several_flag": int(planned.count > 1),
        "group_shift": planned.group_shift,
        "unit_order": number % 16,
        "frame_count": planned.count - 1,
        "first_frame": planned.first,
        "step_shift": found.shifts[part],
        "residual_magnitude": np.abs(found.symbols[part]),
        "residual_sign": found.symbols[part] < 0,
    }


def planned_units(motion: Motion, settings: Settings, longest: int) -> list[PlannedUnit]:
    """§6.8 The motion units of a stream: one or more from each random access point to the next."""
    longest = max(1, min(settings.frames_per_unit, longest))
    starts = [*range(0, motion.count, key_interval(motion, settings)), motion.count]
    return [
        PlannedUnit(
            first, min(longest, stop - first), first == start, settings.group_shift if longest > 1 else 0
        )
        for start, stop in pairwise(starts)
        for first in range(start, stop, longest)
    ]


def key_interval(motion: Motion, settings: Settings) -> int:
    """§6.8 Frames from one random access point to the next."""
    return max(1, round(settings.random_access * motion.fps)) if settings.random_access else motion.count
