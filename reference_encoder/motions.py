"""§1 Motions as people have them: AMASS and SMPL-X arrays, BVH files and ARKit tracks."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from reference_encoder.arrays import load_array, load_arrays, take_numbers
from reference_encoder.bvh import read_bvh
from reference_encoder.content import ContentError, Motion, Rig
from reference_encoder.skeletons import SMPL_JOINTS, SMPLH_JOINTS, SMPLX_JOINTS, leg_length, smplx_skeleton

TURN = 2 * np.pi
_LAYOUTS = {3 * len(names): names for names in (SMPLX_JOINTS, SMPLH_JOINTS, SMPL_JOINTS)}


def load_motion(path: str | Path, *, up: str = "y", scale: float | None = None) -> Motion:
    """One motion from a file, y up, in metres, its rotations unwrapped.

    By suffix: `.npz` (AMASS: `poses` of SMPL-X 165, SMPL-H 156 or SMPL 72 columns, `trans`,
    `mocap_frame_rate` or `mocap_framerate`), `.npy` (single poses, taken as 30 fps), `.bvh`,
    `.json` or `.json.gz` (ARKit weights and head pose; the only joint is `head`).
    `up="z"` turns an AMASS file as published into y up. `scale` is metres per unit of a BVH file;
    None estimates it (see `load_bvh`). The displacement of an AMASS root is `trans` itself: add the
    rest root of the body that it was fitted to (`retarget` finds the floor without it).
    Raises ContentError with the file and what is wrong in it.
    """
    path = Path(path)
    if up not in ("y", "z"):
        raise ContentError(f"{path.name}: up axis {up!r} is neither 'y' nor 'z'")
    loader = _loader(path, scale)
    try:
        motion = loader(path)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ContentError(f"{path.name}: cannot be read: {error}") from error
    _check(motion, path.name)
    if up == "z":
        motion = _turn_up(motion)
    return replace(motion, rotations=unwrap(motion.rotations))


def _loader(path: Path, scale: float | None) -> Callable[[Path], Motion]:
    name = path.name.lower()
    if name.endswith(".npz"):
        return _load_amass
    if name.endswith(".npy"):
        return _load_poses
    if name.endswith(".bvh"):
        return lambda file: load_bvh(file, scale)[0]
    if name.endswith((".json", ".json.gz")):
        return _load_arkit
    raise ContentError(f"{path.name}: not a motion file (.npz, .npy, .bvh, .json, .json.gz)")


def frame_rate(rate: float, where: str) -> Fraction:
    """The exact rate meant by a rounded one: a whole number or its 1000/1001 if within 0.02%."""
    if not np.isfinite(rate) or not 0 < rate <= 100_000:
        raise ContentError(f"{where}: frame rate {rate} is not usable")
    whole = round(rate)
    exact = [Fraction(whole), Fraction(round(rate * 1.001) * 1000, 1001)]
    nearest = min(exact, key=lambda candidate: abs(float(candidate) - rate))
    if nearest > 0 and abs(float(nearest) - rate) <= 2e-4 * rate:
        return nearest
    return Fraction(rate).limit_denominator(1001)


def _load_amass(path: Path) -> Motion:
    arrays = load_arrays(path)
    rate_keys = [key for key in ("mocap_frame_rate", "mocap_framerate") if key in arrays]
    if not rate_keys:
        raise ContentError(f"{path.name}: no array 'mocap_frame_rate' or 'mocap_framerate'")
    rate_key = rate_keys[0]
    rate = take_numbers(arrays, rate_key, path.name)
    if rate.size != 1:
        raise ContentError(f"{path.name}: array {rate_key!r} has {rate.size} values, one expected")
    poses = take_numbers(arrays, "poses", path.name)
    translations = take_numbers(arrays, "trans", path.name)
    return _posed(poses, translations, frame_rate(float(rate.reshape(())), path.name), path.name)


def _load_poses(path: Path) -> Motion:
    poses = load_array(path)
    if poses.dtype.kind not in "fiu":
        raise ContentError(f"{path.name}: not an array of numbers")
    poses = np.atleast_2d(poses.astype(np.float64))
    return _posed(poses, np.zeros((len(poses), 3)), Fraction(30), path.name)


def _posed(poses: np.ndarray, translations: np.ndarray, fps: Fraction, where: str) -> Motion:
    """A motion from one row of axis-angle numbers a frame, by the number of columns."""
    if poses.ndim != 2 or poses.shape[1] not in _LAYOUTS:
        raise ContentError(f"{where}: poses of shape {poses.shape}, (F, 165), (F, 156) or (F, 72) expected")
    if translations.shape != (len(poses), 3):
        raise ContentError(f"{where}: trans of shape {translations.shape}, ({len(poses)}, 3) expected")
    names = _LAYOUTS[poses.shape[1]]
    rotations = poses.reshape(len(poses), len(names), 3)
    if names is SMPLH_JOINTS:  # the same body and hands, without jaw and eyes
        full = np.zeros((len(poses), len(SMPLX_JOINTS), 3))
        full[:, [SMPLX_JOINTS.index(name) for name in names]] = rotations
        rotations, names = full, SMPLX_JOINTS
    return Motion(rotations, translations, np.zeros((len(poses), 0)), fps, names)


def load_bvh(path: str | Path, scale: float | None = None) -> tuple[Motion, Rig]:
    """A BVH file's motion and the skeleton it is for, in metres; its zero pose is the rest pose.

    `scale` is metres per unit of the file. None makes the legs (hip to ankle) as long as those of
    `smplx_skeleton`, for which `smplx_names` must know the names of its leg joints. Raises
    ContentError.
    """
    clip, name = read_bvh(path), Path(path).name
    if scale is None:
        legs = leg_length(clip.rig)
        if legs is None:
            raise ContentError(f"{name}: no hip, knee and ankle known by name: state metres per unit (scale)")
        scale = (leg_length(smplx_skeleton()) or 1.0) / legs
    if not 0 < scale < np.inf:
        raise ContentError(f"{name}: scale {scale} is not a positive number")
    rig = Rig(clip.rig.names, clip.rig.parents, clip.rig.joints * scale)
    rate = frame_rate(1 / clip.frame_time, name)
    still = np.zeros((len(clip.rotations), 0))
    return Motion(unwrap(clip.rotations), clip.translations * scale, still, rate, rig.names), rig


def _load_arkit(path: Path) -> Motion:
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            track = json.load(file)
        names = tuple(str(name) for name in track["names"])
        weights = [frame["weights"] for frame in track["frames"]]
        _check_widths(weights, len(names), path.name)
        expressions = np.array(weights, dtype=np.float64).reshape(len(weights), len(names))
        times = np.array([frame["time"] for frame in track["frames"]], dtype=np.float64)
        head = np.array(track.get("head_pose") or np.zeros((len(times), 3)), dtype=np.float64)
    except json.JSONDecodeError as error:
        raise ContentError(f"{path.name}: not JSON: {error}") from error
    except KeyError as error:
        raise ContentError(f"{path.name}: an ARKit track needs {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ContentError(f"{path.name}: not an ARKit track: {error}") from error
    if head.shape != (len(times), 3):
        raise ContentError(f"{path.name}: head_pose of shape {head.shape}, ({len(times)}, 3) expected")
    step = np.diff(times).mean() if len(times) > 1 else 1 / 30
    if not np.isfinite(step) or step <= 0:
        raise ContentError(f"{path.name}: times do not increase")
    still = np.zeros((len(times), 3))
    return Motion(head[:, None], still, expressions, frame_rate(1 / step, path.name), ("head",), names)


def _check_widths(rows: list[list[float]], width: int, where: str) -> None:
    for index, row in enumerate(rows):
        if len(row) != width:
            raise ContentError(f"{where}: frame {index} has {len(row)} weights, {width} expected")


def _check(motion: Motion, where: str) -> None:
    if motion.count == 0:
        raise ContentError(f"{where}: no frames")
    for name in ("rotations", "translations", "expressions"):
        array = getattr(motion, name)
        bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
        if len(bad):
            raise ContentError(f"{where}: {name} of frame {bad[0]} are not finite")


def _turn_up(motion: Motion) -> Motion:
    """The same motion after a quarter turn about x that takes z up to y up."""
    turn = Rotation.from_rotvec([-np.pi / 2, 0, 0])
    rotations = motion.rotations.copy()
    rotations[:, 0] = (turn * Rotation.from_rotvec(rotations[:, 0])).as_rotvec()
    return replace(motion, rotations=rotations, translations=turn.apply(motion.translations))


def unwrap(rotations: np.ndarray) -> np.ndarray:
    """The same rotations (F, J, 3), each as the axis-angle nearest to that of the frame before.

    A rotation by `angle` about `axis` is also one by `angle` + 2 pi k; the representatives of norm at
    most 2 pi compete, so a joint that turns on beyond a full turn comes back by a jump. A rotation by
    nothing has every axis: it becomes a full turn about the previous axis when that is nearer.
    The first frame takes its shortest representative.
    """
    angle = np.linalg.norm(rotations, axis=-1, keepdims=True)
    axis = np.divide(rotations, angle, out=np.zeros_like(rotations), where=angle > 0)
    positive = np.fmod(angle, TURN)
    near = np.where(angle > TURN, positive * axis, rotations)
    angle = np.where(angle > TURN, positive, angle)
    far = (angle - TURN) * axis  # the same rotation the other way round
    out = np.where(angle > np.pi, far, near)
    for frame in range(1, len(out)):
        before = out[frame - 1]
        norm = np.linalg.norm(before, axis=-1, keepdims=True)
        full_turn = np.divide(TURN * before, norm, out=np.zeros_like(before), where=norm > 0)
        other = np.where(angle[frame] > 1e-9, far[frame], full_turn)
        closer = np.linalg.norm(other - before, axis=-1) < np.linalg.norm(near[frame] - before, axis=-1)
        out[frame] = np.where(closer[:, None], other, near[frame])
    return out


def decimate(motion: Motion, step: int) -> Motion:
    """Frames 0, step, 2 step, ... of a motion, their numbers unchanged, at 1/step of its rate."""
    if step < 1:
        raise ContentError(f"motion: cannot keep one frame in {step}")
    return replace(
        motion,
        rotations=motion.rotations[::step],
        translations=motion.translations[::step],
        expressions=motion.expressions[::step],
        fps=motion.fps / step,
    )


def resample(motion: Motion, fps: Fraction) -> Motion:
    """The motion at another rate: decimation when the ratio is whole, else interpolation.

    Rotations are interpolated on the sphere along the shorter way, the rest linearly; the clip never
    reaches beyond its last frame.
    """
    if fps <= 0:
        raise ContentError(f"motion: frame rate {fps} is not positive")
    ratio = motion.fps / fps
    if ratio.denominator == 1:
        return motion if ratio == 1 else decimate(motion, ratio.numerator)
    count = int((motion.count - 1) / ratio) + 1
    times = np.arange(count) * float(ratio)
    times[-1] = min(times[-1], motion.count - 1)
    frames = np.arange(motion.count)

    def linear(values: np.ndarray) -> np.ndarray:
        columns = [np.interp(times, frames, column) for column in values.T]
        return np.stack(columns, axis=1) if columns else np.zeros((count, 0))

    rotations = np.repeat(motion.rotations[:1], count, axis=0)
    if motion.count > 1:
        for joint in range(rotations.shape[1]):
            track = Slerp(frames, Rotation.from_rotvec(motion.rotations[:, joint]))
            rotations[:, joint] = track(times).as_rotvec()
    return replace(
        motion,
        rotations=unwrap(rotations),
        translations=linear(motion.translations),
        expressions=linear(motion.expressions),
        fps=fps,
    )
