"""The verdicts of a run as tables, JSON and JUnit XML."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from conformance.runner.judge import (
    ACCEPTED,
    ERROR,
    FAIL,
    FRAMES,
    OTHER_ERROR,
    PASS,
    REJECTED,
    TIMEOUT,
    UNREPORTED,
    UNSUPPORTED,
    VERDICTS,
    Result,
)
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


@dataclass(frozen=True)
class Finding:
    """Streams that fail in the same way, smallest first."""

    what: str
    results: tuple[Result, ...]

    @property
    def example(self) -> Result:
        """The stream to look at."""
        return self.results[0]


def findings(run: Run) -> list[Finding]:
    """The ways in which a decoder fails, in the order in which to look at them: what is wrong early spoils the rest.

    First what gave no answer, then valid streams in the order of the pipeline of 7.1, then streams with errors.
    """
    first = {ERROR: "crashes, or prints something else than the contract says", TIMEOUT: "does not end"}
    first |= {REJECTED: "rejects valid streams", UNREPORTED: "leaves out a stage"}
    stages = {stage: f"{stage} differs first: {about}" for stage, about in run.judge.rules.stages.items()}
    last = {FRAMES: "has too few or too many frames, or describes them wrongly"}
    last |= {ACCEPTED: "accepts streams with errors", OTHER_ERROR: "reports other errors than there are"}
    grouped = {
        what: tuple(r for r in run.results if (r.kind if r.verdict == FAIL else r.verdict) == kind)
        for kind, what in (first | stages | last).items()
    }
    return [Finding(what, results) for what, results in grouped.items() if results]


def next_step(run: Run, result: Result) -> str:
    """The command that says more about a stream."""
    return run.explain.replace("{id}", result.record.id)


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
        "strictness": run.judge.strictness,
        "conforms": run.conforms,
        "seconds": round(run.seconds, 3),
        "counts": run.counts,
        "rejections": run.rejections,
        "stages": run.stages,
        "findings": [
            {
                "what": f.what,
                "streams": len(f.results),
                "example": f.example.record.id,
                "next": next_step(run, f.example),
            }
            for f in findings(run)
        ],
        "results": [result_json(result) for result in run.results],
    }


def result_json(result: Result) -> dict[str, Any]:
    """One verdict."""
    rejection = result.rejection
    return {
        "id": result.record.id,
        "verdict": result.verdict,
        "reason": result.reason,
        "kind": result.kind,
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
