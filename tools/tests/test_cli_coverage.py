"""§A.3.3 `hga conformance coverage`: counts, the page, and the report that marks the document."""

import json

from click.testing import CliRunner

from conformance.generate import generate
from tools.cli import main

PRESETS = {"gaussian_count": 2, "joint_count": 1, "expression_count": 0, "profile": 0}


def test_what_one_stream_exercises(tmp_path):
    stream, saved, page = tmp_path / "one.hga", tmp_path / "report.json", tmp_path / "page.html"
    stream.write_bytes(generate(3, PRESETS, units=1, size=4))
    command = ["conformance", "coverage", str(stream), "--jobs", "1", "--save", str(saved), "-o", str(page)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    report = json.loads(saved.read_text())
    assert report["streams"] == ["one"]
    assert report["points"]["element:joint_count"]["streams"] == ["one"]
    assert report["points"]["element:joint_parent"]["count"] == 0
    hit = sum(point["count"] for point in report["points"].values() if point["kind"] == "line")
    row = next(line.split() for line in result.output.splitlines() if line.startswith("line "))
    assert row[2] == str(hit)
    assert "element:joint_parent" in page.read_text()


def test_streams_have_to_be_named():
    assert CliRunner().invoke(main, ["conformance", "coverage"], standalone_mode=False).exit_code != 0


def test_a_corpus_passes_only_if_every_point_is_exercised_or_listed(monkeypatch):
    streams = {"one": generate(3, PRESETS, units=1, size=4)}
    monkeypatch.setattr("conformance.streams.corpus_streams", lambda largest: streams)
    result = CliRunner().invoke(main, ["conformance", "coverage", "--corpus", "--jobs", "1"])
    assert result.exit_code == 1 and "points are open" in result.output
    point = {
        "kind": "line",
        "clause": "7",
        "about": "",
        "place": ["", 0],
        "count": 1,
        "streams": ["one"],
        "reason": "",
    }
    listed = point | {"count": 0, "reason": "the range is never left"}
    points = {"line:7/a:1": point, "line:7/a:2": listed}
    monkeypatch.setattr(
        "conformance.coverage_report.report", lambda *_: {"streams": ["one"], "points": points}
    )
    result = CliRunner().invoke(main, ["conformance", "coverage", "--corpus"])
    assert result.exit_code == 0 and "exercised (1) or listed with a reason (1)" in result.output
    points["line:7/a:2"] = listed | {"count": 1}
    result = CliRunner().invoke(main, ["conformance", "coverage", "--corpus"])
    assert result.exit_code == 1 and "line:7/a:2 is exercised, but listed" in result.output
