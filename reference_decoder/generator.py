"""§7.9 The generator that is active: its weights, where the Gaussians lie on its maps, and what it makes of a pose."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import spec
from reference_decoder.engine import Array, Engine
from spec.load import Element, Let

_CHANGED = {  # the active array -> what adds to it (clause 6.11.7)
    "active_weight": "weight_change",
    "active_bias": "bias_change",
    "active_multiplier": "multiplier_change",
    "active_shift": "shift_change",
}


@functools.cache
def _topology() -> frozenset[str]:
    """§6.12.2 The names that updates know: elements and derived values of `generator_topology`."""
    nodes = spec.standard().nodes("generator_topology")
    return frozenset(node.name for node in nodes if isinstance(node, Element | Let))


@dataclass(frozen=True)
class Generator:
    """§6.12.2 A generator with the updates so far; an update makes another one, so frames keep theirs.

    weights (W,), biases, multipliers and shifts (C,) are those of `layer` (clause 7.9.1); side, map_u and map_v
    (N,) say where each Gaussian lies (clause 7.9.4). `topology` has the values of `generator_topology`, in which
    the active arrays are the ones of this generator.
    """

    identity: int
    updates: int
    topology: Mapping[str, Any]
    side: Array
    map_u: Array
    map_v: Array
    prepared: dict[str, Any] = field(default_factory=dict, compare=False)  # what an engine keeps of it

    @classmethod
    def received(
        cls, engine: Engine, values: Mapping[str, Any], position: Array, active: Generator | None
    ) -> Generator:
        """§6.11.7 The generator after a generator unit, whose elements are in `values`."""
        topology = {name: values[name] for name in _topology()}
        for name, change in _CHANGED.items():
            count = len(values[name])
            result = engine.array((count,), np.int64)
            engine.functions["add_changes"](values[name], values[change], count, result)
            topology[name] = result
        if active is not None and values["update_flag"] == 1:
            place = active.side, active.map_u, active.map_v
            return cls(active.identity, values["update_number"], topology, *place)
        for name in ("map_origin", "head_flag", "modulation_flag", "encoder_channels", "decoder_channels"):
            topology[name] = engine.take(topology[name])
        n = len(position)
        u, v = engine.array((n,), np.int64), engine.array((n,), np.int64)
        origin = topology["map_origin"], topology["map_scale"], topology["map_bits"]
        engine.functions["find_places"](position, n, *origin, u, v)
        return cls(values["generator_id"], 0, topology, values["side_flag"], u, v)

    @property
    def parameters(self) -> tuple[Array, Array, Array, Array]:
        """§7.9.3 weights, biases, multipliers and shifts."""
        weights, biases, multipliers, shifts = (self.topology[name] for name in _CHANGED)
        return weights, biases, multipliers, shifts

    def inputs(self, engine: Engine, frame: Mapping[str, Any], posed: Array) -> tuple[Array, Array]:
        """§7.9.5 (input maps, pose vector) of a frame.

        frame: `pose`, `matrices`, `rest`, `place`, `position` and the elements of the avatar header; posed (N, 3)
        Q.20 m: the positions that the frame has without a generator.
        """
        t = self.topology
        bits = t["map_bits"] - t["input_level"]
        channels = spec.standard().constant_values["INPUT_CHANNELS"]
        inputs = engine.array((channels << 2 * bits,), np.int64)
        place = self.side, self.map_u, self.map_v, len(posed)
        joint = t["normalising_joint"]
        shifts = t["posed_shift"], t["rest_shift"]
        seen = frame["matrices"], frame["rest"], frame["place"], joint, *shifts
        maps = bits, t["input_level"], inputs
        engine.functions["fill_inputs"](posed, frame["position"], *place, *seen, *maps)
        vector = engine.array((max(t["pose_size"], 1),), np.int64)
        shape = frame["joint_parent"], frame["joint_count"], frame["expression_count"], joint
        engine.functions["fill_pose_vector"](frame["pose"], *shape, vector)
        return inputs, vector

    def network_arguments(self, inputs: Array, pose_vector: Array, maps: Array) -> tuple[Any, ...]:
        """§7.9.8 The arguments of `generate_maps`, the text of the network itself."""
        t = self.topology
        shape = t["layer"], t["layer_count"], t["level_count"], t["input_level"], t["mapping_size"]
        return *shape, t["modulation_flag"], *self.parameters, inputs, pose_vector, maps

    def place_arguments(self, maps: Array) -> tuple[Any, ...]:
        """§7.9.9 The arguments of `offset_gaussian` that are the same for all Gaussians."""
        t = self.topology
        heads = t["head_flag"], t["head_channels"], t["map_bits"]
        return maps, *heads, self.side, self.map_u, self.map_v

    @property
    def map_entries(self) -> int:
        """§7.9.8 The number of entries of `maps`."""
        return 2 * self.topology["head_channels"] << 2 * self.topology["map_bits"]


def known_before(active: Generator | None, update: bool) -> dict[str, Any]:
    """§6.12.2 What the rows of a generator unit may name of the active generator."""
    if active is None:
        return {"active_generator": -1, "next_update": 1}
    place = {"active_generator": active.identity, "next_update": active.updates + 1}
    return {**active.topology, **place} if update else place
