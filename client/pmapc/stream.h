/*
 * The run of one job: items from a reader to the daemon, results from the daemon to stdout, both as they
 * come, waiting only when neither moves. Nothing is held back: what has been read goes out before pmapc waits
 * for more input, and a result is written before it waits for anything.
 */
#ifndef PMAPC_STREAM_H
#define PMAPC_STREAM_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/reader.h"
#include "client/pmapc/report.h"

#include <stdbool.h>

struct stream_options {
    const char *function;
    const char *input_name;      /* for messages */
    bool input_polls;            /* false: a regular file, which is always ready */
    unsigned char end_of_result; /* written behind each result */
    bool tag;                    /* the item and a tab before each line of its result */
    enum report_form report;
    struct pmap_job_options job;
};

/*
 * Runs a job to its end, having told of everything that went wrong. The reader stays the caller's.
 * Returns an exit status. Does not return after SIGTERM or from a closed stdout.
 */
int stream_run(pmap *pool, struct reader *reader, const struct stream_options *options);

#endif
