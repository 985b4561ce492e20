/*
 * upper: ASCII letters in upper case, all other bytes as they are, whatever the locale.
 */
#include "daemon/functions/builtin.h"

/* No branch and no overlap, so that the compiler makes vector code of it. */
static void upper(uint8_t *restrict to, const uint8_t *restrict from, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = from[i];
        uint8_t is_lower = (uint8_t)(c - 'a') < 26;
        to[i] = (uint8_t)(c - (is_lower << 5));
    }
}

enum function_result builtin_upper(struct function_context *context, const uint8_t *item, size_t len,
                                   struct out *out)
{
    return builtin_bytes(context, item, len, out, upper);
}
