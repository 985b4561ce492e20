/*
 * Flow, against a small model of a daemon: random puts, takes, credits and losses, in order and without, with
 * large items and large results in pieces. Each history comes from a seed, which is printed when it fails;
 * FLOW_SEED and FLOW_RUNS in the environment choose others; of large items, FLOW_RUNS only makes less.
 */
#include "tests/unit/flow_daemon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <cmocka.h>

static bool is_skipped(const struct world *w, uint64_t i)
{
    for (uint32_t k = 0; k < w->skip_count; k++)
        if (i >= w->skips[k].from && i < w->skips[k].to)
            return true;
    return false;
}

/*** The client ***/

static void client_put(struct world *w)
{
    static uint8_t space[2 * PIECE + 100];
    uint64_t i = flow_total(w->flow);
    size_t size = item_size(w, i);
    for (size_t at = 0; at < size; at++)
        space[at] = item_byte(i, at);
    int rc = flow_put(w->flow, space, size);
    CHECK(rc == 0 || rc == -EAGAIN);
    w->blocked = rc == -EAGAIN;
    CHECK(!is_skipped(w, i));
    uint64_t next = i + (rc == 0);
    while (is_skipped(w, next))
        next++;
    CHECK(flow_total(w->flow) == next);
    /* What is kept: what was granted, what may go over it with one message, and what is gathered. */
    uint64_t over = 2 * w->batch_size + 1000 + PROTOCOL_INLINE_MAX +
                    (w->large_one < i + 1 ? item_cost(w, w->large_one) : 0);
    CHECK(flow_kept(w->flow) <= w->grant + over);
}

static bool client_send(struct world *w)
{
    struct flow_out out;
    if (!flow_next(w->flow, &out))
        return false;
    struct packet *p = packet_new(&w->up, out.type);
    p->first = out.first;
    p->bytes = out.bytes;
    p->more = out.more;
    p->end = out.end;
    if (out.done_count > 0) {
        p->done = calloc(out.done_count, sizeof *p->done);
        assert_non_null(p->done);
        memcpy(p->done, out.done, out.done_count * sizeof *p->done);
        p->done_count = out.done_count;
    }
    if (out.items.count > 0) {
        p->batch = batch_new(out.items.count, out.items.size);
        assert_non_null(p->batch);
        const uint8_t *bytes = out.items.batch->bytes + out.items.offset;
        for (uint32_t k = 0; k < out.items.count; k++) {
            uint32_t len = batch_length(out.items.batch, out.items.first + k);
            CHECK(batch_append(p->batch, bytes, len) == 0);
            bytes += len;
        }
        CHECK(p->batch->size == out.items.size);
        CHECK(p->batch->size + 4 * (size_t)p->batch->count <= PROTOCOL_MESSAGE_MAX);
        if (out.type == MSG_OPEN)
            CHECK(p->batch->size <= PROTOCOL_INLINE_MAX && 4 * p->batch->count <= PROTOCOL_INLINE_MAX);
    }
    return true;
}

static void client_receive(struct world *w)
{
    struct packet *p = packet_take(&w->down);
    switch (p->type) {
    case MSG_OPENED:
        CHECK(flow_opened(w->flow, p->bytes) == 0);
        break;
    case MSG_CREDIT:
        CHECK(flow_credit(w->flow, p->bytes) == 0);
        break;
    case MSG_DONE:
        CHECK(flow_done(w->flow, true) == 0);
        CHECK(flow_state(w->flow) == FLOW_ENDED || w->alone < w->count);
        if (flow_state(w->flow) == FLOW_NEW) {
            CHECK(w->only);
            daemon_reset(w);
            w->alone = w->count;
        }
        break;
    default:
        CHECK(flow_results(w->flow, p->first, p->batch, &p->verdict) == 0);
        CHECK(!p->verdict.drop && !p->verdict.mismatch);
        STAILQ_INSERT_TAIL(&w->inbox, p, link);
        return;
    }
    packet_free(p);
}

static void take_bytes(struct world *w, uint64_t index, const uint8_t *bytes, size_t size)
{
    for (size_t k = 0; k < size; k++)
        CHECK(bytes[k] == result_byte(index, w->have[index] + k));
    w->have[index] += size;
    CHECK(w->have[index] <= result_size(index));
}

/* Takes one record of what has come. */
static void client_take(struct world *w)
{
    struct packet *p = STAILQ_FIRST(&w->inbox);
    uint64_t index = p->first + w->position;
    CHECK(index < w->count);
    size_t offset = 0, size = batch_length(p->batch, w->position);
    for (uint32_t k = 0; k < w->position; k++)
        offset += batch_length(p->batch, k);
    if (!(p->verdict.filter && flow_is_taken(w->flow, index))) {
        CHECK(!w->taken[index]);
        if (p->verdict.skip > 0 && p->verdict.partly == w->position) {
            offset += p->verdict.skip;
            size -= p->verdict.skip;
        }
        take_bytes(w, index, p->batch->bytes + offset, size);
        if (!p->batch->more) {
            CHECK(w->have[index] == result_size(index));
            CHECK(flow_taken(w->flow, index, 1) == 0);
            CHECK(flow_state(w->flow) == FLOW_ENDED || flow_is_taken(w->flow, index));
            CHECK(flow_state(w->flow) == FLOW_ENDED || flow_taken(w->flow, index, 1) == -EINVAL);
            w->taken[index] = 1;
        } else if (!w->unordered || w->resumes_pieces) {
            CHECK(flow_taken_piece(w->flow, index, p->batch->bytes + offset, size) == 0);
        }
    } else {
        CHECK(w->taken[index]);
    }
    if (++w->position < p->batch->count)
        return;
    w->position = 0;
    flow_released(w->flow, batch_cost(p->batch));
    packet_free(packet_take(&w->inbox));
}

static void lose(struct world *w)
{
    packets_drop(&w->up);
    packets_drop(&w->down);
    packets_drop(&w->inbox);
    w->position = 0;
    daemon_reset(w);
    w->alone = w->count;
    for (uint32_t i = 0; i < w->count && w->unordered; i++) {
        if (w->taken[i] || w->have[i] == 0)
            continue;
        if (w->resumes_pieces)
            w->alone = i;
        else /* what there is of one is thrown away */
            w->have[i] = 0;
    }
    CHECK(flow_lost(w->flow) == 0);
    w->losses++;
    w->blocked = false;
}

/*** Histories ***/

/* Some indices that an earlier run has done: ranges of one or many, neighbours, some behind the end. */
static void choose_skips(struct world *w)
{
    uint64_t at = below(2) ? 0 : below(20);
    uint32_t count = below(SKIPS_MAX + 1), gap = 1 + below(20);
    while (w->skip_count < count) {
        uint64_t to = at + 1 + below(gap);
        w->skips[w->skip_count++] = (struct range){at, to};
        at = to + below(gap);
    }
    CHECK(flow_done_valid(w->skips, w->skip_count));
}

/* Does one thing that can be done, of the kind `what`; false when it cannot. */
static bool act(struct world *w, uint32_t what)
{
    uint64_t put = flow_total(w->flow);
    switch (what) {
    case 0: /* two of nine, so that more is put */
    case 1:
        if (put >= w->count || w->blocked)
            return false;
        client_put(w);
        return true;
    case 2:
        return put >= w->count && flow_end(w->flow) == 0;
    case 3:
        return client_send(w);
    case 4:
        if (STAILQ_EMPTY(&w->up))
            return false;
        daemon_receive(w);
        return true;
    case 5:
        if (STAILQ_EMPTY(&w->down))
            return false;
        client_receive(w);
        return true;
    case 6:
        return daemon_answer(w);
    case 7:
        return daemon_done(w);
    default:
        if (STAILQ_EMPTY(&w->inbox))
            return false;
        client_take(w);
        return true;
    }
}

static void run(bool unordered, bool lossy, bool large)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    random_state = hash_of(seed_now);
    w->unordered = unordered;
    w->resumes_pieces = unordered && below(2);
    w->count = below(8) == 0 ? below(3) : below(ITEMS_MAX);
    w->alone = w->count;
    w->large_one = large ? below(w->count + 1) : ITEMS_MAX;
    w->batch_size = below(2) ? 64 + below(1000) : 65536;
    w->grant = 1 + below(below(2) ? 20000 : 300);
    w->window = 1 + below(below(2) ? 20000 : 100);
    STAILQ_INIT(&w->up);
    STAILQ_INIT(&w->down);
    STAILQ_INIT(&w->inbox);
    if (below(3) == 0)
        choose_skips(w);
    struct flow_config config = {.ref = 1,
                                 .unordered = unordered,
                                 .done = w->skips,
                                 .done_count = w->skip_count,
                                 .batch_size = w->batch_size,
                                 .result_window = w->window,
                                 .ranges_max = below(2) ? 2 + below(6) : 0};
    w->flow = flow_new(&config);
    assert_non_null(w->flow);
    uint32_t loss_odds = 200 + below(2000), flush_odds = below(2) ? 10 : 1000;
    while (flow_state(w->flow) != FLOW_ENDED || !STAILQ_EMPTY(&w->inbox)) {
        if (lossy && w->losses < 6 && flow_state(w->flow) != FLOW_ENDED && below(loss_odds) == 0)
            lose(w);
        if (below(flush_odds) == 0)
            flow_flush(w->flow);
        bool did = false;
        for (uint32_t k = 0, from = below(9); k < 9 && !did; k++) {
            uint32_t what = (from + k) % 9;
            did = act(w, what);
            if (did && what > 1)
                w->blocked = false;
        }
        CHECK(did || !"deadlock");
    }
    for (uint32_t i = 0; i < w->count; i++)
        CHECK(w->taken[i] == !is_skipped(w, i) && w->have[i] == (w->taken[i] ? result_size(i) : 0));
    CHECK(flow_kept(w->flow) == 0 && flow_put(w->flow, "x", 1) == -EPIPE && flow_end(w->flow) == -EPIPE);
    packets_drop(&w->up);
    packets_drop(&w->down);
    daemon_reset(w);
    flow_free(w->flow);
    free(w);
}

struct histories {
    bool unordered, lossy, large;
    uint32_t count;
};

static void histories(void **state)
{
    const struct histories *h = *state;
    const char *seed = getenv("FLOW_SEED"), *times = getenv("FLOW_RUNS");
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
    uint64_t count = times ? strtoull(times, NULL, 10) : h->count;
    if (h->large && count > h->count)
        count = h->count;
    for (seed_now = first; seed_now < first + count; seed_now++)
        run(h->unordered, h->lossy, h->large);
    if (h->unordered && h->lossy && count >= 500)
        assert_true(alone_jobs > 50);
}

int main(void)
{
    static struct histories cases[] = {
        {false, false, false, 500}, {true, false, false, 500}, {false, true, false, 500},
        {true, true, false, 1000},  {false, true, true, 10},   {true, true, true, 10},
    };
    const struct CMUnitTest tests[] = {
        {"in order", histories, NULL, NULL, &cases[0]},
        {"unordered", histories, NULL, NULL, &cases[1]},
        {"in order, with losses", histories, NULL, NULL, &cases[2]},
        {"unordered, with losses", histories, NULL, NULL, &cases[3]},
        {"large items in order", histories, NULL, NULL, &cases[4]},
        {"large items, unordered", histories, NULL, NULL, &cases[5]},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
