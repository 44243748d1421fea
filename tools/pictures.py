"""Pictures of decoded frames: PNG files, contact sheets and videos."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from reference_decoder import Frame
from reference_encoder.content import ContentError
from tools.cameras import Bounds, View
from tools.streams import fresh

DEFAULT_SIZE = (512, 512)
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv")
_BOUNDS_FRAMES = 24  # frames that are skinned to frame a clip
_GAP = 2  # pixels between the pictures of a sheet


def sampled(frames: Sequence[Frame]) -> list[Frame]:
    """Enough frames to frame a clip by, the last one among them."""
    return [*frames[:: max(1, -(-len(frames) // _BOUNDS_FRAMES))], frames[-1]]


def frame_corners(frame: Frame) -> np.ndarray:
    """(8, 3) metres: the box around the Gaussians of a frame."""
    frame = fresh(frame)
    mean, opacity = frame.gaussians[0], frame.appearance[0]
    return Bounds.of(np.asarray(mean) / 2**20, np.asarray(opacity) / 2**14).corners


@dataclass(frozen=True)
class Drawing:
    """How frames become pictures. With `follow` the camera keeps pace with the avatar's root over the ground."""

    view: View
    size: tuple[int, int]
    background: tuple[int, int, int] | None
    follow: bool = False
    progress: Callable[[str, int, int], None] = lambda what, done, total: None

    def pictures(self, frames: Sequence[Frame]) -> Iterator[np.ndarray]:
        """(height, width, 3) bytes of each frame."""
        corners = np.zeros((0, 3))
        if self.view.is_framed:
            corners = np.concatenate([frame_corners(f) - self._shift(f) for f in sampled(frames)])
        for number, frame in enumerate(frames):
            here = corners + self._shift(frame)
            camera = self.view.camera(here, self.size, self.background, number / len(frames))
            yield fresh(frame).render(camera)[..., :3]
            self.progress("pictures", number + 1, len(frames))

    def _shift(self, frame: Frame) -> np.ndarray:
        """(3,) metres: how far the root has come, height apart."""
        way = np.asarray(frame.pose[:3], np.float64) / 2**20 if self.follow else np.zeros(3)
        return way * (1, 0, 1)


def write(
    output: Path, frames: Sequence[Frame], grid: tuple[int, int] | None, drawing: Drawing, fps: Fraction
) -> list[Path]:
    """Writes a contact sheet, a PNG, a video or a folder of PNGs, by `grid` and the name; returns the paths."""
    suffix = output.suffix.lower()
    if grid is not None:
        chosen = spread(frames, grid[0] * grid[1])
        save_png(output, sheet(list(drawing.pictures(chosen)), *grid))
    elif suffix == ".png":
        save_png(output, next(drawing.pictures(frames[:1])))
    elif suffix in VIDEO_SUFFIXES:
        save_video(output, drawing.pictures(frames), fps)
    elif suffix in ("", "."):
        return list(_save_folder(output, frames, drawing))
    else:
        raise ContentError(f"{output}: pictures go to .png, {', '.join(VIDEO_SUFFIXES)} or a folder")
    return [output]


def _save_folder(folder: Path, frames: Sequence[Frame], drawing: Drawing) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for frame, image in zip(frames, drawing.pictures(frames), strict=True):
        path = folder / f"frame_{frame.index:06d}.png"
        save_png(path, image)
        yield path


def spread(frames: Sequence[Frame], count: int) -> list[Frame]:
    """At most `count` frames, evenly spread, the first and the last among them."""
    if len(frames) <= count:
        return list(frames)
    return [frames[round(i * (len(frames) - 1) / max(1, count - 1))] for i in range(count)]


def sheet(images: Sequence[np.ndarray], rows: int, columns: int) -> np.ndarray:
    """The images (H, W, 3) in rows, row after row; what is left over stays white."""
    height, width, _ = images[0].shape
    rows = min(rows, -(-len(images) // columns))
    page = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        page[top : top + height, left : left + width] = image
    return page


def save_png(path: Path, image: np.ndarray) -> None:
    """One picture as PNG; raises OSError where it cannot be written."""
    Image.fromarray(image).save(path, "PNG")


def save_video(path: Path, images: Iterator[np.ndarray], fps: Fraction) -> int:
    """H.264 in yuv420p, for every player; odd sizes lose their last row or column. Returns the frame count."""
    import imageio_ffmpeg

    count, writer = 0, None
    path.touch()  # an output that cannot be written is found before anything is drawn
    with contextlib.ExitStack() as stack:
        for image in images:
            even = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
            if writer is None:
                writer = imageio_ffmpeg.write_frames(
                    str(path), (even.shape[1], even.shape[0]), fps=float(fps), codec="libx264",
                    pix_fmt_out="yuv420p", macro_block_size=2, quality=None, output_params=["-crf", "18"],
                )  # fmt: skip
                writer.send(None)
                stack.callback(writer.close)
            writer.send(even)
            count += 1
    return count
