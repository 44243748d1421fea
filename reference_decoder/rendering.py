"""§9 Rendering: from the skinned Gaussians of one frame and a camera to the image."""

from __future__ import annotations

import numpy as np

from reference_decoder.projection import Camera, Projected, project, project_records, sort
from reference_decoder.raster import Tiles, bin_tiles, rasterise

__all__ = [
    "Camera",
    "Projected",
    "Tiles",
    "bin_tiles",
    "project",
    "project_records",
    "rasterise",
    "render",
    "sort",
]


def render(
    mean: np.ndarray,
    factor: np.ndarray,
    blend: np.ndarray | None,
    opacity: np.ndarray,
    sh: np.ndarray,
    camera: Camera,
) -> np.ndarray:
    """§9 The image of one frame, (height, width, 4) uint8; the arguments are those of `project`."""
    return rasterise(project(mean, factor, blend, opacity, sh, camera), camera)
