"""§6.1 Edits of a stream unit by unit: what recipes do to a valid stream, exactly and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.drafts import Draft, redrafted, skipped, unit_size
from reference_decoder.units import UnitReader
from reference_encoder.encode import add_hashes
from spec.bits import LEB128_MAX_BYTES, BitWriter


class EditError(ValueError):
    """An edit that does not fit the stream: an unknown kind, a unit or an element that is not there."""


@dataclass(frozen=True)
class Made:
    """A unit as its bytes, with the draft that it was written from, if there is one."""

    kind: str
    data: bytes
    draft: Draft | None = None

    @classmethod
    def of(cls, draft: Draft) -> Made:
        """A draft as it stands."""
        return cls(draft.kind, draft.write(), draft)


def cut(data: bytes) -> list[Made]:
    """§5.3 A stream as its units."""
    return [
        Made(unit.type or str(unit.type_number), data[unit.start : unit.end]) for unit in UnitReader(data)
    ]


def joined(units: list[Made]) -> bytes:
    """§5.3 Units as a stream."""
    return b"".join(unit.data for unit in units)


def edited(units: list[Made], edits: list[Mapping[str, Any]]) -> list[Made]:
    """§6.1 The units after all edits, each {name: {setting: value}}; raises EditError."""
    for edit in edits:
        ((name, settings),) = edit.items()
        if name not in EDITS:
            raise EditError(f"there is no edit '{name}', only {', '.join(sorted(EDITS))}")
        try:
            units = EDITS[name](list(units), **settings)
        except TypeError as error:
            raise EditError(f"edit '{name}': {error}") from None
    return units


def _index(units: list[Made], unit: str, at: int) -> int:
    """Where the `at`-th unit of a type stands; of all units for type `any`."""
    places = [place for place, piece in enumerate(units) if unit in ("any", piece.kind)]
    if not -len(places) <= at < len(places):
        raise EditError(f"there is no unit {at} of type {unit}, only {len(places)}")
    return places[at]


def _draft(units: list[Made], place: int) -> Draft:
    draft = units[place].draft
    if draft is None:
        raise EditError(f"unit {place} was edited before or is not of a random stream")
    return draft


def put(
    units: list[Made], unit: str, element: str, value: int | str = 0, at: int = 0, occurrence: int = -1,
    waive: tuple[str, ...] = (), raw: str = "",
) -> list[Made]:  # fmt: skip
    """Gives one element of a unit another value, whatever its range: a number or one of `FORGERIES`.

    `waive` names constraints not to check. `raw` writes a leb128 with a "needless" last byte, or "endless".
    """
    place = _index(units, unit, at)
    draft = _draft(units, place)
    outer = element.startswith("unit_")
    if not outer and not -draft.occurrences(element) <= occurrence < draft.occurrences(element):
        raise EditError(f"{element} does not occur {occurrence} in unit {at} of type {unit}")
    change: int | str | bytes = value
    if raw:
        if outer:
            right = unit_size(draft.header, draft.written)
        else:
            right = [v for name, v, _ in draft.values if name == element][occurrence]
        change = b"\xff" * LEB128_MAX_BYTES if raw == "endless" else needless(right)
    units[place] = Made.of(draft.changed({(element, 0 if outer else occurrence): change}, waive))
    return units


def needless(value: int) -> bytes:
    """§5.2 A leb128 with a last byte of 0 that it does not need."""
    writer = BitWriter()
    writer.write("leb128", 0, value)
    right = writer.bytes()
    return right[:-1] + bytes([right[-1] | 128, 0])


def drop(units: list[Made], unit: str, at: int = 0) -> list[Made]:
    """Leaves a unit out."""
    del units[_index(units, unit, at)]
    return units


def repeat(units: list[Made], unit: str, at: int = 0, to: int | None = None) -> list[Made]:
    """Puts a unit in again: right behind itself, or before the unit `to`."""
    place = _index(units, unit, at)
    units.insert(place + 1 if to is None else to, units[place])
    return units


def move(units: list[Made], unit: str, to: int, at: int = 0) -> list[Made]:
    """Puts a unit at place `to` of what is left without it; -1 is the end."""
    piece = units.pop(_index(units, unit, at))
    units.insert(to if to >= 0 else len(units) + 1 + to, piece)
    return units


def insert(
    units: list[Made], kind: int | str, payload: str = "", zeros: int = 0, layer: int = 0, checksum: bool = False,
    to: int = -1,
) -> list[Made]:  # fmt: skip
    """Puts a unit in: a payload in hexadecimal, then as many zeros, behind a right header."""
    piece = skipped(kind, bytes.fromhex(payload) + bytes(zeros), layer=layer, checksum=checksum)
    units.insert(to if to >= 0 else len(units) + 1 + to, Made.of(piece))
    return units


def pad(units: list[Made], unit: str, payload: str, at: int = 0) -> list[Made]:
    """Puts bytes behind the payload of a unit."""
    place = _index(units, unit, at)
    draft = _draft(units, place)
    units[place] = Made.of(draft.with_payload(draft.written + bytes.fromhex(payload)))
    return units


def shorten(
    units: list[Made], unit: str, count: int = 0, element: str = "", at: int = 0, occurrence: int = -1
) -> list[Made]:
    """Leaves the last `count` bytes of the payload of a unit out, or all but those before `element` ends; its header
    and checksum are right."""
    place = _index(units, unit, at)
    draft = _draft(units, place)
    payload = draft.written
    length = len(payload) - count
    if element:
        kept = bytes_before_end(draft, element, occurrence)
        if kept is None:
            raise EditError(f"{element} ends in the byte in which it begins")
        length = kept
    units[place] = Made.of(draft.with_payload(payload[:length]))
    return units


def bytes_before_end(draft: Draft, element: str, occurrence: int = -1) -> int | None:
    """The least number of bytes of a payload after which an element has begun but not ended; None if there is none."""
    bits = [bit for _, _, bit in draft.values] + [8 * len(draft.written)]
    places = [number for number, (name, _, _) in enumerate(draft.values) if name == element]
    if not places:
        return None
    start, end = bits[places[occurrence]], bits[places[occurrence] + 1]
    kept = (start + 7) // 8
    return kept if 8 * kept < end else None


def splice(units: list[Made], unit: str, first: int, last: int, payload: str, at: int = 0) -> list[Made]:
    """Replaces the bytes `first` to `last` - 1 of the payload of a unit; its header and checksum are right."""
    place = _index(units, unit, at)
    draft = _draft(units, place)
    old = draft.written
    new = old[:first] + bytes.fromhex(payload) + old[last:]
    units[place] = Made.of(draft.with_payload(new))
    return units


def flip(units: list[Made], unit: str, bit: int, at: int = 0) -> list[Made]:
    """Inverts one bit of a unit, counted from its start; from its end if negative."""
    place = _index(units, unit, at)
    data = bytearray(units[place].data)
    bit %= 8 * len(data)
    data[bit // 8] ^= 128 >> bit % 8
    units[place] = Made(units[place].kind, bytes(data))
    return units


def check(units: list[Made]) -> list[Made]:
    """Gives every unit a checksum."""
    for place in range(len(units)):
        draft = _draft(units, place)
        units[place] = Made.of(draft.changed({("unit_checksum_flag", 0): 1}))
    return units


def hashes(units: list[Made], stages: tuple[str, ...], every: int = 1, camera: int = 0) -> list[Made]:
    """§5.9 Carries the digests of some stages of every `every`-th frame, behind its motion unit."""
    plain, result = joined(units), []
    carried = cut(add_hashes(plain, stages, every=every, camera=camera))
    kept = iter(units)
    old = next(kept, None)
    for unit in carried:
        if old is not None and unit.data == old.data:
            result.append(old)
            old = next(kept, None)
        else:
            payload = next(iter(UnitReader(unit.data)))
            bits = unit.data[payload.payload_start : payload.payload_end]
            result.append(Made.of(redrafted("metadata", bits)))
    return result


def insert_bytes(units: list[Made], data: str, to: int = -1) -> list[Made]:
    """Puts bytes in between two units, in hexadecimal."""
    units.insert(to if to >= 0 else len(units) + 1 + to, Made("any", bytes.fromhex(data)))
    return units


def truncate(units: list[Made], count: int = 0, keep: int | None = None) -> list[Made]:
    """Leaves the last `count` bytes of the stream out, or all but the first `keep`."""
    data = joined(units)
    return [Made("any", data[: len(data) - count if keep is None else keep])]


def damage(units: list[Made], kind: str, seed: int) -> list[Made]:
    """§6.1 One of the damages of `conformance.damage`, decided by `seed`."""
    from conformance import damage as damages

    known = {each.__name__: each for each in damages.DAMAGES}
    if kind not in known:
        raise EditError(f"there is no damage '{kind}', only {', '.join(sorted(known))}")
    original = damages.Original(joined(units))
    return [Made("any", known[kind](random.Random(seed), [original], original).data)]


EDITS: dict[str, Callable[..., list[Made]]] = {
    "set": put, "drop": drop, "repeat": repeat, "move": move, "insert": insert, "pad": pad, "shorten": shorten,
    "splice": splice, "flip": flip, "check": check, "hashes": hashes, "truncate": truncate,
    "insert_bytes": insert_bytes, "damage": damage,
}  # fmt: skip
