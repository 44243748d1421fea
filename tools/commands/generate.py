"""`hga generate`: random and targeted valid streams, each with its record, for testing decoders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tools import terminal
from tools.parameters import IN, OUT, json_option, make_room

if TYPE_CHECKING:
    from conformance.recipes import Recipe

_HASH_EVERY_FRAME = ("symbols", "pose", "joints", "maps", "gaussians", "canonical", "projected", "pixels")


@click.command()
@click.argument("output", type=OUT)
@click.option("--seed", default=0, show_default=True, help="Seed of the first stream; the others follow.")
@click.option(
    "--count",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="How many; more than one go to a folder.",
)
@click.option(
    "--units", default=3, show_default=True, type=click.IntRange(1), help="Motion units of each stream."
)
@click.option(
    "--size",
    default=48,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="Width and height of the stream's camera.",
)
@click.option(
    "--gaussians", default=40, show_default=True, type=click.IntRange(1), help="The most there may be."
)
@click.option("--profile", default="canonical", show_default=True, help="Profile of the streams (Annex A).")
@click.option("--level", default=1, show_default=True, help="Level of the streams (Annex A).")
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="NAME[=SHARE]",
    help="What a share of the streams has; `--feature list` says what there is.",
)
@click.option(
    "--set",
    "presets",
    multiple=True,
    metavar="ELEMENT=VALUE",
    help='Fix an element: a number, low, high, or JSON such as [1,2] or {"between":[0,9]}.',
)
@click.option("--recipe", type=IN, help="Make the streams of a recipe file instead, into a folder.")
@click.option(
    "--hashes/--no-hashes",
    default=True,
    show_default=True,
    help="Carry the digests of every stage of every frame.",
)
@json_option
def generate(
    output: Path, seed: int, count: int, units: int, size: int, gaussians: int, profile: str, level: int,
    features: tuple[str, ...], presets: tuple[str, ...], recipe: Path | None, hashes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write random valid streams of a few Gaussians, or those of a recipe, each with its record.

    The same seed gives the same stream. Every element takes values all over its range, the ends more often
    than chance would have it; what the syntax allows, these streams do. The record stands beside the stream, as
    JSON: what the stream is made from, and the digests or errors that a decoder shall obtain.

    \b
    Examples:
      hga generate small.hga --seed 7
      hga generate streams/ --count 100
      hga generate streams/ --count 20 --feature many_joints --feature deep_hierarchy=0.5 --level 2
      hga generate degree3.hga --set sh_degree=3 --set coarseness=high
      hga generate streams/ --recipe conformance/recipes/rendering.yaml
      hga verify small.hga --executed
    """
    from conformance.presets import FEATURES, PresetError
    from conformance.recipes import Recipe, RecipeError, load
    from conformance.records import RecordError

    if features == ("list",):
        terminal.table("Features", ["name", "the streams have"], [[n, f.about] for n, f in FEATURES.items()])
        return
    if recipe is None and count == 1 and output.suffix.lower() != ".hga":
        raise click.UsageError(f"'{output}': the name of one stream ends in .hga")
    shape = {"units": units, "size": size, "gaussians": gaussians}
    edits = ({"hashes": {"stages": list(_HASH_EVERY_FRAME)}},) if hashes else ()
    folder = recipe is not None or count > 1
    make_room(output, recipe, folder=folder)
    try:
        fixed = _presets(presets) | _profile(profile) | {"level": level}
        wanted = list(load(recipe)) if recipe else []
        for number in () if recipe else range(seed, seed + count):
            name = f"random_{number:06d}" if folder else output.stem
            wanted.append(
                Recipe(
                    id=f"random/{name}",
                    purpose=f"A random stream decided by the seed {number}.",
                    catches="Whatever a stream can show that nobody thought of.",
                    clauses=("5",), seed=number, presets=fixed, features=_features(features), shape=shape, edits=edits,
                )
            )  # fmt: skip
        for number, path, data in _written(wanted, output, folder):
            if as_json:
                terminal.emit({"file": str(path), "seed": wanted[number].seed, "bytes": len(data)})
    except (PresetError, RecipeError, RecordError) as error:
        raise click.UsageError(str(error)) from None
    terminal.say(f"wrote {len(wanted)} stream{'s' * (len(wanted) > 1)} to {output}")


def _written(recipes: list[Recipe], output: Path, folder: bool) -> Iterator[tuple[int, Path, bytes]]:
    """Makes and writes stream after stream with its record."""
    from conformance.corpus import make

    with terminal.progress() as progress:
        for number, recipe in enumerate(recipes):
            entry = make(recipe, executed=False)
            path = output / entry.record["stream"] if folder else output
            path.write_bytes(entry.data)
            record = json.dumps({**entry.record, "stream": path.name}, indent=1, ensure_ascii=False)
            path.with_suffix(".json").write_text(record + "\n", encoding="utf-8")
            progress("streams", number + 1, len(recipes))
            yield number, path, entry.data


def _presets(settings: tuple[str, ...]) -> dict[str, Any]:
    """ELEMENT=VALUE as presets; what is no JSON is a text."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set {setting}: ELEMENT=VALUE is needed")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _features(settings: tuple[str, ...]) -> Mapping[str, float]:
    """NAME or NAME=SHARE as shares of the streams."""
    try:
        return {name: float(share or 1) for name, _, share in (text.partition("=") for text in settings)}
    except ValueError:
        raise click.UsageError(f"--feature {' '.join(settings)}: a share is a number from 0 to 1") from None


def _profile(name: str) -> dict[str, int]:
    import spec

    profiles = spec.standard().profiles
    if name not in profiles:
        raise click.UsageError(f"there is no profile {name!r}, only {', '.join(profiles)}")
    return {"profile": profiles[name]["number"]}
