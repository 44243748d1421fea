"""The benchmark of what the encoder decides about Gaussians: levels of effort, and priority of the face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from reference_decoder import Camera, Decoder
from reference_encoder.content import Avatar, Gaussians
from reference_encoder.encode import encode
from reference_encoder.quality import Fidelity, fidelity, source_picture
from reference_encoder.quantise import Settings
from reference_encoder.sensitivity import fine_share
from reference_encoder.structural import EFFORTS
from tools.bench_rd_static import Judge, Row, hga_row, still, warm_up
from tools.cameras import Bounds, View
from tools.encoding import scaled
from tools.rd_plot import bd_rate

PRIORITIES = (1.0, 2.0, 4.0)
_PART = 10_000  # Gaussians, the highest ones: nine levels at several qualities take long
_NEAR = 0.01  # by how much of the bytes two streams of equal size may differ
_STEEP = 2.5  # octaves of the picture step that about halve the bytes
_SEARCHES = 4
_SIZE = 512

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Level:
    """A level of effort: its points, and BD-rates in per cent to the level below and to the first."""

    effort: int
    rows: list[Row]
    to_below: float | None
    to_first: float | None


@dataclass(frozen=True)
class EffortReport:
    """What the levels of effort make of one content."""

    content: str
    gaussians: int
    levels: list[Level] = field(default_factory=list)


@dataclass(frozen=True)
class FaceRow:
    """Bytes with a priority of face and hands, and PSNR in dB of pictures of the face, a hand and everything."""

    priority: float
    picture_step: float
    bytes: int
    face: float
    hand: float
    all: float


@dataclass(frozen=True)
class FaceReport:
    """What priority does at equal bytes."""

    content: str
    share: float  # of the Gaussians that are face or hands
    rows: list[FaceRow] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


def measure_effort(
    name: str, gaussians: Gaussians, qualities: Sequence[float], progress: Progress
) -> EffortReport:
    """All levels on the highest Gaussians of the content."""
    part = highest(gaussians, _PART)
    warm_up(part)
    judge, report = Judge(part), EffortReport(name, part.count)
    curves: list[list[tuple[float, float]]] = []
    for effort in EFFORTS:
        rows: list[Row] = []
        for quality in sorted(qualities, reverse=True):
            progress(name, len(qualities) * len(curves) + len(rows), len(qualities) * len(EFFORTS))
            rows.append(hga_row(name, part, quality, replace(scaled(quality), effort=effort), judge))
        curves.append([(row.bytes, row.psnr) for row in rows])
        rates = [bd_rate(curves[n], curves[-1]) for n in (max(len(curves) - 2, 0), 0)]
        report.levels.append(Level(effort, rows, *(rates if len(curves) > 1 else (None, None))))
    return report


def highest(gaussians: Gaussians, count: int) -> Gaussians:
    """The `count` Gaussians with the greatest y, as they are ordered."""
    rows = np.sort(np.argsort(-gaussians.positions[:, 1], kind="stable")[:count])
    return Gaussians(*(getattr(gaussians, name)[rows] for name in Gaussians.__dataclass_fields__))


def measure_face(name: str, avatar: Avatar, output_dir: Path | None, progress: Progress) -> FaceReport:
    """§9 Streams of equal bytes with several priorities: pictures of the head, of a hand and of all.

    The avatar stands at rest and has no expressions, so that bytes are those of its Gaussians.
    """
    avatar = replace(avatar, expressions=avatar.expressions[:0], expression_names=())
    g, motion, report = (
        avatar.gaussians,
        still(avatar.rig.count, 0),
        FaceReport(name, fine_share(avatar).mean()),
    )
    cameras = [_cameras(g, rows) for rows in (*_face_and_hand(avatar), np.ones(g.count, bool))]
    sources = [[source_picture(avatar, motion, 0, camera) for camera in group] for group in cameras]
    shown, wanted = [sources[0][0][..., :3] * 255], 0
    for n, priority in enumerate(PRIORITIES):
        progress(name, n, len(PRIORITIES))
        step, data = _of_size(avatar, priority, wanted)
        wanted = wanted or len(data)
        frame = next(Decoder(data, strict=True).frames())
        pictures = [[frame.render(camera) for camera in group] for group in cameras]
        psnrs = (_psnr(made, true) for made, true in zip(pictures, sources, strict=True))
        report.rows.append(FaceRow(priority, step, len(data), *psnrs))
        shown.append(pictures[0][0][..., :3])
    if output_dir is not None:
        output_dir.mkdir(parents=True, exist_ok=True)
        path = output_dir / f"face_{name}.png"
        Image.fromarray(np.concatenate(shown, axis=1).clip(0, 255).astype(np.uint8)).save(path)
        report.pictures.append(str(path))
    return report


def _face_and_hand(avatar: Avatar) -> tuple[np.ndarray, np.ndarray]:
    """(N,) which Gaussians the joint called head moves, and which are the left hand, away from the middle."""
    moved = avatar.skin_weights * (avatar.skin_joints == avatar.rig.names.index("head"))
    head = moved.sum(axis=1) > 0.5
    return head, (fine_share(avatar) > 0.5) & ~head & (avatar.gaussians.positions[:, 0] > 0)


def _of_size(avatar: Avatar, priority: float, wanted: int) -> tuple[float, bytes]:
    """A stream of the avatar at rest of as many bytes as `wanted`, if that is not 0, and its picture step."""
    step, found = Settings().picture_step, []
    for _ in range(_SEARCHES if wanted else 1):
        settings = replace(Settings(), picture_step=step, face_priority=priority)
        data = encode(avatar, still(avatar.rig.count, 0), settings, names=False)
        off = len(data) / (wanted or len(data))
        found.append((abs(off - 1), step, data))
        if found[-1][0] <= _NEAR:
            break
        step *= off**_STEEP
    return min(found, key=lambda each: each[0])[1:]


def _cameras(gaussians: Gaussians, rows: np.ndarray) -> list[Camera]:
    corners = Bounds.of(gaussians.positions[rows], gaussians.opacities[rows]).corners
    return [View(azimuth).camera(corners, (_SIZE, _SIZE), None) for azimuth in (10.0, 55.0, -35.0)]


def _psnr(made: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> float:
    found: list[Fidelity] = [fidelity(*pair) for pair in zip(made, true, strict=True)]
    return float(-10 * np.log10(np.mean([10 ** (-each.object / 10) for each in found])))
