"""§9 The speed benchmark: a synthetic body of known size, decoded and drawn stage by stage."""

from __future__ import annotations

import lzma
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import numba
import numpy as np
import zstandard

from reference_decoder import Camera, Decoder, Frame
from reference_decoder.rendering import Projected, bin_tiles, project_records, rasterise, sort
from reference_encoder.content import Avatar, Gaussians, Motion
from reference_encoder.encode import encode
from reference_encoder.quality import decoded_float_picture
from reference_encoder.quantise import Settings
from reference_encoder.skeletons import smplx_skeleton
from tools.bench_rd_peers import array_bytes, lzma_9, zstd_19
from tools.bench_rd_static import still
from tools.content import body_avatar

MOTION_UNIT = 30  # frames of a motion unit


def synthetic_body(count: int = 100_000, sh_degree: int = 3, seed: int = 0) -> Avatar:
    """A body of discs around the bones of the 55-joint skeleton, four influences each."""
    generator = np.random.default_rng(seed)
    rig = smplx_skeleton()
    bones = [(int(p), j) for j, p in enumerate(rig.parents) if p >= 0]
    starts, ends = (np.array([rig.joints[bone[side]] for bone in bones]) for side in (0, 1))
    lengths = np.linalg.norm(ends - starts, axis=1) + 0.02
    bone = generator.choice(len(bones), count, p=lengths / lengths.sum())
    along = generator.random((count, 1))
    normal = generator.normal(size=(count, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    radius = np.clip(0.35 * lengths, 0.012, 0.12)[bone][:, None]
    positions = starts[bone] * (1 - along) + ends[bone] * along + normal * radius
    sh = generator.normal(0, 0.05, (count, (sh_degree + 1) ** 2, 3))
    sh[:, 0] = generator.normal(0, 0.6, (count, 3))
    gaussians = Gaussians(
        positions=positions,
        rotations=_facing(normal),
        scales=generator.uniform(0.002, 0.006, (count, 3)) * [1, 1, 0.2],
        opacities=generator.uniform(0.3, 1.0, count),
        sh=sh,
    )
    near = np.argsort(np.linalg.norm(positions[:, None] - rig.joints[None], axis=2), axis=1)[:, :4]
    weights = generator.uniform(0.1, 1.0, (count, 4))
    return Avatar(gaussians, rig, near, weights / weights.sum(axis=1, keepdims=True))


def _facing(normals: np.ndarray) -> np.ndarray:
    """(N, 4) quaternions, w first, that turn z to each normal."""
    quaternions = np.column_stack([1 + normals[:, 2], -normals[:, 1], normals[:, 0], np.zeros(len(normals))])
    quaternions[:, 0] = np.maximum(quaternions[:, 0], 1e-6)
    return quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)


def swaying(avatar: Avatar, frames: int = 2 * MOTION_UNIT) -> Motion:
    """A motion in which every joint turns a little in every frame."""
    phase = np.arange(frames)[:, None, None] / frames * 2 * np.pi
    rotations = 0.15 * np.sin(
        phase + np.arange(avatar.rig.count)[None, :, None] + np.arange(3)[None, None, :]
    )
    expressions = np.zeros((frames, len(avatar.expression_names)))
    return Motion(rotations, np.zeros((frames, 3)), expressions, Fraction(30))


def body_camera(size: int) -> Camera:
    """A square picture of which the body fills about a fifth."""
    return Camera.look_at(np.array([0.0, -0.15, 3.6]), np.array([0.0, -0.15, 0.0]), size, size, 0.52)


def stages(frame: Frame, camera: Camera) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(name, function that does the work of one stage) for one frame, in the order of clause 7.1."""
    canonical, engine = frame.canonical, frame.engine
    joints = frame.avatar["joint_count"]

    def again() -> Frame:
        return Frame(*(getattr(frame, name) for name in Frame.__dataclass_fields__))

    yield "joints", lambda: again().joints
    matrices = frame.joints
    displaced = engine.displace(frame.pose, canonical.offsets, joints, len(canonical.position))
    yield (
        "expressions",
        lambda: engine.displace(frame.pose, canonical.offsets, joints, len(canonical.position)),
    )
    yield "skinning", lambda: engine.skin(matrices, canonical, displaced, canonical.factor)
    mean, factor, blend = frame.gaussians
    yield "projection", lambda: project_records(mean, factor, blend, canonical.opacity, canonical.sh, camera)
    records = project_records(mean, factor, blend, canonical.opacity, canonical.sh, camera)
    yield "sorting", lambda: sort(records)
    projected: Projected = sort(records)
    yield "binning", lambda: bin_tiles(projected, camera)
    tiles = bin_tiles(projected, camera)
    yield "rasterising", lambda: rasterise(projected, camera, tiles)


def least(work: Callable[[], Any], runs: int) -> float:
    """Milliseconds of the fastest of `runs` runs, after one that warms up."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def motion_milliseconds(data: bytes, runs: int) -> float:
    """Milliseconds to decode the pose of one frame: those of the second motion unit, the fastest of several runs."""
    times = []
    for _ in range(runs):
        frames = Decoder(data, strict=True).frames()
        poses = [next(frames) for _ in range(MOTION_UNIT)]
        start = time.perf_counter()
        poses = list(frames)
        times.append((time.perf_counter() - start) / len(poses))
    return 1000 * min(times)


def canonical_decoding(runs: int) -> dict[str, Any]:
    """§7.3 Times on one thread to decode the shipped body's canonical Gaussians from their stream, SH degree 0.

    The peers, in the same run, unpack the same Gaussians as 16-bit arrays. The stream is the encoder's
    default, without expressions.
    """
    avatar = replace(body_avatar(), expression_names=(), expressions=np.zeros((0, 0, 3)))
    data = encode(avatar, still(avatar.rig.count, 0))
    arrays = array_bytes(avatar)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        own = least(lambda: next(Decoder(data, strict=True).frames()), runs)
    finally:
        numba.set_num_threads(threads)
    peers: dict[str, dict[str, float]] = {}
    coders: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
        "lzma -9e": (lzma_9(arrays), lzma.decompress),
        "zstd -19": (zstd_19(arrays), zstandard.ZstdDecompressor().decompress),
    }
    for name, (packed, unpack) in coders.items():
        peers[name] = {"bytes": len(packed), "ms": least(partial(unpack, packed), runs)}
    count = avatar.gaussians.count
    return {
        "gaussians": count,
        "bytes": len(data),
        "ms": own,
        "gaussians_per_s": 1000 * count / own,
        "peers": peers,
    }


def measure(
    sizes: tuple[int, ...] = (512, 1024), count: int = 100_000, sh_degree: int = 3, runs: int = 15
) -> dict[str, Any]:
    """Everything `hga bench speed` prints: times by picture size, threads and stage; ratios to float."""
    avatar = synthetic_body(count, sh_degree)
    start = time.perf_counter()
    data = encode(avatar, swaying(avatar), Settings(smallest_scale=1e-6))
    encoding = time.perf_counter() - start
    structural = least(lambda: next(Decoder(data, strict=True).frames()), 2)
    frames = list(Decoder(data, strict=True).frames())
    frame = frames[7]
    report: dict[str, Any] = {
        "gaussians": count,
        "sh_degree": sh_degree,
        "joints": avatar.rig.count,
        "stream_bytes": len(data),
        "encode_s": encoding,
        "first_frame_ms": structural,
        "motion_decode_ms_per_frame": motion_milliseconds(data, runs),
        "canonical": canonical_decoding(runs),
        "pictures": [],
    }
    available = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    for size in sizes:
        camera = body_camera(size)
        covered = float((frame.render(camera)[..., 3] > 127).mean())
        start = time.perf_counter()
        decoded_float_picture(frame, camera)
        float_ms = 1000 * (time.perf_counter() - start)
        for threads in sorted({1, min(2, available)}):
            numba.set_num_threads(threads)
            timings = {name: least(work, runs) for name, work in stages(frame, camera)}
            total = sum(timings.values()) + report["motion_decode_ms_per_frame"]
            report["pictures"].append(
                {"size": size, "threads": threads, "covered": covered, "stages_ms": timings, "frame_ms": total,
                 "float64_ms": float_ms, "ratio_to_float64": total / float_ms}
            )  # fmt: skip
        numba.set_num_threads(available)
    return report
