/* SPDX-License-Identifier: BSD-3-Clause */
#include "rendering.h"

#include "integers.h"
#include "memory.h"

#include <stdlib.h>

enum {
    NEAR_Q20 = 52429,
    SCREEN_LIMIT_Q12 = 1 << 26,
    VIEW_LIMIT_Q24 = 1 << 28,
    FACTOR_LIMIT_Q24 = 1 << 30,
    EXTENT_LIMIT_Q16 = 1 << 28,
    LOW_PASS_Q32 = 1288490189,
    ROW_SCALE_Q30 = 911952339,
    ROW_LIMIT_Q24 = 26015462,
    COLOUR_MAX_Q12 = 16383,
    REACH_MAX_Q14 = 46340,
    ALPHA_MIN_Q16 = 257,
    ALPHA_MAX_Q16 = 65470,
    TRANSMITTANCE_ONE_Q30 = 1 << 30,
    TRANSMITTANCE_MIN_Q30 = 107374
};

/* 9.2: what all Gaussians share. */
typedef struct {
    const Camera *camera;
    int64_t lower[2], upper[2]; /* limits of x/z and y/z, Q.24 */
    int64_t centre[3];          /* of the camera in the world, Q.20 m */
} View;

/* 9.2 */
static int64_t view_limit(int64_t edge, int64_t size, int64_t focal)
{
    int64_t reached = floor_divide(shift_left(20 * edge + 768 * size, 24), 20 * focal);
    return limit(reached, VIEW_LIMIT_Q24);
}

/* 9.2 */
static View camera_view(const Camera *camera)
{
    const int size[2] = {camera->width, camera->height};
    View view = {camera, {0, 0}, {0, 0}, {0, 0, 0}};

    for (int axis = 0; axis < 2; axis++) {
        int64_t principal = camera->principal[axis];
        int64_t far_edge = limit(256 * (int64_t)size[axis] - principal, 2097152);
        view.lower[axis] = -view_limit(principal, size[axis], camera->focal[axis]);
        view.upper[axis] = greatest(view.lower[axis], view_limit(far_edge, size[axis], camera->focal[axis]));
    }
    for (int axis = 0; axis < 3; axis++) {
        int64_t centre = 0;
        for (int k = 0; k < 3; k++)
            centre -= (int64_t)camera->rotation[3 * k + axis] * camera->translation[k];
        view.centre[axis] = round_shift(centre, 30);
    }
    return view;
}

/* 9.4: the two-dimensional Gaussian ------------------------------------------------------------------- */

static int64_t projected_factor(int64_t across, int64_t along, int64_t slope, int64_t magnification)
{
    int64_t sheared = limit(across - round_shift(slope * along, 24), FACTOR_LIMIT_Q24);
    return limit(round_shift(magnification * sheared, 22), EXTENT_LIMIT_Q16);
}

static int64_t scaled_row(int64_t variance, int half)
{
    int shift;
    int64_t mantissa = reciprocal_sqrt(variance, &shift);
    return clamp((ROW_SCALE_Q30 * mantissa) >> (20 + shift + half), 1, ROW_LIMIT_Q24);
}

static void triangular_rows(int64_t a, int64_t b, int64_t c, Projected *projected)
{
    int half = 0;
    while (greatest(a, c) >> 2 * half >= (int64_t)1 << 31)
        half++;
    a >>= 2 * half;
    b >>= 2 * half;
    int64_t c_short = c >> 2 * half;
    int64_t determinant = greatest(c_short, a * c_short - b * b);
    int64_t l00 = scaled_row(determinant / c_short, half);

    projected->l00 = (int32_t)l00;
    projected->l01 = (int32_t)limit(-floor_divide(b * l00, c_short), ROW_LIMIT_Q24);
    projected->l11 = (int32_t)scaled_row(c, 0);
}

static void project_shape(const View *view, const int32_t factor[9], const int64_t ratio[2], Projected *projected)
{
    const Camera *camera = view->camera;
    int64_t slope[2], magnification[2];
    int64_t a = LOW_PASS_Q32, b = 0, c = LOW_PASS_Q32;

    for (int axis = 0; axis < 2; axis++) {
        slope[axis] = clamp(ratio[axis], view->lower[axis], view->upper[axis]);
        magnification[axis] = ((int64_t)camera->focal[axis] << 26) / projected->depth;
    }
    for (int column = 0; column < 3; column++) {
        int64_t turned[3], t[2];
        for (int row = 0; row < 3; row++)
            turned[row] = rotate_row(&camera->rotation[3 * row], factor[column], factor[3 + column],
                                     factor[6 + column]);
        for (int axis = 0; axis < 2; axis++)
            t[axis] = projected_factor(turned[axis], turned[2], slope[axis], magnification[axis]);
        a += t[0] * t[0];
        b += t[0] * t[1];
        c += t[1] * t[1];
    }
    triangular_rows(a, b, c, projected);
}

/* 9.3, 9.4: returns whether the Gaussian is visible. */
static bool project_gaussian(const View *view, const int32_t mean[3], const int32_t factor[9], Projected *projected)
{
    const Camera *camera = view->camera;
    int64_t place[3], ratio[2], image[2];

    for (int row = 0; row < 3; row++)
        place[row] = rotate_row(&camera->rotation[3 * row], mean[0], mean[1], mean[2]) + camera->translation[row];
    if (place[2] < NEAR_Q20)
        return false;
    for (int axis = 0; axis < 2; axis++) {
        ratio[axis] = floor_divide(shift_left(place[axis], 24), place[2]);
        image[axis] = camera->principal[axis] * 16 + round_shift(camera->focal[axis] * ratio[axis], 20);
        if (magnitude_of(image[axis]) > SCREEN_LIMIT_Q12)
            return false;
    }
    projected->depth = (int32_t)place[2];
    projected->mean_x = (int32_t)image[0];
    projected->mean_y = (int32_t)image[1];
    project_shape(view, factor, ratio, projected);
    return true;
}

/* 9.5: colour ----------------------------------------------------------------------------------------- */

static void view_direction(const View *view, const int32_t mean[3], const int32_t blend[9], int64_t unit[3])
{
    int64_t away[3], canonical[3], square = 0;
    int shift;

    for (int axis = 0; axis < 3; axis++)
        away[axis] = mean[axis] - view->centre[axis];
    for (int axis = 0; axis < 3; axis++) {
        int64_t turned = blend[axis] * away[0] + blend[3 + axis] * away[1] + blend[6 + axis] * away[2];
        canonical[axis] = round_shift(turned, 32);
        square += canonical[axis] * canonical[axis];
    }
    int64_t mantissa = reciprocal_sqrt(greatest(1, square), &shift);
    for (int axis = 0; axis < 3; axis++)
        unit[axis] = round_shift(canonical[axis] * mantissa, 15 + shift);
}

static int64_t cubic_basis(int64_t coefficient, int64_t polynomial)
{
    return round_shift(coefficient * (polynomial >> 6), 45);
}

static void sh_basis(int64_t x, int64_t y, int64_t z, int degree, int64_t basis[16])
{
    int64_t xx = x * x, yy = y * y, zz = z * z, xy = x * y;

    basis[0] = round_shift(295798, 6);
    if (degree >= 1) {
        basis[1] = round_shift(-512337 * y, 21);
        basis[2] = round_shift(512337 * z, 21);
        basis[3] = round_shift(-512337 * x, 21);
    }
    if (degree >= 2) {
        basis[4] = round_shift(1145620 * xy, 36);
        basis[5] = round_shift(-1145620 * (y * z), 36);
        basis[6] = round_shift(330712 * (2 * zz - xx - yy), 36);
        basis[7] = round_shift(-1145620 * (x * z), 36);
        basis[8] = round_shift(572810 * (xx - yy), 36);
    }
    if (degree >= 3) {
        basis[9] = cubic_basis(-618707, y * (3 * xx - yy));
        basis[10] = cubic_basis(3031027, z * xy);
        basis[11] = cubic_basis(-479247, y * (4 * zz - xx - yy));
        basis[12] = cubic_basis(391304, z * (2 * zz - 3 * xx - 3 * yy));
        basis[13] = cubic_basis(-479247, x * (4 * zz - xx - yy));
        basis[14] = cubic_basis(1515513, z * (xx - yy));
        basis[15] = cubic_basis(-618707, x * (xx - 3 * yy));
    }
}

static void colour_gaussian(const View *view, const Scene *scene, int32_t n, Projected *projected)
{
    int coefficients = (scene->degree + 1) * (scene->degree + 1);
    int16_t (*sh)[3] = scene->sh + (int64_t)n * coefficients;
    int64_t unit[3] = {0, 0, 0}, basis[16];

    if (scene->degree > 0)
        view_direction(view, scene->mean[n], scene->blend[n], unit);
    sh_basis(unit[0], unit[1], unit[2], scene->degree, basis);
    for (int channel = 0; channel < 3; channel++) {
        int64_t constant = scene->colour != NULL ? scene->colour[n][channel] : sh[0][channel];
        int64_t total = (1 << 25) + basis[0] * constant;
        for (int k = 1; k < coefficients; k++)
            total += basis[k] * sh[k][channel];
        projected->colour[channel] = (int32_t)clamp(round_shift(total, 14), 0, COLOUR_MAX_Q12);
    }
}

/* 9.6: the projected list ----------------------------------------------------------------------------- */

/* 9.7: an alpha is at most (4 * opacity) >> k if u * u + v * v is at least k << 28. Where that is below
 * ALPHA_MIN_Q16 the Gaussian changes nothing, so u and v are at most 2^14 times the root of k. */
static int32_t greatest_reach(int32_t opacity)
{
    static const int32_t roots[9] = {0, 16384, 23170, 28377, 32768, 36635, 40132, 43347, REACH_MAX_Q14 - 1};
    int k = 8;
    while (k > 0 && 4 * opacity >> (k - 1) < ALPHA_MIN_Q16)
        k--;
    return roots[k];
}

/* 9.7: a product below this has a u or v of at most reach. */
static int64_t greatest_product(int32_t reach)
{
    return (((int64_t)reach + 1) << 22) + 4096;
}

static void find_rows(const Camera *camera, Projected *projected)
{
    projected->reach = greatest_reach(projected->opacity);
    int64_t half = greatest_product(projected->reach) / projected->l11;
    int64_t centre = (int64_t)projected->mean_y - 2048;
    projected->first_row = (int32_t)clamp((centre - half) >> 12, 0, camera->height);
    projected->end_row = (int32_t)clamp(((centre + half) >> 12) + 1, 0, camera->height);
    if (projected->reach == 0)
        projected->end_row = projected->first_row;
}

static int compare_depths(const void *a, const void *b)
{
    const Projected *x = a, *y = b;
    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

int32_t project_gaussians(const Scene *scene, const Camera *camera, Projected *list)
{
    View view = camera_view(camera);
    int32_t visible = 0;

    for (int32_t n = 0; n < scene->count; n++) {
        Projected *projected = &list[visible];
        if (!project_gaussian(&view, scene->mean[n], scene->factor[n], projected))
            continue;
        projected->index = n;
        projected->opacity = scene->opacity[n];
        colour_gaussian(&view, scene, n, projected);
        find_rows(camera, projected);
        visible++;
    }
    qsort(list, (size_t)visible, sizeof *list, compare_depths);
    return visible;
}

void projected_record(const Projected *projected, int32_t record[PROJECTED_FIELDS])
{
    const int32_t fields[PROJECTED_FIELDS] = {
        projected->index, projected->depth, projected->mean_x, projected->mean_y, projected->l00, projected->l01,
        projected->l11, projected->colour[0], projected->colour[1], projected->colour[2], projected->opacity
    };
    for (int n = 0; n < PROJECTED_FIELDS; n++)
        record[n] = fields[n];
}

/* 9.7 to 9.9: pixels ---------------------------------------------------------------------------------- */

typedef struct {
    int32_t transmittance;
    int32_t total[3];
} Pixel;

/* 9.7 */
static int32_t reach(int64_t distance)
{
    return (int32_t)least(REACH_MAX_Q14, magnitude_of(distance) >> 10);
}

/* 9.7 */
static int32_t pixel_alpha(int32_t u, int32_t v, int32_t opacity)
{
    uint32_t exponent = (uint32_t)u * (uint32_t)u + (uint32_t)v * (uint32_t)v;
    int32_t fraction = (int32_t)(exponent >> 13 & 32767);
    int32_t slope = 7554 - ((1282 * fraction) >> 15);
    slope = 22656 - ((slope * fraction) >> 15);
    int32_t weight = 65536 - ((slope * fraction) >> 14);
    return (int32_t)least(ALPHA_MAX_Q16, (opacity * weight) >> (14 + (exponent >> 28)));
}

/* 9.8 */
static void blend_pixel(Pixel *pixel, int32_t alpha, const int32_t colour[3])
{
    if (alpha < ALPHA_MIN_Q16)
        return;
    int32_t weight = (int32_t)(((int64_t)(pixel->transmittance >> 15) * alpha) >> 1);
    int32_t rest = pixel->transmittance - weight;
    if (rest < TRANSMITTANCE_MIN_Q30) {
        pixel->transmittance = -pixel->transmittance;
        return;
    }
    pixel->transmittance = rest;
    for (int channel = 0; channel < 3; channel++)
        pixel->total[channel] += ((weight + (1 << 13)) >> 14) * colour[channel];
}

static void blend_row(const Projected *projected, int y, int width, Pixel *row)
{
    int64_t dy = ((int64_t)y << 12) + 2048 - projected->mean_y;
    int32_t v = reach((projected->l11 * dy) >> 12);
    if (v > projected->reach)
        return;

    int64_t l00 = projected->l00, product = projected->l01 * dy, half = greatest_product(projected->reach);
    int64_t centre = (int64_t)projected->mean_x - 2048;
    int64_t first = clamp((centre + floor_divide(-product - half, l00)) >> 12, 0, width);
    int64_t end = clamp(((centre + floor_divide(-product + half, l00)) >> 12) + 2, 0, width);
    int64_t distance = (l00 * (4096 * first - centre) + product) >> 12;
    for (int64_t x = first; x < end; x++, distance += l00) {
        int32_t u = reach(distance);
        if (u <= projected->reach && row[x].transmittance > 0)
            blend_pixel(&row[x], pixel_alpha(u, v, projected->opacity), projected->colour);
    }
}

/* 9.8 */
static void finish_pixel(const Pixel *pixel, const Camera *camera, uint8_t image[PIXEL_BYTES])
{
    int64_t left = magnitude_of(pixel->transmittance) >> 10;

    for (int channel = 0; channel < 3; channel++) {
        int64_t sum = 255 * (int64_t)(pixel->total[channel] >> 8) + left * camera->background[channel];
        image[channel] = (uint8_t)least(255, round_shift(sum, 20));
    }
    image[3] = (uint8_t)round_shift(255 * ((1 << 20) - left), 20);
}

/* 9.9 */
int render_rows(const Projected *list, int32_t count, const Camera *camera, int first_row, uint8_t *image)
{
    int end_row = (int)least(first_row + ROWS_AT_ONCE, camera->height);
    size_t pixels = (size_t)(end_row - first_row) * (size_t)camera->width;
    Pixel *pixel = zeros(pixels, sizeof *pixel);

    for (size_t n = 0; n < pixels; n++)
        pixel[n].transmittance = TRANSMITTANCE_ONE_Q30;
    for (int32_t place = 0; place < count; place++) {
        int first = (int)greatest(first_row, list[place].first_row);
        int end = (int)least(end_row, list[place].end_row);
        for (int y = first; y < end; y++)
            blend_row(&list[place], y, camera->width, pixel + (int64_t)(y - first_row) * camera->width);
    }
    for (size_t n = 0; n < pixels; n++)
        finish_pixel(&pixel[n], camera, image + PIXEL_BYTES * n);
    free(pixel);
    return end_row - first_row;
}
