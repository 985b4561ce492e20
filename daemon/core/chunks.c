/*
 * Chunks and the workers that hold them: which worker gets the next chunk of which job, what is queued ahead,
 * what is charged, what is taken back. A worker runs its chunks in order, one at a time; only the first holds
 * a slot.
 */
#include "daemon/core/chunker.h"
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

/*** Workers ***/

static void worker_relist(struct core *core, struct worker *worker)
{
    struct worker_list *list = &core->full;
    if (worker->depth == 0)
        list = &core->idle;
    else if (worker->depth <= core->config.queue_depth && worker->queued_ns < core->config.queue_ahead_ns)
        list = &core->hungry;
    if (list == worker->list)
        return;
    if (worker->list != NULL)
        TAILQ_REMOVE(worker->list, worker, link);
    worker->list = list;
    if (list == &core->idle)
        TAILQ_INSERT_HEAD(list, worker, link); /* the one that ran last has the warmest caches */
    else
        TAILQ_INSERT_TAIL(list, worker, link);
}

int core_worker_add(struct core *core, struct crew *crew, void *cookie, int64_t now_ns, struct worker **out)
{
    (void)crew;
    (void)now_ns;
    settle_last_action(core);
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return -ENOMEM;
    worker->cookie = cookie;
    TAILQ_INIT(&worker->chunks);
    core->worker_count++;
    worker_relist(core, worker);
    *out = worker;
    return 0;
}

void *worker_cookie(const struct worker *worker)
{
    return worker->cookie;
}

void chunk_free(struct core *core, struct chunk *chunk)
{
    batch_unref(chunk->items.batch);
    if (chunk->rest != NULL)
        spare_give(&core->spare_segments, chunk->rest);
    spare_give(&core->spare_chunks, chunk);
}

/* Does another chunk of the same job, or of the same owner, wait or run at this worker? */
static bool shares_job(const struct worker *worker, const struct chunk *chunk, bool owner)
{
    const struct chunk *other;
    TAILQ_FOREACH (other, &worker->chunks, worker_link) {
        if (other != chunk && (owner ? other->job->owner == chunk->job->owner : other->job == chunk->job))
            return true;
    }
    return false;
}

/* When what is queued behind this running chunk is to be taken back. */
static int64_t late_ns(const struct chunk *chunk)
{
    return chunk->started_ns + chunk->expected_ns + OVERRUN_NS;
}

/* When a running chunk is long enough for others to mind; and not before its worker can have begun it. */
static int64_t long_ns(const struct core *core, const struct chunk *chunk)
{
    return chunk->started_ns + 2 * core->config.chunk_target_ns + OVERRUN_NS;
}

/*
 * Has the running chunk looked at in time: when it is late, for the sake of what is queued behind it; when it
 * is long, for that of others. One item with nothing behind it is not: there is nothing to take back, and a
 * timer that is set and cleared for each small chunk costs the broker more than the chunk.
 */
static void look_in_time(struct core *core, const struct chunk *running)
{
    int64_t look_ns = INT64_MAX;
    if (running->worker->depth > 1)
        look_ns = late_ns(running);
    else if (running->items.count > 1)
        look_ns = long_ns(core, running);
    if (look_ns < core->next_check_ns)
        core->next_check_ns = look_ns;
}

/* The chunk takes its slot: it is the first of its worker now. */
static void start(struct core *core, struct chunk *chunk, int64_t now_ns)
{
    struct job *job = chunk->job;
    chunk->started_ns = now_ns;
    share_start(&job->share, now_ns);
    share_start(&job->owner->share, now_ns);
    job->running++;
    if (!job->started) {
        job->started = true;
        job->report.queue_ns = now_ns - job->opened_ns;
    }
    look_in_time(core, chunk);
}

/* Takes the chunk off its worker, whose next chunk starts if this one ran. correct: its run_ns is the whole
 * truth. */
static void leave_worker(struct core *core, struct chunk *chunk, bool correct, int64_t now_ns)
{
    struct worker *worker = chunk->worker;
    struct job *job = chunk->job;
    struct owner *owner = job->owner;
    bool ran = TAILQ_FIRST(&worker->chunks) == chunk;
    TAILQ_REMOVE(&worker->chunks, chunk, worker_link);
    chunk->worker = NULL;
    worker->depth--;
    if (chunk->control != CONTROL_NONE) {
        TAILQ_REMOVE(&core->controls, chunk, control_link);
        chunk->control = CONTROL_NONE;
    }
    if (ran) {
        int64_t correction = correct ? chunk->run_ns - (now_ns - chunk->started_ns) : 0;
        share_stop(&job->share, correction, now_ns);
        share_stop(&owner->share, correction, now_ns);
        job->running--;
        struct chunk *next = TAILQ_FIRST(&worker->chunks);
        if (next != NULL) {
            worker->queued_ns -= next->expected_ns;
            share_commit(&next->job->share, -next->expected_ns);
            share_commit(&next->job->owner->share, -next->expected_ns);
            start(core, next, now_ns);
            if (next->job != job)
                order_moved(core, next->job, now_ns);
        }
    } else {
        worker->queued_ns -= chunk->expected_ns;
        share_commit(&job->share, -chunk->expected_ns);
        share_commit(&owner->share, -chunk->expected_ns);
    }
    job->in_flight--;
    owner->in_flight--;
    if (!shares_job(worker, chunk, false))
        job->lanes--;
    if (!shares_job(worker, chunk, true)) {
        owner->lanes--;
        if (owner->limits.slots != 0 && owner->lanes + 1 == owner->limits.slots)
            order_owner_freed(core, owner, now_ns);
    }
    worker_relist(core, worker);
    order_moved(core, job, now_ns);
    if (job->session == NULL)
        core->orphan_chunks--;
}

void chunks_control(struct core *core, struct chunk *chunk, enum control control)
{
    if (chunk->asked >= control)
        return;
    chunk->asked = control;
    if (chunk->control == CONTROL_NONE)
        TAILQ_INSERT_TAIL(&core->controls, chunk, control_link);
    chunk->control = control;
}

/*** Dispatch ***/

/* Cuts a chunk of about target_ns off the job and gives it to the worker. NULL when memory is short. */
static struct chunk *give(struct core *core, struct worker *worker, struct job *job, int64_t target_ns,
                          int64_t now_ns)
{
    struct chunk *chunk = spare_take(&core->spare_chunks);
    if (chunk == NULL)
        return NULL;
    chunk->rest = spare_take(&core->spare_segments);
    if (chunk->rest == NULL) {
        spare_give(&core->spare_chunks, chunk);
        return NULL;
    }
    struct owner *owner = job->owner;
    struct chunker_input in = {
        .item_ns = job->item_ns,
        .last_count = job->last_count,
        .measured = job->measured,
        .queued_items = job->queued_items,
        .slots = order_slots(core, job),
        .limit = job->options.chunksize,
        .target_ns = target_ns,
    };
    chunk->items = job_cut(core, job, chunker_count(&in), CHUNK_BYTES_MAX, &chunk->first);
    chunk->id = ++core->next_chunk;
    chunk->job = job;
    chunk->worker = worker;
    chunk->expected_ns = (int64_t)(job->item_ns * chunk->items.count);
    STAILQ_INIT(&chunk->blocks);
    job->last_count = chunk->items.count;
    job->in_flight_cost += slice_cost(&chunk->items);
    job->report.chunks++;
    core->chunks_done++;

    struct chunk *before;
    TAILQ_FOREACH_REVERSE(before, &job->chunks, chunk_list, job_link)
    {
        if (before->first < chunk->first)
            break;
    }
    if (before != NULL)
        TAILQ_INSERT_AFTER(&job->chunks, before, chunk, job_link);
    else
        TAILQ_INSERT_HEAD(&job->chunks, chunk, job_link);

    if (!shares_job(worker, chunk, false))
        job->lanes++;
    bool owner_full = false;
    if (!shares_job(worker, chunk, true)) {
        owner->lanes++;
        owner_full = owner->limits.slots != 0 && owner->lanes == owner->limits.slots;
    }
    TAILQ_INSERT_TAIL(&worker->chunks, chunk, worker_link);
    worker->depth++;
    job->in_flight++;
    owner->in_flight++;
    if (worker->depth == 1) {
        start(core, chunk, now_ns);
    } else {
        look_in_time(core, TAILQ_FIRST(&worker->chunks));
        worker->queued_ns += chunk->expected_ns;
        share_commit(&job->share, chunk->expected_ns);
        share_commit(&owner->share, chunk->expected_ns);
    }
    worker_relist(core, worker);
    order_update(core, job, now_ns);
    if (owner_full)
        order_owner_full(core, owner, now_ns);
    order_moved(core, job, now_ns);
    return chunk;
}

/* May a chunk of this job be queued at this busy worker, and of which length? 0: no. */
static int64_t room_ahead(const struct core *core, const struct worker *worker, const struct job *job,
                          int64_t now_ns)
{
    const struct chunk *first = TAILQ_FIRST(&worker->chunks);
    int64_t room = core->config.queue_ahead_ns - worker->queued_ns;
    if (job->item_ns <= 0 || job->item_ns > (double)room)
        return 0;
    /* Behind a chunk that is late, or will run for long, it would wait although another worker may be free
     * sooner. */
    if (now_ns >= late_ns(first) || first->started_ns + first->expected_ns - now_ns > room)
        return 0;
    return room < core->config.chunk_target_ns ? room : core->config.chunk_target_ns;
}

/*
 * A job at its cap on slots may still queue more at the workers that hold it; nobody else wants them, or
 * order_pick would have said so.
 */
static struct chunk *top_up(struct core *core, int64_t now_ns)
{
    struct worker *worker;
    TAILQ_FOREACH (worker, &core->hungry, link) {
        struct job *job = TAILQ_LAST(&worker->chunks, chunk_list)->job;
        if (!job->capped || !order_has_work(job))
            continue;
        int64_t room = room_ahead(core, worker, job, now_ns);
        if (room > 0)
            return give(core, worker, job, room, now_ns);
    }
    return NULL;
}

struct chunk *chunks_dispatch(struct core *core, int64_t now_ns)
{
    struct worker *worker = TAILQ_FIRST(&core->idle);
    struct job *job = NULL;
    if (worker != NULL || !TAILQ_EMPTY(&core->hungry))
        job = order_pick(core, now_ns);
    if (job == NULL)
        return core->capped_jobs > 0 ? top_up(core, now_ns) : NULL;
    if (worker != NULL) {
        int64_t target = core->config.chunk_target_ns;
        if (core->runnable_owners > 1)
            target /= 4; /* others wait: serve them sooner */
        return give(core, worker, job, target, now_ns);
    }
    while ((worker = TAILQ_FIRST(&core->hungry)) != NULL) {
        int64_t room = room_ahead(core, worker, job, now_ns);
        if (room > 0)
            return give(core, worker, job, room, now_ns);
        /* Not for the job whose turn it is: nothing until one of the worker's chunks ends. */
        TAILQ_REMOVE(&core->hungry, worker, link);
        worker->list = &core->full;
        TAILQ_INSERT_TAIL(&core->full, worker, link);
    }
    return NULL;
}

/*** What workers say ***/

/* Bytes and credit cost of the next `count` items of the chunk. */
static size_t next_items(const struct chunk *chunk, uint32_t count, uint64_t *cost)
{
    struct slice rest = chunk->items;
    rest.first += chunk->done;
    rest.count -= chunk->done;
    rest.offset += chunk->done_offset;
    rest.size -= chunk->done_offset;
    if (count < rest.count) {
        size_t size = 0;
        for (uint32_t i = 0; i < count; i++)
            size += batch_length(rest.batch, rest.first + i);
        rest.count = count;
        rest.size = size;
    }
    *cost = count > 0 ? slice_cost(&rest) : 0;
    return rest.size;
}

/* Learns from what a run of items has taken and given. */
static void learn(struct job *job, struct chunk *chunk, uint32_t count, uint64_t input_cost,
                  uint64_t output_cost)
{
    double sample = (double)chunk->item_run_ns / count;
    chunk->item_run_ns = 0;
    if (sample < 1)
        sample = 1;
    job->item_ns = job->measured ? 0.75 * job->item_ns + 0.25 * sample : sample;
    job->measured = true;
    job->cost_in += input_cost;
    job->cost_out += output_cost;
    job->growth = (double)job->cost_out / (double)job->cost_in;
}

/* The chunk has had its worker's last word. */
static void chunk_over(struct core *core, struct chunk *chunk, bool correct, int64_t now_ns)
{
    struct job *job = chunk->job;
    if (chunk->done < chunk->items.count) {
        uint64_t cost;
        next_items(chunk, chunk->items.count - chunk->done, &cost);
        job->in_flight_cost -= cost;
        if (job->session != NULL && !job->cancelled)
            job_hand_back(core, chunk);
    }
    leave_worker(core, chunk, correct, now_ns);
    bool unwanted = job->session == NULL || job->cancelled;
    if (unwanted || chunk->items.count == 0) {
        TAILQ_REMOVE(&job->chunks, chunk, job_link);
        chunk_free(core, chunk);
    } else {
        results_flush(core, job, chunk); /* may free it */
    }
    if (!unwanted)
        order_update(core, job, now_ns);
    else if (job->session == NULL && job->in_flight == 0)
        job_free(core, job);
}

static struct chunk *find_chunk(struct worker *worker, uint64_t id)
{
    struct chunk *chunk;
    TAILQ_FOREACH (chunk, &worker->chunks, worker_link) {
        if (chunk->id == id)
            break;
    }
    return chunk;
}

int core_worked(struct core *core, struct worker *worker, uint64_t id, struct batch *batch, bool last,
                int64_t run_ns, int64_t cpu_ns, int64_t now_ns)
{
    settle_last_action(core);
    struct chunk *chunk = find_chunk(worker, id);
    if (chunk == NULL || run_ns < 0 || cpu_ns < 0)
        return -EPROTO;
    bool first = chunk == TAILQ_FIRST(&worker->chunks);
    bool given_up = chunk->asked == CONTROL_DROP;
    if (!first && (batch != NULL || !last || chunk->asked == CONTROL_NONE))
        return -EPROTO;
    if (batch == NULL && !last)
        return -EPROTO;
    if (batch != NULL && (batch->count > chunk->items.count - chunk->done ||
                          ((batch->more || chunk->in_piece) && batch->count != 1)))
        return -EPROTO;
    bool in_piece = batch != NULL ? batch->more : chunk->in_piece;
    if (last && in_piece && !given_up)
        return -EPROTO;

    struct job *job = chunk->job;
    uint32_t count = batch != NULL && !batch->more ? batch->count : 0;
    uint64_t input_cost;
    size_t size = next_items(chunk, count, &input_cost);
    if (batch != NULL) {
        int rc = results_add(core, chunk, batch, input_cost);
        if (rc < 0)
            return rc;
        chunk->in_piece = batch->more;
    }
    chunk->run_ns += run_ns;
    chunk->item_run_ns += run_ns;
    if (count > 0) {
        chunk->done += count;
        chunk->done_offset += size;
        job->in_flight_cost -= input_cost;
        learn(job, chunk, count, input_cost, batch_cost(batch));
    }
    job->report.run_ns += run_ns;
    job->report.cpu_ns += cpu_ns;
    job->owner->run_ns += run_ns;
    job->owner->cpu_ns += cpu_ns;
    core->run_ns += run_ns;
    core->cpu_ns += cpu_ns;

    if (last) {
        chunk_over(core, chunk, true, now_ns);
    } else {
        results_flush(core, job, chunk);
        order_update(core, job, now_ns);
    }
    return 0;
}

void core_worker_gone(struct core *core, struct worker *worker, int64_t now_ns)
{
    settle_last_action(core);
    core->worker_count--;
    struct chunk *chunk;
    /* The last one first, so that none of them starts here. */
    while ((chunk = TAILQ_LAST(&worker->chunks, chunk_list)) != NULL) {
        struct job *job = chunk->job;
        if (chunk->in_piece && job->session != NULL && !job->cancelled) {
            uint64_t cost;
            next_items(chunk, 1, &cost);
            if (results_break(core, chunk) == 0)
                job->in_flight_cost -= cost;
            else
                core_job_cancel(core, job, now_ns); /* what has gone out cannot be taken back */
        }
        chunk_over(core, chunk, false, now_ns);
    }
    TAILQ_REMOVE(worker->list, worker, link);
    free(worker);
}

/*** Time ***/

/* Does somebody else wait for the slot of this job's chunk, or could its job use a free one? */
static bool in_the_way(const struct core *core, const struct job *job)
{
    if (core->runnable_jobs > (job->runnable ? 1U : 0U))
        return true;
    return !TAILQ_EMPTY(&core->idle) && job->queued_items == 0 && !order_capped(job);
}

/* Looks at what one worker runs; returns when to look again. */
static int64_t check_worker(struct core *core, struct worker *worker, int64_t now_ns)
{
    struct chunk *chunk = TAILQ_FIRST(&worker->chunks);
    int64_t again = INT64_MAX;
    if (worker->depth > 1) {
        if (now_ns < late_ns(chunk)) {
            again = late_ns(chunk);
        } else {
            for (struct chunk *next = TAILQ_NEXT(chunk, worker_link); next != NULL;
                 next = TAILQ_NEXT(next, worker_link))
                chunks_control(core, next, CONTROL_RECALL);
        }
    }
    if (chunk->items.count - chunk->done > 1 && chunk->asked == CONTROL_NONE) {
        int64_t since_ns = long_ns(core, chunk);
        if (now_ns >= since_ns && in_the_way(core, chunk->job)) {
            chunks_control(core, chunk, CONTROL_YIELD);
        } else {
            int64_t look = now_ns >= since_ns ? now_ns + core->config.chunk_target_ns : since_ns;
            if (look < again)
                again = look;
        }
    }
    return again;
}

int64_t core_deadline(const struct core *core)
{
    bool busy = !TAILQ_EMPTY(&core->hungry) || !TAILQ_EMPTY(&core->full);
    return busy ? core->next_check_ns : INT64_MAX;
}

void core_tick(struct core *core, int64_t now_ns)
{
    settle_last_action(core);
    if (now_ns < core->next_check_ns)
        return;
    core->next_check_ns = INT64_MAX;
    struct worker_list *lists[] = {&core->hungry, &core->full, NULL};
    for (size_t i = 0; lists[i] != NULL; i++) {
        struct worker *worker;
        TAILQ_FOREACH (worker, lists[i], link) {
            int64_t again = check_worker(core, worker, now_ns);
            if (again < core->next_check_ns)
                core->next_check_ns = again;
        }
    }
}
