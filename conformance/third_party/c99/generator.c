/* SPDX-License-Identifier: BSD-3-Clause */
#include "generator.h"

#include "engine.h"
#include "integers.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

enum { ACCUMULATOR_LIMIT = 1 << 24, ACTIVATION_SPAN = 255, BIAS_LIMIT = 16777215, WEIGHT_LIMIT = 63 };
enum { WEIGHT_CLASSES = 16, BALANCE_CLASSES = 8, WEIGHT_MEAN_START = 128 };
enum { WEIGHT_COLUMN_RATE = 3, WEIGHT_INPUT_RATE = 5, WEIGHT_ROW_RATE = 5 };

/* 5.11.5: the first context of each element. */
enum {
    SIDE_FLAG = 0,
    LAYER_CHANGE_FLAG = 3,
    DEPENDENT_FLAG = 4,
    SHIFT_CHANGE = 5,
    MULTIPLIER_CHANGE = 101,
    BIAS_CHANGE = 197,
    WEIGHT_LEVEL = 293,
    GENERATOR_CONTEXTS = WEIGHT_LEVEL + 2 * WEIGHT_CLASSES * WEIGHT_CONTEXTS
};

/* 7.9.2: layers --------------------------------------------------------------------------------------- */

static void add_layer(Topology *t, int inputs, int outputs, int width, int size, LayerKind kind, int stride)
{
    Layer *layer = &t->layer[t->layer_count++];
    layer->inputs = inputs;
    layer->outputs = outputs;
    layer->width = width;
    layer->size = size;
    layer->kind = kind;
    layer->stride = stride;
    layer[1].first_weight = layer->first_weight + (int64_t)inputs * outputs * width * width;
    layer[1].first_channel = layer->first_channel + outputs;
}

static int decoder_inputs(const Topology *t, int l)
{
    if (l == t->level_count - 1)
        return t->encoder_channels[l - t->input_level];
    if (l < t->input_level)
        return t->decoder_channels[l + 1];
    return t->decoder_channels[l + 1] + t->encoder_channels[l - t->input_level];
}

static void describe_layers(Topology *t)
{
    if (t->mapping_size > 0) {
        add_layer(t, t->pose_size, t->mapping_size, 1, 1, KIND_ACTIVATIONS, 1);
        add_layer(t, t->mapping_size, t->mapping_size, 1, 1, KIND_ACTIVATIONS, 1);
        for (int l = t->level_count - 1; l >= 0; l--) {
            if (t->modulated[l])
                add_layer(t, t->mapping_size, decoder_inputs(t, l), 1, 1, KIND_STYLE, 1);
        }
    }
    for (int l = t->input_level; l < t->level_count; l++) {
        int e = l - t->input_level;
        int inputs = e == 0 ? INPUT_CHANNELS : t->encoder_channels[e - 1];
        add_layer(t, inputs, t->encoder_channels[e], 3, 1 << (t->map_bits - l), KIND_ACTIVATIONS, e == 0 ? 1 : 2);
    }
    for (int l = t->level_count - 1; l >= 0; l--)
        add_layer(t, decoder_inputs(t, l), t->decoder_channels[l], 3, 1 << (t->map_bits - l), KIND_ACTIVATIONS, 1);
    add_layer(t, t->decoder_channels[0], 2 * t->head_channels, t->output_width, 1 << t->map_bits, KIND_OUTPUT, 1);
}

static int64_t count_macs(const Topology *t)
{
    int64_t total = 0;
    for (const Layer *layer = t->layer; layer < t->layer + t->layer_count; layer++)
        total += (layer[1].first_weight - layer->first_weight) * layer->size * layer->size;
    return total;
}

static int64_t count_values(const Topology *t)
{
    int64_t total = 0;
    for (const Layer *layer = t->layer; layer < t->layer + t->layer_count; layer++)
        total += (int64_t)layer->outputs * layer->size * layer->size;
    return total;
}

static int64_t fan_in_of(const Layer *layer)
{
    return (int64_t)layer->inputs * layer->width * layer->width;
}

static int64_t largest_fan_in(const Topology *t)
{
    int64_t largest = 1;
    for (const Layer *layer = t->layer; layer < t->layer + t->layer_count; layer++)
        largest = greatest(largest, fan_in_of(layer));
    return largest;
}

/* 5.11.2: topology ------------------------------------------------------------------------------------ */

static void read_heads(Bits *bits, Topology *t)
{
    for (int h = 0; h < GENERATOR_HEADS; h++) {
        t->head[h] = read_unsigned(bits, 1, in_range("head_flag", 0, 1)) == 1;
        t->head_channels += t->head[h] ? (h == HEAD_OPACITY ? 1 : 3) : 0;
    }
    check(bits, t->head_channels > 0, CONSTRAINT_VIOLATION, "generator_heads", "6.12");
    t->output_width = 1 + 2 * (int)read_unsigned(bits, 1, in_range("head_width_flag", 0, 1));
    read_unsigned(bits, 6, in_range_or(UNSUPPORTED, "generator_reserved", 0, 0));
}

static void read_channels(Bits *bits, Topology *t)
{
    bool any_modulated = false;

    for (int l = 0; l < t->level_count; l++) {
        t->modulated[l] = read_unsigned(bits, 1, in_range("modulation_flag", 0, 1)) == 1;
        any_modulated |= t->modulated[l];
        t->decoder_channels[l] = (int)read_unsigned(bits, 15, in_range("decoder_channels", 1, 1024));
    }
    for (int e = 0; e < t->level_count - t->input_level; e++)
        t->encoder_channels[e] = (int)read_unsigned(bits, 16, in_range("encoder_channels", 1, 1024));
    if (any_modulated)
        t->mapping_size = (int)read_unsigned(bits, 16, in_range("mapping_size", 1, 1024));
}

/* 5.11.2 */
static void read_topology(Bits *bits, const Limits *limits, const AvatarHeader *header, Topology *t)
{
    t->map_bits = (int)read_unsigned(bits, 4, in_range("map_bits", 2, 11));
    check(bits, 1 << t->map_bits <= limits->map_size, RESOURCE_LIMIT, "level_map_size", "A.2");
    t->level_count = (int)read_unsigned(bits, 4, in_range("level_count", 1, t->map_bits));
    t->input_level = (int)read_unsigned(bits, 4, in_range("input_level", 0, t->level_count - 1));
    read_heads(bits, t);
    read_channels(bits, t);
    for (int c = 0; c < 2; c++)
        t->map_origin[c] = (int32_t)read_signed(bits, 24, in_range("map_origin", -8388608, 8388607));
    t->map_scale = (int32_t)read_leb128(bits, in_range("map_scale", 1, 1 << 24));
    t->normalising_joint =
        (int)read_unsigned(bits, 8, in_range("normalising_joint", 0, header->joint_count - 1));
    t->posed_shift = (int)read_unsigned(bits, 8, in_range("posed_shift", 1, 24));
    t->rest_shift = (int)read_unsigned(bits, 8, in_range("rest_shift", 1, 24));
    if (failed(bits))
        return;
    t->pose_size = 3 * (header->joint_count - 1) + header->expression_count;
    describe_layers(t);
    check(bits, count_macs(t) <= limits->generator_macs, RESOURCE_LIMIT, "level_generator_macs", "A.2");
    check(bits, count_values(t) <= limits->generator_values, RESOURCE_LIMIT, "level_generator_values", "A.2");
    int64_t weights = t->layer[t->layer_count].first_weight;
    check(bits, weights <= limits->generator_weights, RESOURCE_LIMIT, "level_generator_weights", "A.2");
}

/* 5.11.3, 5.11.4: data -------------------------------------------------------------------------------- */

/* 8.3.4 */
static int32_t follow_magnitude(int32_t mean, int32_t level, int rate)
{
    return mean + (((int32_t)(least(magnitude_of(level), 255) << 6) - mean) >> rate);
}

/* What reading the weights of a layer has learned so far: means are in 1/64. */
typedef struct {
    int dependent;
    int trellis_state;
    int taps;
    int32_t *column_mean; /* of each weight of an output channel */
    int32_t *input_mean;  /* of each input channel */
    int32_t row_mean;
    int32_t kernel_sum, kernel_balance;
} WeightState;

/* 8.3.4 */
static int weight_class(const WeightState *state, int64_t k)
{
    static const int thresholds[WEIGHT_CLASSES - 1] = {
        20, 40, 70, 110, 160, 225, 300, 400, 525, 675, 850, 1075, 1400, 2000, 3500
    };
    int tap = (int)(k % state->taps);
    int32_t kernel_mean = (64 * state->kernel_sum + state->row_mean) / (tap + 1);
    int32_t expected = state->column_mean[k] + state->input_mean[k / state->taps] + state->row_mean + 2 * kernel_mean;
    int number = 0;
    while (number < WEIGHT_CLASSES - 1 && expected >= thresholds[number])
        number++;
    return number;
}

/* 8.3.4 */
static int sign_class(const WeightState *state)
{
    static const int thresholds[BALANCE_CLASSES - 1] = {1, 2, 4, 6, 9, 13, 20};
    int32_t certainty = 256 * (int32_t)magnitude_of(state->kernel_balance);
    int number = 0;
    if (certainty == 0)
        return 0;
    while (number < BALANCE_CLASSES - 1 && certainty >= thresholds[number] * state->row_mean)
        number++;
    return 2 * number + (state->kernel_balance < 0 ? 3 : 2);
}

/* 7.9.3 */
static int32_t dequantise_weight(int32_t level, int dependent, int halving)
{
    int32_t value = level * (1 << dependent);
    return level > 0 ? value - halving : level < 0 ? value + halving : 0;
}

/* 7.9.3: the state that follows, for an even and for an odd level. */
static int next_state(int state, int32_t level)
{
    static const int trellis[16] = {0, 2, 5, 7, 1, 3, 6, 4, 2, 0, 4, 6, 3, 1, 7, 5};
    return trellis[2 * state + (level & 1)];
}

/* 5.11.4: before weight k of output channel o. */
static void begin_weight(WeightState *state, int o, int64_t k)
{
    if (k % state->taps == 0) {
        state->kernel_sum = 0;
        state->kernel_balance = 0;
        if (o == 0)
            state->input_mean[k / state->taps] = state->row_mean;
    }
    if (o == 0)
        state->column_mean[k] = state->row_mean;
}

/* 5.11.4: after it. */
static void learn_level(WeightState *state, int64_t k, int32_t level)
{
    int32_t *column_mean = &state->column_mean[k], *input_mean = &state->input_mean[k / state->taps];

    state->trellis_state = next_state(state->trellis_state, level);
    *column_mean = follow_magnitude(*column_mean, level, WEIGHT_COLUMN_RATE);
    *input_mean = follow_magnitude(*input_mean, level, WEIGHT_INPUT_RATE);
    state->kernel_sum += (int32_t)magnitude_of(level);
    state->kernel_balance += level;
    state->row_mean = follow_magnitude(state->row_mean, level, WEIGHT_ROW_RATE);
}

static void read_weight(Engine *engine, WeightState *state, int64_t k, int8_t *weight)
{
    int halving = state->dependent * (state->trellis_state & 1);
    int set = WEIGHT_CLASSES * halving + weight_class(state, k);
    Range range = in_range("weight_level", -((WEIGHT_LIMIT + *weight + halving) >> state->dependent),
                           (WEIGHT_LIMIT - *weight + halving) >> state->dependent);
    int32_t level = coded_weight(engine, WEIGHT_LEVEL + WEIGHT_CONTEXTS * set, sign_class(state), range);

    *weight = (int8_t)(*weight + dequantise_weight(level, state->dependent, halving));
    learn_level(state, k, level);
}

/* The parameters of an output channel. */
static void read_channel(Engine *engine, Generator *generator, int32_t channel, int update)
{
    int32_t *bias = &generator->bias[channel];
    int16_t *multiplier = &generator->multiplier[channel];
    uint8_t *shift = &generator->shift[channel];
    int set = SIGNED_CONTEXTS * update;
    Range shift_range = in_range("shift_change", 1 - *shift, 31 - *shift);
    Range multiplier_range = in_range("multiplier_change", -*multiplier, 4095 - *multiplier);
    Range bias_range = in_range("bias_change", greatest(-BIAS_LIMIT, -BIAS_LIMIT - *bias),
                                least(BIAS_LIMIT, BIAS_LIMIT - *bias));

    *shift = (uint8_t)(*shift + coded_signed(engine, SHIFT_CHANGE + set, shift_range));
    *multiplier = (int16_t)(*multiplier + coded_signed(engine, MULTIPLIER_CHANGE + set, multiplier_range));
    *bias += coded_signed(engine, BIAS_CHANGE + set, bias_range);
}

/* 5.11.4 */
static void read_layer(Engine *engine, Generator *generator, const Layer *layer, int update, WeightState state)
{
    int64_t fan_in = fan_in_of(layer);
    int8_t *weight = generator->weight + layer->first_weight;

    state.dependent = coded_flag(engine, DEPENDENT_FLAG, "dependent_flag");
    state.taps = layer->width * layer->width;
    state.row_mean = WEIGHT_MEAN_START;
    for (int o = 0; o < layer->outputs && !failed(engine->bits); o++, weight += fan_in) {
        int64_t magnitude_sum = 0;
        read_channel(engine, generator, layer->first_channel + o, update);
        for (int64_t k = 0; k < fan_in; k++) {
            begin_weight(&state, o, k);
            read_weight(engine, &state, k, &weight[k]);
            magnitude_sum += magnitude_of(weight[k]);
        }
        bool bounded = ACTIVATION_SPAN * magnitude_sum < ACCUMULATOR_LIMIT;
        check_coded(engine, bounded, CONSTRAINT_VIOLATION, "generator_accumulator", "6.12.3");
    }
}

static void read_sides(Engine *engine, const Avatar *avatar, Generator *generator)
{
    for (int32_t i = 0; i < avatar->header.gaussian_count && !failed(engine->bits); i++) {
        const int32_t *neighbour = avatar->surface_neighbour[i];
        int set = generator->side[neighbour[0]] + generator->side[neighbour[1]];
        generator->side[i] = (uint8_t)coded_flag(engine, SIDE_FLAG + set, "side_flag");
    }
}

/* 5.11.3 */
static void read_data(Bits *bits, const Avatar *avatar, Generator *generator, int update)
{
    const Topology *t = &generator->topology;
    size_t column_count = (size_t)largest_fan_in(t);
    WeightState state = {0};
    Context contexts[GENERATOR_CONTEXTS];
    Engine engine;

    state.column_mean = zeros(column_count, sizeof *state.column_mean);
    state.input_mean = zeros(column_count, sizeof *state.input_mean); /* no layer has more input channels */
    reset_contexts(contexts, GENERATOR_CONTEXTS);
    start_engine(&engine, bits, contexts);
    if (!update)
        read_sides(&engine, avatar, generator);
    for (int n = 0; n < t->layer_count && !failed(bits); n++) {
        if (!update || coded_flag(&engine, LAYER_CHANGE_FLAG, "layer_change_flag"))
            read_layer(&engine, generator, &t->layer[n], update, state);
    }
    end_payload(&engine);
    free(state.column_mean);
    free(state.input_mean);
}

/* 7.9.4 */
static int32_t map_place(const Topology *t, int64_t coordinate, int c)
{
    int64_t place = round_shift((coordinate - t->map_origin[c]) * t->map_scale, 20);
    return (int32_t)clamp(place, 0, ((int64_t)256 << t->map_bits) - 1);
}

/* 7.9.4 */
static void find_places(const Avatar *avatar, Generator *generator)
{
    for (int32_t i = 0; i < avatar->header.gaussian_count; i++) {
        generator->map_u[i] = map_place(&generator->topology, avatar->position[i][0], 0);
        generator->map_v[i] = map_place(&generator->topology, avatar->position[i][1], 1);
    }
}

/* 5.11.1: units --------------------------------------------------------------------------------------- */

static Generator *new_generator(const Topology *t, int32_t gaussian_count)
{
    Generator *generator = zeros(1, sizeof *generator);
    size_t weights = (size_t)t->layer[t->layer_count].first_weight;
    size_t channels = (size_t)t->layer[t->layer_count].first_channel;
    size_t gaussians = (size_t)gaussian_count;

    generator->topology = *t;
    generator->weight = zeros(weights, sizeof *generator->weight);
    generator->bias = zeros(channels, sizeof *generator->bias);
    generator->multiplier = zeros(channels, sizeof *generator->multiplier);
    generator->shift = zeros(channels, sizeof *generator->shift);
    generator->side = zeros(gaussians, sizeof *generator->side);
    generator->map_u = zeros(gaussians, sizeof *generator->map_u);
    generator->map_v = zeros(gaussians, sizeof *generator->map_v);
    return generator;
}

static Generator *copy_generator(const Generator *from, int32_t gaussian_count)
{
    const Topology *t = &from->topology;
    Generator *copy = new_generator(t, gaussian_count);
    size_t channels = (size_t)t->layer[t->layer_count].first_channel;
    size_t gaussians = (size_t)gaussian_count;

    copy->id = from->id;
    memcpy(copy->weight, from->weight, (size_t)t->layer[t->layer_count].first_weight * sizeof *copy->weight);
    memcpy(copy->bias, from->bias, channels * sizeof *copy->bias);
    memcpy(copy->multiplier, from->multiplier, channels * sizeof *copy->multiplier);
    memcpy(copy->shift, from->shift, channels * sizeof *copy->shift);
    memcpy(copy->side, from->side, gaussians * sizeof *copy->side);
    memcpy(copy->map_u, from->map_u, gaussians * sizeof *copy->map_u);
    memcpy(copy->map_v, from->map_v, gaussians * sizeof *copy->map_v);
    return copy;
}

void free_generator(Generator *generator)
{
    if (generator == NULL)
        return;
    free(generator->weight);
    free(generator->bias);
    free(generator->multiplier);
    free(generator->shift);
    free(generator->side);
    free(generator->map_u);
    free(generator->map_v);
    free(generator);
}

/* 6.12.2: what an update changes is a copy, so that one with an error leaves the active generator as it is. */
static Generator *begin_update(Bits *bits, const Avatar *avatar, int id, const Generator *active)
{
    int64_t number = read_leb128(bits, in_range("update_number", 1, 65535));
    bool follows = active != NULL && id == active->id && number == active->next_update;

    check(bits, follows, CONSTRAINT_VIOLATION, "generator_order", "6.12");
    if (failed(bits))
        return NULL;
    Generator *generator = copy_generator(active, avatar->header.gaussian_count);
    generator->next_update = number + 1;
    return generator;
}

static Generator *begin_generator(Bits *bits, const Limits *limits, const Avatar *avatar, int id)
{
    Topology topology;

    memset(&topology, 0, sizeof topology);
    read_topology(bits, limits, &avatar->header, &topology);
    if (failed(bits))
        return NULL;
    Generator *generator = new_generator(&topology, avatar->header.gaussian_count);
    generator->id = id;
    generator->next_update = 1;
    find_places(avatar, generator);
    return generator;
}

/* 5.11.1 */
void read_generator_unit(Bits *bits, const Limits *limits, const Avatar *avatar, Generator **active)
{
    bits->clause = "5.11";
    int update = (int)read_unsigned(bits, 1, in_range("update_flag", 0, 1));
    int id = (int)read_unsigned(bits, 7, in_range("generator_id", 0, 127));
    Generator *generator = update ? begin_update(bits, avatar, id, *active) : begin_generator(bits, limits, avatar, id);

    if (generator == NULL)
        return;
    read_data(bits, avatar, generator, update);
    if (failed(bits)) {
        free_generator(generator);
        return;
    }
    free_generator(*active);
    *active = generator;
}
