/* Pipes: a process a chunk, its items as lines on stdin, all of its stdout the result of the first. */
#include "daemon/worker/exec/clock.h"
#include "daemon/worker/exec/environment.h"
#include "daemon/worker/exec/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct environment environment;
static char **arguments; /* with a free place in front, as spawn_process wants it */

static int pipe_start(struct job *job)
{
    arguments = calloc(job->argc + 2, sizeof *arguments);
    if (!arguments || environment_init(&environment, NULL, 0, true) < 0) {
        snprintf(job->bad, sizeof job->bad, "%s", strerror(ENOMEM));
        return JOB_BAD;
    }
    return job_find(job);
}

/* One attempt at the chunk. Returns as run_start, and -ECANCELED. */
static int attempt(struct job *job, bool last, struct outcome *outcome, char why[NOTE_TEXT])
{
    struct view *v = &job->output.view;
    struct process process;
    struct feed feed = {.view = v, .end = v->count};
    run_shrink(job);
    v->touched += v->items_size;
    memcpy(arguments + 1, job->argv, job->argc * sizeof *arguments);
    environment_number(&environment, v->head->first + 1, v->head->slot);
    *outcome = (struct outcome){.started_ns = now_ns(), .started_real_ns = clock_ns(CLOCK_REALTIME)};
    int rc = output_begin(&job->output, !last, outcome->started_ns);
    if (rc == 0)
        rc = run_start(job, arguments + 1, environment.list, false, true, &process, why);
    if (rc < 0)
        return rc;
    run_process(job, &process, &feed, outcome);
    return outcome->given_up ? -ECANCELED : 0;
}

/* Says of every item of the chunk what became of the process; the first one has its output by now. */
static int tell_all(struct job *job, const struct outcome *outcome, uint64_t attempts, const char *why)
{
    struct output *o = &job->output;
    uint64_t wall_ns = why ? 0 : (uint64_t)(outcome->ended_ns - outcome->started_ns);
    bool first = true;
    do {
        int rc = first ? 0 : output_begin(o, false, now_ns());
        if (rc < 0)
            return rc;
        if (why) {
            note_error(job, "%s", why);
        } else {
            outcome_note(job, outcome);
            note_attempts(job, attempts);
            if (first)
                outcome_note_usage(job, outcome);
        }
        output_done(o, first ? wall_ns : 0, now_ns());
        first = false;
    } while (o->view.item < o->view.count);
    return 0;
}

static int pipe_chunk(struct job *job)
{
    struct outcome outcome;
    char why[NOTE_TEXT];
    if (job->output.view.count == 0 || job->link.yield || link_given_up(&job->link))
        return 0;
    uint64_t attempts = 0;
    for (;;) {
        attempts++;
        bool last = attempts > job->retries;
        int rc = attempt(job, last, &outcome, why);
        if (rc == JOB_BAD)
            return JOB_BAD;
        if (rc == -ECANCELED)
            return 0;
        if (rc < 0) {
            output_rewind(&job->output);
            tell_all(job, NULL, 0, why);
            return 0;
        }
        if (last || !outcome_failed(&outcome))
            break;
        output_rewind(&job->output);
    }
    int rc = output_release(&job->output);
    if (rc == -ECANCELED)
        return 0;
    if (rc < 0)
        outcome.error = rc;
    tell_all(job, &outcome, attempts, NULL);
    return 0;
}

static void pipe_stop(struct job *job)
{
    (void)job;
    environment_free(&environment);
    free(arguments);
}

const struct kind pipe_kind = {"pipe", pipe_start, pipe_chunk, pipe_stop};
