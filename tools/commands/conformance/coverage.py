"""`hga conformance coverage`: what streams exercise of the standard."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from tools import terminal
from tools.parameters import IN, OutputFile, json_option, make_room


@click.command()
@click.argument("streams", nargs=-1, type=IN)
@click.option("--corpus", is_flag=True, help="The streams of the conformance corpus.")
@click.option(
    "--largest",
    type=int,
    default=5_000_000,
    show_default=True,
    metavar="BYTES",
    help="Leave larger streams out.",
)
@click.option("-o", "output", type=OutputFile(".html"), help="Write a page with all points.")
@click.option(
    "--save", type=click.Path(path_type=Path), help="Write the JSON, for `hga spec build --coverage`."
)
@click.option("--by", type=click.Choice(["kind", "clause"]), default="kind", show_default=True, help="Rows.")
@click.option(
    "--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
@json_option
def coverage(
    streams: tuple[Path, ...], corpus: bool, largest: int, output: Path | None, save: Path | None, by: str,
    jobs: int, as_json: bool,
) -> int:  # fmt: skip
    """Find what STREAMS exercise of the standard.

    Points are syntax elements, branches, derived values, contexts, both ends of every range, values of enumerations,
    constraints, and every line and branch of the pseudo-code. Streams are decoded by the executed text, a second
    or so each; results are kept. Exit code 1 if a point is exercised that is listed as out of reach, or, of the
    corpus, if one is neither exercised nor listed.

    \b
    Examples:
      hga conformance coverage one.hga two.hga
      hga conformance coverage --corpus --by clause -o coverage.html
      hga conformance coverage --corpus --save coverage.json
      hga spec build --coverage coverage.json -o hga.html
    """
    from conformance.coverage_report import counts, holes, page, report, verdict, wrongly_excused
    from conformance.streams import corpus_streams

    found = {path.stem: path.read_bytes() for path in streams} | (corpus_streams(largest) if corpus else {})
    if not found:
        raise click.UsageError("name streams, or give --corpus")
    with terminal.progress() as progress:
        result = report(found, jobs, lambda count: progress("streams", count, len(found)))
    if save:
        make_room(save)
        save.write_text(json.dumps(result), encoding="utf-8")
    if output:
        make_room(output)
        output.write_text(page(result), encoding="utf-8")
    if as_json:
        terminal.emit(result)
    else:
        rows: list[tuple[object, ...]] = [(*row, row[1] - row[2] - row[3]) for row in counts(result, by)]
        columns = (by, "points>", "exercised>", "out of reach>", "open>")
        terminal.table(f"{len(found)} streams", columns, rows)
        terminal.say(verdict(result))
    for identity in wrongly_excused(result):
        terminal.complain(f"{identity} is exercised, but listed as out of reach")
    return int(bool(wrongly_excused(result)) or (corpus and bool(holes(result))))
