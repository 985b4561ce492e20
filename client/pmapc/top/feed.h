/*
 * The thread that talks to the daemon: it asks at each interval, connects anew when the daemon has gone, and
 * carries cancellations out. So whoever draws and reads keys waits for nothing. All functions are for one
 * other thread.
 */
#ifndef PMAPC_TOP_FEED_H
#define PMAPC_TOP_FEED_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/top/sample.h"

enum { FEED_TEXT_ROOM = 256 };

/* What has come since the last time. */
struct news {
    struct sample *sample;        /* the newest look, the taker's; NULL: none since */
    bool lost;                    /* the daemon is gone, or does not answer */
    int64_t lost_ns;              /* since then, CLOCK_MONOTONIC */
    char why[FEED_TEXT_ROOM];     /* while it is lost */
    char message[FEED_TEXT_ROOM]; /* what became of a cancellation; "": nothing to say */
};

/*
 * Asks the daemon what there is to show, and waits for its answers, each at most ANSWER_MS.
 * Returns 0 and the look in *sample, or a negative error as pmap_query, or -EBADMSG or -ENOMEM.
 */
int feed_look(pmap *pool, struct sample **sample);

struct feed;

/* Starts the thread; it owns the pool from here on, also where this fails. Returns 0 or a negative errno. */
int feed_start(const struct globals *globals, pmap *pool, double interval_s, struct feed **feed);

/* Becomes readable when there is news, until feed_take. */
int feed_fd(const struct feed *feed);
void feed_take(struct feed *feed, struct news *news);

/* Asks now, and then at each interval from now. */
void feed_wake(struct feed *feed);

/* Cancels a job. One that was asked for and not yet sent is forgotten. */
void feed_cancel(struct feed *feed, uint64_t job);

/* Ends the thread. Returns false where it would take too long, because the daemon does not answer: then the
 * thread still runs, and the program must end by _exit. */
bool feed_stop(struct feed *feed);

#endif
