"""§4.6 Mutation: which stream notices which fault, and which faults none of them does."""

from __future__ import annotations

import argparse
import fnmatch
import gc
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

import spec
from conformance.coverage_code import InstrumentedCode
from conformance.mutants import NAMES, Mutant, document_mutants
from conformance.mutation_tasks import Task, tasks_of
from conformance.streams import corpus_streams

SURVIVORS = Path(__file__).parent / "survivors.yaml"
"""The mutants that give the same as the standard on every stream, each with its reason."""

PATIENCE, LEAST_SECONDS = 20, 0.5
"""A mutant that takes this many times as long as the standard, and this many seconds more, hangs."""

MEMORY = 6 << 30
"""Bytes of address space that a process with mutants may have."""

MOST_SECONDS = 4.0
"""Seconds of the standard's own time after which a mutant that is still alive counts as a survivor."""

FRAMES = 2
"""Frames of a stream that run the same lines of a stage, of which mutants see no more."""


class _Hangs(BaseException):
    """A mutant takes too long."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: the stream and stage that noticed it and how, or that none did."""

    mutant: str
    stream: str = ""
    stage: str = ""
    how: str = ""  # differs, hangs, or the name of an exception
    tasks: int = 0
    complete: bool = True

    @property
    def killed(self) -> bool:
        """Whether any stream noticed it."""
        return bool(self.how)


class Laboratory:
    """§4.6 The functions of the standard in plain integers, into which one mutant at a time is put."""

    def __init__(self, streams: Mapping[str, bytes]):
        document = spec.document()
        code = InstrumentedCode(document, checked=False)
        self.functions = _namespace(document.execute(False, names=NAMES))
        self.tasks: list[Task] = []
        seen: Counter[tuple[str, str, frozenset[tuple[str, int]]]] = Counter()
        for name, data in streams.items():
            for task in tasks_of(name, data, self.functions):
                task.measure(code, self.functions)
                alike = seen[name, task.stage.split()[0], task.lines]
                seen[name, task.stage.split()[0], task.lines] += 1
                if alike < FRAMES:
                    self.tasks.append(task)
        self.tasks.sort(key=lambda task: task.seconds)

    def tasks_for(self, mutant: Mutant) -> Iterator[Task]:
        """The tasks that pass the changed line, the quickest first."""
        blocks = spec.document().blocks.values()
        users = {block.name for block in blocks if mutant.function in block.source}
        for task in self.tasks:
            if (mutant.function, mutant.line) in task.lines if mutant.source else task.functions & users:
                yield task

    def judge(self, mutant: Mutant) -> Verdict:
        """Runs a mutant until the first task that notices it."""
        original = self.functions[mutant.function]
        try:
            if mutant.source:
                exec(compile(mutant.source, mutant.id, "exec"), self.functions)
            else:
                self.functions[mutant.function] = mutant.value
            return self._judge(mutant)
        finally:
            self.functions[mutant.function] = original

    def _judge(self, mutant: Mutant) -> Verdict:
        count, spent = 0, 0.0
        for count, task in enumerate(self.tasks_for(mutant), 1):
            how = _run(task, self.functions)
            if how:
                return Verdict(mutant.id, task.stream, task.stage.split()[0], how, count)
            spent += task.seconds
            if spent > MOST_SECONDS:
                return Verdict(mutant.id, tasks=count, complete=False)
        return Verdict(mutant.id, tasks=count)


def _namespace(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    """The globals in which the functions of a document find each other and their constants."""
    return next(iter(functions.values())).__globals__


def _run(task: Task, functions: dict[str, Any]) -> str:
    """How a task notices a mutant; empty if it does not."""
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE * task.seconds + LEAST_SECONDS)
    try:
        return "differs" if task.differs(functions) else ""
    except _Hangs:
        return "hangs"
    except Exception as error:
        return type(error).__name__
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _hang(number: int, frame: Any) -> None:
    raise _Hangs


_laboratory: Laboratory | None = None


def _enter() -> None:
    signal.signal(signal.SIGVTALRM, _hang)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _judge(mutant: Mutant) -> Verdict:
    assert _laboratory is not None
    return _laboratory.judge(mutant)


def judged(
    laboratory: Laboratory, mutants: Sequence[Mutant], processes: int | None = None
) -> Iterator[Verdict]:
    """§4.6 The verdict on each mutant, in any order, as soon as it is known."""
    global _laboratory
    _laboratory = laboratory
    gc.collect()
    gc.freeze()  # or collecting would copy what the processes share
    context = multiprocessing.get_context("fork")  # the tasks are functions, which cannot be sent
    with context.Pool(processes or os.cpu_count(), _enter) as pool:
        yield from pool.imap_unordered(_judge, mutants, chunksize=4)
    _laboratory = None


def explained() -> dict[str, str]:
    """§4.6 Ids of mutants that survive, with `*` for any characters -> why no stream can notice them."""
    return yaml.safe_load(SURVIVORS.read_text(encoding="utf-8")) or {}


def reason(mutant: str, reasons: Mapping[str, str]) -> str:
    """Why a mutant survives; empty if nothing is said."""
    return next((text for pattern, text in reasons.items() if fnmatch.fnmatchcase(mutant, pattern)), "")


def report(mutants: Iterable[Mutant], verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """§4.6 Counts, which stream kills which mutants, and the survivors with their reasons."""
    reasons, mutants = explained(), list(mutants)
    killers: dict[str, list[str]] = {}
    survivors = []
    for mutant in mutants:
        verdict = verdicts[mutant.id]
        if verdict.killed:
            killers.setdefault(verdict.stream, []).append(mutant.id)
        else:
            change = {"id": mutant.id, "line": mutant.before, "change": mutant.after}
            survivors.append(change | {"reason": reason(mutant.id, reasons), "tasks": verdict.tasks})
    killed = sum(verdicts[mutant.id].killed for mutant in mutants)
    wrong = [m.id for m in mutants if verdicts[m.id].killed and reason(m.id, reasons)]
    return {
        "mutants": len(mutants), "killed": killed, "share": killed / max(1, len(mutants)),
        "killers": killers, "survivors": survivors, "explained_but_killed": wrong,
        "verdicts": [asdict(verdicts[mutant.id]) for mutant in mutants],
    }  # fmt: skip


def main() -> int:
    """Runs the mutants on the corpus; 1 if one survives without a reason or one with a reason is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="this many mutants, chosen by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="*", help="mutants whose id matches; * stands for anything")
    parser.add_argument("--largest", type=int, default=6000, help="bytes of the largest stream")
    parser.add_argument("--json", type=Path, help="where to write who killed what")
    options = parser.parse_args()
    mutants = [m for m in document_mutants(spec.document()) if fnmatch.fnmatchcase(m.id, options.only)]
    if options.sample:
        mutants = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
    print("preparing the streams", file=sys.stderr)
    laboratory = Laboratory(corpus_streams(options.largest))
    verdicts: dict[str, Verdict] = {}
    for verdict in judged(laboratory, mutants):
        verdicts[verdict.mutant] = verdict
        print(f"\r{len(verdicts)} of {len(mutants)} mutants", end="", file=sys.stderr)
    result = report(mutants, verdicts)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return _print(result)


def _print(result: Mapping[str, Any]) -> int:
    unexplained = [survivor for survivor in result["survivors"] if not survivor["reason"]]
    print(f"\n{result['killed']} of {result['mutants']} mutants killed, {100 * result['share']:.2f} %")
    print(f"{len(result['survivors'])} survive, {len(unexplained)} of them without a reason")
    for survivor in unexplained:
        print(f"  {survivor['id']}  {survivor['change']}")
    for identity in result["explained_but_killed"]:
        print(f"  {identity} is killed, although survivors.yaml explains why it cannot be")
    return int(bool(unexplained or result["explained_but_killed"]))


if __name__ == "__main__":
    sys.exit(main())
