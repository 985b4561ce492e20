/*
 * Which pool pmapc talks to, and the connection to it: the endpoint that was named, else the system's, else
 * the user's own, which is started where it does not run yet.
 */
#ifndef PMAPC_CONNECT_H
#define PMAPC_CONNECT_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/pmapc.h"

enum connect_mode {
    CONNECT_START, /* a private daemon may be started, if the global options allow it */
    CONNECT_ONLY,  /* what runs, or an error */
    CONNECT_QUIET, /* the same without a word; the exit status still says what was wrong */
};

/*
 * Connects, having told why where that fails.
 * Returns 0, or STATUS_USAGE (the named endpoint is malformed), STATUS_NO_POOL or STATUS_REFUSED.
 */
int connect_pool(const struct globals *globals, enum connect_mode mode, pmap **pool);

/*
 * Tells of an error of a pool that was connected: `error` as a call of libpmap returned it.
 * Returns STATUS_NO_POOL or STATUS_REFUSED.
 */
int connect_lost(const pmap *pool, int error);

#endif
