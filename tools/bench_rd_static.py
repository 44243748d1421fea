"""The benchmark of static content: bytes of whole streams against the quality of their pictures, peers beside them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from reference_decoder import Camera, Decoder, Frame
from reference_decoder.rendering import render
from reference_decoder.units import UnitReader
from reference_encoder.content import Avatar, Gaussians, Motion, Rig
from reference_encoder.encode import encode
from reference_encoder.quality import fidelity, quaternion_matrices, source_picture
from reference_encoder.quantise import Settings, to_integers
from reference_encoder.structural import as_coded
from tools.bench_rd_peers import Coded, Peer, array_bytes, zstd_19
from tools.cameras import Bounds, View
from tools.encoding import scaled

QUALITIES = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125)
CAMERAS, SIZE = 8, 512
_WIDEST = 1.9  # metres: the widest scale that Q.24 factors are made of here
_SH_LIMIT = 32767  # Q.12, of the renderer
_LEAST_NOISE = 1e-10  # of the full range, squared: equal pictures count as 100 dB
_WARM_UP = 256  # Gaussians of the stream that loads what is compiled, before anything is timed

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One coder at one quality: bytes, PSNR of object pixels in dB, seconds to encode and to decode."""

    content: str
    coder: str
    setting: str
    bytes: int
    psnr: float
    encoding: float
    decoding: float
    canonical: int | None = None  # bytes of the canonical layer


@dataclass(frozen=True)
class StaticReport:
    """What was measured of one content: HGA at several qualities, the peers, and why peers are missing."""

    content: str
    gaussians: int
    sh_degree: int
    hga: list[Row] = field(default_factory=list)
    peers: list[Row] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ExpressionReport:
    """An avatar with all its expressions against zstd -19 of its 16-bit arrays; errors in millimetres."""

    content: str
    gaussians: int
    expressions: int
    bytes: int  # the whole stream without the motion units that only serve to measure
    canonical: int
    offsets: int  # bytes of the expression layer
    zstd: int
    error_max: float
    error_mean: float
    encoding: float


class Judge:
    """§9 Measures pictures from a ring of cameras against the source's in float64."""

    def __init__(self, gaussians: Gaussians, size: int = SIZE) -> None:
        self.cameras = ring(gaussians, size)
        avatar, motion = alone(gaussians), still(1, 0)
        self.references = [source_picture(avatar, motion, 0, camera) for camera in self.cameras]

    def psnr(self, picture: Callable[[Camera], np.ndarray]) -> float:
        """dB over the object pixels, every camera counting the same; `picture` renders (H, W, 4) uint8."""
        pairs = zip(self.cameras, self.references, strict=True)
        noise = [10 ** (-fidelity(picture(camera), source).object / 10) for camera, source in pairs]
        return -10 * math.log10(max(sum(noise) / len(noise), _LEAST_NOISE))


def ring(gaussians: Gaussians, size: int = SIZE) -> list[Camera]:
    """Eight cameras around the object, level with its middle, each as near as shows all of it.

    The first stands a quarter of a step aside of the front: an encoder that looks at pictures starts there.
    """
    corners = Bounds.of(gaussians.positions, gaussians.opacities).corners
    views = [View(360 * (number + 0.25) / CAMERAS) for number in range(CAMERAS)]
    return [view.camera(corners, (size, size), None) for view in views]


def alone(gaussians: Gaussians) -> Avatar:
    """The Gaussians on a rig of one joint, for coders of static content."""
    rig = Rig(("root",), np.array([-1]), np.zeros((1, 3)))
    return Avatar(gaussians, rig, np.zeros((gaussians.count, 1), np.int64), np.ones((gaussians.count, 1)))


def still(joints: int, expressions: int) -> Motion:
    """One frame at rest."""
    return Motion(np.zeros((1, joints, 3)), np.zeros((1, 3)), np.zeros((1, expressions)), Fraction(30))


def integer_picture(gaussians: Gaussians, camera: Camera) -> np.ndarray:
    """§9 The integer picture (H, W, 4) of float Gaussians, quantised as finely as the renderer takes them."""
    factors = quaternion_matrices(gaussians.rotations) * gaussians.scales.clip(0, _WIDEST)[:, None, :]
    return render(
        to_integers(gaussians.positions, 2.0**-20).astype(np.int32),
        to_integers(factors, 2.0**-24).astype(np.int32),
        None,
        to_integers(gaussians.opacities.clip(0, 1), 2.0**-14).astype(np.int32),
        to_integers(gaussians.sh, 2.0**-12).clip(-_SH_LIMIT, _SH_LIMIT).astype(np.int16),
        camera,
    )


def layer_bytes(data: bytes, kind: str) -> int:
    """Bytes of all units of one type, their headers included."""
    return sum(unit.end - unit.start for unit in UnitReader(data) if unit.type == kind)


def measure_static(
    name: str,
    gaussians: Gaussians,
    qualities: Sequence[float] = QUALITIES,
    peers: Sequence[Peer] = (),
    *,
    settings: Callable[[float], Settings] = scaled,
    size: int = SIZE,
    progress: Progress = lambda what, done, total: None,
) -> StaticReport:
    """HGA at each of `qualities` (factors on its quantiser steps) and the `peers`, judged by the same pictures.

    HGA's pictures are those of the decoded stream; a peer's are the integer renderer's of what it decoded.
    """
    report = StaticReport(name, gaussians.count, gaussians.sh_degree)
    judge = Judge(gaussians, size)
    total = len(qualities) + len(peers)
    warm_up(gaussians)
    for done, quality in enumerate(sorted(qualities, reverse=True), 1):
        report.hga.append(hga_row(name, gaussians, quality, settings(quality), judge))
        progress(name, done, total)
    for done, peer in enumerate(peers, len(qualities) + 1):
        coded = peer.code(gaussians)
        if isinstance(coded, str):
            report.missing.extend({f"{peer.name}: {coded}"}.difference(report.missing))
        else:
            report.peers.append(_peer_row(name, peer, coded, judge))
        progress(name, done, total)
    return report


def warm_up(gaussians: Gaussians) -> None:
    """Loads what is compiled, by a stream of a few of the Gaussians."""
    part = Gaussians(*(getattr(gaussians, name)[:_WARM_UP] for name in Gaussians.__dataclass_fields__))
    for frame in Decoder(encode(alone(part), still(1, 0))).frames():
        frame.render(ring(part, 16)[0])


def hga_row(name: str, gaussians: Gaussians, quality: float, settings: Settings, judge: Judge) -> Row:
    """One point of HGA's curve: the whole stream, its decoded pictures."""
    start = time.perf_counter()
    data = encode(alone(gaussians), still(1, 0), settings, names=False)
    encoded = time.perf_counter()
    frame = next(Decoder(data, strict=True).frames())
    decoded = time.perf_counter()
    psnr = judge.psnr(frame.render)
    canonical = layer_bytes(data, "canonical")
    return Row(
        name, "hga", f"steps x{quality:g}", len(data), psnr, encoded - start, decoded - encoded, canonical
    )


def _peer_row(name: str, peer: Peer, coded: Coded, judge: Judge) -> Row:
    psnr = judge.psnr(lambda camera: integer_picture(coded.gaussians, camera))
    return Row(name, peer.name, peer.setting, coded.bytes, psnr, coded.encoding, coded.decoding)


def measure_expressions(name: str, avatar: Avatar, settings: Settings | None = None) -> ExpressionReport:
    """The avatar's complete stream, and the error of each expression at weight 1."""
    count = len(avatar.expression_names)
    chosen = replace(settings or Settings(), expression_weight_step=2.0**-12, random_access=0.0)
    weights = np.concatenate([np.zeros((1, count)), np.eye(count)])
    still_joints = np.zeros((count + 1, avatar.rig.count, 3))
    motion = Motion(still_joints, np.zeros((count + 1, 3)), weights, Fraction(30))
    start = time.perf_counter()
    data = encode(avatar, motion, chosen)
    encoding = time.perf_counter() - start
    coded = as_coded(avatar, motion, chosen)
    errors = 1000 * expression_errors(coded, Decoder(data, strict=True).frames())
    return ExpressionReport(
        name,
        avatar.gaussians.count,
        count,
        len(data) - layer_bytes(data, "motion"),
        layer_bytes(data, "canonical"),
        layer_bytes(data, "expression"),
        len(zstd_19(array_bytes(avatar))),
        float(errors.max()),
        float(errors.mean()),
        encoding,
    )


def expression_errors(coded: Avatar, frames: Iterator[Frame]) -> np.ndarray:
    """(E, N) metres: what a decoded expression moves wrongly; frame e + 1 shows expression e alone.

    `coded` has the Gaussians in the order in which they decode.
    """
    neutral = _means(next(frames))
    offsets = np.array([_means(frame) - neutral for frame in frames])
    return np.linalg.norm(offsets - coded.expressions, axis=2)


def _means(frame: Frame) -> np.ndarray:
    """(N, 3) metres."""
    return np.array(frame.gaussians[0], np.float64) / 2**20
