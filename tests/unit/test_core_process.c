/*
 * Processes as workers: how many are asked for and when they are let go, whom they serve, what their time and
 * their deaths count for. Credit for their results is in test_core_grants.c.
 */
#include "tests/unit/core_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct job_request plain;

#define SECOND (1000 * MS)

static struct core_config two_slots(void)
{
    return (struct core_config){.slots = 2, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
}

static struct core_counts counts(const struct rig *rig)
{
    struct core_counts c;
    core_counts(rig->core, &c);
    return c;
}

/*** Starting ***/

static void asks_for_what_is_useful(void **unused)
{
    (void)unused;
    struct core_config config = {.slots = 3, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    rig_expect_none(&rig);
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20, plain);
    rig_expect_none(&rig); /* nothing to do yet */
    assert_int_equal(rig_items(&rig, job, 1, 5, 'i'), 0);
    assert_ptr_equal(rig_take(&rig, ACTION_START)->crew, crew);
    rig_expect_none(&rig); /* one item needs one */
    assert_int_equal(rig_items(&rig, job, 8, 5, 'i'), 0);
    rig_take(&rig, ACTION_START);
    rig_take(&rig, ACTION_START);
    rig_expect_none(&rig); /* as many as there are slots */
    for (int i = 0; i < 3; i++) {
        struct worker *worker = rig_add_process(&rig, crew);
        struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
        assert_ptr_equal(chunk.worker, worker);
        assert_int_equal(chunk.credit, 64 << 10);
        assert_int_equal(counts(&rig).busy, i + 1);
    }
    rig_expect_none(&rig);
    rig_end(&rig);
}

static void waits_for_its_crew(void **unused)
{
    (void)unused;
    struct core_config config = two_slots();
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 2);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20, plain);
    assert_int_equal(rig_items(&rig, job, 1, 5, 'i'), 0);
    rig_expect_none(&rig);
    assert_int_equal(core_crew_new(rig.core, NULL, &crew), 0);
    core_session_crew(rig.core, session, crew, rig.now_ns);
    rig_settle(&rig);
    rig_start_process(&rig, crew);
    rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(core_crew_free(rig.core, crew), -EBUSY);
    rig_end(&rig);
}

/* While a worker is being started its slot is the others'; then its turn comes as any other's. */
static void leaves_its_slot_to_others_meanwhile(void **unused)
{
    (void)unused;
    struct core_config config = {.slots = 1, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 1);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20, plain);
    struct session *other = rig_session(&rig, 1001, &no_limits);
    assert_int_equal(rig_items(&rig, job, 1, 5, 'p'), 0);
    rig_take(&rig, ACTION_START);
    struct job *builtin = rig_open(&rig, other, 1, (struct job_options){.chunksize = 1});
    assert_int_equal(rig_items(&rig, builtin, 4, 5, 'b'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(chunk.text[0], 'b');
    rig_expect_none(&rig);
    rig_work(&rig, &chunk, 50 * MS);
    chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(chunk.text[0], 'b');
    rig_take(&rig, ACTION_RESULTS);
    rig_add_process(&rig, crew);
    rig_expect_none(&rig); /* no slot */
    rig_work(&rig, &chunk, 50 * MS);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->text[0], 'p');
    rig_take(&rig, ACTION_RESULTS);
    rig_expect_none(&rig); /* the thread is free, and has no slot */
    assert_int_equal(counts(&rig).busy, 1);
    rig_end(&rig);
}

static void asks_again_later_where_none_comes(void **unused)
{
    (void)unused;
    struct core_config config = two_slots();
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20, plain);
    assert_int_equal(rig_items(&rig, job, 1, 5, 'i'), 0);
    int64_t delay_ns = 100 * MS;
    for (int i = 0; i < 9; i++) {
        rig_take(&rig, ACTION_START);
        core_start_failed(rig.core, crew, rig.now_ns);
        rig_settle(&rig);
        rig_expect_none(&rig);
        assert_int_equal(core_deadline(rig.core), rig.now_ns + delay_ns);
        rig_pass(&rig, delay_ns - 1);
        rig_expect_none(&rig);
        rig_pass(&rig, 1);
        delay_ns = 2 * delay_ns < 5 * SECOND ? 2 * delay_ns : 5 * SECOND;
    }
    /* One that dies at once has failed too; one that has lived has not. */
    struct worker *worker = rig_start_process(&rig, crew);
    rig_take(&rig, ACTION_CHUNK);
    rig_gone(&rig, worker);
    rig_expect_none(&rig);
    rig_pass(&rig, 5 * SECOND);
    worker = rig_start_process(&rig, crew);
    rig_take(&rig, ACTION_CHUNK);
    rig_pass(&rig, SECOND);
    rig_gone(&rig, worker);
    rig_start_process(&rig, crew);
    rig_take(&rig, ACTION_CHUNK);
    rig_end(&rig);
}

/*** Letting go ***/

/* Runs one item, and returns the worker. */
static struct worker *run_one(struct rig *rig, struct session *session, struct crew *crew, uint64_t ref)
{
    struct job *job = rig_open_process(rig, session, ref, 1 << 20, plain);
    assert_int_equal(rig_items(rig, job, 1, 5, 'i'), 0);
    if (rig->taken < rig->seen_count && rig->seen[rig->taken].type == ACTION_START)
        rig_start_process(rig, crew);
    struct seen chunk = *rig_take(rig, ACTION_CHUNK);
    rig_finish(rig, job);
    rig_work(rig, &chunk, MS);
    if (rig->seen[rig->taken].type == ACTION_STOP)
        assert_ptr_equal(rig_take(rig, ACTION_STOP)->worker, chunk.worker);
    assert_true(rig_take(rig, ACTION_RESULTS)->has_done);
    return chunk.worker;
}

static void lets_idle_workers_go(void **unused)
{
    (void)unused;
    struct core_config config = two_slots();
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct worker *worker = run_one(&rig, session, crew, 1);
    assert_int_equal(core_deadline(rig.core), rig.now_ns + 30 * SECOND);
    rig_pass(&rig, 30 * SECOND - 1);
    rig_expect_none(&rig);
    rig_pass(&rig, 1);
    assert_ptr_equal(rig_take(&rig, ACTION_STOP)->worker, worker);
    assert_int_equal(counts(&rig).workers, 0);
    core_session_close(rig.core, session, rig.now_ns);
    assert_int_equal(core_crew_free(rig.core, crew), 0);
    rig_end(&rig);
}

static void lets_old_workers_go(void **unused)
{
    (void)unused;
    struct core_config config = two_slots();
    config.worker_chunks = 3;
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct worker *worker = run_one(&rig, session, crew, 1);
    assert_ptr_equal(run_one(&rig, session, crew, 2), worker);
    rig_expect_none(&rig);
    assert_ptr_equal(run_one(&rig, session, crew, 3), worker);
    assert_int_equal(counts(&rig).workers, 0);
    rig_end(&rig);

    config.worker_chunks = 0;
    config.worker_age_ns = 5 * SECOND;
    rig_start(&rig, &config, 0);
    session = rig_process_session(&rig, 1000, &crew);
    worker = run_one(&rig, session, crew, 1);
    rig_pass(&rig, 6 * SECOND);
    rig_expect_none(&rig);
    assert_ptr_equal(run_one(&rig, session, crew, 2), worker);
    assert_int_equal(counts(&rig).workers, 0);
    rig_end(&rig);
}

/* Those who have been idle longest make room when there are very many. */
static void bounds_idle_workers(void **unused)
{
    (void)unused;
    struct core_config config = {.slots = 1, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
    struct rig rig;
    rig_start(&rig, &config, 0);
    struct worker *first = NULL;
    for (uid_t uid = 1000; uid < 1004; uid++) {
        struct crew *crew;
        struct session *session = rig_process_session(&rig, uid, &crew);
        struct worker *worker = run_one(&rig, session, crew, 1);
        first = first != NULL ? first : worker;
    }
    rig_expect_none(&rig);
    struct crew *crew;
    struct session *session = rig_process_session(&rig, 1004, &crew);
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20, plain);
    assert_int_equal(rig_items(&rig, job, 1, 5, 'i'), 0);
    rig_take(&rig, ACTION_START);
    rig_add_process(&rig, crew);
    struct seen stop = {0}, chunk = {0};
    while (rig.taken < rig.seen_count) {
        const struct seen *seen = &rig.seen[rig.taken++];
        if (seen->type == ACTION_STOP)
            stop = *seen;
        else if (seen->type == ACTION_CHUNK)
            chunk = *seen;
    }
    assert_ptr_equal(stop.worker, first);
    assert_non_null(chunk.worker);
    rig_end(&rig);
}

/* The worker dies between the decision to stop it and the word to it. */
static void lets_a_stopped_worker_die(void **unused)
{
    (void)unused;
    struct core_config config = two_slots();
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct worker *worker = run_one(&rig, session, crew, 1);
    rig.now_ns += 31 * SECOND;
    core_tick(rig.core, rig.now_ns);
    core_worker_gone(rig.core, worker, rig.now_ns);
    rig_settle(&rig);
    rig_expect_none(&rig);
    rig_end(&rig);
}

/*** Lasting jobs ***/

static struct seen next_chunk(struct rig *rig)
{
    while (rig->taken < rig->seen_count && rig->seen[rig->taken].type != ACTION_CHUNK)
        rig->taken++;
    return *rig_take(rig, ACTION_CHUNK);
}

static void goes_back_to_where_its_child_is(void **unused)
{
    (void)unused;
    const struct job_request lasting = {.lasting = true};
    struct core_config config = two_slots();
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job *a = rig_open_process(&rig, session, 1, 1 << 20, lasting);
    struct job *b = rig_open_process(&rig, session, 2, 1 << 20, lasting);
    assert_int_equal(rig_items(&rig, a, 1, 5, 'a'), 0);
    struct worker *one = rig_start_process(&rig, crew);
    struct seen chunk_a = next_chunk(&rig);
    assert_ptr_equal(chunk_a.worker, one);
    assert_int_equal(rig_items(&rig, b, 1, 5, 'b'), 0);
    struct worker *two = rig_start_process(&rig, crew);
    struct seen chunk_b = next_chunk(&rig);
    assert_ptr_equal(chunk_b.worker, two);
    rig_work(&rig, &chunk_a, MS);
    rig_work(&rig, &chunk_b, MS); /* now `two` was idle last */
    rig_forget(&rig);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_items(&rig, a, 1, 5, 'a'), 0);
        chunk_a = next_chunk(&rig);
        assert_ptr_equal(chunk_a.worker, one);
        rig_work(&rig, &chunk_a, MS);
        assert_int_equal(rig_items(&rig, b, 1, 5, 'b'), 0);
        chunk_b = next_chunk(&rig);
        assert_ptr_equal(chunk_b.worker, two);
        rig_work(&rig, &chunk_b, MS);
        rig_forget(&rig);
    }
    /* A third takes the worker whose job has ended. */
    core_job_cancel(rig.core, a, rig.now_ns);
    rig_settle(&rig);
    rig_forget(&rig);
    struct job *c = rig_open_process(&rig, session, 3, 1 << 20, lasting);
    assert_int_equal(rig_items(&rig, c, 1, 5, 'c'), 0);
    assert_ptr_equal(next_chunk(&rig).worker, one);
    rig_end(&rig);
}

/* Of an owner's lasting jobs the oldest goes first, and another owner's has its share all the same. */
static void serves_the_older_lasting_job_first(void **unused)
{
    (void)unused;
    const struct job_request lasting = {.lasting = true, .options = {.chunksize = 1}};
    struct core_config config = {.slots = 1, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job *a = rig_open_process(&rig, session, 1, 1 << 20, lasting);
    struct job *b = rig_open_process(&rig, session, 2, 1 << 20, lasting);
    assert_int_equal(rig_items(&rig, b, 6, 5, 'b'), 0);
    assert_int_equal(rig_items(&rig, a, 6, 5, 'a'), 0);
    rig_start_process(&rig, crew);
    char order[16] = "";
    for (int i = 0; i < 12; i++) {
        struct seen chunk = next_chunk(&rig);
        order[i] = chunk.text[0];
        rig_work(&rig, &chunk, 20 * MS);
    }
    assert_string_equal(order, "aaaaaabbbbbb");
    rig_forget(&rig);
    rig_end(&rig);
}

/*
 * A batch and three others, of items that take 10 µs each, so that 100 of them are queued at most. Returns
 * the number that is queued behind the first batch's; 0: none is.
 */
static uint32_t queued_behind(struct job_request request, uint32_t first, uint32_t others, size_t size)
{
    struct core_config config = {.slots = 1, .chunk_target_ns = 10 * MS, .queued_bytes = 1 << 30};
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    request.expected_ns = 10 * US;
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20, request);
    assert_int_equal(rig_items(&rig, job, first, size, 'i'), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_items(&rig, job, others, size, 'i'), 0);
    rig_start_process(&rig, crew);
    assert_int_equal(rig_take(&rig, ACTION_CHUNK)->count, first);
    uint32_t count = rig.taken < rig.seen_count ? rig_take(&rig, ACTION_CHUNK)->count : 0;
    rig_forget(&rig);
    rig_end(&rig);
    return count;
}

/* A child is not kept going in small pieces: it waits for a whole chunk, unless it would be small as well. */
static void queues_no_pieces_at_a_child(void **unused)
{
    (void)unused;
    const struct job_request child = {.lasting = true};
    assert_int_equal(queued_behind((struct job_request){.lasting = false}, 50, 10000, 1), 100);
    assert_int_equal(queued_behind(child, 50, 10000, 1), 0);
    assert_int_equal(
        queued_behind((struct job_request){.lasting = true, .options = {.chunksize = 80}}, 50, 10000, 1), 80);
    assert_int_equal(queued_behind(child, 50, 90, 1000), 90);
    assert_int_equal(queued_behind(child, 50, 200, 4096), 64); /* which are 256 KiB */
}

/*** Time ***/

static void does_not_believe_times(void **unused)
{
    (void)unused;
    struct core_config config = two_slots();
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20, plain);
    assert_int_equal(rig_items(&rig, job, 1, 5, 'i'), 0);
    rig_finish(&rig, job);
    rig_start_process(&rig, crew);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    rig.now_ns += 5 * MS;
    struct batch *batch = rig_batch(1, 1, 'r', false);
    assert_int_equal(
        core_worked(rig.core, chunk.worker, chunk.chunk, batch, true, INT64_MAX, INT64_MAX, rig.now_ns), 0);
    batch_unref(batch);
    rig_settle(&rig);
    const struct seen *end = rig_take(&rig, ACTION_RESULTS);
    assert_true(end->has_done);
    assert_int_equal(end->done.run_ns, 5 * MS);
    assert_int_equal(end->done.cpu_ns, 10 * MS);
    rig_end(&rig);
}

/*** Deaths ***/

/* The third worker that dies with an item fails that one, and the others are run. */
static void blames_what_kills(void **unused)
{
    (void)unused;
    struct core_config config = two_slots();
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job_request request = {.options = {.slots = 1, .trace = true}, .expected_ns = 2 * MS};
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20, request);
    assert_int_equal(rig_items(&rig, job, 4, 5, 'i'), 0);
    rig_finish(&rig, job);
    rig_start_process(&rig, crew);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    assert_true(chunk.count > 1 && chunk.trace);
    rig.now_ns += 2 * MS;
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 1, false, false, 2 * MS), 0);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->count, 1);
    for (int deaths = 1; deaths < 3; deaths++) {
        rig_gone(&rig, chunk.worker);
        rig_pass(&rig, 5 * SECOND);
        rig_start_process(&rig, crew);
        chunk = *rig_take(&rig, ACTION_CHUNK);
        assert_int_equal(chunk.first, 1);
        assert_int_equal(chunk.count, 1); /* alone now */
    }
    rig_gone(&rig, chunk.worker);
    const struct seen *failed = rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(failed->first, 1);
    assert_int_equal(failed->note, NOTE_ERROR);
    assert_string_equal(failed->why, "its worker died three times");
    assert_true(failed->no_slot);
    rig_pass(&rig, 5 * SECOND);
    rig_start_process(&rig, crew);
    uint32_t results = 2;
    while (results < 4) {
        chunk = next_chunk(&rig);
        results += chunk.count;
        rig_work(&rig, &chunk, MS);
    }
    while (!rig.seen[rig.taken].has_done)
        rig_take(&rig, ACTION_RESULTS);
    const struct seen *end = rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(end->done.items, 4);
    assert_int_equal(end->done.failed, 1);
    rig_end(&rig);
}

static void runs_nothing_twice_that_may_not(void **unused)
{
    (void)unused;
    struct core_config config = two_slots();
    struct rig rig;
    struct crew *crew;
    rig_start(&rig, &config, 0);
    struct session *session = rig_process_session(&rig, 1000, &crew);
    struct job_request request = {.options = {.slots = 1, .chunksize = 3, .once = true}, .expected_ns = US};
    struct job *job = rig_open_process(&rig, session, 1, 1 << 20, request);
    assert_int_equal(rig_items(&rig, job, 9, 5, 'i'), 0);
    struct worker *worker = rig_start_process(&rig, crew);
    struct seen one = *rig_take(&rig, ACTION_CHUNK), two = *rig_take(&rig, ACTION_CHUNK);
    struct seen queued = *rig_take(&rig, ACTION_CHUNK);
    assert_ptr_equal(queued.worker, worker);
    assert_int_equal(rig_worked(&rig, worker, one.chunk, 1, 1, false, false, 1), 0);
    rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(rig_parked(&rig, &one, 3, US), 0);
    assert_int_equal(rig_worked(&rig, worker, two.chunk, 1, 1, false, false, 1), 0);
    rig_expect_none(&rig);
    rig_gone(&rig, worker);
    /* The two parked items, one that was done, the two behind it. */
    const struct seen *results = rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(results->first, 1);
    assert_int_equal(results->count, 5);
    assert_int_equal(results->note, NOTE_ERROR);
    assert_string_equal(results->why, "its worker died; it may have been run");
    assert_int_equal(counts(&rig).items_failed, 4);
    rig_pass(&rig, 5 * SECOND);
    rig_start_process(&rig, crew);
    assert_int_equal(next_chunk(&rig).first, 6); /* what was queued only */
    rig_end(&rig);
}

/*** Over ***/

static void gives_the_function_back_once(void **unused)
{
    (void)unused;
    const struct job_request told = {.tell_over = true};
    enum { DONE, CANCEL, ABANDON, CLOSE, WAYS };
    for (int way = DONE; way < WAYS; way++) {
        struct core_config config = two_slots();
        struct rig rig;
        struct crew *crew;
        rig_start(&rig, &config, 0);
        struct session *session = rig_process_session(&rig, 1000, &crew);
        struct job *job = rig_open_process(&rig, session, 1, 1 << 20, told);
        uint64_t id = 0;
        assert_int_equal(rig_items(&rig, job, 1, 5, 'i'), 0);
        rig_start_process(&rig, crew);
        struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
        id = chunk.job;
        assert_ptr_equal(core_job_by_id(rig.core, id), job);
        assert_ptr_equal(core_worker_job(chunk.worker), job);
        assert_int_equal(core_job_owner(job), 1000);
        assert_int_equal(core_job_ref(job), 1);
        assert_ptr_equal(core_job_session(job), session);
        if (way == DONE)
            rig_finish(&rig, job);
        else if (way == CANCEL)
            core_job_cancel(rig.core, job, rig.now_ns);
        else if (way == ABANDON)
            core_job_abandon(rig.core, job, rig.now_ns);
        else
            core_session_close(rig.core, session, rig.now_ns);
        rig_settle(&rig);
        if (way != DONE) {
            assert_int_equal(rig_take(&rig, ACTION_DROP)->client_gone, way == CLOSE);
            assert_null(core_worker_job(chunk.worker));
        }
        if (way == CANCEL)
            rig_take(&rig, ACTION_DONE);
        rig_expect_none(&rig);
        rig_work(&rig, &chunk, MS);
        if (way == DONE)
            rig_take(&rig, ACTION_RESULTS);
        const struct seen *over = rig_take(&rig, ACTION_OVER);
        assert_int_equal(over->job, id);
        assert_ptr_equal(over->function, session);
        assert_null(core_job_by_id(rig.core, id));
        rig_end(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_what_is_useful),
        cmocka_unit_test(waits_for_its_crew),
        cmocka_unit_test(leaves_its_slot_to_others_meanwhile),
        cmocka_unit_test(asks_again_later_where_none_comes),
        cmocka_unit_test(lets_idle_workers_go),
        cmocka_unit_test(lets_old_workers_go),
        cmocka_unit_test(bounds_idle_workers),
        cmocka_unit_test(lets_a_stopped_worker_die),
        cmocka_unit_test(goes_back_to_where_its_child_is),
        cmocka_unit_test(serves_the_older_lasting_job_first),
        cmocka_unit_test(queues_no_pieces_at_a_child),
        cmocka_unit_test(does_not_believe_times),
        cmocka_unit_test(blames_what_kills),
        cmocka_unit_test(runs_nothing_twice_that_may_not),
        cmocka_unit_test(gives_the_function_back_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
