/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine.h"

enum {
    ENGINE_MIN_RANGE = 1 << 24,
    ENGINE_MAX_OVERRUN = 4,
    PROBABILITY_BITS = 15,
    ESTIMATE_ONE = 1 << 16,
    CONTEXT_INITIAL = 1 << 15,
    CONTEXT_FAST_RATE = 4,
    CONTEXT_SLOW_RATE = 7,
    MAGNITUDE_CLASSES = 24,
    RAW_BITS = 16,
    WEIGHT_UNARY = 18,
    WEIGHT_SIGNS = 8,
    WEIGHT_FAST_RATE = 5,
    WEIGHT_SLOW_RATE = 8
};

/* 8.2 Engine ------------------------------------------------------------------------------------------ */

/* 8.2.1 */
static uint32_t next_byte(Engine *engine)
{
    int64_t position = engine->position++;
    return position < engine->end ? engine->bits->data[position] : 0;
}

/* 8.2.1 */
void start_engine(Engine *engine, Bits *bits, Context *contexts)
{
    *engine = (Engine){bits, bits->position / 8, bits->end / 8, 0, UINT32_MAX, contexts};
    for (int count = 0; count < 4; count++)
        engine->code = engine->code << 8 | next_byte(engine);
    if (engine->code == UINT32_MAX)
        engine->code--;
}

/* 8.2.2 */
static void renormalise(Engine *engine)
{
    while (engine->range < ENGINE_MIN_RANGE) {
        engine->range <<= 8;
        engine->code = engine->code << 8 | next_byte(engine);
    }
}

static int decode_part(Engine *engine, uint32_t bound)
{
    int bin = engine->code >= bound;
    if (bin) {
        engine->code -= bound;
        engine->range -= bound;
    } else {
        engine->range = bound;
    }
    renormalise(engine);
    return bin;
}

/* 8.2.3 */
static int decode_share(Engine *engine, uint32_t share)
{
    return decode_part(engine, (engine->range >> PROBABILITY_BITS) * share);
}

/* 8.2.4 */
static int decode_bypass(Engine *engine)
{
    return decode_part(engine, engine->range >> 1);
}

/* 8.2.4 */
static int32_t decode_bypass_bits(Engine *engine, int count)
{
    uint32_t part = engine->range >> count;
    uint32_t last = (1u << count) - 1;
    uint32_t value = engine->code / part;

    if (value > last)
        value = last;
    engine->code -= value * part;
    engine->range = value == last ? engine->range - value * part : part;
    renormalise(engine);
    return (int32_t)value;
}

/* 8.2.5 */
void end_payload(Engine *engine)
{
    int64_t overrun = engine->position - engine->end;
    check_coded(engine, overrun >= 0 && overrun <= ENGINE_MAX_OVERRUN, MALFORMED, "coded_payload_length", "8.2.5");
}

void check_coded(Engine *engine, bool holds, ErrorClass otherwise, const char *constraint, const char *clause)
{
    if (!holds)
        fail(engine->bits, otherwise, constraint, clause, 8 * engine->position);
}

/* 8.3 Contexts ---------------------------------------------------------------------------------------- */

/* 8.3.1 */
void reset_contexts(Context *contexts, int count)
{
    for (int n = 0; n < count; n++)
        contexts[n] = (Context){CONTEXT_INITIAL, CONTEXT_INITIAL};
}

/* 8.3.1 */
void start_sets(Context *contexts, int per_set, int sets, const uint8_t *start, int width)
{
    for (int set = 0; set < sets; set++) {
        for (int k = 0; k < width; k++) {
            uint16_t estimate = (uint16_t)(start[set * width + k] << 8);
            contexts[set * per_set + k] = (Context){estimate, estimate};
        }
    }
}

/* 8.3.2 */
static void adapt_context(Context *context, int bin, int fast_rate, int slow_rate)
{
    int fast = context->fast, slow = context->slow;

    if (bin == 0) {
        fast += (ESTIMATE_ONE - fast) >> fast_rate;
        slow += (ESTIMATE_ONE - slow) >> slow_rate;
    } else {
        fast -= fast >> fast_rate;
        slow -= slow >> slow_rate;
    }
    *context = (Context){(uint16_t)fast, (uint16_t)slow};
}

/* 8.2.3 */
static int decode_adaptive(Engine *engine, int context, int fast_rate, int slow_rate)
{
    Context *c = &engine->contexts[context];
    int bin = decode_share(engine, ((uint32_t)c->fast + c->slow) >> 2);
    adapt_context(c, bin, fast_rate, slow_rate);
    return bin;
}

/* 8.2.3 */
static int decode_bin(Engine *engine, int context)
{
    return decode_adaptive(engine, context, CONTEXT_FAST_RATE, CONTEXT_SLOW_RATE);
}

/* 8.2.3 */
static int decode_weight_bin(Engine *engine, int context)
{
    return decode_adaptive(engine, context, WEIGHT_FAST_RATE, WEIGHT_SLOW_RATE);
}

/* 8.4 Binarisations ----------------------------------------------------------------------------------- */

/* 8.4.2 */
static int32_t decode_tree(Engine *engine, int context, int size)
{
    int32_t node = 1;
    for (int level = 0; level < size; level++)
        node = 2 * node + decode_bin(engine, context + node - 1);
    return node - (1 << size);
}

/* 8.4.3 */
static int32_t decode_raw(Engine *engine, int size)
{
    int32_t value = 0;
    while (size > 0) {
        int count = size < RAW_BITS ? size : RAW_BITS;
        value = (value << count) + decode_bypass_bits(engine, count);
        size -= count;
    }
    return value;
}

/* 8.4.4 */
static int32_t decode_magnitude(Engine *engine, int context)
{
    int significant = 0;
    while (significant < MAGNITUDE_CLASSES && decode_bin(engine, context + significant))
        significant++;
    if (significant < 2)
        return significant;

    int32_t value = 2 + decode_bin(engine, context + MAGNITUDE_CLASSES + significant - 2);
    for (int level = 0; level < significant - 2; level++)
        value = 2 * value + decode_bypass(engine);
    return value;
}

/* 8.4.5 */
static int32_t decode_signed(Engine *engine, int context)
{
    int32_t magnitude = decode_magnitude(engine, context + 1);
    return magnitude > 0 && decode_bin(engine, context) ? -magnitude : magnitude;
}

/* 8.4.6 */
static int32_t decode_residual(Engine *engine, int context)
{
    int32_t significant = decode_tree(engine, context, 3);
    if (significant == 7) {
        while (significant < MAGNITUDE_CLASSES && decode_bin(engine, context + significant))
            significant++;
    }
    if (significant == 0)
        return 0;

    int32_t magnitude = 1;
    if (significant > 1) {
        magnitude = 2 + decode_bin(engine, context + significant + 22);
        magnitude = (magnitude << (significant - 2)) + decode_raw(engine, significant - 2);
    }
    return decode_bypass(engine) ? -magnitude : magnitude;
}

/* 8.4.7 */
static int32_t decode_split(Engine *engine, int context, int32_t size)
{
    int32_t low = 1, count = size - 1;
    int node = 1;

    while (count > 1) {
        int32_t half = count / 2;
        int bin;
        if (node < 8) {
            bin = decode_bin(engine, context + node - 1);
            node = 2 * node + bin;
        } else {
            bin = decode_share(engine, (uint32_t)(((int64_t)half << PROBABILITY_BITS) / count));
        }
        low += bin ? half : 0;
        count = bin ? count - half : half;
    }
    return low;
}

/* 8.4.8 */
static int decode_weight_sign(Engine *engine, int context, int expected_sign)
{
    if (expected_sign == 0)
        return decode_bypass(engine);
    return (expected_sign & 1) ^ decode_weight_bin(engine, context + WEIGHT_UNARY + (expected_sign >> 1) - 1);
}

/* 8.4.8. The contexts of the escape adapt as fast as those of any other magnitude. */
static int32_t decode_weight(Engine *engine, int context, int expected_sign)
{
    int32_t magnitude = 0;
    while (magnitude < WEIGHT_UNARY && decode_weight_bin(engine, context + magnitude))
        magnitude++;
    if (magnitude == 0)
        return 0;
    if (magnitude == WEIGHT_UNARY)
        magnitude += decode_magnitude(engine, context + WEIGHT_UNARY + WEIGHT_SIGNS);
    return decode_weight_sign(engine, context, expected_sign) ? -magnitude : magnitude;
}

/* 5.2.6 Elements -------------------------------------------------------------------------------------- */

/* What a payload that is too short makes of an element is found before its range is looked at. */
static int32_t accept(Engine *engine, int64_t before, int32_t value, const Range *range)
{
    if (engine->position > engine->end + ENGINE_MAX_OVERRUN)
        fail(engine->bits, MALFORMED, "coded_payload_length", "8.2.5", 8 * before);
    else if (value < range->low || value > range->high)
        fail_range(engine->bits, range, 8 * before);
    else
        return value;
    return (int32_t)range->low;
}

int coded_flag(Engine *engine, int context, const char *element)
{
    Range range = in_range(element, 0, 1);
    int64_t before = engine->position;
    return failed(engine->bits) ? 0 : accept(engine, before, decode_bin(engine, context), &range);
}

int32_t coded_tree(Engine *engine, int context, int size, Range range)
{
    int64_t before = engine->position;
    if (failed(engine->bits))
        return (int32_t)range.low;
    return accept(engine, before, decode_tree(engine, context, size), &range);
}

int32_t coded_raw(Engine *engine, int size, Range range)
{
    int64_t before = engine->position;
    if (failed(engine->bits))
        return (int32_t)range.low;
    return accept(engine, before, decode_raw(engine, size), &range);
}

int32_t coded_magnitude(Engine *engine, int context, Range range)
{
    int64_t before = engine->position;
    if (failed(engine->bits))
        return (int32_t)range.low;
    return accept(engine, before, decode_magnitude(engine, context), &range);
}

int32_t coded_signed(Engine *engine, int context, Range range)
{
    int64_t before = engine->position;
    if (failed(engine->bits))
        return (int32_t)range.low;
    return accept(engine, before, decode_signed(engine, context), &range);
}

int32_t coded_residual(Engine *engine, int context, Range range)
{
    int64_t before = engine->position;
    if (failed(engine->bits))
        return (int32_t)range.low;
    return accept(engine, before, decode_residual(engine, context), &range);
}

int32_t coded_split(Engine *engine, int context, int32_t size, const char *element)
{
    Range range = in_range(element, 1, size - 1);
    int64_t before = engine->position;
    if (failed(engine->bits))
        return 1;
    return accept(engine, before, decode_split(engine, context, size), &range);
}

int32_t coded_weight(Engine *engine, int context, int expected_sign, Range range)
{
    int64_t before = engine->position;
    if (failed(engine->bits))
        return (int32_t)range.low;
    return accept(engine, before, decode_weight(engine, context, expected_sign), &range);
}
