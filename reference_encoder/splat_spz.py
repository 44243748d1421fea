"""§1 Gaussians from and to SPZ: the gzip container of versions 2 and 3, and the zstd streams of version 4."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.splat_check import SH_DEGREE_MAX, checked_gaussians, read_bytes, smallest_three

MAGIC = b"NGSP"
HEADER = struct.Struct(
    "<4sIIBBBB"
)  # magic, version, count, SH degree, fraction bits, flags, streams (version 4)
STREAMS_AT = 32  # version 4: the plain header is 32 bytes
FLAG_EXTENSIONS = 0x2
FRACTION_BITS_MAX = 23
EXPANSION_MAX = 128  # Gaussians a byte of a version 4 file may claim, checked before memory is taken
COLOUR_SCALE = 0.15  # narrower than SH_C0, so that colours a little outside [0, 1] survive
WRITTEN_VERSION = 3


@dataclass(frozen=True)
class _Header:
    version: int
    count: int
    degree: int
    fraction_bits: int
    flags: int
    streams: int

    def sizes(self) -> dict[str, int]:
        """Bytes of each attribute, in file order."""
        rotation = 3 if self.version == 2 else 4
        harmonics = 3 * ((self.degree + 1) ** 2 - 1)
        widths = {
            "positions": 9,
            "alphas": 1,
            "colors": 3,
            "scales": 3,
            "rotations": rotation,
            "sh": harmonics,
        }
        return {name: self.count * width for name, width in widths.items()}


def _read_header(where: str, data: bytes, versions: tuple[int, ...]) -> _Header:
    if len(data) < HEADER.size:
        raise ContentError(f"{where}: truncated, {len(data)} bytes of a {HEADER.size} byte SPZ header")
    magic, *fields = HEADER.unpack_from(data)
    header = _Header(*fields)
    if magic != MAGIC:
        raise ContentError(f"{where}: not SPZ, the header starts with {magic!r} and not {MAGIC!r}")
    if header.version not in versions:
        raise ContentError(
            f"{where}: SPZ version {header.version} is not supported here (2, 3 in gzip, 4 plain)"
        )
    if header.degree > SH_DEGREE_MAX:
        raise ContentError(f"{where}: SH degree {header.degree} is not supported (0 to {SH_DEGREE_MAX} are)")
    if header.fraction_bits > FRACTION_BITS_MAX:
        raise ContentError(f"{where}: {header.fraction_bits} fraction bits in positions of 24 bits")
    if header.count == 0:
        raise ContentError(f"{where}: holds no Gaussians")
    return header


def _gzip_attributes(where: str, data: bytes) -> tuple[_Header, dict[str, bytes]]:
    """Versions 2 and 3: a gzip member of header and attributes. Inflates no more than is announced."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        head = inflater.decompress(data, HEADER.size)
        header = _read_header(where, head, (2, 3))
        expected = sum(header.sizes().values())
        # One byte more than expected: it makes zlib reach the checksum, and shows a file that is too long.
        body = inflater.decompress(inflater.unconsumed_tail, expected + 1)
    except zlib.error as error:
        raise ContentError(f"{where}: damaged gzip data ({error})") from None
    if len(body) < expected or (len(body) == expected and not inflater.eof):
        raise ContentError(
            f"{where}: truncated, {len(body)} bytes of attributes where {expected} were announced"
        )
    if len(body) > expected and not header.flags & FLAG_EXTENSIONS:
        raise ContentError(f"{where}: more than the {expected} bytes of attributes that were announced")
    attributes, at = {}, 0
    for name, size in header.sizes().items():
        attributes[name] = body[at : at + size]
        at += size
    return header, attributes


def _zstd_attributes(where: str, data: bytes) -> tuple[_Header, dict[str, bytes]]:
    """Version 4: header, extensions (skipped), table of (packed, plain) sizes, a zstd frame an attribute."""
    header = _read_header(where, data, (4,))
    if len(data) < STREAMS_AT:
        raise ContentError(f"{where}: truncated, {len(data)} bytes of a {STREAMS_AT} byte SPZ header")
    if header.count > len(data) * EXPANSION_MAX:
        raise ContentError(f"{where}: announces {header.count} Gaussians in {len(data)} bytes")
    sizes = {name: size for name, size in header.sizes().items() if size}
    (table,) = struct.unpack_from("<I", data, HEADER.size)
    at = table + 16 * header.streams
    if header.streams != len(sizes):
        raise ContentError(
            f"{where}: {header.streams} streams, expected {len(sizes)} for SH degree {header.degree}"
        )
    if table < STREAMS_AT or at > len(data):
        raise ContentError(f"{where}: truncated, the table of streams at byte {table} is outside the file")
    attributes = {"sh": b""}
    for index, (name, size) in enumerate(sizes.items()):
        packed, plain = struct.unpack_from("<QQ", data, table + 16 * index)
        if plain != size:
            raise ContentError(f"{where}: stream {name} announces {plain} bytes, expected {size}")
        if packed > len(data) - at:
            raise ContentError(f"{where}: truncated in stream {name}")
        attributes[name] = _zstd_frame(f"{where}: stream {name}", data[at : at + packed], size)
        at += packed
    return header, attributes


def _zstd_frame(where: str, frame: bytes, size: int) -> bytes:
    """The `size` bytes of a zstd frame; one that announces another size is refused before it is expanded."""
    try:
        announced = zstandard.frame_content_size(frame)
        if announced not in (-1, size):
            raise ContentError(f"{where} expands to {announced} bytes, expected {size}")
        plain = zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ContentError(f"{where} is damaged ({error})") from None
    if len(plain) != size:
        raise ContentError(f"{where} expands to {len(plain)} bytes, expected {size}")
    return plain


def _unpack_positions(data: np.ndarray, fraction_bits: int) -> np.ndarray:
    triples = data.reshape(-1, 3, 3).astype(np.int32)
    unsigned = triples[..., 0] | triples[..., 1] << 8 | triples[..., 2] << 16
    return (unsigned - ((unsigned & 0x800000) << 1)) / (1 << fraction_bits)


def _unpack_rotations(data: np.ndarray, version: int) -> np.ndarray:
    """Quaternions (N, 4), w first. The file orders x, y, z, w."""
    if version == 2:
        xyz = data.reshape(-1, 3) / 127.5 - 1
        return smallest_three(np.zeros(len(xyz), np.int64), xyz)
    words = data.view("<u4").astype(np.int64)
    fields = np.stack([words >> shift for shift in (20, 10, 0)], axis=1) & 0x3FF
    others = (fields & 0x1FF) / 511 * np.sqrt(0.5) * np.where(fields & 0x200, -1, 1)
    return np.roll(smallest_three(words >> 30, others), 1, axis=1)


def load_spz(path: Path) -> Gaussians:
    """§1 Gaussians of an .spz file of version 2, 3 or 4, axes as stored (SPZ means x right, y up, z back).

    Raises ContentError. Layout: nianticlabs/spz.
    """
    where, data = str(path), read_bytes(path)
    header, attributes = (_zstd_attributes if data[:4] == MAGIC else _gzip_attributes)(where, data)
    raw = {name: np.frombuffer(part, np.uint8) for name, part in attributes.items()}
    dc = (raw["colors"].reshape(-1, 1, 3) / 255 - 0.5) / COLOUR_SCALE
    rest = (raw["sh"].reshape(header.count, -1, 3) - 128.0) / 128
    return checked_gaussians(
        where,
        _unpack_positions(raw["positions"], header.fraction_bits),
        _unpack_rotations(raw["rotations"], header.version),
        np.exp(raw["scales"].reshape(-1, 3) / 16 - 10),
        raw["alphas"] / 255,
        np.concatenate([dc, rest], axis=1),
    )


def _byte(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def _pack_positions(where: str, positions: np.ndarray, fraction_bits: int) -> np.ndarray:
    fixed = np.floor(positions * (1 << fraction_bits) + 0.5)
    outside = ((fixed < -(2**23)) | (fixed >= 2**23)).any(axis=1)
    if outside.any():
        index, limit = outside.argmax(), 2 ** (23 - fraction_bits)
        raise ContentError(f"{where}: position of Gaussian {index} is beyond the {limit} m SPZ can store")
    return fixed.astype("<i4")[..., None].view(np.uint8)[..., :3]


def _pack_rotations(rotations: np.ndarray) -> np.ndarray:
    xyzw = np.roll(rotations, -1, axis=1)
    largest = np.abs(xyzw).argmax(axis=1)
    rows = np.arange(len(xyzw))
    xyzw = xyzw * np.where(xyzw[rows, largest] < 0, -1, 1)[:, None]
    words = largest.astype(np.int64)
    others = xyzw[np.arange(4) != largest[:, None]].reshape(-1, 3)
    magnitudes = np.minimum(np.floor(np.abs(others) * np.sqrt(2) * 511 + 0.5), 511).astype(np.int64)
    for column in range(3):
        words = words << 10 | (others[:, column] < 0).astype(np.int64) << 9 | magnitudes[:, column]
    return words.astype("<u4")


def save_spz(path: Path | str, gaussians: Gaussians, fraction_bits: int = 12) -> None:
    """§1 Writes an .spz of version 3 (gzip), the newest that viewers widely read; axes unchanged.

    Largest errors: position 2^-(fraction_bits+1) m per axis (12 bits reach 2048 m), scale 1/32 of a natural
    logarithm within e^-10 to e^5.9, opacity 1/510, SH band 0 1/76.5 within +-10/3, further bands 1/256 within
    [-1, 1), rotation 0.3 degrees. Values beyond those ranges clamp, except positions: ContentError. The same
    input gives the same bytes. SPZ means x right, y up, z towards the viewer, as `Gaussians` does.
    """
    if not 0 <= fraction_bits <= FRACTION_BITS_MAX:
        raise ContentError(f"{path}: {fraction_bits} fraction bits in positions of 24 bits")
    header = HEADER.pack(MAGIC, WRITTEN_VERSION, gaussians.count, gaussians.sh_degree, fraction_bits, 0, 0)
    attributes = [
        _pack_positions(str(path), gaussians.positions, fraction_bits),
        _byte(gaussians.opacities * 255),
        _byte((gaussians.sh[:, 0] * COLOUR_SCALE + 0.5) * 255),
        _byte((np.log(gaussians.scales) + 10) * 16),
        _pack_rotations(gaussians.rotations),
        _byte(gaussians.sh[:, 1:] * 128 + 128),
    ]
    body = header + b"".join(part.tobytes() for part in attributes)
    Path(path).write_bytes(gzip.compress(body, mtime=0))
