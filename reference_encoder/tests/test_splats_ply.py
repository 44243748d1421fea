"""PLY: hand-written files in, every damage named, and what save_ply writes comes back."""

import struct
from pathlib import Path

import numpy as np
import pytest

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.splats import load_gaussians, save_ply

C0 = 0.28209479177387814
PLAIN = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
PLAIN += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
ROW = [1.0, -2.0, 3.0, 0.25, 0.5, -0.25, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 3.0, 4.0]


def ply(path: Path, names: list[str], rows: list[list[float]], tail: int | None = None) -> Path:
    header = "ply\nformat binary_little_endian 1.0\n" + f"element vertex {len(rows)}\n"
    header += "".join(f"property float {name}\n" for name in names) + "end_header\n"
    body = b"".join(struct.pack(f"<{len(names)}f", *row) for row in rows)
    path.write_bytes(header.encode() + body[:tail])
    return path


def changed(column: str, value: float) -> list[float]:
    return [value if name == column else old for name, old in zip(PLAIN, ROW, strict=True)]


def test_stored_values_are_activated(tmp_path: Path) -> None:
    loaded = load_gaussians(ply(tmp_path / "a.ply", PLAIN, [ROW, changed("opacity", np.log(3.0))]))
    assert loaded.positions[0].tolist() == [1, -2, 3]
    np.testing.assert_allclose(loaded.scales[0], [1, 0.36787944, 2.71828183], atol=1e-8)
    np.testing.assert_allclose(loaded.opacities, [0.5, 0.75], atol=1e-7)
    np.testing.assert_allclose(loaded.rotations[0], [0, 0, 0.6, 0.8], atol=1e-15)  # normalised
    assert loaded.sh.shape == (2, 1, 3)
    assert loaded.sh[0, 0].tolist() == [0.25, 0.5, -0.25]


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_rest_is_channel_major(tmp_path: Path, degree: int) -> None:
    size = (degree + 1) ** 2 - 1
    names = PLAIN + [f"f_rest_{i}" for i in range(3 * size)]
    loaded = load_gaussians(ply(tmp_path / "a.ply", names, [ROW + list(range(3 * size))]))
    assert loaded.sh_degree == degree
    assert loaded.sh[0, 1].tolist() == [0, size, 2 * size]
    assert loaded.sh[0, size].tolist() == [size - 1, 2 * size - 1, 3 * size - 1]


def test_text_files_load(tmp_path: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 1\n" + "".join(f"property float {n}\n" for n in PLAIN)
    (tmp_path / "a.ply").write_text(header + "end_header\n" + " ".join(map(str, ROW)) + "\n")
    assert load_gaussians(tmp_path / "a.ply").positions.tolist() == [[1, -2, 3]]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("opacity", np.nan, "opacity of Gaussian 1 is not finite"),
        ("opacity", np.inf, "opacity of Gaussian 1 is not finite"),
        ("y", np.nan, "position of Gaussian 1 is not finite"),
        ("f_dc_2", -np.inf, "colour of Gaussian 1 is not finite"),
        ("rot_3", np.nan, "rotation of Gaussian 1 is not finite"),
        ("scale_1", 800.0, "scale of Gaussian 1 is not finite"),
        ("scale_1", -800.0, "scale of Gaussian 1 is not positive"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, column: str, value: float, message: str) -> None:
    path = ply(tmp_path / "a.ply", PLAIN, [ROW, changed(column, value)])
    with pytest.raises(ContentError) as error:
        load_gaussians(path)
    assert str(error.value) == f"{path}: {message}"


def test_bad_files_are_named(tmp_path: Path) -> None:
    zero = [*ROW[:10], 0.0, 0.0, 0.0, 0.0]
    cases = {
        "rotation of Gaussian 0 is the zero quaternion": ply(tmp_path / "zero.ply", PLAIN, [zero]),
        "holds no Gaussians": ply(tmp_path / "empty.ply", PLAIN, []),
        "early end-of-file": ply(tmp_path / "short.ply", PLAIN, [ROW, ROW], tail=-1),
        "element vertex has no property rot_3": ply(tmp_path / "less.ply", PLAIN[:-1], [ROW[:-1]]),
        "4 f_rest properties, expected 0, 9, 24 or 45": ply(
            tmp_path / "rest.ply", [*PLAIN, *(f"f_rest_{i}" for i in range(4))], [ROW + [0.0] * 4]
        ),
        "SH coefficient of Gaussian 0 is not finite": ply(
            tmp_path / "nan.ply", [*PLAIN, *(f"f_rest_{i}" for i in range(9))], [ROW + [0.0] * 8 + [np.nan]]
        ),
    }
    for message, path in cases.items():
        with pytest.raises(ContentError) as error:
            load_gaussians(path)
        assert str(error.value).startswith(f"{path}: ")
        assert message in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "ply\n",
        "ply\nformat binary_middle_endian 1.0\nend_header\n",
        "ply\nformat ascii 1.0\nelement face 0\nproperty float x\nend_header\n",
        "ply\nformat binary_little_endian 1.0\nelement vertex 99999999999\nproperty float x\nend_header\n",
        "ply\nformat ascii 1.0\nelement vertex -1\nproperty float x\nend_header\n",
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar float x\nend_header\n1 1\n",
    ],
)
def test_no_damaged_header_escapes_as_another_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.ply").write_text(text)
    with pytest.raises(ContentError):
        load_gaussians(tmp_path / "a.ply")


RANGES = ["min_x", "min_y", "min_z", "max_x", "max_y", "max_z"]
RANGES += [f"{end}_scale_{axis}" for end in ("min", "max") for axis in "xyz"]
COLOUR_RANGES = [f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"]
CHUNK = [-1.0, 10.0, 100.0, 1.0, 20.0, 300.0, -2.0, -2.0, -2.0, 0.0, 1.0, 0.0]
# x at its end, then y, then z: 11, 10 and 11 bits from the top.
POSITIONS = [0xFFE00000, 0x001FF800, 0x000007FF]
# Largest component z (3), then the others as 2/3, 1/3, 2/3 of their range [-1, 1] / sqrt(2).
ROTATION = 3 << 30 | 682 << 20 | 341 << 10 | 682


def compressed(path: Path, colour_ranges: list[float], sh: list[int] | None = None, chunks: int = 1) -> Path:
    names = RANGES + (COLOUR_RANGES if colour_ranges else [])
    header = f"ply\nformat binary_little_endian 1.0\nelement chunk {chunks}\n"
    header += "".join(f"property float {name}\n" for name in names) + "element vertex 3\n"
    header += "".join(f"property uint packed_{n}\n" for n in ("position", "rotation", "scale", "color"))
    if sh is not None:
        header += "element sh 3\n" + "".join(f"property uchar f_rest_{i}\n" for i in range(9))
    body = struct.pack(f"<{len(names)}f", *CHUNK, *colour_ranges) * chunks
    body += b"".join(struct.pack("<4I", word, ROTATION, word, 0xFF003366) for word in POSITIONS)
    path.write_bytes((header + "end_header\n").encode() + body + bytes(sh or []) * 3)
    return path


def test_compressed_ply_unpacks(tmp_path: Path) -> None:
    loaded = load_gaussians(compressed(tmp_path / "a.compressed.ply", []))
    assert loaded.positions.tolist() == [[1, 10, 100], [-1, 20, 100], [-1, 10, 300]]
    np.testing.assert_allclose(np.log(loaded.scales), [[0, -2, -2], [-2, 1, -2], [-2, -2, 0]], atol=1e-12)
    small = np.sqrt(2) / 6
    expected = [small, -small, small, np.sqrt(1 - 3 * small**2)]
    np.testing.assert_allclose(loaded.rotations[0], expected, atol=1e-12)
    np.testing.assert_allclose(loaded.opacities, 0.4)
    np.testing.assert_allclose(loaded.sh[0, 0] * C0 + 0.5, [1, 0, 0.2], atol=1e-12)


def test_compressed_ply_colour_ranges_and_sh(tmp_path: Path) -> None:
    sh = [0, 255, 127, 128, 1, 0, 0, 0, 0]
    loaded = load_gaussians(compressed(tmp_path / "a.ply", [-1.0, -2.0, 0.0, 2.0, 2.0, 0.5], sh))
    np.testing.assert_allclose(loaded.sh[2, 0] * C0 + 0.5, [2, -2, 0.1], atol=1e-12)
    assert loaded.sh[2, 1:, 0].tolist() == [-4, 4, (127.5 / 256 - 0.5) * 8]
    assert loaded.sh[2, 1:, 1].tolist() == [(128.5 / 256 - 0.5) * 8, (1.5 / 256 - 0.5) * 8, -4]


def test_compressed_ply_with_wrong_chunks(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="2 chunks for 3 Gaussians"):
        load_gaussians(compressed(tmp_path / "a.ply", [], chunks=2))


def sample(degree: int) -> Gaussians:
    random = np.random.default_rng(7)
    rotations = random.normal(size=(20, 4))
    return Gaussians(
        random.normal(size=(20, 3)),
        rotations / np.linalg.norm(rotations, axis=1, keepdims=True),
        np.exp(random.normal(size=(20, 3)) - 4),
        np.linspace(0, 1, 20),
        random.normal(size=(20, (degree + 1) ** 2, 3)),
    )


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_saved_ply_comes_back_in_float32(tmp_path: Path, degree: int) -> None:
    gaussians = sample(degree)
    save_ply(tmp_path / "a.ply", gaussians)
    loaded = load_gaussians(tmp_path / "a.ply")
    np.testing.assert_allclose(loaded.positions, gaussians.positions, rtol=1e-7)
    np.testing.assert_allclose(loaded.rotations, gaussians.rotations, atol=1e-7)
    np.testing.assert_allclose(loaded.scales, gaussians.scales, rtol=1e-6)
    np.testing.assert_allclose(loaded.opacities, gaussians.opacities, atol=1.01e-6)
    np.testing.assert_allclose(loaded.sh, gaussians.sh, rtol=1e-7)


def test_saved_ply_has_the_layout_of_3dgs(tmp_path: Path) -> None:
    sh = np.arange(12.0).reshape(1, 4, 3)
    one = Gaussians(np.array([[1.0, 2, 3]]), np.array([[1.0, 0, 0, 0]]), np.ones((1, 3)), np.array([0.5]), sh)
    save_ply(tmp_path / "a.ply", one)
    header, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\n")
    rest = [3, 6, 9, 4, 7, 10, 5, 8, 11]  # red of bands 1.., then green, then blue
    assert struct.unpack("<26f", body) == (1, 2, 3, 0, 0, 0, 0, 1, 2, *rest, 0, 0, 0, 0, 1, 0, 0, 0)
