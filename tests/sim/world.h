/*
 * One history: the virtual clock, everybody in it, and what has gone wrong. The parts are in files of their
 * own: links (network), clients (client), the daemon's glue around the core with its ledger (daemon, ledger),
 * workers (worker), and what a seed means (plan). There is no state outside a struct world.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "daemon/core/core.h"
#include "tests/sim/events.h"
#include "tests/sim/random.h"
#include "tests/sim/work.h"

#include <sys/queue.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

enum {
    WORKERS_MAX = 16,  /* at once */
    WORKERS_EVER = 64, /* with those that come after one that died */
    DEATHS_MAX = 3,    /* of a worker and its successors */
    OWNERS_MAX = 5,
    CLIENTS_MAX = 8,
};

/* Faults that can be put into the models, each with the promise whose check must notice it. */
#define FAULTS(X)                                                                                            \
    X(NONE, "none", "")                                                                                      \
    X(WRONG_RESULT, "wrong-result", "content")                                                               \
    X(LOST_RESULT, "lost-result", "content")                                                                 \
    X(SILENT_WORKER, "silent-worker", "stuck")                                                               \
    X(DOUBLE_CREDIT, "double-credit", "core accepts")                                                        \
    X(LOST_CREDIT, "lost-credit", "stuck")                                                                   \
    X(REORDER, "reorder", "")                                                                                \
    X(LOST_MESSAGE, "lost-message", "")                                                                      \
    X(DOUBLE_MESSAGE, "double-message", "")                                                                  \
    X(CHUNKSIZE, "chunksize", "chunk size")                                                                  \
    X(SLOTS, "slots", "slots")                                                                               \
    X(OWNER_CAP, "owner-cap", "owner's slots")                                                               \
    X(UNORDERED, "unordered", "order")                                                                       \
    X(WHOLE, "whole", "window")                                                                              \
    X(LATE_ACTIONS, "late-actions", "work conservation")                                                     \
    X(OVERDRAW, "overdraw", "core accepts")                                                                  \
    X(LOST_GRANT, "lost-grant", "stuck")                                                                     \
    X(LOST_START, "lost-start", "stuck")                                                                     \
    X(LOST_PARKED, "lost-parked", "core accepts")                                                            \
    X(TWICE, "twice", "counts")                                                                              \
    X(EXACT, "exact", "chunk size")                                                                          \
    X(HALT, "halt", "halt")                                                                                  \
    X(HOLD, "hold", "hold")                                                                                  \
    X(RETURN_UNASKED, "return-unasked", "core accepts")                                                      \
    X(LEND_UNASKED, "lend-unasked", "lend")                                                                  \
    X(POOL_SLOTS, "pool-slots", "slots")                                                                     \
    X(GUARANTEE, "guarantee", "guarantee")                                                                   \
    X(WEIGHT, "weight", "fair share")                                                                        \
    X(STOP, "stop", "stop")                                                                                  \
    X(RECONFIGURE, "reconfigure", "slots")

enum fault {
#define X(name, text, promise) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_COUNT
};

struct owner {
    uid_t uid;
    struct owner_limits limits;
    uint32_t open_jobs;   /* at the daemon */
    uint32_t running;     /* chunks that hold a slot, orphans included; counted anew at each check */
    uint32_t used_before; /* slots that it could use when its cap was changed: more than the cap, but for
                             these, is wrong */
    int64_t unserved_ns;  /* since when it could run something and has nothing running; INT64_MAX: not */
    int64_t busy_ns;      /* slot time, as the workers spent it */
    /* Where there are processes: */
    struct crew *crew;
    unsigned starting;       /* asked for, and neither come nor failed */
    unsigned processes;      /* that the core knows of */
    int64_t start_failed_ns; /* when one did last, or died young */
};

struct packet;
struct client;
struct worker_model;
struct ledger;
LIST_HEAD(packet_list, packet);

struct world {
    uint64_t seed;
    struct random random;
    int64_t now_ns;
    struct events events;

    struct core *core;
    struct core_config config;
    bool processes; /* there are workers that are processes, and jobs for them */
    unsigned fails; /* per cent of starts that do */
    unsigned deaths_left;
    int64_t tick_ns;               /* when the next EV for core_tick is scheduled; INT64_MAX: none */
    bool large;                    /* several jobs have items beyond the largest message */
    unsigned lazy;                 /* per cent of the events after which the actions are left for later */
    bool stopping;                 /* it begins nothing, since stopped_ns, and until stop_by_ns at most */
    bool late;                     /* an event is under way that lets the actions out */
    unsigned check_every;          /* core_check at every so many-th event */
    uint64_t last_chunk, last_job; /* highest ids seen */

    struct owner owners[OWNERS_MAX];
    unsigned owner_count;
    struct client *clients[CLIENTS_MAX];
    unsigned client_count;
    struct worker_model *workers[WORKERS_EVER]; /* all that ever were, but for processes that are gone */
    unsigned worker_count, workers_ever;
    struct worker_model *graves; /* those */
    unsigned slots_free;         /* as of the last check */
    unsigned slots_above;        /* that the guarantee may still give, likewise */
    unsigned used;               /* slots, likewise */
    unsigned used_before;        /* … when their number was changed, or what is left of that */
    int64_t configured_ns;       /* when it was */
    struct random life;          /* of what happens to the daemon; see life.h */
    int64_t stopped_ns, stop_by_ns;
    uint64_t life_number;       /* how often it has begun anew */
    int64_t idle_ns;            /* since when a worker has been idle; INT64_MAX: none is */
    unsigned workers_here;      /* that the core knows of */
    struct ledger *ledgers;     /* of all opened jobs, the latest first */
    struct packet_list packets; /* that are on their way */
    uint64_t batches;           /* of the world's own that somebody holds */

    enum fault fault;
    bool verbose;
    bool failed;
    bool closing; /* the history is over: nobody dies or is added any more */
    char failure[512];
    uint64_t hash; /* over everything that happened */
    uint64_t steps, step_limit;
    uint64_t items_done, jobs_done, bytes_done; /* of finished jobs, as their clients saw it */
    uint64_t chunks_given, deaths, resumes;
    uint64_t items_finished; /* results that workers sent */
};

/* The first broken promise of a history is kept; the history ends with it. */
void broken(struct world *world, const char *promise, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Something happened: into the hash, and printed when the history is traced. */
void trace(struct world *world, const char *what, uint64_t who, uint64_t a, uint64_t b);

/* Schedules run(world, target, argument) in delay_ns. */
void after(struct world *world, int64_t delay_ns, event_function *run, void *target, uint64_t argument);

/* Is this fault on, and does it strike now (in one of `every` cases)? */
bool strikes(struct world *world, enum fault fault, unsigned every);

/* Makes the history of a seed without running it. */
void world_init(struct world *world, uint64_t seed, enum fault fault);
/* Runs until nothing is left to happen, a promise breaks, or until_ns. */
void world_run(struct world *world, int64_t until_ns);
/* After a whole history: is everything given back? Closes the core. */
void world_close(struct world *world);
void world_free(struct world *world);

#endif
