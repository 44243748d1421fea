"""`hga dump`: every syntax element of a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tools import terminal
from tools.parameters import json_option, stream_argument

_WIDEST = 36  # characters of a value, digests for the most part


@click.command()
@stream_argument
@click.option("--unit", type=click.IntRange(0), help="Only the unit with this index.")
@click.option(
    "--max", "most", type=click.IntRange(1), default=60, show_default=True, help="Elements shown per unit."
)
@click.option("--all", "everything", is_flag=True, help="Show every element.")
@json_option
def dump(file: Path, unit: int | None, most: int, everything: bool, as_json: bool) -> int:
    """Show every syntax element of FILE and where it stands.

    A line has the bit offset, the clause, the element, its value, the allowed range and what it means.
    Inside arithmetic-coded payloads the bit offset is that of the next byte the entropy decoder takes,
    which runs a few bytes ahead. What breaks a rule of the standard stands where the decoder met it.

    \b
    Examples:
      hga dump head.hga --max 10
      hga dump head.hga --unit 1 --all
      hga dump head.hga --json | jq 'select(.element == "step_shift")'
    """
    from tools import streams
    from tools.trace import Trace

    data = file.read_bytes()
    trace = Trace(data, terminal.emit if as_json else show, unit, None if everything else most)
    trace.run()
    errors = trace.decoder.errors
    if errors and not as_json:
        terminal.complain(f"{streams.explain(file, data, errors[0])} (errors in all: {len(errors)})")
    return 4 if errors else 0


def show(record: dict[str, Any]) -> None:
    """One record of a trace as a line."""
    if "type" in record:
        click.secho(f"unit {record['unit']}: {record['type']}, {record['bytes']} bytes", bold=True)
    elif "error" in record:
        place = f"bit {record['bit_offset']}, clause {record['clause']}"
        click.secho(f"  !! {record['error']} {record['constraint']} ({place}): {record['message']}", fg="red")
    elif "left_out" in record:
        click.echo(f"  … not shown: {record['left_out']}")
    else:
        name = record["element"] + "".join(f"[{i}]" for i in record["index"])
        allowed = f"{record['low']}..{record['high']}" if "low" in record else ""
        value = str(record["value"])
        value = value if len(value) <= _WIDEST else value[: _WIDEST - 1] + "…"
        line = f"{record['bit']:10d}  {record['clause']:6} {name:34} {value:>14}  {allowed:28} {record['meaning']}"
        click.echo(line.rstrip())
