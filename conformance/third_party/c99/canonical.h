/* SPDX-License-Identifier: BSD-3-Clause */
/* Canonical units: clauses 5.6, 6.6 and 7.3. */
#ifndef CANONICAL_H
#define CANONICAL_H

#include "avatar.h"

/* A chunk that has been received is not read again. */
void read_canonical_unit(Bits *bits, Avatar *avatar);

#endif
