"""`hga proposal`: what a change to the standard costs and what it breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tools import terminal
from tools.parameters import CONTENT_IN, OUT, json_option, make_room

if TYPE_CHECKING:
    from tools.proposals.proposal import Proposal
    from tools.proposals.report import Report

_SHOWN = 40  # lines of a difference on the terminal

folder_option = click.option(
    "--proposals",
    "folder",
    type=CONTENT_IN,
    default="proposals",
    show_default=True,
    help="Where proposals are.",
)
streams_option = click.option(
    "--streams",
    type=CONTENT_IN,
    help="A stream, or a folder of streams, to write again; the corpus if this is left out.",
)


@click.group()
def proposal() -> None:
    """Judge proposed changes to the standard.

    A proposal is a folder proposals/NNNN-name with change.patch (what `git diff` says about spec/, and about
    reference_encoder/ where a value comes from there), rationale.md, and proposal.yaml: a title, a summary, whether
    decoders of today are meant to go on (compatible), and values of elements for streams that are written again: those
    of new elements, and `version` where it changes.

    \b
    Examples:
      hga proposal list
      hga proposal check 0001
      hga proposal check 0002 -o report.html
      hga proposal corpus 0002 out/candidates
    """


@proposal.command("list")
@folder_option
def list_proposals(folder: Path) -> None:
    """List the proposals."""
    from tools.proposals.proposal import find, proposals

    rows = []
    for path in proposals(folder):
        one = find(folder, path.name)
        rows.append((one.name, "compatible" if one.compatible else "breaks the bitstream", one.title))
    terminal.table("", ("proposal", "", "title"), rows)


@proposal.command()
@click.argument("number")
@folder_option
@streams_option
@click.option("-o", "output", type=OUT, help="Also write the report as an HTML page.")
@json_option
def check(number: str, folder: Path, streams: Path | None, output: Path | None, as_json: bool) -> int:
    """Build the standard that proposal NUMBER makes, apart from this one, and report on it.

    Shows the difference of syntax and pseudo-code, what every stream costs when it is written again, what a decoder
    of today makes of it, and which new constraints nothing tests. Exit code 1 if something speaks against the
    proposal as it is.
    """
    from tools.proposals import page
    from tools.proposals.proposal import find

    chosen = find(folder, number)
    report, _ = _checked(chosen, streams)
    if output is not None:
        make_room(output)
        output.write_text(
            page.html_of(report, (chosen.folder / "rationale.md").read_text()), encoding="utf-8"
        )
        terminal.say(f"wrote {output}")
    if as_json:
        terminal.emit(report.as_dict())
    else:
        _show(report)
    return 1 if report.faults else 0


@proposal.command()
@click.argument("number")
@click.argument("output", type=OUT)
@folder_option
@streams_option
def corpus(number: str, output: Path, folder: Path, streams: Path | None) -> int:
    """Write candidate streams of proposal NUMBER, with their records, into the folder OUTPUT.

    They are streams of the corpus written again under the changed standard; decoders of today may refuse them, so they
    are kept apart from the released ones.
    """
    from tools.proposals.proposal import find

    report, made = _checked(find(folder, number), streams)
    make_room(output, folder=True)
    written = 0
    for stream in report.streams:
        result = made[stream.id]
        if "stream" not in result:
            terminal.complain(f"{stream.id}: {stream.refused}")
            continue
        path = output / f"{stream.id}.hga"
        make_room(path)
        path.write_bytes(bytes.fromhex(result["stream"]))
        record = {
            "id": stream.id,
            "proposal": report.proposal,
            "stream": path.name,
            "frames": result["frames"],
        }
        path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        written += 1
    terminal.say(f"wrote {written} streams of {len(report.streams)} to {output}")
    return 0 if written == len(report.streams) else 1


def _checked(chosen: Proposal, streams: Path | None) -> tuple[Report, dict[str, dict[str, Any]]]:
    from tools.proposals.report import check as checked
    from tools.proposals.streams import valid_streams

    with terminal.progress() as progress:
        return checked(chosen, valid_streams(streams), progress)


def _show(report: Report) -> None:
    from tools.proposals.report import change

    kind = "compatible" if report.compatible else "breaks the bitstream"
    click.secho(f"{report.proposal}: {report.title} ({kind})", bold=True)
    for difference in report.differences:
        where = f", clause {difference.clause}" if difference.clause else ""
        click.secho(f"\n{difference.kind} {difference.name} {difference.change}{where}", bold=True)
        for line in difference.lines[:_SHOWN]:
            click.secho(f"  {line}", fg={"+": "green", "-": "red"}.get(line[:1]))
        if len(difference.lines) > _SHOWN:
            click.echo(f"  … {len(difference.lines) - _SHOWN} more lines")
    rows = [
        (
            s.id,
            s.before,
            s.after if s.after is not None else "",
            change(s.before, s.after),
            s.values,
            s.present,
        )
        for s in report.streams
    ]
    heads = ("stream", "bytes>", "changed>", ">", "changed decoder", "today's decoder")
    terminal.table("\nStreams written again", heads, rows)
    before, after = report.bytes
    click.echo(f"In all {before} bytes become {after} ({change(before, after)}).")
    for name in report.new_constraints:
        click.echo(
            f"New constraint: {name}; its negative stream: {'there' if name in report.tested else 'MISSING'}"
        )
    if report.untested:
        click.echo(f"Tests that are missing: {report.untested}")
    for name in report.holes:
        click.echo(f"Not exercised by any of these streams: {name}")
    for fault in report.faults:
        click.secho(f"!! {fault}", fg="red")
