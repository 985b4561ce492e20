/*
 * Workers of the simulation; see worker.h. A part is a run of items that ends in one WORKED; its end is known
 * when it begins, and is brought forward when the worker is told to stop.
 */
#include "tests/sim/worker.h"

#include "tests/sim/daemon.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void begin_part(struct world *world, struct worker_model *worker);
static void obey(struct world *world, struct worker_model *worker, unsigned type, uint64_t chunk);

void worker_tell(struct world *world, struct worker_model *worker, uint64_t chunk, struct batch *batch,
                 bool last, int64_t run_ns)
{
    struct packet *packet = packet_new(world, MSG_WORKED);
    packet->chunk = chunk;
    packet->batch = batch;
    packet->last = last;
    packet->run_ns = run_ns;
    trace(world, last ? "WORKED last" : "WORKED", worker->number, chunk, batch ? batch->count : 0);
    link_send(world, &worker->up, packet);
}

static int64_t time_of(const struct held *held, uint32_t item)
{
    return work_time_ns(&held->function->job->work, held->first + item);
}

void worker_remove_held(struct worker_model *worker, unsigned at)
{
    batch_unref(worker->queue[at].items.batch);
    worker->count--;
    memmove(worker->queue + at, worker->queue + at + 1, (worker->count - at) * sizeof *worker->queue);
}

/* Sends the results of `count` items from the head's `done` on; large ones in pieces, each a WORKED of its
 * own. */
static void send_results(struct world *world, struct worker_model *worker, uint32_t count, bool last,
                         int64_t run_ns)
{
    struct held *held = &worker->queue[0];
    const struct work *work = &held->function->job->work;
    if (count == 0) {
        worker_tell(world, worker, held->chunk, NULL, true, run_ns);
        return;
    }
    uint64_t from = held->first + held->done, end = from + count;
    held->done += count;
    held->ran = held->done;
    while (from < end) {
        uint64_t to = from;
        size_t size = 0;
        while (to < end) {
            uint32_t length = work_result_length(work, to);
            if (length > worker->piece_size || (to > from && size + length > worker->piece_size))
                break;
            size += length;
            to++;
        }
        bool all = to == end;
        uint32_t records = (uint32_t)(to - from);
        uint32_t length = records > 0 ? 0 : work_result_length(work, from);
        /* Not in too many pieces: each costs a check of the whole state. */
        uint32_t most = worker->piece_size > length / 20 ? worker->piece_size : length / 20;
        for (uint32_t offset = 0; offset < length;) {
            uint32_t piece = length - offset < most ? length - offset : most;
            bool more = offset + piece < length;
            bool ends = !more && from + 1 == end;
            worker_tell(world, worker, held->chunk, batch_of_piece(world, work, from, offset, piece, more),
                        ends && last, ends ? run_ns : 0);
            offset += piece;
            if (more && worker->fragile && random_chance(&world->random, 10)) {
                worker_die(world, worker);
                return;
            }
        }
        if (records > 0) {
            uint32_t told = records > 1 && strikes(world, FAULT_LOST_RESULT, 4) ? records - 1 : records;
            struct batch *batch = batch_of_results(world, work, from + (records - told), told);
            worker_tell(world, worker, held->chunk, batch, all && last, all ? run_ns : 0);
        }
        from = records > 0 ? to : from + 1;
    }
}

static void finish_part(struct world *world, struct worker_model *worker)
{
    struct held *held = &worker->queue[0];
    bool last = worker->stopping || held->ran + worker->part_count == held->items.count;
    int64_t run_ns = world->now_ns - worker->told_ns;
    worker->told_ns = world->now_ns;
    held->function->job->client->owner->busy_ns += run_ns;
    held->function->job->busy_ns += run_ns;
    worker->running = false;
    if (worker->owner) {
        held->run_ns += run_ns;
        last = process_finish_part(world, worker);
        if (!worker->alive)
            return;
        worker->stopping = worker->stopping && !last;
        if (worker->count > 0)
            begin_part(world, worker);
        return;
    }
    if (last && strikes(world, FAULT_SILENT_WORKER, 4))
        last = false;
    send_results(world, worker, worker->part_count, last, run_ns);
    if (!worker->alive)
        return;
    if (last) {
        worker_remove_held(worker, 0);
        worker->stopping = false;
    }
    if (worker->count > 0 && (last || held->ran < held->items.count))
        begin_part(world, worker);
}

static void part_event(struct world *world, void *target, uint64_t argument)
{
    struct worker_model *worker = target;
    if (worker->alive && worker->running && worker->part == argument)
        finish_part(world, worker);
}

static void end_part_at(struct world *world, struct worker_model *worker, int64_t end_ns)
{
    worker->part_end_ns = end_ns;
    worker->part++;
    after(world, end_ns - world->now_ns, part_event, worker, worker->part);
}

static void begin_part(struct world *world, struct worker_model *worker)
{
    const struct held *held = &worker->queue[0];
    if (held->ran == 0) {
        worker->told_ns = world->now_ns;
        trace(world, "runs", worker->number, held->chunk, held->items.count);
    }
    worker->running = true;
    worker->part_start_ns = world->now_ns + (held->ran == 0 ? worker->start_ns : 0);
    int64_t end = worker->part_start_ns;
    uint32_t count = 0, left = held->items.count - held->ran;
    while (count < left && count < worker->report_items &&
           (count == 0 || end - world->now_ns < worker->report_ns))
        end += time_of(held, held->ran + count++);
    worker->part_count = count;
    end_part_at(world, worker, end);
}

/* The first end of an item of the part under way that is not before now. *count: items finished by then. */
static int64_t item_boundary(const struct world *world, const struct worker_model *worker, uint32_t *count)
{
    const struct held *held = &worker->queue[0];
    int64_t at = worker->part_start_ns;
    uint32_t done = 0;
    while (done < worker->part_count && at < world->now_ns)
        at += time_of(held, held->ran + done++);
    *count = done;
    return at > world->now_ns ? at : world->now_ns;
}

/* Ends the chunk that runs at the next item boundary. */
static void stop_at_boundary(struct world *world, struct worker_model *worker)
{
    uint32_t count;
    int64_t at = item_boundary(world, worker, &count);
    worker->part_count = count;
    worker->stopping = true;
    end_part_at(world, worker, at);
}

/* Ends it as soon as it can be given up, in the middle of an item. */
static void stop_now(struct world *world, struct worker_model *worker)
{
    uint32_t count;
    int64_t at = item_boundary(world, worker, &count), give_up = world->now_ns + worker->drop_ns;
    if (at > give_up && count > 0) {
        at = give_up;
        count--;
    }
    worker->part_count = count;
    worker->stopping = true;
    end_part_at(world, worker, at);
}

/* For patient workers: a message that has waited for the end of an item. */
static void late_event(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    struct packet *packet = target;
    obey(world, packet->link->end, packet->type, packet->chunk);
    packet_free(world, packet);
}

static void obey(struct world *world, struct worker_model *worker, unsigned type, uint64_t chunk)
{
    if (!worker->alive)
        return;
    unsigned at = 0;
    if (worker->owner && process_obey_parked(world, worker, type, chunk))
        return;
    while (at < worker->count && worker->queue[at].chunk != chunk)
        at++;
    if (at == worker->count)
        return; /* it has ended meanwhile */
    if (type == MSG_DROP)
        worker->queue[at].dropped = true;
    if (at == 0 && worker->running) {
        if (type == MSG_YIELD && !worker->stopping)
            stop_at_boundary(world, worker);
        else if (type == MSG_DROP)
            stop_now(world, worker);
        return; /* a RECALL is too late */
    }
    worker_remove_held(worker, at);
    worker_tell(world, worker, chunk, NULL, true, 0);
}

static void take_chunk(struct world *world, struct worker_model *worker, const struct packet *packet)
{
    if (worker->count == worker->capacity) {
        worker->capacity = worker->capacity ? 2 * worker->capacity : 4;
        worker->queue = need_more(worker->queue, worker->capacity * sizeof *worker->queue);
    }
    struct held *held = &worker->queue[worker->count++];
    *held = (struct held){.chunk = packet->chunk,
                          .first = packet->first,
                          .function = packet->function,
                          .items = packet->items,
                          .credit = (int64_t)packet->bytes};
    batch_ref(held->items.batch);
    /* Are these the items that they are said to be? */
    const struct work *work = &held->function->job->work;
    size_t offset = 0;
    for (uint32_t i = 0; i < held->items.count; i++) {
        const struct batch *batch = held->items.batch;
        uint32_t length = batch_length(batch, held->items.first + i);
        size_t total = length;
        bool right =
            work_item_right(work, held->first + i, 0, batch->bytes + held->items.offset + offset, length);
        for (batch = batch->next_piece; batch; batch = batch->next_piece) {
            right = right && work_item_right(work, held->first + i, total, batch->bytes, batch->size);
            total += batch->size;
        }
        if (!right || total != work_item_length(work, held->first + i))
            broken(world, "content",
                   "chunk %" PRIu64 ": item %" PRIu64 " has come as %zu bytes instead of %u, or wrong ones",
                   held->chunk, held->first + i, total, work_item_length(work, held->first + i));
        offset += length;
    }
    if (offset != held->items.size)
        broken(world, "batches", "chunk %" PRIu64 ": %zu bytes, said to be %zu", held->chunk, offset,
               held->items.size);
}

/* A packet of the daemon's has arrived. Returns true when it was taken over. */
static bool worker_receive(struct world *world, struct packet *packet)
{
    struct worker_model *worker = packet->link->end;
    if (!worker->alive)
        return false;
    if (packet->type == MSG_CHUNK) {
        take_chunk(world, worker, packet);
        if (!worker->running && worker->count == 1)
            begin_part(world, worker);
        return false;
    }
    if (packet->type == MSG_GRANT) {
        process_grant(world, worker, packet->chunk, packet->bytes);
        return false;
    }
    if (packet->type == MSG_LEND) {
        process_lend(world, worker, packet);
        return false;
    }
    if (packet->type == MSG_STOP) {
        worker->alive = false;
        return false;
    }
    if (!worker->patient || !worker->running) {
        obey(world, worker, packet->type, packet->chunk);
        return false;
    }
    uint32_t count;
    int64_t at = item_boundary(world, worker, &count);
    after(world, at - world->now_ns, late_event, packet, 0);
    return true;
}

void worker_die(struct world *world, struct worker_model *worker)
{
    if (world->closing || !worker->alive)
        return;
    trace(world, "dies", worker->number, worker->count, 0);
    world->deaths++;
    worker->alive = false;
    worker->up.cut = random_chance(&world->random, 60); /* what it had sent may be lost with it */
    worker->down.cut = true;
    link_send(world, &worker->up, packet_new(world, PACKET_GONE));
}

static void die_event(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    worker_die(world, target);
}

struct given *worker_runs(const struct worker_model *worker)
{
    for (unsigned i = 0; i < worker->given_count; i++) {
        if (!worker->given[i].parked)
            return &worker->given[i];
    }
    return NULL;
}

void worker_bury(struct world *world, struct worker_model *worker)
{
    unsigned at = 0;
    while (world->workers[at] != worker)
        at++;
    world->worker_count--;
    memmove(world->workers + at, world->workers + at + 1,
            (world->worker_count - at) * sizeof(struct worker_model *));
    worker->grave = world->graves;
    world->graves = worker;
}

void worker_start(struct world *world, struct worker_model *worker)
{
    worker->alive = true;
    worker->up.deliver = daemon_from_worker;
    worker->down.deliver = worker_receive;
    worker->up.end = worker->down.end = worker;
    trace(world, "worker", worker->number, 0, 0);
    daemon_add_worker(world, worker);
    if (worker->dies_ns < INT64_MAX)
        after(world, worker->dies_ns, die_event, worker, 0);
}

void worker_free(struct worker_model *worker)
{
    if (!worker)
        return;
    while (worker->count > 0)
        worker_remove_held(worker, worker->count - 1);
    while (worker->parked_count > 0)
        batch_unref(worker->parked[--worker->parked_count].items.batch);
    free(worker->queue);
    free(worker->parked);
    free(worker->given);
    free(worker);
}
