"""§1 Avatars as files: our own float container for a bound avatar, and LAM heads."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from reference_encoder.arrays import load_arrays, take, take_numbers
from reference_encoder.content import Avatar, ContentError, Rig
from reference_encoder.splat_check import check_finite, checked_gaussians
from reference_encoder.splat_lam import load_lam_head

FORMAT = "hga-avatar-1"
INFLUENCES_MAX = 8
WEIGHT_TOLERANCE = 1e-3  # by which the weights of a Gaussian may miss the sum 1
_EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the time given to every member of the zip, so that equal content is equal bytes


def save_avatar(path: str | Path, avatar: Avatar) -> None:
    """§1 Writes an avatar as an .npz of these arrays; the same avatar gives the same bytes.

    `format` "hga-avatar-1"; of N Gaussians `positions` (N, 3) float32 m, `rotations` (N, 4) float32 w first,
    `scales` (N, 3) float32 m, `opacities` (N,) float32, `sh` (N, (degree+1)^2, 3) float32, `skin_joints`
    (N, K) uint16 and `skin_weights` (N, K) float32; of J joints `joint_names` (J,), `parents` (J,) int16,
    `joints` (J, 3) float64 m, and `family`; of E expressions `expression_names` (E,), `expression_starts`
    (E+1,) int64 into `expression_gaussians` (M,) uint32 and `expression_offsets` (M, 3) float32 m: the
    Gaussians each one moves. Raises ContentError for an avatar that `load_avatar` would refuse.
    """
    where = Path(path).name
    arrays = _arrays(avatar)
    _avatar(arrays, where)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            archive.writestr(member, buffer.getvalue(), compresslevel=6)


def load_avatar(path: str | Path) -> Avatar:
    """§1 The avatar in a file of `save_avatar` (.npz) or in a LAM WebRender head (.zip).

    Raises ContentError with the file and what is wrong in it.
    """
    path = Path(path)
    if path.suffix.lower() == ".zip":
        return load_lam_head(path)
    if path.suffix.lower() != ".npz":
        raise ContentError(f"{path.name}: not an avatar file (.npz, .zip)")
    return _avatar(load_arrays(path), path.name)


def _arrays(avatar: Avatar) -> dict[str, np.ndarray]:
    gaussians, rig = avatar.gaussians, avatar.rig
    starts, moved, offsets = [0], [np.zeros(0, np.uint32)], [np.zeros((0, 3), np.float32)]
    for expression in avatar.expressions:
        single = expression.astype(np.float32)
        rows = np.flatnonzero(single.any(axis=1))
        starts.append(starts[-1] + len(rows))
        moved.append(rows.astype(np.uint32))
        offsets.append(single[rows])
    return {
        "format": np.array(FORMAT),
        "positions": gaussians.positions.astype(np.float32),
        "rotations": gaussians.rotations.astype(np.float32),
        "scales": gaussians.scales.astype(np.float32),
        "opacities": gaussians.opacities.astype(np.float32),
        "sh": gaussians.sh.astype(np.float32),
        "skin_joints": avatar.skin_joints.astype(np.uint16),
        "skin_weights": avatar.skin_weights.astype(np.float32),
        "joint_names": np.array(rig.names, dtype=np.str_),
        "parents": rig.parents.astype(np.int16),
        "joints": rig.joints.astype(np.float64),
        "family": np.array(rig.family),
        "expression_names": np.array(avatar.expression_names, dtype=np.str_),
        "expression_starts": np.array(starts, dtype=np.int64),
        "expression_gaussians": np.concatenate(moved),
        "expression_offsets": np.concatenate(offsets),
    }


def _avatar(arrays: dict[str, np.ndarray], where: str) -> Avatar:
    if "format" not in arrays or str(arrays["format"]) != FORMAT:
        raise ContentError(f"{where}: no avatar of the format {FORMAT}")
    gaussians = checked_gaussians(
        where,
        *(
            take_numbers(arrays, name, where)
            for name in ("positions", "rotations", "scales", "opacities", "sh")
        ),
    )
    rig = _rig(arrays, where)
    joints, weights = _skin(arrays, gaussians.count, rig.count, where)
    names, expressions = _expressions(arrays, gaussians.count, where)
    return Avatar(gaussians, rig, joints, weights, names, expressions)


def _integers(arrays: dict[str, np.ndarray], name: str, where: str) -> np.ndarray:
    array = take(arrays, name, where)
    if array.dtype.kind not in "iu":
        raise ContentError(f"{where}: array {name!r} is of {array.dtype}, integers expected")
    return array.astype(np.int64)


def _names(arrays: dict[str, np.ndarray], name: str, where: str) -> tuple[str, ...]:
    array = take(arrays, name, where)
    if array.dtype.kind != "U" or array.ndim != 1:
        raise ContentError(f"{where}: array {name!r} is not a list of names")
    return tuple(array.tolist())


def _rig(arrays: dict[str, np.ndarray], where: str) -> Rig:
    names, parents = _names(arrays, "joint_names", where), _integers(arrays, "parents", where)
    joints = take_numbers(arrays, "joints", where)
    if not names or parents.shape != (len(names),) or joints.shape != (len(names), 3):
        raise ContentError(
            f"{where}: {len(names)} joint names, parents of shape {parents.shape}, joints of shape {joints.shape}"
        )
    for joint, parent in enumerate(parents.tolist()):
        if not (parent == -1 if joint == 0 else 0 <= parent < joint):
            raise ContentError(f"{where}: joint {joint} ({names[joint]}) has parent {parent}")
    if not np.isfinite(joints).all():
        raise ContentError(
            f"{where}: joint {np.argwhere(~np.isfinite(joints))[0, 0]} is not at a finite place"
        )
    return Rig(names, parents, joints, str(take(arrays, "family", where)))


def _skin(
    arrays: dict[str, np.ndarray], count: int, joint_count: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    joints, weights = _integers(arrays, "skin_joints", where), take_numbers(arrays, "skin_weights", where)
    if weights.ndim != 2 or joints.shape != weights.shape or len(weights) != count:
        raise ContentError(
            f"{where}: skin joints {joints.shape} and weights {weights.shape} for {count} Gaussians"
        )
    if not 1 <= weights.shape[1] <= INFLUENCES_MAX:
        raise ContentError(f"{where}: {weights.shape[1]} influences, 1 to {INFLUENCES_MAX} expected")
    check_finite(where, "skin weight", weights)
    total = weights.sum(axis=1)
    faults = {
        f"skin joint of Gaussian {{}} is outside [0, {joint_count})": (
            (joints < 0) | (joints >= joint_count)
        ).any(1),
        "a skin weight of Gaussian {} is negative": (weights < 0).any(axis=1),
        "skin weights of Gaussian {} sum to {:.6g}, not to 1": np.abs(total - 1) > WEIGHT_TOLERANCE,
    }
    for message, bad in faults.items():
        if bad.any():
            raise ContentError(f"{where}: {message.format(bad.argmax(), total[bad.argmax()])}")
    return joints, weights / total[:, None]


def _expressions(arrays: dict[str, np.ndarray], count: int, where: str) -> tuple[tuple[str, ...], np.ndarray]:
    names, starts = _names(arrays, "expression_names", where), _integers(arrays, "expression_starts", where)
    moved = _integers(arrays, "expression_gaussians", where)
    offsets = take_numbers(arrays, "expression_offsets", where)
    if moved.ndim != 1 or offsets.shape != (len(moved), 3):
        raise ContentError(f"{where}: expressions move {moved.shape} Gaussians by offsets {offsets.shape}")
    ordered = starts.shape == (len(names) + 1,) and (np.diff(starts) >= 0).all()
    if not ordered or starts[0] != 0 or starts[-1] != len(moved):
        raise ContentError(
            f"{where}: expression_starts do not divide {len(moved)} offsets among {len(names)}"
        )
    if ((moved < 0) | (moved >= count)).any():
        raise ContentError(f"{where}: an expression moves a Gaussian outside [0, {count})")
    if not np.isfinite(offsets).all():
        raise ContentError(
            f"{where}: expression offset {np.argwhere(~np.isfinite(offsets))[0, 0]} is not finite"
        )
    expressions = np.zeros((len(names), count, 3))
    for expression, start, end in zip(expressions, starts, starts[1:], strict=False):
        expression[moved[start:end]] = offsets[start:end]
    return names, expressions
