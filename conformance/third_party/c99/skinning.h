/* SPDX-License-Identifier: BSD-3-Clause */
/* Joint matrices and skinning: clauses 7.6, 7.7 and 6.11.5. */
#ifndef SKINNING_H
#define SKINNING_H

#include "avatar.h"

/* The joints of one frame. */
typedef struct {
    int32_t rest[MAX_JOINTS][3], place[MAX_JOINTS][3]; /* Q.20 m */
    int32_t matrices[MAX_JOINTS][12];                  /* nine entries in Q.30, three in Q.20 m */
} Joints;

/* The Gaussians of one frame. */
typedef struct {
    int32_t (*displacement)[3]; /* 7.7.1, Q.20 m */
    int32_t (*mean)[3];         /* Q.20 m */
    int32_t (*factor)[9];       /* Q.24 m */
    int32_t (*blend)[9];        /* Q.30 */
} Gaussians;

void decode_joints(const AvatarHeader *header, const int32_t *pose, Joints *joints);

Gaussians *new_gaussians(int32_t count);
void free_gaussians(Gaussians *gaussians);

void displace_gaussians(const Avatar *avatar, const int32_t *pose, Gaussians *gaussians);

/* Gaussians displaced by displacement and with the shape factors given, in the pose of the joints. */
void skin_gaussians(const Avatar *avatar, const Joints *joints, int32_t (*displacement)[3], int32_t (*factor)[9],
                    Gaussians *gaussians);

#endif
