"""§1 Checks that every imported Gaussian passes, and the little that all splat formats share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reference_encoder.content import ContentError, Gaussians

SH_C0 = 0.28209479177387814  # sqrt(1 / (4 pi)), the constant basis function
SH_DEGREE_MAX = 3


def read_bytes(path: Path) -> bytes:
    """The bytes of a file that must exist and hold something; ContentError otherwise."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ContentError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise ContentError(f"{path}: the file is empty")
    return data


def rgb_to_sh0(rgb: np.ndarray) -> np.ndarray:
    """The band 0 coefficients (N, 1, 3) whose colour is `rgb` (N, 3), black 0 and white 1."""
    return ((rgb - 0.5) / SH_C0)[:, None, :]


def check_finite(where: str, what: str, values: np.ndarray) -> None:
    """Raises ContentError naming the first row of `values` (N, ...) that holds NaN or an infinity."""
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if bad.any():
        raise ContentError(f"{where}: {what} of Gaussian {bad.argmax()} is not finite")


def _check_shapes(where: str, columns: dict[str, np.ndarray]) -> None:
    count = len(columns["position"])
    if count == 0:
        raise ContentError(f"{where}: holds no Gaussians")
    for what, values in columns.items():
        if len(values) != count:
            raise ContentError(f"{where}: {count} positions but {len(values)} values of {what}")
    tails = {"position": (3,), "rotation": (4,), "scale": (3,), "opacity": ()}
    for what, tail in tails.items():
        if columns[what].shape[1:] != tail:
            raise ContentError(
                f"{where}: {what} has the shape {columns[what].shape}, expected {(count, *tail)}"
            )
    sh = columns["SH coefficient"]
    if sh.ndim != 3 or sh.shape[1] not in (1, 4, 9, 16) or sh.shape[2] != 3:
        raise ContentError(f"{where}: {sh.shape[1:]} SH coefficients, expected 1, 4, 9 or 16 per colour")


def checked_gaussians(
    where: str,
    positions: np.ndarray,
    rotations: np.ndarray,
    scales: np.ndarray,
    opacities: np.ndarray,
    sh: np.ndarray,
) -> Gaussians:
    """§1 Gaussians as float64 from activated values of any float type, quaternions normalised.

    Shapes as in `Gaussians`; `where` opens each message. Raises ContentError for an empty set, wrong
    shapes, a value that is not finite, a scale that is not positive, a zero quaternion or an opacity outside
    [0, 1].
    """
    columns = {
        "position": np.asarray(positions, np.float64),
        "rotation": np.asarray(rotations, np.float64),
        "scale": np.asarray(scales, np.float64),
        "opacity": np.asarray(opacities, np.float64),
        "SH coefficient": np.asarray(sh, np.float64),
    }
    _check_shapes(where, columns)
    for what, values in columns.items():
        check_finite(where, what, values)
    norms = np.linalg.norm(columns["rotation"], axis=1)
    faults = {
        "scale of Gaussian {} is not positive": (columns["scale"] <= 0).any(axis=1),
        "rotation of Gaussian {} is the zero quaternion": norms == 0,
        "opacity of Gaussian {} is outside [0, 1]": (columns["opacity"] < 0) | (columns["opacity"] > 1),
    }
    for message, bad in faults.items():
        if bad.any():
            raise ContentError(f"{where}: {message.format(bad.argmax())}")
    unit = columns["rotation"] / norms[:, None]
    return Gaussians(
        columns["position"], unit, columns["scale"], columns["opacity"], columns["SH coefficient"]
    )


def smallest_three(largest: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Quaternions (N, 4) from the index of the omitted component (N,) and the other three (N, 3).

    The omitted component is the positive one that completes the unit length. Component order is the
    caller's.
    """
    rows = np.arange(len(largest))
    slots = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    quaternions = np.zeros((len(largest), 4))
    quaternions[rows[:, None], slots] = others
    quaternions[rows, largest] = np.sqrt(np.maximum(0.0, 1.0 - (others**2).sum(axis=1)))
    return quaternions
