"""§5.8 A motion as motion units, under limits on errors or at a bit rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from reference_encoder.content import Motion
from reference_encoder.motion_model import MotionModel, step_codes
from reference_encoder.motion_search import Residuals, search
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
    keys = key_frames(motion, settings)
    if settings.bitrate == 0:
        return _coded(model, keys, settings, known, progress)
    room = settings.bitrate * 1000 / 8 * motion.count / float(motion.fps)
    low, high = np.log2(FINEST), np.log2(COARSEST)
    best = _coded(model, keys, scaled(settings, 2.0**high), known, progress)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        found = _coded(model, keys, scaled(settings, 2.0**middle), known, progress)
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
    keys: np.ndarray,
    settings: Settings,
    known: Mapping[str, Any],
    progress: Callable[[str, int, int], None],
) -> tuple[np.ndarray, list[bytes]]:
    codes = step_codes(model, settings)
    contexts: dict[str, Any] = {}
    stream, next_frame = [], -1
    longest = max(1, min(settings.frames_per_unit, known["max_unit_frames"]))
    for values in motion_units(search(model, codes, keys, settings), keys, longest):
        place = {**known, "next_frame": next_frame}
        stream.append(unit("motion", values, place, contexts, checksum=settings.checksums))
        next_frame = values["first_frame"] + values["frame_count"] + 1
        progress("frames", next_frame, len(keys))
    return codes, stream


def motion_units(residuals: Residuals, keys: np.ndarray, longest: int) -> Iterator[dict[str, Any]]:
    """§5.8 The elements of every motion unit; `keys` (F,) are the random access points."""
    starts = [*np.flatnonzero(keys).tolist(), len(keys)]
    for start, stop in pairwise(starts):
        for first in range(start, stop, longest):
            part = slice(first, min(first + longest, stop))
            symbols = residuals.symbols[part]
            yield {
                "key_flag": int(first == start),
                "frame_count": len(symbols) - 1,
                "first_frame": first,
                "step_shift": residuals.shifts[part],
                "residual_magnitude": np.abs(symbols),
                "residual_sign": symbols < 0,
            }


def key_frames(motion: Motion, settings: Settings) -> np.ndarray:
    """§6.8 (F,) which frames are random access points."""
    interval = max(1, round(settings.random_access * motion.fps)) if settings.random_access else motion.count
    return np.arange(motion.count) % interval == 0
