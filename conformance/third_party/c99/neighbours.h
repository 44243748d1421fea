/* SPDX-License-Identifier: BSD-3-Clause */
/* Neighbours among the Gaussians before one: clause 7.3.8. */
#ifndef NEIGHBOURS_H
#define NEIGHBOURS_H

#include "integers.h"

enum { NEIGHBOUR_WINDOW = 16, SURFACE_WINDOW = 64 };

void find_neighbours(int32_t (*points)[3], int32_t count, int window, int32_t (*neighbour)[2]);

/* The sum of the magnitudes of both neighbours in one column of an array of rows of stride entries. */
static inline int64_t magnitudes_around(const int32_t *column, int stride, const int32_t neighbour[2])
{
    return magnitude_of(column[(int64_t)neighbour[0] * stride]) + magnitude_of(column[(int64_t)neighbour[1] * stride]);
}

/* neighbour_mean */
static inline int64_t mean_around(const int32_t *column, int stride, const int32_t neighbour[2])
{
    return ((int64_t)column[(int64_t)neighbour[0] * stride] + column[(int64_t)neighbour[1] * stride] + 1) >> 1;
}

#endif
