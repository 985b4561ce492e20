/* What can be seen of the core from outside: counts, owners, jobs, slots. */
#include "daemon/core/internal.h"

void core_counts(const struct core *core, struct core_counts *counts)
{
    *counts = (struct core_counts){
        .workers = core->worker_count,
        .busy = core->running,
        .lent = core->tokens,
        .above = core->running > slots_of(core) ? core->running - slots_of(core) : 0,
        .sessions = core->session_count,
        .owners = core->owner_count,
        .jobs = core->job_count,
        .waiting = core->waiting_jobs,
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
        .used = owner->used,
        .entitled = owner->entitled,
        .queued_items = owner->queued_items,
        .held_bytes = owner->held_bytes,
        .jobs_done = owner->jobs_done,
        .items_done = owner->items_done,
        .items_failed = owner->items_failed,
        .run_ns = owner->run_ns,
        .cpu_ns = owner->cpu_ns,
        .waits = owner->waits,
        .wait_ns = owner->wait_ns,
        .longest_wait_ns = owner->longest_wait_ns,
    };
    return true;
}

/*
 * Is its client behind with taking results, so that it sends nothing more? One that takes them gives their
 * credit back in portions of about a quarter.
 */
static bool client_is_stuck(const struct job *job)
{
    return job->in_flight == 0 && job->piece == NULL && job->in_held > job->in_window / 2;
}

/* What a job waits for that has a crew, and work. */
static enum job_waits waits_with_work(const struct core *core, const struct job *job)
{
    if (order_capped(job))
        return WAITS_JOB_SLOTS;
    if (order_owner_capped(job->owner))
        return WAITS_OWNER_SLOTS;
    if (!job->starved)
        return WAITS_TURN;
    /* Where one is wanted and not asked for, the last try has failed and the next one is not due. */
    if (job->crew->starting == 0 && start_is_wanted(core, job->crew))
        return WAITS_START;
    return slot_free(core) && job->crew->starting > 0 ? WAITS_PROCESS : WAITS_TURN;
}

static enum job_waits job_waits(const struct core *core, const struct job *job)
{
    if (job->cancelled)
        return WAITS_READER; /* it would be gone if its client had been told */
    if (job->halted)
        return WAITS_HALTED;
    if (job->queued_items == 0 && job->ended)
        return WAITS_NOTHING;
    if (job->paused)
        return WAITS_PAUSED;
    if (job->queued_items == 0)
        return client_is_stuck(job) ? WAITS_READER : WAITS_ITEMS;
    if (job->crew == NULL)
        return WAITS_PROCESS;
    if (order_has_work(core, job))
        return waits_with_work(core, job);
    return job->exact && !cut_is_due(job) ? WAITS_CHUNK : WAITS_READER;
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
        .session = job->session,
        .function = job->function,
        .received = job->next_index - job->skipped,
        .finished = job->report.items,
        .failed = job->report.failed,
        .queued_items = job->queued_items,
        .ended = job->ended,
        .started = job->started,
        .running = job->running,
        .slots = order_slots(core, job),
        .priority = job->options.priority,
        .opened_ns = job->opened_ns,
        .run_ns = job->report.run_ns,
        .wait_ns = job->report.queue_ns,
        .item_ns = job->item_ns,
        .waits = job_waits(core, job),
    };
    return true;
}

bool core_slot_next(const struct core *core, const void **cursor, struct slot_view *view)
{
    const struct worker *worker = *cursor;
    if (worker == NULL)
        worker = TAILQ_FIRST(&core->hungry);
    else if (TAILQ_NEXT(worker, link) == NULL && worker->list == &core->full)
        return false;
    else
        worker = TAILQ_NEXT(worker, link);
    if (worker == NULL)
        worker = TAILQ_FIRST(&core->full);
    if (worker == NULL)
        return false;
    *cursor = worker;
    const struct chunk *chunk = TAILQ_FIRST(&worker->chunks);
    *view = (struct slot_view){
        .worker = worker,
        .uid = chunk->job->owner->uid,
        .started_ns = chunk->started_ns,
        .above = chunk->above,
        .job = chunk->job->id,
        .function = chunk->job->function,
        .item = chunk->first + chunk->done,
        .items = chunk->items.count,
        .done = chunk->done,
        .asked = chunk->asked != CONTROL_NONE,
    };
    return true;
}
