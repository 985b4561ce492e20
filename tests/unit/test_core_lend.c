/* Free slots that are lent to running chunks of jobs with a jobserver: when, to whom, and how they come back.
 */
#include "tests/unit/core_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { SLOTS = 4 };

static const struct job_request lends = {.options = {.jobserver = true, .chunksize = 1}};
static const struct job_request plain = {.options = {.chunksize = 1}};

static struct core_counts counts_of(const struct rig *rig)
{
    struct core_counts counts;
    core_counts(rig->core, &counts);
    return counts;
}

/* How many slots are in use, and how many of them are lent. */
static void assert_slots(const struct rig *rig, uint32_t busy, uint32_t lent)
{
    assert_int_equal(counts_of(rig).busy, busy);
    assert_int_equal(counts_of(rig).lent, lent);
}

/* Four slots and as many processes, all idle. */
static struct session *start(struct rig *rig, const struct owner_limits *limits)
{
    const struct core_config config = {.slots = SLOTS,
                                       .chunk_target_ns = 10 * MS,
                                       .queued_bytes = 1 << 30,
                                       .worker_idle_ns = INT64_C(1) << 60};
    struct crew *crew;
    rig_start(rig, &config, SLOTS);
    struct session *session = rig_session(rig, 1000, limits);
    assert_int_equal(core_crew_new(rig->core, rig, &crew), 0);
    core_session_crew(rig->core, session, crew, rig->now_ns);
    for (int i = 0; i < SLOTS; i++)
        rig_add_process(rig, crew);
    return session;
}

/* The next action lends so much, in all, to this chunk, and wants so much of it back. */
static void take_lend(struct rig *rig, const struct seen *chunk, uint64_t lent, uint64_t back)
{
    const struct seen *seen = rig_take(rig, ACTION_LEND);
    assert_int_equal(seen->chunk, chunk->chunk);
    assert_ptr_equal(seen->worker, chunk->worker);
    assert_int_equal(seen->lent, lent);
    assert_int_equal(seen->back, back);
}

/* A job with one item that has borrowed all that is free. */
static struct seen lone_item(struct rig *rig, struct session *session, struct job_request request)
{
    struct job *job = rig_open_process(rig, session, 1, 1 << 20, request);
    assert_int_equal(rig_items(rig, job, 1, 1, 'a'), 0);
    return *rig_take(rig, ACTION_CHUNK);
}

/* Items for threads, of somebody else's. */
static struct job *others_items(struct rig *rig, uint32_t count)
{
    struct job *job = rig_open(rig, rig_session(rig, 1001, &no_limits), 1, plain.options);
    assert_int_equal(rig_items(rig, job, count, 1, 'b'), 0);
    return job;
}

static void lends_what_is_free(void **unused)
{
    (void)unused;
    struct rig rig;
    struct seen chunk = lone_item(&rig, start(&rig, &no_limits), lends);
    take_lend(&rig, &chunk, 3, 0);
    rig_expect_none(&rig);
    assert_slots(&rig, 4, 3);
    rig_work(&rig, &chunk, 100 * MS);
    rig_take(&rig, ACTION_RESULTS);
    assert_slots(&rig, 0, 0);
    rig_end(&rig);
}

static void only_to_those_who_asked(void **unused)
{
    (void)unused;
    struct rig rig;
    (void)lone_item(&rig, start(&rig, &no_limits), plain);
    rig_expect_none(&rig);
    assert_slots(&rig, 1, 0);
    rig_end(&rig);
}

static void calls_back_as_many_as_are_waited_for(void **unused)
{
    (void)unused;
    struct rig rig;
    struct seen chunk = lone_item(&rig, start(&rig, &no_limits), lends);
    take_lend(&rig, &chunk, 3, 0);
    others_items(&rig, 2);
    take_lend(&rig, &chunk, 3, 2);
    rig_expect_none(&rig);
    assert_int_equal(rig_returned(&rig, &chunk, 1), 0);
    struct seen other = *rig_take(&rig, ACTION_CHUNK);
    assert_slots(&rig, 4, 2);
    assert_int_equal(rig_returned(&rig, &chunk, 2), 0);
    struct seen second = *rig_take(&rig, ACTION_CHUNK);
    assert_slots(&rig, 4, 1);
    rig_expect_none(&rig);
    /* What they leave is lent again. */
    rig_work(&rig, &other, 10 * MS);
    take_lend(&rig, &chunk, 4, 2);
    rig_take(&rig, ACTION_RESULTS);
    rig_work(&rig, &second, 10 * MS);
    take_lend(&rig, &chunk, 5, 2);
    rig_take(&rig, ACTION_RESULTS);
    assert_slots(&rig, 4, 3);
    rig_end(&rig);
}

/* Who waited has found another slot: what was called and has not come may stay; what comes all the same is
 * taken, and lent anew. */
static void takes_a_call_back(void **unused)
{
    (void)unused;
    struct rig rig;
    struct seen chunk = lone_item(&rig, start(&rig, &no_limits), lends);
    take_lend(&rig, &chunk, 3, 0);
    struct job *job = others_items(&rig, 2);
    take_lend(&rig, &chunk, 3, 2);
    core_job_cancel(rig.core, job, rig.now_ns);
    rig_settle(&rig);
    take_lend(&rig, &chunk, 3, 0);
    rig_take(&rig, ACTION_DONE);
    assert_slots(&rig, 4, 3);
    assert_int_equal(rig_returned(&rig, &chunk, 2), 0);
    take_lend(&rig, &chunk, 5, 0);
    assert_slots(&rig, 4, 3);
    rig_end(&rig);
}

static void comes_back_with_the_chunk(void **unused)
{
    (void)unused;
    struct rig rig;
    struct session *session = start(&rig, &no_limits);
    struct seen chunk = lone_item(&rig, session, lends);
    take_lend(&rig, &chunk, 3, 0);
    others_items(&rig, 4);
    take_lend(&rig, &chunk, 3, 3);
    rig_work(&rig, &chunk, MS);
    for (int i = 0; i < 4; i++)
        rig_take(&rig, ACTION_CHUNK);
    rig_take(&rig, ACTION_RESULTS);
    assert_slots(&rig, 4, 0);
    rig_forget(&rig);
    rig_end(&rig);
}

static void comes_back_when_parked(void **unused)
{
    (void)unused;
    struct rig rig;
    struct seen chunk = lone_item(&rig, start(&rig, &no_limits), lends);
    take_lend(&rig, &chunk, 3, 0);
    assert_int_equal(rig_parked(&rig, &chunk, 1, MS), 0);
    assert_slots(&rig, 0, 0);
    assert_int_equal(rig_returned(&rig, &chunk, 1), -EPROTO);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 1, false, true, 0), 0);
    rig_take(&rig, ACTION_RESULTS);
    rig_end(&rig);
}

static void comes_back_with_a_worker_that_dies(void **unused)
{
    (void)unused;
    struct rig rig;
    struct seen chunk = lone_item(&rig, start(&rig, &no_limits), lends);
    take_lend(&rig, &chunk, 3, 0);
    rig_gone(&rig, chunk.worker);
    chunk = *rig_take(&rig, ACTION_CHUNK); /* another one has the item, and borrows */
    take_lend(&rig, &chunk, 3, 0);
    assert_slots(&rig, 4, 3);
    rig_end(&rig);
}

/* A token that is given back although nobody wanted it, twice, or of another chunk. */
static void believes_no_more_than_can_be(void **unused)
{
    (void)unused;
    struct rig rig;
    struct session *session = start(&rig, &no_limits);
    struct seen chunk = lone_item(&rig, session, lends), other = chunk;
    take_lend(&rig, &chunk, 3, 0);
    assert_int_equal(rig_returned(&rig, &chunk, 1), -EPROTO);
    others_items(&rig, 1);
    take_lend(&rig, &chunk, 3, 1);
    assert_int_equal(rig_returned(&rig, &chunk, 0), -EPROTO);
    assert_int_equal(rig_returned(&rig, &chunk, 2), -EPROTO);
    assert_int_equal(rig_returned(&rig, &chunk, UINT64_MAX), -EPROTO);
    other.chunk++;
    assert_int_equal(rig_returned(&rig, &other, 1), -EPROTO);
    rig_expect_none(&rig);
    assert_int_equal(rig_returned(&rig, &chunk, 1), 0);
    other = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(rig_returned(&rig, &chunk, 1), -EPROTO);
    assert_int_equal(rig_returned(&rig, &other, 1), -EPROTO); /* a thread */
    rig_end(&rig);
}

static void stays_below_the_caps(void **unused)
{
    (void)unused;
    struct rig rig;
    struct job_request two = lends;
    two.options.slots = 2;
    struct seen chunk = lone_item(&rig, start(&rig, &no_limits), two);
    take_lend(&rig, &chunk, 1, 0);
    assert_slots(&rig, 2, 1);
    rig_end(&rig);

    struct owner_limits three = no_limits;
    three.slots = 3;
    struct session *session = start(&rig, &three);
    chunk = lone_item(&rig, session, lends);
    take_lend(&rig, &chunk, 2, 0);
    assert_slots(&rig, 3, 2);
    /* With a lower one, what is too much is called back. */
    three.slots = 2;
    core_session_limits(rig.core, session, &three);
    rig_settle(&rig);
    take_lend(&rig, &chunk, 2, 2);
    assert_int_equal(rig_returned(&rig, &chunk, 1), 0);
    take_lend(&rig, &chunk, 2, 1);
    assert_slots(&rig, 2, 1);
    rig_end(&rig);
}

/* The job's own next item, and another job of the owner's, go before what was lent, below the cap too. */
static void is_not_in_its_own_way(void **unused)
{
    (void)unused;
    struct rig rig;
    struct job_request two = lends;
    two.options.slots = 2;
    struct session *session = start(&rig, &no_limits);
    struct seen chunk = lone_item(&rig, session, two);
    take_lend(&rig, &chunk, 1, 0);
    struct job *job = core_job_find(session, 1);
    assert_int_equal(rig_items(&rig, job, 1, 1, 'a'), 0);
    take_lend(&rig, &chunk, 1, 1);
    assert_int_equal(rig_returned(&rig, &chunk, 1), 0);
    rig_take(&rig, ACTION_CHUNK);
    rig_expect_none(&rig);
    assert_slots(&rig, 2, 0);
    rig_end(&rig);

    struct owner_limits three = no_limits;
    three.slots = 3;
    session = start(&rig, &three);
    chunk = lone_item(&rig, session, lends);
    take_lend(&rig, &chunk, 2, 0);
    job = rig_open_process(&rig, session, 2, 1 << 20, plain);
    assert_int_equal(rig_items(&rig, job, 1, 1, 'b'), 0);
    take_lend(&rig, &chunk, 2, 2);
    assert_int_equal(rig_returned(&rig, &chunk, 1), 0);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->text[0], 'b');
    take_lend(&rig, &chunk, 2, 1);
    assert_slots(&rig, 3, 1);
    rig_end(&rig);
}

static void spreads_evenly(void **unused)
{
    (void)unused;
    struct rig rig;
    struct session *session = start(&rig, &no_limits);
    struct seen first = lone_item(&rig, session, lends);
    take_lend(&rig, &first, 3, 0);
    assert_int_equal(rig_items(&rig, core_job_find(session, 1), 1, 1, 'b'), 0);
    take_lend(&rig, &first, 3, 1);
    assert_int_equal(rig_returned(&rig, &first, 1), 0);
    struct seen second = *rig_take(&rig, ACTION_CHUNK);
    take_lend(&rig, &first, 3, 2); /* it has two, and the other none */
    assert_int_equal(rig_returned(&rig, &first, 2), 0);
    take_lend(&rig, &second, 1, 0);
    rig_expect_none(&rig);
    assert_slots(&rig, 4, 2);
    /* With the end of one the other has all. */
    rig_work(&rig, &second, 10 * MS);
    take_lend(&rig, &first, 5, 2);
    rig_expect_none(&rig); /* the result of the first is not there yet */
    assert_slots(&rig, 4, 3);
    rig_end(&rig);
}

/* Nothing is lent on which a process on its way will run. */
static void keeps_a_slot_for_who_is_being_started(void **unused)
{
    (void)unused;
    const struct core_config config = {.slots = SLOTS, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
    struct rig rig;
    struct crew *crew, *other;
    rig_start(&rig, &config, SLOTS);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    rig_add_process(&rig, crew);
    struct seen chunk = lone_item(&rig, session, lends);
    take_lend(&rig, &chunk, 3, 0);
    struct session *bob = rig_process_session(&rig, 1001, &other);
    struct job *job = rig_open_process(&rig, bob, 1, 1 << 20, plain);
    assert_int_equal(rig_items(&rig, job, 2, 1, 'b'), 0);
    take_lend(&rig, &chunk, 3, 2);
    assert_int_equal(rig_returned(&rig, &chunk, 1), 0);
    rig_take(&rig, ACTION_START);
    rig_take(&rig, ACTION_START);
    assert_int_equal(rig_returned(&rig, &chunk, 2), 0);
    rig_expect_none(&rig); /* both are kept */
    assert_slots(&rig, 2, 1);
    rig_add_process(&rig, other);
    rig_take(&rig, ACTION_CHUNK);
    core_start_failed(rig.core, other, rig.now_ns);
    rig_settle(&rig);
    take_lend(&rig, &chunk, 4, 2); /* nobody comes for it now */
    assert_slots(&rig, 4, 2);
    rig_pass(&rig, 1000 * MS);
    rig_take(&rig, ACTION_START);
    take_lend(&rig, &chunk, 4, 3);
    rig_end(&rig);
}

/* What is lent is paid for. */
static void is_charged(void **unused)
{
    (void)unused;
    struct rig rig;
    struct session *session = start(&rig, &no_limits);
    struct seen chunk = lone_item(&rig, session, lends);
    take_lend(&rig, &chunk, 3, 0);
    struct job *job = core_job_find(session, 1);
    rig_finish(&rig, job);
    rig_work(&rig, &chunk, 100 * MS);
    const struct seen *results = rig_take(&rig, ACTION_RESULTS);
    assert_true(results->has_done);
    assert_int_equal(results->done.run_ns, 400 * MS);
    const void *cursor = NULL;
    struct owner_view view;
    assert_true(core_owner_next(rig.core, &cursor, &view));
    assert_int_equal(view.run_ns, 400 * MS);
    assert_int_equal(counts_of(&rig).run_ns, 400 * MS);
    rig_end(&rig);
}

/* Alice's make has had three slots more for a second; then bob and she both have work for threads, and he has
 * more of it run. */
static void counts_in_the_order(void **unused)
{
    (void)unused;
    struct rig rig;
    struct session *session = start(&rig, &no_limits);
    struct job *hers = rig_open(&rig, session, 7, plain.options);
    struct seen chunk = lone_item(&rig, session, lends);
    take_lend(&rig, &chunk, 3, 0);
    struct job *his = others_items(&rig, 1); /* he comes now, so that he is charged nothing before */
    take_lend(&rig, &chunk, 3, 1);
    assert_int_equal(rig_returned(&rig, &chunk, 1), 0);
    struct seen running = *rig_take(&rig, ACTION_CHUNK);
    rig_pass(&rig, 1000 * MS);
    assert_int_equal(rig_items(&rig, hers, 8, 1, 'h'), 0);
    assert_int_equal(rig_items(&rig, his, 8, 1, 'b'), 0);
    rig_forget(&rig);
    for (int i = 0; i < 5; i++) {
        rig_work(&rig, &running, 100 * MS);
        do
            running = rig.seen[rig.taken++];
        while (running.type != ACTION_CHUNK);
        assert_int_equal(running.text[0], 'b');
        rig_forget(&rig);
    }
    rig_end(&rig);
}

static void an_orphan_gives_back(void **unused)
{
    (void)unused;
    struct rig rig;
    struct session *session = start(&rig, &no_limits);
    struct seen chunk = lone_item(&rig, session, lends);
    take_lend(&rig, &chunk, 3, 0);
    core_session_close(rig.core, session, rig.now_ns);
    rig_settle(&rig);
    rig_take(&rig, ACTION_DROP);
    take_lend(&rig, &chunk, 3, 3);
    assert_slots(&rig, 4, 3);
    assert_int_equal(rig_returned(&rig, &chunk, 3), 0);
    rig_expect_none(&rig);
    assert_slots(&rig, 1, 0);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 0, 0, false, true, 0), 0);
    assert_slots(&rig, 0, 0);
    rig_end(&rig);
}

/* While a slot above the pool's number is used, what is lent is called back until there is none. */
static void counts_towards_the_guarantee(void **unused)
{
    (void)unused;
    const struct core_config config = {
        .slots = 2, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .guarantee_after_ns = 100 * MS};
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 2);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    rig_add_process(&rig, crew);
    struct seen chunk = lone_item(&rig, session, lends);
    take_lend(&rig, &chunk, 1, 0);
    others_items(&rig, 1);
    take_lend(&rig, &chunk, 1, 1); /* which make does not do */
    rig_expect_none(&rig);
    rig_pass(&rig, 100 * MS);
    rig_take(&rig, ACTION_CHUNK);
    rig_expect_none(&rig);
    assert_slots(&rig, 3, 1);
    assert_int_equal(rig_returned(&rig, &chunk, 1), 0);
    rig_expect_none(&rig);
    assert_slots(&rig, 2, 0);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lends_what_is_free),
        cmocka_unit_test(only_to_those_who_asked),
        cmocka_unit_test(calls_back_as_many_as_are_waited_for),
        cmocka_unit_test(takes_a_call_back),
        cmocka_unit_test(comes_back_with_the_chunk),
        cmocka_unit_test(comes_back_when_parked),
        cmocka_unit_test(comes_back_with_a_worker_that_dies),
        cmocka_unit_test(believes_no_more_than_can_be),
        cmocka_unit_test(stays_below_the_caps),
        cmocka_unit_test(is_not_in_its_own_way),
        cmocka_unit_test(spreads_evenly),
        cmocka_unit_test(keeps_a_slot_for_who_is_being_started),
        cmocka_unit_test(is_charged),
        cmocka_unit_test(counts_in_the_order),
        cmocka_unit_test(an_orphan_gives_back),
        cmocka_unit_test(counts_towards_the_guarantee),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
