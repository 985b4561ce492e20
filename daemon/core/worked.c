/* What workers say of their chunks: results, that they have parked them, or nothing any more. */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

/* Input cost of the chunk's items that have no result. */
static uint64_t unanswered_cost(const struct chunk *chunk)
{
    struct slice rest = cut_unanswered(chunk, UINT32_MAX);
    return rest.count > 0 ? slice_cost(&rest) : 0;
}

/* How much of what was learnt before still counts beside a new run of items; it counts for less beside one
 * that has taken so many times what it was to, but not for that where it was shorter than a part of a chunk.
 */
static const double LEARN_KEEP = 0.75;
enum { LEARN_SURPRISE = 4, LEARN_PART = 4 };

/*
 * Learns from the time that a run of items has taken: the mean time of the latest items, and not that of the
 * runs' means, because a short run's time is mostly its chunk's own cost (six items at a batch's end made a
 * filter's lines seem ten times as long, and the next chunks a tenth). A longer one that surprises shows that
 * the items are others now.
 */
static void learn_time(const struct core *core, struct job *job, struct chunk *chunk, uint32_t count)
{
    double took_ns = chunk->item_run_ns > count ? (double)chunk->item_run_ns : count;
    double most_ns = LEARN_SURPRISE * job->item_ns * count;
    double part_ns = (double)core->config.chunk_target_ns / LEARN_PART;
    if (most_ns < part_ns)
        most_ns = part_ns;
    double keep = most_ns < LEARN_KEEP * took_ns ? most_ns / took_ns : LEARN_KEEP;
    chunk->item_run_ns = 0;
    job->learnt_ns = keep * job->learnt_ns + took_ns;
    job->learnt_items = keep * job->learnt_items + count;
    job->item_ns = job->learnt_ns / job->learnt_items;
    job->measured = true;
}

/* Learns from what a run of items has given. */
static void learn_growth(struct job *job, uint64_t input_cost, uint64_t output_cost)
{
    job->cost_in += input_cost;
    job->cost_out += output_cost;
    job->growth = (double)job->cost_out / (double)job->cost_in;
}

/* The chunk has had its worker's last word. deaths: of workers, with the first of the items that are handed
 * back. */
static void chunk_over(struct core *core, struct chunk *chunk, bool correct, uint32_t deaths, int64_t now_ns)
{
    struct job *job = chunk->job;
    if (chunk->done < chunk->items.count) {
        if (!chunk->parked)
            job->in_flight_cost -= unanswered_cost(chunk);
        bool wanted = job->session != NULL && !job->cancelled;
        if (wanted && !job->halted)
            cut_hand_back(core, chunk, deaths);
        else if (wanted && halt_rest(core, chunk) < 0)
            core_job_cancel(core, job, now_ns); /* its items would never be answered */
    }
    chunks_leave_worker(core, chunk, correct, now_ns);
    bool unwanted = job->session == NULL || job->cancelled;
    if (unwanted || chunk->items.count == 0) {
        TAILQ_REMOVE(&job->chunks, chunk, job_link);
        chunk_free(core, chunk);
    } else {
        results_flush(core, job, chunk); /* may free it */
    }
    if (!unwanted) {
        if (job->process)
            grants_look(core, job);
        order_ran(core, job, now_ns);
    } else if (job->session == NULL && job->in_flight == 0) {
        job_free(core, job);
    }
}

static struct chunk *find_chunk(struct chunk_list *list, uint64_t id)
{
    struct chunk *chunk;
    TAILQ_FOREACH (chunk, list, worker_link) {
        if (chunk->id == id)
            break;
    }
    return chunk;
}

/* A process is believed no more than can be. */
static void clamp_time(const struct core *core, const struct chunk *chunk, int64_t *run_ns, int64_t *cpu_ns,
                       int64_t now_ns)
{
    bool begun = chunk->parked || TAILQ_FIRST(&chunk->worker->chunks) == chunk;
    int64_t until_ns = chunk->parked ? chunk->parked_ns : now_ns;
    int64_t elapsed_ns = begun ? until_ns - chunk->started_ns : 0;
    int64_t slots = slots_of(core), most_cpu_ns = INT64_MAX;
    if (elapsed_ns < INT64_MAX / slots)
        most_cpu_ns = elapsed_ns * slots;
    if (*run_ns > elapsed_ns - chunk->run_ns)
        *run_ns = elapsed_ns - chunk->run_ns;
    if (*cpu_ns > most_cpu_ns - chunk->cpu_ns)
        *cpu_ns = most_cpu_ns - chunk->cpu_ns;
}

/* Counts time that a worker says it has spent on its chunk. */
static inline void count_time(struct core *core, struct chunk *chunk, int64_t run_ns, int64_t cpu_ns,
                              int64_t now_ns)
{
    struct job *job = chunk->job;
    if (chunk->metered)
        clamp_time(core, chunk, &run_ns, &cpu_ns, now_ns);
    chunk->run_ns += run_ns;
    chunk->cpu_ns += cpu_ns;
    chunk->item_run_ns += run_ns;
    job->report.run_ns += run_ns;
    job->report.cpu_ns += cpu_ns;
    job->owner->run_ns += run_ns;
    job->owner->cpu_ns += cpu_ns;
    core->run_ns += run_ns;
    core->cpu_ns += cpu_ns;
}

/* May the worker say this of the chunk, which it holds? */
static bool may_say(const struct chunk *chunk, const struct batch *batch, bool last)
{
    bool queued = !chunk->parked && TAILQ_FIRST(&chunk->worker->chunks) != chunk;
    bool given_up = chunk->asked == CONTROL_DROP;
    uint32_t left = chunk->items.count - chunk->done;
    if (queued)
        return batch == NULL && last && chunk->asked != CONTROL_NONE;
    if (batch == NULL)
        return last && (given_up || (!chunk->in_piece && (!chunk->parked || left == 0)));
    if (batch->count > left || ((batch->more || chunk->in_piece) && batch->count != 1))
        return false;
    if (chunk->metered && chunk->credit <= 0)
        return false;
    if (last && (batch->more || (chunk->parked && batch->count < left)))
        return given_up;
    return true;
}

int core_worked(struct core *core, struct worker *worker, uint64_t id, struct batch *batch, bool last,
                int64_t run_ns, int64_t cpu_ns, int64_t now_ns)
{
    settle_last_action(core);
    struct chunk *chunk = find_chunk(&worker->chunks, id);
    if (chunk == NULL)
        chunk = find_chunk(&worker->parked, id);
    if (chunk == NULL || run_ns < 0 || cpu_ns < 0 || !may_say(chunk, batch, last))
        return -EPROTO;

    struct job *job = chunk->job;
    uint32_t count = batch != NULL && !batch->more ? batch->count : 0;
    struct slice items = cut_unanswered(chunk, count);
    uint64_t input_cost = count > 0 ? slice_cost(&items) : 0;
    if (batch != NULL) {
        if (chunk->done == 0 && !chunk->in_piece) { /* one that is taken back unrun was none */
            job->report.chunks++;
            core->chunks_done++;
        }
        int rc = results_add(core, chunk, batch, input_cost);
        if (rc < 0)
            return rc;
        chunk->in_piece = batch->more;
        if (chunk->metered)
            grants_use(chunk, batch_weight(batch));
    }
    count_time(core, chunk, run_ns, cpu_ns, now_ns);
    if (count > 0) {
        chunk->done += count;
        chunk->done_offset += items.size;
        if (!chunk->parked) {
            job->in_flight_cost -= input_cost;
            learn_time(core, job, chunk, count);
        }
        learn_growth(job, input_cost, batch_cost(batch));
    }
    if (batch != NULL && job->options.halt != HALT_NEVER && halt_is_due(batch))
        halt_job(core, job, now_ns);

    if (last) {
        chunk_over(core, chunk, !chunk->metered, chunk->done == 0 ? chunk->deaths : 0, now_ns);
    } else {
        results_flush(core, job, chunk);
        grants_look(core, job);
        order_ran(core, job, now_ns);
    }
    return 0;
}

int core_parked(struct core *core, struct worker *worker, uint64_t id, uint32_t count, int64_t run_ns,
                int64_t cpu_ns, int64_t now_ns)
{
    settle_last_action(core);
    struct chunk *chunk = TAILQ_FIRST(&worker->chunks);
    if (chunk == NULL || chunk->id != id || !chunk->metered || run_ns < 0 || cpu_ns < 0)
        return -EPROTO;
    if (count > chunk->items.count || count < chunk->done + (chunk->in_piece ? 1U : 0U))
        return -EPROTO;

    struct job *job = chunk->job;
    uint64_t cost = unanswered_cost(chunk);
    if (job->session != NULL && !job->cancelled) {
        int rc = cut_shorten(core, chunk, count - chunk->done);
        if (rc < 0)
            return rc;
        if (job->halted)
            halt_queued(core, job, now_ns);
    }
    count_time(core, chunk, run_ns, cpu_ns, now_ns);
    if (count > chunk->done)
        learn_time(core, job, chunk, count - chunk->done);
    job->in_flight_cost -= cost;
    chunk->parked_ns = now_ns;
    job->parked++;
    worker->parked_count++;
    chunks_leave_queue(core, chunk, false, now_ns);
    chunk->parked = true;
    TAILQ_INSERT_TAIL(&worker->parked, chunk, worker_link);
    worker_relist(core, worker, now_ns);
    grants_look(core, job);
    order_update(core, job, now_ns);
    order_moved(core, job, now_ns);
    return 0;
}

/*** Deaths ***/

/*
 * What becomes of a chunk whose worker has died. An item of whose result a piece has come fails: the piece
 * may have gone out. So does what may not be run twice, and the item that has had its third worker die with
 * it. Returns 0 or -ENOMEM. *deaths: with the first of the other items.
 */
static int blame(struct core *core, struct chunk *chunk, uint32_t *deaths)
{
    bool begun = chunk->parked || TAILQ_FIRST(&chunk->worker->chunks) == chunk;
    *deaths = chunk->done == 0 ? chunk->deaths : 0;
    bool broken = chunk->in_piece;
    if (broken) {
        *deaths = 0;
        int rc = results_fail(core, chunk, 1, NOTE_ERROR, "its worker died in the middle of its result");
        if (rc < 0)
            return rc;
    }
    uint32_t left = chunk->items.count - chunk->done;
    if (!chunk->metered || !begun || left == 0)
        return 0;
    if (chunk->job->options.once)
        return results_fail(core, chunk, left, NOTE_ERROR, "its worker died; it may have been run");
    if (chunk->parked || broken)
        return 0;
    if (++*deaths < DEATHS_MOST)
        return 0;
    *deaths = 0;
    return results_fail(core, chunk, chunk->job->exact ? left : 1, NOTE_ERROR, "its worker died three times");
}

static void lose_chunk(struct core *core, struct chunk *chunk, int64_t now_ns)
{
    struct job *job = chunk->job;
    uint32_t deaths = 0, done = chunk->done;
    if (job->session != NULL && !job->cancelled) {
        uint64_t cost = unanswered_cost(chunk);
        int rc = blame(core, chunk, &deaths);
        if (!chunk->parked)
            job->in_flight_cost -= cost - unanswered_cost(chunk);
        if (rc < 0)
            core_job_cancel(core, job, now_ns); /* what has gone out cannot be taken back */
        else if (chunk->done > done && job->options.halt != HALT_NEVER)
            halt_job(core, job, now_ns);
    }
    chunk_over(core, chunk, false, deaths, now_ns);
}

void core_worker_gone(struct core *core, struct worker *worker, int64_t now_ns)
{
    settle_last_action(core);
    struct chunk *chunk;
    /* The last one first, so that none of them starts here. */
    while ((chunk = TAILQ_LAST(&worker->chunks, chunk_list)) != NULL ||
           (chunk = TAILQ_FIRST(&worker->parked)) != NULL)
        lose_chunk(core, chunk, now_ns);
    worker_forget(core, worker, now_ns);
}
