/*
 * Flow: one job's credit and course on the client's side; see flow.h. The items themselves are the replay
 * buffer's (replay.h); this file says when which message may go.
 *
 * Credit, for both directions: a record costs its bytes + RECORD_COST, each piece of a large one too; a
 * message may go while credit is left and may take it below 0. The daemon gives input credit back after
 * results that it has been given the credit of, so whoever waits for input credit must first give back all
 * result credit: see credit_due.
 */
#include "client/libpmap/flow.h"

#include "client/libpmap/prefix.h"
#include "client/libpmap/replay.h"

#include <errno.h>
#include <stdlib.h>

/* Without order: the item whose result was taken in part when the daemon was lost is run before all others.
 */
enum alone {
    ALONE_NOT,
    ALONE_RUNS, /* the session's job is this item and nothing else */
    ALONE_OVER, /* it has ended, and the item's result has not been taken yet */
};

enum { RESULT_WINDOW = 4 << 20, BATCH_SIZE = 256 << 10, BATCH_SIZE_MIN = 64, BATCH_SIZE_MAX = 512 << 10 };

/* Ranges of two numbers of up to 9 bytes each must fit OPEN's header, beside a function's name. */
enum { RANGES_MAX = (PROTOCOL_HEADER_MAX - PROTOCOL_STRING_MAX - 512) / 18 };
_Static_assert((int)RANGES_MAX <= (int)PROTOCOL_RANGES_MAX, "what fits is within the limit");

struct flow {
    struct replay replay;
    struct range *skips; /* the ranges that were done from the beginning; skip_count of them */
    uint32_t skip_count;
    uint32_t skipped; /* ordered: of them, those that next_result has passed */
    enum flow_state state;
    uint64_t ref, window;
    size_t batch_size;
    bool ended; /* flow_end was called */
    bool end_sent;
    bool cancelled; /* flow_cancel was called */
    bool cancel_sent;
    bool filtered; /* a message came some of whose records had been taken before */
    bool flushed;  /* flow_flush was called: OPEN goes out, so that a function that is none is soon known */
    bool in_piece; /* the next message goes on with the large result next_piece_of */
    bool resuming; /* OPEN goes out although nothing is to be sent yet */

    /* Input */
    int64_t grant;        /* that OPENED gave; 0 for a job that went whole */
    int64_t input_credit; /* that is left of it; may be below 0 */
    int64_t inline_cost;  /* of what OPEN carried */
    int64_t taken_cost;   /* of the items taken since the last CREDIT */
    bool full;            /* the last item that was to be put was not let in */

    /* Results */
    int64_t result_credit; /* that the daemon has left */
    uint64_t owed;         /* released, not given back yet */
    uint64_t next_result;  /* ordered: the index that comes next */
    uint64_t next_piece_of;

    /* A large result that is taken in part */
    bool partly;
    uint64_t partly_index;
    struct prefix taken_prefix;
    bool checking; /* it comes anew, and its prefix has not been seen to be the same yet */
    bool mismatch; /* it was not */
    struct prefix checked_prefix;
    enum alone alone;
    uint64_t alone_index;
};

bool flow_done_valid(const struct range *done, size_t count)
{
    /* Numbers that fit 32 bits take 5 bytes, so that as many as may be listed fit. */
    if (count > 0 && count > (done[count - 1].to > UINT32_MAX ? RANGES_MAX : PROTOCOL_RANGES_MAX))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (done[i].from >= done[i].to || done[i].to > PROTOCOL_COUNT_MAX)
            return false;
        if (i > 0 && done[i].from < done[i - 1].to)
            return false;
    }
    return true;
}

/* Copies the ranges, neighbours joined. */
static bool copy_skips(struct flow *flow, const struct range *done, uint32_t count)
{
    if (count > 0 && !(flow->skips = malloc(count * sizeof *flow->skips)))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (flow->skip_count > 0 && flow->skips[flow->skip_count - 1].to == done[i].from)
            flow->skips[flow->skip_count - 1].to = done[i].to;
        else
            flow->skips[flow->skip_count++] = done[i];
    }
    return true;
}

/* Ordered: the results of what is skipped never come. */
static void jump_results(struct flow *flow)
{
    if (flow->skipped < flow->skip_count && flow->skips[flow->skipped].from == flow->next_result)
        flow->next_result = flow->skips[flow->skipped++].to;
}

struct flow *flow_new(const struct flow_config *config)
{
    struct flow *flow = calloc(1, sizeof *flow);
    if (!flow || !copy_skips(flow, config->done, config->done_count)) {
        free(flow);
        return NULL;
    }
    size_t batch_size = config->batch_size ? config->batch_size : BATCH_SIZE;
    if (batch_size < BATCH_SIZE_MIN)
        batch_size = BATCH_SIZE_MIN;
    if (batch_size > BATCH_SIZE_MAX)
        batch_size = BATCH_SIZE_MAX;
    uint32_t ranges_max = config->ranges_max ? config->ranges_max : RANGES_MAX;
    replay_init(&flow->replay, config->unordered, batch_size, ranges_max);
    replay_skip(&flow->replay, flow->skips, flow->skip_count);
    jump_results(flow);
    flow->ref = config->ref;
    flow->window = config->result_window ? config->result_window : RESULT_WINDOW;
    if (flow->window > INT64_MAX)
        flow->window = INT64_MAX;
    flow->batch_size = batch_size;
    return flow;
}

void flow_free(struct flow *flow)
{
    if (!flow)
        return;
    replay_drop(&flow->replay);
    free(flow->skips);
    free(flow);
}

enum flow_state flow_state(const struct flow *flow)
{
    return flow->state;
}

uint64_t flow_total(const struct flow *flow)
{
    return flow->replay.total;
}

uint64_t flow_kept(const struct flow *flow)
{
    return flow->state == FLOW_ENDED ? 0 : flow->replay.kept;
}

static uint64_t cost_of_item(size_t len)
{
    uint64_t pieces = len > REPLAY_PIECE_MAX ? (len + REPLAY_PIECE_MAX - 1) / REPLAY_PIECE_MAX : 1;
    return len + pieces * RECORD_COST;
}

int flow_put(struct flow *flow, const void *data, size_t len)
{
    if (flow->ended || flow->cancelled || flow->state == FLOW_ENDED)
        return -EPIPE;
    if (len > PROTOCOL_ITEM_MAX)
        return -EMSGSIZE;
    struct replay *r = &flow->replay;
    uint64_t cost = cost_of_item(len);
    uint64_t limit =
        flow->batch_size + (flow->state == FLOW_OPEN ? (uint64_t)flow->grant : PROTOCOL_INLINE_MAX);
    /* A large item may well be over any limit, so it is let in where nothing else waits to be sent. */
    if (r->kept + cost > limit && r->kept > 0 && !(cost > flow->batch_size && replay_all_sent(r))) {
        flow_flush(flow);
        flow->full = true;
        return -EAGAIN;
    }
    flow->full = false;
    return replay_put(r, data, len);
}

void flow_flush(struct flow *flow)
{
    flow->flushed = true;
    flow->replay.flushed = flow->replay.total;
}

int flow_end(struct flow *flow)
{
    if (flow->ended)
        return -EPIPE;
    flow->ended = true;
    flow_flush(flow);
    return 0;
}

static void end_job(struct flow *flow)
{
    flow->state = FLOW_ENDED;
    /* Results that came may still be waiting to be taken, and flow_is_taken is to know what of them was. */
    if (!flow->filtered)
        replay_drop(&flow->replay);
}

void flow_cancel(struct flow *flow)
{
    if (flow->state == FLOW_ENDED || flow->cancelled)
        return;
    flow->cancelled = true;
    if (flow->state == FLOW_NEW)
        end_job(flow);
    else
        replay_drop(&flow->replay);
}

/* The result that was taken in part is whole, or given up, if it is one of these. */
static void forget_partly(struct flow *flow, uint64_t first, uint32_t count)
{
    if (flow->partly && first <= flow->partly_index && flow->partly_index - first < count)
        flow->partly = flow->checking = flow->mismatch = false;
}

/* What has come of the present OPEN is of no meaning for the next one, which goes out as soon as it may. */
static void open_anew(struct flow *flow)
{
    flow->state = FLOW_NEW;
    flow->resuming = true;
    flow->end_sent = false;
    flow->grant = flow->input_credit = flow->inline_cost = flow->taken_cost = 0;
    flow->result_credit = 0;
    flow->in_piece = false;
}

/* The one item that had to come first is done, and its result taken: the others follow. */
static int after_alone(struct flow *flow)
{
    flow->alone = ALONE_NOT;
    int rc = replay_rewind(&flow->replay);
    if (rc < 0)
        end_job(flow);
    return rc;
}

int flow_taken(struct flow *flow, uint64_t first, uint32_t count)
{
    struct replay *r = &flow->replay;
    forget_partly(flow, first, count);
    if (flow->state == FLOW_ENDED || flow->cancelled)
        return 0; /* nothing is kept any more */
    if (!r->unordered && (first > flow->next_result || count > flow->next_result - first))
        return -EINVAL;
    uint64_t cost;
    int rc = replay_taken(r, first, count, &cost);
    if (rc == 0)
        flow->taken_cost += (int64_t)cost;
    if (rc == 0 && flow->alone == ALONE_OVER && !flow->partly)
        rc = after_alone(flow);
    return rc;
}

int flow_taken_piece(struct flow *flow, uint64_t index, const void *data, size_t len)
{
    if (!flow->partly) {
        flow->partly = true;
        flow->partly_index = index;
        flow->taken_prefix = (struct prefix){0};
    } else if (flow->partly_index != index) {
        return -EINVAL;
    }
    prefix_add(&flow->taken_prefix, data, len);
    return 0;
}

void flow_released(struct flow *flow, uint64_t cost)
{
    flow->owed += cost;
}

/*
 * Is it time to give result credit back? Input credit comes back for it, which matters for as long as there
 * may be more input.
 */
static bool credit_due(struct flow *flow)
{
    if (flow->owed == 0)
        return false;
    if (flow->owed >= flow->window / 4 || (!flow->end_sent && flow->taken_cost > flow->grant / 4))
        return true;
    return flow->input_credit <= 0 && (flow->full || replay_ready(&flow->replay));
}

/* The OPEN: first sent, or sent anew. */
static void open_job(struct flow *flow, struct flow_out *out)
{
    struct replay *r = &flow->replay;
    *out = (struct flow_out){.type = MSG_OPEN, .first = replay_wanted(r), .bytes = flow->window};
    out->done = replay_done(r, &out->done_count);
    if (flow->alone == ALONE_RUNS) {
        out->first = flow->alone_index;
        out->done = NULL;
        out->done_count = 0;
    }
    uint64_t first = out->first;
    bool more = false;
    if (replay_next(r, true, &out->items, &first, &more))
        flow->inline_cost = (int64_t)(out->items.size + (uint64_t)RECORD_COST * out->items.count);
    /* With the end, the last item is the last inline one, but for what is done right behind it. */
    uint64_t behind = out->items.count > 0 ? first + out->items.count : out->first;
    for (uint32_t i = 0; i < out->done_count && out->done[i].from <= behind; i++)
        if (out->done[i].to > behind)
            behind = out->done[i].to;
    out->end = flow->alone == ALONE_RUNS ? behind > flow->alone_index : flow->ended && behind == r->total;
    flow->end_sent = out->end;
    flow->state = out->end ? FLOW_OPEN : FLOW_OPENING; /* a whole job is not answered with OPENED */
    flow->result_credit = (int64_t)flow->window;
    flow->owed = 0; /* what was released since the last one ended was that one's */
    flow->taken_cost = 0;
    flow->resuming = false;
}

bool flow_next(struct flow *flow, struct flow_out *out)
{
    struct replay *r = &flow->replay;
    if (flow->state == FLOW_ENDED)
        return false;
    if (flow->cancelled) {
        if (flow->cancel_sent)
            return false;
        flow->cancel_sent = true;
        *out = (struct flow_out){.type = MSG_CANCEL};
        return true;
    }
    if (flow->state == FLOW_NEW) {
        if (flow->alone == ALONE_OVER)
            return false;
        if (!flow->resuming && !flow->ended && !flow->flushed && !replay_ready(r))
            return false;
        open_job(flow, out);
        return true;
    }
    if (flow->state == FLOW_OPEN) {
        if (credit_due(flow)) {
            *out = (struct flow_out){.type = MSG_CREDIT, .bytes = flow->owed};
            flow->result_credit += (int64_t)flow->owed;
            flow->owed = 0;
            flow->taken_cost = 0;
            return true;
        }
        struct flow_out items = {.type = MSG_ITEMS};
        if (flow->input_credit > 0 && replay_next(r, false, &items.items, &items.first, &items.more)) {
            flow->input_credit -= (int64_t)(items.items.size + (uint64_t)RECORD_COST * items.items.count);
            *out = items;
            return true;
        }
    }
    bool alone = flow->alone == ALONE_RUNS;
    if ((flow->ended || alone) && !flow->end_sent && replay_all_sent(r)) {
        flow->end_sent = true;
        *out = (struct flow_out){.type = MSG_END, .first = alone ? flow->alone_index + 1 : r->total};
        return true;
    }
    return false;
}

int flow_opened(struct flow *flow, uint64_t credit)
{
    if (flow->state != FLOW_OPENING || credit == 0 || credit > INT64_MAX)
        return -EPROTO;
    flow->state = FLOW_OPEN;
    flow->grant = (int64_t)credit;
    flow->input_credit = flow->grant - flow->inline_cost;
    return 0;
}

int flow_credit(struct flow *flow, uint64_t bytes)
{
    if (flow->state == FLOW_ENDED || flow->cancelled)
        return 0;
    /* For an item over the whole grant the daemon gives more than was used. */
    if (flow->state != FLOW_OPEN || bytes > INT64_MAX / 2 || flow->input_credit > INT64_MAX / 2)
        return -EPROTO;
    flow->input_credit += (int64_t)bytes;
    return 0;
}

/* Compares a part of the large result that was taken in part; returns how much of it is to be skipped. */
static size_t check_prefix(struct flow *flow, const uint8_t *data, size_t len, bool last)
{
    uint64_t left = flow->taken_prefix.size - flow->checked_prefix.size;
    size_t part = left < len ? (size_t)left : len;
    prefix_add(&flow->checked_prefix, data, part);
    if (part == left ? !prefix_equal(&flow->checked_prefix, &flow->taken_prefix) : last) {
        flow->mismatch = true;
        flow->checking = false;
    } else if (part == left) {
        flow->checking = false;
    }
    return part;
}

/* Are these the results that come next? Notes that they came. */
static int accept_results(struct flow *flow, uint64_t first, const struct batch *batch, bool *again)
{
    struct replay *r = &flow->replay;
    if (flow->in_piece && (first != flow->next_piece_of || batch->count != 1))
        return -EPROTO;
    if (flow->alone == ALONE_RUNS && (first != flow->alone_index || batch->count != 1))
        return -EPROTO;
    if (!r->unordered) {
        uint64_t sent = replay_sent(r);
        uint64_t until = flow->skipped < flow->skip_count ? flow->skips[flow->skipped].from : UINT64_MAX;
        if (first != flow->next_result || first > sent || batch->count > sent - first ||
            batch->count > until - first)
            return -EPROTO;
        if (!batch->more)
            flow->next_result += batch->count;
        jump_results(flow);
        return 0;
    }
    if (!batch->more)
        return replay_got(r, first, batch->count, again);
    if (first >= replay_sent(r) || replay_has_got(r, first))
        return -EPROTO;
    *again = replay_is_taken(r, first);
    return 0;
}

int flow_results(struct flow *flow, uint64_t first, const struct batch *batch, struct flow_verdict *verdict)
{
    struct flow_verdict v = {0};
    if (flow->state != FLOW_OPEN)
        return -EPROTO;
    if (flow->cancelled) {
        v.drop = true;
        *verdict = v;
        return 0;
    }
    if (batch->count == 0 || (batch->more && batch->count != 1) || flow->result_credit <= 0)
        return -EPROTO;
    int rc = accept_results(flow, first, batch, &v.filter);
    if (rc < 0)
        return rc;
    flow->result_credit -= (int64_t)batch_cost(batch);
    flow->in_piece = batch->more;
    flow->next_piece_of = first;
    if ((flow->checking || flow->mismatch) && flow->partly_index >= first &&
        flow->partly_index - first < batch->count) {
        v.partly = (uint32_t)(flow->partly_index - first);
        size_t offset = 0;
        for (uint32_t i = 0; i < v.partly; i++)
            offset += batch_length(batch, i);
        if (flow->checking)
            v.skip = check_prefix(flow, batch->bytes + offset, batch_length(batch, v.partly), !batch->more);
        v.mismatch = flow->mismatch;
    }
    flow->filtered |= v.filter;
    *verdict = v;
    return 0;
}

bool flow_is_taken(struct flow *flow, uint64_t index)
{
    return replay_is_taken(&flow->replay, index);
}

/* DONE of the one item that had to come first. */
static int alone_done(struct flow *flow)
{
    if (!flow->end_sent || flow->in_piece || !replay_has_got(&flow->replay, flow->alone_index)) {
        end_job(flow);
        return -EPROTO;
    }
    open_anew(flow);
    flow->alone = ALONE_OVER;
    return flow->partly ? 0 : after_alone(flow);
}

int flow_done(struct flow *flow, bool complete)
{
    const struct replay *r = &flow->replay;
    if (flow->alone == ALONE_RUNS && complete && !flow->cancelled)
        return alone_done(flow);
    bool all = flow->end_sent && !flow->in_piece &&
               (r->unordered ? replay_all_got(r) : flow->next_result == r->total);
    int rc = complete && !flow->cancelled && !all ? -EPROTO : 0;
    end_job(flow);
    return rc;
}

int flow_lost(struct flow *flow)
{
    bool over = flow->alone == ALONE_OVER; /* its result may have come, and is dropped now */
    if ((flow->state == FLOW_NEW && !over) || flow->state == FLOW_ENDED)
        return 0;
    if (flow->cancelled) {
        end_job(flow);
        return 0;
    }
    int rc = replay_rewind(&flow->replay);
    if (rc < 0) {
        end_job(flow);
        return rc;
    }
    open_anew(flow);
    flow->next_result = flow->replay.wanted;
    flow->skipped = flow->replay.wanted_skip;
    flow->checking = flow->partly;
    flow->mismatch = false;
    flow->checked_prefix = (struct prefix){0};
    flow->alone = flow->partly && flow->replay.unordered ? ALONE_RUNS : ALONE_NOT;
    flow->alone_index = flow->partly_index;
    if (flow->alone == ALONE_RUNS)
        replay_only(&flow->replay, flow->alone_index);
    return 0;
}

bool flow_give_up(struct flow *flow, struct range *items, uint32_t most, uint64_t *first, uint32_t *count)
{
    if (flow->state == FLOW_ENDED || flow->cancelled)
        return false;
    if (!replay_give_up(&flow->replay, items, most, first, count))
        return false;
    items->from = *first + *count;
    forget_partly(flow, *first, *count);
    return true;
}

uint64_t flow_sent(const struct flow *flow)
{
    return replay_sent(&flow->replay);
}

bool flow_is_finished(const struct flow *flow)
{
    return flow->ended && replay_wanted(&flow->replay) == flow->replay.total;
}
