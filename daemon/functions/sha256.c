/*
 * sha256: the item's SHA-256 digest in lower-case hexadecimal, by nettle, which takes the CPU's own
 * instructions for it.
 */
#include "daemon/functions/builtin.h"

#include <nettle/sha2.h>

enum function_result builtin_sha256(struct function_context *context, const uint8_t *item, size_t len,
                                    struct out *out)
{
    static const char hex[] = "0123456789abcdef";
    struct sha256_ctx state;
    sha256_init(&state);
    for (size_t done = 0; done < len;) {
        size_t piece = len - done < BUILTIN_PIECE ? len - done : BUILTIN_PIECE;
        sha256_update(&state, piece, item + done);
        done += piece;
        if (done < len && builtin_cancelled(context))
            return FUNCTION_CANCELLED;
    }
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&state, sizeof digest, digest);
    uint8_t *to = out_reserve(out, 2 * sizeof digest);
    if (!to)
        return builtin_no_memory(context);
    for (size_t i = 0; i < sizeof digest; i++) {
        *to++ = (uint8_t)hex[digest[i] >> 4];
        *to++ = (uint8_t)hex[digest[i] & 15];
    }
    out->len += 2 * sizeof digest;
    return FUNCTION_OK;
}
