"""§7.3, §7.4 The structural layer of an avatar: canonical Gaussians and expression offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reference_decoder.engine import Array, Engine, int32_bytes


@dataclass
class Canonical:
    """§7.3, §7.4 The canonical Gaussians received so far; a Gaussian that is missing has opacity 0."""

    position: Array  # (N, 3) Q.20 m
    factor: Array  # (N, 3, 3) Q.24 m
    opacity: Array  # (N,) Q.14
    sh: Array  # (N, (degree+1)^2, 3) Q.12
    joint: Array  # (N, 8)
    weight: Array  # (N, 8) Q.16
    offsets: list[
        Array
    ]  # of each expression: (N, 3) Q.20 m (Executed), or moved Gaussians and offsets (Compiled)
    surface_neighbour: Array | None = None  # (N, 2), from the first expression on
    chunks: set[int] = field(default_factory=set)
    expressions: set[int] = field(default_factory=set)

    @classmethod
    def empty(cls, engine: Engine, avatar: Mapping[str, Any]) -> Canonical:
        """§7.3.1 Before any canonical unit; the counts have passed the limits of the level."""
        n, coefficients = avatar["gaussian_count"], (avatar["sh_degree"] + 1) ** 2
        return cls(
            position=engine.array((n, 3), np.int32),
            factor=engine.array((n, 3, 3), np.int32),
            opacity=engine.array((n,), np.int32),
            sh=engine.array((n, coefficients, 3), np.int16),
            joint=engine.array((n, 8), np.uint8),
            weight=engine.array((n, 8), np.int32),
            offsets=[engine.no_offsets(n) for _ in range(avatar["expression_count"])],
        )

    def copy(self, engine: Engine) -> Canonical:
        """An independent copy, so that frames handed out earlier keep what they were made from."""
        return Canonical(
            position=engine.copy(self.position),
            factor=engine.copy(self.factor),
            opacity=engine.copy(self.opacity),
            sh=engine.copy(self.sh),
            joint=engine.copy(self.joint),
            weight=engine.copy(self.weight),
            offsets=list(self.offsets),
            surface_neighbour=self.surface_neighbour,
            chunks=set(self.chunks),
            expressions=set(self.expressions),
        )

    def add_chunk(self, engine: Engine, v: Mapping[str, Any]) -> None:
        """§7.3 Decodes one canonical unit, whose elements are in `v`, into its place."""
        f, count, first = engine.functions, v["chunk_count"], v["chunk_index"] * v["chunk_size"]
        place = v["cell"], v["cell_level"], v["coarseness"], v["position_low"]
        origin = engine.take(v["chunk_origin"])
        f["decode_positions"](*place, origin, v["position_step"], count, first, self.position)
        shape = v["widened"], v["rotation_value"], v["scale_blur"], v["gaussian_rotation_step"]
        f["decode_factors"](*shape, count, first, self.factor)
        appearance = v["appearance_value"]
        f["decode_opacities"](appearance, v["opacity_step"], v["opacity_power"], count, first, self.opacity)
        colour = appearance, v["sh_residual"], v["coarseness"], v["sh_step"], v["sh_degree"]
        f["decode_colours"](*colour, count, first, self.sh)
        skin = v["skin_joint"], v["skin_weight"], v["influence_count"], v["skin_weight_bits"]
        f["decode_skin"](*skin, count, first, self.joint, self.weight)
        self.chunks.add(v["chunk_index"])

    def is_complete(self, avatar: Mapping[str, Any]) -> bool:
        """§6.7 Whether every chunk has been received, as expressions need."""
        return len(self.chunks) == -(-avatar["gaussian_count"] // avatar["chunk_size"])

    def neighbours(self, engine: Engine, avatar: Mapping[str, Any]) -> Array:
        """§7.4 The neighbours by which expressions are predicted; every chunk has been received."""
        if self.surface_neighbour is None:
            count = avatar["gaussian_count"]
            self.surface_neighbour = engine.array((count, 2), np.int32)
            engine.functions["find_surface"](self.position, count, self.surface_neighbour)
        return self.surface_neighbour

    def add_expression(self, engine: Engine, v: Mapping[str, Any]) -> None:
        """§7.4 Decodes one expression unit, whose elements are in `v`."""
        count, index = v["gaussian_count"], v["expression_index"]
        offset = engine.array((count, 3), np.int32)
        engine.functions["decode_expression"](v["offset_value"], v["expression_offset_step"], count, offset)
        self.offsets[index] = engine.keep_offsets(offset)
        self.expressions.add(index)

    def serialise(self, engine: Engine) -> Iterator[bytes]:
        """§7.8 The bytes of the stage `canonical`, array by array: all at once they may be a gigabyte."""
        arrays = (self.position, self.factor, self.opacity, self.sh, self.joint, self.weight)
        offsets = (engine.dense_offsets(offset, len(self.position)) for offset in self.offsets)
        yield from (int32_bytes(array) for array in arrays)
        yield from (int32_bytes(offset) for offset in offsets)
