/*
 * The table of workers; see workers.h.
 */
#include "daemon/launcher/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* After a start that failed the next one waits, twice as long each time. */
static const int64_t PAUSE_FIRST_NS = 100 * INT64_C(1000000), PAUSE_MOST_NS = 10 * INT64_C(1000000000);

/* The child has a deadline of its own (start.c), but its user may have stopped it. */
static const int64_t START_PATIENCE_NS = 15 * INT64_C(1000000000);

void workers_init(struct workers *workers)
{
    *workers = (struct workers){0};
    TAILQ_INIT(&workers->starting);
    TAILQ_INIT(&workers->running);
    TAILQ_INIT(&workers->refused);
    TAILQ_INIT(&workers->ended);
    for (size_t i = 0; i < WORKERS_BUCKETS; i++)
        LIST_INIT(&workers->by_pid[i]);
}

static struct worker_list *list_of(struct workers *workers, enum worker_state state)
{
    switch (state) {
    case WORKER_STARTING:
        return &workers->starting;
    case WORKER_RUNNING:
        return &workers->running;
    case WORKER_REFUSED:
        return &workers->refused;
    case WORKER_ENDED:
        break;
    }
    return &workers->ended;
}

static void set_state(struct workers *workers, struct worker *w, enum worker_state state)
{
    TAILQ_REMOVE(list_of(workers, w->state), w, link);
    workers->starting_count -= w->state == WORKER_STARTING;
    w->state = state;
    TAILQ_INSERT_TAIL(list_of(workers, state), w, link);
}

/*** Owners whose workers do not start ***/

static struct failing *failing_find(struct workers *workers, uid_t uid)
{
    for (size_t i = 0; i < workers->failing_count; i++) {
        if (workers->failing[i].uid == uid)
            return &workers->failing[i];
    }
    return NULL;
}

/* refusal: see struct failing. */
static void failing_note(struct workers *workers, uid_t uid, int64_t now_ns, const char *refusal)
{
    struct failing *f = failing_find(workers, uid);
    if (!f && workers->failing_count < FAILING_MAX)
        f = &workers->failing[workers->failing_count++];
    else if (!f) {
        /* One that may try again soonest is forgotten. */
        f = workers->failing;
        for (size_t i = 1; i < FAILING_MAX; i++) {
            if (workers->failing[i].until_ns < f->until_ns)
                f = &workers->failing[i];
        }
    }
    if (f->uid != uid || f->times == 0)
        *f = (struct failing){.uid = uid};
    int64_t pause = PAUSE_FIRST_NS;
    for (unsigned i = 0; i < f->times && pause < PAUSE_MOST_NS; i++)
        pause *= 2;
    f->until_ns = now_ns + (pause < PAUSE_MOST_NS ? pause : PAUSE_MOST_NS);
    f->times++;
    snprintf(f->refusal, sizeof f->refusal, "%s", refusal);
}

static void failing_forget(struct workers *workers, uid_t uid)
{
    struct failing *f = failing_find(workers, uid);
    if (f)
        *f = workers->failing[--workers->failing_count];
}

/*** Starting ***/

int workers_may_start(const struct workers *workers, uid_t uid, int64_t now_ns, char text[RECORD_TEXT_MAX])
{
    if (workers->count >= WORKERS_MAX || workers->number == UINT32_MAX) {
        snprintf(text, RECORD_TEXT_MAX, "there are as many worker processes as there may be (%d)",
                 WORKERS_MAX);
        return -EAGAIN;
    }
    for (size_t i = 0; i < workers->failing_count; i++) {
        const struct failing *f = &workers->failing[i];
        if (f->uid == uid && now_ns < f->until_ns && f->refusal[0] != '\0') {
            memcpy(text, f->refusal, sizeof f->refusal);
            return -EACCES;
        }
        if (f->uid == uid && now_ns < f->until_ns) {
            snprintf(text, RECORD_TEXT_MAX,
                     "worker processes of uid %u failed to start %u times; wait %lld ms", (unsigned)uid,
                     f->times, (long long)(f->until_ns - now_ns) / 1000000 + 1);
            return -EAGAIN;
        }
    }
    return 0;
}

/*
 * As fork(2), the child being born into that control group: to move it there takes the kernel a millisecond
 * or several. glibc knows nothing of it, which there is no harm in with one thread. Where clone3(2) is
 * refused, as in a container whose filter of system calls does not know it, the child has to move by itself:
 * *move is set.
 */
static pid_t fork_into(int group, bool *move)
{
    *move = false;
    if (group < 0)
        return fork();
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned)group};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid >= 0 || (errno != ENOSYS && errno != EPERM))
        return pid;
    *move = true;
    return fork();
}

uint32_t workers_next(const struct workers *workers)
{
    return workers->number + 1;
}

void workers_skip(struct workers *workers)
{
    workers->number++;
}

int workers_start(struct workers *workers, struct context *context, struct start *start, uint32_t token,
                  int64_t now_ns, struct worker **worker)
{
    int ends[2];
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        int rc = -errno;
        free(w);
        return rc;
    }
    start->worker = workers_next(workers);
    start->status = ends[1];
    start->launcher = getpid();
    pid_t pid = fork_into(start->group, &start->move);
    if (pid == 0)
        start_child(start);
    int rc = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        free(w);
        return rc;
    }
    *w = (struct worker){.state = WORKER_STARTING,
                         .number = ++workers->number,
                         .token = token,
                         .pid = pid,
                         .uid = start->identity->uid,
                         .context = context,
                         .pipe = ends[0],
                         .until_ns = now_ns + START_PATIENCE_NS};
    context->workers++;
    workers->count++;
    workers->starting_count++;
    TAILQ_INSERT_TAIL(&workers->starting, w, link);
    LIST_INSERT_HEAD(&workers->by_pid[(unsigned)pid % WORKERS_BUCKETS], w, by_pid);
    *worker = w;
    return 0;
}

/* The pipe has come to its end: how was it? Returns as workers_hear does. */
static int judge_start(struct workers *workers, struct worker *w, int64_t now_ns, char text[RECORD_TEXT_MAX])
{
    int rc = w->ready && w->status.error == 0 ? 1 : w->status.error > 0 ? -w->status.error : -ETIMEDOUT;
    close(w->pipe);
    w->pipe = -1;
    set_state(workers, w, rc > 0 ? WORKER_RUNNING : WORKER_REFUSED);
    if (rc > 0) {
        failing_forget(workers, w->uid);
        return rc;
    }
    w->status.text[sizeof w->status.text - 1] = '\0';
    if (w->status.error > 0 && w->status.whole)
        snprintf(text, RECORD_TEXT_MAX, "%s", w->status.text);
    else if (w->status.error > 0)
        snprintf(text, RECORD_TEXT_MAX, "cannot start a worker process: %s: %s", w->status.text,
                 strerror(-rc));
    else
        snprintf(
            text, RECORD_TEXT_MAX,
            "cannot start a worker process: it was killed before it was ready, its time being over (does "
            "looking up users, or PAM, hang?) or the memory that it may have");
    failing_note(workers, w->uid, now_ns, rc == -EACCES && w->status.whole ? text : "");
    return rc;
}

int workers_hear(struct workers *workers, struct worker *worker, bool dead, int64_t now_ns,
                 char text[RECORD_TEXT_MAX])
{
    for (;;) {
        struct start_status status;
        ssize_t n = read(worker->pipe, &status, sizeof status);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN && !dead)
            return 0;
        if (n != sizeof status)
            return judge_start(workers, worker, now_ns, text);
        worker->status = status;
        worker->ready |= status.error == 0;
    }
}

struct worker *workers_overdue(struct workers *workers, int64_t now_ns)
{
    struct worker *w = TAILQ_FIRST(&workers->starting);
    if (!w || w->until_ns > now_ns)
        return NULL;
    TAILQ_REMOVE(&workers->starting, w, link);
    w->until_ns = now_ns + START_PATIENCE_NS;
    TAILQ_INSERT_TAIL(&workers->starting, w, link);
    return w;
}

/*** Finding and ending ***/

struct worker *workers_find(struct workers *workers, uint32_t number)
{
    struct worker *w;
    TAILQ_FOREACH (w, &workers->running, link) {
        if (w->number == number)
            return w;
    }
    return NULL;
}

struct worker *workers_of_pid(struct workers *workers, pid_t pid)
{
    struct worker *w;
    LIST_FOREACH (w, &workers->by_pid[(unsigned)pid % WORKERS_BUCKETS], by_pid) {
        if (w->pid == pid)
            return w;
    }
    return NULL;
}

void workers_forget(struct workers *workers, struct worker *worker)
{
    TAILQ_REMOVE(list_of(workers, worker->state), worker, link);
    workers->count--;
    free(worker);
}

void workers_ended(struct workers *workers, struct worker *worker, int exit_status)
{
    LIST_REMOVE(worker, by_pid);
    worker->context->workers--;
    worker->context = NULL;
    worker->exit_status = exit_status;
    if (worker->state == WORKER_RUNNING)
        set_state(workers, worker, WORKER_ENDED);
    else
        workers_forget(workers, worker);
}

void workers_free(struct workers *workers)
{
    static const enum worker_state states[] = {WORKER_STARTING, WORKER_RUNNING, WORKER_REFUSED, WORKER_ENDED};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        struct worker *next;
        for (struct worker *w = TAILQ_FIRST(list_of(workers, states[i])); w; w = next) {
            next = TAILQ_NEXT(w, link);
            if (w->pipe >= 0)
                close(w->pipe);
            free(w);
        }
    }
    workers_init(workers);
}
