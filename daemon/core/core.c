/* The core's life, its sessions and owners, and the one loop that turns its state into actions. */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

void *allocate_lines(size_t size)
{
    size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    void *memory = aligned_alloc(CACHE_LINE, size);
    return memory != NULL ? memset(memory, 0, size) : NULL;
}

void *spare_take(struct spare *spare)
{
    void *object = spare->first;
    if (object == NULL)
        return calloc(1, spare->size);
    memcpy(&spare->first, object, sizeof spare->first);
    memset(object, 0, spare->size);
    return object;
}

void spare_give(struct spare *spare, void *object)
{
#ifdef __SANITIZE_ADDRESS__
    (void)spare; /* so that the sanitizer sees a use after it */
    free(object);
#else
    if (object == NULL)
        return;
    memcpy(object, &spare->first, sizeof spare->first);
    spare->first = object;
#endif
}

static void spare_free(struct spare *spare)
{
    while (spare->first != NULL) {
        void *object = spare->first;
        memcpy(&spare->first, object, sizeof spare->first);
        free(object);
    }
}

struct core *core_new(const struct core_config *config)
{
    struct core *core = calloc(1, sizeof *core);
    if (core == NULL)
        return NULL;
    core->config = *config;
    if (core->config.job_window == 0)
        core->config.job_window = WINDOW_DEFAULT;
    if (core->config.queue_depth == 0)
        core->config.queue_depth = QUEUE_DEPTH_DEFAULT;
    if (core->config.queue_ahead_ns == 0)
        core->config.queue_ahead_ns = QUEUE_AHEAD_DEFAULT_NS;
    if (core->config.first_credit == 0)
        core->config.first_credit = FIRST_CREDIT_DEFAULT;
    if (core->config.head_credit == 0)
        core->config.head_credit = HEAD_CREDIT_DEFAULT;
    if (core->config.worker_idle_ns == 0)
        core->config.worker_idle_ns = WORKER_IDLE_DEFAULT_NS;
    if (core->config.worker_age_ns == 0)
        core->config.worker_age_ns = WORKER_AGE_DEFAULT_NS;
    if (core->config.worker_chunks == 0)
        core->config.worker_chunks = WORKER_CHUNKS_DEFAULT;
    if (core->config.start_delay_ns == 0)
        core->config.start_delay_ns = START_DELAY_DEFAULT_NS;
    RB_INIT(&core->owners);
    RB_INIT(&core->jobs);
    LIST_INIT(&core->sessions);
    LIST_INIT(&core->orphans);
    TAILQ_INIT(&core->outbox);
    TAILQ_INIT(&core->refused);
    TAILQ_INIT(&core->unserved);
    core->crowded_ns = INT64_MIN;
    TAILQ_INIT(&core->controls);
    TAILQ_INIT(&core->grants);
    TAILQ_INIT(&core->borrowers);
    TAILQ_INIT(&core->lendings);
    crew_init(&core->threads);
    LIST_INIT(&core->crews);
    TAILQ_INIT(&core->wanting);
    TAILQ_INIT(&core->hungry);
    TAILQ_INIT(&core->full);
    TAILQ_INIT(&core->resting);
    TAILQ_INIT(&core->stopping);
    LIST_INIT(&core->over);
    RB_INIT(&core->looks);
    core->spare_segments.size = sizeof(struct segment);
    core->spare_blocks.size = sizeof(struct block);
    core->spare_chunks.size = sizeof(struct chunk);
    core->spare_sent.size = sizeof(struct sent);
    return core;
}

/* What ended with the last action is freed. */
static void settle_last_end(struct core *core)
{
    core->out_last = false;
    free(core->out_worker);
    core->out_worker = NULL;
    if (core->out_over != NULL)
        job_destroy(core->out_over);
    core->out_over = NULL;
    if (core->out_job != NULL) {
        struct job *job = core->out_job;
        core->out_job = NULL;
        job_free(core, job);
    }
}

void settle_last_action(struct core *core)
{
    for (size_t i = 0; i < core->out_count; i++)
        batch_unref(core->out[i]);
    core->out_count = 0;
    batch_unref(core->out_items);
    core->out_items = NULL;
    if (core->out_last)
        settle_last_end(core);
}

void core_configure(struct core *core, const struct core_config *config, int64_t now_ns)
{
    settle_last_action(core);
    core->config.slots = config->slots;
    core->config.chunk_target_ns = config->chunk_target_ns;
    core->config.queued_bytes = config->queued_bytes;
    core->config.guarantee_after_ns = config->guarantee_after_ns;
    core->config.guarantee_max = config->guarantee_max;
    core->running_before = core->running;
    workers_configured(core, now_ns);
    order_update_all(core, now_ns);
    chunks_look_soon(core, now_ns);
}

void core_free(struct core *core)
{
    if (core == NULL)
        return;
    settle_last_action(core);
    struct session *session;
    while ((session = LIST_FIRST(&core->sessions)) != NULL)
        core_session_close(core, session, 0);
    settle_last_action(core);
    workers_free(core);
    struct job *job;
    while ((job = LIST_FIRST(&core->over)) != NULL) {
        LIST_REMOVE(job, orphan_link);
        job_destroy(job);
    }
    struct owner *owner;
    while ((owner = RB_MIN(owner_uids, &core->owners)) != NULL) {
        RB_REMOVE(owner_uids, &core->owners, owner);
        free(owner);
    }
    heap_free(&core->runnable);
    core_rest(core);
    free(core);
}

void core_rest(struct core *core)
{
    spare_free(&core->spare_segments);
    spare_free(&core->spare_blocks);
    spare_free(&core->spare_chunks);
    spare_free(&core->spare_sent);
}

static struct owner *owner_get(struct core *core, uid_t uid, const struct owner_limits *limits)
{
    struct owner key = {.uid = uid};
    struct owner *owner = RB_FIND(owner_uids, &core->owners, &key);
    if (owner != NULL)
        return owner;
    if (heap_reserve(&core->runnable, core->owner_count + 1) < 0)
        return NULL;
    owner = allocate_lines(sizeof *owner);
    if (owner == NULL)
        return NULL;
    owner->uid = uid;
    owner->limits = *limits;
    share_init(&owner->share, limits->weight, uid);
    RB_INIT(&owner->work);
    RB_INIT(&owner->levels);
    TAILQ_INIT(&owner->refused);
    RB_INSERT(owner_uids, &core->owners, owner);
    core->owner_count++;
    return owner;
}

static void set_limits(struct core *core, struct owner *owner, const struct owner_limits *limits)
{
    if (owner->limits.weight != limits->weight || owner->limits.slots != limits->slots)
        owner->changed = core->changed = true; /* which matters from the next decision on */
    owner->limits = *limits;
}

/* The more of each. */
static struct owner_limits most_of(const struct owner_limits *a, const struct owner_limits *b)
{
    bool capped = a->slots != 0 && b->slots != 0;
    return (struct owner_limits){
        .weight = a->weight > b->weight ? a->weight : b->weight,
        .slots = !capped               ? 0
                 : a->slots > b->slots ? a->slots
                                       : b->slots,
        .jobs = a->jobs > b->jobs ? a->jobs : b->jobs,
        .queued_bytes = a->queued_bytes > b->queued_bytes ? a->queued_bytes : b->queued_bytes,
    };
}

void core_session_limits(struct core *core, struct session *session, const struct owner_limits *limits)
{
    settle_last_action(core);
    set_limits(core, session->owner, limits);
}

void core_session_raise(struct core *core, struct session *session, const struct owner_limits *limits)
{
    settle_last_action(core);
    struct owner_limits most = most_of(&session->owner->limits, limits);
    set_limits(core, session->owner, &most);
}

int core_session_open(struct core *core, uid_t uid, const struct owner_limits *limits, void *cookie,
                      struct session **session)
{
    settle_last_action(core);
    struct session *s = calloc(1, sizeof *s);
    struct owner *owner = s != NULL ? owner_get(core, uid, limits) : NULL;
    if (owner == NULL) {
        free(s);
        return -ENOMEM;
    }
    struct owner_limits most = owner->sessions > 0 ? most_of(&owner->limits, limits) : *limits;
    set_limits(core, owner, &most);
    s->owner = owner;
    s->cookie = cookie;
    RB_INIT(&s->jobs);
    LIST_INSERT_HEAD(&core->sessions, s, link);
    owner->sessions++;
    core->session_count++;
    *session = s;
    return 0;
}

void core_session_close(struct core *core, struct session *session, int64_t now_ns)
{
    settle_last_action(core);
    struct job *job;
    while ((job = RB_MIN(job_refs, &session->jobs)) != NULL) {
        job->client_gone = true;
        job_orphan(core, job, now_ns);
        if (job->in_flight == 0)
            job_free(core, job);
    }
    LIST_REMOVE(session, link);
    if (session->crew != NULL)
        session->crew->sessions--;
    session->owner->sessions--;
    core->session_count--;
    free(session);
}

void core_session_block(struct core *core, struct session *session, bool blocked)
{
    settle_last_action(core);
    session->blocked = blocked;
    struct job *job;
    RB_FOREACH (job, job_refs, &session->jobs) {
        if (!blocked) {
            job_tell(core, job);
        } else if (job->queued_out) {
            TAILQ_REMOVE(&core->outbox, job, out_link);
            job->queued_out = false;
        }
    }
}

uint32_t core_sessions_of(const struct core *core, uid_t uid)
{
    struct owner key = {.uid = uid};
    const struct owner *owner = RB_FIND(owner_uids, (struct owner_uids *)&core->owners, &key);
    return owner != NULL ? owner->sessions : 0;
}

void *session_cookie(const struct session *session)
{
    return session->cookie;
}

/* Owners have other weights and caps than before. */
static void change_limits(struct core *core, int64_t now_ns)
{
    struct owner *owner;
    RB_FOREACH (owner, owner_uids, &core->owners) {
        if (owner->changed)
            order_owner_changed(core, owner, now_ns);
        owner->changed = false;
    }
    core->changed = false;
}

static bool next_control(struct core *core, struct action *action)
{
    struct chunk *chunk = TAILQ_FIRST(&core->controls);
    if (chunk == NULL)
        return false;
    TAILQ_REMOVE(&core->controls, chunk, control_link);
    static const enum action_type types[] = {
        [CONTROL_YIELD] = ACTION_YIELD, [CONTROL_RECALL] = ACTION_RECALL, [CONTROL_DROP] = ACTION_DROP};
    *action = (struct action){.type = types[chunk->control], .worker = chunk->worker, .chunk = chunk->id};
    if (chunk->control == CONTROL_DROP)
        action->drop.client_gone = chunk->job->client_gone;
    chunk->control = CONTROL_NONE;
    return true;
}

static bool next_over(struct core *core, struct action *action)
{
    struct job *job = LIST_FIRST(&core->over);
    if (job == NULL)
        return false;
    LIST_REMOVE(job, orphan_link);
    core->out_over = job;
    core->out_last = true;
    *action = (struct action){.type = ACTION_OVER};
    action->over.job = job->id;
    action->over.function = job->function;
    return true;
}

bool core_next(struct core *core, int64_t now_ns, struct action *action)
{
    settle_last_action(core);
    if (core->changed)
        change_limits(core, now_ns);
    if (next_control(core, action))
        return true;
    if (!TAILQ_EMPTY(&core->grants) && grants_next(core, action))
        return true;
    if (next_over(core, action))
        return true;

    struct chunk *chunk = chunks_dispatch(core, now_ns);
    if (chunk != NULL) {
        *action = (struct action){.type = ACTION_CHUNK, .worker = chunk->worker, .chunk = chunk->id};
        action->work.job = chunk->job->id;
        action->work.first = chunk->first;
        action->work.function = chunk->job->function;
        action->work.items = chunk->items;
        action->work.trace = chunk->job->options.trace;
        action->work.credit = chunk->metered ? (uint64_t)chunk->credit : PROTOCOL_COUNT_MAX;
        return true;
    }
    bool workers = !TAILQ_EMPTY(&core->stopping) || !TAILQ_EMPTY(&core->wanting);
    if (workers && workers_next(core, action, now_ns))
        return true;

    if (!TAILQ_EMPTY(&core->borrowers)) { /* when it is known who is being started */
        lend_look(core, now_ns);
        if (lend_next(core, action))
            return true;
    }

    input_try_refused(core);
    struct job *job;
    while ((job = TAILQ_FIRST(&core->outbox)) != NULL) {
        TAILQ_REMOVE(&core->outbox, job, out_link);
        job->queued_out = false;
        memset(action, 0, sizeof *action);
        action->session = job->session;
        action->ref = job->ref;
        if (job_next(core, job, action, now_ns)) {
            if (core->out_job != job && job->session != NULL)
                job_tell(core, job); /* there may be more; the others first */
            return true;
        }
    }
    return false;
}
