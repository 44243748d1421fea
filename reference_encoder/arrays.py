"""NumPy archives from elsewhere, read without running anything that is in them."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from reference_encoder.content import ContentError

# What NumPy and zipfile raise on bytes that are not what they claim to be.
_DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, RuntimeError, SyntaxError, MemoryError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def load_array(path: str | Path) -> np.ndarray:
    """The array of an .npy file. Raises ContentError for a file that holds none."""
    path = Path(path)
    try:
        array = np.load(path, allow_pickle=False)
    except _DAMAGE as error:
        raise ContentError(f"{path.name}: cannot be read as .npy: {_line(error)}") from error
    if not isinstance(array, np.ndarray):
        raise ContentError(f"{path.name}: an archive, one array expected")
    return array


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


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
    except _DAMAGE as error:
        raise ContentError(f"{path.name}: cannot be read as .npz: {_line(error)}") from error
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
