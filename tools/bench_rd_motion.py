"""The motion benchmark: bytes of real motion units at the errors that ACL makes of the same clips."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from reference_decoder import Decoder
from reference_decoder.units import UnitReader
from reference_encoder.content import Avatar, Gaussians, Motion
from reference_encoder.encode import encode
from reference_encoder.motion_model import SMALLEST_REACH, kinematics
from reference_encoder.motions import decimate, load_motion, unwrap
from reference_encoder.quantise import Settings, rest_offsets
from reference_encoder.skeletons import smplx_skeleton

PEERS = Path(__file__).parent / "content" / "peers"
CLIPS = Path(__file__).parent / "content" / "data"
SKELETON = Settings(effort=1, checksums=False)
"""No pictures of an avatar that is nothing but a skeleton: what is measured is motion."""
AT_MOST = replace(SKELETON, motion_quantum=0.9, motion_lambda=0.3)
"""Best where only the largest error counts; the encoder's own default makes the mean error smaller too."""
_RUNS = 5
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
    """One clip: bytes of its motion units, errors in millimetres, processor seconds to encode and decode the stream."""

    clip: str
    frames: int
    bytes: int
    joint_mean: float
    joint_max: float
    shell_max: float
    encoding: float
    decoding: float
    peer: Peer


@dataclass(frozen=True)
class Mode:
    """All clips in one way of coding; errors in millimetres, frames per second of processor time."""

    name: str
    random_access: float  # seconds between random access points, 0 for one key unit
    frames: int
    bytes: int
    ratio: float  # to ACL's bytes
    joint_mean: float
    joint_max: float
    encoded_per_s: float
    decoded_per_s: float
    clips: list[Row]

    @classmethod
    def of(cls, name: str, random_access: float, rows: Sequence[Row]) -> Mode:
        """What the rows of all clips come to."""
        frames, size = sum(row.frames for row in rows), sum(row.bytes for row in rows)
        return cls(
            name,
            random_access,
            frames,
            size,
            size / sum(row.peer.bytes for row in rows),
            sum(row.joint_mean * row.frames for row in rows) / frames,
            max(row.joint_max for row in rows),
            frames / sum(row.encoding for row in rows),
            frames / sum(row.decoding for row in rows),
            list(rows),
        )


@dataclass(frozen=True)
class TrackPoint:
    """A track of expression weights at one quantiser step; steps and errors in 1/1000 of a weight."""

    step: float
    frames: int
    bytes: int
    weight_mean: float
    weight_max: float


LONG, LOW_DELAY = "long units", "one frame a unit"
MODES = {LONG: (0, 128), "groups of 2": (1, 128), "groups of 4": (2, 128), LOW_DELAY: (0, 1)}
"""§7.5.2 (group_shift, frames_per_unit) of each way of coding that is compared."""
MEAN_ERRORS = (0.3, 1.0, 3.0)  # mm
HGC_AVATAR = 646.0  # B/frame of that codec's own coder of poses, the mean of its four subjects
WEIGHT_ERRORS = (0.3, 1.0, 3.0)  # mean, in 1/1000 of a weight
FINER = 0.95  # from one step that is tried to the next

Progress = Callable[[str, int, int], None]


def measure_modes(clips: Sequence[str] = (), progress: Progress = lambda *_: None) -> list[Mode]:
    """Every mode at no larger errors than ACL's at 1 mm, with one key unit and with one a second."""
    jobs = [(access, name) for access in (0.0, 1.0) for name in MODES]
    counted, found = _counted(progress, "modes of motion", len(jobs), clips), []
    for access, name in jobs:
        shift, longest = MODES[name]
        chosen = replace(AT_MOST, group_shift=shift)
        rows = measure_motion(clips, random_access=access, frames_per_unit=longest, settings=chosen)
        found.append(Mode.of(name, access, list(counted(rows))))
    return found


def _counted(
    progress: Progress, what: str, jobs: int, clips: Sequence[str]
) -> Callable[[Iterator[Row]], Iterator[Row]]:
    """Passes the rows of so many jobs on and tells `progress` how many there were, of all that there will be."""
    total, done = jobs * (len(clips) or len(acl())), itertools.count(1)

    def counted(rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            progress(what, next(done), total)
            yield row

    return counted


def summary(modes: Sequence[Mode]) -> dict[str, float]:
    """What the modes come to: shares of ACL's and of HGC-Avatar's bytes, and what low delay costs over groups."""
    by_name = {(mode.name, mode.random_access): mode for mode in modes}
    groups = min(
        mode.bytes for mode in modes if mode.name not in (LONG, LOW_DELAY) and not mode.random_access
    )
    long = by_name[LONG, 0.0]
    return {
        "to_acl": long.ratio,
        "to_acl_with_a_key_a_second": by_name[LONG, 1.0].ratio,
        "low_delay_to_best_groups": by_name[LOW_DELAY, 0.0].bytes / groups,
        "to_hgc_avatar": long.bytes / long.frames / HGC_AVATAR,
    }


def measure_means(clips: Sequence[str] = (), progress: Progress = lambda *_: None) -> list[Mode]:
    """Bytes at mean errors of the joints, by rate control, in long units and in groups of 4; one key unit."""
    jobs = [(mean, name) for mean in MEAN_ERRORS for name in (LONG, "groups of 4")]
    counted, found = _counted(progress, "mean errors of motion", len(jobs), clips), []
    for mean, name in jobs:
        chosen = replace(SKELETON, mean_error=mean / 1000, group_shift=MODES[name][0])
        rows = list(counted(measure_motion(clips, settings=chosen)))
        found.append(Mode.of(f"{name}, {mean:g} mm", 0.0, rows))
    return found


def measure_track(track: Motion, errors: Sequence[float] = WEIGHT_ERRORS) -> Iterator[TrackPoint]:
    """The expression weights of a track alone, without its joints, at mean errors of 1/1000; one key unit."""
    count = track.expressions.shape[1]
    face = replace(
        skeleton_avatar(), expressions=np.zeros((count, 55, 3)), expression_names=track.expression_names
    )
    still = replace(
        track,
        rotations=np.zeros((track.count, 55, 3)),
        translations=np.zeros((track.count, 3)),
        joint_names=face.rig.names,
    )
    for wanted in errors:
        step = 4 * wanted  # a uniform error has a quarter of its step in the mean, weights of 0 have none
        for _ in range(2):
            step *= wanted / _track_point(face, still, step).weight_mean
        point = _track_point(face, still, step / FINER)
        while point.weight_mean > wanted:
            point = _track_point(face, still, step)
            step *= FINER
        yield point


def _track_point(face: Avatar, track: Motion, step: float) -> TrackPoint:
    chosen = replace(SKELETON, expression_weight_step=step / 1000, random_access=0.0)
    data, count = encode(face, track, chosen, names=False), len(face.expression_names)
    weights = np.array([frame.pose[-count:] for frame in Decoder(data, strict=True).frames()]) / 2**14
    error = 1000 * np.abs(weights - track.expressions)
    return TrackPoint(step, track.count, motion_bytes(data), float(error.mean()), float(error.max()))


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
    _load_compiled()
    for peer in acl():
        if clips and peer.clip not in clips:
            continue
        motion = peer_clip(peer, folder)
        chosen = replace(
            settings or AT_MOST,
            motion_tolerance=peer.joint_max / 1000,
            shell_tolerance=peer.shell_max / 1000,
            random_access=random_access,
            frames_per_unit=frames_per_unit,
        )
        yield _measured(peer, avatar, motion, chosen)


@cache
def _load_compiled() -> None:
    """Codes a short motion, so that what is measured next does not wait for compiled code."""
    avatar = skeleton_avatar()
    still = Motion(np.zeros((9, avatar.rig.count, 3)), np.zeros((9, 3)), np.zeros((9, 0)), Fraction(30))
    list(Decoder(encode(avatar, still, Settings(group_shift=1))).frames())


def _measured(peer: Peer, avatar: Avatar, motion: Motion, settings: Settings) -> Row:
    start = time.process_time()
    data = encode(avatar, motion, settings, names=False)
    encoding = time.process_time() - start
    decoding = float("inf")
    for _ in range(_RUNS):
        start = time.process_time()
        poses = np.array([frame.pose for frame in Decoder(data, strict=True).frames()])
        decoding = min(decoding, time.process_time() - start)
    joint, shell = pose_errors(avatar, motion, poses)
    return Row(
        peer.clip,
        motion.count,
        motion_bytes(data),
        float(joint.mean()),
        float(joint.max()),
        float(shell.max()),
        encoding,
        decoding,
        peer,
    )


def motion_bytes(data: bytes) -> int:
    """§5.3 The bytes of all motion units with their headers."""
    return sum(unit.end - unit.start for unit in UnitReader(data) if unit.type == "motion")


def pose_errors(avatar: Avatar, motion: Motion, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, J) millimetres: errors of the joints, and the largest of six points 3 cm around each; poses (F, C)."""
    joints = avatar.rig.count
    rotations = poses[:, 3 : 3 + 3 * joints].reshape(-1, joints, 3) / 2**28
    body = np.asarray(avatar.rig.parents), rest_offsets(avatar.rig)
    turned, placed = kinematics(*body, motion.rotations, motion.translations)
    other, there = kinematics(*body, rotations, poses[:, :3] / 2**20)
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
