/* Shares: virtual time as it is charged, corrected and compared. */
#include "daemon/core/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_key(const struct share *s, int64_t now_ns, double key)
{
    double is = share_key(s, now_ns);
    assert_true(is > key - 1e-6 && is < key + 1e-6);
}

static void charges_what_runs_as_it_runs(void **unused)
{
    (void)unused;
    struct share s;
    share_init(&s, 2, 0);
    share_start(&s, 0, 100);
    assert_key(&s, 100, 0);
    assert_key(&s, 140, 20); /* 1 slot × 40 / 2 */
    share_start(&s, 0, 140);
    assert_key(&s, 150, 30); /* 2 slots × 10 / 2 more */
    share_stop(&s, 0, 0, 150);
    share_stop(&s, 0, 0, 160);
    assert_key(&s, 160, 35);
    assert_key(&s, 1000, 35); /* nothing runs */
    assert_int_equal(s.running, 0);
}

static void corrects_at_the_end(void **unused)
{
    (void)unused;
    struct share s;
    share_init(&s, 4, 0);
    share_start(&s, 0, 0);
    share_stop(&s, -100, -60, 100); /* it has run for 40 only */
    assert_key(&s, 100, 10);
    share_start(&s, 0, 100);
    share_stop(&s, 0, 8, 100);
    assert_key(&s, 100, 12);
}

static void counts_what_runs_with_what_it_is_expected_to_take(void **unused)
{
    (void)unused;
    struct share s;
    share_init(&s, 2, 0);
    share_start(&s, 100, 0);
    assert_key(&s, 0, 50);
    assert_key(&s, 99, 50);
    assert_key(&s, 120, 60); /* it takes longer */
    share_start(&s, 40, 120);
    assert_key(&s, 120, 80);
    assert_key(&s, 130, 80);
    share_stop(&s, -30, 0, 130); /* the first one */
    assert_key(&s, 130, 80);     /* 65 + 10 were used, and 20 are ahead */
    share_stop(&s, 30, 0, 130);  /* the second one ends early, and is charged no more than it took */
    assert_key(&s, 130, 70);
    assert_key(&s, 500, 70);
    assert_int_equal(s.ahead_ns, 0);
}

static void is_where_it_was_when_what_was_queued_starts(void **unused)
{
    (void)unused;
    struct share s;
    share_init(&s, 1, 0);
    share_commit(&s, 50);
    assert_key(&s, 10, 50);
    share_commit(&s, -50);
    share_start(&s, 50, 10);
    assert_key(&s, 10, 50);
    assert_key(&s, 60, 50);
    share_stop(&s, 0, 0, 60);
    assert_key(&s, 60, 50);
}

static void passing_a_slot_on_is_stopping_and_starting(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t others;
        int64_t unused_ns, correction_ns, expected_ns;
    } cases[] = {{0, 40, -7, 90}, {0, -40, 3, 90},  {0, 0, 0, 0},
                 {2, 40, -7, 90}, {2, -400, 3, 90}, {1, 600, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct share one, two;
        share_init(&one, 3, 0);
        for (uint32_t k = 0; k <= cases[i].others; k++)
            share_start(&one, 200, 10 * (int64_t)k);
        two = one;
        share_pass_on(&one, cases[i].unused_ns, cases[i].correction_ns, cases[i].expected_ns, 170);
        share_stop(&two, cases[i].unused_ns, cases[i].correction_ns, 170);
        share_start(&two, cases[i].expected_ns, 170);
        for (int64_t now_ns = 170; now_ns < 1000; now_ns += 77)
            assert_key(&one, now_ns, share_key(&two, now_ns));
        assert_int_equal(one.running, two.running);
        assert_int_equal(one.ahead_ns, two.ahead_ns);
        assert_int_equal(one.used_ns, two.used_ns);
    }
}

static void counts_what_is_queued_in_the_order_only(void **unused)
{
    (void)unused;
    struct share s;
    share_init(&s, 2, 0);
    share_commit(&s, 50);
    assert_key(&s, 10, 25);
    share_commit(&s, -50);
    assert_key(&s, 10, 0);
}

static void wakes_without_credit_or_debt(void **unused)
{
    (void)unused;
    struct share s;
    share_init(&s, 1, 0);
    share_wake(&s, 500, 10);
    assert_key(&s, 10, 500);
    share_wake(&s, 300, 20); /* it is further than that by what it has used */
    assert_key(&s, 20, 500);
    share_start(&s, 0, 20);
    share_commit(&s, 100);
    share_wake(&s, 700, 50); /* at 500 + 30 + 100 */
    assert_key(&s, 50, 700);
    share_wake(&s, 650, 50);
    assert_key(&s, 60, 710); /* and what runs and is queued is not counted twice */
}

static void is_kept_a_little_ahead_when_it_is_late(void **unused)
{
    (void)unused;
    struct share s;
    share_init(&s, 2, 0);
    share_start(&s, 100, 0);
    assert_true(share_kept_key(&s, 100) == 50); /* not later than was expected */
    assert_true(share_kept_key(&s, 160) == 80 + 10);
    assert_true(share_kept_key(&s, 100 * SHARE_LEAD_NS) == 50.5 * SHARE_LEAD_NS);
}

static void weighs_nothing_as_one(void **unused)
{
    (void)unused;
    struct share s;
    share_init(&s, 0, 0);
    share_start(&s, 0, 0);
    assert_key(&s, 7, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(charges_what_runs_as_it_runs),
        cmocka_unit_test(corrects_at_the_end),
        cmocka_unit_test(counts_what_runs_with_what_it_is_expected_to_take),
        cmocka_unit_test(is_where_it_was_when_what_was_queued_starts),
        cmocka_unit_test(passing_a_slot_on_is_stopping_and_starting),
        cmocka_unit_test(counts_what_is_queued_in_the_order_only),
        cmocka_unit_test(wakes_without_credit_or_debt),
        cmocka_unit_test(is_kept_a_little_ahead_when_it_is_late),
        cmocka_unit_test(weighs_nothing_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
