/*
 * Workers of the simulation that are processes: they send results as far as their credit goes, keep the rest,
 * and park what they have run and may not send; see worker.h.
 */
#include "tests/sim/worker.h"

#include "tests/sim/daemon.h"

#include <string.h>

/* One message: the results of a run of items, or a piece of a large one. over: `last` goes with what ends it.
 */
static void send_one(struct world *world, struct worker_model *worker, struct held *held, bool over)
{
    const struct work *work = &held->function->job->work;
    uint64_t index = held->first + held->done;
    uint32_t length = work_result_length(work, index), records = 0;
    struct batch *batch;
    if (held->offset > 0 || length > worker->piece_size) {
        uint32_t most = worker->piece_size > length / 20 ? worker->piece_size : length / 20;
        uint32_t left = length - held->offset, size = left < most ? left : most;
        bool more = size < left;
        batch = batch_of_piece(world, work, index, held->offset, size, more);
        held->offset = more ? held->offset + size : 0;
        records = !more;
    } else {
        size_t size = 0;
        while (held->done + records < held->ran) {
            length = work_result_length(work, index + records);
            if (length > worker->piece_size || (records > 0 && size + length > worker->piece_size))
                break;
            size += length;
            records++;
        }
        batch = batch_of_results(world, work, index, records);
    }
    held->done += records;
    held->credit -= (int64_t)batch_weight(batch);
    worker_tell(world, worker, held->chunk, batch, over && held->done == held->ran, held->run_ns);
    held->run_ns = 0;
}

/* Sends what the credit is good for. over: nothing more will be run. Returns true when all is sent, `last`
 * included where it is over. */
static bool send_metered(struct world *world, struct worker_model *worker, struct held *held, bool over)
{
    bool ended = false;
    while (held->done < held->ran && worker->alive) {
        if (held->credit <= 0 && !strikes(world, FAULT_OVERDRAW, 2))
            return false;
        send_one(world, worker, held, over);
        ended = over && held->done == held->ran;
        if (!ended && worker->fragile && random_chance(&world->random, 3))
            worker_die(world, worker);
    }
    if (over && !ended && worker->alive) {
        worker_tell(world, worker, held->chunk, NULL, true, held->run_ns);
        held->run_ns = 0;
    }
    return worker->alive;
}

static void park(struct world *world, struct worker_model *worker)
{
    struct packet *packet = packet_new(world, MSG_PARKED);
    struct held *held = &worker->queue[0];
    packet->chunk = held->chunk;
    packet->bytes = held->ran;
    packet->run_ns = held->run_ns;
    held->run_ns = 0;
    trace(world, "PARKED", worker->number, held->chunk, held->ran);
    if (strikes(world, FAULT_LOST_PARKED, 2))
        packet_free(world, packet);
    else
        link_send(world, &worker->up, packet);
    if (worker->parked_count == worker->parked_capacity) {
        worker->parked_capacity = worker->parked_capacity ? 2 * worker->parked_capacity : 4;
        worker->parked = need_more(worker->parked, worker->parked_capacity * sizeof *worker->parked);
    }
    worker->parked[worker->parked_count++] = *held;
    batch_ref(held->items.batch);
    worker_remove_held(worker, 0);
}

bool process_finish_part(struct world *world, struct worker_model *worker)
{
    struct held *held = &worker->queue[0];
    held->ran += worker->part_count;
    bool over = worker->stopping || held->ran == held->items.count;
    if (held->dropped) {
        worker_tell(world, worker, held->chunk, NULL, true, held->run_ns);
        worker_remove_held(worker, 0);
        return true;
    }
    bool all = send_metered(world, worker, held, over);
    if (!worker->alive)
        return false;
    if (!all && worker->gives_up)
        over = true;
    if (over && all)
        worker_remove_held(worker, 0);
    else if (over)
        park(world, worker);
    return over;
}

static void remove_parked(struct worker_model *worker, unsigned at)
{
    batch_unref(worker->parked[at].items.batch);
    worker->parked_count--;
    memmove(worker->parked + at, worker->parked + at + 1,
            (worker->parked_count - at) * sizeof *worker->parked);
}

bool process_obey_parked(struct world *world, struct worker_model *worker, unsigned type, uint64_t chunk)
{
    unsigned at = 0;
    while (at < worker->parked_count && worker->parked[at].chunk != chunk)
        at++;
    if (at == worker->parked_count)
        return false;
    if (type == MSG_DROP) {
        worker_tell(world, worker, chunk, NULL, true, 0);
        remove_parked(worker, at);
    }
    return true;
}

void process_grant(struct world *world, struct worker_model *worker, uint64_t chunk, uint64_t bytes)
{
    trace(world, "granted", worker->number, chunk, bytes);
    for (unsigned i = 0; i < worker->parked_count; i++) {
        struct held *held = &worker->parked[i];
        if (held->chunk != chunk)
            continue;
        held->credit += (int64_t)bytes;
        if (send_metered(world, worker, held, true))
            remove_parked(worker, i);
        return;
    }
    for (unsigned i = 0; i < worker->count; i++) {
        struct held *held = &worker->queue[i];
        if (held->chunk != chunk)
            continue;
        held->credit += (int64_t)bytes;
        if (i == 0 && !held->dropped)
            (void)send_metered(world, worker, held, false);
        return;
    }
}

/*** Tokens ***/

static void give_back(struct world *world, struct worker_model *worker, struct held *held, uint64_t tokens)
{
    held->returned += tokens;
    struct packet *packet = packet_new(world, MSG_RETURNED);
    packet->chunk = held->chunk;
    packet->bytes = held->returned;
    trace(world, "RETURNED", worker->number, held->chunk, held->returned);
    link_send(world, &worker->up, packet);
}

static void return_event(struct world *world, void *target, uint64_t argument);

/* A process of the item's has some of them, and will have done with one of these after a while. */
static void return_later(struct world *world, struct worker_model *worker, uint64_t chunk)
{
    int64_t delay_ns =
        random_chance(&world->random, 30) ? 0 : (int64_t)random_scale(&world->random, 1000, 20 * NS_PER_MS);
    after(world, delay_ns, return_event, worker, chunk);
}

/* argument: the chunk, which may have ended by now */
static void return_event(struct world *world, void *target, uint64_t argument)
{
    struct worker_model *worker = target;
    struct held *held = &worker->queue[0];
    if (!worker->alive || worker->count == 0 || held->chunk != argument || held->back <= held->returned)
        return;
    give_back(world, worker, held, random_between(&world->random, 1, held->back - held->returned));
    if (held->back > held->returned)
        return_later(world, worker, argument);
}

void process_lend(struct world *world, struct worker_model *worker, const struct packet *packet)
{
    if (worker->count == 0 || worker->queue[0].chunk != packet->chunk)
        return; /* it has ended meanwhile */
    struct held *held = &worker->queue[0];
    trace(world, "lent", worker->number, packet->bytes, packet->first);
    held->lent = packet->bytes;
    held->back = packet->first;
    if (held->lent > held->returned && strikes(world, FAULT_RETURN_UNASKED, 4))
        give_back(world, worker, held, 1);
    if (held->back > held->returned)
        return_later(world, worker, held->chunk);
}
