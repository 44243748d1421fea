"""§7 What a decoder obtains: the avatar, and for each frame its stages, computed when they are asked for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

import spec
from reference_decoder.canonical import Canonical
from reference_decoder.engine import Array, Engine, int32_bytes
from reference_decoder.generator import Generator
from reference_decoder.rendering import Camera

DIGEST_BYTES = 16


def stages_in_order() -> list[str]:
    """§7.1 The stages in the order in which they depend on each other."""
    return [name for name, _ in spec.standard().enumerations["stage"].values()]


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
    generator: Generator | None = None

    @property
    def joints(self) -> Array:
        """§7.6 (J, 12) rest-to-world matrices: rotation Q.30 row by row, translation Q.20 m."""
        return self._joints["matrices"]

    @functools.cached_property
    def _joints(self) -> dict[str, Array]:
        """§7.6 `matrices` of the joints, `rest` and `place`: the positions of all joints one after the other."""
        count = self.avatar["joint_count"]
        matrices = self.engine.array((count, 12), np.int64)
        rest, place = self.engine.array((3 * count,), np.int64), self.engine.array((3 * count,), np.int64)
        self.engine.functions["decode_joints"](
            self.pose, self.avatar["joint_parent"], self.avatar["joint_offset"], count, rest, place, matrices
        )
        return {"matrices": matrices, "rest": rest, "place": place}

    @functools.cached_property
    def _displaced(self) -> Array:
        """§7.7.1 What expressions add to the positions."""
        canonical, joints = self.canonical, self.avatar["joint_count"]
        return self.engine.displace(self.pose, canonical.offsets, joints, len(canonical.position))

    @functools.cached_property
    def maps(self) -> Array:
        """§7.9 (2 K S S,) the maps of offsets of the front and the back; ValueError without a generator."""
        inputs, pose_vector = self.network_inputs
        return self.engine.maps(self.generator, inputs, pose_vector)

    @property
    def network_inputs(self) -> tuple[Array, Array]:
        """§7.9.5 (input maps, pose vector) of the frame; ValueError without a generator."""
        if self.generator is None:
            raise ValueError("no generator is active: there are no maps")
        canonical, engine = self.canonical, self.engine
        posed, _, _ = engine.skin(self.joints, canonical, self._displaced, canonical.factor)
        frame = {**self.avatar, **self._joints, "pose": self.pose, "position": canonical.position}
        return self.generator.inputs(engine, frame, posed)

    @functools.cached_property
    def _moved(self) -> tuple[Array, Array, Array, Array | None]:
        """§7.9.9 displacement, shape factor, opacity and colour before skinning; no colour without a generator."""
        canonical = self.canonical
        if self.generator is None:
            return self._displaced, canonical.factor, canonical.opacity, None
        return self.engine.offset(self.generator, self.maps, canonical, self._displaced)

    @functools.cached_property
    def gaussians(self) -> tuple[Array, Array, Array]:
        """§7.7 mean (N, 3) Q.20 m, factor (N, 9) Q.24 m, blend (N, 9) Q.30."""
        displaced, factor, _, _ = self._moved
        return self.engine.skin(self.joints, self.canonical, displaced, factor)

    @functools.cached_property
    def appearance(self) -> tuple[Array, Array]:
        """§7.9.9 opacity (N,) Q.14 and spherical harmonics (N, (degree+1)^2, 3) Q.12 of this frame."""
        _, _, opacity, colour = self._moved
        if colour is None:
            return opacity, self.canonical.sh
        sh = self.engine.copy(self.canonical.sh)
        for i in range(len(sh)) if isinstance(sh, list) else ():
            sh[i][0] = colour[i]
        if isinstance(sh, np.ndarray):
            sh[:, 0] = colour
        return opacity, sh

    @property
    def stages(self) -> tuple[str, ...]:
        """§7.1 The stages that the frame has, in their order; `projected` and `pixels` also need a camera."""
        return tuple(name for name in stages_in_order() if name != "maps" or self.generator is not None)

    def projected(self, camera: Camera) -> Array:
        """§9.6 The projected list of this frame."""
        return self.engine.project(self.gaussians, self.appearance, camera)

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
            yield _by_gaussian(self.gaussians)
            if self.generator is not None:
                yield _by_gaussian(self._moved[2:])
        elif stage == "maps":
            yield int32_bytes(self.maps)
        else:
            yield int32_bytes({"symbols": self.symbols, "pose": self.pose, "joints": self.joints}[stage])


def _by_gaussian(arrays: tuple[Array, ...]) -> bytes:
    """§7.8 The bytes of several arrays, Gaussian by Gaussian."""
    return int32_bytes(np.concatenate([np.asarray(part).reshape(len(part), -1) for part in arrays], axis=1))
