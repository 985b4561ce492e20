/*
 * Builtins in a process of the user's (--isolate).
 */
#ifndef PMAP_HOST_ISOLATED_H
#define PMAP_HOST_ISOLATED_H

#include "daemon/worker/host/serve.h"

struct isolated {
    struct item_function base;
    const struct function *function;
    struct function_context context;
};

/* Finds the builtin. Returns 0, or -ENOENT with a line for the user in why. */
int isolated_init(struct isolated *b, const char *name, struct channel *channel, char *why, size_t why_size);

#endif
