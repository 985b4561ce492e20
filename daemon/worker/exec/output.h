/*
 * Where the results of items go: into the arena, with the worker told when to look at it and waited for when
 * it is full; and, for an attempt whose fate is not known yet, kept from the worker so that it can be taken
 * back: as far as it fits in the arena, the rest in an unlinked file in TMPDIR.
 */
#ifndef PMAP_OUTPUT_H
#define PMAP_OUTPUT_H

#include "daemon/worker/exec/arena.h"
#include "daemon/worker/exec/link.h"

#include <sys/types.h>

struct output {
    struct view view;
    struct link *link;
    bool live; /* show lines of the present item as they come */
    bool held; /* the present attempt is kept back */
    bool full; /* the worker was told so and has not answered yet */
    int kept;  /* the file of what is kept back, or -1 */
    off_t kept_size;
    uint64_t shown; /* items done when the worker was last told to look */
    int64_t told_ns;
};

void output_init(struct output *o, struct link *link, bool live);

/* A new chunk has come. As arena_open. */
int output_open(struct output *o);

/*
 * Begins, or begins again, the next item. Waits for room to end it: then nothing must run that could want
 * attention. Returns 0, or -ECANCELED: the chunk is given up.
 */
int output_begin(struct output *o, bool held, int64_t now);

/*
 * Reads once from a nonblocking pipe, at most `most` bytes: stdout, or stderr where `err`. Returns what was
 * read; 0: its end; -EAGAIN; -ENOSPC: there is no room, and the worker has been asked to make some, so try
 * again when output_resumed says so; another negative errno: what is kept back cannot be (the disk is full).
 */
ssize_t output_read(struct output *o, int fd, bool err, size_t most);

/* Puts bytes of the present item that are in memory already. Returns as output_read. */
ssize_t output_put(struct output *o, const void *data, size_t len);

/* Has the worker made room? To be asked after link_receive. */
bool output_resumed(struct output *o);

/* Takes back what the present attempt has put. */
void output_rewind(struct output *o);

/* Lets go of what was kept back. Waits as output_begin. Returns 0, -ECANCELED, or the errno of the file. */
int output_release(struct output *o);

/* The present item has its result. */
void output_done(struct output *o, uint64_t wall_ns, int64_t now);

/* When the worker should be told of results that it has not been told of, or NEVER_NS; and telling it if due.
 */
int64_t output_tell_ns(const struct output *o);
void output_tell(struct output *o, int64_t now);

#endif
