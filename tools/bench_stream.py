"""The benchmark of whole streams: what must arrive before the first picture, what flows after it, how soon one sees."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numba
import numpy as np

from reference_decoder import Camera, Decoder
from reference_decoder.units import UnitReader
from reference_encoder.content import Avatar, Motion
from reference_encoder.encode import encodings
from reference_encoder.quantise import Settings
from tools import content
from tools.accounting import account
from tools.bench_speed import least
from tools.cameras import View
from tools.content.body import DATA
from tools.encoding import avatar_corners, open_avatar, open_motion
from tools.parameters import Span

SECONDS = 10
MODES = (("random access each s", 1.0), ("at the start alone", 0.0))
_SIZE = 512  # of the first picture
_RUNS = 5

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Subject:
    """An avatar and what it does."""

    name: str
    avatar: Avatar
    motion: Motion


@dataclass(frozen=True)
class Row:
    """§5.3 One stream. Rates are those of the whole in kbit/s, and of the motion after the first frame.

    `first_bytes` is all up to the end of the first motion unit; times in milliseconds run from those bytes in
    memory to the first decoded frame, and to its picture.
    """

    content: str
    mode: str
    gaussians: int
    frames: int
    bytes: int
    total_kbit_s: float
    first_bytes: int
    steady_kbit_s: float
    first_frame_ms: float
    first_picture_ms: float
    encode_s: float


def subjects(seconds: float = SECONDS) -> Iterator[Subject]:
    """The shipped body in two captured clips long enough, in one with its face too, and the shipped head."""
    fps, span = Fraction(30), Span(0, round(30 * seconds))
    body, track = content.body_avatar(), DATA / content.TRACK_FILE
    for name, file, face in (
        ("body, dab", "fair1_dab.npz", None),
        ("body, dab and face", "fair1_dab.npz", track),
        ("body, punch", "cmu_02_05_punch_strike.npz", None),
    ):
        yield Subject(name, body, open_motion(body, DATA / file, face, fps, span))
    yield Subject("head", content.head_avatar(), open_motion(content.head_avatar(), track, None, fps, span))


def own_subject(avatar: Path, motion: Path, face: Path | None, seconds: float) -> Subject:
    """The content of files, its motion at 30 frames/s."""
    opened = open_avatar(avatar, None, Settings().influences)
    clip = open_motion(opened, motion, face, Fraction(30), Span(0, max(1, round(30 * seconds))))
    return Subject(f"{avatar.stem}, {motion.stem}", opened, clip)


def measure_streams(
    subjects: Sequence[Subject],
    settings: Settings | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Iterator[Row]:
    """Each subject in each of MODES, encoded with `settings`, which are the defaults without.

    The Gaussians of a subject are coded once, which counts as encoding of the first mode.
    """
    for number, subject in enumerate(subjects):
        progress("streams", number, len(subjects))
        start, intervals = time.perf_counter(), [interval for _, interval in MODES]
        inner = partial(_within, subject.name, progress)
        streams = encodings(subject.avatar, subject.motion, settings or Settings(), intervals, progress=inner)
        for mode, _ in MODES:
            data = next(streams)
            yield measured(subject, mode, data, time.perf_counter() - start)
            start = time.perf_counter()
    progress("streams", len(subjects), len(subjects))


def _within(name: str, progress: Progress, what: str, done: int, total: int) -> None:
    progress(f"{name}: {what}", done, total)


def measured(subject: Subject, mode: str, data: bytes, encoding: float) -> Row:
    """One stream, which took so many seconds to encode."""
    seconds = subject.motion.count / float(subject.motion.fps)
    frames = account(data).by_frame
    later = sum(frame.bits for frame in frames[1:])
    first = next(unit.end for unit in UnitReader(data) if unit.type == "motion")
    decoded, drawn = first_times(data[:first], subject)
    return Row(
        subject.name,
        mode,
        subject.avatar.gaussians.count,
        len(frames),
        len(data),
        len(data) * 8 / 1000 / seconds,
        first,
        later / 1000 / (seconds * max(len(frames) - 1, 1) / len(frames)),
        decoded,
        drawn,
        encoding,
    )


def first_times(data: bytes, subject: Subject) -> tuple[float, float]:
    """Milliseconds on one thread to the first decoded frame, and to its picture; the fastest of several runs."""
    begun = replace(subject.motion, translations=subject.motion.translations[:1])
    camera = View().camera(avatar_corners(subject.avatar, begun), (_SIZE, _SIZE), None)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        return least(lambda: _first(data, None), _RUNS), least(lambda: _first(data, camera), _RUNS)
    finally:
        numba.set_num_threads(threads)


def _first(data: bytes, camera: Camera | None) -> np.ndarray | None:
    frame = next(Decoder(data, strict=True).frames())
    return None if camera is None else frame.render(camera)
