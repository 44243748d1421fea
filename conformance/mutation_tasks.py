"""§7 What a mutant is run on: the stages of small streams, each from the inputs that the standard itself gave it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from conformance.coverage import PIXELS, STORED, affordable, stored
from conformance.records import expectation
from reference_decoder import Camera, Decoder, Executed
from reference_decoder.canonical import Canonical
from reference_decoder.engine import Engine, int32_bytes
from reference_decoder.frames import Frame
from reference_decoder.motion import MotionState
from reference_decoder.payload import FastReadPort
from reference_decoder.units import UnitReader, crc32
from spec.bits import BitReader
from spec.load import Check, Element, For, If, Let, Node, While
from spec.ports import Observer, ReadPort, Values

Functions = Mapping[str, Callable[..., Any]]
Parts = Callable[[Engine], Iterator[Any]]
"""A stage as what it gives, part after part: bytes, numbers or errors that a conformance record would pin."""


class Text(Executed):
    """§4.6 The text of the standard, executed from functions that the caller may change."""

    def __init__(self, functions: Functions):
        self._functions = functions

    @property
    def functions(self) -> Functions:
        return self._functions


Place = tuple[str, int]
"""A line of a function, module or structure that a task passes; of a structure, the identity of a node."""


@dataclass
class Task:
    """One stage of one stream: what it should give, which places that takes it to, and for how long."""

    stream: str
    stage: str
    parts: Parts
    expected: list[Any] = field(default_factory=list)
    places: frozenset[Place] = frozenset()
    functions: frozenset[str] = frozenset()
    seconds: float = 0.0

    def expect(self, watched: Engine, engine: Engine, take: Callable[[], set[Place]]) -> None:
        """Fills in what the unchanged standard gives; `take` gives the places that the run on `watched` passed."""
        self.expected = list(self.parts(watched))
        self.places = frozenset(take())
        self.functions = frozenset(name for name, _ in self.places)
        start = time.process_time()
        if list(self.parts(engine)) != self.expected:
            raise AssertionError(f"{self.stream}: {self.stage} differs from run to run")
        self.seconds = time.process_time() - start

    def differs(self, engine: Engine) -> bool:
        """Whether an engine gives anything else; errors of Python escape."""
        number = -1
        for number, part in enumerate(self.parts(engine)):
            if number >= len(self.expected) or part != self.expected[number]:
                return True
        return number + 1 != len(self.expected)


class _Noting(ReadPort):
    """Notes which nodes of the syntax a stream passes."""

    passed: set[int]

    def element(self, element: Element) -> None:
        self.passed.add(id(element))
        super().element(element)

    def let(self, let: Let) -> None:
        self.passed.add(id(let))
        super().let(let)

    def check(self, check: Check) -> None:
        self.passed.add(id(check))
        super().check(check)

    def iterations(self, loop: For) -> Iterator[int]:
        self.passed.add(id(loop))
        return super().iterations(loop)

    def repetitions(self, loop: While) -> Iterator[None]:
        self.passed.add(id(loop))
        return super().repetitions(loop)

    def branches(self, condition: If) -> Iterator[tuple[Node, ...]]:
        self.passed.add(id(condition))
        return super().branches(condition)


class _FastNoting(_Noting, FastReadPort):
    """Notes the nodes outside coded payloads, which compiled code reads."""


def noting(engine: Engine, passed: set[int]) -> Engine:
    """The engine, whose ports leave the identities of the nodes that they pass in `passed`."""
    plain = engine.read_port

    def read_port(
        values: Values, reader: BitReader, contexts: dict[str, Any], observer: Observer | None
    ) -> ReadPort:
        port = plain(values, reader, contexts, observer)
        port.__class__ = _FastNoting if isinstance(port, FastReadPort) else _Noting
        port.passed = passed  # type: ignore[attr-defined]
        return port

    engine.read_port = read_port  # type: ignore[method-assign]
    return engine


class _Recorder(Text):
    """Keeps the values of every unit that a decoder read, for the tasks that start after parsing."""

    def __init__(self, functions: Functions):
        super().__init__(functions)
        self.units: list[Values] = []

    def read_port(
        self, values: Values, reader: BitReader, contexts: dict[str, Any], observer: Observer | None
    ) -> ReadPort:
        self.units.append(values)
        return super().read_port(values, reader, contexts, observer)


def tasks_of(name: str, data: bytes, functions: Functions) -> list[Task]:
    """§7 The tasks of one stream, in order of the stages."""
    if stored(data) > STORED:
        return []
    recorder = _Recorder(functions)
    decoder = Decoder(data, recorder)
    frames = list(decoder.frames())
    tasks = [Task(name, "parse", lambda engine: _decoded(data, engine))]
    if decoder.avatar and not decoder.errors:
        read = recorder.units
        tasks.append(Task(name, "canonical", lambda engine: _canonical(decoder.avatar, read, engine)))
        tasks.append(Task(name, "motion", lambda engine: _motion(decoder.avatar, read, engine)))
    if any(unit.payload_end < unit.end for unit in UnitReader(data)):
        tasks.append(Task(name, "checksum", lambda engine: _checksums(data, engine)))
    if any(frame.generator is not None and affordable(frame) for frame in frames):
        tasks.append(Task(name, "network", lambda engine: _generated(data, engine)))
    for frame in frames:
        if affordable(frame):
            tasks += _frame_tasks(name, frame, decoder.cameras)
    return tasks


def _frame_tasks(name: str, frame: Frame, cameras: Mapping[int, Camera]) -> Iterator[Task]:
    yield Task(name, f"joints {frame.index}", lambda engine: _joints(frame, engine))
    if frame.generator is not None:
        yield Task(name, f"maps {frame.index}", lambda engine: iter([_fresh(frame, engine, "_joints").maps]))
    yield Task(name, f"gaussians {frame.index}", lambda engine: _gaussians(frame, engine))
    for camera in cameras.values():
        yield Task(name, f"projected {frame.index}", functools.partial(_projected, frame, camera))
        projected = frame.projected(camera)
        if camera.width * camera.height * len(projected) // 11 <= PIXELS:
            yield Task(name, f"pixels {frame.index}", functools.partial(_pixels, projected, camera))


def whole(name: str, data: bytes) -> Task:
    """§A.3.3 All that the record of a stream says of it."""
    return Task(name, "record", lambda engine: iter([expectation(Decoder(data, engine))]))


def _decoded(data: bytes, engine: Engine) -> Iterator[Any]:
    """Everything up to the poses, with errors, cameras and canonical Gaussians."""
    decoder = Decoder(data, engine)
    for frame in decoder.frames():
        yield frame.index, list(frame.symbols), list(frame.pose)
    for error in decoder.errors:
        yield error.kind, error.constraint, error.clause, error.unit, error.bit_offset
    for identity, camera in decoder.cameras.items():
        yield identity, camera.array().tolist()
    if decoder.canonical is not None:
        yield from decoder.canonical.serialise(engine)
    if decoder.generator is not None:
        places = decoder.generator.side, decoder.generator.map_u, decoder.generator.map_v
        yield decoder.generator.parameters, places


def _generated(data: bytes, engine: Engine) -> Iterator[Any]:
    """The first maps, from the bytes on: what a generator unit says of its layers shows in them alone."""
    for frame in Decoder(data, engine).frames():
        if frame.generator is not None:
            yield frame.maps
            return


def _canonical(avatar: Mapping[str, Any], units: list[Values], engine: Engine) -> Iterator[Any]:
    """§7.3, §7.4 from the values of canonical and expression units."""
    canonical = Canonical.empty(engine, avatar)
    for values in units:
        if "chunk_index" in values:
            canonical.add_chunk(engine, values)
        elif "expression_index" in values:
            canonical.add_expression(engine, values)
    yield from canonical.serialise(engine)


def _motion(avatar: Mapping[str, Any], units: list[Values], engine: Engine) -> Iterator[Any]:
    """§7.5 from the values of motion units."""
    state = MotionState(engine, avatar)
    for values in units:
        if "first_frame" in values:
            yield from state.decode(values)


def _checksums(data: bytes, engine: Engine) -> Iterator[Any]:
    for unit in UnitReader(data):
        start = max(unit.start, unit.payload_end - 64)
        yield engine.functions["checksum"](data, start, unit.payload_end) == crc32(
            data, start, unit.payload_end
        )


def _fresh(frame: Frame, engine: Engine, *kept: str) -> Frame:
    """The frame as another engine has to compute it from the stages `kept`."""
    fresh = replace(frame, engine=engine)
    fresh.__dict__.update({name: getattr(frame, name) for name in kept})
    return fresh


def _joints(frame: Frame, engine: Engine) -> Iterator[Any]:
    matrices = _fresh(frame, engine).joints
    yield matrices
    values = [value for row in matrices for value in row]
    yield bytes(engine.functions["serialise_int32"](values)) == int32_bytes(values)


def _gaussians(frame: Frame, engine: Engine) -> Iterator[Any]:
    fresh = _fresh(frame, engine, "_joints", *(["maps"] if frame.generator is not None else []))
    yield fresh.gaussians
    yield fresh.appearance


def _projected(frame: Frame, camera: Camera, engine: Engine) -> Iterator[Any]:
    yield _fresh(frame, engine, "gaussians", "appearance").projected(camera)


def _pixels(projected: Any, camera: Camera, engine: Engine) -> Iterator[Any]:
    yield engine.render(projected, camera).tobytes()
