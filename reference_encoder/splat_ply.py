"""§1 Gaussians from and to PLY: the 3DGS layout, and PlayCanvas' packed `.compressed.ply`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from plyfile import PlyData, PlyElement, PlyParseError
from scipy.special import expit, logit

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.splat_check import (
    check_finite,
    checked_gaussians,
    read_bytes,
    rgb_to_sh0,
    smallest_three,
)

CHUNK = 256  # Gaussians that share one row of ranges in a .compressed.ply
OPACITY_MARGIN = 1e-6  # keeps the logit of a saturated opacity finite in float32


def read_ply(where: str, data: bytes) -> PlyData:
    """The parsed PLY, text or binary. Raises ContentError for what plyfile cannot parse, truncation too."""
    # plyfile maps a real file at once, but walks a stream in memory row by row: fifty times slower.
    with TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        try:
            return PlyData.read(file)
        except (PlyParseError, ValueError, TypeError, EOFError, MemoryError, OverflowError) as error:
            reason = " ".join(str(error).split())
            raise ContentError(f"{where}: not a readable PLY file ({reason})") from None


def columns(where: str, element: PlyElement, names: list[str]) -> np.ndarray:
    """The named properties as float64 (N, len(names)). Raises ContentError for a missing or list property."""
    present = {prop.name for prop in element.properties}
    for name in names:
        if name not in present:
            raise ContentError(f"{where}: element {element.name} has no property {name}")
    if any(element.data.dtype[name].hasobject for name in names):
        raise ContentError(f"{where}: element {element.name} has list properties among {names}")
    return np.stack([element.data[name].astype(np.float64) for name in names], axis=1)


def _sh_rest(where: str, element: PlyElement) -> np.ndarray:
    """The f_rest_* columns as (N, K, 3): the file has all K coefficients of red, then green, then blue."""
    count = sum(prop.name.startswith("f_rest_") for prop in element.properties)
    if count not in (0, 9, 24, 45):
        raise ContentError(f"{where}: {count} f_rest properties, expected 0, 9, 24 or 45")
    if count == 0:
        return np.zeros((element.count, 0, 3))
    rest = columns(where, element, [f"f_rest_{i}" for i in range(count)])
    return rest.reshape(-1, 3, count // 3).transpose(0, 2, 1)


def stored_columns(where: str, vertex: PlyElement) -> dict[str, np.ndarray]:
    """The columns of a 3DGS vertex element as stored: log scales, logit opacities, no NaN or infinity.

    Keys are the names used in messages; values are float64. Raises ContentError.
    """
    if vertex.count == 0:
        raise ContentError(f"{where}: holds no Gaussians")
    stored = {
        "position": columns(where, vertex, ["x", "y", "z"]),
        "rotation": columns(where, vertex, [f"rot_{i}" for i in range(4)]),
        "scale": columns(where, vertex, [f"scale_{i}" for i in range(3)]),
        "opacity": columns(where, vertex, ["opacity"])[:, 0],
        "colour": columns(where, vertex, [f"f_dc_{i}" for i in range(3)]),
    }
    for what, values in stored.items():
        check_finite(where, what, values)
    return stored


def activate_scales(stored: np.ndarray) -> np.ndarray:
    """exp of log scales; an overflow becomes an infinity for the checks to name, not a warning."""
    with np.errstate(over="ignore"):
        return np.exp(stored)


def _from_3dgs(where: str, vertex: PlyElement) -> Gaussians:
    stored = stored_columns(where, vertex)
    sh = np.concatenate([stored["colour"][:, None, :], _sh_rest(where, vertex)], axis=1)
    scales = activate_scales(stored["scale"])
    return checked_gaussians(
        where, stored["position"], stored["rotation"], scales, expit(stored["opacity"]), sh
    )


def _bits(words: np.ndarray, shift: int, width: int) -> np.ndarray:
    """The field of `width` bits at `shift` as a fraction in [0, 1]."""
    return ((words >> shift) & ((1 << width) - 1)) / ((1 << width) - 1)


def _lerp(where: str, chunk: PlyElement, names: list[str], fractions: np.ndarray) -> np.ndarray:
    """Places fractions (N, 3) between the min_* and max_* of each Gaussian's chunk."""
    row = np.arange(len(fractions)) // CHUNK
    low = columns(where, chunk, [f"min_{name}" for name in names])[row]
    high = columns(where, chunk, [f"max_{name}" for name in names])[row]
    return low * (1 - fractions) + high * fractions


def _packed_words(where: str, vertex: PlyElement, name: str) -> np.ndarray:
    words = columns(where, vertex, [f"packed_{name}"])[:, 0]
    if ((words < 0) | (words >= 2**32)).any() or (words != np.floor(words)).any():
        raise ContentError(f"{where}: packed_{name} is not an unsigned 32-bit integer")
    return words.astype(np.int64)


def _sh_packed(where: str, ply: PlyData, count: int) -> np.ndarray:
    """SH bands 1.. of a .compressed.ply: bytes over [-4, 4], the ends exact, the others bucket centres."""
    if "sh" not in ply:
        return np.zeros((count, 0, 3))
    code = _sh_rest(where, ply["sh"])
    unit = np.where(code == 0, 0.0, np.where(code == 255, 1.0, (code + 0.5) / 256))
    return (unit - 0.5) * 8


def _from_compressed(where: str, ply: PlyData) -> Gaussians:
    chunk, vertex = ply["chunk"], ply["vertex"]
    if chunk.count != -(-vertex.count // CHUNK):
        raise ContentError(
            f"{where}: {chunk.count} chunks for {vertex.count} Gaussians, expected one per {CHUNK}"
        )
    position, rotation, scale, colour = (
        _packed_words(where, vertex, name) for name in ("position", "rotation", "scale", "color")
    )
    fields = ((21, 11), (11, 10), (0, 11))
    xyz = np.stack([_bits(position, *field) for field in fields], axis=1)
    sizes = np.stack([_bits(scale, *field) for field in fields], axis=1)
    rgb = np.stack([_bits(colour, shift, 8) for shift in (24, 16, 8)], axis=1)
    if "min_r" in chunk.data.dtype.names:  # files of early writers have no colour ranges
        rgb = _lerp(where, chunk, ["r", "g", "b"], rgb)
    others = np.stack([(_bits(rotation, shift, 10) - 0.5) * np.sqrt(2) for shift in (20, 10, 0)], axis=1)
    return checked_gaussians(
        where,
        _lerp(where, chunk, ["x", "y", "z"], xyz),
        smallest_three(rotation >> 30, others),
        activate_scales(_lerp(where, chunk, ["scale_x", "scale_y", "scale_z"], sizes)),
        _bits(colour, 0, 8),
        np.concatenate([rgb_to_sh0(rgb), _sh_packed(where, ply, vertex.count)], axis=1),
    )


def load_ply(path: Path) -> Gaussians:
    """§1 Gaussians of a 3DGS .ply (SH degree 0 to 3) or a PlayCanvas .compressed.ply, axes as stored.

    Raises ContentError. Layouts: the files of the 3DGS reference implementation; the decoder of
    playcanvas/splat-transform.
    """
    where = str(path)
    ply = read_ply(where, read_bytes(path))
    if "vertex" not in ply:
        raise ContentError(f"{where}: has no element vertex")
    return _from_compressed(where, ply) if "chunk" in ply else _from_3dgs(where, ply["vertex"])


def save_ply(path: Path | str, gaussians: Gaussians) -> None:
    """§1 Writes a binary little-endian 3DGS .ply in float32, axes unchanged (many viewers of PLY put y down).

    Opacities are kept 1e-6 away from 0 and 1 because the file stores logits. Normals are zeros: 3DGS writes
    them and some readers expect them.
    """
    count = gaussians.count
    rest = gaussians.sh[:, 1:].transpose(0, 2, 1).reshape(count, -1)
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(rest.shape[1])] + ["opacity"]
    names += [f"scale_{i}" for i in range(3)] + [f"rot_{i}" for i in range(4)]
    opacity = np.clip(gaussians.opacities, OPACITY_MARGIN, 1 - OPACITY_MARGIN)
    values = np.concatenate(
        [
            gaussians.positions,
            np.zeros((count, 3)),
            gaussians.sh[:, 0],
            rest,
            logit(opacity)[:, None],
            np.log(gaussians.scales),
            gaussians.rotations,
        ],
        axis=1,
    )
    table = values.astype("<f4").view([(name, "<f4") for name in names])[:, 0]
    PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(str(path))
