/*
 * The Python harness as its worker sees it, with its loop in C (HAS_LOOP) and without. What it has in common
 * with pmap-host is tested with the same rig.
 */
#include "tests/unit/host_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct rig rig;

#define FUNCTIONS SOURCES "/functions.py"
static const char act[] = FUNCTIONS ":act", deep[] = FUNCTIONS ":deep", lingering[] = FUNCTIONS ":lingering";

#define ITEMS(...) ((const char *const[]){__VA_ARGS__, NULL})

#define start(...)                                                                                           \
    rig_start(&rig, ITEMS("/usr/bin/python3", HARNESS, "--retries", "0", "--recycle", "0", __VA_ARGS__))

static void stop(void)
{
    int status = rig_stop(&rig, NULL, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* An expression over one item: its result. */
static void expect(const char *expression, const char *item, const char *result)
{
    start(expression);
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS(item)), 1);
    rig_assert(&rig, 0, result);
    stop();
}

static void test_expression(void **state)
{
    (void)state;
    start("int(x)**2");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("3", "-4", "x", "100000000000000000000")), 4);
    rig_assert(&rig, 0, "9");
    rig_assert(&rig, 1, "16");
    rig_assert_error(&rig, 2, "ValueError: invalid literal for int() with base 10: 'x'");
    assert_null(rig.results[2].words); /* one line, and there is no more to tell */
    rig_assert(&rig, 3, "10000000000000000000000000000000000000000");
    assert_true(rig.results[0].time_ns > 0);
    assert_true(atomic_load(&rig.arena->cpu_ns) > 0);
    assert_int_equal(rig_map(&rig, ITEMS("5")), 1);
    rig_assert(&rig, 0, "25");
    stop();
}

static void test_loop(void **state)
{
    (void)state;
#ifdef HAS_LOOP
    expect("__import__('__main__').LOOP is None", "", "False");
#else
    expect("__import__('__main__').LOOP is None", "", "True");
#endif
    expect("'pmap_loop' in sys.modules", "", "False"); /* a module of the user's may have that name */
}

/* As for python3 -c: modules are looked for in the folder at hand, save where the user wants none of that. */
static void test_path(void **state)
{
    static const char is_right[] = "('' in sys.path) != getattr(sys.flags, 'safe_path', False)";
    (void)state;
    unsetenv("PYTHONSAFEPATH");
    expect("'' in sys.path", "", "True");
    setenv("PYTHONSAFEPATH", "1", 1); /* heeded since Python 3.11 */
    start(is_right);
    unsetenv("PYTHONSAFEPATH");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("")), 1);
    rig_assert(&rig, 0, "True");
    stop();
}

static void test_names(void **state)
{
    (void)state;
    expect("math.sqrt(int(x)), x, b, i", "16", "(4.0, '16', b'16', 100)");
    expect("[i for i in x], (lambda y: (y, i))(x)", "ab", "(['a', 'b'], ('ab', 100))");
    expect("re.sub('a', os.path.basename('/b'), x) + str((y := len(x)) * y) # comment", "aca", "bcb9");
    expect("sum(int(y)\n    for y in x.split())", "1 2 3", "6");
    expect("None if x else x", "", "");
}

static void test_bytes(void **state)
{
    (void)state;
    expect("x", "\xff\xfe not utf-8 \xc3\xa4", "\xff\xfe not utf-8 \xc3\xa4");
    expect("b[::-1] if len(x) == 3 else x", "\xff\xc3\xa4\x01", "\x01\xa4\xc3\xff");
    expect("x.upper() + '\\udcff\\n'", "\xc3\xa4", "\xc3\x84\xff\n");
    start("x + '\\ud800' if x == 'a' else x");
    rig_ready(&rig);
    rig_map(&rig, ITEMS("a", "b"));
    rig_assert_error(&rig, 0,
                     "UnicodeEncodeError: 'utf-8' codec can't encode character '\\ud800' in position 1: "
                     "surrogates not allowed");
    rig_assert(&rig, 1, "b");
    stop();
}

static void test_file(void **state)
{
    char output[1000];
    (void)state;
    start("--file", act);
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("x", "print", "exit", "interrupt", "two lines", "newlines", "none",
                                         "surrogate", "recurse", "y")),
                     10);
    rig_assert(&rig, 0, "x");
    rig_assert(&rig, 1, "print");
    rig_assert_error(&rig, 2, "SystemExit: enough");
    rig_assert_error(&rig, 3, "KeyboardInterrupt");
    rig_assert_error(&rig, 4, "ValueError: one");
    assert_non_null(strstr(rig.results[4].words, "ValueError: one\ntwo"));
    rig_assert(&rig, 5, "a\nb\n");
    rig_assert(&rig, 6, "None");
    assert_non_null(rig.results[7].error);
    assert_non_null(strstr(rig.results[8].error, "RecursionError: maximum recursion depth exceeded"));
    rig_assert(&rig, 9, "y");
    rig_chunk(&rig, ITEMS("bytes"), NULL, 1);
    assert_true(rig_take(&rig));
    assert_int_equal(rig.results[0].len, 2);
    assert_memory_equal(rig.results[0].data, "\xff\0", 2);
    assert_int_equal(rig_stop(&rig, output, sizeof output), 0);
    assert_string_equal(output, "said by act");
}

static void test_traceback(void **state)
{
    (void)state;
    start("--file", deep);
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("way")), 1);
    rig_assert_error(&rig, 0, "KeyError: 'no way'");
    const char *words = rig.results[0].words;
    assert_non_null(words);
    assert_true(strncmp(words, "Traceback (most recent call last):\n  File \"" FUNCTIONS "\", line", 60) ==
                0);
    assert_non_null(strstr(words, "in deep\n    return inner(x)\n"));
    assert_non_null(strstr(words, "\nKeyError: 'no way'\n"));
    assert_null(strstr(words, "pmap_harness"));
    stop();
}

static void test_retries(void **state)
{
    (void)state;
    rig_start(&rig, ITEMS("/usr/bin/python3", HARNESS, "--file", "--retries", "2", "--recycle", "0", act));
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("second time", "exit", "x")), 3);
    rig_assert(&rig, 0, "second time");
    assert_int_equal(rig.results[0].attempts, 2);
    rig_assert_error(&rig, 1, "SystemExit: enough");
    assert_int_equal(rig.results[1].attempts, 3);
    assert_null(strstr(rig.results[1].words, "During handling"));
    assert_int_equal(rig.results[2].attempts, 0);
    rig.attempts = 1;
    assert_int_equal(rig_map(&rig, ITEMS("x", "y")), 2);
    assert_int_equal(rig.results[0].attempts, 2);
    assert_int_equal(rig.results[1].attempts, 0);
    assert_int_equal(rig_map(&rig, ITEMS("exit", "y")), 2);
    assert_int_equal(rig.results[0].attempts, 3);
    stop();
}

static void test_recycle(void **state)
{
    (void)state;
    rig_start(&rig, ITEMS("/usr/bin/python3", HARNESS, "--retries", "0", "--recycle", "4", "x"));
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("a", "b", "c")), 3);
    assert_int_equal(rig_map(&rig, ITEMS("d", "e")), 1);
    assert_int_equal(rig_next(&rig), 0);
    stop();
}

static void test_death(void **state)
{
    (void)state;
    start("--file", act);
    rig_ready(&rig);
    rig_chunk(&rig, ITEMS("a", "b", "leave", "c"), NULL, 4);
    assert_false(rig_take(&rig));
    assert_int_equal(rig.taken, 2);
    rig_assert(&rig, 1, "b");
    assert_int_equal(atomic_load(&rig.arena->current), 3);
    int status = rig_stop(&rig, NULL, 0);
    assert_int_equal(WEXITSTATUS(status), 3);
}

static void test_fork(void **state)
{
    (void)state;
    start("--file", act);
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("fork", "x", "fork", "y")), 4);
    rig_assert(&rig, 0, "fork");
    rig_assert(&rig, 3, "y");
    stop();
}

static void test_large_results(void **state)
{
    (void)state;
    start("'ab' * int(x)");
    rig_ready(&rig);
    rig.bytes_room = 8192;
    rig.notes_room = 40000;
    assert_int_equal(rig_map(&rig, ITEMS("1", "50000", "x", "0", "2")), 5);
    rig_assert(&rig, 0, "ab");
    assert_int_equal(rig.results[1].len, 100000);
    assert_int_equal(strspn((char *)rig.results[1].data, "ab"), 100000);
    assert_non_null(rig.results[2].error);
    rig_assert(&rig, 3, "");
    rig_assert(&rig, 4, "abab");
    assert_true(rig.fulls >= 12);
    rig_chunk(&rig, ITEMS("1", "50000", "2"), NULL, 3);
    assert_int_equal(rig_next(&rig), HOST_FULL);
    rig_send(&rig, HOST_DROP);
    assert_true(rig_take(&rig));
    assert_int_equal(rig.taken, 1);
    rig.bytes_room = 1 << 20;
    assert_int_equal(rig_map(&rig, ITEMS("3")), 1);
    rig_assert(&rig, 0, "ababab");
    stop();
}

static void test_yield(void **state)
{
    (void)state;
    start("time.sleep(float(x))");
    rig_ready(&rig);
    rig_chunk(&rig, ITEMS("0.05", "0.2", "1000000"), NULL, 3);
    assert_int_equal(rig_next(&rig), HOST_SOME);
    rig_send(&rig, HOST_YIELD);
    assert_true(rig_take(&rig));
    assert_int_equal(rig.taken, 2);
    stop();
}

/* A chunk that waited for the interpreter to start, and is asked back by then, comes to something. */
static void test_early_yield(void **state)
{
    (void)state;
    start("time.sleep(0.01)");
    rig_chunk(&rig, ITEMS("a", "b", "c"), NULL, 3);
    rig_send(&rig, HOST_YIELD);
    rig_ready(&rig);
    assert_true(rig_take(&rig));
    assert_int_equal(rig.taken, 1);
    stop();
}

/* Its own end is part of a result's item, in time and in blame. */
static void test_end_of_a_result(void **state)
{
    (void)state;
    start("--file", lingering);
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, ITEMS("0.05", "0")), 2);
    assert_true(rig.results[0].time_ns >= 50000000);
    rig_chunk(&rig, ITEMS("0", "leave", "0"), NULL, 3);
    assert_false(rig_take(&rig));
    assert_int_equal(rig.taken, 1);
    assert_int_equal(atomic_load(&rig.arena->current), 2);
    rig_stop(&rig, NULL, 0);
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
    start("x");
    rig_ready(&rig);
    assert_int_equal(rig_map(&rig, items), COUNT);
    for (size_t i = 0; i < COUNT; i++)
        rig_assert(&rig, i, items[i]);
    stop();
}

static void test_refused(void **state)
{
    static const struct {
        const char *arguments[2], *why;
    } wrong[] = {
        {{"int(x"}, "<expression>:1: SyntaxError: '(' was never closed: int(x"},
        {{"square(x)"}, "<expression>: name 'square' is not defined, and there is no module of that name"},
        {{"--file", FUNCTIONS}, "'" FUNCTIONS "' is not FILE:FUNCTION"},
        {{"--file", "/nowhere/f.py:g"}, "/nowhere/f.py: No such file or directory"},
        {{"--file", FUNCTIONS ":doubel"}, FUNCTIONS " has no function 'doubel'; did you mean 'double'?"},
        {{"--file", FUNCTIONS ":number"}, FUNCTIONS ": 'number' is not a function"},
        {{"--file", SOURCES "/broken.py:double"},
         SOURCES "/broken.py:5: SyntaxError: invalid syntax: return 2 *"},
        {{"--file", SOURCES "/missing.py:double"},
         SOURCES "/missing.py:3: ModuleNotFoundError: No module named 'no_such_module_at_all'"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *argv[5] = {"/usr/bin/python3", HARNESS};
        memcpy(argv + 2, wrong[i].arguments, sizeof wrong[i].arguments);
        rig_start(&rig, argv);
        assert_string_equal(rig_bad(&rig), wrong[i].why);
        int status = rig_stop(&rig, NULL, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_expression),
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_traceback),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_recycle),
        cmocka_unit_test(test_death),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_large_results),
        cmocka_unit_test(test_yield),
        cmocka_unit_test(test_early_yield),
        cmocka_unit_test(test_end_of_a_result),
        cmocka_unit_test(test_many_items),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
