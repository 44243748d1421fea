"""§4.1 What a proposal costs and what it breaks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import spec
from conformance.records import expectation
from reference_decoder import Decoder
from spec.expr import ExpressionError
from spec.load import SyntaxDescriptionError
from spec.run import DocumentError
from tools import document
from tools.proposals.difference import Difference, Version, differences
from tools.proposals.proposal import Proposal, changed_tree, rewritten
from tools.proposals.rewrite import frames, rewrite
from tools.proposals.values import unit_values

SAME, OTHER, REFUSED = "decodes to the same", "decodes to something else", "refused"


@dataclass(frozen=True)
class StreamReport:
    """§5.1 One stream written again under the changed standard."""

    id: str
    before: int  # bytes under the present standard, without frame hashes
    after: int | None  # bytes under the changed one, None if it cannot say the same
    refused: str  # why not
    values: (
        str  # SAME or OTHER: what the changed decoder makes of it, against the present one of the original
    )
    present: str  # what the decoder of today makes of it: SAME, OTHER or REFUSED with the error


@dataclass(frozen=True)
class Report:
    """§4.1 Everything that `hga proposal check` finds."""

    proposal: str
    title: str
    compatible: bool
    problems: list[str]  # of `hga spec check`
    differences: list[Difference] = field(default_factory=list)
    streams: list[StreamReport] = field(default_factory=list)
    new_constraints: list[str] = field(default_factory=list)
    tested: list[str] = field(default_factory=list)  # constraints that a recipe of the corpus breaks
    untested: str = ""  # what the recipes of the corpus lack before they can test the changed standard
    holes: list[str] = field(default_factory=list)  # new points of coverage that no stream reaches

    @property
    def bytes(self) -> tuple[int, int]:
        """Bytes before and after, of the streams that both standards can express."""
        kept = [stream for stream in self.streams if stream.after is not None]
        return sum(stream.before for stream in kept), sum(stream.after or 0 for stream in kept)

    @property
    def faults(self) -> list[str]:
        """§4.1 What speaks against accepting the proposal as it is."""
        found = list(self.problems)
        found += [f"{stream.id}: {stream.refused}" for stream in self.streams if stream.after is None]
        for stream in self.streams:
            if self.compatible and stream.after is not None and stream.present != SAME:
                found.append(f"{stream.id}: called compatible, but today's decoder: {stream.present}")
            if not self.compatible and stream.present == OTHER:
                found.append(
                    f"{stream.id}: today's decoder goes wrong without noticing; `version` has to tell it"
                )
        found += [
            f"no recipe breaks the constraint {n}" for n in self.new_constraints if n not in self.tested
        ]
        return found

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"bytes": self.bytes, "faults": self.faults}


def check(
    proposal: Proposal, streams: Mapping[str, bytes], progress: Callable[[str, int, int], None]
) -> tuple[Report, dict[str, dict[str, Any]]]:
    """§4.1 The report on a proposal, and what was made of each stream: its new bytes and digests.

    `streams` are valid streams of the present standard by id.
    """
    with changed_tree(proposal) as tree:
        try:
            new = Version.load(tree / "spec")
        except (SyntaxDescriptionError, ExpressionError, DocumentError) as error:
            return Report(proposal.name, proposal.title, proposal.compatible, [str(error)]), {}
        old = Version.load(Path(spec.__file__).parent)
        report = Report(
            proposal.name,
            proposal.title,
            proposal.compatible,
            document.check(tree / "spec"),
            differences(old, new),
            new_constraints=sorted(new.standard.constraints.keys() - old.standard.constraints.keys()),
        )
        if report.problems:
            return report, {}
        said = {name: unit_values(data) for name, data in streams.items()}
        made: dict[str, dict[str, Any]] = {}
        rest: dict[str, Any] = {}
        for result in rewritten(tree, said, proposal.values):
            if "id" not in result:
                rest = result
                continue
            made[result["id"]] = result
            progress("streams written again", len(made), len(streams))
    found = [_judged(name, streams[name], said[name], result) for name, result in made.items()]
    return dataclasses.replace(report, streams=found, **rest), made


def _judged(name: str, data: bytes, said: list[dict[str, Any]], result: Mapping[str, Any]) -> StreamReport:
    before = len(rewrite(said, {}))
    if "refused" in result:
        return StreamReport(name, before, None, result["refused"], "", "")
    new, expected = bytes.fromhex(result["stream"]), frames(data)
    values = SAME if result["frames"] == expected else OTHER
    return StreamReport(name, before, len(new), "", values, _verdict(new, result["frames"]))


def _verdict(data: bytes, expected: list[dict[str, Any]]) -> str:
    """What the decoder of today makes of a stream of the changed standard."""
    found = expectation(Decoder(data))
    if found["errors"]:
        error = found["errors"][0]
        return f"{REFUSED}: {error['error']} {error['constraint']}"
    return SAME if found["frames"] == expected else OTHER


def change(before: int, after: int | None) -> str:
    """By how much bytes changed, in per cent."""
    return "" if after is None or not before else f"{100 * (after - before) / before:+.2f} %"
