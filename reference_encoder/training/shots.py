"""Parts of pictures: what the camera that takes only them would see."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from reference_encoder.float_render import FloatCamera
from reference_encoder.training.dataset import FOREGROUND

MARGIN = 12  # pixels around the person that training looks at


@dataclass(frozen=True)
class Shot:
    """The part of a picture that shows the person, and a margin: what the camera that takes only it would see."""

    camera: FloatCamera
    target: torch.Tensor  # (H, W, 3) in 0..1
    weight: torch.Tensor  # (H, W) of the pixels


def part_of(camera: FloatCamera, rows: slice, columns: slice) -> FloatCamera:
    """The camera that takes only some rows and columns of the picture."""
    x, y = camera.principal
    return replace(
        camera,
        principal=(x - columns.start, y - rows.start),
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
    )


def around(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The rows and columns of a picture (H, W) that show something, and some more on each side."""
    found = []
    for axis, size in enumerate(mask.shape):
        covered = np.flatnonzero((mask >= FOREGROUND).any(axis=1 - axis))
        first, last = (covered[0], covered[-1]) if len(covered) else (0, size - 1)
        found.append(slice(max(0, int(first) - margin), min(size, int(last) + 1 + margin)))
    return found[0], found[1]
