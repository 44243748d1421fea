"""A decoder under test: its command and what it says it can do, from the command line, a file or a plug-in."""

from __future__ import annotations

import json
import os
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_type_hints

ENTRY_POINTS = "hga.decoders"
PIXEL_CLASSES = ("exact", "tolerance")


class DecoderError(Exception):
    """A description of a decoder that cannot be used: one line."""


@dataclass(frozen=True)
class Decoder:
    """A command and its capabilities; an empty tuple means that nothing is declared, so all is asked.

    Commands are split as a POSIX shell does, without a shell, and {stream}, {output} (a folder for files of
    this run), {stages} (those asked for, with commas between), {stage}, {frame} and {unit} are filled in.
    """

    name: str
    command: str
    profiles: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()
    stages: tuple[str, ...] = ()
    pixels: str = "exact"  # or "tolerance": Annex E
    dump: str = ""  # writes one stage of one frame into {output}, as `hga decode -o` does
    trace: str = ""  # prints the syntax elements as `hga dump --json` does
    serve: str = ""  # a command that stays: reads paths, answers each with its lines and an end line
    tolerance: str = ""  # of the reference decoder: writes pictures and what they may be off into {output}
    timeout: float = 60.0  # seconds a stream
    memory: int = 4096  # MiB, all processes together

    def arguments(self, template: str, **values: object) -> list[str]:
        """A command with its places filled in."""
        return [_filled(part, values) for part in shlex.split(template)]

    def has(self, profile: str, level: int) -> bool:
        """Whether streams of a profile and level may be asked."""
        return (not self.profiles or profile in self.profiles) and (
            not self.levels or level <= max(self.levels)
        )


def _filled(part: str, values: Mapping[str, object]) -> str:
    for name, value in values.items():
        part = part.replace("{" + name + "}", str(value))
    return part


def describe(source: str) -> Decoder:
    """A decoder from a command with {stream} in it, a .toml, .json or .py file, or the name of a plug-in."""
    path = Path(source)
    if "{stream}" in source:
        return _build({"name": Path(shlex.split(source)[0]).name, "command": source}, "--decoder")
    if path.suffix in _READERS and path.is_file():
        return _build(_read(path), source)
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == source:
            found = point.load()
            return _build({"name": source} | dict(found() if callable(found) else found), source)
    known = ", ".join(sorted(point.name for point in entry_points(group=ENTRY_POINTS))) or "none"
    raise DecoderError(
        f"{source!r} is neither a command with {{stream}} in it, nor a .toml, .json or .py file, "
        f"nor an installed plug-in (there are: {known})"
    )


def _python(path: Path) -> Any:
    return runpy.run_path(str(path)).get("DECODER")


_READERS: dict[str, Callable[[Path], Any]] = {
    ".toml": lambda path: tomllib.loads(path.read_text(encoding="utf-8")),
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".py": _python,
}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        value = _READERS[path.suffix](path)
    except ValueError as error:
        raise DecoderError(f"{path}: {error}") from None
    if not isinstance(value, Mapping):
        hint = "defines no mapping DECODER" if path.suffix == ".py" else "is not a table of settings"
        raise DecoderError(f"{path}: {hint}")
    here = {"folder": os.fspath(path.resolve().parent), "python": sys.executable}
    return {"name": path.stem} | {
        key: _filled(entry, here) if isinstance(entry, str) else entry for key, entry in value.items()
    }


def _build(value: Mapping[str, Any], source: str) -> Decoder:
    """Raises DecoderError for a setting that is missing, unknown or of the wrong type."""
    hints = get_type_hints(Decoder)
    if unknown := value.keys() - hints.keys():
        raise DecoderError(
            f"{source}: there is no setting {min(unknown)!r}, only {', '.join(f.name for f in fields(Decoder))}"
        )
    settings: dict[str, Any] = {}
    for name, entry in value.items():
        settings[name] = _converted(source, name, entry, hints[name])
    if "{stream}" not in settings.get("command", ""):
        raise DecoderError(f"{source}: the setting 'command' needs {{stream}} in it")
    if settings.get("pixels", "exact") not in PIXEL_CLASSES:
        raise DecoderError(f"{source}: 'pixels' is one of {', '.join(PIXEL_CLASSES)}")
    return Decoder(**settings)


def _converted(source: str, name: str, entry: Any, kind: Any) -> Any:
    listed = kind in (tuple[str, ...], tuple[int, ...])
    single: Any = {tuple[str, ...]: str, tuple[int, ...]: int, float: (int, float)}.get(kind, kind)
    entries = entry if listed and isinstance(entry, list | tuple) else [entry]
    if (isinstance(entry, list | tuple) != listed) or not all(
        isinstance(e, single) and not isinstance(e, bool) for e in entries
    ):
        raise DecoderError(f"{source}: the setting {name!r} has the wrong type: {entry!r}")
    return tuple(entries) if listed else entry
