/*
 * The core while the daemon stops, and when it is given another configuration: what begins, what comes back,
 * and what a session may still expect.
 */
#include "tests/unit/core_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct job_options plain;
static struct rig rig;

static struct core_config config_of(uint32_t slots)
{
    return (struct core_config){.slots = slots, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
}

static void configure(uint32_t slots)
{
    struct core_config config = config_of(slots);
    core_configure(rig.core, &config, rig.now_ns);
    rig_settle(&rig);
}

static uint32_t busy(void)
{
    struct core_counts counts;
    core_counts(rig.core, &counts);
    return counts.busy;
}

/* A job of items that take 100 ms each, so that each is a chunk. */
static struct job *open_slow(struct session *session, uint64_t ref, uint32_t items)
{
    struct job *job = rig_open_timed(&rig, session, ref, plain, 100 * MS);
    assert_int_equal(rig_items(&rig, job, items, 1, 'x'), 0);
    return job;
}

/*** Stopping ***/

static void stop(void)
{
    core_stop(rig.core, rig.now_ns);
    rig_settle(&rig);
}

static void nothing_begins(void **state)
{
    (void)state;
    rig_start(&rig, NULL, 2);
    struct session *session = rig_session(&rig, 1000, &no_limits),
                   *other = rig_session(&rig, 1001, &no_limits);
    open_slow(session, 1, 5);
    struct seen first = *rig_take(&rig, ACTION_CHUNK), second = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(core_session_rest(other), REST_NONE);
    stop();
    assert_int_equal(core_session_rest(session), REST_RUNS);
    rig_work(&rig, &first, 100 * MS);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->first, 0); /* it goes out, and no chunk comes */
    rig_expect_none(&rig);
    assert_int_equal(core_session_rest(session), REST_RUNS);
    rig_work(&rig, &second, 100 * MS);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->first, 1);
    assert_int_equal(core_session_rest(session), REST_NONE);
    /* Nor for who comes now. */
    open_slow(other, 2, 1);
    rig_pass(&rig, 1000 * MS);
    rig_expect_none(&rig);
    assert_int_equal(core_session_rest(other), REST_NONE);
    rig_end(&rig);
}

/* A chunk that would go on for long is asked to end between two items, though nobody else waits. */
static void what_is_long_is_asked(void **state)
{
    (void)state;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open_timed(&rig, session, 1, plain, 2 * MS);
    assert_int_equal(rig_items(&rig, job, 100, 1, 'x'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_true(chunk.count > 2);
    stop();
    rig_expect_none(&rig);
    rig_pass(&rig, 30 * MS);
    assert_int_equal(rig_take(&rig, ACTION_YIELD)->chunk, chunk.chunk);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 2, 1, false, true, 30 * MS), 0);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->count, 2);
    rig_expect_none(&rig);
    assert_int_equal(core_session_rest(session), REST_NONE);
    rig_end(&rig);
}

/* Results that the client has no credit for are waited for; those behind an item that will not run are not.
 */
static void results_that_wait(void **state)
{
    (void)state;
    rig_start(&rig, NULL, 2);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job_request request = {.ref = 1, .function = &request, .credit = 1, .expected_ns = 100 * MS};
    struct job *job;
    assert_int_equal(core_job_open(rig.core, session, &request, rig.now_ns, &job), 0);
    rig_settle(&rig);
    rig_take(&rig, ACTION_OPENED);
    assert_int_equal(rig_items(&rig, job, 4, 1, 'x'), 0);
    struct seen first = *rig_take(&rig, ACTION_CHUNK), second = *rig_take(&rig, ACTION_CHUNK);
    stop();
    rig_work(&rig, &first, 100 * MS);
    uint64_t cost = rig_take(&rig, ACTION_RESULTS)->credit;
    rig_work(&rig, &second, 0);
    rig_expect_none(&rig);
    assert_int_equal(core_session_rest(session), REST_WAITS);
    assert_int_equal(core_job_credit(rig.core, job, cost, rig.now_ns), 0);
    rig_settle(&rig);
    rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(core_session_rest(session), REST_NONE);
    rig_end(&rig);
}

/* A process keeps results that cannot go out any more, since an item before them has been handed back. */
static void results_that_are_cut_off(void **state)
{
    (void)state;
    struct crew *crew;
    struct core_config config = config_of(2);
    config.first_credit = 100;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job *job =
        rig_open_process(&rig, session, 1, 1 << 20, (struct job_request){.expected_ns = 100 * MS});
    assert_int_equal(rig_items(&rig, job, 2, 1, 'x'), 0);
    rig_start_process(&rig, crew);
    rig_start_process(&rig, crew);
    struct seen first = *rig_take(&rig, ACTION_CHUNK), second = *rig_take(&rig, ACTION_CHUNK);
    stop();
    assert_int_equal(rig_worked(&rig, second.worker, second.chunk, 1, 200, true, false, 0), 0);
    assert_int_equal(rig_parked(&rig, &second, 1, 0), 0);
    rig_forget(&rig);
    assert_int_equal(core_session_rest(session), REST_RUNS);
    rig_gone(&rig, first.worker);
    rig_forget(&rig);
    assert_int_equal(core_session_rest(session), REST_NONE);
    rig_end(&rig);
}

/* Whether exactly this is said to be begun of the job; count 0: nothing. */
static void expect_begun(const struct job *job, const struct range *wanted, uint32_t count)
{
    struct range *ranges;
    uint32_t got;
    assert_int_equal(core_job_begun(job, &ranges, &got), 0);
    assert_int_equal(got, count);
    for (uint32_t i = 0; i < count; i++)
        assert_true(ranges[i].from == wanted[i].from && ranges[i].to == wanted[i].to);
    free(ranges);
}

/* What may not be run twice: results must not be lost behind an item that was handed back, so that one is
 * begun all the same, and nothing behind them. */
static void what_is_begun_is_delivered(void **state)
{
    (void)state;
    rig_start(&rig, NULL, 2);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job =
        rig_open_timed(&rig, session, 1, (struct job_options){.chunksize = 4, .once = true}, 2 * MS);
    assert_int_equal(rig_items(&rig, job, 20, 1, 'x'), 0);
    struct seen first = *rig_take(&rig, ACTION_CHUNK), second = *rig_take(&rig, ACTION_CHUNK);
    assert_true(first.first == 0 && first.count == 4 && second.first == 4 && second.count == 4);
    expect_begun(job, &(struct range){0, 8}, 1);
    stop();
    rig_work(&rig, &second, 2 * MS);
    rig_pass(&rig, 30 * MS);
    assert_int_equal(rig_take(&rig, ACTION_YIELD)->chunk, first.chunk);
    assert_int_equal(rig_worked(&rig, first.worker, first.chunk, 1, 1, false, true, 30 * MS), 0);
    struct seen gap = *rig_take(&rig, ACTION_CHUNK), more = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->count, 1);
    assert_int_equal(core_session_rest(session), REST_RUNS);
    assert_true(gap.first == 1 && more.first == 1 + gap.count && gap.count + more.count <= 3);
    rig_expect_none(&rig);
    rig_work(&rig, &more, 2 * MS);
    assert_int_equal(core_session_rest(session), REST_RUNS);
    rig_work(&rig, &gap, 2 * MS);
    if (gap.count + more.count < 3) {
        struct seen rest = *rig_take(&rig, ACTION_CHUNK);
        rig_work(&rig, &rest, 2 * MS);
    }
    uint32_t came = 0;
    while (came < 7) {
        const struct seen *results = rig_take(&rig, ACTION_RESULTS);
        assert_int_equal(results->first, 1 + came);
        came += results->count;
    }
    assert_int_equal(came, 7);
    rig_expect_none(&rig);
    assert_int_equal(core_session_rest(session), REST_NONE);
    expect_begun(job, NULL, 0);
    rig_end(&rig);
}

/* What was begun and is not delivered is told, and nothing of a job that may be run again. */
static void what_is_begun_is_told(void **state)
{
    (void)state;
    rig_start(&rig, NULL, 2);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    const struct job_options options = {.once = true, .unordered = true, .slots = 1};
    struct job *job = rig_open_timed(&rig, session, 1, options, 100 * MS);
    assert_int_equal(rig_items(&rig, job, 4, 1, 'x'), 0);
    struct seen first = *rig_take(&rig, ACTION_CHUNK);
    struct job *other = open_slow(session, 2, 1);
    struct seen others = *rig_take(&rig, ACTION_CHUNK);
    rig_work(&rig, &first, 100 * MS);
    struct seen second = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(second.first, 1);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->first, 0);
    stop();
    expect_begun(job, &(struct range){1, 2}, 1);
    expect_begun(other, NULL, 0);
    assert_ptr_equal(core_session_job(session, NULL), job);
    assert_ptr_equal(core_session_job(session, job), other);
    assert_null(core_session_job(session, other));
    rig_work(&rig, &second, 0);
    rig_take(&rig, ACTION_RESULTS);
    expect_begun(job, NULL, 0);
    rig_work(&rig, &others, 0);
    rig_take(&rig, ACTION_RESULTS);
    rig_expect_none(&rig);
    rig_end(&rig);
}

/*** Another configuration ***/

static void more_slots(void **state)
{
    (void)state;
    struct core_config config = config_of(1);
    rig_start(&rig, &config, 1);
    open_slow(rig_session(&rig, 1000, &no_limits), 1, 5);
    struct seen first = *rig_take(&rig, ACTION_CHUNK);
    configure(3);
    rig_expect_none(&rig); /* the threads are to come */
    rig_add_worker(&rig);
    rig_add_worker(&rig);
    rig_take(&rig, ACTION_CHUNK);
    rig_take(&rig, ACTION_CHUNK);
    rig_expect_none(&rig);
    assert_int_equal(busy(), 3);
    rig_work(&rig, &first, 100 * MS);
    rig_take(&rig, ACTION_CHUNK);
    rig_forget(&rig);
    rig_end(&rig);
}

static void fewer_slots(void **state)
{
    (void)state;
    struct core_config config = config_of(3);
    rig_start(&rig, &config, 3);
    open_slow(rig_session(&rig, 1000, &no_limits), 1, 9);
    struct seen chunks[3];
    for (int i = 0; i < 3; i++)
        chunks[i] = *rig_take(&rig, ACTION_CHUNK);
    configure(1);
    rig_expect_none(&rig); /* nobody is told to stop */
    assert_int_equal(busy(), 3);
    for (int i = 0; i < 2; i++) {
        rig_work(&rig, &chunks[i], 100 * MS);
        rig_take(&rig, ACTION_RESULTS);
        rig_expect_none(&rig);
    }
    assert_int_equal(busy(), 1);
    rig_work(&rig, &chunks[2], 100 * MS);
    rig_take(&rig, ACTION_CHUNK);
    rig_take(&rig, ACTION_RESULTS);
    rig_expect_none(&rig);
    assert_int_equal(busy(), 1);
    rig_end(&rig);
}

/* With fewer slots processes that rest are too many, and one that comes to rest is. */
static void fewer_processes(void **state)
{
    (void)state;
    struct crew *crew;
    struct core_config config = config_of(3);
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job *job =
        rig_open_process(&rig, session, 1, 1 << 20, (struct job_request){.expected_ns = 100 * MS});
    assert_int_equal(rig_items(&rig, job, 3, 1, 'x'), 0);
    struct seen chunks[3];
    for (int i = 0; i < 3; i++)
        rig_start_process(&rig, crew);
    for (int i = 0; i < 3; i++)
        chunks[i] = *rig_take(&rig, ACTION_CHUNK);
    rig_work(&rig, &chunks[0], 10 * MS);
    rig_take(&rig, ACTION_RESULTS);
    rig_expect_none(&rig);
    configure(1);
    assert_ptr_equal(rig_take(&rig, ACTION_STOP)->worker, chunks[0].worker);
    rig_work(&rig, &chunks[1], 10 * MS);
    assert_ptr_equal(rig_take(&rig, ACTION_STOP)->worker, chunks[1].worker);
    rig_take(&rig, ACTION_RESULTS);
    rig_work(&rig, &chunks[2], 10 * MS);
    rig_take(&rig, ACTION_RESULTS);
    rig_expect_none(&rig);
    rig_end(&rig);
}

/* Weight and cap of an owner, while his chunks run. */
static void other_limits(void **state)
{
    (void)state;
    struct core_config config = config_of(3);
    struct owner_limits limits = no_limits;
    rig_start(&rig, &config, 3);
    struct session *session = rig_session(&rig, 1000, &limits);
    open_slow(session, 1, 9);
    struct seen chunks[3];
    for (int i = 0; i < 3; i++)
        chunks[i] = *rig_take(&rig, ACTION_CHUNK);
    limits.slots = 1;
    limits.weight = 5;
    core_session_limits(rig.core, session, &limits);
    rig_settle(&rig);
    rig_work(&rig, &chunks[0], 100 * MS);
    rig_take(&rig, ACTION_RESULTS);
    rig_work(&rig, &chunks[1], 100 * MS);
    rig_take(&rig, ACTION_RESULTS);
    rig_expect_none(&rig);
    assert_int_equal(busy(), 1);
    const void *cursor = NULL;
    struct owner_view view;
    assert_true(core_owner_next(rig.core, &cursor, &view));
    assert_int_equal(view.weight, 5);
    limits.slots = 0;
    core_session_limits(rig.core, session, &limits);
    rig_settle(&rig);
    rig_take(&rig, ACTION_CHUNK);
    rig_take(&rig, ACTION_CHUNK);
    rig_expect_none(&rig);
    rig_end(&rig);
}

/* Sessions that were left by some of their owner's groups. */
static void limits_of_several(void **state)
{
    (void)state;
    rig_start(&rig, NULL, 2);
    struct owner_limits rich = {.weight = 4, .slots = 0, .jobs = 5, .queued_bytes = 1 << 20};
    struct owner_limits poor = {.weight = 1, .slots = 1, .jobs = 9, .queued_bytes = 1 << 10};
    struct session *first = rig_session(&rig, 1000, &rich), *second = rig_session(&rig, 1000, &poor);
    open_slow(second, 1, 2);
    rig_take(&rig, ACTION_CHUNK);
    rig_take(&rig, ACTION_CHUNK); /* no cap */
    const void *cursor = NULL;
    struct owner_view view;
    assert_true(core_owner_next(rig.core, &cursor, &view));
    assert_int_equal(view.weight, 4);
    core_session_close(rig.core, second, rig.now_ns);
    core_session_close(rig.core, first, rig.now_ns);
    rig_settle(&rig);
    rig_forget(&rig);
    rig_session(&rig, 1000, &poor);
    cursor = NULL;
    assert_true(core_owner_next(rig.core, &cursor, &view));
    assert_int_equal(view.weight, 1);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_begins),
        cmocka_unit_test(what_is_long_is_asked),
        cmocka_unit_test(results_that_wait),
        cmocka_unit_test(results_that_are_cut_off),
        cmocka_unit_test(what_is_begun_is_delivered),
        cmocka_unit_test(what_is_begun_is_told),
        cmocka_unit_test(more_slots),
        cmocka_unit_test(fewer_slots),
        cmocka_unit_test(fewer_processes),
        cmocka_unit_test(other_limits),
        cmocka_unit_test(limits_of_several),
    };
    return cmocka_run_group_tests_name("core_life", tests, NULL, NULL);
}
