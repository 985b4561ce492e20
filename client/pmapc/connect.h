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

/* Where a pool was found. */
enum connect_origin {
    CONNECT_FOUND,   /* one that is nobody's to start again */
    CONNECT_OWN,     /* the user's own, which pmapc would start where it does not run */
    CONNECT_STARTED, /* and this pmapc did */
};

/*
 * Connects, having told why where that fails.
 * Returns 0, or STATUS_USAGE (the named endpoint is malformed), STATUS_NO_POOL or STATUS_REFUSED.
 */
int connect_pool(const struct globals *globals, enum connect_mode mode, pmap **pool);

/*
 * The same with CONNECT_START, for a job that goes on when the daemon is lost, for up to reconnect_ms (0:
 * never); *origin may be of use then. A daemon that is away already is waited for as long: one that stops or
 * does not answer, whose connection breaks, or that has left its socket and may be about to listen at it
 * again, which is told unless `quiet`. Where there is no socket there is nobody to wait for.
 */
int connect_lasting(const struct globals *globals, int reconnect_ms, bool quiet, pmap **pool,
                    enum connect_origin *origin);

/*
 * Tells of an error of a pool that was connected: `error` as a call of libpmap returned it.
 * Returns STATUS_NO_POOL or STATUS_REFUSED.
 */
int connect_lost(const pmap *pool, int error);

#endif
