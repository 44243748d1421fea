"""Curves of rate and distortion: how far apart two are on average, and pictures of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import PchipInterpolator

from reference_encoder.content import ContentError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[float, float]]
"""(rate, PSNR in dB) of each point; a finite PSNR and a rate above 0."""

SUFFIXES = (".png", ".svg")


def front(curve: Curve) -> list[tuple[float, float]]:
    """The points that no other beats in both rate and PSNR, by rising PSNR."""
    kept: list[tuple[float, float]] = []
    for rate, psnr in sorted(curve, key=lambda point: (-point[1], point[0])):
        if not kept or (rate < kept[-1][0] and psnr < kept[-1][1]):
            kept.append((rate, psnr))
    return kept[::-1]


def bd_rate(anchor: Curve, tested: Curve) -> float | None:
    """Bjøntegaard's mean difference in rate in per cent, negative if `tested` needs less; None without overlap.

    Logarithms of rates are integrated over the PSNRs that both curves have (ITU-T VCEG-M33), interpolated
    by piecewise cubic Hermite polynomials that keep monotony, as in JCTVC's common test conditions.
    """
    curves = [front(anchor), front(tested)]
    if min(map(len, curves)) < 2:
        return None
    low = max(curve[0][1] for curve in curves)
    high = min(curve[-1][1] for curve in curves)
    if low >= high:
        return None
    integrals = [float(_log_rate(curve).integrate(low, high)) for curve in curves]
    return 100 * float(np.expm1((integrals[1] - integrals[0]) / (high - low)))


def rate_at(curve: Curve, psnr: float) -> float | None:
    """The rate that a curve needs for `psnr`, interpolated as in `bd_rate`; None outside the curve."""
    points = front(curve)
    if len(points) < 2 or not points[0][1] <= psnr <= points[-1][1]:
        return None
    return float(np.exp(_log_rate(points)(psnr)))


def _log_rate(points: Curve) -> PchipInterpolator:
    rates, psnrs = zip(*points, strict=True)
    return PchipInterpolator(psnrs, np.log(rates))


def check_plots() -> None:
    """Raises ContentError if nothing can draw."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ContentError("plots need the matplotlib package: install the extra `bench`") from None


def plot_levels(
    folder: Path, name: str, title: str, rates: Mapping[int, float], seconds: Mapping[int, float]
) -> list[Path]:
    """Draws, by level of effort, bytes at equal quality in per cent of those of level 1, and the time to encode."""
    check_plots()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    upper.plot([*rates], [*rates.values()], "o-", lw=2.5)
    for level, rate in rates.items():
        upper.annotate(f"{rate:.1f}", (level, rate), (0, 8), textcoords="offset points", ha="left")
    upper.set(title=title, ylabel="bytes at equal PSNR, %", yscale="log", yticks=[40, 50, 60, 80, 100, 120])
    upper.yaxis.set_major_formatter("{x:g}")
    upper.yaxis.set_minor_formatter("")
    lower.bar([*seconds], [*seconds.values()])
    lower.set(xlabel="effort", ylabel="seconds to encode", xticks=[*seconds])
    for axes in (upper, lower):
        axes.grid(True, axis="y", alpha=0.3)
    return _saved(figure, folder, name)


def plot(
    folder: Path, name: str, title: str, curves: Mapping[str, Curve], rate_label: str = "bytes per Gaussian"
) -> list[Path]:
    """Draws every curve (a lone point as a mark) to `name`.png and .svg; returns their paths."""
    check_plots()
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for number, (label, curve) in enumerate(curves.items()):
        rates, psnrs = zip(*sorted(curve), strict=True)
        axes.plot(rates, psnrs, "o-" if len(curve) > 1 else "D", label=label, lw=2.5 if number == 0 else 1.2)
    axes.set(title=title, xlabel=rate_label, ylabel="PSNR of object pixels, dB", xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    return _saved(figure, folder, name)


def _saved(figure: Figure, folder: Path, name: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths
