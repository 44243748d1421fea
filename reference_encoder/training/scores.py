"""How well a model renders pictures that it was not trained on, on the person's pixels and on the face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from reference_encoder.training.dataset import FOREGROUND, MultiView, spread
from reference_encoder.training.losses import ssim_map
from reference_encoder.training.splatting import Splatter
from reference_encoder.training.trainer import Model, face_mask

FACE = 0.5  # coverage of a pixel by the face from which it belongs to it
Draw = Callable[[str, int], np.ndarray]


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM over all pixels of all pictures that show the person, and those of the face."""

    psnr: float
    ssim: float
    face_psnr: float
    face_ssim: float
    pictures: int


def score(data: MultiView, draw: Draw, face: Draw, shown: list[tuple[str, int]]) -> Score:
    """Compares `draw(camera, frame)` (H, W, 4) in 0..1 with the set's pictures, by way of 8-bit values.

    `face` gives the face's share (H, W) of each pixel. Pixels count where either picture shows the person.
    """
    person, skin = _Sums(), _Sums()
    for camera, frame in shown:
        view, picture = data.view(camera, frame), draw(camera, frame)
        truth = view.target()
        image = (np.rint(picture[..., :3].clip(0, 1) * 255) / 255).astype(np.float32)
        square = ((image - truth) ** 2).mean(axis=2)
        structure = ssim_map(torch.from_numpy(image), torch.from_numpy(truth)).numpy()
        certain = view.certainty() > 0
        inside = ((view.mask >= FOREGROUND) | (picture[..., 3] >= FOREGROUND / 255)) & certain
        person.add(square, structure, inside)
        skin.add(square, structure, inside & (face(camera, frame) > FACE))
    return Score(person.psnr(), person.ssim(), skin.psnr(), skin.ssim(), len(shown))


class _Sums:
    def __init__(self) -> None:
        self._square, self._structure, self._count = 0.0, 0.0, 0

    def add(self, square: np.ndarray, structure: np.ndarray, where: np.ndarray) -> None:
        self._square += float(square[where].sum(dtype=np.float64))
        self._structure += float(structure[where].sum(dtype=np.float64))
        self._count += int(where.sum())

    def psnr(self) -> float:
        return (
            float("nan") if not self._count else -10 * float(np.log10(max(self._square / self._count, 1e-10)))
        )

    def ssim(self) -> float:
        return self._structure / self._count if self._count else float("nan")


def drawer(model: Model, data: MultiView, splatter: Splatter, *, generator: bool) -> Draw:
    """A function that draws with the model as it is, with its generator or without."""
    made: dict[int, object] = {}

    def draw(camera: str, frame: int) -> np.ndarray:
        with torch.no_grad():
            if generator and frame not in made:
                made.clear()
                made[frame] = model.offsets(frame)
            offsets = made[frame] if generator else None
            return model.posed.render(splatter, frame, data.cameras[camera], offsets).cpu().numpy()  # type: ignore[arg-type]

    return draw


def face_of(model: Model, data: MultiView, splatter: Splatter) -> Draw:
    """A function that says where the template's face is."""
    return lambda camera, frame: face_mask(model.posed, splatter, data.cameras[camera], frame)


def held_out_pictures(data: MultiView, cameras: int, frames: int) -> list[tuple[str, int]]:
    """Pictures of held-out frames: at most so many frames and cameras, evenly spread."""
    chosen = data.frames(held_out=True)
    picked = [chosen[i] for i in spread(len(chosen), frames)]
    names = list(data.cameras)
    seen = [
        names[i] for i in np.linspace(0, len(names), min(cameras, len(names)), endpoint=False).astype(int)
    ]
    return [(name, frame) for frame in picked for name in seen if data.has(name, frame)]
