/*
 * Drawing a history from its seed: mostly small ones, since a bug that needs a large one is rare; see plan.h.
 */
#include "tests/sim/plan.h"

#include "tests/sim/life.h"

#include <stdlib.h>

/* How large a history may become. */
struct scale {
    unsigned clients, jobs;
    uint64_t items;
};

static int64_t draw_ns(struct world *world, int64_t low, int64_t high)
{
    return (int64_t)random_scale(&world->random, (uint64_t)low, (uint64_t)high);
}

/*** Workers ***/

_Static_assert(WORKERS_MAX *(1 + DEATHS_MAX) <= WORKERS_EVER, "all workers have room");

struct worker_model *worker_new(struct world *world)
{
    struct worker_model *worker = need_zeroed(1, sizeof *worker);
    worker->number = world->workers_ever++;
    worker->report_items = UINT32_MAX;
    worker->report_ns = 5 * NS_PER_MS;
    worker->piece_size = 1 << 20;
    worker->drop_ns = 1000;
    worker->dies_ns = INT64_MAX;
    worker->up = worker->down = (struct link){.base_ns = 2000};
    world->workers[world->worker_count++] = worker;
    return worker;
}

static void draw_worker(struct world *world, struct worker_model *worker)
{
    struct random *r = &world->random;
    worker->patient = random_chance(r, 50);
    if (random_chance(r, 40))
        worker->report_items = (uint32_t)random_between(r, 1, 16);
    worker->report_ns = draw_ns(world, 1000, 100 * NS_PER_MS);
    if (random_chance(r, 50))
        worker->piece_size = (uint32_t)random_scale(r, 64, 64 << 10);
    worker->drop_ns = (int64_t)random_below(r, 2 * NS_PER_MS);
    worker->start_ns = random_chance(r, 30) ? (int64_t)random_below(r, 100000) : 0;
    int64_t delay = random_chance(r, 20) ? 0 : draw_ns(world, 500, 100000);
    worker->up = (struct link){.base_ns = delay, .spread_ns = random_chance(r, 50) ? delay : 0};
    worker->up.ns_per_kib = random_chance(r, 50) ? (int64_t)random_below(r, 2000) : 0;
    worker->down = worker->up;
}

void plan_worker(struct world *world, struct owner *owner)
{
    struct random *r = &world->random;
    struct worker_model *worker = worker_new(world);
    draw_worker(world, worker);
    worker->owner = owner;
    worker->born_ns = world->now_ns;
    worker->gives_up = owner && random_chance(r, 30);
    if (owner && world->deaths_left > 0 && random_chance(r, 30)) {
        world->deaths_left--;
        worker->dies_ns = random_chance(r, 10) ? 0 : draw_ns(world, 1000, 200 * NS_PER_MS);
        worker->fragile = random_chance(r, 50);
    }
    worker_start(world, worker);
}

static void add_worker(struct world *world, void *target, uint64_t argument)
{
    (void)target;
    struct random *r = &world->random;
    if (world->closing)
        return;
    struct worker_model *worker = worker_new(world);
    draw_worker(world, worker);
    /* argument: how many of its successors may still die in turn */
    if (argument > 0) {
        worker->dies_ns = draw_ns(world, 1000, 200 * NS_PER_MS);
        worker->fragile = random_chance(r, 50);
        after(world, worker->dies_ns + draw_ns(world, 1000, 50 * NS_PER_MS), add_worker, NULL, argument - 1);
    }
    worker_start(world, worker);
}

/*** Jobs ***/

static void draw_work(struct world *world, struct work *work, uint64_t items_most)
{
    struct random *r = &world->random;
    work->seed = random_next(r);
    work->items = random_chance(r, 5) ? 0 : random_scale(r, 1, items_most);
    work->item_max =
        random_chance(r, 70) ? (uint32_t)random_below(r, 40) : (uint32_t)random_scale(r, 40, 3000);
    work->result_max =
        random_chance(r, 70) ? (uint32_t)random_below(r, 40) : (uint32_t)random_scale(r, 40, 3000);
    if (work->items > 200) {
        work->item_max %= 64;
        work->result_max %= 64;
    }
    if (random_chance(r, 10)) {
        work->large_every = (uint32_t)random_between(r, 2, 20);
        work->item_large = (uint32_t)random_scale(r, 1000, 40000);
        work->result_large = (uint32_t)random_scale(r, 1000, 40000);
        if (work->items > 100)
            work->large_every = 50;
    } else if (work->items <= 64 && random_chance(r, world->large ? 60 : 1)) {
        /* Beyond the largest message: these travel in pieces, which is slow to simulate. */
        work->large_every = 8;
        work->item_large = random_chance(r, 70) ? 3 << 20 : 0;
        work->result_large = random_chance(r, 50) ? 3 << 20 : 100;
    }
    if (random_chance(r, 30))
        work->fail_every = (uint32_t)random_between(r, 1, 10);
    work->timing = (enum timing)random_below(r, TIMINGS);
    work->base_ns = random_chance(r, 60) ? draw_ns(world, 10, 20000) : draw_ns(world, 1000, 20 * NS_PER_MS);
}

void job_prepare(struct sim_job *job)
{
    STAILQ_INIT(&job->received);
    job->seen = need_zeroed(job->work.items, 1);
    job->excused = need_zeroed(job->work.items, 1);
    job->part = need_zeroed(job->work.items, sizeof *job->part);
}

static void draw_process_job(struct world *world, struct sim_job *job)
{
    struct random *r = &world->random;
    job->process = random_chance(r, 70);
    job->lasting = random_chance(r, 40);
    job->exact = random_chance(r, 25);
    if (job->exact && random_chance(r, 90))
        job->options.chunksize = (uint32_t)random_between(r, 1, 20);
    job->exact = job->exact && job->options.chunksize > 0;
    job->options.once = job->process && random_chance(r, 20);
    /* Nothing is drawn for it: the histories of all other jobs stay what they were. */
    job->options.jobserver = job->process && job->work.seed % 10 < 3;
    if (random_chance(r, 15))
        job->options.halt = random_chance(r, 50) ? HALT_SOON : HALT_NOW;
    if (random_chance(r, 15)) {
        job->hold_at = random_below(r, job->work.items + 1);
        job->hold_ns = draw_ns(world, 10000, 200 * NS_PER_MS);
    }
}

static void draw_job(struct world *world, struct sim_job *job, uint64_t items_most)
{
    struct random *r = &world->random;
    draw_work(world, &job->work, items_most);
    if (random_chance(r, 25))
        job->options.chunksize = (uint32_t)random_between(r, 1, 20);
    if (random_chance(r, 25))
        job->options.slots = (uint32_t)random_between(r, 1, 4);
    job->options.unordered = random_chance(r, 35);
    if (random_chance(r, 20))
        job->options.priority = (int32_t)random_below(r, 21) - 10;
    if (random_chance(r, 30))
        job->expected_ns = draw_ns(world, 100, 10 * NS_PER_MS);
    if (random_chance(r, 60))
        job->result_window = random_scale(r, 64, 32 << 10);
    job->batch_size = random_chance(r, 70) ? random_scale(r, 64, 8 << 10) : 0;
    job->ranges_max = random_chance(r, 30) ? (uint32_t)random_between(r, 1, 4) : 0;
    job->start_ns = random_chance(r, 50) ? 0 : draw_ns(world, 100, 50 * NS_PER_MS);
    bool steady = random_chance(r, 60);
    job->put_burst = steady ? UINT32_MAX : (uint32_t)random_between(r, 1, 32);
    job->put_pause_ns = steady ? 0 : draw_ns(world, 100, NS_PER_MS);
    bool fast = random_chance(r, 60);
    job->take_most = fast ? UINT32_MAX : (uint32_t)random_between(r, 1, 32);
    job->take_pause_ns = fast ? 0 : draw_ns(world, 100, NS_PER_MS);
    job->stall_at = random_chance(r, 20) ? random_below(r, job->work.items + 1) : UINT64_MAX;
    job->stall_ns = draw_ns(world, NS_PER_MS, 10 * NS_PER_S);
    job->cancel_at = random_chance(r, 12) ? random_below(r, job->work.items + 1) : UINT64_MAX;
    job->hold_at = UINT64_MAX;
    if (world->processes)
        draw_process_job(world, job);
    job_prepare(job);
}

struct client *client_new(struct world *world, struct owner *owner, unsigned jobs)
{
    struct client *client = need_zeroed(1, sizeof *client);
    client->number = world->client_count;
    client->owner = owner;
    client->up_ns = client->down_ns = 50000;
    client->leaves_ns = INT64_MAX;
    client->job_count = jobs;
    client->jobs = need_zeroed(jobs, sizeof *client->jobs);
    for (unsigned i = 0; i < jobs; i++) {
        client->jobs[i].client = client;
        client->jobs[i].ref = i;
    }
    world->clients[world->client_count++] = client;
    return client;
}

static void draw_client(struct world *world, const struct scale *scale)
{
    struct random *r = &world->random;
    struct owner *owner = &world->owners[random_below(r, world->owner_count)];
    struct client *client = client_new(world, owner, (unsigned)random_between(r, 1, scale->jobs));
    client->up_ns = draw_ns(world, 1000, 200000);
    client->down_ns = draw_ns(world, 1000, 200000);
    client->spread_ns = random_chance(r, 50) ? draw_ns(world, 100, NS_PER_MS) : 0;
    if (random_chance(r, 20)) {
        client->losses = (unsigned)random_between(r, 1, 4);
        client->loss_ns = draw_ns(world, 10000, 100 * NS_PER_MS);
        client->away_ns = draw_ns(world, 1000, 100 * NS_PER_MS);
    }
    if (random_chance(r, 8))
        client->leaves_ns = draw_ns(world, 1000, 300 * NS_PER_MS);
    for (unsigned i = 0; i < client->job_count; i++)
        draw_job(world, &client->jobs[i], scale->items);
}

static struct scale draw_scale(struct random *r)
{
    uint64_t kind = random_below(r, 100);
    if (kind < 75)
        return (struct scale){2, 2, 40};
    if (kind < 97)
        return (struct scale){4, 3, 300};
    return (struct scale){CLIENTS_MAX, 4, 4000};
}

static void draw_owners(struct world *world, const struct scale *scale)
{
    struct random *r = &world->random;
    unsigned most = scale->clients < OWNERS_MAX ? scale->clients : OWNERS_MAX;
    world->owner_count = (unsigned)random_between(r, 1, most);
    for (unsigned i = 0; i < world->owner_count; i++) {
        struct owner_limits *limits = &world->owners[i].limits;
        world->owners[i].uid = 1000 + i;
        world->owners[i].unserved_ns = INT64_MAX;
        limits->weight = random_chance(r, 60) ? 1 : (uint32_t)random_between(r, 1, 10);
        limits->slots = random_chance(r, 80) ? 0 : (uint32_t)random_between(r, 1, 4);
        limits->jobs = random_chance(r, 80) ? 1000 : (uint32_t)random_between(r, 1, 4);
        limits->queued_bytes = random_chance(r, 70) ? 64 << 20 : random_scale(r, 4096, 1 << 20);
    }
}

/* Slots, and what holds for processes. Returns the number of threads. */
static unsigned draw_processes(struct world *world)
{
    struct random *r = &world->random;
    struct core_config *config = &world->config;
    config->slots = (uint32_t)(random_chance(r, 70) ? random_between(r, 1, 3) : random_between(r, 1, 8));
    config->first_credit = random_chance(r, 30) ? 0 : random_scale(r, 1, 8 << 10);
    config->head_credit = random_chance(r, 30) ? 0 : random_scale(r, 1, 64 << 10);
    config->worker_idle_ns = random_chance(r, 50) ? 0 : draw_ns(world, NS_PER_MS, NS_PER_S);
    config->worker_age_ns = random_chance(r, 50) ? 0 : draw_ns(world, 10 * NS_PER_MS, NS_PER_S);
    config->worker_chunks = random_chance(r, 50) ? 0 : random_scale(r, 50, 1000);
    config->start_delay_ns = draw_ns(world, 10000, 100 * NS_PER_MS);
    config->guarantee_after_ns = random_chance(r, 40) ? 0 : draw_ns(world, 10000, 100 * NS_PER_MS);
    config->guarantee_max = random_chance(r, 40) ? 0 : (uint32_t)random_between(r, 1, 3);
    world->fails = random_chance(r, 70) ? 0 : 50;
    world->deaths_left = random_chance(r, 60) ? 0 : (unsigned)random_between(r, 1, 30);
    return (unsigned)random_between(r, 1, config->slots);
}

static void make_crews(struct world *world)
{
    for (unsigned i = 0; i < world->owner_count; i++) {
        struct owner *owner = &world->owners[i];
        owner->start_failed_ns = INT64_MIN / 2;
        if (core_crew_new(world->core, owner, &owner->crew) < 0)
            broken(world, "memory", "core_crew_new");
    }
}

void plan_random(struct world *world)
{
    struct random *r = &world->random;
    struct scale scale = draw_scale(r);
    world->config.chunk_target_ns =
        random_chance(r, 70) ? 10 * NS_PER_MS : draw_ns(world, 10000, 100 * NS_PER_MS);
    world->large = random_chance(r, 1);
    world->config.queued_bytes =
        random_chance(r, world->large ? 30 : 90) ? 1 << 30 : random_scale(r, 4096, 1 << 20);
    world->config.job_window = random_chance(r, 40) ? 0 : random_scale(r, 1024, 256 << 10);
    world->config.queue_depth = random_chance(r, 60) ? 0 : (uint32_t)random_between(r, 1, 8);
    world->config.queue_ahead_ns = random_chance(r, 60) ? 0 : draw_ns(world, 1000, 10 * NS_PER_MS);
    world->lazy = random_chance(r, 25) ? (unsigned)random_between(r, 1, 90) : 0;
    world->check_every = scale.items <= 40 ? 1 : scale.items <= 300 ? 7 : 61;
    unsigned threads = world->processes ? draw_processes(world) : 0;
    struct core_config config = life_config(world);
    world->core = core_new(&config);
    if (!world->core) {
        broken(world, "memory", "core_new");
        return;
    }
    draw_owners(world, &scale);
    unsigned workers =
        (unsigned)(random_chance(r, 70) ? random_between(r, 1, 4) : random_between(r, 1, WORKERS_MAX));
    unsigned deaths = random_chance(r, 20) ? DEATHS_MAX : 0;
    if (world->processes) {
        workers = threads;
        deaths = 0;
        make_crews(world);
    }
    for (unsigned i = 0; i < workers; i++)
        add_worker(world, NULL, deaths > 0 && random_chance(r, 50) ? deaths : 0);
    unsigned clients = (unsigned)random_between(r, 1, scale.clients);
    for (unsigned i = 0; i < clients; i++)
        draw_client(world, &scale);
    for (unsigned i = 0; i < clients; i++)
        client_start(world, world->clients[i]);
    life_plan(world);
}
