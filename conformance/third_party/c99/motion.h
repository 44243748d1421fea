/* SPDX-License-Identifier: BSD-3-Clause */
/* Motion units: clauses 5.8, 6.8 and 7.5. */
#ifndef MOTION_H
#define MOTION_H

#include "engine.h"
#include "headers.h"

enum { UNIT_FRAMES = 128, HISTORY = 9, BANKS = 4, MOTION_CONTEXTS = 721, FRAME_LIMIT = 1 << 24 };

/* 5.8.1 */
typedef struct {
    bool key;
    int group_shift, unit_order;
    int frame_count; /* minus 1 */
    int64_t first_frame;
} MotionUnit;

/* What a motion unit leaves to the next one, and the frames of the last one. */
typedef struct {
    int64_t next_frame; /* 6.8.1 */
    int next_order;

    Context contexts[MOTION_CONTEXTS];
    int32_t residual_mean[BANKS][MAX_COMPONENTS];
    uint8_t previous_sign[BANKS][MAX_COMPONENTS];
    int32_t track[MAX_COMPONENTS][HISTORY + UNIT_FRAMES]; /* 7.5.4 */
    int32_t moments[BANKS][MAX_COMPONENTS][5];

    MotionUnit unit;
    int step_shift[UNIT_FRAMES];
    int32_t symbols[UNIT_FRAMES][MAX_COMPONENTS];
    int32_t pose[UNIT_FRAMES][MAX_COMPONENTS];
} Motion;

Motion *new_motion(void);
void read_motion_unit(Bits *bits, const Limits *limits, const AvatarHeader *header, Motion *motion);

#endif
