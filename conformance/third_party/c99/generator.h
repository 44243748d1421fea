/* SPDX-License-Identifier: BSD-3-Clause */
/* Generator units: clauses 5.11, 6.12 and 7.9.1 to 7.9.4. */
#ifndef GENERATOR_H
#define GENERATOR_H

#include "avatar.h"

enum { GENERATOR_LAYERS = 36, GENERATOR_LEVELS = 11, INPUT_CHANNELS = 12 };

/* 6.12.3 */
typedef enum { HEAD_POSITION, HEAD_COLOUR, HEAD_OPACITY, HEAD_SCALE, HEAD_ROTATION, GENERATOR_HEADS } Head;

/* 7.9.1 */
typedef enum { KIND_ACTIVATIONS, KIND_STYLE, KIND_OUTPUT } LayerKind;

/* 7.9.1 */
typedef struct {
    int inputs, outputs;
    int width;                     /* 3 if an output looks at 3 x 3 texels, 1 if it looks at one */
    int size;                      /* width and height of its output, in texels */
    LayerKind kind;
    int64_t first_weight;          /* weights of all layers before */
    int32_t first_channel;         /* output channels of all layers before */
    int stride;                    /* texels of the input to one of the output, in each direction */
} Layer;

/* 5.11.2 */
typedef struct {
    int map_bits, level_count, input_level;
    bool head[GENERATOR_HEADS];
    int head_channels;
    int output_width;
    bool modulated[GENERATOR_LEVELS];
    int decoder_channels[GENERATOR_LEVELS], encoder_channels[GENERATOR_LEVELS];
    int mapping_size;
    int32_t map_origin[2], map_scale;
    int normalising_joint;
    int posed_shift, rest_shift;
    int pose_size;
    Layer layer[GENERATOR_LAYERS + 1]; /* that after the last one has the totals */
    int layer_count;
} Topology;

typedef struct {
    int id;
    int64_t next_update; /* 6.12.2 */
    Topology topology;
    int8_t *weight;      /* 7.9.3 */
    int32_t *bias;       /* of each output channel of all layers, like those that follow */
    int16_t *multiplier;
    uint8_t *shift;
    uint8_t *side;       /* 7.9.4: of each Gaussian, like those that follow; 0 is the front, 1 the back */
    int32_t *map_u, *map_v;
} Generator;

/* Reads a unit and replaces the active generator, which may be NULL, unless there is an error. */
void read_generator_unit(Bits *bits, const Limits *limits, const Avatar *avatar, Generator **active);

void free_generator(Generator *generator);

#endif
