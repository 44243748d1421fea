"""§5.1 What differs between two versions of the standard: syntax, constants, constraints, pseudo-code, prose."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spec import load, run
from spec.load import Element, Standard, Structure
from spec.textports import table


@dataclass(frozen=True)
class Version:
    """§5.1 The standard as one folder holds it, with `syntax/` and `text/`."""

    standard: Standard
    functions: Mapping[str, run.Block]
    clauses: Mapping[str, run.Clause]

    @staticmethod
    def load(directory: Path) -> Version:
        """Raises SyntaxDescriptionError, ExpressionError or DocumentError for a folder that is not a standard."""
        standard = load.standard(directory / "syntax")
        blocks = list(run.blocks(directory / "text"))
        run.Document(blocks, standard.constant_values, standard.type_ranges)
        clauses = {clause.number: clause for clause in run.clauses(directory / "text")}
        return Version(standard, {block.name: block for block in blocks}, clauses)


@dataclass(frozen=True)
class Difference:
    """§5.1 One thing that was added, removed or changed; `lines` are those of a unified difference."""

    kind: str
    name: str
    clause: str
    change: str  # added, removed or changed
    lines: tuple[str, ...]


def differences(old: Version, new: Version) -> list[Difference]:
    """§5.1 Everything that differs, kind by kind, each kind in the order of the new version."""
    before, after = old.standard, new.standard
    found: list[Difference] = []
    for kind, items, text in (
        ("structure", lambda v: v.standard.structures, _structure_text),
        ("element", lambda v: {e.name: e for e in v.standard.elements()}, _element_text),
        ("constraint", lambda v: v.standard.constraints, _record_text),
        ("constant", lambda v: v.standard.constants, _record_text),
        ("type", lambda v: v.standard.types, _record_text),
        ("binarisation", lambda v: v.standard.binarisations, _record_text),
        ("function", lambda v: v.functions, lambda version, block: block.source),
        ("clause", lambda v: v.clauses, lambda version, clause: _prose(clause.body)),
    ):
        found += _compared(kind, old, new, items, text)
    for kind, old_values, new_values in (
        ("enumeration", before.enumerations, after.enumerations),
        ("level", before.levels, after.levels),
        ("profile", before.profiles, after.profiles),
    ):
        found += _compared_texts(kind, _listed(old_values), _listed(new_values), {})
    return found


def _compared(
    kind: str,
    old: Version,
    new: Version,
    items: Callable[[Version], Mapping[str, Any]],
    text: Callable[[Version, Any], str],
) -> Iterator[Difference]:
    before, after = (
        {name: text(version, item) for name, item in items(version).items()} for version in (old, new)
    )
    clauses = {
        name: getattr(item, "clause", name) for version in (old, new) for name, item in items(version).items()
    }
    return _compared_texts(kind, before, after, clauses)


def _compared_texts(
    kind: str, old: Mapping[str, str], new: Mapping[str, str], clauses: Mapping[str, str]
) -> Iterator[Difference]:
    for name in dict.fromkeys((*new, *old)):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        change = "added" if before is None else "removed" if after is None else "changed"
        lines = difflib.unified_diff(
            (before or "").splitlines(), (after or "").splitlines(), lineterm="", n=2
        )
        yield Difference(kind, name, clauses.get(name, ""), change, tuple(list(lines)[2:]))


def _structure_text(version: Version, structure: Structure) -> str:
    """The rows of the table of a structure, as the document shows them."""
    rows = table(version.standard, structure.name)
    return "\n".join(f"{'  ' * row.indent}{row.text}  {row.descriptor}".rstrip() for row in rows)


def _element_text(version: Version, element: Element) -> str:
    return "\n".join(
        (
            f"descriptor: {element.descriptor.text}",
            f"range: {element.low} to {element.high}, else {element.error}",
            f"unit: {element.unit}",
            f"context set: {element.context_set} of {element.context_sets}",
            f"semantics: {element.semantics}",
        )
    )


def _record_text(version: Version, record: Any) -> str:
    return "\n".join(f"{name}: {value}" for name, value in vars(record).items())


def _listed(groups: Mapping[str, Any]) -> dict[str, str]:
    """Enumerations, levels and profiles as one text each, an entry on a line."""
    return {
        str(name): "\n".join(f"{key}: {value}" for key, value in entries.items())
        if isinstance(entries, Mapping)
        else str(entries)
        for name, entries in groups.items()
    }


def _prose(body: str) -> str:
    """The text of a clause without its pseudo-code, which is compared function by function."""
    kept, fenced = [], False
    for line in body.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            kept.append(line)
    return "\n".join(kept).strip()
