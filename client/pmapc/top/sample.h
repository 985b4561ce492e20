/*
 * One look at the daemon: its answers to `status`, `jobs` and `slots` (PROTOCOL.md, ANSWER), decoded. What an
 * answer does not say is unknown: NAN among the numbers, "" among the texts. Pure; the clock is the caller's.
 * Thread-safety: none; one owner, which may hand it on whole.
 */
#ifndef PMAPC_TOP_SAMPLE_H
#define PMAPC_TOP_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is shown, a pane each. */
enum pane { PANE_USERS, PANE_SLOTS, PANE_JOBS, PANE_COUNT };

/* The numbers of the pool. Times in seconds. */
enum figure {
    F_UPTIME_S,
    F_SLOTS,
    F_BUSY,
    F_ABOVE,
    F_CONNECTIONS,
    F_CUT,
    F_JOBS,
    F_WAITING,
    F_QUEUED,
    F_HELD,
    F_JOBS_DONE,
    F_ITEMS_DONE,
    F_ITEMS_FAILED,
    F_ITEMS_PER_S,
    F_LOAD, /* mean slots in use */
    F_COUNT,
};

/* The numbers of a row, whichever pane it is in. Times in seconds. */
enum value {
    V_NONE, /* of a column that shows no number */
    V_AGE_S,
    V_RUNNING, /* slots in use */
    V_ITEMS,   /* of a job: those that have come; of a slot: of its chunk */
    V_FINISHED,
    V_FAILED,
    V_QUEUED,
    V_SLOTS, /* that a job could use at most */
    V_PRIORITY,
    V_WAIT_S,
    V_ITEM_S, /* what an item is expected to take; 0: unknown */
    V_CLIENT,
    V_WEIGHT,
    V_JOBS,
    V_ENTITLED, /* slots that an owner is due */
    V_USED,     /* mean slots in use by an owner */
    V_HELD,
    V_ITEM, /* the item that a slot is on, from 1 */
    V_RUN_S,
    V_CPU_S,
    /* Computed by the model: */
    V_RATE,     /* items per second */
    V_PROGRESS, /* 0 to 1; of a user: the part of the pool's slots that is in use for him */
    V_MARK,     /* of a user: the part that he is due */
    V_ETA_S,
    V_COUNT,
};

enum { NAME_ROOM = 40, FUNCTION_ROOM = 128, WAITS_ROOM = 16, VERSION_ROOM = 32 };

struct row {
    uint64_t id;  /* within its pane: uid; worker's number, and which kind; job */
    uint64_t job; /* of a job or a slot; 0: unknown */
    uint32_t uid;
    char user[NAME_ROOM]; /* the owner's name; its number where that is not known */
    char function[FUNCTION_ROOM];
    char waits[WAITS_ROOM];
    bool mine;
    bool ended;   /* a job: all items have come */
    bool process; /* a slot: not a thread of the daemon */
    bool above;   /* a slot: by the guarantee */
    bool asked;   /* a slot: asked to give its chunk back */
    double value[V_COUNT];
};

struct rows {
    struct row *row;
    size_t count;
    bool known; /* the daemon has answered */
};

struct sample {
    int64_t taken_ns;  /* CLOCK_MONOTONIC */
    uint64_t instance; /* of the daemon */
    char version[VERSION_ROOM];
    uint32_t me; /* the asking user, as the daemon knows him */
    double figure[F_COUNT];
    struct rows pane[PANE_COUNT];
};

/* An empty one, in which everything is unknown; NULL when memory is short. me: used until `status` says it.
 */
struct sample *sample_new(uint32_t me);
void sample_free(struct sample *sample);

/*
 * Decodes the answer for a pane, PANE_USERS being `status`. Texts of the daemon's are masked: what could
 * steer a terminal becomes '?'. Users are named by their numbers. Returns 0, -EBADMSG (no such answer; the
 * pane stays unknown) or -ENOMEM.
 */
int sample_decode(struct sample *sample, enum pane pane, const void *data, size_t size);

#endif
