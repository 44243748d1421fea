/* SPDX-License-Identifier: BSD-3-Clause */
/* The arithmetic decoder and the elements of coded payloads: clauses 5.2.6 and 8.2 to 8.4. */
#ifndef ENGINE_H
#define ENGINE_H

#include "bits.h"

/* 8.3.1: two estimates of the probability of a 0, Q.16. */
typedef struct {
    uint16_t fast, slow;
} Context;

/* 5.2.6: contexts in one set of each binarisation. */
enum {
    MAGNITUDE_CONTEXTS = 47,
    RESIDUAL_CONTEXTS = 47,
    SIGNED_CONTEXTS = 48,
    SPLIT_CONTEXTS = 7,
    WEIGHT_CONTEXTS = 73
};

typedef struct {
    Bits *bits;          /* the unit, which keeps the error */
    int64_t position;    /* of the next byte */
    int64_t end;         /* behind the last byte of the payload */
    uint32_t code, range;
    Context *contexts;
} Engine;

/* 8.3.1 */
void reset_contexts(Context *contexts, int count);
void start_sets(Context *contexts, int per_set, int sets, const uint8_t *start, int width);

void start_engine(Engine *engine, Bits *bits, Context *contexts); /* 8.2.1 */
void end_payload(Engine *engine);                                 /* 8.2.5 */

/* 5.1: "check name" within a coded payload (6.2). */
void check_coded(Engine *engine, bool holds, ErrorClass otherwise, const char *constraint, const char *clause);

/* 5.2.6: elements. They fail as those of bits.h do. */
int coded_flag(Engine *engine, int context, const char *element);
int32_t coded_tree(Engine *engine, int context, int size, Range range);
int32_t coded_raw(Engine *engine, int size, Range range);
int32_t coded_magnitude(Engine *engine, int context, Range range);
int32_t coded_signed(Engine *engine, int context, Range range);
int32_t coded_residual(Engine *engine, int context, Range range);
int32_t coded_split(Engine *engine, int context, int32_t size, const char *element);
int32_t coded_weight(Engine *engine, int context, int expected_sign, Range range);

#endif
