/*
 * Order: whose turn it is. Owners by weighted fair share, an owner's jobs by priority and then by fair share.
 * Only what could have a chunk cut now is in the heaps; see share.h for how their keys are kept.
 */
#include "daemon/core/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int job_ref_compare(const struct job *a, const struct job *b)
{
    return compare_u64(a->ref, b->ref);
}

static int job_id_compare(const struct job *a, const struct job *b)
{
    return compare_u64(a->id, b->id);
}

/* The highest one first. */
static int level_compare(const struct level *a, const struct level *b)
{
    return (a->priority < b->priority) - (a->priority > b->priority);
}

static int owner_uid_compare(const struct owner *a, const struct owner *b)
{
    return (a->uid > b->uid) - (a->uid < b->uid);
}

RB_GENERATE(job_refs, job, ref_link, job_ref_compare)
RB_GENERATE(job_ids, job, id_link, job_id_compare)
RB_GENERATE(owner_uids, owner, uid_link, owner_uid_compare)
RB_GENERATE(levels, level, link, level_compare)
RB_GENERATE(work_levels, level, work_link, level_compare)

static_assert(offsetof(struct owner, share) == 0 && offsetof(struct job, share) == 0,
              "a share is first in what it is of");

struct owner *order_owner(struct share *share)
{
    return (struct owner *)share;
}

struct job *order_job(struct share *share)
{
    return (struct job *)share;
}

/*** Levels ***/

static struct level *level_get(struct owner *owner, int32_t priority)
{
    struct level key = {.priority = priority};
    struct level *level = RB_FIND(levels, &owner->levels, &key);
    if (level != NULL)
        return level;
    level = allocate_lines(sizeof *level);
    if (level == NULL)
        return NULL;
    level->priority = priority;
    TAILQ_INIT(&level->lasting);
    RB_INSERT(levels, &owner->levels, level);
    return level;
}

static void level_free_unused(struct owner *owner, struct level *level)
{
    if (level->jobs > 0)
        return;
    RB_REMOVE(levels, &owner->levels, level);
    heap_free(&level->runnable);
    free(level);
}

int order_join(struct job *job, int32_t priority)
{
    struct level *level = level_get(job->owner, priority);
    if (level == NULL)
        return -ENOMEM;
    if (heap_reserve(&level->runnable, level->jobs + 1) < 0) {
        level_free_unused(job->owner, level);
        return -ENOMEM;
    }
    level->jobs++;
    job->level = level;
    return 0;
}

void order_leave(struct job *job)
{
    struct level *level = job->level;
    job->level = NULL;
    level->jobs--;
    level_free_unused(job->owner, level);
}

/*** What may be run ***/

uint32_t order_slots(const struct core *core, const struct job *job)
{
    uint32_t slots = slots_of(core);
    if (job->options.slots != 0 && job->options.slots < slots)
        slots = job->options.slots;
    if (job->owner->limits.slots != 0 && job->owner->limits.slots < slots)
        slots = job->owner->limits.slots;
    return slots;
}

/* With nothing before it that waits to be sent: then nothing may hold it. */
bool order_next_is_head(const struct job *job)
{
    if (job->queued_items == 0 || !STAILQ_EMPTY(&job->ready))
        return false;
    const struct chunk *chunk = TAILQ_FIRST(&job->chunks);
    if (chunk == NULL)
        return true;
    return !job->options.unordered && TAILQ_FIRST(&job->segments)->first < chunk->first;
}

/* A sum of costs, which stays below 2^63: from a signed integer it is a single instruction. */
static inline double real(uint64_t cost)
{
    return (double)(int64_t)cost;
}

/* What the results held will grow to with what was begun. A process can send no more than it has credit for,
 * and keeps the rest to itself. */
static inline double expected_results(const struct job *job)
{
    double coming = job->growth * real(job->in_flight_cost);
    if (job->process && coming > real(job->lent))
        coming = real(job->lent);
    return real(job->held) + coming;
}

bool order_has_gap(const struct job *job)
{
    const struct segment *segment = TAILQ_FIRST(&job->segments);
    const struct chunk *last = TAILQ_LAST(&job->chunks, chunk_list);
    return job->options.once && !job->options.unordered && segment != NULL && last != NULL &&
           segment->first < last->first;
}

bool order_has_work(const struct core *core, const struct job *job)
{
    if (job->session == NULL || job->cancelled || job->queued_items == 0 || job->paused ||
        job->crew == NULL || (core->stopped && !order_has_gap(job)))
        return false;
    if (job->exact && !cut_is_due(job))
        return false;
    bool room = expected_results(job) < real(job->in_window) &&
                (job->parked == 0 || job->parked < PARKED_PER_SLOT * order_slots(core, job));
    return room || order_next_is_head(job);
}

bool order_capped(const struct job *job)
{
    return job->options.slots != 0 && job->lanes + job->tokens >= job->options.slots;
}

bool order_owner_capped(const struct owner *owner)
{
    return owner->limits.slots != 0 && owner->lanes + owner->tokens >= owner->limits.slots;
}

/*** Who is least advanced ***/

/* The share that is least advanced, its key brought up to date; NULL when none is in the heap. */
static struct share *least(struct heap *heap, int64_t now_ns)
{
    struct share *share;
    while ((share = heap_first(heap)) != NULL) {
        if (share_key(share, now_ns) <= share->key)
            break;
        heap_put(heap, share, share_kept_key(share, now_ns));
    }
    return share;
}

/*
 * Who is alone in its heap is the first whatever its key says, so nothing keeps that up to date until another
 * one comes. (With one user's items, a chunk each, to keep them took 2.3 % of the broker's instructions.)
 */
static void meet_lone(struct heap *heap, int64_t now_ns)
{
    struct share *lone = heap_first(heap);
    if (heap->count == 1)
        heap_put(heap, lone, share_key(lone, now_ns));
}

/*
 * Whoever gets work joins those that wait, ahead of them by no more than a chunk's time: enough to be served
 * next after a cap has held it up, and too little to make others wait for what it did not ask for. Where
 * nobody waits, who was served last stands for them.
 */
static void join(const struct core *core, struct heap *heap, struct share *share, double present,
                 int64_t now_ns)
{
    meet_lone(heap, now_ns);
    const struct share *first = least(heap, now_ns);
    double lead = (double)core->config.chunk_target_ns / share->weight;
    share_wake(share, first != NULL ? first->key - lead : present, now_ns);
    heap_put(heap, share, share_key(share, now_ns));
}

static double later(double a, double b)
{
    return a > b ? a : b;
}

static void leave(struct heap *heap, struct share *share, double *present, int64_t now_ns)
{
    if (heap->count == 1)
        *present = later(*present, share_key(share, now_ns));
    heap_remove(heap, share);
}

/*** Who is in the heaps ***/

static void set_owner_runnable(struct core *core, struct owner *owner, bool runnable, int64_t now_ns)
{
    owner->runnable = runnable;
    if (!runnable) {
        leave(&core->runnable, &owner->share, &core->present, now_ns);
        core->runnable_jobs -= owner->runnable_jobs;
    } else {
        join(core, &core->runnable, &owner->share, core->present, now_ns);
        core->runnable_jobs += owner->runnable_jobs;
    }
}

void order_owner_update(struct core *core, struct owner *owner, int64_t now_ns)
{
    bool work = owner->runnable_jobs > 0, capped = order_owner_capped(owner);
    if (owner->held_up != (work && capped)) {
        owner->held_up = !owner->held_up;
        core->held_up_owners += owner->held_up ? 1 : -1;
    }
    if (owner->runnable != (work && !capped))
        set_owner_runnable(core, owner, work && !capped, now_ns);
    guarantee_look(core, owner, now_ns);
}

static void set_starved(struct core *core, struct job *job, bool starved)
{
    struct crew *crew = job->crew;
    job->starved = starved;
    job->owner->starved_jobs += starved ? 1 : -1;
    if (starved) {
        if (TAILQ_EMPTY(&crew->starved))
            TAILQ_INSERT_TAIL(&core->wanting, crew, want_link);
        TAILQ_INSERT_TAIL(&crew->starved, job, starved_link);
    } else {
        TAILQ_REMOVE(&crew->starved, job, starved_link);
        if (TAILQ_EMPTY(&crew->starved))
            TAILQ_REMOVE(&core->wanting, crew, want_link);
    }
}

static void insert_lasting(struct level *level, struct job *job)
{
    struct job *before;
    TAILQ_FOREACH_REVERSE(before, &level->lasting, job_list, lasting_link)
    {
        if (before->id < job->id)
            break;
    }
    if (before != NULL)
        TAILQ_INSERT_AFTER(&level->lasting, before, job, lasting_link);
    else
        TAILQ_INSERT_HEAD(&level->lasting, job, lasting_link);
}

static void set_job_runnable(struct core *core, struct job *job, bool runnable, int64_t now_ns)
{
    struct owner *owner = job->owner;
    struct level *level = job->level;
    job->runnable = runnable;
    if (runnable) {
        if (level->runnable.count == 0)
            RB_INSERT(work_levels, &owner->work, level);
        join(core, &level->runnable, &job->share, level->present, now_ns);
        if (job->lasting)
            insert_lasting(level, job);
    } else {
        leave(&level->runnable, &job->share, &level->present, now_ns);
        if (level->runnable.count == 0)
            RB_REMOVE(work_levels, &owner->work, level);
        if (job->lasting)
            TAILQ_REMOVE(&level->lasting, job, lasting_link);
    }
    if (owner->runnable)
        core->runnable_jobs += runnable ? 1 : -1;
    owner->runnable_jobs += runnable ? 1 : -1;
}

/* Has it changed what its owner has to do? */
static bool job_update(struct core *core, struct job *job, int64_t now_ns)
{
    bool work = order_has_work(core, job), was_starved = job->starved;
    if (was_starved && (!work || worker_for(job)))
        set_starved(core, job, false);
    bool capped = work && !job->starved && order_capped(job);
    bool runnable = work && !capped && !job->starved;
    if (capped != job->capped) {
        job->capped = capped;
        core->capped_jobs += capped ? 1 : -1;
    }
    if (runnable != job->runnable)
        set_job_runnable(core, job, runnable, now_ns);
    else if (job->starved == was_starved)
        return false;
    return true;
}

void order_update(struct core *core, struct job *job, int64_t now_ns)
{
    if (job_update(core, job, now_ns) || job->owner->limits.slots != 0)
        order_owner_update(core, job->owner, now_ns);
}

void order_update_all(struct core *core, int64_t now_ns)
{
    struct job *job;
    RB_FOREACH (job, job_ids, &core->jobs)
        order_update(core, job, now_ns);
}

/* What makes no difference, the common case by far, is found out with half of what order_update takes. */
void order_ran(struct core *core, struct job *job, int64_t now_ns)
{
    if (job->runnable && job->queued_items > 0 && job->parked == 0 && !job->exact &&
        job->options.slots == 0 && job->owner->limits.slots == 0 && !core->stopped &&
        expected_results(job) < real(job->in_window))
        return;
    order_update(core, job, now_ns);
}

void order_starve(struct core *core, struct job *job, int64_t now_ns)
{
    set_starved(core, job, true);
    order_update(core, job, now_ns);
}

void order_feed(struct core *core, struct crew *crew, int64_t now_ns)
{
    struct job *job, *next;
    for (job = TAILQ_FIRST(&crew->starved); job != NULL; job = next) {
        next = TAILQ_NEXT(job, starved_link);
        order_update(core, job, now_ns);
    }
}

void order_owner_changed(struct core *core, struct owner *owner, int64_t now_ns)
{
    owner->lanes_before = owner->lanes;
    order_owner_update(core, owner, now_ns);
    share_advance(&owner->share, now_ns); /* what ran until now is charged with the old weight */
    owner->share.weight = owner->limits.weight != 0 ? owner->limits.weight : 1;
    if (owner->runnable)
        heap_put(&core->runnable, &owner->share, share_key(&owner->share, now_ns));
}

/* Puts it where it belongs, if it has come nearer to the first. */
static void advance(struct heap *heap, struct share *share, int64_t now_ns)
{
    double key = share_key(share, now_ns);
    if (key < share->key)
        heap_put(heap, share, key);
}

void order_move_on(struct core *core, struct job *job, int64_t now_ns)
{
    struct owner *owner = job->owner;
    if (job->runnable && job->level->runnable.count > 1)
        advance(&job->level->runnable, &job->share, now_ns);
    if (owner->runnable && core->runnable.count > 1)
        advance(&core->runnable, &owner->share, now_ns);
}

/*
 * Asks for all of the job that giving a chunk reads, before it is known for sure that it will be the one:
 * with 10,000 users nothing of it is in a cache, and to wait for one line after the other took a fifth of a
 * decision.
 */
static void prefetch(const struct job *job)
{
    for (size_t at = 0; at < offsetof(struct job, id); at += CACHE_LINE)
        __builtin_prefetch((const char *)job + at, 1);
}

/* Now, and not when one of them is the first again: then no cache may have it. */
void order_move_back(struct core *core, struct job *job, int64_t now_ns)
{
    struct owner *owner = job->owner;
    struct heap *jobs = &job->level->runnable;
    if (job->runnable && jobs->count > 1)
        heap_put(jobs, &job->share, share_key(&job->share, now_ns));
    owner->likely = order_job(heap_first(jobs));
    if (owner->runnable && core->runnable.count > 1)
        heap_put(&core->runnable, &owner->share, share_key(&owner->share, now_ns));
}

/*** Picking ***/

/*
 * A child that serves a lasting job is that job's, so jobs of this kind do not share: the oldest of a level's
 * goes first, as far as it can, and no other is ahead of it in the order.
 */
static struct job *pick_lasting(struct level *level, struct job *job, int64_t now_ns)
{
    struct heap *jobs = &level->runnable;
    struct job *oldest = TAILQ_FIRST(&level->lasting);
    while (job->lasting && job != oldest) {
        double key = share_key(&oldest->share, now_ns);
        heap_put(jobs, &oldest->share, key);
        if (job->share.key >= key)
            return oldest; /* it is that of both, now */
        share_wake(&job->share, key, now_ns);
        heap_put(jobs, &job->share, key);
        job = order_job(least(jobs, now_ns));
    }
    return job;
}

static struct job *pick_job(struct level *level, int64_t now_ns)
{
    struct job *job = order_job(least(&level->runnable, now_ns));
    if (job->lasting)
        job = pick_lasting(level, job, now_ns);
    level->present = later(level->present, job->share.key);
    return job;
}

struct job *order_pick_of(struct owner *owner, int64_t now_ns)
{
    if (!owner->runnable)
        return NULL;
    struct level *level = RB_ROOT(&owner->work);
    if (RB_LEFT(level, work_link) != NULL)
        level = RB_MIN(work_levels, &owner->work);
    bool lone = level->runnable.count == 1;
    return lone ? order_job(heap_first(&level->runnable)) : pick_job(level, now_ns);
}

static struct owner *pick_owner(struct core *core, int64_t now_ns)
{
    struct owner *owner = order_owner(least(&core->runnable, now_ns));
    prefetch(owner->likely);
    core->present = later(core->present, owner->share.key);
    return owner;
}

struct job *order_pick(struct core *core, int64_t now_ns)
{
    if (core->runnable.count == 0)
        return NULL;
    bool lone = core->runnable.count == 1;
    return order_pick_of(lone ? order_owner(heap_first(&core->runnable)) : pick_owner(core, now_ns), now_ns);
}
