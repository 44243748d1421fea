"""`hga verify`: whether frames are what they should be, and the first place where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tools import terminal
from tools.parameters import CONTENT_IN, SIZE, STAGES, Span, frames_option, json_option, stream_argument

if TYPE_CHECKING:
    from reference_decoder import Camera, Decoder
    from tools.verification import Difference, Expected

_LONG = 60  # seconds that deserve a warning


@click.command()
@stream_argument
@click.option(
    "--executed",
    is_flag=True,
    help="Compare with the standard's own pseudo-code, executed: slow, on small streams.",
)
@click.option(
    "--against",
    type=CONTENT_IN,
    help="Compare with another stream, with lines of `hga decode --json`, or with a folder of `hga decode -o`.",
)
@frames_option
@click.option(
    "--stages",
    type=STAGES,
    default="all",
    show_default=True,
    help="Stages to compare (--executed, other stream).",
)
@click.option("--size", type=SIZE, help="Picture size for --executed, such as 64x64 [default: the camera's].")
@json_option
def verify(
    file: Path, executed: bool, against: Path | None, frames: Span, stages: tuple[str, ...],
    size: tuple[int, int] | None, as_json: bool,
) -> int:  # fmt: skip
    """Check FILE against its digests or another decoder.

    Without options the stages are compared with the digests that the stream carries. The first difference
    is named by frame, stage and clause; against whole stages also by joint, Gaussian or pixel. Exit code
    0: all agree, 1: a difference, 2: nothing to compare, 4: the stream is damaged.

    \b
    Examples:
      hga verify head.hga
      hga verify small.hga --executed --size 64x64 --frames :2
      hga verify head.hga --against mine.jsonl        digests that your decoder printed
      hga verify head.hga --against stages/           stages that your decoder wrote
    """
    from reference_decoder import Decoder
    from spec.run import RangeError
    from tools import streams
    from tools.verification import compare

    data = file.read_bytes()
    decoder = Decoder(data)
    clip = [frame for frame in decoder.frames(frames.start) if frame.index in frames]
    streams.complain(file, decoder)
    compared, difference = 0, None
    try:
        expected, cameras, default = expectation(data, decoder, executed, against, frames, stages, size)
        with terminal.progress() as progress:
            for number, frame in enumerate(clip):
                count, difference = compare(frame, expected, cameras.get(frame.index, default))
                compared += count
                progress("frames", number + 1, len(clip))
                if difference:
                    break
    except RangeError as error:
        terminal.complain(f"{file}: the pseudo-code leaves a declared range: {error}")
        return 1
    report(file, compared, len(clip), difference, decoder, as_json)
    if difference:
        return 1
    return 4 if decoder.errors else 0 if compared else 2


def expectation(
    data: bytes, decoder: Decoder, executed: bool, against: Path | None, frames: Span, stages: tuple[str, ...],
    size: tuple[int, int] | None,
) -> tuple[Expected, dict[int, Camera], Camera | None]:  # fmt: skip
    """What to compare with, the camera of each frame that has its own, and the camera of the others."""
    from reference_decoder import Decoder, Executed, StreamError
    from tools import streams, verification

    if executed and against is not None:
        raise click.UsageError("--executed and --against exclude each other")
    camera = verification.first_camera(decoder, size)
    if executed:
        warn(decoder, frames, stages, camera)
        return verification.decoded(Decoder(data, Executed()), frames, stages, camera), {}, camera
    if against is None:
        expected, cameras = verification.carried(decoder)
        return expected, cameras, None
    if against.is_dir():
        return verification.Folder(against), {}, camera
    other = against.read_bytes()
    if other.lstrip()[:1] == b"{":
        return verification.printed(against), {}, camera
    try:
        return verification.decoded(Decoder(other, strict=True), frames, stages, camera), {}, camera
    except StreamError as error:
        terminal.complain(streams.explain(against, other, error))
        raise click.exceptions.Exit(4) from error


def warn(decoder: Decoder, frames: Span, stages: tuple[str, ...], camera: Camera | None) -> None:
    """Says how long the document will take, if that is long."""
    from tools.verification import cost

    if not decoder.avatar:
        return
    count = (decoder.end_frame_count or 1) if frames.stop is None else frames.stop
    seconds = cost(decoder, count - frames.start, stages, camera)
    if seconds > _LONG:
        terminal.say(
            f"executing the document will take about {seconds / 60:.0f} minutes; "
            "--frames, --size and --stages make it less"
        )


def report(
    file: Path, compared: int, frames: int, difference: Difference | None, decoder: Decoder, as_json: bool
) -> None:
    """The verdict."""
    if as_json:
        verdict: dict[str, Any] = {"file": str(file), "frames": frames, "stages_compared": compared}
        verdict["difference"] = difference.as_dict() if difference else None
        terminal.emit(verdict | {"errors": [error.as_dict() for error in decoder.errors]})
    elif difference:
        click.echo(
            f"{file}: frame {difference.frame} differs first in {difference.stage}, {difference.about}: "
            f"{difference.where}"
        )
    elif compared:
        click.echo(
            f"{file}: {compared} stages of {frames} frames agree"
            + " of a damaged stream" * bool(decoder.errors)
        )
    elif not decoder.errors:
        terminal.complain(
            f"{file}: nothing to compare: it carries no digests; encode with --hashes, or use --executed or --against"
        )
