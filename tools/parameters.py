"""Parameters that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

IN = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
CONTENT_IN = click.Path(exists=True, readable=True, path_type=Path)
OUT = click.Path(path_type=Path)


class OutputFile(click.Path):
    """A file to write, with a suffix that says what it is."""

    def __init__(self, *suffixes: str):
        super().__init__(path_type=Path, dir_okay=False)
        self._suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix.lower() not in self._suffixes:
            self.fail(f"'{path}': a name that ends in {' or '.join(self._suffixes)} is needed", param, ctx)
        return path


def make_room(output: Path, *inputs: Path | None, folder: bool = False) -> None:
    """Makes the folders that an output goes to, or is; refuses an output that is one of the inputs."""
    for path in inputs:
        if path is not None and output.exists() and output.samefile(path):
            raise click.UsageError(f"{output} is an input: it would be overwritten")
    (output if folder else output.parent).mkdir(parents=True, exist_ok=True)


stream_argument = click.argument("file", type=IN)


def weight_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options `--dependent/--no-dependent` and `--trade` of commands that code the weights of a generator."""
    dependent = click.option(
        "--dependent/--no-dependent",
        default=True,
        show_default=True,
        help="Choose the weights by a trellis, which needs about a tenth fewer bits at the same error.",
    )
    trade = click.option(
        "--trade",
        default=0.2,
        show_default=True,
        type=click.FloatRange(0, 10),
        help="What a bit of a weight is worth in squared steps: more makes smaller streams and greater errors.",
    )
    return dependent(trade(command))


json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of text.")


@dataclass(frozen=True)
class Span:
    """Frames `start` to `stop` - 1; without `stop`, to the end."""

    start: int = 0
    stop: int | None = None

    def __contains__(self, index: int) -> bool:
        return index >= self.start and (self.stop is None or index < self.stop)


class SpanType(click.ParamType[Span]):
    """A:B, either of which may be left out, or one number for one frame."""

    name = "A:B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Span:
        if isinstance(value, Span):
            return value
        first, colon, last = value.partition(":")
        try:
            start = int(first or 0)
            stop = (int(last) if last else None) if colon else start + 1
        except ValueError:
            self.fail(f"{value!r} is not a range of frames such as 10:20, 10: or 7", param, ctx)
        if start < 0 or (stop is not None and stop <= start):
            self.fail(f"{value!r} holds no frame", param, ctx)
        return Span(start, stop)


class PairType(click.ParamType[tuple[int, int]]):
    """Two positive integers with an x between them."""

    def __init__(self, name: str, limit: int):
        self.name = name
        self._limit = limit

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        parts = value.lower().split("x")
        if len(parts) != 2 or not all(part.isdigit() and 0 < int(part) <= self._limit for part in parts):
            self.fail(f"{value!r} is not {self.name} with numbers from 1 to {self._limit}", param, ctx)
        return int(parts[0]), int(parts[1])


class ListType(click.ParamType[tuple[str, ...]]):
    """Names with commas between them, each one of those that `choices` gives."""

    name = "NAME,..."

    def __init__(self, choices: Callable[[], list[str]]):
        self._choices = choices

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        choices = self._choices()
        if names == ("all",):
            return tuple(choices)
        for name in names:
            if name not in choices:
                self.fail(f"there is no stage {name!r}, only {', '.join(choices)} and all", param, ctx)
        return names


def stage_names() -> list[str]:
    """§7.8 The stages in the order in which they depend on each other."""
    from reference_decoder.frames import stages_in_order

    return stages_in_order()


SPAN = SpanType()
SIZE = PairType("WIDTHxHEIGHT", 8192)
GRID = PairType("ROWSxCOLUMNS", 64)
STAGES = ListType(stage_names)

frames_option = click.option(
    "--frames", type=SPAN, default=Span(), help="Only frames A to B-1; A: and :B work too."
)


class NetworkType(click.Choice[str]):
    """Who computes the network of a generator; refused if it is not installed."""

    name = "network"

    def __init__(self) -> None:
        super().__init__(("numba", "torch", "auto"))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        import importlib.util

        chosen = super().convert(value, param, ctx)
        if chosen == "torch" and importlib.util.find_spec("torch") is None:
            self.fail("torch is not installed; numba needs nothing and gives the same bits", param, ctx)
        return chosen


network_option = click.option(
    "--network",
    type=NetworkType(),
    default="numba",
    show_default=True,
    help="Who computes a generator, the bits being the same; auto is torch where it is installed.",
)
