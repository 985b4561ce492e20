/*
 * Credit and windows, to the byte and in both directions; items and results larger than they are; what an
 * owner and the daemon may hold; the head, which nothing gates.
 */
#include "tests/unit/core_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct job_options plain;

static uint64_t held(const struct rig *rig)
{
    struct core_counts c;
    core_counts(rig->core, &c);
    return c.held_bytes;
}

static struct job *open_with(struct rig *rig, struct session *session, struct job_request request,
                             uint64_t *window)
{
    struct job *job;
    assert_int_equal(core_job_open(rig->core, session, &request, rig->now_ns, &job), 0);
    rig_settle(rig);
    *window = rig_take(rig, ACTION_OPENED)->credit;
    return job;
}

static void give_back(struct rig *rig, struct job *job, uint64_t bytes)
{
    assert_int_equal(core_job_credit(rig->core, job, bytes, rig->now_ns), 0);
    rig_settle(rig);
}

/*** Input ***/

static void returns_input_credit_when_results_are_delivered(void **unused)
{
    (void)unused;
    struct rig rig;
    const struct core_config config = {
        .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .job_window = 2000};
    rig_start(&rig, &config, 1);
    uint64_t window;
    struct job_request request = {.ref = 1, .credit = 1 << 20, .expected_ns = 1};
    struct job *job = open_with(&rig, rig_session(&rig, 1000, &no_limits), request, &window);
    assert_int_equal(window, 2000);
    assert_int_equal(rig_items(&rig, job, 1, 1967, 'i'), 0); /* 1 is left */
    assert_int_equal(rig_items(&rig, job, 1, 5000, 'i'), 0); /* which one message may exceed */
    assert_int_equal(rig_items(&rig, job, 1, 0, 'i'), -ENOBUFS);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK), large = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(held(&rig), 1967 + 32 + 5000 + 32);
    rig_work(&rig, &chunk, 10);
    struct seen results = *rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(results.credit, 33);
    assert_int_equal(held(&rig), 1967 + 32 + 5000 + 32); /* sent is not delivered */
    give_back(&rig, job, 32);
    rig_expect_none(&rig);
    assert_int_equal(core_job_credit(rig.core, job, 2, rig.now_ns), -EPROTO);
    give_back(&rig, job, 1);
    assert_int_equal(held(&rig), 5032);
    assert_int_equal(rig_take(&rig, ACTION_CREDIT)->credit, 1999);
    assert_int_equal(rig_items(&rig, job, 1, 0, 'i'), -ENOBUFS); /* 2000 - 5032 is still below 0 */
    rig_work(&rig, &large, 10);
    give_back(&rig, job, rig_take(&rig, ACTION_RESULTS)->credit);
    assert_int_equal(rig_take(&rig, ACTION_CREDIT)->credit, 5032);
    assert_int_equal(held(&rig), 0);
    assert_int_equal(core_job_credit(rig.core, job, 1, rig.now_ns), -EPROTO);
    rig_end(&rig);
}

static void lends_windows_and_keeps_each_job_its_part(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 0);
    const struct owner_limits limits = {.weight = 1, .jobs = 100, .queued_bytes = 8 << 20};
    struct session *session = rig_session(&rig, 1000, &limits);
    struct job *jobs[100];
    uint64_t sum = 0, before = UINT64_MAX;
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t window;
        jobs[i] = open_with(&rig, session, (struct job_request){.ref = i, .credit = 1}, &window);
        assert_true(window >= (4 << 20) / 100);
        assert_true(window <= before);
        before = window;
        sum += window;
    }
    assert_true(sum <= 8 << 20);
    assert_int_equal(before, (4 << 20) / 100); /* all is lent */
    for (uint64_t i = 0; i < 100; i++)
        core_job_abandon(rig.core, jobs[i], rig.now_ns);
    uint64_t window;
    open_with(&rig, session, (struct job_request){.ref = 1, .credit = 1}, &window);
    assert_int_equal(window, 1 << 20); /* and is there again */
    /* Nobody has a window of 0, however little there is. */
    const struct owner_limits nothing = {.weight = 1, .jobs = 1000, .queued_bytes = 0};
    open_with(&rig, rig_session(&rig, 1001, &nothing), (struct job_request){.ref = 1, .credit = 1}, &window);
    assert_true(window > 0);
    rig_end(&rig);
}

static void grants_a_large_item_more_when_it_is_alone(void **unused)
{
    (void)unused;
    struct rig rig;
    const struct core_config config = {
        .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .job_window = 4096};
    rig_start(&rig, &config, 1);
    uint64_t window;
    struct job *job = open_with(&rig, rig_session(&rig, 1000, &no_limits),
                                (struct job_request){.ref = 1, .credit = 1 << 20}, &window);
    assert_int_equal(rig_items(&rig, job, 1, 100, 'i'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(rig_piece(&rig, job, 4096, true), 0);
    rig_expect_none(&rig); /* something is before it */
    assert_int_equal(rig_piece(&rig, job, 1024, true), -ENOBUFS);
    rig_work(&rig, &chunk, 10);
    uint64_t cost = rig_take(&rig, ACTION_RESULTS)->credit;
    give_back(&rig, job, cost - 1);
    rig_expect_none(&rig);
    give_back(&rig, job, 1);
    uint64_t granted = rig_take(&rig, ACTION_CREDIT)->credit;
    assert_int_equal(granted, 132 + PROTOCOL_MESSAGE_MAX + RECORD_COST);
    rig_expect_none(&rig);
    /* Giving back nothing, as often as one likes, brings nothing. */
    for (int i = 0; i < 10; i++)
        assert_int_equal(core_job_credit(rig.core, job, 0, rig.now_ns), 0);
    rig_settle(&rig);
    rig_expect_none(&rig);
    assert_int_equal(rig_piece(&rig, job, 1 << 20, true), 0); /* below 0 by less than that: once more */
    uint64_t more = rig_take(&rig, ACTION_CREDIT)->credit;
    assert_int_equal(more, PROTOCOL_MESSAGE_MAX + RECORD_COST);
    assert_int_equal(rig_piece(&rig, job, 1 << 20, false), 0);
    chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(chunk.count, 1);
    assert_int_equal(chunk.size, 4096 + (2 << 20));
    rig_work(&rig, &chunk, 10);
    give_back(&rig, job, rig_take(&rig, ACTION_RESULTS)->credit);
    /* What was granted over the window is not given back. */
    assert_int_equal(rig_take(&rig, ACTION_CREDIT)->credit,
                     4096 + (2 << 20) + 3 * 32 - 2 * (PROTOCOL_MESSAGE_MAX + RECORD_COST));
    assert_int_equal(held(&rig), 0);
    rig_end(&rig);
}

/* Not once while the grant has not been told yet, and twice when it has. */
static void grants_once_for_many_reasons(void **unused)
{
    (void)unused;
    struct rig rig;
    const struct core_config config = {
        .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .job_window = 4096};
    rig_start(&rig, &config, 0);
    uint64_t window;
    struct job *job = open_with(&rig, rig_session(&rig, 1000, &no_limits),
                                (struct job_request){.ref = 1, .credit = 1 << 20}, &window);
    struct batch *batch = rig_batch(1, 4096, 'p', true);
    assert_int_equal(core_job_items(rig.core, job, 0, batch, rig.now_ns), 0);
    batch_unref(batch);
    for (int i = 0; i < 10; i++)
        assert_int_equal(core_job_credit(rig.core, job, 0, rig.now_ns), 0);
    rig_settle(&rig);
    assert_int_equal(rig_take(&rig, ACTION_CREDIT)->credit, PROTOCOL_MESSAGE_MAX + RECORD_COST);
    rig_end(&rig);
}

/* However little was left before a piece of the largest size. */
static void grants_always_enough(void **unused)
{
    (void)unused;
    for (uint64_t left = 1; left < 40; left++) {
        struct rig rig;
        const struct core_config config = {
            .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .job_window = 4096};
        rig_start(&rig, &config, 0);
        uint64_t window;
        struct job *job = open_with(&rig, rig_session(&rig, 1000, &no_limits),
                                    (struct job_request){.ref = 1, .credit = 1 << 20}, &window);
        assert_int_equal(rig_piece(&rig, job, 4096 - 32 - left, true), 0);
        assert_int_equal(rig_piece(&rig, job, PROTOCOL_MESSAGE_MAX, true), 0);
        assert_true(rig_take(&rig, ACTION_CREDIT)->credit + left > PROTOCOL_MESSAGE_MAX + 32);
        assert_int_equal(rig_piece(&rig, job, 0, false), 0);
        rig_end(&rig);
    }
}

static void refuses_items_over_the_largest(void **unused)
{
    (void)unused;
    struct rig rig;
    const struct core_config config = {
        .chunk_target_ns = 10 * MS, .queued_bytes = UINT64_C(1) << 40, .job_window = UINT64_C(2) << 30};
    rig_start(&rig, &config, 0);
    uint64_t window;
    struct job *job = open_with(&rig, rig_session(&rig, 1000, &no_limits),
                                (struct job_request){.ref = 1, .credit = 1}, &window);
    assert_int_equal(window, UINT64_C(2) << 30);
    /* The same MiB, seen in many batches: no memory is needed for this. */
    struct piece {
        struct batch batch;
        uint8_t length[4];
    };
    static uint8_t mib[1 << 20];
    static struct piece pieces[1025];
    static const struct piece blank;
    for (size_t i = 0; i < 1025; i++) {
        pieces[i] = blank;
        store_u32(pieces[i].length, sizeof mib);
        struct batch *batch = &pieces[i].batch;
        assert_int_equal(batch_init(batch, pieces[i].length, 4, mib, sizeof mib, NULL), 0);
        batch->more = true;
        batch_ref(batch); /* so that nobody releases it */
        int rc = core_job_items(rig.core, job, 0, batch, rig.now_ns);
        assert_int_equal(rc, i < 1024 ? 0 : -EMSGSIZE);
        if (i % 128 == 0)
            rig_settle(&rig);
    }
    assert_int_equal(held(&rig), (UINT64_C(1) << 30) + UINT64_C(1024) * 32);
    core_job_abandon(rig.core, job, rig.now_ns);
    rig_end(&rig);
}

static uint32_t batches_made;

struct batch *__real_batch_new(uint32_t count, size_t size);
struct batch *__wrap_batch_new(uint32_t count, size_t size);
struct batch *__wrap_batch_new(uint32_t count, size_t size)
{
    batches_made++;
    return __real_batch_new(count, size);
}

/* A few bytes in every other index take the room of a few bytes. */
static void gathers_across_gaps(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 0);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct range done[500];
    for (uint64_t i = 0; i < 500; i++)
        done[i] = (struct range){2 * i + 1, 2 * i + 2};
    struct job_request request = {.ref = 1, .credit = 1, .done = done, .done_count = 500};
    struct job *job;
    assert_int_equal(core_job_open(rig.core, session, &request, rig.now_ns, &job), 0);
    rig_settle(&rig);
    rig_forget(&rig);
    struct batch *batch = rig_batch(1, 1, 'i', false);
    uint32_t before = batches_made;
    for (uint64_t i = 0; i < 500; i++)
        assert_int_equal(core_job_items(rig.core, job, 2 * i, batch, rig.now_ns), 0);
    assert_int_equal(batches_made - before, 1);
    batch_unref(batch);
    rig_end(&rig);
}

/*** Exceeding limits ***/

struct large {
    struct job *job;
    uint64_t window;
};

/* A job whose large item has used up its window, and waits. */
static struct large start_large(struct rig *rig, struct session *session, uint64_t ref)
{
    struct large s;
    s.job = open_with(rig, session, (struct job_request){.ref = ref, .credit = 1 << 20}, &s.window);
    assert_int_equal(rig_piece(rig, s.job, s.window, true), 0);
    return s;
}

static void expect_grant(struct rig *rig, uint64_t ref)
{
    const struct seen *credit = rig_take(rig, ACTION_CREDIT);
    assert_int_equal(credit->ref, ref);
    assert_int_equal(credit->credit, PROTOCOL_MESSAGE_MAX + RECORD_COST);
    rig_expect_none(rig);
}

/* Its item is complete, mapped, and delivered. */
static void finish_large(struct rig *rig, const struct large *s)
{
    assert_int_equal(rig_piece(rig, s->job, 5, false), 0);
    struct seen chunk = *rig_take(rig, ACTION_CHUNK);
    rig_work(rig, &chunk, 10);
    assert_int_equal(core_job_credit(rig->core, s->job, rig_take(rig, ACTION_RESULTS)->credit, rig->now_ns),
                     0);
    rig_settle(rig);
}

static void lets_one_job_of_an_owner_exceed_its_limit(void **unused)
{
    (void)unused;
    struct rig rig;
    const struct core_config config = {
        .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .job_window = 8192};
    rig_start(&rig, &config, 1);
    const struct owner_limits small = {.weight = 1, .jobs = 8, .queued_bytes = 20000};
    struct session *session = rig_session(&rig, 1000, &small), *other = rig_session(&rig, 1001, &no_limits);
    struct large one = start_large(&rig, session, 1);
    expect_grant(&rig, 1);
    assert_int_equal(rig_piece(&rig, one.job, 30000, true),
                     0); /* over the owner's limit, but not of its grant */
    rig_expect_none(&rig);
    struct large two = start_large(&rig, session, 2);
    expect_grant(&rig, 2); /* whoever asks first has the turn */
    struct large three = start_large(&rig, session, 3);
    rig_expect_none(&rig);
    struct large theirs = start_large(&rig, other, 9);
    expect_grant(&rig, 9); /* no concern of another owner's */
    finish_large(&rig, &theirs);
    rig_expect_none(&rig); /* what it used was lent */
    /* The one that has it may go on. */
    assert_int_equal(rig_piece(&rig, two.job, 1 << 20, true), 0);
    assert_int_equal(rig_piece(&rig, two.job, 1 << 10, true), 0);
    expect_grant(&rig, 2);
    finish_large(&rig, &two);
    expect_grant(&rig, 3);
    core_job_cancel(rig.core, three.job, rig.now_ns);
    core_job_abandon(rig.core, one.job, rig.now_ns);
    rig_settle(&rig);
    rig_take(&rig, ACTION_DONE);
    assert_int_equal(held(&rig), 0);
    rig_end(&rig);
}

static void gives_owners_turns_at_exceeding_the_limit_of_all(void **unused)
{
    (void)unused;
    struct rig rig;
    const struct core_config config = {.chunk_target_ns = 10 * MS, .queued_bytes = 6000, .job_window = 8192};
    rig_start(&rig, &config, 1);
    const struct owner_limits limits = {.weight = 1, .jobs = 8, .queued_bytes = 1 << 20};
    struct session *a = rig_session(&rig, 1000, &limits), *b = rig_session(&rig, 1001, &limits);
    struct large holder = start_large(&rig, a, 1);
    for (int waits = 0; waits < 10 && rig.taken == rig.seen_count; waits++)
        assert_int_equal(rig_piece(&rig, holder.job, 1024, true), 0);
    expect_grant(&rig, 1); /* it holds all that may be held */
    struct large second = start_large(&rig, a, 2), third = start_large(&rig, a, 3);
    struct large theirs = start_large(&rig, b, 9);
    rig_expect_none(&rig);
    finish_large(&rig, &holder);
    expect_grant(&rig, 2);
    finish_large(&rig, &second);
    expect_grant(&rig, 9); /* not a's third before b's first */
    /* A client that stalls, or goes, does not keep the turn for ever: here it goes. */
    core_session_close(rig.core, b, rig.now_ns);
    rig_settle(&rig);
    expect_grant(&rig, 3);
    core_job_abandon(rig.core, third.job, rig.now_ns);
    (void)theirs;
    rig_end(&rig);
}

/* Refused because too much was held: granted when it is not, although the turn is still another job's. */
static void tries_again_when_less_is_held(void **unused)
{
    (void)unused;
    struct rig rig;
    const struct core_config config = {.chunk_target_ns = 10 * MS, .queued_bytes = 9000, .job_window = 4096};
    rig_start(&rig, &config, 1);
    struct session *a = rig_session(&rig, 1000, &no_limits), *b = rig_session(&rig, 1001, &no_limits);
    uint64_t window;
    struct job *filler = open_with(&rig, rig_session(&rig, 1002, &no_limits),
                                   (struct job_request){.ref = 5, .credit = 1 << 20}, &window);
    assert_int_equal(rig_items(&rig, filler, 1, 8000, 'f'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    struct large holder = start_large(&rig, a, 1);
    expect_grant(&rig, 1);
    struct large waiting = start_large(&rig, b, 2);
    rig_expect_none(&rig);
    rig_work(&rig, &chunk, 10);
    give_back(&rig, filler, rig_take(&rig, ACTION_RESULTS)->credit);
    assert_int_equal(rig_take(&rig, ACTION_CREDIT)->ref, 5);
    expect_grant(&rig, 2);
    core_job_abandon(rig.core, holder.job, rig.now_ns);
    core_job_abandon(rig.core, waiting.job, rig.now_ns);
    rig_end(&rig);
}

/*** Results ***/

static void sends_results_while_there_is_credit(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 4);
    uint64_t window;
    struct job_request request = {.ref = 1, .credit = 100};
    struct job *job = open_with(&rig, rig_session(&rig, 1000, &no_limits), request, &window);
    assert_int_equal(rig_items(&rig, job, 4, 1, 'i'), 0);
    rig_finish(&rig, job);
    struct seen chunks[4];
    for (int i = 0; i < 4; i++)
        chunks[i] = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(rig_worked(&rig, chunks[0].worker, chunks[0].chunk, 1, 67, false, true, 1), 0);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->credit, 99);
    assert_int_equal(rig_worked(&rig, chunks[1].worker, chunks[1].chunk, 1, 500, false, true, 1), 0);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->credit, 532); /* 1 was left */
    assert_int_equal(rig_worked(&rig, chunks[2].worker, chunks[2].chunk, 1, 9, false, true, 1), 0);
    assert_int_equal(rig_worked(&rig, chunks[3].worker, chunks[3].chunk, 1, 9, false, true, 1), 0);
    rig_expect_none(&rig);
    give_back(&rig, job, 531);
    rig_expect_none(&rig); /* exactly 0 */
    give_back(&rig, job, 1);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->credit, 41); /* not both: the first used it up */
    rig_expect_none(&rig);
    give_back(&rig, job, 99);
    const struct seen *last = rig_take(&rig, ACTION_RESULTS);
    assert_true(last->has_done);
    assert_int_equal(last->first, 3);
    rig_end(&rig);
}

/* Many small results behind a slow head go out in few messages, none of them over the largest size. */
static void keeps_messages_small(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 2);
    uint64_t window;
    struct job_request request = {.ref = 1, .credit = 100 << 20};
    struct job *job = open_with(&rig, rig_session(&rig, 1000, &no_limits), request, &window);
    assert_int_equal(rig_items(&rig, job, 1, 1, 'h'), 0);
    struct seen head = *rig_take(&rig, ACTION_CHUNK);
    uint32_t sent = 0;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rig_items(&rig, job, 9000, 0, 'i'), 0);
        sent += 9000;
    }
    while (rig.taken < rig.seen_count) {
        struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
        if (chunk.worker == head.worker)
            continue;
        rig.now_ns += 100;
        assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, chunk.count, 0, false, true, 100), 0);
    }
    rig_work(&rig, &head, 10);
    uint64_t next = 0;
    size_t messages = 0;
    while (rig.taken < rig.seen_count) {
        if (rig.seen[rig.taken].type == ACTION_CHUNK) {
            rig_take(&rig, ACTION_CHUNK);
            continue;
        }
        const struct seen *results = rig_take(&rig, ACTION_RESULTS);
        assert_int_equal(results->first, next);
        next += results->count;
        assert_true(results->frames <= RESULTS_SIZE_SOFT || results->blocks == 1);
        assert_true(results->frames < PROTOCOL_MESSAGE_MAX);
        messages++;
    }
    assert_true(next > 50000);
    assert_true(messages <= 2 * next * 12 / RESULTS_SIZE_SOFT + 2);
    (void)sent;
    rig_end(&rig);
}

/* Whatever waits to be sent, or is too large: the head is cut, the others are not. */
static void never_gates_the_head(void **unused)
{
    (void)unused;
    struct rig rig;
    const struct core_config config = {
        .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .job_window = 2048};
    rig_start(&rig, &config, 2);
    uint64_t window;
    struct job_request request = {.ref = 1, .credit = 1};
    struct job *job = open_with(&rig, rig_session(&rig, 1000, &no_limits), request, &window);
    assert_int_equal(rig_items(&rig, job, 20, 1, 'i'), 0);
    struct seen head = *rig_take(&rig, ACTION_CHUNK), second = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(head.first, 0);
    /* A large result waits behind the slow head: nothing further is cut, or it would have to wait too. */
    assert_int_equal(rig_worked(&rig, second.worker, second.chunk, 1, 4000, false, true, 1), 0);
    rig_expect_none(&rig);
    /* The head's worker dies: it is cut anew, before all else and through the closed window. */
    core_worker_gone(rig.core, head.worker, rig.now_ns);
    rig_settle(&rig);
    head = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(head.first, 0);
    rig_expect_none(&rig);
    rig_work(&rig, &head, 10);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->first, 0); /* the credit is used up */
    /* The reader stalls: what is next is not the head, as results wait before it. */
    rig_expect_none(&rig);
    rig_pass(&rig, 60000 * MS);
    rig_expect_none(&rig);
    give_back(&rig, job, 33);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->first, 1);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->first, 2);
    rig_forget(&rig);
    rig_end(&rig);
}

/* A session that is not to be told anything keeps its results, and gets all of them later. */
static void keeps_results_of_a_blocked_session(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open(&rig, session, 1, plain), *other = rig_open(&rig, session, 2, plain);
    core_session_block(rig.core, session, true);
    assert_int_equal(rig_items(&rig, job, 1, 1, 'i'), 0);
    rig_finish(&rig, job);
    core_job_cancel(rig.core, other, rig.now_ns);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    rig_work(&rig, &chunk, 10);
    rig_expect_none(&rig);
    core_session_block(rig.core, session, false);
    rig_settle(&rig);
    assert_true(rig_take(&rig, ACTION_RESULTS)->has_done);
    assert_int_equal(rig_take(&rig, ACTION_DONE)->done.outcome, OUTCOME_CANCELLED);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(returns_input_credit_when_results_are_delivered),
        cmocka_unit_test(lends_windows_and_keeps_each_job_its_part),
        cmocka_unit_test(grants_a_large_item_more_when_it_is_alone),
        cmocka_unit_test(grants_once_for_many_reasons),
        cmocka_unit_test(grants_always_enough),
        cmocka_unit_test(refuses_items_over_the_largest),
        cmocka_unit_test(gathers_across_gaps),
        cmocka_unit_test(lets_one_job_of_an_owner_exceed_its_limit),
        cmocka_unit_test(gives_owners_turns_at_exceeding_the_limit_of_all),
        cmocka_unit_test(tries_again_when_less_is_held),
        cmocka_unit_test(sends_results_while_there_is_credit),
        cmocka_unit_test(keeps_messages_small),
        cmocka_unit_test(never_gates_the_head),
        cmocka_unit_test(keeps_results_of_a_blocked_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
