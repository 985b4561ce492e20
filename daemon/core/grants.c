/*
 * Credit for what processes answer. A user's process is trusted with none of our memory: it may send results
 * of a chunk while its credit is above 0, and keeps the rest to itself. A first credit goes with each chunk
 * and is enough for most; whose has become low is `thirsty`. Of those, the head gets more whatever is held,
 * as long as what is ready does go out; the others only while the job's window has room for it. The head's
 * worker is told that its chunk is the head.
 */
#include "daemon/core/internal.h"

static uint64_t left(const struct chunk *chunk)
{
    return chunk->counted && chunk->credit > 0 ? (uint64_t)chunk->credit : 0;
}

static void set_thirsty(struct chunk *chunk, bool thirsty)
{
    struct job *job = chunk->job;
    if (thirsty == chunk->thirsty)
        return;
    chunk->thirsty = thirsty;
    if (!thirsty) {
        TAILQ_REMOVE(&job->thirsty, chunk, thirst_link);
        return;
    }
    struct chunk *before;
    TAILQ_FOREACH_REVERSE(before, &job->thirsty, chunk_list, thirst_link)
    {
        if (before->first < chunk->first)
            break;
    }
    if (before != NULL)
        TAILQ_INSERT_AFTER(&job->thirsty, before, chunk, thirst_link);
    else
        TAILQ_INSERT_HEAD(&job->thirsty, chunk, thirst_link);
}

/* From credit to credit: the sum goes with it. */
static void change(struct chunk *chunk, int64_t credit)
{
    chunk->job->lent -= left(chunk);
    chunk->credit = credit;
    chunk->job->lent += left(chunk);
    set_thirsty(chunk, chunk->counted && chunk->credit <= chunk->low);
}

/* What the head's credit is brought to. */
static int64_t head_level(const struct core *core)
{
    uint64_t first = core->config.first_credit, most = core->config.head_credit;
    return (int64_t)(most > first ? most : first);
}

/*
 * As much as its results are expected to cost, and as much again, within its part of the job's window: a
 * chunk whose credit does not last is cut short, and its worker has to keep results. (A million numbers
 * squared in Python, 2 slots: 1.3 to 2.6 s with the least credit for all, 0.94 s so.)
 */
void grants_begin(struct core *core, struct chunk *chunk)
{
    const struct job *job = chunk->job;
    uint64_t least = core->config.first_credit;
    uint64_t parts = 2 * (uint64_t)order_slots(core, job) * (1 + chunk->worker->depth);
    uint64_t part = job->in_window / parts;
    double expected = 2 * job->growth * (double)slice_cost(&chunk->items);
    uint64_t credit = expected < (double)part ? (uint64_t)expected : part;
    chunk->metered = true;
    chunk->credit = (int64_t)(credit > least ? credit : least);
    chunk->low = (chunk->credit < head_level(core) ? chunk->credit : head_level(core)) / 2;
}

void grants_count(struct chunk *chunk)
{
    chunk->counted = true;
    chunk->job->lent += left(chunk);
}

void grants_use(struct chunk *chunk, uint64_t cost)
{
    change(chunk, chunk->credit - (int64_t)cost);
}

void grants_end(struct core *core, struct chunk *chunk)
{
    chunk->job->lent -= left(chunk);
    chunk->counted = false;
    set_thirsty(chunk, false);
    if (chunk->granting)
        TAILQ_REMOVE(&core->grants, chunk, grant_link);
    chunk->granting = false;
    chunk->grant = 0;
}

/* Its worker is to be told of what has changed. */
static void tell(struct core *core, struct chunk *chunk)
{
    if (!chunk->granting)
        TAILQ_INSERT_TAIL(&core->grants, chunk, grant_link);
    chunk->granting = true;
}

static void grant(struct core *core, struct chunk *chunk, int64_t level)
{
    tell(core, chunk);
    chunk->grant += (uint64_t)(level - chunk->credit);
    chunk->low = level / 2;
    change(chunk, level);
}

/* Without order any chunk may go on: rather one that has something to send for sure. */
static struct chunk *any_thirsty(const struct job *job)
{
    struct chunk *chunk;
    TAILQ_FOREACH (chunk, &job->thirsty, thirst_link) {
        if (chunk->parked)
            return chunk;
    }
    return TAILQ_FIRST(&job->thirsty);
}

/* The chunk for which everything else waits, if its worker is to send something; NULL when there is none. */
static struct chunk *head_of(const struct job *job)
{
    if (job->options.unordered)
        return job->piece_owner != NULL ? job->piece_owner : any_thirsty(job);
    struct chunk *chunk = TAILQ_FIRST(&job->chunks);
    const struct segment *segment = TAILQ_FIRST(&job->segments);
    return chunk == NULL || (segment != NULL && segment->first < chunk->first) ? NULL : chunk;
}

void grants_look(struct core *core, struct job *job)
{
    if (TAILQ_EMPTY(&job->thirsty) || job->cancelled || job->session == NULL)
        return;
    struct chunk *head = head_of(job);
    int64_t first = (int64_t)core->config.first_credit;
    if (head != NULL && head->thirsty && !head->head) {
        head->head = true; /* where its worker has no room, it waits for credit rather than lose anything */
        tell(core, head);
    }
    if (head != NULL && head->thirsty && job->ready_cost < core->config.head_credit)
        grant(core, head, head_level(core));
    struct chunk *chunk, *next;
    for (chunk = TAILQ_FIRST(&job->thirsty); chunk != NULL; chunk = next) {
        next = TAILQ_NEXT(chunk, thirst_link);
        if (job->held + job->lent >= job->in_window)
            break;
        if (chunk != head && chunk->credit <= first / 2) /* it may have been the head, with more */
            grant(core, chunk, first);
    }
}

bool grants_next(struct core *core, struct action *action)
{
    struct chunk *chunk;
    while ((chunk = TAILQ_FIRST(&core->grants)) != NULL) {
        uint64_t bytes = chunk->grant;
        TAILQ_REMOVE(&core->grants, chunk, grant_link);
        chunk->granting = false;
        chunk->grant = 0;
        if (chunk->job->cancelled || chunk->job->session == NULL)
            continue; /* what it still sends will be dropped */
        *action = (struct action){.type = ACTION_GRANT, .worker = chunk->worker, .chunk = chunk->id};
        action->grant.bytes = bytes;
        action->grant.head = chunk->head;
        return true;
    }
    return false;
}
