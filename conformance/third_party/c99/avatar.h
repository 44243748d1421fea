/* SPDX-License-Identifier: BSD-3-Clause */
/* The avatar: canonical Gaussians and expressions as they have been received (6.11.2). */
#ifndef AVATAR_H
#define AVATAR_H

#include "headers.h"

enum { INFLUENCES = 8 };

typedef struct {
    AvatarHeader header;
    int sh_coefficients;          /* of one colour component */

    int32_t (*position)[3];       /* 7.3.2, Q.20 m */
    int32_t (*factor)[9];         /* 7.3.4, row by row, Q.24 m */
    int32_t *opacity;             /* 7.3.5, Q.14 */
    int16_t (*sh)[3];             /* 7.3.6, sh_coefficients for each Gaussian, Q.12 */
    uint8_t (*joint)[INFLUENCES]; /* 7.3.7 */
    int32_t (*weight)[INFLUENCES];

    bool *chunk_received;
    int32_t chunks_missing;
    int32_t (*surface_neighbour)[2];         /* 7.4, once no chunk is missing */
    int32_t (*offsets[MAX_EXPRESSIONS])[3];  /* 7.4, Q.20 m; NULL for one that has not been received */
} Avatar;

Avatar *new_avatar(const AvatarHeader *header);
void free_avatar(Avatar *avatar);

#endif
