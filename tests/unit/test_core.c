/*
 * The core's calls one by one: what each refuses, with which error, and that nothing has changed then; how
 * jobs open, end, are cancelled and given up; workers that lie and die. Histories are the simulation's.
 */
#include "tests/unit/core_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct job_options plain;

/* When memory is short: so many allocations still succeed; -1: all. */
static int allocations = -1;

static bool is_short(void)
{
    if (allocations > 0)
        allocations--;
    else if (allocations == 0)
        return true;
    return false;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return is_short() ? NULL : __real_calloc(count, size);
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return is_short() ? NULL : __real_aligned_alloc(alignment, size);
}

static struct core_counts counts(const struct rig *rig)
{
    struct core_counts c;
    core_counts(rig->core, &c);
    return c;
}

/*** Opening ***/

static int try_open(struct rig *rig, struct session *session, struct job_request request)
{
    struct job *untouched = (struct job *)rig, *job = untouched;
    int rc = core_job_open(rig->core, session, &request, rig->now_ns, &job);
    if (rc < 0)
        assert_ptr_equal(job, untouched);
    rig_settle(rig);
    return rc;
}

static void refuses_to_open(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct owner_limits limits = {.weight = 1, .jobs = 2, .queued_bytes = 1 << 20};
    struct session *one = rig_session(&rig, 1000, &limits), *two = rig_session(&rig, 1000, &limits);
    struct job *job = rig_open(&rig, one, 7, plain);
    assert_int_equal(try_open(&rig, one, (struct job_request){.ref = 7, .credit = 1}), -EEXIST);
    assert_int_equal(try_open(&rig, one, (struct job_request){.ref = 8, .credit = 0}), -EINVAL);
    assert_int_equal(try_open(&rig, one, (struct job_request){.ref = 8, .credit = UINT64_MAX}), -EINVAL);
    assert_null(core_job_find(one, 8));
    assert_null(core_job_find(two, 7));
    rig_open(&rig, two, 7, plain);
    assert_int_equal(try_open(&rig, one, (struct job_request){.ref = 8, .credit = 1}), -EDQUOT);
    assert_int_equal(try_open(&rig, two, (struct job_request){.ref = 8, .credit = 1}), -EDQUOT);
    /* Another owner is not concerned. */
    rig_open(&rig, rig_session(&rig, 1001, &limits), 8, plain);
    core_job_abandon(rig.core, job, rig.now_ns);
    rig_settle(&rig);
    rig_open(&rig, one, 7, plain);
    assert_int_equal(counts(&rig).jobs, 3);
    rig_end(&rig);
}

static void survives_short_memory(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits), *none = NULL;
    struct worker *worker = NULL;
    struct job *job = rig_open(&rig, session, 1, plain), *no_job = NULL;
    const struct range done = {5, 6};
    struct job_request request = {.ref = 2, .credit = 1, .done = &done, .done_count = 1};
    request.options.priority = 7;          /* which has a heap of its own */
    for (int left = 0; left < 2; left++) { /* a session and its owner */
        allocations = left;
        assert_int_equal(core_session_open(rig.core, 1001, &no_limits, NULL, &none), -ENOMEM);
    }
    for (int left = 0; left < 4; left++) { /* a job, its level, the heap of this, what is done of the job */
        allocations = left;
        assert_int_equal(core_job_open(rig.core, session, &request, rig.now_ns, &no_job), -ENOMEM);
    }
    allocations = 4;
    assert_int_equal(core_job_open(rig.core, session, &request, rig.now_ns, &no_job), 0);
    core_job_abandon(rig.core, no_job, rig.now_ns);
    allocations = 0;
    assert_int_equal(core_worker_add(rig.core, NULL, NULL, rig.now_ns, &worker), -ENOMEM);
    assert_int_equal(rig_items(&rig, job, 1, 1, 'a'), -ENOMEM);
    assert_int_equal(core_job_expects(job), 0);
    allocations = -1;
    assert_int_equal(rig_items(&rig, job, 2, 1, 'a'), 0);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    allocations = 0;
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 1, false, true, 1), -ENOMEM);
    allocations = -1;
    rig_work(&rig, &chunk, 1);
    rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->count, 1);
    rig_end(&rig);
}

static void opens_before_anything_else(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job_request request = {.ref = 3, .credit = 1000, .first = 40};
    struct job *job;
    assert_int_equal(core_job_open(rig.core, session, &request, rig.now_ns, &job), 0);
    assert_int_equal(core_job_expects(job), 40);
    struct batch *batch = rig_batch(1, 3, 'x', false);
    assert_int_equal(core_job_items(rig.core, job, 40, batch, rig.now_ns), 0);
    batch_unref(batch);
    rig_settle(&rig);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK); /* to a worker: that may come earlier */
    assert_int_equal(chunk.first, 40);
    assert_string_equal(chunk.text, "xxx");
    const struct seen *opened = rig_take(&rig, ACTION_OPENED);
    assert_int_equal(opened->credit, 4 << 20);
    assert_int_equal(opened->job, chunk.job);
    rig_expect_none(&rig);
    rig_work(&rig, &chunk, 1000);
    const struct seen *results = rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(results->first, 40);
    assert_false(results->has_done);
    rig_finish(&rig, job);
    assert_int_equal(rig_take(&rig, ACTION_DONE)->done.items, 1);
    rig_end(&rig);
}

static struct job *open_whole(struct rig *rig, struct session *session, uint64_t ref, uint32_t items)
{
    struct job_request request = {.ref = ref, .credit = 1000, .whole = true};
    struct job *job;
    assert_int_equal(core_job_open(rig->core, session, &request, rig->now_ns, &job), 0);
    if (items > 0) {
        struct batch *batch = rig_batch(items, 1, 'i', false);
        assert_int_equal(core_job_items(rig->core, job, 0, batch, rig->now_ns), 0);
        batch_unref(batch);
    }
    assert_int_equal(core_job_end(rig->core, job, items, rig->now_ns), 0);
    rig_settle(rig);
    return job;
}

static void answers_a_whole_job_by_its_results(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    open_whole(&rig, session, 1, 1);
    struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
    rig_expect_none(&rig);
    rig_work(&rig, &chunk, 2 * MS);
    const struct seen *results = rig_take(&rig, ACTION_RESULTS);
    assert_true(results->has_done);
    assert_int_equal(results->done.job, chunk.job);
    assert_int_equal(results->done.outcome, OUTCOME_DONE);
    assert_int_equal(results->done.items, 1);
    assert_int_equal(results->done.chunks, 1);
    assert_int_equal(results->done.slots, 1);
    assert_int_equal(results->done.run_ns, 2 * MS);
    assert_int_equal(results->done.bytes_in, 1);
    assert_int_equal(results->done.bytes_out, 1);
    assert_null(core_job_find(session, 1));
    /* A job of no items at all. */
    open_whole(&rig, session, 1, 0);
    const struct seen *done = rig_take(&rig, ACTION_DONE);
    assert_int_equal(done->ref, 1);
    assert_int_equal(done->done.items, 0);
    assert_int_equal(done->done.queue_ns, 0);
    assert_int_equal(counts(&rig).jobs_done, 2);
    rig_end(&rig);
}

/*** Items and credit out of place ***/

static int items_at(struct rig *rig, struct job *job, uint64_t first, uint32_t count, bool more)
{
    struct batch *batch = rig_batch(count, more ? PROTOCOL_PIECE_MIN : 1, 'i', more);
    int rc = core_job_items(rig->core, job, first, batch, rig->now_ns);
    assert_int_equal(batch->refs, rc < 0 ? 1 : batch->refs);
    batch_unref(batch);
    rig_settle(rig);
    return rc;
}

static void refuses_items_out_of_place(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 0);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    const struct range done[] = {{0, 2}, {5, 7}, {7, 9}};
    struct job_request request = {.ref = 1, .credit = 1, .done = done, .done_count = 3};
    struct job *job;
    assert_int_equal(core_job_open(rig.core, session, &request, rig.now_ns, &job), 0);
    rig_settle(&rig);
    rig_forget(&rig);
    assert_int_equal(core_job_expects(job), 2);
    assert_int_equal(items_at(&rig, job, 0, 1, false), -EPROTO);
    assert_int_equal(items_at(&rig, job, 3, 1, false), -EPROTO);
    assert_int_equal(items_at(&rig, job, 2, 4, false), -EPROTO); /* into 5 */
    assert_int_equal(items_at(&rig, job, 2, 2, true), -EPROTO);  /* two records in a piece */
    assert_int_equal(items_at(&rig, job, 2, 3, false), 0);
    assert_int_equal(core_job_expects(job), 9); /* two ranges jumped over */
    assert_int_equal(rig_piece(&rig, job, PROTOCOL_PIECE_MIN - 1, true), -EPROTO);
    assert_int_equal(rig_piece(&rig, job, PROTOCOL_PIECE_MIN, true), 0);
    assert_int_equal(items_at(&rig, job, 9, 2, false), -EPROTO);           /* between its pieces */
    assert_int_equal(core_job_end(rig.core, job, 9, rig.now_ns), -EPROTO); /* likewise */
    assert_int_equal(rig_piece(&rig, job, 0, false), 0);
    assert_int_equal(core_job_expects(job), 10);
    assert_int_equal(core_job_end(rig.core, job, 11, rig.now_ns), -EPROTO);
    assert_int_equal(core_job_credit(rig.core, job, 1, rig.now_ns), -EPROTO); /* nothing was sent */
    assert_int_equal(core_job_end(rig.core, job, 10, rig.now_ns), 0);
    assert_int_equal(core_job_end(rig.core, job, 10, rig.now_ns), -EPROTO);
    assert_int_equal(items_at(&rig, job, 10, 1, false), -EPROTO);
    rig_settle(&rig);
    rig_expect_none(&rig);
    assert_int_equal(counts(&rig).queued_items, 4);
    rig_end(&rig);
}

static void refuses_indices_beyond_the_last(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 0);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job_request request = {.ref = 1, .credit = 1, .first = PROTOCOL_COUNT_MAX - 2};
    struct job *job;
    assert_int_equal(core_job_open(rig.core, session, &request, rig.now_ns, &job), 0);
    rig_settle(&rig);
    rig_forget(&rig);
    assert_int_equal(items_at(&rig, job, PROTOCOL_COUNT_MAX - 2, 3, false), -EPROTO);
    assert_int_equal(items_at(&rig, job, PROTOCOL_COUNT_MAX - 2, 2, false), 0);
    assert_int_equal(core_job_expects(job), PROTOCOL_COUNT_MAX);
    assert_int_equal(items_at(&rig, job, PROTOCOL_COUNT_MAX, 1, false), -EPROTO);
    assert_int_equal(items_at(&rig, job, PROTOCOL_COUNT_MAX, 1, true), -EPROTO);
    rig_finish(&rig, job);
    rig_end(&rig);
}

/* Small batches are copied together; what is in them, and where, must stay as it was, across gaps too. */
static void gathers_small_batches(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 0);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    const struct range done[] = {{3, 5}, {9, 10}};
    struct job_request request = {
        .ref = 1, .credit = 1 << 20, .expected_ns = 1, .done = done, .done_count = 2};
    struct job *job;
    assert_int_equal(core_job_open(rig.core, session, &request, rig.now_ns, &job), 0);
    rig_settle(&rig);
    rig_forget(&rig);
    for (int i = 0; i < 10; i++) /* 0 1 2 _ _ 5 6 7 8 _ 10 11 12 */
        assert_int_equal(rig_items(&rig, job, 1, (size_t)i % 3, (char)('a' + i)), 0);
    assert_int_equal(core_job_expects(job), 13);
    assert_int_equal(rig_items(&rig, job, 1, 9000, 'L'), 0); /* too large for that */
    assert_int_equal(rig_items(&rig, job, 2, 1, 'z'), 0);
    rig_finish(&rig, job);

    rig_add_worker(&rig);
    char all[256] = "";
    uint64_t next = 0, items = 0;
    while (rig.taken < rig.seen_count) {
        struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
        assert_true(chunk.first >= next);
        next = chunk.first + chunk.count;
        items += chunk.count;
        if (chunk.size < sizeof chunk.text)
            strncat(all, chunk.text, sizeof all - strlen(all) - 1);
        else
            assert_int_equal(chunk.first, 13);
        strncat(all, "|", sizeof all - strlen(all) - 1);
        rig_work(&rig, &chunk, 10);
        while (rig.taken < rig.seen_count && rig.seen[rig.taken].type == ACTION_RESULTS)
            rig_take(&rig, ACTION_RESULTS);
    }
    assert_int_equal(next, 16);
    assert_int_equal(items, 13);
    assert_string_equal(all, "|bcc|eff|hii||zz|"); /* each run of indices is a chunk */
    rig_end(&rig);
}

/*** Ends ***/

static struct seen start_job(struct rig *rig, struct session *session, uint64_t ref, struct job **job)
{
    *job = rig_open(rig, session, ref, plain);
    assert_int_equal(rig_items(rig, *job, 3, 10, 'i'), 0);
    return *rig_take(rig, ACTION_CHUNK); /* of one item: nothing is known of their time */
}

static void expect_cancelled(struct rig *rig, uint64_t ref)
{
    const struct seen *done = rig_take(rig, ACTION_DONE);
    assert_int_equal(done->ref, ref);
    assert_int_equal(done->done.outcome, OUTCOME_CANCELLED);
    rig_expect_none(rig);
}

static void cancels_at_any_time(void **unused)
{
    (void)unused;
    struct rig rig;
    struct job *job;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    /* Before OPENED has come out: then it does not. */
    struct job_request request = {.ref = 1, .credit = 1};
    assert_int_equal(core_job_open(rig.core, session, &request, rig.now_ns, &job), 0);
    core_job_cancel(rig.core, job, rig.now_ns);
    core_job_cancel(rig.core, job, rig.now_ns); /* once more says nothing more */
    assert_int_equal(core_job_items(rig.core, job, 99, NULL, rig.now_ns), 0); /* crossed it */
    assert_int_equal(core_job_end(rig.core, job, 99, rig.now_ns), 0);
    assert_int_equal(core_job_credit(rig.core, job, 99, rig.now_ns), 0);
    rig_settle(&rig);
    expect_cancelled(&rig, 1);
    assert_null(core_job_find(session, 1));

    /* With nothing at a worker. */
    job = rig_open(&rig, session, 1, plain);
    core_job_cancel(rig.core, job, rig.now_ns);
    rig_settle(&rig);
    expect_cancelled(&rig, 1);

    /* While a chunk is at a worker: that one is told to drop it, and holds its slot until it has. */
    struct seen chunk = start_job(&rig, session, 1, &job);
    core_job_cancel(rig.core, job, rig.now_ns);
    rig_settle(&rig);
    assert_int_equal(rig_take(&rig, ACTION_DROP)->chunk, chunk.chunk);
    expect_cancelled(&rig, 1);
    assert_int_equal(counts(&rig).orphans, 1);
    assert_int_equal(counts(&rig).busy, 1);
    assert_int_equal(counts(&rig).held_bytes, 0);
    struct seen next = {0};
    job = rig_open(&rig, session, 1, plain); /* the number may be used again */
    assert_int_equal(rig_items(&rig, job, 1, 1, 'x'), 0);
    rig_expect_none(&rig);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 5, false, true, 1), 0);
    next = *rig_take(&rig, ACTION_CHUNK);
    rig_expect_none(&rig);
    assert_true(next.chunk > chunk.chunk && next.job > chunk.job);
    assert_int_equal(counts(&rig).orphans, 0);
    assert_int_equal(counts(&rig).items_done, 0); /* nobody wanted that result */

    /* After its results have gone out. */
    rig_work(&rig, &next, 5);
    rig_take(&rig, ACTION_RESULTS);
    core_job_cancel(rig.core, job, rig.now_ns);
    rig_settle(&rig);
    expect_cancelled(&rig, 1);
    rig_end(&rig);
}

static void gives_jobs_up_without_a_word(void **unused)
{
    (void)unused;
    struct rig rig;
    struct job *job;
    rig_start(&rig, NULL, 1);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    core_job_abandon(rig.core, rig_open(&rig, session, 1, plain), rig.now_ns);
    rig_settle(&rig);
    struct seen chunk = start_job(&rig, session, 1, &job);
    core_job_abandon(rig.core, job, rig.now_ns);
    rig_settle(&rig);
    assert_int_equal(rig_take(&rig, ACTION_DROP)->chunk, chunk.chunk);
    rig_expect_none(&rig);
    assert_null(core_job_find(session, 1));
    assert_int_equal(counts(&rig).jobs, 0);
    assert_int_equal(counts(&rig).orphans, 1);
    /* Given up in the midst of a large result. */
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 9, true, false, 1), 0);
    assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 0, 0, false, true, 1), 0);
    assert_int_equal(counts(&rig).orphans, 0);
    rig_end(&rig);
}

static void outlives_its_session_with_what_is_in_flight(void **unused)
{
    (void)unused;
    struct rig rig;
    struct job *job;
    rig_start(&rig, NULL, 3);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct seen one = start_job(&rig, session, 1, &job);
    struct seen two = *rig_take(&rig, ACTION_CHUNK);
    struct seen three = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(rig_worked(&rig, two.worker, two.chunk, 1, 7, false, true, 1), 0); /* waits for `one` */
    rig_open(&rig, session, 2, plain);
    core_session_close(rig.core, session, rig.now_ns);
    rig_settle(&rig);
    assert_int_equal(rig_take(&rig, ACTION_DROP)->chunk, one.chunk);
    assert_int_equal(rig_take(&rig, ACTION_DROP)->chunk, three.chunk);
    rig_expect_none(&rig);
    struct core_counts c = counts(&rig);
    assert_int_equal(c.sessions, 0);
    assert_int_equal(c.jobs, 0);
    assert_int_equal(c.orphans, 2);
    assert_int_equal(c.busy, 2);
    assert_int_equal(c.held_bytes, 0);
    struct owner_view owner;
    const void *cursor = NULL;
    assert_true(core_owner_next(rig.core, &cursor, &owner));
    assert_int_equal(owner.running, 2); /* still charged */
    assert_false(core_owner_next(rig.core, &cursor, &owner));
    core_worker_gone(rig.core, one.worker, rig.now_ns);
    rig_settle(&rig);
    assert_int_equal(counts(&rig).orphans, 1);
    assert_int_equal(rig_worked(&rig, three.worker, three.chunk, 0, 0, false, true, 1), 0);
    assert_int_equal(counts(&rig).orphans, 0);
    assert_int_equal(counts(&rig).workers, 2);
    rig_end(&rig);
}

/*** Workers that lie and die ***/

static void refuses_what_a_worker_may_not_say(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 2);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open_timed(&rig, session, 1, (struct job_options){.chunksize = 4}, 10 * US);
    assert_int_equal(rig_items(&rig, job, 12, 10, 'i'), 0);
    struct seen a = *rig_take(&rig, ACTION_CHUNK), b = *rig_take(&rig, ACTION_CHUNK);
    struct seen queued = *rig_take(&rig, ACTION_CHUNK);
    struct worker *w = queued.worker, *other = w == a.worker ? b.worker : a.worker;
    struct seen *first = w == a.worker ? &a : &b;
    assert_ptr_not_equal(a.worker, b.worker);
    rig_expect_none(&rig);
    assert_int_equal(rig_worked(&rig, w, 999, 1, 1, false, true, 1), -EPROTO);              /* no such */
    assert_int_equal(rig_worked(&rig, other, first->chunk, 1, 1, false, true, 1), -EPROTO); /* not its */
    assert_int_equal(rig_worked(&rig, w, queued.chunk, 1, 1, false, true, 1), -EPROTO);     /* not its turn */
    assert_int_equal(rig_worked(&rig, w, queued.chunk, 0, 0, false, true, 1), -EPROTO);  /* not asked back */
    assert_int_equal(rig_worked(&rig, w, first->chunk, 5, 1, false, true, 1), -EPROTO);  /* too many */
    assert_int_equal(rig_worked(&rig, w, first->chunk, 0, 0, false, false, 1), -EPROTO); /* nothing */
    assert_int_equal(rig_worked(&rig, w, first->chunk, 2, 1, true, false, 1), -EPROTO);  /* two in a piece */
    assert_int_equal(rig_worked(&rig, w, first->chunk, 1, 1, true, true, 1), -EPROTO);   /* last within one */
    assert_int_equal(rig_worked(&rig, w, first->chunk, 1, 1, false, true, -1), -EPROTO); /* a time below 0 */
    struct batch *batch = rig_batch(1, 1, 'r', false);
    assert_int_equal(core_worked(rig.core, w, first->chunk, batch, true, 1, -1, rig.now_ns), -EPROTO);
    batch_unref(batch);
    assert_int_equal(counts(&rig).items_done, 0);
    assert_int_equal(counts(&rig).run_ns, 0);
    assert_int_equal(rig_worked(&rig, w, first->chunk, 1, 1, true, false, 1), 0);
    assert_int_equal(rig_worked(&rig, w, first->chunk, 2, 1, false, false, 1), -EPROTO); /* within a piece */
    assert_int_equal(rig_worked(&rig, w, first->chunk, 0, 0, false, true, 1), -EPROTO);
    assert_int_equal(rig_worked(&rig, w, first->chunk, 1, 1, false, false, 1), 0);
    assert_int_equal(rig_worked(&rig, w, first->chunk, 4, 1, false, true, 1), -EPROTO); /* three are left */
    assert_int_equal(rig_worked(&rig, w, first->chunk, 3, 1, false, true, 1), 0);
    assert_int_equal(counts(&rig).items_done, 4);
    rig_forget(&rig);
    rig_end(&rig);
}

/* A worker dies in the middle of a large result, of which the client has the beginning: that item fails, with
 * a word why; what was finished stands, and the rest is run elsewhere. */
static void fails_the_item_whose_result_breaks(void **unused)
{
    (void)unused;
    for (int no_order = 0; no_order < 2; no_order++) {
        struct rig rig;
        rig_start(&rig, NULL, 1);
        struct session *session = rig_session(&rig, 1000, &no_limits);
        struct job_options options = {.unordered = no_order, .chunksize = 3};
        struct job *job = rig_open_timed(&rig, session, 1, options, 10 * US);
        assert_int_equal(rig_items(&rig, job, 3, 10, 'i'), 0);
        rig_finish(&rig, job);
        struct seen chunk = *rig_take(&rig, ACTION_CHUNK);
        assert_int_equal(chunk.count, 3);
        assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 4, false, false, 1), 0);
        assert_int_equal(rig_take(&rig, ACTION_RESULTS)->size, 4);
        assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 500, true, false, 1), 0);
        const struct seen *piece = rig_take(&rig, ACTION_RESULTS);
        assert_true(piece->more && piece->first == 1);
        core_worker_gone(rig.core, chunk.worker, rig.now_ns);
        rig_settle(&rig);
        const struct seen *end = rig_take(&rig, ACTION_RESULTS);
        assert_int_equal(end->first, 1);
        assert_int_equal(end->count, 1);
        assert_int_equal(end->size, 0);
        assert_false(end->more);
        assert_true(end->frames > 12 + NOTE_SIZE + 10); /* it says why */
        assert_int_equal(counts(&rig).items_failed, 1);
        rig_expect_none(&rig);
        rig_add_worker(&rig);
        struct seen rest = *rig_take(&rig, ACTION_CHUNK);
        assert_int_equal(rest.first, 2);
        assert_int_equal(rest.count, 1);
        rig_work(&rig, &rest, 1);
        const struct seen *last = rig_take(&rig, ACTION_RESULTS);
        assert_true(last->has_done);
        assert_int_equal(last->done.items, 3);
        assert_int_equal(last->done.failed, 1);
        rig_end(&rig);
    }
}

/* With no memory to say so, the job has to end. */
static void cancels_what_cannot_be_told(void **unused)
{
    (void)unused;
    for (int no_order = 0; no_order < 2; no_order++) {
        struct rig rig;
        rig_start(&rig, NULL, 2);
        struct session *session = rig_session(&rig, 1000, &no_limits);
        struct job_options options = {.unordered = no_order, .chunksize = 2};
        struct job *job = rig_open_timed(&rig, session, 1, options, 10 * US);
        assert_int_equal(rig_items(&rig, job, 4, 10, 'i'), 0);
        struct seen chunk = *rig_take(&rig, ACTION_CHUNK), other = *rig_take(&rig, ACTION_CHUNK);
        assert_int_equal(rig_worked(&rig, chunk.worker, chunk.chunk, 1, 500, true, false, 1), 0);
        rig_take(&rig, ACTION_RESULTS);
        allocations = 0;
        core_worker_gone(rig.core, chunk.worker, rig.now_ns);
        allocations = -1;
        rig_settle(&rig);
        assert_int_equal(rig_take(&rig, ACTION_DROP)->chunk, other.chunk);
        expect_cancelled(&rig, 1);
        assert_int_equal(counts(&rig).held_bytes, 0);
        assert_int_equal(rig_worked(&rig, other.worker, other.chunk, 2, 1, false, true, 1), 0);
        assert_int_equal(counts(&rig).orphans, 0);
        rig_end(&rig);
    }
}

/* Results of others may not get between the pieces of a large one, and go out as soon as it is through. */
static void keeps_large_results_together(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig, NULL, 3);
    struct session *session = rig_session(&rig, 1000, &no_limits);
    struct job *job = rig_open(&rig, session, 1, (struct job_options){.unordered = true});
    assert_int_equal(rig_items(&rig, job, 3, 10, 'i'), 0);
    rig_finish(&rig, job);
    struct seen a = *rig_take(&rig, ACTION_CHUNK), b = *rig_take(&rig, ACTION_CHUNK);
    struct seen c = *rig_take(&rig, ACTION_CHUNK);
    assert_int_equal(rig_worked(&rig, b.worker, b.chunk, 1, 8, true, false, 1), 0);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->first, 1);
    assert_int_equal(rig_worked(&rig, c.worker, c.chunk, 1, 7, true, false, 1), 0);
    assert_int_equal(rig_worked(&rig, a.worker, a.chunk, 1, 6, false, true, 1), 0);
    rig_expect_none(&rig);
    assert_int_equal(rig_worked(&rig, b.worker, b.chunk, 1, 5, false, true, 1), 0);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->size, 5);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->size, 6);
    assert_int_equal(rig_take(&rig, ACTION_RESULTS)->size, 7);
    rig_expect_none(&rig);
    assert_int_equal(rig_worked(&rig, c.worker, c.chunk, 1, 4, false, true, 1), 0);
    const struct seen *last = rig_take(&rig, ACTION_RESULTS);
    assert_int_equal(last->size, 4);
    assert_true(last->has_done);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_to_open),
        cmocka_unit_test(survives_short_memory),
        cmocka_unit_test(opens_before_anything_else),
        cmocka_unit_test(answers_a_whole_job_by_its_results),
        cmocka_unit_test(refuses_items_out_of_place),
        cmocka_unit_test(refuses_indices_beyond_the_last),
        cmocka_unit_test(gathers_small_batches),
        cmocka_unit_test(cancels_at_any_time),
        cmocka_unit_test(gives_jobs_up_without_a_word),
        cmocka_unit_test(outlives_its_session_with_what_is_in_flight),
        cmocka_unit_test(refuses_what_a_worker_may_not_say),
        cmocka_unit_test(fails_the_item_whose_result_breaks),
        cmocka_unit_test(cancels_what_cannot_be_told),
        cmocka_unit_test(keeps_large_results_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
