"""The motion benchmark: bytes of real motion units at the errors that ACL makes of the same clips."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from reference_decoder import Decoder
from reference_decoder.units import UnitReader
from reference_encoder.content import Avatar, Gaussians, Motion
from reference_encoder.encode import encode
from reference_encoder.motion_model import SMALLEST_REACH, kinematics
from reference_encoder.motions import decimate, load_motion, unwrap
from reference_encoder.quantise import Settings
from reference_encoder.skeletons import smplx_skeleton

PEERS = Path(__file__).parent / "content" / "peers"
CLIPS = Path(__file__).parent / "content" / "data"
ACL_PRECISION = "0.001"  # metres: ACL's usual setting


@dataclass(frozen=True)
class Peer:
    """What ACL makes of a clip at one precision; errors in millimetres."""

    clip: str
    frames: int
    bytes: int
    joint_max: float
    shell_max: float


@dataclass(frozen=True)
class Row:
    """One clip: bytes of its motion units, errors in millimetres, seconds to encode and to decode the stream."""

    clip: str
    frames: int
    bytes: int
    joint_mean: float
    joint_max: float
    shell_max: float
    encoding: float
    decoding: float
    peer: Peer


def acl(precision: str = ACL_PRECISION, folder: Path = PEERS) -> list[Peer]:
    """The rows of ACL's table at one precision (metres)."""
    with (folder / "acl_30fps.csv").open(encoding="utf-8", newline="") as file:
        return [
            Peer(
                row["clip"],
                int(row["frames"]),
                int(row["bytes"]),
                float(row["joint_max_mm"]),
                float(row["shell3cm_max_mm"]),
            )
            for row in csv.DictReader(file)
            if row["precision_m"] == precision
        ]


def skeleton_avatar() -> Avatar:
    """The 55 joints of SMPL-X with one Gaussian at each: an avatar that has nothing but a skeleton."""
    rig = smplx_skeleton()
    turned = np.tile([1.0, 0, 0, 0], (rig.count, 1))
    gaussians = Gaussians(
        rig.joints.copy(),
        turned,
        np.full((rig.count, 3), 0.01),
        np.ones(rig.count),
        np.zeros((rig.count, 1, 3)),
    )
    return Avatar(gaussians, rig, np.arange(rig.count)[:, None], np.ones((rig.count, 1)))


def peer_clip(peer: Peer, folder: Path) -> Motion:
    """The frames of a clip that ACL was given: all, or every n-th of a clip at n times the rate."""
    motion = load_motion(folder / f"{peer.clip}.npz")
    step = round(motion.count / peer.frames)
    motion = decimate(motion, step) if step > 1 else motion
    return replace(motion, rotations=unwrap(motion.rotations))


def measure_motion(
    clips: Sequence[str] = (),
    *,
    random_access: float = 0.0,
    frames_per_unit: int = 128,
    settings: Settings | None = None,
    folder: Path = CLIPS,
) -> Iterator[Row]:
    """Each clip (all without `clips`) at no larger errors of joints and of a 3 cm shell than ACL's at 1 mm.

    `random_access` is in seconds, 0 for one key unit at the start. `settings` gives whatever is not a limit.
    """
    avatar = skeleton_avatar()
    for peer in acl():
        if clips and peer.clip not in clips:
            continue
        motion = peer_clip(peer, folder)
        chosen = replace(
            settings or Settings(),
            motion_tolerance=peer.joint_max / 1000,
            shell_tolerance=peer.shell_max / 1000,
            random_access=random_access,
            frames_per_unit=frames_per_unit,
            checksums=False,
        )
        yield _measured(peer, avatar, motion, chosen)


def _measured(peer: Peer, avatar: Avatar, motion: Motion, settings: Settings) -> Row:
    start = time.perf_counter()
    data = encode(avatar, motion, settings, names=False)
    encoding = time.perf_counter() - start
    start = time.perf_counter()
    poses = np.array([frame.pose for frame in Decoder(data, strict=True).frames()])
    decoding = time.perf_counter() - start
    size = sum(unit.end - unit.start for unit in UnitReader(data) if unit.type == "motion")
    joint, shell = pose_errors(avatar, motion, poses)
    return Row(
        peer.clip,
        motion.count,
        size,
        float(joint.mean()),
        float(joint.max()),
        float(shell.max()),
        encoding,
        decoding,
        peer,
    )


def pose_errors(avatar: Avatar, motion: Motion, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, J) millimetres: errors of the joints, and the largest of six points 3 cm around each; poses (F, C)."""
    joints = avatar.rig.count
    rotations = poses[:, 3 : 3 + 3 * joints].reshape(-1, joints, 3) / 2**28
    turned, placed = kinematics(avatar.rig, motion.rotations, motion.translations)
    other, there = kinematics(avatar.rig, rotations, poses[:, :3] / 2**20)
    joint = np.linalg.norm(placed - there, axis=-1)
    around = [
        np.linalg.norm(placed - there + sign * SMALLEST_REACH * (turned - other)[..., axis], axis=-1)
        for axis in range(3)
        for sign in (1, -1)
    ]
    return 1000 * joint, 1000 * np.max(around, axis=0)


def rate(rows: Sequence[Row], fps: Fraction = Fraction(30)) -> float:
    """kbit/s of all clips together at `fps`."""
    return sum(row.bytes for row in rows) * 8 * float(fps) / 1000 / sum(row.frames for row in rows)
