/*
 * Rows of a trace: events never overlap, keep their place where it is free, and the memory is bounded.
 */
#include "client/pmapc/row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

static void takes(struct row *row, int64_t begin, int64_t end, int64_t got_begin, int64_t got_end)
{
    struct span span = {begin, end};
    row_take(row, &span);
    assert_int_equal(span.begin_ns, got_begin);
    assert_int_equal(span.end_ns, got_end);
}

static void what_is_free_is_kept(void **unused)
{
    struct row row = {0};
    (void)unused;
    takes(&row, 10, 20, 10, 20);
    takes(&row, 20, 30, 20, 30);
    takes(&row, 50, 60, 50, 60);
    takes(&row, 30, 50, 30, 50); /* out of order, and just fitting */
    takes(&row, 0, 10, 0, 10);
    assert_int_equal(row.count, 1);
}

static void what_overlaps_is_cut(void **unused)
{
    struct row row = {0};
    (void)unused;
    takes(&row, 10, 20, 10, 20);
    takes(&row, 15, 25, 20, 25);
    takes(&row, 5, 12, 5, 10);
    takes(&row, 40, 50, 40, 50);
    takes(&row, 24, 45, 25, 40);
    takes(&row, 11, 12, 50, 50); /* wholly within: a point behind */
    takes(&row, 0, 100, 0, 5);   /* over all of it: what is free before */
    takes(&row, 60, 60, 60, 60);
    takes(&row, 60, 61, 60, 61); /* a point takes nothing */
}

/* Events in order, with gaps, far more than are kept; then some that come late. */
static void memory_is_bounded(void **unused)
{
    struct row row = {0};
    (void)unused;
    for (int64_t i = 0; i < 100000; i++)
        takes(&row, 10 * i, 10 * i + 9, 10 * i, 10 * i + 9);
    assert_in_range(row.count, 2, ROW_SPANS);
    takes(&row, 999999, 1000010, 999999, 1000010);
    takes(&row, 2000000, 2000010, 2000000, 2000010);
    takes(&row, 1500000, 1500010, 1500000, 1500010); /* a large gap is not forgotten */
    struct span late = {5000, 5009};
    row_take(&row, &late);
    assert_true(late.end_ns >= late.begin_ns);
}

/* Whatever comes, with gaps so large that none is forgotten: no two overlap. */
static void nothing_ever_overlaps(void **unused)
{
    enum { COUNT = 60, RUNS = 2000 };
    (void)unused;
    srandom(1);
    for (int run = 0; run < RUNS; run++) {
        struct row row = {0};
        struct span got[COUNT];
        for (int i = 0; i < COUNT; i++) {
            int64_t begin = random() % 1000;
            got[i] = (struct span){begin, begin + random() % 100};
            row_take(&row, &got[i]);
            for (int k = 0; k < i; k++)
                assert_true(got[i].begin_ns == got[i].end_ns || got[k].begin_ns == got[k].end_ns ||
                            got[i].end_ns <= got[k].begin_ns || got[k].end_ns <= got[i].begin_ns);
        }
        assert_in_range(row.count, 1, ROW_SPANS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_free_is_kept),
        cmocka_unit_test(what_overlaps_is_cut),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(nothing_ever_overlaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
