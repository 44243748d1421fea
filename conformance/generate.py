"""§5.1 Random valid streams: the writer of the one walk, with a random source."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import spec
from reference_decoder.units import level_limits
from reference_encoder.units import unit_from_source
from spec.ports import chosen

SMALL: dict[str, Any] = {
    "version": 1,
    "level": 1,
    "joint_count": lambda g, low, high: g.randint(1, 6),
    "joint_offset": lambda g, low, high: g.randint(-300000, 300000),
    "gaussian_count": lambda g, low, high: g.randint(1, 40),
    "chunk_size": lambda g, low, high: g.randint(8, 40),
    "expression_count": lambda g, low, high: g.randint(0, 3),
    "frame_count": lambda g, low, high: g.randint(0, 3),
    "position_step": lambda g, low, high: g.randint(200, 4000),
    "scale_step": lambda g, low, high: g.randint(2000, 8000),
    "scale_residual": lambda g, low, high: g.randint(0, 400) if g.random() < 0.1 else g.randint(-8, 8),
    "position_residual": lambda g, low, high: g.randint(-400, 400),
    "opacity_step": lambda g, low, high: g.randint(100, 2000),
    "opacity_residual": lambda g, low, high: g.randint(-8, 30),
}
"""Presets that keep random streams small and most of their Gaussians visible."""


def generate(seed: int, presets: Mapping[str, Any] | None = None, *, units: int = 3, size: int = 48) -> bytes:
    """§5.1 A valid stream of a few Gaussians and `units` motion units with a camera, decided by `seed` alone.

    `presets` fixes elements by name (a value, or a function of (random, low, high)).
    """
    generator = random.Random(seed)
    source = chosen(generator, {**SMALL, **(presets or {})})
    known: dict[str, Any] = {}
    stream = [unit_from_source("sequence", source, known, checksum=generator.random() < 0.5)]
    known |= level_limits(spec.standard(), known["level"])
    stream.append(unit_from_source("avatar", source, known, checksum=generator.random() < 0.5))
    chunks = -(-known["gaussian_count"] // known["chunk_size"])
    for chunk in generator.sample(range(chunks), chunks):
        stream.append(_fixed("canonical", {"chunk_index": chunk}, generator, presets, known))
    for expression in range(known["expression_count"]):
        stream.append(_fixed("expression", {"expression_index": expression}, generator, presets, known))
    stream.append(_camera(generator, size, presets))
    contexts: dict[str, Any] = {}
    next_frame = 0
    for number in range(units):
        fixed = {"key_flag": int(number == 0 or generator.random() < 0.3), "first_frame": next_frame}
        known["next_frame"] = next_frame if number else -1
        stream.append(_fixed("motion", fixed, generator, presets, known, contexts))
        next_frame += known["frame_count"] + 1
    known["end_frame_count"] = next_frame
    stream.append(_fixed("end", {"end_frame_count": next_frame}, generator, presets, known))
    return b"".join(stream)


def _fixed(
    kind: str,
    fixed: Mapping[str, Any],
    generator: random.Random,
    presets: Mapping[str, Any] | None,
    known: dict[str, Any],
    contexts: dict[str, Any] | None = None,
) -> bytes:
    source = chosen(generator, {**SMALL, **(presets or {}), **fixed})
    header_names = {element.name for element in spec.standard().elements("avatar_header")}
    scope = {
        name: value
        for name, value in known.items()
        if name in header_names or name.startswith(("max_", "next_"))
    }
    scope |= {name: known[name] for name in ("expression_weight_step", "expression_offset_step")}
    data = unit_from_source(kind, source, scope, contexts, checksum=generator.random() < 0.3)
    known["frame_count"] = scope.get("frame_count", 0)
    return data


def _camera(generator: random.Random, size: int, presets: Mapping[str, Any] | None) -> bytes:
    """A camera a few metres before the origin that sees most of what the presets place around it."""
    values = {
        "metadata_type": spec.standard().constant_values["METADATA_TYPE_CAMERA"],
        "camera_id": 0,
        "camera_width": size,
        "camera_height": size,
        "camera_rotation": lambda g, low, high: g.randint(-(1 << 26), 1 << 26),
        "camera_translation": [
            generator.randint(-300000, 300000),
            generator.randint(-300000, 300000),
            3 << 20,
        ],
        "camera_focal": lambda g, low, high: g.randint(128 * size, 512 * size),
        "camera_principal": lambda g, low, high: g.randint(64 * size, 192 * size),
    }
    return unit_from_source("metadata", chosen(generator, {**values, **(presets or {})}), {})
