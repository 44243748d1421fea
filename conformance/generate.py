"""§5.1 Random valid streams: the writer of the one walk, with a random source."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import spec
from reference_decoder.canonical import Canonical
from reference_decoder.engine import Executed
from reference_decoder.units import level_limits
from reference_encoder.units import frame_unit, unit_from_source
from spec.ports import chosen

Preset = Callable[[random.Random, int, int], int]


def _between(low: int, high: int) -> Preset:
    return lambda generator, *ends: generator.randint(low, high)


SMALL: dict[str, Any] = {
    "version": 1,
    "level": 1,
    "joint_count": _between(1, 6),
    "gaussian_count": _between(1, 40),
    "chunk_size": _between(8, 40),
    "expression_count": _between(0, 3),
    "frame_count": _between(0, 3),
}
"""Presets that keep random streams small."""

VISIBLE: dict[str, Any] = {
    "joint_offset": _between(-300000, 300000),
    "step_code": [_between(0, 70)] * 3 + [_between(60, 150)] * 1020,
    "residual_magnitude": lambda generator, *ends: generator.choice((0, 0, 1, generator.randint(0, 99))),
    "sh_step": _between(1, 300),
    "scale_step": _between(1, 8000),
    "scale_blur": _between(17 << 16, 20 << 16),
    "opacity_step": _between(1, 4000),
    "expression_offset_step": _between(1, 1000),
    "offset_residual": _between(-60, 60),
}
"""Presets that keep moving Gaussians before the camera; those of the canonical Gaussians are in `_placed`."""

WILD = 0.15
"""The share of streams whose values are only bound by their ranges: little of them can be seen."""


def generate(seed: int, presets: Mapping[str, Any] | None = None, *, units: int = 3, size: int = 48) -> bytes:
    """§5.1 A valid stream of a few Gaussians and `units` motion units with a camera, decided by `seed` alone.

    `presets` fixes elements by name (a value, or a function of (random, low, high)).
    """
    generator = random.Random(seed)
    wild = generator.random() < WILD
    return _Stream(generator, {**SMALL, **({} if wild else VISIBLE)}, presets or {}, wild).build(units, size)


class _Stream:
    """One random stream in the making: what its headers said, and its units so far."""

    def __init__(
        self, generator: random.Random, defaults: Mapping[str, Any], presets: Mapping[str, Any], wild: bool
    ):
        self.generator, self.defaults, self.presets, self.wild = generator, defaults, presets, wild
        self.known: dict[str, Any] = {}
        self.contexts: dict[str, Any] = {}
        self.units: list[bytes] = []
        self.next_frame = -1

    def build(self, units: int, size: int) -> bytes:
        self._header("sequence")
        self.known |= level_limits(spec.standard(), self.known["level"])
        self._header("avatar")
        headers = list(self.units)
        self._add("metadata", self._camera(size))
        late = self._structural()
        for number in range(units):
            self._motion(key=number == 0 or self.generator.random() < 0.3)
            self.units += [late.pop()] if late and self.generator.random() < 0.5 else []
        self._add("end", {"end_frame_count": self.next_frame})
        self._sprinkle(headers)
        return b"".join(self.units)

    def _source(self, fixed: Mapping[str, Any]) -> Any:
        return chosen(self.generator, {**self.defaults, **fixed, **self.presets})

    def _header(self, kind: str) -> None:
        checksum = self.generator.random() < 0.5
        self.units.append(unit_from_source(kind, self._source({}), self.known, checksum=checksum))

    def _add(self, kind: str, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """Appends a unit that needs the headers; returns all values of its elements."""
        values = {**self.known, "next_frame": self.next_frame}
        source = chosen(self.generator, {**self.defaults, **self.presets, **fixed})
        checksum = self.generator.random() < 0.3
        self.units.append(unit_from_source(kind, source, values, self.contexts, checksum=checksum))
        return values

    def _structural(self) -> list[bytes]:
        """All chunks and then most expressions, in any order; what is returned comes only after some motion."""
        start = len(self.units)
        canonical = Canonical.empty(Executed(), self.known)
        for chunk in range(-(-self.known["gaussian_count"] // self.known["chunk_size"])):
            values = self._add("canonical", {**self._placed(), "chunk_index": chunk})
            canonical.add_chunk(Executed(), values)
        chunks = self.units[start:]
        self.generator.shuffle(chunks)
        self.units[start:] = chunks
        start = len(self.units)
        self.known["surface_neighbour"] = canonical.neighbours(Executed(), self.known)
        for expression in range(self.known["expression_count"]):
            if self.generator.random() < 0.9:
                self._add("expression", {"expression_index": expression})
        together = len(chunks) + len(self.units) - start
        pieces = self.units[start:] or self.units[-1:]
        self.generator.shuffle(pieces)
        late = self.generator.randint(0, 1) if together > 1 else 0
        self.units[len(self.units) - len(pieces) :] = pieces[late:]
        return pieces[:late]

    def _placed(self) -> dict[str, Any]:
        """§7.3 Elements that place the Gaussians of a chunk within a metre and show them, whatever the steps."""
        if self.wild:
            return {}
        spread, known = max(1, 2**20 // self.known["position_step"]).bit_length(), self.known
        octaves, turns = 2**16 // known["scale_step"], 2**28 // known["gaussian_rotation_step"]
        return {
            "position_bits": min(spread, 21),
            "chunk_origin": -min(2**19 // known["position_step"], 2**20),
            "coarseness": _between(0, 2),
            "scale_residual": _between(-octaves // 4, octaves // 2),
            "rotation_residual": _between(-turns, turns),
            "appearance_residual": _between(
                -(1 << 12) // known["opacity_step"], (1 << 14) // known["opacity_step"]
            ),
            "sh_residual": _between(-64, 64),
        }

    def _motion(self, key: bool) -> None:
        """§5.8 The next motion unit; before a key unit frames may be missing."""
        jump = self.generator.randint(1, 9) if key and self.generator.random() < 0.2 else 0
        first = max(self.next_frame, 0) + jump
        values = self._add("motion", {"key_flag": int(key), "first_frame": first})
        self.next_frame = first + values["frame_count"] + 1

    def _camera(self, size: int) -> dict[str, Any]:
        """A camera three metres before the origin that sees most of what the presets place around it."""
        near = _between(-300000, 300000)
        return {
            "metadata_type": spec.standard().constant_values["METADATA_TYPE_CAMERA"],
            "camera_id": 0,
            "camera_width": size,
            "camera_height": size,
            "camera_rotation": _between(-(1 << 26), 1 << 26),
            "camera_translation": [near(self.generator, 0, 0), near(self.generator, 0, 0), 3 << 20],
            "camera_focal": _between(256 * size, 512 * size),
            "camera_principal": _between(96 * size, 160 * size),
            **{name: value for name, value in self.presets.items() if name.startswith("camera_")},
        }

    def _sprinkle(self, headers: Sequence[bytes]) -> None:
        """§6.3 Puts in what changes nothing: metadata, repeated headers, and units that a decoder skips."""
        g, kinds = self.generator, spec.standard().constant_values
        texts = {"JOINT_NAME": "name_text", "EXPRESSION_NAME": "name_text", "DESCRIPTION": "description_text"}
        extra = [*headers, frame_unit("metadata", bytes([g.randint(6, 255)]) + g.randbytes(5))]
        extra.append(frame_unit(g.choice((0, 5, *range(9, 32))), g.randbytes(g.randint(0, 9)), checksum=True))
        extra.append(frame_unit(g.randint(1, 8), g.randbytes(9), layer=g.randint(1, 255)))
        for kind, element in texts.items():
            values = {
                "metadata_type": kinds[f"METADATA_TYPE_{kind}"],
                element: g.choice(("", "é", "left knee")).encode(),
            }
            extra.append(unit_from_source("metadata", chosen(g, values), {}))
        for piece in extra:
            if g.random() < 0.3:
                self.units.insert(g.randint(2, len(self.units)), piece)
