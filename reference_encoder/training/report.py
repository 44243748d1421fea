"""What one looks at while a generator trains: a picture of held-out poses, and the loss as a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reference_encoder.training.dataset import MultiView
from reference_encoder.training.scores import Draw

_AMPLIFIED = 4  # differences are shown times this
_SMOOTHING = 50  # steps over which the plotted loss is a mean


def side_by_side(
    data: MultiView,
    canonical: Draw,
    generative: Draw,
    shown: Sequence[tuple[str, int]],
    windows: Sequence[np.ndarray],
    crop: float = 0.8,
) -> np.ndarray:
    """(rows * S, 5 * S, 3) bytes: truth, canonical, generative, and the difference of either, amplified.

    Of each picture the square around the middle of what a window (H, W) marks is shown: as large as `crop` times
    the first picture, or twice the window's extent where that is less, and then enlarged.
    """
    rows, size = [], round(crop * min(windows[0].shape))
    for (camera, frame), window in zip(shown, windows, strict=True):
        truth = data.view(camera, frame).target()
        drawn = [draw(camera, frame)[..., :3].clip(0, 1) for draw in (canonical, generative)]
        apart = [(_AMPLIFIED * np.abs(image - truth)).clip(0, 1) for image in drawn]
        box = _around(window, size)
        tiles = [
            Image.fromarray(np.rint(image[box] * 255).astype(np.uint8)) for image in (truth, *drawn, *apart)
        ]
        enlarged = [np.asarray(tile.resize((size, size), Image.Resampling.BICUBIC)) for tile in tiles]
        rows.append(np.concatenate(enlarged, axis=1))
    return np.concatenate(rows)


def _around(window: np.ndarray, size: int) -> tuple[slice, slice]:
    """Rows and columns of a square within (H, W) around the middle of what is marked."""
    marked = [np.flatnonzero(window.any(axis=1 - axis)) for axis in (0, 1)]
    extents = [int(np.ptp(places)) + 1 for places in marked if len(places)]
    wide = min(size, 2 * max(extents, default=size))
    found = []
    for places, length in zip(marked, window.shape, strict=True):
        middle = (places[0] + places[-1]) // 2 if len(places) else length // 2
        first = int(min(max(0, middle - wide // 2), length - wide))
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


def plot_rates(
    path: Path, points: Mapping[str, tuple[float, float, float]], still: tuple[float, float]
) -> str:
    """PSNR of the person and the face over the generator's kB as .png; says why not where matplotlib is missing.

    `points` are (kB, PSNR, face PSNR) by name, `still` the PSNRs of skinning alone.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "no plot of rates: matplotlib is not installed"
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    for place, (what, alone) in enumerate(zip(("person", "face"), still, strict=True)):
        axes = figure.add_subplot(1, 2, place + 1)
        ordered = sorted(points.items(), key=lambda item: item[1][0])
        axes.plot([p[0] for _, p in ordered], [p[1 + place] for _, p in ordered], "o-")
        for name, point in ordered:
            axes.annotate(
                name, (point[0], point[1 + place]), xytext=(4, -10), textcoords="offset points", fontsize=7
            )
        axes.axhline(alone, color="grey", linestyle=":")
        axes.annotate(
            "Canonical + LBS", (0.02, alone), xycoords=("axes fraction", "data"), fontsize=7, va="bottom"
        )
        axes.set(xlabel="generator, kB", ylabel="PSNR, dB", title=f"held-out poses, {what}")
    figure.savefig(path, dpi=120)
    return ""
