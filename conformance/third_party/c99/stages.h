/* SPDX-License-Identifier: BSD-3-Clause */
/* Stages and their digests: clause 7.8. */
#ifndef STAGES_H
#define STAGES_H

#include "hash.h"

/* 6.9.2 */
typedef enum {
    STAGE_SYMBOLS,
    STAGE_POSE,
    STAGE_JOINTS,
    STAGE_GAUSSIANS,
    STAGE_PROJECTED,
    STAGE_PIXELS,
    STAGE_CANONICAL,
    STAGE_MAPS,
    STAGE_COUNT
} Stage;

extern const char *const stage_names[STAGE_COUNT];

/* The digests of one frame; bit s of stages is 1 if that of stage s is there. */
typedef struct {
    unsigned stages;
    uint8_t digest[STAGE_COUNT][DIGEST_BYTES];
} Digests;

#endif
