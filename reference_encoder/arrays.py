"""NumPy archives from elsewhere, read without running anything that is in them."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from reference_encoder.content import ContentError


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, without those that hold pickled objects.

    Raises ContentError for a file that is not such an archive or is damaged.
    """
    path = Path(path)
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                try:
                    arrays[name] = archive[name]
                except ValueError:  # a pickled object: files carry some beside the arrays that matter
                    continue
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ContentError(f"{path.name}: cannot be read as .npz: {error}") from error
    return arrays


def take(arrays: dict[str, np.ndarray], name: str, where: str) -> np.ndarray:
    """One of the arrays; raises ContentError naming the file `where` it is missing."""
    if name not in arrays:
        raise ContentError(f"{where}: no array {name!r}")
    return arrays[name]


def take_numbers(arrays: dict[str, np.ndarray], name: str, where: str) -> np.ndarray:
    """One of the arrays as float64; raises ContentError when it is missing or holds no numbers."""
    array = take(arrays, name, where)
    if array.dtype.kind not in "fiu":
        raise ContentError(f"{where}: array {name!r} is of {array.dtype}, numbers expected")
    return array.astype(np.float64)
