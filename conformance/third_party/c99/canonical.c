/* SPDX-License-Identifier: BSD-3-Clause */
#include "canonical.h"

#include "engine.h"
#include "integers.h"
#include "memory.h"
#include "neighbours.h"

#include <stdlib.h>
#include <string.h>

enum { TREE_NODES = 64, POSITION_LIMIT = 8388607, ROTATION_SHIFT_MAX = 6, SKIN_WEIGHT_BITS = 16, SH_COLUMNS = 45 };

/* 5.6.7: the first context of each element. */
enum {
    ONE_SIDE_FLAG = 0,
    UPPER_FLAG = 156,
    LOWER_COUNT = 312,
    COARSENESS = 1404,
    SCALE_RESIDUAL = 1502,
    ROTATION_RESIDUAL = 6014,
    APPEARANCE_RESIDUAL = 10526,
    SH_RESIDUAL = 16542,
    SAME_JOINTS_FLAG = 84222,
    INFLUENCE_COUNT = 84223,
    SKIN_JOINT = 84230,
    WEIGHT_RESIDUAL = 86270,
    CANONICAL_CONTEXTS = 87038
};

/* The elements and derived values of one Gaussian, in the order of the stream. */
typedef struct {
    int cell_level;
    int32_t coarseness[2];
    int32_t position_low[3];
    int32_t scale_residual[3], scale_value[3], widened[3];
    int32_t rotation_residual[3], rotation_value[3];
    int32_t appearance_residual[4], appearance_value[4];
    int32_t sh_residual[SH_COLUMNS];
    int influence_count;
    uint8_t skin_joint[INFLUENCES];
    int32_t skin_weight[INFLUENCES];
} CodedGaussian;

/* 5.6.1, and the Gaussians of the chunk. */
typedef struct {
    int32_t index, count;
    int32_t origin[3];
    int position_bits;
    int32_t (*cell)[3];      /* 7.3.2: the centres of the cells */
    int32_t (*neighbour)[2]; /* 7.3.8 */
    CodedGaussian *gaussian;
} Chunk;

/* 7.3.8: the two Gaussians that one is predicted from. */
typedef struct {
    const CodedGaussian *nearest, *other;
} Neighbours;

static void allocate_chunk(Chunk *chunk)
{
    chunk->cell = zeros((size_t)chunk->count, sizeof *chunk->cell);
    chunk->neighbour = zeros((size_t)chunk->count, sizeof *chunk->neighbour);
    chunk->gaussian = zeros((size_t)chunk->count, sizeof *chunk->gaussian);
}

static void free_chunk(Chunk *chunk)
{
    free(chunk->cell);
    free(chunk->neighbour);
    free(chunk->gaussian);
}

static Neighbours neighbours_of(const Chunk *chunk, int32_t i)
{
    const int32_t *neighbour = chunk->neighbour[i];
    return (Neighbours){&chunk->gaussian[neighbour[0]], &chunk->gaussian[neighbour[1]]};
}

/* 5.6.3, 7.3.2: the tree of positions ------------------------------------------------------------------ */

typedef struct {
    int32_t size;      /* Gaussians */
    int level;         /* halvings that remain */
    int run;           /* halvings just before that left one side empty, at most 3 */
    int32_t corner[3];
} Node;

/* 7.3.2 */
static int node_context(int32_t size, int level, int run)
{
    int group = size - 2;
    if (size > 4) {
        group = 3;
        while (group < 12 && size >> group > 0)
            group++;
    }
    return (3 * group + (level - 1) % 3) * 4 + run;
}

/* 7.3.2 */
static int split_node(Node node[TREE_NODES], int open_nodes, int32_t lower_count)
{
    Node *top = &node[open_nodes - 1];
    int level = --top->level;
    int axis = 2 - level % 3;
    int32_t half = (int32_t)1 << level / 3;

    if (lower_count == 0 || lower_count == top->size) {
        top->run = top->run < 3 ? top->run + 1 : 3;
        if (lower_count == 0)
            top->corner[axis] += half;
        return open_nodes;
    }
    top->run = 0;
    node[open_nodes] = *top;
    node[open_nodes].size = lower_count;
    top->size -= lower_count;
    top->corner[axis] += half;
    return open_nodes + 1;
}

/* 7.3.2 */
static int32_t place_node(const Node *top, int32_t placed, Chunk *chunk)
{
    for (int32_t i = placed; i < placed + top->size; i++) {
        chunk->gaussian[i].cell_level = top->level;
        for (int c = 0; c < 3; c++)
            chunk->cell[i][c] = top->corner[c] + (((int32_t)1 << (top->level + c) / 3) >> 1);
    }
    return placed + top->size;
}

static int32_t read_lower_count(Engine *engine, const Node *top)
{
    int set = node_context(top->size, top->level, top->run);

    if (coded_flag(engine, ONE_SIDE_FLAG + set, "one_side_flag"))
        return coded_flag(engine, UPPER_FLAG + set, "upper_flag") ? 0 : top->size;
    return coded_split(engine, LOWER_COUNT + SPLIT_CONTEXTS * set, top->size, "lower_count");
}

/* 5.6.3 */
static void read_position_tree(Engine *engine, Chunk *chunk)
{
    Node node[TREE_NODES] = {{chunk->count, 3 * chunk->position_bits, 0, {0, 0, 0}}};
    int open_nodes = 1;
    int32_t placed = 0;

    while (open_nodes > 0 && !failed(engine->bits)) {
        const Node *top = &node[open_nodes - 1];
        if (top->size > 1 && top->level > 0) {
            open_nodes = split_node(node, open_nodes, read_lower_count(engine, top));
        } else {
            placed = place_node(top, placed, chunk);
            open_nodes--;
        }
    }
    if (!failed(engine->bits))
        find_neighbours(chunk->cell, chunk->count, NEIGHBOUR_WINDOW, chunk->neighbour);
}

/* 5.6.4 to 5.6.6: the elements of a Gaussian ----------------------------------------------------------- */

/* 7.3.8: the first context of the set of a residual in column c, of those of both neighbours in it. */
static int residual_context(int32_t nearest, int32_t other, int c, int coarse)
{
    int64_t around = magnitude_of(nearest) + magnitude_of(other);
    int group = around == 0 ? 0 : around <= 2 ? 1 : around <= 6 ? 2 : 3;
    return RESIDUAL_CONTEXTS * ((8 * c + coarse) * 4 + group);
}

/* 7.3.8 */
static int64_t neighbour_mean(int32_t nearest, int32_t other)
{
    return ((int64_t)nearest + other + 1) >> 1;
}

/* 7.3.3 */
static int64_t widened_scale(int64_t quantised, int64_t scale_step, int64_t scale_blur)
{
    int64_t exponent = LOG_SCALE_MIN + scale_blur + quantised * scale_step;
    return exp2_q24(clamp(exponent, LOG_SCALE_MIN, LOG_SCALE_MAX));
}

/* 7.3.4 */
static int rotation_shift(int64_t a, int64_t b)
{
    int64_t difference = magnitude_of(a * a - b * b) * 181;
    int64_t largest = greatest(a * a, b * b) * 128;
    int shift = 0;
    while (shift < ROTATION_SHIFT_MAX && difference << shift < largest)
        shift++;
    return shift;
}

static void read_position_low(Engine *engine, CodedGaussian *g)
{
    int dropped_bits = (int)least(g->coarseness[0], g->cell_level / 3);
    for (int c = 0; c < 3; c++) {
        int low_bits = (g->cell_level + c) / 3 - dropped_bits;
        Range range = in_range("position_low", 0, ((int64_t)1 << low_bits) - 1);
        g->position_low[c] = coded_raw(engine, low_bits, range);
    }
}

static void read_scale(Engine *engine, const AvatarHeader *header, Neighbours by, CodedGaussian *g, int c)
{
    const Range range = in_range("scale_residual", -2097151, 2097151);
    int coarse = g->coarseness[0];
    int set = residual_context(by.nearest->scale_residual[c], by.other->scale_residual[c], c, coarse);

    g->scale_residual[c] = coded_residual(engine, SCALE_RESIDUAL + set, range);
    int64_t predicted = neighbour_mean(by.nearest->scale_value[c], by.other->scale_value[c]);
    g->scale_value[c] = (int32_t)wrap(predicted + shift_left(g->scale_residual[c], coarse), 22);
    g->widened[c] = (int32_t)widened_scale(g->scale_value[c], header->scale_step, header->scale_blur);
}

static void read_rotation(Engine *engine, Neighbours by, CodedGaussian *g, int c)
{
    const Range range = in_range("rotation_residual", -1048575, 1048575);
    int shift = rotation_shift(g->widened[(c + 1) % 3], g->widened[(c + 2) % 3]);
    int coarse = (int)least(6, g->coarseness[0] + shift);
    int set = residual_context(by.nearest->rotation_residual[c], by.other->rotation_residual[c], c, coarse);

    g->rotation_residual[c] = coded_residual(engine, ROTATION_RESIDUAL + set, range);
    g->rotation_value[c] = (int32_t)shift_left(g->rotation_residual[c], coarse);
}

/* 5.6.4 */
static void read_geometry(Engine *engine, const AvatarHeader *header, Neighbours by, CodedGaussian *g)
{
    for (int c = 0; c < 2; c++) {
        int set = 7 * c + (int)neighbour_mean(by.nearest->coarseness[c], by.other->coarseness[c]);
        g->coarseness[c] = coded_tree(engine, COARSENESS + 7 * set, 3, in_range("coarseness", 0, 6));
    }
    read_position_low(engine, g);
    for (int c = 0; c < 3; c++)
        read_scale(engine, header, by, g, c);
    for (int c = 0; c < 3; c++)
        read_rotation(engine, by, g, c);
}

/* 5.6.5 */
static void read_appearance(Engine *engine, int sh_columns, Neighbours by, CodedGaussian *g)
{
    const Range range = in_range("appearance_residual", -262143, 262143);
    const Range sh_range = in_range("sh_residual", -65535, 65535);

    for (int c = 0; c < 4; c++) {
        int coarse = g->coarseness[1] + (c > 1);
        int set = residual_context(by.nearest->appearance_residual[c], by.other->appearance_residual[c], c, coarse);
        g->appearance_residual[c] = coded_residual(engine, APPEARANCE_RESIDUAL + set, range);
        int64_t predicted = neighbour_mean(by.nearest->appearance_value[c], by.other->appearance_value[c]);
        g->appearance_value[c] = (int32_t)wrap(predicted + shift_left(g->appearance_residual[c], coarse), 20);
    }
    for (int k = 0; k < sh_columns; k++) {
        int coarse = g->coarseness[1] + (k % 3 > 0);
        int set = residual_context(by.nearest->sh_residual[k], by.other->sh_residual[k], k, coarse);
        g->sh_residual[k] = coded_residual(engine, SH_RESIDUAL + set, sh_range);
    }
}

static void read_joints(Engine *engine, const AvatarHeader *header, CodedGaussian *g)
{
    const Range count_range = in_range("influence_count", 0, header->influence_limit);
    const Range joint_range = in_range("skin_joint", 0, header->joint_count - 1);

    g->influence_count = coded_tree(engine, INFLUENCE_COUNT, 3, count_range);
    for (int k = 0; k < g->influence_count + 1; k++)
        g->skin_joint[k] = (uint8_t)coded_tree(engine, SKIN_JOINT + 255 * k, 8, joint_range);
}

static void copy_joints(const CodedGaussian *nearest, CodedGaussian *g)
{
    g->influence_count = nearest->influence_count;
    memcpy(g->skin_joint, nearest->skin_joint, sizeof g->skin_joint);
}

/* 5.6.6 */
static void read_skin(Engine *engine, const AvatarHeader *header, const CodedGaussian *nearest, CodedGaussian *g)
{
    bool is_first = nearest == g; /* Gaussian 0 has itself as its neighbour */
    bool same_joints = !is_first && coded_flag(engine, SAME_JOINTS_FLAG, "same_joints_flag");
    int32_t left = (int32_t)1 << (header->skin_weight_bits + 9);

    if (same_joints)
        copy_joints(nearest, g);
    else
        read_joints(engine, header, g);
    for (int k = 0; k < g->influence_count; k++) {
        int32_t predicted = same_joints ? (int32_t)least(nearest->skin_weight[k], left) : 0;
        int set = SIGNED_CONTEXTS * (2 * k + same_joints);
        Range range = in_range("weight_residual", -predicted, left - predicted);
        g->skin_weight[k] = predicted + coded_signed(engine, WEIGHT_RESIDUAL + set, range);
        left -= g->skin_weight[k];
    }
    g->skin_weight[g->influence_count] = left;
}

/* 5.6.2 */
static void read_gaussians(Bits *bits, const AvatarHeader *header, Chunk *chunk)
{
    int sh_columns = 3 * ((header->sh_degree + 1) * (header->sh_degree + 1) - 1);
    Context *contexts = zeros(CANONICAL_CONTEXTS, sizeof *contexts);
    Engine engine;

    reset_contexts(contexts, CANONICAL_CONTEXTS);
    start_engine(&engine, bits, contexts);
    read_position_tree(&engine, chunk);
    for (int32_t i = 0; i < chunk->count && !failed(bits); i++) {
        CodedGaussian *g = &chunk->gaussian[i];
        Neighbours by = neighbours_of(chunk, i);
        read_geometry(&engine, header, by, g);
        read_appearance(&engine, sh_columns, by, g);
        read_skin(&engine, header, by.nearest, g);
    }
    end_payload(&engine);
    free(contexts);
}

/* 7.3.2 to 7.3.7: the values of the Gaussians ---------------------------------------------------------- */

/* 7.3.2 */
static void decode_position(const AvatarHeader *header, const Chunk *chunk, int32_t i, int32_t position[3])
{
    const CodedGaussian *g = &chunk->gaussian[i];
    int dropped = (int)least(g->coarseness[0], g->cell_level / 3);
    int64_t middle = ((int64_t)1 << dropped) >> 1;

    for (int c = 0; c < 3; c++) {
        int unread = (g->cell_level + c) / 3;
        int64_t corner = chunk->cell[i][c] - (((int64_t)1 << unread) >> 1);
        int64_t quantised = chunk->origin[c] + corner + shift_left(g->position_low[c], dropped) + middle;
        position[c] = (int32_t)limit(quantised * header->position_step, POSITION_LIMIT);
    }
}

/* 7.3.3 */
static int64_t decode_scale(int64_t widened, int64_t blur)
{
    int64_t square = widened * widened - blur * blur;
    int shift;

    if (square <= 0)
        return 0;
    int64_t mantissa = reciprocal_sqrt(square, &shift);
    int half = 30 - shift;
    return (((square << 2 * half) >> 30) * mantissa) >> (30 + half);
}

/* 7.3.4 */
static void decode_factor(const AvatarHeader *header, const CodedGaussian *g, int32_t factor[9])
{
    int64_t blur = widened_scale(0, 1, header->scale_blur);
    int64_t scale[3], vector[3];
    int32_t rotation[9];

    for (int c = 0; c < 3; c++) {
        scale[c] = decode_scale(g->widened[c], blur);
        vector[c] = limit((int64_t)g->rotation_value[c] * header->gaussian_rotation_step, ROTATION_LIMIT);
    }
    matrix_from_vector(vector[0], vector[1], vector[2], rotation);
    for (int n = 0; n < 9; n++)
        factor[n] = (int32_t)round_shift(rotation[n] * scale[n % 3], 30);
}

/* 7.3.5 */
static int32_t decode_opacity(const AvatarHeader *header, const CodedGaussian *g)
{
    int64_t root = clamp((int64_t)g->appearance_value[0] * header->opacity_step, 0, OPACITY_ONE);
    int64_t power = root;
    for (int factor = 1; factor < header->opacity_power; factor++)
        power = round_shift(power * root, 14);
    return (int32_t)power;
}

/* 7.3.6: red, green and blue of luma and the chroma components orange and green. */
static void decode_colour(int64_t luma, int64_t orange, int64_t green, int64_t step, int16_t colour[3])
{
    int64_t rest = luma - (green >> 1);
    int64_t blue = rest - (orange >> 1);

    colour[0] = (int16_t)limit((blue + orange) * step, SH_LIMIT);
    colour[1] = (int16_t)limit((rest + green) * step, SH_LIMIT);
    colour[2] = (int16_t)limit(blue * step, SH_LIMIT);
}

/* 7.3.6 */
static void decode_colours(const AvatarHeader *header, const CodedGaussian *g, int16_t (*sh)[3])
{
    const int32_t *value = g->appearance_value;
    int shift = g->coarseness[1];

    decode_colour(value[1], value[2], value[3], header->sh_step[0], sh[0]);
    for (int b = 1; b <= header->sh_degree; b++) {
        for (int k = b * b; k < (b + 1) * (b + 1); k++) {
            const int32_t *residual = &g->sh_residual[3 * (k - 1)];
            decode_colour(shift_left(residual[0], shift), shift_left(residual[1], shift + 1),
                          shift_left(residual[2], shift + 1), header->sh_step[b], sh[k]);
        }
    }
}

/* 7.3.7 */
static void decode_skin(const AvatarHeader *header, const CodedGaussian *g, uint8_t joint[], int32_t weight[])
{
    for (int k = 0; k < g->influence_count + 1; k++) {
        joint[k] = g->skin_joint[k];
        weight[k] = g->skin_weight[k] << (SKIN_WEIGHT_BITS - 9 - header->skin_weight_bits);
    }
}

/* 6.11.3 */
static void decode_chunk(Avatar *avatar, const Chunk *chunk)
{
    const AvatarHeader *header = &avatar->header;

    for (int32_t i = 0; i < chunk->count; i++) {
        const CodedGaussian *g = &chunk->gaussian[i];
        int32_t n = chunk->index * header->chunk_size + i;
        decode_position(header, chunk, i, avatar->position[n]);
        decode_factor(header, g, avatar->factor[n]);
        avatar->opacity[n] = decode_opacity(header, g);
        decode_colours(header, g, avatar->sh + (int64_t)n * avatar->sh_coefficients);
        decode_skin(header, g, avatar->joint[n], avatar->weight[n]);
    }
    avatar->chunk_received[chunk->index] = true;
    if (--avatar->chunks_missing == 0) {
        avatar->surface_neighbour = zeros((size_t)header->gaussian_count, sizeof *avatar->surface_neighbour);
        find_neighbours(avatar->position, header->gaussian_count, SURFACE_WINDOW, avatar->surface_neighbour);
    }
}

/* 5.6.1 */
void read_canonical_unit(Bits *bits, Avatar *avatar)
{
    const AvatarHeader *header = &avatar->header;
    Chunk chunk;

    bits->clause = "5.6";
    chunk.index = (int32_t)read_leb128(bits, in_range("chunk_index", 0, chunk_count(header) - 1));
    if (failed(bits) || avatar->chunk_received[chunk.index])
        return;
    chunk.count = (int32_t)least(header->chunk_size, header->gaussian_count - chunk.index * header->chunk_size);
    for (int c = 0; c < 3; c++)
        chunk.origin[c] = (int32_t)read_signed(bits, 24, in_range("chunk_origin", -8388608, 8388607));
    chunk.position_bits = (int)read_unsigned(bits, 8, in_range("position_bits", 0, 21));
    if (failed(bits))
        return;

    allocate_chunk(&chunk);
    read_gaussians(bits, header, &chunk);
    if (!failed(bits))
        decode_chunk(avatar, &chunk);
    free_chunk(&chunk);
}
