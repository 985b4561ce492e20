/*
 * Loops, figures and the line of pmapc timeit.
 */
#include "client/pmapc/timing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* How many loops are chosen where a loop takes so long. */
static uint64_t chosen(double loop_s)
{
    uint64_t loops = 1, next;
    while ((next = timing_loops(loops, loop_s * (double)loops)) != loops)
        loops = next;
    return loops;
}

static void loops_are_a_power_of_ten(void **state)
{
    (void)state;
    assert_int_equal(chosen(100), 1);
    assert_int_equal(chosen(0.2), 1);
    assert_int_equal(chosen(0.19), 10);
    assert_int_equal(chosen(0.02), 10);
    assert_int_equal(chosen(410e-6), 1000);
    assert_int_equal(chosen(2.5e-9), 100000000);
    assert_int_equal(chosen(0), 1000000000);
}

static void figures(void **state)
{
    (void)state;
    /* Mean 5, and a deviation of 2 in the population: in a sample it would be 2.14. */
    static const double runs[] = {2, 4, 4, 4, 5, 5, 7, 9};
    struct timing t = timing_of(runs, 8);
    assert_true(t.mean_s == 5 && t.std_s == 2 && t.min_s == 2 && t.max_s == 9);
    t = timing_of(runs, 1);
    assert_true(t.mean_s == 2 && t.std_s == 0 && t.min_s == 2 && t.max_s == 2);
}

static void expect_text(double seconds, const char *utf8, const char *ascii)
{
    char out[TIMING_ROOM];
    assert_string_equal(timing_text(seconds, true, out), utf8);
    assert_string_equal(timing_text(seconds, false, out), ascii ? ascii : utf8);
}

static void texts(void **state)
{
    (void)state;
    expect_text(0, "0 ns", NULL);
    expect_text(1.5e-10, "0.15 ns", NULL);
    expect_text(12.34e-9, "12.3 ns", NULL);
    expect_text(410e-6, "410 µs", "410 us");
    expect_text(1e-6, "1 µs", "1 us");
    expect_text(14.6e-3, "14.6 ms", NULL);
    expect_text(0.35, "350 ms", NULL);
    expect_text(0.99949, "999 ms", NULL);
    expect_text(0.99951, "1 s", NULL);
    expect_text(6.99, "6.99 s", NULL);
    expect_text(59.96, "60 s", NULL);
    expect_text(60, "1min", NULL);
    expect_text(60.9, "1min", NULL);
    expect_text(3500, "58min 20s", NULL);
    expect_text(3600, "1h", NULL);
    expect_text(93784, "1d 2h 3min 4s", NULL);
    expect_text(86405, "1d 5s", NULL);
    /* No job takes so long, but what there is room for ends within it. */
    char out[TIMING_ROOM];
    assert_int_equal(strlen(timing_text(1e300, true, out)), TIMING_ROOM - 1);
}

static void lines(void **state)
{
    (void)state;
    char out[TIMING_LINE_ROOM];
    struct timing t = {.mean_s = 0.41e-3, .std_s = 0.02e-3};
    assert_string_equal(timing_line(&t, 7, 1000, true, out),
                        "410 µs ± 20 µs per loop (mean ± std. dev. of 7 runs, 1,000 loops each)");
    assert_string_equal(timing_line(&t, 7, 1000000000, false, out),
                        "410 us +- 20 us per loop (mean +- std. dev. of 7 runs, 1,000,000,000 loops each)");
    t = (struct timing){.mean_s = 4, .std_s = 0};
    assert_string_equal(timing_line(&t, 1, 1, false, out),
                        "4 s +- 0 ns per loop (mean +- std. dev. of 1 run, 1 loop each)");
    assert_string_equal(timing_line(&t, 2, 100, false, out),
                        "4 s +- 0 ns per loop (mean +- std. dev. of 2 runs, 100 loops each)");
}

static void uneven(void **state)
{
    (void)state;
    struct timing t = {.min_s = 1, .max_s = 4};
    assert_false(timing_uneven(&t));
    t.max_s = 4.01;
    assert_true(timing_uneven(&t));
    t = (struct timing){.min_s = 1e-7, .max_s = 9e-7};
    assert_false(timing_uneven(&t));
    t.min_s = 0;
    t.max_s = 1;
    assert_false(timing_uneven(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_are_a_power_of_ten),
        cmocka_unit_test(figures),
        cmocka_unit_test(texts),
        cmocka_unit_test(lines),
        cmocka_unit_test(uneven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
