/*
 * echo: the item as it is.
 */
#include "daemon/functions/builtin.h"

#include <string.h>

enum function_result builtin_echo(struct function_context *context, const uint8_t *item, size_t len,
                                  struct out *out)
{
    uint8_t *to = out_reserve(out, len);
    if (!to)
        return builtin_no_memory(context);
    for (size_t done = 0; done < len;) {
        size_t piece = len - done < BUILTIN_PIECE ? len - done : BUILTIN_PIECE;
        memcpy(to + done, item + done, piece);
        done += piece;
        if (done < len && builtin_cancelled(context))
            return FUNCTION_CANCELLED;
    }
    out->len += len;
    return FUNCTION_OK;
}
