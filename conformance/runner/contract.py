"""§A.3.3 What a decoder under test prints: one line of JSON for each frame and each error."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).parents[1] / "contract.schema.json"
DIGEST_BYTES = 16
_WIDEST = 120  # characters of a line that is quoted


def stage_file(frame: int, stage: str) -> str:
    """The name of the file that holds the bytes of a stage of a frame (7.8)."""
    return f"{frame:06d}.{stage}"


class ContractError(Exception):
    """The output is not what the contract says; names the line."""


@dataclass(frozen=True)
class FrameLine:
    """One frame: its digests by stage as hexadecimal digits, and what else is known of it."""

    frame: int
    digests: Mapping[str, str]
    time: Fraction | None = None  # seconds
    random_access: bool | None = None


@dataclass(frozen=True)
class ErrorLine:
    """§6.1 One error; what a decoder need not report may be None."""

    error: str
    constraint: str | None = None
    clause: str | None = None
    unit: int | None = None
    bit_offset: int | None = None
    message: str = ""

    def __str__(self) -> str:
        place = "" if self.unit is None else f" in unit {self.unit}"
        place += "" if self.bit_offset is None else f" at bit {self.bit_offset}"
        return f"{self.error} {self.constraint or '(no constraint named)'}{place}"


@dataclass(frozen=True)
class Output:
    """All that a decoder printed about one stream."""

    frames: tuple[FrameLine, ...]
    errors: tuple[ErrorLine, ...]


def parse(text: str) -> Output:
    """§A.3.3 The frames and errors in the lines that a decoder printed; raises ContractError."""
    frames, errors = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise ContractError(f"line {number} is not JSON: {line[:_WIDEST]!r}") from None
        if "error" in (value if isinstance(value, dict) else ()):
            errors.append(error_line(checked(value, number)))
        else:
            frames.append(frame_line(checked(value, number)))
    return Output(tuple(frames), tuple(errors))


def checked(value: Any, number: int) -> dict[str, Any]:
    """The value of a line, if the schema allows it."""
    for error in _validator().iter_errors(value):
        deepest = max([error, *(error.context or ())], key=lambda inner: len(inner.absolute_path))
        place = "/".join(str(part) for part in deepest.absolute_path)
        raise ContractError(f"line {number}: {place + ': ' if place else ''}{deepest.message[:_WIDEST]}")
    return dict(value)


def frame_line(value: Mapping[str, Any]) -> FrameLine:
    """A frame from its JSON."""
    time = Fraction(value["time"]) if "time" in value else None
    return FrameLine(value["frame"], value["digests"], time, value.get("random_access"))


def error_line(value: Mapping[str, Any]) -> ErrorLine:
    """An error from its JSON."""
    known = {name: value[name] for name in ErrorLine.__dataclass_fields__ if name in value}
    return ErrorLine(**known)


@functools.cache
def _validator() -> Any:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
