"""The benchmark of rate and distortion, on a small avatar."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reference_decoder import Decoder
from reference_encoder.content import ContentError
from reference_encoder.encode import encode
from reference_encoder.quantise import Settings
from reference_encoder.splats import save_ply, save_spz
from reference_encoder.structural import as_coded
from tools import bench_rd_report
from tools.bench_rd_peers import Coded, Peer, Quantised, from_tables, static_peers, tables
from tools.bench_rd_static import (
    Judge,
    StaticReport,
    alone,
    expression_errors,
    integer_picture,
    layer_bytes,
    measure_expressions,
    measure_static,
    ring,
    still,
)
from tools.encoding import scaled
from tools.tests.conftest import Run, small_avatar

SIZE = 48


def by_name(splat_transform: Path, slow: bool = False) -> dict[str, Peer]:
    return {f"{peer.name}, {peer.setting}": peer for peer in static_peers(str(splat_transform), slow)}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A stand-in for splat-transform: copies peer.spz or peer.sog that lies beside it, or fails without."""
    path = tmp_path / "splat-transform"
    path.write_text('#!/bin/sh\nfor last; do :; done\ncp "$(dirname "$0")/$(basename "$last")" "$last"\n')
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


def test_judge_knows_equal_and_different_pictures() -> None:
    gaussians = small_avatar().gaussians
    judge = Judge(gaussians, SIZE)
    same = judge.psnr(lambda camera: integer_picture(gaussians, camera))
    moved = replace(gaussians, positions=gaussians.positions + np.array([0.01, 0, 0]))
    assert same > 55 > 35 > judge.psnr(lambda camera: integer_picture(moved, camera))


def test_judge_gives_every_camera_the_same_weight() -> None:
    judge = Judge(small_avatar().gaussians, SIZE)
    # An error of one level in every pixel of half of the cameras: half the noise of 1 / 255^2.
    sources = {id(camera): picture for camera, picture in zip(judge.cameras, judge.references, strict=True)}
    off = {id(camera) for camera in judge.cameras[::2]}

    def picture(camera):
        rounded = np.floor(sources[id(camera)] * 255 + 0.5).astype(int)
        rounded[..., :3] += np.where(rounded[..., :3] > 127, -1, 1) * (id(camera) in off)
        return rounded.astype(np.uint8)

    assert judge.psnr(picture) == pytest.approx(10 * np.log10(2 * 255**2), abs=1e-6)


def test_ring_stands_around_the_object() -> None:
    cameras = ring(small_avatar().gaussians, SIZE)
    eyes = np.array([-camera.rotation.T / 2**30 @ camera.translation / 2**20 for camera in cameras])
    angles = np.unwrap(np.arctan2(eyes[:, 0], eyes[:, 2]))
    assert np.diff(angles) == pytest.approx(np.full(7, np.pi / 4), abs=0.1)
    assert np.ptp(eyes[:, 1]) < 1e-3


def test_static_rows_count_whole_streams() -> None:
    gaussians = small_avatar().gaussians
    report = measure_static("small", gaussians, (0.5, 8.0), size=SIZE)
    data = encode(alone(gaussians), still(1, 0), scaled(8.0), names=False)
    coarse, fine = report.hga
    assert (coarse.bytes, coarse.canonical) == (len(data), layer_bytes(data, "canonical"))
    assert 0 < coarse.canonical < coarse.bytes < fine.bytes and coarse.psnr < fine.psnr
    assert coarse.setting == "steps x8" and report.gaussians == 200 and report.sh_degree == 1


def test_general_compressors_lose_only_what_their_bits_cost() -> None:
    gaussians = small_avatar().gaussians
    plain = 200 * (3 + 4 + 3 + 1 + 12) * 2  # bytes of 16-bit arrays
    for peer in static_peers(None, False):
        if peer.setting == "16 bit":
            coded = peer.code(gaussians)
            if isinstance(coded, str):  # brotli is optional
                assert "not installed" in coded
                continue
            assert 0.5 * plain < coded.bytes < 1.1 * plain
            assert np.abs(coded.gaussians.positions - gaussians.positions).max() <= 0.6 / 65535
            assert coded.gaussians.sh == pytest.approx(gaussians.sh, abs=2e-5 * np.ptp(gaussians.sh))


def test_quantised_arrays_by_hand() -> None:
    coarse = Quantised.of(np.array([[0.0, 1.0], [0.25, 0.5]]), 8)  # x 255: 0, 255, 63.75, 127.5
    assert coarse.bytes == bytes([0, 255, 64, 128])
    assert Quantised.of(np.array([0.0, 1.0]), 16).bytes == b"\x00\x00\xff\xff"
    assert (Quantised.of(np.full(3, 7.0), 16).values() == 7.0).all()


def test_tables_hold_everything() -> None:
    gaussians = small_avatar().gaussians
    back = from_tables(tables(gaussians))
    sign = np.sign(gaussians.rotations[:, :1])
    assert back.rotations == pytest.approx(sign * gaussians.rotations)
    for name in ("positions", "scales", "opacities", "sh"):
        assert getattr(back, name) == pytest.approx(getattr(gaussians, name))


def test_splat_transform_files_are_turned_back(tmp_path: Path, program: Path) -> None:
    gaussians = small_avatar().gaussians
    turned = replace(gaussians, positions=gaussians.positions * [1, -1, -1])
    save_spz(tmp_path / "peer.spz", turned)
    coded = by_name(program)["spz, splat-transform"].code(gaussians)
    assert isinstance(coded, Coded) and coded.bytes == (tmp_path / "peer.spz").stat().st_size
    assert coded.gaussians.positions == pytest.approx(gaussians.positions, abs=2**-12)


def test_what_splat_transform_cannot_do_is_said(tmp_path: Path, program: Path) -> None:
    gaussians = small_avatar().gaussians
    assert "--slow" in by_name(program)["sog, splat-transform"].code(gaussians)
    assert "failed" in by_name(program, slow=True)["sog, splat-transform"].code(gaussians)
    with pytest.raises(ContentError, match="not a program"):
        static_peers(str(tmp_path / "nothing"), False)


def test_expression_errors_are_those_of_the_offsets() -> None:
    avatar, settings = small_avatar(), replace(Settings(), effort=1)
    report = measure_expressions("small", avatar, settings)
    assert report.expressions == 2 and report.canonical + report.offsets < report.bytes
    # The offsets are 0 or 50 mm, and a step is 115/1024 of 1/1024 m: 455.9 steps are coded as 456.
    assert 0 < report.error_mean < report.error_max == pytest.approx(456 * 115 * 1000 / 2**20 - 50, abs=1e-3)
    broken = replace(avatar, expressions=avatar.expressions * 0.8)  # 50 mm become 40 mm
    motion = replace(still(3, 2), **_each_expression())
    coded = as_coded(broken, motion, settings)
    truth = replace(coded, expressions=coded.expressions / 0.8)
    errors = expression_errors(truth, Decoder(encode(broken, motion, settings)).frames())
    assert errors.shape == (2, 200) and errors.max() == pytest.approx(0.01, abs=3e-4)


@pytest.mark.parametrize("chunk_size", [64, 65536])
def test_decoded_gaussians_are_those_that_were_coded(chunk_size: int) -> None:
    settings = replace(Settings(), effort=1, chunk_size=chunk_size)
    avatar, motion = small_avatar(), still(3, 2)
    frame = next(Decoder(encode(avatar, motion, settings)).frames())
    coded = as_coded(avatar, motion, settings)
    off = np.abs(frame.canonical.position / 2**20 - coded.gaussians.positions)
    assert off.max() <= 0.51 * settings.position_step


def _each_expression() -> dict:
    return {
        "rotations": np.zeros((3, 3, 3)),
        "translations": np.zeros((3, 3)),
        "expressions": np.array([[0.0, 0], [1, 0], [0, 1]]),
    }


def test_comparison_is_at_equal_quality() -> None:
    report = measure_static("small", small_avatar().gaussians, (0.5, 8.0), size=SIZE)
    fine = report.hga[1]
    peers = [replace(fine, coder="twice", bytes=2 * fine.bytes), replace(fine, coder="better", psnr=99.0)]
    report = StaticReport("small", 200, 1, report.hga, peers)
    twice, better = bench_rd_report.comparisons(report)
    assert twice["ratio"] == pytest.approx(0.5) and twice["bd_rate"] is None
    assert better["ratio"] is None


@pytest.fixture
def splat(tmp_path: Path) -> Path:
    path = tmp_path / "small.ply"
    save_ply(path, small_avatar().gaussians)
    return path


def test_command_line_json(hga: Run, splat: Path, program: Path) -> None:
    options = ("--static", "--content", splat, "--qualities", "4,1", "--splat-transform", program, "--json")
    result = hga("bench", "rd", *options)
    assert result.exit_code == 0, result.output
    (part,) = json.loads(result.stdout)["static"]
    assert part["content"] == "small.ply" and part["gaussians"] == 200
    assert [row["setting"] for row in part["hga"]] == ["steps x4", "steps x1"]
    assert set(part["hga"][0]) == {
        "content", "coder", "setting", "bytes", "psnr", "encoding", "decoding", "canonical"
    }  # fmt: skip
    assert {row["coder"] for row in part["peers"]} >= {"spz (gzip)", "lzma", "zstd -19"}
    assert len(part["against"]) == len(part["peers"])
    assert [line.split(":")[0] for line in part["missing"]][:2] == ["spz", "sog"]


def test_command_line_table_and_plots(hga: Run, splat: Path, program: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    options = ("--static", "--content", splat, "--qualities", "2", "--splat-transform", program)
    result = hga("bench", "rd", *options, "--output-dir", tmp_path / "curves")
    assert result.exit_code == 0, result.output
    assert "small.ply: 200 Gaussians, SH degree 1" in result.stdout and "steps x2" in result.stdout
    assert "left out: spz: failed" in result.stderr
    assert sorted(path.name for path in (tmp_path / "curves").iterdir()) == [
        "rd_small.ply.png",
        "rd_small.ply.svg",
    ]


@pytest.mark.parametrize("text", ["", "1,x", "0,1", "-1", "nan"])
def test_command_line_refuses_qualities_that_cannot_be(hga: Run, text: str) -> None:
    result = hga("bench", "rd", "--qualities", text)
    assert result.exit_code == 2 and "not a list of positive numbers" in result.stderr
