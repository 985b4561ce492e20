/*
 * A pool under a test: the core with workers that take the time that a test says, in virtual time, so that
 * who gets which part of the slot time, and when, can be foreseen. Threads that the core asks for come at
 * once.
 */
#ifndef CORE_POOL_H
#define CORE_POOL_H

#include "tests/unit/core_rig.h"

enum { JOBS_MAX = 8, HELD_MAX = 64 };

/* A chunk at a worker. */
struct held {
    uint64_t chunk, job;
    uint32_t count, asked; /* items; and how many it is to do when it has been asked to yield */
};

struct pool {
    struct rig rig;
    struct held held[RIG_WORKERS][HELD_MAX]; /* the first one runs */
    uint32_t held_count[RIG_WORKERS];
    int64_t started_ns[RIG_WORKERS];
    struct {
        struct job *job;
        int64_t item_ns, busy_ns;
        int64_t began_ns; /* its last chunk */
        bool endless;     /* gets a new item for each that is given out */
    } jobs[JOBS_MAX];     /* by the core's number */
    uint64_t job_count;
};

/* config: NULL for the rig's own. */
void pool_start(struct pool *pool, const struct core_config *config, uint32_t workers);
void pool_end(struct pool *pool);

/* A session of an owner with this weight and no limits. */
struct session *pool_session(struct pool *pool, uid_t uid, uint32_t weight);

/* A job whose items take item_ns each, with so many items to begin with; `endless`: it never runs out. */
uint64_t pool_job(struct pool *pool, struct session *session, struct job_options options, int64_t item_ns,
                  uint32_t items, bool endless);

/* Lets the time pass, and the workers work. */
void pool_run(struct pool *pool, int64_t ns);

/* Slot time is counted from now on, and of chunks that end from now on. */
void pool_forget_busy(struct pool *pool);

/* This job's part of all slot time since then is what it should be, within 0.03. */
void pool_assert_part(const struct pool *pool, uint64_t job, double due);

#endif
