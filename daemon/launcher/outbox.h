/*
 * Records that are to go to the broker. The launcher never waits for it: what does not go out yet is kept
 * here, in order. It has a fixed number of places, and who has something to say looks first whether there is
 * one.
 */
#ifndef PMAPD_OUTBOX_H
#define PMAPD_OUTBOX_H

#include "daemon/launcher/records.h"

#include <stddef.h>

enum { OUTBOX_PLACES = 1024 };

struct outbox {
    int socket; /* does not block */
    size_t first, count;
    struct record records[OUTBOX_PLACES];
    int fds[OUTBOX_PLACES]; /* ours to close; or -1 */
};

static inline size_t outbox_room(const struct outbox *box)
{
    return OUTBOX_PLACES - box->count;
}

/* Adds a record, and takes over its descriptor (or -1). There must be room. */
void outbox_put(struct outbox *box, const struct record *record, int fd);

/*
 * Sends what can be sent. Returns 0 (all of it), -EAGAIN (not all), -EPIPE (the broker has gone) or another
 * negative errno.
 */
int outbox_flush(struct outbox *box);

/* Closes what has not been sent. */
void outbox_clear(struct outbox *box);

#endif
