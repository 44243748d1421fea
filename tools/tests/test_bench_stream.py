"""The benchmark of whole streams, on a small avatar."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reference_decoder import Decoder
from reference_decoder.units import UnitReader
from reference_encoder.encode import encode, encodings
from reference_encoder.quantise import Settings
from tools.bench_stream import MODES, Subject, first_times, measure_streams, measured, subjects
from tools.encoding import open_motion
from tools.parameters import Span
from tools.tests.conftest import FRAMES, Run, small_avatar

FAST = replace(Settings(), effort=1)


@pytest.fixture
def subject(content: Path) -> Subject:
    motion = open_motion(small_avatar(), content / "walk.npz", content / "face.json", None, Span())
    return Subject("small", small_avatar(), motion)


def test_rates_are_those_of_the_bytes(subject: Subject) -> None:
    data = encode(subject.avatar, subject.motion, replace(FAST, random_access=0.1))
    row = measured(subject, "often", data, 1.0)
    first, second = (unit for unit in UnitReader(data) if unit.type == "motion")
    assert (row.frames, row.bytes, row.first_bytes) == (FRAMES, len(data), first.end)
    assert row.total_kbit_s == pytest.approx(len(data) * 8 * 30 / FRAMES / 1000)
    # What flows after the first frame: the second unit, of two frames, and some of the first.
    late, all_motion = 8 * (second.end - second.start), 8 * (second.end - first.start)
    assert late < row.steady_kbit_s * 1000 / 30 * (FRAMES - 1) < all_motion


def test_the_first_bytes_are_enough_for_the_first_frame(subject: Subject) -> None:
    data = encode(subject.avatar, subject.motion, FAST)
    row = measured(subject, "", data, 1.0)
    assert next(Decoder(data[: row.first_bytes], strict=True).frames()).index == 0
    assert not list(Decoder(data[: row.first_bytes - 1]).frames())
    decoded, drawn = first_times(data[: row.first_bytes], subject)
    assert 0 < decoded < drawn


def test_the_gaussians_of_a_subject_are_coded_once_for_all_modes(subject: Subject) -> None:
    """Streams that share them are those that `encode` gives for each mode alone."""
    told: list[str] = []
    rows = list(measure_streams([subject], FAST, lambda what, done, total: told.append(what)))
    alone = [encode(subject.avatar, subject.motion, replace(FAST, random_access=each)) for _, each in MODES]
    assert list(encodings(subject.avatar, subject.motion, FAST, [each for _, each in MODES])) == alone
    assert [(row.mode, row.bytes) for row in rows] == [
        (mode, len(data)) for (mode, _), data in zip(MODES, alone, strict=True)
    ]
    assert "small: Gaussians" in told and told.count("streams") == 2


def test_the_shipped_subjects_last_ten_seconds() -> None:
    found = {subject.name: subject for subject in subjects()}
    assert [subject.motion.count for subject in found.values()] == [300] * len(found)
    assert found["body, dab"].avatar.gaussians.count >= 60_000
    moves = {name: subject.motion.expressions.any() for name, subject in found.items()}
    assert moves == {"body, dab": False, "body, dab and face": True, "body, punch": False, "head": True}


def test_command_line(hga: Run, content: Path) -> None:
    own = ("--avatar", content / "avatar.npz", "--motion", content / "walk.npz", "--effort", 1)
    rows = json.loads(hga("bench", "stream", *own, "--json").stdout)["streams"]
    assert [(row["content"], row["mode"]) for row in rows] == [("avatar, walk", mode) for mode, _ in MODES]
    assert "steady kbit/s" in hga("bench", "stream", *own).stdout
    assert hga("bench", "stream", *own[:2]).exit_code == 2
    assert hga("bench", "stream", "--face", content / "face.json").exit_code == 2
