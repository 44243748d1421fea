/* SPDX-License-Identifier: BSD-3-Clause */
/* Integer arithmetic: clauses 4.3, 7.2 and 9.1. */
#ifndef INTEGERS_H
#define INTEGERS_H

#include <stdint.h>

enum { Q30_ONE = 1 << 30, OPACITY_ONE = 16384, SH_LIMIT = 32767 };
enum { ROTATION_LIMIT = 1686629713, WORLD_LIMIT = 67108864, DISPLACEMENT_LIMIT = 8388607 };
enum { LOG_SCALE_MIN = -1572864, LOG_SCALE_MAX = 65536 };

/* 4.3: a shift to the right of a negative number rounds towards minus infinity. C99 leaves that to the
 * compiler; this refuses to compile where it is otherwise. */
typedef char shifts_round_towards_minus_infinity[(-3 >> 1) == -2 ? 1 : -1];

/* 4.3: a << b; in C the operator is undefined for a negative a. */
static inline int64_t shift_left(int64_t a, int b)
{
    return a * ((int64_t)1 << b);
}

/* 4.3: a // b, for a positive b. */
static inline int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t greatest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t magnitude_of(int64_t a)
{
    return a < 0 ? -a : a;
}

static inline int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return least(greatest(value, low), high);
}

/* 7.2.1 */
static inline int64_t round_shift(int64_t value, int bits)
{
    return (value + ((int64_t)1 << (bits - 1))) >> bits;
}

/* 7.2.1 */
static inline int64_t limit(int64_t value, int64_t bound)
{
    return clamp(value, -bound, bound);
}

/* 7.2.2 */
static inline int64_t wrap(int64_t value, int bits)
{
    int64_t half = (int64_t)1 << (bits - 1);
    return ((value + half) & (2 * half - 1)) - half;
}

/* 7.2.3: the rotation matrix of a rotation vector, row by row, Q.30. */
void matrix_from_vector(int64_t x, int64_t y, int64_t z, int32_t matrix[9]);

/* 7.2.4: 2^x, of Q.16 in Q.24. */
int64_t exp2_q24(int64_t x);

/* 9.1: the mantissa is returned; 1 / sqrt(value) = mantissa * 2^-(30 + shift). */
int64_t reciprocal_sqrt(int64_t value, int *shift);

/* 7.6: a row of a matrix in Q.30 times a column. */
static inline int64_t rotate_row(const int32_t row[3], int64_t x, int64_t y, int64_t z)
{
    return round_shift(row[0] * x + row[1] * y + row[2] * z, 30);
}

#endif
