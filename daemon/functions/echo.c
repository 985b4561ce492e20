/*
 * echo: the item as it is.
 */
#include "daemon/functions/builtin.h"

#include <string.h>

static void copy(uint8_t *restrict to, const uint8_t *restrict from, size_t len)
{
    memcpy(to, from, len);
}

enum function_result builtin_echo(struct function_context *context, const uint8_t *item, size_t len,
                                  struct out *out)
{
    return builtin_bytes(context, item, len, out, copy);
}
