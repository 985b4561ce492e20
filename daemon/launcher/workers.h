/*
 * The table of workers: children from their fork until they have been waited for and the broker was told.
 * It knows their ways of starting and ending; what the broker hears of it is its caller's to send.
 */
#ifndef PMAPD_WORKERS_H
#define PMAPD_WORKERS_H

#include "daemon/launcher/context.h"
#include "daemon/launcher/records.h"
#include "daemon/launcher/start.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

enum { WORKERS_MAX = 4096 };

enum worker_state {
    WORKER_STARTING, /* on its way to its program; the broker waits for STARTED or REFUSED */
    WORKER_RUNNING,  /* STARTED was said */
    WORKER_REFUSED,  /* REFUSED was said; it has not been waited for */
    WORKER_ENDED,    /* has been waited for; EXITED is to be said */
};

struct worker {
    LIST_ENTRY(worker) by_pid; /* until it has been waited for: its pid is its own so long */
    TAILQ_ENTRY(worker) link;  /* in the list of its state */
    enum worker_state state;
    uint32_t number, token;
    pid_t pid;
    uid_t uid;
    struct context *context;
    int pipe;                   /* STARTING: what the child tells; else -1 */
    int64_t until_ns;           /* STARTING: when it is to be given up; the list is in this order */
    bool ready;                 /* the child was about to execute */
    struct start_status status; /* what it told last */
    int exit_status;            /* ENDED */
};

LIST_HEAD(worker_bucket, worker);
TAILQ_HEAD(worker_list, worker);

/* Somebody whose workers do not start. */
struct failing {
    uid_t uid;
    unsigned times;
    int64_t until_ns;
    char refusal[RECORD_TEXT_MAX]; /* the last time the account was refused: why, which is told until then; or
                                      "" */
};

enum { WORKERS_BUCKETS = 1024, FAILING_MAX = 256 };

struct workers {
    struct worker_bucket by_pid[WORKERS_BUCKETS];
    struct worker_list starting, running, refused, ended;
    size_t count, starting_count;
    uint32_t number; /* the last one given */
    struct failing failing[FAILING_MAX];
    size_t failing_count;
};

void workers_init(struct workers *workers);

/*
 * May another one be started for this owner now? Returns 0, or a negative errno and in text, for the client,
 * why not.
 */
int workers_may_start(const struct workers *workers, uid_t uid, int64_t now_ns, char text[RECORD_TEXT_MAX]);

/* The number that the next one to be started will have. */
uint32_t workers_next(const struct workers *workers);

/* Nobody is to have that number. */
void workers_skip(struct workers *workers);

/* Forks one for this context. start: all but worker, launcher and status is filled in. Returns 0 or a
 * negative errno.
 */
int workers_start(struct workers *workers, struct context *context, struct start *start, uint32_t token,
                  int64_t now_ns, struct worker **worker);

/*
 * Reads what the child that is starting tells; dead: it has been waited for, so this is all. Returns 1: it
 * runs now (or did); 0: it goes on; or a negative errno: it has failed, and text says of what, for the
 * client. It is moved to the state that follows.
 */
int workers_hear(struct workers *workers, struct worker *worker, bool dead, int64_t now_ns,
                 char text[RECORD_TEXT_MAX]);

/* One that has been starting for too long, which gets another while to die; NULL: there is none. */
struct worker *workers_overdue(struct workers *workers, int64_t now_ns);

/* The running one of this number, or NULL. */
struct worker *workers_find(struct workers *workers, uint32_t number);

/* The one of this pid that has not been waited for, or NULL. */
struct worker *workers_of_pid(struct workers *workers, pid_t pid);

/*
 * It has been waited for. It is not STARTING any more. Frees it
 * unless there is an EXITED to be said.
 */
void workers_ended(struct workers *workers, struct worker *worker, int exit_status);

/* Forgets an ENDED one. */
void workers_forget(struct workers *workers, struct worker *worker);

/* Frees them all, whatever they do. */
void workers_free(struct workers *workers);

#endif
