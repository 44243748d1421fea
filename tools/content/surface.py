"""Evenly spread samples of a triangle mesh, and the flat Gaussians that make its surface solid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_matrix, diags
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

CANDIDATES = 6  # random points drawn for each one that is kept
# Samples that fit into an area A when no two are nearer than r, r being spacing() of the same A and count.
_PACKING = 0.552


@dataclass(frozen=True)
class Samples:
    """Points on a mesh: `points` = the mean of the three vertices `corners` weighted by `shares`."""

    points: np.ndarray  # (N, 3) metres
    normals: np.ndarray  # (N, 3) unit, smooth
    corners: np.ndarray  # (N, 3) vertex indices
    shares: np.ndarray  # (N, 3), each row sums to 1

    def take(self, kept: np.ndarray) -> Samples:
        """The samples that an index or mask picks."""
        return Samples(self.points[kept], self.normals[kept], self.corners[kept], self.shares[kept])

    def carry(self, values: np.ndarray) -> np.ndarray:
        """Values at the vertices (V, ...) -> at the samples (N, ...)."""
        return np.einsum("nk,nk...->n...", self.shares, values[self.corners])


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3): the sum of the faces around each vertex by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for corner in faces.T:
        np.add.at(normals, corner, across)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def smooth(
    vertices: np.ndarray, faces: np.ndarray, passes: int, held: np.ndarray | None = None
) -> np.ndarray:
    """Vertices moved `passes` times halfway to the mean of their neighbours, those `held` left alone."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), (len(vertices),) * 2).tocsr()
    links.data[:] = 1.0
    mean = diags(1 / np.maximum(links.sum(axis=1).A1, 1)) @ links
    step = 0.5 if held is None else np.where(held, 0.0, 0.5)[:, None]
    for _ in range(passes):
        vertices = vertices + step * (mean @ vertices - vertices)
    return vertices


def areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The area (T,) of each triangle."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def scatter(vertices: np.ndarray, faces: np.ndarray, count: int, rng: np.random.Generator) -> Samples:
    """`count` points drawn by area: one from each of `count` equal shares of the surface."""
    ends = np.cumsum(areas(vertices, faces))
    places = (np.arange(count) + rng.random(count)) / count * ends[-1]
    corners = faces[np.searchsorted(ends, places, side="right").clip(max=len(faces) - 1)]
    root, along = np.sqrt(rng.random(count)), rng.random(count)
    shares = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    normals = np.einsum("nk,nka->na", shares, vertex_normals(vertices, faces)[corners])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return Samples(np.einsum("nk,nka->na", shares, vertices[corners]), normals, corners, shares)


def spacing(area: float, count: float) -> float:
    """The least distance to keep so that about `count` samples fill an area."""
    return float(np.sqrt(_PACKING * area / max(count, 1)))


def spread(points: np.ndarray, distance: float, rng: np.random.Generator) -> np.ndarray:
    """Indices of points no two of which are nearer than `distance`, and none more can be added.

    Points get a random rank; whoever outranks all undecided neighbours is kept and rules them out, until
    all are decided. The result is that of throwing darts in the order of the ranks.
    """
    pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
    rank = rng.permutation(len(points))
    kept = np.zeros(len(points), dtype=bool)
    open_ = np.ones(len(points), dtype=bool)
    while open_.any():
        best = np.full(len(points), len(points))
        np.minimum.at(best, pairs[:, 0], rank[pairs[:, 1]])
        np.minimum.at(best, pairs[:, 1], rank[pairs[:, 0]])
        chosen = open_ & (rank < best)
        kept |= chosen
        out = chosen.copy()
        out[pairs[chosen[pairs[:, 0]], 1]] = True
        out[pairs[chosen[pairs[:, 1]], 0]] = True
        open_ &= ~out
        pairs = pairs[open_[pairs].all(axis=1)]
    return np.flatnonzero(kept)


def relax(points: np.ndarray, kept: np.ndarray, passes: int = 3) -> np.ndarray:
    """Indices of points as even as Lloyd's method makes those `kept`.

    Each pass moves a kept point to the middle of the points that are nearest to it, and from there to the
    nearest point there is, unless another is there already: the number of kept points stays.
    """
    tree = cKDTree(points)
    for _ in range(passes):
        owner = cKDTree(points[kept]).query(points)[1]
        middle = np.stack([np.bincount(owner, axis, len(kept)) for axis in points.T], axis=1)
        count = np.bincount(owner, minlength=len(kept))
        target = tree.query(middle / count[:, None])[1]
        alone = np.zeros(len(kept), dtype=bool)
        alone[np.unique(target, return_index=True)[1]] = True
        kept = np.where(alone & ~np.isin(target, kept), target, kept)
    return kept


def gap(points: np.ndarray, neighbours: int = 6) -> np.ndarray:
    """The mean distance (N,) of each point to its nearest `neighbours`."""
    count = min(neighbours + 1, len(points))
    return cKDTree(points).query(points, k=np.arange(1, count + 1))[0][:, 1:].mean(axis=1)


def frames(normals: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Quaternions (N, 4), w first, of axes whose third is the normal and whose first is nearest to `along`."""
    first = along - np.einsum("na,na->n", along, normals)[:, None] * normals
    short = np.linalg.norm(first, axis=1) < 1e-6
    first[short] = np.cross(normals[short], [0.6, 0.0, 0.8])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    axes = np.stack([first, np.cross(normals, first), normals], axis=2)
    return Rotation.from_matrix(axes).as_quat(canonical=True, scalar_first=True)


def noise(points: np.ndarray, size: float, seed: int = 0) -> np.ndarray:
    """Smooth noise (N,) in [-1, 1] that varies over `size` metres: a random lattice, interpolated."""
    lattice = np.random.default_rng(seed).uniform(-1, 1, (32, 32, 32))
    cell = np.floor(points / size).astype(np.int64)
    part = points / size - cell
    part = part * part * (3 - 2 * part)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        total += weight * lattice[tuple(((cell + corner) % 32).T)]
    return total


def step(low: ArrayLike, high: ArrayLike, values: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a cubic between; with low > high it falls instead."""
    t = np.clip((values - low) / np.subtract(high, low), 0, 1)
    return t * t * (3 - 2 * t)
