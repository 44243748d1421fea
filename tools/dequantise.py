"""Decoded integers back to float Gaussians in world space, for programs that know nothing of HGA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from reference_decoder import Frame
from reference_encoder.content import ContentError, Gaussians
from reference_encoder.sh import rotate_sh_each
from reference_encoder.splats import save_ply, save_spz

_THINNEST = 2.0**-24  # m: one step of a shape factor; formats store logarithms, so no scale may be 0

SAVERS = {"ply": save_ply, "spz": save_spz}


def world_gaussians(frame: Frame) -> Gaussians:
    """§7.7 The visible Gaussians of a frame: metres, w-first quaternions, colours turned with the skin.

    A shape factor F = U S V^T has the covariance U S^2 U^T: U is the rotation, S the scales. Colour
    turns by the rotation nearest to the blend of the joints. Gaussians of opacity 0 are left out.
    """
    mean, factor, blend = (np.asarray(part, np.float64) for part in frame.gaussians)
    opacity, sh = (np.asarray(part, np.float64) for part in frame.appearance)
    seen = opacity > 0
    if not seen.any():
        raise ContentError(f"frame {frame.index} has no visible Gaussian")
    axes, scales, _ = np.linalg.svd(factor.reshape(-1, 3, 3)[seen] / 2**24)
    axes[np.linalg.det(axes) < 0, :, 0] *= -1
    return Gaussians(
        positions=mean[seen] / 2**20,
        rotations=Rotation.from_matrix(axes).as_quat(scalar_first=True),
        scales=np.maximum(scales, _THINNEST),
        opacities=opacity[seen] / 2**14,
        sh=rotate_sh_each(sh[seen] / 2**12, _nearest_rotations(blend.reshape(-1, 3, 3)[seen] / 2**30)),
    )


def _nearest_rotations(matrices: np.ndarray) -> np.ndarray:
    """The rotation (N, 3, 3) nearest to each matrix."""
    left, _, right = np.linalg.svd(matrices)
    left[np.linalg.det(left @ right) < 0, :, 2] *= -1
    return left @ right


def export(frame: Frame, folder: Path, kind: str) -> Path:
    """Writes a frame as `folder`/frame_NNNNNN.`kind` and returns the path."""
    path = folder / f"frame_{frame.index:06d}.{kind}"
    SAVERS[kind](path, world_gaussians(frame))
    return path
