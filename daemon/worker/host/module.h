/*
 * Modules: loading one, finding a function in it, and running the functions that see one item at a time.
 * Those that see a chunk at once are chunked.h's.
 */
#ifndef PMAP_HOST_MODULE_H
#define PMAP_HOST_MODULE_H

#include "daemon/worker/host/context.h"

struct module {
    struct item_function base; /* for functions that see one item at a time */
    const struct pmap_module *object;
    const struct pmap_function *function;
    struct channel *channel;
    struct context context;
};

/*
 * Loads the shared object, finds the function in it that takes values of that type (NULL: items) and calls
 * init. Returns 0, or a negative errno with a line for the user in why. A module stays loaded until the
 * process ends.
 */
int module_init(struct module *m, const char *path, const char *name, const char *type, bool raw,
                struct channel *channel, char *why, size_t why_size);

/* Calls fini. */
void module_fini(struct module *m);

/* For behind each call of a function: what it has printed goes out, so that it is told with the item under
 * way. */
void module_flush(void);

#endif
