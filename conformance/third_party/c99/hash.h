/* SPDX-License-Identifier: BSD-3-Clause */
/* SHA-256 (FIPS 180-4), the digests of clause 7.8 and the checksum of clause 8.6. */
#ifndef HASH_H
#define HASH_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BYTES = 16 };

typedef struct {
    uint32_t state[8];
    uint64_t length; /* in bytes */
    uint8_t block[64];
} Sha256;

void sha_start(Sha256 *sha);
void sha_bytes(Sha256 *sha, const uint8_t *bytes, size_t count);
void sha_int32(Sha256 *sha, const int32_t *values, size_t count); /* 9.10 */
void sha_digest(Sha256 *sha, uint8_t digest[DIGEST_BYTES]);       /* 7.8 */

uint32_t checksum(const uint8_t *data, int64_t start, int64_t end); /* 8.6 */

#endif
