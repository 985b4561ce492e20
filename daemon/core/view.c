/* What can be seen of the core from outside: counts, owners, jobs. */
#include "daemon/core/internal.h"

void core_counts(const struct core *core, struct core_counts *counts)
{
    uint32_t waiting = 0;
    struct job *job;
    RB_FOREACH (job, job_ids, (struct job_ids *)&core->jobs)
        waiting += job->queued_items > 0;
    *counts = (struct core_counts){
        .workers = core->worker_count,
        .busy = core->running,
        .lent = core->tokens,
        .sessions = core->session_count,
        .owners = core->owner_count,
        .jobs = core->job_count,
        .waiting = waiting,
        .orphans = core->orphan_chunks,
        .queued_items = core->queued_items,
        .held_bytes = core->held_bytes,
        .jobs_done = core->jobs_done,
        .items_done = core->items_done,
        .items_failed = core->items_failed,
        .chunks_done = core->chunks_done,
        .run_ns = core->run_ns,
        .cpu_ns = core->cpu_ns,
    };
}

bool core_owner_next(const struct core *core, const void **cursor, struct owner_view *view)
{
    struct owner_uids *tree = (struct owner_uids *)&core->owners;
    struct owner *owner = (struct owner *)*cursor;
    owner = owner == NULL ? RB_MIN(owner_uids, tree) : RB_NEXT(owner_uids, tree, owner);
    if (owner == NULL)
        return false;
    *cursor = owner;
    *view = (struct owner_view){
        .uid = owner->uid,
        .weight = owner->share.weight,
        .sessions = owner->sessions,
        .jobs = owner->open_jobs,
        .running = owner->share.running,
        .queued_items = owner->queued_items,
        .held_bytes = owner->held_bytes,
        .items_done = owner->items_done,
        .run_ns = owner->run_ns,
        .cpu_ns = owner->cpu_ns,
    };
    return true;
}

bool core_job_next(const struct core *core, const void **cursor, struct job_view *view)
{
    struct job_ids *tree = (struct job_ids *)&core->jobs;
    struct job *job = (struct job *)*cursor;
    job = job == NULL ? RB_MIN(job_ids, tree) : RB_NEXT(job_ids, tree, job);
    if (job == NULL)
        return false;
    *cursor = job;
    *view = (struct job_view){
        .id = job->id,
        .uid = job->owner->uid,
        .function = job->function,
        .received = job->next_index,
        .finished = job->report.items,
        .failed = job->report.failed,
        .ended = job->ended,
        .running = job->running,
        .opened_ns = job->opened_ns,
        .run_ns = job->report.run_ns,
    };
    return true;
}
