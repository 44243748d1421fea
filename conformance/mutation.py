"""§4.6 Mutation: which stream notices which fault, and which faults none of them does."""

from __future__ import annotations

import argparse
import fnmatch
import gc
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import yaml

import spec
from conformance import corpus
from conformance.laboratory import STILLBORN, Laboratory, RecordLaboratory, TextLaboratory, Verdict
from conformance.limits import limit_process
from conformance.mutants import Mutant, document_mutants
from conformance.mutants_decoder import DecoderMutant, decoder_mutants
from conformance.mutants_syntax import SyntaxMutant, syntax_mutants
from conformance.streams import corpus_streams
from reference_decoder import jit

SURVIVORS = Path(__file__).parent / "survivors.yaml"
"""The mutants that give the same as the standard on every stream, each with its reason."""

SAMPLE = Path(__file__).parent / "sample.yaml"
"""With which of its mutants a clause begins in the part that is tried without --all."""

SHARE = 0.97
"""What part of the mutants without a reason to survive has to be noticed."""

EVERY = {"text": 3, "syntax": 2, "decoder": 3, "kernel": 6}
"""Without --all, every so many-th mutant of each kind is tried."""

LARGEST = 6000
"""Bytes of the largest stream that the executed text is run on."""

HINTS = 12
"""Tasks that noticed other mutants of a function, which are tried before the others."""


def kind_of(mutant: Mutant) -> str:
    """What was changed: the text, the syntax, a kernel of the decoder or other code of it."""
    if isinstance(mutant, DecoderMutant):
        return "kernel" if mutant.is_kernel else "decoder"
    return "syntax" if isinstance(mutant, SyntaxMutant) else "text"


def operator_of(mutant: str) -> str:
    """The operator in the id of a mutant."""
    return mutant.rsplit(":", 1)[-1].rsplit(".", 1)[-1]


def all_mutants() -> list[Mutant]:
    """§4.6 The mutants of the text, of the syntax description and of the decoder."""
    return [*document_mutants(spec.document()), *syntax_mutants(spec.standard()), *decoder_mutants()]


def chosen(mutants: Sequence[Mutant], every: Mapping[str, int] = EVERY) -> list[Mutant]:
    """A systematic part of the mutants: of each kind every so many-th of a clause, operator by operator.

    Where a clause begins stands in SAMPLE, so that a change of one clause does not draw another part of the others.
    """
    begins, groups = yaml.safe_load(SAMPLE.read_text(encoding="utf-8")), defaultdict[Any, list[Mutant]](list)
    for mutant in mutants:
        groups[kind_of(mutant), mutant.id.split("/")[0]].append(mutant)
    found = []
    for (kind, clause), group in sorted(groups.items()):
        group.sort(key=lambda mutant: (operator_of(mutant.id), mutant.id))
        found += group[begins[kind].get(clause, 0) :: every[kind]]
    return found


class _Run:
    """The mutants of one function or structure, tried one after the other in processes that they may ruin."""

    def __init__(self, laboratory: Laboratory, mutants: Sequence[Mutant]):
        self.laboratory, self.mutants = laboratory, mutants
        self.first: list[int] = []
        self.done = 0

    def start(self) -> Connection:
        """Starts a process for the mutants that are left; for one only if it may overwrite memory."""
        mutant = self.mutants[self.done]
        alone = isinstance(mutant, DecoderMutant) and mutant.is_kernel
        batch = self.mutants[self.done : self.done + 1] if alone else self.mutants[self.done :]
        context = multiprocessing.get_context("fork")  # the tasks are functions, which cannot be sent
        ours, theirs = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_try, args=(theirs, self.laboratory, batch, self.first), daemon=True
        )
        self.left = len(batch)
        self.begun = False
        self.process.start()
        theirs.close()
        return ours

    def receive(self, connection: Connection) -> Verdict | None:
        """The next verdict; None if it is only said that a mutant is in its place."""
        try:
            message = connection.recv()
        except EOFError:
            return self._died()
        if message is None:
            self.begun = True
            return None
        verdict, self.first = message
        return self._counted(verdict)

    def _died(self) -> Verdict:
        self.process.join()
        self.left = 0
        hung = self.process.exitcode in (-signal.SIGPROF, -signal.SIGKILL)
        how = ("hangs" if hung else "crashes") if self.begun else STILLBORN
        return self._counted(Verdict(self.mutants[self.done].id, how=how, tasks=1))

    def _counted(self, verdict: Verdict) -> Verdict:
        self.done, self.left, self.begun = self.done + 1, max(0, self.left - 1), False
        return verdict


def _try(connection: Connection, laboratory: Laboratory, mutants: Sequence[Mutant], first: list[int]) -> None:
    limit_process()
    laboratory.on_planted = lambda: connection.send(None)
    reasons = explained()
    for mutant in mutants:
        verdict = laboratory.judge(mutant, first, thorough=not why_equal(mutant, reasons))
        del first[HINTS:]
        connection.send((verdict, first))


def judged(
    laboratory: Laboratory, mutants: Iterable[Mutant], processes: int | None = None
) -> Iterator[Verdict]:
    """§4.6 The verdict on each mutant, in any order, as soon as it is known."""
    groups: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        groups[mutant.id.split(":")[0].split(".")[0] + mutant.function].append(mutant)
    waiting = [_Run(laboratory, group) for group in sorted(groups.values(), key=len)]
    gc.collect()
    gc.freeze()  # or collecting would copy what the processes share
    running: dict[Connection, _Run] = {}
    while waiting or running:
        while waiting and len(running) < (processes or os.cpu_count() or 1):
            run = waiting.pop()
            running[run.start()] = run
        for connection in wait(list(running)):
            assert isinstance(connection, Connection)
            run = running[connection]
            verdict = run.receive(connection)
            if verdict is not None:
                yield verdict
            if run.left == 0:
                del running[connection]
                connection.close()
                run.process.join()
                if run.done < len(run.mutants):
                    waiting.append(run)
    gc.unfreeze()


def explained() -> dict[str, str]:
    """§4.6 Ids of mutants that survive, with `*` for any characters -> why no stream can notice them."""
    return yaml.safe_load(SURVIVORS.read_text(encoding="utf-8")) or {}


def reason(mutant: str, reasons: Mapping[str, str]) -> str:
    """Why a mutant survives; empty if nothing is said."""
    return next((text for pattern, text in reasons.items() if fnmatch.fnmatchcase(mutant, pattern)), "")


def why_equal(mutant: Mutant, reasons: Mapping[str, str]) -> str:
    """Why no stream can notice a mutant, by its own text or by what somebody found out; empty if nothing is known."""
    return mutant.proof or reason(mutant.id, reasons)


def report(mutants: Iterable[Mutant], verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """§4.6 Counts, which stream was the first to notice which mutants, and the survivors with their reasons.

    `share` is that of the mutants that are no program at all left out; `share_of_rest` leaves out those with a reason
    too, of which `proven` are shown to be equivalent by their text alone.
    """
    reasons = explained()
    mutants = [mutant for mutant in mutants if not verdicts[mutant.id].stillborn]
    killers: dict[str, list[str]] = {}
    survivors = []
    for mutant in mutants:
        verdict = verdicts[mutant.id]
        if verdict.killed:
            killers.setdefault(verdict.stream or verdict.how, []).append(mutant.id)
        else:
            change = {"id": mutant.id, "line": mutant.before, "change": mutant.after}
            survivors.append(change | {"reason": why_equal(mutant, reasons), "tasks": verdict.tasks})
    killed = len(mutants) - len(survivors)
    unexplained = sum(not survivor["reason"] for survivor in survivors)
    wrong = [m.id for m in mutants if verdicts[m.id].killed and why_equal(m, reasons)]
    return {
        "mutants": len(mutants), "killed": killed, "share": killed / max(1, len(mutants)),
        "share_of_rest": killed / max(1, killed + unexplained), "unexplained": unexplained,
        "proven": sum(bool(m.proof) and not verdicts[m.id].killed for m in mutants),
        "by_clause": _table(mutants, verdicts, lambda m: f"{kind_of(m)} {m.id.split('/')[0]}"),
        "by_operator": _table(mutants, verdicts, lambda m: f"{kind_of(m)} {operator_of(m.id)}"),
        "killers": dict(sorted(killers.items(), key=lambda item: -len(item[1]))),
        "survivors": survivors, "explained_but_killed": wrong,
        "verdicts": [asdict(verdicts[mutant.id]) for mutant in mutants],
    }  # fmt: skip


def _table(mutants: Sequence[Mutant], verdicts: Mapping[str, Verdict], key: Any) -> dict[str, dict[str, int]]:
    """Group -> how many mutants it has, how many are killed and how many survive for a reason."""
    reasons, counts = explained(), defaultdict[str, Counter[str]](Counter)
    for mutant in mutants:
        killed = verdicts[mutant.id].killed
        explained_one = not killed and bool(why_equal(mutant, reasons))
        counts[key(mutant)].update(mutants=1, killed=killed, explained=explained_one)
    return {group: dict(count) for group, count in sorted(counts.items())}


def run(
    mutants: Sequence[Mutant],
    streams: Mapping[str, bytes],
    processes: int | None,
    journal: Path | None = None,
) -> dict[str, Any]:
    """§4.6 Tries mutants on streams and reports; says on the error output how far it is.

    `journal` keeps the verdicts as they come: the mutants that it says are killed are not tried again, as long as
    neither the standard nor the decoder changes.
    """
    verdicts = _kept(journal)
    of_text = [m for m in mutants if not _on_records(m) and m.id not in verdicts]
    of_records = [m for m in mutants if _on_records(m) and m.id not in verdicts]
    begin = time.monotonic()
    small = {name: data for name, data in streams.items() if len(data) <= LARGEST}
    about = {entry["id"]: frozenset(entry["clauses"]) for entry in corpus.read(corpus.DIRECTORY)}
    for chosen_ones, made in ((of_text, TextLaboratory), (of_records, RecordLaboratory)):
        if not chosen_ones:
            continue
        print(f"\n{made.__name__}: preparing the streams", file=sys.stderr)
        laboratory = made(small if made is TextLaboratory else streams, about)
        start, before = time.monotonic(), len(verdicts)
        for verdict in judged(laboratory, chosen_ones, processes):
            verdicts[verdict.mutant] = verdict
            if journal:
                with journal.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(asdict(verdict)) + "\n")
            rate = (len(verdicts) - before) / (time.monotonic() - start)
            print(f"\r{len(verdicts)} of {len(mutants)} mutants, {rate:.1f}/s", end="", file=sys.stderr)
        laboratory.close()
    return report(mutants, verdicts) | {"seconds": round(time.monotonic() - begin)}


def _kept(journal: Path | None) -> dict[str, Verdict]:
    """The verdicts on killed mutants in a journal of this version, which is begun if there is none."""
    if journal is None:
        return {}
    version = jit.fingerprint()
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    if not lines or lines[0] != version:
        journal.write_text(version + "\n", encoding="utf-8")
        return {}
    found = (Verdict(**json.loads(line)) for line in lines[1:])
    return {verdict.mutant: verdict for verdict in found if verdict.killed or verdict.stillborn}


def _on_records(mutant: Mutant) -> bool:
    """Whether whole streams are run on the compiled decoder, and not stages on the text."""
    return not mutant.coded if isinstance(mutant, SyntaxMutant) else isinstance(mutant, DecoderMutant)


def main() -> int:
    """Runs mutants on the corpus; 1 if too few are killed, one survives without a reason, or one with a reason dies."""
    parser = argparse.ArgumentParser(
        description="Puts faults into the standard and the decoder, one at a time, and looks which stream notices."
    )
    parser.add_argument("--all", action="store_true", help="every mutant, not a systematic part of them")
    parser.add_argument("--kind", choices=EVERY, help="mutants of one kind only")
    parser.add_argument("--only", default="*", help="mutants whose id matches; * stands for anything")
    parser.add_argument("--ids", type=Path, help="a file with the ids of the mutants to try, one to a line")
    parser.add_argument(
        "--processes", type=int, help="how many at a time, as many as there are cores otherwise"
    )
    parser.add_argument(
        "--journal", type=Path, help="a file of verdicts: what it says is killed is not tried again"
    )
    parser.add_argument("--json", type=Path, help="where to write who killed what")
    options = parser.parse_args()
    mutants = all_mutants() if options.all or options.ids else chosen(all_mutants())
    wanted = set(options.ids.read_text(encoding="utf-8").split("\n")) if options.ids else None
    mutants = [
        m
        for m in mutants
        if fnmatch.fnmatchcase(m.id, options.only)
        and options.kind in (None, kind_of(m))
        and (wanted is None or m.id in wanted)
    ]
    result = run(mutants, corpus_streams(1 << 30), options.processes, options.journal)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return _print(result)


def _print(result: Mapping[str, Any]) -> int:
    for table in ("by_clause", "by_operator"):
        print(f"\n{'':34} mutants  killed  explained")
        for group, count in result[table].items():
            print(f"{group:34} {count['mutants']:7} {count['killed']:7} {count['explained']:10}")
    print("\nmutants that a stream was the first to notice")
    for stream, ids in list(result["killers"].items())[:30]:
        print(f"{len(ids):7}  {stream}")
    unexplained = [survivor for survivor in result["survivors"] if not survivor["reason"]]
    equal = len(result["survivors"]) - len(unexplained)
    print(f"\n{result['mutants']} mutants, in {result['seconds']} s")
    print(f"{result['killed']} killed")
    print(
        f"{equal} equivalent: {result['proven']} by data flow, {equal - result['proven']} by survivors.yaml"
    )
    print(f"{len(unexplained)} unexplained")
    print(
        f"score {100 * result['share']:.2f} % of all, {100 * result['share_of_rest']:.2f} % without the equivalent ones"
    )
    for survivor in unexplained:
        print(f"  {survivor['id']}  {survivor['line']}  {survivor['change']}")
    for identity in result["explained_but_killed"]:
        print(f"  {identity} is killed, although there is a reason why it cannot be")
    bad = unexplained or result["explained_but_killed"] or result["share_of_rest"] < SHARE
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
