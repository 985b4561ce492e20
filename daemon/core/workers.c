/*
 * Workers and their crews: who has nothing to do, who suits a job, when a further process is wanted and when
 * one is let go. A worker without a chunk is in its crew's `idle`, or in `stuffed` while it keeps so many
 * results to itself that it gets heads only; with a chunk it is in the core's `hungry` or `full`.
 */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

/*** Crews ***/

void crew_init(struct crew *crew)
{
    TAILQ_INIT(&crew->idle);
    TAILQ_INIT(&crew->stuffed);
    TAILQ_INIT(&crew->starved);
}

int core_crew_new(struct core *core, void *cookie, struct crew **out)
{
    settle_last_action(core);
    struct crew *crew = calloc(1, sizeof *crew);
    if (crew == NULL)
        return -ENOMEM;
    crew_init(crew);
    crew->process = true;
    crew->cookie = cookie;
    LIST_INSERT_HEAD(&core->crews, crew, link);
    *out = crew;
    return 0;
}

int core_crew_free(struct core *core, struct crew *crew)
{
    settle_last_action(core);
    if (crew->sessions > 0 || crew->jobs > 0 || crew->workers > 0 || crew->starting > 0)
        return -EBUSY;
    LIST_REMOVE(crew, link);
    free(crew);
    return 0;
}

void *crew_cookie(const struct crew *crew)
{
    return crew->cookie;
}

void core_session_crew(struct core *core, struct session *session, struct crew *crew, int64_t now_ns)
{
    settle_last_action(core);
    session->crew = crew;
    crew->sessions++;
    struct job *job;
    RB_FOREACH (job, job_refs, &session->jobs) {
        if (!job->process)
            continue;
        job->crew = crew;
        crew->jobs++;
        order_update(core, job, now_ns);
    }
}

/*** Starting ***/

uint64_t chunks_left(const struct job *job)
{
    uint64_t items = job->exact ? job->options.chunksize : 1, count = job->queued_items / items;
    return count == 0 || (job->ended && job->queued_items % items != 0) ? count + 1 : count;
}

static uint64_t below_cap(uint64_t more, uint32_t cap, uint32_t lanes)
{
    if (cap == 0)
        return more;
    uint32_t left = cap > lanes ? cap - lanes : 0;
    return more < left ? more : left;
}

/* Further workers that the crew's starved jobs could use now, up to `most`. */
static uint32_t useful_workers(const struct crew *crew, uint32_t most)
{
    uint64_t useful = 0;
    const struct job *job;
    TAILQ_FOREACH (job, &crew->starved, starved_link) {
        uint64_t more = chunks_left(job);
        more = below_cap(more, job->options.slots, job->lanes);
        more = below_cap(more, job->owner->limits.slots, job->owner->lanes);
        useful += more;
        if (useful >= most)
            return most;
    }
    return (uint32_t)useful;
}

bool start_is_wanted(const struct core *core, const struct crew *crew)
{
    /* What is lent will be free when the worker is there. */
    uint32_t slots = slots_of(core), used = core->running - core->tokens;
    uint32_t most = used < slots ? slots - used : 1;
    if (!crew->process) { /* there are threads for all slots, and one is missing for the guarantee only */
        if (slot_free(core) || core->config.guarantee_after_ns == 0)
            return false;
        slots = slots_most(core);
    }
    if (crew->workers + crew->starting >= slots)
        return false;
    return crew->starting < useful_workers(crew, most);
}

static void start_has_failed(struct core *core, struct crew *crew, int64_t now_ns)
{
    int64_t most_ns = START_DELAY_MOST * core->config.start_delay_ns;
    if (now_ns - crew->not_before > most_ns)
        crew->failures = 0; /* it has gone well since */
    int64_t delay_ns = core->config.start_delay_ns << crew->failures;
    if (crew->failures < START_DELAY_DOUBLINGS)
        crew->failures++;
    crew->not_before = now_ns + (delay_ns < most_ns ? delay_ns : most_ns);
}

void core_start_failed(struct core *core, struct crew *crew, int64_t now_ns)
{
    settle_last_action(core);
    if (crew == NULL)
        crew = &core->threads;
    if (crew->starting > 0)
        crew->starting--;
    start_has_failed(core, crew, now_ns);
}

int core_worker_add(struct core *core, struct crew *crew, void *cookie, int64_t now_ns, struct worker **out)
{
    settle_last_action(core);
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return -ENOMEM;
    worker->cookie = cookie;
    worker->crew = crew != NULL ? crew : &core->threads;
    worker->born_ns = now_ns;
    worker->number = ++core->next_worker;
    worker->look_ns = INT64_MAX;
    TAILQ_INIT(&worker->chunks);
    TAILQ_INIT(&worker->parked);
    if (worker->crew->starting > 0)
        worker->crew->starting--;
    worker->crew->workers++;
    core->worker_count++;
    worker_relist(core, worker, now_ns);
    *out = worker;
    return 0;
}

void *worker_cookie(const struct worker *worker)
{
    return worker->cookie;
}

struct crew *worker_crew(const struct worker *worker)
{
    return worker->crew->process ? worker->crew : NULL;
}

struct job *core_worker_job(const struct worker *worker)
{
    const struct chunk *chunk = TAILQ_FIRST(&worker->chunks);
    return chunk != NULL && chunk->job->session != NULL ? chunk->job : NULL;
}

static bool any_drops(const struct chunk_list *chunks)
{
    const struct chunk *chunk;
    TAILQ_FOREACH (chunk, chunks, worker_link) {
        if (chunk->asked == CONTROL_DROP)
            return true;
    }
    return false;
}

bool core_worker_drops(const struct worker *worker)
{
    return any_drops(&worker->chunks) || any_drops(&worker->parked);
}

/*** Resting and stopping ***/

static void set_resting(struct core *core, struct worker *worker, bool resting, int64_t now_ns)
{
    if (resting == worker->resting)
        return;
    worker->resting = resting;
    if (resting) {
        worker->idle_since_ns = now_ns;
        TAILQ_INSERT_TAIL(&core->resting, worker, rest_link);
        core->resting_count++;
    } else {
        TAILQ_REMOVE(&core->resting, worker, rest_link);
        core->resting_count--;
    }
}

static void remove_worker(struct core *core, struct worker *worker, int64_t now_ns)
{
    set_resting(core, worker, false, now_ns);
    chunks_stop_looking(core, worker);
    TAILQ_REMOVE(worker->list, worker, link);
    worker->crew->workers--;
    core->worker_count--;
}

static void stop_worker(struct core *core, struct worker *worker, int64_t now_ns)
{
    remove_worker(core, worker, now_ns);
    worker->list = &core->stopping;
    TAILQ_INSERT_TAIL(&core->stopping, worker, link);
}

void worker_relist(struct core *core, struct worker *worker, int64_t now_ns)
{
    struct crew *crew = worker->crew;
    struct worker_list *list = &core->full;
    bool idle = worker->depth == 0, laden = worker->parked_count >= PARKED_PER_WORKER;
    if (idle)
        list = laden ? &crew->stuffed : &crew->idle;
    else if (!laden && worker->depth <= core->config.queue_depth &&
             worker->queued_ns < core->config.queue_ahead_ns)
        list = &core->hungry;
    if (list != worker->list) {
        if (worker->list != NULL)
            TAILQ_REMOVE(worker->list, worker, link);
        worker->list = list;
        if (list == &crew->idle)
            TAILQ_INSERT_HEAD(list, worker, link); /* the one that ran last has the warmest caches */
        else
            TAILQ_INSERT_TAIL(list, worker, link);
        if (idle && !TAILQ_EMPTY(&crew->starved))
            order_feed(core, crew, now_ns);
    }
    if (!crew->process)
        return;
    bool resting = idle && worker->parked_count == 0;
    set_resting(core, worker, resting, now_ns);
    if (!resting)
        return;
    if (worker->ran >= core->config.worker_chunks || now_ns - worker->born_ns >= core->config.worker_age_ns ||
        crew->workers > slots_of(core))
        stop_worker(core, worker, now_ns);
    else if (core->resting_count > IDLE_PER_SLOT * slots_of(core))
        stop_worker(core, TAILQ_FIRST(&core->resting), now_ns);
}

void workers_configured(struct core *core, int64_t now_ns)
{
    struct crew *crew;
    LIST_FOREACH (crew, &core->crews, link)
        crew->workers_before = crew->workers + crew->starting;
    struct worker *worker, *next;
    for (worker = TAILQ_FIRST(&core->resting); worker != NULL; worker = next) {
        next = TAILQ_NEXT(worker, rest_link);
        if (worker->crew->workers > slots_of(core) || core->resting_count > IDLE_PER_SLOT * slots_of(core))
            stop_worker(core, worker, now_ns);
    }
}

void workers_tick(struct core *core, int64_t now_ns)
{
    struct worker *worker;
    while ((worker = TAILQ_FIRST(&core->resting)) != NULL &&
           now_ns - worker->idle_since_ns >= core->config.worker_idle_ns)
        stop_worker(core, worker, now_ns);
}

int64_t workers_deadline(const struct core *core)
{
    int64_t due_ns = INT64_MAX;
    const struct worker *worker = TAILQ_FIRST(&core->resting);
    if (worker != NULL)
        due_ns = worker->idle_since_ns + core->config.worker_idle_ns;
    const struct crew *crew;
    TAILQ_FOREACH (crew, &core->wanting, want_link) {
        if (crew->not_before < due_ns && start_is_wanted(core, crew))
            due_ns = crew->not_before;
    }
    return due_ns;
}

bool workers_next(struct core *core, struct action *action, int64_t now_ns)
{
    struct worker *worker = TAILQ_FIRST(&core->stopping);
    if (worker != NULL) {
        TAILQ_REMOVE(&core->stopping, worker, link);
        core->out_worker = worker;
        core->out_last = true;
        *action = (struct action){.type = ACTION_STOP, .worker = worker, .crew = worker->crew};
        return true;
    }
    struct crew *crew;
    TAILQ_FOREACH (crew, &core->wanting, want_link) {
        if (now_ns < crew->not_before || !start_is_wanted(core, crew))
            continue;
        crew->starting++;
        *action = (struct action){.type = ACTION_START, .crew = crew->process ? crew : NULL};
        return true;
    }
    return false;
}

void worker_forget(struct core *core, struct worker *worker, int64_t now_ns)
{
    if (worker->list == &core->stopping) {
        TAILQ_REMOVE(&core->stopping, worker, link);
    } else {
        if (worker->crew->process && now_ns - worker->born_ns < WORKER_YOUNG_NS)
            start_has_failed(core, worker->crew, now_ns);
        remove_worker(core, worker, now_ns);
    }
    free(worker);
}

void workers_free(struct core *core)
{
    struct worker *worker;
    while ((worker = TAILQ_FIRST(&core->stopping)) != NULL) {
        TAILQ_REMOVE(&core->stopping, worker, link);
        free(worker);
    }
    struct worker_list *lists[] = {&core->hungry, &core->full, &core->threads.idle, NULL};
    for (size_t i = 0; lists[i] != NULL; i++) {
        while ((worker = TAILQ_FIRST(lists[i])) != NULL)
            core_worker_gone(core, worker, 0);
    }
    struct crew *crew;
    while ((crew = LIST_FIRST(&core->crews)) != NULL) {
        while ((worker = TAILQ_FIRST(&crew->idle)) != NULL || (worker = TAILQ_FIRST(&crew->stuffed)) != NULL)
            core_worker_gone(core, worker, 0);
        LIST_REMOVE(crew, link);
        free(crew);
    }
}

/*** Choosing ***/

bool worker_for(const struct job *job)
{
    const struct crew *crew = job->crew;
    return !TAILQ_EMPTY(&crew->idle) || (!TAILQ_EMPTY(&crew->stuffed) && order_next_is_head(job));
}

/* Has it a child that serves another lasting job which may go on? */
static bool serves_another(const struct core *core, const struct worker *worker, const struct job *job)
{
    return worker->served != 0 && worker->served != job->id && core_job_by_id(core, worker->served) != NULL;
}

struct worker *worker_choose(struct core *core, const struct job *job)
{
    const struct crew *crew = job->crew;
    struct worker *worker = TAILQ_FIRST(&crew->idle);
    if (worker == NULL)
        return order_next_is_head(job) ? TAILQ_FIRST(&crew->stuffed) : NULL;
    if (!crew->process)
        return worker;
    struct worker *best = NULL;
    TAILQ_FOREACH (worker, &crew->idle, link) {
        if (job->lasting && worker->served == job->id)
            return worker;
        if (best == NULL && !serves_another(core, worker, job))
            best = worker;
        if (best != NULL && !job->lasting)
            break;
    }
    return best != NULL ? best : TAILQ_FIRST(&crew->idle);
}
