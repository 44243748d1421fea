"""§5.8 A motion as motion units, at given steps, under limits on errors, or at a bit rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from reference_decoder.units import motion_place
from reference_encoder.content import ContentError, Motion
from reference_encoder.motion_model import MotionModel, mean_joint_error, step_codes
from reference_encoder.motion_search import PlannedUnit, Residuals, search
from reference_encoder.quantise import Settings
from reference_encoder.units import unit

FINEST, COARSEST = 2.0**-6, 2.0**8  # what rate control may multiply steps and tolerances by
TRIALS = 12
CLOSE, AIM = 0.97, 0.985  # shares of a target: that is near enough, and that is aimed at
FIRST_STEP = 0.0003  # m; the step that goes with the step of expressions in a search for a mean error
STEP_OF_ERROR = 1.6  # of the motion to the mean error it makes, where the search begins
BEST_GROUPS = 7  # effort from which on groups of several sizes are tried


@dataclass(frozen=True)
class Coded:
    """Motion units with the step codes they need and the poses that a decoder will obtain."""

    codes: np.ndarray  # (C,)
    units: list[bytes]
    poses: np.ndarray  # (F, C)

    @property
    def size(self) -> int:
        """Bytes of all units."""
        return sum(map(len, self.units))


Job = Callable[[Settings], Coded]


def motion_stream(
    model: MotionModel,
    motion: Motion,
    settings: Settings,
    known: Mapping[str, Any],
    progress: Callable[[str, int, int], None],
) -> tuple[np.ndarray, list[bytes]]:
    """§5.5, §5.8 The step codes of the avatar header and the motion units.

    `known` holds the counts of the header and the limits of the level. One of these settings decides about the
    errors, else the tolerances do: `motion_step`, which is kept whatever errors it makes; `mean_error`, for which
    such a step is sought; `bitrate`, at most which the units take, without anything else of the stream, the
    tolerances being scaled. Raises ContentError for more than one of them.
    """
    check_control(settings)

    def code(settings: Settings) -> Coded:
        plan = planned_units(motion, settings, known["max_unit_frames"])
        return _coded(model, plan, settings, known, progress)

    room = settings.bitrate * 1000 / 8 * motion.count / float(motion.fps)
    found = [
        _controlled(model, replace(settings, group_shift=shift), room, code) for shift in shifts(settings)
    ]
    if settings.bitrate and len(found) > 1:
        best = min(found, key=lambda coded: mean_joint_error(model, coded.poses))
    else:
        best = min(found, key=lambda coded: coded.size)
    return best.codes, best.units


def shifts(settings: Settings) -> tuple[int, ...]:
    """§7.5.2 The sizes of groups, as binary logarithms, of which the best is taken."""
    if settings.group_shift >= 0 or settings.frames_per_unit == 1:
        return (max(settings.group_shift, 0),)
    return (0, 1, 2) if settings.effort >= BEST_GROUPS else (0,)


def check_control(settings: Settings) -> None:
    """Refuses settings that ask for two things at once, or for groups that there are not."""
    wanted = [name for name in ("motion_step", "mean_error", "bitrate") if getattr(settings, name)]
    if len(wanted) > 1:
        raise ContentError(f"{wanted[0]} and {wanted[1]} cannot both decide about the errors of the motion")
    if settings.group_shift > 3:
        raise ContentError(
            f"group_shift {settings.group_shift}: groups have at most 8 frames, a group_shift of 3"
        )


def _controlled(model: MotionModel, settings: Settings, room: float, code: Job) -> Coded:
    """The motion at its settings; with a bit rate or a mean error to be met, at the finest that meet it."""
    if settings.bitrate:
        return _sought(settings, lambda coded: coded.size / room, code, 1.0, coarser_is_less=True)
    if settings.mean_error:
        wanted = settings.mean_error
        return _sought(
            replace(settings, motion_step=FIRST_STEP, mean_error=0.0),
            lambda coded: mean_joint_error(model, coded.poses) / wanted,
            code,
            wanted * STEP_OF_ERROR / FIRST_STEP,
            coarser_is_less=False,
        )
    return code(settings)


def _sought(
    settings: Settings, share: Callable[[Coded], float], code: Job, start: float, coarser_is_less: bool
) -> Coded:
    """What has a share of at most 1, and if possible at least `CLOSE`, of what is wanted, by the factor of `scaled`.

    On logarithmic scales shares are nearly straight lines: from `start` on the next factor is where the line through
    the last two points meets what is wanted, or the middle of what is left if that lies outside.
    """
    low, high = np.log2(FINEST), np.log2(COARSEST)
    here, slope = float(np.clip(np.log2(start), low, high)), -1.0 if coarser_is_less else 1.0
    best: Coded | None = None
    nearest = 0.0  # the share of the best
    last: tuple[float, float] | None = None
    for _ in range(TRIALS):
        found = code(scaled(settings, 2.0**here))
        now = share(found)
        if now <= 1 and (best is None or now >= nearest):
            best, nearest = found, now
        if CLOSE <= now <= 1:
            break
        low, high = (here, high) if (now > 1) == coarser_is_less else (low, here)
        excess = float(np.log2(max(now, 1e-9) / AIM))
        if last is not None and (excess - last[1]) * (here - last[0]) * slope > 0:
            slope = (excess - last[1]) / (here - last[0])
        last = here, excess
        here -= excess / slope
        if not low < here < high:
            here = (low + high) / 2
    return best or code(scaled(settings, COARSEST if coarser_is_less else FINEST))


def scaled(settings: Settings, factor: float) -> Settings:
    """Settings with all limits on the errors of motion and its steps times `factor`."""
    return replace(
        settings,
        motion_step=settings.motion_step * factor,
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
) -> Coded:
    codes = step_codes(model, settings)
    contexts: dict[str, Any] = {}
    stream, place = [], motion_place()
    found = search(model, codes, plan, settings)
    for number, planned in enumerate(plan):
        values = unit_values(planned, number, found)
        stream.append(unit("motion", values, {**known, **place}, contexts, checksum=settings.checksums))
        place = motion_place(values)
        progress("frames", place["next_frame"], len(found.symbols))
    return Coded(codes, stream, found.poses)


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
            first,
            min(longest, stop - first),
            first == start,
            max(settings.group_shift, 0) if longest > 1 else 0,
        )
        for start, stop in pairwise(starts)
        for first in range(start, stop, longest)
    ]


def key_interval(motion: Motion, settings: Settings) -> int:
    """§6.8 Frames from one random access point to the next."""
    return max(1, round(settings.random_access * motion.fps)) if settings.random_access else motion.count
