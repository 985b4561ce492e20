/*
 * The arena from the host's side (daemon/worker/host.h is the contract): where the items are, and the writing
 * of results so that the worker may look at any moment, also when this process has just been killed. Knows
 * nothing of what a host does with the items. Single-threaded.
 *
 * An item is begun, given bytes and notes, and done; results are in order. What it has been given is not seen
 * by the worker until it is done, save by arena_show. Where there is no room, the worker is told (HOST_FULL)
 * and, once it has answered, arena_resumed.
 */
#ifndef PMAP_ARENA_H
#define PMAP_ARENA_H

#include "daemon/worker/host.h"

#include <stdbool.h>
#include <stddef.h>

/* Room for notes that only texts may not use, so that an item can always be ended once it has begun. */
enum { ARENA_RESERVE = 2048 };

struct view {
    struct arena *head; /* NULL until a chunk has been mapped */
    size_t mapped;
    uint64_t count;
    const uint32_t *lengths;
    const uint8_t *items;
    uint64_t items_size;
    uint32_t *out_lengths;
    uint64_t *out_times;
    uint8_t *bytes, *notes;
    uint64_t bytes_room, notes_room;
    /* As the head's counts, but with what the worker has not been shown. */
    uint64_t bytes_used, notes_used;
    uint64_t item;                   /* the present item; where none is, the next */
    uint64_t item_bytes, item_notes; /* where its bytes and notes begin */
    struct arena_note *open;         /* its last note, if that is stderr's and may be lengthened */
    uint64_t touched;                /* bytes read or written through the mapping since arena_shrink */
};

/*
 * Looks at a new chunk. Returns 0, -EPROTO (the arena's numbers do not fit together; the view is unusable)
 * or a negative errno of mmap or fstat.
 */
int arena_open(struct view *v, int fd);

/* The present item is number `v->item` and starts, or starts again, now (CLOCK_MONOTONIC). */
void arena_begin(struct view *v, int64_t now_ns);

/* Nothing more runs: what happens now is not an item's fault. */
void arena_idle(struct view *v);

/* Is there room to end an item? If not, the worker must take what is there first. */
bool arena_ready(const struct view *v);

/* Room for bytes of the present item; *where: its beginning. Then arena_add says how much of it was used. */
size_t arena_room(struct view *v, uint8_t **where);
void arena_add(struct view *v, size_t n);

/* The same for bytes of stderr. At most ARENA_NOTE_TEXT_MAX a call; 0: there is too little room. */
size_t arena_text_room(struct view *v, uint8_t **where);
void arena_text_add(struct view *v, size_t n);

/* A note on the present item; all those of an item together must fit the reserve, or are cut short. */
void arena_note(struct view *v, uint16_t kind, uint16_t code, const void *text, size_t len);

/* Forgets what the present item has been given since it began, or since arena_resumed. */
void arena_rewind(struct view *v);

/* Shows the worker the first `bytes` of all bytes, and all notes, of the present item too. */
void arena_show(struct view *v, uint64_t bytes);

/* The present item is done and took wall_ns. */
void arena_done(struct view *v, uint64_t wall_ns);

/* The worker has taken what it was shown, and all that has been put is shown: both areas are empty again. */
void arena_resumed(struct view *v);

/*
 * Takes the arena's pages out of this process's resident set, which a process that it spawns inherits as its
 * peak. Nothing is lost: they are the memfd's.
 */
void arena_shrink(struct view *v);

/* Adds to the CPU time of the chunk. */
void arena_cpu(struct view *v, uint64_t ns);

#endif
