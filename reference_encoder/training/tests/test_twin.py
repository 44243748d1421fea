"""The float twin: its values are whole numbers, and those that its integers give."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'hga[train]'")

from reference_encoder.training.twin import ACCUMULATOR, Linear, Topology, Twin  # noqa: E402

SMALL = Topology(
    map_bits=4, input_level=1, encoder=(6, 8), decoder=(5, 6, 7), modulated=(0, 1, 1), mapping=4,
    heads=("position", "opacity"), head_width=3,
)  # fmt: skip


def by_integers(linear: Linear, x: np.ndarray) -> np.ndarray:
    """§7.9.6 One layer with unbounded integers: x (I, H, W) -> rounded outputs (O, H, W)."""
    layer, half = linear.integers(), linear.width // 2
    padded = np.pad(x.astype(object), ((0, 0), (half, half), (half, half)))
    rows, columns = range(0, x.shape[1], linear.stride), range(0, x.shape[2], linear.stride)
    result = np.zeros((len(layer.bias), len(rows), len(columns)), np.int64)
    for o in range(len(layer.bias)):
        multiplier, shift = int(layer.multiplier[o]), int(layer.shift[o])
        for i, y in enumerate(rows):
            for j, z in enumerate(columns):
                window = padded[:, y : y + linear.width, z : z + linear.width]
                total = int((window * layer.weight[o].astype(object)).sum()) + int(layer.bias[o])
                result[o, i, j] = (total * multiplier + (1 << (shift - 1))) >> shift
    return result


@pytest.mark.parametrize(("width", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_a_layer_is_what_its_integers_give(width: int, stride: int) -> None:
    torch.manual_seed(2)
    linear = Linear(5, 4, width, stride=stride).double()
    with torch.no_grad():
        linear.bias.normal_(0, 0.5)
        linear.log_step += torch.linspace(-1, 1, 4)
    x = torch.randint(-64, 192, (1, 5, 8, 8)).double()
    found = torch.floor(linear(x).detach() + 0.5)[0].numpy()
    np.testing.assert_array_equal(found, by_integers(linear, x[0].numpy().astype(int)))


def test_the_integers_are_within_the_ranges_of_the_standard() -> None:
    for layer in Twin(SMALL, 9).layers().values():
        whole = layer.integers()
        assert np.abs(whole.weight).max() <= 63 and np.abs(whole.bias).max() < 1 << 24
        assert whole.multiplier.min() >= 2048 and whole.multiplier.max() <= 4095
        assert whole.shift.min() >= 1 and whole.shift.max() <= 31


def test_a_channel_beyond_the_accumulator_is_widened() -> None:
    linear = Linear(200, 1, 3)
    with torch.no_grad():
        linear.weight.copy_(torch.sign(linear.weight))
        linear.log_step.fill_(float(np.log(1 / 60)))
    assert ACCUMULATOR < 1800 * 60
    whole = linear.integers()
    assert np.abs(whole.weight).sum() < ACCUMULATOR and np.abs(whole.weight).min() > 0


def test_outputs_are_whole_numbers_and_gradients_reach_every_weight() -> None:
    torch.manual_seed(1)
    twin = Twin(SMALL, 9)
    maps = twin(torch.randint(-60, 60, (12, 8, 8)).float(), torch.randint(-60, 60, (9,)).float())
    assert maps.shape == (8, 16, 16) and torch.equal(maps, maps.round()) and maps.abs().max() > 0
    (maps.square().mean() + 1e-3 * twin.bits()).backward()
    for name, parameter in twin.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_counts_multiplications() -> None:
    """Channels in times channels out times 9 texels times the texels of the output, layer by layer."""
    encode = 12 * 6 * 9 * 64 + 6 * 8 * 9 * 16
    decode = 8 * 7 * 9 * 16 + (7 + 6) * 6 * 9 * 64 + 6 * 5 * 9 * 256
    assert SMALL.macs() == encode + decode + 5 * 2 * 4 * 9 * 256


def test_estimated_bits_are_near_the_entropy() -> None:
    torch.manual_seed(0)
    linear = Linear(64, 64, 3)
    levels = linear.integers().weight.ravel()
    counts = np.unique(levels, return_counts=True)[1] / levels.size
    entropy = -(counts * np.log2(counts)).sum() * levels.size
    assert float(linear.bits().detach()) == pytest.approx(entropy, rel=0.1)
