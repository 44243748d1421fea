/* SPDX-License-Identifier: BSD-3-Clause */
#include "integers.h"

enum { ROTATION_TERMS = 14 };

/* 7.2.3: the quaternion of a rotation vector, real part first, Q.30. */
static void quaternion_from_vector(int64_t x, int64_t y, int64_t z, int64_t quaternion[4])
{
    int64_t t = (x * x + y * y + z * z) >> 34;
    int64_t cosine = Q30_ONE, sine = Q30_ONE;

    for (int count = 0; count < ROTATION_TERMS; count++) {
        int k = 2 * (ROTATION_TERMS - count);
        cosine = Q30_ONE - floor_divide(round_shift(t * cosine, 24), (k - 1) * k);
        sine = Q30_ONE - floor_divide(round_shift(t * sine, 24), k * (k + 1));
    }
    quaternion[0] = cosine;
    quaternion[1] = round_shift(x * sine, 29);
    quaternion[2] = round_shift(y * sine, 29);
    quaternion[3] = round_shift(z * sine, 29);
}

void matrix_from_vector(int64_t x, int64_t y, int64_t z, int32_t matrix[9])
{
    int64_t q[4];
    quaternion_from_vector(x, y, z, q);

    const int64_t entries[9] = {
        Q30_ONE - round_shift(q[2] * q[2] + q[3] * q[3], 29),
        round_shift(q[1] * q[2] - q[0] * q[3], 29),
        round_shift(q[1] * q[3] + q[0] * q[2], 29),
        round_shift(q[1] * q[2] + q[0] * q[3], 29),
        Q30_ONE - round_shift(q[1] * q[1] + q[3] * q[3], 29),
        round_shift(q[2] * q[3] - q[0] * q[1], 29),
        round_shift(q[1] * q[3] - q[0] * q[2], 29),
        round_shift(q[2] * q[3] + q[0] * q[1], 29),
        Q30_ONE - round_shift(q[1] * q[1] + q[2] * q[2], 29),
    };
    for (int n = 0; n < 9; n++)
        matrix[n] = (int32_t)limit(entries[n], Q30_ONE);
}

int64_t exp2_q24(int64_t x)
{
    static const int64_t coefficients[6] = {
        1073741712, 744269106, 257849188, 59982743, 9605925, 2034856
    };
    int exponent = (int)(x >> 16);
    int64_t fraction = x & 65535;
    int64_t power = coefficients[5];

    for (int n = 4; n >= 0; n--)
        power = coefficients[n] + round_shift(power * fraction, 16);
    return least(round_shift(power, 6 - exponent), 33554432);
}

int64_t reciprocal_sqrt(int64_t value, int *shift)
{
    static const int64_t cubic[4] = {101986, -48422, 12759, -1248};

    *shift = 30;
    for (int bits = 32; bits >= 2; bits /= 2) {
        if (value < (int64_t)1 << (62 - bits)) {
            value <<= bits;
            *shift -= bits / 2;
        }
    }
    int64_t t = value >> 46;
    int64_t guess = cubic[2] + ((cubic[3] * t) >> 14);
    guess = cubic[1] + ((guess * t) >> 14);
    guess = cubic[0] + ((guess * t) >> 14);

    t = value >> 30;
    int64_t y = shift_left(guess, 14);
    for (int step = 0; step < 2; step++)
        y = (y * (((int64_t)3 << 30) - ((((y * y) >> 30) * t) >> 30))) >> 31;
    return y;
}
