"""`hga encode`: content to a stream."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from tools import terminal
from tools.commands.bind import placement_options
from tools.parameters import CONTENT_IN, SIZE, SPAN, STAGES, OutputFile, Span, json_option, make_room


class EncodeCommand(click.Command):
    """Adds one option for each of the encoder's settings, which are read only when they are needed."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from tools.encoding import setting_options

        generated: list[click.Parameter] = []
        for option in setting_options():
            flag = option.name.replace("_", "-")
            declaration = f"--{flag}/--no-{flag}" if isinstance(option.default, bool) else f"--{flag}"
            shown = f"{option.default:g}" if type(option.default) is not bool else str(option.default).lower()
            text = f"{option.help} [default: {shown}]"
            generated.append(click.Option([declaration], type=type(option.default), default=None, help=text))
        *own, help_option = super().get_params(ctx)
        return [*own, *generated, help_option]


class RateType(click.ParamType[Fraction]):
    """A frame rate: 30, 29.97 or 30000/1001."""

    name = "RATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        try:
            rate = Fraction(value)
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is not a frame rate such as 30 or 30000/1001", param, ctx)
        if not 0 < rate <= 1000:
            self.fail(f"{value} frames per second are not usable", param, ctx)
        return rate.limit_denominator(1001)


@click.command(cls=EncodeCommand)
@click.argument("avatar", type=CONTENT_IN)
@click.argument("motion", type=CONTENT_IN)
@click.option("-o", "output", type=OutputFile(".hga"), required=True, help="The stream to write (.hga).")
@click.option("--face", type=CONTENT_IN, help="An ARKit track whose expressions go with a body's motion.")
@click.option("--fps", type=RateType(), help="Resample the motion to this rate.")
@click.option("--frames", type=SPAN, default=Span(),
              help="Only frames A to B-1 of the motion, counted after --fps; A: and :B work too.")  # fmt: skip
@click.option("--quality", type=click.Choice(["high", "normal", "small", "tiny"]), default="normal", show_default=True,
              help="Every quantiser step times 1/2, 1, 2 or 4.")  # fmt: skip
@click.option("--motion-mode", type=click.Choice(["random-access", "low-delay"]), default="random-access",
              show_default=True, help="Units of many frames, perhaps in groups, or of one frame each.")  # fmt: skip
@click.option("--camera", "cameras", multiple=True, default=("front",), show_default=True,
              help="A camera to put into the stream, spelt as for `hga render`, or none; may be repeated.")  # fmt: skip
@click.option("--size", type=SIZE, default="512x512", show_default=True, help="Picture size of the cameras.")
@click.option("--hashes", type=click.Choice(["none", "key", "all"]), default="none", show_default=True,
              help="Carry digests of no frame, of the random access points, or of every frame.")  # fmt: skip
@click.option(
    "--stages", type=STAGES, default="pose,joints,gaussians", show_default=True, help="Stages to hash."
)
@click.option("--description", default="", help="A text for people: content, author, licence.")
@click.option("--names/--no-names", default=True, help="Carry the names of joints and expressions.")
@json_option
@placement_options(required=False)
def encode(
    avatar: Path, motion: Path, output: Path, face: Path | None, fps: Fraction | None, frames: Span, quality: str,
    motion_mode: str, cameras: tuple[str, ...], size: tuple[int, int], hashes: str, stages: tuple[str, ...],
    description: str, names: bool, as_json: bool, placement: Any, **chosen: Any,
) -> None:  # fmt: skip
    """Encode AVATAR moved by MOTION.

    AVATAR is a bound avatar (.npz, see `hga bind`) or a LAM head (.zip); with --rig, any splat. MOTION is an
    AMASS or SMPL-X .npz, a .bvh, or an ARKit track (.json, .json.gz). Joints are matched by name, motions
    for other skeletons are retargeted, and expression weights find their expressions by name.

    --quality scales everything; for Gaussians alone, --picture-step is the error that pictures may have. From it
    the encoder derives steps, opacity power, blur and, Gaussian by Gaussian, how coarse each may be. --effort says
    how much it looks and tries:

    \b
      1  no pictures: all Gaussians have the steps of the options
      2  pictures from 4 sides at rest and in 2 poses of the motion decide; what none shows is left out
      3  8 sides, 4 poses; colours and opacities are fitted to make up for what quantisation has spoilt
      4  16 sides, 8 poses
      5  a longer fit, and one before: it makes up for what is left out
      6  4 times as much is left out if that makes a smaller stream for its quality
      7  more or less is left out in the better of 2 ways
      8  of 4
      9  of 6

    A head that is a small part of an avatar is also looked at from near: --closeness says how much that counts.

    \b
    Examples:
      hga encode head.zip track.json.gz -o head.hga
      hga encode body.npz walk.npz -o walk.hga --fps 30 --quality high
      hga encode body.npz walk.npz -o walk.hga --motion-mode low-delay --bitrate 12
      hga encode body.npz walk.bvh -o walk.hga --hashes key --stages all --camera orbit:30
      hga encode man.spz walk.npz --rig makehuman.npz --up=-y -o man.hga
    """
    from reference_encoder.content import ContentError
    from reference_encoder.encode import add_hashes
    from reference_encoder.encode import encode as encode_stream
    from reference_encoder.motion_units import key_interval
    from spec.errors import StreamError
    from tools import encoding

    make_room(output, avatar, motion, face, *(placement.files if placement else ()))
    wanted = {name: value for name, value in chosen.items() if value is not None}
    settings = encoding.settings(quality, motion_mode, wanted)
    content = encoding.open_avatar(avatar, placement, settings.influences)
    clip = encoding.open_motion(content, motion, face, fps, frames)
    views = encoding.stream_cameras(cameras, encoding.avatar_corners(content, clip), size)
    with terminal.progress() as progress:
        try:
            data = encode_stream(
                content,
                clip,
                settings,
                cameras=views,
                description=description,
                names=names,
                progress=progress,
            )
        except StreamError as error:  # the writer keeps the rules of the standard as the reader does
            raise ContentError(f"the format cannot hold this: {error.message}") from error
        if hashes != "none":
            every = key_interval(clip, settings) if hashes == "key" else 1
            data = add_hashes(data, stages, every=every, progress=progress)
    output.write_bytes(data)
    report(output, data, as_json)


def report(path: Path, data: bytes, as_json: bool) -> None:
    """Where the bytes went."""
    from tools.accounting import layers

    rows = layers(data)
    frames = sum(row.frames for row in rows)
    if as_json:
        found = [row.as_dict() for row in rows]
        terminal.emit({"file": str(path), "bytes": len(data), "frames": frames, "layers": found})
        return
    columns = ("layer", "units>", "bytes>", "share>", "bytes/frame>")
    cells = [(row.layer, row.units, row.size, f"{row.size / len(data):.1%}", row.per_frame) for row in rows]
    terminal.table(f"{path}: {terminal.size(len(data))}, {frames} frames", columns, cells)
