"""§7.1 The decoder: units in, frames out; a damaged unit costs only what depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import spec
from reference_decoder.canonical import Canonical
from reference_decoder.engine import Compiled, Engine
from reference_decoder.frames import Frame
from reference_decoder.generator import Generator, known_before
from reference_decoder.motion import MotionState
from reference_decoder.rendering import Camera
from reference_decoder.units import (
    Unit,
    UnitReader,
    level_limits,
    peek,
    peek_motion,
    read_unit,
    units_of_profile,
)
from spec.errors import KINDS, StreamError


class Decoder:
    """§7.1 Decodes one stream. Headers, metadata and errors met so far are attributes.

    `engine` is Compiled() (default) or Executed(). With `strict`, the first error is raised; otherwise
    errors are collected in `errors` and decoding goes on with whatever is intact.
    """

    def __init__(self, data: bytes, engine: Engine | None = None, strict: bool = False):
        self.data = data
        self.engine: Engine = engine or Compiled()
        self.strict = strict
        self.standard = spec.standard()
        self.errors: list[StreamError] = []
        self.sequence: dict[str, Any] = {}
        self.avatar: dict[str, Any] = {}
        self.canonical: Canonical | None = None
        self.generator: Generator | None = None
        self.motion: MotionState | None = None
        self.cameras: dict[int, Camera] = {}
        self.hashes: dict[int, dict[str, tuple[Camera | None, bytes]]] = {}
        self.joint_names: dict[int, str] = {}
        self.expression_names: dict[int, str] = {}
        self.description = ""
        self.end_frame_count: int | None = None
        self._receive: dict[str, Callable[[Unit, dict[str, Any]], None]] = {
            "canonical": self._canonical,
            "expression": self._expression,
            "generator": self._generator,
            "metadata": self._metadata,
            "end": self._end,
        }
        self._header_bytes: dict[str, bytes] = {}
        self._shared = False  # whether a frame handed out refers to `canonical`
        self._broken = False  # whether motion waits for a random access point

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """§6.8 Yields the frames from index `start` on, entering at the random access point before it.

        To be called once: the state of the decoder goes along with the stream.
        """
        units = UnitReader(self.data)
        entry = self._entry_unit(start) if start > 0 else 0
        for unit in units:
            if unit.type == "motion" and unit.index < entry:
                continue
            try:
                for frame in self._unit(unit, units):
                    if frame.index >= start:
                        yield frame
            except StreamError as error:
                self._record(unit, error)
        if not self._header_bytes.get("sequence") and not self.errors:
            self._record(None, self._violation("sequence_first", "the stream is empty", 0))

    def cameras_of(self, frame: int) -> dict[str, Camera]:
        """§A.3.3 Stage -> the camera with which a frame is tested, once the stream has been read to its end."""
        default = self.cameras[min(self.cameras)] if self.cameras else None
        found = {}
        for stage in ("projected", "pixels"):
            camera, _ = self.hashes.get(frame, {}).get(stage, (None, b""))
            if (chosen := camera or default) is not None:
                found[stage] = chosen
        return found

    def _entry_unit(self, start: int) -> int:
        """§6.8 The index of the last random access point whose first frame is not after `start`."""
        entry = 0
        for unit in UnitReader(self.data):
            if unit.type == "motion" and unit.layer == 0 and unit.error is None:
                key, first, _ = peek_motion(self.data, unit)
                if key and first <= start:
                    entry = unit.index
        return entry

    def _unit(self, unit: Unit, units: UnitReader) -> Iterator[Frame]:
        if unit.error is not None:
            raise unit.error
        if unit.index == 0 and (unit.type != "sequence" or unit.layer != 0):
            self._broken = True  # it is joined in the middle (6.4)
            message = f"the first unit is of type {unit.type_number} in layer {unit.layer}"
            raise self._violation("sequence_first", message, unit.start * 8)
        if unit.type not in units_of_profile(self.standard, self.sequence) or unit.layer != 0:
            return
        if unit.type in ("sequence", "avatar"):
            self._header(unit, units)
        elif not self._has_headers(unit):
            self._broken |= unit.type == "motion"
        elif unit.type == "motion":
            yield from self._motion(unit)
        else:
            self._receive[unit.type](unit, dict(self.avatar))

    def _has_headers(self, unit: Unit) -> bool:
        """§6.3 Whether the headers that a unit needs were received; an error unless one came before."""
        if unit.type in ("metadata", "end"):
            return bool(self._header_bytes.get("sequence"))
        if self.avatar:
            return True
        if not self.errors:
            raise self._violation(
                "avatar_first", f"a unit of type {unit.type} before any avatar header", unit.start * 8
            )
        return False

    def _header(self, unit: Unit, units: UnitReader) -> None:
        payload = self.data[unit.payload_start : unit.payload_end]
        if unit.type in self._header_bytes:
            if payload != self._header_bytes[unit.type]:
                raise self._violation(
                    f"{unit.type}_repeated", "the header differs from the first one", unit.payload_start * 8
                )
            return
        if unit.type == "avatar" and not self.sequence:
            return  # a consequence of `sequence_first` or of an error in the sequence header
        values: dict[str, Any] = dict(units.limits)
        read_unit(self.data, unit, values, self.engine.read_port, {})
        self._header_bytes[unit.type] = payload
        if unit.type == "sequence":
            self.sequence = values
            units.limits = level_limits(self.standard, values["level"])
            return
        values.setdefault("joint_parent", [0])
        for name in ("joint_parent", "joint_offset", "step_code", "sh_step"):
            values[name] = self.engine.take(values[name])
        self.avatar = values
        self.canonical = Canonical.empty(self.engine, values)
        self.motion = MotionState(self.engine, values)

    def _writable(self) -> Canonical:
        """The canonical Gaussians, copied first if a frame that was handed out refers to them."""
        assert self.canonical is not None
        if self._shared:
            self.canonical, self._shared = self.canonical.copy(self.engine), False
        return self.canonical

    def _canonical(self, unit: Unit, values: dict[str, Any]) -> None:
        assert self.canonical is not None
        if peek(self.data, unit, self.avatar).get("chunk_index") in self.canonical.chunks:
            return
        read_unit(self.data, unit, values, self.engine.read_port, {})
        self._writable().add_chunk(self.engine, values)

    def _expression(self, unit: Unit, values: dict[str, Any]) -> None:
        assert self.canonical is not None
        if peek(self.data, unit, self.avatar).get("expression_index") in self.canonical.expressions:
            return
        if not self._has_chunks(unit):
            return
        values["surface_neighbour"] = self.canonical.neighbours(self.engine, values)
        read_unit(self.data, unit, values, self.engine.read_port, {})
        self._writable().add_expression(self.engine, values)

    def _has_chunks(self, unit: Unit) -> bool:
        """§6.3 Whether all chunks were received, as some units need; an error unless one came before."""
        assert self.canonical is not None
        if self.canonical.is_complete(self.avatar):
            return True
        if not self.errors:
            message = f"a unit of type {unit.type} before the canonical units of all chunks"
            raise self._violation(f"{unit.type}_after_canonical", message, unit.payload_start * 8)
        return False

    def _generator(self, unit: Unit, values: dict[str, Any]) -> None:
        """§6.12 A generator takes the place of the one before; an update changes it for the frames to come."""
        assert self.canonical is not None
        if not self._has_chunks(unit):
            return
        update = peek(self.data, unit).get("update_flag") == 1
        values |= known_before(self.generator, update)
        values["surface_neighbour"] = self.canonical.neighbours(self.engine, values)
        read_unit(self.data, unit, values, self.engine.read_port, {})
        self.generator = Generator.received(self.engine, values, self.canonical.position, self.generator)

    def _motion(self, unit: Unit) -> Iterator[Frame]:
        assert self.motion is not None and self.canonical is not None
        key, _, _ = peek_motion(self.data, unit)
        if self._broken and not key:
            return
        values = dict(self.avatar) | self.motion.place
        read_unit(self.data, unit, values, self.engine.read_port, self.motion.contexts)
        self._broken = False
        seconds = Fraction(self.sequence["frame_rate_denominator"], self.sequence["frame_rate_numerator"])
        for f, (symbols, pose) in enumerate(self.motion.decode(values)):
            index, entry = values["first_frame"] + f, bool(values["key_flag"]) and f == 0
            self._shared = True
            yield Frame(
                index,
                index * seconds,
                entry,
                self.engine,
                self.avatar,
                self.canonical,
                symbols,
                pose,
                self.generator,
            )

    def _metadata(self, unit: Unit, values: dict[str, Any]) -> None:
        read_unit(self.data, unit, values, self.engine.read_port, {})
        kind = self.standard.enumerations["metadata_type"].get(values["metadata_type"], ("", ""))[0]
        if kind == "hashes":
            self._hashes(values)
        elif kind == "camera":
            self.cameras[values["camera_id"]] = self._camera(values)
        elif kind == "joint_name":
            self.joint_names[values["name_index"]] = values["name_text"].decode("utf-8", "replace")
        elif kind == "expression_name":
            self.expression_names[values["name_index"]] = values["name_text"].decode("utf-8", "replace")
        elif kind == "description":
            self.description = values["description_text"].decode("utf-8", "replace")

    def _hashes(self, values: dict[str, Any]) -> None:
        stages = self.hashes.setdefault(values["hash_frame"], {})
        for number, (name, _) in self.standard.enumerations["stage"].items():
            if values["hash_stages"] >> number & 1:
                stages[name] = (self.cameras.get(values["hash_camera"]), values["hash_digest"][number])

    def _camera(self, v: dict[str, Any]) -> Camera:
        rotation = self.engine.functions["matrix_from_vector"](*(int(x) for x in v["camera_rotation"]))
        return Camera(
            rotation=np.array([int(entry) for entry in rotation], np.int64).reshape(3, 3),
            translation=np.array(v["camera_translation"], np.int64),
            focal=(v["camera_focal"][0], v["camera_focal"][1]),
            principal=(v["camera_principal"][0], v["camera_principal"][1]),
            width=v["camera_width"],
            height=v["camera_height"],
            background=(v["camera_background"][0], v["camera_background"][1], v["camera_background"][2]),
        )

    def _end(self, unit: Unit, values: dict[str, Any]) -> None:
        read_unit(self.data, unit, values, self.engine.read_port, {})
        self.end_frame_count = values["end_frame_count"]

    def _record(self, unit: Unit | None, error: StreamError) -> None:
        if error.unit is None and unit is not None:
            error.unit = unit.index
        if unit is not None:
            self._broken |= unit.type in ("motion", "")
        self.errors.append(error)
        if self.strict:
            raise error

    def _violation(self, constraint: str, message: str, bit: int) -> StreamError:
        rule = self.standard.constraints[constraint]
        return KINDS[rule.error](message, constraint=constraint, clause=rule.clause, bit_offset=bit)


def open_stream(source: bytes | str | Path) -> bytes:
    """The bytes of a stream given as bytes or as a file."""
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def decode(
    source: bytes | str | Path, *, start: int = 0, engine: Engine | None = None, strict: bool = True
) -> Iterator[Frame]:
    """§7.1 The frames of a stream, from the frame `start` on.

    Raises a StreamError (Malformed, ConstraintViolation, Unsupported or ResourceLimit) at the first
    error, or with `strict=False` goes on with what is intact; use Decoder to see the errors then.
    """
    yield from Decoder(open_stream(source), engine, strict).frames(start)
