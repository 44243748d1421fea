"""§5.11 The benchmark of weight coding: a generator's whole numbers by us and by peers, and what errors cost."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

import spec
from reference_decoder.units import UnitReader, level_limits, read_unit
from reference_encoder.generator import Layer, generator_unit, quantised_levels
from reference_encoder.training.dataset import load_multi_view
from reference_encoder.training.export import WeightCoding, importance, integers, outputs
from reference_encoder.training.splatting import CpuSplatter
from reference_encoder.training.trainer import Model, load_model
from tools.accounting import AccountingEngine

STEPS = (1.0, 1.4, 2.0, 2.8)  # of uniform quantisation, in the steps learned
OURS, LAPLACE = "ours", "static Laplace"
_SCALE_BYTES = 2  # of the scale of a tensor


def measure(
    data: Path, trained: Path, frames: int, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Everything that `hga bench weights` prints, of the generator in `trained`. Raises ContentError and OSError.

    `coded`: bytes by coder and share of the levels of the default coding and of rounded weights. `curves`: bits for
    each weight and mean squared error of the network's output against that of the weights before rounding, on the
    inputs of so many frames. `equal_error`: bits of the dependent points over those of rounding and a static Laplace
    distribution at the same error.
    """
    model = load_model(trained, load_multi_view(data), CpuSplatter.device)
    known = importance(model)
    codings = {"rounded": WeightCoding.of(False, 0.0), "default": WeightCoding()}
    found = {name: list(coding.layers(model, known).values()) for name, coding in codings.items()}
    coded = {name: coders(layers, weight_bytes(model, layers)) for name, layers in found.items()}
    uniform, dependent = [], []
    reference = outputs(model, None, frames)
    for number, step in enumerate(STEPS):
        progress("quantising", number, len(STEPS))
        uniform.append(_point(model, WeightCoding.of(False, 0.0), step, known, reference))
        dependent.append(_point(model, WeightCoding(), step, known, reference))
    return {
        "weights": sum(layer.weights.size for layer in found["rounded"]),
        "coded": coded,
        "curves": {"uniform": uniform, "dependent": dependent},
        "equal_error": at_equal_error(uniform, dependent),
    }


def coders(layers: Sequence[Layer], ours: float) -> dict[str, float]:
    """Bytes of the layers' levels by each coder that is installed: general ones get them as bytes, in their order."""
    levels = [levels_of(layer) for layer in layers]
    plain = np.concatenate(levels).astype(np.int8).tobytes()
    sizes = {
        OURS: ours,
        LAPLACE: sum(laplace_bytes(part) for part in levels),
        "LZMA": float(len(lzma.compress(plain, preset=9 | lzma.PRESET_EXTREME))),
        "zstd": float(len(zstandard.compress(plain, 22))),
    }
    try:
        import brotli
    except ImportError:
        return sizes
    return sizes | {"brotli": float(len(brotli.compress(plain)))}


def levels_of(layer: Layer) -> np.ndarray:
    """§7.9.3 What is coded of a layer, flat."""
    flat = layer.weights.ravel()
    return quantised_levels(flat) if layer.dependent else flat


def laplace_bytes(levels: np.ndarray) -> float:
    """The length of an ideal code for a rounded Laplace distribution of the best scale, and of that scale."""
    magnitude = np.abs(levels).astype(float)
    others, total = np.count_nonzero(levels), magnitude.sum()
    scales = 0.05 * 2.0 ** (np.arange(160) / 16)
    zero, ratio = -np.expm1(-0.5 / scales), -np.expm1(-1 / scales)
    bits = -(len(levels) - others) * np.log2(zero) + (total - 0.5 * others) / scales / np.log(2)
    bits -= others * (np.log2(ratio) - 1)
    return float(bits.min()) / 8 + _SCALE_BYTES


def weight_bytes(model: Model, layers: Sequence[Layer]) -> float:
    """§8.5.1 What the elements `weight_level` and `dependent_flag` take of a generator unit with these layers."""
    highest = max(entry["number"] for entry in spec.standard().levels.values())
    avatar = model.posed.avatar
    known: dict[str, Any] = {
        **level_limits(spec.standard(), highest),
        "joint_count": avatar.rig.count,
        "expression_count": len(avatar.expression_names),
        "gaussian_count": 1,
        "surface_neighbour": np.zeros((1, 2), np.int64),
    }
    made = integers(model.twin, model.layout, model.layout.canonical[:1], layers)
    data, engine = generator_unit(made, known), AccountingEngine()
    read_unit(data, next(iter(UnitReader(data))), known | {"active_generator": -1, "next_update": 1},
              engine.read_port, {})  # fmt: skip
    spent = engine.spent()
    return spent["weight_level"] + spent["dependent_flag"]


def _point(
    model: Model, coding: WeightCoding, step: float, known: dict[str, np.ndarray], reference: np.ndarray
) -> dict[str, float]:
    """Bits and error of a coding whose steps are so many times as large."""
    coarse = replace(coding, fineness=coding.fineness / step)
    layers = coarse.layers(model, known)
    weights = {name: layer.weights / coarse.fineness for name, layer in layers.items()}
    count = sum(layer.weights.size for layer in layers.values())
    found = outputs(model, weights, len(reference))
    levels = [levels_of(layer) for layer in layers.values()]
    return {
        "step": step,
        "error": float(np.square(found - reference).mean()),
        OURS: 8 * weight_bytes(model, list(layers.values())) / count,
        LAPLACE: 8 * sum(laplace_bytes(part) for part in levels) / count,
    }


def at_equal_error(uniform: Sequence[dict[str, float]], dependent: Sequence[dict[str, float]]) -> list[float]:
    """Our bits of each dependent point over the Laplace bits that the curve of uniform quantisation has at its error.

    The curve is straight between its points over the logarithm of the error; what is off its ends is left out.
    """
    curve = sorted((np.log(point["error"]), point[LAPLACE]) for point in uniform)
    errors, bits = np.array(curve).T
    placed = [(np.log(point["error"]), point[OURS]) for point in dependent]
    return [
        float(ours / np.interp(error, errors, bits))
        for error, ours in placed
        if errors[0] <= error <= errors[-1]
    ]
