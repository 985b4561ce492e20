/* The jobs of a worker; see jobs.h. */
#include "daemon/worker/jobs.h"

#include "common/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_job(struct job *job)
{
    call_free(&job->call);
    free(job->function);
    free(job->failure);
    free(job);
}

/* What the hosts cannot do without. */
static const char *what_is_missing(const struct job *job)
{
    if (job->kind == KIND_BUILTIN || job->call.argc > 0)
        return NULL;
    return "the call says nothing to run";
}

static int take_call(struct job *job, const void *data, size_t size)
{
    const char *why = NULL;
    int rc = 0;
    call_init(&job->call);
    if (size > 0)
        rc = call_decode(data, size, &job->call, &why);
    if (rc == -ENOMEM) /* it may claim to be larger than it is: no reason for the worker to end */
        why = "the call needs more memory than there is";
    if (rc == 0 && !(why = what_is_missing(job)))
        return 0;
    job_fail(job, why ? why : "the call makes no sense");
    return job->failure ? 0 : -ENOMEM;
}

int job_add(struct job_list *jobs, const struct message *m, const void *call, size_t call_size)
{
    if (job_find(jobs, m->job.job))
        return -EEXIST;
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return -ENOMEM;
    job->refs = 1;
    job->id = m->job.job;
    job->kind = m->job.kind;
    job->options = m->job.options;
    job->kill_grace_ns = m->job.kill_grace_ns;
    job->spool = m->job.spool;
    job->threads = m->job.threads;
    job->function = strndup(m->job.function.data, m->job.function.len);
    if (!job->function || take_call(job, call, call_size) < 0) {
        free_job(job);
        return -ENOMEM;
    }
    LIST_INSERT_HEAD(jobs, job, link);
    return 0;
}

struct job *job_find(const struct job_list *jobs, uint64_t id)
{
    struct job *job;
    LIST_FOREACH (job, jobs, link) {
        if (job->id == id)
            return job;
    }
    return NULL;
}

void job_forget(struct job *job)
{
    LIST_REMOVE(job, link);
    job_unref(job);
}

struct job *job_ref(struct job *job)
{
    job->refs++;
    return job;
}

void job_unref(struct job *job)
{
    if (job && --job->refs == 0)
        free_job(job);
}

void job_fail(struct job *job, const char *text)
{
    if (job->failure)
        return;
    size_t len = strnlen(text, JOB_TEXT_MAX);
    char *valid = strndup(text, len);
    if (!valid)
        return;
    /* A host's last words may be of any bytes, and may be cut within a character. */
    for (size_t i = 0; i < len;) {
        size_t of_this = utf8_length(valid + i, len - i);
        if (of_this == 0)
            valid[i] = '?';
        i += of_this > 0 ? of_this : 1;
    }
    job->failure = valid;
}

bool job_is_exec(const struct job *job)
{
    return job->kind == KIND_COMMAND || job->kind == KIND_FILTER || job->kind == KIND_PIPE;
}

const char *job_env(const struct job *job, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < job->call.env_count; i++) {
        if (strncmp(job->call.env[i], name, len) == 0 && job->call.env[i][len] == '=')
            return job->call.env[i] + len + 1;
    }
    return NULL;
}
