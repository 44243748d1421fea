/* SPDX-License-Identifier: BSD-3-Clause */
#include "decoder.h"

#include "canonical.h"
#include "expression.h"
#include "frames.h"
#include "generator.h"
#include "memory.h"
#include "motion.h"

#include <stdlib.h>
#include <string.h>

/* 6.3 */
typedef enum {
    UNIT_SEQUENCE = 1,
    UNIT_AVATAR,
    UNIT_CANONICAL,
    UNIT_EXPRESSION,
    UNIT_GENERATOR,
    UNIT_MOTION,
    UNIT_METADATA,
    UNIT_END
} UnitType;

/* 5.3.2 */
typedef struct {
    int64_t index;
    int64_t begin;      /* in bits, of unit_size */
    int64_t next;       /* in bytes, of the next unit; -1 if it is not known */
    int64_t body;       /* in bytes, of what follows unit_size */
    int64_t payload;    /* in bytes */
    int64_t payload_end;
    bool header_read;
    int type, layer;
    bool has_checksum;
} Unit;

/* The bytes of the payload of a header, with which a repetition is compared. */
typedef struct {
    int64_t begin, size;
} Payload;

/* A stream is taken twice: first its metadata, since a frame may be rendered with a camera that follows it
 * (A.3.3), then all of it. */
typedef enum { PASS_METADATA, PASS_ALL } Pass;

typedef struct {
    const uint8_t *data;
    int64_t size;
    Pass pass;
    unsigned wanted;
    const Report *report;
    const Metadata *all_metadata; /* of the whole stream, in the second pass */

    bool error_met;
    bool motion_lost; /* 6.8.1 */
    bool sequence_known;
    SequenceHeader sequence;
    Payload sequence_payload, avatar_payload;
    Avatar *avatar; /* NULL until its header has been received */
    Motion *motion;
    Generator *generator; /* the active one, NULL if there is none (6.12.2) */
    FrameMaker *maker;
    Metadata metadata; /* so far */
} Decoder;

static const Limits *limits_of(const Decoder *decoder)
{
    return level_limits(decoder->sequence_known ? decoder->sequence.level : 0);
}

/* 5.3.2, 5.3.3: the unit header and the checksum ------------------------------------------------------- */

static void read_unit_size(const Decoder *decoder, Bits *bits, Unit *unit)
{
    int64_t size = read_leb128(bits, in_range_or(MALFORMED, "unit_size", 1, (1 << 28) - 1));
    int64_t bytes_left = (bits->end - bits->position) / 8;

    check(bits, size <= bytes_left, MALFORMED, "unit_size_fits", "6.3");
    if (failed(bits))
        return;
    unit->body = bits->position / 8;
    unit->next = unit->body + size;
    bits->end = 8 * unit->next;
    check(bits, size <= limits_of(decoder)->unit_size, RESOURCE_LIMIT, "level_unit_size", "A.2");
}

/* 5.3.2 */
static void read_unit_header(const Decoder *decoder, Bits *bits, Unit *unit)
{
    bits->clause = "5.3";
    read_unit_size(decoder, bits, unit);
    unit->type = (int)read_unsigned(bits, 5, in_range("unit_type", 0, 31));
    unit->has_checksum = read_unsigned(bits, 1, in_range("unit_checksum_flag", 0, 1)) == 1;
    bool has_layer = read_unsigned(bits, 1, in_range("unit_layer_flag", 0, 1)) == 1;
    read_unsigned(bits, 1, in_range_or(UNSUPPORTED, "unit_reserved_bit", 0, 0));
    unit->layer = has_layer ? (int)read_unsigned(bits, 8, in_range("unit_layer", 1, 255)) : 0;
    bool fits = unit->next - unit->body >= 1 + has_layer + 4 * unit->has_checksum;
    check(bits, fits, MALFORMED, "unit_checksum_fits", "6.3");
    if (failed(bits))
        return;
    unit->header_read = true;
    unit->payload = bits->position / 8;
    unit->payload_end = unit->next - 4 * unit->has_checksum;
    bits->end = 8 * unit->payload_end;
}

/* 6.3 */
static void verify_checksum(const Decoder *decoder, Bits *bits, const Unit *unit)
{
    const uint8_t *bytes = decoder->data + unit->payload_end;

    if (failed(bits) || !unit->has_checksum)
        return;
    uint32_t expected = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    if (checksum(decoder->data, unit->body, unit->payload_end) != expected)
        fail(bits, MALFORMED, "unit_checksum_matches", "6.3", 8 * unit->payload_end);
}

/* 6.3: whether a unit is skipped, and what it lacks ----------------------------------------------------- */

static bool is_of_pass(const Decoder *decoder, int type)
{
    return decoder->pass == PASS_ALL || type == UNIT_SEQUENCE || type == UNIT_METADATA;
}

/* 6.4 */
static void verify_first(Decoder *decoder, Bits *bits, const Unit *unit)
{
    if (failed(bits) || unit->index > 0 || (unit->type == UNIT_SEQUENCE && unit->layer == 0))
        return;
    fail(bits, CONSTRAINT_VIOLATION, "sequence_first", "6.4", unit->begin);
    decoder->motion_lost = true;
}

static bool is_listed(int type)
{
    return type >= UNIT_SEQUENCE && type <= UNIT_END;
}

/* A.1 */
static bool is_skipped(const Decoder *decoder, const Unit *unit)
{
    if (unit->layer != 0 || !is_listed(unit->type))
        return true;
    return unit->type == UNIT_GENERATOR && decoder->sequence_known && decoder->sequence.profile == PROFILE_CANONICAL;
}

static bool needs_avatar(int type)
{
    return type == UNIT_CANONICAL || type == UNIT_EXPRESSION || type == UNIT_GENERATOR || type == UNIT_MOTION;
}

static bool needs_all_chunks(int type)
{
    return type == UNIT_EXPRESSION || type == UNIT_GENERATOR;
}

/* 6.3: what a unit lacks was lost if there was an error before, and otherwise never there. */
static void fail_lacking(const Decoder *decoder, Bits *bits, const char *constraint, const char *clause, int64_t place)
{
    if (!decoder->error_met)
        fail(bits, CONSTRAINT_VIOLATION, constraint, clause, place);
}

static bool lacks_something(Decoder *decoder, Bits *bits, const Unit *unit)
{
    if (unit->type == UNIT_SEQUENCE)
        return false;
    if (!decoder->sequence_known || (needs_avatar(unit->type) && decoder->avatar == NULL)) {
        fail_lacking(decoder, bits, "avatar_first", "6.5", unit->begin);
        decoder->motion_lost |= unit->type == UNIT_MOTION;
        return true;
    }
    if (needs_all_chunks(unit->type) && decoder->avatar->chunks_missing > 0) {
        if (unit->type == UNIT_EXPRESSION)
            fail_lacking(decoder, bits, "expression_after_canonical", "6.7", 8 * unit->payload);
        else
            fail_lacking(decoder, bits, "generator_after_canonical", "6.12", 8 * unit->payload);
        return true;
    }
    return false;
}

/* 6.4, 6.5 */
static void compare_repetition(const Decoder *decoder, Bits *bits, const Unit *unit, Payload first,
                               const char *constraint, const char *clause)
{
    const uint8_t *a = decoder->data + unit->payload, *b = decoder->data + first.begin;
    int64_t size = unit->payload_end - unit->payload;

    if (size != first.size || memcmp(a, b, (size_t)size) != 0)
        fail(bits, CONSTRAINT_VIOLATION, constraint, clause, 8 * unit->payload);
}

/* Payloads -------------------------------------------------------------------------------------------- */

/* 6.3 */
static void end_unit(Bits *bits)
{
    check(bits, bits->position == bits->end, MALFORMED, "unit_trailing_bytes", "6.3");
}

static Payload payload_of(const Unit *unit)
{
    return (Payload){unit->payload, unit->payload_end - unit->payload};
}

/* 6.4 */
static void take_sequence(Decoder *decoder, Bits *bits, const Unit *unit)
{
    SequenceHeader header;

    if (decoder->sequence_known) {
        compare_repetition(decoder, bits, unit, decoder->sequence_payload, "sequence_repeated", "6.4");
        return;
    }
    read_sequence_header(bits, &header);
    end_unit(bits);
    if (failed(bits))
        return;
    decoder->sequence_known = true;
    decoder->sequence = header;
    decoder->sequence_payload = payload_of(unit);
}

/* 6.5 */
static void take_avatar(Decoder *decoder, Bits *bits, const Unit *unit)
{
    AvatarHeader header;

    if (decoder->avatar != NULL) {
        compare_repetition(decoder, bits, unit, decoder->avatar_payload, "avatar_repeated", "6.5");
        return;
    }
    memset(&header, 0, sizeof header);
    read_avatar_header(bits, limits_of(decoder), &header);
    end_unit(bits);
    if (failed(bits))
        return;
    decoder->avatar = new_avatar(&header);
    decoder->avatar_payload = payload_of(unit);
    decoder->motion = new_motion();
    decoder->maker = new_frame_maker(&header, decoder->wanted);
}

/* 4.4: n * denominator / numerator in lowest terms. */
static void find_time(const SequenceHeader *sequence, DecodedFrame *frame)
{
    int64_t a = frame->index * sequence->frame_rate_denominator, b = sequence->frame_rate_numerator;
    frame->time_numerator = a;
    frame->time_denominator = b;
    while (b > 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    frame->time_numerator /= a;
    frame->time_denominator /= a;
}

/* 6.11.5 */
static void present_frames(const Decoder *decoder)
{
    const Motion *motion = decoder->motion;

    for (int f = 0; f < motion->unit.frame_count + 1; f++) {
        DecodedFrame frame;
        frame.index = motion->unit.first_frame + f;
        frame.random_access = motion->unit.key && f == 0;
        find_time(&decoder->sequence, &frame);
        frame.digests = make_frame(decoder->maker, decoder->avatar, decoder->generator,
                                   decoder->all_metadata, frame.index, motion->symbols[f], motion->pose[f]);
        decoder->report->frame(&frame);
    }
}

/* 6.8.1 */
static void take_motion(Decoder *decoder, Bits *bits, const Unit *unit)
{
    bool key = unit->payload < unit->payload_end && decoder->data[unit->payload] >> 7 == 1;

    if (decoder->motion_lost && !key)
        return;
    read_motion_unit(bits, limits_of(decoder), &decoder->avatar->header, decoder->motion);
    if (failed(bits))
        return;
    decoder->motion_lost = false;
    present_frames(decoder);
}

/* 5.9 */
static void take_metadata(Decoder *decoder, Bits *bits)
{
    if (read_metadata_unit(bits, &decoder->metadata))
        end_unit(bits);
}

/* 5.10 */
static void take_end(Bits *bits)
{
    bits->clause = "5.10";
    read_leb128(bits, in_range("end_frame_count", 0, FRAME_LIMIT));
    end_unit(bits);
}

static void take_payload(Decoder *decoder, Bits *bits, const Unit *unit)
{
    switch (unit->type) {
    case UNIT_SEQUENCE:
        take_sequence(decoder, bits, unit);
        break;
    case UNIT_AVATAR:
        take_avatar(decoder, bits, unit);
        break;
    case UNIT_CANONICAL:
        read_canonical_unit(bits, decoder->avatar);
        decoder->maker->canonical_known = false;
        break;
    case UNIT_EXPRESSION:
        read_expression_unit(bits, decoder->avatar);
        decoder->maker->canonical_known = false;
        break;
    case UNIT_GENERATOR:
        read_generator_unit(bits, limits_of(decoder), decoder->avatar, &decoder->generator);
        break;
    case UNIT_MOTION:
        take_motion(decoder, bits, unit);
        break;
    case UNIT_METADATA:
        take_metadata(decoder, bits);
        break;
    case UNIT_END:
        take_end(bits);
        break;
    }
}

/* Units ----------------------------------------------------------------------------------------------- */

/* 6.3: what is judged first counts. */
static void take_unit(Decoder *decoder, Bits *bits, Unit *unit)
{
    read_unit_header(decoder, bits, unit);
    verify_checksum(decoder, bits, unit);
    verify_first(decoder, bits, unit);
    if (failed(bits) || is_skipped(decoder, unit) || lacks_something(decoder, bits, unit))
        return;
    if (is_of_pass(decoder, unit->type))
        take_payload(decoder, bits, unit);
}

static void note_error(Decoder *decoder, const Error *error, const Unit *unit)
{
    decoder->error_met = true;
    /* 6.8.1: it may have been a motion unit. */
    decoder->motion_lost |= !unit->header_read || unit->type == UNIT_MOTION || !is_listed(unit->type);
    if (decoder->pass == PASS_ALL)
        decoder->report->error(error, unit->index);
}

/* 5.3.1 */
static void take_units(Decoder *decoder)
{
    int64_t position = 0;

    for (int64_t index = 0; position >= 0 && position < decoder->size; index++) {
        Bits bits = {decoder->data, 8 * position, 8 * decoder->size, NULL, {NO_ERROR, NULL, false, NULL, 0}};
        Unit unit = {index, bits.position, -1, 0, 0, 0, false, 0, 0, false};
        take_unit(decoder, &bits, &unit);
        if (failed(&bits))
            note_error(decoder, &bits.error, &unit);
        position = unit.next;
    }
}

static void free_decoder(Decoder *decoder)
{
    free_avatar(decoder->avatar);
    free(decoder->motion);
    free_generator(decoder->generator);
    free_frame_maker(decoder->maker);
    free_metadata(&decoder->metadata);
}

void decode_stream(const uint8_t *data, int64_t size, unsigned wanted, const Report *report)
{
    static const Error empty = {CONSTRAINT_VIOLATION, "sequence_first", false, "6.4", 0}; /* 6.4 */
    Decoder survey = {.data = data, .size = size, .pass = PASS_METADATA};
    Decoder decoder = {.data = data, .size = size, .pass = PASS_ALL, .wanted = wanted, .report = report};

    take_units(&survey);
    sort_hashes(&survey.metadata);
    decoder.all_metadata = &survey.metadata;
    take_units(&decoder);
    if (size == 0)
        report->error(&empty, -1);
    free_decoder(&survey);
    free_decoder(&decoder);
}
