/*
 * Who is served next, and where: caps on slots, priorities, limits that change, what is queued ahead, what is
 * asked back and when, and the time per item that all this rests on.
 */
#include "tests/unit/core_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct job_options plain;

static int64_t due_in(const struct rig *rig)
{
    return core_deadline(rig->core) - rig->now_ns;
}

/* The chunks that have come out, all that is left in the list. */
static size_t take_chunks(struct rig *rig, struct seen *chunks, size_t most)
{
    size_t count = 0;
    while (rig->taken < rig->seen_count) {
        assert_true(count < most);
        chunks[count++] = *rig_take(rig, ACTION_CHUNK);
    }
    return count;
}

static void forget_results(struct rig *rig)
{
    while (rig->taken < rig->seen_count && rig->seen[rig->taken].type != ACTION_CHUNK)
        rig->taken++;
}

static void forget_chunks(struct rig *rig)
{
    while (rig->taken < rig->seen_count && rig->seen[rig->taken].type == ACTION_CHUNK)
        rig->taken++;
}

/*** Time ***/

static void learns_the_time_per_item(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open_timed(&rig, session, 1, plain, 2500 * US);
    assert_int_equal(rig_items(&rig, job, 1000, 1, 'i'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(chunk.count, 4); /* 10 ms, if the hint is right */
    for (int i = 0; i < 4; i++) {
        rig_forget(&rig);
        rig.now_ns += MS; /* each message tells of its own item's time */
        assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 1, false, i == 3, MS), 0);
    }
    chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(chunk.count, 10);
    /* An item whose time comes in two messages, 0.5 ms + 1.5 ms, after four of 1 ms that count for 3/4, 9/16
     * … of one: 4.05 ms for 3.05 items. */
    rig_forget(&rig);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 1, true, false, MS / 2), 0);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 1, false, true, 3 * MS / 2), 0);
    forget_results(&rig);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->count, 7);
    rig_forget(&rig);
    rig_end(&rig);
}

/* The time of a few items is mostly their chunk's. */
static void learns_more_from_more_items(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct job *job = rig_open_timed(&rig, rig_session(&rig, 1000, &no_limits), 1, plain, 10 * US);
    assert_int_equal(rig_items(&rig, job, 10000, 1, 'i'), 0);
    for (int i = 0; i < 3; i++) {
        struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
        assert_in_range(chunk.count, 950, 1000);
        rig.now_ns += 10 * MS;
        assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 6, 1, false, false, 700 * US), 0);
        uint32_t rest = chunk.count - 6;
        assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, rest, 1, false, true, 10 * US * rest),
                         0);
        forget_results(&rig);
    }
    rig_forget(&rig);
    rig_end(&rig);
}

/* However many short ones there were before. */
static void learns_from_one_long_item(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 2);
    struct job *job = rig_open_timed(&rig, rig_session(&rig, 1000, &no_limits), 1, plain, 10 * US);
    assert_int_equal(rig_items(&rig, job, 10000, 1, 'i'), 0);
    struct seen slow = *rig_take(&rig, ACTION_CHUNK), quick = *rig_take(&rig, ACTION_CHUNK);
    uint32_t most = quick.count - 1;
    assert_int_equal(rig_worked(&rig, quick.worker, quick.chunk, most, 1, false, false, 10 * US * most), 0);
    rig.now_ns += 1000 * MS;
    assert_int_equal(rig_worked(&rig, slow.worker, slow.chunk, 1, 1, false, false, 1000 * MS), 0);
    assert_int_equal(rig_worked(&rig, quick.worker, quick.chunk, 1, 1, false, true, 10 * US), 0);
    forget_results(&rig);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->count, 1);
    rig_forget(&rig);
    rig_end(&rig);
}

/* Two batches of 1100 items, and a target of 1000. Returns the first chunk's length. */
static uint32_t first_of_1100(struct job_options options)
{
    struct rig rig;
    rig_start(&rig, NULL, 0);
    struct job *job = rig_open_timed(&rig, rig_session(&rig, 1000, &no_limits), 1, options, 10 * US);
    assert_int_equal(rig_items(&rig, job, 1100, 1, 'i'), 0);
    assert_int_equal(rig_items(&rig, job, 1100, 1, 'i'), 0);
    rig_add_worker(&rig);
    rig_settle(&rig);
    uint32_t count = rig_take(&rig, ACTION_CHUNK)->count;
    rig_forget(&rig);
    rig_end(&rig);
    return count;
}

static void leaves_no_small_rest_of_a_batch(void **unused)
{
    (void)unused;
    assert_int_equal(first_of_1100(plain), 550);
    assert_int_equal(first_of_1100((struct job_options){.chunksize = 700}), 700); /* as was asked for */
}

static void asks_a_long_chunk_to_yield(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    assert_int_equal(core_deadline(rig.core), INT64_MAX);
    struct session *session = rig_session(&rig, 1000, &no_limits),
                   *other = rig_session(&rig, 1001, &no_limits);
    struct job *job = rig_open_timed(&rig, session, 1, plain, MS);
    assert_int_equal(rig_items(&rig, job, 100, 1, 'i'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(chunk.count, 10);
    int64_t began_ns = rig.now_ns;
    /* Long after its time: but there is nobody for whom it would have to yield. */
    rig_pass(&rig, 500 * MS);
    rig_expect_none(&rig);
    assert_true(due_in(&rig) > 0 && due_in(&rig) <= 10 * MS);
    struct job *waits = rig_open_timed(&rig, other, 1, plain, MS);
    assert_int_equal(rig_items(&rig, waits, 1, 1, 'i'), 0);
    rig_pass(&rig, due_in(&rig) - 1);
    rig_expect_none(&rig);
    rig_pass(&rig, 1);
    assert_int_equal(rig_take(&rig, ACTION_YIELD)->chunk, chunk.chunk);
    assert_int_equal(core_deadline(rig.core), INT64_MAX); /* asked once */
    rig_pass(&rig, 500 * MS);
    rig_expect_none(&rig);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 3, 1, false, true, rig.now_ns - began_ns),
                     0);
    struct seen theirs = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(theirs.count, 1);
    rig_forget(&rig);
    rig_work(&rig, &theirs, MS);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->first, 3); /* what was handed back is first */
    rig_forget(&rig);
    rig_end(&rig);
}

/* … and 2 ms for its worker to begin it. */
static void gives_a_chunk_twice_its_time_when_others_wait(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open_timed(&rig, session, 1, plain, MS);
    assert_int_equal(rig_items(&rig, job, 100, 1, 'i'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    struct job *waits = rig_open_timed(&rig, session, 2, plain, MS);
    assert_int_equal(rig_items(&rig, waits, 1, 1, 'i'), 0);
    while (rig.now_ns + due_in(&rig) < 1022 * MS) {
        rig_pass(&rig, due_in(&rig));
        rig_expect_none(&rig);
    }
    assert_int_equal(rig.now_ns + due_in(&rig), 1022 * MS);
    rig_pass(&rig, due_in(&rig) - 1);
    rig_expect_none(&rig);
    rig_pass(&rig, 1);
    assert_int_equal(rig_take(&rig, ACTION_YIELD)->chunk, chunk.chunk);
    rig_end(&rig);
}

static void splits_the_tail_of_a_job_alone(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open_timed(&rig, session, 1, plain, 10 * US);
    assert_int_equal(rig_items(&rig, job, 5, 1, 'i'), 0); /* they turn out to be slow */
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(chunk.count, 5);
    rig_add_worker(&rig);
    rig_pass(&rig, 22 * MS - 1);
    rig_expect_none(&rig);
    rig_pass(&rig, 1);
    assert_int_equal(rig_take(&rig, ACTION_YIELD)->chunk, chunk.chunk);
    /* One item that takes long has nothing to hand back. */
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 1, false, true, 20 * MS), 0);
    struct seen rest[4] = {0};
    size_t count = 0;
    while (rig.taken < rig.seen_count && rig.seen[rig.taken].type == ACTION_CHUNK)
        rest[count++] = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(count, 2);
    assert_int_equal(rest[0].count, 1);
    assert_int_equal(rest[1].count, 1);
    assert_ptr_not_equal(rest[0].worker, rest[1].worker);
    rig_forget(&rig);
    rig_pass(&rig, 1000 * MS);
    rig_expect_none(&rig);
    rig_end(&rig);
}

/* Short chunks are queued at a busy worker, for no more than a millisecond in all; behind one that is late
 * they are taken back, in whatever order it answers. */
static void takes_back_what_waits_behind_a_late_chunk(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open_timed(&rig, session, 1, (struct job_options){.chunksize = 50}, 10 * US);
    assert_int_equal(rig_items(&rig, job, 1000, 1, 'i'), 0);
    struct seen chunks[8] = {0};
    assert_int_equal(take_chunks(&rig, chunks, 8), 3); /* 0.5 ms runs, 1 ms waits */
    int64_t late = 500 * US + 2 * MS;
    assert_int_equal(due_in(&rig), late);
    rig_pass(&rig, late - 1);
    rig_expect_none(&rig);
    rig_pass(&rig, 1);
    assert_int_equal(rig_take(&rig, ACTION_RECALL)->chunk, chunks[1].chunk);
    assert_int_equal(rig_take(&rig, ACTION_RECALL)->chunk, chunks[2].chunk);
    rig_expect_none(&rig);
    assert_int_equal(rig_worked(&rig, chunks[0].worker, chunks[2].chunk, 0, 0, false, true, 0), 0);
    assert_int_equal(rig_worked(&rig, chunks[0].worker, chunks[1].chunk, 0, 0, false, true, 0), 0);
    rig_expect_none(&rig); /* nothing more behind a late one */
    rig_add_worker(&rig);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->first, 50);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->first, 100);
    rig_take(&rig, ACTION_CHUNK);
    rig_expect_none(&rig);
    rig_end(&rig);
}

/* Its answer crosses the RECALL: then it has begun, and runs as if nothing had been said. */
static void lets_a_recalled_chunk_run_that_has_begun(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open_timed(&rig, session, 1, (struct job_options){.chunksize = 50}, 10 * US);
    assert_int_equal(rig_items(&rig, job, 1000, 1, 'i'), 0);
    struct seen chunks[8] = {0};
    assert_int_equal(take_chunks(&rig, chunks, 8), 3);
    rig_pass(&rig, due_in(&rig));
    assert_int_equal(rig_take(&rig, ACTION_RECALL)->chunk, chunks[1].chunk);
    assert_int_equal(rig_take(&rig, ACTION_RECALL)->chunk, chunks[2].chunk);
    assert_int_equal(rig_worked(&rig, chunks[0].worker, chunks[0].chunk, 50, 1, false, true, 500 * US), 0);
    rig_forget(&rig);
    assert_int_equal(rig_worked(&rig, chunks[0].worker, chunks[1].chunk, 50, 1, false, true, 500 * US), 0);
    forget_chunks(&rig);
    const struct seen *results = rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(results->first, 50);
    assert_int_equal(results->count, 50);
    rig_end(&rig);
}

static void queues_nothing_that_takes_long(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open_timed(&rig, session, 1, plain, 2 * MS);
    assert_int_equal(rig_items(&rig, job, 100, 1, 'i'), 0);
    rig_take(&rig, ACTION_CHUNK);
    rig_expect_none(&rig);
    rig_end(&rig);
}

/*** Caps ***/

static void keeps_to_the_slots_of_a_job(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 4);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *slow = rig_open_timed(&rig, session, 1, (struct job_options){.slots = 2}, 10 * MS);
    assert_int_equal(rig_items(&rig, slow, 10, 1, 'i'), 0);
    struct seen chunks[16] = {0};
    assert_int_equal(take_chunks(&rig, chunks, 16), 2);
    assert_ptr_not_equal(chunks[0].worker, chunks[1].worker);
    rig_work(&rig, &chunks[0], 10 * MS);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->first, 2);
    rig_forget(&rig);
    core_job_cancel(rig.core, slow, rig.now_ns);
    rig_settle(&rig);
    rig_forget(&rig);
    rig_end(&rig);

    /* Short chunks are queued as for any other job, but only where it runs already. */
    rig_start(&rig, NULL, 4);
    session = rig_session(&rig, 1000, &no_limits);
    struct job *quick =
        rig_open_timed(&rig, session, 1, (struct job_options){.slots = 1, .chunksize = 20}, 10 * US);
    assert_int_equal(rig_items(&rig, quick, 1000, 1, 'i'), 0);
    assert_int_equal(take_chunks(&rig, chunks, 16), 6); /* 0.2 ms runs, 5 × 0.2 ms wait */
    for (int i = 1; i < 6; i++)
        assert_ptr_equal(chunks[i].worker, chunks[0].worker);
    rig_work(&rig, &chunks[0], 200 * US);
    const struct seen *next = rig_take(&rig, ACTION_CHUNK);
    assert_ptr_equal(next->worker, chunks[0].worker);
    rig_forget(&rig);
    rig_end(&rig);
}

static void keeps_to_the_slots_of_an_owner(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 4);
    struct owner_limits limits = no_limits;
    limits.slots = 2;
    struct session *session = rig_session(&rig, 1000, &limits);
    struct job *jobs[3];
    for (uint64_t i = 0; i < 3; i++) {
        jobs[i] = rig_open_timed(&rig, session, i, plain, 20 * MS);
        rig_forget(&rig);
    }
    struct seen chunks[16] = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_items(&rig, jobs[i], 4, 1, 'i'), 0);
    assert_int_equal(take_chunks(&rig, chunks, 16), 2);
    rig_work(&rig, &chunks[0], 20 * MS);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->count, 1); /* one for one */
    rig_forget(&rig);
    /* The cap is raised with another session: its jobs are looked at without any event of theirs. */
    limits.slots = 3;
    rig_session(&rig, 1000, &limits);
    assert_int_equal(take_chunks(&rig, chunks, 16), 1);
    limits.slots = 0;
    rig_session(&rig, 1000, &limits);
    assert_int_equal(take_chunks(&rig, chunks + 1, 15), 1);
    /* Lowered: what runs may end, but nothing starts until it is kept again. */
    limits.slots = 1;
    core_session_limits(rig.core, session, &limits);
    rig_settle(&rig);
    rig_work(&rig, &chunks[0], 20 * MS);
    forget_results(&rig);
    rig_expect_none(&rig);
    rig_work(&rig, &chunks[1], 20 * MS);
    forget_results(&rig);
    rig_expect_none(&rig);
    rig_end(&rig);
}

/*** Priorities ***/

static void serves_an_owners_urgent_job_first(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits),
                   *other = rig_session(&rig, 1001, &no_limits);
    struct job_options chunks_of_one = {.chunksize = 1};
    struct job *low = rig_open_timed(&rig, session, 1, chunks_of_one, 10 * MS);
    assert_int_equal(rig_items(&rig, low, 20, 1, 'l'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    struct job_options urgent = {.priority = 3, .chunksize = 1};
    struct job *high = rig_open_timed(&rig, session, 2, urgent, 10 * MS);
    assert_int_equal(rig_items(&rig, high, 4, 1, 'h'), 0);
    struct job *theirs = rig_open_timed(&rig, other, 1, chunks_of_one, 10 * MS);
    assert_int_equal(rig_items(&rig, theirs, 20, 1, 't'), 0);
    char order[16] = "";
    size_t length = 0;
    for (int i = 0; i < 12; i++) {
        rig_work(&rig, &chunk, 10 * MS);
        chunk = *rig_take(&rig, ACTION_CHUNK);
        order[length++] = chunk.text[0];
        rig_forget(&rig);
    }
    /* Its owner's share is what it was: every other turn is the other owner's. */
    size_t t = 0, last_high = 0, first_low = sizeof order;
    for (size_t i = 0; order[i] != 0; i++) {
        t += order[i] == 't';
        last_high = order[i] == 'h' ? i : last_high;
        first_low = order[i] == 'l' && i < first_low ? i : first_low;
    }
    assert_true(t >= 6 && t <= 7);
    assert_true(last_high < first_low);
    assert_true(first_low < 12);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_the_time_per_item),
        cmocka_unit_test(learns_more_from_more_items),
        cmocka_unit_test(learns_from_one_long_item),
        cmocka_unit_test(leaves_no_small_rest_of_a_batch),
        cmocka_unit_test(asks_a_long_chunk_to_yield),
        cmocka_unit_test(gives_a_chunk_twice_its_time_when_others_wait),
        cmocka_unit_test(splits_the_tail_of_a_job_alone),
        cmocka_unit_test(takes_back_what_waits_behind_a_late_chunk),
        cmocka_unit_test(lets_a_recalled_chunk_run_that_has_begun),
        cmocka_unit_test(queues_nothing_that_takes_long),
        cmocka_unit_test(keeps_to_the_slots_of_a_job),
        cmocka_unit_test(keeps_to_the_slots_of_an_owner),
        cmocka_unit_test(serves_an_owners_urgent_job_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
