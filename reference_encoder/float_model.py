"""§7.4 The decoding process in float64: an oracle that shares no code with the integer one."""

from __future__ import annotations

import numpy as np

from reference_encoder.content import Rig


def rotation_matrix(axis_angle: np.ndarray) -> np.ndarray:
    """Axis-angle (..., 3) in radians -> rotation matrices (..., 3, 3), by Rodrigues' formula."""
    angle = np.linalg.norm(axis_angle, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(np.asarray(axis_angle, dtype=np.float64), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    sine = np.sinc(angle / np.pi)  # sin(angle) / angle, finite at zero
    versine = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2  # (1 - cos(angle)) / angle^2
    return np.eye(3) + sine * cross + versine * (cross @ cross)


def joint_matrices(rig: Rig, rotations: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """World frames (..., J, 3, 4) of the joints for local axis-angle rotations (..., J, 3).

    The root joint stands at its rest position plus `translation` (..., 3), in metres.
    """
    local = rotation_matrix(rotations)
    world = np.empty((*local.shape[:-1], 4))
    for joint, parent in enumerate(rig.parents):
        if parent < 0:
            world[..., joint, :, :3] = local[..., joint, :, :]
            world[..., joint, :, 3] = rig.joints[joint] + translation
            continue
        frame = world[..., parent, :, :]
        offset = rig.joints[joint] - rig.joints[parent]
        world[..., joint, :, :3] = frame[..., :3] @ local[..., joint, :, :]
        world[..., joint, :, 3] = frame[..., :3] @ offset + frame[..., 3]
    return world


def forward_kinematics(rig: Rig, rotations: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Skinning matrices (..., J, 3, 4): joint j takes a rest-pose point p to M[:, :3] p + M[:, 3].

    `rotations` (..., J, 3) axis-angle in radians, `translation` (..., 3) of the root in metres; any
    leading axes (frames) are kept.
    """
    matrices = joint_matrices(rig, rotations, translation)
    matrices[..., 3] -= np.einsum("...jab,jb->...ja", matrices[..., :3], rig.joints)
    return matrices


def blend_matrices(skin_joints: np.ndarray, skin_weights: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Linear blend of skinning matrices (J, 3, 4) by joints and weights (N, K) -> (N, 3, 4)."""
    blended = np.zeros((len(skin_joints), 3, 4))
    for joints, weights in zip(skin_joints.T, skin_weights.T, strict=True):
        blended += weights[:, None, None] * matrices[joints]
    return blended


def skin_points(
    points: np.ndarray, skin_joints: np.ndarray, skin_weights: np.ndarray, matrices: np.ndarray
) -> np.ndarray:
    """Linear blend skinning of rest-pose points (N, 3) by (J, 3, 4) matrices -> posed points (N, 3)."""
    blended = blend_matrices(skin_joints, skin_weights, matrices)
    return np.einsum("nab,nb->na", blended[:, :, :3], points) + blended[:, :, 3]
