/* SPDX-License-Identifier: BSD-3-Clause */
#include "metadata.h"

#include "hash.h"
#include "integers.h"
#include "memory.h"
#include "motion.h"

#include <stdlib.h>

/* 6.9.1 */
enum { TYPE_HASHES = 1, TYPE_CAMERA, TYPE_JOINT_NAME, TYPE_EXPRESSION_NAME, TYPE_DESCRIPTION };

/* 5.9.2 */
static void read_frame_hashes(Bits *bits, Metadata *metadata)
{
    FrameHashes hashes;

    hashes.frame = read_leb128(bits, in_range("hash_frame", 0, FRAME_LIMIT - 1));
    int camera_id = (int)read_unsigned(bits, 8, in_range("hash_camera", 0, 255));
    hashes.stages = (int)read_unsigned(bits, 8, in_range("hash_stages", 1, 255));
    for (int s = 0; s < 8; s++) {
        if (hashes.stages >> s & 1)
            skip_bytes(bits, DIGEST_BYTES);
    }
    hashes.camera = metadata->last_camera[camera_id];
    hashes.order = metadata->hash_count;
    if (failed(bits) || bits->position != bits->end)
        return;
    metadata->hashes = append(metadata->hashes, metadata->hash_count, sizeof hashes);
    metadata->hashes[metadata->hash_count++] = hashes;
}

/* 5.9.3 */
static void read_camera(Bits *bits, Metadata *metadata)
{
    Camera camera;
    int32_t rotation[3];

    camera.id = (int)read_unsigned(bits, 8, in_range("camera_id", 0, 255));
    camera.width = (int)read_unsigned(bits, 16, in_range("camera_width", 1, 4096));
    camera.height = (int)read_unsigned(bits, 16, in_range("camera_height", 1, 4096));
    for (int c = 0; c < 3; c++)
        camera.background[c] = (uint8_t)read_unsigned(bits, 8, in_range("camera_background", 0, 255));
    for (int c = 0; c < 3; c++)
        rotation[c] = (int32_t)read_signed(bits, 32, in_range("camera_rotation", -ROTATION_LIMIT, ROTATION_LIMIT));
    for (int c = 0; c < 3; c++) {
        Range range = in_range("camera_translation", -WORLD_LIMIT, WORLD_LIMIT);
        camera.translation[c] = (int32_t)read_signed(bits, 32, range);
    }
    for (int c = 0; c < 2; c++)
        camera.focal[c] = (int32_t)read_unsigned(bits, 32, in_range("camera_focal", 256, 1 << 22));
    for (int c = 0; c < 2; c++)
        camera.principal[c] = (int32_t)read_signed(bits, 32, in_range("camera_principal", -(1 << 21), 1 << 21));
    matrix_from_vector(rotation[0], rotation[1], rotation[2], camera.rotation);
    if (failed(bits) || bits->position != bits->end)
        return;
    metadata->cameras = append(metadata->cameras, metadata->camera_count, sizeof camera);
    metadata->cameras[metadata->camera_count++] = camera;
    metadata->last_camera[camera.id] = metadata->camera_count;
}

/* 5.9.1 */
bool read_metadata_unit(Bits *bits, Metadata *metadata)
{
    bits->clause = "5.9";
    switch (read_unsigned(bits, 8, in_range("metadata_type", 0, 255))) {
    case TYPE_HASHES:
        read_frame_hashes(bits, metadata);
        return true;
    case TYPE_CAMERA:
        read_camera(bits, metadata);
        return true;
    case TYPE_JOINT_NAME:
    case TYPE_EXPRESSION_NAME:
        read_unsigned(bits, 8, in_range("name_index", 0, 255));
        return false;
    default:
        return false;
    }
}

static int compare_hashes(const void *a, const void *b)
{
    const FrameHashes *x = a, *y = b;
    if (x->frame != y->frame)
        return x->frame < y->frame ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

void sort_hashes(Metadata *metadata)
{
    if (metadata->hash_count > 0)
        qsort(metadata->hashes, metadata->hash_count, sizeof *metadata->hashes, compare_hashes);
}

/* The place of the first hashes of a frame or of one behind it. */
static size_t first_hashes(const Metadata *metadata, int64_t frame)
{
    size_t low = 0, high = metadata->hash_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (metadata->hashes[middle].frame < frame)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The last camera of the stream with the least identity, by its number. */
static size_t least_camera(const Metadata *metadata)
{
    for (int id = 0; id < 256; id++) {
        if (metadata->last_camera[id] > 0)
            return metadata->last_camera[id];
    }
    return 0;
}

/* A.3.3 */
const Camera *camera_of_frame(const Metadata *metadata, int64_t frame, Stage stage)
{
    size_t camera = 0;

    for (size_t n = first_hashes(metadata, frame); n < metadata->hash_count; n++) {
        const FrameHashes *hashes = &metadata->hashes[n];
        if (hashes->frame != frame)
            break;
        if (hashes->stages >> stage & 1)
            camera = hashes->camera;
    }
    if (camera == 0)
        camera = least_camera(metadata);
    return camera == 0 ? NULL : &metadata->cameras[camera - 1];
}

void free_metadata(Metadata *metadata)
{
    free(metadata->cameras);
    free(metadata->hashes);
}
