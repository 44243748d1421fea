"""Curves of rate and distortion, against differences worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reference_encoder.content import ContentError
from tools.rd_plot import bd_rate, front, plot, rate_at

# log2 of the rate is PSNR / 10: monotone interpolation of points on a line is that line.
ANCHOR = [(2.0 ** (psnr / 10), float(psnr)) for psnr in (20, 30, 40, 50)]


def test_bd_rate_of_a_curve_that_needs_four_fifths_everywhere() -> None:
    assert bd_rate(ANCHOR, [(0.8 * rate, psnr) for rate, psnr in ANCHOR]) == pytest.approx(-20)
    assert bd_rate([(0.8 * rate, psnr) for rate, psnr in ANCHOR], ANCHOR) == pytest.approx(25)


def test_bd_rate_integrates_over_the_common_qualities_only() -> None:
    # log2 of the rate is PSNR / 20. On 30..50 dB the mean of log2(tested / anchor) is 40/20 - 40/10 = -2.
    tested = [(2.0 ** (psnr / 20), float(psnr)) for psnr in (30, 45, 60)]
    assert bd_rate(ANCHOR, tested) == pytest.approx(-75)


def test_bd_rate_needs_overlap() -> None:
    assert bd_rate(ANCHOR, [(1.0, 60.0), (2.0, 70.0)]) is None
    assert bd_rate(ANCHOR, [(1.0, 30.0)]) is None


def test_front_leaves_out_what_another_point_beats() -> None:
    assert front([(3, 30), (1, 20), (4, 29), (3, 28), (2, 20)]) == [(1, 20), (3, 30)]


def test_rate_at_interpolates_in_octaves_and_does_not_extrapolate() -> None:
    assert rate_at(ANCHOR, 35) == pytest.approx(2**3.5)
    assert rate_at(ANCHOR, 19.9) is None and rate_at(ANCHOR, 50.1) is None


def test_plot_without_matplotlib_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ContentError, match="bench"):
        plot(tmp_path, "curve", "title", {"hga": ANCHOR})


def test_plot_draws_both_formats(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = plot(tmp_path / "new", "rd_cube.ply", "title", {"hga": ANCHOR, "one point": [(5.0, 33.0)]})
    assert [path.name for path in paths] == ["rd_cube.ply.png", "rd_cube.ply.svg"]
    assert paths[0].read_bytes().startswith(b"\x89PNG") and b"<svg" in paths[1].read_bytes()
