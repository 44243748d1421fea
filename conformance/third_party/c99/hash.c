/* SPDX-License-Identifier: BSD-3-Clause */
#include "hash.h"

#include <string.h>

static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

static uint32_t turn(uint32_t x, int bits)
{
    return x >> bits | x << (32 - bits);
}

/* FIPS 180-4, 6.2.2, step 3. v holds the working variables a to h; instead of moving them in every round
 * their place is turned, so that variable n of round t is entry (n - t) mod 8. */
static inline void do_round(uint32_t v[8], int t, uint32_t word)
{
    uint32_t a = v[(0 - t) & 7], b = v[(1 - t) & 7], c = v[(2 - t) & 7];
    uint32_t e = v[(4 - t) & 7], f = v[(5 - t) & 7], g = v[(6 - t) & 7];
    uint32_t first = v[(7 - t) & 7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + word;
    uint32_t second = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));

    v[(3 - t) & 7] += first;
    v[(7 - t) & 7] = first + second;
}

/* FIPS 180-4, 6.2.2 */
static void compress(uint32_t state[8], const uint8_t block[64])
{
    uint32_t w[64], v[8];

    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8
             | block[4 * t + 3];
    for (int t = 16; t < 64; t++) {
        uint32_t a = w[t - 15], b = w[t - 2];
        w[t] = w[t - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[t - 7] + (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof v);
    for (int t = 0; t < 64; t += 8) {
        do_round(v, 0, ROUND[t] + w[t]);
        do_round(v, 1, ROUND[t + 1] + w[t + 1]);
        do_round(v, 2, ROUND[t + 2] + w[t + 2]);
        do_round(v, 3, ROUND[t + 3] + w[t + 3]);
        do_round(v, 4, ROUND[t + 4] + w[t + 4]);
        do_round(v, 5, ROUND[t + 5] + w[t + 5]);
        do_round(v, 6, ROUND[t + 6] + w[t + 6]);
        do_round(v, 7, ROUND[t + 7] + w[t + 7]);
    }
    for (int n = 0; n < 8; n++)
        state[n] += v[n];
}

void sha_start(Sha256 *sha)
{
    static const uint32_t initial[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
    };
    memcpy(sha->state, initial, sizeof initial);
    sha->length = 0;
}

void sha_bytes(Sha256 *sha, const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        size_t filled = sha->length % 64;
        size_t part = count < 64 - filled ? count : 64 - filled;
        memcpy(sha->block + filled, bytes, part);
        sha->length += part;
        bytes += part;
        count -= part;
        if (filled + part == 64)
            compress(sha->state, sha->block);
    }
}

void sha_int32(Sha256 *sha, const int32_t *values, size_t count)
{
    uint8_t bytes[256];

    for (size_t n = 0; n < count;) {
        size_t filled = 0;
        for (; n < count && filled < sizeof bytes; n++) {
            uint32_t value = (uint32_t)values[n];
            for (int k = 0; k < 4; k++)
                bytes[filled++] = (uint8_t)(value >> (8 * k));
        }
        sha_bytes(sha, bytes, filled);
    }
}

void sha_digest(Sha256 *sha, uint8_t digest[DIGEST_BYTES])
{
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = 8 * sha->length;
    uint8_t length[8];

    for (int n = 0; n < 8; n++)
        length[n] = (uint8_t)(bits >> (56 - 8 * n));
    sha_bytes(sha, padding, 1 + (119 - sha->length % 64) % 64);
    sha_bytes(sha, length, 8);
    for (int n = 0; n < DIGEST_BYTES; n++)
        digest[n] = (uint8_t)(sha->state[n / 4] >> (24 - 8 * (n % 4)));
}

uint32_t checksum(const uint8_t *data, int64_t start, int64_t end)
{
    uint32_t reg = UINT32_MAX;
    for (int64_t position = start; position < end; position++) {
        reg ^= data[position];
        for (int step = 0; step < 8; step++)
            reg = reg & 1 ? reg >> 1 ^ 0xedb88320 : reg >> 1;
    }
    return ~reg;
}
