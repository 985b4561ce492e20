/*
 * The run of one job: items to the daemon, results from the daemon to where they go, both as they come,
 * waiting only when neither moves. Nothing is held back: what has been read goes out before pmapc waits for
 * more input, and a result is written before it waits for anything.
 */
#ifndef PMAPC_STREAM_H
#define PMAPC_STREAM_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/gap.h"
#include "client/pmapc/items.h"
#include "client/pmapc/output.h"
#include "client/pmapc/report.h"

#include <stdbool.h>

struct stream_options {
    const struct pmap_call *call;
    const struct pmap_job_options *job;
    const char *name;       /* of the function, for people */
    const char *input_name; /* for messages */
    bool input_polls;       /* false: a regular file, which is always ready */
    uint64_t input_bytes;   /* of a regular file, from where it is read on; 0: not known */
    bool progress;
    enum report_form report;
    struct gap gap; /* for when the daemon is lost */
    struct output_options output;
};

/*
 * Runs a job to its end, having told of everything that went wrong. The items stay the caller's.
 * Returns an exit status. Does not return after SIGTERM or from a closed stdout.
 */
int stream_run(pmap *pool, struct items *items, const struct stream_options *options);

#endif
