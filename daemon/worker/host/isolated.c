/*
 * Builtins in a process of the user's; see isolated.h.
 */
#include "daemon/worker/host/isolated.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool cancelled(void *cookie, int64_t timeout_ns)
{
    return channel_cancelled(cookie, timeout_ns);
}

static enum function_result map(struct item_function *f, const uint8_t *item, size_t len, struct out *out)
{
    struct isolated *b = (struct isolated *)f;
    return b->function->map(&b->context, item, len, out);
}

int isolated_init(struct isolated *b, const char *name, struct channel *channel, char *why, size_t why_size)
{
    *b = (struct isolated){.function = function_find(name, strlen(name))};
    b->base.map = map;
    b->base.error = b->context.error;
    b->context.cancelled = cancelled;
    b->context.cookie = channel;
    if (b->function)
        return 0;
    const char *meant = function_suggest(name, strlen(name));
    snprintf(why, why_size, "unknown function '%s'%s%s%s", name, meant ? "; did you mean '" : "",
             meant ? meant : "", meant ? "'?" : "");
    return -ENOENT;
}
