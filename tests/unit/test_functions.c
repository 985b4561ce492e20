/*
 * The builtins: the table and its look-up, the output buffer, numbers against exact vectors and against libc,
 * and what each function answers, refuses and gives up.
 */
#include "daemon/functions/functions.h"
#include "daemon/functions/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One call of a builtin and all that it left behind. */
struct call {
    struct function_context context;
    struct out out;
    enum function_result result;
};

static void call_bytes(struct call *c, const char *name, const void *item, size_t len)
{
    const struct function *function = function_find(name, strlen(name));
    assert_non_null(function);
    c->result = function->map(&c->context, item, len, &c->out);
}

static void assert_maps(const char *name, const char *item, const char *expected)
{
    struct call c = {0};
    call_bytes(&c, name, item, strlen(item));
    if (c.result != FUNCTION_OK)
        fail_msg("%s of '%s': %s", name, item, c.context.error);
    if (c.out.len != strlen(expected) || memcmp(c.out.data, expected, c.out.len) != 0)
        fail_msg("%s of '%s' is '%.*s', not '%s'", name, item, (int)c.out.len, (char *)c.out.data, expected);
    out_free(&c.out);
}

static void assert_refuses(const char *name, const char *item, const char *error)
{
    struct call c = {0};
    call_bytes(&c, name, item, strlen(item));
    assert_int_equal(c.result, FUNCTION_FAILED);
    assert_string_equal(c.context.error, error);
    assert_int_equal(c.out.len, 0);
    out_free(&c.out);
}

static void the_table_is_whole(void **state)
{
    (void)state;
    static const char *const names[] = {"echo",   "square", "cube",  "upper",
                                        "length", "sha256", "sleep", "burn"};
    size_t count;
    const struct function *table = function_table(&count);
    assert_int_equal(count, sizeof names / sizeof names[0]);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(table[i].name, names[i]);
        assert_true(strlen(table[i].summary) > 10);
        assert_non_null(table[i].map);
        assert_int_equal(table[i].expected_ns == 0, i >= 6);
        assert_ptr_equal(function_find(names[i], strlen(names[i])), &table[i]);
    }
    assert_null(function_find("square", 5));
    assert_null(function_find("squarex", 7));
    assert_null(function_find("Square", 6));
    assert_null(function_find("", 0));
}

static void assert_suggests(const char *name, const char *expected)
{
    const char *got = function_suggest(name, strlen(name));
    if (!expected) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    assert_string_equal(got, expected);
}

static void near_names_are_suggested(void **state)
{
    (void)state;
    assert_suggests("squar", "square");
    assert_suggests("sqaure", "square");
    assert_suggests("sqaur", "square");
    assert_suggests("SHA256", "sha256");
    assert_suggests("sha265", "sha256");
    assert_suggests("sha", NULL);
    assert_suggests("ehco", "echo");
    assert_suggests("cub", "cube");
    assert_suggests("lenght", "length");
    assert_suggests("Upper", "upper");
    assert_suggests("sleeep", "sleep");
    assert_suggests("grep", NULL);
    assert_suggests("", NULL);
    assert_suggests("xy", NULL);
    assert_suggests("a name that is much longer than any in the table", NULL);
    /* Two of four letters is within two edits, and also within a third rounded up; three is not. */
    assert_suggests("exxo", "echo");
    assert_suggests("exxx", NULL);
}

static void the_buffer_grows_and_keeps_what_it_has(void **state)
{
    (void)state;
    struct out out = {0};
    assert_non_null(out_reserve(&out, 0));
    for (unsigned i = 0; i < 5000; i++) {
        uint8_t *to = out_reserve(&out, 3);
        assert_non_null(to);
        memcpy(to, (uint8_t[]){(uint8_t)i, (uint8_t)(i >> 8), 'x'}, 3);
        out.len += 3;
        assert_true(out.capacity >= out.len);
    }
    uint8_t *data = out.data;
    size_t capacity = out.capacity;
    assert_null(out_reserve(&out, SIZE_MAX));
    assert_null(out_reserve(&out, SIZE_MAX - out.len));
    assert_null(out_reserve(&out, SIZE_MAX / 2));
    assert_ptr_equal(out.data, data);
    assert_int_equal(out.capacity, capacity);
    for (unsigned i = 0; i < 5000; i++) {
        const uint8_t *at = out.data + (size_t)i * 3;
        assert_int_equal(at[0] | at[1] << 8, i);
        assert_int_equal(at[2], 'x');
    }
    out_free(&out);
    assert_null(out.data);
    assert_int_equal(out.capacity, 0);
    out_free(NULL);
}

static void results_are_appended(void **state)
{
    (void)state;
    struct call c = {0};
    call_bytes(&c, "square", "3", 1);
    call_bytes(&c, "echo", "a\0b\r", 4);
    call_bytes(&c, "echo", NULL, 0);
    assert_int_equal(c.result, FUNCTION_OK);
    call_bytes(&c, "square", "x", 1);
    assert_int_equal(c.result, FUNCTION_FAILED);
    call_bytes(&c, "length", NULL, 0);
    assert_int_equal(c.out.len, 6);
    assert_memory_equal(c.out.data, "9a\0b\r0", 6);
    out_free(&c.out);
}

static void integers_are_exact(void **state)
{
    (void)state;
    assert_maps("square", "0", "0");
    assert_maps("square", "-0", "0");
    assert_maps("square", "+12", "144");
    assert_maps("square", " \t\n\v\f\r7\r\n", "49");
    assert_maps("square", "007", "49");
    assert_maps("cube", "-3", "-27");
    assert_maps("cube", "49999", "124992500149999");
    assert_maps("square", "2147483647", "4611686014132420609");
    assert_maps("square", "-2147483648", "4611686018427387904");
    assert_maps("cube", "2147483648", "9903520314283042199192993792");
    assert_maps("square", "999999999999999999", "999999999999999998000000000000000001");
    assert_maps("square", "1000000000000000000", "1000000000000000000000000000000000000");
    assert_maps("square", "10000000000000000000", "100000000000000000000000000000000000000");
    /* The largest whose square, and those whose cube, still fit; and what is just behind them. */
    assert_maps("square", "13043817825332782212", "170141183460469231722567801800623612944");
    assert_refuses("square", "13043817825332782213",
                   "the square of '13043817825332782213' does not fit in 128 bits");
    assert_maps("cube", "-5541191377756", "-170141183460410681210363276798539297216");
    assert_maps("cube", "5541191377756", "170141183460410681210363276798539297216");
    assert_refuses("cube", "5541191377757", "the cube of '5541191377757' does not fit in 128 bits");
    assert_refuses("square", "170141183460469231731687303715884105727",
                   "the square of '170141183460469231731687303715884105727' does not fit in 128 bits");
    assert_refuses("cube", "-99999999999999999999999999999999999999999",
                   "the cube of '-99999999999999999999999999999999999999999' does not fit in 128 bits");
}

static void reals_are_mapped_as_doubles(void **state)
{
    (void)state;
    assert_maps("square", "1.5", "2.25");
    assert_maps("square", "0.1", "0.010000000000000002");
    assert_maps("square", "1e200", "inf");
    assert_maps("cube", "-1e200", "-inf");
    assert_maps("square", "-inf", "inf");
    assert_maps("square", "nan", "nan");
    assert_maps("square", "-0.0", "0.0");
    assert_maps("cube", "-0.0", "-0.0");
    assert_maps("cube", "3.14159265358979", "31.006276680299724");
    assert_maps("square", "1e8", "1e+16");
    assert_maps("square", "1e-200", "0.0");
    assert_maps("square", "3e7\r", "900000000000000.0");
}

static void what_is_no_number_is_named(void **state)
{
    (void)state;
    static const char *const wrong[] = {"abc", "1_000", "0x10", "--1",   "+-1",     "1 2", "1e",
                                        "1e+", ".",     "e5",   "-",     "+",       "1,5", "nan0",
                                        "in",  "1..",   ".e1",  "1.2.3", "infinit", "١"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char error[FUNCTION_ERROR_MAX];
        snprintf(error, sizeof error, "'%s' is not a number", wrong[i]);
        assert_refuses("square", wrong[i], error);
        assert_refuses("sleep", wrong[i], error);
    }
    assert_refuses("cube", "", "'' is not a number");
    assert_refuses("cube", " \r", "' \\r' is not a number");
    assert_refuses("cube", "a\tb\nc\033[31m\x7f\\", "'a\\tb\\nc\\x1b[31m\\x7f\\\\' is not a number");
    assert_refuses("cube",
                   "Stra\xc3\x9f"
                   "e",
                   "'Stra\xc3\x9f"
                   "e' is not a number");
    assert_refuses("cube", "\xc3(\xc2\x9b\xed\xa0\x80\xe2\x80\xae\xf0\x9f\x98\x80",
                   "'\\xc3(\\xc2\\x9b\\xed\\xa0\\x80\\xe2\\x80\\xae\xf0\x9f\x98\x80' is not a number");
    assert_refuses("cube", "123456789012345678901234567890123456789012345678", /* 48 bytes: not cut */
                   "the cube of '123456789012345678901234567890123456789012345678' does not fit in 128 bits");
    assert_refuses(
        "cube", "1234567890123456789012345678901234567890123456789",
        "the cube of '123456789012345678901234567890123456789012345678...' does not fit in 128 bits");
    struct call c = {0};
    call_bytes(&c, "square", "1\0", 2);
    assert_int_equal(c.result, FUNCTION_FAILED);
    assert_string_equal(c.context.error, "'1\\x00' is not a number");
    char *zeros = malloc(NUMBER_PARSE_MAX + 1);
    assert_non_null(zeros);
    memset(zeros, '0', NUMBER_PARSE_MAX + 1);
    call_bytes(&c, "square", zeros, NUMBER_PARSE_MAX);
    assert_int_equal(c.result, FUNCTION_OK);
    call_bytes(&c, "square", zeros, NUMBER_PARSE_MAX + 1);
    assert_int_equal(c.result, FUNCTION_FAILED);
    assert_non_null(strstr(c.context.error, "has 65537 bytes, too many for a number"));
    free(zeros);
    out_free(&c.out);
}

static void texts_are_mapped(void **state)
{
    (void)state;
    assert_maps("echo", "a\r", "a\r");
    assert_maps("upper", "", "");
    assert_maps("length", "gr\xc3\xbc\xc3\x9f\r", "7");
    assert_maps("sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_maps("sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    /* Every byte at every offset of a vector. */
    uint8_t item[256 + 64], expected[256 + 64];
    for (size_t i = 0; i < sizeof item; i++) {
        item[i] = (uint8_t)i;
        expected[i] = item[i] >= 'a' && item[i] <= 'z' ? (uint8_t)(item[i] - 32) : item[i];
    }
    for (size_t from = 0; from < 64; from++) {
        struct call c = {0};
        call_bytes(&c, "upper", item + from, sizeof item - from);
        assert_int_equal(c.result, FUNCTION_OK);
        assert_int_equal(c.out.len, sizeof item - from);
        assert_memory_equal(c.out.data, expected + from, c.out.len);
        out_free(&c.out);
    }
}

/* A worker's side of `cancelled`: notes what it is asked and says yes at the time wanted. */
struct asked {
    unsigned calls, yes_at; /* yes_at 0: never */
    int64_t first_timeout_ns, last_timeout_ns;
};

static bool answer(void *cookie, int64_t timeout_ns)
{
    struct asked *asked = cookie;
    if (asked->calls++ == 0)
        asked->first_timeout_ns = timeout_ns;
    asked->last_timeout_ns = timeout_ns;
    return asked->calls == asked->yes_at;
}

static void large_items_are_whole_and_can_be_given_up(void **state)
{
    (void)state;
    static const char *const names[] = {"echo", "upper", "sha256"};
    const size_t len = ((size_t)3 << 20) + 17;
    uint8_t *item = malloc(len);
    assert_non_null(item);
    memset(item, 'z', len);
    for (size_t i = 0; i < 3; i++) {
        struct asked asked = {.yes_at = 2};
        struct call c = {.context = {.cancelled = answer, .cookie = &asked}};
        call_bytes(&c, names[i], item, len);
        assert_int_equal(c.result, FUNCTION_CANCELLED);
        assert_int_equal(c.out.len, 0);
        assert_int_equal(asked.calls, 2);
        assert_int_equal(asked.last_timeout_ns, 0);
        call_bytes(&c, names[i], item, len);
        assert_int_equal(c.result, FUNCTION_OK);
        if (i < 2) {
            assert_int_equal(c.out.len, len);
            for (size_t j = 0; j < len; j++) {
                if (c.out.data[j] != (i == 0 ? 'z' : 'Z'))
                    fail_msg("byte %zu", j);
            }
        } else {
            static const char digest[] = "942fd44222561bd44fb2718a3ca91bb715448cd07d6f5cf2fe1141a8e5c07011";
            assert_int_equal(c.out.len, sizeof digest - 1);
            assert_memory_equal(c.out.data, digest, sizeof digest - 1);
        }
        out_free(&c.out);
    }
    free(item);
}

static int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void sleep_waits_and_can_be_given_up(void **state)
{
    (void)state;
    /* Without anybody to ask, by itself. */
    int64_t before_ns = clock_ns(CLOCK_MONOTONIC);
    assert_maps("sleep", " 0.02\r", " 0.02\r");
    assert_true(clock_ns(CLOCK_MONOTONIC) - before_ns >= 20000000);
    assert_maps("sleep", "0", "0");
    assert_maps("sleep", "-0.0", "-0.0");

    /* A "no" before its time does not end the sleep. */
    struct asked asked = {0};
    struct call c = {.context = {.cancelled = answer, .cookie = &asked}};
    before_ns = clock_ns(CLOCK_MONOTONIC);
    call_bytes(&c, "sleep", "3e-3", 4);
    assert_true(clock_ns(CLOCK_MONOTONIC) - before_ns >= 3000000);
    assert_int_equal(c.result, FUNCTION_OK);
    assert_int_equal(c.out.len, 4);
    assert_int_equal(asked.first_timeout_ns, 3000000);
    assert_in_range(asked.last_timeout_ns, 1, 3000000);

    asked = (struct asked){.yes_at = 1};
    call_bytes(&c, "sleep", "1000000000", 10);
    assert_int_equal(c.result, FUNCTION_CANCELLED);
    assert_int_equal(asked.first_timeout_ns, INT64_C(1000000000000000000));
    assert_int_equal(c.out.len, 4);
    out_free(&c.out);

    assert_refuses("sleep", "-1", "'-1' seconds: a time from 0 up is wanted");
    assert_refuses("sleep", "-inf", "'-inf' seconds: a time from 0 up is wanted");
    assert_refuses("sleep", "nan", "'nan' seconds: a time from 0 up is wanted");
    assert_refuses("sleep", "1000000001", "'1000000001' seconds is too long: at most 1e9 seconds");
    assert_refuses("sleep", "inf", "'inf' seconds is too long: at most 1e9 seconds");
    assert_refuses("sleep", "9999999999999999999999999999999999999999",
                   "'9999999999999999999999999999999999999999' seconds is too long: at most 1e9 seconds");
}

static void burn_uses_cpu_time_and_can_be_given_up(void **state)
{
    (void)state;
    struct asked asked = {0};
    struct call c = {.context = {.cancelled = answer, .cookie = &asked}};
    int64_t before_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    call_bytes(&c, "burn", "5000", 4);
    int64_t used_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - before_ns;
    assert_int_equal(c.result, FUNCTION_OK);
    assert_int_equal(c.out.len, 4);
    assert_in_range(used_ns, 5000000, 20000000);
    assert_true(asked.calls >= 5);
    assert_int_equal(asked.last_timeout_ns, 0);
    asked = (struct asked){.yes_at = 3};
    call_bytes(&c, "burn", "1e12", 4);
    assert_int_equal(c.result, FUNCTION_CANCELLED);
    assert_int_equal(asked.calls, 3);
    assert_int_equal(c.out.len, 4);
    out_free(&c.out);
    assert_maps("burn", "0.5", "0.5");
    assert_refuses("burn", "-1", "'-1' microseconds: a time from 0 up is wanted");
    assert_refuses("burn", "1e16", "'1e16' microseconds is too long: at most 1e9 seconds");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_whole),
        cmocka_unit_test(near_names_are_suggested),
        cmocka_unit_test(the_buffer_grows_and_keeps_what_it_has),
        cmocka_unit_test(results_are_appended),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(reals_are_mapped_as_doubles),
        cmocka_unit_test(what_is_no_number_is_named),
        cmocka_unit_test(texts_are_mapped),
        cmocka_unit_test(large_items_are_whole_and_can_be_given_up),
        cmocka_unit_test(sleep_waits_and_can_be_given_up),
        cmocka_unit_test(burn_uses_cpu_time_and_can_be_given_up),
    };
    return cmocka_run_group_tests_name("functions", tests, NULL, NULL);
}
