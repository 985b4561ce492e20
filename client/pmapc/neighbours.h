/*
 * What others do in the pool while something is measured in it. One's own other jobs are others', too.
 */
#ifndef PMAPC_NEIGHBOURS_H
#define PMAPC_NEIGHBOURS_H

#include "client/libpmap/pmap.h"

#include <stdbool.h>
#include <stdint.h>

/* The pool, at a moment at which no job of this connection's is open. */
struct neighbours {
    bool known;     /* false: the daemon did not say */
    int64_t now_ns; /* of CLOCK_MONOTONIC */
    double run_s;   /* busy slot time since the daemon's start */
    unsigned busy;  /* slots in use */
};

/* Asks the daemon. Returns 0, or an exit status having told that it was lost. */
int neighbours_look(pmap *pool, struct neighbours *out);

/*
 * The mean number of slots that others used between two looks, the jobs of this connection's having run for
 * own_s. Of a chunk that is long the daemon may not have said its time yet: slots that were in use both times
 * count as in use in between. A value below 0: not known.
 */
double neighbours_slots(const struct neighbours *before, const struct neighbours *after, double own_s);

#endif
