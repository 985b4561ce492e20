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
        cost += batch_weight(block->batch);
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

static const char *check_chunk(const struct chunk *chunk)
{
    CHECK(chunk->done <= chunk->items.count, "more results than items");
    CHECK(blocks_cost(&chunk->blocks) == chunk->held, "a chunk's results do not add up");
    if (chunk->worker == NULL) {
        CHECK(chunk->done == chunk->items.count, "an unfinished chunk has no worker");
        CHECK(!chunk->thirsty && !chunk->counted && chunk->grant == 0, "a chunk without worker has credit");
        CHECK(!chunk->borrows && chunk->tokens == 0, "a chunk without worker has borrowed");
        return NULL;
    }
    bool runs = !chunk->parked && TAILQ_FIRST(&chunk->worker->chunks) == chunk;
    CHECK(chunk->metered == chunk->worker->crew->process, "a process is trusted, or a thread is not");
    CHECK(chunk->borrows == (runs && chunk->metered && chunk->job->options.jobserver),
          "a chunk borrows that may not, or the reverse");
    CHECK(chunk->counted == (chunk->metered && (runs || chunk->parked)), "credit counts before its time");
    CHECK(chunk->thirsty == (chunk->counted && chunk->credit <= chunk->low), "a chunk's thirst is not known");
    CHECK(chunk->worker->crew == chunk->job->crew, "a chunk is at another crew's worker");
    return NULL;
}

/* The sums over a job's chunks. */
struct sums {
    uint64_t in_flight_cost, held, lent;
    uint32_t in_flight, running, parked, thirsty, tokens;
};

static void add_chunk(struct sums *sums, const struct chunk *chunk)
{
    sums->held += chunk->held;
    if (chunk->worker == NULL)
        return;
    sums->in_flight++;
    sums->parked += chunk->parked;
    sums->thirsty += chunk->thirsty;
    sums->running += !chunk->parked && TAILQ_FIRST(&chunk->worker->chunks) == chunk;
    sums->tokens += chunk->tokens;
    if (chunk->counted && chunk->credit > 0)
        sums->lent += (uint64_t)chunk->credit;
    struct slice rest = cut_unanswered(chunk, UINT32_MAX);
    if (!chunk->parked && rest.count > 0)
        sums->in_flight_cost += slice_cost(&rest);
}

static const char *check_chunks(const struct job *job)
{
    struct sums sums = {.held = blocks_cost(&job->ready)};
    uint64_t behind = 0;
    const struct chunk *chunk;
    CHECK(sums.held == job->ready_cost, "results that are ready do not add up");
    TAILQ_FOREACH (chunk, &job->chunks, job_link) {
        CHECK(chunk->job == job, "a chunk is in another job's list");
        CHECK(chunk->first >= behind, "chunks are out of order");
        behind = chunk->first + chunk->items.count;
        const char *wrong = check_chunk(chunk);
        if (wrong != NULL)
            return wrong;
        add_chunk(&sums, chunk);
    }
    CHECK(sums.in_flight == job->in_flight, "a job's chunks in flight do not add up");
    CHECK(sums.tokens == job->tokens, "what a job has borrowed does not add up");
    CHECK(sums.running + sums.tokens == job->running && job->running == job->share.running,
          "a job's running chunks do not add up");
    CHECK(sums.parked == job->parked, "a job's parked chunks do not add up");
    CHECK(sums.in_flight_cost == job->in_flight_cost, "the cost of what is in flight does not add up");
    CHECK(sums.held == job->held, "held results do not add up");
    CHECK(sums.lent == job->lent, "credit for workers was lost or counted twice");
    behind = 0;
    TAILQ_FOREACH (chunk, &job->thirsty, thirst_link) {
        CHECK(chunk->first >= behind && chunk->thirsty, "a job's thirsty chunks are out of order");
        behind = chunk->first;
        sums.thirsty--;
    }
    CHECK(sums.thirsty == 0, "a job's thirsty chunks do not add up");
    return NULL;
}

/* Nothing but results that are ready may keep the head's worker from sending. */
static const char *check_head(const struct core *core, const struct job *job)
{
    const struct chunk *head = TAILQ_FIRST(&job->chunks), *chunk;
    const struct segment *segment = TAILQ_FIRST(&job->segments);
    if (job->options.unordered) {
        head = job->piece_owner != NULL ? job->piece_owner : TAILQ_FIRST(&job->thirsty);
        TAILQ_FOREACH (chunk, &job->chunks, job_link) {
            if (job->piece_owner == NULL && chunk->counted && !chunk->thirsty)
                return NULL; /* one of them may send */
        }
    } else if (segment != NULL && head != NULL && segment->first < head->first) {
        return NULL;
    }
    if (head != NULL && head->thirsty)
        CHECK(job->ready_cost >= core->config.head_credit, "the head's worker gets no credit");
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

/* Is its key in the heap hardly more than what it is now? Sums of doubles may differ by their rounding. */
static bool in_place(const struct share *share, int64_t now_ns)
{
    return share->key <= share_key(share, now_ns) + (double)SHARE_LEAD_NS / share->weight + 1;
}

static const char *check_job(const struct core *core, const struct job *job, int64_t now_ns)
{
    const char *wrong = check_input(job);
    if (wrong == NULL)
        wrong = check_chunks(job);
    if (wrong == NULL)
        wrong = check_sent(job);
    if (wrong == NULL && !job->cancelled)
        wrong = check_head(core, job);
    if (wrong != NULL)
        return wrong;
    bool work = order_has_work(core, job), capped = order_capped(job);
    CHECK(!job->starved || (work && !worker_for(job)),
          "a job waits for a worker and there is one, or no need of one");
    CHECK(!job->halted || job->cancelled || job->queued_items == 0, "a halted job has items to run");
    CHECK(job->runnable == (work && !capped && !job->starved),
          "a job is in the order and has no business there, or the reverse");
    CHECK(job->capped == (work && capped && !job->starved),
          "a job is held up by a cap that is not reached, or the reverse");
    CHECK(job->options.slots == 0 || job->lanes + job->tokens <= job->options.slots,
          "a job has more slots than it asked for");
    bool due = job->runnable && job->owner->runnable;
    bool lone_job = job->runnable && job->level->runnable.count == 1, lone_owner = core->runnable.count == 1;
    CHECK(!job->runnable || lone_job || in_place(&job->share, now_ns), "a job is behind its place");
    CHECK(!due || lone_owner || in_place(&job->owner->share, now_ns), "an owner is behind its place");
    CHECK(due || !job->runnable || order_owner_capped(job->owner), "an owner with work is not in the order");
    CHECK(!due || !slot_free(core), "a job waits while a slot is free");
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
            CHECK(!chunk->parked, "a parked chunk runs");
            if (depth++ > 0)
                queued_ns += chunk->expected_ns;
        }
        uint32_t parked = 0;
        TAILQ_FOREACH (chunk, &worker->parked, worker_link) {
            CHECK(chunk->worker == worker && chunk->parked, "a worker holds what is not parked");
            parked++;
        }
        CHECK(parked == worker->parked_count, "a worker's parked chunks do not add up");
        CHECK(worker->resting == (worker->crew->process && depth == 0 && parked == 0),
              "a worker rests and holds something, or the reverse");
        CHECK(depth == worker->depth, "a worker's chunks do not add up");
        CHECK(queued_ns == worker->queued_ns, "what is queued at a worker does not add up");
        chunk = TAILQ_FIRST(&worker->chunks);
        bool waits = depth > 1 && TAILQ_NEXT(chunk, worker_link)->asked == CONTROL_NONE;
        CHECK(!waits || worker->look_ns != INT64_MAX, "nobody sees to it that what is queued comes back");
        CHECK(worker->list == list, "a worker is in another list than it thinks");
        *chunks += depth + parked;
    }
    return NULL;
}

static const char *check_crew(const struct core *core, const struct crew *crew, uint32_t *workers,
                              uint32_t *chunks, int64_t now_ns)
{
    uint32_t idle = *workers;
    const char *wrong = check_workers(&crew->idle, workers, chunks);
    if (wrong == NULL)
        wrong = check_workers(&crew->stuffed, workers, chunks);
    if (wrong != NULL)
        return wrong;
    idle = *workers - idle;
    const struct worker *worker;
    TAILQ_FOREACH (worker, &core->hungry, link)
        idle += worker->crew == crew;
    TAILQ_FOREACH (worker, &core->full, link)
        idle += worker->crew == crew;
    CHECK(idle == crew->workers, "a crew's workers do not add up");
    uint32_t workers_most = slots_of(core) > crew->workers_before ? slots_of(core) : crew->workers_before;
    CHECK(!crew->process || crew->workers + crew->starting <= workers_most, "a crew has too many workers");
    CHECK(now_ns < crew->not_before || !start_is_wanted(core, crew), "a worker is wanted and not asked for");
    const struct job *job;
    TAILQ_FOREACH (job, &crew->starved, starved_link)
        CHECK(job->starved && job->crew == crew, "a job waits for another crew's workers");
    return NULL;
}

static const char *check_crews(const struct core *core, uint32_t *chunks, int64_t now_ns)
{
    uint32_t workers = 0;
    const char *wrong = check_workers(&core->hungry, &workers, chunks);
    if (wrong == NULL)
        wrong = check_workers(&core->full, &workers, chunks);
    if (wrong == NULL)
        wrong = check_crew(core, &core->threads, &workers, chunks, now_ns);
    const struct crew *crew;
    LIST_FOREACH (crew, &core->crews, link) {
        if (wrong == NULL)
            wrong = check_crew(core, crew, &workers, chunks, now_ns);
    }
    if (wrong != NULL)
        return wrong;
    CHECK(workers == core->worker_count, "the number of workers does not add up");
    uint32_t resting = 0;
    const struct worker *worker;
    TAILQ_FOREACH (worker, &core->resting, rest_link)
        resting += worker->resting;
    CHECK(resting == core->resting_count, "the number of resting workers does not add up");
    CHECK(resting <= IDLE_PER_SLOT * slots_of(core), "too many workers rest");
    CHECK(core->running <= slots_most(core) || core->running <= core->running_before,
          "more chunks run than there are slots");
    return NULL;
}

/* Who has work and nothing running is known, and nobody in vain. */
static const char *check_unserved(const struct core *core, int64_t now_ns)
{
    uint32_t unserved = 0;
    struct owner *owner;
    RB_FOREACH (owner, owner_uids, (struct owner_uids *)&core->owners) {
        bool works = owner->runnable || owner->starved_jobs > 0;
        CHECK(owner->unserved == (works && owner->share.running == 0),
              "an owner is taken for unserved and is not, or the reverse");
        unserved += owner->unserved;
    }
    int64_t since_ns = INT64_MIN;
    TAILQ_FOREACH (owner, &core->unserved, unserved_link) {
        CHECK(owner->unserved && owner->unserved_ns >= since_ns, "unserved owners are out of order");
        since_ns = owner->unserved_ns;
        unserved--;
    }
    CHECK(unserved == 0, "unserved owners do not add up");
    CHECK(guarantee_deadline(core) > now_ns, "an owner waits for longer than is guaranteed");
    return NULL;
}

const char *core_check(const struct core *core, int64_t now_ns)
{
    uint64_t queued = 0, held = 0, granted = 0;
    uint32_t jobs = 0, running = 0, in_flight = 0, orphans = 0, capped = 0, runnable = 0, waiting = 0;
    uint32_t held_up = 0;
    struct job *job;
    RB_FOREACH (job, job_ids, (struct job_ids *)&core->jobs) {
        const char *wrong = check_job(core, job, now_ns);
        if (wrong != NULL)
            return wrong;
        CHECK(job->session != NULL, "an orphan is in the index");
        queued += job->queued_items;
        waiting += job->queued_items > 0;
        held += job->in_held + job->held;
        granted += job->in_window;
        in_flight += job->in_flight;
        running += job->running;
        capped += job->capped;
        runnable += job->runnable && job->owner->runnable;
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
        running += orphan->running;
    }
    CHECK(jobs == core->job_count, "the number of jobs does not add up");
    CHECK(queued == core->queued_items, "queued items do not add up");
    CHECK(waiting == core->waiting_jobs, "jobs with queued items do not add up");
    CHECK(held == core->held_bytes, "held bytes do not add up");
    CHECK(granted == core->granted, "grants do not add up");
    CHECK(orphans == core->orphan_chunks, "orphans do not add up");
    CHECK(capped == core->capped_jobs, "capped jobs do not add up");
    CHECK(running == core->running, "running chunks do not add up");
    CHECK(runnable == core->runnable_jobs, "runnable jobs do not add up");

    uint32_t owner_lanes_bad = 0, owners = 0;
    struct owner *owner;
    RB_FOREACH (owner, owner_uids, (struct owner_uids *)&core->owners) {
        owners++;
        owner_lanes_bad += owner->limits.slots != 0 && owner->lanes > owner->limits.slots &&
                           owner->lanes > owner->lanes_before;
        uint32_t due = 0;
        struct level *level;
        RB_FOREACH (level, work_levels, &owner->work)
            due += level->runnable.count;
        CHECK(due == owner->runnable_jobs, "an owner's runnable jobs do not add up");
        bool full = order_owner_capped(owner);
        CHECK(owner->runnable == (due > 0 && !full), "an owner is in the order and may not, or the reverse");
        CHECK(owner->held_up == (due > 0 && full), "an owner is held up by a cap that is not reached");
        held_up += owner->held_up;
    }
    CHECK(held_up == core->held_up_owners, "owners that are held up do not add up");
    CHECK(owners == core->owner_count, "the number of owners does not add up");
    CHECK(owner_lanes_bad == 0, "an owner has more slots than its cap");

    uint32_t chunks = 0;
    const char *wrong = check_crews(core, &chunks, now_ns);
    if (wrong != NULL)
        return wrong;
    CHECK(chunks == in_flight + orphans, "chunks at workers do not add up");
    wrong = lend_check(core);
    return wrong != NULL ? wrong : check_unserved(core, now_ns);
}
