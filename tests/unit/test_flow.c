/*
 * Flow, against a small model of a daemon: random puts, takes, credits and losses, in order and without, with
 * large items and large results in pieces. Each history comes from a seed, which is printed when it fails;
 * FLOW_SEED and FLOW_RUNS in the environment choose others; of large items, FLOW_RUNS only makes less.
 */
#include "client/libpmap/flow.h"

#include "common/batch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <cmocka.h>

enum { ITEMS_MAX = 400, SKIPS_MAX = 30, PIECE = PROTOCOL_MESSAGE_MAX - 4, RESULT_PIECE = 700 };

static uint64_t seed_now;
static unsigned alone_jobs; /* of one item that had been taken in part */

_Noreturn static void broken(void)
{
    fail();
    abort(); /* fail() jumps */
}

#define CHECK(what)                                                                                          \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            print_error("seed %llu: %s\n", (unsigned long long)seed_now, #what);                             \
            broken();                                                                                        \
        }                                                                                                    \
    } while (0)

/* splitmix64: what is random, and the content of items and results. */
static uint64_t hash_of(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    return (uint32_t)(hash_of(random_state++) % n);
}

/* A message on its way. */
struct packet {
    STAILQ_ENTRY(packet) link;
    enum message_type type;
    uint64_t first, bytes;
    bool more, end;
    struct range *done;
    uint32_t done_count;
    struct batch *batch; /* of its own memory, as after the wire */
    struct flow_verdict verdict;
};
STAILQ_HEAD(packets, packet);

static struct packet *packet_new(struct packets *to, enum message_type type)
{
    struct packet *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->type = type;
    STAILQ_INSERT_TAIL(to, p, link);
    return p;
}

static void packet_free(struct packet *p)
{
    batch_unref(p->batch);
    free(p->done);
    free(p);
}

static struct packet *packet_take(struct packets *from)
{
    struct packet *p = STAILQ_FIRST(from);
    STAILQ_REMOVE_HEAD(from, link);
    return p;
}

static void packets_drop(struct packets *packets)
{
    while (!STAILQ_EMPTY(packets))
        packet_free(packet_take(packets));
}

enum item_state { ABSENT, HERE, ANSWERED };

struct world {
    /* What is to be */
    bool unordered;
    bool resumes_pieces; /* unordered: large results that were taken in part go on after a loss */
    uint32_t count;      /* items of the job */
    uint32_t large_one;  /* which item is large; ITEMS_MAX: none */
    size_t batch_size;
    uint64_t grant, window;
    struct range skips[SKIPS_MAX]; /* done by an earlier run; also behind the end */
    uint32_t skip_count;

    struct packets up, down; /* between the two */

    /* The client */
    struct flow *flow;
    struct packets inbox; /* results that came and were not taken wholly */
    uint32_t position;    /* in the first packet of `inbox` */
    bool blocked;         /* put said -EAGAIN and nothing has happened since */
    uint32_t losses;
    uint32_t alone; /* the item whose result was taken in part at the last loss, until that is done; `count`:
                       none */
    uint8_t taken[ITEMS_MAX];
    size_t have[ITEMS_MAX]; /* bytes of its result that were taken */

    /* The daemon */
    bool open, whole, end, done_sent;
    bool only;      /* the job is that of `alone` */
    bool in_answer; /* in the middle of a large result, of the item `answering` */
    uint32_t done_count;
    struct range *done;
    uint64_t expected, piece_at, answering;
    uint64_t next_answer; /* ordered */
    size_t answered;      /* bytes of the one that is being answered */
    enum item_state state[ITEMS_MAX];
    int64_t input_left, result_left;
    uint64_t returned; /* result credit that came back and made no message's worth yet */
    struct answer {
        uint64_t cost, input;
    } answers[100000]; /* what was sent: its cost, and the input credit that goes back for it */
    uint32_t answers_first, answers_count;
};

static bool is_skipped(const struct world *w, uint64_t i)
{
    for (uint32_t k = 0; k < w->skip_count; k++)
        if (i >= w->skips[k].from && i < w->skips[k].to)
            return true;
    return false;
}

static size_t item_size(const struct world *w, uint64_t i)
{
    if (i == w->large_one)
        return 2 * PIECE + 77;
    uint64_t h = hash_of(seed_now * 1000 + i);
    return h % 10 == 0 ? 0 : h % 17 == 0 ? h / 100 % 900 : h / 100 % 40;
}

static uint8_t item_byte(uint64_t i, size_t at)
{
    return (uint8_t)(i * 31 + at * 7 + at / 256);
}

static size_t result_size(uint64_t i)
{
    uint64_t h = hash_of(seed_now * 2000 + i);
    return h % 19 == 0 ? h / 100 % 5000 : h / 100 % 30;
}

static uint8_t result_byte(uint64_t i, size_t at)
{
    return (uint8_t)(i * 17 + at * 3 + at / 256);
}

static uint64_t item_cost(const struct world *w, uint64_t i)
{
    size_t size = item_size(w, i);
    return size + RECORD_COST * (size > PIECE ? (size + PIECE - 1) / PIECE : 1);
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

static void daemon_reset(struct world *w);

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

/*** The daemon ***/

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

static void daemon_receive(struct world *w)
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

static bool daemon_answer(struct world *w)
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

static bool daemon_done(struct world *w)
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

static void daemon_reset(struct world *w)
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
