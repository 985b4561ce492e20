/*
 * daemon/common/units.h: at the ends of its ranges.
 */
#include "daemon/common/units.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MS INT64_C(1000000)
#define S  (1000 * MS)

static void test_units(void **state)
{
    char out[UNITS_TEXT_MAX];
    uint64_t size = 1;
    int64_t ns = 1;

    (void)state;
    assert_int_equal(units_size("17179869183G", &size), 0);
    assert_true(size == UINT64_C(17179869183) << 30);
    assert_int_equal(units_size("17179869184G", &size), -ERANGE);
    assert_int_equal(units_size("18446744073709551615", &size), 0);
    assert_true(size == UINT64_MAX);
    assert_int_equal(units_size("18446744073709551616", &size), -ERANGE);
    assert_int_equal(units_time("2562047h", &ns), 0);
    assert_true(ns == INT64_C(2562047) * 3600 * S);
    assert_int_equal(units_time("2562048h", &ns), -ERANGE);
    assert_int_equal(units_time("99999999999999999999us", &ns), -ERANGE);
    assert_true(size == UINT64_MAX);
    for (const char *const *bad =
             (const char *const[]){"", "K", "1 K", " 1", "1KB", "+1", "-1", "1.5G", "0x10", "1T", NULL};
         *bad != NULL; bad++)
        assert_int_equal(units_size(*bad, &size), -EINVAL);
    for (const char *const *bad =
             (const char *const[]){"", "s", "1", "0", "1sec", "1M", "1d", "1ns", "-1s", NULL};
         *bad != NULL; bad++)
        assert_int_equal(units_time(*bad, &ns), -EINVAL);

    assert_string_equal(units_size_text(1536, out), "1536");
    assert_string_equal(units_size_text(3 << 20, out), "3M");
    assert_string_equal(units_time_text(90 * S, out), "90s");
    assert_string_equal(units_time_text(2500 * MS, out), "2500ms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_units)};

    return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
