/*
 * What can be seen of the core: what a job waits for, which chunks run, what an owner has had, uses and is
 * due.
 */
#include "tests/unit/core_rig.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct job_options plain;
static const struct job_request request;

#define SECOND (1000 * MS)

static struct job_view job_seen(const struct rig *rig, uint64_t id)
{
    const void *cursor = NULL;
    struct job_view view;
    while (core_job_next(rig->core, &cursor, &view)) {
        if (view.id == id)
            return view;
    }
    fail_msg("job %u is not seen", (unsigned)id);
    return view;
}

static enum job_waits waits(const struct rig *rig, uint64_t id)
{
    return job_seen(rig, id).waits;
}

static struct owner_view owner_seen(const struct rig *rig, uid_t uid)
{
    const void *cursor = NULL;
    struct owner_view view;
    while (core_owner_next(rig->core, &cursor, &view)) {
        if (view.uid == uid)
            return view;
    }
    fail_msg("owner %u is not seen", (unsigned)uid);
    return view;
}

static struct core_rates look(struct rig *rig)
{
    struct core_rates rates;
    assert_int_equal(core_look(rig->core, rig->now_ns, &rates), 0);
    return rates;
}

static void assert_near(double is, double expected)
{
    if (fabs(is - expected) > 1e-6)
        fail_msg("%g, expected %g", is, expected);
}

/*** What a job waits for ***/

static void waits_for_items_turn_and_caps(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *alice = rig_session(&rig, 1000, &no_limits);
    struct job *one = rig_open(&rig, alice, 1, plain);
    assert_int_equal(waits(&rig, 1), WAITS_ITEMS);
    assert_int_equal(rig_items(&rig, one, 1, 1, 'i'), 0);
    rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(waits(&rig, 1), WAITS_ITEMS); /* a worker has its only one */
    rig_finish(&rig, one);
    assert_int_equal(waits(&rig, 1), WAITS_NOTHING);
    struct job *two = rig_open(&rig, alice, 2, plain);
    assert_int_equal(rig_items(&rig, two, 4, 1, 'i'), 0);
    assert_int_equal(waits(&rig, 2), WAITS_TURN);
    assert_int_equal(job_seen(&rig, 2).queued_items, 4);
    core_job_hold(rig.core, two, true, rig.now_ns);
    assert_int_equal(waits(&rig, 2), WAITS_PAUSED);
    core_job_hold(rig.core, two, false, rig.now_ns);
    rig_settle(&rig);
    assert_int_equal(waits(&rig, 2), WAITS_TURN);
    rig_end(&rig);
}

static void waits_for_its_own_cap_or_its_owners(void **unused)
{
    (void)unused;
    struct rig rig;
    struct owner_limits limits = no_limits;
    limits.slots = 2;
    rig_start(&rig, NULL, 4);
    struct session *session = rig_session(&rig, 1000, &limits);
    struct job *job = rig_open(&rig, session, 1, (struct job_options){.slots = 1, .chunksize = 1});
    assert_int_equal(rig_items(&rig, job, 3, 1, 'i'), 0);
    rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(waits(&rig, 1), WAITS_JOB_SLOTS);
    assert_int_equal(job_seen(&rig, 1).slots, 1);
    struct job *other = rig_open(&rig, session, 2, (struct job_options){.chunksize = 1});
    assert_int_equal(rig_items(&rig, other, 3, 1, 'i'), 0);
    rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(waits(&rig, 2), WAITS_OWNER_SLOTS);
    assert_int_equal(job_seen(&rig, 2).slots, 2);
    assert_int_equal(waits(&rig, 1), WAITS_JOB_SLOTS); /* the nearer reason */
    /* It is due what it may use, and has all of that. */
    look(&rig);
    assert_near(owner_seen(&rig, 1000).entitled, 2);
    rig_end(&rig);
}

static void waits_for_its_reader(void **unused)
{
    (void)unused;
    struct core_config config = {.chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .job_window = 4096};
    struct rig rig;
    rig_start(&rig, &config, 2);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job_request few = {.ref = 1, .function = session, .options.chunksize = 1, .credit = 1};
    struct job *job;
    assert_int_equal(core_job_open(rig.core, session, &few, rig.now_ns, &job), 0);
    rig_settle(&rig);
    rig_take(&rig, ACTION_OPENED);
    assert_int_equal(rig_items(&rig, job, 8, 10, 'i'), 0);
    /* The first result goes out, and uses all credit; further ones fill the window, however small it is. */
    assert_int_equal(waits(&rig, 1), WAITS_TURN);
    while (rig.taken < rig.seen_count) {
        struct seen seen = rig.seen[rig.taken++];
        if (seen.type == ACTION_CHUNK)
            assert_int_equal(rig_worked(&rig, seen.worker, seen.chunk, 1, 2000, false, true, MS), 0);
    }
    assert_int_equal(waits(&rig, 1), WAITS_READER);
    assert_true(job_seen(&rig, 1).queued_items > 0);
    look(&rig);
    assert_near(owner_seen(&rig, 1000).entitled, 0); /* it could not use any */
    rig_end(&rig);
    /* One that takes nothing of much, and sends no more. */
    rig_start(&rig, &config, 2);
    session = rig_session(&rig, 1000, &no_limits);
    job = rig_open(&rig, session, 1, (struct job_options){.chunksize = 1});
    assert_int_equal(rig_items(&rig, job, 1, 1000, 'i'), 0);
    rig_work(&rig, rig_take(&rig, ACTION_CHUNK), MS);
    rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(waits(&rig, 1), WAITS_ITEMS);
    assert_int_equal(rig_items(&rig, job, 1, 2000, 'i'), 0);
    rig_work(&rig, rig_take(&rig, ACTION_CHUNK), MS);
    rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(waits(&rig, 1), WAITS_READER);
    rig_end(&rig);
}

static void waits_for_a_chunk_or_is_halted(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job_request exact = {
        .ref = 1, .function = session, .options.chunksize = 10, .credit = 1 << 20, .exact = true};
    struct job *job;
    assert_int_equal(core_job_open(rig.core, session, &exact, rig.now_ns, &job), 0);
    rig_settle(&rig);
    rig_take(&rig, ACTION_OPENED);
    assert_int_equal(rig_items(&rig, job, 9, 1, 'i'), 0);
    assert_int_equal(waits(&rig, 1), WAITS_CHUNK);
    look(&rig);
    assert_near(owner_seen(&rig, 1000).entitled, 0);
    assert_int_equal(rig_items(&rig, job, 1, 1, 'i'), 0);
    rig_work(&rig, rig_take(&rig, ACTION_CHUNK), MS);
    rig_take(&rig, ACTION_RESULTS);
    struct job *halting = rig_open(&rig, session, 2, (struct job_options){.halt = HALT_SOON});
    assert_int_equal(rig_items(&rig, halting, 1, 1, 'i'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(rig_worked_note(&rig, &chunk, NOTE_ERROR, 0, true), 0);
    rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(waits(&rig, 2), WAITS_HALTED);
    rig_end(&rig);
}

static void waits_for_a_process_and_its_start(void **unused)
{
    (void)unused;
    struct core_config config = {.slots = 1, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 1);
    struct session *stranger = rig_session(&rig, 1001, &no_limits);
    struct job *job = rig_open_process(&rig, stranger, 1, 1 << 20, request);
    assert_int_equal(rig_items(&rig, job, 1, 1, 'i'), 0);
    assert_int_equal(waits(&rig, 1), WAITS_PROCESS); /* it is not known yet whose */
    struct session *session = rig_process_session(&rig, 1000, &crew);
    job = rig_open_process(&rig, session, 1, 1 << 20, request);
    assert_int_equal(rig_items(&rig, job, 2, 1, 'i'), 0);
    rig_take(&rig, ACTION_START);
    assert_int_equal(waits(&rig, 2), WAITS_PROCESS);
    core_start_failed(rig.core, crew, rig.now_ns);
    rig_settle(&rig);
    assert_int_equal(waits(&rig, 2), WAITS_START);
    rig_pass(&rig, SECOND);
    rig_take(&rig, ACTION_START);
    assert_int_equal(waits(&rig, 2), WAITS_PROCESS);
    /* With no slot free it would have to wait for its turn all the same. */
    struct job *builtin = rig_open(&rig, session, 2, plain);
    assert_int_equal(rig_items(&rig, builtin, 1, 1, 'i'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(waits(&rig, 2), WAITS_TURN);
    rig_work(&rig, &chunk, MS);
    rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(waits(&rig, 2), WAITS_PROCESS);
    rig_add_process(&rig, crew);
    rig_take(&rig, ACTION_CHUNK);
    rig_forget(&rig);
    core_free(rig.core);
}

static void counts_the_items_of_a_job_that_was_opened_anew(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    const struct range done[] = {{12, 20}, {30, 40}};
    struct job_request anew = {.ref = 1,
                               .function = session,
                               .credit = 1 << 20,
                               .first = 10,
                               .done = done,
                               .done_count = 2,
                               .options.unordered = true};
    struct job *job;
    assert_int_equal(core_job_open(rig.core, session, &anew, rig.now_ns, &job), 0);
    rig_settle(&rig);
    assert_int_equal(job_seen(&rig, 1).received, 0);
    assert_int_equal(rig_items(&rig, job, 2, 1, 'i'), 0);
    assert_int_equal(job_seen(&rig, 1).received, 2);
    assert_int_equal(core_job_expects(job), 20);
    assert_int_equal(rig_items(&rig, job, 10, 1, 'i'), 0);
    assert_int_equal(job_seen(&rig, 1).received, 12);
    rig_forget(&rig);
    core_free(rig.core);
}

/*** Slots ***/

static void shows_the_chunks_that_run(void **unused)
{
    (void)unused;
    struct rig rig;
    const void *cursor = NULL;
    struct slot_view slot;
    rig_start(&rig, NULL, 3);
    assert_false(core_slot_next(rig.core, &cursor, &slot));
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open(&rig, session, 1, (struct job_options){.chunksize = 4});
    assert_int_equal(rig_items(&rig, job, 12, 1, 'i'), 0);
    struct seen chunks[3];
    uint32_t seen = 0;
    for (int i = 0; i < 3; i++)
        chunks[i] = *rig_take(&rig, ACTION_CHUNK);
    int64_t began_ns = rig.now_ns;
    rig_pass(&rig, 5 * MS);
    assert_int_equal(rig_worked(&rig, chunks[1].worker, chunks[1].chunk, 1, 1, false, false, MS), 0);
    rig_forget(&rig);
    cursor = NULL;
    while (core_slot_next(rig.core, &cursor, &slot)) {
        for (uint32_t i = 0; i < 3; i++) {
            if (slot.worker != chunks[i].worker)
                continue;
            seen |= 1U << i;
            assert_int_equal(slot.uid, 1000);
            assert_int_equal(slot.job, 1);
            assert_ptr_equal(slot.function, session);
            assert_int_equal(slot.started_ns, began_ns);
            assert_int_equal(slot.items, chunks[i].count);
            assert_int_equal(slot.done, i == 1 ? 1 : 0);
            assert_int_equal(slot.item, chunks[i].first + slot.done);
            assert_false(slot.asked || slot.above);
        }
    }
    assert_int_equal(seen, 7);
    /* Of a job that is gone they are seen until their workers have had their last word. */
    core_session_close(rig.core, session, rig.now_ns);
    rig_settle(&rig);
    cursor = NULL;
    for (seen = 0; core_slot_next(rig.core, &cursor, &slot); seen++) {
        assert_true(slot.asked);
        assert_int_equal(slot.job, 1);
    }
    assert_int_equal(seen, 3);
    rig_forget(&rig);
    core_free(rig.core);
}

/* Who gets a slot by the guarantee is seen to have it above the pool's. */
static void shows_what_runs_above(void **unused)
{
    (void)unused;
    struct core_config config = {
        .slots = 1, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .guarantee_after_ns = 100 * MS};
    struct rig rig;
    struct core_counts counts;
    rig_start(&rig, &config, 2);
    struct session *alice = rig_session(&rig, 1000, &no_limits);
    struct session *bob = rig_session(&rig, 1001, &no_limits);
    assert_int_equal(rig_items(&rig, rig_open(&rig, alice, 1, plain), 1, 1, 'i'), 0);
    rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(rig_items(&rig, rig_open(&rig, bob, 1, plain), 1, 1, 'i'), 0);
    core_counts(rig.core, &counts);
    assert_int_equal(counts.above, 0);
    assert_int_equal(waits(&rig, 2), WAITS_TURN);
    rig_pass(&rig, 100 * MS);
    rig_take(&rig, ACTION_CHUNK);
    core_counts(rig.core, &counts);
    assert_int_equal(counts.above, 1);
    assert_int_equal(counts.busy, 2);
    const void *cursor = NULL;
    struct slot_view slot;
    while (core_slot_next(rig.core, &cursor, &slot))
        assert_int_equal(slot.above, slot.uid == 1001);
    rig_end(&rig);
}

/*** Owners ***/

static void counts_waits_failures_and_jobs(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *alice = rig_session(&rig, 1000, &no_limits);
    struct session *bob = rig_session(&rig, 1001, &no_limits);
    struct job *one = rig_open(&rig, alice, 1, plain);
    struct job *two = rig_open(&rig, bob, 1, plain);
    assert_int_equal(rig_items(&rig, one, 1, 1, 'i'), 0);
    assert_int_equal(rig_items(&rig, two, 1, 1, 'i'), 0);
    rig_finish(&rig, one);
    rig_finish(&rig, two);
    assert_false(job_seen(&rig, 2).started);
    assert_int_equal(owner_seen(&rig, 1001).waits, 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    rig_pass(&rig, 70 * MS);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 1, false, true, 70 * MS), 0);
    chunk = *rig_take(&rig, ACTION_CHUNK);
    rig_take(&rig, ACTION_RESULTS);
    assert_true(job_seen(&rig, 2).started);
    assert_int_equal(job_seen(&rig, 2).wait_ns, 70 * MS);
    assert_int_equal(rig_worked_note(&rig, &chunk, NOTE_ERROR, 0, true), 0);
    rig_take(&rig, ACTION_RESULTS);
    struct job *three = rig_open(&rig, bob, 2, plain);
    rig_pass(&rig, 10 * MS);
    assert_int_equal(rig_items(&rig, three, 1, 1, 'i'), 0);
    rig_take(&rig, ACTION_CHUNK);
    struct owner_view a = owner_seen(&rig, 1000), b = owner_seen(&rig, 1001);
    assert_int_equal(a.waits, 1);
    assert_int_equal(a.wait_ns, 0);
    assert_int_equal(a.jobs_done, 1);
    assert_int_equal(a.items_failed, 0);
    assert_int_equal(b.waits, 2);
    assert_int_equal(b.wait_ns, 80 * MS);
    assert_int_equal(b.longest_wait_ns, 70 * MS);
    assert_int_equal(b.jobs_done, 1);
    assert_int_equal(b.items_done, 1);
    assert_int_equal(b.items_failed, 1);
    rig_end(&rig);
}

/* A long item is charged as it runs, also where the daemon sleeps for most of it. */
static void says_what_is_used_while_it_runs(void **unused)
{
    (void)unused;
    struct rig rig;
    struct core_rates rates;
    rig_start(&rig, NULL, 2);
    rates = look(&rig);
    assert_int_equal(rates.window_ns, 0);
    core_mark(rig.core, rig.now_ns);
    rates = look(&rig);
    assert_int_equal(rates.window_ns, 0); /* this very moment */
    struct session *alice = rig_session(&rig, 1000, &no_limits);
    struct session *bob = rig_session(&rig, 1001, &no_limits);
    struct job *one = rig_open(&rig, alice, 1, plain);
    assert_int_equal(rig_items(&rig, one, 1, 1, 'i'), 0);
    rig_take(&rig, ACTION_CHUNK);
    rig_pass(&rig, 300 * SECOND);
    rates = look(&rig);
    assert_int_equal(rates.window_ns, 300 * SECOND);
    assert_near(rates.busy, 1);
    assert_near(owner_seen(&rig, 1000).used, 1);
    assert_near(owner_seen(&rig, 1001).used, 0);
    /* Awake: the window is of the last second. Bob runs for half of it. */
    core_mark(rig.core, rig.now_ns);
    struct job *two = rig_open(&rig, bob, 1, plain);
    assert_int_equal(rig_items(&rig, two, 1, 1, 'i'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    rig_pass(&rig, SECOND / 2);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 1, false, true, MS), 0);
    rig_take(&rig, ACTION_RESULTS);
    core_mark(rig.core, rig.now_ns); /* too early, so nothing */
    rig_pass(&rig, SECOND / 2);
    rates = look(&rig);
    assert_int_equal(rates.window_ns, SECOND);
    assert_int_equal(rates.items, 1);
    assert_int_equal(rates.chunks, 1);
    assert_near(rates.busy, 1.5);
    assert_near(owner_seen(&rig, 1000).used, 1);
    assert_near(owner_seen(&rig, 1001).used, 0.5);
    /* A mark that is too young is no window; one that is old enough is. */
    core_mark(rig.core, rig.now_ns);
    rig_pass(&rig, 100 * MS);
    assert_int_equal(look(&rig).window_ns, SECOND + 100 * MS);
    rig_pass(&rig, 500 * MS);
    rates = look(&rig);
    assert_int_equal(rates.window_ns, 600 * MS);
    assert_int_equal(rates.items, 0);
    assert_near(owner_seen(&rig, 1001).used, 0);
    rig_end(&rig);
}

static void says_what_owners_are_due(void **unused)
{
    (void)unused;
    struct rig rig;
    struct owner_limits heavy = no_limits, capped = no_limits;
    heavy.weight = 2;
    capped.slots = 1;
    rig_start(&rig, NULL, 8);
    struct session *alice = rig_session(&rig, 1000, &heavy);
    struct session *bob = rig_session(&rig, 1001, &no_limits);
    struct session *carol = rig_session(&rig, 1002, &capped);
    struct session *dave = rig_session(&rig, 1003, &no_limits);
    rig_session(&rig, 1004, &no_limits);
    struct job_options one_item = {.chunksize = 1};
    assert_int_equal(rig_items(&rig, rig_open(&rig, alice, 1, one_item), 100, 1, 'i'), 0);
    look(&rig);
    assert_near(owner_seen(&rig, 1000).entitled, 8);
    assert_near(owner_seen(&rig, 1001).entitled, 0);
    rig_forget(&rig);
    assert_int_equal(rig_items(&rig, rig_open(&rig, bob, 1, one_item), 100, 1, 'i'), 0);
    assert_int_equal(rig_items(&rig, rig_open(&rig, carol, 1, one_item), 100, 1, 'i'), 0);
    struct job_options one_slot = {.slots = 1, .chunksize = 1};
    assert_int_equal(rig_items(&rig, rig_open(&rig, dave, 1, one_slot), 100, 1, 'i'), 0);
    look(&rig);
    assert_near(owner_seen(&rig, 1000).entitled, 4); /* two thirds of what the last two leave */
    assert_near(owner_seen(&rig, 1001).entitled, 2);
    assert_near(owner_seen(&rig, 1002).entitled, 1);
    assert_near(owner_seen(&rig, 1003).entitled, 1);
    assert_near(owner_seen(&rig, 1004).entitled, 0);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_items_turn_and_caps),
        cmocka_unit_test(waits_for_its_own_cap_or_its_owners),
        cmocka_unit_test(waits_for_its_reader),
        cmocka_unit_test(waits_for_a_chunk_or_is_halted),
        cmocka_unit_test(waits_for_a_process_and_its_start),
        cmocka_unit_test(counts_the_items_of_a_job_that_was_opened_anew),
        cmocka_unit_test(shows_the_chunks_that_run),
        cmocka_unit_test(shows_what_runs_above),
        cmocka_unit_test(counts_waits_failures_and_jobs),
        cmocka_unit_test(says_what_is_used_while_it_runs),
        cmocka_unit_test(says_what_owners_are_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
