/* SPDX-License-Identifier: BSD-3-Clause */
/* Expression units: clauses 5.7, 6.7 and 7.4. */
#ifndef EXPRESSION_H
#define EXPRESSION_H

#include "avatar.h"

/* An expression that has been received is not read again. */
void read_expression_unit(Bits *bits, Avatar *avatar);

#endif
