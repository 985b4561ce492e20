/*
 * A job that is run again and again, to be timed: what timeit and scale have in common. The items are read
 * once, into memory; then whole jobs, one after the other, over one connection; their results go nowhere.
 */
#ifndef PMAPC_MEASURE_H
#define PMAPC_MEASURE_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/kept.h"
#include "client/pmapc/map.h"
#include "client/pmapc/pmapc.h"

#include <stdbool.h>
#include <stdint.h>

/* Options' values; those of a subcommand alone begin at OPT_MEASURE_OWN. */
enum { OPT_LOOPS = OPT_MAP_OWN, OPT_RUNS, OPT_JSON, OPT_MEASURE_OWN };

/* The common part of the table of own options; a zeroed one ends it. */
#define MEASURE_LONGS                                                                                        \
    {"loops", required_argument, NULL, OPT_LOOPS}, {"runs", required_argument, NULL, OPT_RUNS},              \
    {                                                                                                        \
        "json", no_argument, NULL, OPT_JSON                                                                  \
    }

struct measure {
    const char *command; /* for messages */
    struct map map;
    uint64_t loops; /* in a run; 0: to be chosen */
    unsigned runs;
    bool json;
    int (*option)(void *cookie, int option, const char *value);
    void *cookie;
    struct kept items;
    pmap *pool;
    bool remarked;
    unsigned slots;  /* that the last job could use at most */
    int64_t busy_ns; /* slot time of all jobs */
};

/*
 * Reads a command line into *m, which stays where it is and is to be freed in any case. longs, option,
 * cookie: as in struct map_command; MEASURE_LONGS are read here. runs: where none are asked for. help: shown
 * where it is asked for. Returns -1 to go on, else an exit status, having told or shown.
 */
int measure_read(struct measure *m, const struct map_command *command, unsigned runs, const char *help,
                 int argc, char **argv);

/*
 * Connects, reads the items, and from then on minds signals (interrupt.h).
 * Returns 0, or an exit status having told.
 */
int measure_begin(struct measure *m, const struct globals *globals);

/*
 * Runs the job `loops` times, with that many slots at most (0: as the command line has it).
 * Returns 0 and the time of them all, or an exit status having told: an item has failed, the daemon was lost,
 * or a signal has come (STATUS_INTERRUPTED; by SIGTERM it does not return).
 */
int measure_run(struct measure *m, unsigned slots, uint64_t loops, int64_t *took_ns);

void measure_free(struct measure *m);

#endif
