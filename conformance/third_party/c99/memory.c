/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>

static void *present(void *memory)
{
    if (memory == NULL) {
        fputs("hga-c99: no memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return memory;
}

void *zeros(size_t count, size_t entry)
{
    return present(calloc(count > 0 ? count : 1, entry));
}

void *append(void *list, size_t count, size_t entry)
{
    if ((count & (count - 1)) != 0)
        return list;
    return present(realloc(list, (count > 0 ? 2 * count : 1) * entry));
}
