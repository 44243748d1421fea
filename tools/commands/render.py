"""`hga render`: pictures, contact sheets and videos of a stream."""

from __future__ import annotations

from pathlib import Path

import click

from tools import terminal
from tools.parameters import (
    GRID,
    OUT,
    SIZE,
    Span,
    frames_option,
    json_option,
    make_room,
    network_option,
    stream_argument,
)


@click.command()
@stream_argument
@click.option(
    "-o", "output", type=OUT, required=True, help="FILE.png, FILE.mp4, or a folder for one PNG per frame."
)
@click.option("--frame", type=click.IntRange(0), help="The one frame to draw [default for .png: the first].")
@frames_option
@click.option(
    "--sheet", "grid", type=GRID, help="A contact sheet of frames spread over the clip, such as 2x4."
)
@click.option("--size", type=SIZE, help="Size of each picture [default: 512x512, or the camera's own].")
@click.option("--camera", "camera", help="See below [default: the stream's first camera, else front].")
@click.option("--follow", is_flag=True, help="Move the camera along with the avatar.")
@click.option("--background", help="A colour: a name, #rrggbb [default: white, or the camera's own].")
@network_option
@json_option
def render(
    file: Path,
    output: Path,
    frame: int | None,
    frames: Span,
    grid: tuple[int, int] | None,
    size: tuple[int, int] | None,
    camera: str | None,
    follow: bool,
    background: str | None,
    network: str,
    as_json: bool,
) -> int:
    """Draw frames of FILE.

    \b
    Examples:
      hga render head.hga -o head.png --frame 100
      hga render head.hga -o sheet.png --sheet 2x4 --size 256x256
      hga render walk.hga -o walk.mp4 --camera orbit:0/1
      hga render walk.hga -o frames/ --frames 0:30 --camera 0,1.6,2,0,1,0

    \b
    Cameras:
      stream, stream:ID          a camera that the stream carries
      front, left, back, right   that side of the avatar, framed to fit the whole clip
      orbit:DEGREES              the same from any angle
      orbit:DEGREES/TURNS        going round during the clip (orbit alone: once)
      x,y,z,x,y,z                from an eye towards a target, metres

    Damage in the stream is reported and drawn around: exit code 4 says that there was some.
    """
    import itertools
    from fractions import Fraction

    from reference_decoder import Compiled, Decoder
    from tools import pictures, streams
    from tools.cameras import parse_view

    make_room(output, file)
    single = output.suffix.lower() == ".png" and grid is None
    span = Span(frame, frame + 1) if frame is not None else frames
    data = file.read_bytes()
    decoder = Decoder(data, Compiled(network))
    clip = list(itertools.islice(streams.selected(decoder, span), 1 if single else None))
    streams.complain(file, decoder)
    if not clip:
        if decoder.errors:
            return 4
        raise click.UsageError(f"{file} has no frame in this range to draw")
    view = parse_view(
        camera or ("stream" if decoder.cameras and not follow else "front"), decoder.cameras, size
    )
    if follow and not view.is_framed:
        raise click.UsageError("--follow needs a camera that is framed: front, left, back, right or orbit")
    rate = Fraction(decoder.sequence["frame_rate_numerator"], decoder.sequence["frame_rate_denominator"])
    with terminal.progress() as progress:
        drawing = pictures.Drawing(view, size or pictures.DEFAULT_SIZE, colour(background), follow, progress)
        written = pictures.write(output, clip, grid, drawing, rate)
    if as_json:
        errors = [error.as_dict() for error in decoder.errors]
        terminal.emit({"written": [str(path) for path in written], "errors": errors})
    else:
        more = f" and {len(written) - 1} more" if len(written) > 1 else ""
        terminal.say(f"wrote {written[0]}{more}")
    return 4 if decoder.errors else 0


def colour(text: str | None) -> tuple[int, int, int] | None:
    """A colour by name or #rrggbb."""
    from PIL import ImageColor

    if text is None:
        return None
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise click.BadParameter(f"{text!r} is no colour", param_hint="'--background'") from None
    return red, green, blue
