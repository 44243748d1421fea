"""`hga export`: the Gaussians of each frame as files that other programs read."""

from __future__ import annotations

from pathlib import Path

import click

from tools import terminal
from tools.parameters import OUT, Span, frames_option, json_option, make_room, stream_argument


@click.command()
@stream_argument
@click.option("-o", "output", type=OUT, required=True, help="The folder to write to.")
@click.option("--format", "kind", type=click.Choice(["ply", "spz"]), default="ply", show_default=True)
@frames_option
@json_option
def export(file: Path, output: Path, kind: str, frames: Span, as_json: bool) -> int:
    """Write the Gaussians of each frame as .ply or .spz.

    They are posed and in world space, metres, y up; colours have turned with the skin.

    \b
    Examples:
      hga export head.hga -o plys --frames 0:10
      hga export head.hga -o spzs --format spz
    """
    from reference_decoder import Decoder
    from tools import dequantise, streams

    data = file.read_bytes()
    decoder = Decoder(data)
    make_room(output, file, folder=True)
    count = 0
    try:
        with terminal.progress() as progress:
            for frame in streams.selected(decoder, frames):
                path = dequantise.export(streams.fresh(frame), output, kind)
                count += 1
                progress("frames", count, 0)
                if as_json:
                    terminal.emit({"frame": frame.index, "file": str(path), "bytes": path.stat().st_size})
    finally:  # damage may be why a frame cannot be written
        streams.complain(file, decoder)
    if not count and not decoder.errors:
        raise click.UsageError(f"{file} has no frame in this range to export")
    if count:
        terminal.say(f"wrote {count} files to {output}")
    return 4 if decoder.errors else 0
