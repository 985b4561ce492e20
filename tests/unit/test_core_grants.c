/*
 * Credit for what processes answer, chunks that are parked, and jobs that begin nothing more: held, halted,
 * or with chunks of an exact size.
 */
#include "tests/unit/core_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FIRST = 64 << 10, LARGE = 100 << 10 };

/* A job of processes, and as many of them as it has slots, each with a chunk of one item. */
struct scene {
    struct rig rig;
    struct crew *crew;
    struct session *session;
    struct job *job;
    struct seen chunks[8];
    uint32_t slots;
};

static void begin(struct scene *s, uint32_t slots, uint64_t credit, struct job_request request)
{
    struct core_config config = {.slots = slots, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
    memset(s, 0, sizeof *s);
    rig_start(&s->rig, &config, 0);
    s->slots = slots;
    s->session = rig_process_session(&s->rig, 1000, &s->crew);
    s->job = rig_open_process(&s->rig, s->session, 1, credit, request);
}

static void fill(struct scene *s, uint32_t items)
{
    assert_int_equal(rig_items(&s->rig, s->job, items, 10, 'i'), 0);
    for (uint32_t i = 0; i < s->slots; i++)
        rig_take(&s->rig, ACTION_START);
    for (uint32_t i = 0; i < s->slots; i++) {
        rig_add_process(&s->rig, s->crew);
        s->chunks[i] = *rig_take(&s->rig, ACTION_CHUNK);
        assert_int_equal(s->chunks[i].first, i);
        assert_int_equal(s->chunks[i].credit, FIRST);
    }
    rig_expect_none(&s->rig);
}

static int piece(struct scene *s, uint32_t chunk, size_t size, bool more)
{
    return rig_worked(&s->rig, s->chunks[chunk].worker, s->chunks[chunk].chunk, 1, size, more, !more, 1);
}

static struct seen next_of(struct rig *rig, enum action_type type)
{
    while (rig->taken < rig->seen_count && rig->seen[rig->taken].type != type)
        rig->taken++;
    return *rig_take(rig, type);
}

static const struct job_request plain;

/*** Credit ***/

static void refuses_results_without_credit(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 2, 1, plain);
    fill(&s, 2);
    assert_int_equal(piece(&s, 0, 2 << 20, true), 0); /* one message, however large */
    /* Its worker hears at once that it is the head. */
    struct seen grant = *rig_take(&s.rig, ACTION_GRANT);
    assert_int_equal(grant.chunk, s.chunks[0].chunk);
    assert_true(grant.head && grant.credit == 0);
    /* It goes out; the client's credit is used up, and the head has more all the same. */
    assert_int_equal(rig_take(&s.rig, ACTION_RESULTS)->size, 2 << 20);
    grant = *rig_take(&s.rig, ACTION_GRANT);
    assert_int_equal(grant.chunk, s.chunks[0].chunk);
    assert_int_equal(grant.credit, (2 << 20) + 32 - FIRST + (1 << 20)); /* to 1 MiB */
    assert_true(grant.head);
    assert_int_equal(piece(&s, 0, 1 << 20, true), 0);
    /* That waits now, so there is no more. */
    rig_expect_none(&s.rig);
    assert_int_equal(piece(&s, 0, 1, true), -EPROTO);
    assert_int_equal(core_job_credit(s.rig.core, s.job, (2 << 20) + 32, s.rig.now_ns), 0);
    rig_settle(&s.rig);
    assert_int_equal(next_of(&s.rig, ACTION_RESULTS).size, 1 << 20);
    grant = next_of(&s.rig, ACTION_GRANT);
    assert_int_equal(grant.chunk, s.chunks[0].chunk);
    assert_int_equal(piece(&s, 0, 1, true), 0);
    rig_forget(&s.rig);
    rig_end(&s.rig);
}

/* What is behind the head gets more while there is room for it, and not beyond. */
static void bounds_what_others_send(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 2, 1 << 20, plain);
    fill(&s, 2);
    struct seen grant;
    uint64_t sent = 0;
    int grants = 0;
    for (;;) {
        assert_int_equal(piece(&s, 1, LARGE, true), 0);
        sent += LARGE;
        if (s.rig.taken == s.rig.seen_count)
            break;
        assert_int_equal(rig_take(&s.rig, ACTION_GRANT)->chunk, s.chunks[1].chunk);
        grants++;
    }
    assert_true(grants > 10);
    assert_in_range(sent, 3 << 20, 5 << 20); /* its window is 4 MiB */
    assert_int_equal(piece(&s, 1, 1, true), -EPROTO);
    /* The head is through: the other one is. */
    assert_int_equal(piece(&s, 0, 1, false), 0);
    grant = *rig_take(&s.rig, ACTION_GRANT);
    assert_int_equal(grant.chunk, s.chunks[1].chunk);
    assert_true(grant.head);
    rig_take(&s.rig, ACTION_RESULTS);
    assert_int_equal(next_of(&s.rig, ACTION_RESULTS).first, 1);
    uint64_t given_back = 0;
    int more = 0;
    while (given_back < sent) {
        for (; s.rig.taken < s.rig.seen_count; s.rig.taken++)
            more += s.rig.seen[s.rig.taken].type == ACTION_GRANT;
        given_back += LARGE + 32;
        assert_int_equal(core_job_credit(s.rig.core, s.job, LARGE + 32, s.rig.now_ns), 0);
        rig_settle(&s.rig);
    }
    assert_true(more > 0);
    assert_int_equal(piece(&s, 1, 1, false), 0);
    rig_forget(&s.rig);
    rig_end(&s.rig);
}

static void grants_to_whose_piece_is_going_out(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 2, 1 << 30, (struct job_request){.options = {.unordered = true}});
    fill(&s, 2);
    assert_int_equal(piece(&s, 1, LARGE, true), 0);
    assert_int_equal(rig_take(&s.rig, ACTION_GRANT)->chunk, s.chunks[1].chunk);
    rig_take(&s.rig, ACTION_RESULTS);
    /* The other one may send until the window is full. */
    for (uint32_t sent = 0;; sent++) {
        assert_true(sent < 100);
        assert_int_equal(piece(&s, 0, LARGE, true), 0);
        if (s.rig.taken == s.rig.seen_count)
            break;
        assert_int_equal(rig_take(&s.rig, ACTION_GRANT)->chunk, s.chunks[0].chunk);
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(piece(&s, 1, LARGE, true), 0);
    rig_forget(&s.rig);
    assert_int_equal(piece(&s, 1, 1, false), 0);
    assert_int_equal(next_of(&s.rig, ACTION_RESULTS).first, 1);
    rig_forget(&s.rig);
    assert_int_equal(piece(&s, 0, LARGE, true), 0);
    assert_int_equal(next_of(&s.rig, ACTION_RESULTS).first, 0);
    rig_forget(&s.rig);
    rig_end(&s.rig);
}

/*** Parking ***/

static void parks_and_goes_on(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 2, 1 << 30, (struct job_request){.expected_ns = 20 * MS});
    fill(&s, 40);
    /* Whatever is behind the slow head is parked at once: up to four chunks a slot. */
    struct seen parked[16];
    struct seen chunk = s.chunks[1];
    uint32_t count = 0;
    for (;;) {
        assert_true(count < 9);
        assert_int_equal(rig_worked(&s.rig, chunk.worker, chunk.chunk, 1, LARGE, true, false, 1), 0);
        rig_forget(&s.rig);
        parked[count++] = chunk;
        assert_int_equal(rig_parked(&s.rig, &chunk, 1, 20 * MS), 0);
        if (s.rig.taken == s.rig.seen_count)
            break;
        struct seen next = *rig_take(&s.rig, ACTION_CHUNK);
        assert_ptr_equal(next.worker, chunk.worker);
        chunk = next;
    }
    assert_int_equal(count, 8);
    struct core_counts c;
    core_counts(s.rig.core, &c);
    assert_int_equal(c.busy, 1);
    /* Not twice, not what was never there, not `last` with results missing. */
    assert_int_equal(rig_parked(&s.rig, &parked[0], 1, 0), -EPROTO);
    assert_int_equal(rig_worked(&s.rig, parked[0].worker, parked[0].chunk, 0, 0, false, true, 1), -EPROTO);
    /* The head ends: the first parked one is head, and its results may come. */
    assert_int_equal(piece(&s, 0, 1, false), 0);
    rig_forget(&s.rig);
    assert_int_equal(rig_worked(&s.rig, parked[0].worker, parked[0].chunk, 1, 5, false, true, 1), 0);
    assert_int_equal(next_of(&s.rig, ACTION_RESULTS).first, 1);
    rig_forget(&s.rig);
    rig_end(&s.rig);
}

static void hands_back_what_was_not_run(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 1, 1 << 20, (struct job_request){.expected_ns = 10 * US, .options = {.chunksize = 4}});
    assert_int_equal(rig_items(&s.rig, s.job, 4, 10, 'i'), 0);
    rig_finish(&s.rig, s.job);
    rig_start_process(&s.rig, s.crew);
    struct seen chunk = *rig_take(&s.rig, ACTION_CHUNK);
    assert_int_equal(chunk.count, 4);
    assert_int_equal(rig_parked(&s.rig, &chunk, 5, 0), -EPROTO);
    assert_int_equal(rig_worked(&s.rig, chunk.worker, chunk.chunk, 1, 3, false, false, 1), 0);
    rig_forget(&s.rig);
    assert_int_equal(rig_parked(&s.rig, &chunk, 0, 0), -EPROTO); /* one is done */
    assert_int_equal(rig_parked(&s.rig, &chunk, 3, 0), 0);
    struct seen rest = *rig_take(&s.rig, ACTION_CHUNK);
    assert_int_equal(rest.first, 3);
    assert_int_equal(rest.count, 1);
    assert_int_equal(rig_worked(&s.rig, rest.worker, rest.chunk, 1, 3, false, true, 1), 0);
    rig_expect_none(&s.rig);
    assert_int_equal(rig_worked(&s.rig, chunk.worker, chunk.chunk, 3, 3, false, true, 1), -EPROTO);
    assert_int_equal(rig_worked(&s.rig, chunk.worker, chunk.chunk, 2, 3, false, true, 1), 0);
    const struct seen *end = rig_take(&s.rig, ACTION_RESULTS);
    assert_int_equal(end->count, 3);
    assert_int_equal(end->done.items, 4);
    rig_end(&s.rig);
}

/* What a dead worker had parked is run again, without blame. */
static void runs_lost_parked_chunks_again(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 2, 1 << 20, plain);
    fill(&s, 3);
    assert_int_equal(rig_parked(&s.rig, &s.chunks[1], 1, 0), 0);
    struct seen third = *rig_take(&s.rig, ACTION_CHUNK);
    assert_int_equal(third.first, 2);
    assert_int_equal(rig_worked(&s.rig, third.worker, third.chunk, 1, 1, false, true, 1), 0);
    rig_gone(&s.rig, third.worker);
    rig_pass(&s.rig, 100 * MS);
    rig_start_process(&s.rig, s.crew);
    struct seen again = *rig_take(&s.rig, ACTION_CHUNK);
    assert_int_equal(again.first, 1);
    rig_end(&s.rig);
}

/*** Halting and holding ***/

static void halts(void **unused)
{
    (void)unused;
    for (uint32_t halt = HALT_SOON; halt <= HALT_NOW; halt++) {
        struct scene s;
        begin(&s, 2, 1 << 20, (struct job_request){.options = {.halt = halt}});
        fill(&s, 5);
        assert_int_equal(rig_worked_note(&s.rig, &s.chunks[1], NOTE_CANCELLED, 0, true), 0);
        s.chunks[1] = next_of(&s.rig, ACTION_CHUNK); /* that was no failure */
        assert_int_equal(s.chunks[1].first, 2);
        assert_int_equal(rig_worked_note(&s.rig, &s.chunks[1], NOTE_EXIT, 3, true), 0);
        if (halt == HALT_NOW)
            assert_int_equal(rig_take(&s.rig, ACTION_DROP)->chunk, s.chunks[0].chunk);
        rig_expect_none(&s.rig);
        assert_int_equal(rig_items(&s.rig, s.job, 1000, 1, 'x'), 0); /* they still come, and are not run */
        rig_expect_none(&s.rig);
        rig_finish(&s.rig, s.job);
        if (halt == HALT_NOW)
            assert_int_equal(rig_worked(&s.rig, s.chunks[0].worker, s.chunks[0].chunk, 0, 0, false, true, 1),
                             0);
        else
            rig_work(&s.rig, &s.chunks[0], MS);
        uint64_t next = 0;
        while (s.rig.taken < s.rig.seen_count) {
            const struct seen *results = rig_take(&s.rig, ACTION_RESULTS);
            assert_int_equal(results->first, next);
            next += results->count;
            if (!results->has_done)
                continue;
            assert_int_equal(results->done.items, 1005);
            assert_int_equal(results->done.failed, halt == HALT_NOW ? 1005 : 1004);
            assert_int_equal(results->done.outcome, OUTCOME_DONE);
        }
        assert_int_equal(next, 1005);
        rig_end(&s.rig);
    }
}

/* The rest of a chunk that is running is called back, and so is what is queued. */
static void halts_within_chunks(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 1, 1 << 20,
          (struct job_request){.options = {.halt = HALT_SOON, .chunksize = 3}, .expected_ns = US});
    assert_int_equal(rig_items(&s.rig, s.job, 6, 10, 'i'), 0);
    rig_finish(&s.rig, s.job);
    rig_start_process(&s.rig, s.crew);
    struct seen one = *rig_take(&s.rig, ACTION_CHUNK), two = *rig_take(&s.rig, ACTION_CHUNK);
    assert_int_equal(rig_worked_note(&s.rig, &one, NOTE_SIGNAL, 9, false), 0);
    assert_int_equal(rig_take(&s.rig, ACTION_YIELD)->chunk, one.chunk);
    assert_int_equal(rig_take(&s.rig, ACTION_YIELD)->chunk, two.chunk);
    assert_int_equal(rig_take(&s.rig, ACTION_RESULTS)->count, 1);
    assert_int_equal(rig_parked(&s.rig, &one, 2, 0), 0);
    assert_int_equal(rig_worked(&s.rig, two.worker, two.chunk, 0, 0, false, true, 0), 0);
    assert_int_equal(rig_worked(&s.rig, one.worker, one.chunk, 1, 1, false, true, 0), 0);
    const struct seen *end = rig_take(&s.rig, ACTION_RESULTS);
    assert_int_equal(end->count, 5);
    assert_true(end->has_done);
    assert_int_equal(end->done.failed, 5);
    assert_int_equal(end->note, NOTE_CANCELLED);
    assert_string_equal(end->why, "not run: halted");
    rig_end(&s.rig);
}

static void holds_and_goes_on(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 1, 1 << 20, (struct job_request){.options = {.chunksize = 2}, .expected_ns = US});
    assert_int_equal(rig_items(&s.rig, s.job, 4, 10, 'i'), 0);
    rig_finish(&s.rig, s.job);
    rig_start_process(&s.rig, s.crew);
    struct seen one = *rig_take(&s.rig, ACTION_CHUNK), two = *rig_take(&s.rig, ACTION_CHUNK);
    core_job_hold(s.rig.core, s.job, true, s.rig.now_ns);
    rig_settle(&s.rig);
    assert_int_equal(rig_take(&s.rig, ACTION_YIELD)->chunk, one.chunk);
    assert_int_equal(rig_take(&s.rig, ACTION_YIELD)->chunk, two.chunk);
    assert_int_equal(rig_worked(&s.rig, one.worker, one.chunk, 1, 1, false, true, 1), 0);
    rig_take(&s.rig, ACTION_RESULTS);
    assert_int_equal(rig_worked(&s.rig, two.worker, two.chunk, 0, 0, false, true, 0), 0);
    rig_pass(&s.rig, 1000 * MS);
    rig_expect_none(&s.rig);
    core_job_hold(s.rig.core, s.job, false, s.rig.now_ns);
    rig_settle(&s.rig);
    assert_int_equal(rig_take(&s.rig, ACTION_CHUNK)->first, 1);
    rig_forget(&s.rig);
    rig_end(&s.rig);
}

static void counts_retries(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 1, 1 << 20, plain);
    fill(&s, 1);
    rig_finish(&s.rig, s.job);
    assert_int_equal(rig_worked_note(&s.rig, &s.chunks[0], NOTE_ATTEMPTS, 3, true), 0);
    const struct seen *end = rig_take(&s.rig, ACTION_RESULTS);
    assert_int_equal(end->done.retried, 2);
    assert_int_equal(end->done.failed, 0);
    rig_end(&s.rig);
}

/*** Exact chunks ***/

static void waits_for_a_whole_chunk(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 2, 1 << 20, (struct job_request){.exact = true, .options = {.chunksize = 100}});
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_items(&s.rig, s.job, 30, 10000, (char)('a' + i)), 0);
        rig_expect_none(&s.rig);
    }
    assert_int_equal(rig_items(&s.rig, s.job, 20, 10000, 'd'), 0);
    rig_start_process(&s.rig, s.crew);
    struct seen chunk = *rig_take(&s.rig, ACTION_CHUNK);
    assert_int_equal(chunk.first, 0);
    assert_int_equal(chunk.count, 100); /* out of four batches, of a million bytes */
    assert_int_equal(chunk.size, 1000000);
    rig_expect_none(&s.rig);
    rig_finish(&s.rig, s.job);
    rig_start_process(&s.rig, s.crew);
    struct seen rest = *rig_take(&s.rig, ACTION_CHUNK);
    assert_int_equal(rest.first, 100);
    assert_int_equal(rest.count, 10);
    /* A death is the whole chunk's. */
    for (int deaths = 0; deaths < 3; deaths++) {
        assert_int_equal(rest.count, 10);
        rig_pass(&s.rig, 2000 * MS);
        rig_gone(&s.rig, rest.worker);
        if (deaths == 2)
            break;
        rig_start_process(&s.rig, s.crew);
        rest = *rig_take(&s.rig, ACTION_CHUNK);
    }
    rig_work(&s.rig, &chunk, MS);
    const struct seen *results = rig_take(&s.rig, ACTION_RESULTS);
    if (!results->has_done)
        results = rig_take(&s.rig, ACTION_RESULTS);
    assert_int_equal(results->done.failed, 10);
    rig_end(&s.rig);
}

/* A window too small for a chunk must not stop the job. */
static void cuts_what_the_window_holds(void **unused)
{
    (void)unused;
    struct core_config config = {
        .slots = 1, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30, .job_window = 4096};
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20,
                                       (struct job_request){.exact = true, .options = {.chunksize = 100}});
    assert_int_equal(rig_items(&rig, job, 10, 100, 'i'), 0);
    rig_expect_none(&rig);
    assert_int_equal(rig_items(&rig, job, 25, 100, 'i'), 0);
    rig_start_process(&rig, crew);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(chunk.count, 35);
    rig_work(&rig, &chunk, MS);
    rig_forget(&rig);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_results_without_credit),
        cmocka_unit_test(bounds_what_others_send),
        cmocka_unit_test(grants_to_whose_piece_is_going_out),
        cmocka_unit_test(parks_and_goes_on),
        cmocka_unit_test(hands_back_what_was_not_run),
        cmocka_unit_test(runs_lost_parked_chunks_again),
        cmocka_unit_test(halts),
        cmocka_unit_test(halts_within_chunks),
        cmocka_unit_test(holds_and_goes_on),
        cmocka_unit_test(counts_retries),
        cmocka_unit_test(waits_for_a_whole_chunk),
        cmocka_unit_test(cuts_what_the_window_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
