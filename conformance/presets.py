"""§5.1 Presets of random streams: which elements are fixed, and features that a stream may have."""

from __future__ import annotations

import bisect
import difflib
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import spec
from spec.load import Element

Preset = Callable[[random.Random, int, int], Any]
"""A value for (generator, low, high)."""


class PresetError(ValueError):
    """A preset that no stream can have: an unknown element, a value outside its range, a wrong shape."""


def between(low: int, high: int) -> Preset:
    """A value from `low` to `high`, limited to the range of the element."""
    return lambda generator, *ends: min(max(generator.randint(low, high), ends[0]), ends[1])


DECIDED = {
    "signature", "key_flag", "unit_order", "first_frame", "chunk_index", "expression_index", "metadata_type",
    "end_frame_count", "update_flag", "update_number",
}  # fmt: skip
"""Elements that follow from what the stream is made of (`Shape`)."""


@dataclass(frozen=True)
class Feature:
    """Something that streams may have: what it is, and the presets that make it, given the level's limits."""

    about: str
    presets: Callable[[Mapping[str, int]], dict[str, Any]]
    ends: float = 0.1  # share of the other elements that are at an end of their range
    wild: bool = False  # whether the presets that keep Gaussians before the camera are left out


FEATURES: dict[str, Feature] = {
    "many_joints": Feature(
        "nearly as many joints as the level allows",
        lambda limits: {"joint_count": between(limits["max_joints"] * 3 // 4, limits["max_joints"])},
    ),
    "deep_hierarchy": Feature(
        "every joint is the child of the one before it",
        lambda limits: {"joint_parent": "high", "joint_offset": between(-40000, 40000)},
    ),
    "flat_hierarchy": Feature("every joint is a child of the root", lambda limits: {"joint_parent": "low"}),
    "many_expressions": Feature(
        "up to as many expressions as the level allows",
        lambda limits: {"expression_count": between(8, min(limits["max_expressions"], 40))},
    ),
    "long_units": Feature(
        "motion units of many frames",
        lambda limits: {"several_flag": 1, "frame_count": between(8, min(limits["max_unit_frames"] - 1, 24))},
    ),
    "many_influences": Feature(
        "many joints move each Gaussian",
        lambda limits: {"influence_limit": 7, "influence_count": between(4, 7), "same_joints_flag": 0},
    ),
    "full_colour": Feature("spherical harmonics of degree 3", lambda limits: {"sh_degree": 3}),
    "small_chunks": Feature("chunks of one or two Gaussians", lambda limits: {"chunk_size": between(1, 2)}),
    "one_place": Feature("all Gaussians of a chunk lie in one cell", lambda limits: {"position_bits": 0}),
    "coarse": Feature("the greatest coarseness", lambda limits: {"coarseness": "high"}),
    "large_motion": Feature(
        "poses that reach their limits", lambda limits: {"residual_magnitude": between(0, 1 << 24)}
    ),
    "extreme_ranges": Feature(
        "elements at the ends of their ranges", lambda limits: {}, ends=0.7, wild=True
    ),
}  # fmt: skip


def resolve(presets: Mapping[str, Any]) -> dict[str, Any]:
    """§5.1 Presets as `spec.ports.chosen` takes them; raises PresetError.

    A preset is an integer, a text (of elements that are texts) or bytes, "low" or "high", {"between": [low,
    high]}, {"choice": [...]}, {"in_order": [...]} for one value after the other, again and again, a list with the
    presets of an array, {"each": preset} for a preset of every entry of one, {"from": {index: preset}} for the entries
    from an index on, or a function of (generator, low, high).
    """
    elements = {element.name: element for element in spec.standard().elements()}
    for name in presets:
        if name not in elements:
            near = [f"; is it {other}?" for other in difflib.get_close_matches(name, elements, 1)]
            raise PresetError(f"no syntax element is called '{name}'" + "".join(near))
        if name in DECIDED or name.startswith(("unit_", "hash_")):
            raise PresetError(f"{name} follows from what the stream is made of and cannot be preset")
    return {name: _resolved(elements[name], preset) for name, preset in presets.items()}


def _resolved(element: Element, preset: Any, depth: int = 0) -> Any:
    if isinstance(preset, list):
        if depth == len(element.dims):
            raise PresetError(f"{element.name} has {depth} dimensions, a deeper list is preset")
        return _Entries(element.name, [_resolved(element, entry, depth + 1) for entry in preset])
    if callable(preset):
        return preset
    if element.descriptor.kind == "b" and isinstance(preset, str | bytes):
        return preset.encode() if isinstance(preset, str) else preset
    if isinstance(preset, Mapping) and len(preset) == 1:
        ((kind, entries),) = preset.items()
        if kind == "each" and depth < len(element.dims):
            return _Every([_resolved(element, entries, depth + 1)])
        if kind == "from" and depth < len(element.dims):
            return _From({int(n): _resolved(element, entry, depth + 1) for n, entry in entries.items()})
        if kind == "between" and _integers(entries) and len(entries) == 2 and entries[0] <= entries[1]:
            return _within(element, lambda generator, *ends: generator.randint(*entries))
        if kind == "choice" and _integers(entries):
            return _within(element, lambda generator, *ends: generator.choice(entries))
        if kind == "in_order" and _integers(entries):
            following = itertools.cycle(entries)
            return _within(element, lambda generator, *ends: next(following))
    if preset in ("low", "high") and element.descriptor.kind != "b":
        return lambda generator, *ends: ends[preset == "high"]
    if _integers([preset]) and element.descriptor.kind != "b":
        return _within(element, lambda generator, *ends: preset)
    raise PresetError(f"{preset!r} is no preset of {element.name}")


def _integers(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(type(value) is int for value in values)


def _within(element: Element, preset: Preset) -> Preset:
    """The same preset, refusing what is outside the range that the element has at that place."""

    def exact(generator: random.Random, low: int, high: int) -> int:
        value: int = preset(generator, low, high)
        if not low <= value <= high:
            raise PresetError(f"{element.name} is preset to {value}, allowed here: {low}..{high}")
        return value

    return exact


class _Every(list[Any]):
    """The same preset for every entry of an array."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(0)


class _From(list[Any]):
    """The presets of the entries of an array from certain indices on."""

    def __init__(self, presets: Mapping[int, Any]):
        super().__init__(presets[start] for start in sorted(presets))
        self._starts = sorted(presets)

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(bisect.bisect(self._starts, index) - 1)


class _Entries(list[Any]):
    """The presets of an array; says so where there are too few."""

    def __init__(self, name: str, entries: list[Any]):
        super().__init__(entries)
        self._name = name

    def __getitem__(self, index: Any) -> Any:
        if index >= len(self):
            raise PresetError(f"{len(self)} values of {self._name} are preset, entry {index} is needed")
        return super().__getitem__(index)
