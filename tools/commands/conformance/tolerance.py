"""`hga conformance tolerance`: how far a rendering with floating-point numbers may be off, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import click

from tools import terminal
from tools.parameters import OUT, Span, frames_option, make_room, stream_argument


@click.command()
@stream_argument
@click.option("-o", "output", type=OUT, required=True, help="Folder for FRAME.pixels and FRAME.tolerance.")
@frames_option
def tolerance(file: Path, output: Path, frames: Span) -> int:
    """Write the pictures of FILE and how much each of their bytes may be off in a floating-point rendering.

    Both are height * width * 4 bytes; 255 means that a byte is not judged. Annex E derives the tolerance from the
    number formats of clause 9. One line of JSON a frame tells the size of the picture, the mean tolerance, the share of
    bytes that are judged, and the PSNR that a picture within the tolerance has at least.

    \b
    Example:
      hga conformance tolerance head.hga -o out/tolerance --frames 0
    """
    import numpy as np

    from conformance.tolerance import UNJUDGED
    from conformance.tolerance import tolerance as bounds
    from reference_decoder import Decoder
    from tools import streams
    from tools.commands.decode import read_whole

    data = file.read_bytes()
    make_room(output, file, folder=True)
    whole, decoder = read_whole(data), Decoder(data)
    for frame in streams.selected(decoder, frames):
        camera = whole.cameras_of(frame.index).get("pixels")
        if camera is None:
            raise click.UsageError(f"{file} has no camera")
        levels, _ = bounds(frame, camera)
        (output / f"{frame.index:06d}.pixels").write_bytes(frame.render(camera).tobytes())
        (output / f"{frame.index:06d}.tolerance").write_bytes(levels.tobytes())
        judged = levels < UNJUDGED
        mean = float(np.mean(levels[judged])) if judged.any() else None
        least = (
            float(10 * np.log10(255**2 / np.mean(levels[judged].astype(float) ** 2)))
            if judged.any()
            else None
        )
        terminal.emit(
            {"frame": frame.index, "width": camera.width, "height": camera.height, "mean": mean,
             "judged": float(judged.mean()), "psnr": least}
        )  # fmt: skip
    streams.complain(file, decoder)
    return 4 if decoder.errors else 0
