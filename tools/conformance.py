"""What the commands of `hga conformance` share: the corpus, the decoder under test and the standard's stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import conformance
from tools.parameters import CONTENT_IN, STAGES

if TYPE_CHECKING:
    from conformance.runner.decoders import Decoder
    from conformance.runner.judge import Rules
    from conformance.runner.records import Record

CORPUS = Path(conformance.__file__).parent / "corpus"
REFERENCE = Path(conformance.__file__).parent / "reference.toml"
"""The reference decoder's description: what the runner wants to know of it, it asks as it asks any decoder."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def decoder_options(command: _Command) -> _Command:
    """The options that name a decoder and say what it can do."""
    options = [
        click.option(
            "--decoder", "source", required=True,
            help="A command with {stream} in it, a .toml, .json or .py file that describes a decoder, or a plug-in.",
        ),
        click.option(
            "--corpus", multiple=True, type=CONTENT_IN,
            help="Folders or records [default: the shipped corpus].",
        ),
        click.option("--profiles", help="Profiles that the decoder has, with commas between [default: all]."),
        click.option("--levels", help="Levels that it has, with commas between [default: all]."),
        click.option("--stages", type=STAGES, help="Stages that it shall report [default: those it prints]."),
        click.option("--timeout", type=click.FloatRange(0.1), help="Seconds for a stream [default: 60]."),
        click.option(
            "--memory", type=click.IntRange(16),
            help="MiB for a stream, all processes together [default: 4096].",
        ),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def decoder_under_test(
    source: str, profiles: str | None, levels: str | None, stages: tuple[str, ...] | None,
    timeout: float | None, memory: int | None,
) -> Decoder:  # fmt: skip
    """The decoder that the options describe; raises UsageError."""
    from conformance.runner.decoders import DecoderError, describe

    try:
        decoder = describe(source)
        given: dict[str, Any] = {"stages": stages, "timeout": timeout, "memory": memory}
        given["profiles"] = profiles and tuple(profiles.split(","))
        given["levels"] = levels and tuple(int(level) for level in levels.split(","))
    except (DecoderError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    return replace(decoder, **{name: value for name, value in given.items() if value})


def reference() -> Decoder:
    """The reference decoder of this installation."""
    from conformance.runner.decoders import describe

    return describe(str(REFERENCE))


def rules() -> Rules:
    """§7.8 The stages in their order, and what they are."""
    import spec
    from conformance.runner.judge import Rules
    from tools.parameters import stage_names

    about = dict(spec.standard().enumerations["stage"].values())
    return Rules({stage: about[stage] for stage in stage_names()})


def records(corpus: tuple[Path, ...], only: tuple[str, ...] = (), largest: int | None = None) -> list[Record]:
    """The records of the corpus whose ids match one of the patterns, of streams of up to `largest` bytes.

    Raises UsageError.
    """
    from fnmatch import fnmatchcase

    from conformance.runner.records import RecordError, load

    try:
        found = load(corpus or (CORPUS,))
    except RecordError as error:
        raise click.UsageError(str(error)) from None
    chosen = [r for r in found if not only or any(fnmatchcase(r.id, pattern) for pattern in only)]
    if largest is not None:
        chosen = [record for record in chosen if record.size <= largest]
    if not chosen:
        where = ", ".join(str(folder) for folder in corpus or (CORPUS,))
        small = f" of at most {largest} bytes" if largest is not None else ""
        raise click.UsageError(
            f"{where} has no record" + (f" that matches {', '.join(only)}" if only else "") + small
        )
    if damaged := [record for record in chosen if not record.intact()]:
        raise click.UsageError(f"{damaged[0].stream}: not the stream that its record was written for")
    return chosen
