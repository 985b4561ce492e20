/*
 * Functions of modules that see all items of a chunk at once, as bytes or as the values of an array.
 */
#ifndef PMAP_HOST_CHUNKED_H
#define PMAP_HOST_CHUNKED_H

#include "daemon/worker/host/module.h"

/* What one call is given and has given. */
struct group {
    struct context context;
    struct outcome *outcomes;
    size_t room; /* of outcomes */
    struct out items, in, values, out, errors;
};

struct chunked {
    struct module *module;
    bool raw;
    struct group all, again; /* of the whole chunk; of one item that is tried again meanwhile */
};

/* Serves the present chunk. Returns 0 or -ENOMEM: the process can do nothing more. */
int chunked_serve(struct chunked *k, struct serve *s);

void chunked_free(struct chunked *k);

#endif
