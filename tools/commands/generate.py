"""`hga generate`: random valid streams, decided by their seed, for testing decoders."""

from __future__ import annotations

from pathlib import Path

import click

from tools import terminal
from tools.parameters import OUT, json_option, make_room

_HASH_EVERY_FRAME = ("symbols", "pose", "joints", "gaussians", "canonical", "projected", "pixels")


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
    "--hashes/--no-hashes",
    default=True,
    show_default=True,
    help="Carry the digests of every stage of every frame.",
)
@json_option
def generate(output: Path, seed: int, count: int, units: int, size: int, hashes: bool, as_json: bool) -> None:
    """Write random valid streams of a few Gaussians.

    The same seed gives the same stream. Every element takes values all over its range, the ends more often
    than chance would have it; what the syntax allows, these streams do.

    \b
    Examples:
      hga generate small.hga --seed 7
      hga generate streams/ --count 100
      hga verify small.hga --executed
    """
    from conformance.generate import generate as random_stream
    from reference_encoder.encode import add_hashes

    if count == 1 and output.suffix.lower() != ".hga":
        raise click.UsageError(f"'{output}': the name of one stream ends in .hga")
    make_room(output, folder=count > 1)
    with terminal.progress() as progress:
        for number in range(seed, seed + count):
            data = random_stream(number, units=units, size=size)
            if hashes:
                data = add_hashes(data, _HASH_EVERY_FRAME)
            path = output / f"random_{number:06d}.hga" if count > 1 else output
            path.write_bytes(data)
            progress("streams", number - seed + 1, count)
            if as_json:
                terminal.emit({"file": str(path), "seed": number, "bytes": len(data)})
    terminal.say(f"wrote {count} stream{'s' * (count > 1)} to {output}")
