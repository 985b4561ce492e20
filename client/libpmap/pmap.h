/*
 * libpmap: the client library of pmapd. A connection to a pool, map jobs on it, items in, results out: in
 * order, streamed, timed.
 *
 *     pmap *pool;
 *     pmap_job *job;
 *     pmap_result result;
 *     if (pmap_connect(NULL, NULL, &pool) < 0 || pmap_open(pool, "square", NULL, &job) < 0) ...
 *     pmap_put(job, "12", 2);
 *     pmap_end(job);
 *     while (pmap_wait_take(job, -1, &result) == PMAP_RESULT) ...
 *     pmap_close_job(job);
 *     pmap_disconnect(pool);
 *
 * Results: 0 or a positive value is success, a negative one an error (a negative errno; pmap_error has the
 * words). Ownership: a pmap belongs to its caller until pmap_disconnect, a pmap_job until pmap_close_job.
 * Data that is passed in is copied. Data that comes out is the library's, good until the next call with the
 * same job. Thread-safety: a pmap and all its jobs are one unit: one thread at a time. Different pmaps are
 * independent. The library starts one thread of its own for each pmap (ZeroMQ's), blocks no signal in the
 * caller's threads, and never writes to a descriptor of the caller's nor ends the process.
 */
#ifndef PMAP_H
#define PMAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PMAP_API __attribute__((visibility("default")))
#else
#define PMAP_API
#endif

typedef struct pmap pmap;         /* a connection to a pool */
typedef struct pmap_job pmap_job; /* one map call */

/*** Connection ***/

struct pmap_options {
    int connect_timeout_ms; /* how long the daemon may take to answer; 0: the default, 5000 */
    const char *program;    /* a name for the daemon's log; NULL: "libpmap" */
    /*
     * For how long a daemon that is lost is sought at the same endpoint, so that open jobs go on with the one
     * that comes back there: over a restart, a crash, an upgrade. 0: the loss of the daemon is an error.
     *
     * Meanwhile calls say what they say when nothing moves: pmap_take PMAP_NONE, pmap_put -EAGAIN when what
     * is kept is full, pmap_step 0. An item is run again if its result had not come; every result is given
     * out once. One that was taken in part is begun anew by the next daemon: what was taken of it is not
     * given out again where it is the same, and the item fails where it is not (length and hash say so).
     * With `once` an item that was sent and has no result fails instead of being run again, unless the daemon
     * has stopped in good order and says that it had not begun it; with `halt`, after an item has failed,
     * nothing more is run. Reports are of all runs together; of the one that was lost, chunks and slot time
     * are what its results tell. pmap_ping and pmap_query ask anew, pmap_abort
     * returns -ECONNRESET.
     */
    int reconnect_ms;
};

/*
 * Connects to a pool and waits for its answer.
 * endpoint: "ipc:///path"; NULL: $PMAP_ENDPOINT, else the system's pool where somebody listens, else this
 * user's own. options: NULL for the defaults. Never starts a daemon. Before anything else is said, the peer
 * is checked: it must run as root, as the owner of the socket's folder, or as the caller. Returns 0, or
 * -ENOENT or -ECONNREFUSED (nobody listens), -ETIMEDOUT (no answer), -EACCES (the socket or the daemon
 * refuses this user, or the peer is not to be trusted), -EPROTONOSUPPORT (no common protocol version, or not
 * an ipc endpoint), -ENOMEM, … . *pool is set in any case where memory allows, so that pmap_error(*pool) can
 * say more; after an error it is of use for pmap_error and pmap_disconnect only (NULL: out of memory).
 */
PMAP_API int pmap_connect(const char *endpoint, const struct pmap_options *options, pmap **pool);

/* Closes the connection; jobs that are open on it are cancelled and freed. NULL is accepted. Does not block.
 */
PMAP_API void pmap_disconnect(pmap *pool);

/* One line on the last error of this connection or of a job on it, without a newline; "" when there was none.
 */
PMAP_API const char *pmap_error(const pmap *pool);

/*
 * A descriptor for the caller's event loop, the same for the life of the connection. It becomes readable when
 * there may be something to do. It is edge-triggered in this sense: readiness may have been used up by any
 * call of this library, so a caller must call pmap_step, and take results until there are none, (1) after the
 * descriptor was readable, and (2) after every call that puts, ends, flushes or cancels; only then may it
 * wait. It never needs to be watched for writing. Do not read it.
 */
PMAP_API int pmap_fd(const pmap *pool);

/*
 * Moves what can be moved: receives, and sends what is due. Does not wait.
 * Returns 0, or an error that ends the connection: -ECONNRESET (the daemon is gone; with reconnect_ms: and
 * was not back in time), -EPROTO, -ENOMEM, or what the daemon said (-EACCES, -EDQUOT, -ESHUTDOWN: it is
 * stopping).
 */
PMAP_API int pmap_step(pmap *pool);

/* pmap_step, then waits up to timeout_ms (-1: without end) for something to happen, and pmap_step again.
 * Returns as pmap_step; also 0 when the time has passed; -EINTR when a signal handler ran. */
PMAP_API int pmap_wait(pmap *pool, int timeout_ms);

/* What the daemon said of itself. */
struct pmap_info {
    const char *software; /* "pmapd 0.1.0" */
    unsigned protocol;    /* the version in use */
    uint64_t instance;    /* random, new at each start of the daemon */
    unsigned slots;       /* of the pool */
    uint64_t max_item;    /* bytes */
    uid_t uid;            /* that the daemon runs as */
    const char *endpoint; /* that was used */
    /* With reconnect_ms: */
    unsigned losses; /* how often the daemon was lost */
    int lost;        /* 1: it is being sought; what stands above is of the one before */
};
/* Good until pmap_disconnect, its strings until the next call. Only after a pmap_connect that returned 0. */
PMAP_API const struct pmap_info *pmap_get_info(const pmap *pool);

/* A round trip to the daemon, in ns, or a negative error as pmap_step, or -ETIMEDOUT. */
PMAP_API int64_t pmap_ping(pmap *pool, int timeout_ms);

/*
 * Asks "status", "functions", "jobs" or "slots". *data, *size: a MessagePack value (PROTOCOL.md has its
 * fields), good until the next query. Returns 0 or a negative error as pmap_step, -EINVAL (unknown query),
 * -ETIMEDOUT.
 */
PMAP_API int pmap_query(pmap *pool, const char *what, int timeout_ms, const void **data, size_t *size);

/*** Jobs ***/

/* Indices [from, to) of items. */
struct pmap_range {
    uint64_t from, to;
};

/* What happens to the rest of a job when an item fails. */
enum pmap_halt {
    PMAP_HALT_NEVER = 0,
    PMAP_HALT_SOON = 1, /* no further item is begun */
    PMAP_HALT_NOW = 2,  /* and what runs is given up */
};

/* Zero is the default of each. */
struct pmap_job_options {
    unsigned chunksize;   /* most items in a chunk; 0: adaptive */
    unsigned slots;       /* most slots at once; 0: the fair share of all */
    int unordered;        /* 1: results as they come */
    int priority;         /* among the owner's own jobs, -1000 … 1000 */
    size_t result_window; /* bytes of results that may be on their way; 0: the default, 4 MiB */
    unsigned timeout_ms;  /* that an item may take; 0: as long as it likes. Not for plain builtins */
    unsigned retries;     /* further attempts at an item that fails. Not for plain builtins */
    int halt;             /* enum pmap_halt */
    unsigned recycle;     /* items that a lasting child serves before it is replaced; 0: no limit */
    int isolate;          /* 1: a builtin runs in a process of the caller's user */
    int live;             /* 1: what a command writes comes line by line, as pieces of its result */
    int once;             /* 1: an item whose worker is lost fails, instead of being run again */
    int jobserver; /* 1: a command finds a GNU make jobserver, whose tokens are free slots; commands only */
    int trace;     /* 1: results tell in which slot they were made, and when */
    /*
     * Items that are not wanted, to go on with an earlier run: those that are put get the other indices, in
     * ascending order, and only they have results. done_count ranges, at most 4096, ascending, none empty.
     */
    const struct pmap_range *done;
    size_t done_count;
};

/*
 * Opens a job. function: a builtin's name. options: NULL for the defaults. Sends nothing by itself: the
 * function and the options are checked by the daemon, and what it refuses comes out of pmap_take as
 * PMAP_FAILED. Returns 0, -EINVAL (an option out of range, a name over 4096 bytes or not in UTF-8), -ENOMEM,
 * or the connection's error; with `isolate` also what pmap_open_call returns.
 */
PMAP_API int pmap_open(pmap *pool, const char *function, const struct pmap_job_options *options,
                       pmap_job **job);

/* Functions that run in processes of the caller's user, in the caller's directory, environment and limits. */
enum pmap_kind {
    PMAP_BUILTIN = 0, /* as pmap_open */
    PMAP_COMMAND = 1, /* a process an item; what it writes to stdout is the result */
    PMAP_FILTER = 2,  /* a lasting process a slot: a line in, a line out */
    PMAP_PIPE = 3,    /* a process a chunk: its items, a line each, on stdin; all of stdout is one result */
    PMAP_PYTHON = 4,  /* a lasting interpreter a slot */
    PMAP_MODULE = 5,  /* a function of a shared object (pmap_module.h) */
};

struct pmap_call {
    enum pmap_kind kind;
    /* Builtin and module: the function's name. Others: what people are shown; NULL: argv[0]. */
    const char *name;
    /*
     * NULL-terminated. Command, filter, pipe: the program, which is looked for in PATH, and its arguments; no
     * shell is in between. An item takes the place of each {} in them, as in GNU parallel also of {.} {/}
     * {//} {/.}, and its number of {#}, the slot's of {%}; where a command has none of these, the item comes
     * behind the arguments. Python: one, an expression in which the item is `x`, or FILE:FUNCTION. Module:
     * one, the path of the shared object. Builtin: NULL.
     */
    const char *const *argv;
    int fields; /* 1, command: an item is several arguments, with a NUL between them: {1}, {2}, {2.} … */
    int file;   /* 1, python: argv[0] is FILE:FUNCTION, not an expression */
    const char *placeholder; /* what stands for the item instead of {}; NULL: {}; "": nothing does */
    const char *type;        /* module: of typed arrays: i8 … i64, u8 … u64, f32, f64; NULL: none */
    int raw;                 /* 1, module: typed items are values as in memory, not text */
};

/*
 * Opens a job of any kind, as pmap_open. The state of this process that the function's are to have is taken
 * now, once for the job: working directory, environment, umask, niceness, CPUs, limits, signals. (Without
 * /proc the umask is read by setting it and setting it back: then no other thread should make files
 * meanwhile.) What is wrong with the function (no such program, say) comes out of pmap_take as PMAP_FAILED.
 * Returns as pmap_open; also -ENOENT (the working directory is gone) and -E2BIG (arguments and environment of
 * more than 4 MiB).
 */
PMAP_API int pmap_open_call(pmap *pool, const struct pmap_call *call, const struct pmap_job_options *options,
                            pmap_job **job);

/*
 * Adds an item: `len` bytes of any content (data may be NULL where len is 0). Never blocks.
 * Returns 0, -EAGAIN (nothing was added: take results first, or wait), -EPIPE (after pmap_end, or the job has
 * ended), -EMSGSIZE (over max_item), -ENOMEM, or the connection's error.
 */
PMAP_API int pmap_put(pmap_job *job, const void *data, size_t len);

/* Sends what has been put although it would not fill a message. Returns as pmap_step. */
PMAP_API int pmap_flush(pmap_job *job);

/* No more items; flushes. Returns as pmap_step, or -EPIPE when it was said before. */
PMAP_API int pmap_end(pmap_job *job);

/* Gives the job up: PMAP_CANCELLED comes out of pmap_take next. Returns as pmap_step. */
PMAP_API int pmap_cancel(pmap_job *job);

/* paused 1: no further item is begun, what runs goes on; 0: as before. Returns as pmap_step. */
PMAP_API int pmap_hold(pmap_job *job, int paused);

/*
 * Gives up a job of any session of the same user's, by the daemon's number for it. Waits for the answer.
 * Returns 0, -ENOENT (no such job, or another user's), -ETIMEDOUT, or a negative error as pmap_step
 * (-ECONNRESET also where the connection goes on and only the answer is lost).
 */
PMAP_API int pmap_abort(pmap *pool, uint64_t number, int timeout_ms);

enum pmap_taken {
    PMAP_NONE = 0,      /* no result for now */
    PMAP_RESULT = 1,    /* *result is set */
    PMAP_DONE = 2,      /* the job has ended, every item has had its result */
    PMAP_CANCELLED = 3, /* the job has ended by pmap_cancel */
    PMAP_FAILED = 4,    /* the job was refused or ended by the daemon: pmap_job_error */
};

struct pmap_result {
    uint64_t index;   /* of the item, from 0 */
    const void *data; /* the result's bytes; of a command what it wrote to stdout, also where it failed */
    size_t size;
    int more; /* 1: a piece of a large result; the next pmap_take gives the next piece of the same item */
    const void *err; /* what its process wrote to stderr; of this piece alone, as data */
    size_t err_size;
    /* With its last piece: */
    int failed;          /* 1: the item failed */
    const char *error;   /* why, NUL-terminated: "killed by SIGSEGV"; NULL unless failed */
    int exit_code;       /* its process exited with this, which is not 0; else 0 */
    int signal;          /* its process was killed by this signal; else 0 */
    int timed_out;       /* 1: it took longer than timeout_ms */
    int cancelled;       /* 1: it was given up, or never begun, because its job was cancelled or halted */
    unsigned attempts;   /* how often it was tried */
    int64_t time_ns;     /* that it took */
    uint64_t started_ns; /* when it began, since 1970; 0: unknown. Known of commands, and with `trace` */
    uint64_t cpu_ns;     /* CPU time of its process; 0: unknown, as is the next */
    uint64_t peak_bytes; /* the most memory that a process of its had */
    unsigned slot;      /* with `trace`: in which it ran, from 1, as PMAP_SLOT; 0: unknown, or it never ran */
    const char *remark; /* something on the function, to be told once a job, NUL-terminated; else NULL */
};
typedef struct pmap_result pmap_result;

/*
 * The next result: in the order of the items, or as they come with `unordered`. Taking a result returns its
 * credit, so a caller that stops taking stops its job and nothing else. Does not wait; calls pmap_step when
 * it has none at hand. Returns an enum pmap_taken, or a negative error as pmap_step.
 */
PMAP_API int pmap_take(pmap_job *job, struct pmap_result *result);

/* The same, waiting up to timeout_ms (-1: without end) for it. PMAP_NONE when the time has passed; -EINTR. */
PMAP_API int pmap_wait_take(pmap_job *job, int timeout_ms, struct pmap_result *result);

/* Why the job ended with PMAP_FAILED: one line; and the error's code of PROTOCOL.md into *code where that is
 * not NULL. */
PMAP_API const char *pmap_job_error(const pmap_job *job, unsigned *code);

/* A job's timing and counts: complete once pmap_take has said PMAP_DONE or PMAP_CANCELLED. Times in ns. */
struct pmap_report {
    uint64_t job; /* the daemon's number for it, 0 before it was opened */
    uint64_t items, failed, retried, chunks;
    unsigned slots;
    int64_t wall_ns;         /* OPEN sent to the last result taken */
    int64_t queue_ns;        /* OPEN to the first chunk's start */
    int64_t first_result_ns; /* OPEN sent to the first result taken */
    int64_t run_ns, cpu_ns;  /* busy slot time, CPU time */
    uint64_t item_count;     /* items whose time is in what follows */
    double item_mean_ns, item_std_ns;
    int64_t item_min_ns, item_max_ns;
    uint64_t bytes_in, bytes_out;
};
PMAP_API void pmap_get_report(const pmap_job *job, struct pmap_report *report);

/* Frees the job; one that has not ended is cancelled. NULL is accepted. */
PMAP_API void pmap_close_job(pmap_job *job);

/* "0.1.0" */
PMAP_API const char *pmap_version(void);

#ifdef __cplusplus
}
#endif
#endif
