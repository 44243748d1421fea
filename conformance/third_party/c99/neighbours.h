/* SPDX-License-Identifier: BSD-3-Clause */
/* Neighbours among the Gaussians before one: clause 7.3.8. */
#ifndef NEIGHBOURS_H
#define NEIGHBOURS_H

#include <stdint.h>

enum { NEIGHBOUR_WINDOW = 16, SURFACE_WINDOW = 64 };

void find_neighbours(int32_t (*points)[3], int32_t count, int window, int32_t (*neighbour)[2]);

#endif
