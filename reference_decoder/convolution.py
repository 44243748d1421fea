"""§7.9.6 Sums of products on float32 vectors: exact, since no partial sum reaches 2^24 (`generator_accumulator`).

LLVM neither keeps Numba's accumulators in registers nor vectorises over channels, so the innermost loops are
written with LLVM vectors: a block of output channels for a few texels of a row stays in registers while all inputs
pass by. Maps are stored texel by texel, all channels of a texel together.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from reference_decoder import jit

_WIDE = bool(binding.get_host_cpu_features().get("avx512f", False))
LANES = 16 if _WIDE else 8  # output channels of a vector
TEXELS = 8 if _WIDE else 6  # texels of a block; with two vectors each they fill the registers
_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)


def pack(weights: np.ndarray) -> np.ndarray:
    """§7.9.6 Weights (O, I, width, width) in the order of `convolve_row`: blocks of 2 vectors, the last maybe of 1."""
    outputs, inputs, width, _ = weights.shape
    vectors = -(-outputs // LANES)
    wide = np.zeros((width, width, inputs, vectors * LANES), np.float32)
    wide[..., :outputs] = weights.transpose(2, 3, 1, 0)
    edges = [*range(0, vectors, 2), vectors]
    blocks = [wide[..., a * LANES : b * LANES].ravel() for a, b in itertools.pairwise(edges)]
    return np.concatenate(blocks)


class _Block:
    """The code of one block: TEXELS texels of a row times `vectors` vectors of output channels."""

    def __init__(self, builder: ir.IRBuilder, vectors: int):
        self.b, self.vectors = builder, vectors
        signature = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        self.fma = cgutils.get_or_insert_function(builder.module, signature, f"llvm.fma.v{LANES}f32")
        self.zero = ir.Constant(_VECTOR, [0.0] * LANES)

    def accumulate(
        self,
        source: ir.Value,
        step: ir.Value,
        weights: ir.Value,
        run: ir.Value,
        pitch: ir.Value,
        rows: ir.Value,
    ) -> list[ir.Value]:
        """The sums over `rows` rows of `run` inputs each, `pitch` apart; texels lie `step` apart."""
        b, before = self.b, self.b.block
        outer, inner, after, done = (b.append_basic_block(name) for name in ("row", "input", "next", "done"))
        b.branch(outer)
        b.position_at_end(outer)
        row, place, weight, *sums = self._phis(before, [_int(0), _int(0), _int(0)])
        b.branch(inner)
        b.position_at_end(inner)
        k, w, *inside = self._phis(outer, [_int(0), weight], sums)
        products = self._products(b.gep(source, [b.add(place, k)]), step, b.gep(weights, [w]), inside)
        ends = b.add(k, _int(1)), b.add(w, _int(self.vectors * LANES))
        for phi, value in zip((k, w, *inside), (*ends, *products), strict=True):
            phi.add_incoming(value, inner)
        b.cbranch(b.icmp_signed("<", ends[0], run), inner, after)
        b.position_at_end(after)
        following = b.add(row, _int(1)), b.add(place, pitch), ends[1]
        for phi, value in zip((row, place, weight, *sums), (*following, *products), strict=True):
            phi.add_incoming(value, after)
        b.cbranch(b.icmp_signed("<", following[0], rows), outer, done)
        b.position_at_end(done)
        return products

    def _phis(self, before: ir.Block, integers: list[Any], sums: list[Any] | None = None) -> list[ir.Value]:
        starts = [*integers, *(sums or [self.zero] * (TEXELS * self.vectors))]
        phis = [self.b.phi(_INT if n < len(integers) else _VECTOR) for n in range(len(starts))]
        for phi, start in zip(phis, starts, strict=True):
            phi.add_incoming(start, before)
        return phis

    def _products(
        self, source: ir.Value, step: ir.Value, weights: ir.Value, sums: list[Any]
    ) -> list[ir.Value]:
        """The sums after one input of every texel."""
        b = self.b
        loaded = [self._load(weights, _int(v * LANES)) for v in range(self.vectors)]
        result = []
        for texel in range(TEXELS):
            value = b.load(b.gep(source, [b.mul(step, _int(texel))]))
            one = b.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, cgutils.int32_t(0))
            every = b.shuffle_vector(
                one, one, ir.Constant(ir.VectorType(cgutils.int32_t, LANES), [0] * LANES)
            )
            for v, weight in enumerate(loaded):
                result.append(b.call(self.fma, [weight, every, sums[texel * self.vectors + v]]))
        return result

    def _load(self, base: ir.Value, place: ir.Value) -> ir.Value:
        return self.b.load(self.b.bitcast(self.b.gep(base, [place]), _VECTOR.as_pointer()), align=4)

    def store(self, sums: list[ir.Value], target: ir.Value, pitch: ir.Value) -> None:
        """Puts the sums at `target`, texels `pitch` apart."""
        b = self.b
        for n, value in enumerate(sums):
            texel, v = divmod(n, self.vectors)
            place = b.add(b.mul(pitch, _int(texel)), _int(v * LANES))
            b.store(value, b.bitcast(b.gep(target, [place]), _VECTOR.as_pointer()), align=4)


def _int(value: int) -> ir.Constant:
    return ir.Constant(_INT, value)


def _block_intrinsic(vectors: int) -> Any:
    @intrinsic
    def block(typingctx: Any, source: Any, at: Any, step: Any, weights: Any, first: Any, run: Any, pitch: Any,
              rows: Any, target: Any, to: Any, target_pitch: Any) -> Any:  # fmt: skip
        i = types.intp
        signature = types.void(source, i, i, weights, i, i, i, i, target, i, i)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            data = [
                context.make_array(signature.args[n])(context, builder, arguments[n]).data for n in (0, 3, 8)
            ]
            at, step, first, run, pitch, rows, to, target_pitch = (
                arguments[n] for n in (1, 2, 4, 5, 6, 7, 9, 10)
            )
            code = _Block(builder, vectors)
            start = builder.gep(data[0], [at])
            sums = code.accumulate(start, step, builder.gep(data[1], [first]), run, pitch, rows)
            code.store(sums, builder.gep(data[2], [to]), target_pitch)
            return context.get_dummy_value()

        return signature, generate

    return block


_one, _two = _block_intrinsic(1), _block_intrinsic(2)


@njit(**jit.OPTIONS)
def convolve_row(source, at, weights, inputs, width, stride, pitch, total):
    """§7.9.6 The sums of one row of texels for all output channels.

    source: flat, rows `pitch` values apart; `at`: the first value that the first texel looks at; weights: as `pack`
    leaves them; total (texels, channels): a multiple of TEXELS texels and of LANES channels, filled.
    """
    texels, channels = total.shape
    flat = total.reshape(-1)
    run = width * inputs
    step = stride * inputs
    for x in range(0, texels, TEXELS):
        begin = at + x * step
        first = 0
        for o in range(0, channels - LANES, 2 * LANES):
            _two(source, begin, step, weights, first, run, pitch, width, flat, x * channels + o, channels)
            first += 2 * LANES * run * width
        if channels // LANES % 2 == 1:
            o = channels - LANES
            _one(source, begin, step, weights, first, run, pitch, width, flat, x * channels + o, channels)
