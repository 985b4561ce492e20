/*
 * Another configuration, and the end and beginning of a daemon; see life.h.
 */
#include "tests/sim/life.h"

#include "tests/sim/worker.h"

#include <inttypes.h>
#include <stdlib.h>

/* What a history may do to a daemon at most. */
enum { RECONFIGURED_MAX = 4, STOPS_MAX = 2 };

static uint32_t slots_with_guarantee(const struct core_config *config)
{
    uint32_t above = config->guarantee_max > 0 ? config->guarantee_max : config->slots;
    return config->slots + (config->guarantee_after_ns > 0 ? above : 0);
}

struct core_config life_config(const struct world *world)
{
    struct core_config config = world->config;
    if (world->fault == FAULT_POOL_SLOTS)
        config.slots = slots_with_guarantee(&config) + 1;
    if (world->fault == FAULT_GUARANTEE)
        config.guarantee_after_ns = 0;
    return config;
}

static int64_t draw_ns(struct world *world, int64_t low, int64_t high)
{
    return (int64_t)random_scale(&world->life, (uint64_t)low, (uint64_t)high);
}

/* The session of this owner's at the daemon; NULL: there is none. */
static struct session *session_of(const struct world *world, const struct owner *owner)
{
    for (unsigned i = 0; i < world->client_count; i++) {
        const struct connection *connection = world->clients[i]->connection;
        for (; connection && world->clients[i]->owner == owner; connection = connection->older) {
            if (connection->session)
                return connection->session;
        }
    }
    return NULL;
}

/*** Another configuration ***/

static void change_owner(struct world *world, struct owner *owner)
{
    struct random *r = &world->life;
    struct session *session = session_of(world, owner);
    if (!session || random_chance(r, 50))
        return;
    owner->limits.weight = (uint32_t)random_between(r, 1, 10);
    owner->limits.slots = random_chance(r, 60) ? 0 : (uint32_t)random_between(r, 1, 4);
    owner->used_before = daemon_slots_of(world, owner);
    struct owner_limits limits = owner->limits;
    if (world->fault == FAULT_OWNER_CAP && limits.slots > 0)
        limits.slots++;
    core_session_limits(world->core, session, &limits);
}

static void reconfigure_event(struct world *world, void *target, uint64_t argument)
{
    (void)target;
    (void)argument;
    struct random *r = &world->life;
    struct core_config *config = &world->config;
    if (world->closing || world->stopping)
        return;
    if (world->processes) {
        config->slots = (uint32_t)random_between(r, 1, 6);
        config->guarantee_after_ns = random_chance(r, 40) ? 0 : draw_ns(world, 10000, 100 * NS_PER_MS);
        config->guarantee_max = random_chance(r, 40) ? 0 : (uint32_t)random_between(r, 1, 3);
    }
    config->chunk_target_ns = draw_ns(world, 10000, 100 * NS_PER_MS);
    trace(world, "configure", config->slots, (uint64_t)config->guarantee_after_ns,
          (uint64_t)config->chunk_target_ns);
    world->used_before = world->used;
    world->configured_ns = world->now_ns;
    struct core_config told = life_config(world);
    if (world->fault != FAULT_RECONFIGURE)
        core_configure(world->core, &told, world->now_ns);
    for (unsigned i = 0; i < world->owner_count; i++)
        change_owner(world, &world->owners[i]);
    daemon_turn(world, true);
}

/*** Stopping ***/

static void stop_event(struct world *world, void *target, uint64_t argument)
{
    (void)target;
    (void)argument;
    if (world->closing || world->stopping)
        return;
    trace(world, "stop", 0, 0, 0);
    world->stopping = true;
    world->stopped_ns = world->now_ns;
    world->stop_by_ns = world->now_ns + draw_ns(world, NS_PER_MS, 2 * NS_PER_S);
    if (world->fault != FAULT_STOP)
        core_stop(world->core, world->now_ns);
    /* So that there is a turn then. */
    after(world, world->stop_by_ns - world->now_ns, daemon_turn_event, NULL, 0);
    daemon_turn(world, true);
}

void life_refuse(struct world *world, struct connection *connection)
{
    link_send(world, &connection->down, packet_new(world, PACKET_STOPPING));
}

/* Nothing of it runs when it is said that nothing more is to be expected. */
static void check_at_rest(struct world *world, const struct connection *connection)
{
    for (unsigned i = 0; i < world->worker_count; i++) {
        for (unsigned k = 0; k < world->workers[i]->given_count; k++) {
            const struct given *given = &world->workers[i]->given[k];
            if (given->ledger->open && given->ledger->connection == connection && !given->parked)
                broken(world, "stop", "a session is to be told while chunk %" PRIu64 " of it runs",
                       given->chunk);
        }
    }
}

/*
 * What a client is told of a job that may not be run twice: all of it that was begun and has no result, and
 * nothing else; and where nothing had to be given up, nothing that waits before that.
 */
static void check_begun(struct world *world, const struct connection *connection, bool rests)
{
    for (struct ledger *ledger = world->ledgers; ledger; ledger = ledger->next) {
        if (!ledger->open || ledger->cancelled || ledger->connection != connection)
            continue;
        struct range *ranges;
        uint32_t count, at = 0;
        const struct job *job = core_job_find(connection->session, ledger->job->ref);
        if (!job || core_job_begun(job, &ranges, &count) < 0) {
            broken(world, "memory", "core_job_begun");
            return;
        }
        for (uint64_t i = 0; i < ledger->next_in; i++) {
            while (at < count && ranges[at].to <= i)
                at++;
            bool told = at < count && ranges[at].from <= i, waits = ledger->items[i] == ITEM_QUEUED;
            if (ledger->job->options.once && (waits ? told : ledger_is_begun(ledger, i) && !told))
                broken(world, "begun", "job %" PRIu64 ": item %" PRIu64 ", whose state is %d, is told: %d",
                       ledger->job->ref, i, ledger->items[i], told);
            if (rests && waits && !ledger->paused && ledger->held < ledger->out_window &&
                ledger_has_gap(ledger, i))
                broken(world, "begun", "job %" PRIu64 ": item %" PRIu64 " waits before what was begun",
                       ledger->job->ref, i);
        }
        free(ranges);
    }
}

/* Tells those who have nothing more to expect. Returns whether there are others. */
static bool tell(struct world *world)
{
    bool all = world->now_ns >= world->stop_by_ns, others = false;
    for (unsigned i = 0; i < world->client_count; i++) {
        struct connection *connection = world->clients[i]->connection;
        for (; connection; connection = connection->older) {
            if (!connection->session)
                continue;
            bool rests = core_session_rest(connection->session) == REST_NONE;
            others = others || (!rests && !all);
            if (!rests && !all)
                continue;
            if (rests)
                check_at_rest(world, connection);
            check_begun(world, connection, rests);
            daemon_close_session(world, connection);
            life_refuse(world, connection);
        }
    }
    return others;
}

/* Processes die with their daemon; those that were to come, do not. */
static void leave_workers(struct world *world)
{
    for (unsigned i = world->worker_count; i > 0; i--) {
        struct worker_model *worker = world->workers[i - 1];
        if (!worker->handle)
            continue;
        worker->handle = NULL;
        world->workers_here--;
        if (worker->owner) {
            worker_bury(world, worker);
            link_send(world, &worker->down, packet_new(world, MSG_STOP));
        }
    }
    for (unsigned i = 0; i < world->owner_count; i++) {
        world->owners[i].starting = world->owners[i].processes = 0;
        world->owners[i].used_before = 0;
    }
    world->life_number++;
}

static void begin_anew(struct world *world)
{
    trace(world, "anew", world->life_number, 0, 0);
    check_end(world);
    leave_workers(world);
    core_free(world->core);
    struct core_config config = life_config(world);
    world->core = core_new(&config);
    if (!world->core) {
        broken(world, "memory", "core_new");
        return;
    }
    world->stopping = false;
    world->last_chunk = world->last_job = 0;
    world->used_before = 0;
    for (unsigned i = 0; i < world->owner_count && world->processes; i++) {
        if (core_crew_new(world->core, &world->owners[i], &world->owners[i].crew) < 0)
            broken(world, "memory", "core_crew_new");
    }
    for (unsigned i = 0; i < world->worker_count; i++) {
        if (!world->workers[i]->owner && world->workers[i]->alive)
            daemon_add_worker(world, world->workers[i]);
    }
}

void life_turn(struct world *world)
{
    struct core_counts counts;
    if (tell(world))
        return;
    daemon_act(world); /* what that has the core say to workers */
    core_counts(world->core, &counts);
    if (counts.sessions == 0 && counts.busy == 0 && counts.orphans == 0)
        begin_anew(world);
}

/*** Drawing ***/

void life_plan(struct world *world)
{
    struct random *r = &world->life;
    *r = (struct random){mix(world->seed ^ UINT64_C(0x6c696665))};
    uint64_t changes = random_chance(r, 30) ? random_between(r, 1, RECONFIGURED_MAX) : 0;
    for (uint64_t i = 0; i < changes; i++)
        after(world, draw_ns(world, 10000, 300 * NS_PER_MS), reconfigure_event, NULL, 0);
    uint64_t stops = random_chance(r, 20) ? random_between(r, 1, STOPS_MAX) : 0;
    for (uint64_t i = 0; i < stops; i++)
        after(world, draw_ns(world, 10000, 300 * NS_PER_MS), stop_event, NULL, 0);
    /* Where what is not to run twice meets a daemon that stops is where there is something to see. */
    for (unsigned i = 0; i < world->client_count && stops > 0; i++) {
        for (unsigned k = 0; k < world->clients[i]->job_count; k++) {
            struct sim_job *job = &world->clients[i]->jobs[k];
            job->options.once = job->options.once || (job->process && random_chance(r, 60));
        }
    }
}
