/*
 * Nobody waits behind another's long items: the slot above the pool's number, what it costs, and the length
 * of chunks while others wait.
 */
#include "tests/unit/core_pool.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct job_options plain;
static struct pool pool;

static void start(uint32_t workers, uint32_t most)
{
    const struct core_config config = {.slots = workers,
                                       .chunk_target_ns = 10 * MS,
                                       .queued_bytes = 1 << 30,
                                       .guarantee_after_ns = 100 * MS,
                                       .guarantee_max = most};
    pool_start(&pool, &config, workers);
}

static uint32_t busy(void)
{
    struct core_counts counts;
    core_counts(pool.rig.core, &counts);
    return counts.busy;
}

static uint32_t running(uid_t uid)
{
    const void *cursor = NULL;
    struct owner_view view;
    while (core_owner_next(pool.rig.core, &cursor, &view)) {
        if (view.uid == uid)
            return view.running;
    }
    fail_msg("no owner %u", uid);
    return 0;
}

static void gives_a_slot_above_the_others(void **unused)
{
    (void)unused;
    start(2, 0);
    pool_job(&pool, pool_session(&pool, 1000, 1), plain, 600000 * MS, 10, false);
    pool_run(&pool, 5000 * MS);
    assert_int_equal(busy(), 2);
    uint64_t brief = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 2 * MS, 1, false);
    pool_run(&pool, 99 * MS);
    assert_int_equal(busy(), 2);
    pool_run(&pool, 2 * MS);
    assert_int_equal(busy(), 3);
    pool_run(&pool, 2 * MS);
    assert_int_equal(busy(), 2);
    assert_int_equal(pool.jobs[brief].busy_ns, 2 * MS);
    pool_end(&pool);
}

/* Who floods the pool gets no more by it than one chunk at a time, each after another wait. */
static void gives_it_to_who_has_nothing_running(void **unused)
{
    (void)unused;
    start(2, 0);
    pool_job(&pool, pool_session(&pool, 1000, 1), plain, 600000 * MS, 10, false);
    pool_run(&pool, 1000 * MS);
    uint64_t flood = pool_job(&pool, pool_session(&pool, 1001, 1), plain, MS, 5000, true);
    for (unsigned i = 0; i < 1000; i++) {
        pool_run(&pool, MS);
        assert_true(running(1001) <= 1);
    }
    int64_t chunk_ns = 10 * MS;
    assert_true(pool.jobs[flood].busy_ns >= 8 * MS);
    assert_true(pool.jobs[flood].busy_ns <= 10 * chunk_ns);
    pool_end(&pool);
}

static void gives_no_more_than_may_be(void **unused)
{
    (void)unused;
    start(1, 1);
    pool_job(&pool, pool_session(&pool, 1000, 1), plain, 600000 * MS, 10, false);
    uint64_t second = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 500 * MS, 1, false);
    uint64_t third = pool_job(&pool, pool_session(&pool, 1002, 1), plain, 500 * MS, 1, false);
    pool_run(&pool, 590 * MS);
    assert_int_equal(busy(), 2);
    assert_int_equal(running(1001), 1); /* who has waited longest */
    pool_run(&pool, 20 * MS);
    assert_int_equal(busy(), 2);
    assert_int_equal(running(1002), 1);
    pool_run(&pool, 500 * MS);
    assert_int_equal(busy(), 1);
    assert_int_equal(pool.jobs[second].busy_ns + pool.jobs[third].busy_ns, 1000 * MS);
    pool_end(&pool);
}

/* The slot was lent: nothing else begins until no more run than there are slots. */
static void takes_the_slot_back(void **unused)
{
    (void)unused;
    start(2, 0);
    pool_job(&pool, pool_session(&pool, 1000, 1), plain, 300 * MS, 100, true);
    pool_run(&pool, 1 * MS);
    pool_job(&pool, pool_session(&pool, 1001, 1), plain, 1000 * MS, 1, false);
    pool_run(&pool, 150 * MS);
    assert_int_equal(busy(), 3);
    for (unsigned i = 0; i < 85; i++) {
        pool_run(&pool, 10 * MS);
        if (pool.rig.now_ns > 1000 * MS + 302 * MS) { /* the first two items are over */
            assert_int_equal(busy(), 2);
            assert_int_equal(running(1000), 1);
        }
    }
    pool_end(&pool);
}

/* Somebody who is kept waiting by a cap, or who waits for items, is not unserved. */
static void gives_nothing_to_who_could_not_run(void **unused)
{
    (void)unused;
    start(1, 0);
    pool_job(&pool, pool_session(&pool, 1000, 1), plain, 600000 * MS, 10, false);
    struct session *session = pool_session(&pool, 1001, 1);
    uint64_t paused = pool_job(&pool, session, plain, MS, 10, false);
    core_job_hold(pool.rig.core, pool.jobs[paused].job, true, pool.rig.now_ns);
    pool_run(&pool, 1000 * MS);
    assert_int_equal(pool.jobs[paused].busy_ns, 0);
    core_job_hold(pool.rig.core, pool.jobs[paused].job, false, pool.rig.now_ns);
    pool_run(&pool, 99 * MS);
    assert_int_equal(pool.jobs[paused].busy_ns, 0); /* what it waited before does not count */
    pool_run(&pool, 50 * MS);
    assert_true(pool.jobs[paused].busy_ns > 0);
    pool_end(&pool);
}

static void gives_nothing_where_nothing_is_guaranteed(void **unused)
{
    (void)unused;
    pool_start(&pool, NULL, 2);
    pool_job(&pool, pool_session(&pool, 1000, 1), plain, 600000 * MS, 10, false);
    uint64_t waits = pool_job(&pool, pool_session(&pool, 1001, 1), plain, MS, 10, false);
    pool_run(&pool, 10000 * MS);
    assert_int_equal(pool.jobs[waits].busy_ns, 0);
    pool_end(&pool);
}

/* A head start of long items is made up for, and the long ones go on afterwards. */
static void shares_after_a_head_start(void **unused)
{
    (void)unused;
    start(2, 0);
    uint64_t slow = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 10000 * MS, 16, false);
    pool_run(&pool, 100 * MS);
    uint64_t quick = pool_job(&pool, pool_session(&pool, 1001, 1), plain, MS, 5000, true);
    pool_run(&pool, 60000 * MS);
    /* Half each, but for the 10 s that the guarantee gave when the quick ones made up for the head start. */
    double part =
        (double)pool.jobs[slow].busy_ns / (double)(pool.jobs[slow].busy_ns + pool.jobs[quick].busy_ns);
    assert_true(part > 0.45 && part < 0.55);
    pool_end(&pool);
}

/* The longest chunk of the job that runs: others may be short, because they were queued ahead. */
static uint32_t chunk_of(uint64_t job)
{
    uint32_t count = 0;
    for (uint32_t w = 0; w < pool.rig.worker_count; w++) {
        const struct held *held = pool.held[w];
        if (pool.held_count[w] > 0 && held->job == job && held->count > count)
            count = held->count;
    }
    return count;
}

/* Whoever comes now and then finds short chunks before him, and who is alone runs long ones. */
static void cuts_shorter_while_others_come(void **unused)
{
    (void)unused;
    start(2, 0);
    uint64_t flood = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 500 * US, 5000, true);
    struct session *other = pool_session(&pool, 1001, 1);
    pool_run(&pool, 200 * MS);
    assert_in_range(chunk_of(flood), 15, 20);
    uint64_t brief = pool_job(&pool, other, plain, 500 * US, 1, false);
    pool_run(&pool, 30 * MS);
    assert_int_equal(pool.jobs[brief].busy_ns, 500 * US);
    assert_in_range(chunk_of(flood), 1, 10);
    pool_run(&pool, 200 * MS);
    assert_in_range(chunk_of(flood), 15, 20);
    pool_end(&pool);
}

/* A chunk that has turned out too long is asked to stop soon after somebody has come. */
static void stops_long_chunks_for_newcomers(void **unused)
{
    (void)unused;
    start(1, 0);
    uint64_t slow = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 100 * US, 5000, true);
    pool_run(&pool, 200 * MS);
    pool.jobs[slow].item_ns = 6 * MS; /* sixty times what it was */
    pool_run(&pool, 20 * MS);
    uint64_t brief = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 100 * US, 1, false);
    pool_run(&pool, 12 * MS);
    assert_int_equal(pool.jobs[brief].busy_ns, 100 * US);
    pool_end(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_a_slot_above_the_others),
        cmocka_unit_test(gives_it_to_who_has_nothing_running),
        cmocka_unit_test(gives_no_more_than_may_be),
        cmocka_unit_test(takes_the_slot_back),
        cmocka_unit_test(gives_nothing_to_who_could_not_run),
        cmocka_unit_test(gives_nothing_where_nothing_is_guaranteed),
        cmocka_unit_test(shares_after_a_head_start),
        cmocka_unit_test(cuts_shorter_while_others_come),
        cmocka_unit_test(stops_long_chunks_for_newcomers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
