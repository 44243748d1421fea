"""§9.7, §9.8 Several neighbouring pixels blended at once, in vectors that Numba's own loops do not become.

LLVM does not vectorise the pixel loop as Numba writes it (every int32 product is widened to 64 bits),
so this one kernel is written with LLVM vectors. It repeats `pixel_alpha`, `blend_pixel` and `add_colour` of the
document operation by operation; the tests compare it with them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

import spec

LANES = 8
_INT = ir.IntType(32)
_VECTOR = ir.VectorType(_INT, LANES)
_C = spec.document().constants


class _Lanes:
    """A vector of int32 under construction, with wrapping arithmetic and the operators of the pseudo-code."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value):
        self.builder, self.value = builder, value

    def _of(self, other: _Lanes | int) -> ir.Value:
        return other.value if isinstance(other, _Lanes) else ir.Constant(_VECTOR, [other] * LANES)

    def _apply(self, operation: str, other: _Lanes | int) -> _Lanes:
        return _Lanes(self.builder, getattr(self.builder, operation)(self.value, self._of(other)))

    def __add__(self, other: _Lanes | int) -> _Lanes:
        return self._apply("add", other)

    def __sub__(self, other: _Lanes | int) -> _Lanes:
        return self._apply("sub", other)

    def __mul__(self, other: _Lanes | int) -> _Lanes:
        return self._apply("mul", other)

    def __and__(self, other: _Lanes | int) -> _Lanes:
        return self._apply("and_", other)

    def __rshift__(self, other: _Lanes | int) -> _Lanes:
        return self._apply("ashr", other)

    def logical_shift(self, other: _Lanes | int) -> _Lanes:
        return self._apply("lshr", other)

    def __lt__(self, other: _Lanes | int) -> ir.Value:
        return self.builder.icmp_signed("<", self.value, self._of(other))

    def select(self, condition: ir.Value, other: _Lanes | int) -> _Lanes:
        """`self` where the condition holds, else `other`."""
        return _Lanes(self.builder, self.builder.select(condition, self.value, self._of(other)))

    def minimum(self, limit: int) -> _Lanes:
        return self.select(self < limit, limit)

    def negated(self) -> _Lanes:
        return _Lanes(self.builder, self.builder.neg(self.value))

    def absolute(self) -> _Lanes:
        return self.negated().select(self < 0, self)


def _alpha(u: _Lanes, v_square: _Lanes, opacity: _Lanes) -> _Lanes:
    """§9.7 `reach` and `pixel_alpha`; the exponent uses all 32 bits, so its shifts are logical."""
    u = (u.absolute() >> 10).minimum(_C["REACH_MAX_Q14"])
    exponent = u * u + v_square
    fraction = exponent.logical_shift(13) & 32767
    c0, c1, c2 = _C["EXP2_CUBIC"]
    slope = (fraction * c2 >> 15).negated() + c1
    slope = (slope * fraction >> 15).negated() + c0
    weight = (slope * fraction >> 14).negated() + 65536
    alpha = (opacity * weight >> 14).logical_shift(exponent.logical_shift(28))
    return alpha.minimum(_C["ALPHA_MAX_Q16"])


def _blend(transmittance: _Lanes, alpha: _Lanes) -> tuple[_Lanes, _Lanes]:
    """§9.8 `blend_pixel`: the transmittance after and the weight, already rounded to Q.16."""
    weight = (transmittance >> 15) * alpha >> 1
    rest = transmittance - weight
    skipped = alpha < _C["ALPHA_MIN_Q16"]
    finished = rest < _C["TRANSMITTANCE_MIN_Q30"]
    after = transmittance.select(skipped, transmittance.absolute().negated().select(finished, rest))
    none = transmittance.builder.or_(skipped, finished)
    rounded = (weight + (1 << 13)) >> 14
    return after, (rounded & 0).select(none, rounded)


@intrinsic
def blend_lanes(typingctx: Any, state: Any, at: Any, plane: Any, u: Any, l00: Any, v_square: Any,
                opacity: Any, red: Any, green: Any, blue: Any) -> Any:  # fmt: skip
    """§9.8 Blends one Gaussian into LANES pixels of a row.

    `state` is an int32 array of four planes (transmittance Q.30; sums of red, green, blue Q.28),
    `plane` places apart, `at` the first pixel's place; u (Q.24, before `reach`) belongs to that pixel,
    v_square is Q.28.
    """
    signature = types.void(state, types.intp, types.intp, *[types.int32] * 7)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        at, plane = arguments[1:3]
        u, l00, v_square, opacity, *colours = (_splat(builder, value) for value in arguments[3:])
        places = [at]
        for _ in range(3):
            places.append(builder.add(places[-1], plane))
        pointers = [builder.bitcast(builder.gep(array.data, [p]), _VECTOR.as_pointer()) for p in places]
        steps = _Lanes(builder, ir.Constant(_VECTOR, list(range(LANES))))
        alpha = _alpha(u + l00 * steps, v_square, opacity)
        transmittance = _Lanes(builder, builder.load(pointers[0], align=4))
        after, weight = _blend(transmittance, alpha)
        builder.store(after.value, pointers[0], align=4)
        for pointer, colour in zip(pointers[1:], colours, strict=True):
            total = _Lanes(builder, builder.load(pointer, align=4))
            builder.store((total + weight * colour).value, pointer, align=4)
        return context.get_dummy_value()

    return signature, generate


def _splat(builder: ir.IRBuilder, value: ir.Value) -> _Lanes:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, cgutils.int32_t(0))
    return _Lanes(builder, builder.shuffle_vector(one, one, ir.Constant(_VECTOR, [0] * LANES)))
