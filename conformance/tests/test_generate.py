"""§5.1 Random streams: valid, decided by their seed, seen by their camera, and covering all of the syntax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spec
from conformance.generate import generate
from reference_decoder import Decoder, Executed
from reference_decoder.units import UnitReader
from reference_encoder.encode import add_hashes
from spec.bits import BitReader
from spec.load import If
from spec.ports import Coverage, ReadPort
from spec.walk import walk

STANDARD = spec.standard()
SEEDS = 50


class Watched(Executed):
    """The document executed, every unit watched."""

    def __init__(self, coverage: Coverage):
        self.coverage = coverage

    def read_port(self, values: Any, reader: BitReader, contexts: dict[str, Any], observer: Any) -> ReadPort:
        return ReadPort(STANDARD, values, reader, self.functions, contexts, self.coverage)


@pytest.fixture(scope="module")
def coverage() -> Coverage:
    """What the streams of all seeds, every fifth with hashes, exercise."""
    found = Coverage()
    for seed in range(SEEDS):
        data = generate(seed, units=2)
        data = add_hashes(data, ["symbols", "pose"]) if seed % 5 == 0 else data
        for _ in Decoder(data, Watched(found), strict=True).frames():
            pass
        for unit in UnitReader(data):
            values: dict[str, Any] = dict.fromkeys(STANDARD.limits, 1 << 30)
            walk(
                STANDARD,
                "unit_header",
                ReadPort(STANDARD, values, BitReader(data, unit.start * 8), {}, observer=found),
            )
            if unit.payload_end < unit.end:
                reader = BitReader(data, unit.payload_end * 8)
                walk(STANDARD, "unit_checksum", ReadPort(STANDARD, {}, reader, {}, observer=found))
    return found


def test_every_element_occurs(coverage: Coverage) -> None:
    assert {element.name for element in STANDARD.elements()} == coverage.elements.keys()


def test_both_branches_of_every_condition_are_taken(coverage: Coverage) -> None:
    nodes = [n for s in STANDARD.structures.values() for n in STANDARD._flat(s.nodes, follow=False)]
    conditions = {str(node.condition) for node in nodes if isinstance(node, If)}
    assert coverage.branches == {(condition, taken) for condition in conditions for taken in (True, False)}


def test_coded_values_reach_both_ends_of_their_ranges(coverage: Coverage) -> None:
    coded = [element.name for element in STANDARD.elements() if element.descriptor.kind == "ae"]
    missing = {(name, end) for name in coded for end in ("low", "high")} - coverage.range_ends
    assert missing == set()


def test_loops_that_may_be_empty_are_empty_sometimes(coverage: Coverage) -> None:
    assert ("influence_count[i]", "empty") in coverage.loops


def test_pictures_show_the_gaussians() -> None:
    """Most streams cover a good part of their picture; the wild ones need not."""
    shares = []
    for seed in range(16):
        decoder = Decoder(generate(seed, units=1), strict=True)
        pictures = [frame.render(decoder.cameras[0]) for frame in decoder.frames()]
        shares.append(float(np.mean([picture[..., 3] > 8 for picture in pictures])))
    assert np.mean(shares) > 0.2
    assert np.mean([share > 0.02 for share in shares]) > 0.7


def test_the_seed_decides_and_presets_hold() -> None:
    assert generate(5) == generate(5) != generate(6)
    presets = {"sh_degree": 3, "joint_count": 2, "camera_width": 20, "several_flag": 1, "frame_count": 2}
    decoder = Decoder(generate(5, presets, units=4, size=30), strict=True)
    assert len(list(decoder.frames())) == 4 * 3
    assert (decoder.avatar["sh_degree"], decoder.avatar["joint_count"]) == (3, 2)
    assert (decoder.cameras[0].width, decoder.cameras[0].height) == (20, 30)


@pytest.mark.parametrize("degree", range(4))
def test_any_seed_decodes_without_error(degree: int) -> None:
    for seed in range(100 * degree, 100 * degree + 10):
        decoder = Decoder(generate(seed, {"sh_degree": degree}), strict=True)
        last = [frame.index for frame in decoder.frames()][-1]
        assert decoder.end_frame_count == last + 1 and not decoder.errors
