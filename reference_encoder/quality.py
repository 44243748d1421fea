"""§9 How close a decoded picture is to the content it came from, measured against float64 throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_decoder import Camera, Frame
from reference_encoder.content import Avatar, Motion
from reference_encoder.float_model import blend_matrices, forward_kinematics, rotation_matrix, skin_points
from reference_encoder.float_render import FloatCamera, render_float


@dataclass(frozen=True)
class Fidelity:
    """PSNR in dB of 8-bit pictures: over the whole picture, and where either picture shows the avatar."""

    picture: float
    object: float


def source_picture(avatar: Avatar, motion: Motion, frame: int, camera: Camera) -> np.ndarray:
    """(H, W, 4) in 0..1: the uncompressed content in float64, skinned and rendered by the maths of clauses 7 and 9."""
    g = avatar.gaussians
    matrices = forward_kinematics(avatar.rig, motion.rotations[frame], motion.translations[frame])
    positions = g.positions
    if avatar.expression_names:
        positions = positions + np.tensordot(motion.on(avatar).expressions[frame], avatar.expressions, 1)
    means = skin_points(positions, avatar.skin_joints, avatar.skin_weights, matrices)
    blends = blend_matrices(avatar.skin_joints, avatar.skin_weights, matrices)[..., :3]
    factors = blends @ (quaternion_matrices(g.rotations) * g.scales[:, None, :])
    return render_float(means, factors, blends, g.opacities, g.sh, FloatCamera.of(camera))


def decoded_float_picture(frame: Frame, camera: Camera) -> np.ndarray:
    """(H, W, 4) in 0..1: the decoded Gaussians of a frame rendered in float64."""
    mean, factor, blend = (np.asarray(part, np.float64) for part in frame.gaussians)
    opacity, sh = frame.appearance
    return render_float(
        mean / 2**20,
        factor.reshape(-1, 3, 3) / 2**24,
        blend.reshape(-1, 3, 3) / 2**30,
        np.asarray(opacity) / 2**14,
        np.asarray(sh) / 2**12,
        FloatCamera.of(camera),
    )


def quaternion_matrices(quaternions: np.ndarray) -> np.ndarray:
    """(N, 3, 3) from (N, 4) unit quaternions, w first."""
    angles = 2 * np.arctan2(np.linalg.norm(quaternions[:, 1:], axis=1), quaternions[:, 0])
    axes = quaternions[:, 1:] / np.maximum(np.linalg.norm(quaternions[:, 1:], axis=1, keepdims=True), 1e-300)
    return rotation_matrix(axes * angles[:, None])


def fidelity(decoded: np.ndarray, reference: np.ndarray) -> Fidelity:
    """Compares an 8-bit picture (H, W, 4) with one in 0..1, which is rounded to 8 bits first."""
    rounded = np.floor(np.clip(reference, 0, 1) * 255 + 0.5)
    square = (decoded[..., :3].astype(np.float64) - rounded[..., :3]) ** 2
    shown = (decoded[..., 3] > 0) | (rounded[..., 3] > 0)
    return Fidelity(_psnr(square), _psnr(square[shown]))


def _psnr(square: np.ndarray) -> float:
    mean = float(square.mean()) if square.size else 0.0
    return float("inf") if mean == 0 else 10 * np.log10(255**2 / mean)
