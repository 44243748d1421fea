"""§1 Arrays and joint trees out of binary glTF, for the content that comes as skinned meshes."""

from __future__ import annotations

import struct

import numpy as np
from pygltflib import GLTF2, Accessor, Skin

from reference_encoder.content import ContentError

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A binary glTF file with its buffer; `where` opens each message."""

    def __init__(self, where: str, data: bytes) -> None:
        """Parses the bytes of a .glb. Raises ContentError."""
        self.where = where
        try:
            self.gltf = GLTF2.load_from_bytes(data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise ContentError(f"{where}: not a readable GLB file ({error})") from None
        if self.gltf is None or self.gltf.binary_blob() is None:
            raise ContentError(f"{where}: not a GLB file with a binary chunk")
        self._blob = self.gltf.binary_blob()

    def _view(self, view: int, offset: int, count: int, kind: str, width: int) -> np.ndarray:
        """`count` rows of `width` components in a buffer view, as stored."""
        entry = self.gltf.bufferViews[view]
        dtype = np.dtype(kind)
        stride = entry.byteStride or dtype.itemsize * width
        start = (entry.byteOffset or 0) + offset
        return np.ndarray((count, width), dtype, self._blob, start, (stride, dtype.itemsize))

    def _dense(self, accessor: Accessor) -> np.ndarray:
        kind, width = COMPONENTS[accessor.componentType], WIDTHS[accessor.type]
        rows = np.zeros((accessor.count, width), kind)
        if accessor.bufferView is not None:
            rows[:] = self._view(accessor.bufferView, accessor.byteOffset or 0, accessor.count, kind, width)
        if accessor.sparse is not None:
            sparse, where = accessor.sparse, accessor.sparse.indices
            index = self._view(
                where.bufferView, where.byteOffset or 0, sparse.count, COMPONENTS[where.componentType], 1
            )
            rows[index[:, 0]] = self._view(
                sparse.values.bufferView, sparse.values.byteOffset or 0, sparse.count, kind, width
            )
        return rows

    def array(self, index: int) -> np.ndarray:
        """An accessor as (count, width): float64 where float or normalised, else int64; sparse ones filled.

        Raises ContentError.
        """
        try:
            accessor = self.gltf.accessors[index]
            if accessor.count > len(self._blob):  # sparse accessors have no data to measure against
                raise ValueError("more rows than bytes")
            rows = self._dense(accessor)
        except (LookupError, TypeError, ValueError, AttributeError, MemoryError) as error:
            raise ContentError(f"{self.where}: accessor {index} is damaged ({error})") from None
        if rows.dtype.kind == "f":
            return rows.astype(np.float64)
        if accessor.normalized:
            return np.maximum(rows / np.iinfo(rows.dtype).max, -1.0)
        return rows.astype(np.int64)

    def joint_parents(self, skin: Skin) -> list[int]:
        """For each joint of a skin the index of its nearest ancestor among the joints, -1 for none."""
        above = {child: node for node, entry in enumerate(self.gltf.nodes) for child in entry.children or []}
        slot = {node: joint for joint, node in enumerate(skin.joints)}
        parents = []
        for joint, node in enumerate(skin.joints):
            line = []
            while (node := above.get(node, -1)) >= 0:
                line.append(node)
                if len(line) > len(above):
                    raise ContentError(f"{self.where}: the nodes above joint {joint} form a cycle")
            parents.append(next((slot[ancestor] for ancestor in line if ancestor in slot), -1))
        return parents

    def bind_positions(self, skin: Skin) -> np.ndarray:
        """Origins (J, 3) of the joints in the space of the mesh, from the inverse bind matrices."""
        if skin.inverseBindMatrices is None:
            raise ContentError(f"{self.where}: the skin has no inverse bind matrices")
        # glTF stores matrices by columns.
        columns = self.array(skin.inverseBindMatrices)
        if columns.shape[1] != 16:
            raise ContentError(f"{self.where}: the inverse bind matrices are not 4x4")
        matrices = columns.reshape(-1, 4, 4).transpose(0, 2, 1)
        if len(matrices) < len(skin.joints):
            raise ContentError(f"{self.where}: {len(matrices)} bind matrices for {len(skin.joints)} joints")
        try:
            origins = np.linalg.inv(matrices[: len(skin.joints)])[:, :3, 3]
        except np.linalg.LinAlgError:
            raise ContentError(f"{self.where}: an inverse bind matrix is singular") from None
        bad = ~np.isfinite(origins).all(axis=1)
        if bad.any():
            raise ContentError(f"{self.where}: the inverse bind matrix of joint {bad.argmax()} is not finite")
        return origins
