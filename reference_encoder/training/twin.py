"""§7.9 The generator in floats with the quantisation of its integers from the first step, for training.

Every tensor holds what the integers will be: activations are whole numbers, weights are whole numbers times the
step of their output channel, and that step is the channel's multiplier and shift. Rounding passes gradients
straight through (Bengio et al. 2013), and the steps are learned with them (Esser et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

ACTIVATION = (-64, 191)
WEIGHT_MAX = 63
ACCUMULATOR = (1 << 24) // 255
STYLE_ONE = 64  # the modulation that changes nothing
INPUT_CHANNELS = 12
HEADS = {"position": (3, 17), "colour": (3, 12), "opacity": (1, 14), "scale": (3, 12), "rotation": (3, 12)}
"""Channels and fraction bits of each kind of offset."""
_RMS = 45.0  # of activations at the start
_SLOPE_GAIN = (2 / (1 + 0.25**2)) ** 0.5
_HEAD_GAIN = 256.0  # so that weights of the output layer grow as large as others'
_BIAS_GAIN = 40.0
_FINENESS = 7.0  # standard deviations of the weights in steps at the start: about 5 bits each


@dataclass(frozen=True)
class Topology:
    """§5.11 The network's shape. Level l has maps of 2^(map_bits - l) texels; encoders start at input_level."""

    map_bits: int = 8
    input_level: int = 2
    encoder: tuple[int, ...] = (24, 32, 48, 64)
    decoder: tuple[int, ...] = (16, 24, 32, 48, 64, 64)
    modulated: tuple[int, ...] = (0, 0, 1, 1, 1, 1)
    mapping: int = 32
    heads: tuple[str, ...] = ("position", "colour")
    head_width: int = 1
    normalising_joint: int = 0  # from which the inputs are seen

    @property
    def levels(self) -> int:
        return len(self.decoder)

    @property
    def size(self) -> int:
        return 1 << self.map_bits

    @property
    def outputs(self) -> int:
        return sum(HEADS[name][0] for name in self.heads)

    def decoder_inputs(self, level: int) -> int:
        """Channels that the decoding layer of a level looks at."""
        if level == self.levels - 1:
            return self.encoder[-1]
        skip = self.encoder[level - self.input_level] if level >= self.input_level else 0
        return self.decoder[level + 1] + skip

    def macs(self) -> int:
        """Multiplications of the convolutions for one frame."""
        total, before = 0, INPUT_CHANNELS
        for index, channels in enumerate(self.encoder):
            total += before * channels * 9 * (self.size >> (self.input_level + index)) ** 2
            before = channels
        for level, channels in enumerate(self.decoder):
            total += self.decoder_inputs(level) * channels * 9 * (self.size >> level) ** 2
        return total + self.decoder[0] * 2 * self.outputs * self.head_width**2 * self.size**2


class _Leaky(torch.autograd.Function):
    """The activation on rounded values: slope 1/4 below 0 with floor, limited to the range."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor) -> torch.Tensor:
        rounded = torch.floor(z + 0.5)
        slope = torch.where(rounded >= 0, 1.0, 0.25)
        ctx.save_for_backward(slope * ((rounded >= 4 * ACTIVATION[0]) & (rounded <= ACTIVATION[1])))
        return torch.floor(rounded * slope).clamp_(*ACTIVATION)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * ctx.saved_tensors[0]


def _leaky(z: torch.Tensor) -> torch.Tensor:
    """The same without rounding."""
    return torch.where(z >= 0, z, z / 4).clamp(*ACTIVATION)


def round_through(values: torch.Tensor) -> torch.Tensor:
    """Half up, as 4.3 rounds; the gradient goes through as it is."""
    return values + (torch.floor(values + 0.5) - values).detach()


@dataclass
class Integers:
    """§7.9 One linear layer as it is sent: weights (O, I, k, k), bias, multiplier and shift (O,)."""

    weight: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray


Choose = Callable[[np.ndarray], np.ndarray]


def rounded(weights: np.ndarray) -> np.ndarray:
    """The whole numbers in -63..63 next to weights in steps, half up."""
    return np.floor(weights + 0.5).clip(-WEIGHT_MAX, WEIGHT_MAX).astype(np.int64)


class Linear(nn.Module):
    """A linear layer of any width: weight = steps * whole numbers, then times the channel's step."""

    def __init__(
        self, inputs: int, outputs: int, width: int, *, stride: int = 1, gain: float = 1.0, start: float = 1.0
    ):
        super().__init__()
        fan_in = inputs * width * width
        spread = start * _SLOPE_GAIN / fan_in**0.5
        self.weight = nn.Parameter(torch.randn(outputs, inputs, width, width) * spread)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.log_step = nn.Parameter(torch.full((outputs,), float(np.log(spread / _FINENESS))))
        self.stride, self.width, self.gain = stride, width, gain
        self.quantised = True
        self.threshold: nn.Parameter | None = None  # of the channels' sizes, while channels are being pruned
        self.fixed: torch.Tensor | None = None  # weights in steps, in place of the rounded ones

    def gates(self) -> torch.Tensor:
        """How much is left of each output channel (O,), 0 to 1: a soft threshold on the size of its weights."""
        if self.threshold is None:
            return torch.ones_like(self.bias)
        size = self.weight.square().mean(dim=(1, 2, 3)).sqrt()
        return F.relu(1 - self.threshold.exp() / size.clamp(min=1e-9))

    def levels(self) -> torch.Tensor:
        """The weights in steps, before rounding."""
        return self.weight * (self.gates() / self.log_step.exp())[:, None, None, None]

    def scale(self, fineness: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Multipliers (O,), 2048 to 4095, and shifts (O,) of the channels, for steps so many times as fine."""
        wanted = self.log_step.detach().double().exp() * self.gain / fineness
        shift = 11 - torch.floor(torch.log2(wanted))
        multiplier = torch.floor(wanted * 2**shift + 0.5)
        shift = torch.where(multiplier > 4095, shift - 1, shift)
        return torch.floor(wanted * 2**shift + 0.5), shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """z before rounding; `x` (1, I, H, W)."""
        step = self.log_step.exp() * self.gain
        if not self.quantised:
            weight = self.levels() * step[:, None, None, None]
            return F.conv2d(x, weight, self.bias * self.gates() * _BIAS_GAIN, self.stride, self.width // 2)
        multiplier, shift = self.scale()
        exact = (multiplier * 2.0**-shift).to(step.dtype)
        step = step + (exact - step).detach()
        levels = self.fixed
        if levels is None:
            levels = round_through(self.levels()).clamp(-WEIGHT_MAX, WEIGHT_MAX)
        bias = round_through(self.bias * self.gates() * _BIAS_GAIN / step) * step
        return F.conv2d(x, levels * step[:, None, None, None], bias, self.stride, self.width // 2)

    def bits(self) -> torch.Tensor:
        """About how many bits the weights take: the entropy of a Laplace distribution of their mean size."""
        levels = self.levels().abs()
        return levels.numel() * torch.log2(1 + 2 * np.e * (levels.mean(dim=(1, 2, 3)) + 0.02)).mean()

    @torch.no_grad()
    def integers(self, choose: Choose = rounded, fineness: float = 1.0) -> Integers:
        """What is sent: the whole numbers that `choose` makes of the weights (O, I, k, k), in steps so many times
        as fine as those learned. Steps of channels that would break the accumulator's bound are widened first.
        """
        while True:
            levels = torch.from_numpy(choose((self.levels().double() * fineness).cpu().numpy()))
            over = levels.abs().sum(dim=(1, 2, 3)) >= ACCUMULATOR
            if not over.any():
                break
            self.log_step[over] += 0.02
        multiplier, shift = self.scale(fineness)
        step = (multiplier * 2.0**-shift).cpu()
        bias = torch.floor((self.bias * self.gates()).double().cpu() * _BIAS_GAIN / step + 0.5)
        return Integers(
            *(values.to(torch.int64).cpu().numpy() for values in (levels, bias, multiplier, shift))
        )


@dataclass(frozen=True)
class Window:
    """A part of the maps that can be computed alone, in texels of the input level, with the margin it takes."""

    rows: slice
    columns: slice
    level: int

    @classmethod
    def around(cls, rows: np.ndarray, columns: np.ndarray, topology: Topology) -> Window:
        """That of texels at rows and columns of the maps: the layers below look less than a texel further."""
        level, size = topology.input_level, topology.size >> topology.input_level
        parts = [
            slice(max(0, int(p.min() >> level) - 1), min(size, int(p.max() >> level) + 2))
            for p in (rows, columns)
        ]
        return cls(parts[0], parts[1], level)

    def place(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Indices into the window's flat maps (v, u) of texels at rows and columns of the maps."""
        width = (self.columns.stop - self.columns.start) << self.level
        return (rows - (self.rows.start << self.level)) * width + columns - (self.columns.start << self.level)


class Twin(nn.Module):
    """§7.9 The generator: input maps and pose vector to maps of offsets."""

    def __init__(self, topology: Topology, pose_size: int):
        super().__init__()
        self.topology, self.pose_size = topology, pose_size
        t, before = topology, INPUT_CHANNELS
        self.encode = nn.ModuleList()
        for index, channels in enumerate(t.encoder):
            self.encode.append(Linear(before, channels, 3, stride=1 if index == 0 else 2))
            before = channels
        self.decode = nn.ModuleList(Linear(t.decoder_inputs(l), c, 3) for l, c in enumerate(t.decoder))
        self.head = Linear(t.decoder[0], 2 * t.outputs, t.head_width, gain=_HEAD_GAIN, start=0.05)
        self.mapping, self.style = nn.ModuleList(), nn.ModuleDict()
        if any(t.modulated):
            self.mapping.extend([Linear(pose_size, t.mapping, 1, start=2.0), Linear(t.mapping, t.mapping, 1)])
        for level in range(t.levels - 1, -1, -1):
            if t.modulated[level]:
                style = Linear(t.mapping, t.decoder_inputs(level), 1, start=0.3)
                nn.init.constant_(style.bias, STYLE_ONE / _BIAS_GAIN)
                self.style[str(level)] = style
        self.quantise(True)

    def quantise(self, on: bool) -> None:
        """Whether weights and activations are whole numbers, as in a stream, or what a control has, floats."""
        self._round: Callable[[torch.Tensor], torch.Tensor] = round_through if on else torch.clone
        self._activate: Callable[[torch.Tensor], torch.Tensor] = _Leaky.apply if on else _leaky
        for layer in self.layers().values():
            layer.quantised = on

    def forward(self, maps: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        """Head outputs (2 K, S, S), whole numbers in Q-formats; maps (12, s, s) and pose (P,) whole numbers."""
        return self.batch(maps[None], pose[None])[0]

    def batch(self, maps: torch.Tensor, pose: torch.Tensor, window: Window | None = None) -> torch.Tensor:
        """The same for B frames, (B, 2 K, S, S); with a window only what lies in it, for less work."""
        t, code = self.topology, pose[:, :, None, None]
        for layer in self.mapping:
            code = self._activate(layer(code))
        x, skips = maps, []
        for layer in self.encode:
            x = self._activate(layer(x))
            skips.append(x)
        for level in range(t.levels - 1, -1, -1):
            if level < t.levels - 1:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                if level >= t.input_level:
                    x = torch.cat([x, skips[level - t.input_level]], dim=1)
            if t.modulated[level]:
                factor = self._round(self.style[str(level)](code)).clamp(0, 255)
                x = self._round(x * factor / STYLE_ONE).clamp(*ACTIVATION)
            x = self._activate(self.decode[level](x))
            if window is not None and level == t.input_level:
                x = x[:, :, window.rows, window.columns]
        return self._round(self.head(x)).clamp(-32768, 32767)

    @torch.no_grad()
    def heed(self, inputs: int, gain: float) -> None:
        """Makes the last `inputs` entries of the pose vector count `gain` times as much in all styles.

        Steps of the layer grow by the root of it, so that most of its larger weights are within their range.
        """
        if self.mapping and inputs:
            first = self.mapping[0]
            assert isinstance(first, Linear)
            first.weight[:, -inputs:] *= gain
            first.log_step.add_(0.5 * math.log(gain))

    def layers(self) -> dict[str, Linear]:
        """All linear layers in the order of the generator unit."""
        named: dict[str, Any] = {f"mapping{n}": layer for n, layer in enumerate(self.mapping)}
        named |= {f"style{level}": layer for level, layer in self.style.items()}
        named |= {f"encode{n + self.topology.input_level}": layer for n, layer in enumerate(self.encode)}
        named |= {f"decode{n}": self.decode[n] for n in range(self.topology.levels - 1, -1, -1)}
        return {**named, "head": self.head}

    def bits(self) -> torch.Tensor:
        """About how many bits all weights take."""
        return torch.stack([layer.bits() for layer in self.layers().values()]).sum()
