/* pmap-exec's filters and pipes, with the real program: see exec_rig.h. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void a_newline_cannot_be_sent(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, "--", "cat");
    RIG_CHUNK(rig, "a\nb", "c", "d\n", "\n", "e", "\n");
    rig_run(rig);
    const char *expected[] = {NULL, "c", NULL, NULL, "e", NULL};
    for (int i = 0; i < 6; i++) {
        if (expected[i])
            assert_item(rig, i, expected[i]);
        else
            assert_string_equal(rig->results[i].error.bytes,
                                "has a newline, which a filter's line cannot hold");
        assert_true(rig->results[i].done);
    }
    RIG_CHUNK(rig, "\n");
    rig_run(rig);
    assert_true(rig->results[0].done);
    rig_stop(rig);
}

static void programs_that_buffer_just_work(void **state)
{
    (void)state;
    static const char *const programs[][4] = {
        {"tr", "a", "b", NULL}, {"cat", NULL}, {"grep", "", NULL}, {"cut", "-c1-", NULL}};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        const char *arguments[20] = {"filter", PLAIN, "--"};
        size_t count = 10;
        for (const char *const *p = programs[i]; *p; p++)
            arguments[count++] = *p;
        struct rig *rig = rig_start(0, arguments);
        for (int chunk = 0; chunk < 2; chunk++) {
            RIG_CHUNK(rig, "x", "y");
            rig_run(rig);
            assert_item(rig, 0, "x");
            assert_item(rig, 1, "y");
            assert_int_equal(rig->results[0].remark.len + rig->results[1].remark.len, 0);
        }
        rig_stop(rig);
    }
}

static void python_needs_no_flag(void **state)
{
    (void)state;
    if (access("/usr/bin/python3", X_OK) < 0) {
        print_message("no python3\n");
        skip();
    }
    struct rig *rig = RIG("filter", PLAIN, "--", "/usr/bin/python3", "-c",
                          "import sys\nfor line in sys.stdin: print(int(line) ** 2)");
    for (int chunk = 0; chunk < 2; chunk++) {
        numbers(rig, 3, 2);
        rig_run(rig);
        assert_item(rig, 0, "9");
        assert_item(rig, 1, "16");
        assert_int_equal(rig->results[0].remark.len, 0);
    }
    rig_stop(rig);
}

static void the_users_preloads_stay(void **state)
{
    (void)state;
    setenv("LD_PRELOAD", "", 1);
    struct rig *rig =
        RIG("filter", PLAIN, SH("while read x; do echo \"$PYTHONUNBUFFERED $_STDBUF_O $LD_PRELOAD\"; done"));
    unsetenv("LD_PRELOAD");
    RIG_CHUNK(rig, "x");
    rig_run(rig);
    assert_true(strncmp(rig->results[0].out.bytes, "1 ", 2) == 0);
    rig_stop(rig);
    setenv("PYTHONUNBUFFERED", "0", 1);
    setenv("_STDBUF_O", "0", 1);
    rig =
        RIG("filter", PLAIN, SH("while read x; do echo \"$PYTHONUNBUFFERED $_STDBUF_O $LD_PRELOAD\"; done"));
    unsetenv("PYTHONUNBUFFERED");
    unsetenv("_STDBUF_O");
    RIG_CHUNK(rig, "x");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "0 0 ");
    rig_stop(rig);
}

/* On a busy machine it may be seen late that an item has ended, at the cost of the next one's time: so in one
 * of some chunks. */
static void times_are_each_items_own(void **state)
{
    const int chunks = 20;
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, SH("while read x; do sleep $x; echo $x; done"));
    bool own = false;
    for (int i = 0; i < chunks && !own; i++) {
        RIG_CHUNK(rig, "0", "0.3", "0", "0.2");
        rig_run(rig);
        assert_true(rig->arena->cpu_ns > 0);
        own = rig->results[1].wall_ns > 200000000 && rig->results[3].wall_ns > 100000000 &&
              rig->results[2].wall_ns < 300000000;
    }
    assert_true(own);
    rig_stop(rig);
}

static void one_that_dies_is_blamed_on_its_item(void **state)
{
    (void)state;
    struct rig *rig =
        RIG("filter", PLAIN,
            SH("while read x; do case $x in exit) exit 3;; kill) kill -SEGV $$;; esac; echo $x.; done"));
    for (int chunk = 0; chunk < 2; chunk++) {
        RIG_CHUNK(rig, "a", "exit", "b", "kill", "c", "exit");
        rig_run(rig);
        assert_item(rig, 0, "a.");
        assert_string_equal(rig->results[1].error.bytes,
                            "the filter exited with status 3 before it answered");
        assert_item(rig, 2, "b.");
        assert_int_equal(rig->results[3].signal, SIGSEGV);
        assert_int_equal(rig->results[3].fails, 1);
        assert_item(rig, 4, "c.");
        assert_int_equal(rig->results[5].fails, 1);
        assert_true(rig->results[5].done);
    }
    rig_stop(rig);
}

static void one_that_ends_at_once_fails_each_item_once(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, "--", "false");
    RIG_CHUNK(rig, "a", "b", "c");
    rig_run(rig);
    for (int i = 0; i < 3; i++) {
        assert_true(rig->results[i].done);
        assert_string_equal(rig->results[i].error.bytes,
                            "the filter exited with status 1 before it answered");
    }
    rig_stop(rig);
}

static void one_that_answers_a_few_and_goes_is_replaced(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, SH("read x; echo $x; read x; echo $x"));
    /* Whole chunks of its own: nobody's fault. */
    for (int chunk = 0; chunk < 3; chunk++) {
        RIG_CHUNK(rig, "a", "b");
        rig_run(rig);
        assert_item(rig, 0, "a");
        assert_item(rig, 1, "b");
    }
    rig_stop(rig);
}

static void too_few_lines(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, "--", "grep", "a");
    RIG_CHUNK(rig, "a1", "a2", "b", "c");
    rig_run(rig);
    assert_item(rig, 0, "a1");
    assert_item(rig, 1, "a2");
    for (int i = 2; i < 4; i++)
        assert_string_equal(rig->results[i].error.bytes, "the filter answered fewer lines than it was given");
    RIG_CHUNK(rig, "a3");
    rig_run(rig);
    assert_item(rig, 0, "a3");
    rig_stop(rig);
}

static void too_many_lines(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, SH("read x; echo $x; read x; printf 'one\ntwo\n'; cat"));
    RIG_CHUNK(rig, "a", "b");
    rig_run(rig);
    assert_item(rig, 0, "a");
    assert_string_equal(rig->results[1].error.bytes, "the filter answered more lines than it was given");
    /* Where the answer came before what is too much, the next chunk has to tell. */
    rig_stop(rig);
    char go[] = "/tmp/pmap-exec-test-XXXXXX";
    int fd = mkstemp(go);
    assert_true(fd >= 0);
    close(fd);
    rig = RIG("filter", PLAIN, SH("read x; echo $x; echo late; rm $x; cat"));
    RIG_CHUNK(rig, go);
    rig_run(rig);
    if (rig->results[0].errors == 0) {
        for (int64_t end = rig_now_ms() + 20000; access(go, F_OK) == 0 && rig_now_ms() < end;)
            poll(NULL, 0, 1);
        RIG_CHUNK(rig, "x", "y");
        rig_run(rig);
        assert_true(rig->results[1].done);
    }
    assert_string_equal(rig->results[0].error.bytes, "the filter answered more lines than it was given");
    unlink(go);
    rig_stop(rig);
}

static void stderr_goes_with_the_item(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, SH("while read x; do echo about $x >&2; echo $x; done"));
    for (int chunk = 0; chunk < 2; chunk++) {
        RIG_CHUNK(rig, "a");
        rig_run(rig);
        assert_item(rig, 0, "a");
        assert_string_equal(rig->results[0].err.bytes, "about a\n");
    }
    rig_stop(rig);
}

static void time_runs_out_for_one_item(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", "--timeout", "1000", "--grace", "100", "--retries", "0", "--recycle", "0",
                          SH("trap '' TERM; while read x; do sleep $x; echo $x; done"));
    RIG_CHUNK(rig, "0", "0.6", "0.6", "1000", "0");
    rig_run(rig);
    assert_item(rig, 0, "0");
    assert_item(rig, 1, "0.6");
    assert_item(rig, 2, "0.6");
    assert_string_equal(rig->results[3].timeout_text.bytes, "timed out after 1 s");
    assert_item(rig, 4, "0");
    rig_stop(rig);
}

static void retries_send_the_item_again(void **state)
{
    (void)state;
    char count[] = "/tmp/pmap-exec-test-XXXXXX";
    int fd = mkstemp(count);
    assert_true(fd >= 0);
    close(fd);
    static const char script[] = "echo start >> $0; n=$(wc -l < $0); echo try $n >&2; while read x; do"
                                 " test $x != bad || test $n -ge 3 || { printf half; exit 1; };"
                                 " test $x != worse || exit 2; echo $x$n; done";
    struct rig *rig = RIG("filter", "--timeout", "0", "--grace", "0", "--retries", "2", "--recycle", "0",
                          "--", "sh", "-c", script, count);
    RIG_CHUNK(rig, "a", "bad", "b", "worse", "c");
    rig_run(rig);
    assert_item(rig, 0, "a1");
    assert_item(rig, 1, "bad3");
    assert_int_equal(rig->results[1].attempts, 3);
    assert_string_equal(rig->results[1].err.bytes, "try 3\n");
    assert_item(rig, 2, "b3");
    assert_int_equal(rig->results[2].attempts, 0);
    assert_string_equal(rig->results[3].error.bytes, "the filter exited with status 2 before it answered");
    assert_int_equal(rig->results[3].attempts, 3);
    assert_item(rig, 4, "c6");
    unlink(count);
    rig_stop(rig);
}

static void it_is_recycled(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", "--timeout", "0", "--grace", "0", "--retries", "0", "--recycle", "3",
                          SH("while read x; do echo $$; done"));
    numbers(rig, 0, 7);
    rig_run(rig);
    for (int i = 1; i < 7; i++) {
        bool same = strcmp(rig->results[i].out.bytes, rig->results[i - 1].out.bytes) == 0;
        assert_int_equal(same, i % 3 != 0);
    }
    char last[20];
    snprintf(last, sizeof last, "%s", rig->results[6].out.bytes);
    numbers(rig, 0, 3);
    rig_run(rig);
    assert_string_equal(rig->results[1].out.bytes, last);
    assert_string_not_equal(rig->results[2].out.bytes, last);
    rig_stop(rig);
}

static void answers_may_be_large(void **state)
{
    (void)state;
    static const char script[] = "while read x; do head -c $x /dev/zero; echo; done";
    struct rig *rig = rig_start(64 << 10, (const char *const[]){"filter", PLAIN, SH(script), NULL});
    RIG_CHUNK(rig, "1", "3000000", "65536", "65535", "0");
    rig_run(rig);
    const size_t sizes[] = {1, 3000000, 65536, 65535, 0};
    for (int i = 0; i < 5; i++) {
        assert_true(rig->results[i].done);
        assert_int_equal(rig->results[i].out.len, sizes[i]);
    }
    rig_stop(rig);
}

static void items_may_be_large(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, "--", "cat");
    size_t size = 3 << 20;
    char *item = malloc(size);
    assert_non_null(item);
    memset(item, 'x', size);
    rig_chunk(rig, 2, (const char *const[]){item, "y"}, (const size_t[]){size, 1});
    rig_run(rig);
    assert_int_equal(rig->results[0].out.len, size);
    assert_memory_equal(rig->results[0].out.bytes, item, size);
    assert_item(rig, 1, "y");
    free(item);
    rig_stop(rig);
}

static bool first_done(struct rig *rig)
{
    return rig->results[0].done;
}

static void it_can_be_dropped(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, SH("trap '' TERM; while read x; do sleep $x; echo $x; done"));
    RIG_CHUNK(rig, "0", "1234.5", "0");
    assert_true(rig_until(rig, first_done, 20000));
    rig_send(rig, HOST_DROP, 50);
    rig_run(rig);
    assert_true(rig->ended);
    assert_int_equal(rig_processes("1234.5"), 0);
    RIG_CHUNK(rig, "0");
    rig_run(rig);
    assert_item(rig, 0, "0");
    rig_stop(rig);
}

static void a_yield_hands_back_what_was_not_written(void **state)
{
    (void)state;
    struct rig *rig = RIG("filter", PLAIN, SH("while read x; do sleep 0.01; echo $x; done"));
    numbers(rig, 0, 5000);
    assert_true(rig_until(rig, first_done, 20000));
    rig_send(rig, HOST_YIELD, 0);
    rig_run(rig);
    assert_true(rig->ended);
    uint64_t done = rig->arena->done;
    assert_in_range(done, 1, 200);
    for (int i = 0; i < (int)done; i++) {
        char expected[20];
        snprintf(expected, sizeof expected, "%d", i);
        assert_item(rig, i, expected);
    }
    numbers(rig, 7, 2);
    rig_run(rig);
    assert_item(rig, 0, "7");
    assert_item(rig, 1, "8");
    rig_stop(rig);
}

static void all_of_a_pipe(void **state)
{
    (void)state;
    struct rig *rig = RIG("pipe", PLAIN, SH("gzip -c | gzip -dc; echo $PMAP_SEQ $PMAP_SLOT"));
    rig->first = 10;
    numbers(rig, 0, 100000);
    rig_run(rig);
    assert_int_equal(rig->results[0].out.len, 588890 + 5);
    assert_string_equal(rig->results[0].out.bytes + 588890 - 6, "99999\n11 3\n");
    assert_int_equal(rig->results[0].usages, 1);
    for (int i = 1; i < 100000; i++)
        assert_true(rig->results[i].done && rig->results[i].out.len == 0 && rig->results[i].fails == 0);
    rig_stop(rig);
}

static void a_pipe_that_fails_fails_all(void **state)
{
    (void)state;
    struct rig *rig = RIG("pipe", "--timeout", "500", "--grace", "0", "--retries", "1", "--recycle", "0",
                          SH("read x; echo $x; echo err >&2; eval $x"));
    static const char *const scripts[] = {"exit 4", "kill -KILL $$", "sleep 1000"};
    for (int i = 0; i < 3; i++) {
        RIG_CHUNK(rig, scripts[i], "b", "c");
        rig_run(rig);
        for (int item = 0; item < 3; item++) {
            struct result *r = &rig->results[item];
            assert_true(r->done);
            assert_int_equal(r->fails, 1);
            assert_int_equal(r->attempts, 2);
            assert_int_equal(r->exit_code, i == 0 ? 4 : 0);
            assert_int_equal(r->signal, i == 1 ? SIGKILL : 0);
            assert_int_equal(r->timeouts, i == 2);
        }
        assert_string_equal(rig->results[0].err.bytes, "err\n");
        assert_int_equal(rig->results[0].out.len, strlen(scripts[i]) + 1);
        assert_int_equal(rig->results[1].err.len, 0);
    }
    rig_stop(rig);
}

static void a_pipe_may_leave_its_input(void **state)
{
    (void)state;
    struct rig *rig = RIG("pipe", PLAIN, "--", "head", "-n", "1");
    numbers(rig, 5, 100000);
    rig_run(rig);
    assert_item(rig, 0, "5\n");
    assert_true(rig->results[99999].done);
    assert_int_equal(rig->results[99999].fails, 0);
    rig_stop(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_in_a_line_out),
        cmocka_unit_test(many_lines_are_written_ahead),
        cmocka_unit_test(one_that_buffers_is_flushed_and_said_once),
        cmocka_unit_test(a_chunk_through_a_pipe),
        cmocka_unit_test(a_newline_cannot_be_sent),
        cmocka_unit_test(programs_that_buffer_just_work),
        cmocka_unit_test(python_needs_no_flag),
        cmocka_unit_test(the_users_preloads_stay),
        cmocka_unit_test(times_are_each_items_own),
        cmocka_unit_test(one_that_dies_is_blamed_on_its_item),
        cmocka_unit_test(one_that_ends_at_once_fails_each_item_once),
        cmocka_unit_test(one_that_answers_a_few_and_goes_is_replaced),
        cmocka_unit_test(too_few_lines),
        cmocka_unit_test(too_many_lines),
        cmocka_unit_test(stderr_goes_with_the_item),
        cmocka_unit_test(time_runs_out_for_one_item),
        cmocka_unit_test(retries_send_the_item_again),
        cmocka_unit_test(it_is_recycled),
        cmocka_unit_test(answers_may_be_large),
        cmocka_unit_test(items_may_be_large),
        cmocka_unit_test(it_can_be_dropped),
        cmocka_unit_test(a_yield_hands_back_what_was_not_written),
        cmocka_unit_test(all_of_a_pipe),
        cmocka_unit_test(a_pipe_that_fails_fails_all),
        cmocka_unit_test(a_pipe_may_leave_its_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
