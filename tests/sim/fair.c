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
                              .items = 3000000,
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

/* When the latecomers come. */
#define LATER_NS (3 * NS_PER_S)

static void start_measuring(struct client *client)
{
    client->owner->busy_ns = 0;
    for (unsigned i = 0; i < client->job_count; i++)
        client->jobs[i].busy_ns = 0;
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
        int64_t base_ns = (int64_t)random_scale(r, 200000, 5 * NS_PER_MS);
        for (unsigned k = 0; k < client->job_count; k++)
            draw_backlog(world, &client->jobs[k], base_ns);
        /* One job of an owner comes later than its others: nothing is owed for that, either way. */
        if (i + 1 < world->owner_count)
            client->jobs[client->job_count - 1].start_ns = LATER_NS;
    }
    /* The same holds for the last owner. */
    for (unsigned i = 0; i + 1 < world->owner_count; i++)
        client_start(world, world->clients[i]);
    world_run(world, world->now_ns + LATER_NS);
    client_start(world, world->clients[world->owner_count - 1]);
    world_run(world, world->now_ns + NS_PER_S / 5);

    for (unsigned i = 0; i < world->owner_count; i++)
        start_measuring(world->clients[i]);
    /* Long enough that a chunk more or less for each worker is far below what is allowed. */
    int64_t length = 20 * NS_PER_S;
    for (int64_t start = world->now_ns, at = 0; at < length && !world->failed; at += NS_PER_S) {
        world_run(world, start + at + NS_PER_S);
        for (unsigned i = 0; i < world->owner_count; i++)
            trace(world, "busy", i, (uint64_t)at / NS_PER_MS, (uint64_t)world->owners[i].busy_ns / NS_PER_MS);
    }
    int64_t all = 0;
    uint64_t weights = 0;
    for (unsigned i = 0; i < world->owner_count; i++) {
        all += world->owners[i].busy_ns;
        weights += world->owners[i].limits.weight;
    }
    double capacity = (double)length * world->worker_count;
    if ((double)all < 0.9 * capacity)
        broken(world, "work conservation", "%.1f %% of the slot time was used", 100 * (double)all / capacity);
    for (unsigned i = 0; i < world->owner_count; i++) {
        const struct client *client = world->clients[i];
        double share = (double)client->owner->busy_ns / (double)all;
        double due = (double)client->owner->limits.weight / (double)weights;
        trace(world, "share", i, (uint64_t)(share * 1e6), (uint64_t)(due * 1e6));
        if (share < 0.98 * due || share > 1.02 * due)
            broken(world, "fair share",
                   "owner %u of %u, weight %u, got %.4f of the slot time instead of %.4f", i,
                   world->owner_count, client->owner->limits.weight, share, due);
        for (unsigned k = 0; k < client->job_count; k++) {
            double part =
                (double)client->jobs[k].busy_ns * client->job_count / (double)client->owner->busy_ns;
            if (part < 0.97 || part > 1.03)
                broken(world, "fair share", "job %u of owner %u got %.4f of its part", k, i, part);
        }
    }
}
