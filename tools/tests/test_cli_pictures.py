"""Pictures: cameras that frame what there is to see, sheets, videos."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from reference_decoder import Camera, Decoder
from reference_encoder.content import ContentError
from tools.cameras import Bounds, View, parse_view, resized
from tools.parameters import Span
from tools.pictures import sheet, spread
from tools.tests.conftest import FRAMES, Run


def image_points(camera: Camera, points: np.ndarray) -> np.ndarray:
    """(N, 2) pixels of world points (N, 3) by the pinhole model of clause 9."""
    p = points @ (camera.rotation / 2**30).T + camera.translation / 2**20
    assert (p[:, 2] > 0).all()
    return p[:, :2] / p[:, 2:] * np.array(camera.focal) / 256 + np.array(camera.principal) / 256


@pytest.mark.parametrize("size", [(200, 100), (100, 200)])
@pytest.mark.parametrize("view", [View(), View(90), View(30, 1.0)])
def test_framed_cameras_see_everything_and_waste_little(size: tuple[int, int], view: View) -> None:
    corners = Bounds(np.array([-0.5, 0.0, -0.2]), np.array([0.5, 1.8, 2.0])).corners
    used = np.zeros(2)
    for progress in (0.0, 0.25, 0.5, 0.75):
        pixels = image_points(view.camera(corners, size, None, progress), corners)
        assert (pixels >= 0).all() and (pixels <= size).all()
        used = np.maximum(used, (pixels.max(axis=0) - pixels.min(axis=0)) / size)
    assert used.max() > 0.75


def test_front_is_the_side_that_faces_z_and_left_is_the_avatars_left() -> None:
    corners = Bounds(np.full(3, -1.0), np.full(3, 1.0)).corners
    points = np.array([[1.0, 0, 0], [0, 1.0, 0]])  # the avatar faces +z, so its left is +x
    front = image_points(View().camera(corners, (100, 100), None), points)
    assert front[0, 0] > 60 and front[1, 1] < 40
    left = View(90).camera(corners, (100, 100), None)
    eye = -(left.rotation / 2**30).T @ (left.translation / 2**20)
    assert eye[0] > 2 and abs(eye[2]) < 1e-5


def test_resized_keeps_the_view() -> None:
    camera = Camera.look_at(np.array([0.3, 1.0, 3.0]), np.array([0.0, 1.0, 0.0]), 640, 480)
    points = np.random.default_rng(0).uniform((-0.5, 0.5, -0.5), (0.5, 1.5, 0.5), (20, 3))
    smaller = resized(camera, (320, 240))
    assert image_points(smaller, points) == pytest.approx(image_points(camera, points) / 2, abs=0.01)
    assert (smaller.width, smaller.height) == (320, 240)


@pytest.mark.parametrize(
    ("text", "azimuth", "turns"),
    [
        ("front", 0, 0),
        ("back", 180, 0),
        ("orbit", 0, 1),
        ("orbit:", 0, 1),
        ("orbit:30", 30, 0),
        ("orbit:-10/0.5", -10, 0.5),
    ],
)
def test_views_by_name(text: str, azimuth: float, turns: float) -> None:
    assert parse_view(text, {}, None) == View(azimuth, turns)


@pytest.mark.parametrize("text", ["", "stream", "stream:x", "orbit:a", "1,2,3", "1,2,3,4,5,nan", "orbit:inf"])
def test_views_that_cannot_be(text: str) -> None:
    with pytest.raises(ContentError, match="camera"):
        parse_view(text, {}, None)


def test_bounds_ignore_the_invisible() -> None:
    positions = np.concatenate([np.random.default_rng(1).uniform(-1, 1, (5000, 3)), [[90.0, 90, 90]]])
    opacities = np.append(np.ones(5000), 0.01)
    assert Bounds.of(positions, opacities).high == pytest.approx([1, 1, 1], abs=0.02)


def test_sheet_puts_rows_one_after_the_other() -> None:
    images = [np.full((2, 3, 3), 10 * i, np.uint8) for i in range(3)]
    page = sheet(images, 2, 2)
    assert page.shape == (2 * 2 + 2, 2 * 3 + 2, 3)
    assert page[0, 0, 0] == 0 and page[0, 5, 0] == 10 and page[4, 0, 0] == 20
    assert (page[4, 5] == 255).all() and (page[2:4] == 255).all()


def test_spread_keeps_both_ends() -> None:
    assert spread(list(range(10)), 4) == [0, 3, 6, 9]  # type: ignore[type-var]
    assert spread(list(range(3)), 8) == [0, 1, 2]  # type: ignore[type-var]


def test_spans() -> None:
    assert 3 in Span(3) and 2 not in Span(3) and 10**6 in Span(3)
    assert 4 in Span(3, 5) and 5 not in Span(3, 5)


def test_png_is_the_decoders_picture(hga: Run, stream: Path, tmp_path: Path) -> None:
    assert hga("render", stream, "-o", tmp_path / "a.png", "--frame", "2").exit_code == 0
    decoder = Decoder(stream.read_bytes())
    frame = list(decoder.frames())[2]
    wanted = frame.render(decoder.cameras[0])[..., :3]
    assert (np.asarray(Image.open(tmp_path / "a.png")) == wanted).all()
    assert wanted.min() < 200  # something is there to see


def test_sheet_and_folder(hga: Run, stream: Path, tmp_path: Path) -> None:
    arguments = ("render", stream, "--size", "32x24", "--camera")
    assert hga(*arguments, "orbit", "-o", tmp_path / "s.png", "--sheet", "2x3", "--follow").exit_code == 0
    assert Image.open(tmp_path / "s.png").size == (3 * 34 - 2, 2 * 26 - 2)
    folder = tmp_path / "frames"
    assert hga(*arguments, "0,0.3,2,0,0.3,0", "-o", folder, "--background", "#102030").exit_code == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"frame_{i:06d}.png" for i in range(FRAMES)]
    assert Image.open(folder / names[0]).getpixel((0, 0)) == (0x10, 0x20, 0x30)


def test_video(hga: Run, stream: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    assert hga("render", stream, "-o", path, "--size", "65x33", "--camera", "front").exit_code == 0
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    assert facts["size"] == (64, 32) and facts["fps"] == 30 and facts["codec"] == "h264"
    assert len(list(reader)) == FRAMES


def test_follow_needs_a_framed_camera(hga: Run, stream: Path, tmp_path: Path) -> None:
    result = hga("render", stream, "-o", tmp_path / "a.png", "--follow", "--camera", "stream")
    assert result.exit_code == 2 and "--follow" in result.stderr
