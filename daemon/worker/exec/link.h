/*
 * The socket to the worker, from the host's side: what it has asked for, as flags that the running of items
 * looks at, and what we tell it. Receiving never blocks; sending does, while the worker does not read.
 */
#ifndef PMAP_LINK_H
#define PMAP_LINK_H

#include "daemon/worker/host.h"

#include <stdbool.h>

/* Slots that are lent to the present chunk. The first three are counted over its life at this host. */
struct tokens {
    uint32_t lent, back; /* back: wanted back, which may become less again */
    uint32_t returned;
    uint32_t given; /* those that the present item's processes have, or could take */
};

/* How many may be given to the item. */
static inline uint32_t tokens_usable(const struct tokens *t)
{
    uint32_t away = t->back > t->returned ? t->back : t->returned;
    return t->lent > away ? t->lent - away : 0;
}

struct link {
    int socket;
    bool gone;    /* the worker has; nothing matters any more */
    bool chunk;   /* one has come that was not looked at yet */
    bool resumed; /* likewise */
    bool more;    /* behind the chunk another one is waiting */
    bool yield, drop;
    uint32_t grace_ms; /* of the drop */
    struct tokens tokens;
};

/* Takes what has come. */
void link_receive(struct link *l);

/* Waits until something comes, or until the time (CLOCK_MONOTONIC; NEVER_NS: for ever), and takes it. */
void link_wait(struct link *l, int64_t until_ns);

/* Is the present chunk not wanted any more? */
static inline bool link_given_up(const struct link *l)
{
    return l->gone || l->drop;
}

void link_send(struct link *l, enum host_message_type type);

/* Returns tokens that are wanted back, as far as nobody has them. */
void link_return(struct link *l);

/* Says that the job cannot be run, and why, in one line. */
void link_bad(struct link *l, const char *text);

#endif
