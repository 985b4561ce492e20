/*
 * The worker's side of an arena (host.h): the file, a chunk laid into it, results taken out of it. A host may
 * run a user's code, so what stands in the arena is believed only after a look at it, and what the worker has
 * written there is not read back.
 *
 * A large item comes in pieces while its host may still be busy with another chunk, so it is put together
 * behind the part that ordinary chunks use, in the file itself, which the worker never maps there.
 */
#ifndef PMAP_ARENA_H
#define PMAP_ARENA_H

#include "daemon/worker/host.h"
#include "daemon/worker/parcel.h"

struct arena_file {
    int fd;        /* -1: there is none */
    uint8_t *map;  /* its first part */
    uint64_t size; /* of the file */
    uint64_t large_end;
    unsigned large_items; /* that are in it */
    /* The chunk in it, as it was laid. */
    uint32_t count;
    uint64_t out_lengths, out_times, bytes, notes;
    /* What of its results has been taken: items, the bytes since RESUME, of these the present item's, notes
     */
    uint32_t taken;
    uint64_t bytes_at, part_at, notes_at;
    bool skip; /* what comes of the item behind the taken ones is not wanted */
};

/* Makes an empty arena. Returns 0 or a negative errno. */
int arena_open(struct arena_file *a);
void arena_close(struct arena_file *a);

/* Makes room for a large item that will be put together piece by piece. Returns where it begins. */
uint64_t arena_large_begin(struct arena_file *a);
/* Adds to the newest one; `at` is behind its last piece. Returns 0 or a negative errno. */
int arena_large_add(struct arena_file *a, uint64_t at, const void *data, size_t size);
/* A large item is not needed any more; with the last one the memory of all goes. */
void arena_large_end(struct arena_file *a);

struct arena_chunk {
    uint64_t job, first, slot, attempts;
    bool single; /* a host died with several items in hand: one at a time */
    uint32_t count;
    const uint8_t *lengths; /* as on the wire; NULL: one large item */
    const uint8_t *items;
    size_t size;    /* of the items */
    uint64_t large; /* where the large item begins */
};

/* Lays a chunk into it, for the host to be told. There must be none under way. */
void arena_lay(struct arena_file *a, const struct arena_chunk *chunk);

/* A text that came from the host beside its results: taken along as STDERR of the last item that is taken. */
struct arena_text {
    const char *data;
    size_t size;
};

/*
 * Takes the next results of the `done` items (as arena_done said), as far as one parcel holds them. begun:
 * also what there is of the item that is not done yet. text: its size is set to 0 when it went along. Returns
 * 1, 0 when there are none, or -EBADMSG when what the arena says cannot be.
 */
int arena_take(struct arena_file *a, uint64_t done, bool begun, struct arena_text *text,
               struct parcel_space *space, struct parcel *parcel);

/* Items that are done, as the host says: good for arena_take and nothing else. */
uint64_t arena_done(const struct arena_file *a);
/* Will arena_take find done items? (A host that lies is found out by arena_take.) */
bool arena_has_done(const struct arena_file *a);

/* ns that the items have taken which are done and whose results were not taken, as the host says; at most
 * INT64_MAX. */
int64_t arena_waiting(const struct arena_file *a);

/* Everything was taken and the host is about to be told RESUME. */
void arena_resumed(struct arena_file *a);

/* The item that the host is on, of the chunk; -1: none, or one whose result is there. */
int64_t arena_current(const struct arena_file *a);
/* Has the present call several items in hand? */
bool arena_together(const struct arena_file *a);
/* When it began, CLOCK_MONOTONIC; not after now_ns. */
int64_t arena_started(const struct arena_file *a, int64_t now_ns);
/* CPU time spent on the chunk, as the host says. */
uint64_t arena_cpu(const struct arena_file *a);

#endif
