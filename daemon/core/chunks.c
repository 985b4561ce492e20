/*
 * Chunks on their way: which worker gets the next chunk of which job, what is queued ahead, what is charged,
 * what is taken back. A worker runs its chunks in order, one at a time; only the first holds a slot. What
 * workers say of them is in worked.c.
 */
#include "daemon/core/chunker.h"
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

static int worker_look_compare(const struct worker *a, const struct worker *b)
{
    if (a->look_ns != b->look_ns)
        return a->look_ns > b->look_ns ? 1 : -1;
    return (a->number > b->number) - (a->number < b->number);
}

RB_GENERATE(worker_looks, worker, look_link, worker_look_compare)

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

/*
 * What a chunk should take now: less while others wait, so that they are served sooner, and for a while after
 * that, because who comes once for a moment comes again.
 */
static int64_t target_ns(const struct core *core, int64_t now_ns)
{
    int64_t target_ns = core->config.chunk_target_ns;
    if (core->stopped && target_ns > STOPPED_TARGET_NS)
        target_ns = STOPPED_TARGET_NS;
    bool crowded = core->crowded_ns > now_ns - CROWDED_TARGETS * target_ns;
    return crowded ? target_ns / CROWDED_PART : target_ns;
}

/* When a running chunk is long enough for others to mind; and not before its worker can have begun it. */
static int64_t long_ns(const struct core *core, const struct chunk *chunk, int64_t now_ns)
{
    return chunk->started_ns + 2 * target_ns(core, now_ns) + OVERRUN_NS;
}

void chunks_stop_looking(struct core *core, struct worker *worker)
{
    if (worker->look_ns != INT64_MAX)
        RB_REMOVE(worker_looks, &core->looks, worker);
    worker->look_ns = INT64_MAX;
}

/*
 * Has the worker looked at by then. A time that was set stays when the chunk that it was for has ended:
 * whoever looks too early finds out when to look again, so a worker is looked at once in a while and not for
 * each small chunk, and a look costs O(log workers).
 */
static void look_by(struct core *core, struct worker *worker, int64_t look_ns)
{
    if (look_ns >= worker->look_ns)
        return;
    chunks_stop_looking(core, worker);
    worker->look_ns = look_ns;
    RB_INSERT(worker_looks, &core->looks, worker);
}

void chunks_look_soon(struct core *core, int64_t now_ns)
{
    struct worker_list *lists[] = {&core->hungry, &core->full, NULL};
    for (size_t i = 0; lists[i] != NULL; i++) {
        struct worker *worker;
        TAILQ_FOREACH (worker, lists[i], link) {
            if (TAILQ_FIRST(&worker->chunks)->items.count > 1)
                look_by(core, worker, now_ns + target_ns(core, now_ns));
        }
    }
}

/* Others have come: what was begun when there was nobody is looked at soon, too. */
static void notice_crowd(struct core *core, int64_t now_ns)
{
    bool was_alone = target_ns(core, now_ns) == core->config.chunk_target_ns;
    core->crowded_ns = now_ns;
    if (was_alone)
        chunks_look_soon(core, now_ns);
}

/*
 * Has the running chunk looked at in time: when it is late, for the sake of what is queued behind it; when it
 * is long, for that of others. One item with nothing behind it is not: there is nothing to take back, and a
 * timer that is set and cleared for each small chunk costs the broker more than the chunk.
 */
static void look_in_time(struct core *core, const struct chunk *running, int64_t now_ns)
{
    int64_t look_ns = INT64_MAX;
    if (running->worker->depth > 1)
        look_ns = late_ns(running);
    else if (running->items.count > 1)
        look_ns = long_ns(core, running, now_ns);
    look_by(core, running->worker, look_ns);
}

/* What the chunk counts for in the order when it starts: where nothing is known of it, what a chunk should
 * take.
 */
static int64_t in_order_ns(const struct core *core, const struct chunk *chunk)
{
    return chunk->expected_ns > 0 ? chunk->expected_ns : core->config.chunk_target_ns;
}

/* The job waits no longer for its first chunk. */
static void count_wait(struct job *job, int64_t wait_ns)
{
    struct owner *owner = job->owner;
    job->started = true;
    job->report.queue_ns = wait_ns;
    owner->waits++;
    owner->wait_ns += wait_ns;
    if (wait_ns > owner->longest_wait_ns)
        owner->longest_wait_ns = wait_ns;
}

/* The chunk has its slot: it is the first of its worker now. */
static void begin(struct core *core, struct chunk *chunk, int64_t now_ns)
{
    struct job *job = chunk->job;
    chunk->started_ns = now_ns;
    if (chunk->metered)
        grants_count(chunk);
    if (chunk->metered && job->options.jobserver)
        lend_begin(core, chunk);
    if (!job->started)
        count_wait(job, now_ns - job->opened_ns);
    look_in_time(core, chunk, now_ns);
}

/* It waits behind the chunk that its worker runs; or no longer. */
static void join_line(struct chunk *chunk)
{
    chunk->worker->queued_ns += chunk->expected_ns;
    share_commit(&chunk->job->share, chunk->expected_ns);
    share_commit(&chunk->job->owner->share, chunk->expected_ns);
}

static void leave_line(struct chunk *chunk)
{
    chunk->worker->queued_ns -= chunk->expected_ns;
    share_commit(&chunk->job->share, -chunk->expected_ns);
    share_commit(&chunk->job->owner->share, -chunk->expected_ns);
}

static void take_slot(struct core *core, struct chunk *chunk, int64_t now_ns)
{
    struct job *job = chunk->job;
    share_start(&job->share, in_order_ns(core, chunk), now_ns);
    share_start(&job->owner->share, in_order_ns(core, chunk), now_ns);
    job->running++;
    core->running++;
    if (job->owner->unserved)
        guarantee_look(core, job->owner, now_ns);
    begin(core, chunk, now_ns);
}

static void give_up_slot(struct core *core, struct job *job, int64_t unused_ns, int64_t correction_ns,
                         int64_t now_ns)
{
    share_stop(&job->share, unused_ns, correction_ns, now_ns);
    share_stop(&job->owner->share, unused_ns, correction_ns, now_ns);
    job->running--;
    core->running--;
    if (job->owner->share.running == 0)
        guarantee_look(core, job->owner, now_ns);
}

/* The worker's first chunk, which has left it, gives its slot back; the next one takes it over without
 * asking. */
static void pass_on_slot(struct core *core, struct chunk *chunk, bool correct, int64_t now_ns)
{
    struct worker *worker = chunk->worker;
    struct job *job = chunk->job;
    int64_t elapsed_ns = now_ns - chunk->started_ns, unused_ns = in_order_ns(core, chunk) - elapsed_ns;
    int64_t correction_ns = correct ? chunk->run_ns - elapsed_ns : 0;
    if (chunk->borrows)
        lend_end(core, chunk, now_ns);
    struct chunk *next = TAILQ_FIRST(&worker->chunks);
    if (next != NULL)
        leave_line(next);
    if (next != NULL && next->job == job) {
        int64_t expected_ns = in_order_ns(core, next);
        share_pass_on(&job->share, unused_ns, correction_ns, expected_ns, now_ns);
        share_pass_on(&job->owner->share, unused_ns, correction_ns, expected_ns, now_ns);
        begin(core, next, now_ns);
    } else {
        give_up_slot(core, job, unused_ns, correction_ns, now_ns);
        if (next != NULL)
            take_slot(core, next, now_ns);
    }
    if (next != NULL && next->metered)
        order_update(core, next->job, now_ns);
}

void chunks_leave_queue(struct core *core, struct chunk *chunk, bool correct, int64_t now_ns)
{
    struct worker *worker = chunk->worker;
    struct job *job = chunk->job;
    struct owner *owner = job->owner;
    bool ran = TAILQ_FIRST(&worker->chunks) == chunk;
    TAILQ_REMOVE(&worker->chunks, chunk, worker_link);
    worker->depth--;
    if (ran) {
        pass_on_slot(core, chunk, correct, now_ns);
    } else {
        leave_line(chunk);
    }
    if (!shares_job(worker, chunk, false))
        job->lanes--;
    if (!shares_job(worker, chunk, true)) {
        owner->lanes--;
        if (owner->held_up)
            order_owner_update(core, owner, now_ns);
    }
}

void chunks_leave_worker(struct core *core, struct chunk *chunk, bool correct, int64_t now_ns)
{
    struct worker *worker = chunk->worker;
    struct job *job = chunk->job;
    if (chunk->control != CONTROL_NONE) {
        TAILQ_REMOVE(&core->controls, chunk, control_link);
        chunk->control = CONTROL_NONE;
    }
    if (chunk->metered)
        grants_end(core, chunk);
    if (chunk->parked) {
        TAILQ_REMOVE(&worker->parked, chunk, worker_link);
        worker->parked_count--;
        job->parked--;
    } else {
        chunks_leave_queue(core, chunk, correct, now_ns);
    }
    chunk->worker = NULL;
    job->in_flight--;
    worker_relist(core, worker, now_ns);
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

void chunks_call_back(struct core *core, struct job *job)
{
    struct chunk *chunk;
    TAILQ_FOREACH (chunk, &job->chunks, job_link) {
        if (chunk->worker == NULL || chunk->parked)
            continue;
        bool runs = TAILQ_FIRST(&chunk->worker->chunks) == chunk;
        if (!runs || (!job->exact && chunk->items.count - chunk->done > 1))
            chunks_control(core, chunk, CONTROL_YIELD);
    }
}

/*** Dispatch ***/

void chunk_insert(struct job *job, struct chunk *chunk)
{
    uint64_t end = chunk->first + chunk->items.count;
    bool last = chunk->first >= job->cut_end;
    if (end > job->cut_end)
        job->cut_end = end;
    if (last) { /* known without a look at the one before it, which no cache may have */
        TAILQ_INSERT_TAIL(&job->chunks, chunk, job_link);
        return;
    }
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
}

/* How many items of the job take about length_ns. */
static uint32_t items_for(const struct core *core, const struct job *job, int64_t length_ns)
{
    if (job->options.chunksize == 1)
        return 1;
    struct chunker_input in = {
        .item_ns = job->item_ns,
        .last_count = job->last_count,
        .measured = job->measured,
        .queued_items = job->queued_items,
        .slots = order_slots(core, job),
        .limit = job->options.chunksize,
        .least = job->least_count,
        .target_ns = length_ns,
    };
    return chunker_count(&in);
}

/* Cuts a chunk that takes about length_ns off the job and gives it to the worker. NULL when memory is short.
 */
static struct chunk *give(struct core *core, struct worker *worker, struct job *job, int64_t length_ns,
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
    if (cut_next(core, job, items_for(core, job, length_ns), chunk) < 0) {
        chunk_free(core, chunk);
        return NULL;
    }
    chunk->id = ++core->next_chunk;
    chunk->job = job;
    chunk->worker = worker;
    chunk->expected_ns = (int64_t)(job->item_ns * chunk->items.count);
    STAILQ_INIT(&chunk->blocks);
    if (worker->crew->process)
        grants_begin(core, chunk);
    worker->served = job->lasting ? job->id : 0;
    worker->ran++;
    job->last_count = chunk->items.count;
    job->in_flight_cost += slice_cost(&chunk->items);
    chunk_insert(job, chunk);

    if (!shares_job(worker, chunk, false))
        job->lanes++;
    if (!shares_job(worker, chunk, true))
        owner->lanes++;
    TAILQ_INSERT_TAIL(&worker->chunks, chunk, worker_link);
    worker->depth++;
    job->in_flight++;
    if (worker->depth == 1) {
        take_slot(core, chunk, now_ns);
    } else {
        look_in_time(core, TAILQ_FIRST(&worker->chunks), now_ns);
        join_line(chunk);
    }
    worker_relist(core, worker, now_ns);
    order_ran(core, job, now_ns);
    order_served(core, job, now_ns);
    return chunk;
}

/*
 * Would a chunk of the usual length be a longer one? A child waits for it then, since each chunk costs it,
 * the worker and the broker several turns at the CPU (112,862 lines through `sed` with two CPUs: 155 ms, and
 * 190 in chunks of 1 ms).
 */
static bool gains_by_waiting(const struct core *core, const struct job *job, int64_t room, int64_t target)
{
    uint32_t now = items_for(core, job, room);
    return now < items_for(core, job, target) && now < cut_most(job);
}

/* May a chunk of this job be queued at this busy worker, and of which length? 0: no. */
static int64_t room_ahead(const struct core *core, const struct worker *worker, const struct job *job,
                          int64_t now_ns)
{
    const struct chunk *first = TAILQ_FIRST(&worker->chunks);
    const struct job *last = TAILQ_LAST(&worker->chunks, chunk_list)->job;
    if (last != job && worker->crew->process && (last->lasting || job->lasting))
        return 0; /* the worker's child would have to go for it */
    int64_t room = core->config.queue_ahead_ns - worker->queued_ns;
    if (job->item_ns <= 0 || job->item_ns > (double)room)
        return 0;
    /* Behind a chunk that is late, or will run for long, it would wait although another worker may be free
     * sooner. */
    if (now_ns >= late_ns(first) || first->started_ns + first->expected_ns - now_ns > room)
        return 0;
    int64_t target = target_ns(core, now_ns);
    if (room >= target)
        return target;
    return job->lasting && gains_by_waiting(core, job, room, target) ? 0 : room;
}

/*
 * A job at its cap on slots, or its owner's, may still queue more at the workers that hold it; nobody else
 * wants them, or order_pick would have said so.
 */
static struct chunk *top_up(struct core *core, int64_t now_ns)
{
    struct worker *worker;
    TAILQ_FOREACH (worker, &core->hungry, link) {
        struct job *job = TAILQ_LAST(&worker->chunks, chunk_list)->job;
        bool held_up = job->capped || (job->runnable && job->owner->held_up);
        if (!held_up || !order_has_work(core, job))
            continue;
        int64_t room = room_ahead(core, worker, job, now_ns);
        if (room > 0)
            return give(core, worker, job, room, now_ns);
    }
    return NULL;
}

/* Queues a chunk of the job whose turn it is at a busy worker of its crew; NULL when it fits at none. */
static struct chunk *queue_ahead(struct core *core, struct job *job, int64_t now_ns)
{
    struct worker *worker, *next;
    for (worker = TAILQ_FIRST(&core->hungry); worker != NULL; worker = next) {
        next = TAILQ_NEXT(worker, link);
        if (worker->crew != job->crew)
            continue;
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

/* Gives a chunk a free slot, or queues it where one will be free soon. */
static struct chunk *dispatch(struct core *core, int64_t now_ns)
{
    bool slot = slot_free(core);
    struct job *job = NULL;
    while ((slot || !TAILQ_EMPTY(&core->hungry)) && (job = order_pick(core, now_ns)) != NULL) {
        struct worker *worker = slot ? worker_choose(core, job) : NULL;
        if (worker != NULL)
            return give(core, worker, job, target_ns(core, now_ns), now_ns);
        struct chunk *chunk = queue_ahead(core, job, now_ns);
        if (chunk != NULL || !slot)
            return chunk;
        order_starve(core, job, now_ns); /* the slot is there for the others until a worker is for it */
    }
    return core->capped_jobs > 0 || core->held_up_owners > 0 ? top_up(core, now_ns) : NULL;
}

struct chunk *chunks_dispatch(struct core *core, int64_t now_ns)
{
    if (core->runnable.count > 1)
        notice_crowd(core, now_ns);
    struct chunk *chunk = NULL;
    if (core->running <= slots_of(core)) /* else nothing begins until then, but for the guarantee */
        chunk = dispatch(core, now_ns);
    if (chunk != NULL || TAILQ_EMPTY(&core->unserved))
        return chunk;
    struct worker *worker;
    struct job *job = guarantee_pick(core, &worker, now_ns);
    if (job == NULL)
        return NULL;
    chunk = give(core, worker, job, target_ns(core, now_ns), now_ns);
    if (chunk != NULL)
        chunk->above = true;
    return chunk;
}

/*** Time ***/

/* Does somebody else wait for the slot of this job's chunk, or could its job use a free one? */
static bool in_the_way(const struct core *core, const struct job *job)
{
    if (core->stopped)
        return true; /* all wait for the end */
    if (core->runnable_jobs > (job->runnable && job->owner->runnable ? 1U : 0U))
        return true;
    return job->queued_items == 0 && slot_free(core) && worker_for(job) && !order_capped(job) &&
           !order_owner_capped(job->owner);
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
    if (!chunk->job->exact && chunk->items.count - chunk->done > 1 && chunk->asked == CONTROL_NONE) {
        int64_t since_ns = long_ns(core, chunk, now_ns);
        if (now_ns >= since_ns && in_the_way(core, chunk->job)) {
            chunks_control(core, chunk, CONTROL_YIELD);
        } else {
            int64_t look = now_ns >= since_ns ? now_ns + target_ns(core, now_ns) : since_ns;
            if (look < again)
                again = look;
        }
    }
    return again;
}

int64_t core_deadline(const struct core *core)
{
    const struct worker *next = RB_MIN(worker_looks, (struct worker_looks *)&core->looks);
    int64_t due_ns = next != NULL && core->running > 0 ? next->look_ns : INT64_MAX;
    int64_t workers_ns = workers_deadline(core), guarantee_ns = guarantee_deadline(core);
    if (workers_ns < due_ns)
        due_ns = workers_ns;
    return guarantee_ns < due_ns ? guarantee_ns : due_ns;
}

void core_tick(struct core *core, int64_t now_ns)
{
    settle_last_action(core);
    workers_tick(core, now_ns);
    struct worker *worker;
    while ((worker = RB_MIN(worker_looks, &core->looks)) != NULL && worker->look_ns <= now_ns) {
        chunks_stop_looking(core, worker);
        if (worker->depth > 0)
            look_by(core, worker, check_worker(core, worker, now_ns));
    }
}
