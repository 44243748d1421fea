"""§4.6 Coverage: which points of the standard a stream exercises, and the fewest streams that exercise them all."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import spec
from conformance.coverage_code import InstrumentedCode, Point
from conformance.coverage_syntax import CoveringPort, SyntaxPoints
from reference_decoder import Compiled, Decoder, Executed, jit
from reference_decoder.engine import Array, int32_bytes
from reference_decoder.frames import Frame
from reference_decoder.units import UnitReader, crc32, widest_limits
from spec.bits import BitReader
from spec.errors import StreamError
from spec.expr import parse
from spec.ports import Observer, ReadPort, Values
from spec.run import Document
from spec.walk import walk

UNREACHABLE = Path(__file__).parent / "unreachable.yaml"
"""The points that no stream can reach, each with its reason."""

GAUSSIANS, NETWORK, INPUTS, PIXELS = 400, 300_000, 4096, 300_000
"""What the executed text can take: frames of more Gaussians, or of a network of more products, are read but not
computed, and pictures of more pixels times Gaussians are projected but not drawn. Coverage lets the compiled decoder
make the maps of a network whose input maps have no more texels, and has the text do the rest."""

STORED = 20_000
"""Positions and expression offsets of the largest stream whose units the text reads: of others, only headers and
errors are noted."""

Done = Callable[[int], None]


class _Coverage:
    """The points of one version of the standard, and a decoder that notes those a stream passes."""

    def __init__(self, standard: spec.Standard, document: Document):
        self.standard = standard
        self.code = InstrumentedCode(document)
        self.syntax = SyntaxPoints(standard)
        self.points: dict[str, Point] = self.syntax.points | self.code.points
        self.numbers = {identity: number for number, identity in enumerate(self.points)}

    def covered(self, data: bytes) -> frozenset[str]:
        found: set[str] = set()
        large = stored(data) > STORED
        decoder = Decoder(data, Compiled() if large else _CoveringEngine(self, found))
        for frame in decoder.frames():
            if not large:
                self._compute(decoder, frame)
        self._headers(data, found)
        found |= {f"constraint:{error.constraint}" for error in decoder.errors}
        found |= self.code.take()
        return frozenset(found & self.points.keys())

    def _compute(self, decoder: Decoder, frame: Frame) -> None:
        """Every stage of a frame that is small enough, serialised by the document too."""
        if not affordable_without_network(frame):
            return
        frame.stage_bytes("gaussians")
        self._serialise(frame.joints)
        for camera in decoder.cameras.values():
            projected = frame.projected(camera)
            self._serialise([projected])
            if camera.width * camera.height * len(projected) // 11 <= PIXELS:
                frame.render(camera)

    def _serialise(self, rows: list[list[int]]) -> None:
        values = [value for row in rows for value in row]
        if bytes(self.code.functions["serialise_int32"](values)) != int32_bytes(values):
            raise AssertionError("serialise_int32 is not what the decoder writes")

    def _headers(self, data: bytes, found: set[str]) -> None:
        """§5.3 Walks unit headers and checksums, which a decoder reads by itself."""
        for unit in UnitReader(data):
            limits: dict[str, Any] = dict(widest_limits(self.standard))
            reader = BitReader(data, unit.start * 8)
            with contextlib.suppress(StreamError):
                port = CoveringPort(self.syntax, found, limits, reader, {})
                walk(self.standard, "unit_header", port)
                if limits["unit_checksum_flag"]:
                    end = BitReader(data, unit.payload_end * 8, unit.end * 8)
                    walk(self.standard, "unit_checksum", CoveringPort(self.syntax, found, {}, end, {}))
                    self._checksum(data, unit.payload_end - min(64, unit.payload_end), unit.payload_end)

    def _checksum(self, data: bytes, start: int, end: int) -> None:
        if self.code.functions["checksum"](data, start, end) != crc32(data, start, end):
            raise AssertionError("checksum is not what the decoder computes")


def stored(data: bytes) -> int:
    """How many positions and expression offsets a stream has, by the compiled decoder."""
    decoder = Decoder(data)
    for _ in decoder.frames():
        pass
    return decoder.avatar.get("gaussian_count", 0) * (1 + decoder.avatar.get("expression_count", 0))


def affordable(frame: Frame) -> bool:
    """Whether the executed text can compute a frame."""
    products = frame.generator.topology["generator_macs"] if frame.generator else 0
    return len(frame.canonical.position) <= GAUSSIANS and products <= NETWORK


def affordable_without_network(frame: Frame) -> bool:
    """Whether the executed text can compute all of a frame but the maps."""
    if frame.generator is None or len(frame.canonical.position) > GAUSSIANS:
        return affordable(frame)
    topology = frame.generator.topology
    return 1 << 2 * (topology["map_bits"] - topology["input_level"]) <= INPUTS


class _CoveringEngine(Executed):
    """The text of the standard, executed with marks at its lines and read by a port that notes what it passes."""

    def __init__(self, coverage: _Coverage, found: set[str]):
        self._coverage, self._found = coverage, found

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        return self._coverage.code.functions

    def read_port(
        self, values: Values, reader: BitReader, contexts: dict[str, Any], observer: Observer | None
    ) -> ReadPort:
        return CoveringPort(self._coverage.syntax, self._found, values, reader, self.functions, contexts)

    def maps(self, generator: Any, inputs: Array, pose_vector: Array) -> Array:
        """§7.9.8 The maps, by the compiled decoder if the network is more than the text can take."""
        if generator.topology["generator_macs"] <= NETWORK:
            return super().maps(generator, inputs, pose_vector)
        lists = {name: value for name, value in generator.topology.items() if isinstance(value, list)}
        arrays = {name: np.array(value, np.int64) for name, value in lists.items()}
        compiled = replace(generator, topology={**generator.topology, **arrays}, prepared={})
        return Compiled().maps(compiled, np.array(inputs), np.array(pose_vector)).tolist()


@functools.cache
def _coverage() -> _Coverage:
    return _Coverage(spec.standard(), spec.document())


def points() -> Mapping[str, Point]:
    """§4.6 Every point of the standard by its id, in the order of the syntax and then of the text."""
    return _coverage().points


def covered(data: bytes) -> frozenset[str]:
    """§4.6 The ids of the points that decoding `data` with every stage exercises, errors included.

    The result is kept in the cache folder by the stream and by everything that decides it.
    """
    path = _cache_folder() / hashlib.sha256(data).hexdigest()[:32]
    ids = list(points())
    if path.exists():
        bits = int.from_bytes(path.read_bytes(), "little")
        return frozenset(ids[n] for n in range(len(ids)) if bits >> n & 1)
    found = _coverage().covered(data)
    bits = sum(1 << _coverage().numbers[identity] for identity in found)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(bits.to_bytes(len(ids) // 8 + 1, "little"))
    temporary.replace(path)
    return found


@functools.cache
def _cache_folder() -> Path:
    digest = hashlib.sha256(jit.fingerprint().encode())
    for name in ("coverage", "coverage_code", "coverage_syntax"):
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    folder = jit.cache_directory() / "coverage" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def covered_by_each(
    streams: Sequence[bytes], processes: int | None = None, done: Done = lambda count: None
) -> list[frozenset[str]]:
    """§4.6 `covered` of each stream, on several processes; `done` is told how many are finished."""
    results = []
    for found in _mapped(covered, streams, processes or os.cpu_count() or 1):
        results.append(found)
        done(len(results))
    return results


def _mapped(
    function: Callable[[bytes], frozenset[str]], streams: Sequence[bytes], processes: int
) -> Iterator[Any]:
    if processes < 2 or len(streams) < 2:
        yield from map(function, streams)
        return
    context = multiprocessing.get_context("spawn")  # threads of the compiled decoder do not survive a fork
    with ProcessPoolExecutor(min(processes, len(streams)), mp_context=context) as pool:
        yield from pool.map(function, streams)


def covering_set(
    streams: Sequence[bytes],
    already: Iterable[str] = (),
    processes: int | None = None,
    done: Done = lambda count: None,
) -> list[int]:
    """§4.6 The places in `streams` of few small streams that exercise all that the whole list exercises.

    Points in `already` need no stream. Greedy by new points per square root of bytes, after which streams that
    others have made needless are left out, the largest first.
    """
    found = [points_of - frozenset(already) for points_of in covered_by_each(streams, processes, done)]
    left = set().union(*found) if found else set()
    kept: list[int] = []
    while left:
        best = max(range(len(streams)), key=lambda n: (len(found[n] & left) / len(streams[n]) ** 0.5, -n))
        kept.append(best)
        left -= found[best]
    for place in sorted(kept, key=lambda n: -len(streams[n])):
        others = set().union(*(found[n] for n in kept if n != place))
        if found[place] <= others:
            kept.remove(place)
    return sorted(kept, key=lambda n: len(streams[n]))


def unreachable() -> dict[str, str]:
    """§4.6 Points that no stream can reach -> the reason, from `unreachable.yaml`."""
    entries = yaml.safe_load(UNREACHABLE.read_text(encoding="utf-8")) or {}
    return {identity: reason for key, reason in entries.items() for identity in listed(key)}


def listed(key: str) -> list[str]:
    """§4.6 The points that a key of `unreachable.yaml` names: a pattern with `*` and `?`; behind ` if ` a condition in
    the language of 4.5 for the number `n` with which their ids end."""
    pattern, _, condition = key.partition(" if ")
    found = fnmatch.filter(points(), pattern.replace("[", "[[]"))
    if not condition:
        return found
    holds = parse(condition)
    return [identity for identity in found if holds.evaluate({"n": int(identity.rsplit(":", 1)[1])})]
