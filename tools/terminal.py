"""What the commands say: results on stdout, messages, progress and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click


def complain(message: str) -> None:
    """One line on stderr that says what is wrong."""
    click.secho(f"hga: {message}", err=True, fg="red")


def say(message: str) -> None:
    """A message on stderr."""
    click.echo(message, err=True)


def emit(record: Any) -> None:
    """One line of JSON on stdout, at once."""
    click.echo(json.dumps(record))


@contextlib.contextmanager
def torch_needed(by: str) -> Iterator[None]:
    """Where torch is not installed, imports within end in one line: `by` (with its verb) torch, and how to get it."""
    try:
        yield
    except ImportError as error:
        raise click.ClickException(f"{by} torch: pip install 'hga[train]' ({error})") from error


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout; a column whose name ends in `>` (not shown) is aligned to the right."""
    from rich.console import Console  # costs start-up time, and not every command has tables
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    drawn.show_header = any(columns)
    for column in columns:
        drawn.add_column(column.removesuffix(">"), justify="right" if column.endswith(">") else "left")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 140
    Console(width=width).print(drawn)


def bar(share: float, width: int = 24) -> str:
    """A horizontal bar of `share` of `width` cells, to an eighth of a cell."""
    whole, part = divmod(round(8 * width * share), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[part].strip()


def chart(values: Sequence[float], marked: Sequence[bool], height: int = 6, width: int = 100) -> list[str]:
    """Lines of a chart of columns, from 0 to the greatest value; the last line has a ^ under marked columns.

    With more values than `width` a column is the mean of several, and marked if one of them is.
    """
    each = -(-len(values) // width)
    groups = [values[i : i + each] for i in range(0, len(values), each)]
    means = [sum(group) / len(group) for group in groups]
    top = max(means, default=0) or 1
    eighths = [round(8 * height * mean / top) for mean in means]
    rows = ["".join(" ▁▂▃▄▅▆▇█"[min(max(n - 8 * row, 0), 8)] for n in eighths) for row in range(height)]
    marks = "".join("^" if any(marked[i : i + each]) else " " for i in range(0, len(values), each))
    return [line.rstrip() for line in [*rows[::-1], marks]]


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function of (what, done, total) that draws bars on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total or None)
            bars.update(tasks[what], completed=done, total=total or None)

        yield update


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
