/* SPDX-License-Identifier: BSD-3-Clause */
#include "headers.h"

enum { SIGNATURE = 0x48474131 };

/* A.2 */
const Limits *level_limits(int level)
{
    static const Limits limits[3] = {
        {1 << 22, 64, 1 << 15, 64, 1 << 21, 64, 512, 1 << 20, (int64_t)1 << 31, 1 << 23},
        {1 << 24, 128, 1 << 17, 128, 1 << 23, 128, 1024, 1 << 22, (int64_t)1 << 33, 1 << 25},
        {1 << 26, 255, 1 << 19, 255, 1 << 25, 128, 2048, 1 << 24, (int64_t)1 << 35, 1 << 26},
    };
    return &limits[level > 0 ? level - 1 : 2];
}

/* 5.4 */
void read_sequence_header(Bits *bits, SequenceHeader *header)
{
    bits->clause = "5.4";
    read_unsigned(bits, 32, in_range_or(MALFORMED, "signature", SIGNATURE, SIGNATURE));
    read_unsigned(bits, 8, in_range_or(UNSUPPORTED, "version", 1, 1));
    header->profile = (Profile)read_unsigned(bits, 8, in_range_or(UNSUPPORTED, "profile", 0, PROFILE_GENERATIVE));
    header->level = (int)read_unsigned(bits, 8, in_range_or(UNSUPPORTED, "level", 1, 3));
    header->frame_rate_numerator = read_leb128(bits, in_range("frame_rate_numerator", 1, 1000000));
    header->frame_rate_denominator = read_leb128(bits, in_range("frame_rate_denominator", 1, 1000000));
    read_unsigned(bits, 8, in_range_or(UNSUPPORTED, "coordinates", 0, 0));
    read_unsigned(bits, 8, in_range_or(UNSUPPORTED, "sequence_tools", 0, 0));
}

int component_count(const AvatarHeader *header)
{
    return 3 + 3 * header->joint_count + header->expression_count;
}

int32_t chunk_count(const AvatarHeader *header)
{
    return (header->gaussian_count - 1) / header->chunk_size + 1;
}

static void read_joints(Bits *bits, const Limits *limits, AvatarHeader *header)
{
    header->joint_count = (int)read_unsigned(bits, 8, in_range("joint_count", 1, MAX_JOINTS));
    check(bits, header->joint_count <= limits->joints, RESOURCE_LIMIT, "level_joints", "A.2");
    for (int j = 0; j < header->joint_count && !failed(bits); j++) {
        if (j > 0)
            header->joint_parent[j] = (uint8_t)read_unsigned(bits, 8, in_range("joint_parent", 0, j - 1));
        for (int c = 0; c < 3; c++)
            header->joint_offset[j][c] = (int32_t)read_signed(bits, 24, in_range("joint_offset", -8388608, 8388607));
    }
}

static int32_t read_step(Bits *bits, const char *element, int64_t low, int64_t high)
{
    return (int32_t)read_leb128(bits, in_range(element, low, high));
}

static void read_gaussian_format(Bits *bits, const Limits *limits, AvatarHeader *header)
{
    header->gaussian_count = (int32_t)read_leb128(bits, in_range("gaussian_count", 1, 1 << 24));
    check(bits, header->gaussian_count <= limits->gaussians, RESOURCE_LIMIT, "level_gaussians", "A.2");
    header->chunk_size = (int32_t)read_leb128(bits, in_range("chunk_size", 1, 1 << 24));
    header->sh_degree = (int)read_unsigned(bits, 2, in_range("sh_degree", 0, 3));
    header->influence_limit = (int)read_unsigned(bits, 3, in_range("influence_limit", 0, 7));
    header->skin_weight_bits = (int)read_unsigned(bits, 3, in_range("skin_weight_bits", 0, 7));
    header->position_step = read_step(bits, "position_step", 1, 1 << 18);
    header->scale_step = read_step(bits, "scale_step", 1, 1 << 19);
    header->scale_blur = read_step(bits, "scale_blur", 0, 1638400);
    header->gaussian_rotation_step = read_step(bits, "gaussian_rotation_step", 1, 1 << 27);
    header->opacity_step = read_step(bits, "opacity_step", 1, 1 << 14);
    header->opacity_power = (int)read_unsigned(bits, 8, in_range("opacity_power", 1, 3));
    for (int b = 0; b < header->sh_degree + 1; b++)
        header->sh_step[b] = read_step(bits, "sh_step", 1, 1 << 14);
}

static void read_expression_format(Bits *bits, const Limits *limits, AvatarHeader *header)
{
    header->expression_count = (int)read_unsigned(bits, 8, in_range("expression_count", 0, MAX_EXPRESSIONS));
    int64_t offsets = (int64_t)header->expression_count * header->gaussian_count;
    check(bits, header->expression_count <= limits->expressions, RESOURCE_LIMIT, "level_expressions", "A.2");
    check(bits, offsets <= limits->expression_offsets, RESOURCE_LIMIT, "level_expression_offsets", "A.2");
    header->expression_offset_step = 1;
    if (header->expression_count > 0)
        header->expression_offset_step = read_step(bits, "expression_offset_step", 1, 1 << 18);
}

/* 5.5 */
void read_avatar_header(Bits *bits, const Limits *limits, AvatarHeader *header)
{
    bits->clause = "5.5";
    read_unsigned(bits, 8, in_range_or(UNSUPPORTED, "template_family", 0, 5));
    read_joints(bits, limits, header);
    read_gaussian_format(bits, limits, header);
    read_expression_format(bits, limits, header);
    for (int n = 0; n < component_count(header) && !failed(bits); n++)
        header->step_code[n] = (uint8_t)read_unsigned(bits, 8, in_range("step_code", 0, 199));
}
