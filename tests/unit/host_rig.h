/*
 * pmap-worker, as far as a host sees it, for tests: starts a host with an arena and a socket, gives it chunks
 * and takes what comes. Every wait has a deadline, at which the test fails.
 */
#ifndef TEST_HOST_RIG_H
#define TEST_HOST_RIG_H

#include "daemon/worker/host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { RIG_ITEMS_MAX = 100000 };

/* What came of an item. */
struct rig_result {
    uint8_t *data;
    size_t len;
    uint64_t time_ns;
    char *error;       /* the text of NOTE_ERROR, or NULL */
    char *words;       /* of NOTE_STDERR, or NULL */
    unsigned attempts; /* of NOTE_ATTEMPTS, or 0 */
};

struct rig {
    pid_t pid;
    int socket, output, memory;
    uint8_t *map;
    struct arena *arena;
    size_t size;
    size_t bytes_room, notes_room; /* may be set before a chunk; else what is plenty */
    uint64_t attempts, single;     /* for the next chunk */
    /* Of the chunk: */
    size_t count, taken;
    struct rig_result results[RIG_ITEMS_MAX];
    unsigned fulls, somes;
};

/* Starts the program, in the folder of those that were built, with these arguments (NULL-terminated). */
void rig_start(struct rig *r, const char *const *argv);

/* Waits for the first message: READY, or BAD, whose text (static) it returns; fails where it is the other. */
void rig_ready(struct rig *r);
const char *rig_bad(struct rig *r);

/* Sends a chunk of `count` items: NUL-terminated strings, or, with lengths, so many bytes each. */
void rig_chunk(struct rig *r, const char *const *items, const size_t *lengths, size_t count);

void rig_send(struct rig *r, uint32_t type);

/*
 * Takes what comes until the chunk is over (END: true), or the host has closed the socket (false). What is
 * done by then is in results.
 */
bool rig_take(struct rig *r);
/* Waits for one message and returns its type; 0: the socket is closed. Takes results where it tells of some.
 */
uint32_t rig_next(struct rig *r);

/* A chunk from its beginning to its end, which must be END; `items` up to NULL. Returns how many are done. */
size_t rig_map(struct rig *r, const char *const *items);

/* Closes the socket and waits for the host's end. Returns its wait status. output: NULL, or all that it wrote
 * to stdout and stderr, at most size - 1 bytes and a NUL. */
int rig_stop(struct rig *r, char *output, size_t size);

/* Fails unless the item was mapped to this text. */
void rig_assert(const struct rig *r, size_t item, const char *text);
/* Fails unless the item failed for this reason. */
void rig_assert_error(const struct rig *r, size_t item, const char *error);

#endif
