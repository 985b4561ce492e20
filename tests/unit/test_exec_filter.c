/* pmap-exec's filters and pipes, with the real program: see exec_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/exec_rig.h"

#define PLAIN      "--timeout", "0", "--grace", "0", "--retries", "0", "--recycle", "0"
#define SH(script) "--", "sh", "-c", script

/* A chunk of so many numbers from `from` on. */
static void numbers(struct rig *rig, int from, int count)
{
    char **items = calloc((size_t)count, sizeof *items);
    assert_non_null(items);
    for (int i = 0; i < count; i++)
        assert_true(asprintf(&items[i], "%d", from + i) > 0);
    rig_chunk(rig, (size_t)count, (const char *const *)items, NULL);
    for (int i = 0; i < count; i++)
        free(items[i]);
    free(items);
}

static void assert_item(struct rig *rig, int i, const char *out)
{
    assert_true(rig->results[i].done);
    assert_string_equal(rig->results[i].error.bytes, "");
    assert_int_equal(rig->results[i].fails, 0);
    assert_string_equal(rig->results[i].out.bytes, out);
}

static void a_line_in_a_line_out(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, "--", "sed", "s/a/b/");
    for (int chunk = 0; chunk < 3; chunk++) {
        RIG_CHUNK(rig, "banana", "", "x", "aa");
        rig_run(rig);
        assert_item(rig, 0, "bbnana");
        assert_item(rig, 1, "");
        assert_item(rig, 2, "x");
        assert_item(rig, 3, "ba");
        for (int i = 0; i < 4; i++)
            assert_int_equal(rig->results[i].usages, 0);
        assert_true(rig->results[0].wall_ns > 0);
        assert_int_equal(rig_processes("s/a/b/"), 1);
    }
    assert_string_equal(rig->results[0].remark.bytes, "");
    rig_stop(rig);
    assert_int_equal(rig_processes("s/a/b/"), 0);
}

static void many_lines_are_written_ahead(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, "--", "sed", "s/$/!/");
    numbers(rig, 0, 100000);
    rig_run(rig);
    for (int i = 0; i < 100000; i++) {
        char expected[20];
        snprintf(expected, sizeof expected, "%d!", i);
        assert_item(rig, i, expected);
    }
    assert_int_equal(rig->results[0].remark.len, 0);
    rig_stop(rig);
}

static void one_that_buffers_is_flushed_and_said_once(void **state)
{
    (void)state;
    /* perl has buffers of its own. */
    struct rig *rig = RIG("filter", PLAIN, "--", "perl", "-pe", "s/1/one/");
    for (int chunk = 0; chunk < 3; chunk++) {
        numbers(rig, 0, 100);
        rig_run(rig);
        assert_item(rig, 0, "0");
        assert_item(rig, 1, "one");
        assert_item(rig, 99, "99");
        if (chunk == 0)
            assert_string_equal(rig->results[0].remark.bytes,
                                "'perl' has its input and answers nothing: it may buffer its output; closing "
                                "its input to flush it");
        else
            assert_int_equal(rig->results[0].remark.len, 0);
    }
    rig_stop(rig);
}

static void a_chunk_through_a_pipe(void **state)
{
    (void)state;
    struct rig *rig = RIG("pipe", PLAIN, "--", "cat");
    RIG_CHUNK(rig, "a", "", "b\nc", "d");
    rig_run(rig);
    assert_item(rig, 0, "a\n\nb\nc\nd\n");
    for (int i = 1; i < 4; i++)
        assert_item(rig, i, "");
    rig_stop(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_in_a_line_out),
        cmocka_unit_test(many_lines_are_written_ahead),
        cmocka_unit_test(one_that_buffers_is_flushed_and_said_once),
        cmocka_unit_test(a_chunk_through_a_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
