"""§9.2-§9.6 Projection: the skinned Gaussians of one frame as the sorted list of ellipses in the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

import spec
from reference_decoder import jit
from reference_decoder.threads import PARALLEL

_camera_view = jit.function("camera_view")
_project_gaussian = jit.function("project_gaussian")
_view_direction = jit.function("view_direction")
_sh_basis = jit.function("sh_basis")

_FIELDS = spec.document().constants["PROJECTED_FIELDS"]
_COLOUR_MAX = spec.document().constants["COLOUR_MAX_Q12"]
_BLOCK = 512  # Gaussians per task
_RADIX_BITS = 11


@dataclass(frozen=True)
class Camera:
    """§9 A camera in integers: p_camera = rotation @ p_world + translation; x right, y down, z forward."""

    rotation: np.ndarray  # (3, 3) Q.30
    translation: np.ndarray  # (3,) Q.20 m
    focal: tuple[int, int]  # Q.8 px
    principal: tuple[int, int]  # Q.8 px
    width: int
    height: int
    background: tuple[int, int, int] = (0, 0, 0)

    def array(self) -> np.ndarray:
        """§9 The 21 integers in the document's order."""
        values = [*np.ravel(self.rotation), *np.ravel(self.translation), *self.focal, *self.principal]
        return np.array([*values, self.width, self.height, *self.background], np.int64)

    @classmethod
    def look_at(
        cls,
        eye: np.ndarray,
        target: np.ndarray,
        width: int,
        height: int,
        field_of_view: float = 0.6,
        up: tuple[float, float, float] = (0.0, 1.0, 0.0),
        background: tuple[int, int, int] = (0, 0, 0),
    ) -> Camera:
        """Not normative: at `eye` looking at `target` (metres); `field_of_view` is across the height, radians."""
        forward = np.subtract(target, eye).astype(float)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, up)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        focal = round(128 * height / np.tan(field_of_view / 2))
        return cls(
            rotation=np.rint(rotation * (1 << 30)).astype(np.int64),
            translation=np.rint(-rotation @ np.asarray(eye, float) * (1 << 20)).astype(np.int64),
            focal=(focal, focal),
            principal=(128 * width, 128 * height),
            width=width,
            height=height,
            background=background,
        )


@dataclass(frozen=True)
class Projected:
    """§9.6 The projected list: one record per visible Gaussian in sorted order."""

    records: np.ndarray  # (M, 11) int32: index, depth, mean x y, l00 l01 l11, red green blue, opacity

    def serialise(self) -> bytes:
        """§9.10 The bytes that the stage hash of the projected list is taken over."""
        return self.records.astype("<i4").tobytes()


def project(
    mean: np.ndarray,
    factor: np.ndarray,
    blend: np.ndarray | None,
    opacity: np.ndarray,
    sh: np.ndarray,
    camera: Camera,
) -> Projected:
    """§9.6 The sorted visible Gaussians.

    mean (N, 3) Q.20 m, factor (N, 3, 3) Q.24 m, blend (N, 3, 3) Q.30 or None for the canonical pose,
    opacity (N,) Q.14, sh (N, (degree+1)^2, 3) Q.12; all integers within the ranges of clause 9.
    """
    return sort(project_records(mean, factor, blend, opacity, sh, camera))


def project_records(
    mean: np.ndarray,
    factor: np.ndarray,
    blend: np.ndarray | None,
    opacity: np.ndarray,
    sh: np.ndarray,
    camera: Camera,
) -> np.ndarray:
    """§9.4, §9.5 One record per Gaussian, (N, 11) int32 in input order; depth 0 where it is not visible."""
    count = len(mean)
    records = np.empty((count, _FIELDS), np.int32)
    if count == 0:
        return records
    degree = round(sh.shape[1] ** 0.5) - 1
    if blend is None:  # not read at degree 0
        blend = np.broadcast_to(np.eye(3, dtype=np.int32) << 30, (count if degree else 1, 3, 3))
    view = camera.array()
    with PARALLEL:
        _project_all(
            _flat(mean, np.int32), _flat(factor, np.int32), _flat(blend, np.int32),
            _flat(opacity, np.int32), _flat(sh, np.int16), degree, view, _camera_view(view), records,
        )  # fmt: skip
    return records


def _flat(values: np.ndarray, dtype: type) -> np.ndarray:
    return np.ascontiguousarray(values, dtype).ravel()


@njit(parallel=True, **jit.OPTIONS)
def _project_all(means, factors, blends, opacities, sh, degree, camera, view, records):
    count = len(opacities)
    for block in prange((count + _BLOCK - 1) // _BLOCK):
        basis = np.zeros(16, np.int64)
        for n in range(block * _BLOCK, min(count, (block + 1) * _BLOCK)):
            visible, depth, mean_x, mean_y, l00, l01, l11 = _project_gaussian(means, factors, n, camera, view)
            records[n, 1] = depth
            if visible:
                x = y = z = 0
                if degree > 0:
                    x, y, z = _view_direction(means, blends, n, view)
                _sh_basis(x, y, z, degree, basis)
                records[n, 0] = n
                records[n, 2] = mean_x
                records[n, 3] = mean_y
                records[n, 4] = l00
                records[n, 5] = l01
                records[n, 6] = l11
                _colour(basis, sh, n, degree, records)
                records[n, 10] = opacities[n]


@njit(inline="always")
def _colour(basis, sh, n, degree, records):
    """§9.5 `sh_colour` of all channels in one pass and with unsigned places: in half the time."""
    count = np.uint64((degree + 1) * (degree + 1))
    red = green = blue = np.int64(1 << 25)
    place = np.uint64(3) * count * np.uint64(n)
    for k in range(count):
        value = basis[k]
        red += value * sh[place]
        green += value * sh[place + np.uint64(1)]
        blue += value * sh[place + np.uint64(2)]
        place += np.uint64(3)
    records[n, 7] = max(0, min(_COLOUR_MAX, (red + 8192) >> 14))
    records[n, 8] = max(0, min(_COLOUR_MAX, (green + 8192) >> 14))
    records[n, 9] = max(0, min(_COLOUR_MAX, (blue + 8192) >> 14))


def sort(records: np.ndarray) -> Projected:
    """§9.6 The visible records by depth, equal depths in input order."""
    return Projected(_sorted_records(records))


@njit(**jit.OPTIONS)
def _sorted_records(records):
    """A stable radix sort of the visible rows by depth, least significant digit first."""
    depths = np.empty(len(records), np.int32)
    order = np.empty(len(records), np.int32)
    count = 0
    for n in range(len(records)):
        depths[count] = records[n, 1]
        order[count] = n
        count += records[n, 1] > 0
    order, depths = order[:count], depths[:count]
    other_order, other_depths = np.empty_like(order), np.empty_like(depths)
    nearest, farthest = np.int32(2147483647), np.int32(0)
    for depth in depths:
        nearest = min(nearest, depth)
        farthest = max(farthest, depth)
    shift = 0
    while shift < 32 and count > 0 and (farthest - nearest) >> shift > 0:
        starts = np.zeros((1 << _RADIX_BITS) + 1, np.int32)
        for depth in depths:
            starts[(((depth - nearest) >> shift) & ((1 << _RADIX_BITS) - 1)) + 1] += 1
        for digit in range(1 << _RADIX_BITS):
            starts[digit + 1] += starts[digit]
        for n in range(count):
            digit = ((depths[n] - nearest) >> shift) & ((1 << _RADIX_BITS) - 1)
            place = starts[digit]
            starts[digit] = place + 1
            other_order[place] = order[n]
            other_depths[place] = depths[n]
        order, other_order = other_order, order
        depths, other_depths = other_depths, depths
        shift += _RADIX_BITS
    result = np.empty((count, records.shape[1]), np.int32)
    for place in range(count):
        for field in range(records.shape[1]):
            result[place, field] = records[order[place], field]
    return result
