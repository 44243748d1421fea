"""§7.9 The benchmark of generators: a random network of known size, alone and with everything that a frame takes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numba
import numpy as np

import spec
from reference_decoder import Camera, Compiled, Decoder, Frame
from reference_decoder.network import NETWORKS, network_class
from reference_encoder.encode import encode
from reference_encoder.generator import HEADS, GeneratorModel, add_generator, random_layers
from reference_encoder.quantise import Settings
from tools.bench_speed import body_camera, least, swaying, synthetic_body

FRAMES = 4


def bench_model(gaussians: int, pose_size: int, channels: int = 48, map_bits: int = 8) -> GeneratorModel:
    """A generator of five levels with all heads and styles; 48 channels at 256 texels take 4.4 GMAC a frame."""
    random = np.random.default_rng(0)
    wide = [channels, 4 * channels // 3, 2 * channels, 8 * channels // 3, 8 * channels // 3]
    model = GeneratorModel(
        map_bits=map_bits,
        input_level=1,
        encoder_channels=[channels, *wide[1:4]],
        decoder_channels=wide,
        modulation=[True] * 5,
        mapping_size=64,
        heads=HEADS,
        head_width=1,
        map_origin=(-(1 << 20), -(1 << 20)),
        map_scale=(1 << map_bits) * 128,
        posed_shift=13,
        rest_shift=13,
        side=random.integers(0, 2, gaussians),
    )
    random_layers(model, pose_size, random)
    return model


def installed() -> list[str]:
    """The networks that can be measured here."""
    names = [name for name in NETWORKS if name != "auto"]
    return [name for name in names if name != "torch" or importlib.util.find_spec("torch") is not None]


def measure(
    gaussians: int = 64_000,
    channels: int = 48,
    size: int = 512,
    runs: int = 10,
    progress: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Everything `hga bench generator` prints: by network and threads, alone and as the whole chain to the picture."""
    progress("making the stream")
    avatar = synthetic_body(gaussians, 0)
    plain = encode(avatar, swaying(avatar, FRAMES), Settings(effort=1, pruning=0), names=False)
    count = Decoder(plain, strict=True)
    next(count.frames())
    pose_size = 3 * (avatar.rig.count - 1)
    data = add_generator(plain, bench_model(count.avatar["gaussian_count"], pose_size, channels))
    decoder = Decoder(data, strict=True)
    frame = list(decoder.frames())[-1]
    assert decoder.generator is not None
    topology = decoder.generator.topology
    report: dict[str, Any] = {
        "gaussians": decoder.avatar["gaussian_count"],
        "gmac": topology["generator_macs"] / 1e9,
        "weights": topology["generator_weights"],
        "map_size": 1 << topology["map_bits"],
        "picture": size,
        "levels": spec.standard().levels[str(decoder.sequence["level"])]["number"],
        "networks": list(_networks(frame, size, runs, progress)),
    }
    return report


def _networks(
    frame: Frame, size: int, runs: int, progress: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    generator, camera = frame.generator, body_camera(size)
    assert generator is not None
    inputs, pose_vector = frame.network_inputs
    available = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    for name in installed():
        network = network_class(name)(generator.topology, generator.parameters)
        engine = Compiled(name)
        generator.prepared[name] = network
        for threads in sorted({1, min(2, available)}):
            progress(f"{name}, {threads} threads")
            numba.set_num_threads(threads)
            alone = least(partial(network.maps, inputs, pose_vector), runs)
            chain = least(partial(_picture, frame, engine, camera), runs)
            yield {
                "network": name,
                "threads": threads,
                "ms": alone,
                "frames_per_s": 1000 / alone,
                "gmac_per_s": generator.topology["generator_macs"] / 1e6 / alone,
                "chain_ms": chain,
                "chain_frames_per_s": 1000 / chain,
            }
        numba.set_num_threads(available)


def _picture(frame: Frame, engine: Compiled, camera: Camera) -> np.ndarray:
    """Everything from the pose to the picture, nothing being kept from before."""
    return replace(frame, engine=engine).render(camera)
