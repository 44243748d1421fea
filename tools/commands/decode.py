"""`hga decode`: frames and their digests, or the error that a stream stops at."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tools import terminal
from tools.parameters import (
    IN,
    OUT,
    STAGES,
    Span,
    frames_option,
    json_option,
    make_room,
    network_option,
)

if TYPE_CHECKING:
    from reference_decoder import Decoder, Frame
    from reference_decoder.engine import Engine


@click.command()
@click.argument("file", type=IN, required=False)
@click.option(
    "-o",
    "output",
    type=OUT,
    help="Write each stage of each frame to this folder, as the bytes of clause 7.8.",
)
@click.option(
    "--start", type=click.IntRange(0), default=0, help="Enter at the random access point before this frame."
)
@frames_option
@click.option(
    "--stages", type=STAGES, default="gaussians", show_default=True, help="Stages to compute, or all."
)
@network_option
@click.option("--executed", is_flag=True, help="Decode with the standard's own pseudo-code: slow.")
@click.option("--strict", is_flag=True, help="Stop at the first error.")
@click.option("--serve", is_flag=True, help="Take the paths of streams from standard input; see below.")
@json_option
def decode(
    file: Path | None,
    output: Path | None,
    start: int,
    frames: Span,
    stages: tuple[str, ...],
    network: str,
    executed: bool,
    strict: bool,
    serve: bool,
    as_json: bool,
) -> int:
    """Decode FILE and print the digests of its frames.

    Only the Gaussians are computed unless --stages says otherwise; --stages all takes every stage.
    With --json every frame is one line, {"frame": 0, "time": "1/30", "random_access": true, "digests":
    {"pose": "00ff..."}}, and every error one line with error, constraint, clause, unit and bit_offset. Without
    --strict decoding goes on with whatever is intact. The stages projected and pixels need a camera in the
    stream. Errors come after the frames.

    With --serve and --json every line of standard input is the path of a stream, and {"end": 0}, with the exit
    code, follows the lines of each: many streams cost the start of one.

    \b
    Examples:
      hga decode head.hga
      hga decode head.hga --stages all --json > digests.jsonl
      hga decode head.hga --frames 40:50 --stages joints -o stages/
      hga decode small.hga --executed --stages all      what the text of the standard gives
    """
    if serve == (file is not None) or (serve and not as_json):
        raise click.UsageError(
            "either a FILE or --serve is needed" if not serve else "--serve goes with --json alone"
        )
    span = Span(max(start, frames.start), frames.stop)
    decoding = engine(network, executed)
    if file is not None:
        return decode_one(file, output, span, stages, decoding, strict, as_json)
    for line in sys.stdin:
        terminal.emit({"end": decode_one(Path(line.strip()), None, span, stages, decoding, strict, True)})
    return 0


def engine(network: str, executed: bool) -> Engine:
    """§4.6 Who computes: the compiled decoder, or the document itself."""
    from reference_decoder import Compiled, Executed

    return Executed() if executed else Compiled(network)


def decode_one(
    file: Path,
    output: Path | None,
    span: Span,
    stages: tuple[str, ...],
    engine: Engine,
    strict: bool,
    as_json: bool,
) -> int:
    """Prints the frames and errors of one stream; returns the exit code."""
    began = time.perf_counter()
    from reference_decoder import Decoder, StreamError
    from spec.run import RangeError
    from tools import streams

    data = file.read_bytes()
    decoder = Decoder(data, engine, strict=strict)
    if output is not None:
        make_room(output, file, folder=True)
    count, first, had = 0, 0.0, set[str]()
    try:
        for record in records(decoder, streams.selected(decoder, span), stages, output):
            count += 1
            first = first or time.perf_counter() - began
            had |= record["digests"].keys()
            show(record, as_json)
    except StreamError as failure:
        if failure not in decoder.errors:
            raise
    except RangeError as left:
        terminal.complain(f"{file}: the pseudo-code leaves a declared range: {left}")
        return 1
    if as_json:
        for error in decoder.errors:
            terminal.emit(error.as_dict())
    else:
        streams.complain(file, decoder)
    if not count and not decoder.errors and span != Span():
        raise click.UsageError(f"{file} has no frame in this range")
    seconds = time.perf_counter() - began
    if count:
        rate = f", then {(count - 1) / (seconds - first):.1f} frames/s" if count > 1 else ""
        listed = ", ".join(stage for stage in stages if stage in had) or "no stage that there is"
        terminal.say(f"{count} frames with {listed}, digests included: the first after {first:.2f} s{rate}")
    return 4 if decoder.errors else 0


def records(
    decoder: Decoder, frames: Iterator[Frame], stages: tuple[str, ...], output: Path | None
) -> Iterator[dict[str, Any]]:
    """One record per frame with the digests of the stages that can be had; their bytes go to `output`."""
    whole = read_whole(decoder.data) if {"projected", "pixels"} & set(stages) else decoder
    for frame in frames:
        cameras = whole.cameras_of(frame.index)
        drawn = {"projected", "pixels"} - cameras.keys()
        possible = [stage for stage in stages if stage in frame.stages and stage not in drawn]
        if output is not None:
            for stage in possible:
                (output / f"{frame.index:06d}.{stage}").write_bytes(
                    frame.stage_bytes(stage, cameras.get(stage))
                )
        yield {
            "frame": frame.index,
            "time": str(frame.time),
            "random_access": frame.random_access,
            "digests": {stage: frame.digest(stage, cameras.get(stage)).hex() for stage in possible},
        }


def read_whole(data: bytes) -> Decoder:
    """§A.3.3 A decoder at the end of a stream: only there it is known which camera a frame is tested with."""
    from reference_decoder import Decoder

    decoder = Decoder(data)
    for _ in decoder.frames():
        pass
    return decoder


def show(record: dict[str, Any], as_json: bool) -> None:
    """One frame, as soon as it is there."""
    if as_json:
        terminal.emit(record)
        return
    mark = "*" if record["random_access"] else " "
    digests = "  ".join(f"{stage} {digest}" for stage, digest in record["digests"].items())
    click.echo(f"{record['frame']:6d}{mark} {digests}")
