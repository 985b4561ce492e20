/* What pmap-exec does about time, and about all that comes of an item, with the real program: see exec_rig.h.
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exec_rig.h"

#define PLAIN                 "--timeout", "0", "--grace", "0", "--retries", "0", "--recycle", "0"
#define SH(script)            "--", "sh", "-c", script, "sh"
#define TIMES(timeout, grace) "--timeout", timeout, "--grace", grace, "--retries", "0", "--recycle", "0"

/* In the arguments of what tests start, so that it can be found: a number of seconds. */
static const char mark[] = "1000000.25";

static void assert_nothing_left(void)
{
    for (int64_t end = rig_now_ms() + 10000; rig_processes(mark) > 0 && rig_now_ms() < end;)
        poll(NULL, 0, 2);
    assert_int_equal(rig_processes(mark), 0);
}

static bool item_sleeps(struct rig *rig)
{
    (void)rig;
    return rig_processes(mark) > 0;
}

static bool is_full(struct rig *rig)
{
    return rig->fulls > 0;
}

static void a_daemon_does_not_outlive_its_item(void **state)
{
    (void)state;
    /* It leaves its session, its parent and its group, and holds both pipes open. */
    struct rig *rig = RIG("command", PLAIN, SH("(setsid sh -c \"sleep $1 & sleep $1\" &) ; echo started"));
    RIG_CHUNK(rig, mark, mark);
    rig_run(rig);
    for (int i = 0; i < 2; i++) {
        assert_true(rig->results[i].done);
        assert_string_equal(rig->results[i].out.bytes, "started\n");
        assert_int_equal(rig->results[i].fails, 0);
        assert_true(rig->results[i].wall_ns < UINT64_C(20000000000));
    }
    assert_int_equal(rig_processes(mark), 0);
    rig_stop(rig);
}

static void closing_its_output_is_not_the_end(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, SH("echo first; exec >&- 2>&-; sleep 0.3"));
    RIG_CHUNK(rig, "");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "first\n");
    assert_int_equal(rig->results[0].fails, 0);
    assert_true(rig->results[0].wall_ns > 300000000);
    rig_stop(rig);
}

static void time_runs_out(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", TIMES("1000", "5000"), SH("echo begun; sleep $1; echo never"));
    RIG_CHUNK(rig, mark, "0");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "begun\n");
    assert_string_equal(rig->results[0].timeout_text.bytes, "timed out after 1 s");
    assert_int_equal(rig->results[0].fails, 1);
    /* By TERM: it did not take the whole grace. */
    assert_true(rig->results[0].wall_ns < UINT64_C(5000000000));
    assert_string_equal(rig->results[1].out.bytes, "begun\nnever\n");
    assert_nothing_left();
    rig_stop(rig);
}

static void term_comes_first_and_may_be_answered(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", TIMES("1000", "20000"),
                          SH("trap 'echo cleaned up; exit 0' TERM; while :; do sleep 0.05; done"));
    RIG_CHUNK(rig, mark);
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "cleaned up\n");
    assert_int_equal(rig->results[0].timeouts, 1);
    assert_true(rig->results[0].wall_ns < UINT64_C(15000000000));
    rig_stop(rig);
}

static void who_ignores_term_is_killed(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", TIMES("100", "100"), SH("trap '' TERM; sleep $1 & sleep $1; sleep $1"));
    RIG_CHUNK(rig, mark);
    rig_run(rig);
    assert_int_equal(rig->results[0].timeouts, 1);
    assert_int_equal(rig->results[0].fails, 1);
    assert_nothing_left();
    rig_stop(rig);
}

static void who_stops_itself_has_no_more_time(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", TIMES("1000", "20000"), SH("echo stopping; kill -STOP $$; echo never"));
    RIG_CHUNK(rig, mark);
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "stopping\n");
    assert_int_equal(rig->results[0].timeouts, 1);
    /* It is continued, so that TERM arrives. */
    assert_true(rig->results[0].wall_ns < UINT64_C(15000000000));
    rig_stop(rig);
}

static bool second_runs(struct rig *rig)
{
    return rig->results[0].done && item_sleeps(rig);
}

static void an_endless_writer_is_dropped(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, "--", "sh", "-c", "test $1 = 0 || yes $2", "sh", "{}", mark);
    RIG_CHUNK(rig, "0", "1", "1");
    assert_true(rig_until(rig, second_runs, 20000));
    rig_send(rig, HOST_DROP, 5000);
    rig_run(rig);
    assert_true(rig->ended);
    assert_int_equal(rig->arena->done, 1);
    assert_true(rig->results[0].done);
    assert_nothing_left();
    /* And goes on with the next chunk. */
    RIG_CHUNK(rig, "0");
    rig_run(rig);
    assert_true(rig->results[0].done);
    rig_stop(rig);
}

static void a_drop_kills_who_ignores_term(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, SH("trap '' TERM; sleep $1; sleep $1"));
    RIG_CHUNK(rig, mark);
    assert_true(rig_until(rig, item_sleeps, 20000));
    rig_send(rig, HOST_DROP, 100);
    rig_run(rig);
    assert_true(rig->ended);
    assert_nothing_left();
    rig_stop(rig);
}

static void a_drop_while_there_is_no_room(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, SH("yes $1"));
    rig->hold_full = true;
    RIG_CHUNK(rig, mark);
    assert_true(rig_until(rig, item_sleeps, 20000));
    assert_true(rig_until(rig, is_full, 20000));
    rig_send(rig, HOST_DROP, 1000);
    rig_run(rig);
    assert_true(rig->ended);
    assert_nothing_left();
    rig_stop(rig);
}

static void the_workers_end_is_the_items(void **state)
{
    (void)state;
    struct rig *rig =
        RIG("command", TIMES("0", "60000"), SH("trap '' TERM; (setsid sleep $1 &); sleep $1; sleep $1"));
    RIG_CHUNK(rig, mark);
    assert_true(rig_until(rig, item_sleeps, 20000));
    int64_t before = rig_now_ms();
    rig_stop(rig);
    assert_true(rig_now_ms() - before < 15000);
    assert_int_equal(rig_processes(mark), 0);
}

static void its_own_end_is_the_items(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", PLAIN, "--", "sleep");
    RIG_CHUNK(rig, mark);
    assert_true(rig_until(rig, item_sleeps, 20000));
    kill(rig->pid, SIGKILL);
    assert_nothing_left();
    rig->killed = true;
    rig_stop(rig);
}

static void many_forks(void **state)
{
    (void)state;
    /* Two thousand, or what goes in two seconds. They sleep, a quarter of them in groups of their own. */
    static const char script[] =
        "my $end = time + 2; for (1 .. 2000) { last if time > $end; "
        "fork or do { setpgrp if $_ % 4 == 0; sleep 1000; exit } } print qq(forked\n)";
    struct rig *rig = RIG("command", PLAIN, "--", "perl", "-e", script, mark);
    RIG_CHUNK(rig, "a");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "forked\n");
    assert_int_equal(rig->results[0].fails, 0);
    assert_int_equal(rig_processes(mark), 0);
    rig_stop(rig);
}

enum { LEVELS = 400, ROUND_MS = 5 }; /* ROUND_MS: as in run.c */

static bool is_deep(struct rig *rig)
{
    (void)rig;
    return rig_processes(mark) >= LEVELS;
}

/* Each is found when the one above it has died, and that does not take a round's time. */
static void a_deep_chain(void **state)
{
    (void)state;
    char levels[8];
    snprintf(levels, sizeof levels, "%d", LEVELS);
    /* Programs of their own, not copies, which the kernel ties together; in sessions of their own. */
    static const char script[] =
        "trap '' TERM; export S='[ $1 = 1 ] || setsid sh -c \"$S\" sh $(($1 - 1)) $2 & "
        "exec sleep $2'; exec sh -c \"$S\" sh $2 $1";
    struct rig *rig = RIG("command", PLAIN, "--", "sh", "-c", script, "sh", mark, levels);
    RIG_CHUNK(rig, "a");
    assert_true(rig_until(rig, is_deep, 30000));
    int64_t begin = rig_now_ms();
    rig_send(rig, HOST_DROP, 1);
    rig_run(rig);
    assert_true(rig->ended);
    int64_t took_ms = rig_now_ms() - begin;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    took_ms = 0; /* it is several times slower */
#endif
    assert_in_range(took_ms, 0, INT64_C(1) * LEVELS * ROUND_MS);
    assert_int_equal(rig_processes(mark), 0);
    rig_stop(rig);
}

static void a_chain_that_flees(void **state)
{
    (void)state;
    /* Each makes the next one, in a group of its own, and dies; the first waits to be timed out. */
    struct rig *rig =
        RIG("command", TIMES("1000", "50"), "--", "perl", "-e",
            "$| = 1; print q(x); if (fork) { sleep 1000 } while (1) { fork and exit; setpgrp }", mark);
    RIG_CHUNK(rig, "a");
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "x");
    assert_int_equal(rig->results[0].timeouts, 1);
    assert_int_equal(rig_processes(mark), 0);
    rig_stop(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_daemon_does_not_outlive_its_item),
        cmocka_unit_test(closing_its_output_is_not_the_end),
        cmocka_unit_test(time_runs_out),
        cmocka_unit_test(term_comes_first_and_may_be_answered),
        cmocka_unit_test(who_ignores_term_is_killed),
        cmocka_unit_test(who_stops_itself_has_no_more_time),
        cmocka_unit_test(an_endless_writer_is_dropped),
        cmocka_unit_test(a_drop_kills_who_ignores_term),
        cmocka_unit_test(a_drop_while_there_is_no_room),
        cmocka_unit_test(the_workers_end_is_the_items),
        cmocka_unit_test(its_own_end_is_the_items),
        cmocka_unit_test(many_forks),
        cmocka_unit_test(a_deep_chain),
        cmocka_unit_test(a_chain_that_flees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
