/*
 * pmap-worker and its hosts: those that end, those that cannot begin, the state that they are started in, and
 * what becomes of them when the worker ends. See test_worker.c.
 */
#include "tests/unit/worker_rig.h"

#include "common/batch.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

/*** Hosts that end ***/

static void test_crash_is_blamed(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o =
        rig_run(&rig, 1, JOB, ITEMS("a", "crash", "b", "exit 5", "kill", "once", "c", "damage", "shut", "d"));
    assert_int_equal(o->count, 10);
    assert_item(o, 0, "a");
    assert_int_equal(o->item[1].kind, NOTE_SIGNAL);
    assert_int_equal(o->item[1].code, SIGSEGV);
    assert_string_equal(o->item[1].text, "in the function");
    assert_item(o, 2, "b");
    assert_int_equal(o->item[3].kind, NOTE_ERROR);
    assert_string_equal(o->item[3].text, "the host exited with status 5");
    assert_int_equal(o->item[4].kind, NOTE_SIGNAL);
    assert_int_equal(o->item[4].code, SIGKILL);
    assert_int_equal(o->item[5].kind, NOTE_SIGNAL);
    assert_item(o, 6, "c");
    assert_int_equal(o->item[7].kind, NOTE_ERROR);
    assert_string_equal(o->item[7].text, "it wrote to memory that is not its own");
    assert_int_equal(o->item[8].kind, NOTE_ERROR);
    assert_item(o, 9, "d");
    outcome_free(o);
    rig_stop(&rig);
}

static void test_retries(void **state)
{
    const struct job_options twice = {.retries = 2};
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, &twice);
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("a", "once", "b", "crash", "once", "c"));
    assert_int_equal(o->count, 6);
    assert_item(o, 1, "attempts=1");
    assert_item(o, 2, "b");
    assert_int_equal(o->item[3].kind, NOTE_SIGNAL);
    assert_int_equal(o->item[3].attempts, 3);
    assert_item(o, 4, "attempts=1");
    assert_item(o, 5, "c");
    outcome_free(o);
    rig_stop(&rig);
}

static void test_timeout(void **state)
{
    const struct job_options limit = {.timeout_ms = 150};
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_PYTHON, &limit);
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("sleep 100", "sleep 100", "wait", "a", "hang", "b"));
    assert_int_equal(o->count, 6);
    assert_item(o, 0, "");
    assert_item(o, 1, "");
    assert_int_equal(o->item[2].kind, NOTE_TIMEOUT);
    assert_string_equal(o->item[2].text, "timed out after 0.15 s");
    assert_true(o->item[2].ns >= 150000000);
    assert_item(o, 3, "a");
    assert_int_equal(o->item[4].kind, NOTE_TIMEOUT);
    assert_true(o->item[4].ns >= 350000000); /* and the grace */
    assert_item(o, 5, "b");
    outcome_free(o);
    rig_stop(&rig);
}

/* No user's code runs in pmap-exec: its death is no item's fault, unless an item does it every time. */
static void test_exec_is_not_blamed(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_COMMAND, NULL);
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("a", "crash", "b"));
    assert_int_equal(o->count, 3);
    assert_int_equal(o->item[1].kind, NOTE_ERROR);
    assert_string_equal(o->item[1].text, "pmap-exec was killed by signal 11 (Segmentation fault)");
    assert_item(o, 2, "b");
    outcome_free(o);
    rig_stop(&rig);
}

static void test_recycle(void **state)
{
    const struct job_options two = {.recycle = 2};
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, &two);
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("pid", "pid", "pid", "pid", "pid"));
    assert_int_equal(o->count, 5);
    assert_string_equal(o->item[0].bytes, o->item[1].bytes);
    assert_string_not_equal(o->item[1].bytes, o->item[2].bytes);
    assert_string_equal(o->item[2].bytes, o->item[3].bytes);
    assert_string_not_equal(o->item[3].bytes, o->item[4].bytes);
    outcome_free(o);
    for (uint64_t chunk = 2; chunk < 12; chunk++) {
        o = rig_run(&rig, chunk, JOB, ITEMS("one"));
        assert_int_equal(o->count, 1);
        assert_item(o, 0, "one");
        outcome_free(o);
    }
    rig_stop(&rig);
}

/* What a host leaves is killed with it. */
static void test_daemons_are_killed(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("daemon", "crash", "b"));
    assert_int_equal(o->count, 3);
    pid_t pid = (pid_t)number_in(o->item[0].bytes);
    assert_true(pid > 1);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    outcome_free(o);
    o = rig_run(&rig, 2, JOB, ITEMS("daemon"));
    outcome_free(o);
    rig_stop(&rig);
}

/*** Jobs that cannot run ***/

static void failing_job(enum function_kind kind, struct call *call, const char *text)
{
    struct rig rig;
    rig_start(&rig);
    struct call own;
    if (!call)
        rig_call(&rig, &own, "argument");
    rig_job(&rig, JOB, kind, NULL, call ? call : &own, 0);
    struct outcome *o = outcome_new(), *two = outcome_new();
    rig_failure[0] = '\0';
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("a", "b"));
    rig_chunk(&rig, 2, JOB, unlimited, ITEMS("c"));
    assert_int_equal(rig_take(&rig, 1, o, 1, o), MSG_FAILED);
    assert_string_equal(rig_failure, text);
    rig_until_end(&rig, 1, o);
    rig_until_end(&rig, 2, two);
    assert_int_equal(o->count, 0);
    assert_int_equal(two->count, 0);
    rig_forget(&rig, JOB);
    rig_plain_job(&rig, JOB + 1, KIND_COMMAND, NULL);
    outcome_free(o);
    outcome_free(two);
    o = rig_run(&rig, 3, JOB + 1, ITEMS("well"));
    assert_item(o, 0, "well");
    outcome_free(o);
    if (!call)
        call_free(&own);
    else
        call_free(call);
    rig_stop(&rig);
}

static void call_with(struct call *call, const char *argument, const char *cwd, const char *path)
{
    const char *const argv[] = {argument};
    call_init(call);
    assert_int_equal(call_set_argv(call, argv, 1), 0);
    call->cwd = strdup(cwd);
    call->env = calloc(2, sizeof *call->env);
    call->env[0] = strdup(path);
    call->env_count = 1;
}

static void test_no_folder(void **state)
{
    struct call call;
    (void)state;
    call_with(&call, "x", "/nowhere/at all", "PATH=/bin");
    failing_job(KIND_COMMAND, &call, "cannot enter /nowhere/at all: No such file or directory");
}

static void test_no_python(void **state)
{
    struct call call;
    (void)state;
    call_with(&call, "x", "/", "PATH=/nowhere:/nowhere/else");
    failing_job(KIND_PYTHON, &call, "cannot run python3: No such file or directory");
}

static void test_bad(void **state)
{
    struct call call;
    (void)state;
    call_with(&call, "bad-at-once", "/", "PATH=/bin");
    failing_job(KIND_MODULE, &call, "there is no such function");
}

static void test_dies_at_once(void **state)
{
    struct call call;
    (void)state;
    call_with(&call, "die-at-once", "/", "PATH=/bin");
    failing_job(KIND_MODULE, &call, "pmap-host exited with status 7: the reason");
}

static void test_bad_in_the_midst(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("a", "bad no more of this", "b"));
    while (rig_take(&rig, 1, o, 1, o) != MSG_FAILED)
        ;
    assert_string_equal(rig_failure, "no more of this");
    rig_until_end(&rig, 1, o);
    assert_true(o->count <= 1);
    outcome_free(o);
    rig_stop(&rig);
}

static void test_malformed_call(void **state)
{
    struct rig rig;
    struct call call;
    (void)state;
    rig_start(&rig);
    call_init(&call); /* says nothing to run */
    rig_job(&rig, JOB, KIND_COMMAND, NULL, &call, 0);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("a"));
    assert_int_equal(rig_take(&rig, 1, o, 1, o), MSG_FAILED);
    rig_until_end(&rig, 1, o);
    assert_int_equal(o->count, 0);
    outcome_free(o);
    rig_stop(&rig);
}

/*** The state of a host ***/

static void test_state(void **state)
{
    struct rig rig;
    struct call call;
    (void)state;
    rig_start(&rig);
    rig_call(&rig, &call, "argument");
    free(call.cwd);
    call.cwd = strdup("/usr");
    call.nice = 5;
    call.blocked = UINT64_C(1) << (SIGTERM - 1);
    call.ignored = UINT64_C(1) << (SIGUSR1 - 1);
    call.rlimits[0] = (struct call_rlimit){RLIMIT_NOFILE, 33, UINT64_MAX};
    call.rlimit_count = 1;
    rig_job(&rig, JOB, KIND_MODULE, NULL, &call, 0);
    rig_job(&rig, JOB + 1, KIND_COMMAND, NULL, &call, 0);
    call_free(&call);
    errno = 0;
    int own = getpriority(PRIO_PROCESS, 0);
    char wanted[256];
    snprintf(wanted, sizeof wanted,
             "cwd=/usr umask=027 nice=%d files=33 term=1 usr1=1 own=mine notify=- job=40 slot=3 sid=1",
             own > 5 ? own : 5);
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("state", "descriptors", "arguments"));
    assert_item(o, 0, wanted);
    assert_item(o, 1, "0 1 2 3 4 ");
    assert_item(o, 2, "|module|--retries|0|--recycle|0|argument|function|");
    outcome_free(o);
    o = rig_run(&rig, 2, JOB + 1, ITEMS("descriptors", "arguments"));
    assert_item(o, 0, "0 1 2 3 4 ");
    assert_item(o, 1,
                "|command|--timeout|0|--grace|200|--retries|0|--recycle|0|--rlimit|7:33:18446744073709551615|"
                "--|argument|");
    outcome_free(o);
    rig_stop(&rig);
}

static void test_python_command_line(void **state)
{
    struct rig rig;
    char wanted[256];
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_PYTHON, NULL);
    snprintf(wanted, sizeof wanted, "|%s/pmap_harness.py|--retries|0|--recycle|0|argument|", rig.folder);
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("arguments"));
    assert_item(o, 0, wanted);
    outcome_free(o);
    rig_stop(&rig);
}

/* A builtin's host serves all jobs of that function; other jobs' hosts go when they are many. */
static void test_hosts_are_kept(void **state)
{
    struct rig rig;
    char first[32];
    (void)state;
    rig_start(&rig);
    const struct job_options limited = {.timeout_ms = 60000}; /* a plain builtin has no host */
    rig_job(&rig, 1, KIND_BUILTIN, &limited, NULL, 0);
    rig_job(&rig, 2, KIND_BUILTIN, &limited, NULL, 0);
    struct outcome *o = rig_run(&rig, 1, 1, ITEMS("pid"));
    snprintf(first, sizeof first, "%s", o->item[0].bytes);
    outcome_free(o);
    rig_forget(&rig, 1);
    o = rig_run(&rig, 2, 2, ITEMS("pid"));
    assert_item(o, 0, first);
    outcome_free(o);
    for (uint64_t job = 3; job < 9; job++) {
        rig_plain_job(&rig, job, KIND_MODULE, NULL);
        o = rig_run(&rig, job, job, ITEMS("pid"));
        assert_string_not_equal(o->item[0].bytes, first);
        outcome_free(o);
    }
    o = rig_run(&rig, 100, 2, ITEMS("pid"));
    assert_string_not_equal(o->item[0].bytes, first);
    outcome_free(o);
    rig_stop(&rig);
}

static size_t count_descriptors(pid_t pid)
{
    char path[64];
    size_t count = 0;
    for (int fd = 0; fd < 256; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
        count += access(path, F_OK) == 0 || errno != ENOENT;
    }
    return count;
}

static void test_no_descriptors_leak(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("a"));
    outcome_free(o);
    size_t before = count_descriptors(rig.worker);
    const char *scale = getenv("PMAP_TEST_SCALE");
    uint64_t chunk = 2, until = chunk + 1000 / (scale && number_in(scale) > 1 ? 10 : 1);
    for (; chunk < until; chunk++) {
        o = outcome_new();
        rig_chunk(&rig, chunk, JOB, unlimited, chunk % 50 == 0 ? ITEMS("a", "crash") : ITEMS("a", "b"));
        rig_until_end(&rig, chunk, o);
        assert_int_equal(o->count, 2);
        outcome_free(o);
    }
    for (until += 8; chunk < until; chunk++) {
        o = outcome_new();
        rig_chunk(&rig, chunk, JOB, 1, ITEMS("sleep 20", "fill 300000"));
        while (!o->parked)
            rig_take(&rig, chunk, o, chunk, o);
        rig_order(&rig, MSG_GRANT, chunk, unlimited);
        while (!o->ended)
            rig_take(&rig, chunk, o, chunk, o);
        outcome_free(o);
    }
    /* The last file is closed after the last message out of it. */
    for (int i = 0; i < 1000 && count_descriptors(rig.worker) != before; i++)
        rig_silent(&rig, 2);
    assert_int_equal(count_descriptors(rig.worker), before);
    rig_stop(&rig);
}

/*** The end ***/

static void test_stop_in_the_midst(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("daemon", "hang"));
    rig_take(&rig, 1, o, 1, o);
    outcome_free(o);
    rig_stop(&rig);
}

static void test_daemon_goes(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("daemon", "hang"));
    rig_take(&rig, 1, o, 1, o);
    outcome_free(o);
    zmq_close(rig.router);
    rig.router = NULL;
    rig_gone(&rig, 1);
}

static void test_daemon_breaks_the_protocol(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_send(&rig, rig.id, rig.id_size, true);
    rig_send(&rig, "nonsense", 8, false);
    rig_gone(&rig, 1);
    rig_start(&rig);
    rig_chunk(&rig, 1, 12345, unlimited, ITEMS("of no job"));
    rig_gone(&rig, 1);
}

/* Its hosts go by themselves when it is killed, whatever they are doing. */
static void test_worker_is_killed(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_COMMAND, NULL);
    rig_plain_job(&rig, JOB + 1, KIND_MODULE, NULL);
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("a"));
    outcome_free(o);
    o = outcome_new();
    rig_chunk(&rig, 2, JOB + 1, unlimited, ITEMS("a", "hang"));
    rig_take(&rig, 2, o, 2, o);
    outcome_free(o);
    assert_int_equal(kill(rig.worker, SIGKILL), 0);
    rig_gone(&rig, -1);
}

/*** Lent slots ***/

/* What is lent goes to the host, and what comes back to the daemon, counted over the chunk's life, whatever
 * becomes of hosts meanwhile. */
static void test_lent_slots(void **state)
{
    const struct job_options jobserver = {.jobserver = true};
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_COMMAND, &jobserver);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("lent 3", "back 1", "crash", "lent 2", "lie", "back 1"));
    rig_lend(&rig, 1, 3, 0);
    rig_lend(&rig, 1, 3, 1);
    while (o->returned < 1)
        rig_take(&rig, 1, o, 1, o);
    rig_lend(&rig, 7, 5, 5); /* of a chunk that there is not */
    while (o->count < 4)
        rig_take(&rig, 1, o, 1, o);
    rig_lend(&rig, 1, 3, 2);
    while (o->returned < 2)
        rig_take(&rig, 1, o, 1, o);
    rig_until_end(&rig, 1, o);
    assert_int_equal(o->count, 6);
    assert_item(o, 0, "3");
    assert_item(o, 1, "1");
    assert_int_equal(o->item[2].kind, NOTE_ERROR);
    assert_item(o, 3, "2"); /* what the new host has */
    assert_int_equal(o->returned, 2);
    outcome_free(o);
    /* It is over, and the next one has nothing. */
    rig_lend(&rig, 1, 9, 0);
    o = outcome_new();
    rig_chunk(&rig, 2, JOB, unlimited, ITEMS("lent 1"));
    rig_lend(&rig, 2, 1, 0);
    rig_until_end(&rig, 2, o);
    assert_item(o, 0, "1");
    outcome_free(o);
    rig_stop(&rig);
}

/*** Where and when ***/

static uint64_t real_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* All items were run one after the other in the worker's slot, between these times. */
static void assert_places(const struct outcome *o, uint64_t after_ns, uint64_t before_ns)
{
    const uint64_t clocks_ns = 1000000; /* two are read one after the other */
    uint64_t end_ns = after_ns;
    assert_true(o->item[0].placed);
    for (uint32_t i = 0; i < o->count; i++) {
        const struct result *r = &o->item[i];
        if (r->placed) {
            assert_int_equal(r->slot, 3);
            assert_true(r->began_ns + clocks_ns >= end_ns);
            end_ns = r->began_ns;
        }
        end_ns += r->ns;
    }
    assert_true(end_ns <= before_ns + clocks_ns);
}

static void test_slots_are_told(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig.trace = true;
    rig_plain_job(&rig, 1, KIND_MODULE, NULL);
    uint64_t start_ns = real_ns();
    struct outcome *o = rig_run(&rig, 1, 1, ITEMS("sleep 30", "a", "crash", "sleep 30", "fail 3", "b"));
    assert_int_equal(o->count, 6);
    assert_int_equal(o->item[2].kind, NOTE_SIGNAL);
    assert_true(o->item[2].placed);
    assert_true(o->item[0].ns >= 30000000);
    assert_places(o, start_ns, real_ns());
    outcome_free(o);
    /* What had to wait for credit still knows when it was run, a large result too. */
    o = outcome_new();
    start_ns = real_ns();
    rig_chunk(&rig, 2, 1, 1, ITEMS("sleep 20", "fill 600000", "sleep 20", "c"));
    while (!o->parked)
        rig_take(&rig, 2, o, 0, NULL);
    uint64_t parked_ns = real_ns();
    const struct timespec while_ns = {.tv_nsec = 50000000};
    nanosleep(&while_ns, NULL);
    rig_order(&rig, MSG_GRANT, 2, 10 << 20);
    while (!o->ended)
        rig_take(&rig, 2, o, 0, NULL);
    assert_int_equal(o->count, o->parked_count);
    assert_true(o->count >= 2 && o->pieces > 0 && o->item[1].placed);
    assert_places(o, start_ns, parked_ns);
    outcome_free(o);
    rig.trace = false;
    o = rig_run(&rig, 3, 1, ITEMS("a"));
    assert_false(o->item[0].placed);
    outcome_free(o);
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_crash_is_blamed, rig_tear_down),
        cmocka_unit_test_teardown(test_retries, rig_tear_down),
        cmocka_unit_test_teardown(test_lent_slots, rig_tear_down),
        cmocka_unit_test_teardown(test_timeout, rig_tear_down),
        cmocka_unit_test_teardown(test_exec_is_not_blamed, rig_tear_down),
        cmocka_unit_test_teardown(test_recycle, rig_tear_down),
        cmocka_unit_test_teardown(test_daemons_are_killed, rig_tear_down),
        cmocka_unit_test_teardown(test_no_folder, rig_tear_down),
        cmocka_unit_test_teardown(test_no_python, rig_tear_down),
        cmocka_unit_test_teardown(test_bad, rig_tear_down),
        cmocka_unit_test_teardown(test_dies_at_once, rig_tear_down),
        cmocka_unit_test_teardown(test_bad_in_the_midst, rig_tear_down),
        cmocka_unit_test_teardown(test_malformed_call, rig_tear_down),
        cmocka_unit_test_teardown(test_state, rig_tear_down),
        cmocka_unit_test_teardown(test_python_command_line, rig_tear_down),
        cmocka_unit_test_teardown(test_hosts_are_kept, rig_tear_down),
        cmocka_unit_test_teardown(test_no_descriptors_leak, rig_tear_down),
        cmocka_unit_test_teardown(test_stop_in_the_midst, rig_tear_down),
        cmocka_unit_test_teardown(test_daemon_goes, rig_tear_down),
        cmocka_unit_test_teardown(test_daemon_breaks_the_protocol, rig_tear_down),
        cmocka_unit_test_teardown(test_worker_is_killed, rig_tear_down),
        cmocka_unit_test_teardown(test_slots_are_told, rig_tear_down),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* one test, by hand */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
