/*
 * Lending: a command whose job asked for a jobserver may start more than one process, and what it may start
 * them on are free slots, lent to its running chunk as tokens while nobody waits for a slot. A token is a
 * slot in use: it counts towards all caps and is charged as it is held. Where somebody waits, as many as he
 * could use are called back; a called one is free when the worker has said so, and with the chunk's end, or
 * its worker's, all are.
 *
 * What was lent and what came back are counted over the chunk's life, so that messages which cross each other
 * cannot be misunderstood; `back` is only a wish, and may be taken back.
 */
#include "daemon/core/internal.h"

#include <errno.h>

/*** Counting ***/

static void charge(struct core *core, struct chunk *chunk, int64_t now_ns)
{
    struct job *job = chunk->job;
    int64_t ns = (int64_t)chunk->tokens * (now_ns - chunk->tokens_since_ns);
    chunk->tokens_since_ns = now_ns;
    job->report.run_ns += ns;
    job->owner->run_ns += ns;
    core->run_ns += ns;
}

/* From so many tokens to so many. The job's own place in the order is the caller's to see to. */
static void set_tokens(struct core *core, struct chunk *chunk, uint32_t tokens, int64_t now_ns)
{
    struct job *job = chunk->job;
    struct owner *owner = job->owner;
    uint32_t change = tokens - chunk->tokens; /* less than none: it wraps, as do the sums */
    charge(core, chunk, now_ns);
    for (uint32_t i = chunk->tokens; i < tokens; i++) {
        share_start(&job->share, 0, now_ns);
        share_start(&owner->share, 0, now_ns);
    }
    for (uint32_t i = tokens; i < chunk->tokens; i++) {
        share_stop(&job->share, 0, 0, now_ns);
        share_stop(&owner->share, 0, 0, now_ns);
    }
    chunk->tokens = tokens;
    job->tokens += change;
    job->running += change;
    owner->tokens += change;
    core->tokens += change;
    core->running += change;
    if (owner->limits.slots != 0)
        order_owner_update(core, owner, now_ns);
}

static void change_tokens(struct core *core, struct chunk *chunk, uint32_t tokens, int64_t now_ns)
{
    set_tokens(core, chunk, tokens, now_ns);
    order_update(core, chunk->job, now_ns);
    order_moved(core, chunk->job, now_ns);
}

static void tell(struct core *core, struct chunk *chunk)
{
    if (!chunk->telling)
        TAILQ_INSERT_TAIL(&core->lendings, chunk, lending_link);
    chunk->telling = true;
}

void lend_begin(struct core *core, struct chunk *chunk)
{
    chunk->borrows = true;
    TAILQ_INSERT_TAIL(&core->borrowers, chunk, borrower_link);
}

void lend_end(struct core *core, struct chunk *chunk, int64_t now_ns)
{
    set_tokens(core, chunk, 0, now_ns);
    TAILQ_REMOVE(&core->borrowers, chunk, borrower_link);
    if (chunk->telling)
        TAILQ_REMOVE(&core->lendings, chunk, lending_link);
    chunk->borrows = chunk->telling = false;
}

int core_returned(struct core *core, struct worker *worker, uint64_t id, uint64_t tokens, int64_t now_ns)
{
    settle_last_action(core);
    struct chunk *chunk = TAILQ_FIRST(&worker->chunks);
    if (chunk == NULL || chunk->id != id || !chunk->borrows)
        return -EPROTO;
    if (tokens <= chunk->lent - chunk->tokens || tokens > chunk->called)
        return -EPROTO;
    change_tokens(core, chunk, (uint32_t)(chunk->lent - tokens), now_ns);
    return 0;
}

/*** Who waits ***/

static uint32_t room_below(uint32_t cap, uint32_t used)
{
    return cap == 0 ? UINT32_MAX : used < cap ? cap - used : 0;
}

static uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Further slots that the job's caps leave it. */
static uint32_t room_of(const struct job *job)
{
    const struct owner *owner = job->owner;
    return lesser(room_below(job->options.slots, job->lanes + job->tokens),
                  room_below(owner->limits.slots, owner->lanes + owner->tokens));
}

/* Adds what the owner's jobs, which only want a slot, could use. */
static uint64_t wanted_by(struct owner *owner, uint64_t wanted, uint32_t most)
{
    struct level *level;
    RB_FOREACH (level, work_levels, &owner->work) {
        for (uint32_t i = 0; i < level->runnable.count && wanted < most; i++) {
            const struct job *job = order_job(heap_at(&level->runnable, i));
            uint64_t chunks = chunks_left(job);
            uint32_t room = room_of(job);
            wanted += chunks < room ? chunks : room;
        }
    }
    return wanted;
}

/* Slots that somebody waits for, counted up to `most`: those whose worker is on its way, and what the jobs
 * that only want a slot could use. */
static uint32_t wanted_slots(const struct core *core, uint32_t most)
{
    uint64_t wanted = 0;
    const struct crew *crew;
    TAILQ_FOREACH (crew, &core->wanting, want_link)
        wanted += crew->starting;
    for (uint32_t i = 0; i < core->runnable.count && wanted < most; i++)
        wanted = wanted_by(order_owner(heap_at(&core->runnable, i)), wanted, most);
    return wanted < most ? (uint32_t)wanted : most;
}

/* Is it only for what was lent that the job, or another one of its owner's, must not have a slot, or that the
 * owner has more than he may? */
static bool is_in_own_way(const struct job *job)
{
    const struct owner *owner = job->owner;
    if (owner->limits.slots != 0 && owner->lanes + owner->tokens > owner->limits.slots)
        return true;
    if (room_below(owner->limits.slots, owner->lanes) == 0)
        return false;
    if (job->capped && room_below(job->options.slots, job->lanes) > 0)
        return true;
    return owner->held_up;
}

/*** Calling back ***/

static bool is_wanted(const struct chunk *chunk)
{
    return chunk->job->session != NULL && !chunk->job->cancelled && chunk->asked != CONTROL_DROP;
}

/* The chunk with the most tokens that are not due; NULL when there are none. */
static struct chunk *richest(const struct core *core)
{
    struct chunk *chunk, *best = NULL;
    TAILQ_FOREACH (chunk, &core->borrowers, borrower_link) {
        uint32_t most = best != NULL ? best->tokens - best->due : 0;
        if (chunk->tokens - chunk->due > most)
            best = chunk;
    }
    return best;
}

/* The chunk with the fewest tokens of those that may have one more; NULL when there is none. */
static struct chunk *poorest(const struct core *core)
{
    struct chunk *chunk, *best = NULL;
    TAILQ_FOREACH (chunk, &core->borrowers, borrower_link) {
        if (is_wanted(chunk) && chunk->due == 0 && room_of(chunk->job) > 0 &&
            (best == NULL || chunk->tokens < best->tokens))
            best = chunk;
    }
    return best;
}

/* Says of each chunk how many of its tokens are due; `needed` of all, and what stands in its own way. Returns
 * how many are. */
static uint32_t set_due(struct core *core, uint32_t needed)
{
    uint32_t due = 0;
    struct chunk *chunk;
    TAILQ_FOREACH (chunk, &core->borrowers, borrower_link) {
        bool all = chunk->tokens > 0 && (!is_wanted(chunk) || is_in_own_way(chunk->job));
        chunk->due = all ? chunk->tokens : 0;
        due += chunk->due;
    }
    for (; due < needed && (chunk = richest(core)) != NULL; due++)
        chunk->due++;
    return due;
}

/* With nobody waiting: one that has much more than another gives some of it. */
static void even_out(struct core *core)
{
    struct chunk *rich = richest(core);
    const struct chunk *poor = rich != NULL && rich->tokens > 1 ? poorest(core) : NULL;
    if (poor != NULL && rich->tokens > poor->tokens + 1)
        rich->due = 1;
}

/* Calls what is due, and nothing else. */
static void call(struct core *core, struct chunk *chunk)
{
    uint64_t returned = chunk->lent - chunk->tokens;
    uint64_t outstanding = chunk->back > returned ? chunk->back - returned : 0;
    if (outstanding == chunk->due)
        return;
    chunk->back = returned + chunk->due;
    if (chunk->called < chunk->back)
        chunk->called = chunk->back;
    tell(core, chunk);
}

void lend_look(struct core *core, int64_t now_ns)
{
    uint32_t slots = slots_of(core);
    uint32_t free = core->running < slots ? slots - core->running : 0;
    uint32_t above = core->running > slots ? core->running - slots : 0;
    uint32_t wanted = wanted_slots(core, core->tokens + free) + above;
    uint32_t due = set_due(core, wanted > free ? wanted - free : 0);
    if (due == 0 && wanted == 0 && free == 0)
        even_out(core);
    struct chunk *chunk;
    TAILQ_FOREACH (chunk, &core->borrowers, borrower_link)
        call(core, chunk);
    for (; free > wanted && (chunk = poorest(core)) != NULL; free--) {
        chunk->lent++;
        change_tokens(core, chunk, chunk->tokens + 1, now_ns);
        tell(core, chunk);
    }
}

bool lend_next(struct core *core, struct action *action)
{
    struct chunk *chunk = TAILQ_FIRST(&core->lendings);
    if (chunk == NULL)
        return false;
    TAILQ_REMOVE(&core->lendings, chunk, lending_link);
    chunk->telling = false;
    *action = (struct action){.type = ACTION_LEND, .worker = chunk->worker, .chunk = chunk->id};
    action->lend.lent = chunk->lent;
    action->lend.back = chunk->back;
    return true;
}

/*** Checking ***/

const char *lend_check(const struct core *core)
{
    uint32_t tokens = 0, outstanding = 0;
    bool room = false;
    const struct chunk *chunk;
    TAILQ_FOREACH (chunk, &core->borrowers, borrower_link) {
        uint64_t returned = chunk->lent - chunk->tokens;
        if (!chunk->borrows || chunk->worker == NULL || TAILQ_FIRST(&chunk->worker->chunks) != chunk)
            return "a chunk borrows that does not run";
        if (chunk->tokens > chunk->lent || chunk->back > chunk->lent || chunk->back > chunk->called)
            return "more tokens are called back than were lent";
        if (chunk->telling)
            return "a worker is not told what it may borrow";
        if (chunk->back < chunk->lent && chunk->tokens > 0 && is_in_own_way(chunk->job))
            return "what stands in its owner's own way is not called back";
        tokens += chunk->tokens;
        outstanding += chunk->back > returned ? (uint32_t)(chunk->back - returned) : 0;
        room = room || (is_wanted(chunk) && chunk->back <= returned && room_of(chunk->job) > 0);
    }
    if (tokens != core->tokens)
        return "lent slots do not add up";
    bool waits = (core->runnable_jobs > 0 && !slot_free(core)) || core->running > slots_of(core);
    if (waits && tokens > 0 && outstanding == 0)
        return "somebody waits, and nothing that was lent is called back";
    if (slot_free(core) && room && wanted_slots(core, UINT32_MAX) == 0)
        return "a slot is free, and nobody is lent it who could use it";
    return NULL;
}
