"""§7.9 The network on every engine: the bits of the text, at the very edge of what the accumulator allows."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pytest

import spec
from reference_decoder import jit
from reference_decoder.network import NETWORKS, Network, network_class

F = spec.document().functions
UNCHECKED = spec.document().unchecked
C = spec.document().constants
EDGE = (C["ACCUMULATOR_LIMIT"] - 1) // C["ACTIVATION_SPAN"]  # 65793: the largest sum of absolute weights


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(request.param, numba.config.NUMBA_NUM_THREADS))
    yield request.param
    numba.set_num_threads(before)


def networks() -> list[type[Network]]:
    """Every class that must give the same bits; torch in both memory layouts."""
    if importlib.util.find_spec("torch") is None:
        return [Network]
    import torch

    from reference_decoder.torch_network import TorchNetwork

    rows = type("RowsNetwork", (TorchNetwork,), {"layout": torch.contiguous_format})
    return [Network, TorchNetwork, rows]


def topology(
    bits: int, first: int, encoder: list[int], decoder: list[int], modulation: list[int], **more: int
) -> Any:
    """The values of `generator_topology` that the network needs."""
    pose, mapping = more.get("pose", 5), more.get("mapping", 4) if any(modulation) else 0
    layer = np.zeros((C["GENERATOR_LAYERS"] + 1, 8), np.int64)
    heads, wide = more.get("heads", 3), more.get("wide", 1)
    shape = [np.array(part, np.int64) for part in (modulation, encoder, decoder)]
    count = UNCHECKED["describe_layers"](bits, len(decoder), first, pose, mapping, *shape, heads, wide, layer)
    return {
        "map_bits": bits, "level_count": len(decoder), "input_level": first, "mapping_size": mapping, "layer": layer,
        "modulation_flag": shape[0], "layer_count": count, "head_channels": heads, "pose_size": pose,
    }  # fmt: skip


def at_the_edge(t: Any, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Random integers at the ends of their ranges: sums of absolute weights as large as they may be, or nearly."""
    rows = t["layer"][: t["layer_count"]]
    weights = random.choice([-63, 63], int(t["layer"][t["layer_count"]][5]))
    channels = int(t["layer"][t["layer_count"]][6])
    for inputs, outputs, width, _, _, first, _, _ in rows.tolist():
        fan_in = inputs * width**2
        for o in range(outputs):
            part = weights[first + o * fan_in : first + (o + 1) * fan_in]
            beyond = 63 * fan_in - EDGE
            if beyond > 0:
                cut = random.permutation(fan_in)[: -(-beyond // 63)]
                part[cut] = 0
                part[cut[0]] = 63 * len(cut) - beyond
    biases = random.choice([-(2**24) + 1, -4000, 0, 5, 2**24 - 1], channels, p=[0.05, 0.3, 0.3, 0.3, 0.05])
    multipliers = random.choice([1, 700, 4095], channels, p=[0.1, 0.5, 0.4])
    return (
        weights,
        biases,
        multipliers,
        random.choice([1, 12, 15, 17, 19, 31], channels, p=[0.05, 0.2, 0.3, 0.2, 0.2, 0.05]),
    )


def extreme_inputs(t: Any, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    texels = 4 ** (t["map_bits"] - t["input_level"])
    return random.choice([-128, -1, 0, 127], 12 * texels), random.choice(
        [-128, 0, 127], max(t["pose_size"], 1)
    )


def by_the_text(functions: Any, t: Any, parameters: Any, inputs: Any, pose_vector: Any, as_array: Any) -> Any:
    maps = as_array(np.zeros(2 * t["head_channels"] << 2 * t["map_bits"], np.int64))
    shape = t["layer_count"], t["level_count"], t["input_level"], t["mapping_size"]
    arrays = (t["modulation_flag"], *parameters, inputs, pose_vector)
    functions["generate_maps"](as_array(t["layer"]), *shape, *(as_array(a) for a in arrays), maps)
    return maps


COMPILED = {"generate_maps": jit.function("generate_maps")}

CASES: dict[str, Any] = {
    "one level": topology(3, 0, [6], [5], [1]),
    "no texel but four": topology(2, 1, [3], [2, 3], [0, 1], wide=0),
    "more lanes than one block": topology(4, 1, [33, 20], [17, 40, 49], [1, 0, 1]),
    "many inputs": topology(4, 0, [60, 70], [50, 62], [1, 1], heads=13),
    "no pose": topology(3, 2, [4], [3, 2, 5], [1, 1, 1], pose=0),
    "an input below all levels": topology(5, 4, [9], [5, 6, 7, 8, 9], [0, 0, 0, 0, 0], wide=0),
}


@pytest.mark.parametrize("case", CASES)
def test_every_network_gives_the_bits_of_the_text_at_the_edge(case: str, threads: int) -> None:
    random = np.random.default_rng(100 + len(case))
    t = CASES[case]
    parameters = at_the_edge(t, random)
    rows = t["layer"][: t["layer_count"]]
    if case == "many inputs":
        sums = [
            np.abs(parameters[0][r[5] : r[5] + r[0] * r[1] * r[2] ** 2]).reshape(r[1], -1).sum(1).max()
            for r in rows
        ]
        assert max(sums) == EDGE
    made = [kind(t, parameters) for kind in networks()]
    for _ in range(3):
        inputs, pose = extreme_inputs(t, random)
        expected = by_the_text(COMPILED, t, parameters, inputs, pose, np.asarray)
        assert len(np.unique(expected)) > 10
        for network in made:
            assert np.array_equal(network.maps(inputs, pose), expected), type(network)


def test_the_text_executed_with_every_range_checked_gives_them_too() -> None:
    random = np.random.default_rng(8)
    t = topology(2, 1, [117], [2, 1], [0, 1], wide=0, heads=1, pose=2, mapping=2)
    parameters = at_the_edge(t, random)
    inputs, pose = extreme_inputs(t, random)
    expected = by_the_text(F, t, parameters, inputs, pose, lambda array: np.asarray(array).tolist())
    for kind in networks():
        assert kind(t, parameters).maps(inputs, pose).tolist() == expected


def test_a_layer_computed_by_hand() -> None:
    layer = [[1, 1, 3, 2, 0, 0, 0, 1]]
    weights, source, result = [1, 2, 3, 4, 5, 6, 7, 8, 9], [1, -2, 3, 100], [0] * 4
    # at the first texel: 5 * 1 + 6 * -2 + 8 * 3 + 9 * 100 = 917; (917 + 3) * 2 / 4 = 460, limited to 191
    # at the third: 2 * 1 + 3 * -2 + 5 * 3 + 6 * 100 = 611 -> 307; with the bias -800: -189 / 2 -> -94, a quarter -24
    F["apply_layer"](0, layer, weights, [3], [2], [2], source, result)
    assert result == [191, 191, 191, 191]
    F["apply_layer"](0, layer, weights, [-800], [2], [2], source, result)
    assert result[2] == -24 and result[0] == 59  # (917 - 800) / 2 = 58.5, which rounds up


@pytest.mark.parametrize(
    ("kind", "total", "expected"),
    [
        (0, 12566463, 191),
        (0, -12566463, -64),
        (1, -5, 0),
        (1, 300, 255),
        (2, 12566463, 32767),
        (2, -12566463, -32768),
    ],
)
def test_outputs_are_limited(kind: int, total: int, expected: int) -> None:
    assert F["layer_output"](total, 0, 2, 1, kind) == expected


def test_a_style_of_64_changes_nothing() -> None:
    assert [F["modulate"](value, 64) for value in range(-64, 192)] == list(range(-64, 192))


def test_networks_by_name() -> None:
    assert network_class("numba") is Network
    if importlib.util.find_spec("torch") is not None:
        assert network_class("auto") is network_class("torch") is not Network
    with pytest.raises(ValueError, match="only numba, torch, auto"):
        network_class("cuda")
    assert NETWORKS[0] == "numba"
