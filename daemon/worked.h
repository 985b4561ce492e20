/*
 * Results of one worker, gathered item by item and told to the broker as WORKED messages of a fitting size.
 * When to tell is the worker's to decide; how the records are laid out, cut into messages and handed to
 * ZeroMQ without a copy is decided here. Belongs to one thread. Never logs.
 */
#ifndef PMAPD_WORKED_H
#define PMAPD_WORKED_H

#include "common/protocol.h"
#include "daemon/functions/functions.h"

struct worked {
    void *socket; /* borrowed */
    /* Set before telling: */
    uint16_t slot;    /* told with each message's first record, from 1; 0: nobody wants to know */
    int64_t ended_ns; /* with it: when the last gathered record ended, CLOCK_MONOTONIC */
    struct out out;   /* what builtins append to: [0, sent) was told, [sent, end) are the gathered records */
    size_t sent, end;
    uint32_t count, note_count; /* gathered, not told yet */
    size_t texts_size;
    uint8_t *lengths, *times, *notes,
        *texts; /* in one allocation, of fixed room: gathering never runs out of it */
    struct wire wire;
};

/* Returns 0 or -ENOMEM. */
int worked_init(struct worked *w, void *socket);
void worked_free(struct worked *w);

/*
 * The record of one item: everything that its builtin appended to w->out. error: the text of FUNCTION_FAILED;
 * unused otherwise. Not when worked_full() says so.
 */
void worked_add(struct worked *w, enum function_result result, const char *error, int64_t ns);

/* Is there so much that it has to be told before the next worked_add? */
bool worked_full(const struct worked *w);

/* Forgets what was gathered. */
void worked_clear(struct worked *w);

/*
 * Tells what was gathered, which may be nothing, in one WORKED or, around a result too large for one, in
 * several; the times go into the last of them, as does `last`. within: an item is under way and its builtin
 * may know where w->out is, so that the buffer has to stay. Waits while memory is short: results are not
 * thrown away for that. Returns 0, or the negative errno of the socket (-ETERM: the context is being shut
 * down).
 */
int worked_tell(struct worked *w, uint64_t chunk, bool last, bool within, int64_t run_ns, int64_t cpu_ns);

/* Tells that the chunk ends with nothing (more) done: only a header. Does not touch what was gathered.
 * Returns as above. */
int worked_tell_nothing(struct worked *w, uint64_t chunk, int64_t run_ns, int64_t cpu_ns);

#endif
