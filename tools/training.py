"""What `hga train` does: a set and a template to a checkpoint, pictures and scores on held-out poses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reference_encoder.avatar_file import load_avatar
from reference_encoder.content import ContentError, Motion
from reference_encoder.quantise import Settings
from reference_encoder.training import report, scores
from reference_encoder.training.dataset import MultiView, load_multi_view
from reference_encoder.training.export import WeightCoding, export
from reference_encoder.training.maps import first_turning_joint
from reference_encoder.training.splatting import Splatter, splatter
from reference_encoder.training.trainer import (
    Model,
    Trainer,
    TrainSettings,
    generator_trained,
    load_checkpoint,
    load_model,
    topology_of,
)
from reference_encoder.training.twin import HEADS, Topology

_PREVIEWS_EVERY = 500  # steps


@dataclass(frozen=True)
class Choices:
    """The options of `hga train` that shape the result."""

    canonical_steps: int = 1500
    warm_steps: int = 800
    steps: int = 4000
    views: int = 2
    map_bits: int = 7
    channels: int = 16
    heads: str = "position,colour"
    rate: float = 3e-3
    squared: float = 2.0
    learning_rate: float = 1e-3
    canonical_rate: float = 1.0
    face_attention: float = 0.0
    lpips: float = 0.0
    prune: float = 0.0
    quantised: bool = True
    renderer: str = "auto"
    seed: int = 1

    def topology(self, motion: Motion) -> Topology:
        """Levels down to maps of 8 texels; twice the channels every two levels, modulated but at the finest.

        Inputs are seen from the first joint that turns in the motion.
        """
        heads = tuple(name.strip() for name in self.heads.split(","))
        for name in heads:
            if name not in HEADS:
                raise ContentError(f"--heads: {name!r} is not one of {', '.join(HEADS)}")
        levels = max(2, self.map_bits - 2)
        start, styled = min(2, levels - 1), 1
        widths = tuple(
            min(4 * self.channels, round(self.channels * 2 ** (level / 2))) for level in range(levels)
        )
        modulated = tuple(int(level >= styled) for level in range(levels))
        ordered = tuple(name for name in HEADS if name in heads)
        return Topology(
            self.map_bits, start, widths[start:], widths, modulated, 2 * self.channels, ordered,
            normalising_joint=first_turning_joint(motion),
        )  # fmt: skip

    def settings(self) -> TrainSettings:
        """The part of the choices that the trainer takes."""
        shared = {
            name: value for name, value in asdict(self).items() if name in TrainSettings.__annotations__
        }
        return TrainSettings(**shared)


def train(
    data: Path,
    avatar: Path | None,
    output: Path,
    choices: Choices,
    resume: bool,
    start: Path | None,
    previews: int,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Trains, draws, scores; returns what the command prints. Raises ContentError and OSError.

    `resume` goes on where the checkpoint in `output` stands, `start` begins with the model of another folder.
    """
    backend, views = splatter(choices.renderer), load_multi_view(data)
    torch.manual_seed(choices.seed)
    state = load_checkpoint(output / "checkpoint.pt") if resume else None
    if start is not None and state is None:
        trainer = _forked(start, output, views, backend, choices)
    else:
        topology = topology_of(state) if state else choices.topology(views.motion)
        template = load_avatar(avatar or data / "avatar.npz")
        model = Model(template, views, topology, backend.device)
        trainer = Trainer(model, views, backend, choices.settings(), state)
    model = trainer.model
    while trainer.step < trainer.total:
        trainer.run(output, progress, min(trainer.step + _PREVIEWS_EVERY, trainer.total))
        report.plot_loss(output / "loss.png", trainer.history, choices.canonical_steps)
        if trainer.step > choices.canonical_steps:
            _preview(output, views, trainer.model, backend, previews)
    if not choices.steps:
        trainer.start_generator(output, progress)
    note = report.plot_loss(output / "loss.png", trainer.history, choices.canonical_steps)
    shown = scores.held_out_pictures(views, 4, 24)
    found = {name: asdict(s) for name, s in compare(output, views, model, backend, shown).items()}
    if not choices.steps:
        del found["Generative"]  # of a generator that nobody trained
    kilobytes = float(model.twin.bits().detach()) / 8000
    summary = f"{model.twin.topology.macs() / 1e9:.2f} GMAC/frame, about {kilobytes:.0f} kB of weights"
    return {
        "held_out": found,
        "weights_kb": kilobytes,
        "note": "; ".join(filter(None, (summary, trainer.lpips_note, note))),
    }


def _forked(start: Path, output: Path, views: MultiView, backend: Splatter, choices: Choices) -> Trainer:
    """New training of what another one left: of its generator too, if that had been trained."""
    state = load_checkpoint(start / "checkpoint.pt")
    begun = generator_trained(state)
    if begun and choices.canonical_steps:
        raise ContentError(f"{start.name} has a trained generator: use --canonical-steps 0")
    if begun:
        output.mkdir(parents=True, exist_ok=True)
        shutil.copy(start / "canonical.npz", output / "canonical.npz")
    model = load_model(start, views, backend.device)
    heeding = begun and state["settings"]["face_attention"] > 0
    return Trainer(model, views, backend, choices.settings(), begun=begun, heeding=heeding)


def stream(
    data: Path, output: Path, coding: WeightCoding, progress: Callable[[str, int, int], None]
) -> bytes:
    """The stream of the trained avatar and all poses of the set."""
    views = load_multi_view(data)
    model = load_model(output, views, torch.device("cpu"))
    return export(model, model.posed.motion, Settings(), coding, progress)[1]


def canonical_model(output: Path, views: MultiView, model: Model, backend: Splatter) -> Model:
    """The model that skinning alone makes: what the first stage of training left."""
    return Model(load_avatar(output / "canonical.npz"), views, model.twin.topology, backend.device)


def compare(
    output: Path, views: MultiView, model: Model, backend: Splatter, shown: list[tuple[str, int]]
) -> dict[str, scores.Score]:
    """Scores of both on the same pictures."""
    still = canonical_model(output, views, model, backend)
    face = scores.face_of(still, views, backend)
    draws = {
        "Canonical + LBS": scores.drawer(still, views, backend, generator=False),
        "Generative": scores.drawer(model, views, backend, generator=True),
    }
    return {name: scores.score(views, draw, face, shown) for name, draw in draws.items()}


def _preview(output: Path, views: MultiView, model: Model, backend: Splatter, count: int) -> None:
    shown = scores.held_out_pictures(views, 1, count)
    still = canonical_model(output, views, model, backend)
    image = report.side_by_side(
        views,
        scores.drawer(still, views, backend, generator=False),
        scores.drawer(model, views, backend, generator=True),
        shown,
        [views.view(*picture).mask > 0 for picture in shown],
    )
    report.save_picture(output / "preview.png", image)
