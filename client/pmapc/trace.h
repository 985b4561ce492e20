/*
 * --trace: when each item ran, and in which slot, as Chrome trace events, which Perfetto and chrome://tracing
 * open: a row a slot, an event an item. What has been written is a whole JSON object at any time, however the
 * program ends, where the file can be written to at any place. Memory: a buffer, and a little for each slot.
 * Thread-safety: none; one owner.
 */
#ifndef PMAPC_TRACE_H
#define PMAPC_TRACE_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/grow.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct row;

/* The row of a slot. */
struct trace_row {
    struct row *row; /* NULL: nothing ran there yet */
};

struct trace {
    const char *name;     /* of the file, borrowed */
    const char *function; /* for people, borrowed */
    bool fields;          /* an item is several arguments, with NUL between them */
    int fd;
    bool seeks;             /* the end can be written now and be overwritten later */
    off_t at;               /* where the end stands */
    uint64_t start_ns;      /* CLOCK_REALTIME: time 0 of the trace */
    bool named;             /* the event that names the job has been written */
    bool any;               /* an event has */
    bool aside;             /* the row of what never ran has been named */
    struct trace_row *rows; /* by slot */
    size_t row_count;
    struct grow buffer; /* events that are not written yet */
};

/*
 * Makes the file. The trace begins now. Returns 0, or an exit status having told why not. trace_close also
 * after a failure.
 */
int trace_open(struct trace *trace, const char *name, const char *function, bool fields);

/* The daemon's number of the job is known. Only the first call counts. */
void trace_name(struct trace *trace, uint64_t job);

/* An item's result, its last piece; item: what it was, of any bytes. Returns 0 or a negative errno. */
int trace_add(struct trace *trace, const struct pmap_result *result, const char *item, size_t len);

/* Writes out what is held. Returns 0 or a negative errno. */
int trace_flush(struct trace *trace);

/* Writes what is left, and the end. Returns 0, or an exit status having told. Harmless where none is open (fd
 * is -1). */
int trace_close(struct trace *trace);

/* Tells that it cannot be written. Returns an exit status. */
int trace_broke(const struct trace *trace, int error);

#endif
