"""The peers of the benchmark of static content: each codes Gaussians and says what comes back."""

from __future__ import annotations

import importlib
import lzma
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard

from reference_encoder.content import Avatar, ContentError, Gaussians
from reference_encoder.splats import load_gaussians, save_ply, save_spz, transform

PROGRAM = "splat-transform"
CURVE_BITS = (8, 10, 12, 14, 16)  # of the arrays that LZMA packs: a curve, for BD-rate
_Y_AND_Z_TURNED = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Coded:
    """What a peer made of Gaussians: its bytes, what they decode to, seconds to encode and to decode."""

    bytes: int
    gaussians: Gaussians
    encoding: float
    decoding: float


@dataclass(frozen=True)
class Peer:
    """A coder of static Gaussians; `code` returns why in one line if it cannot be had."""

    name: str
    setting: str
    code: Callable[[Gaussians], Coded | str]


def static_peers(splat_transform: str | None, slow: bool) -> list[Peer]:
    """Every peer of static content; `splat_transform` is that program, looked for with npx if None.

    `slow` lets it make .sog of view-dependent colour too.
    """
    command = find_program(PROGRAM, "@playcanvas/splat-transform", splat_transform)

    def converted(suffix: str) -> Callable[[Gaussians], Coded | str]:
        return lambda gaussians: _converted(gaussians, command, suffix, slow)

    lzma_curve = [Peer("lzma", f"{bits} bit", _packed(lzma_9, lzma.decompress, bits)) for bits in CURVE_BITS]
    return [
        Peer("spz (gzip)", "12 fraction bits", _spz),
        Peer("spz", PROGRAM, converted(".spz")),
        Peer("sog", PROGRAM, converted(".sog")),
        *lzma_curve,
        Peer("zstd -19", "16 bit", _packed(zstd_19, zstandard.ZstdDecompressor().decompress, 16)),
        Peer("brotli 11", "16 bit", _brotli),
    ]


def find_program(name: str, package: str, path: str | None = None) -> Sequence[str] | str:
    """The command that runs a program of an npm package, or why not. Raises ContentError for a wrong `path`."""
    if path is not None:
        found = shutil.which(path)
        if found is None:
            raise ContentError(f"--{name} {path}: not a program")
        return [found]
    installed = shutil.which(name)
    if installed:
        return [installed]
    npx = shutil.which("npx")
    if npx is None:
        return f"neither {name} nor npx is installed"
    command = [npx, "--no-install", name]
    if subprocess.run([*command, "-v"], capture_output=True, check=False).returncode:
        return f"npm has no {package} here (npm install {package}, or {name} on the PATH)"
    return command


def _spz(gaussians: Gaussians) -> Coded:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peer.spz"
        start = time.perf_counter()
        save_spz(path, gaussians)
        return _loaded(path, start, lambda loaded: loaded)


def _converted(gaussians: Gaussians, command: Sequence[str] | str, suffix: str, slow: bool) -> Coded | str:
    """What splat-transform makes of a .ply; its encoding time includes reading that and starting node."""
    if isinstance(command, str):
        return command
    if suffix == ".sog" and gaussians.sh_degree and not slow:
        return f"takes many minutes for SH degree {gaussians.sh_degree}; --slow runs it"
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "source.ply", Path(folder) / f"peer{suffix}"
        save_ply(source, gaussians)
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "-q", "-w", "-g", "cpu", str(source), str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not path.exists():
            lines = (done.stderr or done.stdout).strip().splitlines()
            return f"failed: {lines[-1] if lines else f'exit code {done.returncode}'}"
        return _loaded(path, start, _upright if suffix == ".spz" else lambda loaded: loaded)


def _loaded(path: Path, start: float, turn: Callable[[Gaussians], Gaussians]) -> Coded:
    encoded = time.perf_counter()
    loaded = load_gaussians(path)
    return Coded(path.stat().st_size, turn(loaded), encoded - start, time.perf_counter() - encoded)


def _upright(gaussians: Gaussians) -> Gaussians:
    """Undoes the half turn about x by which splat-transform goes from the axes of .ply to those of .spz."""
    return transform(gaussians, _Y_AND_Z_TURNED)


def lzma_9(data: bytes) -> bytes:
    """The .xz of xz -9e."""
    return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)


def zstd_19(data: bytes) -> bytes:
    """The frame of zstd -19."""
    return zstandard.ZstdCompressor(level=19).compress(data)


def _brotli(gaussians: Gaussians) -> Coded | str:
    try:
        brotli = importlib.import_module("brotli")
    except ImportError:
        return "the brotli package is not installed (the extra `bench` has it)"
    return _packed(lambda data: brotli.compress(data, quality=11, lgwin=24), brotli.decompress, 16)(gaussians)


def _packed(
    pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes], bits: int
) -> Callable[[Gaussians], Coded]:
    """A coder that packs the quantised arrays, one after the other, with a general compressor."""

    def code(gaussians: Gaussians) -> Coded:
        start = time.perf_counter()
        arrays = [Quantised.of(table, bits) for table in tables(gaussians)]
        plain = b"".join(array.bytes for array in arrays)
        data = pack(plain)
        encoded = time.perf_counter()
        if unpack(data) != plain:
            raise ContentError("a general compressor gave back other bytes than it was given")
        decoded = time.perf_counter()
        restored = from_tables([array.values() for array in arrays])
        return Coded(len(data), restored, encoded - start, decoded - encoded)

    return code


@dataclass(frozen=True)
class Quantised:
    """An array of floats as integers of `bits` between its extremes."""

    integers: np.ndarray
    low: float
    high: float
    bits: int

    @classmethod
    def of(cls, array: np.ndarray, bits: int) -> Quantised:
        """The nearest integers."""
        low, high = float(array.min()), float(array.max())
        unit = (array - low) / (high - low or 1)
        return cls(np.floor(unit * (2**bits - 1) + 0.5).astype("<u2"), low, high, bits)

    @property
    def bytes(self) -> bytes:
        """Whole bytes each, in the order of the array; 8 bits need one."""
        return self.integers.astype("u1" if self.bits <= 8 else "<u2").tobytes()

    def values(self) -> np.ndarray:
        """The floats that the integers stand for."""
        return self.low + self.integers / (2**self.bits - 1) * (self.high - self.low)


def tables(gaussians: Gaussians) -> list[np.ndarray]:
    """(N, ...) each: positions, rotations, binary logarithms of scales, opacities, colours, further harmonics."""
    flipped = gaussians.rotations * np.where(gaussians.rotations[:, :1] < 0, -1, 1)
    colours = [gaussians.sh[:, :1], gaussians.sh[:, 1:]][: 1 + (gaussians.sh_degree > 0)]
    return [gaussians.positions, flipped, np.log2(gaussians.scales), gaussians.opacities, *colours]


def from_tables(parts: Sequence[np.ndarray]) -> Gaussians:
    """The Gaussians of `tables`."""
    positions, rotations, scales, opacities, *colours = parts
    lengths = np.maximum(np.linalg.norm(rotations, axis=1, keepdims=True), 1e-9)
    sh = np.concatenate(colours, axis=1)
    return Gaussians(positions, rotations / lengths, 2**scales, opacities.clip(0, 1), sh)


def array_bytes(avatar: Avatar) -> bytes:
    """All that an avatar consists of as 16-bit arrays: Gaussians, skin, expression offsets."""
    floats = [*tables(avatar.gaussians), avatar.skin_weights, avatar.expressions]
    joints = avatar.skin_joints.astype("<u2").tobytes()
    return joints + b"".join(Quantised.of(array, 16).bytes for array in floats if array.size)
