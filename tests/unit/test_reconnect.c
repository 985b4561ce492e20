/*
 * libpmap over the loss of its daemon: how it comes to the next one, and what that may say.
 */
#include "tests/unit/loss_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*** In order ***/

static void lost_twice(struct fake *fake)
{
    uint64_t ref;
    if (!fake_welcome(fake, 1, 1) || !opens(fake, 0, "abcde", &ref))
        return;
    answer(fake, ref, 0, 2, false);
    if (!pong(fake) || !another(fake) || !opens(fake, 2, "cde", &ref))
        return;
    answer(fake, ref, 2, 1, false);
    if (!another(fake) || !opens(fake, 3, "de", &ref))
        return;
    answer(fake, ref, 3, 2, true);
    fake_silent(fake);
}

static void goes_on(void **state)
{
    (void)state;
    pmap *pool;
    struct fake *fake = start(lost_twice, LONG_MS, &pool);
    int fd = pmap_fd(pool);
    pmap_job *job = open_job(pool, NULL, "abcde", true);
    assert_result(job, 0, "0", 0, NULL);
    assert_true(pmap_ping(pool, LONG_MS) > 0); /* the second result is there, and was not taken */
    lose(fake, pool);
    assert_result(job, 1, "1", 0, NULL);
    assert_result(job, 2, "2", 0, NULL);
    lose(fake, pool);
    assert_result(job, 3, "3", 0, NULL);
    assert_result(job, 4, "4", 0, NULL);
    assert_end(job, PMAP_DONE);
    assert_int_equal(pmap_fd(pool), fd);
    assert_int_equal(pmap_get_info(pool)->losses, 2);
    assert_int_equal(pmap_get_info(pool)->lost, 0);
    struct pmap_report report;
    pmap_get_report(job, &report);
    assert_true(report.items == 5 && report.failed == 0 && report.item_count == 5 && report.bytes_in == 5 &&
                report.bytes_out == 5);
    /* Two messages of the first, one of the second, and what the third says. */
    assert_true(report.chunks == 2 + 1 + 3 && report.run_ns == 3 * 5 + 100);
    stop(fake, pool);
}

static void gone_for_good(struct fake *fake)
{
    uint64_t ref;
    if (!fake_welcome(fake, 1, 1) || !opens(fake, 0, "ab", &ref))
        return;
    answer(fake, ref, 0, 1, false);
    if (fake_wait(fake))
        fake_die(fake);
}

static void time_is_up(void **state)
{
    (void)state;
    pmap *pool;
    pmap_result r;
    struct fake *fake = start(gone_for_good, 200, &pool);
    pmap_job *job = open_job(pool, NULL, "ab", true);
    assert_result(job, 0, "0", 0, NULL);
    fake_go(fake);
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), -ECONNRESET);
    assert_says(pool, "is gone, and was not back within 0.2 s");
    assert_int_equal(pmap_put(job, "c", 1), -ECONNRESET);
    stop(fake, pool);
}

/* Each daemon that the job comes to goes down with it. */
static void brings_all_down(struct fake *fake)
{
    uint64_t ref;
    for (bool there = fake_welcome(fake, 1, 1); there; there = fake_welcome_back(fake)) {
        if (!opens(fake, 0, "ab", &ref))
            return;
        fake_die(fake);
        fake_rise(fake);
    }
}

static void never_of_use(void **state)
{
    (void)state;
    pmap *pool;
    pmap_result r;
    struct fake *fake = start(brings_all_down, 300, &pool);
    pmap_job *job = open_job(pool, NULL, "ab", true);
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), -ECONNRESET);
    assert_says(pool, "was not back within 0.3 s");
    assert_true(pmap_get_info(pool)->losses > 1);
    stop(fake, pool);
}

static void cancelled_meanwhile(void **state)
{
    (void)state;
    pmap *pool;
    struct fake *fake = start(gone_for_good, LONG_MS, &pool);
    pmap_job *job = open_job(pool, NULL, "ab", true);
    assert_result(job, 0, "0", 0, NULL);
    lose(fake, pool);
    assert_int_equal(pmap_hold(job, 1), 0);
    assert_int_equal(pmap_cancel(job), 0);
    assert_end(job, PMAP_CANCELLED);
    stop(fake, pool);
}

/*** Refusals that pass ***/

static void refuses_in_passing(struct fake *fake)
{
    uint64_t ref;
    if (!fake_welcome(fake, 1, 1) || !opens(fake, 0, "ab", &ref))
        return;
    answer(fake, ref, 0, 1, false);
    refuse(fake, &ref, PERR_STOPPING);
    /* The client leaves, and finds one that is stopping as well. */
    if (!fake_welcome(fake, 1, 1))
        return;
    refuse(fake, NULL, PERR_STOPPING);
    if (!fake_welcome_back(fake) || !opens(fake, 1, "b", &ref))
        return;
    refuse(fake, &ref, PERR_LIMIT);
    if (!opens(fake, 1, "b", &ref))
        return;
    answer(fake, ref, 1, 1, true);
    fake_silent(fake);
}

static void refused_in_passing(void **state)
{
    (void)state;
    pmap *pool;
    struct fake *fake = start(refuses_in_passing, LONG_MS, &pool);
    pmap_job *job = open_job(pool, NULL, "ab", true);
    assert_result(job, 0, "0", 0, NULL);
    assert_result(job, 1, "1", 0, NULL);
    assert_end(job, PMAP_DONE);
    assert_int_equal(pmap_get_info(pool)->losses, 1);
    stop(fake, pool);
}

static void is_another_version(struct fake *fake)
{
    if (!fake_welcome(fake, 1, 1) || !fake_wait(fake))
        return;
    fake_die(fake);
    fake_rise(fake);
    fake_welcome(fake, 7, 9);
    fake_silent(fake);
}

static void upgraded_too_far(void **state)
{
    (void)state;
    pmap *pool;
    int rc = 0;
    struct fake *fake = start(is_another_version, LONG_MS, &pool);
    fake_go(fake);
    while (rc == 0)
        rc = pmap_wait(pool, LONG_MS);
    assert_int_equal(rc, -EPROTONOSUPPORT);
    stop(fake, pool);
}

/*** Questions ***/

static void loses_questions(struct fake *fake)
{
    struct message m;
    fake_go(fake); /* nothing that was said can be lost here */
    fake_go(fake);
    fake_go(fake);
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_QUERY, &m) || !another(fake) ||
        !fake_expect(fake, MSG_QUERY, &m))
        return;
    fake_send(fake, &(struct message){.type = MSG_ANSWER, .answer.ref = m.query.ref},
              &(struct bytes){"\x80", 1}, 1);
    if (!fake_expect(fake, MSG_PING, &m) || !another(fake) || !fake_expect(fake, MSG_PING, &m))
        return;
    fake_send(fake, &(struct message){.type = MSG_PONG, .ping.token = m.ping.token}, NULL, 0);
    if (!fake_expect(fake, MSG_ABORT, &m) || !another(fake))
        return;
    while (fake_receive(fake, &m))
        if (m.type == MSG_ABORT)
            fprintf(stderr, "another daemon's job was to be aborted\n"), abort();
        else if (m.type == MSG_PING)
            fake_send(fake, &(struct message){.type = MSG_PONG, .ping.token = m.ping.token}, NULL, 0);
}

static void asked_anew(void **state)
{
    (void)state;
    pmap *pool;
    const void *data;
    size_t size;
    struct fake *fake = start(loses_questions, LONG_MS, &pool);
    assert_int_equal(pmap_query(pool, "status", LONG_MS, &data, &size), 0);
    assert_int_equal(size, 1);
    assert_true(pmap_ping(pool, LONG_MS) > 0);
    assert_int_equal(pmap_abort(pool, 3, LONG_MS), -ECONNRESET);
    assert_true(pmap_ping(pool, LONG_MS) > 0);
    assert_int_equal(pmap_get_info(pool)->losses, 3);
    stop(fake, pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on),
        cmocka_unit_test(time_is_up),
        cmocka_unit_test(never_of_use),
        cmocka_unit_test(cancelled_meanwhile),
        cmocka_unit_test(refused_in_passing),
        cmocka_unit_test(upgraded_too_far),
        cmocka_unit_test(asked_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
