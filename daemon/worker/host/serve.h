/*
 * What all kinds of functions share: how many items a process takes, how often an item is tried, how a result
 * goes to the worker; and the loop over functions that see one item at a time.
 */
#ifndef PMAP_HOST_SERVE_H
#define PMAP_HOST_SERVE_H

#include "daemon/functions/functions.h"
#include "daemon/worker/host/arena.h"

struct serve {
    struct channel channel;
    uint64_t retries; /* further attempts at an item that fails */
    uint64_t recycle; /* items that this process serves; 0: no limit */
    uint64_t served;
    struct out out; /* of the item under way, until its fate is known */
};

/* A function that sees one item at a time: as function_map, but what it is and its error are its cookie's. */
struct item_function {
    enum function_result (*map)(struct item_function *f, const uint8_t *item, size_t len, struct out *out);
    const char *error; /* with FUNCTION_FAILED */
};

/* How many items of the present chunk this process takes. */
uint64_t serve_limit(const struct serve *s);

/* How many attempts item i of the chunk has had in hosts that died of it. */
uint64_t serve_attempts(const struct serve *s, uint64_t i);

/*
 * Leaves the result of the next item: `len` bytes, or, where error is not NULL, that. tries: how often it was
 * tried, in all hosts. Returns 0 or -ECANCELED.
 */
int serve_result(struct serve *s, const uint8_t *result, size_t len, const char *error, uint64_t tries,
                 int64_t took_ns);

/* Serves the present chunk; ends early for YIELD, DROP and --recycle. */
void serve_items(struct serve *s, struct item_function *f);

/* Frees a buffer that one large result has made large. */
void serve_shrink(struct out *out);

#endif
