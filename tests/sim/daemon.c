/*
 * The glue around the core in the simulation: packets in, actions out, ticks when they are due; see daemon.h.
 */
#include "tests/sim/daemon.h"
#include "tests/sim/life.h"
#include "tests/sim/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* More actions than this for one event, and the core will not come to an end. */
enum { ACTIONS_MAX = 1 << 20 };

/*** From clients ***/

/* The core must not refuse what an honest client says. */
static void accepted(struct world *world, const char *what, int rc, const struct packet *packet)
{
    if (rc < 0)
        broken(world, "core accepts", "%s of job %" PRIu64 " (%" PRIu64 ", %" PRIu64 "): %d", what,
               packet->ref, packet->first, packet->bytes, rc);
}

static void give_items(struct world *world, struct ledger *ledger, struct job *job,
                       const struct packet *packet)
{
    int rc = core_job_items(world->core, job, packet->first, packet->batch, world->now_ns);
    accepted(world, "ITEMS", rc, packet);
    if (rc == 0)
        ledger_items(world, ledger, packet->batch, packet->first);
}

static void give_end(struct world *world, struct ledger *ledger, struct job *job, const struct packet *packet,
                     uint64_t total)
{
    int rc = core_job_end(world->core, job, total, world->now_ns);
    accepted(world, "END", rc, packet);
    ledger->ended = true;
    if (rc == 0 && total != ledger->next_in)
        broken(world, "core accepts", "the end of job %" PRIu64 " at %" PRIu64 " after %" PRIu64 " items",
               packet->ref, total, ledger->next_in);
}

static void refuse(struct world *world, struct connection *connection, uint64_t ref, int error)
{
    const struct owner *owner = connection->client->owner;
    if (error != -EDQUOT || owner->open_jobs < owner->limits.jobs)
        broken(world, "core accepts", "OPEN with %u of %u jobs: %d", owner->open_jobs, owner->limits.jobs,
               error);
    struct packet *packet = packet_new(world, MSG_ERROR);
    packet->ref = ref;
    packet->error = error;
    link_send(world, &connection->down, packet);
}

static void open_job(struct world *world, struct connection *connection, struct packet *packet)
{
    struct ledger *ledger = ledger_open(world, connection, packet);
    struct sim_job *sim = ledger->job;
    struct job_request request = {
        .ref = packet->ref,
        .function = ledger,
        .expected_ns = sim->expected_ns,
        .options = sim->options,
        .credit = packet->bytes,
        .first = packet->first,
        .done = packet->done,
        .done_count = packet->done_count,
        .whole = packet->end && world->fault != FAULT_WHOLE,
        .process = sim->process,
        .lasting = sim->lasting,
        .exact = sim->exact && world->fault != FAULT_EXACT,
        .tell_over = world->processes,
    };
    if (world->fault == FAULT_TWICE)
        request.options.once = false;
    if (world->fault == FAULT_LEND_UNASKED && sim->process)
        request.options.jobserver = true;
    if (world->fault == FAULT_HALT)
        request.options.halt = HALT_NEVER;
    if (world->fault == FAULT_CHUNKSIZE && request.options.chunksize > 0)
        request.options.chunksize++;
    if (world->fault == FAULT_SLOTS && request.options.slots > 0)
        request.options.slots++;
    if (world->fault == FAULT_UNORDERED)
        request.options.unordered = true;
    struct job *job;
    int rc = core_job_open(world->core, connection->session, &request, world->now_ns, &job);
    if (rc < 0) {
        ledger->open = false;
        ledger->over = true;
        refuse(world, connection, packet->ref, rc);
        return;
    }
    ledger->open = true;
    sim->client->owner->open_jobs++;
    if (packet->batch)
        give_items(world, ledger, job, packet);
    if (packet->end)
        give_end(world, ledger, job, packet, ledger->next_in);
}

static void job_message(struct world *world, struct connection *connection, struct packet *packet)
{
    struct ledger *ledger = ledger_find(world, connection, packet->ref);
    struct job *job = core_job_find(connection->session, packet->ref);
    if (ledger && !job)
        broken(world, "every job ends", "job %" PRIu64 " is gone without DONE", packet->ref);
    if (!ledger && job)
        broken(world, "every job ends", "job %" PRIu64 " is still there after DONE", packet->ref);
    if (!ledger || !job)
        return; /* it was on its way when the job ended */
    int rc = 0;
    switch (packet->type) {
    case MSG_ITEMS:
        give_items(world, ledger, job, packet);
        break;
    case MSG_END:
        give_end(world, ledger, job, packet, packet->first);
        break;
    case MSG_CREDIT:
        ledger->out_back += packet->bytes;
        rc = core_job_credit(world->core, job, packet->bytes, world->now_ns);
        accepted(world, "CREDIT", rc, packet);
        break;
    case MSG_HOLD:
        ledger->paused = packet->bytes != 0;
        if (world->fault != FAULT_HOLD)
            core_job_hold(world->core, job, ledger->paused, world->now_ns);
        break;
    case MSG_CANCEL:
        ledger->cancelled = true;
        core_job_cancel(world->core, job, world->now_ns);
        break;
    default:
        broken(world, "core accepts", "a packet of type %u", packet->type);
        break;
    }
}

void daemon_close_session(struct world *world, struct connection *connection)
{
    if (!connection->session)
        return;
    trace(world, "close", connection->client->number, connection->number, 0);
    for (struct ledger *ledger = world->ledgers; ledger; ledger = ledger->next) {
        if (ledger->connection == connection && ledger->open)
            ledger_closed(world, ledger);
    }
    core_session_close(world->core, connection->session, world->now_ns);
    connection->session = NULL;
}

/* argument: number of the connection */
static void crew_event(struct world *world, void *target, uint64_t argument)
{
    (void)argument;
    struct connection *connection = target;
    if (!connection->session)
        return;
    core_session_crew(world->core, connection->session, connection->client->owner->crew, world->now_ns);
    connection->has_crew = true;
    daemon_turn(world, false);
}

static void open_session(struct world *world, struct connection *connection)
{
    struct owner_limits limits = connection->client->owner->limits;
    if (world->fault == FAULT_OWNER_CAP && limits.slots > 0)
        limits.slots++;
    if (world->fault == FAULT_WEIGHT)
        limits.weight = limits.weight * 2 + (connection->client->owner == world->owners);
    int rc = core_session_open(world->core, connection->client->owner->uid, &limits, connection,
                               &connection->session);
    if (rc < 0)
        broken(world, "memory", "core_session_open: %d", rc);
    else if (session_cookie(connection->session) != connection)
        broken(world, "core accepts", "a session has lost its cookie");
    if (!world->processes || world->failed)
        return;
    if (random_chance(&world->random, 50))
        crew_event(world, connection, 0);
    else
        after(world, (int64_t)random_below(&world->random, NS_PER_MS), crew_event, connection, 0);
}

bool daemon_receive(struct world *world, struct packet *packet)
{
    struct connection *connection = packet->link->end;
    trace(world, "daemon gets", connection->client->number, packet->type, packet->ref);
    if (packet->type == PACKET_HELLO && world->stopping)
        life_refuse(world, connection);
    else if (packet->type == PACKET_HELLO)
        open_session(world, connection);
    else if (packet->type == PACKET_GONE)
        daemon_close_session(world, connection);
    else if (connection->session && packet->type == MSG_OPEN)
        open_job(world, connection, packet);
    else if (connection->session)
        job_message(world, connection, packet);
    daemon_turn(world, false);
    return false;
}

/*** From workers ***/

void daemon_add_worker(struct world *world, struct worker_model *worker)
{
    struct owner *owner = worker->owner;
    struct crew *crew = owner ? owner->crew : NULL;
    int rc = core_worker_add(world->core, crew, worker, world->now_ns, &worker->handle);
    if (rc < 0)
        broken(world, "memory", "core_worker_add: %d", rc);
    else if (worker_cookie(worker->handle) != worker)
        broken(world, "core accepts", "a worker has lost its cookie");
    world->workers_here++;
    if (owner) {
        owner->starting--;
        owner->processes++;
    }
    daemon_turn(world, false);
}

static void process_gone(struct world *world, struct worker_model *worker)
{
    worker->owner->processes--;
    if (world->now_ns - worker->born_ns < NS_PER_S)
        worker->owner->start_failed_ns = world->now_ns;
    worker_bury(world, worker);
}

static void from_worker(struct world *world, struct worker_model *worker, const struct packet *packet)
{
    bool parked = packet->type == MSG_PARKED, returned = packet->type == MSG_RETURNED;
    int rc;
    if (returned)
        rc = core_returned(world->core, worker->handle, packet->chunk, packet->bytes, world->now_ns);
    else if (parked)
        rc = core_parked(world->core, worker->handle, packet->chunk, (uint32_t)packet->bytes, packet->run_ns,
                         0, world->now_ns);
    else
        rc = core_worked(world->core, worker->handle, packet->chunk, packet->batch, packet->last,
                         packet->run_ns, 0, world->now_ns);
    if (rc < 0)
        broken(world, "core accepts", "%s of worker %u for chunk %" PRIu64 ": %d", message_name(packet->type),
               worker->number, packet->chunk, rc);
    else if (returned)
        ledger_returned(world, worker, packet);
    else if (parked)
        ledger_parked(world, worker, packet);
    else
        ledger_worked(world, worker, packet);
}

bool daemon_from_worker(struct world *world, struct packet *packet)
{
    struct worker_model *worker = packet->link->end;
    if (!worker->handle)
        return false;
    trace(world, "daemon gets", worker->number, packet->type, packet->chunk);
    if (packet->type == PACKET_GONE) {
        ledger_worker_gone(world, worker);
        core_worker_gone(world->core, worker->handle, world->now_ns);
        worker->handle = NULL;
        world->workers_here--;
        if (worker->owner)
            process_gone(world, worker);
    } else {
        from_worker(world, worker, packet);
    }
    daemon_turn(world, false);
    return false;
}

/*** Actions ***/

static void act_on_session(struct world *world, const struct action *action)
{
    struct connection *connection = session_cookie(action->session);
    struct ledger *ledger = ledger_find(world, connection, action->ref);
    if (connection->session != action->session || !ledger) {
        broken(world, "every job ends", "an action %d for job %" PRIu64 ", which is not open", action->type,
               action->ref);
        return;
    }
    static const unsigned types[] = {[ACTION_OPENED] = MSG_OPENED,
                                     [ACTION_CREDIT] = MSG_CREDIT,
                                     [ACTION_RESULTS] = MSG_RESULTS,
                                     [ACTION_DONE] = MSG_DONE};
    struct packet *packet = packet_new(world, types[action->type]);
    packet->ref = action->ref;
    switch (action->type) {
    case ACTION_OPENED:
        packet->bytes = action->opened.credit;
        ledger_opened(world, ledger, action);
        break;
    case ACTION_CREDIT:
        packet->bytes = action->credit.bytes;
        ledger_credit(world, ledger, action->credit.bytes);
        break;
    case ACTION_RESULTS:
        packet->first = action->results.first;
        packet->more = action->results.more;
        packet->has_done = action->results.has_done;
        packet->batch =
            batch_of_blocks(world, action->results.blocks, action->results.count, action->results.more);
        ledger_results(world, ledger, action);
        if (packet->has_done)
            packet->report = action->results.done;
        break;
    default:
        packet->has_done = true;
        packet->report = action->done;
        break;
    }
    if (packet->has_done)
        ledger_done(world, ledger, &packet->report);
    link_send(world, &connection->down, packet);
}

static void act_on_worker(struct world *world, const struct action *action)
{
    struct worker_model *worker = worker_cookie(action->worker);
    if (worker->handle != action->worker) {
        broken(world, "chunks", "an action %d for a worker that is gone", action->type);
        return;
    }
    static const unsigned types[] = {
        [ACTION_CHUNK] = MSG_CHUNK, [ACTION_YIELD] = MSG_YIELD, [ACTION_RECALL] = MSG_RECALL,
        [ACTION_DROP] = MSG_DROP,   [ACTION_GRANT] = MSG_GRANT, [ACTION_LEND] = MSG_LEND,
        [ACTION_STOP] = MSG_STOP};
    struct packet *packet = packet_new(world, types[action->type]);
    packet->chunk = action->chunk;
    trace(world, message_name(packet->type), worker->number, action->chunk, 0);
    if (action->type == ACTION_STOP) {
        if (!worker->owner || worker->given_count > 0) {
            broken(world, "stop", "worker %u is to leave with %u chunks", worker->number,
                   worker->given_count);
            packet_free(world, packet);
            return;
        }
        worker->handle = NULL;
        world->workers_here--;
        worker->owner->processes--;
        worker_bury(world, worker);
    } else if (action->type == ACTION_GRANT) {
        ledger_granted(world, worker, action);
        packet->bytes = action->grant.bytes;
        if (action->grant.bytes > 0 && strikes(world, FAULT_LOST_GRANT, 2)) {
            packet_free(world, packet);
            return;
        }
    } else if (action->type == ACTION_LEND) {
        ledger_lent(world, worker, action);
        packet->bytes = action->lend.lent;
        packet->first = action->lend.back;
    } else if (action->type != ACTION_CHUNK) {
        ledger_asked(world, worker, action);
    } else {
        packet->bytes = action->work.credit;
        ledger_chunk(world, worker, action);
        packet->first = action->work.first;
        packet->function = (struct ledger *)action->work.function;
        packet->items = action->work.items;
        packet->batch = batch_ref(action->work.items.batch);
    }
    link_send(world, &worker->down, packet);
}

/*** Starting ***/

/* target: whose process it is; NULL: a thread. argument: does it fail (the last bit), and in which of the
 * daemon's lives it was asked for. */
static void start_event(struct world *world, void *target, uint64_t argument)
{
    struct owner *owner = target;
    if (world->closing || argument >> 1 != world->life_number)
        return;
    if ((argument & 1) == 0) {
        plan_worker(world, owner);
        return;
    }
    trace(world, "no start", owner ? owner->uid : 0, 0, 0);
    if (owner) {
        owner->starting--;
        owner->start_failed_ns = world->now_ns;
    }
    core_start_failed(world->core, owner ? owner->crew : NULL, world->now_ns);
    daemon_turn(world, false);
}

static void expect_process(struct world *world, struct owner *owner)
{
    owner->starting++;
    trace(world, "start", owner->uid, owner->starting, owner->processes);
    if (owner->processes + owner->starting > world->config.slots && world->fault != FAULT_POOL_SLOTS)
        broken(world, "start", "owner %u has %u processes, and %u are to come", owner->uid, owner->processes,
               owner->starting);
}

static void start_worker(struct world *world, const struct action *action)
{
    struct owner *owner = action->crew ? crew_cookie(action->crew) : NULL;
    if (owner)
        expect_process(world, owner);
    else if (world->config.guarantee_after_ns == 0)
        broken(world, "start", "a thread is asked for, and nothing is guaranteed");
    if (world->fault == FAULT_LOST_START)
        return;
    bool fails = world->deaths_left > 0 && random_chance(&world->random, world->fails);
    world->deaths_left -= fails;
    int64_t delay_ns = (int64_t)random_scale(&world->random, 10000, 20 * NS_PER_MS);
    after(world, delay_ns, start_event, owner, world->life_number << 1 | fails);
}

static void act_once(struct world *world, const struct action *action)
{
    if (action->type <= ACTION_DONE)
        act_on_session(world, action);
    else if (action->type == ACTION_START)
        start_worker(world, action);
    else if (action->type == ACTION_OVER)
        ledger_over(world, action);
    else
        act_on_worker(world, action);
}

void daemon_act(struct world *world)
{
    struct action action;
    unsigned count = 0;
    while (!world->failed && core_next(world->core, world->now_ns, &action)) {
        act_once(world, &action);
        if (++count > ACTIONS_MAX)
            broken(world, "actions end", "more than %d actions for one event", ACTIONS_MAX);
    }
}

static void tick_event(struct world *world, void *target, uint64_t argument)
{
    (void)target;
    if (world->tick_ns != (int64_t)argument)
        return; /* an earlier one has come instead */
    world->tick_ns = INT64_MAX;
    trace(world, "tick", 0, 0, 0);
    core_tick(world->core, world->now_ns);
    daemon_turn(world, true);
    if (!world->failed && core_deadline(world->core) <= world->now_ns)
        broken(world, "deadlines", "still due at once after a tick");
}

static void schedule_tick(struct world *world)
{
    int64_t deadline = core_deadline(world->core);
    if (deadline >= world->tick_ns)
        return;
    if (deadline < world->now_ns)
        deadline = world->now_ns;
    world->tick_ns = deadline;
    after(world, deadline - world->now_ns, tick_event, NULL, (uint64_t)deadline);
}

void daemon_turn_event(struct world *world, void *target, uint64_t argument)
{
    (void)target;
    (void)argument;
    daemon_turn(world, true);
}

static void late_event(struct world *world, void *target, uint64_t argument)
{
    (void)target;
    (void)argument;
    world->late = false;
    daemon_turn(world, true);
}

void daemon_turn(struct world *world, bool force)
{
    if (world->failed)
        return;
    /* What has gathered goes out when this instant, or a moment after it, is over. */
    if (!force && (world->lazy > 0 && random_chance(&world->random, world->lazy))) {
        if (!world->late) {
            world->late = true;
            after(world, (int64_t)random_below(&world->random, 20000), late_event, NULL, 0);
        }
        return;
    }
    bool late = strikes(world, FAULT_LATE_ACTIONS, 4);
    if (random_chance(&world->random, 1))
        core_tick(world->core, world->now_ns); /* harmless at any time */
    if (!late)
        daemon_act(world);
    else
        after(world, NS_PER_MS, late_event, NULL, 0);
    if (world->stopping && !late && !world->failed)
        life_turn(world);
    schedule_tick(world);
    check_turn(world);
}
