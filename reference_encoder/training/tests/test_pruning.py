"""Channels that are shut can be taken out without any change of what the network computes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'hga[train]'")

from reference_encoder.training.pruning import harden, share_left, soften  # noqa: E402
from reference_encoder.training.twin import Topology, Twin  # noqa: E402

TOPOLOGY = Topology(
    map_bits=4, input_level=1, encoder=(8, 12), decoder=(8, 10, 12), modulated=(0, 1, 1), mapping=6
)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(5)
    return torch.randint(-60, 60, (12, 8, 8)).double(), torch.randint(-60, 60, (9,)).double()


def test_a_hard_cut_of_shut_channels_changes_nothing() -> None:
    torch.manual_seed(1)
    twin = Twin(TOPOLOGY, 9).double()
    soften(twin)
    with torch.no_grad():
        for layer in [*twin.encode, *twin.decode]:
            layer.weight[::2] *= 0.05  # below the threshold of a tenth of the mean
    smaller = harden(twin, 1.0).double()
    assert smaller.topology.encoder == (4, 6) and smaller.topology.decoder == (4, 5, 6)
    assert torch.equal(twin(*inputs()), smaller(*inputs()))


def test_thresholds_rise_until_enough_is_gone() -> None:
    twin = Twin(TOPOLOGY, 9)
    soften(twin)
    assert 0.7 < float(share_left(twin).detach()) < 1
    smaller = harden(twin, 0.4)
    assert smaller.topology.macs() <= 0.4 * TOPOLOGY.macs()
    assert min(*smaller.topology.encoder, *smaller.topology.decoder) >= 4


def test_without_thresholds_all_is_left() -> None:
    assert float(share_left(Twin(TOPOLOGY, 9)).detach()) == pytest.approx(1.0)
