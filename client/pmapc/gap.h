/*
 * The time in which the daemon is away and libpmap seeks it: what the user is told of it, and the private
 * daemon that is started again.
 */
#ifndef PMAPC_GAP_H
#define PMAPC_GAP_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/connect.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct gap {
    /* To be set: */
    enum connect_origin origin;
    double reconnect_s; /* for how long it is sought; 0: never */
    bool quiet;         /* nothing is told */
    /* Its own: */
    bool lost;
    unsigned losses; /* that have been told */
    int64_t lost_ns, start_ns;
    pid_t child; /* a daemon that was started, as far as it has not been seen to end; 0: none */
};

/* Looks how it is, whenever something has moved; costs nothing while the daemon is there. */
void gap_look(struct gap *gap, const pmap *pool);

#endif
