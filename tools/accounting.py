"""§5.3 Where the bytes of a stream go: by layer, and inside coded payloads by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import spec
from reference_decoder import Compiled, Decoder
from reference_decoder.payload import AccountingPort
from reference_decoder.units import UnitReader, level_limits, peek_motion
from spec.bits import BitReader
from spec.ports import Observer, ReadPort, Values

_SPENT = 256 * 8  # AccountingPort counts in 1/256 bit


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
            for name, amount in port.spent.items():
                total[name] = total.get(name, 0.0) + amount / _SPENT
        return total


@dataclass
class Share:
    """The bytes that one coded element takes, and the structure it stands in."""

    group: str
    element: str
    bytes: float


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
    limits: Mapping[str, int] = field(default_factory=dict)


def account(data: bytes) -> Account:
    """§8.5.1 Decodes a stream to the pose and counts; damage is left in `decoder.errors`."""
    engine = AccountingEngine()
    decoder = Decoder(data, engine)
    frames = list(decoder.frames())
    groups = _innermost()
    shares = [Share(groups[name], name, size) for name, size in engine.spent().items()]
    return Account(
        decoder,
        len(data),
        layers(data),
        sorted(shares, key=lambda share: -share.bytes),
        len(frames),
        [frame.index for frame in frames if frame.random_access],
        _used(data, decoder.avatar),
        level_limits(spec.standard(), decoder.sequence["level"]) if decoder.sequence else {},
    )


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
