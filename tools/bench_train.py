"""What trained generators are worth: decoded streams against the pictures of poses that training did not see."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
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
from reference_encoder.training.export import WeightCoding, decoded_positions, generator
from reference_encoder.training.splatting import CpuSplatter
from reference_encoder.training.trainer import Model, generator_trained, load_checkpoint, load_model
from tools.accounting import layers
from tools.content.clothed import Plan, poses

Progress = Callable[[str, int, int], None]
STILL = "Canonical + LBS"
_LOOKED_AT = 0.1, 0.97  # places of the pictures shown among all
_SIZES = ("bytes", "generator_bytes", "bits_per_weight", "gmacs")
_MOTION, _RATE = Plan(stride=1, clips=("punch",)), 30  # whose first seconds are part of the size


@dataclass(frozen=True)
class Measurement:
    """What to look at: pictures of held-out frames, seconds of motion for the size, settings of the encoder."""

    cameras: int
    frames: int
    seconds: int
    settings: Settings
    coding: WeightCoding
    floats: bool  # whether the networks are measured before their numbers become whole, too


def measure(
    data: Path, trained: Sequence[Path], plan: Measurement, pictures: Path | None, progress: Progress
) -> dict[str, Any]:
    """Scores and bytes of skinning alone (the first folder's) and of what is in all `trained` folders.

    A folder whose generator was never trained counts as skinning alone, too. Everything is decoded from streams
    by the integer decoder and renderer. The size is that of the avatar with the poses that are looked at and so
    many seconds of another motion. Raises ContentError and OSError.
    """
    views = load_multi_view(data)
    shown = scores.held_out_pictures(views, plan.cameras, plan.frames)
    rows, still, moving = {}, dict[str, scores.Draw](), dict[str, scores.Draw]()
    encoded = _Encoder(plan, shown)
    for number, folder in enumerate(trained):
        model = load_model(folder, views, CpuSplatter.device)
        face = scores.face_of(model, views, CpuSplatter())
        network = generator_trained(load_checkpoint(folder / "checkpoint.pt"))
        entries = [(folder.name, model.posed.canonical(), network)]
        if number == 0:
            entries.insert(0, (STILL, load_avatar(folder / "canonical.npz"), False))
        for name, avatar, moves in entries:
            progress(f"decoding {name}", number, len(trained))
            stream = encoded(model, avatar, moves)
            draw = (moving if moves else still)[name] = _decoded(stream, views, shown)
            rows[name] = asdict(scores.score(views, draw, face, shown)) | _sizes(stream, model)
        if plan.floats and network:
            rows |= _before_coding(folder.name, model, views, shown)
    if pictures is not None and moving:
        _draw(pictures, views, shown, rows, face, still, moving)
    return {"pictures": len(shown), "rows": rows}


def _draw(
    folder: Path,
    views: MultiView,
    shown: Sequence[tuple[str, int]],
    rows: dict[str, dict[str, float]],
    face: scores.Draw,
    still: dict[str, scores.Draw],
    moving: dict[str, scores.Draw],
) -> None:
    """`generative.png`: some whole pictures and the largest face; `rates.png`: the generators by their size."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [shown[round(part * (len(shown) - 1))] for part in _LOOKED_AT]
    faces = {picture: face(*picture) > scores.FACE for picture in shown}
    largest = max(shown, key=lambda picture: int(faces[picture].sum()))
    windows = [*(views.view(*picture).mask > 0 for picture in chosen), faces[largest]]
    # the best of skinning alone is the one that was trained longest, which stands last
    image = report.side_by_side(
        views, list(still.values())[-1], next(iter(moving.values())), [*chosen, largest], windows
    )
    report.save_picture(folder / "generative.png", image)
    if len(moving) > 1:
        last = rows[list(still)[-1]]
        points = {
            n: (rows[n]["generator_bytes"] / 1e3, rows[n]["psnr"], rows[n]["face_psnr"]) for n in moving
        }
        report.plot_rates(folder / "rates.png", points, (last["psnr"], last["face_psnr"]))


def _before_coding(
    name: str, model: Model, views: MultiView, shown: Sequence[tuple[str, int]]
) -> dict[str, dict[str, float]]:
    """The network in whole numbers and in floats on the same uncoded Gaussians, by training's renderer."""
    found, splatter = {}, CpuSplatter()
    face = scores.face_of(model, views, splatter)
    for quantised in (True, False):
        model.twin.quantise(quantised)
        draw = scores.drawer(model, views, splatter, generator=True)
        row = f"{name}, before coding, {'whole numbers' if quantised else 'floats'}"
        found[row] = asdict(scores.score(views, draw, face, list(shown))) | dict.fromkeys(_SIZES, math.nan)
    return found


class _Encoder:
    """Streams of the poses that are looked at, then of seconds of another motion; Gaussians are encoded once."""

    def __init__(self, plan: Measurement, shown: Sequence[tuple[str, int]]):
        self._plan, self._frames = plan, np.array(sorted({frame for _, frame in shown}))
        self._stills: dict[bytes, bytes] = {}

    def __call__(self, model: Model, avatar: Avatar, moving: bool) -> bytes:
        g = avatar.gaussians
        parts = (g.positions, g.rotations, g.scales, g.opacities, g.sh)
        key = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).digest()
        if key not in self._stills:
            moved = poses(avatar, _MOTION)[0]
            motion = _joined(
                _part(model.posed.motion, self._frames),
                _part(moved, np.arange(self._plan.seconds * _RATE)),
            )
            self._stills[key] = encode(avatar, motion, self._plan.settings)
        still = self._stills[key]
        if not moving:
            return still
        return add_generator(still, generator(model, decoded_positions(still), self._plan.coding))


def _joined(first: Motion, second: Motion) -> Motion:
    """One motion after the other, at the rate of the second."""
    return replace(
        second,
        rotations=np.concatenate([first.rotations, second.rotations]),
        translations=np.concatenate([first.translations, second.translations]),
        expressions=np.concatenate([first.expressions, second.expressions]),
    )


def _part(motion: Motion, frames: np.ndarray) -> Motion:
    return replace(
        motion,
        rotations=motion.rotations[frames],
        translations=motion.translations[frames],
        expressions=motion.expressions[frames],
    )


def _decoded(stream: bytes, views: MultiView, shown: Sequence[tuple[str, int]]) -> scores.Draw:
    """Draws from a stream whose first frames are those of `shown` in their order, each decoded once."""
    frames = sorted({frame for _, frame in shown})
    decoded: dict[int, Frame] = dict(zip(frames, Decoder(stream, strict=True).frames(), strict=False))

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
