"""`hga verify`: whether frames are what they should be, and the first place where they are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tools import terminal
from tools.parameters import CONTENT_IN, SIZE, STAGES, Span, frames_option, json_option, stream_argument

if TYPE_CHECKING:
    from reference_decoder import Camera, Decoder, Frame
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
    is named by frame, stage and clause; against whole stages also by joint, Gaussian or pixel. A frame
    of the range that only one side has is a difference too: --frames says which ones to compare. Exit
    code 0: all agree, 1: a difference, 2: nothing to compare, 4: the stream is damaged.

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
    found = Verdict(file, len(clip))
    try:
        expected, cameras, default = expectation(data, decoder, executed, against, frames, stages, size)
        unmatched = only_one_has(clip, expected, frames, against)
        with terminal.progress() as progress:
            for number, frame in enumerate(clip):
                if unmatched and unmatched.frame <= frame.index:
                    break
                found.add(*compare(frame, expected, cameras.get(frame.index, default)))
                progress("frames", number + 1, len(clip))
                if found.difference:
                    break
    except RangeError as error:
        terminal.complain(f"{file}: the pseudo-code leaves a declared range: {error}")
        return 1
    found.difference = found.difference or unmatched
    if expected.unknown:
        names = ", ".join(sorted(expected.unknown))
        terminal.say(f"{against} names stages that the standard does not have: {names}")
    found.report(decoder, nothing(decoder, expected, clip, against), as_json)
    if found.difference:
        return 1
    return 4 if decoder.errors else 0 if found.frames else 2


def only_one_has(
    clip: list[Frame], expected: Expected, frames: Span, against: Path | None
) -> Difference | None:
    """The first frame of the range that the stream or the other side lacks."""
    from tools.verification import unmatched

    if expected.frames is None:
        return None
    theirs = {index for index in expected.frames if index in frames}
    return unmatched({frame.index for frame in clip}, theirs, str(against or "the executed document"))


def nothing(decoder: Decoder, expected: Expected, clip: list[Frame], against: Path | None) -> str:
    """Why nothing could be compared, if nothing was."""
    if not clip:
        return "the stream has no frame in this range"
    if against is None and expected.frames is None:
        if decoder.hashes:
            return "none of these frames carries digests; use --executed or --against"
        return "it carries no digests; encode with --hashes, or use --executed or --against"
    if not decoder.cameras:
        return "no stage that can be computed without a camera, which the stream does not have"
    return f"{against or 'the executed document'} has none of the stages of the standard"


@dataclass
class Verdict:
    """What was compared, and the first difference."""

    file: Path
    decoded: int  # frames
    frames: int = 0  # of which something was compared
    stages: dict[str, int] = field(default_factory=dict)  # -> in how many frames
    difference: Difference | None = None

    def add(self, stages: list[str], difference: Difference | None) -> None:
        """Counts one frame in."""
        self.frames += bool(stages)
        for stage in stages:
            self.stages[stage] = self.stages.get(stage, 0) + 1
        self.difference = difference

    def report(self, decoder: Decoder, nothing: str, as_json: bool) -> None:
        """The verdict; `nothing` says why there was nothing to compare, if so it was."""
        if as_json:
            verdict: dict[str, Any] = {"file": str(self.file), "frames": self.decoded}
            verdict |= {"frames_compared": self.frames, "stages_compared": self.stages}
            verdict["difference"] = self.difference.as_dict() if self.difference else None
            terminal.emit(verdict | {"errors": [error.as_dict() for error in decoder.errors]})
        elif self.difference:
            click.echo(f"{self.file}: {self.difference}")
        elif self.frames:
            count = f"{self.frames} of {self.decoded}" if self.frames < self.decoded else f"{self.frames}"
            every = all(number == self.frames for number in self.stages.values())
            names = [name if every else f"{name} ({number})" for name, number in self.stages.items()]
            click.echo(
                f"{self.file}: {count} frame{'s' * (self.decoded > 1)} agree{'s' * (self.decoded == 1)} in "
                + ", ".join(names)
                + ", of a damaged stream" * bool(decoder.errors)
            )
        elif not decoder.errors:
            terminal.complain(f"{self.file}: nothing to compare: {nothing}")


def expectation(
    data: bytes, decoder: Decoder, executed: bool, against: Path | None, frames: Span, stages: tuple[str, ...],
    size: tuple[int, int] | None,
) -> tuple[Expected, dict[int, Camera], Camera | None]:  # fmt: skip
    """What to compare with, the camera of each frame that has its own, and the camera of the others."""
    from reference_decoder import Decoder, Executed, StreamError
    from reference_encoder.content import ContentError
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
    if not other.strip():
        raise ContentError(f"{against}: the file is empty")
    if not streams.is_stream(other) and other.lstrip()[:1] != b"{":
        raise ContentError(
            f"{against}: neither a stream nor lines of JSON as `hga decode --json` prints them"
        )
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
