/* The core's invariants, checked over its whole state; for the simulation and the tests. */
#include "daemon/core/internal.h"

#define CHECK(condition, text)                                                                               \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            return (text);                                                                                   \
    } while (0)

static uint64_t blocks_cost(const struct block_list *blocks)
{
    uint64_t cost = 0;
    const struct block *block;
    STAILQ_FOREACH (block, blocks, link)
        cost += batch_cost(block->batch);
    return cost;
}

static const char *check_input(const struct job *job)
{
    uint64_t queued = 0, behind = 0;
    const struct segment *segment;
    TAILQ_FOREACH (segment, &job->segments, link) {
        CHECK(segment->items.count > 0, "a segment is empty");
        CHECK(segment->first >= behind, "segments are out of order");
        behind = segment->first + segment->items.count;
        queued += segment->items.count;
    }
    CHECK(behind <= job->next_index, "a segment is beyond what has come");
    CHECK(queued == job->queued_items, "a job's queued items do not add up");
    if (job->cancelled || job->session == NULL)
        return NULL;
    int64_t credit = job->in_credit + (int64_t)job->in_held + (int64_t)job->in_owed;
    CHECK(credit == (int64_t)(job->in_window + job->in_extra), "input credit was lost or counted twice");
    return NULL;
}

static const char *check_chunks(const struct job *job)
{
    uint64_t in_flight_cost = 0, held = blocks_cost(&job->ready), behind = 0;
    uint32_t in_flight = 0, running = 0;
    const struct chunk *chunk;
    TAILQ_FOREACH (chunk, &job->chunks, job_link) {
        CHECK(chunk->job == job, "a chunk is in another job's list");
        CHECK(chunk->first >= behind, "chunks are out of order");
        behind = chunk->first + chunk->items.count;
        CHECK(chunk->done <= chunk->items.count, "more results than items");
        held += blocks_cost(&chunk->blocks);
        if (chunk->worker == NULL) {
            CHECK(chunk->done == chunk->items.count, "an unfinished chunk has no worker");
            continue;
        }
        in_flight++;
        running += TAILQ_FIRST(&chunk->worker->chunks) == chunk;
        struct slice rest = chunk->items;
        rest.count -= chunk->done;
        rest.size -= chunk->done_offset;
        in_flight_cost += rest.count > 0 ? slice_cost(&rest) : 0;
    }
    CHECK(in_flight == job->in_flight, "a job's chunks in flight do not add up");
    CHECK(running == job->running && running == job->share.running, "a job's running chunks do not add up");
    CHECK(in_flight_cost == job->in_flight_cost, "the cost of what is in flight does not add up");
    CHECK(held == job->held, "held results do not add up");
    return NULL;
}

static const char *check_sent(const struct job *job)
{
    uint64_t cost = 0;
    const struct sent *sent;
    STAILQ_FOREACH (sent, &job->sent, link)
        cost += sent->cost;
    CHECK(cost == job->sent_cost + job->acked, "credit for results was lost or counted twice");
    return NULL;
}

static const char *check_job(const struct core *core, const struct job *job)
{
    const char *wrong = check_input(job);
    if (wrong == NULL)
        wrong = check_chunks(job);
    if (wrong == NULL)
        wrong = check_sent(job);
    if (wrong != NULL)
        return wrong;
    bool work = order_has_work(job), capped = order_capped(job);
    CHECK(job->runnable == (work && !capped),
          "a job is in its owner's tree and has no business there, or the reverse");
    CHECK(job->capped == (work && capped), "a job is held up by a cap that is not reached, or the reverse");
    CHECK(job->options.slots == 0 || job->lanes <= job->options.slots,
          "a job has more slots than it asked for");
    CHECK(job->owner->runnable || !job->runnable, "an owner with work is not in the tree");
    CHECK(!job->runnable || TAILQ_EMPTY(&core->idle), "a job waits while a slot is free");
    bool stuck = job->piece != NULL && job->in_credit + (int64_t)job->in_owed <= 0;
    CHECK(!stuck || job->in_held != job->piece_cost || job->refused, "a large item gets no credit");
    if (job->session->blocked)
        return NULL;
    CHECK(job->in_credit > 0 || job->in_owed == 0 || job->ended || job->cancelled,
          "credit is not given back to who has none");
    if (!STAILQ_EMPTY(&job->ready))
        CHECK(job->out_credit <= 0, "results wait although there is credit for them");
    return NULL;
}

static const char *check_workers(const struct worker_list *list, uint32_t *workers, uint32_t *chunks)
{
    const struct worker *worker;
    TAILQ_FOREACH (worker, list, link) {
        (*workers)++;
        uint32_t depth = 0;
        int64_t queued_ns = 0;
        const struct chunk *chunk;
        TAILQ_FOREACH (chunk, &worker->chunks, worker_link) {
            CHECK(chunk->worker == worker, "a worker holds another one's chunk");
            if (depth++ > 0)
                queued_ns += chunk->expected_ns;
        }
        CHECK(depth == worker->depth, "a worker's chunks do not add up");
        CHECK(queued_ns == worker->queued_ns, "what is queued at a worker does not add up");
        CHECK(worker->list == list, "a worker is in another list than it thinks");
        *chunks += depth;
    }
    return NULL;
}

const char *core_check(const struct core *core, int64_t now_ns)
{
    (void)now_ns;
    uint64_t queued = 0, held = 0, granted = 0;
    uint32_t jobs = 0, in_flight = 0, orphans = 0, capped = 0, runnable = 0;
    struct job *job;
    RB_FOREACH (job, job_ids, (struct job_ids *)&core->jobs) {
        const char *wrong = check_job(core, job);
        if (wrong != NULL)
            return wrong;
        CHECK(job->session != NULL, "an orphan is in the index");
        queued += job->queued_items;
        held += job->in_held + job->held;
        granted += job->in_window;
        in_flight += job->in_flight;
        capped += job->capped;
        runnable += job->runnable;
        jobs++;
    }
    const struct job *orphan;
    LIST_FOREACH (orphan, &core->orphans, orphan_link) {
        CHECK(orphan->session == NULL && orphan->queued_items == 0 && orphan->held == 0,
              "an orphan holds something");
        const char *wrong = check_chunks(orphan);
        if (wrong != NULL)
            return wrong;
        orphans += orphan->in_flight;
    }
    CHECK(jobs == core->job_count, "the number of jobs does not add up");
    CHECK(queued == core->queued_items, "queued items do not add up");
    CHECK(held == core->held_bytes, "held bytes do not add up");
    CHECK(granted == core->granted, "grants do not add up");
    CHECK(orphans == core->orphan_chunks, "orphans do not add up");
    CHECK(capped == core->capped_jobs, "capped jobs do not add up");
    CHECK(runnable == core->runnable_jobs, "runnable jobs do not add up");

    uint32_t owner_lanes_bad = 0, owners = 0;
    struct owner *owner;
    RB_FOREACH (owner, owner_uids, (struct owner_uids *)&core->owners) {
        owners++;
        owner_lanes_bad += owner->limits.slots != 0 && owner->lanes > owner->limits.slots &&
                           owner->lanes > owner->lanes_before;
        CHECK(owner->runnable == !RB_EMPTY(&owner->jobs),
              "an owner is in the tree without work, or the reverse");
    }
    CHECK(owners == core->owner_count, "the number of owners does not add up");
    CHECK(owner_lanes_bad == 0, "an owner has more slots than its cap");

    uint32_t workers = 0, chunks = 0;
    const struct worker_list *lists[] = {&core->idle, &core->hungry, &core->full, NULL};
    for (size_t i = 0; lists[i] != NULL; i++) {
        const char *wrong = check_workers(lists[i], &workers, &chunks);
        if (wrong != NULL)
            return wrong;
    }
    CHECK(workers == core->worker_count, "the number of workers does not add up");
    CHECK(chunks == in_flight + orphans, "chunks at workers do not add up");
    return NULL;
}
