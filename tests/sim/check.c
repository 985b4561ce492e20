/*
 * The promises that can only be seen from the whole state: slots, work conservation, memory, and that nothing
 * is left at the end. The core's own invariants are looked at too, but these here do not trust it.
 */
#include "tests/sim/daemon.h"

#include <inttypes.h>

/* Does this worker hold a chunk of the job, or (job NULL) of the owner's? */
static bool holds(const struct worker_model *worker, const struct ledger *ledger, const struct owner *owner)
{
    for (unsigned i = 0; i < worker->given_count; i++) {
        if (worker->given[i].parked)
            continue;
        const struct ledger *other = worker->given[i].ledger;
        if (ledger ? other == ledger : other->job->client->owner == owner)
            return true;
    }
    return false;
}

static unsigned holders(const struct world *world, const struct ledger *ledger, const struct owner *owner)
{
    unsigned count = 0;
    for (unsigned i = 0; i < world->worker_count; i++)
        count += holds(world->workers[i], ledger, owner);
    return count;
}

/* Slots that are lent to the job, or (job NULL) to the owner's. */
static unsigned borrowed(const struct world *world, const struct ledger *ledger, const struct owner *owner)
{
    unsigned count = 0;
    for (unsigned i = 0; i < world->worker_count; i++) {
        const struct given *runs = worker_runs(world->workers[i]);
        if (runs && (ledger ? runs->ledger == ledger : runs->ledger->job->client->owner == owner))
            count += runs->tokens;
    }
    return count;
}

unsigned daemon_slots_of(const struct world *world, const struct owner *owner)
{
    return holders(world, NULL, owner) + borrowed(world, NULL, owner);
}

/* What is held by a job that is halted is asked back. */
static void check_halted(struct world *world, const struct worker_model *worker)
{
    const struct given *runs = worker_runs(worker);
    for (unsigned i = 0; i < worker->given_count; i++) {
        const struct given *given = &worker->given[i];
        const struct ledger *ledger = given->ledger;
        if (!ledger->halted || !ledger->open || given->asked)
            continue;
        if (ledger->job->options.halt == HALT_NOW || (given != runs && !given->parked))
            broken(world, "halt", "chunk %" PRIu64 " of a halted job stays at worker %u", given->chunk,
                   worker->number);
    }
}

/* Counts the workers that run something, and what is lent to them; a worker runs the first chunk that it
 * holds. Returns how many are idle. */
static unsigned check_slots(struct world *world)
{
    unsigned busy = 0, used = 0;
    for (unsigned i = 0; i < world->owner_count; i++)
        world->owners[i].running = 0;
    for (struct ledger *ledger = world->ledgers; ledger; ledger = ledger->next)
        ledger->running = 0;
    for (unsigned i = 0; i < world->worker_count; i++) {
        const struct worker_model *worker = world->workers[i];
        struct given *first = worker_runs(worker);
        check_halted(world, worker);
        if (!worker->handle || !first)
            continue;
        busy++;
        used += 1 + first->tokens;
        if (!first->begun) {
            first->begun = true;
            first->begun_ns = world->now_ns;
        }
        struct ledger *ledger = first->ledger;
        struct owner *owner = ledger->job->client->owner;
        ledger->running += 1 + first->tokens;
        owner->running += 1 + first->tokens;
        if (ledger->running > ledger->job->options.slots && ledger->job->options.slots > 0)
            broken(world, "slots", "job %" PRIu64 " runs on %u slots of at most %u", ledger->id,
                   ledger->running, ledger->job->options.slots);
        if (owner->running > owner->limits.slots && owner->limits.slots > 0 &&
            owner->running > owner->used_before)
            broken(world, "owner's slots", "owner %u runs on %u slots of at most %u", owner->uid,
                   owner->running, owner->limits.slots);
    }
    unsigned slots = world->config.slots > 0 ? world->config.slots : world->workers_here;
    unsigned most = slots;
    if (world->config.guarantee_after_ns > 0)
        most += world->config.guarantee_max > 0 ? world->config.guarantee_max : slots;
    world->used = used;
    if (used < world->used_before)
        world->used_before = used;
    if (used > most && used > world->used_before)
        broken(world, "slots", "%u chunks run, and %u are used of %u slots, of at most %u", busy, used, slots,
               most);
    world->slots_free = used < slots ? slots - used : 0;
    world->slots_above = used < most ? most - used : 0;
    return world->workers_here - busy;
}

/* The job's window: as OPENED has said it, or else that which each job is sure of. */
static uint64_t window_of(const struct world *world, const struct ledger *ledger)
{
    const struct owner_limits *limits = &ledger->job->client->owner->limits;
    uint64_t most = world->config.job_window ? world->config.job_window : 4 << 20;
    uint64_t sure = limits->queued_bytes / 2 / (limits->jobs ? limits->jobs : 1);
    if (sure < 1024)
        sure = 1024;
    return ledger->in_window ? ledger->in_window : sure < most ? sure : most;
}

/* Is there a worker without a chunk for this job? How many processes its owner has does not matter here. */
static bool worker_for(const struct world *world, const struct ledger *ledger)
{
    const struct owner *owner = ledger->job->process ? ledger->job->client->owner : NULL;
    for (unsigned i = 0; i < world->worker_count; i++) {
        const struct worker_model *worker = world->workers[i];
        if (worker->handle && worker->owner == owner && !worker_runs(worker) && worker->given_count < 64)
            return true;
    }
    return false;
}

/* Is a worker on its way to the job, or could none be started not long ago, or are there as many as may be?
 */
static bool worker_comes(const struct world *world, const struct ledger *ledger)
{
    const struct owner *owner = ledger->job->client->owner;
    return ledger->job->process &&
           (owner->starting > 0 || owner->processes >= world->config.slots ||
            world->now_ns - owner->start_failed_ns <= 50 * world->config.start_delay_ns);
}

/* Could an exact job's next chunk be too small? */
static bool may_grow(const struct ledger *ledger)
{
    return ledger->job->exact && !ledger->ended;
}

/* Has the job a reason to leave a free worker alone? */
static bool may_wait(const struct world *world, const struct ledger *ledger)
{
    const struct owner *owner = ledger->job->client->owner;
    uint32_t slots = ledger->job->options.slots;
    if (world->stopping || ledger->paused || may_grow(ledger) ||
        (ledger->job->process && !ledger->connection->has_crew))
        return true;
    if (ledger->parked > 0)
        return true; /* what the core makes of that is its own affair; that the job ends is looked at */
    if (slots > 0 && holders(world, ledger, NULL) + borrowed(world, ledger, NULL) >= slots)
        return true;
    if (owner->limits.slots > 0 &&
        holders(world, NULL, owner) + borrowed(world, NULL, owner) >= owner->limits.slots)
        return true;
    /* What results will come can only be guessed from those that came, so the window counts as open while it
     * has room for twice the guess. */
    uint64_t window = window_of(world, ledger);
    double growth = ledger->finished_in ? (double)ledger->finished_out / (double)ledger->finished_in : 1;
    double guess = (double)(ledger->held + ledger->at_workers) + growth * (double)ledger->inputs_at_workers;
    return 2 * guess >= (double)window;
}

static void check_conservation(struct world *world, unsigned idle)
{
    if (idle == 0 && !world->processes)
        return;
    if (world->slots_free == 0)
        return;
    for (const struct ledger *ledger = world->ledgers; ledger; ledger = ledger->next) {
        if (!ledger->open || ledger->cancelled || ledger->queued == 0 || may_wait(world, ledger))
            continue;
        if (!worker_for(world, ledger) && (!ledger->job->process || worker_comes(world, ledger)))
            continue;
        broken(world, "work conservation",
               "%u workers are idle and job %" PRIu64 " has %" PRIu64 " items waiting, %" PRIu64
               " bytes of results held in a window of %" PRIu64,
               idle, ledger->id, ledger->queued, ledger->held, window_of(world, ledger));
        return;
    }
}

/* The later of two times; INT64_MAX is "not at all". */
static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Has the job, or its owner, as many slots as it may have? */
static bool at_cap(const struct ledger *ledger)
{
    const struct owner *owner = ledger->job->client->owner;
    uint32_t slots = ledger->job->options.slots;
    return (slots > 0 && ledger->running >= slots) ||
           (owner->limits.slots > 0 && owner->running >= owner->limits.slots);
}

/* Since when has another job waited for a worker? */
static int64_t others_wait_ns(const struct world *world, const struct ledger *ledger)
{
    int64_t since = INT64_MAX;
    for (const struct ledger *other = world->ledgers; other; other = other->next) {
        if (other != ledger && other->waiting_ns < since)
            since = other->waiting_ns;
    }
    return since;
}

/* Where there are processes: could it have a chunk run, were a slot free? */
static bool waits_for_slot(const struct world *world, const struct ledger *ledger)
{
    return !world->processes || (world->slots_free == 0 && worker_for(world, ledger));
}

/*
 * What a worker holds is asked back when it is in somebody's way for long: a queued chunk while another
 * worker is idle, and a long chunk while another job has to wait.
 */
static void check_patience(struct world *world, unsigned idle)
{
    int64_t patience_ns = 4 * world->config.chunk_target_ns + 20 * NS_PER_MS;
    if (idle == 0)
        world->idle_ns = INT64_MAX;
    else if (world->idle_ns == INT64_MAX)
        world->idle_ns = world->now_ns;
    for (struct ledger *ledger = world->ledgers; ledger; ledger = ledger->next) {
        if (!ledger->open || ledger->cancelled || ledger->queued == 0 || may_wait(world, ledger) ||
            !waits_for_slot(world, ledger))
            ledger->waiting_ns = INT64_MAX;
        else if (ledger->waiting_ns == INT64_MAX)
            ledger->waiting_ns = world->now_ns;
    }
    int64_t long_ago = world->now_ns - patience_ns;
    for (unsigned i = 0; i < world->worker_count; i++) {
        const struct worker_model *worker = world->workers[i];
        const struct given *first = worker_runs(worker);
        if (!worker->handle || !first)
            continue;
        if (!first->asked && !first->ledger->job->exact && first->count - first->done > 1 &&
            later(later(first->begun_ns, world->configured_ns), others_wait_ns(world, first->ledger)) <
                long_ago)
            broken(world, "yield", "chunk %" PRIu64 " has run for %.3f ms on worker %u, and others wait",
                   first->chunk, (double)(world->now_ns - first->begun_ns) / 1e6, i);
        for (const struct given *given = first + 1; given < worker->given + worker->given_count; given++) {
            if (!given->parked && !given->asked &&
                later(later(given->given_ns, first->begun_ns), later(world->idle_ns, world->configured_ns)) <
                    long_ago &&
                !at_cap(given->ledger))
                broken(world, "recall",
                       "chunk %" PRIu64 " waits behind chunk %" PRIu64
                       " on worker %u, which has run for %.3f ms",
                       given->chunk, first->chunk, i, (double)(world->now_ns - first->begun_ns) / 1e6);
        }
    }
}

/* A daemon that stops asks what takes long to end between two items. */
static void check_stopping(struct world *world)
{
    int64_t patience_ns = 60 * NS_PER_MS; /* four times what a chunk should take then, and some */
    for (unsigned i = 0; world->stopping && i < world->worker_count; i++) {
        const struct given *first = worker_runs(world->workers[i]);
        if (first && world->workers[i]->handle && !first->asked && !first->ledger->job->exact &&
            first->count - first->done > 1 &&
            later(first->begun_ns, world->stopped_ns) < world->now_ns - patience_ns)
            broken(world, "stop", "chunk %" PRIu64 " has run for %.3f ms since the daemon was to stop",
                   first->chunk, (double)(world->now_ns - world->stopped_ns) / 1e6);
    }
}

/* Has the owner a job that could have a chunk run at once, were there a slot? */
static bool could_run(const struct world *world, const struct owner *owner)
{
    for (const struct ledger *ledger = world->ledgers; ledger; ledger = ledger->next) {
        if (ledger->job->client->owner == owner && ledger->open && !ledger->cancelled && ledger->queued > 0 &&
            !may_wait(world, ledger) && worker_for(world, ledger))
            return true;
    }
    return false;
}

/* Nobody waits for longer than is guaranteed, while that may still be given. */
static void check_guarantee(struct world *world)
{
    int64_t after_ns = world->config.guarantee_after_ns;
    for (unsigned i = 0; i < world->owner_count && after_ns > 0; i++) {
        struct owner *owner = &world->owners[i];
        bool unserved = owner->running == 0 && world->slots_free == 0 && world->slots_above > 0 &&
                        could_run(world, owner);
        if (!unserved)
            owner->unserved_ns = INT64_MAX;
        else if (owner->unserved_ns == INT64_MAX)
            owner->unserved_ns = world->now_ns;
        else if (world->now_ns - owner->unserved_ns > after_ns + NS_PER_MS)
            broken(world, "guarantee", "owner %u has waited for %.3f ms, and %u slots may be given above all",
                   owner->uid, (double)(world->now_ns - owner->unserved_ns) / 1e6, world->slots_above);
    }
}

/* While somebody waits for a slot, something of what is lent is called back. */
static void check_lent(struct world *world)
{
    unsigned lent = 0;
    for (unsigned i = 0; i < world->worker_count; i++) {
        const struct given *runs = worker_runs(world->workers[i]);
        if (!runs)
            continue;
        if (runs->back > runs->lent - runs->tokens)
            return;
        lent += runs->tokens;
    }
    for (unsigned i = 0; i < world->owner_count && lent > 0 && world->slots_free == 0; i++) {
        if (could_run(world, &world->owners[i]))
            broken(world, "lend", "owner %u waits, and %u slots are lent and not called back",
                   world->owners[i].uid, lent);
    }
}

static void check_memory(struct world *world, const struct core_counts *counts)
{
    uint64_t most = 0, queued = 0;
    uint32_t jobs = 0, waiting = 0;
    uint64_t window = world->config.job_window ? world->config.job_window : 4 << 20;
    for (const struct ledger *ledger = world->ledgers; ledger; ledger = ledger->next) {
        if (!ledger->open)
            continue;
        jobs++;
        /* Input: the window, a message over it, and a large item beyond that. Results: the window, and what
         * was with the workers when it became full. */
        uint64_t own = ledger->in_window ? ledger->in_window : window;
        most += own + ledger->most_message;
        most += ledger->most_item > 0 ? ledger->most_item + PROTOCOL_MESSAGE_MAX : 0;
        most += own + 2 * ledger->at_workers_most; /* small pieces may cost half as much again */
        /* What was not run costs as much as an empty item, and a note that says so. */
        if (ledger->halted)
            most += (own + ledger->most_message) / RECORD_COST *
                    (RECORD_COST + NOTE_SIZE + sizeof "not run: halted");
        if (!ledger->cancelled) {
            queued += ledger->queued;
            waiting += ledger->queued > 0;
        }
    }
    if (counts->held_bytes > most)
        broken(world, "memory", "%" PRIu64 " bytes are held, where windows allow %" PRIu64,
               counts->held_bytes, most);
    if (counts->jobs != jobs || counts->queued_items != queued || counts->waiting != waiting)
        broken(world, "counts",
               "the core counts %u jobs, %u waiting, %" PRIu64 " items; there are %u, %u, %" PRIu64,
               counts->jobs, counts->waiting, counts->queued_items, jobs, waiting, queued);
}

/* What the status shows must be what is. */
static void check_views(struct world *world)
{
    const void *cursor = NULL;
    struct job_view job;
    uint64_t before = 0;
    while (core_job_next(world->core, &cursor, &job)) {
        const struct ledger *ledger = job.function;
        if (job.id <= before || job.uid != ledger->job->client->owner->uid ||
            job.received != ledger->received || job.ended != ledger->ended || job.running != ledger->running)
            broken(world, "counts",
                   "job %" PRIu64 " is shown with %" PRIu64 " items, %u running; it has %" PRIu64 ", %u",
                   job.id, job.received, job.running, ledger->received, ledger->running);
        before = job.id;
    }
    cursor = NULL;
    struct owner_view owner;
    uid_t last = 0;
    while (core_owner_next(world->core, &cursor, &owner)) {
        const struct owner *ours = &world->owners[owner.uid - world->owners[0].uid];
        if (owner.uid <= last || owner.jobs != ours->open_jobs || owner.running != ours->running ||
            (owner.weight != ours->limits.weight && world->fault != FAULT_WEIGHT))
            broken(world, "counts", "owner %u is shown with %u jobs, %u running; it has %u, %u", owner.uid,
                   owner.jobs, owner.running, ours->open_jobs, ours->running);
        last = owner.uid;
    }
}

void check_turn(struct world *world)
{
    if (world->failed)
        return;
    unsigned idle = check_slots(world);
    check_conservation(world, idle);
    check_patience(world, idle);
    check_stopping(world);
    check_guarantee(world);
    check_lent(world);
    if (world->steps % world->check_every != 0)
        return;
    struct core_counts counts;
    core_counts(world->core, &counts);
    if (counts.workers != world->workers_here || counts.workers - (counts.busy - counts.lent) != idle)
        broken(world, "counts", "the core counts %u workers, %u busy; there are %u, %u idle", counts.workers,
               counts.busy, world->workers_here, idle);
    check_memory(world, &counts);
    check_views(world);
    if (world->fault == FAULT_LATE_ACTIONS)
        return; /* it is to be seen whether this file's own check notices */
    const char *wrong = core_check(world->core, world->now_ns);
    if (wrong)
        broken(world, "core_check", "%s", wrong);
}

void check_end(struct world *world)
{
    if (world->failed)
        return;
    struct core_counts counts;
    core_counts(world->core, &counts);
    if (counts.busy || counts.sessions || counts.jobs || counts.waiting || counts.orphans ||
        counts.queued_items || counts.held_bytes)
        broken(world, "nothing is left",
               "%u busy workers, %u sessions, %u jobs, %u waiting, %u orphans, %" PRIu64 " items, %" PRIu64
               " bytes",
               counts.busy, counts.sessions, counts.jobs, counts.waiting, counts.orphans, counts.queued_items,
               counts.held_bytes);
    for (unsigned i = 0; i < world->worker_count; i++) {
        if (world->workers[i]->given_count > 0)
            broken(world, "nothing is left", "worker %u still holds chunks", i);
    }
    for (const struct ledger *ledger = world->ledgers; ledger && world->processes; ledger = ledger->next) {
        if (!ledger->over)
            broken(world, "over", "job %" PRIu64 " was never over", ledger->id);
    }
}
