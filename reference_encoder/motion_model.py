"""§7.5 What the search for residuals needs to know of a motion: how each component of a pose moves the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

import spec
from reference_encoder.content import Avatar, ContentError, Motion
from reference_encoder.quantise import Settings, rest_offsets, to_integers

_C = spec.standard().constant_values

SMALLEST_REACH = 0.03  # m: there is a body around every joint
MOVING_WEIGHT = 0.5  # a Gaussian with less belongs to another joint
LEAST_TURN = 0.3  # of a component's turn near the rest pose: next to a full turn it would vanish
FINEST_ROTATION = 256  # Q.28 rad; from there on residuals reach every rotation
FINEST_TRANSLATION = 16  # Q.20 m


@dataclass(frozen=True)
class MotionModel:
    """A motion in the layout of clause 7.5.1, and its linearisation about the true pose of each frame."""

    parents: np.ndarray  # (J,)
    target: np.ndarray  # (F, C) float64, in the fixed-point format of each component
    unit: np.ndarray  # (C,) metres, radians or weights for 1 in that format
    offsets: np.ndarray  # (J, 3) metres, from the parent
    matrices: np.ndarray  # (F, J, 3, 3) turn of each joint in the world
    axes: np.ndarray  # (F, 3J, 3) turn of the joint in the world per radian of each rotation component
    places: np.ndarray  # (F, J, 3) metres
    reach: np.ndarray  # (J,) metres: how far the body around a joint extends


def motion_model(avatar: Avatar, motion: Motion) -> MotionModel:
    """§7.5.1 The model of a motion; raises ContentError where the root leaves the world."""
    far = np.abs(motion.translations) * 2**20 > _C["WORLD_LIMIT"]
    if far.any():
        raise ContentError(f"the root is too far from the origin in frame {int(np.argmax(far.any(axis=1)))}")
    joints, frames = avatar.rig.count, motion.count
    rotations = whole_turns_removed(motion.rotations)
    parents, offsets = np.asarray(avatar.rig.parents, np.int64), rest_offsets(avatar.rig)
    matrices, places = kinematics(parents, offsets, rotations, motion.translations)
    axes = np.einsum("fjab,fjbc->fjca", matrices, right_jacobian(rotations))
    limit = _C["EXPRESSION_WEIGHT_LIMIT"] / 2**14
    weights = motion.expressions.clip(-limit, limit)
    unit = np.repeat([2.0**-20, 2.0**-28, 2.0**-14], [3, 3 * joints, weights.shape[1]])
    target = np.concatenate([motion.translations, rotations.reshape(frames, -1), weights], axis=1) / unit
    axes = axes.reshape(frames, -1, 3)
    return MotionModel(parents, target, unit, offsets, matrices, axes, places, reaches(avatar))


def kinematics(
    parents: np.ndarray, offsets: np.ndarray, rotations: np.ndarray, translations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """§7.6 in float64: (F, J, 3, 3) world rotations and (F, J, 3) positions of the joints."""
    frames, joints, _ = rotations.shape
    local = Rotation.from_rotvec(rotations.reshape(-1, 3)).as_matrix().reshape(frames, joints, 3, 3)
    matrices, places = np.zeros_like(local), np.zeros((frames, joints, 3))
    matrices[:, 0], places[:, 0] = local[:, 0], offsets[0] + translations
    for j in range(1, joints):
        parent = int(parents[j])
        matrices[:, j] = np.einsum("fab,fbc->fac", matrices[:, parent], local[:, j])
        places[:, j] = places[:, parent] + np.einsum("fab,b->fa", matrices[:, parent], offsets[j])
    return matrices, places


def mean_joint_error(model: MotionModel, poses: np.ndarray) -> float:
    """Metres: how far the joints of poses (F, C) are from where they should be, in the mean over joints and frames."""
    frames, joints = len(poses), len(model.parents)
    rotations = (poses * model.unit)[:, 3 : 3 + 3 * joints].reshape(frames, joints, 3)
    _, places = kinematics(model.parents, model.offsets, rotations, (poses * model.unit)[:, :3])
    return float(np.linalg.norm(places - model.places, axis=-1).mean())


def right_jacobian(vectors: np.ndarray) -> np.ndarray:
    """(..., 3, 3): by what rotation, in the turned frame, a small change of a rotation vector turns further."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    cross = np.zeros((*vectors.shape, 3))
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        cross[..., a, b], cross[..., b, a] = -vectors[..., c], vectors[..., c]
    safe = np.maximum(angle, 1e-3)
    first = np.where(angle < 1e-3, 0.5, (1 - np.cos(safe)) / safe**2)
    second = np.where(angle < 1e-3, 1 / 6, (safe - np.sin(safe)) / safe**3)
    return np.eye(3) - first * cross + second * np.einsum("...ab,...bc->...ac", cross, cross)


def reaches(avatar: Avatar) -> np.ndarray:
    """(J,) metres: the farthest Gaussian that mostly follows a joint, at least 3 cm."""
    reach = np.full(avatar.rig.count, SMALLEST_REACH)
    for joints, weights in zip(avatar.skin_joints.T, avatar.skin_weights.T, strict=True):
        distance = np.linalg.norm(avatar.gaussians.positions - avatar.rig.joints[joints], axis=1)
        mostly = weights >= MOVING_WEIGHT
        np.maximum.at(reach, joints[mostly], distance[mostly])
    return reach


def descendants(parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(J, J) the joints that each joint moves, itself first, and (J,) how many they are."""
    joints = len(parents)
    lists: list[list[int]] = [[j] for j in range(joints)]
    for j in range(joints):
        ancestor = int(parents[j])
        while ancestor >= 0:
            lists[ancestor].append(j)
            ancestor = int(parents[ancestor])
    table = np.zeros((joints, joints), np.int64)
    for j, members in enumerate(lists):
        table[j, : len(members)] = members
    return table, np.array([len(members) for members in lists])


def levers(model: MotionModel) -> np.ndarray:
    """(3J,) metres per radian: how far each rotation component moves what it moves most, as RMS over the frames."""
    table, counts = descendants(model.parents)
    result = np.zeros(3 * len(model.parents))
    for n in range(len(result)):
        j, axis = n // 3, model.axes[:, n]
        arms = model.places[:, table[j, : counts[j]]] - model.places[:, [j]]
        moved = np.linalg.norm(np.cross(axis[:, None], arms), axis=-1).max(axis=1)
        short = np.maximum(np.linalg.norm(axis, axis=1), 1e-9)
        moved *= np.maximum(LEAST_TURN / short, 1)
        body = 0.7 * model.reach[j] * np.maximum(short, LEAST_TURN)
        result[n] = max(np.sqrt((moved**2).mean()), np.sqrt((body**2).mean()))
    return result


def step_codes(model: MotionModel, settings: Settings) -> np.ndarray:
    """§7.5.3 (C,) codes of steps that all move the body by the same distance: error is spent in metres."""
    distance = settings.motion_step or settings.motion_quantum * settings.motion_tolerance
    arms, expressions = levers(model), model.target.shape[1] - 3 - 3 * len(model.parents)
    translation = np.full(3, max(distance * 2**20, FINEST_TRANSLATION))
    rotation = np.maximum(distance / np.maximum(arms, 1e-9) * 2**28, FINEST_ROTATION)
    weight = np.full(expressions, settings.expression_weight_step * 2**14)
    return nearest_codes(np.concatenate([translation, rotation, weight]))


def nearest_codes(steps: np.ndarray) -> np.ndarray:
    """§7.5.3 The codes of the steps nearest to `steps`."""
    clipped = np.asarray(steps, np.float64).clip(8, 15 << 24)
    exponent = np.floor(np.log2(clipped)).astype(np.int64) - 3
    mantissa = to_integers(clipped / 2.0**exponent, 1) - 8  # 0 to 8; 8 is 0 of the next exponent
    return (8 * exponent + mantissa).clip(0, 199)


def whole_turns_removed(rotations: np.ndarray) -> np.ndarray:
    """The same rotations (..., 3) with angles of at most one turn: a spin that was unwrapped has more."""
    angles = np.linalg.norm(rotations, axis=-1, keepdims=True)
    turns = np.ceil(angles / (2 * np.pi) - 1)
    return np.where(turns > 0, rotations * (1 - 2 * np.pi * turns / np.maximum(angles, 1)), rotations)
