/*
 * A job's life, and what its session is told next. What comes in is in input.c, results and their order in
 * results.c.
 */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

int core_job_open(struct core *core, struct session *session, const struct job_request *request,
                  int64_t now_ns, struct job **out)
{
    struct owner *owner = session->owner;
    if (core_job_find(session, request->ref) != NULL)
        return -EEXIST;
    if (request->credit == 0 || request->credit > INT64_MAX)
        return -EINVAL;
    if (owner->open_jobs >= owner->limits.jobs)
        return -EDQUOT;
    struct job *job = allocate_lines(sizeof *job);
    if (job == NULL)
        return -ENOMEM;
    job->owner = owner;
    if (order_join(job, request->options.priority) < 0) {
        free(job);
        return -ENOMEM;
    }
    if (input_begin(core, job, request) < 0) {
        order_leave(job);
        free(job);
        return -ENOMEM;
    }
    job->id = ++core->next_job;
    job->ref = request->ref;
    job->session = session;
    job->function = request->function;
    job->options = request->options;
    job->process = request->process;
    job->lasting = request->lasting;
    job->exact = request->exact && request->options.chunksize > 0;
    job->tell_over = request->tell_over;
    job->crew = request->process ? session->crew : &core->threads;
    if (job->crew != NULL)
        job->crew->jobs++;
    share_init(&job->share, 1, (uint32_t)job->id);
    job->share.since_ns = now_ns;
    TAILQ_INIT(&job->chunks);
    TAILQ_INIT(&job->thirsty);
    STAILQ_INIT(&job->ready);
    STAILQ_INIT(&job->sent);
    job->out_credit = (int64_t)request->credit;
    job->item_ns = (double)request->expected_ns;
    job->growth = 1;
    job->opened = request->whole;
    job->report.job = job->id;
    job->opened_ns = now_ns;

    RB_INSERT(job_refs, &session->jobs, job);
    RB_INSERT(job_ids, &core->jobs, job);
    owner->open_jobs++;
    core->job_count++;
    job_tell(core, job);
    *out = job;
    return 0;
}

void job_tell(struct core *core, struct job *job)
{
    if (job->queued_out || job->session == NULL || job->session->blocked)
        return;
    job->queued_out = true;
    TAILQ_INSERT_TAIL(&core->outbox, job, out_link);
}

/*** Output and end ***/

/* The messages that the client has written now have delivered their items. */
int core_job_credit(struct core *core, struct job *job, uint64_t bytes, int64_t now_ns)
{
    settle_last_action(core);
    if (job->cancelled)
        return 0;
    if (bytes > job->sent_cost)
        return -EPROTO;
    job->sent_cost -= bytes;
    job->acked += bytes;
    job->out_credit += (int64_t)bytes;
    struct sent *sent;
    while ((sent = STAILQ_FIRST(&job->sent)) != NULL && sent->cost <= job->acked) {
        STAILQ_REMOVE_HEAD(&job->sent, link);
        job->acked -= sent->cost;
        input_delivered(core, job, sent->input_cost);
        spare_give(&core->spare_sent, sent);
    }
    input_settle(core, job);
    if (!STAILQ_EMPTY(&job->ready))
        job_tell(core, job);
    order_update(core, job, now_ns);
    return 0;
}

static bool is_complete(const struct job *job)
{
    return job->ended && job->queued_items == 0 && TAILQ_EMPTY(&job->chunks) && STAILQ_EMPTY(&job->ready);
}

/* The job has ended with this action. */
static void finish(struct core *core, struct job *job, struct job_report *report)
{
    job->report.slots = order_slots(core, job);
    if (!job->started)
        job->report.queue_ns = 0;
    *report = job->report;
    job->owner->jobs_done++;
    core->jobs_done++;
}

/* Nothing is left of it: it is freed at the next call. */
static void end_with_action(struct core *core, struct job *job)
{
    core->out_job = job;
    core->out_last = true;
}

bool job_next(struct core *core, struct job *job, struct action *action, int64_t now_ns)
{
    if (job->cancelled) {
        action->type = ACTION_DONE;
        job->report.outcome = OUTCOME_CANCELLED;
        finish(core, job, &action->done);
        job_orphan(core, job, now_ns);
        if (job->in_flight == 0)
            end_with_action(core, job);
        return true;
    }
    if (!job->opened) {
        job->opened = true;
        action->type = ACTION_OPENED;
        action->opened.job = job->id;
        action->opened.credit = job->in_window;
        return true;
    }
    if (results_next(core, job, action)) {
        if (is_complete(job)) {
            action->results.has_done = true;
            finish(core, job, &action->results.done);
            job_orphan(core, job, now_ns);
            end_with_action(core, job);
        } else {
            grants_look(core, job);
            order_update(core, job, now_ns);
        }
        return true;
    }
    if (is_complete(job)) {
        action->type = ACTION_DONE;
        finish(core, job, &action->done);
        job_orphan(core, job, now_ns);
        end_with_action(core, job);
        return true;
    }
    if (!input_next_credit(job, action))
        return false;
    if (job->exact)
        order_update(core, job, now_ns); /* even so it may have too little for a chunk, and get no more */
    return true;
}

/* Drops all input and results that no worker holds. */
static void drop(struct core *core, struct job *job)
{
    input_drop(core, job);
    results_drop_ready(core, job);
    struct chunk *chunk, *next;
    for (chunk = TAILQ_FIRST(&job->chunks); chunk != NULL; chunk = next) {
        next = TAILQ_NEXT(chunk, job_link);
        results_drop_chunk(core, chunk);
        if (chunk->worker != NULL) {
            chunks_control(core, chunk, CONTROL_DROP);
            continue;
        }
        TAILQ_REMOVE(&job->chunks, chunk, job_link);
        chunk_free(core, chunk);
    }
    struct sent *sent;
    while ((sent = STAILQ_FIRST(&job->sent)) != NULL) {
        STAILQ_REMOVE_HEAD(&job->sent, link);
        spare_give(&core->spare_sent, sent);
    }
    job->sent_cost = job->acked = 0;
}

void core_job_cancel(struct core *core, struct job *job, int64_t now_ns)
{
    settle_last_action(core);
    if (job->cancelled)
        return;
    job->cancelled = true;
    drop(core, job);
    order_update(core, job, now_ns);
    job_tell(core, job);
}

void core_job_abandon(struct core *core, struct job *job, int64_t now_ns)
{
    settle_last_action(core);
    job_orphan(core, job, now_ns);
    if (job->in_flight == 0)
        job_free(core, job);
}

void job_orphan(struct core *core, struct job *job, int64_t now_ns)
{
    struct owner *owner = job->owner;
    RB_REMOVE(job_refs, &job->session->jobs, job);
    RB_REMOVE(job_ids, &core->jobs, job);
    if (job->queued_out) {
        TAILQ_REMOVE(&core->outbox, job, out_link);
        job->queued_out = false;
    }
    job->session = NULL;
    drop(core, job);
    order_update(core, job, now_ns);
    order_leave(job);
    LIST_INSERT_HEAD(&core->orphans, job, orphan_link);
    core->orphan_chunks += job->in_flight;
    owner->open_jobs--;
    core->job_count--;
    input_end(core, job);
}

void job_free(struct core *core, struct job *job)
{
    LIST_REMOVE(job, orphan_link);
    if (job->crew != NULL)
        job->crew->jobs--;
    if (job->tell_over) {
        LIST_INSERT_HEAD(&core->over, job, orphan_link);
        return;
    }
    job_destroy(job);
}

void job_destroy(struct job *job)
{
    free(job->done);
    free(job);
}

/*** Looking one up ***/

struct job *core_job_find(struct session *session, uint64_t ref)
{
    struct job key = {.ref = ref};
    return RB_FIND(job_refs, &session->jobs, &key);
}

struct job *core_job_by_id(const struct core *core, uint64_t id)
{
    struct job key = {.id = id};
    return RB_FIND(job_ids, (struct job_ids *)&core->jobs, &key);
}

uint64_t core_job_number(const struct job *job)
{
    return job->id;
}

uid_t core_job_owner(const struct job *job)
{
    return job->owner->uid;
}

struct session *core_job_session(const struct job *job)
{
    return job->session;
}

uint64_t core_job_ref(const struct job *job)
{
    return job->ref;
}
