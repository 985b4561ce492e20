/*
 * The ledger: every item of every job, from its arrival at the daemon to its result's departure, as the
 * promises would have it. The core's actions are entered here and must fit.
 */
#include "tests/sim/daemon.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Chunks that may be given in vain. */
enum { CHUNKS_SPARE = 2000 };

static uint64_t cost_of(uint64_t size, uint64_t records)
{
    return size + RECORD_COST * records;
}

/* Of an item; it may be less than what its pieces cost together, each of which is a record. */
static uint64_t item_cost(const struct ledger *ledger, uint64_t index)
{
    return cost_of(work_item_length(&ledger->job->work, index), 1);
}

static uint64_t result_cost(const struct ledger *ledger, uint64_t index)
{
    return cost_of(work_result_length(&ledger->job->work, index), 1);
}

/* A worker has got the item, or has it no more. */
static void at_workers(struct ledger *ledger, uint64_t index, bool there)
{
    uint64_t results = result_cost(ledger, index), inputs = item_cost(ledger, index);
    ledger->at_workers += there ? results : -results;
    ledger->inputs_at_workers += there ? inputs : -inputs;
    if (ledger->at_workers > ledger->at_workers_most)
        ledger->at_workers_most = ledger->at_workers;
}

/* The first index from `at` on that is not in a range that is done. */
static uint64_t wanted_from(const struct ledger *ledger, uint64_t at)
{
    for (uint32_t i = 0; i < ledger->done_count; i++) {
        if (at >= ledger->done[i].from && at < ledger->done[i].to)
            at = ledger->done[i].to;
    }
    return at;
}

struct ledger *ledger_open(struct world *world, struct connection *connection, const struct packet *packet)
{
    struct ledger *ledger = need_zeroed(1, sizeof *ledger);
    ledger->job = &connection->client->jobs[packet->ref];
    ledger->connection = connection;
    ledger->items = need_zeroed(ledger->job->work.items, 1);
    ledger->killed = need_zeroed(ledger->job->work.items, 1);
    ledger->first = packet->first;
    ledger->whole = packet->end;
    ledger->done = need(packet->done_count * sizeof *ledger->done);
    ledger->done_count = packet->done_count;
    ledger->unwanted = packet->first;
    uint64_t behind = packet->first;
    for (uint32_t i = 0; i < packet->done_count; i++) {
        const struct range *range = &packet->done[i];
        if (range->from < behind || range->to <= range->from)
            broken(world, "flow's ranges", "job %" PRIu64 ": [%" PRIu64 ", %" PRIu64 ") after %" PRIu64,
                   packet->ref, range->from, range->to, behind);
        behind = range->to;
        ledger->done[i] = *range;
        ledger->unwanted += range->to - range->from;
    }
    ledger->next_in = ledger->next_out = wanted_from(ledger, packet->first);
    ledger->out_window = packet->bytes;
    ledger->waiting_ns = INT64_MAX;
    ledger->next = world->ledgers;
    world->ledgers = ledger;
    return ledger;
}

struct ledger *ledger_find(struct world *world, const struct connection *connection, uint64_t ref)
{
    for (struct ledger *ledger = world->ledgers; ledger; ledger = ledger->next) {
        if (ledger->open && ledger->connection == connection && ledger->job->ref == ref)
            return ledger;
    }
    return NULL;
}

void ledger_free_all(struct world *world)
{
    while (world->ledgers) {
        struct ledger *next = world->ledgers->next;
        free(world->ledgers->items);
        free(world->ledgers->killed);
        free(world->ledgers->done);
        free(world->ledgers);
        world->ledgers = next;
    }
}

/* These items, if they wait and their job is halted, are not run: the core answers them. */
static void answer_halted(struct world *world, struct ledger *ledger, uint64_t first, uint64_t count)
{
    if (!ledger->halted || !ledger->open || ledger->cancelled)
        return;
    for (uint64_t index = first; index < first + count; index++) {
        if (ledger->items[index] != ITEM_QUEUED)
            continue;
        ledger->items[index] = ITEM_FINISHED;
        ledger->job->excused[index] = 1;
        ledger->held += RECORD_COST;
        ledger->queued--;
        world->items_finished++;
    }
}

static void halt_if(struct world *world, struct ledger *ledger, bool failed)
{
    if (!failed || ledger->job->options.halt == HALT_NEVER || ledger->halted || !ledger->open ||
        ledger->cancelled)
        return;
    ledger->halted = true;
    trace(world, "halted", ledger->job->ref, ledger->id, ledger->queued);
    answer_halted(world, ledger, 0, ledger->next_in);
}

void ledger_items(struct world *world, struct ledger *ledger, const struct batch *batch, uint64_t first)
{
    uint64_t cost = batch_cost(batch);
    if (ledger->in_granted > 0 && ledger->in_used >= ledger->in_granted && !ledger->cancelled)
        broken(world, "window", "job %" PRIu64 ": items without credit", ledger->job->ref);
    ledger->in_used += cost;
    ledger->bytes_in += batch->size;
    if (cost > ledger->most_message)
        ledger->most_message = cost;
    if (batch->more) {
        uint64_t item = item_cost(ledger, first);
        if (item > ledger->most_item)
            ledger->most_item = item;
        return;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        if (first + i >= ledger->job->work.items || ledger->items[first + i] != ITEM_UNKNOWN) {
            broken(world, "one result each", "job %" PRIu64 ": item %" PRIu64 " has come twice",
                   ledger->job->ref, first + i);
            return;
        }
        ledger->items[first + i] = ITEM_QUEUED;
    }
    ledger->received += batch->count;
    ledger->queued += batch->count;
    answer_halted(world, ledger, first, batch->count);
    ledger->next_in = wanted_from(ledger, first + batch->count);
}

void ledger_closed(struct world *world, struct ledger *ledger)
{
    (void)world;
    ledger->open = false;
    ledger->job->client->owner->open_jobs--;
}

/*** Workers ***/

/* Does a chunk of an exact job that ends here end where it must? */
static void check_exact(struct world *world, const struct ledger *ledger, uint64_t first, uint32_t count)
{
    uint64_t behind = first + count;
    if (!ledger->job->exact || count >= ledger->job->options.chunksize)
        return;
    if (ledger->job->work.large_every > 0 || ledger->killed[first] > 0)
        return;
    if (behind < ledger->next_in && (ledger->items[behind] != ITEM_QUEUED || ledger->killed[behind] > 0))
        return;
    bool no_more =
        ledger->ended || ledger->in_used >= ledger->in_granted || wanted_from(ledger, behind) != behind;
    if (behind < ledger->next_in || !no_more)
        broken(world, "chunk size", "a chunk of %u items from %" PRIu64 " on, to be of %u", count, first,
               ledger->job->options.chunksize);
}

bool ledger_is_begun(const struct ledger *ledger, uint64_t index)
{
    return ledger->items[index] == ITEM_GIVEN || ledger->items[index] == ITEM_FINISHED;
}

bool ledger_has_gap(const struct ledger *ledger, uint64_t index)
{
    bool behind = false;
    for (uint64_t i = index + 1; i < ledger->next_in && !behind; i++)
        behind = ledger_is_begun(ledger, i);
    return behind && ledger->job->options.once && !ledger->job->options.unordered;
}

void ledger_chunk(struct world *world, struct worker_model *worker, const struct action *action)
{
    struct ledger *ledger = (struct ledger *)action->work.function;
    uint64_t first = action->work.first;
    uint32_t count = action->work.items.count;
    /* What is recalled or yielded must come forward all the same. */
    if (++world->chunks_given > CHUNKS_SPARE + 4 * world->items_finished)
        broken(world, "progress", "%" PRIu64 " chunks were given for %" PRIu64 " finished items",
               world->chunks_given, world->items_finished);
    if (action->chunk <= world->last_chunk)
        broken(world, "ids", "chunk %" PRIu64 " after %" PRIu64, action->chunk, world->last_chunk);
    world->last_chunk = action->chunk;
    if (ledger->id == 0)
        ledger->id = action->work.job;
    if (!ledger->open || ledger->cancelled || ledger->id != action->work.job)
        broken(world, "chunks", "chunk %" PRIu64 " of a job that is not open", action->chunk);
    if (world->stopping && !ledger_has_gap(ledger, first))
        broken(world, "stop", "chunk %" PRIu64 " is given by a daemon that stops", action->chunk);
    if (ledger->halted)
        broken(world, "halt", "chunk %" PRIu64 " of a job that is halted", action->chunk);
    if (ledger->paused)
        broken(world, "hold", "chunk %" PRIu64 " of a job that is held", action->chunk);
    if (worker->owner != (ledger->job->process ? ledger->job->client->owner : NULL))
        broken(world, "crew", "chunk %" PRIu64 " at worker %u", action->chunk, worker->number);
    check_exact(world, ledger, first, count);
    uint32_t limit = ledger->job->options.chunksize;
    if (count == 0 || (limit > 0 && count > limit))
        broken(world, "chunk size", "chunk %" PRIu64 " has %u items of at most %u", action->chunk, count,
               limit);
    for (uint32_t i = 0; i < count && !world->failed; i++) {
        if (first + i >= ledger->next_in || ledger->items[first + i] != ITEM_QUEUED)
            broken(world, "run once", "chunk %" PRIu64 " has item %" PRIu64 ", whose state is %d",
                   action->chunk, first + i, first + i < ledger->next_in ? ledger->items[first + i] : -1);
        else
            ledger->items[first + i] = ITEM_GIVEN;
    }
    ledger->queued -= count;
    for (uint32_t i = 0; i < count; i++)
        at_workers(ledger, first + i, true);
    if (worker->given_count == worker->given_capacity) {
        worker->given_capacity = worker->given_capacity ? 2 * worker->given_capacity : 4;
        worker->given = need_more(worker->given, worker->given_capacity * sizeof *worker->given);
    }
    worker->given[worker->given_count++] = (struct given){.chunk = action->chunk,
                                                          .first = first,
                                                          .ledger = ledger,
                                                          .count = count,
                                                          .given_ns = world->now_ns,
                                                          .credit = (int64_t)action->work.credit};
}

void ledger_asked(struct world *world, struct worker_model *worker, const struct action *action)
{
    for (unsigned i = 0; i < worker->given_count; i++) {
        if (worker->given[i].chunk != action->chunk)
            continue;
        worker->given[i].asked = true;
        return;
    }
    broken(world, "chunks", "action %d for chunk %" PRIu64 ", which worker %u has not", action->type,
           action->chunk, worker->number);
}

static void finish_items(struct world *world, struct given *given, uint32_t count)
{
    struct ledger *ledger = given->ledger;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t index = given->first + given->done++;
        if (given->done > given->count || ledger->items[index] != ITEM_GIVEN) {
            broken(world, "run once", "chunk %" PRIu64 ": a result of item %" PRIu64 " too many",
                   given->chunk, index);
            return;
        }
        ledger->items[index] = ITEM_FINISHED;
        world->items_finished++;
        at_workers(ledger, index, false);
        ledger->finished_in += item_cost(ledger, index);
        ledger->finished_out += result_cost(ledger, index);
    }
}

/* What has no result, from this item of the chunk on, is handed back. */
static void hand_back_from(struct world *world, struct given *given, uint32_t from)
{
    struct ledger *ledger = given->ledger;
    for (uint32_t i = from; i < given->count; i++) {
        ledger->items[given->first + i] = ITEM_QUEUED;
        ledger->queued++;
        at_workers(ledger, given->first + i, false);
    }
    answer_halted(world, ledger, given->first + from, given->count - from);
    given->count = from;
}

/* So many slots are lent to the chunk from now on; its job has paid for those until now. */
static void set_tokens(struct world *world, struct given *given, uint64_t tokens)
{
    given->ledger->run_ns += (int64_t)given->tokens * (world->now_ns - given->tokens_ns);
    given->tokens = (uint32_t)tokens;
    given->tokens_ns = world->now_ns;
}

void ledger_lent(struct world *world, struct worker_model *worker, const struct action *action)
{
    struct given *given = worker_runs(worker);
    uint64_t lent = action->lend.lent, back = action->lend.back;
    if (!given || given->chunk != action->chunk || !given->ledger->job->options.jobserver) {
        broken(world, "lend", "chunk %" PRIu64 " of worker %u, which runs another or asked for nothing",
               action->chunk, worker->number);
        return;
    }
    uint64_t returned = given->lent - given->tokens;
    if (lent < given->lent || back > lent)
        broken(world, "lend",
               "chunk %" PRIu64 " has %" PRIu64 " less %" PRIu64 ", of which %" PRIu64 " are due",
               given->chunk, lent, returned, back);
    if (lent > given->lent && (!given->ledger->open || given->ledger->cancelled))
        broken(world, "lend", "chunk %" PRIu64 " of a job that is not open is lent more", given->chunk);
    given->lent = lent;
    given->back = back;
    set_tokens(world, given, lent - returned);
}

void ledger_returned(struct world *world, struct worker_model *worker, const struct packet *packet)
{
    struct given *given = worker_runs(worker);
    if (!given || given->chunk != packet->chunk || packet->bytes > given->lent) {
        broken(world, "lend", "the core takes back what chunk %" PRIu64 " never had", packet->chunk);
        return;
    }
    set_tokens(world, given, given->lent - packet->bytes);
}

/* The chunk is over. */
static void hand_back(struct world *world, struct worker_model *worker, unsigned at)
{
    struct given *given = &worker->given[at];
    set_tokens(world, given, 0);
    hand_back_from(world, given, given->done);
    given->ledger->parked -= given->parked;
    worker->given_count--;
    memmove(worker->given + at, worker->given + at + 1, (worker->given_count - at) * sizeof *worker->given);
}

void ledger_worked(struct world *world, struct worker_model *worker, const struct packet *packet)
{
    unsigned at = 0;
    while (at < worker->given_count && worker->given[at].chunk != packet->chunk)
        at++;
    if (at == worker->given_count) {
        broken(world, "chunks", "the core knows chunk %" PRIu64 " of worker %u, which was never given",
               packet->chunk, worker->number);
        return;
    }
    struct given *given = &worker->given[at];
    given->ledger->run_ns += packet->run_ns;
    if (packet->batch && worker->owner) {
        if (given->credit <= 0)
            broken(world, "grants", "chunk %" PRIu64 ": results without credit were taken", given->chunk);
        given->credit -= (int64_t)batch_weight(packet->batch);
    }
    if (packet->batch) {
        given->in_piece = packet->batch->more;
        if (given->ledger->open && !given->ledger->cancelled)
            given->ledger->held += batch_cost(packet->batch);
        if (!packet->batch->more)
            finish_items(world, given, packet->batch->count);
        halt_if(world, given->ledger, results_failed(packet->batch) > 0);
    }
    if (packet->last)
        hand_back(world, worker, at);
}

void ledger_parked(struct world *world, struct worker_model *worker, const struct packet *packet)
{
    struct given *given = worker_runs(worker);
    if (!given || given->chunk != packet->chunk || packet->bytes > given->count ||
        packet->bytes < given->done) {
        broken(world, "chunks", "the core lets worker %u park chunk %" PRIu64, worker->number, packet->chunk);
        return;
    }
    set_tokens(world, given, 0);
    given->parked = true;
    given->ledger->run_ns += packet->run_ns;
    given->ledger->parked++;
    if (given->ledger->open && !given->ledger->cancelled)
        hand_back_from(world, given, (uint32_t)packet->bytes);
}

/* Does the job's order wait for this chunk, and for no other one? */
static bool is_head(const struct given *given)
{
    const struct ledger *ledger = given->ledger;
    if (ledger->job->options.unordered)
        return true;
    for (uint64_t i = ledger->next_out; i < given->first; i++) {
        if (ledger->items[i] == ITEM_QUEUED || ledger->items[i] == ITEM_GIVEN)
            return false;
    }
    return true;
}

void ledger_granted(struct world *world, struct worker_model *worker, const struct action *action)
{
    for (unsigned i = 0; i < worker->given_count; i++) {
        struct given *given = &worker->given[i];
        if (given->chunk != action->chunk)
            continue;
        if ((action->grant.bytes == 0 && !action->grant.head) || !given->ledger->open ||
            given->ledger->cancelled)
            broken(world, "grants", "chunk %" PRIu64 " gets %" PRIu64, given->chunk, action->grant.bytes);
        if (action->grant.head && !is_head(given))
            broken(world, "grants", "chunk %" PRIu64 " is told that it is the head", given->chunk);
        given->credit += (int64_t)action->grant.bytes;
        return;
    }
    broken(world, "grants", "chunk %" PRIu64 ", which worker %u has not", action->chunk, worker->number);
}

void ledger_over(struct world *world, const struct action *action)
{
    struct ledger *ledger = (struct ledger *)action->over.function;
    if (ledger->over || ledger->open || (ledger->id != 0 && ledger->id != action->over.job))
        broken(world, "over", "job %" PRIu64 " is over: open %d, told before %d", action->over.job,
               ledger->open, ledger->over);
    ledger->over = true;
    for (unsigned i = 0; i < world->worker_count; i++) {
        for (unsigned k = 0; k < world->workers[i]->given_count; k++) {
            if (world->workers[i]->given[k].ledger == ledger)
                broken(world, "over", "job %" PRIu64 " is over with a chunk at worker %u", action->over.job,
                       i);
        }
    }
}

/*** Deaths ***/

/* The next items of the chunk fail because its worker has died. */
static void fail_items(struct world *world, struct given *given, uint32_t count)
{
    struct ledger *ledger = given->ledger;
    for (uint32_t i = 0; i < count; i++) {
        ledger->job->excused[given->first + given->done] = 1;
        if (ledger->open && !ledger->cancelled)
            ledger->held += RECORD_COST;
        finish_items(world, given, 1);
    }
}

/* runs: it was the chunk that the worker was running. */
static void lose(struct world *world, struct worker_model *worker, unsigned at, bool runs)
{
    struct given *given = &worker->given[at];
    struct ledger *ledger = given->ledger;
    uint32_t done = given->done;
    ledger->worker_died = true;
    bool broke = given->in_piece;
    if (broke) /* part of this result may be with the client already: it ends as a failure */
        fail_items(world, given, 1);
    bool begun = worker->owner && (runs || given->parked);
    uint32_t left = given->count - given->done;
    if (begun && ledger->job->options.once)
        fail_items(world, given, left);
    else if (begun && runs && !broke && left > 0 && ledger->open && !ledger->cancelled &&
             ++ledger->killed[given->first + given->done] == 3)
        fail_items(world, given, ledger->job->exact ? left : 1);
    halt_if(world, ledger, given->done > done);
    hand_back(world, worker, at);
}

void ledger_worker_gone(struct world *world, struct worker_model *worker)
{
    const struct given *runs = worker_runs(worker);
    uint64_t running = runs ? runs->chunk : 0;
    for (unsigned i = worker->given_count; i > 0; i--) {
        if (!worker->given[i - 1].parked)
            lose(world, worker, i - 1, worker->given[i - 1].chunk == running);
    }
    while (worker->given_count > 0)
        lose(world, worker, 0, false);
}

/*** To the client ***/

void ledger_opened(struct world *world, struct ledger *ledger, const struct action *action)
{
    if (ledger->in_granted > 0 || ledger->whole)
        broken(world, "window", "job %" PRIu64 " was opened twice", ledger->job->ref);
    if (ledger->id != 0 && ledger->id != action->opened.job)
        broken(world, "ids", "job %" PRIu64 " is %" PRIu64 " now", ledger->id, action->opened.job);
    ledger->id = action->opened.job;
    ledger->in_granted = ledger->in_window = action->opened.credit;
}

void ledger_credit(struct world *world, struct ledger *ledger, uint64_t bytes)
{
    if (ledger->in_granted == 0)
        broken(world, "window", "job %" PRIu64 ": credit before it was opened", ledger->job->ref);
    if (ledger->ended)
        broken(world, "window", "job %" PRIu64 ": credit after its end", ledger->job->ref);
    ledger->in_granted += bytes;
}

void ledger_results(struct world *world, struct ledger *ledger, const struct action *action)
{
    uint64_t first = action->results.first, size = 0;
    uint32_t records = 0, failed = 0;
    for (size_t i = 0; i < action->results.count; i++) {
        records += action->results.blocks[i]->count;
        size += action->results.blocks[i]->size;
        failed += results_failed(action->results.blocks[i]);
    }
    if (records != action->results.records || size != action->results.size || records == 0)
        broken(world, "batches", "RESULTS of %u records and %" PRIu64 " bytes are said to be %u and %zu",
               records, size, action->results.records, action->results.size);
    if (ledger->in_granted == 0 && !ledger->whole)
        broken(world, "window", "job %" PRIu64 ": results before it was opened", ledger->job->ref);
    if (ledger->out_sent - ledger->out_back >= ledger->out_window)
        broken(world, "window", "job %" PRIu64 ": results without credit", ledger->job->ref);
    ledger->out_sent += cost_of(size, records);
    ledger->held -= cost_of(size, records);
    ledger->bytes_out += size;
    if (!ledger->job->options.unordered && first != ledger->next_out)
        broken(world, "order", "job %" PRIu64 ": results from %" PRIu64 " on where %" PRIu64 " is next",
               ledger->job->ref, first, ledger->next_out);
    if (action->results.more)
        return;
    for (uint32_t i = 0; i < records && !world->failed; i++) {
        if (first + i >= ledger->next_in || ledger->items[first + i] != ITEM_FINISHED)
            broken(world, "one result each",
                   "job %" PRIu64 ": the result of item %" PRIu64 ", whose state is %d", ledger->job->ref,
                   first + i, first + i < ledger->next_in ? ledger->items[first + i] : -1);
        else
            ledger->items[first + i] = ITEM_SENT;
    }
    ledger->sent += records;
    ledger->failed += failed;
    ledger->next_out = wanted_from(ledger, first + records);
}

void ledger_done(struct world *world, struct ledger *ledger, const struct job_report *report)
{
    uint64_t ref = ledger->job->ref;
    ledger_closed(world, ledger);
    if (report->job == 0 || (ledger->id != 0 && ledger->id != report->job))
        broken(world, "ids", "job %" PRIu64 " is %" PRIu64 " in its DONE", ledger->id, report->job);
    if ((report->slots == 0 && world->workers_here > 0) || report->queue_ns < 0 || report->run_ns < 0 ||
        (ledger->job->options.slots > 0 && report->slots > ledger->job->options.slots &&
         world->fault != FAULT_SLOTS))
        broken(world, "counts", "job %" PRIu64 ": DONE with %u slots", ref, report->slots);
    if (report->outcome == OUTCOME_CANCELLED) {
        if (!ledger->cancelled)
            broken(world, "every job ends", "job %" PRIu64 " was cancelled by the core", ref);
        return;
    }
    if (ledger->in_granted == 0 && !ledger->whole)
        broken(world, "window", "job %" PRIu64 ": done before it was opened", ref);
    uint64_t wanted = ledger->next_in - ledger->unwanted;
    if (!ledger->ended || ledger->sent != wanted)
        broken(world, "one result each", "job %" PRIu64 " is done with %" PRIu64 " results of %" PRIu64, ref,
               ledger->sent, wanted);
    if (report->items != ledger->sent || report->failed != ledger->failed ||
        report->bytes_in != ledger->bytes_in || report->bytes_out != ledger->bytes_out)
        broken(world, "counts",
               "job %" PRIu64 ": DONE says %" PRIu64 " items, %" PRIu64 " failed, %" PRIu64 " and %" PRIu64
               " bytes; it was %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64,
               ref, report->items, report->failed, report->bytes_in, report->bytes_out, ledger->sent,
               ledger->failed, ledger->bytes_in, ledger->bytes_out);
    bool clamped = ledger->job->process && report->run_ns <= ledger->run_ns;
    if (report->run_ns != ledger->run_ns && !ledger->worker_died && !clamped)
        broken(world, "counts", "job %" PRIu64 " ran for %" PRId64 " ns, DONE says %" PRId64, ref,
               ledger->run_ns, report->run_ns);
}
