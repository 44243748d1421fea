/* SPDX-License-Identifier: BSD-3-Clause */
#include "network.h"

#include "integers.h"
#include "memory.h"

#include <stdlib.h>

enum { NEUTRAL_STYLE = 64 };

/* Values of all channels of the maps of one size; (c * size + y) * size + x is the entry of a texel (7.9.1). */
typedef struct {
    int channels;
    int16_t *value;
} Maps;

static int64_t texels_of(int size)
{
    return (int64_t)size * size;
}

static Maps new_maps(int channels, int size)
{
    return (Maps){channels, zeros((size_t)(channels * texels_of(size)), sizeof(int16_t))};
}

/* 7.9.5: inputs --------------------------------------------------------------------------------------- */

static int16_t limit_input(int64_t value)
{
    return (int16_t)clamp(value, -128, 127);
}

/* What the features of Gaussians are computed from. */
typedef struct {
    const Generator *generator;
    const Avatar *avatar;
    const Joints *joints;
    const Gaussians *posed;
} Features;

static int16_t input_feature(const Features *from, int32_t i, int c)
{
    const Topology *t = &from->generator->topology;
    int j = t->normalising_joint;
    int64_t still = (int64_t)from->avatar->position[i][c % 3] - from->joints->rest[j][c % 3];

    if (c >= 3)
        return limit_input(round_shift(still, t->rest_shift));
    int64_t turned = 0;
    for (int r = 0; r < 3; r++)
        turned += from->joints->matrices[j][3 * r + c] * ((int64_t)from->posed->mean[i][r] - from->joints->place[j][r]);
    return limit_input(round_shift(round_shift(turned, 30) - still, t->posed_shift));
}

/* One channel of the input maps of a side: the means over the Gaussians that lie in each texel. */
static void fill_channel(const Features *from, int side, int c, int32_t *sum, int32_t *members, int16_t *channel)
{
    const Generator *generator = from->generator;
    int texel_bits = generator->topology.map_bits - generator->topology.input_level;
    int shift = 8 + generator->topology.input_level;
    int64_t texels = (int64_t)1 << 2 * texel_bits;

    for (int64_t p = 0; p < texels; p++)
        sum[p] = members[p] = 0;
    for (int32_t i = 0; i < from->avatar->header.gaussian_count; i++) {
        if (generator->side[i] != side)
            continue;
        int32_t texel = (generator->map_v[i] >> shift << texel_bits) + (generator->map_u[i] >> shift);
        members[texel]++;
        sum[texel] += input_feature(from, i, c);
    }
    for (int64_t p = 0; p < texels; p++) {
        int64_t count = greatest(members[p], 1);
        channel[p] = (int16_t)floor_divide(2 * (int64_t)sum[p] + count, 2 * count);
    }
}

static Maps fill_inputs(const Features *from)
{
    const Topology *t = &from->generator->topology;
    int size = 1 << (t->map_bits - t->input_level);
    size_t texels = (size_t)texels_of(size);
    Maps inputs = new_maps(INPUT_CHANNELS, size);
    int32_t *sum = zeros(texels, sizeof *sum), *members = zeros(texels, sizeof *members);

    for (int c = 0; c < INPUT_CHANNELS; c++)
        fill_channel(from, c / 6, c % 6, sum, members, inputs.value + (size_t)c * texels);
    free(sum);
    free(members);
    return inputs;
}

static Maps fill_pose_vector(const Topology *t, const AvatarHeader *header, const int32_t *pose)
{
    int turns = 3 * (header->joint_count - 1);
    Maps vector = new_maps(t->pose_size, 1);

    for (int p = 0; p < turns; p++)
        vector.value[p] = limit_input(round_shift(pose[6 + p], 22));
    for (int j = t->normalising_joint; j > 0; j = header->joint_parent[j]) {
        for (int c = 0; c < 3; c++)
            vector.value[3 * (j - 1) + c] = 0;
    }
    for (int e = 0; e < header->expression_count; e++)
        vector.value[turns + e] = limit_input(round_shift(pose[3 + 3 * header->joint_count + e], 8));
    return vector;
}

/* 7.9.6: linear layers -------------------------------------------------------------------------------- */

/* Where a layer takes its inputs from: the channels of lower, then those of encoded. A decoding layer takes
 * lower at twice its width and height, and multiplies all of them by a style. */
typedef struct {
    Maps lower, encoded;
    const int16_t *style; /* NULL if this is no decoding layer */
} Source;

/* 7.9.7 */
static int16_t modulate(int64_t value, int64_t style)
{
    return (int16_t)clamp(round_shift(value * style, 6), -64, 191);
}

/* 7.9.8: channel c of a decoding layer. */
static void decoder_plane(const Source *source, int c, int size, int16_t *plane)
{
    int64_t encoded = (c - source->lower.channels) * texels_of(size), lower = c * texels_of(size >> 1);

    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) {
            int64_t p = (int64_t)y * size + x, half = (int64_t)(y >> 1) * (size >> 1) + (x >> 1);
            bool is_lower = c < source->lower.channels;
            int16_t value = is_lower ? source->lower.value[lower + half] : source->encoded.value[encoded + p];
            plane[p] = modulate(value, source->style[c]);
        }
    }
}

/* The channel c of a source, either where it is or in plane. */
static const int16_t *source_plane(const Source *source, int c, int size, int16_t *plane)
{
    if (source->style == NULL)
        return source->lower.value + c * texels_of(size);
    decoder_plane(source, c, size, plane);
    return plane;
}

/* Adds weight times the plane, moved by down and right texels, to the sums of an output channel. */
static void add_product(const Layer *layer, int32_t weight, const int16_t *plane, int down, int right, int32_t *sum)
{
    int extent = layer->size * layer->stride;
    int first = right < 0 ? 1 : 0;
    int end = right > 0 && layer->stride == 1 ? layer->size - 1 : layer->size;

    for (int y = 0; y < layer->size; y++) {
        int row = layer->stride * y + down;
        if (row < 0 || row >= extent)
            continue;
        const int16_t *texel = plane + (int64_t)row * extent;
        int32_t *out = sum + (int64_t)y * layer->size;
        for (int x = first; x < end; x++)
            out[x] += weight * texel[layer->stride * x + right];
    }
}

/* Adds what channel c contributes to the sums of all output channels. */
static void add_channel(const Generator *generator, const Layer *layer, int c, const int16_t *plane, int32_t *sums)
{
    int taps = layer->width * layer->width;

    for (int o = 0; o < layer->outputs; o++) {
        const int8_t *weight = generator->weight + layer->first_weight + ((int64_t)o * layer->inputs + c) * taps;
        int32_t *sum = sums + o * texels_of(layer->size);
        for (int k = 0; k < taps; k++) {
            if (weight[k] != 0)
                add_product(layer, weight[k], plane, k / layer->width - layer->width / 2,
                            k % layer->width - layer->width / 2, sum);
        }
    }
}

/* 7.9.6 */
static int16_t layer_output(const Generator *generator, int32_t total, int32_t channel, LayerKind kind)
{
    int64_t sum = (int64_t)total + generator->bias[channel];
    int64_t value = round_shift(sum * generator->multiplier[channel], generator->shift[channel]);

    switch (kind) {
    case KIND_OUTPUT:
        return (int16_t)clamp(value, -32768, 32767);
    case KIND_STYLE:
        return (int16_t)clamp(value, 0, 255);
    default:
        return (int16_t)(value < 0 ? greatest(value >> 2, -64) : least(value, 191));
    }
}

/* 7.9.6. By generator_accumulator sums in 32 bits are exact in any order. */
static Maps apply_layer(const Generator *generator, const Layer *layer, const Source *source)
{
    int extent = layer->size * layer->stride;
    int64_t texels = texels_of(layer->size);
    int32_t *sums = zeros((size_t)(layer->outputs * texels), sizeof *sums);
    int16_t *plane = zeros((size_t)texels_of(extent), sizeof *plane);
    Maps result = new_maps(layer->outputs, layer->size);

    for (int c = 0; c < layer->inputs; c++)
        add_channel(generator, layer, c, source_plane(source, c, extent, plane), sums);
    for (int o = 0; o < layer->outputs; o++) {
        for (int64_t p = o * texels; p < (o + 1) * texels; p++)
            result.value[p] = layer_output(generator, sums[p], layer->first_channel + o, layer->kind);
    }
    free(sums);
    free(plane);
    return result;
}

static Maps apply_plain(const Generator *generator, int n, Maps input)
{
    Source source = {input, {0, NULL}, NULL};
    return apply_layer(generator, &generator->topology.layer[n], &source);
}

/* 7.9.7: styles --------------------------------------------------------------------------------------- */

/* The pose vector after the two layers that map it; nothing without modulated layers. */
static Maps map_pose(const Generator *generator, Maps pose_vector)
{
    if (generator->topology.mapping_size == 0)
        return (Maps){0, NULL};
    Maps hidden = apply_plain(generator, 0, pose_vector);
    Maps mapped = apply_plain(generator, 1, hidden);
    free(hidden.value);
    return mapped;
}

/* The style of the decoding layer n of level l; style_layer goes on if it is made by a layer. */
static Maps find_style(const Generator *generator, Maps mapped, int n, int l, int *style_layer)
{
    if (generator->topology.modulated[l])
        return apply_plain(generator, (*style_layer)++, mapped);
    Maps style = new_maps(generator->topology.layer[n].inputs, 1);
    for (int c = 0; c < style.channels; c++)
        style.value[c] = NEUTRAL_STYLE;
    return style;
}

/* 7.9.8: maps ----------------------------------------------------------------------------------------- */

/* The outputs of the encoding layers, from input_level on; entry l is that of level l. */
static void encode(const Generator *generator, Maps inputs, int encoder_layer, Maps encoded[GENERATOR_LEVELS])
{
    const Topology *t = &generator->topology;
    for (int l = t->input_level; l < t->level_count; l++) {
        encoded[l] = apply_plain(generator, encoder_layer + l - t->input_level, inputs);
        inputs = encoded[l];
    }
}

/* The output of the decoding layer of level 0. */
static Maps decode(const Generator *generator, Maps mapped, int decoder_layer, const Maps encoded[GENERATOR_LEVELS])
{
    const Topology *t = &generator->topology;
    Maps lower = {0, NULL};
    int style_layer = 2;

    for (int back = 0; back < t->level_count; back++) {
        int l = t->level_count - 1 - back, n = decoder_layer + back;
        Maps style = find_style(generator, mapped, n, l, &style_layer);
        Source source = {lower, encoded[l], style.value};
        Maps result = apply_layer(generator, &t->layer[n], &source);
        free(lower.value);
        free(style.value);
        lower = result;
    }
    return lower;
}

int64_t map_values(const Generator *generator)
{
    const Topology *t = &generator->topology;
    return 2 * t->head_channels * texels_of(1 << t->map_bits);
}

int16_t *generate_maps(const Generator *generator, const Avatar *avatar, const int32_t *pose, const Joints *joints,
                       const Gaussians *posed)
{
    const Topology *t = &generator->topology;
    const Features features = {generator, avatar, joints, posed};
    int decoder_layer = t->layer_count - 1 - t->level_count;
    int encoder_layer = decoder_layer - (t->level_count - t->input_level);
    Maps encoded[GENERATOR_LEVELS] = {{0, NULL}};

    Maps inputs = fill_inputs(&features);
    encode(generator, inputs, encoder_layer, encoded);
    Maps pose_vector = fill_pose_vector(t, &avatar->header, pose);
    Maps mapped = map_pose(generator, pose_vector);
    Maps decoded = decode(generator, mapped, decoder_layer, encoded);
    Maps maps = apply_plain(generator, t->layer_count - 1, decoded);

    free(inputs.value);
    free(pose_vector.value);
    free(mapped.value);
    free(decoded.value);
    for (int l = 0; l < GENERATOR_LEVELS; l++)
        free(encoded[l].value);
    return maps.value;
}

/* 7.9.9: offsets of a Gaussian ------------------------------------------------------------------------ */

Moved *new_moved(int32_t count)
{
    Moved *moved = zeros(1, sizeof *moved);
    moved->displacement = zeros((size_t)count, sizeof *moved->displacement);
    moved->factor = zeros((size_t)count, sizeof *moved->factor);
    moved->opacity = zeros((size_t)count, sizeof *moved->opacity);
    moved->colour = zeros((size_t)count, sizeof *moved->colour);
    return moved;
}

void free_moved(Moved *moved)
{
    if (moved == NULL)
        return;
    free(moved->displacement);
    free(moved->factor);
    free(moved->opacity);
    free(moved->colour);
    free(moved);
}

/* The place of a Gaussian between the centres of four texels of a map. */
typedef struct {
    const int16_t *maps; /* from the first channel of its side on */
    int size;
    int64_t left, right, low, high; /* columns and rows of the four texels */
    int64_t a, b;                   /* how far it is from the left and from the low ones, in 1/256 */
} Place;

static Place find_place(const Generator *generator, const int16_t *maps, int32_t i)
{
    const Topology *t = &generator->topology;
    int size = 1 << t->map_bits;
    int64_t across = clamp(generator->map_u[i] - 128, 0, (int64_t)(size - 1) << 8);
    int64_t up = clamp(generator->map_v[i] - 128, 0, (int64_t)(size - 1) << 8);
    int64_t left = across >> 8, low = up >> 8;

    return (Place){
        maps + generator->side[i] * t->head_channels * texels_of(size), size,
        left, least(left + 1, size - 1), low, least(low + 1, size - 1), across & 255, up & 255
    };
}

static int64_t sample_map(const Place *place, int channel)
{
    const int16_t *map = place->maps + channel * texels_of(place->size);
    const int16_t *low = map + place->low * place->size, *high = map + place->high * place->size;
    int64_t below = (256 - place->a) * low[place->left] + place->a * low[place->right];
    int64_t above = (256 - place->a) * high[place->left] + place->a * high[place->right];
    return (256 - place->b) * below + place->b * above;
}

static void scale_factor(const Place *place, int channel, int32_t factor[9])
{
    for (int c = 0; c < 3; c++) {
        int64_t exponent = round_shift(sample_map(place, channel + c), 12);
        int64_t growth = exp2_q24(clamp(exponent, LOG_SCALE_MIN, LOG_SCALE_MAX));
        for (int r = 0; r < 3; r++)
            factor[3 * r + c] = (int32_t)round_shift(factor[3 * r + c] * growth, 24);
    }
}

static void rotate_factor(const Place *place, int channel, int32_t factor[9])
{
    int64_t vector[3];
    int32_t rotation[9];

    for (int c = 0; c < 3; c++)
        vector[c] = limit(sample_map(place, channel + c), ROTATION_LIMIT);
    matrix_from_vector(vector[0], vector[1], vector[2], rotation);
    for (int c = 0; c < 3; c++) {
        int64_t a = factor[c], b = factor[3 + c], d = factor[6 + c];
        for (int r = 0; r < 3; r++)
            factor[3 * r + c] = (int32_t)rotate_row(&rotation[3 * r], a, b, d);
    }
}

/* offset_gaussian, for values that have been copied from the avatar. */
static void offset_gaussian(const Topology *t, const Place *place, int32_t displacement[3], int32_t factor[9],
                            int32_t *opacity, int32_t colour[3])
{
    int channel = 0;

    if (t->head[HEAD_POSITION]) {
        for (int c = 0; c < 3; c++) {
            int64_t offset = round_shift(sample_map(place, channel++), 13);
            displacement[c] = (int32_t)limit(displacement[c] + offset, DISPLACEMENT_LIMIT);
        }
    }
    if (t->head[HEAD_COLOUR]) {
        for (int c = 0; c < 3; c++) {
            int64_t offset = round_shift(sample_map(place, channel++), 16);
            colour[c] = (int32_t)limit(colour[c] + offset, SH_LIMIT);
        }
    }
    if (t->head[HEAD_OPACITY])
        *opacity = (int32_t)clamp(*opacity + round_shift(sample_map(place, channel++), 16), 0, OPACITY_ONE);
    if (t->head[HEAD_SCALE]) {
        scale_factor(place, channel, factor);
        channel += 3;
    }
    if (t->head[HEAD_ROTATION])
        rotate_factor(place, channel, factor);
}

void offset_gaussians(const Generator *generator, const Avatar *avatar, const int16_t *maps,
                      int32_t (*displacement)[3], Moved *moved)
{
    for (int32_t i = 0; i < avatar->header.gaussian_count; i++) {
        Place place = find_place(generator, maps, i);
        for (int c = 0; c < 3; c++) {
            moved->displacement[i][c] = displacement[i][c];
            moved->colour[i][c] = avatar->sh[(int64_t)i * avatar->sh_coefficients][c];
        }
        for (int n = 0; n < 9; n++)
            moved->factor[i][n] = avatar->factor[i][n];
        moved->opacity[i] = avatar->opacity[i];
        offset_gaussian(&generator->topology, &place, moved->displacement[i], moved->factor[i], &moved->opacity[i],
                        moved->colour[i]);
    }
}
