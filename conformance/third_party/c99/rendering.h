/* SPDX-License-Identifier: BSD-3-Clause */
/* Rendering: clause 9. */
#ifndef RENDERING_H
#define RENDERING_H

#include "metadata.h"

enum { PROJECTED_FIELDS = 11, PIXEL_BYTES = 4, ROWS_AT_ONCE = 16 };

/* What a frame is rendered from (6.11.6). */
typedef struct {
    int32_t count;
    int32_t (*mean)[3], (*factor)[9], (*blend)[9];
    int32_t *opacity;
    int degree;
    int16_t (*sh)[3];     /* (degree + 1)^2 for each Gaussian */
    int32_t (*colour)[3]; /* in place of coefficient 0 of each Gaussian; NULL without a generator */
} Scene;

/* 9.6: a visible Gaussian. */
typedef struct {
    int32_t index, depth;
    int32_t mean_x, mean_y;     /* Q.12 px */
    int32_t l00, l01, l11;      /* Q.24 / px */
    int32_t colour[3];          /* Q.12 */
    int32_t opacity;            /* Q.14 */
    int32_t reach;              /* u and v of the pixels that it changes are not greater, Q.14 */
    int32_t first_row, end_row; /* the rows in which they lie */
} Projected;

/* 9.6: fills list, of scene->count entries at most, and returns how many there are. */
int32_t project_gaussians(const Scene *scene, const Camera *camera, Projected *list);

void projected_record(const Projected *projected, int32_t record[PROJECTED_FIELDS]); /* 9.6 */

/* 9.7 to 9.9: the rows from first_row on, ROWS_AT_ONCE of them or what is left of the picture. Returns how many. */
int render_rows(const Projected *list, int32_t count, const Camera *camera, int first_row, uint8_t *image);

#endif
