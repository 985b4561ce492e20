/*
 * The host's end of the arena protocol (host.h): takes chunks, leaves results and notes, and looks now and
 * then whether the worker has said something. Knows nothing of functions. One a process, not thread-safe.
 * Never logs; what cannot go on is a negative errno.
 */
#ifndef PMAP_HOST_ARENA_H
#define PMAP_HOST_ARENA_H

#include "daemon/worker/host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct channel {
    int socket, memory;
    struct arena *arena;
    size_t mapped; /* bytes of it */
    /* Of the chunk: */
    uint64_t count, items_size;
    const uint32_t *lengths;
    const uint8_t *items;
    uint32_t *out_lengths;
    uint64_t *out_times;
    uint8_t *bytes, *notes;
    uint64_t bytes_used, notes_used; /* as last published, or more */
    uint64_t done;
    uint32_t piece; /* bytes of the present item's result since its beginning or the last RESUME */
    bool yielded, dropped;
    bool waited; /* for the worker, since channel_after was last asked */
    bool gone;   /* the socket has ended: nobody wants anything any more */
    /* Clocks: */
    int64_t look_ns;      /* when to look at the socket again */
    int64_t told_ns;      /* of the last SOME */
    uint64_t told_done;   /* what was done then */
    uint64_t cpu_base_ns; /* the process's CPU time at the chunk's beginning */
};

/* CLOCK_MONOTONIC. */
int64_t channel_now(void);

/*
 * Takes the two descriptors of host.h over (children of the host do not get them, and cannot harm the chunk)
 * and maps the arena's first page. Returns 0 or a negative errno: they are not what they should be.
 */
int channel_open(struct channel *c);

/* Sends READY. Returns 0 or a negative errno. */
int channel_ready(struct channel *c);

/* Sends BAD with the text (cut where it is too long). Returns 0 or a negative errno. */
int channel_bad(struct channel *c, const char *text);

/*
 * Waits for the next chunk. Returns 1, 0 (the socket has ended: leave) or -EPROTO (what is in the arena is no
 * chunk) or another negative errno.
 */
int channel_next(struct channel *c);

/* Says that item i has begun, `together` items from it on being in hand. */
static inline void channel_begin(struct channel *c, uint64_t i, uint64_t together, int64_t now)
{
    /* Time first: a worker that sees the new item must not see it with an old time. */
    atomic_store_explicit(&c->arena->started_ns, (uint64_t)now, memory_order_release);
    atomic_store_explicit(&c->arena->together, together, memory_order_release);
    atomic_store_explicit(&c->arena->current, i + 1, memory_order_release);
}

/*
 * Appends to the result of item c->done; waits for the worker where it does not fit. Returns 0 or -ECANCELED:
 * it is not wanted any more.
 */
int channel_put(struct channel *c, const uint8_t *bytes, size_t len);

/* Leaves a note for item c->done, likewise. A text over ARENA_NOTE_TEXT_MAX is cut. */
int channel_note(struct channel *c, uint16_t kind, uint16_t code, const char *text, size_t len);

/* Item c->done is complete. */
static inline void channel_done(struct channel *c, int64_t took_ns)
{
    c->out_lengths[c->done] = c->piece;
    c->out_times[c->done] = (uint64_t)took_ns;
    c->piece = 0;
    atomic_store_explicit(&c->arena->bytes_used, c->bytes_used, memory_order_release);
    atomic_store_explicit(&c->arena->notes_used, c->notes_used, memory_order_release);
    atomic_store_explicit(&c->arena->done, ++c->done, memory_order_release);
}

/* When the next item may begin after one that ended at end_ns: then, or now where it had to wait for the
 * worker. */
static inline int64_t channel_after(struct channel *c, int64_t end_ns)
{
    if (!c->waited)
        return end_ns;
    c->waited = false;
    return channel_now();
}

/* Takes what the worker has said, and tells it of what is done where that is due; never waits. For every 100
 * us or so: channel_due. */
void channel_look(struct channel *c, int64_t now);

static inline bool channel_due(const struct channel *c, int64_t now)
{
    return now >= c->look_ns;
}

/* Is the chunk to be given up, in the midst of an item too? */
static inline bool channel_unwanted(const struct channel *c)
{
    return c->dropped || c->gone;
}

/* Waits up to timeout_ns (0: only looks, where that is due) for that. */
bool channel_cancelled(struct channel *c, int64_t timeout_ns);

/* Says that no item is under way and the chunk is over. Returns 0 or a negative errno. */
int channel_end(struct channel *c);

#endif
