/*
 * Statistics: moments against a plain two-pass computation, percentiles against sorted arrays, merging
 * against adding.
 */
#include "common/batch.h"
#include "common/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

enum { COUNT = 20000 };

static uint64_t random_bits(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The distributions that durations come in, and the corners of the histogram. */
static int64_t draw(int kind, uint64_t *state)
{
    uint64_t bits = random_bits(state);
    switch (kind) {
    case 0:
        return (int64_t)(bits % 130); /* where buckets hold one value or two */
    case 1:
        return (int64_t)(bits % 10000000);
    case 2:
        return (int64_t)(bits >> (1 + bits % 63)); /* every power of two, and the greatest values */
    case 3:
        return (int64_t)(-1e6 * log(((double)(bits >> 11) + 1) / 9007199254740993.0));
    case 4:
        return bits % 100 == 0 ? 5000000000 : 1000 + (int64_t)(bits % 7); /* a few stragglers */
    case 5:
        return INT64_MAX - (int64_t)(bits % 3);
    default:
        return 4711;
    }
}

enum { KINDS = 7 };

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t *new_values(int kind)
{
    uint64_t state = 0x9e3779b97f4a7c15 + (uint64_t)kind;
    int64_t *values = malloc(COUNT * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < COUNT; i++)
        values[i] = draw(kind, &state);
    return values;
}

static void assert_near(double got, double expected, double relative)
{
    if (!(fabs(got - expected) <= relative * fabs(expected)))
        fail_msg("%.17g is not near %.17g", got, expected);
}

static void assert_percentiles(const struct stats *s, const int64_t *sorted, size_t count)
{
    for (size_t tenths = 0; tenths <= 1000; tenths++) {
        size_t rank = (tenths * count + 999) / 1000; /* of nearest rank, from 1 */
        int64_t exact = sorted[rank > 0 ? rank - 1 : 0], got = stats_percentile(s, (double)tenths / 10);
        int64_t away = got > exact ? got - exact : exact - got;
        if (away > exact / 64 || got < s->min || got > s->max)
            fail_msg("%zu/1000 of %zu values: %lld, exactly %lld", tenths, count, (long long)got,
                     (long long)exact);
    }
    assert_int_equal(stats_percentile(s, 0), sorted[0]);
    assert_int_equal(stats_percentile(s, -5), sorted[0]);
    assert_int_equal(stats_percentile(s, (double)NAN), sorted[0]);
    assert_int_equal(stats_percentile(s, 100), sorted[count - 1]);
    assert_int_equal(stats_percentile(s, 1e9), sorted[count - 1]);
}

static void percentiles_are_within_a_64th(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 3, 10, 63, 1000, COUNT};
    for (int kind = 0; kind < KINDS; kind++) {
        int64_t *values = new_values(kind);
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            struct stats s;
            stats_init(&s, 1);
            for (size_t j = 0; j < counts[i]; j++)
                stats_add(&s, values[j]);
            int64_t *sorted = malloc(counts[i] * sizeof *sorted);
            assert_non_null(sorted);
            for (size_t j = 0; j < counts[i]; j++)
                sorted[j] = values[j];
            qsort(sorted, counts[i], sizeof *sorted, compare);
            assert_percentiles(&s, sorted, counts[i]);
            free(sorted);
            stats_free(&s);
        }
        free(values);
    }
}

static void small_values_are_exact(void **state)
{
    (void)state;
    /* Up to 127 each value has a bucket of its own. */
    struct stats s;
    stats_init(&s, 1);
    for (int value = 0; value < 128; value++)
        stats_add(&s, value);
    for (int value = 0; value < 128; value++)
        assert_int_equal(stats_percentile(&s, (value + 1) * 100 / 128.0), value);
    stats_free(&s);
}

static void moments_agree_with_two_passes(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        int64_t *values = new_values(kind);
        struct stats s;
        stats_init(&s, 0);
        long double sum = 0, squares = 0;
        for (size_t i = 0; i < COUNT; i++) {
            stats_add(&s, values[i]);
            sum += values[i];
        }
        long double mean = sum / COUNT;
        for (size_t i = 0; i < COUNT; i++)
            squares += (values[i] - mean) * (values[i] - mean);
        assert_int_equal(s.count, COUNT);
        assert_near(stats_mean(&s), (double)mean, 1e-12);
        assert_near(s.sum, (double)sum, 1e-12);
        /* The values of kind 5 differ by less than a double of their size can hold. */
        if (kind != 5)
            assert_near(stats_std(&s), (double)sqrtl(squares / (COUNT - 1)), 1e-9);
        assert_null(s.buckets);
        assert_int_equal(stats_percentile(&s, 50), 0);
        stats_free(&s);
        free(values);
    }
}

static void deviations_survive_a_large_mean(void **state)
{
    (void)state;
    /* Sums of squares would lose all of this. */
    struct stats s;
    stats_init(&s, 0);
    static const int64_t values[] = {4, 7, 13, 16};
    for (size_t i = 0; i < 4; i++)
        stats_add(&s, INT64_C(1000000000000000) + values[i]);
    assert_near(stats_std(&s), sqrt(30), 1e-12);
    stats_free(&s);
}

static void few_values_are_no_special_trouble(void **state)
{
    (void)state;
    struct stats s;
    stats_init(&s, 1);
    assert_null(s.buckets);
    assert_true(stats_mean(&s) == 0 && stats_std(&s) == 0);
    assert_int_equal(stats_percentile(&s, 50), 0);
    stats_add(&s, -17);
    assert_int_equal(s.min, 0);
    assert_int_equal(s.max, 0);
    stats_add(&s, 8);
    assert_true(stats_mean(&s) == 4);
    assert_near(stats_std(&s), sqrt(32), 1e-15);
    stats_free(&s);
    /* Freed is empty, and keeps percentiles as before. */
    assert_int_equal(s.count, 0);
    assert_null(s.buckets);
    stats_add(&s, 9);
    assert_int_equal(stats_percentile(&s, 50), 9);
    stats_free(&s);
    stats_free(NULL);
}

static void merging_is_as_good_as_adding(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        int64_t *values = new_values(kind);
        struct stats all, merged, part;
        stats_init(&all, 1);
        stats_init(&merged, 1);
        for (size_t from = 0, size = 0; from < COUNT; from += size, size = size * 2 + 1) {
            stats_init(&part, 1);
            for (size_t i = from; i < from + size && i < COUNT; i++) {
                stats_add(&part, values[i]);
                stats_add(&all, values[i]);
            }
            stats_merge(&merged, &part);
            stats_free(&part);
        }
        assert_int_equal(merged.count, all.count);
        assert_int_equal(merged.min, all.min);
        assert_int_equal(merged.max, all.max);
        assert_near(stats_mean(&merged), stats_mean(&all), 1e-12);
        assert_near(merged.sum, all.sum, 1e-12);
        if (kind != 5)
            assert_near(stats_std(&merged), stats_std(&all), 1e-9);
        for (int percent = 0; percent <= 100; percent++)
            assert_int_equal(stats_percentile(&merged, percent), stats_percentile(&all, percent));
        stats_free(&merged);
        stats_free(&all);
        free(values);
    }
}

static void adding_times_is_as_good_as_adding(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        int64_t *values = new_values(kind);
        for (int with_percentiles = 0; with_percentiles < 2; with_percentiles++) {
            struct stats all, blocks;
            stats_init(&all, with_percentiles);
            stats_init(&blocks, with_percentiles);
            uint8_t *times = malloc(8 * (size_t)COUNT + 1);
            assert_non_null(times);
            for (size_t from = 0, size = 0; from < COUNT; from += size, size = size * 2 + 1) {
                size_t count = size < COUNT - from ? size : COUNT - from;
                for (size_t i = 0; i < count; i++) {
                    store_u64(times + 1 + 8 * i, (uint64_t)(values[from + i] > 0 ? values[from + i] : 0));
                    stats_add(&all, values[from + i]);
                }
                stats_add_times(&blocks, times + 1, (uint32_t)count);
            }
            assert_int_equal(blocks.count, all.count);
            assert_int_equal(blocks.min, all.min);
            assert_int_equal(blocks.max, all.max);
            assert_near(stats_mean(&blocks), stats_mean(&all), 1e-12);
            assert_near(blocks.sum, all.sum, 1e-12);
            if (kind != 5)
                assert_near(stats_std(&blocks), stats_std(&all), 1e-9);
            assert_int_equal(stats_percentile(&blocks, 50), stats_percentile(&all, 50));
            free(times);
            stats_free(&blocks);
            stats_free(&all);
        }
        free(values);
    }
}

static void lost_percentiles_stay_lost(void **state)
{
    (void)state;
    struct stats s, from;
    stats_init(&s, 1);
    stats_init(&from, 0);
    stats_add(&s, 10);
    stats_merge(&s, &from); /* of nothing, nothing is missing */
    assert_int_equal(stats_percentile(&s, 50), 10);
    stats_add(&from, 30);
    stats_merge(&s, &from);
    assert_int_equal(s.failed, 1);
    stats_add(&s, 50);
    assert_int_equal(s.count, 3);
    assert_true(stats_mean(&s) == 30);
    assert_int_equal(stats_percentile(&s, 50), 0);
    /* Who keeps none takes none over. */
    struct stats with;
    stats_init(&with, 1);
    stats_add(&with, 5);
    stats_merge(&from, &with);
    assert_int_equal(from.count, 2);
    assert_null(from.buckets);
    assert_int_equal(from.failed, 0);
    stats_free(&with);
    stats_free(&from);
    stats_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_within_a_64th),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(moments_agree_with_two_passes),
        cmocka_unit_test(deviations_survive_a_large_mean),
        cmocka_unit_test(few_values_are_no_special_trouble),
        cmocka_unit_test(merging_is_as_good_as_adding),
        cmocka_unit_test(adding_times_is_as_good_as_adding),
        cmocka_unit_test(lost_percentiles_stay_lost),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
