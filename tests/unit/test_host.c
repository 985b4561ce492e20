/*
 * pmap-host as its worker sees it: builtins, modules, and what befalls their processes. The harness for
 * Python is test_harness's.
 */
#include "tests/unit/host_rig.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

static struct rig rig;

#define ITEMS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Starts pmap-host with these arguments behind --retries 0 --recycle 0. */
#define start(kind, ...)                                                                                     \
    rig_start(&rig, ITEMS("pmap-host", kind, "--retries", "0", "--recycle", "0", __VA_ARGS__))

static void stop(void)
{
    int status = rig_stop(&rig, NULL, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/*** Builtins ***/

static void test_builtin(void **state)
{
    (void)state;
    start("builtin", "square");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("3", "x", "-1.5")), 3);
    rig_assert(&rig, 0, "9");
    rig_assert_error(&rig, 1, "'x' is not a number");
    rig_assert(&rig, 2, "2.25");
    assert_true(rig.results[0].time_ns > 0);
    assert_true(atomic_load(&rig.arena->cpu_ns) > 0);
    assert_int_equal(rig_map(&rig, ITEMS("4")), 1);
    rig_assert(&rig, 0, "16");
    stop();
}

static void test_builtin_unknown(void **state)
{
    (void)state;
    start("builtin", "squar");
    assert_string_equal(rig_bad(&rig), "unknown function 'squar'; did you mean 'square'?");
    assert_int_not_equal(rig_stop(&rig, NULL, 0), 0);
}

static void test_many_items(void **state)
{
    enum { COUNT = 50000 };
    static char texts[COUNT][12];
    static const char *items[COUNT + 1];
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", i);
        items[i] = texts[i];
    }
    start("builtin", "echo");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, items), COUNT);
    for (size_t i = 0; i < COUNT; i++)
        rig_assert(&rig, i, items[i]);
    stop();
}

/* Results of items that are done are told of while another is under way. */
static void test_some(void **state)
{
    (void)state;
    start("builtin", "sleep");
    rig_ready(&rig);
    rig_chunk(&rig, ITEMS("0", "1000000"), NULL, 2);
    assert_int_equal(rig_next(&rig), HOST_SOME);
    assert_int_equal(atomic_load(&rig.arena->done), 1);
    assert_int_equal(atomic_load(&rig.arena->current), 2);
    assert_true(atomic_load(&rig.arena->started_ns) > 0);
    rig_send(&rig, HOST_DROP);
    assert_true(rig_take(&rig));
    assert_int_equal(rig.taken, 1);
    rig_send(&rig, HOST_YIELD); /* of a chunk that is over */
    assert_int_equal(rig_map(&rig, ITEMS("0", "0")), 2);
    stop();
}

static void test_yield(void **state)
{
    (void)state;
    start("builtin", "sleep");
    rig_ready(&rig);
    rig_chunk(&rig, ITEMS("0", "0.2", "1000000"), NULL, 3);
    assert_int_equal(rig_next(&rig), HOST_SOME); /* it is on the second one */
    rig_send(&rig, HOST_YIELD);
    assert_true(rig_take(&rig));
    assert_int_equal(rig.taken, 2);
    rig_assert(&rig, 1, "0.2");
    stop();
}

static void test_worker_leaves(void **state)
{
    (void)state;
    start("builtin", "sleep");
    rig_ready(&rig);
    rig_chunk(&rig, ITEMS("1000000"), NULL, 1);
    stop();
}

static void test_large_results(void **state)
{
    enum { LEN = 300000 };
    static char text[LEN + 1];
    (void)state;
    memset(text, 'x', LEN);
    start("builtin", "upper");
    rig_ready(&rig);
    rig.bytes_room = 8192;
    assert_int_equal(rig_map(&rig, ITEMS("a", text, "", "b")), 4);
    rig_assert(&rig, 0, "A");
    assert_int_equal(rig.results[1].len, LEN);
    assert_int_equal(strspn((char *)rig.results[1].data, "X"), LEN);
    rig_assert(&rig, 2, "");
    rig_assert(&rig, 3, "B");
    assert_int_equal(rig.fulls, (LEN + 1) / 8192);
    /* Not wanted any more, while it waits. */
    rig_chunk(&rig, ITEMS("a", text, "b"), NULL, 3);
    assert_int_equal(rig_next(&rig), HOST_FULL);
    rig_send(&rig, HOST_DROP);
    assert_true(rig_take(&rig));
    assert_int_equal(rig.taken, 1);
    rig_send(&rig, HOST_RESUME);
    rig.bytes_room = 1 << 20;
    assert_int_equal(rig_map(&rig, ITEMS("c")), 1);
    rig_assert(&rig, 0, "C");
    stop();
}

static void test_many_notes(void **state)
{
    enum { COUNT = 3000 };
    static const char *items[COUNT + 1];
    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        items[i] = i % 3 ? "nothing that would be a number" : "3";
    start("builtin", "square");
    rig_ready(&rig);
    rig.notes_room = 40000;
    assert_int_equal(rig_map(&rig, items), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 3)
            rig_assert_error(&rig, i, "'nothing that would be a number' is not a number");
        else
            rig_assert(&rig, i, "9");
    }
    assert_true(rig.fulls >= 3);
    stop();
}

static void test_recycle(void **state)
{
    (void)state;
    rig_start(&rig, ITEMS("pmap-host", "builtin", "--retries", "0", "--recycle", "5", "echo"));
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("1", "2", "3")), 3);
    assert_int_equal(rig_map(&rig, ITEMS("4", "5", "6")), 2);
    rig_assert(&rig, 1, "5");
    assert_int_equal(rig_next(&rig), 0); /* it leaves by itself */
    stop();
}

static void test_usage(void **state)
{
    static const char *const wrong[][6] = {{"pmap-host"},
                                           {"pmap-host", "command", "x"},
                                           {"pmap-host", "builtin"},
                                           {"pmap-host", "builtin", "--retries", "x", "echo"},
                                           {"pmap-host", "builtin", "--raw", "echo"},
                                           {"pmap-host", "module", "only-one"}};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char output[1000];
        rig_start(&rig, wrong[i]);
        int status = rig_stop(&rig, output, sizeof output);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 2);
        assert_non_null(strstr(output, "usage:"));
    }
}

/*** Modules ***/

static void test_example(void **state)
{
    (void)state;
    start("module", EXAMPLE, "rot13");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("Hello", "", "1")), 3);
    rig_assert(&rig, 0, "Uryyb");
    rig_assert(&rig, 1, "");
    rig_assert(&rig, 2, "1");
    stop();
    start("module", "--type", "i64", EXAMPLE, "cube");
    rig_ready(&rig);
    assert_int_equal(
        rig_map(&rig, ITEMS("3", " -2097151\n", "2097152", "x", "1.5", "9223372036854775808", "-0")), 7);
    rig_assert(&rig, 0, "27");
    rig_assert(&rig, 1, "-9223358842721533951");
    rig_assert_error(&rig, 2, "the cube of 2097152 does not fit in 64 bits");
    rig_assert_error(&rig, 3, "'x' is not an i64");
    rig_assert_error(&rig, 4, "'1.5' is not an i64");
    rig_assert_error(&rig, 5, "'9223372036854775808' is not an i64");
    rig_assert(&rig, 6, "0");
    assert_int_equal(rig_map(&rig, ITEMS("x", "")), 2); /* the function has nothing to do */
    rig_assert_error(&rig, 0, "'x' is not an i64");
    stop();
    start("module", "--type", "f64", EXAMPLE, "cube");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("0.1", "2", "1e200", "1000000000000000000000000000000000000000000")),
                     4);
    rig_assert(&rig, 0, "0.0010000000000000002");
    rig_assert(&rig, 1, "8.0");
    rig_assert(&rig, 2, "inf");
    rig_assert(&rig, 3, "1.0000000000000001e+126");
    stop();
}

static void test_raw(void **state)
{
    int64_t values[] = {1, 2, 3, 4, 2097152, 6, 7};
    const char *items[] = {(char *)&values[0], (char *)&values[1], (char *)&values[3], (char *)&values[5]};
    const size_t lengths[] = {8, 16, 16, 16};
    (void)state;
    start("module", "--type", "i64", "--raw", EXAMPLE, "cube");
    rig_ready(&rig);
    rig_chunk(&rig, items, lengths, 4);
    assert_true(rig_take(&rig));
    assert_int_equal(rig.taken, 4);
    assert_int_equal(rig.results[0].len, 8);
    assert_memory_equal(rig.results[0].data, (&(int64_t){1}), 8);
    assert_int_equal(rig.results[1].len, 16);
    assert_memory_equal(rig.results[1].data, ((int64_t[]){8, 27}), 16);
    rig_assert_error(&rig, 2, "the cube of 2097152 does not fit in 64 bits");
    assert_memory_equal(rig.results[3].data, ((int64_t[]){216, 343}), 16);
    /* Items that are no values fail alone. */
    rig_chunk(&rig, items, (const size_t[]){8, 3, 0, 16}, 4);
    assert_true(rig_take(&rig));
    assert_memory_equal(rig.results[0].data, (&(int64_t){1}), 8);
    rig_assert_error(&rig, 1, "3 bytes are not a whole number of i64 values");
    rig_assert_error(&rig, 2, "0 bytes are not a whole number of i64 values");
    assert_memory_equal(rig.results[3].data, ((int64_t[]){216, 343}), 16);
    stop();
}

static void test_types(void **state)
{
    (void)state;
    start("module", "--type", "i32", ODD, "half");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("3", "7", "2147483648", "-2147483648", "7")), 5);
    rig_assert(&rig, 0, "1.5");
    rig_assert_error(&rig, 1, "7 is no good");
    rig_assert_error(&rig, 2, "'2147483648' is not an i32");
    rig_assert(&rig, 3, "-1073741824.0");
    rig_assert_error(&rig, 4, "7 is no good");
    stop();
    start("module", "--type", "u8", ODD, "same");
    rig_ready(&rig);
    rig_map(&rig, ITEMS("255", "256", "-1", "0"));
    rig_assert(&rig, 0, "255");
    rig_assert_error(&rig, 1, "'256' is not a u8");
    rig_assert_error(&rig, 2, "'-1' is not a u8");
    rig_assert(&rig, 3, "0");
    stop();
    start("module", "--type", "u64", ODD, "same");
    rig_ready(&rig);
    rig_map(&rig, ITEMS("18446744073709551615", "18446744073709551616"));
    rig_assert(&rig, 0, "18446744073709551615");
    rig_assert_error(&rig, 1, "'18446744073709551616' is not a u64");
    stop();
    start("module", "--type", "f32", ODD, "same");
    rig_ready(&rig);
    rig_map(&rig, ITEMS("0.1", "16777217", "1e-45", "1e39", "nan", "3.4028235e38", "1"));
    rig_assert(&rig, 0, "0.1");
    rig_assert(&rig, 1, "16777216.0");
    rig_assert(&rig, 2, "1e-45");
    rig_assert(&rig, 3, "inf");
    rig_assert(&rig, 4, "nan");
    rig_assert(&rig, 5, "3.4028235e+38");
    rig_assert(&rig, 6, "1.0");
    stop();
}

static void test_errors_of_items(void **state)
{
    char output[1000];
    (void)state;
    start("module", ODD, "act");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("fail", "silent", "fail quietly", "where", "x", "print")), 6);
    rig_assert_error(&rig, 0, "it said fail");
    rig_assert_error(&rig, 1, "the function failed without a reason (it returned 7)");
    rig_assert_error(&rig, 2, "after all");
    rig_assert(&rig, 3, "started");
    rig_assert(&rig, 4, "x");
    rig_assert(&rig, 5, "printed");
    assert_int_equal(rig_stop(&rig, output, sizeof output), 0);
    assert_string_equal(output, "said by actstopped\n");
}

/* The host itself tries again what only fails. */
static void test_retries(void **state)
{
    (void)state;
    rig_start(&rig, ITEMS("pmap-host", "module", "--retries", "2", "--recycle", "0", ODD, "act"));
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("second time", "fail", "x")), 3);
    rig_assert(&rig, 0, "done");
    assert_int_equal(rig.results[0].attempts, 2);
    rig_assert_error(&rig, 1, "it said fail");
    assert_int_equal(rig.results[1].attempts, 3);
    assert_int_equal(rig.results[2].attempts, 0);
    rig.attempts = 2; /* of which two hosts have died: the last one */
    assert_int_equal(rig_map(&rig, ITEMS("fail", "fail")), 2);
    assert_int_equal(rig.results[0].attempts, 3);
    assert_int_equal(rig.results[1].attempts, 3);
    stop();
}

static void test_module_results_of_any_size(void **state)
{
    (void)state;
    start("module", ODD, "large");
    rig_ready(&rig);
    rig.bytes_room = 1 << 20;
    assert_int_equal(rig_map(&rig, ITEMS("10", "20000000", "1073741825", "3")), 4);
    rig_assert(&rig, 0, "abcdefghij");
    assert_int_equal(rig.results[1].len, 20000000);
    assert_int_equal(rig.results[1].data[19999999], 'a' + 19999999 % 23);
    rig_assert_error(&rig, 2, "the result is larger than 1 GiB");
    rig_assert(&rig, 3, "abc");
    assert_true(rig.fulls >= 19);
    stop();
}

/* Whatever a function does to its process: the item is known, and what was done is there. */
static void test_deaths(void **state)
{
    static const struct {
        const char *item;
        int signal; /* 0: exits */
    } ways[] = {{"segv", SIGSEGV}, {"abort", SIGABRT}, {"exit", 0}, {"stack", SIGSEGV}};
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        start("module", ODD, "act");
        rig_ready(&rig);
        rig_chunk(&rig, ITEMS("a", "print", ways[i].item, "b"), NULL, 4);
        assert_false(rig_take(&rig));
        assert_int_equal(rig.taken, 2);
        rig_assert(&rig, 0, "a");
        rig_assert(&rig, 1, "printed");
        assert_int_equal(atomic_load(&rig.arena->current), 3);
        assert_int_equal(atomic_load(&rig.arena->together), 1);
        char output[200000];
        int status = rig_stop(&rig, output, sizeof output);
        assert_non_null(strstr(output, "said by act"));
        if (ways[i].signal)
            assert_int_equal(WTERMSIG(status), ways[i].signal);
        else
            assert_true(WIFEXITED(status));
    }
}

/* A child that a function forks and lets come back does not go on in its parent's place. */
static void test_fork(void **state)
{
    (void)state;
    start("module", ODD, "act");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("fork", "x", "fork", "y")), 4);
    rig_assert(&rig, 0, "fork");
    rig_assert(&rig, 1, "x");
    rig_assert(&rig, 3, "y");
    stop();
}

static void test_module_cancelled(void **state)
{
    (void)state;
    start("module", ODD, "act");
    rig_ready(&rig);
    rig_chunk(&rig, ITEMS("x", "wait", "y"), NULL, 3);
    assert_int_equal(rig_next(&rig), HOST_SOME);
    rig_send(&rig, HOST_DROP);
    assert_true(rig_take(&rig));
    assert_int_equal(rig.taken, 1);
    stop();
}

/*** Chunk functions ***/

static void test_chunk(void **state)
{
    (void)state;
    start("module", ODD, "together");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("a", "odd", "skip", "", "b")), 5);
    rig_assert(&rig, 0, "5:a");
    rig_assert_error(&rig, 1, "it is odd");
    rig_assert(&rig, 2, "");
    rig_assert(&rig, 3, "5:");
    rig_assert(&rig, 4, "5:b");
    assert_int_equal(rig_map(&rig, ITEMS("a", "odd", "all")), 3);
    rig_assert_error(&rig, 0, "it is odd");
    rig_assert_error(&rig, 1, "it is odd");
    rig_assert_error(&rig, 2, "it is odd");
    assert_int_equal(rig_map(&rig, ITEMS("a", "all")), 2);
    rig_assert_error(&rig, 1, "the function failed without a reason (it returned 5)");
    stop();
    /* What fails is tried again by itself. */
    rig_start(&rig, ITEMS("pmap-host", "module", "--retries", "1", "--recycle", "4", ODD, "together"));
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("a", "odd", "all")), 3);
    rig_assert(&rig, 0, "1:a");
    assert_int_equal(rig.results[0].attempts, 2);
    rig_assert_error(&rig, 1, "it is odd");
    rig_assert_error(&rig, 2, "the function failed without a reason (it returned 5)");
    assert_int_equal(rig_map(&rig, ITEMS("a", "b")), 1); /* recycled */
    rig_assert(&rig, 0, "1:a");
    stop();
}

/* A death in a call that has several items in hand is told as such; one at a time, it names one. */
static void test_chunk_blame(void **state)
{
    (void)state;
    start("module", ODD, "together");
    rig_ready(&rig);
    rig_chunk(&rig, ITEMS("a", "b", "segv", "c"), NULL, 4);
    assert_false(rig_take(&rig));
    assert_int_equal(rig.taken, 0);
    assert_int_equal(atomic_load(&rig.arena->current), 1);
    assert_int_equal(atomic_load(&rig.arena->together), 4);
    rig_stop(&rig, NULL, 0);
    start("module", ODD, "together");
    rig_ready(&rig);
    rig.single = 1;
    rig_chunk(&rig, ITEMS("a", "b", "segv", "c"), NULL, 4);
    assert_false(rig_take(&rig));
    assert_int_equal(rig.taken, 2);
    rig_assert(&rig, 1, "1:b");
    assert_int_equal(atomic_load(&rig.arena->current), 3);
    assert_int_equal(atomic_load(&rig.arena->together), 1);
    rig_stop(&rig, NULL, 0);
}

/*** What cannot be run ***/

static void test_refused(void **state)
{
    static const struct {
        const char *arguments[5];
        const char *why;
    } wrong[] = {
        {{"/nowhere/x.so", "act"}, "/nowhere/x.so: No such file or directory"},
        {{SOURCES "/odd.c", "act"}, SOURCES "/odd.c: invalid ELF header"},
        {{MODULES "/plain.so", "act"}, MODULES "/plain.so is not a module: it has no pmap_module"},
        {{MODULES "/later.so", "act"}, MODULES "/later.so speaks module ABI 2; this pmapd speaks ABI 1"},
        {{ODD, "atc"},
         ODD
         " has no function 'atc'; did you mean 'act'?; it has: act, large, together, half, same, nothing"},
        {{ODD, "quite another"},
         ODD " has no function 'quite another'; it has: act, large, together, half, same, nothing"},
        {{ODD, "half"}, ODD ":half needs --type: i32"},
        {{"--type", "i33", ODD, "half"},
         "unknown type 'i33'; there are: i8, i16, i32, i64, u8, u16, u32, u64, f32, f64"},
        {{"--type", "f64", ODD, "half"}, ODD ":half takes i32, not f64"},
        {{"--type", "i64", ODD, "same"},
         ODD ":same takes u8, i8, u64, f32, or items without --type, not i64"},
        {{"--type", "i64", ODD, "act"}, ODD ":act takes items without --type, not i64"},
        {{"--raw", ODD, "act"}, "raw values need a --type"},
        {{ODD, "nothing"}, ODD ":nothing is damaged: it must have exactly one of item, chunk and typed"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *argv[8] = {"pmap-host", "module"};
        memcpy(argv + 2, wrong[i].arguments, sizeof wrong[i].arguments);
        rig_start(&rig, argv);
        assert_string_equal(rig_bad(&rig), wrong[i].why);
        int status = rig_stop(&rig, NULL, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
    }
    assert_int_equal(setenv("ODD_INIT", "no licence", 1), 0);
    start("module", ODD, "act");
    unsetenv("ODD_INIT");
    assert_string_equal(rig_bad(&rig), ODD " cannot start: no licence");
    rig_stop(&rig, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtin),
        cmocka_unit_test(test_builtin_unknown),
        cmocka_unit_test(test_many_items),
        cmocka_unit_test(test_some),
        cmocka_unit_test(test_yield),
        cmocka_unit_test(test_worker_leaves),
        cmocka_unit_test(test_large_results),
        cmocka_unit_test(test_many_notes),
        cmocka_unit_test(test_recycle),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_errors_of_items),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_module_results_of_any_size),
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_module_cancelled),
        cmocka_unit_test(test_chunk),
        cmocka_unit_test(test_chunk_blame),
        cmocka_unit_test(test_refused),
    };
    /* A crash that is asked for is no finding of a sanitizer's. */
    setenv("ASAN_OPTIONS", "handle_segv=0:handle_abort=0:detect_leaks=1:allocator_may_return_null=1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
