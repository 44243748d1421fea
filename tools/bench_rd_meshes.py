"""Peers of the benchmark of static content that were made for meshes and points, with Gaussians put into them."""

from __future__ import annotations

import importlib
import json
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.glb import Glb
from reference_encoder.sensitivity import DC
from tools.bench_rd_peers import Coded, Peer, Quantised, find_program, from_tables, tables, zstd_19

BITS = (10, 12, 14, 16)  # a curve, for BD-rate
_FLOAT = 5126  # glTF's number of 32-bit floats
_NAMES = ("TRANSLATION", "ROTATION", "SCALE", "_COLOR_0")
_INSTANCES = "EXT_mesh_gpu_instancing"


def mesh_peers() -> list[Peer]:
    """Draco's points with attributes, and gltfpack's instances of a triangle."""
    command = find_program("gltfpack", "gltfpack")
    draco = [Peer("draco", f"{bits} bit", _draco(bits)) for bits in BITS]
    return draco + [Peer("gltfpack -cz", f"{bits} bit", _gltfpack(bits, command)) for bits in BITS]


def _draco(bits: int) -> Callable[[Gaussians], Coded | str]:
    """Positions as Draco quantises them, all else as generic attributes: integers of as many bits."""

    def code(gaussians: Gaussians) -> Coded | str:
        try:
            draco = importlib.import_module("DracoPy")
        except ImportError:
            return "the DracoPy package is not installed (the extra `bench` has it)"
        start = time.perf_counter()
        positions, *others = tables(gaussians)
        arrays = [Quantised.of(table, bits) for table in others]
        wide = {f"{n}": array.integers.reshape(gaussians.count, -1) for n, array in enumerate(arrays)}
        settings = {"quantization_bits": bits, "compression_level": 10}
        data = draco.encode(positions.astype(np.float32), generic_attributes=wide, **settings)
        encoded = time.perf_counter()
        read = draco.decode(data)
        found = {entry["name"]: entry["data"] for entry in read.attributes if entry.get("name")}
        values = [
            Quantised(
                found[f"{n}"].reshape(-1, *array.integers.shape[1:]), array.low, array.high, bits
            ).values()
            for n, array in enumerate(arrays)
        ]
        restored = from_tables([read.points.astype(np.float64), *values])
        return Coded(len(data), restored, encoded - start, time.perf_counter() - encoded)

    return code


def _gltfpack(bits: int, command: Sequence[str] | str) -> Callable[[Gaussians], Coded | str]:
    """Instances of one triangle, the only things that gltfpack leaves a size, a rotation and a colour.

    zstd -19 packs the file again, as gltfpack's manual asks for. Its own `-noq` decodes it.
    """

    def code(gaussians: Gaussians) -> Coded | str:
        if gaussians.sh_degree:
            return "an instance has one colour: SH degree 0 only"
        if isinstance(command, str):
            return command
        with tempfile.TemporaryDirectory() as folder:
            source, packed, plain = (Path(folder) / f"{name}.glb" for name in ("source", "packed", "plain"))
            source.write_bytes(instances(gaussians))
            start = time.perf_counter()
            each = [part for name in ("-at", "-ar", "-as", "-vc") for part in (name, str(bits))]
            _run([*command, "-cz", "-vpf", *each, "-i", str(source), "-o", str(packed)])
            size = len(zstd_19(packed.read_bytes()))
            encoded = time.perf_counter()
            _run([*command, "-noq", "-vc", "16", "-i", str(packed), "-o", str(plain)])
            restored = from_instances(plain.read_bytes())
        return Coded(size, restored, encoded - start, time.perf_counter() - encoded)

    return code


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ContentError(f"gltfpack failed: {(done.stderr or done.stdout).strip()}")


def instances(gaussians: Gaussians) -> bytes:
    """A .glb of one triangle that stands where each Gaussian of degree 0 is, with its colour and opacity."""
    colours = np.concatenate([0.5 + DC * gaussians.sh[:, 0], gaussians.opacities[:, None]], axis=1)
    rotations = gaussians.rotations[:, [1, 2, 3, 0]]
    arrays = [np.eye(3), gaussians.positions, rotations, gaussians.scales, colours.clip(0, 1)]
    parts = [array.astype("<f4") for array in arrays]
    starts = np.cumsum([0] + [part.nbytes for part in parts]).tolist()
    document = {
        "asset": {"version": "2.0"},
        "extensionsUsed": [_INSTANCES],
        "buffers": [{"byteLength": starts[-1]}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": part.nbytes}
            for start, part in zip(starts, parts, strict=False)
        ],
        "accessors": [
            {"bufferView": n, "componentType": _FLOAT, "count": len(part), "type": f"VEC{part.shape[1]}"}
            | ({} if n else {"min": [0, 0, 0], "max": [1, 1, 1]})
            for n, part in enumerate(parts)
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [
            {
                "mesh": 0,
                "extensions": {_INSTANCES: {"attributes": {name: n for n, name in enumerate(_NAMES, 1)}}},
            }
        ],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    text = json.dumps(document).encode()
    chunks = [
        (b"JSON", text + b" " * (-len(text) % 4)),
        (b"BIN\0", b"".join(part.tobytes() for part in parts)),
    ]
    body = b"".join(struct.pack("<I4s", len(data), kind) + data for kind, data in chunks)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def from_instances(data: bytes) -> Gaussians:
    """The Gaussians of `instances`. Raises ContentError."""
    file = Glb("what gltfpack wrote", data)
    found = [node.extensions[_INSTANCES]["attributes"] for node in file.gltf.nodes if node.extensions]
    positions, rotations, scales, colours = (file.array(found[0][name]) for name in _NAMES)
    rotations = rotations / np.linalg.norm(rotations, axis=1, keepdims=True)
    sh = (colours[:, None, :3] - 0.5) / DC
    return Gaussians(positions, rotations[:, [3, 0, 1, 2]], scales, colours[:, 3], sh)
