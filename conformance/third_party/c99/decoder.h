/* SPDX-License-Identifier: BSD-3-Clause */
/* Units: their order, their dependencies and their errors: clauses 5.3, 6.1, 6.3 and 6.4. */
#ifndef DECODER_H
#define DECODER_H

#include "bits.h"
#include "stages.h"

/* A frame as a decoder obtains it. */
typedef struct {
    int64_t index;
    int64_t time_numerator, time_denominator; /* in seconds, in lowest terms (4.4) */
    bool random_access;
    Digests digests;
} DecodedFrame;

/* What a decoder reports, in the order of the stream. unit is -1 if the error belongs to none. */
typedef struct {
    void (*frame)(const DecodedFrame *frame);
    void (*error)(const Error *error, int64_t unit);
} Report;

/* Decodes a stream and reports its frames, with the digests of the stages wanted, and its errors. */
void decode_stream(const uint8_t *data, int64_t size, unsigned wanted, const Report *report);

#endif
