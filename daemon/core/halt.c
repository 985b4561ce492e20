/*
 * Jobs that begin nothing more: held by their client for a while, halted for good because an item has failed,
 * or all of them because the daemon stops. A halted job takes what its client still sends, and answers each
 * item that was not begun.
 */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

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
    if (rest == REST_NONE && order_has_gap(job) && !job->paused && !job->cancelled)
        return REST_RUNS;
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

struct job *core_session_job(const struct session *session, const struct job *after)
{
    return after != NULL ? RB_NEXT(job_refs, NULL, (struct job *)after)
                         : RB_MIN(job_refs, (struct job_refs *)&session->jobs);
}

/*** What may not be run twice ***/

static int range_compare(const void *a, const void *b)
{
    const struct range *left = a, *right = b;
    return (left->from > right->from) - (left->from < right->from);
}

/* Sorts them, joins those that touch, and the last ones where they are too many. Returns how many are left.
 */
static uint32_t join_ranges(struct range *ranges, size_t count)
{
    uint32_t joined = 0;
    qsort(ranges, count, sizeof *ranges, range_compare);
    for (size_t i = 0; i < count; i++) {
        struct range *last = joined > 0 ? &ranges[joined - 1] : NULL;
        if (last == NULL || (ranges[i].from > last->to && joined < RANGES_BEGUN_MAX))
            ranges[joined++] = ranges[i];
        else if (ranges[i].to > last->to)
            last->to = ranges[i].to;
    }
    return joined;
}

int core_job_begun(const struct job *job, struct range **ranges, uint32_t *count)
{
    const struct block *block;
    const struct chunk *chunk;
    size_t most = 0, n = 0;
    *ranges = NULL;
    *count = 0;
    if (!job->options.once || job->cancelled)
        return 0;
    STAILQ_FOREACH (block, &job->ready, link)
        most++;
    TAILQ_FOREACH (chunk, &job->chunks, job_link)
        most++;
    if (most == 0)
        return 0;
    struct range *all = calloc(most, sizeof *all);
    if (all == NULL)
        return -ENOMEM;
    STAILQ_FOREACH (block, &job->ready, link)
        all[n++] = (struct range){block->first, block->first + block->batch->count};
    /* What a chunk has answered may have gone out, and is named all the same; so is what its worker has not
     * come to, as far as we know. */
    TAILQ_FOREACH (chunk, &job->chunks, job_link)
        all[n++] = (struct range){chunk->first, chunk->first + chunk->items.count};
    *ranges = all;
    *count = join_ranges(all, n);
    return 0;
}
