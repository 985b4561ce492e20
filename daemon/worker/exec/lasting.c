/* The lasting process of a filter; see lasting.h. */
#include "daemon/worker/exec/lasting.h"

#include "daemon/worker/exec/buffering.h"
#include "daemon/worker/exec/clock.h"
#include "daemon/worker/exec/environment.h"
#include "daemon/worker/exec/usage.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    GOODBYE_NS = 200 * NS_PER_MS, /* for a filter whose stdin was closed to come to its end */
    DYING_MS = 10000,             /* for what was killed to die */
};

static struct environment environment;
static char *settings[BUFFERING_SETTINGS];
static char **arguments; /* with a free place in front, as spawn_process wants it */

int lasting_init(struct job *job)
{
    int count = buffering_environment(settings);
    arguments = calloc(job->argc + 2, sizeof *arguments);
    if (count < 0 || !arguments || environment_init(&environment, settings, (size_t)count, false) < 0) {
        snprintf(job->bad, sizeof job->bad, "%s", strerror(ENOMEM));
        return JOB_BAD;
    }
    return job_find(job);
}

int lasting_start(struct lasting *l, struct job *job, char why[NOTE_TEXT])
{
    memcpy(arguments + 1, job->argv, job->argc * sizeof *arguments);
    environment_number(&environment, 0, job->output.view.head->slot);
    struct process process;
    int rc = run_start(job, arguments + 1, environment.list, false, true, &process, why);
    if (rc < 0)
        return rc;
    process_close_ends(&process);
    *l = (struct lasting){.process = process, .alive = true, .left = TREE_SOME};
    return 0;
}

void lasting_signals(struct lasting *l, struct job *job)
{
    struct signalfd_siginfo info;
    if (read(job->signals, &info, sizeof info) < 0 && errno != EAGAIN && errno != EINTR)
        job->link.gone = true;
    l->left = tree_reap(l->process.pid, &l->reaped);
}

/* Waits until nothing is left of it, or until the time, listening to the worker while there is one. */
static void wait_gone(struct lasting *l, struct job *job, int64_t until_ns)
{
    l->left = tree_reap(l->process.pid, &l->reaped);
    bool gone = job->link.gone;
    for (int64_t now; l->left != TREE_NONE && (now = now_ns()) < until_ns && job->link.gone == gone;) {
        struct pollfd polled[] = {{.fd = gone ? -1 : job->link.socket, .events = POLLIN},
                                  {.fd = job->signals, .events = POLLIN}};
        struct timespec timeout = {(until_ns - now) / 1000000000, (until_ns - now) % 1000000000};
        if (l->left == TREE_MORE)
            timeout = (struct timespec){0};
        if (ppoll(polled, 2, &timeout, NULL) > 0 && polled[0].revents)
            link_receive(&job->link);
        lasting_signals(l, job);
    }
}

void lasting_end_rest(struct lasting *l, struct job *job)
{
    run_kill(job, l->process.pid, &l->reaped, INT64_C(1) * DYING_MS * NS_PER_MS);
    l->left = TREE_NONE;
}

bool lasting_end(struct lasting *l, struct job *job, int signal, int64_t grace_ns)
{
    if (!l->alive)
        return true;
    if (signal && grace_ns > 0)
        tree_signal(signal);
    wait_gone(l, job, grace_ns > 0 ? now_ns() + grace_ns : 0);
    bool by_itself = l->reaped.ended;
    if (l->left != TREE_NONE)
        lasting_end_rest(l, job);
    process_close(&l->process);
    if (l->reaped.cpu_ns > l->cpu_base)
        arena_cpu(&job->output.view, l->reaped.cpu_ns - l->cpu_base);
    l->alive = false;
    return by_itself;
}

bool lasting_goodbye(struct lasting *l, struct job *job)
{
    process_close_in(&l->process);
    return lasting_end(l, job, 0, GOODBYE_NS);
}

void lasting_charge(struct lasting *l, struct job *job)
{
    uint64_t cpu_ns = usage_cpu_ns(l->process.pid);
    if (cpu_ns > l->cpu_base)
        arena_cpu(&job->output.view, cpu_ns - l->cpu_base);
}

void lasting_stop(struct lasting *l, struct job *job)
{
    if (l->alive)
        lasting_goodbye(l, job);
    environment_free(&environment);
    for (size_t i = 0; i < BUFFERING_SETTINGS; i++)
        free(settings[i]);
    free(arguments);
}
