/*
 * A ring of records; see outbox.h.
 */
#include "daemon/launcher/outbox.h"

#include <errno.h>
#include <unistd.h>

void outbox_put(struct outbox *box, const struct record *record, int fd)
{
    size_t place = (box->first + box->count) % OUTBOX_PLACES;
    box->records[place] = *record;
    box->fds[place] = fd;
    box->count++;
}

static void drop_first(struct outbox *box)
{
    if (box->fds[box->first] >= 0)
        close(box->fds[box->first]);
    box->first = (box->first + 1) % OUTBOX_PLACES;
    box->count--;
}

int outbox_flush(struct outbox *box)
{
    while (box->count > 0) {
        int rc = record_send(box->socket, &box->records[box->first], box->fds[box->first]);
        /* A shortage in the kernel passes like a full buffer. */
        if (rc == -ENOBUFS || rc == -ENOMEM || rc == -ETOOMANYREFS)
            rc = -EAGAIN;
        if (rc < 0)
            return rc;
        drop_first(box);
    }
    return 0;
}

void outbox_clear(struct outbox *box)
{
    while (box->count > 0)
        drop_first(box);
}
