/*
 * length: the number of bytes in the item, in decimal.
 */
#include "daemon/functions/builtin.h"
#include "daemon/functions/number.h"

enum function_result builtin_length(struct function_context *context, const uint8_t *item, size_t len,
                                    struct out *out)
{
    (void)item;
    uint8_t *to = out_reserve(out, NUMBER_PRINT_MAX);
    if (!to)
        return builtin_no_memory(context);
    out->len += number_print_integer((__int128)len, to);
    return FUNCTION_OK;
}
