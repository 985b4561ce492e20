/*
 * Jobs over a lost daemon. What has come of a job is kept and given out whatever becomes of the connection,
 * so nothing that is known to be done is done again; the rest is what the flow asks for anew, once all of
 * that was taken: so no more than a window of results is ever held. Results of what is not to be run (again),
 * for `once` and after a halt, are made up here.
 */
#include "client/libpmap/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    MADE_MOST = 1024, /* results in a message that is made up */
    AGAIN_MS = 50,    /* until a job that the daemon had no room for is opened again */
};

static int no_memory(struct pmap_job *job)
{
    return pool_fail(job->pool, -ENOMEM, "%s", strerror(ENOMEM));
}

int job_account(struct pmap_job *job, struct received *r)
{
    const struct batch *batch = &r->batch;
    int rc = 0;
    if (r->old)
        return 0;
    if (batch->more) {
        size_t skip = r->verdict.skip;
        if (job->pool->reconnect_ns > 0 && !r->verdict.mismatch && !r->known)
            rc = flow_taken_piece(job->flow, r->first, batch->bytes + skip, batch->size - skip);
    } else if (!r->known) {
        rc = flow_taken(job->flow, r->first, batch->count);
    } else {
        for (uint32_t from = 0, to = 0; from < batch->count && rc == 0; from = to) {
            while (to < batch->count && r->known[to] == r->known[from])
                to++;
            if (!r->known[from])
                rc = flow_taken(job->flow, r->first + from, to - from);
        }
    }
    return rc < 0 ? pool_fail(job->pool, rc, "results that never came were taken") : 0;
}

/* Results for those of these items that are not to be run. *any: were there some? */
static int make_up(struct pmap_job *job, struct range items, uint16_t kind, const char *text, bool *any)
{
    uint64_t first;
    uint32_t count;
    while (flow_give_up(job->flow, &items, MADE_MOST, &first, &count)) {
        struct received *r = received_made(first, count, kind, text_of(text));
        if (!r)
            return no_memory(job);
        r->old = true;
        job_append(job, r);
        *any = true;
    }
    return 0;
}

/* Of a job that may not be run twice: what was begun, or may have been, fails. */
static int fail_begun(struct pmap_job *job, bool told, bool *any)
{
    static const char why[] = "the daemon was lost while it ran";
    uint64_t sent = flow_sent(job->flow);
    int rc = 0;
    if (!told)
        return make_up(job, (struct range){0, sent}, NOTE_ERROR, why, any);
    for (uint32_t i = 0; i < job->begun_count && rc == 0; i++) {
        struct range range = job->begun[i];
        range.to = range.to < sent ? range.to : sent;
        rc = make_up(job, range, NOTE_ERROR, why, any);
    }
    return rc;
}

int job_lost(struct pmap_job *job, bool told)
{
    struct received *r;
    bool any = false;
    int rc = 0;
    if (job->end != JOB_RUNS)
        return 0;
    STAILQ_FOREACH (r, &job->results, link) {
        if (rc == 0)
            rc = job_account(job, r);
        r->old = true;
    }
    if (rc == 0 && job->options.once)
        rc = fail_begun(job, told || job->begun, &any);
    job->begun_count = 0;
    free(job->begun);
    job->begun = NULL;
    job->halted |= any && job->options.halt != HALT_NEVER;
    if (rc == 0 && flow_lost(job->flow) < 0)
        rc = no_memory(job);
    if (job->cancelled)
        job->end = JOB_CANCELLED;
    job->losses++;
    return rc;
}

bool job_is_put_off(struct pmap_job *job, unsigned code, int *rc)
{
    pmap *pool = job->pool;
    int64_t now_ns = clock_ns();
    bool room = code == PERR_LIMIT || code == PERR_MEMORY; /* our lost session may still count */
    bool opening = flow_state(job->flow) == FLOW_OPENING;
    if (pool->reconnect_ns == 0 || job->cancelled)
        return false;
    if (code != PERR_STOPPING && !(room && job->losses > 0 && now_ns < pool->until_ns))
        return false;
    /* Before BEGUN was known one could not tell a refusal of the whole job from its end. */
    *rc = job_lost(job, room || opening || pool->info.protocol >= PROTOCOL_VERSION_BEGUN);
    job->parked = true;
    job->again_ns = INT64_MAX;
    if (code == PERR_STOPPING) {
        pool->leaving = true;
    } else {
        job->again_ns = now_ns + AGAIN_MS * (int64_t)NS_PER_MS;
        link_retry(pool, job->again_ns);
    }
    return true;
}

/* Nothing more of it is run. */
static int go_on_halted(struct pmap_job *job)
{
    bool any = false;
    int rc = make_up(job, (struct range){0, PROTOCOL_COUNT_MAX}, NOTE_CANCELLED, "not run: halted", &any);
    if (rc == 0 && flow_is_finished(job->flow)) {
        flow_done(job->flow, false);
        job->end = JOB_DONE;
    }
    return rc;
}

int job_ready(struct pmap_job *job)
{
    if (job->losses > 0 && job->end == JOB_RUNS && flow_state(job->flow) == FLOW_NEW) {
        if (!STAILQ_EMPTY(&job->results))
            return 0;
        job->halted |= job->options.halt != HALT_NEVER && job->broken > 0;
        if (job->halted)
            return go_on_halted(job);
        if (job->parked)
            return 0;
    }
    return job->pool->link == LINK_UP;
}

void job_opens_anew(struct pmap_job *job)
{
    const struct job_report *told = &job->report;
    const struct job_tally *tally = &job->tally;
    struct job_report *before = &job->before;
    double run_ns = job->times.sum - tally->began_ns;
    before->chunks += job->reported ? told->chunks : tally->messages;
    before->retried += job->reported ? told->retried : tally->retried;
    before->run_ns += job->reported ? told->run_ns : (int64_t)run_ns;
    before->cpu_ns += job->reported ? told->cpu_ns : (int64_t)tally->cpu_ns;
    job->report = (struct job_report){.slots = told->slots, .queue_ns = told->queue_ns};
    job->reported = false;
    job->tally = (struct job_tally){.began_ns = job->times.sum};
    /* A result that was taken in part begins anew. */
    job->err_skip = job->in_pieces ? job->err_given : 0;
    job->in_pieces = false;
    job->piece_ns = 0;
}
