/* SPDX-License-Identifier: BSD-3-Clause */
/* The sequence header and the avatar header: clauses 5.4, 5.5, 6.4, 6.5 and A.2. */
#ifndef HEADERS_H
#define HEADERS_H

#include "bits.h"

enum { MAX_JOINTS = 255, MAX_EXPRESSIONS = 255, MAX_COMPONENTS = 3 + 3 * MAX_JOINTS + MAX_EXPRESSIONS };

typedef enum { PROFILE_CANONICAL, PROFILE_GENERATIVE } Profile;

/* A.2 */
typedef struct {
    int64_t unit_size, joints, gaussians, expressions, expression_offsets, unit_frames;
    int64_t map_size, generator_weights, generator_macs, generator_values;
} Limits;

/* 5.4 */
typedef struct {
    Profile profile;
    int level;
    int64_t frame_rate_numerator, frame_rate_denominator;
} SequenceHeader;

/* 5.5 */
typedef struct {
    int joint_count;
    uint8_t joint_parent[MAX_JOINTS];
    int32_t joint_offset[MAX_JOINTS][3];
    int32_t gaussian_count, chunk_size;
    int sh_degree, influence_limit, skin_weight_bits;
    int32_t position_step, scale_step, scale_blur, gaussian_rotation_step, opacity_step;
    int opacity_power;
    int32_t sh_step[4];
    int expression_count;
    int32_t expression_offset_step;
    uint8_t step_code[MAX_COMPONENTS];
} AvatarHeader;

/* The limits of a level; those of level 0, which is not known, are the greatest (6.4). */
const Limits *level_limits(int level);

void read_sequence_header(Bits *bits, SequenceHeader *header);
void read_avatar_header(Bits *bits, const Limits *limits, AvatarHeader *header);

int component_count(const AvatarHeader *header); /* 5.8.1 */
int32_t chunk_count(const AvatarHeader *header); /* 6.5 */

#endif
