"""§5.11 From a trained model to a stream: the canonical Gaussians, a motion, and the integers of the generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import nn

from reference_decoder import Decoder
from reference_encoder.content import Motion
from reference_encoder.encode import encode
from reference_encoder.generator import GeneratorModel, Layer, add_generator
from reference_encoder.quantise import Settings
from reference_encoder.training.dataset import spread
from reference_encoder.training.maps import POSED_SHIFT, REST_SHIFT, MapLayout
from reference_encoder.training.trainer import Model
from reference_encoder.training.twin import Choose, Twin, rounded
from reference_encoder.trellis import quantise

Progress = Callable[[str, int, int], None]
_LOOKED_AT = 8  # frames in which the importance of the weights is measured


@dataclass(frozen=True)
class WeightCoding:
    """§7.9.3 How the weights become whole numbers.

    dependent: by the trellis. trade: what a bit is worth in squared steps; 0 takes the nearest. fineness: how many
    times as fine steps are as those learned.
    """

    dependent: bool = True
    trade: float = 0.2
    fineness: float = 1.5

    @classmethod
    def of(cls, dependent: bool, trade: float) -> WeightCoding:
        """Coding by the trellis, whose values are twice as far apart, or without it in the steps learned."""
        return cls(dependent, trade, cls.fineness if dependent else 1.0)

    def layers(self, model: Model, weights: dict[str, np.ndarray] | None = None) -> dict[str, Layer]:
        """§7.9.6 The layers of the model's generator in whole numbers, by names of `Twin.layers`.

        weights: what `importance` finds, if it is known.
        """
        plain, found = not self.dependent and self.trade == 0, {}
        weights = weights or ({} if plain else importance(model))
        for name, layer in model.twin.layers().items():
            choose = rounded if plain else self._choose(weights[name])
            part = layer.integers(choose, self.fineness)
            found[name] = Layer(part.weight, part.bias, part.multiplier, part.shift, self.dependent)
        return found

    def _choose(self, importance: np.ndarray) -> Choose:
        relative = importance / max(importance.mean(), 1e-9)
        return partial(quantise, importance=relative, trade=self.trade, dependent=self.dependent)


def export(
    model: Model,
    motion: Motion,
    settings: Settings,
    coding: WeightCoding,
    progress: Progress = lambda what, done, total: None,
) -> tuple[bytes, bytes]:
    """§A.1 The same avatar and motion as a stream of profile canonical, and with the generator as generative.

    The Gaussians go by the model's canonical ones as they are. Raises ContentError and StreamError.
    """
    still = encode(model.posed.canonical(), motion, settings, progress=progress)
    return still, add_generator(still, generator(model, decoded_positions(still), coding))


def generator(model: Model, positions: np.ndarray, coding: WeightCoding) -> GeneratorModel:
    """§5.11 The model's generator as integers, for Gaussians at canonical `positions` (N, 3)."""
    return integers(model.twin, model.layout, positions, list(coding.layers(model).values()))


@torch.no_grad()
def importance(model: Model, frames: int = _LOOKED_AT) -> dict[str, np.ndarray]:
    """How much an error of a weight does to what a layer makes: the second moments (I,) of the layers' inputs.

    By names of `Twin.layers`, over frames that are evenly spread in the motion.
    """
    moments: dict[str, list[np.ndarray]] = {name: [] for name in model.twin.layers()}

    def look(name: str, layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        moments[name].append(given[0].double().square().mean(dim=(0, 2, 3)).cpu().numpy())

    hooks = [
        layer.register_forward_pre_hook(partial(look, name)) for name, layer in model.twin.layers().items()
    ]
    for frame in spread(model.posed.motion.count, frames):
        model.twin(*model.inputs(frame))
    for hook in hooks:
        hook.remove()
    return {name: np.mean(found, axis=0) for name, found in moments.items()}


@torch.no_grad()
def outputs(model: Model, weights: dict[str, np.ndarray] | None, frames: int) -> np.ndarray:
    """What the network makes (F, 2 K, S, S) in some frames of the motion, evenly spread.

    weights: those to compute with, in learned steps, by names of `Twin.layers`; else those learned, not rounded.
    """
    layers = model.twin.layers()
    for name, layer in layers.items():
        learned = layer.levels()
        layer.fixed = learned.clone() if weights is None else torch.as_tensor(weights[name]).to(learned)
    made = [model.twin(*model.inputs(frame)) for frame in spread(model.posed.motion.count, frames)]
    for layer in layers.values():
        layer.fixed = None
    return torch.stack(made).cpu().numpy()


def decoded_positions(stream: bytes) -> np.ndarray:
    """§7.3 Canonical positions (N, 3), metres, in the order in which a stream has them."""
    decoder = Decoder(stream, strict=True)
    frame = next(iter(decoder.frames()))
    return np.asarray(frame.canonical.position, np.float64) / 2**20


def integers(twin: Twin, layout: MapLayout, positions: np.ndarray, layers: Sequence[Layer]) -> GeneratorModel:
    """§5.11 The generator as integers; Gaussians at canonical `positions` (N, 3) have the sides of those nearest."""
    t = twin.topology
    nearest = cKDTree(layout.canonical).query(positions)[1]
    return GeneratorModel(
        map_bits=t.map_bits,
        input_level=t.input_level,
        encoder_channels=t.encoder,
        decoder_channels=t.decoder,
        modulation=[bool(flag) for flag in t.modulated],
        mapping_size=t.mapping,
        heads=t.heads,
        head_width=t.head_width,
        map_origin=(round(layout.origin[0] * 2**20), round(layout.origin[1] * 2**20)),
        map_scale=round(layout.scale * 256),
        posed_shift=POSED_SHIFT,
        rest_shift=REST_SHIFT,
        normalising_joint=t.normalising_joint,
        side=layout.side[nearest],
        layers=list(layers),
    )
