"""SPZ: bytes worked out by hand for versions 2, 3 and 4, read and written; every damage named."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import zstandard

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.splats import load_gaussians, save_spz

# Two Gaussians of SH degree 1, 12 fraction bits.
POSITIONS = bytes.fromhex("001000 00f8ff 002400ffffff 010000 000080")
ALPHAS = bytes([51, 255])
COLORS = bytes([204, 51, 153, 0, 255, 102])
SCALES = bytes([160, 144, 176, 0, 255, 160])
# Version 3: w is largest, x = 219; y is largest, x = -73, z = 146 (of 511 = sqrt(1/2)).
ROTATIONS_3 = bytes.fromhex("0000b0cd00489264")
# Version 2: x, y, z from -1 (0) to 1 (255).
ROTATIONS_2 = bytes([204, 51, 153, 0, 153, 102])
SH = bytes([128, 192, 64, 0, 255, 128, 129, 127, 160] + [128] * 9)


def header(version: int, degree: int = 1, flags: int = 0, streams: int = 0, count: int = 2) -> bytes:
    return b"NGSP" + struct.pack("<II4B", version, count, degree, 12, flags, streams)


def gzipped(version: int, rotations: bytes, **fields: int) -> bytes:
    return gzip.compress(header(version, **fields) + POSITIONS + ALPHAS + COLORS + SCALES + rotations + SH)


def version_4(extension: bytes = b"", sizes: dict[int, int] | None = None, **fields: int) -> bytes:
    streams = [POSITIONS, ALPHAS, COLORS, SCALES, ROTATIONS_3, SH]
    frames = [zstandard.ZstdCompressor().compress(stream) for stream in streams]
    plain = {index: len(stream) for index, stream in enumerate(streams)} | (sizes or {})
    table = b"".join(struct.pack("<QQ", len(frame), plain[i]) for i, frame in enumerate(frames))
    start = struct.pack("<I12x", 32 + len(extension)) + extension
    return header(4, streams=6, **fields) + start + table + b"".join(frames)


def load(tmp_path: Path, data: bytes) -> Gaussians:
    (tmp_path / "a.spz").write_bytes(data)
    return load_gaussians(tmp_path / "a.spz")


def check_common(loaded: Gaussians) -> None:
    assert loaded.positions.tolist() == [[1, -0.5, 2.25], [-1 / 4096, 1 / 4096, -2048]]
    np.testing.assert_allclose(loaded.opacities, [0.2, 1])
    np.testing.assert_allclose(loaded.sh[:, 0], [[2, -2, 2 / 3], [-10 / 3, 10 / 3, -2 / 3]], atol=1e-12)
    np.testing.assert_allclose(np.log(loaded.scales), [[0, -1, 1], [-10, 5.9375, 0]], atol=1e-12)
    expected = [[0, 0.5, -0.5], [-1, 127 / 128, 0], [1 / 128, -1 / 128, 0.25]]
    assert loaded.sh[0, 1:].tolist() == expected
    assert not loaded.sh[1, 1:].any()


def check_smallest_three(loaded: Gaussians) -> None:
    unit = np.sqrt(0.5) / 7  # 73 of 511
    expected = [[np.sqrt(1 - 9 * unit**2), 3 * unit, 0, 0], [0, -unit, np.sqrt(1 - 5 * unit**2), 2 * unit]]
    np.testing.assert_allclose(loaded.rotations, expected, atol=1e-12)


def test_version_2(tmp_path: Path) -> None:
    loaded = load(tmp_path, gzipped(2, ROTATIONS_2))
    check_common(loaded)
    np.testing.assert_allclose(loaded.rotations[0], [np.sqrt(0.24), 0.6, -0.6, 0.2], atol=1e-12)
    longer = np.array([0, -1, 0.2, -0.2])  # w cannot complete it: 0, and the rest is normalised
    np.testing.assert_allclose(loaded.rotations[1], longer / np.sqrt(1.08), atol=1e-12)


@pytest.mark.parametrize("data", [gzipped(3, ROTATIONS_3), version_4(), version_4(b"extension", flags=2)])
def test_version_3_and_4(tmp_path: Path, data: bytes) -> None:
    loaded = load(tmp_path, data)
    check_common(loaded)
    check_smallest_three(loaded)


def test_extensions_after_the_attributes_are_skipped(tmp_path: Path) -> None:
    plain = gzip.decompress(gzipped(3, ROTATIONS_3, flags=2)) + b"an extension"
    check_common(load(tmp_path, gzip.compress(plain)))


def test_saved_bytes(tmp_path: Path) -> None:
    save_spz(tmp_path / "b.spz", load(tmp_path, gzipped(3, ROTATIONS_3)))
    first = (tmp_path / "b.spz").read_bytes()
    assert gzip.decompress(first) == gzip.decompress(gzipped(3, ROTATIONS_3))
    assert first[4:8] == bytes(4)  # no time stamp: the same content gives the same file


def test_saved_spz_comes_back_within_its_steps(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    rotations = random.normal(size=(500, 4))
    gaussians = Gaussians(
        random.uniform(-2, 2, (500, 3)),
        rotations / np.linalg.norm(rotations, axis=1, keepdims=True),
        np.exp(random.uniform(-10, 5, (500, 3))),
        random.uniform(0, 1, 500),
        random.uniform(-0.99, 0.99, (500, 16, 3)),
    )
    save_spz(tmp_path / "a.spz", gaussians, fraction_bits=16)
    loaded = load_gaussians(tmp_path / "a.spz")
    assert np.abs(loaded.positions - gaussians.positions).max() <= 2**-17
    assert np.abs(np.log(loaded.scales / gaussians.scales)).max() <= 1 / 32 + 1e-12
    assert np.abs(loaded.opacities - gaussians.opacities).max() <= 1 / 510 + 1e-12
    assert np.abs(loaded.sh[:, 0] - gaussians.sh[:, 0]).max() <= 1 / 76.5 + 1e-12
    assert np.abs(loaded.sh[:, 1:] - gaussians.sh[:, 1:]).max() <= 1 / 256 + 1e-12
    cosine = np.abs((loaded.rotations * gaussians.rotations).sum(axis=1)).clip(0, 1)
    assert np.degrees(2 * np.arccos(cosine)).max() < 0.3


def test_what_spz_cannot_store(tmp_path: Path) -> None:
    far = load(tmp_path, gzipped(3, ROTATIONS_3))
    with pytest.raises(ContentError, match="position of Gaussian 1 is beyond the 128 m"):
        save_spz(tmp_path / "b.spz", far, fraction_bits=16)
    with pytest.raises(ContentError, match="24 fraction bits"):
        save_spz(tmp_path / "b.spz", far, fraction_bits=24)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzipped(1, ROTATIONS_2), "SPZ version 1 is not supported"),
        (gzipped(4, ROTATIONS_3), "SPZ version 4 is not supported here"),
        (header(5) + bytes(100), "SPZ version 5 is not supported"),
        (gzip.compress(b"NOPE" + header(3)[4:]), "not SPZ"),
        (gzip.compress(b"NGSP"), "truncated, 4 bytes of a 16 byte SPZ header"),
        (gzipped(3, ROTATIONS_3, degree=4), "SH degree 4 is not supported"),
        (gzipped(3, ROTATIONS_3, count=0), "holds no Gaussians"),
        (gzipped(3, ROTATIONS_3, count=3), "truncated, 58 bytes of attributes where 87 were announced"),
        (gzipped(3, ROTATIONS_3, count=1), "more than the 29 bytes"),
        (gzipped(3, ROTATIONS_3)[:-20], "truncated"),
        (gzipped(3, ROTATIONS_3)[:-8], "truncated"),
        (gzipped(3, ROTATIONS_3)[:-8] + bytes(8), "damaged gzip data"),
        (header(4), "truncated, 16 bytes of a 32 byte SPZ header"),
        (version_4()[:100], "truncated, the table of streams at byte 32"),
        (version_4()[:-1], "truncated in stream sh"),
        (version_4(degree=0), "6 streams, expected 5"),
        (version_4(count=0), "holds no Gaussians"),
        (version_4(count=10**9), "announces 1000000000 Gaussians in"),
        (version_4(count=3), "stream positions announces 18 bytes, expected 27"),
        (version_4(count=3, sizes={0: 27}), "stream positions expands to 18 bytes, expected 27"),
        (version_4(b"x" * 9).replace(b"\x28\xb5\x2f\xfd", bytes(4)), "stream positions is damaged"),
    ],
)
def test_damage_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ContentError) as error:
        load(tmp_path, data)
    assert str(error.value).startswith(f"{tmp_path / 'a.spz'}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("whole", [gzipped(3, ROTATIONS_3), version_4()])
def test_no_truncation_escapes_as_another_error(tmp_path: Path, whole: bytes) -> None:
    for length in range(4, len(whole)):
        with pytest.raises(ContentError):
            load(tmp_path, whole[:length])
