"""Opening streams for the commands: frames kept light, errors told apart from files that are no streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import spec
from reference_decoder import Decoder, Frame, StreamError
from tools import terminal
from tools.parameters import Span

_SIGNATURE = spec.standard().settled("sequence_header")["signature"].to_bytes(4, "big")
_SIGNATURE_REACH = 16  # bytes: the signature follows one unit header
_MOST_ERRORS = 8


def explain(path: Path, data: bytes, error: StreamError) -> str:
    """One line about an error of a stream in a file, or about the file not being a stream at all."""
    if not data:
        return f"{path}: not an HGA stream: the file is empty"
    if not is_stream(data):
        return f"{path}: not an HGA stream: it starts with {data[:8]!r}, without the signature {_SIGNATURE.decode()}"
    return f"{path}: {error}"


def is_stream(data: bytes) -> bool:
    """Whether bytes begin as a stream does."""
    return _SIGNATURE in data[:_SIGNATURE_REACH]


def complain(path: Path, decoder: Decoder) -> None:
    """Reports the errors of a decoder on stderr: the first few, or that the file is no stream."""
    lines = list(dict.fromkeys(explain(path, decoder.data, error) for error in decoder.errors))
    for line in lines[:_MOST_ERRORS]:
        terminal.complain(line)
    if len(lines) > _MOST_ERRORS:
        terminal.complain(f"{path}: {len(lines) - _MOST_ERRORS} more errors (--json lists all)")


def selected(decoder: Decoder, span: Span) -> Iterator[Frame]:
    """The frames of a span; decoding stops behind it."""
    for frame in decoder.frames(span.start):
        if frame.index in span:
            yield frame
        if span.stop is not None and frame.index >= span.stop - 1:
            return


def fresh(frame: Frame) -> Frame:
    """The same frame without the stages it has computed: a long clip of these fits in memory."""
    return replace(frame)
