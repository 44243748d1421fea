"""§5.3 Where the bits of a stream go: by layer, by element of coded payloads, by frame and by part of the pose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import spec
from reference_decoder import Compiled, Decoder
from reference_decoder.payload import AccountingPort
from reference_decoder.units import (
    UNIT_STRUCTURES,
    Unit,
    UnitReader,
    level_limits,
    peek_motion,
    widest_limits,
)
from spec.bits import BitReader
from spec.ports import Observer, ReadPort, Values
from spec.walk import walk

_BIT = 256  # AccountingPort counts in 1/256 bit
PAYLOAD_END = "end of the payload"
"""§8.2.5 What a coded payload takes beyond the information in it: its last bytes and the rounding of the coder."""


@dataclass
class Layer:
    """What the units of one type take."""

    layer: str
    units: int = 0
    size: int = 0
    frames: int = 0

    @property
    def per_frame(self) -> str:
        """Bytes per frame of a layer that has frames."""
        return f"{self.size / self.frames:.1f}" if self.frames else ""

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def layers(data: bytes) -> list[Layer]:
    """§5.3 The bytes of the units by type, in order of appearance; their sum is the size of the stream."""
    found: dict[str, Layer] = {}
    for unit in UnitReader(data):
        name = unit.type or ("damaged" if unit.error else f"type {unit.type_number}")
        layer = found.setdefault(name, Layer(name))
        layer.units += 1
        layer.size += unit.end - unit.start
        if unit.type == "motion" and unit.error is None:
            layer.frames += peek_motion(data, unit)[2]
    return list(found.values())


class AccountingEngine(Compiled):
    """§8.5.1 The compiled decoder, with every payload's information counted by element."""

    def __init__(self) -> None:
        self.ports: list[AccountingPort] = []

    def read_port(
        self, values: Values, reader: BitReader, contexts: dict[str, Any], observer: Observer | None
    ) -> ReadPort:
        port = AccountingPort(spec.standard(), values, reader, self.functions, contexts, observer)
        self.ports.append(port)
        return port

    def spent(self) -> dict[str, float]:
        """Bytes by element, of the payloads read so far."""
        total: dict[str, float] = {}
        for port in self.ports:
            for name, costs in port.costs.items():
                total[name] = total.get(name, 0.0) + int(costs.sum()) / (8 * _BIT)
        return total


@dataclass
class Share:
    """The bytes that one coded element takes, and the structure it stands in."""

    group: str
    element: str
    bytes: float


@dataclass
class FrameBits:
    """§5.8 The bits of one frame: of its root's translation, its joints, its expressions and of the rest.

    `overhead` are those of its unit that no frame has, such as headers; the first frame of a unit bears them.
    """

    frame: int
    unit: int
    key: bool
    root: float
    joints: float
    expressions: float
    rest: float
    overhead: float

    @property
    def bits(self) -> float:
        """All bits of the frame."""
        return self.root + self.joints + self.expressions + self.rest + self.overhead

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        values = {n: round(v, 1) if isinstance(v, float) else v for n, v in asdict(self).items()}
        return values | {"bits": round(self.bits, 1)}


@dataclass
class Account:
    """§5.3 What a stream holds and what that costs."""

    decoder: Decoder
    size: int
    layers: list[Layer]
    shares: list[Share]
    frames: int
    random_access: list[int]
    used: Mapping[str, int]
    by_frame: list[FrameBits]
    by_part: list[tuple[str, float]]  # bits of the root's translation, of each joint, of each expression
    by_element: list[tuple[str, float]]  # bits of the motion units, all of them
    limits: Mapping[str, int] = field(default_factory=dict)


def account(data: bytes) -> Account:
    """§8.5.1 Decodes a stream to the pose and counts; damage is left in `decoder.errors`."""
    engine = AccountingEngine()
    decoder = Decoder(data, engine)
    frames = list(decoder.frames())
    groups = _innermost()
    shares = [Share(groups[name], name, size) for name, size in engine.spent().items()]
    motion = _motion_costs(data, engine.ports)
    return Account(
        decoder,
        len(data),
        layers(data),
        sorted(shares, key=lambda share: -share.bytes),
        len(frames),
        [frame.index for frame in frames if frame.random_access],
        _used(data, decoder.avatar) | _generator_used(decoder),
        [row for unit in motion for row in unit.frames(decoder.avatar["joint_count"])],
        _by_part(decoder, motion),
        _by_element(motion),
        level_limits(spec.standard(), decoder.sequence["level"]) if decoder.sequence else {},
    )


@dataclass
class _MotionCosts:
    """§5.8 What the frames of one motion unit cost, in 1/256 bit; `elements` has the bits of its elements."""

    unit: Unit
    elements: Mapping[str, float]
    first: int
    key: bool
    components: np.ndarray  # (F, C): by component of the pose
    rest: np.ndarray  # (F,): of what belongs to a whole frame

    def frames(self, joints: int) -> Iterator[FrameBits]:
        """The frames of the unit."""
        bits, rest = self.components / _BIT, self.rest / _BIT
        overhead = 8 * (self.unit.end - self.unit.start) - bits.sum() - rest.sum()
        for f, of_frame in enumerate(bits):
            root, turned, expressions = (float(p.sum()) for p in np.split(of_frame, [3, 3 + 3 * joints]))
            yield FrameBits(
                self.first + f, self.unit.index, self.key and f == 0, root, turned, expressions, float(rest[f]),
                0.0 if f else float(overhead),
            )  # fmt: skip


def _motion_costs(data: bytes, ports: Sequence[AccountingPort]) -> list[_MotionCosts]:
    """§5.8 Of every motion unit that was read, in order."""
    units = {unit.payload_end: unit for unit in UnitReader(data) if unit.type == "motion"}
    return [
        _unit_costs(data, units[port.reader.end // 8], port)
        for port in ports
        if port.costs and port.reader.end // 8 in units
    ]


def _unit_costs(data: bytes, unit: Unit, port: AccountingPort) -> _MotionCosts:
    """§5.8 By what the arrays of its elements are indexed with: frame and component, frame, or neither."""
    v, standard = port.values, spec.standard()
    count = v["frame_count"] + 1
    costs = _MotionCosts(
        unit,
        _elements(data, unit, port),
        v["first_frame"],
        bool(v["key_flag"]),
        np.zeros((count, v["component_count"]), np.int64),
        np.zeros(count, np.int64),
    )
    for element in standard.elements(UNIT_STRUCTURES["motion"]):
        if element.name not in port.costs or not element.dims or element.dims[0].names != {"frame_count"}:
            continue
        cost = port.costs[element.name].reshape(count, -1)
        if cost.shape == costs.components.shape and "component_count" in element.dims[1].names:
            costs.components += cost
        else:
            costs.rest += cost.sum(axis=1)
    return costs


def _elements(data: bytes, unit: Unit, port: AccountingPort) -> dict[str, float]:
    """§5.3 The bits of the elements of a unit that `port` has read, its header and checksum included."""
    standard = spec.standard()
    header = AccountingPort(standard, {**widest_limits(standard)}, BitReader(data, 8 * unit.start), {})
    walk(standard, "unit_header", header)
    found: dict[str, float] = {**header.plain, **port.plain}
    found |= {name: int(costs.sum()) / _BIT for name, costs in port.costs.items()}
    if unit.end > unit.payload_end:
        found["unit_checksum"] = 8 * (unit.end - unit.payload_end)
    return found | {PAYLOAD_END: 8 * (unit.end - unit.start) - sum(found.values())}


def _by_element(motion: Sequence[_MotionCosts]) -> list[tuple[str, float]]:
    """§5.8 (name, bits) of the elements of motion units, the most expensive first, and of the ends of payloads."""
    total: dict[str, float] = {}
    for unit in motion:
        for name, bits in unit.elements.items():
            total[name] = total.get(name, 0.0) + bits
    return sorted(total.items(), key=lambda entry: -entry[1])


def _by_part(decoder: Decoder, motion: Sequence[_MotionCosts]) -> list[tuple[str, float]]:
    """§7.5 (name, bits) of the parts of a pose, the most expensive first."""
    if not motion:
        return []
    joints, bits = decoder.avatar["joint_count"], sum(unit.components.sum(axis=0) for unit in motion) / _BIT
    names = ["translation of the root"]
    names += [decoder.joint_names.get(j, f"joint {j}") for j in range(joints)]
    names += [decoder.expression_names.get(e, f"expression {e}") for e in range(len(bits) - 3 - 3 * joints)]
    sums = [*bits[: 3 + 3 * joints].reshape(-1, 3).sum(axis=1), *bits[3 + 3 * joints :]]
    return sorted(((n, float(b)) for n, b in zip(names, sums, strict=True)), key=lambda part: -part[1])


def _innermost() -> dict[str, str]:
    """The structure that each element stands in: of those that reach it by calls, the one with the fewest elements."""
    standard = spec.standard()
    by_size = sorted(standard.structures, key=lambda name: -len(list(standard.elements(name))))
    return {element.name: name for name in by_size for element in standard.elements(name)}


def _used(data: bytes, avatar: Mapping[str, Any]) -> dict[str, int]:
    """§A.2 What the stream takes of each limit of its level."""
    units = [unit for unit in UnitReader(data) if unit.error is None]
    used = {"max_unit_size": max((unit.payload_end - unit.start for unit in units), default=0)}
    if avatar:
        expressions = avatar["expression_count"]
        used |= {
            "max_joints": avatar["joint_count"],
            "max_gaussians": avatar["gaussian_count"],
            "max_expressions": expressions,
            "max_expression_offsets": expressions * avatar["gaussian_count"],
        }
    motion = [peek_motion(data, unit)[2] for unit in units if unit.type == "motion"]
    return used | {"max_unit_frames": max(motion, default=0)}


def _generator_used(decoder: Decoder) -> dict[str, int]:
    """§A.2 What the active generator takes of the limits of its level."""
    if decoder.generator is None:
        return {}
    t = decoder.generator.topology
    used = {f"max_{name}": t[name] for name in ("generator_weights", "generator_macs", "generator_values")}
    return {"max_map_size": 1 << t["map_bits"]} | used


def generator_facts(found: Account) -> dict[str, Any]:
    """§5.11 What the last generator is and what it costs; empty without one."""
    if found.decoder.generator is None:
        return {}
    t, generator = found.decoder.generator.topology, found.decoder.generator
    names = [name for name, _ in spec.standard().enumerations["head"].values()]
    heads = [name for name, flag in zip(names, t["head_flag"], strict=True) if flag]
    coded = sum(share.bytes for share in found.shares if share.element == "weight_level")
    return {
        "generator": f"{t['level_count']} levels, inputs at level {t['input_level']}, maps of {1 << t['map_bits']}²",
        "generator_channels": f"encoder {_list(t['encoder_channels'])}; decoder {_list(t['decoder_channels'])}",
        "generator_styles": f"{t['modulated_count']} layers, {t['mapping_size']} values",
        "generator_heads": ", ".join(heads),
        "generator_weights": t["generator_weights"],
        "generator_mmac_per_frame": round(t["generator_macs"] / 1e6, 3),
        "generator_updates": generator.updates,
        "bits_per_weight": round(8 * coded / t["generator_weights"], 3),
    }


def _list(numbers: Any) -> str:
    return " ".join(str(int(number)) for number in numbers)
