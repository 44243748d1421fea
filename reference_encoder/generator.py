"""§5.11 Generators as plain integers, and the units that carry them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import spec
from reference_decoder import Compiled, Decoder
from reference_decoder.generator import Generator, known_before
from reference_decoder.units import Unit, UnitReader, level_limits, motion_units, peek, read_unit
from reference_encoder.content import ContentError
from reference_encoder.units import unit
from spec.errors import ResourceLimit

_C = spec.standard().constant_values
HEADS = tuple(name for name, _ in spec.standard().enumerations["head"].values())


@dataclass
class Layer:
    """§7.9.6 The integers of one linear layer of O outputs and I inputs.

    weights (O, I, width, width) in -63..63, bias (O,), multiplier (O,) in 0..4095, shift (O,) in 1..31. With
    `dependent` they are values that the trellis has, as `trellis.quantise` chooses them.
    """

    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    dependent: bool = False


@dataclass
class GeneratorModel:
    """§5.11 A generator as integers; elements that are not described here have the name of the syntax.

    heads: names of HEADS; modulation and decoder_channels: one entry a level, level 0 first; encoder_channels: one
    entry a level from input_level on; layers in the order of clause 7.9.2; side (N,): 0 front, 1 back.
    """

    map_bits: int
    input_level: int
    encoder_channels: Sequence[int]
    decoder_channels: Sequence[int]
    modulation: Sequence[bool]
    mapping_size: int
    heads: Sequence[str]
    head_width: int
    map_origin: tuple[int, int]  # Q.20 m
    map_scale: int  # Q.8 texel/m
    posed_shift: int
    rest_shift: int
    side: np.ndarray
    layers: list[Layer] = field(default_factory=list)
    normalising_joint: int = 0
    identity: int = 0

    def shape(self, pose_size: int) -> np.ndarray:
        """§7.9.2 (layers, 8) the rows of `layer`; pose_size: `3 * (joint_count - 1) + expression_count`."""
        rows = np.zeros((_C["GENERATOR_LAYERS"] + 1, 8), np.int64)
        v = self.topology()
        count = spec.document().unchecked["describe_layers"](
            v["map_bits"], v["level_count"], v["input_level"], pose_size, v["mapping_size"], v["modulation_flag"],
            v["encoder_channels"], v["decoder_channels"], self.head_channels, v["head_width_flag"], rows,
        )  # fmt: skip
        return rows[:count]

    @property
    def head_channels(self) -> int:
        """§5.11 Output channels of one side."""
        return sum(1 if name == "opacity" else 3 for name in self.heads)

    def topology(self) -> dict[str, Any]:
        """§5.11.2 The elements of `generator_topology`."""
        return {
            "map_bits": self.map_bits,
            "level_count": len(self.decoder_channels),
            "input_level": self.input_level,
            "head_flag": [int(name in self.heads) for name in HEADS],
            "head_width_flag": int(self.head_width == 3),
            "generator_reserved": 0,
            "modulation_flag": [int(flag) for flag in self.modulation],
            "decoder_channels": [int(count) for count in self.decoder_channels],
            "encoder_channels": [int(count) for count in self.encoder_channels],
            "mapping_size": self.mapping_size if any(self.modulation) else 0,
            "map_origin": self.map_origin,
            "map_scale": self.map_scale,
            "normalising_joint": self.normalising_joint,
            "posed_shift": self.posed_shift,
            "rest_shift": self.rest_shift,
        }

    def flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """§7.9.1 weights, biases, multipliers and shifts of all layers one after the other."""
        parts = ("weights", "bias", "multiplier", "shift")
        weights, biases, multipliers, shifts = (
            np.concatenate([np.asarray(getattr(layer, part), np.int64).ravel() for layer in self.layers])
            for part in parts
        )
        return weights, biases, multipliers, shifts


def random_layers(
    model: GeneratorModel, pose_size: int, random: np.random.Generator, largest: int = 63
) -> None:
    """Fills `model.layers` with random integers whose activations neither vanish nor all reach their limits.

    largest: the greatest absolute value of a weight; less in wide layers, whose sums would break the constraint.
    """
    for row in model.shape(pose_size):
        inputs, outputs, width = (int(entry) for entry in row[:3])
        fan_in = max(inputs * width * width, 1)
        reach = min(largest, 9 * _C["ACCUMULATOR_LIMIT"] // (5 * _C["ACTIVATION_SPAN"] * fan_in))
        spread = round(np.log2(max(reach, 1) * fan_in**0.5)) + 11
        model.layers.append(
            Layer(
                random.integers(-reach, reach + 1, (outputs, inputs, width, width)),
                random.integers(-1000, 1001, outputs),
                random.integers(1024, 4096, outputs),
                random.integers(spread - 1, spread + 2, outputs),
            )
        )


def generator_unit(
    model: GeneratorModel, known: Mapping[str, Any], active: Generator | None = None, *, checksum: bool = True
) -> bytes:
    """§5.11 The unit of a generator, or with `active` of the update that turns the active one into `model`.

    known: the elements of the avatar header, the limits of the level and `surface_neighbour`. Raises ContentError if
    the layers do not fit the topology, and the StreamError of whatever the syntax does not allow.
    """
    _check_layers(model, 3 * (known["joint_count"] - 1) + known["expression_count"])
    values = changes(model, active.parameters if active else None)
    values |= {
        "generator_id": model.identity,
        "update_flag": int(active is not None),
        "side_flag": model.side,
    }
    if active is None:
        return unit("generator", values | model.topology(), known, checksum=checksum)
    values["update_number"] = active.updates + 1
    return unit("generator", values, {**known, **known_before(active, True)}, checksum=checksum)


def changes(model: GeneratorModel, active: Sequence[np.ndarray] | None) -> dict[str, Any]:
    """§5.11.4 The elements of the layers: what is added to the active arrays; layers without changes are left out."""
    target = model.flat()
    before = active or [np.zeros_like(part) for part in target]
    weight, bias, multiplier, shift = (t - np.asarray(b) for t, b in zip(target, before, strict=True))
    levels = np.zeros_like(weight)
    changed, dependent, first_weight, first_channel = [], [], 0, 0
    for layer in model.layers:
        rows = slice(first_weight, first_weight := first_weight + layer.weights.size)
        channels = slice(first_channel, first_channel := first_channel + len(layer.bias))
        levels[rows] = quantised_levels(weight[rows]) if layer.dependent else weight[rows]
        flag = any(
            part[s].any()
            for part, s in ((weight, rows), (bias, channels), (multiplier, channels), (shift, channels))
        )
        changed.append(int(flag))
        dependent += [int(layer.dependent)] if flag or active is None else []
    return {
        "layer_change_flag": changed,
        "dependent_flag": dependent,
        "weight_level": levels,
        "bias_change": bias,
        "multiplier_change": multiplier,
        "shift_change": shift,
    }


def quantised_levels(change: np.ndarray) -> np.ndarray:
    """§7.9.3 The levels of dependently quantised changes; ContentError if no levels give these changes."""
    levels = np.zeros_like(change)
    state = 0
    for place, value in enumerate(change.tolist()):
        halving = state & 1
        sign = (value > 0) - (value < 0)
        if (value + sign * halving) % 2:
            raise ContentError(
                f"change {place} of a dependently quantised layer is {value}: not on the trellis"
            )
        levels[place] = (value + sign * halving) // 2
        state = _C["TRELLIS"][2 * state + (int(levels[place]) & 1)]
    return levels


def _check_layers(model: GeneratorModel, pose_size: int) -> None:
    rows = model.shape(pose_size)
    if len(rows) != len(model.layers):
        raise ContentError(f"the topology has {len(rows)} layers, the model {len(model.layers)}")
    for number, (row, layer) in enumerate(zip(rows, model.layers, strict=True)):
        inputs, outputs, width = (int(entry) for entry in row[:3])
        if layer.weights.shape != (outputs, inputs, width, width):
            expected = (outputs, inputs, width, width)
            raise ContentError(
                f"the weights of layer {number} are {layer.weights.shape}, expected {expected}"
            )


def add_generator(
    data: bytes,
    model: GeneratorModel,
    updates: Mapping[int, GeneratorModel] | None = None,
    *,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> bytes:
    """§5.11 A stream of profile generative: `data` with a generator before its first motion unit, and updates.

    updates: by frame; each comes before the motion unit that has the frame. The Gaussians of `model.side` are in
    the order of the stream. The level is raised if the generator needs it. Frame hashes are left out: they would
    not hold.
    """
    decoder = Decoder(data, strict=True)
    for _ in decoder.frames():
        break
    assert decoder.canonical is not None
    position = decoder.canonical.position
    known = dict(decoder.avatar)
    known["surface_neighbour"] = decoder.canonical.neighbours(decoder.engine, decoder.avatar)
    level, first = _fitting(model, known, decoder.sequence["level"])
    known |= level_limits(spec.standard(), level)
    output: list[bytes] = []
    pending, active = dict(sorted((updates or {}).items())), None
    ends = {piece.index: start + count for piece, _, start, count in motion_units(data)}
    for piece in UnitReader(data):
        if piece.index in ends:
            if active is None:
                output.append(first)
                active = received(first, known, position, None)
            for frame in [frame for frame in pending if frame < ends[piece.index]]:
                output.append(generator_unit(pending.pop(frame), known, active))
                active = received(output[-1], known, position, active)
                progress("updates", frame, max(ends.values()))
        if piece.type == "sequence":
            profile = {"profile": _C["PROFILE_GENERATIVE"], "level": level}
            output.append(unit("sequence", {**decoder.sequence, **profile}, {}, checksum=True))
        elif not _is_hash(data, piece):
            output.append(data[piece.start : piece.end])
    return b"".join(output)


def _fitting(model: GeneratorModel, known: Mapping[str, Any], level: int) -> tuple[int, bytes]:
    """§A.2 The least level from `level` on that allows the generator, and its unit; ContentError if none does."""
    highest = max(entry["number"] for entry in spec.standard().levels.values())
    for number in range(level, highest + 1):
        try:
            return number, generator_unit(model, {**known, **level_limits(spec.standard(), number)})
        except ResourceLimit as error:
            refusal = error
    raise ContentError(f"the generator is more than the highest level allows: {refusal}")


def received(
    data: bytes, known: Mapping[str, Any], position: np.ndarray, active: Generator | None
) -> Generator:
    """§6.11.7 The generator that a decoder has after a generator unit."""
    engine = Compiled()
    piece: Unit = next(iter(UnitReader(data)))
    values = {**known, **known_before(active, active is not None)}
    read_unit(data, piece, values, engine.read_port, {})
    return Generator.received(engine, values, position, active)


def _is_hash(data: bytes, piece: Unit) -> bool:
    hashes = _C["METADATA_TYPE_HASHES"]
    return piece.type == "metadata" and peek(data, piece).get("metadata_type") == hashes
