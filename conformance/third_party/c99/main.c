/* SPDX-License-Identifier: BSD-3-Clause */
/* The command: reads a stream from a file and prints lines of JSON for its frames and errors. */
#include "decoder.h"
#include "memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool errors_reported;

static void print_digest(const uint8_t digest[DIGEST_BYTES])
{
    for (int n = 0; n < DIGEST_BYTES; n++)
        printf("%02x", digest[n]);
}

static void print_frame(const DecodedFrame *frame)
{
    const char *separator = "";

    printf("{\"frame\": %" PRId64 ", \"time\": \"%" PRId64, frame->index, frame->time_numerator);
    if (frame->time_denominator != 1)
        printf("/%" PRId64, frame->time_denominator);
    printf("\", \"random_access\": %s, \"digests\": {", frame->random_access ? "true" : "false");
    for (int stage = 0; stage < STAGE_COUNT; stage++) {
        if (!(frame->digests.stages >> stage & 1))
            continue;
        printf("%s\"%s\": \"", separator, stage_names[stage]);
        print_digest(frame->digests.digest[stage]);
        putchar('"');
        separator = ", ";
    }
    puts("}}");
}

static void print_error(const Error *error, int64_t unit)
{
    static const char *const classes[] = {"", "Malformed", "ConstraintViolation", "Unsupported", "ResourceLimit"};

    printf("{\"error\": \"%s\", \"constraint\": \"%s%s\", \"clause\": \"%s\", \"unit\": ", classes[error->class],
           error->constraint, error->of_range ? ".range" : "", error->clause);
    if (unit < 0)
        printf("null");
    else
        printf("%" PRId64, unit);
    printf(", \"bit_offset\": %" PRId64 "}\n", error->bit_offset);
    errors_reported = true;
}

/* The bits of the stages in a list with commas. */
static unsigned parse_stages(const char *list)
{
    unsigned stages = 0;

    if (strcmp(list, "all") == 0)
        return (1u << STAGE_COUNT) - 1;
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        for (int stage = 0; stage < STAGE_COUNT; stage++) {
            if (strlen(stage_names[stage]) == length && strncmp(list, stage_names[stage], length) == 0)
                stages |= 1u << stage;
        }
        list += length;
        list += *list == ',';
    }
    return stages;
}

/* The bytes of a file; NULL if it cannot be read. */
static uint8_t *read_file(const char *name, int64_t *size)
{
    FILE *file = fopen(name, "rb");
    long length = -1;
    uint8_t *data = NULL;

    if (file == NULL)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0)
        length = ftell(file);
    if (length >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        data = zeros((size_t)length, 1);
        if (fread(data, 1, (size_t)length, file) != (size_t)length) {
            free(data);
            data = NULL;
        }
    }
    *size = length;
    fclose(file);
    return data;
}

int main(int count, char **arguments)
{
    static const Report report = {print_frame, print_error};
    const char *name = NULL, *stages = "all";
    int64_t size;

    for (int n = 1; n < count; n++) {
        if (strcmp(arguments[n], "--stages") == 0 && n + 1 < count)
            stages = arguments[++n];
        else if (strcmp(arguments[n], "--json") != 0)
            name = arguments[n];
    }
    if (name == NULL) {
        fputs("usage: hga-c99 [--json] [--stages all|STAGE,STAGE...] STREAM\n", stderr);
        return 2;
    }
    uint8_t *data = read_file(name, &size);
    if (data == NULL) {
        fprintf(stderr, "hga-c99: cannot read %s\n", name);
        return 2;
    }
    decode_stream(data, size, parse_stages(stages), &report);
    free(data);
    return errors_reported ? 1 : 0;
}
