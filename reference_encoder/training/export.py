"""§5.11 From a trained model to a stream: the canonical Gaussians, a motion, and the integers of the generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

from reference_decoder import Decoder
from reference_encoder.content import Motion
from reference_encoder.encode import encode
from reference_encoder.generator import GeneratorModel, Layer, add_generator
from reference_encoder.quantise import Settings
from reference_encoder.training.maps import POSED_SHIFT, REST_SHIFT, MapLayout
from reference_encoder.training.trainer import Model
from reference_encoder.training.twin import Twin

Progress = Callable[[str, int, int], None]


def export(
    model: Model, motion: Motion, settings: Settings, progress: Progress = lambda what, done, total: None
) -> tuple[bytes, bytes]:
    """§A.1 The same avatar and motion as a stream of profile canonical, and with the generator as generative.

    The Gaussians go by the model's canonical ones as they are. Raises ContentError and StreamError.
    """
    still = encode(model.posed.canonical(), motion, settings, progress=progress)
    return still, add_generator(still, integers(model.twin, model.layout, decoded_positions(still)))


def decoded_positions(stream: bytes) -> np.ndarray:
    """§7.3 Canonical positions (N, 3), metres, in the order in which a stream has them."""
    decoder = Decoder(stream, strict=True)
    frame = next(iter(decoder.frames()))
    return np.asarray(frame.canonical.position, np.float64) / 2**20


def integers(twin: Twin, layout: MapLayout, positions: np.ndarray) -> GeneratorModel:
    """§5.11 The generator as integers; Gaussians at canonical `positions` (N, 3) have the sides of those nearest."""
    t = twin.topology
    nearest = cKDTree(layout.canonical).query(positions)[1]
    layers = [
        Layer(part.weight, part.bias, part.multiplier, part.shift)
        for part in (layer.integers() for layer in twin.layers().values())
    ]
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
        layers=layers,
    )
