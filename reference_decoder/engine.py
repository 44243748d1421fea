"""§4.6 Two ways to run the document: compiled, for speed, and executed, as the proof.

The decoder is written once against this interface. `Compiled` runs the document's functions as machine
code on NumPy arrays; `Executed` runs them as text, on lists of unbounded integers, every range checked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

import spec
from reference_decoder import jit
from reference_decoder.network import network_class
from reference_decoder.payload import FastReadPort
from reference_decoder.rendering import Camera, Projected, project, rasterise
from reference_decoder.skinning import displacement, offset, skin
from spec.bits import BitReader
from spec.ports import Observer, ReadPort, Values

Array = Any  # a NumPy integer array (Compiled) or nested lists (Executed)


class Engine(Protocol):
    """What the decoder needs: the document's functions, arrays, a reader of units, loops over Gaussians."""

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """The document's functions by name."""

    def array(self, shape: tuple[int, ...], dtype: type) -> Array:
        """An array of zeros."""

    def take(self, values: Any) -> Array:
        """Values that the walk of a header left, as an array of this engine."""

    def copy(self, array: Array) -> Array:
        """An independent copy."""

    def read_port(
        self, values: Values, reader: BitReader, contexts: dict[str, Any], observer: Observer | None
    ) -> ReadPort:
        """A port that reads one unit."""

    def no_offsets(self, gaussian_count: int) -> Array:
        """§7.4 The offsets of an expression that has not been received."""

    def keep_offsets(self, offsets: Array) -> Array:
        """§7.4 Decoded (N, 3) offsets in the form that `displace` takes."""

    def dense_offsets(self, offsets: Array, gaussian_count: int) -> Array:
        """§7.4 The (N, 3) offsets again."""

    def displace(self, pose: Array, offsets: list[Array], joint_count: int, gaussian_count: int) -> Array:
        """§7.7.1 What expressions add to each position."""

    def skin(
        self, matrices: Array, canonical: Any, displaced: Array, factor: Array
    ) -> tuple[Array, Array, Array]:
        """§7.7.2 mean, factor and blend of every Gaussian, from its shape factor before skinning."""

    def maps(self, generator: Any, inputs: Array, pose_vector: Array) -> Array:
        """§7.9.8 The maps that a generator makes of its input maps and the pose vector."""

    def offset(
        self, generator: Any, maps: Array, canonical: Any, displaced: Array
    ) -> tuple[Array, Array, Array, Array]:
        """§7.9.9 displacement, shape factor, opacity and colour of every Gaussian, offset by the maps."""

    def project(
        self, gaussians: tuple[Array, Array, Array], appearance: tuple[Array, Array], camera: Camera
    ) -> Array:
        """§9.6 The projected list; appearance: opacities and spherical harmonics."""

    def render(self, projected: Array, camera: Camera) -> np.ndarray:
        """§9.9 The picture, (height, width, 4) bytes."""


class Compiled:
    """§4.6 The document compiled by Numba, with kernels where clauses 7.7, 7.9 and 9 loop over Gaussians or texels.

    `network` says who computes the sums of products of a generator, the bits being the same: "numba", "torch", or
    "auto", which is torch where it is installed.
    """

    network = "numba"

    def __init__(self, network: str = "numba"):
        self.network = network

    @functools.cached_property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        return {name: jit.function(name) for name in spec.document().blocks}

    def array(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.zeros(shape, dtype)

    def take(self, values: Any) -> np.ndarray:
        return np.array(values, np.int64)

    def copy(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def read_port(
        self, values: Values, reader: BitReader, contexts: dict[str, Any], observer: Observer | None
    ) -> ReadPort:
        if observer is not None:
            return ReadPort(spec.standard(), values, reader, spec.document().unchecked, contexts, observer)
        return FastReadPort(spec.standard(), values, reader, self.functions, contexts)

    def no_offsets(self, gaussian_count: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(0, np.int32), np.zeros((0, 3), np.int32)

    def keep_offsets(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y, z = offsets.T  # many times as fast as any(axis=1)
        moved = np.flatnonzero(x | y | z).astype(np.int32)
        return moved, offsets[moved]

    def dense_offsets(self, offsets: tuple[np.ndarray, np.ndarray], gaussian_count: int) -> np.ndarray:
        dense = np.zeros((gaussian_count, 3), np.int32)
        dense[offsets[0]] = offsets[1]
        return dense

    def displace(
        self,
        pose: np.ndarray,
        offsets: list[tuple[np.ndarray, np.ndarray]],
        joint_count: int,
        gaussian_count: int,
    ) -> np.ndarray:
        return displacement(pose[3 + 3 * joint_count :], offsets, gaussian_count)

    def skin(
        self, matrices: np.ndarray, canonical: Any, displaced: np.ndarray, factor: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        c = canonical
        return skin(matrices, c.joint, c.weight, c.position, displaced, factor)

    def maps(self, generator: Any, inputs: np.ndarray, pose_vector: np.ndarray) -> np.ndarray:
        if self.network not in generator.prepared:
            network = network_class(self.network)
            generator.prepared[self.network] = network(generator.topology, generator.parameters)
        return generator.prepared[self.network].maps(inputs, pose_vector)

    def offset(
        self, generator: Any, maps: np.ndarray, canonical: Any, displaced: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return offset(generator.place_arguments(maps), displaced, canonical)

    def project(
        self,
        gaussians: tuple[np.ndarray, np.ndarray, np.ndarray],
        appearance: tuple[np.ndarray, np.ndarray],
        camera: Camera,
    ) -> np.ndarray:
        return project(*gaussians, *appearance, camera).records

    def render(self, projected: np.ndarray, camera: Camera) -> np.ndarray:
        return rasterise(Projected(projected), camera)


class Executed:
    """§4.6 The text of the standard itself, slow, with every declared range checked."""

    @functools.cached_property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        return spec.document().functions

    def array(self, shape: tuple[int, ...], dtype: type) -> Array:
        if len(shape) == 1:
            return [0] * shape[0]
        return [self.array(shape[1:], dtype) for _ in range(shape[0])]

    def take(self, values: Any) -> Array:
        return values

    def copy(self, array: Array) -> Array:
        return [self.copy(item) if isinstance(item, list) else item for item in array]

    def read_port(
        self, values: Values, reader: BitReader, contexts: dict[str, Any], observer: Observer | None
    ) -> ReadPort:
        return ReadPort(spec.standard(), values, reader, self.functions, contexts, observer)

    def no_offsets(self, gaussian_count: int) -> Array:
        return self.array((gaussian_count, 3), int)

    def keep_offsets(self, offsets: Array) -> Array:
        return offsets

    def dense_offsets(self, offsets: Array, gaussian_count: int) -> Array:
        return offsets

    def displace(self, pose: Array, offsets: list[Array], joint_count: int, gaussian_count: int) -> Array:
        one = self.functions["displace"]
        return [
            [one(pose, offsets, joint_count, len(offsets), i, c) for c in range(3)]
            for i in range(gaussian_count)
        ]

    def skin(
        self, matrices: Array, canonical: Any, displaced: Array, factor: Array
    ) -> tuple[Array, Array, Array]:
        c, count = canonical, len(canonical.position)
        mean, skinned, blend = (
            self.array((count, 3), int),
            self.array((count, 9), int),
            self.array((count, 9), int),
        )
        for i in range(count):
            self.functions["skin_gaussian"](
                i, matrices, c.joint, c.weight, c.position, displaced, factor, mean, skinned, blend
            )
        return mean, skinned, blend

    def maps(self, generator: Any, inputs: Array, pose_vector: Array) -> Array:
        maps = self.array((generator.map_entries,), int)
        self.functions["generate_maps"](*generator.network_arguments(inputs, pose_vector, maps))
        return maps

    def offset(
        self, generator: Any, maps: Array, canonical: Any, displaced: Array
    ) -> tuple[Array, Array, Array, Array]:
        c, n = canonical, len(canonical.position)
        moved = (
            self.array((n, 3), int),
            self.array((n, 3, 3), int),
            self.array((n,), int),
            self.array((n, 3), int),
        )
        before = displaced, c.factor, c.opacity, c.sh
        for i in range(n):
            self.functions["offset_gaussian"](i, *generator.place_arguments(maps), *before, *moved)
        return moved

    def project(
        self, gaussians: tuple[Array, Array, Array], appearance: tuple[Array, Array], camera: Camera
    ) -> Array:
        mean, factor, blend = (flatten(array) for array in gaussians)
        opacity, sh = appearance
        degree = round(len(sh[0]) ** 0.5) - 1
        return self.functions["projected_list"](
            mean, factor, blend, opacity, flatten(sh), degree, [int(v) for v in camera.array()]
        )

    def render(self, projected: Array, camera: Camera) -> np.ndarray:
        image = self.functions["render"](projected, [int(v) for v in camera.array()])
        return np.array(image, np.uint8).reshape(camera.height, camera.width, 4)


def flatten(array: Array) -> list[int]:
    """The integers of nested lists, row-major."""
    if not array or not isinstance(array[0], list):
        return list(array)
    return [value for item in array for value in flatten(item)]


def int32_bytes(values: Array) -> bytes:
    """§9.10 Integers as four bytes each, least significant first."""
    flat = flatten(values) if isinstance(values, list) else values
    return np.asarray(flat).astype("<i4").tobytes()
