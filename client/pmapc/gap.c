/*
 * The time in which the daemon is away; see gap.h.
 */
#include "client/pmapc/gap.h"

#include "client/pmapc/start.h"
#include "client/pmapc/tell.h"
#include "common/clock.h"
#include "common/endpoint.h"

#include <errno.h>
#include <sys/wait.h>
#include <time.h>

/* In ns. One that pmapc has not started itself may be somebody else's to start again. */
#define OTHERS_FIRST INT64_C(1000000000)
#define START_AGAIN  INT64_C(1000000000)

/* Starts the user's own daemon where nobody listens; libpmap finds it then. */
static void start(struct gap *gap, const char *endpoint)
{
    if (gap->child > 0 && waitpid(gap->child, NULL, WNOHANG) != 0)
        gap->child = 0; /* another one has the place, perhaps one that is about to leave it */
    if (gap->origin == CONNECT_FOUND || gap->child > 0 || now_ns() < gap->start_ns)
        return;
    gap->start_ns = now_ns() + START_AGAIN;
    int rc = endpoint_probe(endpoint, 0, NULL, NULL);
    if (rc != -ENOENT && rc != -ECONNREFUSED && rc != -ENOTDIR)
        return;
    if (start_again(endpoint, &gap->child) != 0)
        gap->origin = CONNECT_FOUND; /* it has told why not */
}

static void tell_lost(struct gap *gap, const struct pmap_info *info)
{
    gap->lost_ns = now_ns();
    gap->start_ns = gap->lost_ns + (gap->origin == CONNECT_STARTED ? 0 : OTHERS_FIRST);
    if (!gap->quiet)
        tell("lost the daemon at %s: waiting up to %g s for it to come back", info->endpoint,
             gap->reconnect_s);
}

void gap_look(struct gap *gap, const pmap *pool)
{
    const struct pmap_info *info = pmap_get_info(pool);
    if (info->losses == gap->losses && !gap->lost)
        return;
    if (info->losses != gap->losses && !gap->lost)
        tell_lost(gap, info);
    gap->losses = info->losses;
    gap->lost = info->lost;
    if (gap->lost) {
        start(gap, info->endpoint);
    } else if (!gap->quiet) {
        char took[TELL_ROOM];
        tell("the daemon is back after %s: going on",
             tell_duration((double)(now_ns() - gap->lost_ns) / 1e9, took));
    }
}
