/*
 * A history's course: the loop over its events, and its end; see world.h.
 */
#include "tests/sim/world.h"

#include "tests/sim/daemon.h"
#include "tests/sim/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void broken(struct world *world, const char *promise, const char *format, ...)
{
    if (world->failed)
        return;
    world->failed = true;
    int used = snprintf(world->failure, sizeof world->failure, "%s: ", promise);
    va_list arguments;
    va_start(arguments, format);
    if (used > 0 && (size_t)used < sizeof world->failure)
        vsnprintf(world->failure + used, sizeof world->failure - (size_t)used, format, arguments);
    va_end(arguments);
}

void trace(struct world *world, const char *what, uint64_t who, uint64_t a, uint64_t b)
{
    uint64_t hash = mix2(world->hash ^ (uint64_t)world->now_ns, (uint64_t)what[0] << 8 | (uint8_t)what[1]);
    world->hash = mix2(mix2(hash, who) ^ a, b);
    if (world->verbose)
        printf("%14.6f ms  %-12s %4" PRIu64 "  %" PRIu64 " %" PRIu64 "\n", (double)world->now_ns / 1e6, what,
               who, a, b);
}

void after(struct world *world, int64_t delay_ns, event_function *run, void *target, uint64_t argument)
{
    events_add(&world->events, world->now_ns + delay_ns, run, target, argument);
}

bool strikes(struct world *world, enum fault fault, unsigned every)
{
    return world->fault == fault && random_below(&world->random, every) == 0;
}

void world_init(struct world *world, uint64_t seed, enum fault fault)
{
    *world = (struct world){.seed = seed,
                            .random = {mix(seed)},
                            .now_ns = NS_PER_S,
                            .tick_ns = INT64_MAX,
                            .idle_ns = INT64_MAX,
                            .check_every = 1,
                            .fault = fault,
                            .step_limit = 20000000};
    LIST_INIT(&world->packets);
}

void world_run(struct world *world, int64_t until_ns)
{
    struct event event;
    while (!world->failed && events_next_ns(&world->events) <= until_ns &&
           events_take(&world->events, &event)) {
        world->now_ns = event.at_ns;
        if (++world->steps > world->step_limit)
            broken(world, "every job ends", "not after %" PRIu64 " events", world->steps);
        event.run(world, event.target, event.argument);
    }
}

void world_close(struct world *world)
{
    for (unsigned i = 0; i < world->client_count && !world->failed; i++)
        client_check_ended(world, world->clients[i]);
    check_end(world);
    world->closing = true;
    for (unsigned i = 0; i < world->worker_count && !world->failed; i++) {
        struct worker_model *worker = world->workers[i];
        if (worker->handle) {
            core_worker_gone(world->core, worker->handle, world->now_ns);
            worker->handle = NULL;
        }
    }
    for (unsigned i = 0; world->processes && i < world->owner_count && !world->failed; i++) {
        if (core_crew_free(world->core, world->owners[i].crew) < 0)
            broken(world, "nothing is left", "the crew of owner %u is not free", world->owners[i].uid);
    }
    if (!world->failed) {
        const char *wrong = core_check(world->core, world->now_ns);
        if (wrong)
            broken(world, "core_check", "at the end: %s", wrong);
    }
}

void world_free(struct world *world)
{
    core_free(world->core);
    world->core = NULL;
    while (!LIST_EMPTY(&world->packets))
        packet_free(world, LIST_FIRST(&world->packets));
    for (unsigned i = 0; i < world->worker_count; i++)
        worker_free(world->workers[i]);
    while (world->graves) {
        struct worker_model *next = world->graves->grave;
        worker_free(world->graves);
        world->graves = next;
    }
    for (unsigned i = 0; i < world->client_count; i++)
        client_free(world->clients[i]);
    ledger_free_all(world);
    events_free(&world->events);
    if (world->batches > 0)
        broken(world, "batches", "%" PRIu64 " references were never dropped", world->batches);
}
