/*
 * The parts of the skeleton (skeleton.c): a broker with its workers, a client, and what both use.
 */
#ifndef BENCH_SKELETON_H
#define BENCH_SKELETON_H

#include "common/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    MAX_WORKERS = 64,
    LARGE = 64 * 1024, /* bytes of a message of rate64k */
};

struct options {
    int64_t count; /* messages to time; 0: the mode's own number */
    int workers;   /* 0: the mode's own number */
    int ahead;     /* messages outstanding at a worker */
    int window;    /* messages outstanding at the client; 0: the mode's own number */
    int limit_s;   /* a run that takes longer is killed, and has failed */
};

struct mode {
    const char *name;
    int (*run)(void *socket, const struct mode *mode, const struct options *options);
    size_t bytes; /* of a message */
    int64_t count;
    int workers, window;
    bool processes; /* the workers are processes, over ipc, and not threads of the broker's, over inproc */
};

/* Says on stderr which call of libzmq or of the system failed, by errno, which it returns negated. */
int failed(const char *what);

/* A socket without high-water marks: the windows bound what is in flight. NULL on failure, which has been
 * told. */
void *open_socket(void *context, int type);

/*
 * Forks a process that dies with this one. Returns its pid, 0 in the child, or a negative errno. The child
 * keeps the parent's signals blocked: it is the parent that answers them, by KILL.
 */
pid_t fork_bound(void);

/*
 * The broker's process: binds, starts the workers, waits until all are there, writes a byte to ready_fd,
 * passes messages on until a client sends an empty one. On an error it returns with its workers still
 * running: they end with this process. Returns 0 or a negative errno, which has been told.
 */
int broker_main(const char *endpoint, const char *pool, int ready_fd, const struct mode *mode,
                const struct options *options);

/*
 * The client's process: waits for the broker's byte (none: it has failed), runs the mode, tells the broker to
 * stop. Returns 0 or a negative errno, which has been told.
 */
int client_main(const char *endpoint, int ready_fd, const struct mode *mode, const struct options *options);

/* What a mode may run on the client's socket: round trips, or messages pipelined. */
int run_latency(void *socket, const struct mode *mode, const struct options *options);
int run_rate(void *socket, const struct mode *mode, const struct options *options);

#endif
