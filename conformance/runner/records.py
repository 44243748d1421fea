"""The corpus as the runner sees it: one JSON record beside each stream."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conformance.runner.contract import ErrorLine, FrameLine, error_line, frame_line


class RecordError(Exception):
    """A corpus that cannot be used: names the file."""


@dataclass(frozen=True)
class Record:
    """One stream, why it is there, and what decoding it gives."""

    id: str
    purpose: str
    catches: str
    causes: Mapping[str, str]  # stage -> likely cause, if that one differs first
    clauses: tuple[str, ...]
    constraints: tuple[str, ...]
    profile: str
    level: int
    stream: Path
    sha256: str
    frames: tuple[FrameLine, ...]
    errors: tuple[ErrorLine, ...]

    @property
    def group(self) -> str:
        """What stands before the first slash of the id."""
        return self.id.partition("/")[0]

    @property
    def size(self) -> int:
        """Bytes of the stream."""
        return self.stream.stat().st_size

    def intact(self) -> bool:
        """Whether the stream is the one that the record was written for."""
        return hashlib.sha256(self.stream.read_bytes()).hexdigest() == self.sha256


def load(folders: Sequence[Path]) -> list[Record]:
    """The records in folders and below them, by size of stream, or single record files; raises RecordError."""
    records = [read(path) for folder in folders for path in _files(folder)]
    if twice := {record.id for record in records if sum(other.id == record.id for other in records) > 1}:
        raise RecordError(f"{folders[0]}: the id {min(twice)} occurs twice")
    return sorted(records, key=lambda record: (record.size, record.id))


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*.json")):
        if path.with_suffix(".hga").exists():
            yield path


def read(path: Path) -> Record:
    """One record; raises RecordError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        record = _record(value, path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path}: not a record of a conformance stream: {type(error).__name__} {error}"
        ) from None
    if not record.stream.is_file():
        raise RecordError(f"{path}: the stream {record.stream.name} is missing")
    return record


def _record(value: Mapping[str, Any], path: Path) -> Record:
    frames = [frame_line(frame) for frame in value.get("frames", [])]
    if canonical := value.get("canonical"):
        frames = [replace(frame, digests={"canonical": canonical, **frame.digests}) for frame in frames]
    return Record(
        id=value["id"],
        purpose=value["purpose"],
        catches=value.get("catches", ""),
        causes=value.get("causes", {}),
        clauses=tuple(value.get("clauses", ())),
        constraints=tuple(value.get("constraints", ())),
        profile=value["profile"],
        level=value["level"],
        stream=path.parent / value["stream"],
        sha256=value["sha256"],
        frames=tuple(frames),
        errors=tuple(error_line(error) for error in value.get("errors", [])),
    )
