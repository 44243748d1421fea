"""§7 What a decoder obtains: the avatar, and for each frame its stages, computed when they are asked for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from reference_decoder.engine import Array, Engine, flatten
from reference_decoder.rendering import Camera

DIGEST_BYTES = 16


@dataclass
class Canonical:
    """§7.3, §7.4 The canonical Gaussians received so far; a Gaussian that is missing has opacity 0."""

    position: Array  # (N, 3) Q.20 m
    factor: Array  # (N, 3, 3) Q.24 m
    opacity: Array  # (N,) Q.14
    sh: Array  # (N, (degree+1)^2, 3) Q.12
    joint: Array  # (N, 8)
    weight: Array  # (N, 8) Q.16
    offsets: list[Array]  # of each expression: (N, 3) Q.20 m (Executed), or moved Gaussians and offsets (Compiled)
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
        arrays = (self.position, self.factor, self.opacity, self.sh, self.joint, self.weight)
        return Canonical(*map(engine.copy, arrays), list(self.offsets), set(self.chunks), set(self.expressions))


@dataclass(frozen=True)
class Frame:
    """§7.1 One frame. Every stage is computed on first use; `digest` hashes any of them."""

    index: int
    time: Fraction  # seconds
    random_access: bool
    engine: Engine
    avatar: Mapping[str, Any]
    canonical: Canonical
    symbols: Array
    pose: Array

    @functools.cached_property
    def joints(self) -> Array:
        """§7.6 (J, 12) rest-to-world matrices: rotation Q.30 row by row, translation Q.20 m."""
        count = self.avatar["joint_count"]
        matrices = self.engine.array((count, 12), np.int64)
        rest, place = self.engine.array((3 * count,), np.int64), self.engine.array((3 * count,), np.int64)
        self.engine.functions["decode_joints"](
            self.pose, self.avatar["joint_parent"], self.avatar["joint_offset"], count, rest, place, matrices
        )
        return matrices

    @functools.cached_property
    def gaussians(self) -> tuple[Array, Array, Array]:
        """§7.7 mean (N, 3) Q.20 m, factor (N, 9) Q.24 m, blend (N, 9) Q.30."""
        displaced = self.engine.displace(
            self.pose, self.canonical.offsets, self.avatar["joint_count"], len(self.canonical.position)
        )
        return self.engine.skin(self.joints, self.canonical, displaced)

    def projected(self, camera: Camera) -> Array:
        """§9.6 The projected list of this frame."""
        return self.engine.project(self.gaussians, self.canonical, camera)

    def render(self, camera: Camera) -> np.ndarray:
        """§9.9 The picture, (height, width, 4) bytes: red, green, blue, coverage."""
        return self.engine.render(self.projected(camera), camera)

    def stage_bytes(self, stage: str, camera: Camera | None = None) -> bytes:
        """§7.8 The canonical serialisation of a stage; `projected` and `pixels` need a camera."""
        if stage in ("projected", "pixels"):
            if camera is None:
                raise ValueError(f"the stage {stage} needs a camera")
            projected = self.projected(camera)
            return self.engine.render(projected, camera).tobytes() if stage == "pixels" else _int32(projected)
        if stage == "canonical":
            return canonical_bytes(self.engine, self.canonical)
        if stage == "gaussians":
            parts = [np.asarray(part).reshape(len(part), -1) for part in self.gaussians]
            return _int32(np.concatenate(parts, axis=1))
        return _int32({"symbols": self.symbols, "pose": self.pose, "joints": self.joints}[stage])

    def digest(self, stage: str, camera: Camera | None = None) -> bytes:
        """§7.8 The 16-byte digest of a stage."""
        return hashlib.sha256(self.stage_bytes(stage, camera)).digest()[:DIGEST_BYTES]


def canonical_bytes(engine: Engine, canonical: Canonical) -> bytes:
    """§7.8 The serialisation of the stage `canonical`."""
    c = canonical
    parts = [_int32(array) for array in (c.position, c.factor, c.opacity, c.sh, c.joint, c.weight)]
    return b"".join(parts + [_int32(engine.dense_offsets(o, len(c.position))) for o in c.offsets])


def _int32(values: Array) -> bytes:
    """§9.10 Integers as four bytes each, least significant first."""
    flat = flatten(values) if isinstance(values, list) else values
    return np.asarray(flat).astype("<i4").tobytes()
