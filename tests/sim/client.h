/*
 * Clients: each is a session at a time with one or several jobs, and drives libpmap's flow as the library
 * does. A job's producer and reader keep their own pace; a client may lose its connection and come back,
 * cancel, or leave.
 */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "client/libpmap/flow.h"
#include "tests/sim/network.h"

struct connection {
    struct connection *older;
    struct client *client;
    unsigned number;
    bool open;               /* the client's end */
    struct session *session; /* the daemon's end; NULL: not yet, or not any more */
    bool has_crew;           /* likewise: it may have processes */
    struct link up, down;
};

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_ENDED, JOB_REFUSED, JOB_DROPPED };

struct sim_job {
    struct client *client;
    uint64_t ref;
    /* What it is. */
    struct work work;
    struct job_options options;
    int64_t expected_ns;
    bool process, lasting, exact;
    uint64_t result_window;
    size_t batch_size;
    /* How its client behaves. */
    int64_t start_ns;
    uint32_t ranges_max;
    uint32_t put_burst;    /* items at a time */
    int64_t put_pause_ns;  /* between bursts */
    uint32_t take_most;    /* results at a time */
    int64_t take_pause_ns; /* between them */
    uint64_t stall_at;     /* results taken, after which it takes none for stall_ns */
    int64_t stall_ns;
    uint64_t cancel_at; /* results taken; UINT64_MAX: never */
    uint64_t hold_at;   /* likewise: then it is held for hold_ns */
    int64_t hold_ns;
    /* What has become of it. */
    enum job_state state;
    struct flow *flow;
    uint64_t put, taken;
    int64_t busy_ns;                            /* slot time, as the workers spent it */
    STAILQ_HEAD(packet_queue, packet) received; /* results and DONE that are not dealt with */
    uint32_t head_taken;                        /* records of the first of them */
    size_t head_offset;                         /* their bytes */
    uint64_t next;                              /* ordered: the index wanted */
    uint8_t *seen;                              /* a byte an item: its result was taken */
    uint8_t *excused; /* likewise: it may fail without its own fault: its worker died, its job was halted */
    uint32_t *part;   /* bytes of each item's result that were taken */
    uint64_t piece_index;
    uint64_t got, got_failed, got_bytes; /* since OPEN, as they came */
    bool end_said, cancelled;
    bool putting, taking; /* an event for it is under way */
    bool full;            /* the last put said -EAGAIN */
    bool in_piece;        /* the next piece of piece_index's result comes next */
};

struct client {
    unsigned number;
    struct owner *owner;
    struct connection *connection;     /* the latest, older ones behind it; NULL: none yet */
    int64_t up_ns, down_ns, spread_ns; /* of its links */
    unsigned losses;                   /* how often it is going to lose its connection */
    int64_t loss_ns, away_ns;          /* how long after it was made, and for how long */
    int64_t leaves_ns;                 /* goes for good, whatever is open; INT64_MAX: when all is done */
    struct sim_job *jobs;
    unsigned job_count;
    bool gone;
};

/* Schedules what the client is going to do. */
void client_start(struct world *world, struct client *client);
/* Looks at jobs that can have no more events: broken(…"stuck"…) when one has not ended. */
void client_check_ended(struct world *world, const struct client *client);
void client_free(struct client *client);

/* What a trace calls the job. */
static inline uint64_t client_job_id(const struct sim_job *job)
{
    return (uint64_t)job->client->number * 100 + job->ref;
}

#endif
