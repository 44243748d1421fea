"""§7.9.6 The network of a generator with the convolutions of torch, where it is installed: the same bits."""

from __future__ import annotations

import numba
import numpy as np
import torch
from numba import njit, prange
from torch.nn.functional import conv2d

from reference_decoder import jit
from reference_decoder.network import Layer, Network, finish_row


class TorchNetwork(Network):
    """§7.9.8 A Network whose sums torch computes in float32, on as many threads as Numba has.

    Sums below 2^24 are exact in whatever order, so the layout of the maps does not matter; `layout` is the memory
    format that they are handed over in.
    """

    layout = torch.channels_last

    def prepare(self, layer: Layer) -> None:
        layer.weights = torch.from_numpy(layer.weights.astype(np.float32)).contiguous(
            memory_format=self.layout
        )

    def apply(self, layer: Layer) -> None:
        extent = layer.size * layer.stride + 2 * layer.border
        source = torch.from_numpy(layer.source[:, :extent])[None].permute(0, 3, 1, 2)
        with torch.inference_mode(), _Exact():
            total = conv2d(source.contiguous(memory_format=self.layout), layer.weights, stride=layer.stride)
            texels = total[0].permute(1, 2, 0).contiguous().numpy()
        _finish(texels, layer.parameters, layer.kind, layer.result)


class _Exact:
    """Numba's number of threads, and float32 as it stands: torch may be told to round it to bfloat16."""

    def __enter__(self) -> None:
        self.before = torch.get_num_threads(), torch.get_float32_matmul_precision()
        torch.set_num_threads(numba.get_num_threads())
        torch.set_float32_matmul_precision("highest")

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.before[0])
        torch.set_float32_matmul_precision(self.before[1])


@njit(parallel=True, **jit.OPTIONS)
def _finish(total, parameters, kind, result):
    for y in prange(result.shape[0]):
        finish_row(total[y], parameters, kind, result[y])
