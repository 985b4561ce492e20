/*
 * Jobs that begin nothing more: held by their client for a while, halted for good because an item has failed,
 * or all of them because the daemon stops. A halted job takes what its client still sends, and answers each
 * item that was not begun.
 */
#include "daemon/core/internal.h"

#include <errno.h>

static const char not_run[] = "not run: halted";

bool halt_is_due(const struct batch *results)
{
    for (uint32_t i = 0; i < results->note_count; i++) {
        struct note note = note_load(results->notes + (size_t)NOTE_SIZE * i);
        if (note_fails(note.kind) > 0 && note.kind != NOTE_CANCELLED)
            return true;
    }
    return false;
}

int halt_rest(struct core *core, struct chunk *chunk)
{
    return results_fail(core, chunk, chunk->items.count - chunk->done, NOTE_CANCELLED, not_run);
}

/* Answers the first segment. */
static int answer_segment(struct core *core, struct job *job)
{
    struct chunk *chunk = cut_void(core, job);
    if (chunk == NULL)
        return -ENOMEM;
    chunk_insert(job, chunk);
    int rc = halt_rest(core, chunk);
    if (rc < 0)
        return rc;
    batch_unref(chunk->items.batch);
    chunk->items.batch = NULL;
    results_flush(core, job, chunk);
    return 0;
}

void halt_queued(struct core *core, struct job *job, int64_t now_ns)
{
    while (!job->cancelled && job->queued_items > 0) {
        if (answer_segment(core, job) < 0)
            core_job_cancel(core, job, now_ns); /* its items would never be answered */
    }
}

void halt_job(struct core *core, struct job *job, int64_t now_ns)
{
    if (job->halted || job->cancelled || job->session == NULL)
        return;
    job->halted = true;
    if (job->options.halt == HALT_NOW) {
        struct chunk *chunk;
        TAILQ_FOREACH (chunk, &job->chunks, job_link) {
            if (chunk->worker != NULL)
                chunks_control(core, chunk, CONTROL_DROP);
        }
    } else {
        chunks_call_back(core, job);
    }
    halt_queued(core, job, now_ns);
    order_update(core, job, now_ns);
}

void core_job_hold(struct core *core, struct job *job, bool paused, int64_t now_ns)
{
    settle_last_action(core);
    job->paused = paused;
    if (paused)
        chunks_call_back(core, job);
    order_update(core, job, now_ns);
}

void core_stop(struct core *core, int64_t now_ns)
{
    settle_last_action(core);
    core->stopped = true;
    order_update_all(core, now_ns);
    chunks_look_soon(core, now_ns);
}

/* Is there an item before this chunk that is not begun? Then its results cannot go out any more. */
static bool is_cut_off(const struct job *job, const struct chunk *chunk)
{
    const struct segment *segment = TAILQ_FIRST(&job->segments);
    return !job->options.unordered && segment != NULL && segment->first < chunk->first;
}

static enum core_rest job_rest(const struct job *job)
{
    enum core_rest rest = STAILQ_EMPTY(&job->ready) ? REST_NONE : REST_WAITS;
    const struct chunk *chunk;
    TAILQ_FOREACH (chunk, &job->chunks, job_link) {
        if (chunk->worker != NULL && !chunk->parked)
            return REST_RUNS;
        if (chunk->worker != NULL && !is_cut_off(job, chunk))
            rest = REST_WAITS;
    }
    return rest;
}

enum core_rest core_session_rest(const struct session *session)
{
    enum core_rest rest = REST_NONE;
    struct job *job;
    RB_FOREACH (job, job_refs, (struct job_refs *)&session->jobs) {
        enum core_rest its = job_rest(job);
        if (its < rest)
            rest = its;
    }
    return rest;
}
