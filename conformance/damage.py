"""§6.1 Damaged streams, and what a decoder must do with them: report one of four errors, keep the rest intact."""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numba

import spec
from conformance.generate import generate
from reference_decoder import Compiled, Decoder
from reference_decoder.generator import Generator, known_before
from reference_decoder.payload import FastReadPort
from reference_decoder.units import (
    Unit,
    UnitReader,
    motion_place,
    motion_units,
    peek,
    read_unit,
    units_of_profile,
)
from reference_encoder.units import frame_unit
from spec.bits import BitReader, BitWriter
from spec.errors import KINDS, StreamError
from spec.load import Element
from spec.ports import Observer, Tracer, Values

SECONDS = 2.0
"""The longest that decoding one damaged stream of a few kilobytes may take, of processor time."""

MEGABYTES = 768
"""What decoding a damaged stream may add to the memory of the process: the worst that level 3 allows a small one."""

SMALL_COUNT = 1000
"""Damage may claim many Gaussians; frames of more than this are decoded but not hashed."""

SMALL_MACS = 10_000_000
"""Damage may claim a large generator; frames that it would take longer for are decoded but not hashed."""

STAGES = ("symbols", "gaussians", "canonical")


class Defect(AssertionError):
    """A decoder did what §6.1 forbids; says what, and how the stream was damaged."""


class Original:
    """A valid stream with its units and the digests of its frames, to measure damaged ones against."""

    def __init__(self, data: bytes):
        self.data = data
        self.units: list[Unit] = list(UnitReader(data))
        decoder = Decoder(data, strict=True)
        digests = {frame.index: frame_digests(frame) for frame in decoder.frames()}
        self.canonical = decoder.canonical
        self.read = units_of_profile(spec.standard(), decoder.sequence)
        self.frames: dict[int, list[tuple[int, tuple[bytes, ...]]]] = {}  # by unit
        self.keys: set[int] = set()
        for unit, key, first, count in motion_units(data):
            self.frames[unit.index] = [(f, digests[f]) for f in range(first, first + count)]
            self.keys |= {unit.index} if key else set()

    @cached_property
    def elements(self) -> list[tuple[Unit, Element, int, int]]:
        """Every element outside coded payloads: its unit, first bit and number of bits."""
        found: list[tuple[Unit, Element, int, int]] = []
        known: dict[str, Any] = {**UnitReader(self.data).limits}
        assert self.canonical is not None
        place = {"surface_neighbour": self.canonical.surface_neighbour}
        place |= motion_place()
        contexts: dict[str, Any] = {}
        active: Generator | None = None
        for unit in (unit for unit in self.units if unit.type in self.read and unit.layer == 0):
            values = {**known, **place}
            if unit.type == "generator":
                values |= known_before(active, peek(self.data, unit)["update_flag"] == 1)

            def sink(
                element: Element, index: tuple[int, ...], value: Any, bit: int, unit: Unit = unit
            ) -> None:
                found.append((unit, element, bit, _size(element, value)))

            read_unit(self.data, unit, values, _traced, contexts, Tracer(sink))
            known = values if unit.type == "avatar" else known
            if unit.type == "generator":
                active = Generator.received(Compiled(), values, self.canonical.position, active)
            if unit.type == "motion":
                place |= motion_place(values)
        return found

    def unit_bytes(self, unit: Unit) -> bytes:
        return self.data[unit.start : unit.end]


@dataclass(frozen=True)
class Damaged:
    """A damaged stream, and what is certain about it whatever the damage did.

    `intact` are the first bytes that equal those of the original. If `survivors` is not None, the frames
    of exactly these motion units of the original can be decoded; True stands with those whose Gaussians
    are all there.
    """

    data: bytes
    kind: str
    original: Original
    survivors: dict[int, bool] | None = None

    @property
    def intact(self) -> int:
        pairs = zip(self.data, self.original.data, strict=False)
        return next(
            (n for n, (a, b) in enumerate(pairs) if a != b), min(len(self.data), len(self.original.data))
        )


@dataclass(frozen=True)
class Outcome:
    """What a decoder made of a damaged stream."""

    errors: tuple[StreamError, ...]
    frames: int
    seconds: float
    megabytes: int  # by which the process grew


Damage = Callable[[random.Random, Sequence[Original], Original], Damaged]


def damaged(streams: Sequence[bytes], seed: int) -> Iterator[Damaged]:
    """§6.1 Damaged versions of valid streams without end, decided by `seed` and the streams."""
    generator = random.Random(seed)
    originals = [Original(data) for data in streams]
    while True:
        original = generator.choice(originals)
        yield generator.choice(DAMAGES)(generator, originals, original)


def survivors(
    original: Original,
    lost: set[int],
    reported: bool = True,
    disturbed_before: int = -1,
    changed_before: int = -1,
) -> dict[int, bool]:
    """§6.3, §6.8 The motion units that can be decoded without the units `lost`, and whether all Gaussians are there.

    `reported` says that lost units are in the stream as errors. A motion unit that is an error stands
    before the unit `disturbed_before`, a generator unit that may change the Gaussians before `changed_before`.
    """
    result: dict[int, bool] = {}
    sequence = avatar = chain = False
    sound = True
    for unit in original.units:
        chain &= unit.index != disturbed_before
        sound &= unit.index != changed_before
        structural = unit.type in ("canonical", "expression", "generator") and unit.layer == 0
        if unit.index in lost:
            chain &= not (unit.index in original.frames or (reported and unit.type in ("motion", "")))
            sound &= not structural
        elif unit.layer == 0:
            sequence |= unit.type == "sequence"
            avatar |= unit.type == "avatar" and sequence
            sound &= avatar or not structural
            if unit.type == "motion":
                chain = avatar and (chain or unit.index in original.keys)
                result |= {unit.index: sound} if chain else {}
    return result


def _traced(
    values: Values, reader: BitReader, contexts: dict[str, Any], observer: Observer | None
) -> FastReadPort:
    return FastReadPort(spec.standard(), values, reader, Compiled().functions, contexts, observer)


def _size(element: Element, value: Any) -> int:
    """§5.2 The number of bits of an element outside coded payloads."""
    if element.descriptor.kind == "leb128":
        return 8 * len(_leb(value))
    return 8 * len(value) if isinstance(value, bytes) else element.descriptor.size.evaluate({})


# Damage


def flipped_payload(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """Bits of payloads or checksums of units with a checksum: the units are lost, nothing else."""
    covered = [unit for unit in original.units if unit.payload_end < unit.end]
    hit = g.sample(covered, min(len(covered), g.choice((1, 1, 1, 2, 3))))
    data = bytearray(original.data)
    for unit in hit:
        for bit in {
            g.randrange(unit.payload_start * 8, unit.end * 8) for _ in range(g.choice((1, 1, 2, 8, 64)))
        }:
            data[bit // 8] ^= 128 >> bit % 8
    kept = survivors(original, {unit.index for unit in hit})
    return Damaged(bytes(data), "flipped_payload", original, kept)


def flipped(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """Bits anywhere."""
    data = bytearray(original.data)
    for _ in range(g.choice((1, 1, 2, 4, 16, 100))):
        bit = g.randrange(len(data) * 8)
        data[bit // 8] ^= 128 >> bit % 8
    return Damaged(bytes(data), "flipped", original)


def truncated(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """The end is missing."""
    length = g.randrange(len(original.data))
    lost = {unit.index for unit in original.units if unit.end > length}
    return Damaged(original.data[:length], "truncated", original, survivors(original, lost, False))


def dropped(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """Units are missing."""
    hit = g.sample(original.units, g.randint(1, min(3, len(original.units) - 1)))
    return without(original, {unit.index for unit in hit})


def without(original: Original, lost: set[int]) -> Damaged:
    """The stream without the units of these numbers. What survives is certain unless numbers hide the loss."""
    data = b"".join(original.unit_bytes(unit) for unit in original.units if unit.index not in lost)
    motion = sorted(original.frames)
    joined = set(pairwise(index for index in motion if index not in lost)) - set(pairwise(motion))
    hidden = any(_seems_next(original, before, unit) for before, unit in joined)
    return Damaged(data, "dropped", original, None if hidden else survivors(original, lost, False))


def duplicated(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """A unit comes again, at once or later."""
    unit = g.choice(original.units)
    place = g.randint(unit.index + 1, len(original.units))
    pieces = [original.unit_bytes(each) for each in original.units]
    pieces.insert(place, original.unit_bytes(unit))
    motion, generator = unit.index in original.frames, unit.type == "generator"
    before = max((index for index in original.frames if index < place), default=-1)
    if motion and _seems_next(original, before, unit.index):
        return Damaged(b"".join(pieces), "duplicated", original)
    kept = survivors(original, set(), True, place if motion else -1, place if generator else -1)
    return Damaged(b"".join(pieces), "duplicated", original, kept)


def _seems_next(original: Original, before: int, unit: int) -> bool:
    """§6.8 Whether a motion unit cannot be told from the one that comes after `before`, though it is another: its
    number, counted modulo 16, happens to follow, since a key unit may begin anywhere."""
    orders = [peek(original.data, original.units[index])["unit_order"] for index in (before, unit)]
    return unit not in original.keys and orders[1] == (orders[0] + 1) % 16


def swapped(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """Two units change places."""
    pieces = [original.unit_bytes(unit) for unit in original.units]
    a, b = g.randrange(len(pieces)), g.randrange(len(pieces))
    pieces[a], pieces[b] = pieces[b], pieces[a]
    return Damaged(b"".join(pieces), "swapped", original)


def spliced(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """Units of another stream stand between, or instead of, those of this one."""
    other = g.choice(originals)
    pieces = [original.unit_bytes(unit) for unit in original.units]
    first = g.randrange(len(other.units))
    foreign = [other.unit_bytes(unit) for unit in other.units[first : first + g.randint(1, 4)]]
    place = g.randint(0, len(pieces))
    pieces[place : place + g.randint(0, 2)] = foreign
    return Damaged(b"".join(pieces), "spliced", original)


def shifted(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """Bytes are put in or taken out."""
    data = bytearray(original.data)
    place = g.randrange(len(data))
    data[place : place + g.choice((0, 0, 1, 2, 30))] = g.randbytes(g.choice((0, 1, 2, 30)))
    return Damaged(bytes(data), "shifted", original)


def resized(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """A unit's size is wrong, or no leb128 at all."""
    unit = g.choice(original.units)
    size = 0
    while original.data[unit.start + size] & 128:
        size += 1
    right = unit.end - unit.start - size - 1
    wrong = g.choice([_leb(right + g.randint(-9, 9)), _leb(g.getrandbits(g.randint(1, 34))), *EXTREMES])
    data = original.data[: unit.start] + wrong + original.data[unit.start + size + 1 :]
    return Damaged(data, "resized", original)


def forged(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """Elements outside coded payloads get values at and beyond the ends of their ranges; the checksum is right."""
    unit = g.choice(original.elements)[0]
    inside = [(element, bit, count) for owner, element, bit, count in original.elements if owner is unit]
    payload = original.data[unit.payload_start : unit.payload_end]
    bits = "".join(f"{byte:08b}" for byte in payload)
    for element, bit, count in sorted(
        g.sample(inside, min(len(inside), g.randint(1, 3))), key=lambda e: -e[1]
    ):
        place = bit - unit.payload_start * 8
        bits = bits[:place] + _forged_bits(g, element, count) + bits[place + count :]
    bits += "0" * (-len(bits) % 8)
    payload = bytes(int(bits[n : n + 8], 2) for n in range(0, len(bits), 8))
    return Damaged(_replaced(original, unit, payload, checksum=True), "forged", original)


def _forged_bits(g: random.Random, element: Element, count: int) -> str:
    """Bits of a value for `element` in place of `count` bits."""
    if element.descriptor.kind != "leb128":
        value = g.choice((0, (1 << count) - 1, 1 << count >> 1, g.getrandbits(count)))
        return f"{value:0{count}b}" if count else ""
    ends = [end.evaluate({}) for end in (element.low, element.high) if not end.names]
    values = [max(0, end + g.choice((-1, 0, 1))) for end in ends] + [1 << g.randrange(30)]
    return "".join(f"{byte:08b}" for byte in g.choice([*map(_leb, values), g.choice(EXTREMES)]))


def scrambled(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """Payload bytes are replaced, cut or continued; the checksum is right, so the damage reaches the elements."""
    unit = g.choice(original.units)
    payload = bytearray(original.data[unit.payload_start : unit.payload_end])
    for _ in range(g.choice((1, 1, 2, 5, 40))):
        place = g.randint(0, max(0, min(len(payload) - 1, g.choice((3, len(payload))))))
        payload[place : place + g.choice((0, 1, 1, 1, 2))] = g.choice(
            (g.randbytes(1), g.randbytes(1), g.choice(EXTREMES), b"")
        )
    if g.random() < 0.2:
        payload = payload[: g.randint(0, len(payload))]
    return Damaged(
        _replaced(original, unit, bytes(payload), checksum=g.random() < 0.5), "scrambled", original
    )


def randomised(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """A payload of noise, of all zeros or of all ones, behind a right header."""
    unit = g.choice(original.units)
    keep = g.randint(0, min(6, unit.payload_end - unit.payload_start))
    size = g.choice((0, 1, 4, 20, 200, 2000))
    noise = g.choice((g.randbytes(size), bytes(size), b"\xff" * size))
    payload = original.data[unit.payload_start : unit.payload_start + keep] + noise
    return Damaged(_replaced(original, unit, payload, checksum=g.random() < 0.5), "randomised", original)


def retyped(g: random.Random, originals: Sequence[Original], original: Original) -> Damaged:
    """A payload under the header of another type or layer."""
    unit = g.choice(original.units)
    payload = original.data[unit.payload_start : unit.payload_end]
    piece = frame_unit(g.randrange(32), payload, layer=g.choice((0, 0, 1, 255)), checksum=g.random() < 0.5)
    return Damaged(original.data[: unit.start] + piece + original.data[unit.end :], "retyped", original)


DAMAGES: tuple[Damage, ...] = (
    flipped_payload, flipped, truncated, dropped, duplicated, swapped, spliced, shifted, resized, forged, forged,
    scrambled, scrambled, randomised, retyped,
)  # fmt: skip

EXTREMES = (
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x10",
    b"\x80\x00",
    b"\xff",
    b"\x80",
)
"""leb128s at and beyond the longest, one with a needless byte, and two that never end."""


def _leb(value: int) -> bytes:
    writer = BitWriter()
    writer.write("leb128", 0, max(value, 0))
    return writer.bytes()


def _replaced(original: Original, unit: Unit, payload: bytes, checksum: bool) -> bytes:
    piece = frame_unit(unit.type_number, payload, layer=unit.layer, checksum=checksum)
    return original.data[: unit.start] + piece + original.data[unit.end :]


# What must hold


def survives(stream: Damaged) -> Outcome:
    """§6.1 Decodes a damaged stream as a decoder that goes on and as one that gives up; raises Defect.

    Nothing but the four errors escapes; time and memory stay within bounds; every frame that does not
    depend on the damage has the digests of the original's; both decoders meet the same first error.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()  # of the processor: what else runs on the machine is no defect
    decoder = Decoder(stream.data)
    try:
        frames = {frame.index: frame_digests(frame) for frame in decoder.frames()}
        first = first_error(stream.data)
    except Exception as error:
        raise Defect(f"{stream.kind}: {type(error).__name__} escaped: {error}") from error
    seconds = time.process_time() - started
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    if seconds > 2 * SECONDS:
        raise Defect(f"{stream.kind}: took {seconds:.1f} s twice")
    if megabytes > MEGABYTES:
        raise Defect(f"{stream.kind}: took {megabytes} MB")
    expected = decoder.errors[0].as_dict() if decoder.errors else None
    if (first and first.as_dict()) != expected:
        raise Defect(f"{stream.kind}: the first error is {expected} when going on, {first} when giving up")
    for found in decoder.errors:
        _check_error(stream, found)
    _check_frames(stream, frames)
    return Outcome(tuple(decoder.errors), len(frames), seconds, megabytes)


def first_error(data: bytes) -> StreamError | None:
    """§6.1 The error at which a strict decoder gives up."""
    try:
        for _ in Decoder(data, strict=True).frames():
            pass
    except StreamError as error:
        return error
    return None


def frame_digests(frame: Any) -> tuple[bytes, ...]:
    """§7.8 The digests of a frame, without the stages that damage made too large to hash."""
    small = len(frame.canonical.position) <= SMALL_COUNT
    small &= frame.generator is None or frame.generator.topology["generator_macs"] <= SMALL_MACS
    return tuple(frame.digest(stage) for stage in STAGES if small or stage == "symbols")


def _check_error(stream: Damaged, error: StreamError) -> None:
    names = spec.standard().constraints.keys() | {
        element.range_constraint for element in spec.standard().elements()
    }
    overrun = spec.standard().constant_values["ENGINE_MAX_OVERRUN"]
    assert isinstance(overrun, int)
    placed = error.unit is not None or not stream.data
    if error.kind not in KINDS or error.constraint not in names or not placed:
        raise Defect(f"{stream.kind}: not an error of clause 6.1: {error.as_dict()}")
    if not 0 <= error.bit_offset <= 8 * (len(stream.data) + overrun):
        raise Defect(f"{stream.kind}: an error outside the stream: {error}")


def _check_frames(stream: Damaged, frames: dict[int, tuple[bytes, ...]]) -> None:
    original, intact = stream.original, stream.intact
    certain = [unit.index for unit in original.units if unit.end <= intact and unit.index in original.frames]
    for unit in certain:
        _compare(stream, frames, unit, len(STAGES))
    if stream.survivors is None:
        return
    for unit, sound in stream.survivors.items():
        _compare(stream, frames, unit, len(STAGES) if sound else 1)
    expected = {index for unit in stream.survivors for index, _ in original.frames[unit]}
    if frames.keys() != expected:
        raise Defect(f"{stream.kind}: decoded the frames {sorted(frames)}, intact are {sorted(expected)}")


def _compare(stream: Damaged, frames: dict[int, tuple[bytes, ...]], unit: int, stages: int) -> None:
    for index, digests in stream.original.frames[unit]:
        if frames.get(index, ())[:stages] != digests[:stages]:
            raise Defect(
                f"{stream.kind}: frame {index} of unit {unit} does not depend on the damage but is lost or changed"
            )


# Command


def seeds(count: int = 24) -> list[bytes]:
    """Small valid streams of all levels to damage; every other one has a checksum on each unit."""
    plain = [generate(n, {"level": 1 + n // 2 % 3}, units=6) for n in range(count)]
    return [with_checksums(data) if n % 2 else data for n, data in enumerate(plain)]


def with_checksums(data: bytes) -> bytes:
    """§5.3 The same stream with a checksum on every unit."""
    return b"".join(
        frame_unit(
            unit.type_number, data[unit.payload_start : unit.payload_end], layer=unit.layer, checksum=True
        )
        for unit in UnitReader(data)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Damages many streams and prints a summary as JSON; 1 if the decoder did what it must not."""
    parser = argparse.ArgumentParser(prog="conformance.damage", description=main.__doc__)
    parser.add_argument("--count", type=int, default=50000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="folder for streams that show a defect")
    options = parser.parse_args(arguments)
    numba.set_num_threads(1)  # for a few Gaussians, waking a second thread costs more than it does
    summary = campaign(options.count, options.seed, options.keep)
    print(json.dumps(summary, indent=1))
    return 1 if summary["defects"] else 0


def campaign(count: int, seed: int, keep: str | None = None) -> dict[str, Any]:
    """Runs `survives` on `count` damaged streams; progress goes to the standard error output."""
    kinds, errors, defects = Counter[str](), Counter[str](), []
    clean = frames = growth = 0
    slowest, started = 0.0, time.perf_counter()
    for number, stream in zip(range(count), damaged(seeds(), seed), strict=False):
        kinds[stream.kind] += 1
        try:
            outcome = survives(stream)
        except Defect as defect:
            defects.append(f"{number}: {defect}")
            print(defects[-1], file=sys.stderr)
            if keep:
                with open(f"{keep}/{seed}_{number}.hga", "wb") as file:
                    file.write(stream.data)
            continue
        errors.update(error.constraint for error in outcome.errors)
        clean += not outcome.errors
        frames += outcome.frames
        slowest, growth = max(slowest, outcome.seconds), max(growth, outcome.megabytes)
        if number % 1000 == 999:
            print(
                f"{number + 1} of {count}, {len(defects)} defects, {time.perf_counter() - started:.0f} s",
                file=sys.stderr,
            )
    return {
        "streams": count, "seed": seed, "defects": defects, "without_error": clean, "frames": frames,
        "slowest_s": round(slowest, 3), "largest_growth_mb": growth, "seconds": round(time.perf_counter() - started, 1),
        "kinds": dict(kinds.most_common()), "errors": dict(errors.most_common()),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
