/* SPDX-License-Identifier: BSD-3-Clause */
/* Canonical units: clauses 5.6, 6.6 and 7.3. */
#ifndef CANONICAL_H
#define CANONICAL_H

#include "avatar.h"

/* Returns whether the payload was read to its end; a chunk that has been received is not. */
bool read_canonical_unit(Bits *bits, Avatar *avatar);

#endif
