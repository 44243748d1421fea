"""The benchmark of effort and of priority, on a small avatar."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from reference_encoder.quantise import Settings
from reference_encoder.structural import EFFORTS, Effort
from tools import bench_rd_effort, bench_rd_report
from tools.bench_rd_effort import highest, measure_effort
from tools.tests.conftest import small_avatar


def nothing(what: str, done: int, total: int) -> None:
    pass


def test_the_highest_gaussians_keep_their_order() -> None:
    gaussians = small_avatar().gaussians
    part = highest(gaussians, 20)
    assert part.count == 20
    assert part.positions[:, 1].min() >= np.sort(gaussians.positions[:, 1])[-20]
    assert [float(y) for y in part.positions[:, 1] if y in gaussians.positions[:, 1]] == [
        float(y) for y in gaussians.positions[:, 1] if y in part.positions[:, 1]
    ]


def test_levels_are_set_against_the_one_below_and_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_rd_effort, "EFFORTS", {level: EFFORTS[level] for level in (1, 2)})
    report = measure_effort("small", small_avatar().gaussians, (4.0, 1.0), nothing)
    first, second = report.levels
    assert (first.effort, second.effort) == (1, 2) and [row.setting for row in second.rows] == [
        "steps x4",
        "steps x1",
    ]
    assert first.to_below is None and second.to_below == second.to_first is not None


def test_efforts_try_more_from_level_to_level() -> None:
    levels = list(EFFORTS.values())
    assert list(EFFORTS) == list(range(1, 10)) and len(set(levels)) == 9
    for below, above in pairwise(levels):
        pairs = [(getattr(below, name), getattr(above, name)) for name in Effort.__dataclass_fields__]
        assert all(less <= more for less, more in pairs) and any(less < more for less, more in pairs)


def test_effort_report_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(bench_rd_effort, "EFFORTS", {level: EFFORTS[level] for level in (1, 2)})
    monkeypatch.setattr(
        bench_rd_report, "contents", lambda files: iter([("small", small_avatar().gaussians)])
    )
    report = bench_rd_report.effort((), (4.0,), tmp_path, nothing)
    assert [Path(path).name for path in report["effort"][0]["plots"]] == [
        "effort_small_curves.png",
        "effort_small_curves.svg",
        "effort_small.png",
        "effort_small.svg",
    ]
    bench_rd_report.show(report)


def test_priority_is_measured_at_equal_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    avatar = small_avatar()
    avatar = replace(avatar, rig=replace(avatar.rig, names=("hand_l", "spine1", "head")))
    monkeypatch.setattr(bench_rd_effort, "PRIORITIES", (1.0, 2.0))
    monkeypatch.setattr(bench_rd_effort, "Settings", lambda **chosen: Settings(effort=2, **chosen))
    report = bench_rd_effort.measure_face("small", avatar, tmp_path, nothing)
    first, second = report.rows
    assert abs(second.bytes / first.bytes - 1) < 0.05
    assert Path(report.pictures[0]).name == "face_small.png"
    bench_rd_report.show({"face": [asdict(report)]})
