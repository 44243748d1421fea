/* SPDX-License-Identifier: BSD-3-Clause */
#include "bits.h"

Range in_range(const char *element, int64_t low, int64_t high)
{
    return in_range_or(CONSTRAINT_VIOLATION, element, low, high);
}

Range in_range_or(ErrorClass otherwise, const char *element, int64_t low, int64_t high)
{
    return (Range){element, low, high, otherwise};
}

bool failed(const Bits *bits)
{
    return bits->error.class != NO_ERROR;
}

void fail(Bits *bits, ErrorClass class, const char *constraint, const char *clause, int64_t bit_offset)
{
    if (!failed(bits))
        bits->error = (Error){class, constraint, false, clause, bit_offset};
}

void fail_range(Bits *bits, const Range *range, int64_t bit_offset)
{
    if (!failed(bits))
        bits->error = (Error){range->otherwise, range->element, true, bits->clause, bit_offset};
}

void check(Bits *bits, bool holds, ErrorClass otherwise, const char *constraint, const char *clause)
{
    if (!holds)
        fail(bits, otherwise, constraint, clause, bits->position);
}

/* 6.3: an element lies within its unit. */
static bool available(Bits *bits, int64_t count)
{
    if (bits->end - bits->position >= count)
        return true;
    fail(bits, MALFORMED, "unit_truncated", "6.3", bits->position);
    return false;
}

static uint64_t take(Bits *bits, int count)
{
    uint64_t value = 0;
    for (int n = 0; n < count; n++, bits->position++)
        value = value << 1 | (bits->data[bits->position / 8] >> (7 - bits->position % 8) & 1);
    return value;
}

static int64_t accept(Bits *bits, int64_t begin, int64_t value, const Range *range)
{
    if (!failed(bits) && (value < range->low || value > range->high))
        fail_range(bits, range, begin);
    return failed(bits) ? range->low : value;
}

int64_t read_unsigned(Bits *bits, int count, Range range)
{
    int64_t begin = bits->position;
    if (failed(bits) || !available(bits, count))
        return range.low;
    return accept(bits, begin, (int64_t)take(bits, count), &range);
}

int64_t read_signed(Bits *bits, int count, Range range)
{
    int64_t begin = bits->position;
    if (failed(bits) || !available(bits, count))
        return range.low;
    int64_t value = (int64_t)take(bits, count);
    if (value >> (count - 1))
        value -= (int64_t)1 << count;
    return accept(bits, begin, value, &range);
}

int64_t read_leb128(Bits *bits, Range range)
{
    int64_t begin = bits->position;
    int64_t value = 0, byte = 128;

    for (int n = 0; byte >= 128; n++) {
        if (failed(bits) || !available(bits, 8))
            return range.low;
        byte = (int64_t)take(bits, 8);
        value += (byte & 127) << (7 * n);
        bool too_long = n == 4 && byte >= 128;
        bool needless = n > 0 && byte == 0;
        check(bits, !too_long && !needless, MALFORMED, "leb128_length", "5.2");
    }
    return accept(bits, begin, value, &range);
}

void skip_bytes(Bits *bits, int64_t count)
{
    if (!failed(bits) && available(bits, 8 * count))
        bits->position += 8 * count;
}
