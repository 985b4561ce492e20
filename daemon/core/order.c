/*
 * Order: whose turn it is. Owners by weighted fair share, an owner's jobs by priority and then by fair share.
 * Only what could have a chunk cut now is in the trees; see share.h for how their keys are kept.
 */
#include "daemon/core/internal.h"

#include <math.h>

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_key(const struct share *a, const struct share *b)
{
    return (a->key > b->key) - (a->key < b->key);
}

static int job_ref_compare(const struct job *a, const struct job *b)
{
    return compare_u64(a->ref, b->ref);
}

static int job_id_compare(const struct job *a, const struct job *b)
{
    return compare_u64(a->id, b->id);
}

static int job_share_compare(const struct job *a, const struct job *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    int order = compare_key(&a->share, &b->share);
    return order != 0 ? order : compare_u64(a->id, b->id);
}

static int owner_uid_compare(const struct owner *a, const struct owner *b)
{
    return (a->uid > b->uid) - (a->uid < b->uid);
}

static int owner_share_compare(const struct owner *a, const struct owner *b)
{
    int order = compare_key(&a->share, &b->share);
    return order != 0 ? order : owner_uid_compare(a, b);
}

RB_GENERATE(job_refs, job, ref_link, job_ref_compare)
RB_GENERATE(job_ids, job, id_link, job_id_compare)
RB_GENERATE(job_shares, job, share_link, job_share_compare)
RB_GENERATE(owner_uids, owner, uid_link, owner_uid_compare)
RB_GENERATE(owner_shares, owner, share_link, owner_share_compare)

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

/* The owner that is least advanced, its key brought up to date; NULL when none is runnable. One that stays
 * the first is not moved. */
static struct owner *least_owner(struct core *core, int64_t now_ns)
{
    struct owner *owner;
    while ((owner = RB_MIN(owner_shares, &core->runnable)) != NULL) {
        double key = share_key(&owner->share, now_ns);
        if (key <= owner->share.key)
            break;
        const struct owner *next = RB_NEXT(owner_shares, &core->runnable, owner);
        if (next == NULL || key < next->share.key) {
            owner->share.key = key;
            break;
        }
        RB_REMOVE(owner_shares, &core->runnable, owner);
        owner->share.key = key;
        RB_INSERT(owner_shares, &core->runnable, owner);
    }
    return owner;
}

static struct job *first_job(struct owner *owner, int32_t priority)
{
    struct job *job = RB_MIN(job_shares, &owner->jobs);
    if (job == NULL || job->priority == priority)
        return job;
    struct job before = {.priority = priority, .share.key = -HUGE_VAL};
    job = RB_NFIND(job_shares, &owner->jobs, &before);
    return job != NULL && job->priority == priority ? job : NULL;
}

/* The same among an owner's jobs of one priority. */
static struct job *least_job(struct owner *owner, int32_t priority, int64_t now_ns)
{
    struct job *job;
    while ((job = first_job(owner, priority)) != NULL) {
        double key = share_key(&job->share, now_ns);
        if (key <= job->share.key)
            break;
        const struct job *next = RB_NEXT(job_shares, &owner->jobs, job);
        if (next == NULL || next->priority != priority || key < next->share.key) {
            job->share.key = key;
            break;
        }
        RB_REMOVE(job_shares, &owner->jobs, job);
        job->share.key = key;
        RB_INSERT(job_shares, &owner->jobs, job);
    }
    return job;
}

/*
 * Who is alone in its tree is the first whatever its key says, so nothing keeps that up to date until another
 * one comes. (With one user's items, a chunk each, to keep them took 2.3 % of the broker's instructions.)
 */
static void meet_lone_owner(struct core *core, int64_t now_ns)
{
    struct owner *owner = RB_ROOT(&core->runnable);
    if (core->runnable_owners == 1)
        owner->share.key = share_key(&owner->share, now_ns);
}

static void meet_lone_job(struct owner *owner, int64_t now_ns)
{
    struct job *job = RB_ROOT(&owner->jobs);
    if (owner->runnable_jobs == 1)
        job->share.key = share_key(&job->share, now_ns);
}

/*
 * Whoever gets work joins those that wait, ahead of them by no more than a chunk's time: enough to be served
 * next after a cap has held it up, and too little to make others wait for what it did not ask for. Where
 * nobody waits, who was served last stands for them.
 */
static void owner_wake(struct core *core, struct owner *owner, int64_t now_ns)
{
    const struct owner *least = least_owner(core, now_ns);
    double lead = (double)core->config.chunk_target_ns / owner->share.weight;
    share_wake(&owner->share, least != NULL ? least->share.key - lead : core->present, now_ns);
}

static void job_wake(struct core *core, struct job *job, int64_t now_ns)
{
    const struct job *least = least_job(job->owner, job->priority, now_ns);
    double lead = (double)core->config.chunk_target_ns;
    share_wake(&job->share, least != NULL ? least->share.key - lead : job->owner->present, now_ns);
}

static double later(double a, double b)
{
    return a > b ? a : b;
}

static void set_owner_runnable(struct core *core, struct owner *owner, bool runnable, int64_t now_ns)
{
    owner->runnable = runnable;
    if (!runnable) {
        if (core->runnable_owners == 1)
            core->present = later(core->present, share_key(&owner->share, now_ns));
        core->runnable_owners--;
        core->runnable_jobs -= owner->runnable_jobs;
        RB_REMOVE(owner_shares, &core->runnable, owner);
        return;
    }
    meet_lone_owner(core, now_ns);
    owner_wake(core, owner, now_ns);
    owner->share.key = share_key(&owner->share, now_ns);
    RB_INSERT(owner_shares, &core->runnable, owner);
    core->runnable_owners++;
    core->runnable_jobs += owner->runnable_jobs;
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

static void insert_lasting(struct owner *owner, struct job *job)
{
    struct job *before;
    TAILQ_FOREACH_REVERSE(before, &owner->lasting, job_list, lasting_link)
    {
        if (before->id < job->id)
            break;
    }
    if (before != NULL)
        TAILQ_INSERT_AFTER(&owner->lasting, before, job, lasting_link);
    else
        TAILQ_INSERT_HEAD(&owner->lasting, job, lasting_link);
}

static void set_job_runnable(struct core *core, struct job *job, bool runnable, int64_t now_ns)
{
    struct owner *owner = job->owner;
    job->runnable = runnable;
    if (runnable) {
        meet_lone_job(owner, now_ns);
        job_wake(core, job, now_ns);
        job->share.key = share_key(&job->share, now_ns);
        RB_INSERT(job_shares, &owner->jobs, job);
        if (job->lasting)
            insert_lasting(owner, job);
    } else {
        if (owner->runnable_jobs == 1)
            owner->present = later(owner->present, share_key(&job->share, now_ns));
        RB_REMOVE(job_shares, &owner->jobs, job);
        if (job->lasting)
            TAILQ_REMOVE(&owner->lasting, job, lasting_link);
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
    bool capped = job->options.slots != 0 || job->owner->limits.slots != 0;
    bool plain = job->queued_items > 0 && job->parked == 0 && !job->exact && !capped && !core->stopped;
    if (!job->runnable || !plain || expected_results(job) >= real(job->in_window))
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
    if (owner->runnable)
        RB_REMOVE(owner_shares, &core->runnable, owner);
    share_advance(&owner->share, now_ns); /* what ran until now is charged with the old weight */
    owner->share.weight = owner->limits.weight != 0 ? owner->limits.weight : 1;
    owner->share.key = share_key(&owner->share, now_ns);
    if (owner->runnable)
        RB_INSERT(owner_shares, &core->runnable, owner);
}

void order_moved(struct core *core, struct job *job, int64_t now_ns)
{
    struct owner *owner = job->owner;
    if (owner->runnable_jobs <= 1 && core->runnable_owners <= 1)
        return;
    double key;
    if (job->runnable && owner->runnable_jobs > 1 &&
        (key = share_key(&job->share, now_ns)) < job->share.key) {
        RB_REMOVE(job_shares, &owner->jobs, job);
        job->share.key = key;
        RB_INSERT(job_shares, &owner->jobs, job);
    }
    if (owner->runnable && core->runnable_owners > 1 &&
        (key = share_key(&owner->share, now_ns)) < owner->share.key) {
        RB_REMOVE(owner_shares, &core->runnable, owner);
        owner->share.key = key;
        RB_INSERT(owner_shares, &core->runnable, owner);
    }
}

/*
 * A child that serves a lasting job is that job's, so jobs of this kind do not share: the oldest of an
 * owner's goes first, as far as it can, and no other is ahead of it in the order.
 */
static bool wait_for_older(struct owner *owner, struct job *job, int64_t now_ns)
{
    struct job *older = TAILQ_FIRST(&owner->lasting);
    while (older != job && older->priority != job->priority)
        older = TAILQ_NEXT(older, lasting_link);
    if (older == job)
        return false;
    RB_REMOVE(job_shares, &owner->jobs, older);
    older->share.key = share_key(&older->share, now_ns);
    RB_INSERT(job_shares, &owner->jobs, older);
    RB_REMOVE(job_shares, &owner->jobs, job);
    share_wake(&job->share, older->share.key, now_ns);
    job->share.key = older->share.key;
    RB_INSERT(job_shares, &owner->jobs, job);
    return true;
}

struct job *order_pick_of(struct owner *owner, int64_t now_ns)
{
    if (!owner->runnable)
        return NULL;
    if (owner->runnable_jobs == 1)
        return RB_ROOT(&owner->jobs);
    int32_t priority = RB_MIN(job_shares, &owner->jobs)->priority;
    struct job *job = least_job(owner, priority, now_ns);
    while (job->lasting && wait_for_older(owner, job, now_ns))
        job = least_job(owner, priority, now_ns);
    owner->present = later(owner->present, job->share.key);
    return job;
}

struct job *order_pick(struct core *core, int64_t now_ns)
{
    if (core->runnable_owners == 1)
        return order_pick_of(RB_ROOT(&core->runnable), now_ns);
    struct owner *owner = least_owner(core, now_ns);
    if (owner == NULL)
        return NULL;
    core->present = later(core->present, owner->share.key);
    return order_pick_of(owner, now_ns);
}
