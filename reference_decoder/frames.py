"""§7 What a decoder obtains: the avatar, and for each frame its stages, computed when they are asked for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from reference_decoder.canonical import Canonical
from reference_decoder.engine import Array, Engine, int32_bytes
from reference_decoder.rendering import Camera

DIGEST_BYTES = 16


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
        return b"".join(self._stage_parts(stage, camera))

    def digest(self, stage: str, camera: Camera | None = None) -> bytes:
        """§7.8 The 16-byte digest of a stage."""
        digest = hashlib.sha256()
        for part in self._stage_parts(stage, camera):
            digest.update(part)
        return digest.digest()[:DIGEST_BYTES]

    def _stage_parts(self, stage: str, camera: Camera | None) -> Iterator[bytes]:
        if stage in ("projected", "pixels"):
            if camera is None:
                raise ValueError(f"the stage {stage} needs a camera")
            projected = self.projected(camera)
            picture = stage == "pixels"
            yield self.engine.render(projected, camera).tobytes() if picture else int32_bytes(projected)
        elif stage == "canonical":
            yield from self.canonical.serialise(self.engine)
        elif stage == "gaussians":
            parts = [np.asarray(part).reshape(len(part), -1) for part in self.gaussians]
            yield int32_bytes(np.concatenate(parts, axis=1))
        else:
            yield int32_bytes({"symbols": self.symbols, "pose": self.pose, "joints": self.joints}[stage])
