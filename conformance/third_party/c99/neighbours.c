/* SPDX-License-Identifier: BSD-3-Clause */
#include "neighbours.h"

static int64_t square_of_distance(const int32_t a[3], const int32_t b[3])
{
    int64_t across = (int64_t)a[0] - b[0], up = (int64_t)a[1] - b[1], along = (int64_t)a[2] - b[2];
    return across * across + up * up + along * along;
}

/* 7.3.8 */
void find_neighbours(int32_t (*points)[3], int32_t count, int window, int32_t (*neighbour)[2])
{
    for (int32_t i = 0; i < count; i++) {
        int64_t nearest = (int64_t)1 << 62, second = nearest;
        int32_t first = i > window ? i - window : 0;

        neighbour[i][0] = neighbour[i][1] = 0;
        for (int32_t j = i - 1; j >= first; j--) {
            int64_t square = square_of_distance(points[i], points[j]);
            if (square < nearest) {
                second = nearest;
                neighbour[i][1] = neighbour[i][0];
                nearest = square;
                neighbour[i][0] = j;
            } else if (square < second) {
                second = square;
                neighbour[i][1] = j;
            }
        }
    }
}
