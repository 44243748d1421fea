/* SPDX-License-Identifier: BSD-3-Clause */
#include "expression.h"

#include "engine.h"
#include "integers.h"
#include "memory.h"
#include "neighbours.h"

#include <stdlib.h>

enum { OFFSET_LIMIT = 2097152 };

/* 5.7.3 */
enum { OFFSET_FLAG = 0, OFFSET_RESIDUAL = 12, EXPRESSION_CONTEXTS = 1140 };

/* The elements and derived values of one expression, Gaussian by Gaussian. */
typedef struct {
    bool *moved;
    int32_t (*residual)[3];
    int32_t (*value)[3];
} Offsets;

/* 7.4 */
static int64_t moved_mean(const Offsets *offsets, const int32_t neighbour[2], int c)
{
    int64_t sum = (int64_t)offsets->value[neighbour[0]][c] + offsets->value[neighbour[1]][c];
    return offsets->moved[neighbour[0]] && offsets->moved[neighbour[1]] ? (sum + 1) >> 1 : sum;
}

/* 7.4 */
static int moved_context(const Offsets *offsets, const int32_t neighbour[2])
{
    int64_t largest = 0;
    for (int n = 0; n < 2; n++) {
        const int32_t *value = offsets->value[neighbour[n]];
        largest = greatest(largest, magnitude_of(value[0]) + magnitude_of(value[1]) + magnitude_of(value[2]));
    }
    int group = largest < 2 ? 0 : largest < 4 ? 1 : largest < 10 ? 2 : 3;
    return 4 * (offsets->moved[neighbour[0]] + offsets->moved[neighbour[1]]) + group;
}

/* 7.4 */
static int offset_context(const Offsets *offsets, const int32_t neighbour[2], int32_t i, int c)
{
    static const int groups[7] = {0, 1, 2, 4, 8, 16, 40};
    const int32_t *nearest = offsets->residual[neighbour[0]], *other = offsets->residual[neighbour[1]];
    int64_t around = magnitude_of(nearest[c]) + magnitude_of(other[c]);
    int group = 0;

    if (c > 0)
        around += magnitude_of(offsets->residual[i][c - 1]);
    while (group < 7 && around > groups[group])
        group++;
    return 8 * c + group;
}

static void read_offset(Engine *engine, const Offsets *offsets, const int32_t neighbour[2], int32_t i)
{
    const Range range = in_range("offset_residual", -131071, 131071);

    offsets->moved[i] = coded_flag(engine, OFFSET_FLAG + moved_context(offsets, neighbour), "offset_flag");
    for (int c = 0; c < 3 && offsets->moved[i]; c++) {
        int64_t predicted = moved_mean(offsets, neighbour, c);
        int set = RESIDUAL_CONTEXTS * offset_context(offsets, neighbour, i, c);
        offsets->residual[i][c] = coded_residual(engine, OFFSET_RESIDUAL + set, range);
        offsets->value[i][c] = (int32_t)wrap(predicted + offsets->residual[i][c], 18);
    }
}

/* 5.7.2 */
static void read_offsets(Bits *bits, const Avatar *avatar, const Offsets *offsets)
{
    Context contexts[EXPRESSION_CONTEXTS];
    Engine engine;

    reset_contexts(contexts, EXPRESSION_CONTEXTS);
    start_engine(&engine, bits, contexts);
    for (int32_t i = 0; i < avatar->header.gaussian_count && !failed(bits); i++)
        read_offset(&engine, offsets, avatar->surface_neighbour[i], i);
    end_payload(&engine);
}

/* 7.4: decode_expression, in place */
static void scale_offsets(const AvatarHeader *header, int32_t (*value)[3])
{
    for (int32_t i = 0; i < header->gaussian_count; i++)
        for (int c = 0; c < 3; c++)
            value[i][c] = (int32_t)limit((int64_t)value[i][c] * header->expression_offset_step, OFFSET_LIMIT);
}

/* 5.7.1 */
void read_expression_unit(Bits *bits, Avatar *avatar)
{
    size_t count = (size_t)avatar->header.gaussian_count;
    Offsets offsets;

    bits->clause = "5.7";
    int64_t index = read_unsigned(bits, 8, in_range("expression_index", 0, avatar->header.expression_count - 1));
    if (failed(bits) || avatar->offsets[index] != NULL)
        return;

    offsets.moved = zeros(count, sizeof *offsets.moved);
    offsets.residual = zeros(count, sizeof *offsets.residual);
    offsets.value = zeros(count, sizeof *offsets.value);
    read_offsets(bits, avatar, &offsets);
    if (!failed(bits)) {
        scale_offsets(&avatar->header, offsets.value);
        avatar->offsets[index] = offsets.value;
    } else {
        free(offsets.value);
    }
    free(offsets.moved);
    free(offsets.residual);
}
