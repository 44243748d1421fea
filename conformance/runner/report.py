"""The verdicts of a run as tables, JSON and JUnit XML."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from conformance.runner.judge import ERROR, FAIL, PASS, TIMEOUT, UNSUPPORTED, VERDICTS, Result
from conformance.runner.suite import Run

_FORBIDDEN = {code: "\N{REPLACEMENT CHARACTER}" for code in range(32) if code not in (9, 10, 13)}


def group_rows(run: Run) -> list[Sequence[object]]:
    """Group, number of streams of each verdict; the last row is the sum."""
    rows: list[Sequence[object]] = []
    for name, results in run.groups.items():
        rows.append([name, *(sum(r.verdict == verdict for r in results) or "" for verdict in VERDICTS)])
    return [*rows, ["all", *(run.counts[verdict] for verdict in VERDICTS)]]


def failure_rows(run: Run) -> list[Sequence[object]]:
    """Id, verdict and reason of what neither passed nor was left out."""
    return [(r.record.id, r.verdict, r.reason) for r in run.results if r.verdict not in (PASS, UNSUPPORTED)]


def summary_lines(run: Run) -> list[str]:
    """What the counts do not say: how far streams were rejected rightly, and which stages were compared."""
    lines = []
    if (found := run.rejections)["streams"]:
        named = {"error": "class", "constraint": "constraint", "unit": "unit", "bit_offset": "bit offset"}
        rights = ", ".join(f"{what} right in {found[name]}" for name, what in named.items())
        lines.append(f"{found['streams']} streams with errors: {rights}")
    if run.stages:
        lines.append("frames right: " + ", ".join(f"{count} {stage}" for stage, count in run.stages.items()))
    if partial := sum(bool(result.missing_frames) for result in run.results):
        lines.append(f"{partial} damaged streams passed without all the frames that survive (6.1 allows it)")
    return lines


def as_json(run: Run) -> dict[str, Any]:
    """The whole run."""
    return {
        "decoder": {"name": run.decoder.name, "command": run.decoder.command},
        "strictness": run.strictness,
        "conforms": run.conforms,
        "seconds": round(run.seconds, 3),
        "counts": run.counts,
        "rejections": run.rejections,
        "stages": run.stages,
        "results": [result_json(result) for result in run.results],
    }


def result_json(result: Result) -> dict[str, Any]:
    """One verdict."""
    rejection = result.rejection
    return {
        "id": result.record.id,
        "verdict": result.verdict,
        "reason": result.reason,
        "difference": result.difference.as_dict() if result.difference else None,
        "rejection": rejection.agrees if rejection else None,
        "compared": dict(result.compared),
        "missing_frames": result.missing_frames,
        "clauses": list(result.record.clauses),
        "constraints": list(result.record.constraints),
        "purpose": result.record.purpose,
        "catches": result.record.catches,
        "cause": result.cause,
        "seconds": round(result.seconds, 3),
        "peak_mib": result.peak,
        "command": result.command,
        "stderr": result.stderr,
    }


def as_junit(run: Run) -> bytes:
    """JUnit XML: a suite per group; a timeout is an error of type timeout."""
    root = ElementTree.Element("testsuites", name=f"HGA conformance of {run.decoder.name}")
    for name, results in run.groups.items():
        counted = {verdict: sum(r.verdict == verdict for r in results) for verdict in VERDICTS}
        suite = ElementTree.SubElement(
            root, "testsuite", name=name, tests=str(len(results)), failures=str(counted[FAIL]),
            errors=str(counted[ERROR] + counted[TIMEOUT]), skipped=str(counted[UNSUPPORTED]),
            time=f"{sum(r.seconds for r in results):.3f}", hostname=platform.node(),
        )  # fmt: skip
        for result in results:
            _junit_case(suite, result)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _junit_case(suite: ElementTree.Element, result: Result) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=result.record.group, name=result.record.id, time=f"{result.seconds:.3f}"
    )
    if result.verdict == PASS:
        return
    tag = {FAIL: "failure", ERROR: "error", TIMEOUT: "error", UNSUPPORTED: "skipped"}[result.verdict]
    found = ElementTree.SubElement(case, tag, message=_printable(result.reason))
    if tag != "skipped":
        found.set("type", result.verdict)
        lines = [f"{name}: {value}" for name, value in details(result).items()]
        found.text = _printable("\n".join([*lines, result.stderr]))


def details(result: Result) -> dict[str, str]:
    """What a reader of a verdict wants to know, by what it is."""
    record = result.record
    named = {
        "first difference": str(result.difference or ""),
        "likely cause": result.cause,
        "purpose": record.purpose,
        "catches": record.catches,
        "clauses": ", ".join(record.clauses),
        "constraints": ", ".join(record.constraints),
        "command": result.command,
    }
    return {name: value for name, value in named.items() if value}


def _printable(text: str) -> str:
    """Text without the control characters that XML cannot hold."""
    return text.translate(_FORBIDDEN)
