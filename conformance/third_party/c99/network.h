/* SPDX-License-Identifier: BSD-3-Clause */
/* The network of a generator: from a pose to maps, and from maps to offsets: clauses 7.9.5 to 7.9.9. */
#ifndef NETWORK_H
#define NETWORK_H

#include "generator.h"
#include "skinning.h"

/* 7.9.9: what takes the place of values of the avatar in one frame, Gaussian by Gaussian. */
typedef struct {
    int32_t (*displacement)[3];
    int32_t (*factor)[9];
    int32_t *opacity;
    int32_t (*colour)[3]; /* of coefficient 0 */
} Moved;

Moved *new_moved(int32_t count);
void free_moved(Moved *moved);

int64_t map_values(const Generator *generator);

/* The maps of a frame, map_values of them; posed are the Gaussians without a generator. The caller frees them. */
int16_t *generate_maps(const Generator *generator, const Avatar *avatar, const int32_t *pose, const Joints *joints,
                       const Gaussians *posed);

void offset_gaussians(const Generator *generator, const Avatar *avatar, const int16_t *maps,
                      int32_t (*displacement)[3], Moved *moved);

#endif
