/*
 * What pmap-worker is made of: the parts below, put together here for the files that need several of them.
 * serve.c takes what the daemon says, run.c has the first chunk of the queue run in a host, direct.c runs it
 * here if nothing but a plain builtin is asked for, blame.c judges hosts that end, deliver.c sends results as
 * credit allows.
 */
#ifndef PMAP_WORKER_H
#define PMAP_WORKER_H

#include "common/clock.h"
#include "daemon/functions/functions.h"
#include "daemon/worker/chunk.h"
#include "daemon/worker/link.h"
#include "daemon/worker/oom.h"

/* Why a host was, or will be, ended by us. */
enum ending { ENDING_NOT, ENDING_TIMEOUT, ENDING_DROP, ENDING_DAMAGE, ENDING_CLOSED };

/* An item that will fail once those before it have results. */
struct blame {
    bool set;
    uint32_t item; /* of the chunk */
    uint16_t kind, code;
    int64_t ns; /* that it took */
    char text[256];
};

/* The chunk that runs, and how. */
struct run {
    struct chunk *chunk; /* NULL: none */
    struct host *host;
    bool laid;                        /* the host has (a part of) the chunk: its END, or its end, will come */
    uint32_t base, part_end;          /* that part: items [base, part_end) of the chunk */
    uint64_t returned_base;           /* tokens that had come back when the host got it */
    bool told_to_end;                 /* before it has come through */
    bool over;                        /* its END has come: what is taken now is the last */
    bool damaged;                     /* what stands in the arena is not to be believed any more */
    int64_t told_ns;                  /* when the chunk was last told of */
    int64_t traced_ns;                /* when the last item ended of which SLOT tells, or the chunk began */
    uint64_t cpu_seen, cpu_ns;        /* of the part's CPU time: read so far; not told yet, of all parts */
    int64_t look_ns, look_step_ns;    /* when to look at the arena unasked; INT64_MAX: not */
    int64_t timeout_ns;               /* when to look whether its item takes too long; INT64_MAX: never */
    int64_t suspect, suspect_started; /* the item that seemed to, when that was looked at last */
    int64_t excused, excused_ns;      /* an item, and how long it has waited for us, not for itself */
    enum ending ending;               /* TERM was sent, or DROP, … */
    bool killed;                      /* … and that was done */
    int64_t kill_ns;                  /* … and if it is still there then, KILL. INT64_MAX: not */
    int64_t start_ns;                 /* no part is to be begun before */
    uint32_t attempts;                /* hosts that have died of the next item */
    bool single;     /* a host has died with several items of the chunk in hand: one at a time from here on */
    uint32_t losses; /* pmap-execs that have died in it */
    uint32_t
        strikes; /* hosts that have died, or failed to start, for no item's sake, since there was a result */
    struct blame blame;
    size_t item_at; /* where the chunk's next item is, as long as it runs here */
    struct oom oom; /* before the host may have been killed for want of memory */
    int64_t oom_ns; /* when that was read */
};

/* A builtin that runs here. */
struct direct {
    const struct function *function;
    struct function_context context;
    struct out out;       /* results of this turn, … */
    size_t told;          /* … those told of, in bytes */
    struct parcel parcel; /* … and the others */
    int64_t told_ns;
    uint64_t cpu_ns; /* this process's, when it was looked at last */
    bool limited;    /* in memory or CPU time: what a function does should not end this process */
};

struct worker {
    struct link link;
    struct hosts hosts;
    struct job_list jobs;
    struct chunk_list queue, parked; /* in order of arrival; the running one is in neither */
    uint64_t refused;                /* a chunk whose further pieces are not wanted; 0: none */
    struct spool spool;
    struct run run;
    struct direct direct;
    bool reap;   /* a child's end was told of and not looked at yet */
    int signals; /* descriptor that tells of children's ends, and of our own */
    struct parcel_space *space;
    struct outbox_memory replay; /* what was read back from a file */
    bool stop;
    int error; /* negative errno: nothing more can be done */
};

/* main.c: while an item is run here: sees to the daemon and to hosts that rest; waits for it until then. */
void worker_listen(struct worker *w, int64_t until);
/* While nothing else can go on: waits for the daemon, and takes what it says. */
void worker_await(struct worker *w, int64_t until);

/* serve.c: takes up to `most` messages from the daemon. Returns whether there may be more. */
bool serve(struct worker *w, int most);

/* chunk.c */
struct chunk *chunk_new(struct worker *w, const struct message *m, struct job *job);
void chunk_free(struct worker *w, struct chunk *c);
struct chunk *chunk_find(struct worker *w, uint64_t id);

/* run.c */
void run_init(struct run *r);
/* Does what can be done: ends the chunk, begins the next one, gives a host a part of it. */
void run_step(struct worker *w);
/* The host has something to say (returns whether there was a message), or has written to stdout or stderr. */
bool run_listen(struct worker *w);
void run_read_output(struct worker *w);
/* Does what is due. */
void run_tick(struct worker *w, int64_t now);
/* When that is to be called again. */
int64_t run_due(const struct worker *w);
/* The daemon wants it to stop after the present item; does not want it at all. */
void run_yield(struct worker *w);
void run_drop(struct worker *w, int64_t grace_ns);
/* Hands on what slots were lent to the chunk, and how many are wanted back. */
void run_lend(struct worker *w);
/* Takes the results that are there. begun: also what there is of the present item's. */
void run_take(struct worker *w, bool begun);
/* What the running chunk has taken since this was last asked. */
void run_account(struct worker *w, int64_t *run_ns, int64_t *cpu_ns);
/* The host cannot be used, for no item's sake: another is tried, a few times. */
void run_strike(struct worker *w, const char *why);
/* What the worker knows of the host is of no use for the part that it had. */
void run_unlaid(struct worker *w);

/* direct.c */
void direct_init(struct direct *d);
/* Can the chunk be run here? */
bool direct_fits(const struct direct *d, const struct chunk *c);
/* Runs items of the running chunk for a while. */
void direct_run(struct worker *w);

/* blame.c: the host's process has ended, with this status of waitpid(2). */
void blame_ended(struct worker *w, int status);
/* Fails the next item of the chunk, as the blame says. */
void blame_deliver(struct worker *w);

/* deliver.c: results of the running chunk. last: the chunk ends with them. */
void deliver(struct worker *w, struct parcel *parcel, bool last);
/* Sends what waits, as far as credit goes. */
void deliver_waiting(struct worker *w, struct chunk *c);
/* Ends a chunk without (further) results. */
void deliver_last(struct worker *w, struct chunk *c);
/* The running chunk is over as far as its host is concerned: ends or parks it. */
void deliver_end(struct worker *w);

/* Remembers the first error (negative) after which nothing more can be done. */
void worker_check(struct worker *w, int rc);

#endif
