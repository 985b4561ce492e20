/*
 * Fair share over virtual time, in few workers and few jobs whose every turn can be foreseen: weights,
 * latecomers, long items, caps and priorities. Each test says who may get which part of the slot time, and
 * when.
 */
#include "tests/unit/core_pool.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct job_options plain;

static struct pool pool;

static void shares_between_two_by_weight(void **unused)
{
    (void)unused;
    for (uint32_t workers = 1; workers <= 3; workers += 2) {
        pool_start(&pool, NULL, workers);
        uint64_t one = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 500 * US, 5000, true);
        uint64_t three = pool_job(&pool, pool_session(&pool, 1001, 3), plain, 2 * MS, 5000, true);
        pool_run(&pool, 3000 * MS);
        pool_assert_part(&pool, one, 0.25);
        pool_assert_part(&pool, three, 0.75);
        /* Weights change with the next session, and count from then on. */
        pool_session(&pool, 1000, 9);
        pool_forget_busy(&pool);
        pool_run(&pool, 3000 * MS);
        pool_assert_part(&pool, one, 0.75);
        pool_end(&pool);
    }
}

static void shares_among_three_and_their_jobs(void **unused)
{
    (void)unused;
    pool_start(&pool, NULL, 2);
    struct session *a = pool_session(&pool, 1000, 1);
    uint64_t a1 = pool_job(&pool, a, plain, 100 * US, 20000, true);
    uint64_t a2 = pool_job(&pool, a, plain, 10 * MS, 5000, true);
    uint64_t b = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 5 * MS, 5000, true);
    uint64_t c = pool_job(&pool, pool_session(&pool, 1002, 2), plain, MS, 5000, true);
    pool_run(&pool, 6000 * MS);
    pool_assert_part(&pool, a1, 0.125);
    pool_assert_part(&pool, a2, 0.125);
    pool_assert_part(&pool, b, 0.25);
    pool_assert_part(&pool, c, 0.5);
    pool_end(&pool);
}

/* At one instant, in which nobody has used anything yet. */
static void gives_slots_that_are_free_at_once_to_several(void **unused)
{
    (void)unused;
    pool_start(&pool, NULL, 0);
    uint64_t one = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 5 * MS, 100, true);
    uint64_t other = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 5 * MS, 100, true);
    for (int i = 0; i < 4; i++)
        rig_add_worker(&pool.rig);
    pool_run(&pool, 0);
    uint32_t ones = 0;
    for (uint32_t w = 0; w < 4; w++) {
        assert_int_equal(pool.held_count[w], 1);
        ones += pool.held[w][0].job == one;
    }
    assert_int_equal(ones, 2);
    pool_run(&pool, 1000 * MS);
    pool_assert_part(&pool, other, 0.5);
    pool_end(&pool);
}

/* Who has long items holds as many slots as are due, and not all of them in turn. */
static void shares_with_long_items(void **unused)
{
    (void)unused;
    pool_start(&pool, NULL, 2);
    uint64_t slow = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 1000 * MS, 100, true);
    pool_run(&pool, 500 * MS);
    uint64_t quick = pool_job(&pool, pool_session(&pool, 1001, 1), plain, MS, 5000, true);
    pool_run(&pool, 10000 * MS);
    pool_forget_busy(&pool);
    for (int i = 0; i < 200; i++) {
        pool_run(&pool, 100 * MS);
        uint32_t slows = 0;
        for (uint32_t w = 0; w < 2; w++)
            slows += pool.held[w][0].job == slow;
        assert_true(slows <= 1);
    }
    pool_assert_part(&pool, slow, 0.5);
    pool_assert_part(&pool, quick, 0.5);
    pool_end(&pool);
}

/* Nothing is owed to who was not there, or idle; and nothing by who was alone. */
static void starts_latecomers_evenly(void **unused)
{
    (void)unused;
    pool_start(&pool, NULL, 2);
    struct session *sessions[] = {pool_session(&pool, 1000, 1), pool_session(&pool, 1001, 1)};
    uint64_t first = pool_job(&pool, sessions[0], plain, MS, 5000, true);
    uint64_t brief = pool_job(&pool, sessions[1], plain, MS, 10, false);
    pool_run(&pool, 5000 * MS);
    pool_forget_busy(&pool);
    uint64_t late = pool_job(&pool, sessions[1], plain, MS, 5000, true);
    pool_run(&pool, 1000 * MS);
    pool_assert_part(&pool, first, 0.5);
    pool_assert_part(&pool, late, 0.5);
    assert_int_equal(pool.jobs[brief].busy_ns, 0);
    pool_end(&pool);
}

/* Who comes while an item of another owner runs for long does not get that whole time for itself afterwards.
 */
static void starts_latecomers_evenly_behind_long_items(void **unused)
{
    (void)unused;
    pool_start(&pool, NULL, 1);
    uint64_t slow = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 1000 * MS, 100, true);
    pool_run(&pool, 900 * MS);
    uint64_t late = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 10 * MS, 5000, true);
    pool_run(&pool, 400 * MS);
    assert_true(pool.jobs[late].busy_ns > 0);
    assert_true(pool.jobs[late].busy_ns <= 200 * MS);
    assert_true(pool.jobs[slow].began_ns > 1000 * MS + 1000 * MS); /* it has its second turn */
    pool_end(&pool);
}

/* Who used less than its share, because it wanted no more, has no claim to the rest. */
static void gives_no_credit_for_a_part_of_idleness(void **unused)
{
    (void)unused;
    pool_start(&pool, NULL, 4);
    struct session *a = pool_session(&pool, 1000, 1);
    uint64_t lone = pool_job(&pool, a, plain, 10000 * MS, 1, false);
    uint64_t busy = pool_job(&pool, pool_session(&pool, 1001, 1), plain, 10 * MS, 5000, true);
    pool_run(&pool, 9000 * MS);
    pool_forget_busy(&pool);
    uint64_t more = pool_job(&pool, a, plain, 10 * MS, 5000, true);
    pool_run(&pool, 900 * MS);
    assert_int_equal(pool.jobs[lone].busy_ns, 0); /* it still runs, in one of its owner's two slots */
    pool_assert_part(&pool, busy, 2.0 / 3);
    pool_assert_part(&pool, more, 1.0 / 3);
    pool_end(&pool);
}

/* A cap holds an owner up again and again; it must not lose what the cap allows by that. */
static void gives_a_capped_owner_all_that_it_may_have(void **unused)
{
    (void)unused;
    for (uint32_t cap = 1; cap <= 2; cap++) {
        pool_start(&pool, NULL, 4);
        struct owner_limits limits = no_limits;
        limits.slots = cap;
        uint64_t capped = pool_job(&pool, rig_session(&pool.rig, 2000, &limits), plain, 10 * MS, 5000, true);
        uint64_t other = pool_job(&pool, pool_session(&pool, 1000, 1), plain, 10 * MS, 5000, true);
        pool_run(&pool, 3000 * MS);
        pool_assert_part(&pool, capped, 0.25 * cap);
        pool_assert_part(&pool, other, 1 - 0.25 * cap);
        pool_end(&pool);
    }
}

/* Two jobs that an urgent one has kept waiting, one of them for longer, share evenly when it is through. */
static void shares_among_those_that_waited(void **unused)
{
    (void)unused;
    pool_start(&pool, NULL, 2);
    struct session *session = pool_session(&pool, 1000, 1);
    uint64_t early = pool_job(&pool, session, plain, 10 * MS, 5000, true);
    pool_run(&pool, 100 * MS);
    uint64_t urgent = pool_job(&pool, session, (struct job_options){.priority = 1}, 10 * MS, 5000, true);
    pool_run(&pool, 3000 * MS);
    uint64_t late = pool_job(&pool, session, plain, 10 * MS, 5000, true);
    pool_forget_busy(&pool);
    pool_run(&pool, 100 * MS);
    pool_assert_part(&pool, urgent, 1);
    core_job_cancel(pool.rig.core, pool.jobs[urgent].job, pool.rig.now_ns);
    pool.jobs[urgent].endless = false;
    rig_settle(&pool.rig);
    pool_run(&pool, 100 * MS);
    pool_forget_busy(&pool);
    pool_run(&pool, 1000 * MS);
    pool_assert_part(&pool, early, 0.5);
    pool_assert_part(&pool, late, 0.5);
    pool_end(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_between_two_by_weight),
        cmocka_unit_test(shares_among_three_and_their_jobs),
        cmocka_unit_test(gives_slots_that_are_free_at_once_to_several),
        cmocka_unit_test(shares_with_long_items),
        cmocka_unit_test(starts_latecomers_evenly),
        cmocka_unit_test(starts_latecomers_evenly_behind_long_items),
        cmocka_unit_test(gives_no_credit_for_a_part_of_idleness),
        cmocka_unit_test(gives_a_capped_owner_all_that_it_may_have),
        cmocka_unit_test(shares_among_those_that_waited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
