"""What trained generators are worth: decoded streams against the pictures of poses that training did not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from reference_decoder import Camera, Decoder, Frame
from reference_encoder.avatar_file import load_avatar
from reference_encoder.content import Avatar, Motion
from reference_encoder.encode import encode
from reference_encoder.float_render import FloatCamera
from reference_encoder.generator import add_generator
from reference_encoder.quantise import Settings
from reference_encoder.training import report, scores
from reference_encoder.training.dataset import MultiView, load_multi_view
from reference_encoder.training.export import decoded_positions, integers
from reference_encoder.training.splatting import CpuSplatter
from reference_encoder.training.trainer import Model, load_model
from tools.accounting import layers
from tools.content.clothed import Plan, poses

Progress = Callable[[str, int, int], None]
_MOTION, _RATE = Plan(stride=1, clips=("punch",)), 30  # whose first seconds are part of the size


def measure(
    data: Path,
    trained: Sequence[Path],
    cameras: int,
    frames: int,
    seconds: int,
    settings: Settings,
    pictures: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Scores and bytes of skinning alone (the first folder's) and of the generators in all `trained` folders.

    Everything is decoded from streams by the integer decoder and renderer. The size is that of the same avatar
    with so many seconds of another motion. Raises ContentError and OSError.
    """
    views = load_multi_view(data)
    shown = scores.held_out_pictures(views, cameras, frames)
    rows, draws = {}, {}
    for number, folder in enumerate(trained):
        model = load_model(folder, views, CpuSplatter.device)
        face = scores.face_of(model, views, CpuSplatter())
        streams = {folder.name: _streams(model, model.posed.canonical(), shown, seconds, settings, True)}
        if number == 0:
            canonical = load_avatar(folder / "canonical.npz")
            streams = {
                "Canonical + LBS": _streams(model, canonical, shown, seconds, settings, False),
                **streams,
            }
        for name, (stream, long) in streams.items():
            progress(f"decoding {name}", number, len(trained))
            draws[name] = _decoded(stream, views, shown)
            rows[name] = asdict(scores.score(views, draws[name], face, shown)) | _sizes(long, model)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        still, best = draws["Canonical + LBS"], draws[trained[0].name]
        chosen = shown[:: max(1, len(shown) // 6)][:6]
        report.save_picture(pictures / "held_out.png", report.side_by_side(views, still, best, chosen, 0.85))
    return {"pictures": len(shown), "rows": rows}


def _streams(
    model: Model,
    avatar: Avatar,
    shown: Sequence[tuple[str, int]],
    seconds: int,
    settings: Settings,
    generator: bool,
) -> tuple[bytes, bytes]:
    """The avatar with the poses to be looked at, and with seconds of motion."""
    frames = sorted({frame for _, frame in shown})
    moved, found = poses(avatar, _MOTION)[0], []
    for motion in (_part(model.posed.motion, np.array(frames)), _part(moved, np.arange(seconds * _RATE))):
        stream = encode(avatar, motion, settings)
        if generator:
            stream = add_generator(stream, integers(model.twin, model.layout, decoded_positions(stream)))
        found.append(stream)
    return found[0], found[1]


def _part(motion: Motion, frames: np.ndarray) -> Motion:
    return replace(
        motion,
        rotations=motion.rotations[frames],
        translations=motion.translations[frames],
        expressions=motion.expressions[frames],
    )


def _decoded(stream: bytes, views: MultiView, shown: Sequence[tuple[str, int]]) -> scores.Draw:
    """Draws from a stream whose frames are those of `shown` in their order, each decoded once."""
    frames = sorted({frame for _, frame in shown})
    decoded: dict[int, Frame] = dict(zip(frames, Decoder(stream, strict=True).frames(), strict=True))

    def draw(camera: str, frame: int) -> np.ndarray:
        return decoded[frame].render(whole_camera(views.cameras[camera])) / 255

    return draw


def whole_camera(camera: FloatCamera) -> Camera:
    """The integer camera of a float one."""
    red, green, blue = (round(255 * value) for value in camera.background)
    return Camera(
        np.rint(camera.rotation * 2**30).astype(np.int64),
        np.rint(camera.translation * 2**20).astype(np.int64),
        (round(camera.focal[0] * 256), round(camera.focal[1] * 256)),
        (round(camera.principal[0] * 256), round(camera.principal[1] * 256)),
        camera.width,
        camera.height,
        (red, green, blue),
    )


def _sizes(stream: bytes, model: Model) -> dict[str, float]:
    """Bytes of the whole, of the generator, and bits for each of its weights."""
    by_layer = {layer.layer: layer.size for layer in layers(stream)}
    weights = sum(layer.weight.numel() for layer in model.twin.layers().values())
    generator = by_layer.get("generator", 0)
    return {
        "bytes": len(stream),
        "generator_bytes": generator,
        "bits_per_weight": 8 * generator / weights,
        "gmacs": model.twin.topology.macs() / 1e9 if generator else 0.0,
    }
