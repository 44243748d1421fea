/* SPDX-License-Identifier: BSD-3-Clause */
#include "frames.h"

#include "memory.h"

#include <stdlib.h>
#include <string.h>

const char *const stage_names[STAGE_COUNT] = {
    "symbols", "pose", "joints", "gaussians", "projected", "pixels", "canonical", "maps"
};

FrameMaker *new_frame_maker(const AvatarHeader *header, unsigned wanted)
{
    FrameMaker *maker = zeros(1, sizeof *maker);
    maker->wanted = wanted;
    maker->gaussians = new_gaussians(header->gaussian_count);
    maker->projected = zeros((size_t)header->gaussian_count, sizeof *maker->projected);
    return maker;
}

void free_frame_maker(FrameMaker *maker)
{
    if (maker == NULL)
        return;
    free_gaussians(maker->gaussians);
    free(maker->projected);
    free_moved(maker->moved);
    free(maker);
}

static bool is_wanted(const FrameMaker *maker, Stage stage)
{
    return maker->wanted >> stage & 1;
}

static void keep_digest(Digests *digests, Stage stage, Sha256 *sha)
{
    sha_digest(sha, digests->digest[stage]);
    digests->stages |= 1u << stage;
}

static void hash_int32(Digests *digests, Stage stage, const int32_t *values, size_t count)
{
    Sha256 sha;
    sha_start(&sha);
    sha_int32(&sha, values, count);
    keep_digest(digests, stage, &sha);
}

/* 7.8: what is narrower than 32 bits is widened. */
static void hash_colours(Sha256 *sha, const Avatar *avatar)
{
    size_t rows = (size_t)avatar->header.gaussian_count * (size_t)avatar->sh_coefficients;
    for (size_t n = 0; n < rows; n++) {
        const int32_t sh[3] = {avatar->sh[n][0], avatar->sh[n][1], avatar->sh[n][2]};
        sha_int32(sha, sh, 3);
    }
}

static void hash_influences(Sha256 *sha, const Avatar *avatar)
{
    size_t count = (size_t)avatar->header.gaussian_count;
    for (size_t n = 0; n < count; n++) {
        int32_t joint[INFLUENCES];
        for (int k = 0; k < INFLUENCES; k++)
            joint[k] = avatar->joint[n][k];
        sha_int32(sha, joint, INFLUENCES);
    }
    sha_int32(sha, avatar->weight[0], INFLUENCES * count);
}

/* 7.8: the offsets of an expression that has not been received are zeros. */
static void hash_offsets(Sha256 *sha, const Avatar *avatar, int e)
{
    static const int32_t none[384];
    size_t left = 3 * (size_t)avatar->header.gaussian_count;

    if (avatar->offsets[e] != NULL) {
        sha_int32(sha, avatar->offsets[e][0], left);
        return;
    }
    while (left > 0) {
        size_t part = left < 384 ? left : 384;
        sha_int32(sha, none, part);
        left -= part;
    }
}

/* 7.8: canonical */
static void hash_canonical(const Avatar *avatar, uint8_t digest[DIGEST_BYTES])
{
    size_t count = (size_t)avatar->header.gaussian_count;
    Sha256 sha;

    sha_start(&sha);
    sha_int32(&sha, avatar->position[0], 3 * count);
    sha_int32(&sha, avatar->factor[0], 9 * count);
    sha_int32(&sha, avatar->opacity, count);
    hash_colours(&sha, avatar);
    hash_influences(&sha, avatar);
    for (int e = 0; e < avatar->header.expression_count; e++)
        hash_offsets(&sha, avatar, e);
    sha_digest(&sha, digest);
}

static void make_canonical(FrameMaker *maker, const Avatar *avatar, Digests *digests)
{
    if (!maker->canonical_known)
        hash_canonical(avatar, maker->canonical);
    maker->canonical_known = true;
    memcpy(digests->digest[STAGE_CANONICAL], maker->canonical, DIGEST_BYTES);
    digests->stages |= 1u << STAGE_CANONICAL;
}

static void hash_maps(const int16_t *maps, int64_t count, Digests *digests)
{
    Sha256 sha;

    sha_start(&sha);
    for (int64_t n = 0; n < count; n++)
        sha_int32(&sha, &(int32_t){maps[n]}, 1);
    keep_digest(digests, STAGE_MAPS, &sha);
}

/* 6.11.5: the steps that a generator adds. */
static void generate(FrameMaker *maker, const Avatar *avatar, const Generator *generator, const int32_t *pose,
                     Digests *digests)
{
    Gaussians *gaussians = maker->gaussians;
    int16_t *maps = generate_maps(generator, avatar, pose, &maker->joints, gaussians);

    if (is_wanted(maker, STAGE_MAPS))
        hash_maps(maps, map_values(generator), digests);
    if (maker->moved == NULL)
        maker->moved = new_moved(avatar->header.gaussian_count);
    offset_gaussians(generator, avatar, maps, gaussians->displacement, maker->moved);
    skin_gaussians(avatar, &maker->joints, maker->moved->displacement, maker->moved->factor, gaussians);
    free(maps);
}

/* 6.11.5, from step 2 on */
static void make_gaussians(FrameMaker *maker, const Avatar *avatar, const Generator *generator, const int32_t *pose,
                           Digests *digests)
{
    Gaussians *gaussians = maker->gaussians;

    displace_gaussians(avatar, pose, gaussians);
    skin_gaussians(avatar, &maker->joints, gaussians->displacement, avatar->factor, gaussians);
    if (generator != NULL)
        generate(maker, avatar, generator, pose, digests);
}

/* moved is NULL without a generator. */
static void hash_gaussians(const Avatar *avatar, const Gaussians *gaussians, const Moved *moved, Digests *digests)
{
    Sha256 sha;

    sha_start(&sha);
    for (int32_t i = 0; i < avatar->header.gaussian_count; i++) {
        sha_int32(&sha, gaussians->mean[i], 3);
        sha_int32(&sha, gaussians->factor[i], 9);
        sha_int32(&sha, gaussians->blend[i], 9);
    }
    for (int32_t i = 0; i < avatar->header.gaussian_count && moved != NULL; i++) {
        sha_int32(&sha, &moved->opacity[i], 1);
        sha_int32(&sha, moved->colour[i], 3);
    }
    keep_digest(digests, STAGE_GAUSSIANS, &sha);
}

/* 9.10 */
static void hash_projected(const Projected *list, int32_t count, Digests *digests)
{
    Sha256 sha;

    sha_start(&sha);
    for (int32_t n = 0; n < count; n++) {
        int32_t record[PROJECTED_FIELDS];
        projected_record(&list[n], record);
        sha_int32(&sha, record, PROJECTED_FIELDS);
    }
    keep_digest(digests, STAGE_PROJECTED, &sha);
}

/* 9.10 */
static void hash_pixels(const Projected *list, int32_t count, const Camera *camera, Digests *digests)
{
    size_t row_bytes = (size_t)camera->width * PIXEL_BYTES;
    uint8_t *image = zeros(ROWS_AT_ONCE, row_bytes);
    Sha256 sha;

    sha_start(&sha);
    for (int row = 0; row < camera->height;) {
        int rows = render_rows(list, count, camera, row, image);
        sha_bytes(&sha, image, (size_t)rows * row_bytes);
        row += rows;
    }
    keep_digest(digests, STAGE_PIXELS, &sha);
    free(image);
}

/* 6.11.6 */
static Scene scene_of(const Avatar *avatar, const Gaussians *gaussians, const Moved *moved)
{
    return (Scene){
        avatar->header.gaussian_count, gaussians->mean, gaussians->factor, gaussians->blend,
        moved != NULL ? moved->opacity : avatar->opacity,
        avatar->header.sh_degree, avatar->sh, moved != NULL ? moved->colour : NULL
    };
}

/* 6.11.6, A.3.3: the two stages may be asked for with different cameras. */
static void make_picture(const FrameMaker *maker, const Scene *scene, const Camera *projecting,
                         const Camera *rendering, Digests *digests)
{
    int32_t count = 0;

    if (projecting != NULL)
        count = project_gaussians(scene, projecting, maker->projected);
    if (projecting != NULL && is_wanted(maker, STAGE_PROJECTED))
        hash_projected(maker->projected, count, digests);
    if (rendering == NULL || !is_wanted(maker, STAGE_PIXELS))
        return;
    if (rendering != projecting)
        count = project_gaussians(scene, rendering, maker->projected);
    hash_pixels(maker->projected, count, rendering, digests);
}

Digests make_frame(FrameMaker *maker, const Avatar *avatar, const Generator *generator, const Metadata *metadata,
                   int64_t frame, const int32_t *symbols, const int32_t *pose)
{
    const AvatarHeader *header = &avatar->header;
    size_t components = (size_t)component_count(header);
    Digests digests = {0, {{0}}};

    if (is_wanted(maker, STAGE_CANONICAL))
        make_canonical(maker, avatar, &digests);
    if (is_wanted(maker, STAGE_SYMBOLS))
        hash_int32(&digests, STAGE_SYMBOLS, symbols, components);
    if (is_wanted(maker, STAGE_POSE))
        hash_int32(&digests, STAGE_POSE, pose, components);

    decode_joints(header, pose, &maker->joints);
    if (is_wanted(maker, STAGE_JOINTS))
        hash_int32(&digests, STAGE_JOINTS, maker->joints.matrices[0], 12 * (size_t)header->joint_count);

    bool picture = is_wanted(maker, STAGE_PROJECTED) || is_wanted(maker, STAGE_PIXELS);
    if (!picture && !is_wanted(maker, STAGE_GAUSSIANS) && !is_wanted(maker, STAGE_MAPS))
        return digests;
    make_gaussians(maker, avatar, generator, pose, &digests);
    const Moved *moved = generator != NULL ? maker->moved : NULL;
    if (is_wanted(maker, STAGE_GAUSSIANS))
        hash_gaussians(avatar, maker->gaussians, moved, &digests);
    if (picture) {
        Scene scene = scene_of(avatar, maker->gaussians, moved);
        make_picture(maker, &scene, camera_of_frame(metadata, frame, STAGE_PROJECTED),
                     camera_of_frame(metadata, frame, STAGE_PIXELS), &digests);
    }
    return digests;
}
