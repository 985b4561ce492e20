/*
 * Results to where they go: stdout and stderr, a folder, the job log; and the count of what failed. Thread-
 * safety: none; one owner.
 */
#ifndef PMAPC_OUTPUT_H
#define PMAPC_OUTPUT_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/folder.h"
#include "client/pmapc/grow.h"
#include "client/pmapc/joblog.h"
#include "client/pmapc/shown.h"
#include "client/pmapc/tags.h"
#include "client/pmapc/trace.h"
#include "client/pmapc/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct output_options {
    bool verbatim; /* what commands wrote, byte for byte; else each result and end_of_result */
    unsigned char end_of_result;
    bool tag;              /* the item and a tab before each line of its result */
    bool flush;            /* results are shown as soon as they come, piece by piece */
    const char *halt;      /* what --halt said, for messages; NULL: nothing */
    struct folder *folder; /* NULL: none */
    struct joblog *joblog; /* NULL: none */
    struct trace *trace;   /* NULL: none */
    struct shown *shown;   /* how items are shown in it */
    bool feeds;            /* items are lines of their process's stdin */
    bool fields;           /* an item is several arguments, with NUL between them */
};

struct output {
    const struct output_options *options;
    struct writer writer; /* of stdout */
    bool simple;          /* results go to stdout and nowhere else */
    bool keeps_items;
    struct tags tags;
    struct grow command;
    bool in_result;                               /* a piece of a result has been written, and not its last */
    bool line_begins;                             /* with tags: the next byte of the result begins a line */
    bool remarked;                                /* a remark has been shown */
    uint64_t received;                            /* bytes of the result that is coming in pieces */
    uint64_t finished, failed, exited, cancelled; /* items; the latter two are among the failed */
};

/* Returns 0 or -ENOMEM. */
int output_init(struct output *o, const struct output_options *options);
void output_free(struct output *o);

/* An item has been put. Returns 0 or -ENOMEM. */
static inline int output_item(struct output *o, uint64_t index, const void *data, size_t len)
{
    return o->keeps_items ? tags_add(&o->tags, index, data, len) : 0;
}

/*
 * A result has come. Returns 0; a negative errno of stdout; or -ECANCELED: something else could not be
 * written, of which the user has been told.
 */
int output_result(struct output *o, const struct pmap_result *result);

/* Lets everything go that has been gathered. Returns as output_result. */
int output_flush(struct output *o);

/* Tells of the failures that were not told one by one. */
void output_summary(const struct output *o);

#endif
