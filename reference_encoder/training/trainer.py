"""Training: first the canonical Gaussians alone, the best that skinning can do, then the generator with them."""

from __future__ import annotations

import csv
import math
import pickle
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from reference_encoder.avatar_file import load_avatar, save_avatar
from reference_encoder.content import Avatar, ContentError
from reference_encoder.float_render import FloatCamera
from reference_encoder.training.dataset import MultiView, spread
from reference_encoder.training.face import GAIN, Answer, FaceFit, Lesson, Patches
from reference_encoder.training.losses import lpips, picture_loss
from reference_encoder.training.maps import MapLayout, pose_vector, seen_from
from reference_encoder.training.posed import Offsets, Placed, PosedAvatar
from reference_encoder.training.pruning import harden, share_left, soften
from reference_encoder.training.shots import MARGIN, Shot, around, part_of
from reference_encoder.training.splatting import Splatter
from reference_encoder.training.twin import HEADS, Topology, Twin
from reference_encoder.training.warm_start import regress, wanted

Progress = Callable[[str, int, int], None]
_FORMAT = "hga-training-1"


@dataclass(frozen=True)
class TrainSettings:
    """How to train. Learning rates are those of Adam (Kingma and Ba 2015), in the parameters' own units."""

    canonical_steps: int = 1500  # on the canonical Gaussians alone
    warm_steps: int = 800  # on the generator's first guess
    steps: int = 4000  # on the generator, the canonical Gaussians with it
    views: int = 2  # pictures of one pose in a step
    rate: float = 3e-3  # loss per megabyte of weights
    face_attention: float = 0.0  # by how much more a pixel of the face counts; its colours are taught, too
    ssim: float = 0.2  # share of 1 - SSIM in the loss, the rest is L1
    squared: float = 2.0  # loss per squared error beside them
    lpips: float = 0.0  # loss per LPIPS, where the package and its weights are
    prune: float = 0.0  # share of the multiplications to get rid of
    quantised: bool = True  # whether the network's weights and activations are whole numbers
    learning_rate: float = 1e-3  # of the generator
    canonical_rate: float = 1.0  # factor on those of the canonical Gaussians
    seed: int = 1
    save_every: int = 250


_CANONICAL_RATES = {
    "position": 1e-4,
    "sh0": 5e-3,
    "sh_rest": 5e-4,
    "opacity": 2e-2,
    "log_scale": 5e-3,
    "turn": 2e-3,
}
_WARM_FRAMES = 180  # at most, of which the first guess knows
_RAMP = 30  # steps in which rates rise
_FACE_FRAMES = 180  # at most, from which the face's colours are learned
_LESSON = 1e-4  # loss, per facial attention, if the generator makes nothing of the face's changes
_PRUNED_AT = 0.5  # of the generator's steps: soft thresholds until then, then the hard cut
_PRUNING_WEIGHT = 0.05  # loss per share of the multiplications above what is asked for
_JOINTLY = {"sh0": 0.2, "sh_rest": 0.2, "opacity": 0.2}
"""Shares of those rates while the generator trains: shapes stay, and places, by which its maps go."""


class Model:
    """Canonical Gaussians and the generator on them."""

    def __init__(self, avatar: Avatar, data: MultiView, topology: Topology, device: torch.device):
        if data.motion.joint_names and data.motion.joint_names != avatar.rig.names:
            raise ContentError("the poses are for other joints than the avatar has")
        if data.motion.expressions.shape[1] not in (0, len(avatar.expression_names)):
            raise ContentError("the poses have other expressions than the avatar")
        motion = data.motion.on(avatar)
        self.posed = PosedAvatar(avatar, motion, device)
        size = 3 * (avatar.rig.count - 1) + len(avatar.expression_names)
        self.twin = Twin(topology, size).to(device)
        self.device = device
        self.lay_out(self.posed.position.detach().clone())

    def lay_out(self, positions: torch.Tensor) -> None:
        """Lays the Gaussians out on the maps by canonical positions (N, 3); the generator's inputs follow."""
        topology, self.laid_out = self.twin.topology, positions
        gaussians = replace(self.posed.avatar.gaussians, positions=positions.double().cpu().numpy())
        self.canonical = replace(self.posed.avatar, gaussians=gaussians)
        input_size, joint = topology.size >> topology.input_level, topology.normalising_joint
        self.layout = MapLayout.of(self.canonical, topology.size, input_size, joint)
        texels, count = 2 * topology.size**2, len(positions)
        columns, values = self.layout.texel.ravel(), (self.layout.share / 65536).ravel().astype(np.float32)
        mixing = csr_array((values, columns, np.arange(0, 4 * count + 1, 4)), shape=(count, texels))
        self._mixing = _sparse(mixing, self.device), _sparse(mixing.T.tocsr(), self.device)
        self._inputs: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def inputs(self, frame: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Input maps and pose vector of a frame."""
        if frame not in self._inputs:
            motion, pose = self.posed.motion, self.posed.pose(frame)
            rest = self.canonical.gaussians.positions + pose.shift.double().cpu().numpy()
            blend = pose.blend.double().cpu().numpy()
            points = np.einsum("nab,nb->na", blend[..., :3], rest) + blend[..., 3]
            rig, joint = self.canonical.rig, self.twin.topology.normalising_joint
            turns, way = motion.rotations[frame], motion.translations[frame]
            maps = self.layout.inputs(seen_from(self.canonical, joint, points, turns, way))
            arrays = maps, pose_vector(rig, joint, turns, motion.expressions[frame])
            seen, vector = (torch.as_tensor(a, dtype=torch.float32, device=self.device) for a in arrays)
            self._inputs[frame] = seen, vector
        return self._inputs[frame]

    def offsets(self, frame: int) -> Offsets:
        """What the generator makes of a frame."""
        return self.sample(self.twin(*self.inputs(frame)))

    def sample(self, maps: torch.Tensor) -> Offsets:
        """§7.9.9 The offsets of the Gaussians from maps (2 K, S, S) of whole numbers."""
        count = len(maps) // 2
        flat = maps.reshape(2, count, -1).transpose(1, 2).reshape(-1, count)
        mixed, parts, first = _Mix.apply(flat, *self._mixing), {}, 0
        for name in self.twin.topology.heads:
            channels, bits = HEADS[name]
            parts[name] = mixed[:, first : first + channels] * 2.0**-bits
            first += channels
        return Offsets(**parts)


class Trainer:
    """Training in progress, which can be saved and taken up again."""

    def __init__(
        self,
        model: Model,
        data: MultiView,
        splatter: Splatter,
        settings: TrainSettings,
        state: dict[str, Any] | None = None,
        begun: bool = False,
        heeding: bool = False,
    ):
        """Takes up training where the checkpoint `state` left it, if there is one. Raises ContentError.

        `begun` says that the model's generator has been trained before, `heeding` that it was with facial attention.
        """
        self.model, self.data, self.splatter, self.settings = model, data, splatter, settings
        self._begun, self._heeding = begun, heeding
        self._lesson: Lesson | None = None
        # the face is where the template has it, so that training that was taken up again sees the same
        self._template = PosedAvatar(model.posed.avatar, model.posed.motion, model.device)
        self._template.pose = model.posed.pose
        self.step, self.history = 0, list[tuple[int, float, float]]()
        self._rng = np.random.default_rng(settings.seed)
        self._frames = data.frames(held_out=False)
        if not self._frames:
            raise ContentError("no frame to train on")
        self._pictures: dict[tuple[str, int], Shot] = {}
        self._lpips, self.lpips_note = lpips(model.device) if settings.lpips else (None, "")
        self.hardened = state is not None and state["hardened"]
        if settings.prune and not self.hardened:
            soften(model.twin)
        model.twin.quantise(settings.quantised)
        posed = dict(model.posed.named_parameters())
        groups: list[dict[str, Any]] = [
            {"params": [posed[name]], "lr": rate * settings.canonical_rate, "name": name}
            for name, rate in _CANONICAL_RATES.items()
        ]
        groups.append(
            {"params": list(model.twin.parameters()), "lr": settings.learning_rate, "name": "generator"}
        )
        self._optimiser = torch.optim.Adam(groups, eps=1e-15, fused=True)
        self._rates = [group["lr"] for group in groups]
        if state is not None:
            self._restore(state)

    @property
    def _moves(self) -> bool:
        """Whether the generator has learned anything yet."""
        return self._begun or self.step > self.settings.canonical_steps

    @property
    def total(self) -> int:
        return self.settings.canonical_steps + self.settings.steps

    def run(self, folder: Path, progress: Progress, until: int | None = None) -> None:
        """Trains to the end, or to a step; keeps `checkpoint.pt` and `loss.csv` in the folder."""
        until = min(until or self.total, self.total)
        folder.mkdir(parents=True, exist_ok=True)
        save_avatar(folder / "template.npz", self.model.posed.avatar)
        if self._moves and self._lesson is None:
            self._attend(progress)
        while self.step < until:
            if self.step == self.settings.canonical_steps and not self._begun:
                self.start_generator(folder, progress)
            if self.settings.prune and not self.hardened and self.step >= self._hard_cut:
                self._harden()
            self._set_rates()
            loss, bits = self._advance()
            self.history.append((self.step, loss, bits / 8e6))
            self.step += 1
            progress(f"training, loss {loss:.4f}", self.step, self.total)
            if self.step % self.settings.save_every == 0 or self.step == until:
                self.save(folder)

    def start_generator(self, folder: Path, progress: Progress) -> None:
        """Keeps what skinning alone can do as `canonical.npz`, lays it out on the maps and makes a first guess."""
        self.model.lay_out(self.model.posed.position.detach().clone())
        folder.mkdir(parents=True, exist_ok=True)
        save_avatar(folder / "canonical.npz", self.model.posed.canonical())
        self._attend(progress)
        if self.settings.warm_steps and "colour" in self.model.twin.topology.heads:
            self._warm_start(progress)

    def _attend(self, progress: Progress) -> None:
        """With facial attention: learns from the pictures what the face is to look like, for the generator."""
        model = self.model
        if not self.settings.face_attention or "colour" not in model.twin.topology.heads:
            return
        patches = Patches.of(model.posed, model.layout)
        if patches is None or not np.ptp(model.posed.motion.expressions[self._frames], axis=0).any():
            return  # nothing that expressions could teach
        fit = FaceFit(model.posed, self.splatter, patches)
        frames = [self._frames[i] for i in spread(len(self._frames), _FACE_FRAMES)]
        for count, frame in enumerate(frames):
            names = [name for name in list(self.data.cameras)[count % 2 :: 2] if self.data.has(name, frame)]
            with torch.no_grad():
                now = model.offsets(frame) if self._moves else Offsets()
            fit.look(frame, [self.picture(name, frame) for name in names], now)
            progress("looking at the face", count + 1, len(frames))
        self._lesson = Lesson.of(fit.answer(), patches, model.layout, model.twin.topology)
        if not self._heeding:
            model.twin.heed(model.posed.motion.expressions.shape[1], GAIN)
            self._heeding = True

    def _face_loss(self) -> torch.Tensor:
        """The share of the face's changes that the generator gets wrong in some frames, 0 without attention."""
        if self._lesson is None:
            return torch.zeros((), device=self.model.device)
        return self._lesson.loss(self.model.twin, self.model.inputs, self._frames, self._rng)

    def _warm_start(self, progress: Progress) -> None:
        """The first guess, from the pictures of every fourth camera in turn of some evenly spread frames."""
        model, names, targets = self.model, list(self.data.cameras), {}
        frames = self._frames[:: -(-len(self._frames) // _WARM_FRAMES)]
        for count, frame in enumerate(frames):
            cameras = [name for name in names[count % 4 :: 4] or names if self.data.has(name, frame)]
            targets[frame] = wanted(model.posed, self.splatter, self.picture, frame, cameras)
            progress("looking at the pictures", count + 1, len(frames))
        regress(
            model.twin, model.offsets, targets, self._face_loss, self.settings.warm_steps, self._rng, progress
        )

    @property
    def _hard_cut(self) -> int:
        return self.settings.canonical_steps + round(_PRUNED_AT * self.settings.steps)

    def _harden(self) -> None:
        """Takes out the channels that the thresholds have shut; the optimiser goes on with what is left."""
        self.model.twin = harden(self.model.twin, 1 - self.settings.prune)
        self.hardened = True
        group = self._optimiser.param_groups[-1]
        for parameter in group["params"]:
            self._optimiser.state.pop(parameter, None)
        group["params"] = list(self.model.twin.parameters())

    def _set_rates(self) -> None:
        """Each stage's rates rise in some steps and fall by a cosine; canonical ones are smaller in the second."""
        first, s = self.step < self.settings.canonical_steps, self.settings
        share = (
            self.step / max(1, s.canonical_steps)
            if first
            else (self.step - s.canonical_steps) / max(1, s.steps)
        )
        begun = self.step + 1 if first else self.step + 1 - s.canonical_steps
        fall = min(1.0, begun / _RAMP) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            jointly = 1.0 if first or group["name"] == "generator" else _JOINTLY.get(group["name"], 0.0)
            group["lr"] = rate * fall * jointly
            for parameter in group["params"]:
                parameter.requires_grad_(group["lr"] > 0)

    def _advance(self) -> tuple[float, float]:
        s, frame = self.settings, int(self._rng.choice(self._frames))
        with_generator = self.step >= s.canonical_steps
        offsets = self.model.offsets(frame) if with_generator else None
        shown = [name for name in self.data.cameras if self.data.has(name, frame)]
        names = self._rng.choice(shown, min(s.views, len(shown)), replace=False)
        placed = self.model.posed.place(frame, offsets or Offsets())
        loss = torch.stack([self._picture_loss(str(name), frame, placed) for name in names]).mean()
        bits = self.model.twin.bits() if with_generator else torch.zeros(())
        total = loss + s.rate * bits / 8e6
        if with_generator:
            total = total + s.face_attention * _LESSON * self._face_loss()
        if with_generator and s.prune and not self.hardened:
            total = total + _PRUNING_WEIGHT * (share_left(self.model.twin) - (1 - s.prune)).clamp(min=0)
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        self._optimiser.step()
        return float(loss.detach()), float(bits.detach())

    def _picture_loss(self, camera: str, frame: int, placed: Placed) -> torch.Tensor:
        shot, whole = self.picture(camera, frame), self.data.cameras[camera]
        image = self.model.posed.draw(self.splatter, placed, shot.camera)[..., :3]
        loss = picture_loss(image, shot.target, shot.weight, self.settings.ssim, self.settings.squared)
        loss = loss / (whole.width * whole.height)
        if self._lpips is not None:
            loss = loss + self.settings.lpips * self._lpips(image, shot.target)
        return loss

    def picture(self, camera: str, frame: int) -> Shot:
        """What a camera saw of a frame. Pictures are kept as bytes, since there are many."""
        if (camera, frame) not in self._pictures:
            view, whole = self.data.view(camera, frame), self.data.cameras[camera]
            rows, columns = around(view.mask, MARGIN)
            target = np.rint(view.target()[rows, columns] * 255).astype(np.uint8)
            weight = view.certainty()[rows, columns]
            seen = part_of(whole, rows, columns)
            if self.settings.face_attention:
                face = face_mask(self._template, self.splatter, seen, frame)
                weight = weight * (1 + self.settings.face_attention * face)
            self._pictures[camera, frame] = Shot(
                seen, torch.as_tensor(target), torch.as_tensor(weight, dtype=torch.float16)
            )
        kept, device = self._pictures[camera, frame], self.model.device
        return Shot(kept.camera, kept.target.to(device).float() / 255, kept.weight.to(device).float())

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self.model.posed.load_state_dict(state["posed"])
            self.model.twin.load_state_dict(state["twin"])
            self._optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise ContentError("the checkpoint is of another avatar or topology") from error
        self.step, self.history = state["step"], [tuple(row) for row in state["history"]]
        self._rng.bit_generator.state = state["random"]
        self.model.lay_out(state["laid_out"])
        if state.get("answer") is not None:
            patches = Patches.of(self.model.posed, self.model.layout)
            assert patches is not None
            answer = Answer(*(part.to(self.model.device) for part in state["answer"]))
            self._lesson = Lesson.of(answer, patches, self.model.layout, self.model.twin.topology)

    def save(self, folder: Path) -> None:
        """§1 `checkpoint.pt`: everything that training needs to go on, and what export needs."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "format": _FORMAT, "step": self.step, "settings": asdict(self.settings),
            "topology": asdict(self.model.twin.topology), "pose_size": self.model.twin.pose_size,
            "posed": self.model.posed.state_dict(), "twin": self.model.twin.state_dict(),
            "laid_out": self.model.laid_out, "hardened": self.hardened,
            "optimiser": self._optimiser.state_dict(), "history": self.history,
            "random": self._rng.bit_generator.state,
            "answer": self._lesson and list(vars(self._lesson.answer).values()),
        }  # fmt: skip
        temporary = folder / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(folder / "checkpoint.pt")
        with (folder / "loss.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("step", "loss", "weights_mb"), *self.history])


class _Mix(torch.autograd.Function):
    """A sparse matrix times a dense one; the sparse one's transpose is at hand for the derivative."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, mixing: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.back = back
        return mixing @ values

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return ctx.back @ gradients[0].contiguous(), None, None


def _sparse(matrix: csr_array, device: torch.device) -> torch.Tensor:
    rows, columns, values = (torch.as_tensor(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls these tensors a beta
        return torch.sparse_csr_tensor(rows, columns, values, matrix.shape, device=device)


def face_mask(posed: PosedAvatar, splatter: Splatter, camera: FloatCamera, frame: int) -> np.ndarray:
    """(H, W) in 0..1: how much of each pixel shows the face of the template."""
    with torch.no_grad():
        black = replace(camera, background=(0.0, 0.0, 0.0))
        return posed.render(splatter, frame, black, paint=posed.face)[..., 0].cpu().numpy()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """§1 What `Trainer.save` wrote. Raises ContentError for a file that is none; runs nothing that is in it."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ContentError(f"{path.name}: cannot be read as a checkpoint: {type(error).__name__}") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise ContentError(f"{path.name}: no checkpoint of the format {_FORMAT}")
    return state


def generator_trained(state: dict[str, Any]) -> bool:
    """Whether a checkpoint has more than canonical Gaussians."""
    return bool(state["step"] > state["settings"]["canonical_steps"])


def topology_of(state: dict[str, Any]) -> Topology:
    """The topology in a checkpoint."""
    values: dict[str, Any] = state["topology"]
    return Topology(**values)


def load_model(folder: Path, data: MultiView, device: torch.device) -> Model:
    """The model that training left in a folder: its checkpoint and its template. Raises ContentError."""
    state = load_checkpoint(folder / "checkpoint.pt")
    model = Model(load_avatar(folder / "template.npz"), data, topology_of(state), device)
    if state["settings"]["prune"] and not state["hardened"]:
        soften(model.twin)
    model.posed.load_state_dict(state["posed"])
    model.twin.load_state_dict(state["twin"])
    model.twin.quantise(state["settings"]["quantised"])
    model.lay_out(state["laid_out"])
    return model
