"""Body meshes with their skeletons: MakeHuman and soma77 files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from reference_encoder.arrays import load_arrays, take, take_numbers
from reference_encoder.content import ContentError, Rig


@dataclass(frozen=True)
class BodyMesh:
    """A skinned triangle mesh in the rest pose of its rig: metres, y up, facing +z."""

    rig: Rig
    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (T, 3) int, outward by the right-hand rule
    skin_joints: np.ndarray  # (V, K) int
    skin_weights: np.ndarray  # (V, K) >= 0, each row sums to 1
    expression_names: tuple[str, ...] = ()
    expressions: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3)))  # (E, V, 3) at weight 1
    uvs: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))  # (U, 2), v up
    uv_faces: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))  # (T, 3) into uvs
    shapes: tuple[str, ...] = ()  # the body shapes that the file holds; `load_rig` takes one

    @property
    def count(self) -> int:
        return len(self.vertices)


def load_rig(
    path: str | Path, *, shape: str | None = None, arkit: str | Path | None = None, influences: int = 8
) -> BodyMesh:
    """A body mesh from an .npz file of MakeHuman's 53-joint body or of soma77.

    Both stand with their soles at y = 0 in an A-pose: `retarget.t_pose` brings them to the T-pose.
    `shape` picks one of a MakeHuman file's body shapes (its first by default); `arkit` names a file
    of ARKit and viseme targets for the same mesh, which then replace MakeHuman's own expression
    units. The `influences` strongest weights of each vertex are kept and made to sum to 1.
    Raises ContentError with the file and what is wrong in it.
    """
    path = Path(path)
    data = load_arrays(path)
    targets = None if arkit is None else load_arrays(arkit)
    try:
        mesh = _read(data, targets, path.name, shape)
        joints, weights = strongest(mesh.skin_joints, mesh.skin_weights, influences)
        mesh = replace(mesh, skin_joints=joints, skin_weights=weights)
        check_mesh(mesh, path.name)
    except (ValueError, IndexError, TypeError) as error:  # an array of another shape than it should have
        raise ContentError(f"{path.name}: its arrays do not fit together: {error}") from error
    return mesh


def _read(
    data: dict[str, np.ndarray], targets: dict[str, np.ndarray] | None, where: str, shape: str | None
) -> BodyMesh:
    if "bind_rig_transform" in data:
        if shape is not None or targets is not None:
            raise ContentError(f"{where}: a soma77 file has no body shapes and no ARKit targets")
        return _soma(data, where)
    if "lbs_indices" not in data or "joint_names" not in data:
        raise ContentError(f"{where}: neither a MakeHuman body nor a soma77 skin")
    mesh = _makehuman(data, where, shape)
    return mesh if targets is None else _with_targets(mesh, targets, "arkit", where)


def strongest(joints: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest of each row's weights (N, K), largest first, scaled to sum to 1."""
    if np.ndim(weights) != 2 or np.shape(joints) != np.shape(weights):
        raise ContentError(f"skin weights: {np.shape(joints)} joints for {np.shape(weights)} weights")
    order = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    kept = np.take_along_axis(np.asarray(weights, dtype=np.float64), order, axis=1)
    total = kept.sum(axis=1, keepdims=True)
    if not (total > 0).all():
        raise ContentError(f"skin weights: vertex {int(np.argmin(total))} hangs on no joint")
    return np.take_along_axis(np.asarray(joints, dtype=np.int64), order, axis=1), kept / total


def check_mesh(mesh: BodyMesh, where: str) -> None:
    """Raise ContentError unless the tree is ordered, every index is in range and all is finite."""
    rig, vertices = mesh.rig, mesh.count
    if not rig.count == len(rig.names) == len(rig.joints) or rig.count == 0:
        raise ContentError(f"{where}: {len(rig.names)} names, {rig.count} parents, {len(rig.joints)} joints")
    wrong = [j for j, p in enumerate(rig.parents) if not (p == -1 if j == 0 else 0 <= p < j)]
    if wrong:
        raise ContentError(f"{where}: joint {rig.names[wrong[0]]} has parent {rig.parents[wrong[0]]}")
    if mesh.vertices.shape != (vertices, 3) or rig.joints.shape != (rig.count, 3):
        raise ContentError(f"{where}: vertices {mesh.vertices.shape} or joints {rig.joints.shape} not 3D")
    if len(mesh.skin_joints) != vertices or mesh.expressions.shape[1] not in (0, vertices):
        raise ContentError(f"{where}: skin weights or expressions are not for its {vertices} vertices")
    for name, indices, limit in (
        ("skin joint", mesh.skin_joints, rig.count),
        ("face", mesh.faces, vertices),
        ("uv face", mesh.uv_faces, len(mesh.uvs)),
    ):
        if indices.size and not (indices.min() >= 0 and indices.max() < limit):
            raise ContentError(f"{where}: a {name} index is outside [0, {limit})")
    arrays = (mesh.vertices, rig.joints, mesh.skin_weights, mesh.expressions, mesh.uvs)
    if not all(np.isfinite(array).all() for array in arrays):
        raise ContentError(f"{where}: a number is not finite")
    if (mesh.skin_weights < 0).any():
        raise ContentError(f"{where}: a skin weight is negative")


def _makehuman(data: dict[str, np.ndarray], where: str, shape: str | None) -> BodyMesh:
    shapes = tuple(key[2:] for key in data if f"joints_{key[2:]}" in data)
    shape = shape or (shapes[0] if shapes else "male")
    if shape not in shapes:
        raise ContentError(f"{where}: no body shape {shape!r}, only {', '.join(shapes) or 'none'}")
    names = tuple(str(name) for name in data["joint_names"])
    parents = take(data, "parents", where).astype(np.int64)
    mesh = BodyMesh(
        Rig(names, parents, take_numbers(data, f"joints_{shape}", where), "makehuman53"),
        vertices=take_numbers(data, f"v_{shape}", where),
        faces=_triangles(take(data, "quads", where)),
        skin_joints=data["lbs_indices"],
        skin_weights=take_numbers(data, "lbs_weights", where),
        uvs=take_numbers(data, "uv", where),
        uv_faces=_triangles(take(data, "uv_quads", where)),
        shapes=shapes,
    )
    return _with_targets(mesh, data, "mh_expr", where)


def _with_targets(mesh: BodyMesh, data: dict[str, np.ndarray], prefix: str, where: str) -> BodyMesh:
    """The mesh with the sparse targets that the arrays `prefix`_names, _ptr, _idx and _val hold."""
    names, ptr, idx, val = (take(data, f"{prefix}_{part}", where) for part in ("names", "ptr", "idx", "val"))
    if len(ptr) != len(names) + 1 or len(idx) != len(val) or not (idx.size == 0 or idx.min() >= 0):
        raise ContentError(f"{where}: the {prefix} arrays do not fit together")
    dense = np.zeros((len(names), mesh.count, 3))
    for target, (start, end) in enumerate(pairwise(ptr)):
        # MakeHuman's mesh also has helper geometry after the body, which the targets move too.
        body = idx[start:end] < mesh.count
        dense[target, idx[start:end][body]] = val[start:end][body]
    return replace(mesh, expression_names=tuple(str(name) for name in names), expressions=dense)


def _triangles(quads: np.ndarray) -> np.ndarray:
    """Quads (Q, 4) -> triangles (2Q, 3), the two halves of a quad side by side."""
    return quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3).astype(np.int64)


def _soma(data: dict[str, np.ndarray], where: str) -> BodyMesh:
    names = tuple(str(name) for name in take(data, "rig_joint_names", where))
    parents = np.full(len(names), -1, dtype=np.int64)
    parent, child = take(data, "rig_joint_connections", where).T
    parents[child] = parent
    vertices = take_numbers(data, "bind_vertices", where)
    return BodyMesh(
        # Only the joints' places count: frames of this package are world-aligned at rest.
        Rig(names, parents, take_numbers(data, "bind_rig_transform", where)[:, :3, 3]),
        vertices=vertices,
        faces=take(data, "faces", where).astype(np.int64),
        skin_joints=take(data, "lbs_indices", where),
        skin_weights=take_numbers(data, "lbs_weights", where),
    )
