/*
 * What times with 1, 2, ... slots say, and the axes of a plot of them.
 */
#include "client/pmapc/amdahl.h"
#include "client/pmapc/axes.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct amdahl_point points[8];
static struct amdahl amdahl = {.points = points};

/* Times of 1 ... count slots. */
static void fill(const double *time_s, size_t count)
{
    for (size_t i = 0; i < count; i++)
        points[i] = (struct amdahl_point){.slots = (unsigned)i + 1, .time_s = time_s[i]};
    amdahl.count = count;
    amdahl_fill(&amdahl);
}

static void expect_near(double value, double expected)
{
    if (fabs(value - expected) > 1e-9)
        fail_msg("%.12g is not %.12g", value, expected);
}

static void the_law_itself(void **state)
{
    (void)state;
    static const double fractions[] = {0, 0.1, 0.5, 1, 1.2};
    for (size_t i = 0; i < sizeof fractions / sizeof fractions[0]; i++) {
        double f = fractions[i], times[6];
        for (int n = 1; n <= 6; n++)
            times[n - 1] = 3 * (f + (1 - f) / n);
        fill(times, 6);
        assert_true(amdahl.fits);
        expect_near(amdahl.serial, f);
        for (int n = 1; n <= 6; n++) {
            expect_near(points[n - 1].speedup, amdahl_speedup(f, n));
            expect_near(points[n - 1].efficiency, amdahl_speedup(f, n) / n);
            expect_near(points[n - 1].serial, n > 1 ? f : 0);
        }
    }
}

static void least_squares(void **state)
{
    (void)state;
    /* Each point alone says 0.2 and 0.5; their weights are (1/2)^2 and (2/3)^2. */
    static const double times[] = {1, 0.2 + 0.8 / 2, 0.5 + 0.5 / 3};
    fill(times, 3);
    expect_near(points[1].serial, 0.2);
    expect_near(points[2].serial, 0.5);
    expect_near(amdahl.serial, (0.2 / 4 + 0.5 * 4 / 9) / (1.0 / 4 + 4.0 / 9));
}

static void one_point(void **state)
{
    (void)state;
    static const double times[] = {2};
    fill(times, 1);
    assert_false(amdahl.fits);
    assert_int_equal(amdahl.recommended, 1);
    assert_true(points[0].speedup == 1 && points[0].efficiency == 1 && points[0].serial == 0 &&
                amdahl.serial == 0);
}

static void better_than_the_slots(void **state)
{
    (void)state;
    static const double times[] = {8, 2};
    fill(times, 2);
    expect_near(amdahl.serial, -0.5);
    expect_near(amdahl_speedup(amdahl.serial, 2), 2);
    assert_int_equal(amdahl.recommended, 2);
}

static void recommended(void **state)
{
    (void)state;
    static const double flat[] = {1, 1, 1, 1};
    fill(flat, 4);
    assert_int_equal(amdahl.recommended, 1);
    /* Efficiencies 1, 0.72, 0.69, 0.71, 0.5: a dip in between is not the end. */
    static const double dip[] = {1, 1 / 1.44, 1 / 2.07, 1 / 2.84, 1 / 2.5};
    fill(dip, 5);
    assert_int_equal(amdahl.recommended, 4);
    fill(dip, 3);
    assert_int_equal(amdahl.recommended, 2);
}

static void expect_choice(unsigned most, bool all, const char *expected)
{
    unsigned slots[64];
    char text[256] = "";
    size_t count = amdahl_choose(most, all, slots, 64);
    for (size_t i = 0, at = 0; i < count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%u", i > 0 ? " " : "", slots[i]);
    assert_string_equal(text, expected);
}

static void choices(void **state)
{
    (void)state;
    expect_choice(1, false, "1");
    expect_choice(2, false, "1 2");
    expect_choice(8, false, "1 2 3 4 5 6 7 8");
    expect_choice(9, false, "1 2 3 4 6 8 9");
    expect_choice(9, true, "1 2 3 4 5 6 7 8 9");
    expect_choice(16, false, "1 2 3 4 6 8 12 16");
    expect_choice(100, false, "1 2 3 4 6 8 12 16 24 32 48 64 96 100");
    expect_choice(
        65535, false,
        "1 2 3 4 6 8 12 16 24 32 48 64 96 128 192 256 384 512 768 1024 1536 2048 3072 4096 6144 8192 12288 "
        "16384 24576 32768 49152 65535");
    unsigned few[3];
    assert_int_equal(amdahl_choose(8, false, few, 3), 3);
    assert_int_equal(few[2], 8);
}

static void axes(void **state)
{
    (void)state;
    static const double times[] = {1, 0.5, 0.4, 0.3};
    fill(times, 4);
    struct axes a = axes_of(&amdahl);
    assert_true(a.left < 1 && a.left > 0.5 && a.right > 4 && a.right < 4.5 && a.top > 4 && a.step == 1);
    expect_near(axes_x(&a, a.left), 0);
    expect_near(axes_x(&a, a.right), 1);
    expect_near(axes_y(&a, 0), 0);
    expect_near(axes_y(&a, a.top), 1);
    /* Where little is gained the ideal line may leave through the top. */
    points[3].slots = 100;
    amdahl_fill(&amdahl);
    a = axes_of(&amdahl);
    assert_true(a.top > 1 / 0.3 && a.top < 10);
    static const double one[] = {1};
    fill(one, 1);
    a = axes_of(&amdahl);
    assert_true(a.left < 1 && a.right > 1 && a.top > 1 && a.step > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_law_itself), cmocka_unit_test(least_squares),
        cmocka_unit_test(one_point),      cmocka_unit_test(better_than_the_slots),
        cmocka_unit_test(recommended),    cmocka_unit_test(choices),
        cmocka_unit_test(axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
