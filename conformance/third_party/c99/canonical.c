/* SPDX-License-Identifier: BSD-3-Clause */
#include "canonical.h"

#include "engine.h"
#include "memory.h"
#include "neighbours.h"

#include <stdlib.h>

enum { TREE_NODES = 64, POSITION_LIMIT = 8388607, ROTATION_SHIFT_MAX = 6, SKIN_WEIGHT_BITS = 16 };

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

/* The elements and derived values of one chunk, Gaussian by Gaussian. */
typedef struct {
    int32_t index, count;
    int32_t origin[3];
    int position_bits;
    int sh_columns;

    int32_t (*cell)[3];
    uint8_t *cell_level;
    int32_t (*neighbour)[2];
    int32_t (*coarseness)[2];
    int32_t (*position_low)[3];
    int32_t (*scale_residual)[3], (*scale_value)[3], (*widened)[3];
    int32_t (*rotation_residual)[3], (*rotation_value)[3];
    int32_t (*appearance_residual)[4], (*appearance_value)[4];
    int32_t *sh_residual; /* sh_columns for each Gaussian */
    uint8_t *influence_count;
    uint8_t (*skin_joint)[INFLUENCES];
    int32_t (*skin_weight)[INFLUENCES];
    Context *contexts;
} Chunk;

static void allocate_chunk(Chunk *chunk)
{
    size_t count = (size_t)chunk->count;

    chunk->cell = zeros(count, sizeof *chunk->cell);
    chunk->cell_level = zeros(count, sizeof *chunk->cell_level);
    chunk->neighbour = zeros(count, sizeof *chunk->neighbour);
    chunk->coarseness = zeros(count, sizeof *chunk->coarseness);
    chunk->position_low = zeros(count, sizeof *chunk->position_low);
    chunk->scale_residual = zeros(count, sizeof *chunk->scale_residual);
    chunk->scale_value = zeros(count, sizeof *chunk->scale_value);
    chunk->widened = zeros(count, sizeof *chunk->widened);
    chunk->rotation_residual = zeros(count, sizeof *chunk->rotation_residual);
    chunk->rotation_value = zeros(count, sizeof *chunk->rotation_value);
    chunk->appearance_residual = zeros(count, sizeof *chunk->appearance_residual);
    chunk->appearance_value = zeros(count, sizeof *chunk->appearance_value);
    chunk->sh_residual = zeros(count * (size_t)chunk->sh_columns, sizeof *chunk->sh_residual);
    chunk->influence_count = zeros(count, sizeof *chunk->influence_count);
    chunk->skin_joint = zeros(count, sizeof *chunk->skin_joint);
    chunk->skin_weight = zeros(count, sizeof *chunk->skin_weight);
    chunk->contexts = zeros(CANONICAL_CONTEXTS, sizeof *chunk->contexts);
}

static void free_chunk(Chunk *chunk)
{
    free(chunk->cell);
    free(chunk->cell_level);
    free(chunk->neighbour);
    free(chunk->coarseness);
    free(chunk->position_low);
    free(chunk->scale_residual);
    free(chunk->scale_value);
    free(chunk->widened);
    free(chunk->rotation_residual);
    free(chunk->rotation_value);
    free(chunk->appearance_residual);
    free(chunk->appearance_value);
    free(chunk->sh_residual);
    free(chunk->influence_count);
    free(chunk->skin_joint);
    free(chunk->skin_weight);
    free(chunk->contexts);
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
        chunk->cell_level[i] = (uint8_t)top->level;
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

/* 7.3.8: the first context of the set of a residual in column c, of an array of that column. */
static int residual_context(const int32_t *column, int stride, const int32_t neighbour[2], int c, int coarse)
{
    int64_t around = magnitudes_around(column, stride, neighbour);
    int group = around == 0 ? 0 : around <= 2 ? 1 : around <= 6 ? 2 : 3;
    return RESIDUAL_CONTEXTS * ((8 * c + coarse) * 4 + group);
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

static void read_position_low(Engine *engine, Chunk *chunk, int32_t i)
{
    int dropped_bits = (int)least(chunk->coarseness[i][0], chunk->cell_level[i] / 3);
    for (int c = 0; c < 3; c++) {
        int low_bits = (chunk->cell_level[i] + c) / 3 - dropped_bits;
        Range range = in_range("position_low", 0, ((int64_t)1 << low_bits) - 1);
        chunk->position_low[i][c] = coded_raw(engine, low_bits, range);
    }
}

static void read_scale(Engine *engine, const AvatarHeader *header, Chunk *chunk, int32_t i, int c)
{
    const Range range = in_range("scale_residual", -2097151, 2097151);
    const int32_t *neighbour = chunk->neighbour[i];
    int coarse = chunk->coarseness[i][0];
    int set = residual_context(&chunk->scale_residual[0][c], 3, neighbour, c, coarse);

    chunk->scale_residual[i][c] = coded_residual(engine, SCALE_RESIDUAL + set, range);
    int64_t predicted = mean_around(&chunk->scale_value[0][c], 3, neighbour);
    int64_t value = wrap(predicted + shift_left(chunk->scale_residual[i][c], coarse), 22);
    chunk->scale_value[i][c] = (int32_t)value;
    chunk->widened[i][c] = (int32_t)widened_scale(value, header->scale_step, header->scale_blur);
}

static void read_rotation(Engine *engine, Chunk *chunk, int32_t i, int c)
{
    const Range range = in_range("rotation_residual", -1048575, 1048575);
    int shift = rotation_shift(chunk->widened[i][(c + 1) % 3], chunk->widened[i][(c + 2) % 3]);
    int coarse = (int)least(6, chunk->coarseness[i][0] + shift);
    int set = residual_context(&chunk->rotation_residual[0][c], 3, chunk->neighbour[i], c, coarse);

    chunk->rotation_residual[i][c] = coded_residual(engine, ROTATION_RESIDUAL + set, range);
    chunk->rotation_value[i][c] = (int32_t)shift_left(chunk->rotation_residual[i][c], coarse);
}

/* 5.6.4 */
static void read_geometry(Engine *engine, const AvatarHeader *header, Chunk *chunk, int32_t i)
{
    for (int c = 0; c < 2; c++) {
        int set = 7 * c + (int)mean_around(&chunk->coarseness[0][c], 2, chunk->neighbour[i]);
        chunk->coarseness[i][c] = coded_tree(engine, COARSENESS + 7 * set, 3, in_range("coarseness", 0, 6));
    }
    read_position_low(engine, chunk, i);
    for (int c = 0; c < 3; c++)
        read_scale(engine, header, chunk, i, c);
    for (int c = 0; c < 3; c++)
        read_rotation(engine, chunk, i, c);
}

/* 5.6.5 */
static void read_appearance(Engine *engine, Chunk *chunk, int32_t i)
{
    const Range range = in_range("appearance_residual", -262143, 262143);
    const Range sh_range = in_range("sh_residual", -65535, 65535);
    const int32_t *neighbour = chunk->neighbour[i];

    for (int c = 0; c < 4; c++) {
        int coarse = chunk->coarseness[i][1] + (c > 1);
        int set = residual_context(&chunk->appearance_residual[0][c], 4, neighbour, c, coarse);
        int32_t residual = coded_residual(engine, APPEARANCE_RESIDUAL + set, range);
        int64_t predicted = mean_around(&chunk->appearance_value[0][c], 4, neighbour);
        chunk->appearance_residual[i][c] = residual;
        chunk->appearance_value[i][c] = (int32_t)wrap(predicted + shift_left(residual, coarse), 20);
    }
    for (int k = 0; k < chunk->sh_columns; k++) {
        int coarse = chunk->coarseness[i][1] + (k % 3 > 0);
        int set = residual_context(&chunk->sh_residual[k], chunk->sh_columns, neighbour, k, coarse);
        chunk->sh_residual[(int64_t)i * chunk->sh_columns + k] = coded_residual(engine, SH_RESIDUAL + set, sh_range);
    }
}

static void read_joints(Engine *engine, const AvatarHeader *header, Chunk *chunk, int32_t i, bool same_joints)
{
    int32_t nearest = chunk->neighbour[i][0];
    const Range count_range = in_range("influence_count", 0, header->influence_limit);
    const Range joint_range = in_range("skin_joint", 0, header->joint_count - 1);

    if (same_joints)
        chunk->influence_count[i] = chunk->influence_count[nearest];
    else
        chunk->influence_count[i] = (uint8_t)coded_tree(engine, INFLUENCE_COUNT, 3, count_range);
    for (int k = 0; k < chunk->influence_count[i] + 1; k++) {
        if (same_joints)
            chunk->skin_joint[i][k] = chunk->skin_joint[nearest][k];
        else
            chunk->skin_joint[i][k] = (uint8_t)coded_tree(engine, SKIN_JOINT + 255 * k, 8, joint_range);
    }
}

/* 5.6.6 */
static void read_skin(Engine *engine, const AvatarHeader *header, Chunk *chunk, int32_t i)
{
    bool same_joints = i > 0 && coded_flag(engine, SAME_JOINTS_FLAG, "same_joints_flag");
    int32_t nearest = chunk->neighbour[i][0];
    int32_t left = (int32_t)1 << (header->skin_weight_bits + 9);

    read_joints(engine, header, chunk, i, same_joints);
    for (int k = 0; k < chunk->influence_count[i]; k++) {
        int32_t predicted = same_joints ? (int32_t)least(chunk->skin_weight[nearest][k], left) : 0;
        int set = WEIGHT_RESIDUAL + SIGNED_CONTEXTS * (2 * k + same_joints);
        Range range = in_range("weight_residual", -predicted, left - predicted);
        chunk->skin_weight[i][k] = predicted + coded_signed(engine, set, range);
        left -= chunk->skin_weight[i][k];
    }
    chunk->skin_weight[i][chunk->influence_count[i]] = left;
}

/* 5.6.2 */
static void read_gaussians(Bits *bits, const AvatarHeader *header, Chunk *chunk)
{
    Engine engine;

    bits->clause = "5.6";
    reset_contexts(chunk->contexts, CANONICAL_CONTEXTS);
    start_engine(&engine, bits, chunk->contexts);
    read_position_tree(&engine, chunk);
    for (int32_t i = 0; i < chunk->count && !failed(bits); i++) {
        read_geometry(&engine, header, chunk, i);
        read_appearance(&engine, chunk, i);
        read_skin(&engine, header, chunk, i);
    }
    end_payload(&engine);
}

/* 7.3.2 to 7.3.7: the values of the Gaussians ---------------------------------------------------------- */

/* 7.3.2 */
static void decode_position(const AvatarHeader *header, const Chunk *chunk, int32_t i, int32_t position[3])
{
    int level = chunk->cell_level[i];
    int dropped = (int)least(chunk->coarseness[i][0], level / 3);

    for (int c = 0; c < 3; c++) {
        int32_t corner = chunk->cell[i][c] - (((int32_t)1 << (level + c) / 3) >> 1);
        int64_t middle = ((int64_t)1 << dropped) >> 1;
        int64_t quantised = chunk->origin[c] + corner + shift_left(chunk->position_low[i][c], dropped) + middle;
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
static void decode_factor(const AvatarHeader *header, const Chunk *chunk, int32_t i, int32_t factor[9])
{
    int64_t blur = widened_scale(0, 1, header->scale_blur);
    int64_t scale[3], vector[3];
    int32_t rotation[9];

    for (int c = 0; c < 3; c++) {
        scale[c] = decode_scale(chunk->widened[i][c], blur);
        vector[c] = limit((int64_t)chunk->rotation_value[i][c] * header->gaussian_rotation_step, ROTATION_LIMIT);
    }
    matrix_from_vector(vector[0], vector[1], vector[2], rotation);
    for (int n = 0; n < 9; n++)
        factor[n] = (int32_t)round_shift(rotation[n] * scale[n % 3], 30);
}

/* 7.3.5 */
static int32_t decode_opacity(const AvatarHeader *header, const Chunk *chunk, int32_t i)
{
    int64_t root = clamp((int64_t)chunk->appearance_value[i][0] * header->opacity_step, 0, OPACITY_ONE);
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
static void decode_colours(const AvatarHeader *header, const Chunk *chunk, int32_t i, int16_t (*sh)[3])
{
    const int32_t *value = chunk->appearance_value[i];
    const int32_t *residual = chunk->sh_residual + (int64_t)i * chunk->sh_columns;
    int shift = chunk->coarseness[i][1];

    decode_colour(value[1], value[2], value[3], header->sh_step[0], sh[0]);
    for (int b = 1; b <= header->sh_degree; b++) {
        for (int k = b * b; k < (b + 1) * (b + 1); k++) {
            const int32_t *column = residual + 3 * (k - 1);
            decode_colour(shift_left(column[0], shift), shift_left(column[1], shift + 1),
                          shift_left(column[2], shift + 1), header->sh_step[b], sh[k]);
        }
    }
}

/* 7.3.7 */
static void decode_skin(const AvatarHeader *header, const Chunk *chunk, int32_t i, uint8_t joint[], int32_t weight[])
{
    for (int k = 0; k < chunk->influence_count[i] + 1; k++) {
        joint[k] = chunk->skin_joint[i][k];
        weight[k] = chunk->skin_weight[i][k] << (SKIN_WEIGHT_BITS - 9 - header->skin_weight_bits);
    }
}

/* 6.11.3 */
static void decode_chunk(Avatar *avatar, const Chunk *chunk)
{
    const AvatarHeader *header = &avatar->header;

    for (int32_t i = 0; i < chunk->count; i++) {
        int32_t n = chunk->index * header->chunk_size + i;
        decode_position(header, chunk, i, avatar->position[n]);
        decode_factor(header, chunk, i, avatar->factor[n]);
        avatar->opacity[n] = decode_opacity(header, chunk, i);
        decode_colours(header, chunk, i, avatar->sh + (int64_t)n * avatar->sh_coefficients);
        decode_skin(header, chunk, i, avatar->joint[n], avatar->weight[n]);
    }
    avatar->chunk_received[chunk->index] = true;
    if (--avatar->chunks_missing == 0) {
        avatar->surface_neighbour = zeros((size_t)header->gaussian_count, sizeof *avatar->surface_neighbour);
        find_neighbours(avatar->position, header->gaussian_count, SURFACE_WINDOW, avatar->surface_neighbour);
    }
}

/* 5.6.1 */
bool read_canonical_unit(Bits *bits, Avatar *avatar)
{
    const AvatarHeader *header = &avatar->header;
    Chunk chunk;

    bits->clause = "5.6";
    chunk.index = (int32_t)read_leb128(bits, in_range("chunk_index", 0, chunk_count(header) - 1));
    if (failed(bits) || avatar->chunk_received[chunk.index])
        return false;
    chunk.count = (int32_t)least(header->chunk_size, header->gaussian_count - chunk.index * header->chunk_size);
    for (int c = 0; c < 3; c++)
        chunk.origin[c] = (int32_t)read_signed(bits, 24, in_range("chunk_origin", -8388608, 8388607));
    chunk.position_bits = (int)read_unsigned(bits, 8, in_range("position_bits", 0, 21));
    if (failed(bits))
        return false;

    chunk.sh_columns = 3 * (avatar->sh_coefficients - 1);
    allocate_chunk(&chunk);
    read_gaussians(bits, header, &chunk);
    if (!failed(bits))
        decode_chunk(avatar, &chunk);
    free_chunk(&chunk);
    return true;
}
