/* Commands: a process an item. */
#include "common/template.h"
#include "daemon/worker/exec/clock.h"
#include "daemon/worker/exec/environment.h"
#include "daemon/worker/exec/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct template *template;
static struct arguments arguments;
static struct environment environment;
static char *settings[JOBSERVER_SETTINGS];

static int command_start(struct job *job)
{
    size_t set = job->jobserver.wanted ? JOBSERVER_SETTINGS : 0;
    template = template_new(job->argv, job->argc, job->placeholder, job->fields);
    if (!template || (set > 0 && jobserver_environment(settings) < 0) ||
        environment_init(&environment, settings, set, true) < 0) {
        snprintf(job->bad, sizeof job->bad, "%s", strerror(ENOMEM));
        return JOB_BAD;
    }
    return template_varies(template) ? 0 : job_find(job);
}

/* Ends the present item without there having been a process. */
static void refuse(struct job *job, const char *why)
{
    output_rewind(&job->output);
    note_error(job, "%s", why);
    output_done(&job->output, 0, now_ns());
}

/* Makes the arguments of the present item. Returns 0 or what template_fill says; `why` is that in words. */
static int fill(struct job *job, uint64_t offset, char why[NOTE_TEXT])
{
    const struct view *v = &job->output.view;
    uint64_t number = v->head->first + v->item + 1;
    job->output.view.touched += v->lengths[v->item];
    int rc =
        template_fill(template, v->items + offset, v->lengths[v->item], number, v->head->slot, &arguments);
    if (rc == -EINVAL)
        snprintf(why, NOTE_TEXT, "has a NUL byte, which no argument can hold");
    else if (rc < 0)
        snprintf(why, NOTE_TEXT, "cannot run '%.200s': %s", job->argv[0], strerror(-rc));
    environment_number(&environment, number, v->head->slot);
    return rc;
}

/* A jobserver for the process that is started next. Returns 0 or a negative errno, and `why`. */
static int serve_jobs(struct job *job, char why[NOTE_TEXT])
{
    int rc = jobserver_open(&job->jobserver, &job->link);
    if (rc < 0)
        snprintf(why, NOTE_TEXT, "cannot make a jobserver: %s", strerror(-rc));
    job->spawner.in = job->jobserver.in;
    job->spawner.out = job->jobserver.out;
    return rc;
}

/* One attempt. Returns 0, JOB_BAD, -ECANCELED, or another negative errno: refused, see `why`. */
static int attempt(struct job *job, uint64_t offset, bool last, struct outcome *outcome, char why[NOTE_TEXT])
{
    struct process process;
    run_shrink(job);
    *outcome = (struct outcome){.started_ns = now_ns(), .started_real_ns = clock_ns(CLOCK_REALTIME)};
    int rc = output_begin(&job->output, !last, outcome->started_ns);
    if (rc == 0)
        rc = fill(job, offset, why);
    if (rc == 0 && job->jobserver.wanted)
        rc = serve_jobs(job, why);
    if (rc == 0)
        rc =
            run_start(job, arguments.argv, environment.list, template_varies(template), false, &process, why);
    if (rc == 0)
        run_process(job, &process, NULL, outcome);
    jobserver_close(&job->jobserver, &job->link);
    if (rc < 0)
        return rc;
    return outcome->given_up ? -ECANCELED : 0;
}

/* Runs the present item. Returns 0, JOB_BAD or -ECANCELED. */
static int command_item(struct job *job, uint64_t offset)
{
    struct output *o = &job->output;
    struct outcome outcome;
    char why[NOTE_TEXT];
    uint64_t attempts = 0;
    for (;;) {
        attempts++;
        bool last = attempts > job->retries;
        int rc = attempt(job, offset, last, &outcome, why);
        if (rc == JOB_BAD || rc == -ECANCELED)
            return rc;
        if (rc < 0) {
            refuse(job, why);
            return 0;
        }
        if (last || !outcome_failed(&outcome))
            break;
        output_rewind(o);
    }
    int rc = output_release(o);
    if (rc == -ECANCELED)
        return rc;
    if (rc < 0)
        outcome.error = rc;
    outcome_note(job, &outcome);
    note_attempts(job, attempts);
    outcome_note_usage(job, &outcome);
    output_done(o, (uint64_t)(outcome.ended_ns - outcome.started_ns), outcome.ended_ns);
    return 0;
}

static int command_chunk(struct job *job)
{
    struct view *v = &job->output.view;
    uint64_t offset = 0;
    while (v->item < v->count && !job->link.yield && !link_given_up(&job->link)) {
        uint32_t len = v->lengths[v->item];
        if (command_item(job, offset) == JOB_BAD)
            return JOB_BAD;
        offset += len;
        link_receive(&job->link);
    }
    return 0;
}

static void command_stop(struct job *job)
{
    (void)job;
    template_free(template);
    arguments_free(&arguments);
    for (size_t i = 0; i < JOBSERVER_SETTINGS; i++)
        free(settings[i]);
    environment_free(&environment);
}

const struct kind command_kind = {"command", command_start, command_chunk, command_stop};
