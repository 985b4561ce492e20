/*
 * Running one process to its end: its output into the arena, its stdin fed, its time limited, its whole tree
 * gone afterwards, while the worker is listened to. And what is to be said of how it ended.
 */
#ifndef PMAP_RUN_H
#define PMAP_RUN_H

#include "daemon/worker/exec/feed.h"
#include "daemon/worker/exec/jobserver.h"
#include "daemon/worker/exec/output.h"
#include "daemon/worker/exec/spawn.h"
#include "daemon/worker/exec/tree.h"

enum {
    NOTE_TEXT = 512,
    JOB_BAD = -10000, /* no errno: job->bad says why the job cannot be run at all */
};

/* The job, as the command line has it. */
struct job {
    char *const *argv;
    size_t argc;
    const char *placeholder; /* NULL: {} */
    bool fields, live;
    int64_t timeout_ns; /* 0: none */
    int64_t grace_ns;
    uint64_t retries, recycle;
    struct spawner spawner;
    int signals;        /* a signalfd of SIGCHLD */
    uint64_t base_peak; /* of this process, when it was made small; 0: it was not yet */
    uint64_t
        own_peak; /* at most, when the item's was started: where that one's is no larger, it is unknown */
    struct link link;
    struct output output;
    struct jobserver jobserver;
    char bad[HOST_TEXT_MAX]; /* why the job cannot be run at all */
};

/*
 * A kind of function. start and chunk return 0, or -1: the job cannot be run, job->bad says why. A chunk is
 * to be run from output.view.item on until its end, or job->link says to stop.
 */
struct kind {
    const char *name;
    int (*start)(struct job *job);
    int (*chunk)(struct job *job);
    void (*stop)(struct job *job);
};
extern const struct kind command_kind, filter_kind, pipe_kind;

/* Finds the program, whose name is the first argument, once for all processes of the job. Returns 0 or
 * JOB_BAD. */
int job_find(struct job *job);

struct outcome {
    bool given_up; /* the chunk is not wanted any more, nothing else counts */
    bool timed_out;
    int error; /* its output could not be kept: a negative errno */
    struct reaped reaped;
    int64_t started_real_ns, started_ns, ended_ns;
};

/*
 * Runs what was just started, and closes its pipes. feed: for its stdin, or NULL. The outcome's start times
 * are the caller's to set.
 */
void run_process(struct job *job, struct process *process, struct feed *feed, struct outcome *outcome);

/* Did it fail? */
bool outcome_failed(const struct outcome *outcome);

/* Notes on the present item how it failed, if it did. */
void outcome_note(struct job *job, const struct outcome *outcome);
/* And what it used. */
void outcome_note_usage(struct job *job, const struct outcome *outcome);

/* Notes that the present item took more than one attempt, if it did. */
void note_attempts(struct job *job, uint64_t attempts);

/* Notes an error, in words. */
__attribute__((format(printf, 2, 3))) void note_error(struct job *job, const char *format, ...);
void note_timeout(struct job *job);
void note_signal(struct job *job, int status);

/* Kills the tree and waits until it is gone, adding to what was reaped; at most about `most_ns`. */
void run_kill(struct job *job, pid_t process, struct reaped *reaped, int64_t most_ns);

/*
 * Starts a process, after a while again where the system is short of something. varies: the program's name
 * depends on the item. Returns 0, JOB_BAD, -ECANCELED, or another negative errno: the present item cannot be
 * run, `why` says so.
 */
int run_start(struct job *job, char **argv, char *const *envp, bool varies, bool feed,
              struct process *process, char why[NOTE_TEXT]);

/* Before a process is started: makes this one small, as its size is counted as that one's peak. */
void run_shrink(struct job *job);

#endif
