/* SPDX-License-Identifier: BSD-3-Clause */
/* From the pose of a frame to its digests: clauses 6.11.5, 6.11.6 and 7.8. */
#ifndef FRAMES_H
#define FRAMES_H

#include "avatar.h"
#include "metadata.h"
#include "network.h"
#include "rendering.h"
#include "skinning.h"

/* What the frames of one avatar are made with. */
typedef struct {
    unsigned wanted; /* bit s is 1 if the digest of stage s is wanted */
    Joints joints;
    Gaussians *gaussians;
    Projected *projected;
    Moved *moved; /* NULL before there is a generator */
    uint8_t canonical[DIGEST_BYTES];
    bool canonical_known; /* to be cleared when the avatar changes */
} FrameMaker;

FrameMaker *new_frame_maker(const AvatarHeader *header, unsigned wanted);
void free_frame_maker(FrameMaker *maker);

/* generator is NULL if none is active. */
Digests make_frame(FrameMaker *maker, const Avatar *avatar, const Generator *generator, const Metadata *metadata,
                   int64_t frame, const int32_t *symbols, const int32_t *pose);

#endif
