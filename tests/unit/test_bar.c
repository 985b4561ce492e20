/*
 * The line of --progress: what stands in it at each width, and how fast things are said to go.
 */
#include "client/pmapc/bar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static void says(const struct bar *bar, unsigned columns, const char *line)
{
    char out[BAR_ROOM];
    size_t len = bar_line(out, bar, columns, false);
    assert_string_equal(out, line);
    assert_int_equal(len, strlen(line));
}

static void fits_each_width(void **unused)
{
    const struct bar bar = {.done = 4200, .total = 10000, .failed = 3, .rate = 828, .elapsed_s = 5};
    (void)unused;
    says(&bar, 80, "[##########>               ]  42% 4200/10000 items  828/s  ETA 0:07, 3 failed");
    says(&bar, 200, "[##########>               ]  42% 4200/10000 items  828/s  ETA 0:07, 3 failed");
    says(&bar, 70, "[######>         ]  42% 4200/10000 items  828/s  ETA 0:07, 3 failed");
    says(&bar, 60, "[#####>      ]  42% 4200/10000  828/s  ETA 0:07, 3 failed");
    says(&bar, 50, "[#####>       ]  42%  828/s  ETA 0:07, 3 failed");
    says(&bar, 40, "[####>     ]  42%  ETA 0:07, 3 failed");
    says(&bar, 30, "[####>     ]  42%, 3 failed");
    says(&bar, 20, "[####>     ]  42%");
    says(&bar, 17, " 42%, 3 failed");
    says(&bar, 16, " 42%");
    says(&bar, 10, " 42%");
    says(&bar, 7, " 42%");
    says(&bar, 5, "");
    says(&bar, 0, "");
}

static void whatever_it_says_it_fits(void **unused)
{
    static const struct bar bars[] = {
        {0},
        {.done = 1, .total = 1, .rate = 1e30},
        {.done = 5, .total = 2, .about = true, .rate = 0},
        {.done = UINT64_MAX, .total = UINT64_MAX, .failed = UINT64_MAX, .rate = 1e18, .elapsed_s = 1e18},
        {.done = 1, .total = UINT64_MAX, .about = true, .failed = 1, .rate = 1e-9, .elapsed_s = 1e9},
        {.done = 7, .rate = -1},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof bars / sizeof bars[0]; i++)
        for (unsigned columns = 0; columns < 100; columns++) {
            char out[BAR_ROOM];
            size_t len = bar_line(out, &bars[i], columns, false);
            assert_int_equal(len, strlen(out));
            assert_true(len == 0 || (len <= columns - 3 && len <= BAR_COLUMNS));
            len = bar_line(out, &bars[i], columns, true);
            assert_true(len < BAR_ROOM && len == strlen(out));
        }
}

static void says_what_is_known(void **unused)
{
    struct bar bar = {.done = 1, .rate = -1, .elapsed_s = 3};
    (void)unused;
    says(&bar, 80, "1 item  0:03");
    bar = (struct bar){.done = 12345678, .failed = 1, .rate = 1234567, .elapsed_s = 3725};
    says(&bar, 80, "12345678 items  1.2 M/s  1:02:05, 1 failed");
    says(&bar, 20, "12345678");
    bar = (struct bar){.done = 50, .total = 100, .about = true, .rate = -1};
    says(&bar, 60, "[############>            ]  50% 50/~100 items  ETA --:--");
    bar.rate = 0;
    says(&bar, 60, "[##########>         ]  50% 50/~100 items  0/s  ETA --:--");
    bar.rate = 0.001;
    says(&bar, 60, "[#######>       ]  50% 50/~100 items  3.6/h  ETA 13:53:20");
    bar.rate = 0.05;
    says(&bar, 60, "[########>       ]  50% 50/~100 items  3.0/min  ETA 16:40");
    bar.rate = 0.5;
    says(&bar, 60, "[#########>         ]  50% 50/~100 items  0.5/s  ETA 1:40");
    /* Not done before it is. */
    bar = (struct bar){.done = 999999, .total = 1000000, .rate = 10};
    says(&bar, 60, "[############>]  99% 999999/1000000 items  10/s  ETA 0:01");
    bar.done++;
    says(&bar, 60, "[############] 100% 1000000/1000000 items  10/s  ETA 0:00");
    bar = (struct bar){.done = 110, .total = 100, .about = true, .rate = 10};
    says(&bar, 60, "[##################>]  99% 110/~100 items  10/s  ETA 0:00");
}

static void has_blocks(void **unused)
{
    char out[BAR_ROOM];
    const struct bar bar = {.done = 1, .total = 16, .rate = 1};
    (void)unused;
    bar_line(out, &bar, 20, true);
    assert_string_equal(out, "[\xe2\x96\x8b         ]   6%");
    const struct bar done = {.done = 16, .total = 16, .rate = 1};
    bar_line(out, &done, 20, true);
    assert_string_equal(out, "[\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88"
                             "\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88] 100%");
}

static void the_pace_is_of_late(void **unused)
{
    struct pace pace;
    (void)unused;
    pace_begin(&pace, 1000 * MS, 0);
    assert_true(pace_look(&pace, 1100 * MS, 50) < 0); /* too early */
    int64_t now = 1000 * MS;
    uint64_t count = 0;
    double rate = 0;
    for (int i = 0; i < 300; i++) { /* 30 s of 100 a second */
        now += 100 * MS;
        count += 10;
        rate = pace_look(&pace, now, count);
    }
    assert_true(rate > 99 && rate < 101);
    for (int i = 0; i < 60; i++) /* then 6 s of 1000 */
        rate = pace_look(&pace, now += 100 * MS, count += 100);
    assert_true(rate > 990 && rate < 1010);
    for (int i = 0; i < 60; i++) /* then nothing */
        rate = pace_look(&pace, now += 100 * MS, count);
    assert_true(rate == 0);
    /* Looked at once in an age, it is of that age. */
    assert_true(pace_look(&pace, now += 100000 * MS, count + 1000) < 11);
    pace_begin(&pace, now, count);
    assert_true(pace_look(&pace, now + 100 * MS, count) < 0);
    assert_true(pace_look(&pace, now + 1000 * MS, count + 7) == 7);
}

/* What comes every few seconds only has a rate all the same, and none when it does not come any more. */
static void what_is_slow_has_a_pace(void **unused)
{
    struct pace pace;
    int64_t now = 0;
    uint64_t count = 0;
    (void)unused;
    pace_begin(&pace, 0, 0);
    for (int i = 0; i < 1000; i++) { /* one each 10 s */
        now += 100 * MS;
        count += i % 100 == 99;
        double rate = pace_look(&pace, now, count);
        if (i >= 499)
            assert_true(rate > 0.08 && rate < 0.11);
    }
    for (int i = 0; i < 1200; i++)
        assert_true(pace_look(&pace, now += 100 * MS, count) >= 0);
    assert_true(pace_look(&pace, now, count) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_each_width),     cmocka_unit_test(whatever_it_says_it_fits),
        cmocka_unit_test(says_what_is_known),  cmocka_unit_test(has_blocks),
        cmocka_unit_test(the_pace_is_of_late), cmocka_unit_test(what_is_slow_has_a_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
