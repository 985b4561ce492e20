/*
 * Fair share in the long run: owners that always have work, of equal or different weights, and what part of
 * the slot time each of them gets; see plan.h. What is measured is what the workers spent, not what the core
 * believes.
 */
#include "tests/sim/daemon.h"
#include "tests/sim/plan.h"

#include <inttypes.h>
#include <stdlib.h>

/* A job that does not end before the measurement does. */
static void draw_backlog(struct world *world, struct sim_job *job, int64_t base_ns)
{
    struct random *r = &world->random;
    job->work = (struct work){.seed = random_next(r),
                              .items = 1000000,
                              .item_max = 16,
                              .result_max = 16,
                              .timing = random_chance(r, 50) ? TIMING_CONSTANT : TIMING_UNIFORM,
                              .base_ns = base_ns};
    job->put_burst = job->take_most = UINT32_MAX;
    job->stall_at = job->cancel_at = UINT64_MAX;
    job->options.unordered = random_chance(r, 50);
    job_prepare(job);
}

static void draw_pool(struct world *world)
{
    struct random *r = &world->random;
    world->config.chunk_target_ns = 10 * NS_PER_MS;
    world->config.queued_bytes = 1 << 30;
    world->check_every = 1009;
    world->core = core_new(&world->config);
    if (!world->core) {
        broken(world, "memory", "core_new");
        return;
    }
    world->owner_count = (unsigned)random_between(r, 2, OWNERS_MAX);
    bool equal = random_chance(r, 40);
    for (unsigned i = 0; i < world->owner_count; i++) {
        world->owners[i].uid = 1000 + i;
        world->owners[i].limits = (struct owner_limits){
            .weight = equal ? 1 : (uint32_t)random_between(r, 1, 6), .jobs = 1000, .queued_bytes = 64 << 20};
    }
    unsigned workers = (unsigned)random_between(r, 1, WORKERS_MAX);
    for (unsigned i = 0; i < workers; i++) {
        struct worker_model *worker = worker_new(world);
        worker->patient = true;
        worker_start(world, worker);
    }
}

void fair_run(struct world *world)
{
    struct random *r = &world->random;
    draw_pool(world);
    if (world->failed)
        return;
    for (unsigned i = 0; i < world->owner_count; i++) {
        struct client *client = client_new(world, &world->owners[i], (unsigned)random_between(r, 1, 3));
        /* Items as long as a chunk at most, and long enough that a run of them is not slow to simulate. */
        int64_t base_ns = (int64_t)random_scale(r, 100000, 5 * NS_PER_MS);
        for (unsigned k = 0; k < client->job_count; k++)
            draw_backlog(world, &client->jobs[k], base_ns);
    }
    /* The last owner comes later than the others, and owes and is owed nothing for that. */
    for (unsigned i = 0; i + 1 < world->owner_count; i++)
        client_start(world, world->clients[i]);
    if (world->owner_count > 2)
        world_run(world, world->now_ns + NS_PER_S);
    client_start(world, world->clients[world->owner_count - 1]);
    world_run(world, world->now_ns + NS_PER_S / 5);

    int64_t busy[OWNERS_MAX] = {0}, all = 0;
    uint64_t weights = 0;
    for (unsigned i = 0; i < world->owner_count; i++) {
        busy[i] = world->owners[i].busy_ns;
        weights += world->owners[i].limits.weight;
    }
    /* Long enough that a chunk more or less for each worker is far below what is allowed. */
    int64_t length = 20 * NS_PER_S, start = world->now_ns;
    world_run(world, start + length);
    for (unsigned i = 0; i < world->owner_count; i++) {
        busy[i] = world->owners[i].busy_ns - busy[i];
        all += busy[i];
    }
    double capacity = (double)length * world->worker_count;
    if ((double)all < 0.9 * capacity)
        broken(world, "work conservation", "%.1f %% of the slot time was used", 100 * (double)all / capacity);
    for (unsigned i = 0; i < world->owner_count; i++) {
        double share = (double)busy[i] / (double)all;
        double due = (double)world->owners[i].limits.weight / (double)weights;
        trace(world, "share", i, (uint64_t)(share * 1e6), (uint64_t)(due * 1e6));
        if (share < 0.98 * due || share > 1.02 * due)
            broken(world, "fair share",
                   "owner %u of %u, weight %u, got %.4f of the slot time instead of %.4f", i,
                   world->owner_count, world->owners[i].limits.weight, share, due);
    }
}
