"""§7.9 Facial attention: what the pictures say of the face in closed form, and how the generator learns it.

The face is few pixels, and what expressions do to its colours is small: in steps on whole pictures its gradient
drowns in that of the clothes, and in the first layer of the mapping expressions drown in the rotations. But the
colour of a pixel is linear in the colours of Gaussians, so that colours which are themselves linear in the weights
of the expressions follow from all pictures at once by linear regression. The generator then learns them as it
learns from pictures, several frames in a step, for which it runs only where the face lies on its maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.linalg import solve

from reference_encoder.float_render import NEAR
from reference_encoder.splat_check import SH_C0
from reference_encoder.training.maps import MapLayout
from reference_encoder.training.posed import Offsets, Placed, PosedAvatar
from reference_encoder.training.shots import Shot, part_of
from reference_encoder.training.splatting import Splatter
from reference_encoder.training.twin import HEADS, Topology, Twin, Window

Picture = Callable[[str, int], Shot]
Progress = Callable[[str, int, int], None]
GAIN = 8.0  # on the expressions in the first layer of the mapping
_PATCHES = 220  # places at most whose colours are sought
_KEPT = 0.999  # share of the expressions' variance that is looked at
_DIRECTIONS = 16  # at most, of expressions
_LEAST = 4.0  # pixels of the face in a picture that is worth looking at
_TRIED = 5  # every how many frames only judge how smooth the answer should be
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
_BATCH = 4  # frames of a lesson


def directions(expressions: np.ndarray, frames: list[int]) -> np.ndarray:
    """(F, 1 + K): 1, and the weights of all frames along their main directions in `frames`, of variance 1 there."""
    middle = expressions[frames].mean(axis=0)
    sizes, axes = np.linalg.svd(expressions[frames] - middle, full_matrices=False)[1:]
    seen = sizes > 1e-6 * max(1.0, sizes.max(initial=0))
    explained = np.cumsum(sizes**2) / max(np.sum(sizes**2), 1e-12)
    count = min(int(seen.sum()), int(np.searchsorted(explained, _KEPT)) + 1, _DIRECTIONS)
    scores = (expressions - middle) @ axes[:count].T / (sizes[:count] / len(frames) ** 0.5)
    return np.concatenate([np.ones((len(expressions), 1)), scores], axis=1)


@dataclass(frozen=True)
class Patches:
    """Places on the face between which colours go over smoothly: texels of a map that is as fine as can be."""

    face: np.ndarray  # (M,) numbers of the Gaussians
    patch: np.ndarray  # (M, 4) patches next to each of them
    share: np.ndarray  # (M, 4) and their weights

    @classmethod
    def of(cls, posed: PosedAvatar, layout: MapLayout) -> Patches | None:
        """The finest that are few enough; None for an avatar without a face."""
        face = np.flatnonzero(posed.face.cpu().numpy())
        size, avatar = layout.size, posed.avatar
        while len(face):
            coarse = MapLayout.of(avatar, size, size)
            used, patch = np.unique(coarse.texel[face], return_inverse=True)
            if len(used) <= _PATCHES:
                return cls(face, patch.reshape(-1, 4), coarse.share[face] / 65536)
            size //= 2
        return None

    @property
    def count(self) -> int:
        return int(self.patch.max()) + 1

    def paint(self, gaussians: int) -> np.ndarray:
        """(N, T): how much each Gaussian has of the colour of each patch."""
        painted = np.zeros((gaussians, self.count), np.float32)
        np.add.at(painted, (self.face[:, None], self.patch), self.share)
        return painted


@dataclass(frozen=True)
class Answer:
    """What the pictures say of the face."""

    colours: torch.Tensor  # (T, 1 + K, 3) offsets of patches per score
    scores: torch.Tensor  # (F, 1 + K) of all frames
    shown: torch.Tensor  # (T,) pixels that patches cover in what was looked at


class FaceFit:
    """The normal equations of the colours of patches, frame by frame."""

    def __init__(self, posed: PosedAvatar, splatter: Splatter, patches: Patches):
        self._posed, self._splatter = posed, splatter
        painted = torch.as_tensor(patches.paint(len(posed.position)), device=splatter.device)
        self._paint, self._bare = painted, painted.sum(dim=1) == 0
        self.normal: dict[int, np.ndarray] = {}  # (T, T)
        self.wanted: dict[int, np.ndarray] = {}  # (T, 3)

    @torch.no_grad()
    def look(self, frame: int, shots: list[Shot], now: Offsets) -> None:
        """Takes in some pictures of a frame, in which the generator makes `now`, of whatever colour on the face."""
        colour = None if now.colour is None else now.colour * self._bare[:, None]
        placed = self._posed.place(frame, Offsets(now.position, colour, now.opacity, now.scale, now.rotation))
        count = self._paint.shape[1]
        normal, wanted = np.zeros((count, count)), np.zeros((count, 3))
        for shot in shots:
            rows, columns = self._window(placed, shot)
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            camera, target = part_of(shot.camera, rows, columns), shot.target[rows, columns]
            black = replace(camera, background=(0.0,))  # behind any number of channels
            shape = placed.means, placed.factors, placed.opacities
            seen = self._splatter(*shape, self._paint, black)[..., :-1]
            cover = seen.sum(dim=2) * (shot.weight[rows, columns] > 0)
            if cover.sum() < _LEAST:
                continue
            image = self._posed.draw(self._splatter, placed, camera)[..., :3]
            parts = seen, cover[..., None], (target - image) / SH_C0
            shown, weight, error = (part.flatten(0, 1).double().cpu().numpy() for part in parts)
            normal += shown.T @ (weight * shown)
            wanted += shown.T @ (weight * error)
        self.normal[frame], self.wanted[frame] = normal, wanted

    def _window(self, placed: Placed, shot: Shot) -> tuple[slice, slice]:
        """The rows and columns of a picture in which the face's centres lie, whether anything hides them or not."""
        camera = shot.camera
        centres = placed.means[~self._bare].double().cpu().numpy() @ camera.rotation.T + camera.translation
        places = centres[:, :2] / centres[:, 2:].clip(min=NEAR) * camera.focal + camera.principal
        low, high = np.floor(places.min(axis=0)).astype(int), np.ceil(places.max(axis=0)).astype(int) + 1
        spans = [
            slice(int(max(0, a)), int(min(b, size)))
            for a, b, size in zip(low, high, (camera.width, camera.height), strict=True)
        ]
        return spans[1], spans[0]

    def answer(self) -> Answer:
        """The colours that follow from all frames; how smooth they should be is judged on frames left out."""
        frames = list(self.normal)
        scores = directions(self._posed.motion.expressions, frames)
        judges = frames[_TRIED // 2 :: _TRIED]
        learned, judged = self._sums(sorted(set(frames) - set(judges)), scores), self._sums(judges, scores)
        errors = {ridge: _error(*judged, _regress(*learned, ridge)) for ridge in _RIDGES}
        best = min(errors, key=lambda ridge: errors[ridge])
        found = _regress(learned[0] + judged[0], learned[1] + judged[1], best)
        shown = np.sum([self.normal[frame].sum(axis=1) for frame in frames], axis=0)
        arrays = found.reshape(-1, scores.shape[1], 3), scores, shown
        device = self._posed.position.device
        return Answer(*(torch.as_tensor(a, dtype=torch.float32, device=device) for a in arrays))

    def _sums(self, frames: list[int], scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The normal matrix and the right side (T (1 + K), 3) of all these frames together."""
        chosen = scores[frames]
        pairs = (chosen[:, :, None] * chosen[:, None, :]).reshape(len(frames), -1)
        matrices = np.stack([self.normal[frame] for frame in frames])
        count, width = matrices.shape[1], chosen.shape[1]
        normal = (matrices.reshape(len(frames), -1).T @ pairs).reshape(count, count, width, width)
        wanted = np.einsum("ftc,fk->tkc", np.stack([self.wanted[frame] for frame in frames]), chosen)
        return normal.transpose(0, 2, 1, 3).reshape(count * width, -1), wanted.reshape(-1, 3)


def _regress(normal: np.ndarray, wanted: np.ndarray, ridge: float) -> np.ndarray:
    size = ridge * np.trace(normal) / len(normal) + 1e-9
    answer: np.ndarray = solve(normal + size * np.eye(len(normal)), wanted, assume_a="pos")
    return answer


def _error(normal: np.ndarray, wanted: np.ndarray, answer: np.ndarray) -> float:
    """The squared error of an answer, less what is the same for all of them."""
    return float((answer * (normal @ answer - 2 * wanted)).sum())


@dataclass(frozen=True)
class Lesson:
    """What the generator should make of the face's colours in all frames."""

    answer: Answer
    patch: torch.Tensor  # (M, 4)
    share: torch.Tensor  # (M, 4)
    shown: torch.Tensor  # (M,) how much the pictures show of each Gaussian of the face, 1 in all
    window: Window
    place: torch.Tensor  # (M, 4) texels of the window's maps next to each of them
    weight: torch.Tensor  # (M, 4) and their weights
    side: torch.Tensor  # (M, 1)
    scale: float  # the squared colours that expressions make on average

    @classmethod
    def of(cls, answer: Answer, patches: Patches, layout: MapLayout, topology: Topology) -> Lesson:
        """The lesson for a generator whose maps have this layout."""
        flat, device = layout.texel[patches.face] % layout.size**2, answer.colours.device
        rows, columns = flat // layout.size, flat % layout.size
        window = Window.around(rows, columns, topology)

        def tensor(values: np.ndarray) -> torch.Tensor:
            kind = torch.int64 if values.dtype.kind == "i" else torch.float32
            return torch.as_tensor(np.ascontiguousarray(values), dtype=kind, device=device)

        share, weight = patches.share, layout.share[patches.face] / 65536
        shown = _handed_out(patches, answer.shown.double().cpu().numpy())
        found = cls(
            answer, tensor(patches.patch), tensor(share), tensor(shown), window,
            tensor(window.place(rows, columns)), tensor(weight), tensor(layout.side[patches.face, None]), 1.0,
        )  # fmt: skip
        wanted = found.wanted(np.arange(len(answer.scores)))
        changes = (wanted - wanted.mean(dim=0)).square().sum(dim=2).mean(dim=0)
        return replace(found, scale=max(float(changes @ found.shown), 1e-9))

    def loss(self, twin: Twin, inputs: Callable[[int], tuple[torch.Tensor, torch.Tensor]], frames: list[int],
             rng: np.random.Generator) -> torch.Tensor:  # fmt: skip
        """The share of the face's changes that the generator gets wrong in some of the frames."""
        chosen = rng.choice(frames, min(_BATCH, len(frames)), replace=False)
        maps, poses = (torch.stack(parts) for parts in zip(*(inputs(int(f)) for f in chosen), strict=True))
        apart = self._made(twin, maps, poses) - self.wanted(chosen)
        return (apart.square().sum(dim=2) * self.shown).sum(dim=1).mean() / self.scale

    def wanted(self, frames: np.ndarray) -> torch.Tensor:
        """Colour offsets (B, M, 3)."""
        colours = torch.einsum(
            "tkc,fk->ftc", self.answer.colours, self.answer.scores[torch.as_tensor(frames)]
        )
        return (colours[:, self.patch] * self.share[..., None]).sum(dim=2)

    def _made(self, twin: Twin, maps: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
        made = twin.batch(maps, poses, self.window)
        heads = twin.topology.heads
        first = sum(HEADS[name][0] for name in heads[: heads.index("colour")])
        texels = made.reshape(len(made), 2, twin.topology.outputs, -1)[:, :, first : first + 3]
        around = texels.permute(0, 1, 3, 2)[:, self.side, self.place]
        return (around * self.weight[..., None]).sum(dim=2) * 2.0 ** -HEADS["colour"][1]


def _handed_out(patches: Patches, pixels: np.ndarray) -> np.ndarray:
    """(M,), 1 in all: the pixels (T,) of patches handed out to the Gaussians that have their colours."""
    members = np.bincount(patches.patch.ravel(), patches.share.ravel(), patches.count)
    each = (pixels / members.clip(min=1e-9))[patches.patch]
    shown = (each * patches.share).sum(axis=1).clip(min=0)
    return shown / max(shown.sum(), 1e-9)
