/*
 * pmap-worker between a daemon, which worker_rig.c plays, and hosts, which worker_host.c plays. Nothing waits
 * for a time to pass: what has to have happened first is waited for by a sign of it.
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

#define ITEMS(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { JOB = 40 };
static const uint64_t unlimited = PROTOCOL_COUNT_MAX;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Runs a chunk to its end. */
static struct outcome *run(struct rig *rig, uint64_t chunk, uint64_t job, const char *const *items)
{
    struct outcome *o = outcome_new();
    rig_chunk(rig, chunk, job, unlimited, items);
    rig_until_end(rig, chunk, o);
    return o;
}

/*** Chunks and results ***/

static void test_chunks_in_order(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_COMMAND, NULL);
    struct outcome *one = outcome_new(), *two = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("a", "", "fail 3", "d"));
    rig_chunk(&rig, 2, JOB, unlimited, ITEMS("second"));
    while (!one->ended)
        assert_int_equal(rig_take(&rig, 1, one, 1, one), MSG_WORKED);
    rig_until_end(&rig, 2, two);
    assert_int_equal(one->count, 4);
    assert_item(one, 0, "a");
    assert_item(one, 1, "");
    assert_int_equal(one->item[2].kind, NOTE_EXIT);
    assert_int_equal(one->item[2].code, 3);
    assert_item(one, 3, "d");
    assert_true(one->item[0].ns > 0);
    assert_true(one->run_ns > 0);
    assert_int_equal(one->cpu_ns, 4000);
    assert_int_equal(two->count, 1);
    assert_item(two, 0, "second");
    outcome_free(one);
    outcome_free(two);
    rig_stop(&rig);
}

static void test_many_items(void **state)
{
    enum { COUNT = 20000 };
    static uint32_t lengths[COUNT];
    static char bytes[COUNT * 8];
    struct rig rig;
    size_t size = 0;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    for (int i = 0; i < COUNT; i++) {
        lengths[i] = (uint32_t)snprintf(bytes + size, sizeof bytes - size, "%d", i);
        size += lengths[i];
    }
    struct outcome *o = outcome_new();
    rig_records(&rig, 1, JOB, unlimited, false, lengths, COUNT, bytes, size);
    rig_until_end(&rig, 1, o);
    assert_int_equal(o->count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(atoi(o->item[i].bytes), i);
    assert_true(o->messages < 500);
    outcome_free(o);
    rig_stop(&rig);
}

static void assert_filled(const struct result *r, size_t size)
{
    assert_int_equal(r->len, size);
    for (size_t i = 0; i < size; i++) {
        if (r->bytes[i] != (char)('a' + i % 4096 % 23))
            fail_msg("byte %zu is wrong", i);
    }
}

static void test_large_results(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_COMMAND, NULL);
    struct outcome *o =
        run(&rig, 1, JOB, ITEMS("x", "fill 700000", "y", "fill 10000000", "fill 262144", "fill 262145", "z"));
    assert_int_equal(o->count, 7);
    assert_item(o, 0, "x");
    assert_filled(&o->item[1], 700000);
    assert_item(o, 2, "y");
    assert_filled(&o->item[3], 10000000);
    assert_filled(&o->item[4], 262144);
    assert_filled(&o->item[5], 262145);
    assert_item(o, 6, "z");
    assert_true(o->item[3].ns > 0);
    assert_true(o->pieces > 0);
    outcome_free(o);
    rig_stop(&rig);
}

static void send_large(struct rig *rig, uint64_t chunk, const char *begin, size_t pieces)
{
    enum { PIECE = 1000000 };
    static char bytes[PIECE];
    uint32_t length = PIECE;
    for (size_t i = 0; i < pieces; i++) {
        memset(bytes, 'A' + (int)(i % 26), sizeof bytes);
        if (i == 0)
            memcpy(bytes, begin, strlen(begin));
        rig_records(rig, chunk, JOB, unlimited, i + 1 < pieces, &length, 1, bytes, PIECE);
    }
}

/* Two in a row, while another chunk runs. */
static void test_large_items(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new(), *two = outcome_new(), *three = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("sleep 30", "small"));
    send_large(&rig, 2, "first", 30);
    send_large(&rig, 3, "second", 3);
    rig_until_end(&rig, 1, o);
    assert_item(o, 1, "small");
    rig_until_end(&rig, 2, two);
    assert_int_equal(two->count, 1);
    assert_int_equal(two->item[0].len, 30000000);
    assert_memory_equal(two->item[0].bytes, "firstAAAA", 9);
    for (size_t i = 1; i < 30; i++)
        assert_int_equal(two->item[0].bytes[i * 1000000 + 77], 'A' + i % 26);
    rig_until_end(&rig, 3, three);
    assert_int_equal(three->item[0].len, 3000000);
    assert_memory_equal(three->item[0].bytes, "secondAAA", 9);
    outcome_free(o);
    outcome_free(two);
    outcome_free(three);
    o = run(&rig, 4, JOB, ITEMS("again"));
    assert_item(o, 0, "again");
    outcome_free(o);
    rig_stop(&rig);
}

/* What is done is told while a long item runs. */
static void test_results_do_not_wait(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("done", "sleep 60000", "never"));
    rig_take(&rig, 1, o, 1, o);
    assert_int_equal(o->count, 1);
    assert_item(o, 0, "done");
    rig_order(&rig, MSG_DROP, 1, 1000000000);
    rig_until_end(&rig, 1, o);
    assert_int_equal(o->count, 1);
    outcome_free(o);
    rig_stop(&rig);
}

/* A live job's output goes out while its item runs. */
static void test_live(void **state)
{
    const struct job_options live = {.live = true};
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_COMMAND, &live);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("line here"));
    rig_take(&rig, 1, o, 1, o);
    assert_int_equal(o->count, 0);
    assert_true(o->begun);
    assert_string_equal(o->item[0].bytes, "here");
    rig_order(&rig, MSG_DROP, 1, 0);
    rig_until_end(&rig, 1, o);
    outcome_free(o);
    rig_stop(&rig);
}

static void test_printed(void **state)
{
    struct rig rig;
    char flood[200];
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_PYTHON, NULL);
    struct outcome *o = run(&rig, 1, JOB, ITEMS("print hello", "crash"));
    assert_int_equal(o->count, 2);
    assert_int_equal(o->item[1].kind, NOTE_SIGNAL);
    char *all = malloc(o->item[0].printed_len + o->item[1].printed_len + 1);
    memcpy(all, o->item[0].printed, o->item[0].printed_len);
    memcpy(all + o->item[0].printed_len, o->item[1].printed, o->item[1].printed_len + 1);
    assert_string_equal(all, "hello");
    free(all);
    outcome_free(o);
    /* More than the pipe and any note hold: nothing gets lost, and nobody waits for ever. */
    memset(flood, 'x', sizeof flood);
    memcpy(flood, "print ", 6);
    uint32_t lengths[2000];
    char *bytes = malloc(sizeof flood * 2000);
    for (int i = 0; i < 2000; i++) {
        lengths[i] = sizeof flood;
        memcpy(bytes + sizeof flood * (size_t)i, flood, sizeof flood);
    }
    o = outcome_new();
    rig_records(&rig, 2, JOB, unlimited, false, lengths, 2000, bytes, sizeof flood * 2000);
    rig_until_end(&rig, 2, o);
    assert_int_equal(o->count, 2000);
    free(bytes);
    outcome_free(o);
    rig_stop(&rig);
}

/*** Credit ***/

/* A credit of 1: one message, then nothing, and what was run comes as credit does, in order. */
static void test_credit_and_parking(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new(), *two = outcome_new();
    rig_chunk(
        &rig, 1, JOB, 1,
        ITEMS("sleep 25", "fill 3000000", "fail 4", "fill 40", "sleep 1000", "sleep 1000", "sleep 1000"));
    rig_chunk(&rig, 2, JOB, unlimited, ITEMS("not held up"));
    while (!o->parked)
        rig_take(&rig, 1, o, 1, o);
    assert_int_equal(o->count, 1);
    assert_true(o->parked_count >= 2);
    assert_true(o->parked_count < 7);
    assert_false(o->ended);
    rig_until_end(&rig, 2, two);
    assert_item(two, 0, "not held up");
    uint64_t granted = 1;
    while (!o->ended) {
        while (o->cost >= granted) {
            assert_true(rig_silent(&rig, 2));
            rig_order(&rig, MSG_GRANT, 1, 200000);
            granted += 200000;
        }
        rig_take(&rig, 1, o, 1, o);
    }
    assert_int_equal(o->count, o->parked_count);
    assert_filled(&o->item[1], 3000000);
    if (o->count > 2)
        assert_int_equal(o->item[2].kind, NOTE_EXIT);
    if (o->count > 3)
        assert_filled(&o->item[3], 40);
    outcome_free(o);
    outcome_free(two);
    rig_stop(&rig);
}

/* Granted while it still runs: it does not park. */
static void test_granted_in_time(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, 1, ITEMS("sleep 20", "fill 2000000"));
    rig_take(&rig, 1, o, 1, o);
    rig_order(&rig, MSG_GRANT, 1, unlimited);
    while (!o->ended)
        assert_int_equal(rig_take(&rig, 1, o, 1, o), MSG_WORKED);
    assert_int_equal(o->count, 2);
    assert_filled(&o->item[1], 2000000);
    outcome_free(o);
    rig_stop(&rig);
}

static void test_spool_limit(void **state)
{
    struct rig rig;
    struct call call;
    (void)state;
    rig_start(&rig);
    rig_call(&rig, &call, "argument");
    rig_job(&rig, JOB, KIND_COMMAND, NULL, &call, 5000000);
    call_free(&call);
    struct outcome *o = outcome_new(), *two = outcome_new();
    rig_chunk(&rig, 1, JOB, 1, ITEMS("sleep 20", "fill 50000000", "not run"));
    while (!o->parked)
        rig_take(&rig, 1, o, 1, o);
    assert_int_equal(o->parked_count, 2);
    rig_order(&rig, MSG_GRANT, 1, unlimited);
    while (!o->ended)
        rig_take(&rig, 1, o, 1, o);
    assert_int_equal(o->count, 2);
    assert_int_equal(o->item[1].kind, NOTE_ERROR);
    assert_true(o->item[1].len > 3000000);
    assert_true(o->item[1].len <= 5000000);
    assert_non_null(strstr(o->item[1].text, "could not be kept: the limit of 5000000 bytes is reached"));
    /* The room is there again. */
    rig_chunk(&rig, 2, JOB, 1, ITEMS("sleep 20", "fill 4000000"));
    while (!two->parked)
        rig_take(&rig, 2, two, 2, two);
    rig_order(&rig, MSG_GRANT, 2, unlimited);
    while (!two->ended)
        rig_take(&rig, 2, two, 2, two);
    assert_filled(&two->item[1], 4000000);
    outcome_free(o);
    outcome_free(two);
    rig_stop(&rig);
}

static void test_spool_without_folder(void **state)
{
    struct rig rig;
    struct call call;
    (void)state;
    rig_start(&rig);
    rig_call(&rig, &call, "argument");
    free(call.env[1]);
    call.env[1] = strdup("TMPDIR=/nowhere/at/all");
    rig_job(&rig, JOB, KIND_COMMAND, NULL, &call, 5000000);
    call_free(&call);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, 1, ITEMS("sleep 20", "fill 900000", "sleep 20"));
    while (!o->parked)
        rig_take(&rig, 1, o, 1, o);
    rig_order(&rig, MSG_GRANT, 1, unlimited);
    while (!o->ended)
        rig_take(&rig, 1, o, 1, o);
    assert_int_equal(o->count, o->parked_count);
    assert_int_equal(o->item[1].kind, NOTE_ERROR);
    assert_non_null(strstr(o->item[1].text, "No such file or directory"));
    outcome_free(o);
    rig_stop(&rig);
}

/*** YIELD, RECALL, DROP ***/

static void test_yield(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new(), *two = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("a", "sleep 50", "b", "c"));
    rig_chunk(&rig, 2, JOB, unlimited, ITEMS("queued"));
    rig_take(&rig, 1, o, 1, o);
    rig_order(&rig, MSG_YIELD, 2, 0);
    rig_order(&rig, MSG_YIELD, 1, 0);
    while (!o->ended)
        rig_take(&rig, 1, o, 2, two);
    assert_true(two->ended);
    assert_int_equal(two->count, 0);
    assert_int_equal(o->count, 2);
    outcome_free(o);
    outcome_free(two);
    rig_stop(&rig);
}

static void test_recall(void **state)
{
    struct rig rig;
    const uint32_t length = 2000;
    static const char bytes[2000];
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new(), *two = outcome_new(), *three = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("a", "sleep 50", "b"));
    rig_take(&rig, 1, o, 1, o);
    rig_records(&rig, 2, JOB, unlimited, true, &length, 1, bytes, sizeof bytes);
    rig_order(&rig, MSG_RECALL, 2, 0);
    rig_order(&rig, MSG_RECALL, 1, 0);
    rig_order(&rig, MSG_RECALL, 99, 0);
    rig_records(&rig, 2, JOB, unlimited, true, &length, 1, bytes, sizeof bytes); /* was under way */
    rig_records(&rig, 2, JOB, unlimited, false, &length, 1, bytes, sizeof bytes);
    rig_chunk(&rig, 3, JOB, unlimited, ITEMS("three"));
    while (!o->ended)
        rig_take(&rig, 1, o, 2, two);
    assert_true(two->ended);
    assert_int_equal(o->count, 3);
    rig_until_end(&rig, 3, three);
    assert_item(three, 0, "three");
    outcome_free(o);
    outcome_free(two);
    outcome_free(three);
    rig_stop(&rig);
}

/* A host that takes no notice is killed after the grace; the next chunk has a new one. */
static void test_drop(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("a", "hang", "b"));
    rig_take(&rig, 1, o, 1, o);
    int64_t before = now_ms();
    rig_order(&rig, MSG_DROP, 1, 100000000);
    rig_until_end(&rig, 1, o);
    assert_true(now_ms() - before >= 99);
    assert_int_equal(o->count, 1);
    outcome_free(o);
    o = run(&rig, 2, JOB, ITEMS("after"));
    assert_item(o, 0, "after");
    outcome_free(o);
    /* A parked one is dropped too. */
    o = outcome_new();
    rig_chunk(&rig, 3, JOB, 1, ITEMS("sleep 20", "fill 300000"));
    while (!o->parked)
        rig_take(&rig, 3, o, 3, o);
    rig_order(&rig, MSG_DROP, 3, 0);
    while (!o->ended)
        rig_take(&rig, 3, o, 3, o);
    assert_int_equal(o->count, 1);
    outcome_free(o);
    rig_stop(&rig);
}

/*** Hosts that end ***/

static void test_crash_is_blamed(void **state)
{
    struct rig rig;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    struct outcome *o =
        run(&rig, 1, JOB, ITEMS("a", "crash", "b", "exit 5", "kill", "once", "c", "damage", "shut", "d"));
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
    struct outcome *o = run(&rig, 1, JOB, ITEMS("a", "once", "b", "crash", "once", "c"));
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
    struct outcome *o = run(&rig, 1, JOB, ITEMS("sleep 100", "sleep 100", "wait", "a", "hang", "b"));
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
    struct outcome *o = run(&rig, 1, JOB, ITEMS("a", "crash", "b"));
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
    struct outcome *o = run(&rig, 1, JOB, ITEMS("pid", "pid", "pid", "pid", "pid"));
    assert_int_equal(o->count, 5);
    assert_string_equal(o->item[0].bytes, o->item[1].bytes);
    assert_string_not_equal(o->item[1].bytes, o->item[2].bytes);
    assert_string_equal(o->item[2].bytes, o->item[3].bytes);
    assert_string_not_equal(o->item[3].bytes, o->item[4].bytes);
    outcome_free(o);
    for (uint64_t chunk = 2; chunk < 12; chunk++) {
        o = run(&rig, chunk, JOB, ITEMS("one"));
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
    struct outcome *o = run(&rig, 1, JOB, ITEMS("daemon", "crash", "b"));
    assert_int_equal(o->count, 3);
    pid_t pid = (pid_t)atoi(o->item[0].bytes);
    assert_true(pid > 1);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    outcome_free(o);
    o = run(&rig, 2, JOB, ITEMS("daemon"));
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
    o = run(&rig, 3, JOB + 1, ITEMS("well"));
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
    struct outcome *o = run(&rig, 1, JOB, ITEMS("state", "descriptors", "arguments"));
    assert_item(o, 0, wanted);
    assert_item(o, 1, "0 1 2 3 4 ");
    assert_item(o, 2, "|module|--retries|0|--recycle|0|argument|function|");
    outcome_free(o);
    o = run(&rig, 2, JOB + 1, ITEMS("descriptors", "arguments"));
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
    struct outcome *o = run(&rig, 1, JOB, ITEMS("arguments"));
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
    rig_job(&rig, 1, KIND_BUILTIN, NULL, NULL, 0);
    rig_job(&rig, 2, KIND_BUILTIN, NULL, NULL, 0);
    struct outcome *o = run(&rig, 1, 1, ITEMS("pid"));
    snprintf(first, sizeof first, "%s", o->item[0].bytes);
    outcome_free(o);
    rig_forget(&rig, 1);
    o = run(&rig, 2, 2, ITEMS("pid"));
    assert_item(o, 0, first);
    outcome_free(o);
    for (uint64_t job = 3; job < 9; job++) {
        rig_plain_job(&rig, job, KIND_MODULE, NULL);
        o = run(&rig, job, job, ITEMS("pid"));
        assert_string_not_equal(o->item[0].bytes, first);
        outcome_free(o);
    }
    o = run(&rig, 100, 2, ITEMS("pid"));
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
    struct outcome *o = run(&rig, 1, JOB, ITEMS("a"));
    outcome_free(o);
    size_t before = count_descriptors(rig.worker);
    uint64_t chunk = 2;
    for (; chunk < 1002; chunk++) {
        o = outcome_new();
        rig_chunk(&rig, chunk, JOB, unlimited, chunk % 50 == 0 ? ITEMS("a", "crash") : ITEMS("a", "b"));
        rig_until_end(&rig, chunk, o);
        assert_int_equal(o->count, 2);
        outcome_free(o);
    }
    for (; chunk < 1010; chunk++) {
        o = outcome_new();
        rig_chunk(&rig, chunk, JOB, 1, ITEMS("sleep 20", "fill 300000"));
        while (!o->parked)
            rig_take(&rig, chunk, o, chunk, o);
        rig_order(&rig, MSG_GRANT, chunk, unlimited);
        while (!o->ended)
            rig_take(&rig, chunk, o, chunk, o);
        outcome_free(o);
    }
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
    struct outcome *o = run(&rig, 1, JOB, ITEMS("a"));
    outcome_free(o);
    o = outcome_new();
    rig_chunk(&rig, 2, JOB + 1, unlimited, ITEMS("a", "hang"));
    rig_take(&rig, 2, o, 2, o);
    outcome_free(o);
    assert_int_equal(kill(rig.worker, SIGKILL), 0);
    rig_gone(&rig, -1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_in_order),
        cmocka_unit_test(test_many_items),
        cmocka_unit_test(test_large_results),
        cmocka_unit_test(test_large_items),
        cmocka_unit_test(test_results_do_not_wait),
        cmocka_unit_test(test_live),
        cmocka_unit_test(test_printed),
        cmocka_unit_test(test_credit_and_parking),
        cmocka_unit_test(test_granted_in_time),
        cmocka_unit_test(test_spool_limit),
        cmocka_unit_test(test_spool_without_folder),
        cmocka_unit_test(test_yield),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_crash_is_blamed),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_exec_is_not_blamed),
        cmocka_unit_test(test_recycle),
        cmocka_unit_test(test_daemons_are_killed),
        cmocka_unit_test(test_no_folder),
        cmocka_unit_test(test_no_python),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_dies_at_once),
        cmocka_unit_test(test_bad_in_the_midst),
        cmocka_unit_test(test_malformed_call),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_python_command_line),
        cmocka_unit_test(test_hosts_are_kept),
        cmocka_unit_test(test_no_descriptors_leak),
        cmocka_unit_test(test_stop_in_the_midst),
        cmocka_unit_test(test_daemon_goes),
        cmocka_unit_test(test_daemon_breaks_the_protocol),
        cmocka_unit_test(test_worker_is_killed),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* one test, by hand */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
