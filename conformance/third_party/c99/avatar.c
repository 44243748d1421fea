/* SPDX-License-Identifier: BSD-3-Clause */
#include "avatar.h"

#include "memory.h"

#include <stdlib.h>

/* 6.11.2 */
Avatar *new_avatar(const AvatarHeader *header)
{
    Avatar *avatar = zeros(1, sizeof *avatar);
    size_t count = (size_t)header->gaussian_count;

    avatar->header = *header;
    avatar->sh_coefficients = (header->sh_degree + 1) * (header->sh_degree + 1);
    avatar->position = zeros(count, sizeof *avatar->position);
    avatar->factor = zeros(count, sizeof *avatar->factor);
    avatar->opacity = zeros(count, sizeof *avatar->opacity);
    avatar->sh = zeros(count * (size_t)avatar->sh_coefficients, sizeof *avatar->sh);
    avatar->joint = zeros(count, sizeof *avatar->joint);
    avatar->weight = zeros(count, sizeof *avatar->weight);
    avatar->chunks_missing = chunk_count(header);
    avatar->chunk_received = zeros((size_t)avatar->chunks_missing, sizeof *avatar->chunk_received);
    return avatar;
}

void free_avatar(Avatar *avatar)
{
    if (avatar == NULL)
        return;
    free(avatar->position);
    free(avatar->factor);
    free(avatar->opacity);
    free(avatar->sh);
    free(avatar->joint);
    free(avatar->weight);
    free(avatar->chunk_received);
    free(avatar->surface_neighbour);
    for (int e = 0; e < MAX_EXPRESSIONS; e++)
        free(avatar->offsets[e]);
    free(avatar);
}
