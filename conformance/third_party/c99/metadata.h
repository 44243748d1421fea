/* SPDX-License-Identifier: BSD-3-Clause */
/* Metadata units, and which camera a frame is rendered with: clauses 5.9, 6.9 and A.3.3. */
#ifndef METADATA_H
#define METADATA_H

#include "bits.h"
#include "stages.h"

#include <stddef.h>

/* 9 */
typedef struct {
    int id;
    int width, height;
    uint8_t background[3];
    int32_t rotation[9];    /* from world to camera axes, row by row, Q.30 */
    int32_t translation[3]; /* Q.20 m */
    int32_t focal[2];       /* Q.8 px */
    int32_t principal[2];   /* Q.8 px */
} Camera;

/* Digests of one frame that the stream carries (6.9.2), and the camera that they were taken with. */
typedef struct {
    int64_t frame;
    size_t order; /* among those of the stream */
    int stages;
    size_t camera; /* its number from 1, 0 if there was none */
} FrameHashes;

/* All cameras and frame hashes of a stream in its order. */
typedef struct {
    Camera *cameras;
    size_t camera_count;
    size_t last_camera[256]; /* of each identity: its number from 1, 0 if there was none */
    FrameHashes *hashes;
    size_t hash_count;
} Metadata;

/* Returns whether the payload was read to its end; an item of a type that is not listed is not. */
bool read_metadata_unit(Bits *bits, Metadata *metadata);

/* A.3.3. To be called once, after the last unit. */
void sort_hashes(Metadata *metadata);

/* A.3.3: the camera of a frame for the stage projected or pixels, NULL if there is none. */
const Camera *camera_of_frame(const Metadata *metadata, int64_t frame, Stage stage);

void free_metadata(Metadata *metadata);

#endif
