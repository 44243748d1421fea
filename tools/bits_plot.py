"""The plot of `hga info --plot`: where the bits of a stream went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tools.accounting import Account


_BARS = 16  # at most, of elements and of parts
_STACK = ("root", "joints", "expressions", "rest", "overhead")


def plot_bits(path: Path, title: str, found: Account) -> None:
    """Draws bytes by coded element, bits by frame with key frames marked, and bits by part of the pose."""
    from matplotlib.figure import Figure

    moving = bool(found.by_frame)
    figure = Figure(figsize=(12, 8 if moving else 5), layout="constrained")
    figure.suptitle(f"{title}: {found.size:,} bytes, {found.frames} frames")
    areas = figure.subplot_mosaic([["elements", "parts"], ["frames", "frames"]] if moving else [["elements"]])
    _bars(
        areas["elements"],
        [(f"{s.group}: {s.element}", s.bytes) for s in found.shares],
        "bytes",
        "coded element",
    )
    if moving:
        per_frame = [(name, bits / found.frames) for name, bits in found.by_part]
        _bars(areas["parts"], per_frame, "bits per frame", "part of the pose")
        _frames(areas["frames"], found)
    figure.savefig(path, dpi=150)


def _bars(axes: Axes, rows: list[tuple[str, float]], unit: str, what: str) -> None:
    shown, left = rows[:_BARS], sum(value for _, value in rows[_BARS:])
    axes.barh([name for name, _ in shown], [value for _, value in shown])
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(True, axis="x", alpha=0.3)
    others = f"; {left:,.0f} in {len(rows) - _BARS} others" if left else ""
    axes.set(title=f"by {what}", xlabel=unit + others)


def _frames(axes: Axes, found: Account) -> None:
    """Stacked columns; the unit's overhead stands on its first frame."""
    frames = found.by_frame
    numbers = [frame.frame for frame in frames]
    heights = [0.0] * len(frames)
    for part in _STACK:
        bits = [getattr(frame, part) for frame in frames]
        if any(bits):
            axes.bar(numbers, bits, 1.0, heights, label=part)
        heights = [low + more for low, more in zip(heights, bits, strict=True)]
    keys = [(frame.frame, frame.bits) for frame in frames if frame.key]
    if keys:
        axes.plot(*zip(*keys, strict=True), "kv", ms=5, label="key frame")
    axes.set(title="by frame", xlabel="frame", ylabel="bits", xlim=(numbers[0] - 0.5, numbers[-1] + 0.5))
    axes.set_ylim(top=1.15 * max(heights))  # room for the legend
    axes.grid(True, axis="y", alpha=0.3)
    axes.legend(ncols=6, fontsize=8)
