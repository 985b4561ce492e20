/*
 * libpmap over the loss of its daemon: what of a job the next one is asked to run again, and what becomes of
 * results that were taken in part.
 */
#include "tests/unit/loss_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*** What is not to be run again ***/

static void sees_the_rest_only(struct fake *fake)
{
    uint64_t ref;
    if (!fake_welcome(fake, 1, 1))
        return;
    struct message m;
    if (!fake_expect(fake, MSG_OPEN, &m))
        return;
    fake_opened(fake, m.open.ref, 1000);
    answer(fake, m.open.ref, 0, 1, false);
    if (!another(fake) || !opens(fake, 3, "d", &ref))
        return;
    answer(fake, ref, 3, 1, true);
    fake_silent(fake);
}

static void at_most_once(void **state)
{
    (void)state;
    for (int unordered = 0; unordered < 2; unordered++) {
        pmap *pool;
        struct fake *fake = start(sees_the_rest_only, LONG_MS, &pool);
        const struct pmap_job_options options = {.once = 1, .unordered = unordered};
        pmap_job *job = open_job(pool, &options, "abc", false);
        assert_result(job, 0, "0", 0, NULL);
        lose(fake, pool);
        assert_int_equal(pmap_put(job, "d", 1), 0);
        assert_int_equal(pmap_end(job), 0);
        assert_result(job, 1, "", 0, "the daemon was lost while it ran");
        assert_result(job, 2, "", 0, "the daemon was lost while it ran");
        assert_result(job, 3, "3", 0, NULL);
        assert_end(job, PMAP_DONE);
        struct pmap_report report;
        pmap_get_report(job, &report);
        assert_true(report.items == 4 && report.failed == 2 && report.item_count == 2);
        stop(fake, pool);
    }
}

/* BEGUN of one range, or of none, where to is 0. */
static void begun(struct fake *fake, uint64_t ref, uint64_t from, uint64_t to)
{
    const struct range range = {from, to};
    fake_send(fake,
              &(struct message){.type = MSG_BEGUN,
                                .begun = {.ref = ref, .items = to > 0 ? &range : NULL, .count = to > 0}},
              NULL, 0);
}

/* Each daemon speaks version `max`, and stops in good order; the first one has begun the items 1 and 2. */
static void tells_what_it_began(struct fake *fake, uint32_t max)
{
    struct message m;
    uint64_t ref;
    if (!fake_welcome(fake, 1, max) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    fake_opened(fake, m.open.ref, 1000);
    answer(fake, m.open.ref, 0, 1, false);
    if (!fake_wait(fake))
        return;
    if (max > 1)
        begun(fake, m.open.ref, 1, 3);
    refuse(fake, NULL, PERR_STOPPING);
    if (!fake_wait(fake))
        return;
    fake_die(fake);
    fake_rise(fake);
    if (!fake_welcome_back(fake) || !opens(fake, max > 1 ? 3 : 4, max > 1 ? "de" : "e", &ref))
        return;
    answer(fake, ref, max > 1 ? 3 : 4, max > 1 ? 2 : 1, true);
    fake_silent(fake);
}

static void stops_by_version_1(struct fake *fake)
{
    tells_what_it_began(fake, 1);
}

static void stops_by_version_2(struct fake *fake)
{
    tells_what_it_began(fake, 2);
}

/* Who stops in good order tells what it had begun, and the rest is run; an older one does not tell. */
static void at_most_once_in_good_order(void **state)
{
    (void)state;
    for (int newer = 0; newer < 2; newer++) {
        pmap *pool;
        struct fake *fake = start(newer ? stops_by_version_2 : stops_by_version_1, LONG_MS, &pool);
        pmap_job *job = open_job(pool, &(struct pmap_job_options){.once = 1}, "abcd", false);
        assert_result(job, 0, "0", 0, NULL);
        lose(fake, pool);
        fake_go(fake);
        assert_int_equal(pmap_put(job, "e", 1), 0);
        assert_int_equal(pmap_end(job), 0);
        assert_result(job, 1, "", 0, "the daemon was lost while it ran");
        assert_result(job, 2, "", 0, "the daemon was lost while it ran");
        assert_result(job, 3, newer ? "3" : "", 0, newer ? NULL : "the daemon was lost while it ran");
        assert_result(job, 4, "4", 0, NULL);
        assert_end(job, PMAP_DONE);
        stop(fake, pool);
    }
}

/* Without order, in the middle; and its connection breaks before it can say that it stops. */
static void begins_some_and_breaks(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 2) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    fake_opened(fake, m.open.ref, 1000);
    answer(fake, m.open.ref, 3, 1, false);
    begun(fake, m.open.ref, 2, 5);
    if (!pong(fake) || !another(fake) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    struct bytes came = fake_frame(fake, 3);
    if (m.open.first != 0 || m.open.done_count != 1 || m.open.done[0].from != 2 || m.open.done[0].to != 5 ||
        came.size != 2 || memcmp(came.data, "ab", 2) != 0)
        return;
    uint64_t ref = m.open.ref;
    fake_opened(fake, ref, 1000);
    if (!fake_expect(fake, MSG_END, &m))
        return;
    answer(fake, ref, 5, 1, false);
    answer(fake, ref, 0, 2, true);
    fake_silent(fake);
}

static void at_most_once_without_order(void **state)
{
    (void)state;
    pmap *pool;
    struct fake *fake = start(begins_some_and_breaks, LONG_MS, &pool);
    const struct pmap_job_options options = {.once = 1, .unordered = 1};
    pmap_job *job = open_job(pool, &options, "abcdef", false);
    assert_result(job, 3, "3", 0, NULL);
    assert_true(pmap_ping(pool, LONG_MS) > 0); /* BEGUN is there */
    lose(fake, pool);
    assert_int_equal(pmap_end(job), 0);
    assert_result(job, 2, "", 0, "the daemon was lost while it ran");
    assert_result(job, 4, "", 0, "the daemon was lost while it ran");
    assert_result(job, 5, "5", 0, NULL);
    assert_result(job, 0, "0", 0, NULL);
    assert_result(job, 1, "1", 0, NULL);
    assert_end(job, PMAP_DONE);
    stop(fake, pool);
}

/* A job that came whole, and that a daemon would not have any more: nothing of it was begun. */
static void refuses_it_whole(struct fake *fake)
{
    uint64_t ref;
    if (!fake_welcome(fake, 1, 2) || !opens(fake, 0, "ab", &ref))
        return;
    refuse(fake, &ref, PERR_STOPPING);
    if (!fake_welcome_back(fake) || !opens(fake, 0, "ab", &ref))
        return;
    answer(fake, ref, 0, 2, true);
    fake_silent(fake);
}

static void at_most_once_and_refused(void **state)
{
    (void)state;
    pmap *pool;
    struct fake *fake = start(refuses_it_whole, LONG_MS, &pool);
    pmap_job *job = open_job(pool, &(struct pmap_job_options){.once = 1}, "ab", true);
    assert_result(job, 0, "0", 0, NULL);
    assert_result(job, 1, "1", 0, NULL);
    assert_end(job, PMAP_DONE);
    stop(fake, pool);
}

/* One that has begun all there is, says so twice, and for a job that is not there: what was not sent it
 * cannot have begun. */
static void claims_too_much(struct fake *fake)
{
    struct message m;
    uint64_t ref;
    if (!fake_welcome(fake, 1, 2) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    fake_opened(fake, m.open.ref, 1);
    begun(fake, m.open.ref + 1, 0, 1);
    begun(fake, m.open.ref, 0, 1);
    begun(fake, m.open.ref, 0, PROTOCOL_COUNT_MAX);
    if (!pong(fake) || !another(fake) || !opens(fake, 2, "c", &ref))
        return;
    answer(fake, ref, 2, 1, true);
    fake_silent(fake);
}

static void at_most_once_and_claimed(void **state)
{
    (void)state;
    for (int unordered = 0; unordered < 2; unordered++) {
        pmap *pool;
        struct fake *fake = start(claims_too_much, LONG_MS, &pool);
        const struct pmap_job_options options = {.once = 1, .unordered = unordered};
        pmap_job *job = open_job(pool, &options, "ab", false);
        assert_true(pmap_ping(pool, LONG_MS) > 0);
        assert_int_equal(pmap_put(job, "c", 1), 0);
        assert_int_equal(pmap_end(job), 0);
        lose(fake, pool);
        assert_result(job, 0, "", 0, "the daemon was lost while it ran");
        assert_result(job, 1, "", 0, "the daemon was lost while it ran");
        assert_result(job, 2, "2", 0, NULL);
        assert_end(job, PMAP_DONE);
        stop(fake, pool);
    }
}

static void fails_and_goes(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    fake_opened(fake, m.open.ref, 1000);
    m = (struct message){.results = {.ref = m.open.ref}};
    fake_result(fake, &m, "", "it broke");
    if (!another(fake))
        return;
    while (fake_receive(fake, &m))
        if (m.type == MSG_OPEN)
            fprintf(stderr, "a halted job was opened again\n"), abort();
}

static void halted_before(void **state)
{
    (void)state;
    pmap *pool;
    struct fake *fake = start(fails_and_goes, LONG_MS, &pool);
    pmap_job *job = open_job(pool, &(struct pmap_job_options){.halt = PMAP_HALT_SOON}, "abc", false);
    assert_result(job, 0, "", 0, "it broke");
    lose(fake, pool);
    assert_result(job, 1, "", 0, "not run");
    assert_result(job, 2, "", 0, "not run");
    while (pmap_get_info(pool)->lost)
        assert_int_equal(pmap_wait(pool, LONG_MS), 0);
    assert_int_equal(pmap_put(job, "d", 1), 0);
    assert_int_equal(pmap_end(job), 0);
    assert_result(job, 3, "", 0, "not run");
    assert_end(job, PMAP_DONE);
    stop(fake, pool);
}

/*** Results that were taken in part ***/

static void loses_a_piece(struct fake *fake)
{
    struct message m = {.results = {.more = true, .first = 1}};
    uint64_t ref;
    if (!fake_welcome(fake, 1, 1) || !opens(fake, 0, "abc", &m.results.ref))
        return;
    answer(fake, m.results.ref, 0, 1, false);
    fake_result(fake, &m, "tw", NULL);
    fake_result(fake, &m, "el", NULL);
    if (!pong(fake) || !another(fake) || !opens(fake, 1, "bc", &ref))
        return;
    m = (struct message){.results = {.ref = ref, .more = true, .first = 1}};
    fake_result(fake, &m, "twe", NULL);
    fake_result(fake, &m, "lve p", NULL);
    if (!another(fake) || !opens(fake, 1, "bc", &ref))
        return;
    m.results.ref = ref;
    m.results.more = false;
    fake_result(fake, &m, "twelve plus", NULL);
    answer(fake, ref, 2, 1, true);
    fake_silent(fake);
}

static void in_its_midst(void **state)
{
    (void)state;
    pmap *pool;
    struct fake *fake = start(loses_a_piece, LONG_MS, &pool);
    pmap_job *job = open_job(pool, NULL, "abc", true);
    assert_result(job, 0, "0", 0, NULL);
    assert_result(job, 1, "tw", 1, NULL);
    assert_true(pmap_ping(pool, LONG_MS) > 0); /* the next piece is there */
    lose(fake, pool);
    assert_result(job, 1, "el", 1, NULL);
    assert_result(job, 1, "ve p", 1, NULL);
    lose(fake, pool);
    assert_result(job, 1, "lus", 0, NULL);
    assert_result(job, 2, "2", 0, NULL);
    assert_end(job, PMAP_DONE);
    struct pmap_report report;
    pmap_get_report(job, &report);
    assert_true(report.items == 3 && report.bytes_out == 1 + 11 + 1 && report.item_count == 3);
    stop(fake, pool);
}

static void says_something_else(struct fake *fake)
{
    struct message m = {.results = {.more = true}};
    uint64_t ref;
    if (!fake_welcome(fake, 1, 1) || !opens(fake, 0, "ab", &m.results.ref))
        return;
    fake_result(fake, &m, "twel", NULL);
    if (!another(fake) || !opens(fake, 0, "ab", &ref))
        return;
    m.results.ref = ref;
    fake_result(fake, &m, "thir", NULL);
    fake_result(fake, &m, "te", NULL);
    m.results.more = false;
    fake_result(fake, &m, "en", NULL);
    answer(fake, ref, 1, 1, true);
    fake_silent(fake);
}

static void another_result(void **state)
{
    (void)state;
    pmap *pool;
    struct fake *fake = start(says_something_else, LONG_MS, &pool);
    pmap_job *job = open_job(pool, NULL, "ab", true);
    assert_result(job, 0, "twel", 1, NULL);
    fake_go(fake);
    assert_result(job, 0, "", 0, "run again it wrote something else");
    assert_result(job, 1, "1", 0, NULL);
    assert_end(job, PMAP_DONE);
    struct pmap_report report;
    pmap_get_report(job, &report);
    assert_true(report.items == 2 && report.failed == 1);
    stop(fake, pool);
}

/* Without order: item 2 was taken, item 1 in part. */
static void loses_one_of_many(struct fake *fake)
{
    struct message m = {.results = {.more = true, .first = 1}};
    uint64_t ref;
    if (!fake_welcome(fake, 1, 1) || !opens(fake, 0, "abcd", &m.results.ref))
        return;
    answer(fake, m.results.ref, 2, 1, false);
    fake_result(fake, &m, "twel", NULL);
    if (!another(fake) || !opens(fake, 1, "b", &ref))
        return;
    m.results.ref = ref;
    m.results.more = false;
    m.results.has_done = true;
    m.results.done = (struct job_report){.job = 1, .items = 1, .chunks = 1};
    fake_result(fake, &m, "twelve", NULL);
    if (!fake_expect(fake, MSG_OPEN, &m))
        return;
    if (m.open.first != 0 || m.open.done_count != 1 || m.open.done[0].from != 1 || m.open.done[0].to != 3 ||
        m.open.end)
        return;
    ref = m.open.ref;
    fake_opened(fake, ref, 1000);
    if (!fake_expect(fake, MSG_END, &m))
        return;
    answer(fake, ref, 3, 1, false);
    answer(fake, ref, 0, 1, true);
    fake_silent(fake);
}

static void before_all_others(void **state)
{
    (void)state;
    pmap *pool;
    struct fake *fake = start(loses_one_of_many, LONG_MS, &pool);
    pmap_job *job = open_job(pool, &(struct pmap_job_options){.unordered = 1}, "abcd", true);
    assert_result(job, 2, "2", 0, NULL);
    assert_result(job, 1, "twel", 1, NULL);
    fake_go(fake);
    assert_result(job, 1, "ve", 0, NULL);
    assert_result(job, 3, "3", 0, NULL);
    assert_result(job, 0, "0", 0, NULL);
    assert_end(job, PMAP_DONE);
    struct pmap_report report;
    pmap_get_report(job, &report);
    assert_true(report.items == 4 && report.chunks == 2 + 1 + 3);
    stop(fake, pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_most_once),
        cmocka_unit_test(at_most_once_in_good_order),
        cmocka_unit_test(at_most_once_without_order),
        cmocka_unit_test(at_most_once_and_refused),
        cmocka_unit_test(at_most_once_and_claimed),
        cmocka_unit_test(halted_before),
        cmocka_unit_test(in_its_midst),
        cmocka_unit_test(another_result),
        cmocka_unit_test(before_all_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
