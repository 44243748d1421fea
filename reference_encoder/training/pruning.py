"""§5.11 Channels that a generator can do without: soft thresholds learned with the weights, then a hard cut.

As in lightweight generative face coding, each convolution has one threshold on the size of its channels' weights.
Training shrinks channels towards it as long as more multiplications are left than asked for; then those below it
are taken out, which changes nothing in what the network computes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from reference_encoder.training.twin import Linear, Topology, Twin

_START = 0.1  # thresholds at first, in terms of the mean size of a layer's channels
_LEAST = 4  # channels that every layer keeps


def soften(twin: Twin) -> None:
    """Gives every layer whose channels may go a threshold."""
    for layer in [*twin.encode, *twin.decode]:
        assert isinstance(layer, Linear)
        with torch.no_grad():
            size = layer.weight.square().mean(dim=(1, 2, 3)).sqrt().mean()
            layer.threshold = nn.Parameter(torch.log(_START * size).reshape(1))


def share_left(twin: Twin) -> torch.Tensor:
    """The share of the convolutions' multiplications that is left, with half-shut channels counted in part."""
    encode, decode = ([_openness(layer) for layer in layers] for layers in (twin.encode, twin.decode))
    return _macs(twin.topology, encode, decode) / twin.topology.macs()


def _openness(layer: nn.Module) -> torch.Tensor:
    assert isinstance(layer, Linear)
    return layer.gates().sum()


def _macs(topology: Topology, encode: list[torch.Tensor], decode: list[torch.Tensor]) -> torch.Tensor:
    """`Topology.macs` for channel counts that need not be whole."""
    total, before = torch.zeros(()), torch.tensor(12.0)
    for index, channels in enumerate(encode):
        total = total + before * channels * 9 * (topology.size >> (topology.input_level + index)) ** 2
        before = channels
    for level, channels in enumerate(decode):
        skip = encode[level - topology.input_level] if level >= topology.input_level else torch.zeros(())
        lower = decode[level + 1] if level < topology.levels - 1 else torch.zeros(())
        total = total + (lower + skip) * channels * 9 * (topology.size >> level) ** 2
    return total + decode[0] * 2 * topology.outputs * topology.head_width**2 * topology.size**2


@torch.no_grad()
def harden(twin: Twin, share: float) -> Twin:
    """The network without its shut channels, and without the least open ones until `share` of the MACs is left."""
    gates = {("encode", i): layer.gates().cpu().numpy() for i, layer in enumerate(twin.encode)}  # type: ignore[operator]
    gates |= {("decode", i): layer.gates().cpu().numpy() for i, layer in enumerate(twin.decode)}  # type: ignore[operator]
    kept = {name: _open(gate, np.zeros(())) for name, gate in gates.items()}
    for threshold in np.unique(np.concatenate(list(gates.values()))):
        if _topology(twin.topology, kept).macs() <= share * twin.topology.macs():
            break
        kept = {name: _open(gate, threshold) for name, gate in gates.items()}
    smaller = Twin(_topology(twin.topology, kept), twin.pose_size).to(next(twin.parameters()).device)
    _copy(twin, smaller, kept)
    return smaller


def _open(gate: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Indices of the channels above a threshold, or of the most open ones where these are too few."""
    found = np.flatnonzero(gate > threshold)
    return found if len(found) >= _LEAST else np.sort(np.argsort(-gate, kind="stable")[:_LEAST])


def _topology(topology: Topology, kept: dict[tuple[str, int], np.ndarray]) -> Topology:
    encoder = tuple(len(kept["encode", i]) for i in range(len(topology.encoder)))
    decoder = tuple(len(kept["decode", i]) for i in range(len(topology.decoder)))
    return replace(topology, encoder=encoder, decoder=decoder)


def _copy(twin: Twin, smaller: Twin, kept: dict[tuple[str, int], np.ndarray]) -> None:
    t, before = twin.topology, np.arange(12)
    for index in range(len(t.encoder)):
        _take(twin.encode[index], smaller.encode[index], kept["encode", index], before)
        before = kept["encode", index]
    for level in range(t.levels):
        parts, first = [], 0
        if level < t.levels - 1:
            parts, first = [kept["decode", level + 1]], t.decoder[level + 1]
        if level >= t.input_level:
            parts.append(first + kept["encode", level - t.input_level])
        inputs = np.concatenate(parts)
        _take(twin.decode[level], smaller.decode[level], kept["decode", level], inputs)
        if t.modulated[level]:
            _take(twin.style[str(level)], smaller.style[str(level)], inputs, np.arange(t.mapping))
    _take(twin.head, smaller.head, np.arange(2 * t.outputs), kept["decode", 0])
    for source, target in zip(twin.mapping, smaller.mapping, strict=True):
        target.load_state_dict(source.state_dict())


def _take(source: nn.Module, target: nn.Module, outputs: np.ndarray, inputs: np.ndarray) -> None:
    """Copies the channels that stay, with what their gates leave of them."""
    assert isinstance(source, Linear) and isinstance(target, Linear)
    gates = source.gates()[outputs]
    target.weight.copy_((source.weight[outputs] * gates[:, None, None, None])[:, inputs])
    target.bias.copy_(source.bias[outputs] * gates)
    target.log_step.copy_(source.log_step[outputs])
