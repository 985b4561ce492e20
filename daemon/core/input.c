/*
 * A job's input: what its client may send, and what has come and waits to be cut. Cutting is in cut.c.
 */
#include "daemon/core/internal.h"

#include <errno.h>
#include <stdlib.h>

enum {
    GATHER_BYTES = 16 << 10, /* room of a batch into which small ones are copied together */
    GATHER_RECORDS = 1 << 10,
    GATHER_BELOW = 8 << 10, /* bytes of a batch that is small enough for that */
    /* What a large item is granted at a time: as much as a piece can cost, so that the credit, of which there
     * was some before the last one, rises above 0 again. */
    PIECE_GRANT = PROTOCOL_MESSAGE_MAX + RECORD_COST,
};

/*
 * The input window of a new job: each job is sure of its part of what its owner may hold, the rest is lent in
 * falling portions. Half of queued_bytes is for input, half for results.
 */
static uint64_t window_for(const struct core *core, const struct owner *owner)
{
    uint64_t most = core->config.job_window;
    uint64_t budget = owner->limits.queued_bytes / 2;
    uint64_t sure = budget / (owner->limits.jobs != 0 ? owner->limits.jobs : 1);
    uint64_t left = owner->granted < budget ? (budget - owner->granted) / 4 : 0;
    uint64_t all = core->config.queued_bytes / 2;
    uint64_t left_of_all = core->granted < all ? (all - core->granted) / 4 : 0;
    if (left > left_of_all)
        left = left_of_all;
    uint64_t window = left > sure ? left : sure;
    if (window > most)
        window = most;
    return window > 1024 ? window : 1024;
}

static int copy_ranges(struct job *job, const struct range *done, uint32_t count)
{
    if (count == 0)
        return 0;
    job->done = calloc(count, sizeof *job->done);
    if (job->done == NULL)
        return -ENOMEM;
    memcpy(job->done, done, count * sizeof *done);
    job->done_count = count;
    return 0;
}

/* Where a range that is done begins, the next index is behind it. */
static void skip_done(struct job *job)
{
    while (job->done_at < job->done_count && job->done[job->done_at].from <= job->next_index) {
        if (job->done[job->done_at].to > job->next_index) {
            job->skipped += job->done[job->done_at].to - job->next_index;
            job->next_index = job->done[job->done_at].to;
        }
        job->done_at++;
    }
}

int input_begin(struct core *core, struct job *job, const struct job_request *request)
{
    if (copy_ranges(job, request->done, request->done_count) < 0)
        return -ENOMEM;
    TAILQ_INIT(&job->segments);
    job->next_index = job->skipped = request->first;
    skip_done(job);
    job->in_window = window_for(core, job->owner);
    job->in_credit = (int64_t)job->in_window;
    job->owner->granted += job->in_window;
    core->granted += job->in_window;
    return 0;
}

static void add_held(struct core *core, struct job *job, uint64_t cost)
{
    job->owner->held_bytes += cost;
    core->held_bytes += cost;
}

static void sub_held(struct core *core, struct job *job, uint64_t cost)
{
    job->owner->held_bytes -= cost;
    core->held_bytes -= cost;
}

static int append_segment(struct core *core, struct job *job, uint64_t first, struct slice items)
{
    struct segment *segment = spare_take(&core->spare_segments);
    if (segment == NULL)
        return -ENOMEM;
    segment->first = first;
    segment->items = items;
    batch_ref(items.batch);
    TAILQ_INSERT_TAIL(&job->segments, segment, link);
    return 0;
}

/* Copies a small batch behind what was gathered, where there is room, and makes the last segment longer where
 * it is what the batch continues. */
static int gather(struct core *core, struct job *job, uint64_t first, const struct batch *batch)
{
    struct segment *last = TAILQ_LAST(&job->segments, segment_list);
    struct batch *into = job->gather;
    bool fits = into != NULL && into->count_capacity - into->count >= batch->count &&
                into->size_capacity - into->size >= batch->size;
    bool longer = fits && last->items.batch == into && last->first + last->items.count == first &&
                  last->items.first + last->items.count == into->count;
    if (!fits) {
        into = batch_new(GATHER_RECORDS, GATHER_BYTES);
        if (into == NULL)
            return -ENOMEM;
    }
    struct slice added = {into, into->count, batch->count, into->size, batch->size};
    size_t offset = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t len = batch_length(batch, i);
        (void)batch_append(into, batch->bytes + offset, len); /* there is room */
        offset += len;
    }
    if (longer) {
        last->items.count += batch->count;
        last->items.size += batch->size;
        return 0;
    }
    int rc = append_segment(core, job, first, added);
    if (!fits) {
        batch_unref(into); /* the segment has it */
        job->gather = rc == 0 ? into : NULL;
    }
    return rc;
}

/* One piece of a large item; with the last one it becomes a segment. */
static int add_piece(struct core *core, struct job *job, struct batch *batch)
{
    if (job->piece_size + batch->size > PROTOCOL_ITEM_MAX)
        return -EMSGSIZE;
    if (!batch->more) {
        struct slice all = slice_all(job->piece);
        int rc = append_segment(core, job, job->next_index, all);
        if (rc < 0)
            return rc;
    }
    batch_ref(batch);
    if (job->piece == NULL)
        job->piece = batch;
    else
        job->piece_last->next_piece = batch;
    job->piece_last = batch;
    job->piece_size += batch->size;
    job->piece_cost += batch_cost(batch);
    if (batch->more)
        return 0;
    batch_unref(job->piece); /* the segment has it */
    job->piece = job->piece_last = NULL;
    job->piece_size = job->piece_cost = 0;
    return 0;
}

/*
 * May this job's large item hold more than its window? Over its owner's limit only one of the owner's jobs at
 * a time may, and over the limit for all owners one of all. Whoever has the turn of all has its owner's too,
 * so no two can wait for each other.
 */
static bool may_exceed(struct core *core, struct job *job)
{
    struct owner *owner = job->owner;
    bool over = core->held_bytes >= core->config.queued_bytes;
    if (!over && owner->held_bytes < owner->limits.queued_bytes)
        return true;
    if (owner->oversized != NULL && owner->oversized != job)
        return false;
    if (over && core->oversized != NULL && core->oversized != job)
        return false;
    owner->oversized = job;
    if (over)
        core->oversized = job;
    return true;
}

/* An owner's jobs are all refused for the same reason, so only the first one need be tried: whoever has the
 * owner's turn, which waits for the turn of all. */
static void set_refused(struct core *core, struct job *job, bool refused)
{
    struct owner *owner = job->owner;
    if (refused == job->refused)
        return;
    job->refused = refused;
    if (refused) {
        if (TAILQ_EMPTY(&owner->refused))
            TAILQ_INSERT_TAIL(&core->refused, owner, refused_link);
        if (owner->oversized == job)
            TAILQ_INSERT_HEAD(&owner->refused, job, refused_link);
        else
            TAILQ_INSERT_TAIL(&owner->refused, job, refused_link);
    } else {
        TAILQ_REMOVE(&owner->refused, job, refused_link);
        TAILQ_REMOVE(&core->refused, owner, refused_link);
        if (!TAILQ_EMPTY(&owner->refused))
            TAILQ_INSERT_TAIL(&core->refused, owner, refused_link); /* the others first */
    }
}

/*
 * A large item that has used up all credit and is the only thing that keeps the rest from coming back is
 * granted more, message by message, until it is whole.
 */
static void extend_for_piece(struct core *core, struct job *job)
{
    bool needed =
        job->piece != NULL && job->in_credit + (int64_t)job->in_owed <= 0 && job->in_held == job->piece_cost;
    bool granted = needed && may_exceed(core, job);
    set_refused(core, job, needed && !granted);
    if (!granted)
        return;
    job->in_extra += PIECE_GRANT;
    job->in_owed += PIECE_GRANT;
}

/* What was delivered, or more of it for a large item; the session is told when it is time. */
static void give_credit(struct core *core, struct job *job)
{
    if (job->ended || job->cancelled)
        return;
    extend_for_piece(core, job);
    if (job->in_owed > 0 && (job->in_credit <= 0 || job->in_owed >= job->in_window / 4))
        job_tell(core, job);
}

int core_job_items(struct core *core, struct job *job, uint64_t first, struct batch *batch, int64_t now_ns)
{
    settle_last_action(core);
    if (job->cancelled)
        return 0;
    bool piece = batch->more || job->piece != NULL;
    if (job->ended || first != job->next_index || (piece && batch->count != 1))
        return -EPROTO;
    if (batch->count > PROTOCOL_COUNT_MAX - first || (batch->more && batch->size < PROTOCOL_PIECE_MIN))
        return -EPROTO;
    if (job->done_at < job->done_count && batch->count > job->done[job->done_at].from - first)
        return -EPROTO;
    if (job->in_credit <= 0)
        return -ENOBUFS;

    int rc;
    if (piece)
        rc = add_piece(core, job, batch);
    else if (batch->size < GATHER_BELOW && batch->count <= GATHER_RECORDS && !TAILQ_EMPTY(&job->segments))
        rc = gather(core, job, first, batch);
    else
        rc = append_segment(core, job, first, slice_all(batch));
    if (rc < 0)
        return rc;

    uint64_t cost = batch_cost(batch);
    job->in_credit -= (int64_t)cost;
    job->in_held += cost;
    add_held(core, job, cost);
    job->report.bytes_in += batch->size;
    if (!batch->more) {
        job->next_index += batch->count;
        skip_done(job);
        cut_add_queued(core, job, batch->count);
        if (job->halted)
            halt_queued(core, job, now_ns);
    }
    order_update(core, job, now_ns);
    give_credit(core, job);
    return 0;
}

int core_job_end(struct core *core, struct job *job, uint64_t total, int64_t now_ns)
{
    settle_last_action(core);
    if (job->cancelled)
        return 0;
    /* A range that is done behind the last item is of items that never come, and of no meaning. */
    if (job->ended || job->piece != NULL || total != job->next_index)
        return -EPROTO;
    job->ended = true;
    order_update(core, job, now_ns);
    job_tell(core, job);
    return 0;
}

/* Another job may have its turn at exceeding the limits with one large item; see input_try_refused. */
static void end_oversized(struct core *core, struct job *job)
{
    if (core->oversized == job)
        core->oversized = NULL;
    if (job->owner->oversized == job)
        job->owner->oversized = NULL;
}

void input_try_refused(struct core *core)
{
    struct owner *owner, *next;
    for (owner = TAILQ_FIRST(&core->refused); owner != NULL; owner = next) {
        next = TAILQ_NEXT(owner, refused_link);
        give_credit(core, TAILQ_FIRST(&owner->refused));
    }
}

bool input_next_credit(struct job *job, struct action *action)
{
    if (job->ended || job->in_owed == 0 || (job->in_credit > 0 && job->in_owed < job->in_window / 4))
        return false;
    action->type = ACTION_CREDIT;
    action->credit.bytes = job->in_owed;
    job->in_credit += (int64_t)job->in_owed;
    job->in_owed = 0;
    return true;
}

void input_delivered(struct core *core, struct job *job, uint64_t cost)
{
    job->in_held -= cost;
    sub_held(core, job, cost);
    uint64_t extra =
        cost < job->in_extra ? cost : job->in_extra; /* what was lent for a large item goes first */
    job->in_extra -= extra;
    job->in_owed += cost - extra;
}

void input_settle(struct core *core, struct job *job)
{
    if (job->in_extra == 0 || (job->piece == NULL && job->in_held <= job->in_window))
        end_oversized(core, job);
    give_credit(core, job);
}

uint64_t core_job_expects(const struct job *job)
{
    return job->next_index;
}

void input_drop(struct core *core, struct job *job)
{
    struct segment *segment;
    while ((segment = TAILQ_FIRST(&job->segments)) != NULL) {
        TAILQ_REMOVE(&job->segments, segment, link);
        batch_unref(segment->items.batch);
        spare_give(&core->spare_segments, segment);
    }
    cut_sub_queued(core, job, job->queued_items);
    job->gather = NULL;
    batch_unref(job->piece);
    job->piece = job->piece_last = NULL;
    set_refused(core, job, false);
    sub_held(core, job, job->in_held);
    job->in_held = 0;
}

void input_end(struct core *core, struct job *job)
{
    job->owner->granted -= job->in_window;
    core->granted -= job->in_window;
    end_oversized(core, job);
}
