/*
 * What a module's function sees of us: the calls of pmap_module.h, for each kind of function, and what a call
 * has come to.
 */
#ifndef PMAP_HOST_CONTEXT_H
#define PMAP_HOST_CONTEXT_H

#include "common/pmap_module.h"
#include "daemon/worker/host/serve.h"

enum { CONTEXT_ERROR_MAX = 1024 };

/* What has become of an item of a call. */
struct outcome {
    size_t at, len; /* its result, in `out` */
    size_t error;   /* 1 + where its error is in `errors` (NUL-terminated); 0: none; see context_error */
    size_t value;   /* typed: its first value in the array; those without one have the next item's */
};

struct context {
    struct pmap_context base; /* first, so that it is the same pointer */
    struct channel *channel;
    enum { CONTEXT_INIT, CONTEXT_ITEM, CONTEXT_CHUNK, CONTEXT_TYPED } kind;
    size_t present; /* the item, of a typed function the value, that output and errors are for */
    size_t count;   /* of those there are */
    bool failed;    /* something has failed; error: why, of the last one */
    char error[CONTEXT_ERROR_MAX];
    struct out *out; /* where results go; NULL: nowhere */
    size_t begin;    /* where in it the present item's begins */
    size_t reserved;
    /* Chunk and typed functions: */
    struct outcome *outcomes;
    size_t items; /* how many there are of them */
    struct out *errors;
};

/* Makes it ready for a call; what is not named here is then empty. `first`: of the chunk, from 0. */
void context_begin(struct context *x, struct channel *channel, int kind, uint64_t first, size_t count,
                   struct out *out);

/* Is the call's return value, together with what was said in it, a failure? x->error is set then. */
bool context_failed(struct context *x, int returned);

/* Fails item i of a chunk's call; the text is copied. Of two errors the last one counts. */
void context_fail_item(struct context *x, size_t i, const char *text);

/* Why item i of a chunk's call has failed, or NULL: it has not. Good until the next error. */
const char *context_error(const struct context *x, size_t i);

/* Ends the present item's result; the function has returned, or gone on to another item. */
void context_end_item(struct context *x);

#endif
