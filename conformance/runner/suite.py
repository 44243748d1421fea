"""§A.3.3 A whole suite on one decoder: what is asked, in parallel, with the verdicts in the order of the records."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.runner import process
from conformance.runner.decoders import Decoder, DecoderError
from conformance.runner.judge import PASS, UNSUPPORTED, VERDICTS, Judge, Result, Rules
from conformance.runner.records import Record

Progress = Callable[[int, int, Result], None]
Inspect = Callable[[Record, Result, Path], Result]
"""A further look at a stream that has passed and at the folder of its files."""


@dataclass(frozen=True)
class Run:
    """The verdicts of one decoder on a suite."""

    judge: Judge
    results: tuple[Result, ...]
    seconds: float
    explain: str = ""  # the command that says more about the stream {id}

    @property
    def decoder(self) -> Decoder:
        """What was judged."""
        return self.judge.decoder

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> number of streams."""
        counted = Counter(result.verdict for result in self.results)
        return {verdict: counted[verdict] for verdict in VERDICTS}

    @property
    def groups(self) -> dict[str, tuple[Result, ...]]:
        """Results by group, in the order of their names."""
        names = sorted({result.record.group for result in self.results})
        return {name: tuple(r for r in self.results if r.record.group == name) for name in names}

    @property
    def rejections(self) -> dict[str, int]:
        """§6.1 Of the streams with errors that were asked: how many, and of how many each field was right."""
        found = [result.rejection for result in self.results if result.rejection]
        right = {
            name: sum(r.agrees[name] for r in found) for name in ("error", "constraint", "unit", "bit_offset")
        }
        return {"streams": len(found)} | right

    @property
    def stages(self) -> dict[str, int]:
        """Stage -> frames whose digest was right."""
        total: Counter[str] = Counter()
        for result in self.results:
            total.update(result.compared)
        return dict(total)

    @property
    def conforms(self) -> bool:
        """Whether something was asked and all of that passed."""
        return self.counts[PASS] > 0 and self.counts[PASS] + self.counts[UNSUPPORTED] == len(self.results)


class Runner:
    """Asks one decoder about streams, one process each."""

    def __init__(self, judge: Judge, inspect: Inspect | None = None):
        self.judge = judge
        self.decoder = judge.decoder
        self.inspect = inspect
        self.cancel = threading.Event()
        self._servers: list[process.Server] = []
        self._idle: list[process.Server] = []

    def one(self, record: Record) -> Result:
        """The verdict on one stream; raises DecoderError if the command cannot be started."""
        if not self.decoder.has(record.profile, record.level):
            return Result(
                record, UNSUPPORTED, f"profile {record.profile}, level {record.level}: not declared"
            )
        with tempfile.TemporaryDirectory(prefix="hga-conformance-") as folder:
            arguments = command(self.decoder, record, Path(folder), self.judge.rules)
            finished = self._asked(record, arguments)
            result = replace(self.judge(record, finished), command=shlex.join(arguments))
            if self.inspect and result.verdict == PASS and not record.errors:
                result = self.inspect(record, result, Path(folder))
            return result

    def _asked(self, record: Record, arguments: Sequence[str]) -> process.Finished:
        """What the decoder says of a stream: in a process of its own, or in one that stays and has no files."""
        try:
            if not self.decoder.serve or self.inspect:
                return process.run(arguments, self.decoder.timeout, self.decoder.memory, self.cancel)
            server = self._server()
            finished = server.ask(str(record.stream.resolve()), self.decoder.timeout)
            self._idle.append(server)
            return finished
        except OSError as error:
            raise DecoderError(f"{arguments[0]}: {error.strerror or error}") from None

    def _server(self) -> process.Server:
        """One that is idle, or a new one."""
        with contextlib.suppress(IndexError):  # none is idle
            while True:
                server = self._idle.pop()
                if not server.ended:
                    return server
        arguments = self.decoder.arguments(self.decoder.serve, stages=asked(self.decoder, self.judge.rules))
        server = process.Server(arguments, self.decoder.memory, self.cancel)
        self._servers.append(server)
        return server

    def close(self) -> None:
        """Ends what stays between streams."""
        for server in self._servers:
            server.close()

    def all(self, records: Sequence[Record], jobs: int, progress: Progress | None = None) -> list[Result]:
        """The verdicts on all streams, `jobs` at a time, in the order of the records."""
        try:
            return self._all(records, jobs, progress)
        finally:
            self.close()

    def _all(self, records: Sequence[Record], jobs: int, progress: Progress | None) -> list[Result]:
        results: dict[str, Result] = {}
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            waiting: list[Future[Result]] = [pool.submit(self.one, record) for record in records]
            try:
                for done in as_completed(waiting):
                    result = done.result()
                    results[result.record.id] = result
                    if progress:
                        progress(len(results), len(records), result)
            except BaseException:
                self.cancel.set()
                for future in waiting:
                    future.cancel()
                raise
        return [results[record.id] for record in records]


def asked(decoder: Decoder, rules: Rules) -> str:
    """The stages that a decoder is asked for, for its command line."""
    return ",".join(decoder.stages or rules.stages)


def command(decoder: Decoder, record: Record, output: Path, rules: Rules) -> list[str]:
    """The arguments that ask a decoder about a stream."""
    places = {"stream": record.stream.resolve(), "output": output, "stages": asked(decoder, rules)}
    return decoder.arguments(decoder.command, **places)
