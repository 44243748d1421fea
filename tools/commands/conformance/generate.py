"""`hga conformance generate`: the corpus of conformance streams, written from its recipes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tools import terminal
from tools.parameters import OUT

if TYPE_CHECKING:
    from conformance.recipes import Recipe


@click.command()
@click.option("-o", "output", type=OUT, help="Folder to write to [default: the corpus of this checkout].")
@click.option("--check", is_flag=True, help="Write nothing; compare with the recipes and lint.")
@click.option("--encode", is_flag=True, help="Code real content anew instead of keeping its streams.")
@click.option("--quick", is_flag=True, help="Decode only streams that the corpus does not have like this.")
@click.option("--full", is_flag=True, help="The larger set as well; needs -o.")
@click.option("--only", multiple=True, metavar="GROUP", help="Only this group; may be given more than once.")
@click.option(
    "--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
def generate(
    output: Path | None, check: bool, encode: bool, quick: bool, full: bool, only: tuple[str, ...], jobs: int
) -> int:
    """Write the conformance streams and their records, byte for byte the same every time.

    The recipes stand in conformance/recipes/, a short YAML file for each group. Every stream is decoded by the
    reference decoder and, where that takes seconds, by the executed document too; they have to agree. With --check
    the exit code is 1 if the corpus is not what the recipes give, or if a record is not as it should be.

    Streams of real content come from an encoder that begins with floating-point numbers, so another machine may give
    other bytes: they are kept as the corpus of this checkout has them, and only decoded again. --check says where the
    encoder differs here, which is no fault; --encode codes them anew.

    \b
    Examples:
      hga conformance generate --quick              after a change of a recipe
      hga conformance generate --encode             after a change of the bitstream
      hga conformance generate --check
      hga conformance generate --full -o out/full
      hga conformance generate --only rendering -o out/rendering
    """
    from conformance import corpus, recipes
    from conformance.records import RecordError
    from reference_encoder.content import ContentError

    if check and quick:
        raise click.UsageError("--check decodes every stream; --quick does not")
    if (full or only) and output is None and not check:
        raise click.UsageError("a part of the corpus, or more than it, goes to a folder of its own: give -o")
    directory = output or corpus.DIRECTORY
    try:
        chosen = [recipe for recipe in recipes.released(full=full) if not only or recipe.group in only]
        if not chosen:
            raise click.UsageError(f"no recipe of {', '.join(only)}")
        with terminal.progress() as progress:
            stored = None if encode else directory if check else corpus.DIRECTORY
            entries = corpus.make_all(chosen, jobs, progress, stored, quick)
            if check:
                complaints = list(corpus.differences(entries, directory, only))
            else:
                written = corpus.write(entries, directory)
                complaints = []
    except (recipes.RecipeError, RecordError) as error:
        raise ContentError(str(error)) from None
    complaints += corpus.lint(directory)
    for complaint in complaints:
        terminal.complain(complaint)
    if not check:
        total = sum(len(content) for entry in written for content in entry.files().values())
        terminal.say(
            f"wrote {len(written)} streams with their records, {terminal.size(total)}, to {directory}"
        )
    elif not complaints:
        terminal.say(f"{len(chosen)} streams are what their recipes give")
        say_of_content(chosen, directory)
    return int(bool(complaints))


def say_of_content(chosen: list[Recipe], directory: Path) -> None:
    """How many streams of real content the encoder gives again on this machine."""
    from conformance.corpus import encoded_otherwise, kept_content, read_entry

    found = [(recipe, read_entry(directory, recipe.id)) for recipe in chosen]
    count = sum(kept_content(recipe, entry) is not None for recipe, entry in found)
    other = encoded_otherwise(chosen, directory)
    where = f"; not {', '.join(other)}, which is no fault" if other else ""
    terminal.say(f"{count - len(other)} of {count} streams of real content are encoded alike here{where}")
