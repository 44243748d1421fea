"""§7.9.8 The network of a generator with float32 sums, those of `convolution` or those of another library."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit, prange

from reference_decoder import jit
from reference_decoder.convolution import LANES, TEXELS, convolve_row, pack
from reference_decoder.threads import PARALLEL

_layer_output = jit.function("layer_output")
_modulate = jit.function("modulate")


class Layer:
    """§7.9.1 One layer that looks at maps: its integers, and the array that its inputs are put into.

    `source` (rows, columns, inputs) float32 has the border of zeros that the layer looks at; it has more columns than
    that where the sums of a row come in blocks of TEXELS.
    """

    def __init__(self, row: np.ndarray, parameters: tuple[np.ndarray, ...]):
        self.inputs, self.outputs, self.width, self.size, self.kind, weight, channel, self.stride = map(
            int, row
        )
        weights, *others = parameters
        count = self.inputs * self.outputs * self.width**2
        shape = self.outputs, self.inputs, self.width, self.width
        self.weights: Any = weights[weight : weight + count].reshape(shape)  # or what `prepare` makes of them
        self.parameters = np.stack([part[channel : channel + self.outputs] for part in others])
        self.border = self.width // 2
        columns = -(-self.size // TEXELS) * TEXELS * self.stride + 2 * self.border
        self.source = np.zeros((self.size * self.stride + 2 * self.border, columns, self.inputs), np.float32)
        self.result = np.zeros((self.size, self.size, self.outputs), np.int16)


class Network:
    """§7.9.8 `generate_maps` with float32 sums; `sums` is what another library may do instead.

    The arrays of the maps belong to the network and are used again in every frame: one frame at a time.
    """

    def __init__(self, topology: Mapping[str, Any], parameters: tuple[np.ndarray, ...]):
        self.topology, self.numbers = topology, parameters
        t = topology
        self.decoder = t["layer_count"] - 1 - t["level_count"]  # the first decoding layer
        self.encoder = self.decoder - (t["level_count"] - t["input_level"])
        rows = t["layer"][: t["layer_count"]]
        self.layers = {n: Layer(rows[n], parameters) for n in range(self.encoder, t["layer_count"])}
        for layer in self.layers.values():
            self.prepare(layer)

    def prepare(self, layer: Layer) -> None:
        """Brings the weights of a layer into the form that `sums` takes."""
        layer.weights = pack(layer.weights)

    def apply(self, layer: Layer) -> None:
        """§7.9.6 From `source` to `result`."""
        pitch = layer.source.shape[1] * layer.inputs
        shape = layer.inputs, layer.width, layer.stride, pitch
        _apply(layer.source.reshape(-1), layer.weights, *shape, layer.parameters, layer.kind, layer.result)

    def maps(self, inputs: np.ndarray, pose_vector: np.ndarray) -> np.ndarray:
        """§7.9.8 (2 K S S,) the maps, from the input maps (flat, as clause 7.9.5 fills them) and the pose vector."""
        with PARALLEL:
            return self._maps(inputs, self._styles(pose_vector))

    def _styles(self, pose_vector: np.ndarray) -> np.ndarray:
        t, functions = self.topology, jit.function
        shape = t["layer"], t["level_count"], t["mapping_size"], t["modulation_flag"], self.decoder
        styles = np.zeros(functions("count_styles")(t["layer"], self.decoder, t["layer_count"]), np.int64)
        functions("find_styles")(*shape, *self.numbers, pose_vector, styles)
        return styles

    def _maps(self, inputs: np.ndarray, styles: np.ndarray) -> np.ndarray:
        first = self.layers[self.encoder]
        _put_maps(inputs.reshape(first.inputs, first.size, first.size), first.source)
        for n in range(self.encoder, self.decoder):
            self.apply(self.layers[n])
            if n + 1 < self.decoder:
                following = self.layers[n + 1]
                _put_texels(self.layers[n].result, following.border, following.source)
        used, lower = 0, np.zeros((1, 1, 0), np.int16)
        for n in range(self.decoder, self.topology["layer_count"] - 1):
            layer, skip = self.layers[n], self._skip(n, lower.shape[2])
            _join(lower, skip, styles[used : used + layer.inputs], layer.source)
            used += layer.inputs
            self.apply(layer)
            lower = layer.result
        head = self.layers[self.topology["layer_count"] - 1]
        _put_texels(lower, head.border, head.source)
        self.apply(head)
        return np.ascontiguousarray(head.result.transpose(2, 0, 1), np.int32).reshape(-1)

    def _skip(self, n: int, lower_channels: int) -> np.ndarray:
        """§7.9.2 The encoded maps that decoding layer n joins to what is below it; no channels if there are none."""
        if self.layers[n].inputs == lower_channels:
            return np.zeros((1, 1, 0), np.int16)
        return self.layers[self.decoder - 1 - (n - self.decoder)].result


@njit(parallel=True, **jit.OPTIONS)
def _apply(source, weights, inputs, width, stride, pitch, parameters, kind, result):
    size, _, outputs = result.shape
    for y in prange(size):
        shape = -(-size // TEXELS) * TEXELS, -(-outputs // LANES) * LANES
        total = np.empty(shape, np.float32)
        convolve_row(source, y * stride * pitch, weights, inputs, width, stride, pitch, total)
        finish_row(total, parameters, kind, result[y])


@njit(**jit.OPTIONS)
def finish_row(total, parameters, kind, result):
    """§7.9.6 The outputs of a row from its sums (texels, channels)."""
    bias, multiplier, shift = parameters
    for x in range(result.shape[0]):
        for o in range(result.shape[1]):
            result[x, o] = _layer_output(np.int64(total[x, o]), bias[o], multiplier[o], shift[o], kind)


@njit(parallel=True, **jit.OPTIONS)
def _put_maps(maps, source):
    for y in prange(maps.shape[1]):
        for x in range(maps.shape[2]):
            for c in range(maps.shape[0]):
                source[y + 1, x + 1, c] = maps[c, y, x]


@njit(parallel=True, **jit.OPTIONS)
def _put_texels(texels, border, source):
    for y in prange(texels.shape[0]):
        for x in range(texels.shape[1]):
            for c in range(texels.shape[2]):
                source[y + border, x + border, c] = texels[y, x, c]


@njit(parallel=True, **jit.OPTIONS)
def _join(lower, skip, style, source):
    """§7.9.8 `decoder_source`, with the border left as it is."""
    channels, size = lower.shape[2], max(2 * lower.shape[0] if lower.shape[2] else 0, skip.shape[0])
    for y in prange(size):
        for x in range(size):
            for c in range(channels):
                source[y + 1, x + 1, c] = _modulate(np.int64(lower[y >> 1, x >> 1, c]), style[c])
            for c in range(skip.shape[2]):
                place = channels + c
                source[y + 1, x + 1, place] = _modulate(np.int64(skip[y, x, c]), style[place])


NETWORKS = ("numba", "torch", "auto")
"""Who may compute the sums; "auto" is torch where it is installed."""


def network_class(name: str) -> type[Network]:
    """The network of that name of NETWORKS; torch is imported only here. ValueError for any other name."""
    if name not in NETWORKS:
        raise ValueError(f"there is no network '{name}', only {', '.join(NETWORKS)}")
    installed = importlib.util.find_spec("torch") is not None
    if name == "torch" and not installed:
        raise ValueError("torch is not installed; the network numba needs nothing and gives the same bits")
    if name == "numba" or not installed:
        return Network
    from reference_decoder.torch_network import TorchNetwork

    return TorchNetwork
