/*
 * libpmap over the loss of its daemon: what the next one is asked for, and what the caller sees of it.
 */
#include "common/batch.h"
#include "common/protocol.h"
#include "tests/unit/fake.h"
#include "tests/unit/pmap_rig.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct fake *start(fake_script *script, int reconnect_ms, pmap **pool)
{
    struct fake *fake = fake_start(script);
    struct pmap_options options = {.connect_timeout_ms = LONG_MS, .reconnect_ms = reconnect_ms};
    assert_int_equal(pmap_connect(fake_endpoint(fake), &options, pool), 0);
    return fake;
}

static void stop(struct fake *fake, pmap *pool)
{
    pmap_disconnect(pool);
    fake_stop(fake);
}

/* A job whose items are the characters of `items`; with `end` they are all. */
static pmap_job *open_job(pmap *pool, const struct pmap_job_options *options, const char *items, bool end)
{
    pmap_job *job;
    assert_int_equal(pmap_open(pool, "x", options, &job), 0);
    for (; *items; items++)
        assert_int_equal(pmap_put(job, items, 1), 0);
    assert_int_equal(end ? pmap_end(job) : pmap_flush(job), 0);
    return job;
}

static void assert_result(pmap_job *job, uint64_t index, const char *text, int more, const char *error)
{
    pmap_result r;
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_RESULT);
    assert_int_equal(r.index, index);
    assert_int_equal(r.size, strlen(text));
    assert_memory_equal(r.data, text, r.size);
    assert_int_equal(r.more, more);
    assert_int_equal(r.failed, error != NULL);
    if (error && !strstr(r.error, error))
        fail_msg("\"%s\" is not in \"%s\"", error, r.error);
}

/* The daemon goes, and the library sees it. */
static void lose(struct fake *fake, pmap *pool)
{
    unsigned losses = pmap_get_info(pool)->losses;
    fake_go(fake);
    while (pmap_get_info(pool)->losses == losses)
        assert_int_equal(pmap_wait(pool, LONG_MS), 0);
}

static void assert_end(pmap_job *job, enum pmap_taken end)
{
    pmap_result r;
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), end);
}

/*** Scripts' parts ***/

static bool pong(struct fake *fake)
{
    struct message m;
    if (!fake_expect(fake, MSG_PING, &m))
        return false;
    fake_send(fake, &(struct message){.type = MSG_PONG, .ping.token = m.ping.token}, NULL, 0);
    return true;
}

/* Gives the results "0", "1" … of [first, first + count), the last of them with the report where `done`. */
static void answer(struct fake *fake, uint64_t ref, uint64_t first, unsigned count, bool done)
{
    struct message m = {.results = {.ref = ref, .first = first}};
    for (unsigned i = 0; i < count; i++, m.results.first++) {
        char text[2] = {(char)('0' + (int)m.results.first), '\0'};
        m.results.has_done = done && i + 1 == count;
        m.results.done = (struct job_report){.job = 42, .items = count, .chunks = 3, .run_ns = 100};
        fake_result(fake, &m, text, NULL);
    }
}

/* An OPEN with these items from `first` on, whole; *ref: its number. False: it is another one. */
static bool opens(struct fake *fake, uint64_t first, const char *items, uint64_t *ref)
{
    struct message m;
    if (!fake_expect(fake, MSG_OPEN, &m))
        return false;
    struct bytes came = fake_frame(fake, 3);
    bool right = m.open.first == first && came.size == strlen(items) && m.open.end &&
                 memcmp(came.data, items, came.size) == 0;
    if (!right)
        fprintf(stderr, "OPEN from %d with '%.*s', not '%s'\n", (int)m.open.first, (int)came.size,
                (const char *)came.data, items);
    *ref = m.open.ref;
    return right;
}

static void refuse(struct fake *fake, const uint64_t *ref, unsigned code)
{
    fake_send(fake,
              &(struct message){.type = MSG_ERROR,
                                .error = {.has_ref = ref != NULL, .ref = ref ? *ref : 0, .code = code}},
              NULL, 0);
}

/* The daemon dies when the client has got what it was told, and another one comes up. */
static bool another(struct fake *fake)
{
    if (!fake_wait(fake))
        return false;
    fake_die(fake);
    fake_rise(fake);
    return fake_welcome_back(fake);
}

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
        cmocka_unit_test(goes_on),
        cmocka_unit_test(time_is_up),
        cmocka_unit_test(never_of_use),
        cmocka_unit_test(cancelled_meanwhile),
        cmocka_unit_test(refused_in_passing),
        cmocka_unit_test(upgraded_too_far),
        cmocka_unit_test(asked_anew),
        cmocka_unit_test(at_most_once),
        cmocka_unit_test(at_most_once_in_good_order),
        cmocka_unit_test(at_most_once_without_order),
        cmocka_unit_test(at_most_once_and_refused),
        cmocka_unit_test(halted_before),
        cmocka_unit_test(in_its_midst),
        cmocka_unit_test(another_result),
        cmocka_unit_test(before_all_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
