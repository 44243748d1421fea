"""§4.6 Laboratories: they put one mutant at a time in its place and run streams on it until one notices."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

import spec
from conformance import mutants_decoder
from conformance.coverage_code import InstrumentedCode
from conformance.limits import Hangs, time_limit
from conformance.mutants import NAMES, Mutant
from conformance.mutants_decoder import DecoderMutant
from conformance.mutants_syntax import SyntaxMutant
from conformance.mutation_tasks import Place, Task, Text, noting, tasks_of, whole
from reference_decoder import Compiled
from reference_decoder.engine import Engine

FRAMES, FRAMES_SECONDS = 2, 0.02
"""Of the frames of a stream that run the same lines of a stage, mutants see no more than these or take this long."""

MOST_SECONDS = {"text": 2.0, "record": 5.0}
"""Seconds of the standard's own time after which a mutant that is not tried thoroughly counts as a survivor."""

LAST = ("negative*", "damaged/*")
"""Streams that are tried after the others: most of them differ from one another in a few bytes."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: the stream and stage that noticed it and how, or that none did."""

    mutant: str
    stream: str = ""
    stage: str = ""
    how: str = ""  # differs, hangs, crashes, or the name of an exception
    tasks: int = 0
    complete: bool = True

    @property
    def killed(self) -> bool:
        """Whether any stream noticed it."""
        return bool(self.how) and not self.stillborn

    @property
    def stillborn(self) -> bool:
        """Whether it is no program at all."""
        return self.how == STILLBORN


STILLBORN = "stillborn"
_NOTHING: Mapping[str, frozenset[str]] = MappingProxyType({})


class Laboratory:
    """§4.6 The tasks of a set of streams, and how a mutant gets into its place for them."""

    name: str
    engine: Engine
    tasks: list[Task]
    about: Mapping[str, frozenset[str]]
    """The clauses that each stream was made for, as far as they are known."""
    on_planted: Callable[[], None] = staticmethod(lambda: None)
    """Called as soon as a mutant is in its place, before it is run."""

    def places(self, mutant: Mutant) -> set[Place]:
        """A task has to pass one of these for a mutant to matter to it; all tasks do if there are none."""
        raise NotImplementedError

    def planted(self, mutant: Mutant) -> contextlib.AbstractContextManager[None]:
        """Runs with a mutant in its place."""
        raise NotImplementedError

    def close(self) -> None:
        """Leaves everything as it was."""

    def sort(self) -> None:
        """The quickest tasks first, those of similar streams last."""
        alike = {t.stream: any(fnmatch.fnmatchcase(t.stream, p) for p in LAST) for t in self.tasks}
        self.tasks.sort(key=lambda task: (alike[task.stream], task.seconds))

    def tasks_for(self, mutant: Mutant, first: Sequence[int] = ()) -> Iterator[int]:
        """The tasks that pass the changed place, by number: those of streams with the name of what is changed, those of
        `first`, those of streams made for its clause, then the others."""
        places, named, clauses = self.places(mutant), mutant.before.split(":")[0], _clauses(mutant)
        about = [
            n for n, task in enumerate(self.tasks) if f"_{named}_" in f"{task.stream}_".replace("/", "_")
        ]
        about = about if isinstance(mutant, SyntaxMutant) else []
        made = [n for n, task in enumerate(self.tasks) if clauses & self.about.get(task.stream, frozenset())]
        for number in dict.fromkeys([*about, *first, *made, *range(len(self.tasks))]):
            if not places or not places.isdisjoint(self.tasks[number].places):
                yield number

    def judge(self, mutant: Mutant, first: list[int] | None = None, thorough: bool = True) -> Verdict:
        """Runs a mutant until the first task that notices it, which goes to the head of `first`.

        One that is known to give the same anyway need not be tried thoroughly.
        """
        first = [] if first is None else first
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.planted(mutant))
            except Exception:  # of Numba, or of what writes code for it
                return Verdict(mutant.id, how=STILLBORN)
            self.on_planted()
            return self._judge(mutant, first, thorough)

    def _judge(self, mutant: Mutant, first: list[int], thorough: bool) -> Verdict:
        count, spent = 0, 0.0
        for count, number in enumerate(self.tasks_for(mutant, first), 1):
            task = self.tasks[number]
            if how := _run(task, self.engine):
                if number in first:
                    first.remove(number)
                first.insert(0, number)
                return Verdict(mutant.id, task.stream, task.stage.split()[0], how, count)
            spent += task.seconds
            if spent > MOST_SECONDS[self.name] and not thorough:
                return Verdict(mutant.id, tasks=count, complete=False)
        return Verdict(mutant.id, tasks=count)


def _clauses(mutant: Mutant) -> frozenset[str]:
    """The clause of what is changed; those of the functions that use a constant."""
    if mutant.id.startswith("constant/"):
        blocks = spec.document().blocks
        return frozenset(blocks[name].clause for name in _users(mutant.function))
    return frozenset({mutant.id.split("/")[0]})


def _run(task: Task, engine: Engine) -> str:
    """How a task notices a mutant; empty if it does not."""
    try:
        with time_limit(task.seconds):
            return "differs" if task.differs(engine) else ""
    except Hangs:
        return "hangs"
    except Exception as error:
        return type(error).__name__


class TextLaboratory(Laboratory):
    """§4.6 The text of the standard in plain integers, stage by stage."""

    name = "text"

    def __init__(self, streams: Mapping[str, bytes], about: Mapping[str, frozenset[str]] = _NOTHING):
        self.about = about
        document = spec.document()
        code = InstrumentedCode(document, checked=False)
        self.functions = _namespace(document.execute(False, names=NAMES))
        self.engine = Text(self.functions)
        passed: set[int] = set()
        watched = noting(Text(code.functions), passed)

        def take() -> set[Place]:
            points = (code.points[identity] for identity in code.take())
            found = {point.place for point in points if point.kind == "line"} | {("", n) for n in passed}
            passed.clear()
            return found

        self.tasks = []
        seen, spent = Counter[Any](), defaultdict[Any, float](float)
        for name, data in streams.items():
            for task in tasks_of(name, data, self.functions):
                task.expect(watched, self.engine, take)
                alike = name, task.stage.split()[0], task.places
                if seen[alike] < FRAMES or spent[alike] < FRAMES_SECONDS:
                    self.tasks.append(task)
                seen[alike] += 1
                spent[alike] += task.seconds
        self.sort()

    def places(self, mutant: Mutant) -> set[Place]:
        if isinstance(mutant, SyntaxMutant):
            return {("", mutant.line)}
        if mutant.source:
            return {(mutant.function, mutant.line)}
        return self._places_of(_users(mutant.function))

    @functools.cache  # noqa: B019
    def _places_of(self, functions: frozenset[str]) -> set[Place]:
        return {place for task in self.tasks for place in task.places if place[0] in functions}

    @contextlib.contextmanager
    def planted(self, mutant: Mutant) -> Iterator[None]:
        if isinstance(mutant, SyntaxMutant):
            with mutant.planted():
                yield
            return
        original = self.functions[mutant.function]
        try:
            if mutant.source:
                exec(compile(mutant.source, mutant.id, "exec"), self.functions)
            else:
                self.functions[mutant.function] = mutant.value
            yield
        finally:
            self.functions[mutant.function] = original


@functools.cache
def _users(constant: str) -> frozenset[str]:
    return frozenset(block.name for block in spec.document().blocks.values() if constant in block.source)


def _namespace(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    """The globals in which the functions of a document find each other and their constants."""
    return next(iter(functions.values())).__globals__


class RecordLaboratory(Laboratory):
    """§A.3.3 The reference decoder, whole streams at a time, judged by all that their records say."""

    name = "record"

    def __init__(self, streams: Mapping[str, bytes], about: Mapping[str, frozenset[str]] = _NOTHING):
        self.about = about
        self._kernels = contextlib.ExitStack()
        self._kernels.enter_context(mutants_decoder.sequential_kernels())
        self.engine = Compiled()
        passed: set[int] = set()
        watched, tracer = noting(Compiled(), passed), _Tracer()

        def take() -> set[Place]:
            found = tracer.take() | {("", node) for node in passed}
            passed.clear()
            return found

        self.tasks = [whole(name, data) for name, data in streams.items()]
        for task in self.tasks:
            for _ in task.parts(self.engine):
                pass  # compiles the kernels
            tracer.start()
            try:
                task.expect(watched, self.engine, take)
            finally:
                tracer.stop()
        self.sort()

    def close(self) -> None:
        self._kernels.close()

    def places(self, mutant: Mutant) -> set[Place]:
        if isinstance(mutant, SyntaxMutant):
            in_header = mutant.function in ("unit_header", "unit_checksum")
            return {("", mutant.line)} if mutant.line and not in_header else set()
        assert isinstance(mutant, DecoderMutant)
        return self._callers(mutant.module) if mutant.is_kernel else {(mutant.module, mutant.line)}

    @functools.cache  # noqa: B019
    def _callers(self, module: str) -> set[Place]:
        """The lines outside the kernels of a module, or of the one that uses it: no kernel runs without them."""
        names = {module, _USED_BY.get(module, module)}
        return {place for task in self.tasks for place in task.places if place[0] in names}

    def planted(self, mutant: Mutant) -> contextlib.AbstractContextManager[None]:
        if isinstance(mutant, SyntaxMutant):
            return mutant.planted()
        assert isinstance(mutant, DecoderMutant)
        return mutants_decoder.planted(mutant)


_USED_BY = {
    "reference_decoder.lanes": "reference_decoder.raster",
    "reference_decoder.convolution": "reference_decoder.network",
}


class _Tracer:
    """Notes the lines of the decoder that Python passes; those of kernels it does not see."""

    def __init__(self) -> None:
        modules = (sys.modules[name] for name in mutants_decoder.MODULES)
        self._names = {str(Path(str(module.__file__))): module.__name__ for module in modules}
        self._found: set[Place] = set()

    def start(self) -> None:
        sys.settrace(self._call)

    def stop(self) -> None:
        sys.settrace(None)

    def take(self) -> set[Place]:
        """The lines passed since the last call; ends the watch."""
        self.stop()
        found, self._found = self._found, set()
        return found

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = self._names.get(frame.f_code.co_filename)
        if name is None:
            return None
        found = self._found

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            found.add((name, frame.f_lineno))
            return line

        return line(frame, event, argument)
