/*
 * The core under a test: what comes out is kept in a list, and core_check looks at the whole state after each
 * step. A test makes a step by an event of the core (core_…) and then rig_settle, or by one of the rig's own,
 * which do both. All actions must be taken by the test: rig_end fails where some are left.
 */
#ifndef TEST_CORE_RIG_H
#define TEST_CORE_RIG_H

#include "daemon/core/core.h"

#define MS INT64_C(1000000)
#define US INT64_C(1000)

enum { RIG_SEEN = 4096, RIG_WORKERS = 16 };

/* An action, with copies of what it points to. */
struct seen {
    enum action_type type;
    uint32_t count; /* items or records */
    struct session *session;
    struct worker *worker;
    uint64_t ref, chunk, job, first;
    struct crew *crew;
    const void *function;  /* OVER's */
    uint64_t credit;       /* OPENED's, CREDIT's, CHUNK's, GRANT's, or what RESULTS cost */
    size_t blocks, frames; /* RESULTS: number, and bytes of all frames of records */
    size_t size;           /* of all the records */
    uint64_t lent, back;   /* LEND's */
    struct job_report done;
    bool more, has_done;
    bool client_gone;
    bool head;    /* GRANT's */
    bool trace;   /* CHUNK's */
    bool no_slot; /* RESULTS: the first note is SLOT and says that there is none; what follows is not of it */
    uint16_t note; /* RESULTS: kind of the first note, 0 for none, and the beginning of its text */
    char why[64];
    char text[64]; /* the beginning of the records' bytes, all pieces together */
};

struct rig {
    struct core *core;
    int64_t now_ns;
    struct worker *workers[RIG_WORKERS];
    uint32_t worker_count;
    struct seen seen[RIG_SEEN];
    size_t seen_count, taken;
};

/* Limits that limit nothing here. */
extern const struct owner_limits no_limits;

/* A core with so many workers. NULL: a target of 10 ms and 1 GiB. */
void rig_start(struct rig *rig, const struct core_config *config, uint32_t workers);
void rig_end(struct rig *rig);
void rig_add_worker(struct rig *rig);

/* A session whose jobs may run in processes of a new crew. */
struct session *rig_process_session(struct rig *rig, uid_t uid, struct crew **crew);
/* A process of this crew has started. */
struct worker *rig_add_process(struct rig *rig, struct crew *crew);
/* The same, having taken the ACTION_START that must be next. */
struct worker *rig_start_process(struct rig *rig, struct crew *crew);
/* A job of processes, with `credit` for results; more: request.process is set, ref, function and credit too.
 */
struct job *rig_open_process(struct rig *rig, struct session *session, uint64_t ref, uint64_t credit,
                             struct job_request more);

/* Takes all actions that are due, and checks the core. */
void rig_settle(struct rig *rig);
/* Time passes; core_tick. */
void rig_pass(struct rig *rig, int64_t ns);

/* The next action, which must be of this type. Good until rig_settle finds the list empty. */
const struct seen *rig_take(struct rig *rig, enum action_type type);
void rig_expect_none(const struct rig *rig);
/* Forgets the actions that were not taken. */
void rig_forget(struct rig *rig);

struct session *rig_session(struct rig *rig, uid_t uid, const struct owner_limits *limits);
/* A job with 1 MiB of credit for results and a function whose address is the job's number; OPENED is taken.
 */
struct job *rig_open(struct rig *rig, struct session *session, uint64_t ref, struct job_options options);
/* The same, with an expected time per item. */
struct job *rig_open_timed(struct rig *rig, struct session *session, uint64_t ref, struct job_options options,
                           int64_t item_ns);
/* Sends `count` items of `size` bytes each, all of them `byte`, as core_job_expects has it, and settles. */
int rig_items(struct rig *rig, struct job *job, uint32_t count, size_t size, char byte);
int rig_piece(struct rig *rig, struct job *job, size_t size, bool more);
void rig_finish(struct rig *rig, struct job *job);

/* Results for a chunk: `count` records of `size` bytes of 'r'; none for 0. */
int rig_worked(struct rig *rig, struct worker *worker, uint64_t chunk, uint32_t count, size_t size, bool more,
               bool last, int64_t run_ns);
/* One result with a note of this kind. */
int rig_worked_note(struct rig *rig, const struct seen *chunk, uint16_t kind, uint16_t code, bool last);
/* After run_ns, which pass. */
int rig_parked(struct rig *rig, const struct seen *chunk, uint32_t count, int64_t run_ns);
/* So many tokens of the chunk have come back, over its life. */
int rig_returned(struct rig *rig, const struct seen *chunk, uint64_t tokens);
void rig_gone(struct rig *rig, struct worker *worker);
/* All of a chunk's items have results of one byte after run_ns, which pass. */
void rig_work(struct rig *rig, const struct seen *chunk, int64_t run_ns);

struct batch *rig_batch(uint32_t count, size_t size, char byte, bool more);

#endif
