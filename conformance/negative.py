"""§6.1 Streams that break one rule each, and legal ones just within it, derived from the syntax description."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import spec
from conformance.edits import EditError, Made, bytes_before_end, edited, joined
from conformance.generate import drafts
from conformance.presets import DECIDED
from conformance.recipes import Recipe
from reference_decoder import Decoder
from reference_decoder.units import UNIT_STRUCTURES
from spec.errors import StreamError
from spec.load import Element

TRIED = 40
"""Occurrences of a coded element in each unit that are tried for a value beyond its range."""


def expressible(element: Element, end: str) -> bool:
    """§6.2 Whether the descriptor of an element can say more than its range at that end: "low" or "high"."""
    kind, size = element.descriptor.kind, element.descriptor.size
    if kind == "b" or element.descriptor.binarisation in ("flag", "raw", "split"):
        return False  # whatever these say is in range: the range follows from the size
    fixed = not size.names
    if not fixed and element.descriptor.binarisation != "weight":
        raise ValueError(f"{element.name}: the range of a descriptor of variable size is not known")
    low, high = _limits(element, size.evaluate({}) if fixed else 0)  # that of `weight` is a sign to expect
    bound = element.low if end == "low" else element.high
    if bound.names - spec.standard().constant_values.keys():
        return end == "high" or low < 0
    value = bound.evaluate(spec.standard().constant_values)
    return value > low if end == "low" else value < high


def _limits(element: Element, size: int) -> tuple[int, int]:
    """The least and the greatest value that the descriptor of an element can say."""
    largest = (1 << spec.standard().constant_values["MAGNITUDE_CLASSES"]) - 1
    descriptors: dict[str, tuple[int, int]] = {
        "u": (0, (1 << size) - 1),
        "s": (-(1 << size >> 1), (1 << size >> 1) - 1),
        "leb128": (0, (1 << 35) - 1),
        "tree": (0, (1 << size) - 1),
        "magnitude": (0, largest),
        "signed": (-largest, largest),
        "residual": (-largest, largest),
        "weight": (-largest, largest),  # and beyond
    }
    kind = element.descriptor.binarisation or element.descriptor.kind
    if kind not in descriptors:
        raise ValueError(f"{element.name}: what {element.descriptor.text} can say is not known here")
    return descriptors[kind]


def breakable() -> Iterator[tuple[Element, str]]:
    """§6.2 Every element with every end of its range beyond which a value can be written."""
    for element in spec.standard().elements():
        yield from ((element, end) for end in ("low", "high") if expressible(element, end))


@dataclass(frozen=True)
class _Base:
    """The valid stream that the negative ones differ from, in one unit each."""

    group: str
    settings: Mapping[str, Any]
    kinds: tuple[str, ...]  # the types of units that are derived from it

    @cached_property
    def elements(self) -> list[Element]:
        """The elements of the payloads of these types."""
        names = [UNIT_STRUCTURES[kind] for kind in self.kinds]
        return list(dict.fromkeys(e for name in names for e in spec.standard().elements(name)))

    @cached_property
    def units(self) -> list[Made]:
        origin = drafts(self.settings["seed"], self.settings["presets"], **self.settings["shape"])
        return edited([Made.of(draft) for draft in origin], list(self.settings.get("edits", ())))

    def place(self, element: Element) -> tuple[str, int] | None:
        """The last unit that has an element, by its type and its number among those; None if none has it."""
        for number in reversed(range(len(self.units))):
            unit = self.units[number]
            if unit.draft is not None and unit.draft.occurrences(element.name):
                return unit.kind, sum(other.kind == unit.kind for other in self.units[:number])
        return None

    def breaking_place(self, element: Element, beyond: str) -> dict[str, Any]:
        """Settings of an edit that name an occurrence at which the element can leave its range, the last if any can."""
        place = self.place(element)
        if place is None:
            raise ValueError(f"{element.name} does not occur in the base of {self.group}")
        unit, at = place
        if element.descriptor.kind != "ae":
            return {"unit": unit, "at": at, "element": element.name}
        for number in range(
            at, -1, -1
        ):  # what a coded range leaves out may be more than its descriptor can say
            for occurrence in range(-1, -TRIED - 1, -1):
                where = {"unit": unit, "at": number, "element": element.name, "occurrence": occurrence}
                with contextlib.suppress(EditError):
                    if self.errors({"set": {**where, "value": beyond}}) == [element.range_constraint]:
                        return where
        raise ValueError(f"{element.name} cannot be {beyond} its range anywhere in the base of {self.group}")

    def recipe(self, name: str, purpose: str, catches: str, **settings: Any) -> Recipe:
        """A recipe that goes on from this stream."""
        edits = (*self.settings.get("edits", ()), *settings.pop("edits", ()))
        origin = {key: self.settings[key] for key in ("seed", "presets", "shape")}
        return Recipe(
            id=f"{self.group}/{name}", purpose=purpose, catches=catches, edits=edits, **(origin | settings)
        )

    def errors(self, *edits: Mapping[str, Any]) -> list[str]:
        """The constraints of the errors that a decoder meets after some edits."""
        decoder = Decoder(joined(edited(self.units, list(edits))))
        for _ in decoder.frames():
            pass
        return [error.constraint for error in decoder.errors]

    def broken(
        self, name: str, rule: str, purpose: str, catches: str, edit: Mapping[str, Any], twin: str = "base"
    ) -> Recipe:
        """A recipe of a stream with one error."""
        return self.recipe(
            name, purpose, catches, clauses=(_clause(rule),), expect=(rule,), edits=(edit,),
            twin=f"{self.group}/{twin}",
        )  # fmt: skip


def _clause(rule: str) -> str:
    standard = spec.standard()
    if rule in standard.constraints:
        return standard.constraints[rule].clause
    return next(element.clause for element in standard.elements() if element.range_constraint == rule)


def derived(group: str, defaults: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Recipe]:
    """§6.1 The pairs that follow from the syntax: ranges, leb128s, truncation, trailing bytes, payloads, checksums.

    `settings["units"]` lists the types of units that the base is for, `settings["no_end"]` elements whose end is
    not legal for another reason: their twin is the base.
    """
    base = _Base(group, defaults, tuple(settings["units"]))
    yield base.recipe(
        "base", f"The valid stream from which most streams of the group {group} differ in one unit.",
        "A decoder that rejects everything.", clauses=("5",),
    )  # fmt: skip
    no_end = {(name, end) for name, ends in settings["no_end"].items() for end in ends}
    yield from _ranges(base, no_end)
    for family in (_leb128s, _truncations, _trailing, _payloads, _checksums):
        yield from family(base)
    if "metadata" in base.kinds:
        yield from _reserved(base)


def _ranges(base: _Base, no_end: set[tuple[str, str]]) -> Iterator[Recipe]:
    """§6.2 A value beyond each end of each range, and the end itself."""
    for element, end in breakable():
        if element not in base.elements:
            continue  # of another base, or of the unit header: written out in the recipes
        beyond = "below" if end == "low" else "above"
        where = base.breaking_place(element, beyond)
        name = f"range_{element.name}_{end}"
        legal = (element.name, end) not in no_end and element.low.text != element.high.text
        yield base.broken(
            name, element.range_constraint, f"The value of `{element.name}` lies just {beyond} its range.",
            f"A decoder that does not check the {_END[end]} end of the range of {element.name}.",
            {"set": {**where, "value": beyond}}, f"{name}_legal" if legal else "base",
        )  # fmt: skip
        if legal:
            yield _at_end(base, element, end, f"{name}_legal", where)
        if end == "high" and element.error == "Unsupported" and element.descriptor.kind == "u":
            greatest = _limits(element, element.descriptor.size.evaluate({}))[1]
            yield base.broken(
                f"reserved_{element.name}_{greatest}", element.range_constraint,
                f"The value of `{element.name}` is {greatest}, the last of those that are reserved.",
                f"A decoder that takes some reserved values of {element.name} for listed ones.",
                {"set": {**where, "value": greatest}},
            )  # fmt: skip


_END = {"low": "lower", "high": "upper"}


def _at_end(base: _Base, element: Element, end: str, name: str, where: Mapping[str, Any]) -> Recipe:
    """The twin: the value at the end of its range, for all of the stream where later units follow from it."""
    purpose = f"The value of `{element.name}` lies at the {_END[end]} end of its range."
    catches = f"A decoder that takes the {_END[end]} end of the range of {element.name} for an error."
    if element.name in DECIDED or element.name.startswith("hash_"):
        edit = {"set": {**where, "value": end}}
        return base.recipe(name, purpose, catches, clauses=(element.clause,), edits=(edit,))
    presets = {**base.settings["presets"], element.name: end}
    return base.recipe(name, purpose, catches, clauses=(element.clause,), presets=presets)


def _leb128s(base: _Base) -> Iterator[Recipe]:
    """§5.2 Each leb128 with a needless byte, and without an end."""
    headers = [*spec.standard().elements("unit_header")] if "end" in base.kinds else []
    for element in [*headers, *base.elements]:
        if element.descriptor.kind != "leb128":
            continue
        unit, at = base.place(element) or ("end", -1)  # of the unit header
        for raw, about in (("needless", "has a last byte that it does not need"), ("endless", "has no end")):
            yield base.broken(
                f"leb128_{element.name}_{raw}", "leb128_length", f"The leb128 of `{element.name}` {about}.",
                f"A decoder that reads a leb128 {'longer than needed' if raw == 'needless' else 'of any length'}"
                f" at {element.name}.",
                {"set": {"unit": unit, "at": at, "element": element.name, "raw": raw}},
            )  # fmt: skip


def _truncations(base: _Base) -> Iterator[Recipe]:
    """§6.3 A unit that ends within each of its elements, where it can end there."""
    for element in base.elements:
        place = base.place(element)
        if place is None or element.descriptor.kind == "ae":
            continue
        unit, at = place
        made = [piece for piece in base.units if piece.kind == unit][at]
        size = element.descriptor.size
        if made.draft is None or size.names or bytes_before_end(made.draft, element.name) is None:
            continue
        yield base.broken(
            f"truncated_{element.name}", "unit_truncated", f"The unit ends within `{element.name}`.",
            f"A decoder that reads {element.name} beyond the end of its unit.",
            {"shorten": {"unit": unit, "at": at, "element": element.name}},
        )  # fmt: skip


def _trailing(base: _Base) -> Iterator[Recipe]:
    """§6.3 A byte behind the elements of each type of unit whose payload is not coded."""
    seen: set[str] = set()
    for number, unit in enumerate(base.units):
        at = sum(other.kind == unit.kind for other in base.units[:number])
        edit = {"pad": {"unit": unit.kind, "at": at, "payload": "00"}}
        name = _named(unit)
        if (
            unit.kind not in base.kinds
            or not name
            or name in seen
            or base.errors(edit) != ["unit_trailing_bytes"]
        ):
            continue
        seen.add(name)
        yield base.broken(
            f"trailing_{name}", "unit_trailing_bytes", f"A byte is left over in a unit of type {name}.",
            f"A decoder that does not look whether the elements of a unit of type {name} take all of it.", edit,
        )  # fmt: skip


def _named(unit: Made) -> str:
    """The type of a unit, and of an item of metadata."""
    if unit.kind != "metadata" or unit.draft is None:
        return unit.kind if unit.kind.isalpha() else ""
    items = spec.standard().enumerations["metadata_type"]
    kind = next((value for name, value, _ in unit.draft.values if name == "metadata_type"), 0)
    return f"metadata_{items[kind][0]}" if kind in items else ""


def _payloads(base: _Base) -> Iterator[Recipe]:
    """§8.2.5 A coded payload that is too long, or too short, by the least that is an error."""
    standard = spec.standard()
    for structure in (name for name in standard.structures if standard.structures[name].coded):
        if next(standard.elements(structure)) not in base.elements:
            continue
        element = next(spec.standard().elements(structure))
        unit, _ = base.place(element) or ("", 0)
        at = sum(piece.kind == unit for piece in base.units) - 1
        where = {"unit": unit, "at": at}
        long, short = partial(_padded, where), partial(_cut, where)
        yield from _payload_pair(base, f"payload_{structure}_long", structure, long, "left over in")
        yield from _payload_pair(base, f"payload_{structure}_short", structure, short, "missing from")


def _padded(where: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {"pad": {**where, "payload": "00" * count}}


def _cut(where: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {"shorten": {**where, "count": count}}


def _payload_pair(
    base: _Base, name: str, structure: str, edit: Callable[[int], dict[str, Any]], about: str
) -> Iterator[Recipe]:
    rule = "coded_payload_length"
    try:
        count = next(n for n in range(1, 200) if base.errors(edit(n)) == [rule])
    except (StopIteration, StreamError):
        raise ValueError(f"no count of bytes {about} {structure} is an error of {rule} alone") from None
    legal = count > 1 and not base.errors(edit(count - 1))
    yield base.broken(
        name, rule, f"Bytes are {about} the payload of `{structure}`.",
        f"A decoder that does not compare what the engine took with the length of {structure}.",
        edit(count), f"{name}_legal" if legal else "base",
    )  # fmt: skip
    if legal:
        yield base.recipe(
            f"{name}_legal", f"As many bytes are {about} the payload of `{structure}` as the engine allows.",
            f"A decoder that is stricter about the length of {structure} than clause 8.2.5.",
            clauses=(_clause(rule),), edits=(edit(count - 1),),
        )  # fmt: skip


def _checksums(base: _Base) -> Iterator[Recipe]:
    """§6.3 A wrong checksum on each type of unit, those that are skipped included."""
    checked = replace(
        base, settings={**base.settings, "edits": [*base.settings.get("edits", ()), {"check": {}}]}
    )
    yield checked.recipe(
        "base_checked", f"The valid stream from which those of {base.group} with a wrong checksum differ in one unit.",
        "A decoder that computes the checksum over the wrong bytes.", clauses=("6.3", "8.6"),
    )  # fmt: skip
    kinds = dict.fromkeys(unit.kind for unit in base.units if unit.kind in base.kinds or unit.kind.isdigit())
    for kind in kinds:
        about = f"a unit of type {kind}" if kind.isalpha() else f"a unit of type {kind}, which is skipped,"
        yield checked.broken(
            f"checksum_{kind}", "unit_checksum_matches", f"The checksum of {about} is wrong.",
            f"A decoder that does not check the checksum of {about.removesuffix(',')}.",
            {"flip": {"unit": kind, "at": -1, "bit": -1}}, "base_checked",
        )  # fmt: skip


def _reserved(base: _Base) -> Iterator[Recipe]:
    """§6.2 Every value of an enumeration that is not listed and not an error, in units that a decoder skips."""
    enumerations = spec.standard().enumerations
    types = [number for number in range(32) if number not in enumerations["unit_type"]]
    yield base.recipe(
        "reserved_unit_type", "Every type of unit that is not listed occurs, and is skipped.",
        "A decoder that rejects a type of unit that it does not know.", clauses=("6.3",),
        edits=tuple({"insert": {"kind": number, "payload": "ff00", "to": 2}} for number in types),
        twin=f"{base.group}/base",
    )  # fmt: skip
    items = [number for number in range(256) if number not in enumerations["metadata_type"]]
    yield base.recipe(
        "reserved_metadata_type", "Every type of metadata that is not listed occurs, and is skipped.",
        "A decoder that rejects or reads an item of metadata that it does not know.", clauses=("6.9.1",),
        edits=tuple({"insert": {"kind": "metadata", "payload": f"{n:02x}80", "to": 2}} for n in items),
        twin=f"{base.group}/base",
    )  # fmt: skip
