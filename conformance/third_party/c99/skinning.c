/* SPDX-License-Identifier: BSD-3-Clause */
#include "skinning.h"

#include "integers.h"
#include "memory.h"

#include <stdlib.h>

enum { SKIN_WEIGHT_BITS = 16 };

/* 7.6: joints ----------------------------------------------------------------------------------------- */

static void place_root(const AvatarHeader *header, const int32_t *pose, const int32_t local[9], Joints *joints)
{
    for (int r = 0; r < 3; r++) {
        joints->rest[0][r] = header->joint_offset[0][r];
        joints->place[0][r] = (int32_t)limit((int64_t)header->joint_offset[0][r] + pose[r], WORLD_LIMIT);
    }
    for (int n = 0; n < 9; n++)
        joints->matrices[0][n] = local[n];
}

static void place_joint(const AvatarHeader *header, int j, const int32_t local[9], Joints *joints)
{
    int p = header->joint_parent[j];
    const int32_t *offset = header->joint_offset[j];

    for (int r = 0; r < 3; r++) {
        const int32_t *row = &joints->matrices[p][3 * r];
        int64_t moved = rotate_row(row, offset[0], offset[1], offset[2]);
        joints->rest[j][r] = (int32_t)limit((int64_t)joints->rest[p][r] + offset[r], WORLD_LIMIT);
        joints->place[j][r] = (int32_t)limit(joints->place[p][r] + moved, WORLD_LIMIT);
        for (int c = 0; c < 3; c++) {
            int64_t entry = rotate_row(row, local[c], local[3 + c], local[6 + c]);
            joints->matrices[j][3 * r + c] = (int32_t)limit(entry, Q30_ONE);
        }
    }
}

void decode_joints(const AvatarHeader *header, const int32_t *pose, Joints *joints)
{
    for (int j = 0; j < header->joint_count; j++) {
        const int32_t *vector = &pose[3 + 3 * j], *rest = joints->rest[j];
        int32_t local[9];

        matrix_from_vector(vector[0], vector[1], vector[2], local);
        if (j == 0)
            place_root(header, pose, local, joints);
        else
            place_joint(header, j, local, joints);
        for (int r = 0; r < 3; r++) {
            int64_t rotated = rotate_row(&joints->matrices[j][3 * r], rest[0], rest[1], rest[2]);
            joints->matrices[j][9 + r] = (int32_t)(joints->place[j][r] - rotated);
        }
    }
}

/* 7.7: Gaussians -------------------------------------------------------------------------------------- */

Gaussians *new_gaussians(int32_t count)
{
    Gaussians *gaussians = zeros(1, sizeof *gaussians);
    gaussians->displacement = zeros((size_t)count, sizeof *gaussians->displacement);
    gaussians->mean = zeros((size_t)count, sizeof *gaussians->mean);
    gaussians->factor = zeros((size_t)count, sizeof *gaussians->factor);
    gaussians->blend = zeros((size_t)count, sizeof *gaussians->blend);
    return gaussians;
}

void free_gaussians(Gaussians *gaussians)
{
    if (gaussians == NULL)
        return;
    free(gaussians->displacement);
    free(gaussians->mean);
    free(gaussians->factor);
    free(gaussians->blend);
    free(gaussians);
}

/* 7.7.1 */
void displace_gaussians(const Avatar *avatar, const int32_t *pose, Gaussians *gaussians)
{
    const AvatarHeader *header = &avatar->header;
    const int32_t *weight = &pose[3 + 3 * header->joint_count];
    int active[MAX_EXPRESSIONS], active_count = 0;

    for (int e = 0; e < header->expression_count; e++) {
        if (avatar->offsets[e] != NULL && weight[e] != 0)
            active[active_count++] = e;
    }
    for (int32_t i = 0; i < header->gaussian_count; i++) {
        for (int c = 0; c < 3; c++) {
            int64_t total = 0;
            for (int n = 0; n < active_count; n++)
                total += (int64_t)weight[active[n]] * avatar->offsets[active[n]][i][c];
            gaussians->displacement[i][c] = (int32_t)limit(round_shift(total, 14), DISPLACEMENT_LIMIT);
        }
    }
}

/* The mean of one row of the matrices of the joints of a Gaussian: three entries in Q.30, one in Q.20 m. */
static void blend_row(const Joints *joints, const uint8_t *joint, const int32_t *weight, int r, int32_t row[4])
{
    int64_t sum[4] = {0, 0, 0, 0};

    for (int k = 0; k < INFLUENCES; k++) {
        if (weight[k] == 0)
            continue;
        const int32_t *matrix = joints->matrices[joint[k]];
        for (int c = 0; c < 3; c++)
            sum[c] += (int64_t)weight[k] * matrix[3 * r + c];
        sum[3] += (int64_t)weight[k] * matrix[9 + r];
    }
    for (int n = 0; n < 4; n++)
        row[n] = (int32_t)round_shift(sum[n], SKIN_WEIGHT_BITS);
}

/* 7.7.2 */
void skin_gaussians(const Avatar *avatar, const Joints *joints, int32_t (*displacement)[3], int32_t (*factor)[9],
                    Gaussians *gaussians)
{
    for (int32_t i = 0; i < avatar->header.gaussian_count; i++) {
        int64_t point[3];
        for (int c = 0; c < 3; c++)
            point[c] = (int64_t)avatar->position[i][c] + displacement[i][c];
        for (int r = 0; r < 3; r++) {
            int32_t row[4];
            blend_row(joints, avatar->joint[i], avatar->weight[i], r, row);
            int64_t moved = rotate_row(row, point[0], point[1], point[2]) + row[3];
            gaussians->mean[i][r] = (int32_t)limit(moved, WORLD_LIMIT);
            for (int s = 0; s < 3; s++) {
                gaussians->blend[i][3 * r + s] = row[s];
                gaussians->factor[i][3 * r + s] =
                    (int32_t)rotate_row(row, factor[i][s], factor[i][3 + s], factor[i][6 + s]);
            }
        }
    }
}
