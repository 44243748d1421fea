"""`hga conformance run`: the verdicts of the suite on one decoder."""

from __future__ import annotations

import json
import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tools import terminal
from tools.conformance import decoder_options, decoder_under_test, records, reference, rules
from tools.parameters import OutputFile, json_option, make_room

if TYPE_CHECKING:
    from conformance.runner.decoders import Decoder
    from conformance.runner.suite import Inspect, Run


@click.command()
@decoder_options
@click.option("--only", multiple=True, help="Ids of streams, or patterns such as 'syntax/*'.")
@click.option(
    "--largest", type=click.IntRange(0), metavar="BYTES", help="Leave larger streams out: for slow decoders."
)
@click.option(
    "--strict", type=click.Choice(["class", "id", "exact"]), default="id", show_default=True,
    help="What of an error has to be right: its class; the constraint too; unit and bit offset too.",
)  # fmt: skip
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True, help="At a time."
)
@click.option("--junit", type=OutputFile(".xml"), help="Write the verdicts as JUnit XML.")
@click.option("--html", type=OutputFile(".html"), help="Write the verdicts as one HTML page.")
@click.option("--report", type=OutputFile(".json"), help="Write the verdicts as JSON.")
@json_option
def run(
    source: str, corpus: tuple[Path, ...], profiles: str | None, levels: str | None, stages: tuple[str, ...] | None,
    timeout: float | None, memory: int | None, only: tuple[str, ...], largest: int | None, strict: str,
    jobs: int, junit: Path | None, html: Path | None, report: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Ask a decoder about every stream of the suite and judge what it answers.

    pass: all that was asked is right; fail: something is wrong, or an invalid stream was accepted; error: a crash,
    output that is not what the contract says, or too much memory; timeout; unsupported: not asked, since the
    decoder does not declare the profile, the level or a stage. Exit code 0: all that was asked passed, 1: not.

    \b
    Examples:
      hga conformance run --decoder 'hga decode --json --stages all {stream}'
      hga conformance run --decoder mine.toml --only 'syntax/*' --stages gaussians
      hga conformance run --decoder mine.toml --junit verdicts.xml --html verdicts.html
    """
    from conformance.runner.decoders import DecoderError
    from conformance.runner.judge import Judge
    from conformance.runner.suite import Run, Runner

    decoder = decoder_under_test(source, profiles, levels, stages, timeout, memory)
    chosen, judge = records(corpus, only, largest), Judge(decoder, rules(), strict)
    began = time.monotonic()
    try:
        with terminal.progress() as progress:
            results = Runner(judge, inspection(decoder)).all(
                chosen, jobs, lambda done, total, result: progress("streams", done, total)
            )
    except DecoderError as error:
        raise click.UsageError(str(error)) from None
    explain = explaining(source, corpus, stages)
    found = Run(judge, tuple(results), time.monotonic() - began, explain)
    write(found, junit, html, report)
    show(found, as_json)
    return 0 if found.conforms else 1


def explaining(source: str, corpus: tuple[Path, ...], stages: tuple[str, ...] | None) -> str:
    """The command that says more about one of the streams, whose id stands for {id}."""
    places = [f"--corpus {shlex.quote(str(folder))}" for folder in corpus]
    asked = [f"--stages {','.join(stages)}"] if stages else []
    return " ".join(["hga conformance explain {id} --decoder", shlex.quote(source), *places, *asked])


def inspection(decoder: Decoder) -> Inspect | None:
    """§E.5 What else is looked at of a decoder of the tolerance class: its pictures."""
    from conformance.runner.tolerance import ToleranceCheck

    return ToleranceCheck(reference(), rules()) if decoder.pixels == "tolerance" else None


def write(found: Run, junit: Path | None, html: Path | None, report: Path | None) -> None:
    """The reports that were asked for."""
    from conformance.runner.page import as_html
    from conformance.runner.report import as_json, as_junit

    for path in (junit, html, report):
        if path is not None:
            make_room(path)
    if junit is not None:
        junit.write_bytes(as_junit(found))
    if html is not None:
        html.write_text(as_html(found), encoding="utf-8")
    if report is not None:
        report.write_text(json.dumps(as_json(found), indent=1) + "\n", encoding="utf-8")


def show(found: Run, as_json: bool) -> None:
    """The verdicts in the terminal: what went wrong, then the counts."""
    from conformance.runner import report
    from conformance.runner.judge import VERDICTS

    if as_json:
        terminal.emit(report.as_json(found))
        return
    if rows := report.failure_rows(found):
        terminal.table("Not passed", ["stream", "verdict", "why"], rows)
        click.echo()
    columns = ["group", *(f"{verdict}>" for verdict in VERDICTS)]
    terminal.table(found.decoder.name, columns, report.group_rows(found))
    for line in [*report.summary_lines(found), f"{found.seconds:.1f} s"]:
        terminal.say(line)
    for number, finding in enumerate(report.findings(found), 1):
        terminal.say(f"{number}. {finding.what}: {len(finding.results)} streams")
        terminal.say(f"   {report.next_step(found, finding.example)}")
