/* SPDX-License-Identifier: BSD-3-Clause */
#include "motion.h"

#include "integers.h"
#include "memory.h"

#include <string.h>

enum {
    STEP_SHIFT_BITS = 3,
    EXPRESSION_WEIGHT_LIMIT = 65536,
    CHANGE_LIMIT = 1023,
    RIDGE = 2048,
    PREDICTION_LIMIT = 1024
};

/* 5.8.3 */
enum { STEP_SHIFT = 0, RESIDUAL_MAGNITUDE = 12, RESIDUAL_SIGN = 717, MAGNITUDE_SETS = 15, MAGNITUDE_WIDTH = 6 };

Motion *new_motion(void)
{
    Motion *motion = zeros(1, sizeof *motion);
    motion->next_frame = -1;
    return motion;
}

/* 7.5.2: order of frames ------------------------------------------------------------------------------ */

static int group_start(const MotionUnit *unit, int f)
{
    return unit->key + ((f - unit->key) >> unit->group_shift << unit->group_shift);
}

static int group_size(const MotionUnit *unit, int start)
{
    return (int)least(1 << unit->group_shift, unit->frame_count + 1 - start);
}

static int coded_frame(const MotionUnit *unit, int i)
{
    if (i < unit->key)
        return 0;
    int start = group_start(unit, i);
    int size = group_size(unit, start);
    int place = size;
    int span = 1 << unit->group_shift;
    for (int count = 0; count < i - start; count++) {
        place += 2 * span;
        while (place >= size) {
            span >>= 1;
            place = span;
        }
    }
    return start + place - 1;
}

static int frame_span(const MotionUnit *unit, int f)
{
    if (f < unit->key)
        return 0;
    int start = group_start(unit, f);
    int place = f - start + 1;
    return place == group_size(unit, start) ? place : place & -place;
}

static int later_span(const MotionUnit *unit, int f)
{
    if (f < unit->key)
        return 0;
    int start = group_start(unit, f);
    int rest = group_size(unit, start) - (f - start + 1);
    return (int)least(frame_span(unit, f), rest);
}

static int frame_bank(const MotionUnit *unit, int f)
{
    return later_span(unit, f) == 0 ? 0 : frame_span(unit, f) / 2 + 1;
}

/* 5.8.2: residuals ------------------------------------------------------------------------------------ */

/* 8.3.3 */
static int32_t running_mean(int32_t mean, int32_t magnitude, int step_shift)
{
    int32_t observed = (int32_t)least(magnitude, 255) << 8 >> step_shift;
    return mean + (((observed - mean) * 51) >> 8);
}

/* 8.3.3 */
static int residual_class(int32_t mean)
{
    static const int thresholds[13] = {1, 13, 26, 46, 77, 115, 179, 256, 384, 640, 1024, 2048, 5120};
    int number = 0;
    while (number < 13 && mean >= thresholds[number])
        number++;
    return number;
}

/* 5.2.6, 8.3.3: what a key unit begins with. */
static void reset_motion(Motion *motion)
{
    static const uint8_t start[MAGNITUDE_SETS * MAGNITUDE_WIDTH] = {
        161, 13, 18, 22, 38, 61, 254, 215, 102, 146, 128, 171, 254, 221, 184, 90, 119, 102, 251, 204, 176, 117, 110,
        110, 212, 212, 214, 195, 110, 171, 188, 198, 228, 214, 85, 128, 178, 195, 224, 244, 154, 128, 153, 183, 216,
        217, 233, 154, 130, 156, 204, 213, 201, 196, 94, 100, 149, 137, 115, 133, 67, 76, 155, 196, 205, 203, 53, 41,
        112, 167, 192, 215, 32, 26, 67, 121, 171, 201, 17, 14, 36, 66, 119, 174, 8, 5, 14, 24, 52, 95
    };
    reset_contexts(motion->contexts, MOTION_CONTEXTS);
    start_sets(motion->contexts + RESIDUAL_MAGNITUDE, MAGNITUDE_CONTEXTS, MAGNITUDE_SETS, start, MAGNITUDE_WIDTH);
    memset(motion->residual_mean, 0, sizeof motion->residual_mean);
    memset(motion->previous_sign, 0, sizeof motion->previous_sign);
}

/* The residual of a component with its sign, of the first frame of a key unit. */
static int32_t read_first_residual(Engine *engine, Motion *motion, int n)
{
    const Range range = in_range("residual_magnitude", 0, 16777215);
    int32_t magnitude = coded_magnitude(engine, RESIDUAL_MAGNITUDE, range);
    int sign = magnitude > 0 ? coded_flag(engine, RESIDUAL_SIGN, "residual_sign") : 0;

    for (int b = 0; b < BANKS; b++)
        motion->residual_mean[b][n] = magnitude > 0 ? 256 : 24;
    return sign ? -magnitude : magnitude;
}

/* The residual of a component with its sign, of any other frame. */
static int32_t read_residual(Engine *engine, Motion *motion, int n, int bank, int step_shift)
{
    const Range range = in_range("residual_magnitude", 0, 16777215);
    int32_t *mean = &motion->residual_mean[bank][n];
    uint8_t *previous_sign = &motion->previous_sign[bank][n];
    int context = RESIDUAL_MAGNITUDE + MAGNITUDE_CONTEXTS * (1 + residual_class(*mean));
    int32_t magnitude = coded_magnitude(engine, context, range);
    int sign = magnitude > 0 ? coded_flag(engine, RESIDUAL_SIGN + 1 + *previous_sign, "residual_sign") : 0;

    *mean = running_mean(*mean, magnitude, step_shift);
    *previous_sign = (uint8_t)(magnitude > 0 ? 1 + sign : 0);
    return sign ? -magnitude : magnitude;
}

/* 5.8.2, 7.5.1 */
static void read_frames(Bits *bits, const AvatarHeader *header, Motion *motion)
{
    const MotionUnit *unit = &motion->unit;
    Engine engine;

    if (unit->key)
        reset_motion(motion);
    start_engine(&engine, bits, motion->contexts);
    for (int i = 0; i < unit->frame_count + 1 && !failed(bits); i++) {
        int f = coded_frame(unit, i);
        int bank = frame_bank(unit, f);
        motion->step_shift[f] = coded_tree(&engine, STEP_SHIFT + 3 * bank, 2, in_range("step_shift", 0, 3));
        for (int n = 0; n < component_count(header); n++) {
            if (unit->key && f == 0)
                motion->symbols[f][n] = read_first_residual(&engine, motion, n);
            else
                motion->symbols[f][n] = read_residual(&engine, motion, n, bank, motion->step_shift[f]);
        }
    }
    end_payload(&engine);
}

/* 7.5.5: prediction ----------------------------------------------------------------------------------- */

/* What is known of the path of a component around a frame. */
typedef struct {
    int64_t first, second;
} Changes;

/* value is that of the frame, span and later tell where the frames are that it is predicted from. */
static Changes known_changes(const int32_t *value, int span, int later)
{
    int64_t before = value[-span];

    if (later == 0) {
        int64_t one = value[-span - 1];
        return (Changes){span * (before - one), span * (one - value[-span - 2])};
    }
    int64_t across = floor_divide(2 * span * (value[later] - before), span + later);
    return (Changes){across, before - value[-3 * span] - across};
}

static int64_t predicted_change(Changes known, int bank, const int32_t moments[5])
{
    static const int prediction_start[4] = {1232, -208, 1024, 128};
    const int *start = &prediction_start[bank > 0 ? 2 : 0];
    int64_t a = (int64_t)moments[0] + RIDGE;
    int64_t b = moments[1];
    int64_t d = (int64_t)moments[2] + RIDGE;
    int64_t p = (int64_t)moments[3] + start[0];
    int64_t q = (int64_t)moments[4] + start[1];
    int64_t determinant = a * d - b * b;
    int64_t one = limit(floor_divide(shift_left(p * d - q * b, 8), determinant), PREDICTION_LIMIT);
    int64_t two = limit(floor_divide(shift_left(q * a - p * b, 8), determinant), PREDICTION_LIMIT);
    return round_shift(one * known.first + two * known.second, 8);
}

static int64_t steps_of_change(int64_t change, int64_t step)
{
    return limit(floor_divide(16 * change + (step >> 1), step), CHANGE_LIMIT);
}

static void learn(int32_t *moment, int64_t product)
{
    *moment = (int32_t)(*moment - (*moment >> 6) + product);
}

static void learn_change(Changes known, int64_t change, int64_t step, int32_t moments[5])
{
    int64_t x = steps_of_change(known.first, step);
    int64_t y = steps_of_change(known.second, step);
    int64_t z = steps_of_change(change, step);

    learn(&moments[0], x * x);
    learn(&moments[1], x * y);
    learn(&moments[2], y * y);
    learn(&moments[3], x * z);
    learn(&moments[4], y * z);
}

/* 7.5.4: poses ---------------------------------------------------------------------------------------- */

/* 7.5.3 */
static int64_t component_step(int step_code)
{
    return (int64_t)(8 + (step_code & 7)) << (step_code >> STEP_SHIFT_BITS);
}

/* 7.5.3 */
static int64_t component_limit(const AvatarHeader *header, int n)
{
    return n < 3 ? WORLD_LIMIT : n < 3 + 3 * header->joint_count ? ROTATION_LIMIT : EXPRESSION_WEIGHT_LIMIT;
}

static void start_component(Motion *motion, int n, int32_t value)
{
    for (int k = 0; k < HISTORY + 1; k++)
        motion->track[n][k] = value;
    for (int bank = 0; bank < BANKS; bank++)
        memset(motion->moments[bank][n], 0, sizeof motion->moments[bank][n]);
}

static void follow_component(Motion *motion, int f, int n, int64_t step, int64_t bound, int64_t size)
{
    int bank = frame_bank(&motion->unit, f), span = frame_span(&motion->unit, f);
    int32_t *value = &motion->track[n][HISTORY + f];
    int32_t *moments = motion->moments[bank][n];
    Changes known = known_changes(value, span, later_span(&motion->unit, f));
    int64_t prediction = limit(value[-span] + predicted_change(known, bank, moments), bound);

    *value = (int32_t)limit(prediction + size, bound);
    learn_change(known, (int64_t)*value - value[-span], span * step, moments);
}

static void decode_pose(const AvatarHeader *header, Motion *motion, int f)
{
    for (int n = 0; n < component_count(header); n++) {
        int64_t step = component_step(header->step_code[n]);
        int64_t bound = component_limit(header, n);
        int64_t size = motion->symbols[f][n] * (step >> motion->step_shift[f]);
        if (frame_span(&motion->unit, f) == 0)
            start_component(motion, n, (int32_t)limit(size, bound));
        else
            follow_component(motion, f, n, step, bound, size);
        motion->pose[f][n] = motion->track[n][HISTORY + f];
    }
}

static void keep_track(const AvatarHeader *header, Motion *motion)
{
    for (int n = 0; n < component_count(header); n++)
        memmove(motion->track[n], motion->track[n] + motion->unit.frame_count + 1, HISTORY * sizeof *motion->track[n]);
}

/* 6.11.5 */
static void decode_frames(const AvatarHeader *header, Motion *motion)
{
    for (int i = 0; i < motion->unit.frame_count + 1; i++)
        decode_pose(header, motion, coded_frame(&motion->unit, i));
    keep_track(header, motion);
    motion->next_frame = motion->unit.first_frame + motion->unit.frame_count + 1;
    motion->next_order = (motion->unit.unit_order + 1) % 16;
}

/* 5.8.1 */
void read_motion_unit(Bits *bits, const Limits *limits, const AvatarHeader *header, Motion *motion)
{
    MotionUnit *unit = &motion->unit;

    bits->clause = "5.8";
    unit->key = read_unsigned(bits, 1, in_range("key_flag", 0, 1)) == 1;
    bool several = read_unsigned(bits, 1, in_range("several_flag", 0, 1)) == 1;
    unit->group_shift = (int)read_unsigned(bits, 2, in_range("group_shift", 0, 3));
    unit->unit_order = (int)read_unsigned(bits, 4, in_range("unit_order", 0, 15));
    unit->frame_count = several ? (int)read_unsigned(bits, 8, in_range("frame_count", 1, UNIT_FRAMES - 1)) : 0;
    check(bits, unit->frame_count + 1 <= limits->unit_frames, RESOURCE_LIMIT, "level_unit_frames", "A.2");
    unit->first_frame = unit->key ? read_leb128(bits, in_range("first_frame", 0, FRAME_LIMIT - 1)) : motion->next_frame;

    bool forward = unit->first_frame >= greatest(motion->next_frame, 0);
    bool continued = unit->key || unit->unit_order == motion->next_order;
    check(bits, forward && continued, CONSTRAINT_VIOLATION, "motion_order", "6.8");
    check(bits, unit->first_frame + unit->frame_count < FRAME_LIMIT, CONSTRAINT_VIOLATION, "motion_extent", "6.8");
    if (failed(bits))
        return;
    read_frames(bits, header, motion);
    if (!failed(bits))
        decode_frames(header, motion);
}
