/* See flow_daemon.h. */
#include "tests/unit/flow_daemon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

unsigned alone_jobs;

/* Is the item in a range that is done already? Moves *index behind it then. */
static bool skip_done(const struct world *w, uint64_t *index)
{
    for (uint32_t k = 0; k < w->done_count; k++)
        if (*index >= w->done[k].from && *index < w->done[k].to) {
            *index = w->done[k].to;
            return true;
        }
    return false;
}

static void daemon_items(struct world *w, const struct packet *p)
{
    CHECK(p->batch);
    const uint8_t *bytes = p->batch->bytes;
    skip_done(w, &w->expected);
    CHECK(p->first == w->expected);
    CHECK(!w->end);
    for (uint32_t k = 0; k < p->batch->count; k++) {
        uint64_t i = p->first + k, jump = i;
        uint32_t len = batch_length(p->batch, k);
        CHECK(i < w->count && w->state[i] == ABSENT && !skip_done(w, &jump));
        for (uint32_t at = 0; at < len; at++)
            CHECK(bytes[at] == item_byte(i, w->piece_at + at));
        bytes += len;
        if (p->more) {
            CHECK(p->batch->count == 1);
            w->piece_at += len;
            return;
        }
        CHECK(w->piece_at + len == item_size(w, i));
        w->piece_at = 0;
        w->state[i] = HERE;
        w->expected = i + 1;
    }
}

static void daemon_end(struct world *w, uint64_t total)
{
    skip_done(w, &w->expected);
    CHECK(w->open && !w->end && w->expected == total);
    CHECK(w->only ? total == w->alone + 1 : total >= w->count && total == flow_total(w->flow));
    w->end = true;
}

void daemon_receive(struct world *w)
{
    struct packet *p = packet_take(&w->up);
    int64_t cost = p->batch ? (int64_t)batch_cost(p->batch) : 0;
    switch (p->type) {
    case MSG_OPEN:
        CHECK(!w->open);
        w->open = true;
        w->done = p->done;
        w->done_count = p->done_count;
        p->done = NULL;
        w->only = w->alone < w->count;
        alone_jobs += w->only;
        CHECK(!w->only ||
              (p->first == w->alone && w->done_count == 0 && (!p->batch || p->batch->count == 1)));
        for (uint32_t k = 0; k < w->done_count; k++) {
            CHECK(w->done[k].from < w->done[k].to && w->done[k].from > p->first);
            CHECK(k == 0 || w->done[k].from > w->done[k - 1].to);
        }
        w->expected = w->next_answer = p->first;
        w->input_left = (int64_t)w->grant - cost;
        w->result_left = (int64_t)p->bytes;
        w->whole = p->end;
        if (!w->whole)
            packet_new(&w->down, MSG_OPENED)->bytes = w->grant;
        if (p->batch)
            daemon_items(w, p);
        if (p->end) {
            skip_done(w, &w->expected);
            daemon_end(w, w->expected);
        }
        break;
    case MSG_ITEMS:
        CHECK(w->open && !w->whole && w->input_left > 0 && p->batch);
        w->input_left -= cost;
        daemon_items(w, p);
        /* The rest of an item over the grant could never come otherwise. */
        if (p->more) {
            w->input_left += cost;
            packet_new(&w->down, MSG_CREDIT)->bytes = (uint64_t)cost;
        }
        break;
    case MSG_END:
        CHECK(!w->whole);
        daemon_end(w, p->first);
        break;
    case MSG_CREDIT:
        if (!w->open && w->losses > 0)
            break; /* its job's end has crossed it */
        CHECK(w->open && p->bytes > 0);
        w->result_left += (int64_t)p->bytes;
        CHECK(w->result_left <= (int64_t)w->window);
        w->returned += p->bytes;
        uint64_t back = 0;
        while (w->answers_count > 0 && w->returned >= w->answers[w->answers_first].cost) {
            w->returned -= w->answers[w->answers_first].cost;
            back += w->answers[w->answers_first].input;
            w->answers_first++;
            w->answers_count--;
        }
        w->input_left += (int64_t)back;
        if (back > 0 && !w->end) /* there is nothing left to send */
            packet_new(&w->down, MSG_CREDIT)->bytes = back;
        break;
    default:
        CHECK(!"a message that it may send");
    }
    packet_free(p);
}

/* What the input of item i still costs: pieces before the last were given back at once. */
static uint64_t input_back(const struct world *w, uint64_t i)
{
    return i == w->large_one ? item_cost(w, i) % (PIECE + RECORD_COST) : item_cost(w, i);
}

static uint64_t ready_item(const struct world *w)
{
    if (w->in_answer)
        return w->answering;
    if (!w->unordered)
        return w->next_answer < w->count && w->state[w->next_answer] == HERE ? w->next_answer : w->count;
    for (uint32_t k = 0, from = below(w->count + 1); k <= w->count; k++) {
        uint64_t i = (from + k) % (w->count + 1);
        if (i < w->count && w->state[i] == HERE)
            return i;
    }
    return w->count;
}

bool daemon_answer(struct world *w)
{
    if (!w->open || w->result_left <= 0)
        return false;
    uint64_t i = ready_item(w);
    if (i == w->count)
        return false;
    struct packet *p = packet_new(&w->down, MSG_RESULTS);
    p->first = i;
    p->batch = batch_new(20, (size_t)20 * RESULT_PIECE);
    assert_non_null(p->batch);
    uint64_t input = 0;
    uint8_t bytes[RESULT_PIECE];
    uint32_t most = 1 + below(20);
    do {
        size_t left = result_size(i) - w->answered, size = left;
        bool large = w->in_answer || left > RESULT_PIECE;
        if (large && p->batch->count > 0)
            break;
        if (large) {
            size = 1 + below(RESULT_PIECE);
            p->batch->more = size < left;
            size = size < left ? size : left;
            most = 1;
        }
        for (size_t k = 0; k < size; k++)
            bytes[k] = result_byte(i, w->answered + k);
        CHECK(batch_append(p->batch, bytes, size) == 0);
        w->in_answer = p->batch->more;
        w->answering = i;
        w->answered = w->in_answer ? w->answered + size : 0;
        if (w->in_answer)
            break;
        w->state[i] = ANSWERED;
        input += input_back(w, i);
        i++;
    } while (p->batch->count < most && i < w->count && w->state[i] == HERE);
    w->next_answer = i;
    skip_done(w, &w->next_answer);
    uint64_t cost = batch_cost(p->batch);
    w->result_left -= (int64_t)cost;
    w->answers[w->answers_first + w->answers_count++] = (struct answer){cost, input};
    CHECK(w->answers_first + w->answers_count < sizeof w->answers / sizeof *w->answers);
    return true;
}

bool daemon_done(struct world *w)
{
    if (!w->open || !w->end || w->done_sent || w->in_answer)
        return false;
    for (uint64_t i = 0; i < w->count; i++)
        if (w->state[i] == HERE)
            return false;
    w->done_sent = true;
    packet_new(&w->down, MSG_DONE);
    return true;
}

void daemon_reset(struct world *w)
{
    free(w->done);
    w->done = NULL;
    w->done_count = 0;
    w->open = w->whole = w->end = w->done_sent = w->in_answer = w->only = false;
    w->piece_at = w->answered = 0;
    w->returned = 0;
    w->answers_first = w->answers_count = 0;
    memset(w->state, 0, sizeof w->state);
}
