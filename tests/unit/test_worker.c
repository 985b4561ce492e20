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

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
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
        assert_int_equal(number_in(o->item[i].bytes), i);
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
    struct outcome *o = rig_run(
        &rig, 1, JOB, ITEMS("x", "fill 700000", "y", "fill 5000000", "fill 262144", "fill 262145", "z"));
    assert_int_equal(o->count, 7);
    assert_item(o, 0, "x");
    assert_filled(&o->item[1], 700000);
    assert_item(o, 2, "y");
    assert_filled(&o->item[3], 5000000);
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
        for (size_t j = 0; i == 0 && begin[j] != '\0'; j++)
            bytes[j] = begin[j];
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
    send_large(&rig, 2, "first", 20);
    send_large(&rig, 3, "second", 3);
    rig_until_end(&rig, 1, o);
    assert_item(o, 1, "small");
    rig_until_end(&rig, 2, two);
    assert_int_equal(two->count, 1);
    assert_int_equal(two->item[0].len, 20000000);
    assert_memory_equal(two->item[0].bytes, "firstAAAA", 9);
    for (size_t i = 1; i < 20; i++)
        assert_int_equal(two->item[0].bytes[i * 1000000 + 77], 'A' + i % 26);
    rig_until_end(&rig, 3, three);
    assert_int_equal(three->item[0].len, 3000000);
    assert_memory_equal(three->item[0].bytes, "secondAAA", 9);
    outcome_free(o);
    outcome_free(two);
    outcome_free(three);
    o = rig_run(&rig, 4, JOB, ITEMS("again"));
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
    struct outcome *o = rig_run(&rig, 1, JOB, ITEMS("print hello", "crash"));
    assert_int_equal(o->count, 2);
    assert_int_equal(o->item[1].kind, NOTE_SIGNAL);
    char all[64]; /* it is a matter of luck whether it was read before the crash */
    snprintf(all, sizeof all, "%s%s", o->item[0].printed, o->item[1].printed);
    assert_string_equal(all, "hello");
    outcome_free(o);
    /* More than the pipe and any note hold: it comes all the same, and nobody waits for ever. */
    snprintf(flood, sizeof flood, "print %0*d", (int)sizeof flood - 7, 7);
    flood[sizeof flood - 1] = '7';
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
    size_t printed = 0;
    for (uint32_t i = 0; i < o->count; i++)
        printed += o->item[i].printed_len;
    /* What comes as the last result is taken may wait for the next chunk: a buffer of it. */
    assert_in_range(printed, (sizeof flood - 6) * 2000 - (32 << 10), (sizeof flood - 6) * 2000);
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
        ITEMS("first", GATE, "fill 3000000", "fail 4", "fill 40", "sleep 1000", "sleep 1000", "sleep 1000"));
    rig_chunk(&rig, 2, JOB, unlimited, ITEMS("not held up"));
    rig_until_parked(&rig, 1, o);
    assert_true(o->parked_count >= 3);
    assert_true(o->parked_count < 8);
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
    assert_filled(&o->item[2], 3000000);
    if (o->count > 3)
        assert_int_equal(o->item[3].kind, NOTE_EXIT);
    if (o->count > 4)
        assert_filled(&o->item[4], 40);
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
    rig_chunk(&rig, 1, JOB, 1, ITEMS("first", GATE, "fill 2000000"));
    rig_take(&rig, 1, o, 1, o);
    rig_order(&rig, MSG_GRANT, 1, unlimited);
    rig_open_gate(&rig, 1);
    while (!o->ended)
        assert_int_equal(rig_take(&rig, 1, o, 1, o), MSG_WORKED);
    assert_int_equal(o->count, 3);
    assert_filled(&o->item[2], 2000000);
    outcome_free(o);
    rig_stop(&rig);
}

/* Everything waits for this chunk: what there is no room for waits for credit, and nothing is lost. */
static void test_head_waits_for_credit(void **state)
{
    struct rig rig;
    struct call call;
    (void)state;
    rig_start(&rig);
    rig_call(&rig, &call, "argument");
    rig_job(&rig, JOB, KIND_COMMAND, NULL, &call, 1000000);
    call_free(&call);
    struct outcome *o = outcome_new();
    rig_chunk(&rig, 1, JOB, 1, ITEMS("fill 50000000", "after it"));
    rig_grant_head(&rig, 1, 0);
    while (!o->ended) {
        rig_take(&rig, 1, o, 1, o);
        rig_grant_head(&rig, 1, 300000); /* about one message more */
    }
    assert_true(o->count >= 1);
    assert_filled(&o->item[0], 50000000);
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
    rig_chunk(&rig, 1, JOB, 1, ITEMS("first", GATE, "fill 50000000", "not run"));
    rig_until_parked(&rig, 1, o);
    assert_int_equal(o->parked_count, 3);
    rig_order(&rig, MSG_GRANT, 1, unlimited);
    while (!o->ended)
        rig_take(&rig, 1, o, 1, o);
    assert_int_equal(o->count, 3);
    assert_int_equal(o->item[2].kind, NOTE_ERROR);
    assert_true(o->item[2].len > 3000000);
    assert_true(o->item[2].len <= 5000000);
    assert_non_null(strstr(o->item[2].text, ": the limit of 5000000 bytes is reached"));
    /* The room is there again. */
    rig_chunk(&rig, 2, JOB, 1, ITEMS("first", GATE, "fill 4000000"));
    rig_until_parked(&rig, 2, two);
    rig_order(&rig, MSG_GRANT, 2, unlimited);
    while (!two->ended)
        rig_take(&rig, 2, two, 2, two);
    assert_filled(&two->item[2], 4000000);
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
    rig_chunk(&rig, 1, JOB, 1, ITEMS("first", GATE, "fill 900000", "last"));
    rig_until_parked(&rig, 1, o);
    rig_order(&rig, MSG_GRANT, 1, unlimited);
    while (!o->ended)
        rig_take(&rig, 1, o, 1, o);
    /* It waited in /tmp. */
    assert_int_equal(o->count, o->parked_count);
    assert_filled(&o->item[2], 900000);
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
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("a", GATE, "b", "c"));
    rig_chunk(&rig, 2, JOB, unlimited, ITEMS("queued"));
    rig_take(&rig, 1, o, 1, o);
    rig_order(&rig, MSG_YIELD, 2, 0);
    rig_order(&rig, MSG_YIELD, 1, 0);
    rig_open_gate(&rig, 1);
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
    rig_chunk(&rig, 1, JOB, unlimited, ITEMS("a", GATE, "b"));
    rig_take(&rig, 1, o, 1, o);
    rig_records(&rig, 2, JOB, unlimited, true, &length, 1, bytes, sizeof bytes);
    rig_order(&rig, MSG_RECALL, 2, 0);
    rig_order(&rig, MSG_RECALL, 1, 0);
    rig_order(&rig, MSG_RECALL, 99, 0);
    rig_records(&rig, 2, JOB, unlimited, true, &length, 1, bytes, sizeof bytes); /* was under way */
    rig_records(&rig, 2, JOB, unlimited, false, &length, 1, bytes, sizeof bytes);
    rig_chunk(&rig, 3, JOB, unlimited, ITEMS("three"));
    rig_open_gate(&rig, 1);
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
    o = rig_run(&rig, 2, JOB, ITEMS("after"));
    assert_item(o, 0, "after");
    outcome_free(o);
    /* A parked one is dropped too. */
    o = outcome_new();
    rig_chunk(&rig, 3, JOB, 1, ITEMS("first", GATE, "fill 300000"));
    rig_until_parked(&rig, 3, o);
    rig_order(&rig, MSG_DROP, 3, 0);
    while (!o->ended)
        rig_take(&rig, 3, o, 3, o);
    assert_int_equal(o->count, 1);
    outcome_free(o);
    rig_stop(&rig);
}

/*** All at once ***/

enum { KINDS = 7, MOST_ITEMS = 12 };

static const char *const kinds[KINDS] = {"x",     "fill 100000", "fill 700000", "sleep 4",
                                         "crash", "fail 2",      "fill 1000"};

struct given {
    uint64_t chunk;
    unsigned kind[MOST_ITEMS];
    const char *items[MOST_ITEMS + 1];
    bool dropped;
    struct outcome *o;
};

static unsigned next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void give(struct rig *rig, struct given *g, uint64_t chunk, uint32_t *seed)
{
    static const uint64_t credits[] = {1, 1000, 150000, unlimited};
    unsigned count = 1 + next_random(seed) % MOST_ITEMS;
    *g = (struct given){.chunk = chunk, .o = outcome_new()};
    for (unsigned i = 0; i < count; i++) {
        g->kind[i] = next_random(seed) % KINDS;
        g->items[i] = kinds[g->kind[i]];
    }
    rig_chunk(rig, chunk, JOB, credits[next_random(seed) % 4], g->items);
}

static void check_items(const struct given *g)
{
    const struct outcome *o = g->o;
    if (o->parked && !g->dropped)
        assert_int_equal(o->count, o->parked_count);
    assert_true(!o->begun || g->dropped);
    for (uint32_t i = 0; i < o->count; i++) {
        const struct result *r = &o->item[i];
        const char *item = g->items[i];
        assert_non_null(item);
        if (strcmp(item, "x") == 0)
            assert_item(o, i, "x");
        else if (strcmp(item, "crash") == 0)
            assert_int_equal(r->kind, NOTE_SIGNAL);
        else if (strcmp(item, "fail 2") == 0)
            assert_int_equal(r->kind, NOTE_EXIT);
        else if (strncmp(item, "fill ", 5) == 0)
            assert_filled(r, (size_t)number_in(item + 5));
        else
            assert_item(o, i, "");
    }
}

/* Chunks of all sorts with credit of all sorts, and orders in between: each ends once, with the right results
 * in the right order. */
static void test_anything(void **state)
{
    const char *scale = getenv("PMAP_TEST_SCALE");
    const uint64_t rounds = scale && number_in(scale) > 1 ? 10 : 60;
    struct rig rig;
    uint32_t seed = 1;
    (void)state;
    rig_start(&rig);
    rig_plain_job(&rig, JOB, KIND_MODULE, NULL);
    for (uint64_t round = 1; round <= rounds; round++) {
        struct given given[2];
        give(&rig, &given[0], 2 * round, &seed);
        give(&rig, &given[1], 2 * round + 1, &seed);
        while (!given[0].o->ended || !given[1].o->ended) {
            struct given *g = &given[next_random(&seed) % 2];
            unsigned dice = next_random(&seed) % 40;
            if (dice < 2)
                rig_order(&rig, MSG_YIELD, g->chunk, 0);
            else if (dice == 2)
                rig_order(&rig, MSG_RECALL, g->chunk, 0);
            else if (dice == 3) {
                g->dropped = true;
                rig_order(&rig, MSG_DROP, g->chunk, 20000000);
            }
            if (dice < 10 || rig_silent(&rig, 30)) {
                for (int i = 0; i < 2; i++)
                    rig_order(&rig, MSG_GRANT, given[i].chunk, 300000);
            }
            if (!rig_silent(&rig, 1))
                rig_take(&rig, given[0].chunk, given[0].o, given[1].chunk, given[1].o);
        }
        for (int i = 0; i < 2; i++) {
            check_items(&given[i]);
            outcome_free(given[i].o);
        }
    }
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_chunks_in_order, rig_tear_down),
        cmocka_unit_test_teardown(test_many_items, rig_tear_down),
        cmocka_unit_test_teardown(test_large_results, rig_tear_down),
        cmocka_unit_test_teardown(test_large_items, rig_tear_down),
        cmocka_unit_test_teardown(test_results_do_not_wait, rig_tear_down),
        cmocka_unit_test_teardown(test_live, rig_tear_down),
        cmocka_unit_test_teardown(test_printed, rig_tear_down),
        cmocka_unit_test_teardown(test_credit_and_parking, rig_tear_down),
        cmocka_unit_test_teardown(test_granted_in_time, rig_tear_down),
        cmocka_unit_test_teardown(test_head_waits_for_credit, rig_tear_down),
        cmocka_unit_test_teardown(test_spool_limit, rig_tear_down),
        cmocka_unit_test_teardown(test_spool_without_folder, rig_tear_down),
        cmocka_unit_test_teardown(test_yield, rig_tear_down),
        cmocka_unit_test_teardown(test_recall, rig_tear_down),
        cmocka_unit_test_teardown(test_drop, rig_tear_down),
        cmocka_unit_test_teardown(test_anything, rig_tear_down),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* one test, by hand */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
