"""What one looks at while a generator trains: a picture of held-out poses, and the loss as a curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reference_encoder.training.dataset import MultiView
from reference_encoder.training.scores import Draw

_AMPLIFIED = 4  # differences are shown times this
_SMOOTHING = 50  # steps over which the plotted loss is a mean


def side_by_side(
    data: MultiView, canonical: Draw, generative: Draw, shown: Sequence[tuple[str, int]], crop: float = 1.0
) -> np.ndarray:
    """(rows * H, 5 * W, 3) bytes: truth, canonical, generative, and the difference of either, amplified.

    `crop` is the share of the height and width around the middle of the person that is shown.
    """
    rows = []
    for camera, frame in shown:
        view = data.view(camera, frame)
        truth = view.target()
        drawn = [draw(camera, frame)[..., :3].clip(0, 1) for draw in (canonical, generative)]
        apart = [(_AMPLIFIED * np.abs(image - truth)).clip(0, 1) for image in drawn]
        box = _around(view.mask, crop)
        rows.append(np.concatenate([image[box] for image in (truth, *drawn, *apart)], axis=1))
    return np.rint(np.concatenate(rows) * 255).astype(np.uint8)


def _around(mask: np.ndarray, crop: float) -> tuple[slice, slice]:
    """Rows and columns of a part of a mask's picture around the middle of what it shows."""
    found = []
    for axis, size in enumerate(mask.shape):
        covered = np.flatnonzero(mask.any(axis=1 - axis))
        middle = (covered[0] + covered[-1]) // 2 if len(covered) else size // 2
        wide = round(crop * size)
        first = min(max(0, middle - wide // 2), size - wide)
        found.append(slice(first, first + wide))
    return found[0], found[1]


def save_picture(path: Path, image: np.ndarray) -> None:
    """One picture as .png. Raises OSError."""
    Image.fromarray(image).save(path)


def plot_loss(path: Path, history: Sequence[tuple[int, float, float]], switch: int) -> str:
    """The loss of each step and the megabytes of weights as .png; says why not where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "no loss plot: matplotlib is not installed"
    steps, losses, megabytes = np.array(history).T
    width = min(_SMOOTHING, len(losses))
    smooth = np.convolve(losses, np.full(width, 1 / width), mode="valid")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(steps[width - 1 :], smooth, color="tab:blue")
    axes.axvline(switch, color="grey", linestyle=":", label="the generator starts")
    axes.set(xlabel="step", ylabel=f"loss, mean of {width} steps", title="Training")
    axes.legend()
    beside = axes.twinx()
    beside.plot(steps, 1000 * megabytes, color="tab:orange", linewidth=1)
    beside.set_ylabel("weights, kB (estimate)", color="tab:orange")
    figure.savefig(path, dpi=120)
    return ""
