/*
 * daemon/units.h and daemon/utf8.h: at the ends of their ranges.
 */
#include "daemon/units.h"
#include "daemon/utf8.h"

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

/* Every code point and every pair of bytes. */
static void test_utf8(void **state)
{
    size_t pairs = 0;

    (void)state;
    for (unsigned c = 0; c < 0x120000; c++) {
        char b[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        bool valid = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);

        for (size_t i = n - 1; i > 0; i--)
            b[i] = (char)(0x80 | ((c >> 6 * (n - 1 - i)) & 0x3f));
        b[0] = (char)(n == 1 ? c : (0xf00 >> n & 0xff) | c >> 6 * (n - 1));
        assert_int_equal(utf8_length(b, n), valid ? n : 0);
        assert_int_equal(utf8_length(b, n - 1), 0);
    }
    for (unsigned first = 0x80; first < 0x100; first++) {
        for (unsigned second = 0; second < 0x100; second++) {
            const char b[2] = {(char)first, (char)second};

            pairs += utf8_length(b, 2) == 2;
        }
    }
    assert_int_equal(pairs, 30 * 64); /* C2 to DF, each with 80 to BF: nothing overlong */
    assert_int_equal(utf8_length("\xe0\x9f\xbf", 3), 0);
    assert_int_equal(utf8_length("\xf0\x8f\xbf\xbf", 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_units), cmocka_unit_test(test_utf8)};

    return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
