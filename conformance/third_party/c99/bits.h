/* SPDX-License-Identifier: BSD-3-Clause */
/* Bits of a unit and the elements that stand in them as they are: clauses 5.2.1 to 5.2.5, 6.1 and 6.2. */
#ifndef BITS_H
#define BITS_H

#include <stdbool.h>
#include <stdint.h>

/* 6.1 */
typedef enum { NO_ERROR, MALFORMED, CONSTRAINT_VIOLATION, UNSUPPORTED, RESOURCE_LIMIT } ErrorClass;

typedef struct {
    ErrorClass class;
    const char *constraint; /* its name, or that of the element whose range it is */
    bool of_range;
    const char *clause;
    int64_t bit_offset;
} Error;

/* 6.2: the values that an element may have, and the class of an error if it has another one. */
typedef struct {
    const char *element;
    int64_t low, high;
    ErrorClass otherwise;
} Range;

/* A place in the stream, and the first error that was met on the way there. After an error every read
 * returns the low end of its range without reading, so that what follows need not care until it wants to. */
typedef struct {
    const uint8_t *data; /* the stream */
    int64_t position;    /* in bits, of the next bit */
    int64_t end;         /* in bits, of the unit or of its payload */
    const char *clause;  /* of the structure that is read */
    Error error;
} Bits;

Range in_range(const char *element, int64_t low, int64_t high);
Range in_range_or(ErrorClass otherwise, const char *element, int64_t low, int64_t high);

bool failed(const Bits *bits);
void fail(Bits *bits, ErrorClass class, const char *constraint, const char *clause, int64_t bit_offset);
void fail_range(Bits *bits, const Range *range, int64_t bit_offset);

/* 5.1: "check name"; the place of an error is behind all that has been read. */
void check(Bits *bits, bool holds, ErrorClass otherwise, const char *constraint, const char *clause);

int64_t read_unsigned(Bits *bits, int count, Range range); /* 5.2.2 */
int64_t read_signed(Bits *bits, int count, Range range);   /* 5.2.3 */
int64_t read_leb128(Bits *bits, Range range);              /* 5.2.4 */
void skip_bytes(Bits *bits, int64_t count);                /* 5.2.5 */

#endif
