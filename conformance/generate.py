"""§5.1 Random valid streams: the writer of the one walk, with a random source."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import spec
from conformance.drafts import Draft, draft, skipped
from conformance.presets import FEATURES, PresetError, between, resolve
from reference_decoder.canonical import Canonical
from reference_decoder.engine import Executed
from reference_decoder.generator import Generator, known_before
from reference_decoder.units import level_limits, motion_place, units_of_profile
from spec.ports import Source, chosen

SMALL: dict[str, Any] = {
    "version": 1,
    "level": 1,
    "joint_count": between(1, 6),
    "chunk_size": between(8, 40),
    "expression_count": between(0, 3),
    "frame_count": between(1, 9),
    "map_bits": between(2, 3),
    "level_count": between(1, 3),
    "decoder_channels": between(1, 2),
    "encoder_channels": between(1, 2),
    "mapping_size": between(1, 4),
}
"""Presets that keep random streams small."""

VISIBLE: dict[str, Any] = {
    "joint_offset": between(-300000, 300000),
    "step_code": [between(0, 70)] * 3 + [between(60, 150)] * 1020,
    "residual_magnitude": lambda generator, *ends: generator.choice((0, 0, 1, generator.randint(0, 99))),
    "sh_step": between(1, 300),
    "scale_step": between(1, 8000),
    "scale_blur": between(17 << 16, 20 << 16),
    "opacity_step": between(1, 4000),
    "expression_offset_step": between(1, 1000),
    "offset_residual": between(-60, 60),
    "map_origin": between(-(1 << 20), -(1 << 18)),
    "map_scale": between(256, 2048),
    "posed_shift": between(8, 15),
    "rest_shift": between(10, 16),
    "shift_change": between(9, 17),
    "bias_change": between(-3000, 3000),
}
"""Presets that keep moving Gaussians before the camera; those of the canonical Gaussians are in `_placed`."""


HEADS = spec.standard().enumerations["head"]


@dataclass(frozen=True)
class Shape:
    """§5.3 What a stream is made of, besides the values of its elements."""

    units: int = 3  # motion units
    gaussians: int = 40  # the most, unless gaussian_count is preset
    size: int = 48  # width and height of the picture in pixels; 0 for no camera
    first_frame: int | None = None  # of the stream; at random if not given
    keys: float | Sequence[int] = (
        0.3  # share of key units among the motion units after the first, or 1 for each
    )
    gaps: float = 0.2  # share of the key units before which frames are missing
    late: float = 0.5  # share of the streams in which a chunk or an expression comes after some motion
    chunks: int | None = None  # how many are sent; all if not given
    missing: float = 0.1  # share of the expressions that are never sent
    updates: float = 0.4  # share of the motion units after a generator that have an update of it before them
    extras: float = 0.3  # share of the units of each kind that change nothing: repeated, named, skipped
    checksums: float = 0.4  # share of the units that have one
    end: bool = True  # whether there is an end of sequence
    wild: float = (
        0.15  # share of the streams whose values are only bound by their ranges: little is seen of them
    )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Shape:
        """A shape from settings by name; raises PresetError."""
        known = {field.name for field in fields(cls)}
        if unknown := settings.keys() - known:
            raise PresetError(f"there is no setting '{min(unknown)}', only {', '.join(sorted(known))}")
        return cls(**settings)


def generate(
    seed: int,
    presets: Mapping[str, Any] | None = None,
    *,
    features: Mapping[str, float] | None = None,
    **shape: Any,
) -> bytes:
    """§5.1 A valid stream of a few Gaussians and a few motion units with a camera, decided by `seed` alone.

    `presets` fixes elements by name (see `conformance.presets.resolve`), `features` gives the share of streams that
    have a feature of `conformance.presets.FEATURES`, `shape` the settings of `Shape`. Raises PresetError.
    """
    return b"".join(piece.write() for piece in drafts(seed, presets, features=features, **shape))


def drafts(
    seed: int,
    presets: Mapping[str, Any] | None = None,
    *,
    features: Mapping[str, float] | None = None,
    **shape: Any,
) -> list[Draft]:
    """§5.1 The units of the stream that `generate` gives for the same arguments, as they can be written again."""
    generator = random.Random(seed)
    wanted = Shape.of(shape)
    level = (presets or {}).get("level", SMALL["level"])
    had = _features(random.Random(f"features of {seed}"), features or {})
    wild = generator.random() < wanted.wild or any(feature.wild for feature in had)
    defaults: dict[str, Any] = {"gaussian_count": between(1, wanted.gaussians), **SMALL}
    defaults |= {} if wild else VISIBLE
    fixed: dict[str, Any] = {}
    for feature in had:
        fixed |= feature.presets(level_limits(spec.standard(), level if isinstance(level, int) else 1))
    resolved = resolve({**fixed, **(presets or {})})
    ends = max((feature.ends for feature in had), default=0.1)
    return _Stream(generator, wanted, defaults, resolved, wild, ends).build()


def _features(generator: random.Random, shares: Mapping[str, float]) -> list[Any]:
    for name, share in shares.items():
        if name not in FEATURES:
            raise PresetError(f"there is no feature '{name}', only {', '.join(sorted(FEATURES))}")
        if not 0 <= share <= 1:
            raise PresetError(f"the share of a feature is between 0 and 1, not {share}")
    return [FEATURES[name] for name in FEATURES if generator.random() < shares.get(name, 0)]


class _Stream:
    """One random stream in the making: what its headers said, and its units so far."""

    def __init__(
        self, generator: random.Random, shape: Shape, defaults: Mapping[str, Any], presets: Mapping[str, Any],
        wild: bool, ends: float,
    ):  # fmt: skip
        self.generator, self.shape, self.ends = generator, shape, ends
        self.defaults, self.presets, self.wild = defaults, presets, wild
        self.known: dict[str, Any] = {}
        self.contexts: dict[str, Any] = {}
        self.units: list[Draft] = []
        self.place = motion_place()
        self.position: Any = None
        self.active: Generator | None = None

    def build(self) -> list[Draft]:
        self._header("sequence")
        self.known |= level_limits(spec.standard(), self.known["level"])
        self._header("avatar")
        headers = list(self.units)
        if self.shape.size:
            self._add("metadata", self._camera(self.shape.size))
        late = self._structural()
        for number in range(self.shape.units):
            self._generator(late)
            self._motion(self._is_key(number))
            self.units += [late.pop()] if late and self.generator.random() < 0.5 else []
        if self.shape.end:
            self._add("end", {"end_frame_count": max(self.place["next_frame"], 0)})
        self._sprinkle(headers)
        return self.units

    def _source(self, fixed: Mapping[str, Any]) -> Source:
        return chosen(self.generator, {**self.defaults, **fixed, **self.presets}, self.ends)

    def _header(self, kind: str) -> None:
        self.units.append(draft(kind, self._source({}), self.known, checksum=self._checksum()))

    def _add(
        self, kind: str, fixed: Mapping[str, Any], known: Mapping[str, Any] = MappingProxyType({})
    ) -> dict[str, Any]:
        """Appends a unit that needs the headers and what else is `known`; returns all values of its elements."""
        values = {**self.known, **known, **self.place}
        self.units.append(draft(kind, self._source(fixed), values, self.contexts, checksum=self._checksum()))
        return values

    def _checksum(self) -> bool:
        return self.generator.random() < self.shape.checksums

    def _structural(self) -> list[Draft]:
        """All chunks and then most expressions, in any order; what is returned comes only after some motion."""
        start = len(self.units)
        count = -(-self.known["gaussian_count"] // self.known["chunk_size"])
        sent = count if self.shape.chunks is None else min(count, self.shape.chunks)
        received = [self._add("canonical", {**self._placed(), "chunk_index": chunk}) for chunk in range(sent)]
        chunks = self.units[start:]
        self.generator.shuffle(chunks)
        self.units[start:] = chunks
        start = len(self.units)
        complete = sent == count
        expressions = self.known["expression_count"] if complete else 0
        if expressions or (complete and self._is_generative()):
            self._surface(received)
        for expression in range(expressions):
            if self.generator.random() >= self.shape.missing:
                self._add("expression", {"expression_index": expression})
        together = len(chunks) + len(self.units) - start
        pieces = self.units[start:] or self.units[-1:]
        self.generator.shuffle(pieces)
        late = int(together > 1 and self.generator.random() < self.shape.late)
        self.units[len(self.units) - len(pieces) :] = pieces[late:]
        return pieces[:late]

    def _surface(self, chunks: Sequence[Mapping[str, Any]]) -> None:
        """§7.4 The positions and neighbours of all Gaussians, from the values of all canonical units."""
        canonical = Canonical.empty(Executed(), self.known)
        for values in chunks:
            canonical.add_chunk(Executed(), values)
        self.position = canonical.position
        self.known["surface_neighbour"] = canonical.neighbours(Executed(), self.known)

    def _is_generative(self) -> bool:
        return self.known["profile"] == spec.standard().constant_values["PROFILE_GENERATIVE"]

    def _generator(self, late: Sequence[Draft]) -> None:
        """§5.11 In most streams that may have one a generator before some motion; then sometimes an update of it."""
        rare = self.active is not None and self.generator.random() > self.shape.updates
        possible = self._is_generative() and self.position is not None
        if rare or not possible or any(piece.kind == "canonical" for piece in late):
            return
        active = self.active
        update = active is not None and self.generator.random() < 0.8
        fixed: dict[str, Any] = {"update_flag": int(update)}
        if active and update:
            fixed |= {"generator_id": active.identity, "update_number": active.updates + 1}
        else:
            fixed["head_flag"] = [self.generator.randint(0, 1) for _ in HEADS]
            fixed["head_flag"][self.generator.randrange(len(HEADS))] = 1
        known = known_before(active, update)
        values = self._add("generator", fixed, known)
        self.active = Generator.received(Executed(), values, self.position, active)

    def _placed(self) -> dict[str, Any]:
        """§7.3 Elements that place the Gaussians of a chunk within a metre and show them, whatever the steps."""
        if self.wild:
            return {}
        spread, known = max(1, 2**20 // self.known["position_step"]).bit_length(), self.known
        octaves, turns = 2**16 // known["scale_step"], 2**28 // known["gaussian_rotation_step"]
        return {
            "position_bits": min(spread, 21),
            "chunk_origin": -min(2**19 // known["position_step"], 2**20),
            "coarseness": between(0, 2),
            "scale_residual": between(-octaves // 4, octaves // 2),
            "rotation_residual": between(-turns, turns),
            "appearance_residual": between(
                -(1 << 12) // known["opacity_step"], (1 << 14) // known["opacity_step"]
            ),
            "sh_residual": between(-64, 64),
        }

    def _is_key(self, number: int) -> bool:
        if isinstance(self.shape.keys, int | float):
            return number == 0 or self.generator.random() < self.shape.keys
        return number == 0 or (number < len(self.shape.keys) and self.shape.keys[number] == 1)

    def _motion(self, key: bool) -> None:
        """§5.8 The next motion unit; before a key unit frames may be missing."""
        first = max(self.place["next_frame"], 0)
        if self.place["next_frame"] < 0 and self.shape.first_frame is not None:
            first = self.shape.first_frame
        elif key and self.generator.random() < self.shape.gaps:
            first += self.generator.randint(1, 9)
        fixed = {"key_flag": int(key), "first_frame": first}
        if not key:
            fixed["unit_order"] = self.place["next_order"]
        self.place = motion_place(self._add("motion", fixed))

    def _camera(self, size: int) -> dict[str, Any]:
        """A camera three metres before the origin that sees most of what the presets place around it."""
        near = between(-300000, 300000)
        return {
            "metadata_type": spec.standard().constant_values["METADATA_TYPE_CAMERA"],
            "camera_id": 0,
            "camera_width": size,
            "camera_height": size,
            "camera_rotation": between(-(1 << 26), 1 << 26),
            "camera_translation": [near(self.generator, -1 << 20, 1 << 20) for _ in range(2)] + [3 << 20],
            "camera_focal": between(256 * size, 512 * size),
            "camera_principal": between(96 * size, 160 * size),
        }

    def _sprinkle(self, headers: Sequence[Draft]) -> None:
        """§6.3 Puts in what changes nothing: metadata, repeated headers, and units that a decoder skips."""
        g, kinds = self.generator, spec.standard().constant_values
        texts = {"JOINT_NAME": "name_text", "EXPRESSION_NAME": "name_text", "DESCRIPTION": "description_text"}
        extra = [*headers, skipped("metadata", bytes([g.randint(6, 255)]) + g.randbytes(5))]
        read = units_of_profile(spec.standard(), self.known)
        listed = spec.standard().enumerations["unit_type"]
        unread = [number for number in range(32) if listed.get(number, ("",))[0] not in read]
        extra.append(skipped(g.choice(unread), g.randbytes(g.randint(0, 9)), checksum=True))
        extra.append(skipped(g.randint(1, 8), g.randbytes(9), layer=g.randint(1, 255)))
        for kind, element in texts.items():
            values = {
                "metadata_type": kinds[f"METADATA_TYPE_{kind}"],
                element: g.choice(("", "é", "left knee")).encode(),
            }
            extra.append(draft("metadata", chosen(g, {**values, **self.presets}), {}))
        for piece in extra:
            if g.random() < self.shape.extras:
                self.units.insert(g.randint(2, len(self.units)), piece)
