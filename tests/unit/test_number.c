/*
 * Numbers: integers of all lengths there and back, reals against what Python printed and against libc.
 */
#include "daemon/functions/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_same(double a, double b)
{
    return a == b && signbit(a) == signbit(b);
}

static void assert_integer(const char *text, const char *printed)
{
    struct number n;
    uint8_t out[NUMBER_PRINT_MAX];
    assert_int_equal(number_parse((const uint8_t *)text, strlen(text), &n), 0);
    assert_false(n.is_real);
    size_t len = number_print_integer(n.integer, out);
    assert_int_equal(len, strlen(printed));
    assert_memory_equal(out, printed, len);
}

static void integers_of_all_lengths_come_back(void **state)
{
    (void)state;
    /* Every power of ten and its neighbours, so every split into 19 digits and every number of leading zeros.
     */
    __int128 power = 1;
    for (int digits = 0; digits <= 38; digits++, power *= digits <= 38 ? 10 : 1) {
        char ones[48], zeros[48], nines[48];
        snprintf(zeros, sizeof zeros, "-1%.*s", digits, "00000000000000000000000000000000000000");
        snprintf(ones, sizeof ones, "1%.*s", digits, "11111111111111111111111111111111111111");
        snprintf(nines, sizeof nines, "%.*s", digits, "99999999999999999999999999999999999999");
        assert_integer(zeros, zeros);
        assert_integer(zeros + 1, zeros + 1);
        assert_integer(ones, ones);
        if (digits > 0)
            assert_integer(nines, nines);
        struct number n;
        assert_int_equal(number_parse((uint8_t *)zeros, strlen(zeros), &n), 0);
        assert_true(n.integer == -power);
    }
    assert_integer("170141183460469231731687303715884105727", "170141183460469231731687303715884105727");
    assert_integer("-170141183460469231731687303715884105728", "-170141183460469231731687303715884105728");
    struct number n = {.integer = 5};
    const char *over[] = {
        "170141183460469231731687303715884105728", "-170141183460469231731687303715884105729",
        "340282366920938463463374607431768211456", "999999999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof over / sizeof over[0]; i++)
        assert_int_equal(number_parse((const uint8_t *)over[i], strlen(over[i]), &n), -ERANGE);
    assert_true(n.integer == 5);
}

static void assert_real(double real, const char *expected)
{
    uint8_t out[NUMBER_PRINT_MAX + 1];
    size_t len = number_print_real(real, out);
    assert_in_range(len, 1, NUMBER_PRINT_MAX);
    out[len] = '\0';
    assert_string_equal((char *)out, expected);
}

/* The expected texts are what CPython 3.11 printed for the same doubles. */
static void reals_are_printed_as_by_python(void **state)
{
    (void)state;
    assert_real(0.0, "0.0");
    assert_real(-0.0, "-0.0");
    assert_real(1.0, "1.0");
    assert_real(-1.5, "-1.5");
    assert_real(0.1, "0.1");
    assert_real(0.1 + 0.2, "0.30000000000000004");
    assert_real(1e15, "1000000000000000.0");
    assert_real(1e16, "1e+16");
    assert_real(9999999999999998.0, "9999999999999998.0");
    assert_real(123456789012345680.0, "1.2345678901234568e+17");
    assert_real(0.0001, "0.0001");
    assert_real(0.00012345, "0.00012345");
    assert_real(0.00001, "1e-05");
    assert_real(1.5e-7, "1.5e-07");
    assert_real(1e22, "1e+22");
    assert_real(1e23, "1e+23");
    assert_real(1e100, "1e+100");
    assert_real(1.7976931348623157e308, "1.7976931348623157e+308");
    assert_real(5e-324, "5e-324");
    assert_real(2.2250738585072014e-308, "2.2250738585072014e-308");
    assert_real(2.225073858507201e-308, "2.225073858507201e-308");
    /* Powers of two, where the nearest decimal of that many digits is read as the neighbour below. */
    assert_real(0x1p-44, "5.684341886080802e-14");
    assert_real(0x1p-24, "5.960464477539063e-08");
    assert_real(0x1p89, "6.189700196426902e+26");
    assert_real(0x1p1023, "8.98846567431158e+307");
    assert_real(INFINITY, "inf");
    assert_real(-INFINITY, "-inf");
    assert_real(NAN, "nan");
    assert_real(-NAN, "nan");
}

/* Significant digits of a printed number, without the zeros at both ends. */
static size_t significant(const char *text, char digits[32])
{
    size_t count = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text >= '0' && *text <= '9' && (count > 0 || *text != '0'))
            digits[count++] = *text;
    }
    while (count > 0 && digits[count - 1] == '0')
        count--;
    return count;
}

static uint64_t random_bits(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void assert_shortest(double real)
{
    char printed[NUMBER_PRINT_MAX + 1], reference[64], got[32], want[32];
    printed[number_print_real(real, (uint8_t *)printed)] = '\0';
    int digits = 1;
    do
        snprintf(reference, sizeof reference, "%.*e", digits - 1, real);
    while (strtod(reference, NULL) != real && digits++ < 17);
    size_t got_count = significant(printed, got), want_count = significant(reference, want);
    if (strtod(printed, NULL) != real || got_count != want_count || memcmp(got, want, got_count) != 0)
        fail_msg("%a is printed as %s; the shortest is %s", real, printed, reference);
    struct number n;
    assert_int_equal(number_parse((uint8_t *)printed, strlen(printed), &n), 0);
    assert_true(n.is_real);
    assert_true(is_same(n.real, real));
}

static void reals_are_shortest_and_come_back(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252;
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_bits(&seed);
        double any, everyday = (double)(int64_t)bits / 1e15;
        memcpy(&any, &bits, sizeof any);
        /* A power of two has its own rule, tested above. */
        int power;
        if (isfinite(any) && frexp(fabs(any), &power) != 0.5)
            assert_shortest(any);
        assert_shortest(everyday);
        assert_shortest((double)(bits % 1000000) / 100 + 0.005);
        bits >>= 12 + i % 50; /* subnormal */
        memcpy(&any, &bits, sizeof any);
        if (any > 0 && frexp(any, &power) != 0.5)
            assert_shortest(any);
    }
}

static void assert_parses_real(const char *text, double expected)
{
    struct number n;
    int rc = number_parse((const uint8_t *)text, strlen(text), &n);
    if (rc != 0 || !n.is_real || !is_same(n.real, expected))
        fail_msg("'%.60s' is read as %a (%d), not as %a", text, n.real, rc, expected);
}

static void reals_are_read_as_by_python(void **state)
{
    (void)state;
    assert_parses_real("1.5", 1.5);
    assert_parses_real("5.", 5);
    assert_parses_real(".5", 0.5);
    assert_parses_real("-.5e-1", -0.05);
    assert_parses_real("\v1e5\f", 1e5);
    assert_parses_real("1E+5", 1e5);
    assert_parses_real("-0.0", -0.0);
    assert_parses_real("-0e5", -0.0);
    assert_parses_real("inf", INFINITY);
    assert_parses_real("-Infinity", -INFINITY);
    assert_parses_real("+iNF", INFINITY);
    assert_parses_real("1e400", INFINITY);
    assert_parses_real("-1e99999999999999999999", -INFINITY);
    assert_parses_real("1e-400", 0);
    assert_parses_real("1e-99999999999999999999", 0);
    assert_parses_real("0e99999999999999999999", 0);
    assert_parses_real("9007199254740993.0", 9007199254740992.0); /* half way: to even */
    assert_parses_real("9007199254740995e0", 9007199254740996.0);
    assert_parses_real("123456789012345678901234567890.5", 123456789012345678901234567890.5);
    struct number n;
    assert_int_equal(number_parse((const uint8_t *)"NaN", 3, &n), 0);
    assert_true(n.is_real && isnan(n.real));

    /* Half way, and then a hair more, behind more digits than are kept. */
    char text[3000];
    int len = snprintf(text, sizeof text, "9007199254740993.%01000d", 0);
    assert_parses_real(text, 9007199254740992.0);
    snprintf(text + len, sizeof text - (size_t)len, "1");
    assert_parses_real(text, 9007199254740994.0);
    /* Zeros that an exponent takes back. */
    snprintf(text, sizeof text, "0.%02000de2001", 5);
    assert_parses_real(text, 50);
    len = snprintf(text, sizeof text, "5%02000d", 0);
    snprintf(text + len, sizeof text - (size_t)len, "e-2001");
    assert_parses_real(text, 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_all_lengths_come_back),
        cmocka_unit_test(reals_are_printed_as_by_python),
        cmocka_unit_test(reals_are_shortest_and_come_back),
        cmocka_unit_test(reals_are_read_as_by_python),
    };
    return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
