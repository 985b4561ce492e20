/*
 * Jobs: items in, results out. What may be sent and what has to be kept is the flow's; here its messages are
 * put on the wire, and results are handed out from where they were received, record by record, without
 * copying or allocating.
 */
#include "client/libpmap/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The flow is asked for messages when about this much was put: a batch has been filled. */
enum { PUMP_COST = 256 << 10 };

/*** Sending ***/

static int send_hold(struct pmap_job *job)
{
    struct message m = {.type = MSG_HOLD, .hold = {.ref = job->ref, .paused = job->held}};
    return pool_send(job->pool, &m, NULL, NULL);
}

static int send_open(struct pmap_job *job, const struct flow_out *out)
{
    struct message m = {.type = MSG_OPEN,
                        .open = {.ref = job->ref,
                                 .kind = job->kind,
                                 .function = text_of(job->function),
                                 .options = job->options,
                                 .credit = out->bytes,
                                 .first = out->first,
                                 .done = out->done,
                                 .done_count = out->done_count,
                                 .end = out->end}};
    if (job->losses > 0)
        job_opens_anew(job);
    if (job->open_ns == 0)
        job->open_ns = clock_ns();
    int rc = pool_send(job->pool, &m, &job->call, out->items.count > 0 ? &out->items : NULL);
    return rc == 0 && job->held ? send_hold(job) : rc;
}

static int send_out(struct pmap_job *job, const struct flow_out *out)
{
    struct message m = {.type = out->type};
    switch (out->type) {
    case MSG_OPEN:
        return send_open(job, out);
    case MSG_ITEMS:
        m.items.ref = job->ref;
        m.items.first = out->first;
        m.items.more = out->more;
        return pool_send(job->pool, &m, NULL, &out->items);
    case MSG_END:
        m.end.ref = job->ref;
        m.end.total = out->first;
        break;
    case MSG_CREDIT:
        m.credit.ref = job->ref;
        m.credit.bytes = out->bytes;
        break;
    default:
        m.cancel.ref = job->ref;
    }
    return pool_send(job->pool, &m, NULL, NULL);
}

int job_pump(struct pmap_job *job)
{
    struct flow_out out;
    int rc = job->pool->error;
    if (rc == 0) {
        int ready = job_ready(job);
        if (ready <= 0)
            return ready;
    }
    while (rc == 0 && flow_next(job->flow, &out))
        rc = send_out(job, &out);
    job->gathered = 0;
    return rc;
}

int pmap_put(pmap_job *job, const void *data, size_t len)
{
    if (job->pool->error < 0)
        return job->pool->error;
    if (len > job->pool->info.max_item)
        return -EMSGSIZE;
    int rc = flow_put(job->flow, data, len);
    job->gathered += len + RECORD_COST;
    if (rc == 0) {
        job->bytes_in += len;
        if (job->gathered < PUMP_COST)
            return 0;
    }
    int pumped = job_pump(job);
    if (pumped == 0 && rc == -EAGAIN) { /* what was in its way may have gone out */
        rc = flow_put(job->flow, data, len);
        job->bytes_in += rc == 0 ? len : 0;
    }
    return pumped < 0 ? pumped : rc;
}

int pmap_flush(pmap_job *job)
{
    flow_flush(job->flow);
    return job_pump(job);
}

int pmap_end(pmap_job *job)
{
    int rc = job->pool->error;
    if (rc == 0)
        rc = flow_end(job->flow);
    return rc < 0 ? rc : job_pump(job);
}

/* Gives back the first message of results. */
static void drop_message(struct pmap_job *job)
{
    struct received *r = STAILQ_FIRST(&job->results);
    STAILQ_REMOVE_HEAD(&job->results, link);
    job->record = 0;
    job->timed = 0;
    job->offset = 0;
    job->noted = UINT32_MAX;
    job->slot = 0;
    batch_unref(&r->batch);
}

int pmap_cancel(pmap_job *job)
{
    if (job->end == JOB_RUNS && !job->cancelled) {
        flow_cancel(job->flow);
        job->cancelled = true;
        if (flow_state(job->flow) == FLOW_ENDED)
            job->end = JOB_CANCELLED; /* the daemon has never heard of it */
    }
    if (job->cancelled)
        while (!STAILQ_EMPTY(&job->results))
            drop_message(job);
    return job_pump(job);
}

int pmap_hold(pmap_job *job, int paused)
{
    job->held = paused != 0;
    enum flow_state state = flow_state(job->flow);
    if (state == FLOW_NEW || state == FLOW_ENDED || job->end != JOB_RUNS)
        return job->pool->error; /* OPEN brings it along, or there is nothing to hold */
    return send_hold(job);
}

/*** What the daemon says ***/

static int broken(struct pmap_job *job, const char *what)
{
    return pool_fail(job->pool, -EPROTO, "the daemon broke the protocol: %s", what);
}

int job_opened(struct pmap_job *job, const struct message *m)
{
    if (flow_opened(job->flow, m->opened.credit) < 0)
        return broken(job, "OPENED out of place");
    job->id = m->opened.job;
    return 0;
}

int job_credit(struct pmap_job *job, const struct message *m)
{
    return flow_credit(job->flow, m->credit.bytes) < 0 ? broken(job, "CREDIT out of place") : 0;
}

/* Makes the first note of the message that is to be taken next known; UINT32_MAX where it has none. */
static void first_note(struct pmap_job *job)
{
    const struct received *r = STAILQ_FIRST(&job->results);
    job->note = 0;
    job->note_text = 0;
    job->noted = r && r->batch.note_count > 0 ? note_load(r->batch.notes).record : UINT32_MAX;
}

void job_append(struct pmap_job *job, struct received *r)
{
    STAILQ_INSERT_TAIL(&job->results, r, link);
    if (STAILQ_FIRST(&job->results) == r)
        first_note(job);
}

/* Makes known which of the records were taken before: they were asked for again only because there was no
 * room to say which are done. */
static int note_known(struct pmap_job *job, struct received *r)
{
    r->known = calloc(r->batch.count, 1);
    if (!r->known)
        return pool_fail(job->pool, -ENOMEM, "%s", strerror(ENOMEM));
    for (uint32_t i = 0; i < r->batch.count; i++)
        r->known[i] = flow_is_taken(job->flow, r->first + i);
    return 0;
}

int job_results(struct pmap_job *job, const struct message *m, struct received **r)
{
    struct received *results = *r;
    if (received_results(results, m->results.first, m->results.more) < 0)
        return broken(job, "malformed results");
    int rc = 0;
    if (flow_results(job->flow, m->results.first, &results->batch, &results->verdict) < 0)
        rc = broken(job, "results that were not due");
    else if (results->verdict.filter)
        rc = note_known(job, results);
    /* From here on the batch owns the message. */
    *r = NULL;
    if (rc < 0 || results->verdict.drop)
        batch_unref(&results->batch);
    else
        job_append(job, results);
    return rc == 0 && m->results.has_done ? job_done(job, &m->results.done) : rc;
}

int job_done(struct pmap_job *job, const struct job_report *report)
{
    /* A job that was cancelled before the daemon has said OPENED may have its end at once. */
    bool unopened =
        flow_state(job->flow) == FLOW_OPENING && !(job->cancelled && report->outcome == OUTCOME_CANCELLED);
    if (unopened || flow_state(job->flow) == FLOW_NEW)
        return broken(job, "DONE out of place");
    job->report = *report;
    job->id = report->job;
    job->reported = true;
    if (flow_done(job->flow, report->outcome == OUTCOME_DONE) < 0)
        return broken(job, "DONE before all results");
    if (flow_state(job->flow) == FLOW_NEW)
        return 0; /* of the item that had to be run first; see flow.h */
    job->end = job->cancelled || report->outcome == OUTCOME_CANCELLED ? JOB_CANCELLED : JOB_DONE;
    return 0;
}

int job_refused(struct pmap_job *job, const struct message *m)
{
    struct text text = m->error.text.len > 0 ? m->error.text : text_of(protocol_error_text(m->error.code));
    int rc = 0;
    if (job_is_put_off(job, m->error.code, &rc))
        return rc;
    flow_done(job->flow, false);
    job->error_code = m->error.code;
    pool_say(job->pool, 0, "%.*s", (int)text.len, text.data);
    job->error_text = strdup(job->pool->text);
    job->end = job->cancelled ? JOB_CANCELLED : JOB_FAILED;
    return 0;
}

int job_begun(struct pmap_job *job, const struct message *m)
{
    uint32_t count = m->begun.count;
    struct range *begun = reallocarray(job->begun, count ? count : 1, sizeof *begun);
    if (!begun)
        return pool_fail(job->pool, -ENOMEM, "%s", strerror(ENOMEM));
    job->begun = begun;
    job->begun_count = count;
    if (count > 0)
        memcpy(begun, m->begun.items, count * sizeof *begun);
    return 0;
}

/*** Taking results ***/

/* The notes of the record that is being taken. */
static void take_notes(struct pmap_job *job, const struct batch *batch)
{
    while (job->noted == job->record) {
        struct note note = note_load(batch->notes + (size_t)NOTE_SIZE * job->note);
        fate_note(&job->fate, &note, batch->note_text + job->note_text);
        job->note_text += note.text_len;
        job->note++;
        job->noted = job->note < batch->note_count
                         ? note_load(batch->notes + (size_t)NOTE_SIZE * job->note).record
                         : UINT32_MAX;
    }
}

/* Adds the times of a message's items to the job's. */
static void add_times(struct pmap_job *job, const struct received *r)
{
    const struct batch *batch = &r->batch;
    if (r->known) {
        for (uint32_t i = job->timed; i < batch->count; i++)
            if (!r->known[i])
                stats_add_times(&job->times, batch->times + 8 * (size_t)i, 1);
    } else if (!batch->more && !r->made) {
        stats_add_times(&job->times, batch->times + 8 * (size_t)job->timed, batch->count - job->timed);
    }
}

/* The first message of results was taken to its last record, and the caller is done with that. */
static int finish_message(struct pmap_job *job)
{
    struct received *r = STAILQ_FIRST(&job->results);
    int rc = job_account(job, r);
    add_times(job, r);
    if (!r->old)
        flow_released(job->flow, batch_cost(&r->batch));
    if (!r->made)
        job->tally.messages++;
    drop_message(job);
    first_note(job);
    job->last_ns = clock_ns();
    if (rc < 0)
        return rc;
    return job->pool->error == 0 ? job_pump(job) : 0;
}

/* How the job has ended, or what keeps it from doing so, when there is no result at hand. */
static int nothing_to_take(struct pmap_job *job)
{
    if (job->end != JOB_RUNS && job->last_ns == 0)
        job->last_ns = clock_ns();
    switch (job->end) {
    case JOB_DONE:
        return PMAP_DONE;
    case JOB_CANCELLED:
        return PMAP_CANCELLED;
    case JOB_FAILED:
        return PMAP_FAILED;
    default:
        return job->pool->error < 0 ? job->pool->error : PMAP_NONE;
    }
}

/* What the notes of an item said, once its last piece is there. */
static void tell_fate(struct pmap_job *job, struct pmap_result *result)
{
    const struct fate *fate = &job->fate;
    if (fate->failed)
        job->failed++;
    if (fate->failed && !fate->cancelled)
        job->broken++;
    job->tally.retried += fate->attempts > 1 ? fate->attempts - 1 : 0;
    job->tally.cpu_ns += fate->usage.cpu_ns;
    result->failed = fate->failed;
    result->error = fate->error;
    result->exit_code = (int)fate->exit_code;
    result->signal = (int)fate->signal;
    result->timed_out = fate->timed_out;
    result->cancelled = fate->cancelled;
    result->attempts = fate->attempts > 0 ? fate->attempts : 1;
    result->started_ns = fate->usage.started_ns;
    result->cpu_ns = fate->usage.cpu_ns;
    result->peak_bytes = fate->usage.peak_bytes;
    result->remark = fate->remark;
}

/* Where and when it was made: as a note says, or in the slot of the one before it and behind that. */
static void tell_place(struct pmap_job *job, struct pmap_result *result)
{
    if (job->fate.placed) {
        job->slot = job->fate.slot;
        job->began_ns = job->fate.began_ns;
    }
    if (job->slot == 0)
        return;
    result->slot = job->slot;
    if (result->started_ns == 0)
        result->started_ns = job->began_ns;
    job->began_ns = result->started_ns + (uint64_t)result->time_ns;
}

/* The next record of the first message was taken from a daemon that is lost now. */
static void pass_record(struct pmap_job *job, const struct received *r)
{
    fate_begin(&job->fate);
    take_notes(job, &r->batch);
    job->offset += batch_length(&r->batch, job->record++);
}

/* What its process wrote to stderr and was taken from a daemon that is lost is not given out again. */
static void cut_err(struct pmap_job *job, struct pmap_result *result)
{
    size_t again = job->err_skip < result->err_size ? job->err_skip : result->err_size;
    result->err = (const char *)result->err + again;
    result->err_size -= again;
    job->err_skip -= again;
    job->err_given += result->err_size;
    if (!result->more)
        job->err_given = job->err_skip = 0;
}

/* A result whose beginning was taken from a daemon that is lost: takes that off. */
static void cut_prefix(const struct received *r, struct pmap_result *result)
{
    size_t skip = r->verdict.mismatch ? result->size : r->verdict.skip;
    result->data = (const char *)result->data + skip;
    result->size -= skip;
    if (!r->verdict.mismatch || result->more)
        return;
    result->failed = 1;
    result->error = "the daemon was lost amid its output, and run again it wrote something else";
}

/* Gives out the next record of the first message; PMAP_NONE: nothing of it is new. */
static int take_record(struct pmap_job *job, const struct received *r, struct pmap_result *result)
{
    const struct batch *batch = &r->batch;
    bool partly = (r->verdict.skip > 0 || r->verdict.mismatch) && r->verdict.partly == job->record;
    uint32_t i = job->record;
    size_t size = batch_length(batch, i);
    int64_t time_ns = job->piece_ns + (int64_t)load_u64(batch->times + 8 * (size_t)i);
    if (job->fate.any) {
        if (job->in_pieces)
            fate_piece(&job->fate);
        else
            fate_begin(&job->fate);
    }
    if (job->noted == i)
        take_notes(job, batch);
    *result = (struct pmap_result){.index = r->first + i,
                                   .data = batch->bytes + job->offset,
                                   .size = size,
                                   .more = batch->more,
                                   .time_ns = time_ns,
                                   .err = job->fate.err,
                                   .err_size = job->fate.err_size,
                                   .attempts = 1};
    job->record++;
    job->offset += size;
    job->in_pieces = batch->more;
    if (result->err_size > 0 || job->err_given > 0)
        cut_err(job, result);
    if (batch->more) {
        job->piece_ns = time_ns;
        if (partly)
            cut_prefix(r, result);
        job->bytes_out += result->size;
        return partly && result->size == 0 && result->err_size == 0 ? PMAP_NONE : PMAP_RESULT;
    }
    if (job->taken++ == 0)
        job->first_ns = clock_ns();
    if (job->piece_ns > 0) { /* the sum of its pieces' times; all others are added message by message */
        stats_add(&job->times, time_ns);
        job->timed = 1;
        job->piece_ns = 0;
    }
    if (job->fate.any)
        tell_fate(job, result);
    if (partly)
        cut_prefix(r, result);
    if (partly && r->verdict.mismatch && !job->fate.failed) {
        job->failed++;
        job->broken++;
    }
    job->bytes_out += result->size;
    if (job->options.trace)
        tell_place(job, result);
    return PMAP_RESULT;
}

int pmap_take(pmap_job *job, struct pmap_result *result)
{
    bool stepped = false;
    for (;;) {
        const struct received *r = STAILQ_FIRST(&job->results);
        int rc = 0;
        if (r && job->record < r->batch.count) {
            if (r->known && r->known[job->record])
                pass_record(job, r);
            else if (take_record(job, r, result) == PMAP_RESULT)
                return PMAP_RESULT;
        } else if (r) {
            rc = finish_message(job);
        } else if (job->end != JOB_RUNS || stepped) {
            return nothing_to_take(job);
        } else {
            stepped = true;
            rc = pmap_step(job->pool);
            if (rc == 0 && job->halted) /* it needs no daemon any more */
                rc = job_pump(job);
        }
        /* What came before the connection ended is still given out. */
        if (rc < 0 && STAILQ_EMPTY(&job->results))
            return nothing_to_take(job);
    }
}

int pmap_wait_take(pmap_job *job, int timeout_ms, struct pmap_result *result)
{
    int rc = pmap_take(job, result);
    if (rc != PMAP_NONE || timeout_ms == 0)
        return rc;
    int64_t deadline_ns = deadline_after(timeout_ms);
    for (;;) {
        int waited = pool_wait(job->pool, deadline_ns);
        rc = pmap_take(job, result);
        if (rc != PMAP_NONE || waited == -ETIMEDOUT)
            return rc;
        if (waited < 0)
            return waited;
    }
}

/*** Looking, and the end ***/

const char *pmap_job_error(const pmap_job *job, unsigned *code)
{
    if (code)
        *code = job->error_code;
    if (job->end != JOB_FAILED)
        return "";
    return job->error_text ? job->error_text : protocol_error_text(job->error_code);
}

void pmap_get_report(const pmap_job *job, struct pmap_report *report)
{
    const struct job_report *r = &job->report, *before = &job->before;
    const struct stats *t = &job->times;
    /* No daemon has seen all of a job that went on over a loss. */
    bool told = job->reported && job->losses == 0;
    *report = (struct pmap_report){
        .job = job->id,
        .items = told ? r->items : job->taken,
        .failed = told ? r->failed : job->failed,
        .retried = r->retried + before->retried,
        .chunks = r->chunks + before->chunks,
        .slots = r->slots,
        .wall_ns = job->open_ns && job->last_ns ? job->last_ns - job->open_ns : 0,
        .queue_ns = r->queue_ns,
        .first_result_ns = job->open_ns && job->first_ns ? job->first_ns - job->open_ns : 0,
        .run_ns = r->run_ns + before->run_ns,
        .cpu_ns = r->cpu_ns + before->cpu_ns,
        .item_count = t->count,
        .item_mean_ns = stats_mean(t),
        .item_std_ns = stats_std(t),
        .item_min_ns = t->count > 0 ? t->min : 0,
        .item_max_ns = t->count > 0 ? t->max : 0,
        .bytes_in = job->losses == 0 ? r->bytes_in : job->bytes_in,
        .bytes_out = job->losses == 0 ? r->bytes_out : job->bytes_out,
    };
}

void pmap_close_job(pmap_job *job)
{
    if (!job)
        return;
    if (job->end == JOB_RUNS) {
        flow_cancel(job->flow);
        job_pump(job);
    }
    while (!STAILQ_EMPTY(&job->results))
        drop_message(job);
    if (job->pool->last_found == job)
        job->pool->last_found = NULL;
    TAILQ_REMOVE(&job->pool->jobs, job, link);
    flow_free(job->flow);
    stats_free(&job->times);
    fate_free(&job->fate);
    free(job->function);
    free((void *)job->call.data);
    free(job->error_text);
    free(job->begun);
    free(job);
}
