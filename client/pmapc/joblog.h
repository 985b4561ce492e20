/*
 * The job log, in the format of GNU parallel: a line an item, once it has been delivered; and what an earlier
 * one says was done.
 */
#ifndef PMAPC_JOBLOG_H
#define PMAPC_JOBLOG_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum joblog_mode {
    JOBLOG_NEW,           /* what is in the file is lost */
    JOBLOG_RESUME,        /* what it lists is done */
    JOBLOG_RESUME_FAILED, /* what it lists and did not fail is done; the last line on an item counts */
};

struct joblog {
    const char *name; /* borrowed */
    int fd;
    struct writer writer;    /* lines that are not written yet: their items are not delivered yet */
    struct pmap_range *done; /* indices, from 0, that need not be run */
    size_t done_count;
};

/*
 * Opens the file, reads what it says, and makes it ready for further lines; a last line that was not finished
 * is cut off. Returns 0, or an exit status having told why not. joblog_close also after a failure.
 */
int joblog_open(struct joblog *log, const char *name, enum joblog_mode mode);
void joblog_close(struct joblog *log);

/* Reads what the file says is done, and leaves it as it is; one that is not there says nothing. As
 * joblog_open. */
int joblog_read(struct joblog *log, const char *name, enum joblog_mode mode);

struct joblog_entry {
    uint64_t number; /* of the item, from 1 */
    double started_s, took_s;
    uint64_t sent;     /* bytes that its process was given on stdin */
    uint64_t received; /* bytes of its output */
    int exit_code, signal;
    const char *command; /* of any bytes */
    size_t command_len;
};

/* Adds a line. Returns 0 or a negative errno. */
int joblog_add(struct joblog *log, const struct joblog_entry *entry);

/* Writes the lines out: all that they tell of has been delivered. Returns 0 or a negative errno. */
int joblog_flush(struct joblog *log);

#endif
