"""The one entry for splats: what a file holds decides, and what cannot be used is named."""

from pathlib import Path

import numpy as np
import pytest

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.splat_check import checked_gaussians
from reference_encoder.splats import load_gaussians, save_ply, save_spz


def columns(count: int = 2) -> list[np.ndarray]:
    """Positions, rotations, scales, opacities and SH of plain Gaussians."""
    rotations = np.tile([1.0, 0, 0, 0], (count, 1))
    return [
        np.zeros((count, 3)),
        rotations,
        np.ones((count, 3)),
        np.full(count, 0.5),
        np.zeros((count, 1, 3)),
    ]


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    save_ply(tmp_path / "a.spz", Gaussians(*columns(3)))
    save_spz(tmp_path / "a.ply", Gaussians(*columns(5)))
    assert load_gaussians(str(tmp_path / "a.spz")).count == 3
    assert load_gaussians(tmp_path / "a.ply").count == 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "the file is empty"),
        (b"glTF\x02", "neither .ply nor .spz nor SOG, it starts with b'glTF'"),
        (b"PK\x03\x04", "damaged zip"),
        (b"\x1f\x8b", "truncated"),
        (b"NGSP", "truncated"),
    ],
)
def test_what_is_no_splat(tmp_path: Path, data: bytes | None, message: str) -> None:
    path = tmp_path / "a.splat"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ContentError) as error:
        load_gaussians(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, np.zeros((0, 3)), "f: holds no Gaussians"),
        (0, np.zeros((2, 4)), "f: position has the shape (2, 4), expected (2, 3)"),
        (3, np.zeros(3), "f: 2 positions but 3 values of opacity"),
        (4, np.zeros((2, 5, 3)), "f: (5, 3) SH coefficients, expected 1, 4, 9 or 16 per colour"),
        (2, np.array([[1.0, 1, 1], [1, 0, 1]]), "f: scale of Gaussian 1 is not positive"),
        (1, np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]]), "f: rotation of Gaussian 1 is the zero quaternion"),
        (3, np.array([0.5, 1.5]), "f: opacity of Gaussian 1 is outside [0, 1]"),
        (4, np.full((2, 1, 3), np.nan), "f: SH coefficient of Gaussian 0 is not finite"),
    ],
)
def test_every_check(column: int, value: np.ndarray, message: str) -> None:
    values = columns()
    values[column] = value
    with pytest.raises(ContentError) as error:
        checked_gaussians("f", *values)
    assert str(error.value) == message
