/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>

/* Zeros for count entries; the program ends if there is no memory. What is asked for has been checked
 * against the limits of the level (A.2). */
void *zeros(size_t count, size_t entry);

/* A place behind the last of count entries of a list that grows. */
void *append(void *list, size_t count, size_t entry);

#endif
