/*
 * Jobs of libpmap, on daemons that refuse them or go away, and on one that echoes.
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
#include <unistd.h>

#include <cmocka.h>

/*** Jobs ***/

static void three_results(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    uint64_t ref = m.open.ref;
    if (!m.open.end || !text_is(m.open.function, "square") || m.open.options.chunksize != 3 ||
        m.open.options.priority != -2 || fake_frame(fake, 3).size != 3 ||
        memcmp(fake_frame(fake, 3).data, "123", 3) != 0)
        return;
    m = (struct message){.results = {.ref = ref, .first = 0}};
    fake_result(fake, &m, "one", NULL);
    m.results.first = 1;
    m.results.more = true;
    fake_result(fake, &m, "tw", NULL);
    fake_result(fake, &m, "o", "it broke");
    m.results.more = false;
    fake_result(fake, &m, "", NULL);
    m.results.first = 2;
    m.results.has_done = true;
    m.results.done = report_of(3, 2);
    fake_result(fake, &m, "", "not a number");
    fake_silent(fake);
}

static void assert_result(pmap_job *job, uint64_t index, const char *text, int more, const char *error,
                          int64_t time_ns)
{
    pmap_result r = take_result(job, index, text, more);
    assert_int_equal(r.failed, error != NULL);
    if (error)
        assert_string_equal(r.error, error);
    else
        assert_null(r.error);
    assert_int_equal(r.time_ns, time_ns);
}

static void a_job(void **state)
{
    (void)state;
    struct fake *fake = fake_start(three_results);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    const struct pmap_info *info = pmap_get_info(pool);
    assert_string_equal(info->software, "fake 1");
    assert_string_equal(info->endpoint, fake_endpoint(fake));
    assert_true(info->slots == 3 && info->instance == 77 && info->protocol == 1 && info->uid == geteuid());
    struct pmap_job_options options = {.chunksize = 3, .priority = -2};
    assert_int_equal(pmap_open(pool, "square", &options, &job), 0);
    assert_int_equal(pmap_take(job, &r), PMAP_NONE);
    for (const char *item = "123"; *item; item++)
        assert_int_equal(pmap_put(job, item, 1), 0);
    assert_int_equal(pmap_end(job), 0);
    assert_int_equal(pmap_end(job), -EPIPE);
    assert_int_equal(pmap_put(job, "4", 1), -EPIPE);
    assert_result(job, 0, "one", 0, NULL, 5);
    assert_result(job, 1, "tw", 1, NULL, 5);
    assert_result(job, 1, "o", 1, NULL, 10);
    assert_result(job, 1, "", 0, "it broke", 15);
    assert_result(job, 2, "", 0, "not a number", 5);
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_DONE);
    assert_int_equal(pmap_take(job, &r), PMAP_DONE);
    struct pmap_report report;
    pmap_get_report(job, &report);
    assert_true(report.job == 42 && report.items == 3 && report.failed == 2 && report.chunks == 4 &&
                report.slots == 2);
    assert_true(report.item_count == 3 && report.item_min_ns == 5 && report.item_max_ns == 15);
    assert_true(report.wall_ns >= report.first_result_ns && report.first_result_ns > 0 &&
                report.run_ns == 20);
    pmap_close_job(job);
    pmap_disconnect(pool);
    fake_stop(fake);
}

static void wrong_options(void **state)
{
    (void)state;
    struct fake *fake = fake_start(three_results);
    pmap *pool;
    pmap_job *job = NULL;
    char name[5000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, name, NULL, &job), -EINVAL);
    assert_int_equal(pmap_open(pool, "caf\xe9", NULL, &job), -EINVAL);
    assert_says(pool, "UTF-8");
    assert_int_equal(pmap_open(pool, "x", &(struct pmap_job_options){.priority = 1001}, &job), -EINVAL);
    assert_says(pool, "priority");
    assert_null(job);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    assert_int_equal(pmap_put(job, "", (size_t)PROTOCOL_ITEM_MAX + 1), -EMSGSIZE);
    pmap_disconnect(pool); /* with the job */
    fake_stop(fake);
}

static void refuse_first_job(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    m = (struct message){
        .type = MSG_ERROR,
        .error = {.has_ref = true, .ref = m.open.ref, .code = PERR_FUNCTION, .text = text_of("no 'x'")}};
    fake_send(fake, &m, NULL, 0);
    while (fake_receive(fake, &m))
        if (m.type == MSG_PING)
            fake_send(fake, &(struct message){.type = MSG_PONG, .ping.token = m.ping.token}, NULL, 0);
        else if (m.type == MSG_QUERY && text_is(m.query.what, "status"))
            fake_send(fake, &(struct message){.type = MSG_ANSWER, .answer.ref = m.query.ref},
                      &(struct bytes){"\x80", 1}, 1);
        else if (m.type == MSG_QUERY)
            fake_send(fake,
                      &(struct message){.type = MSG_ERROR,
                                        .error = {.has_ref = true, .ref = m.query.ref, .code = PERR_QUERY}},
                      NULL, 0);
}

static void a_refused_job(void **state)
{
    (void)state;
    struct fake *fake = fake_start(refuse_first_job);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    unsigned code = 0;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    assert_int_equal(pmap_end(job), 0);
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_FAILED);
    assert_string_equal(pmap_job_error(job, &code), "no 'x'");
    assert_int_equal(code, PERR_FUNCTION);
    pmap_close_job(job);
    /* The connection lives on. */
    assert_true(pmap_ping(pool, LONG_MS) > 0);
    const void *data;
    size_t size;
    assert_int_equal(pmap_query(pool, "status", LONG_MS, &data, &size), 0);
    assert_int_equal(size, 1);
    assert_memory_equal(data, "\x80", 1);
    assert_int_equal(pmap_query(pool, "nonsense", LONG_MS, &data, &size), -EINVAL);
    assert_says(pool, protocol_error_text(PERR_QUERY));
    pmap_disconnect(pool);
    fake_stop(fake);
}

static void welcome_only(struct fake *fake)
{
    if (fake_welcome(fake, 1, 1))
        fake_silent(fake);
}

static void unanswered(void **state)
{
    (void)state;
    struct fake *fake = fake_start(welcome_only);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    const void *data;
    size_t size;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_ping(pool, 30), -ETIMEDOUT);
    assert_int_equal(pmap_query(pool, "status", 30, &data, &size), -ETIMEDOUT);
    assert_int_equal(pmap_wait(pool, 30), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    assert_int_equal(pmap_cancel(job), 0); /* before anything was sent */
    assert_int_equal(pmap_take(job, &r), PMAP_CANCELLED);
    pmap_close_job(job);
    pmap_disconnect(pool);
    fake_stop(fake);
}

/* Two jobs at once: the first is cancelled, the second goes on. */
static void two_jobs(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    uint64_t first = m.open.ref;
    if (!fake_expect(fake, MSG_OPEN, &m) || m.open.ref == first)
        return;
    uint64_t second = m.open.ref; /* it came whole */
    fake_opened(fake, first, 1000);
    m = (struct message){.results = {.ref = first}};
    fake_result(fake, &m, "a", NULL);
    m.results.ref = second;
    fake_result(fake, &m, "b", NULL);
    if (!fake_expect(fake, MSG_CANCEL, &m) || m.cancel.ref != first)
        return;
    /* What crosses the cancel is dropped. */
    m = (struct message){.results = {.ref = first, .first = 1}};
    fake_result(fake, &m, "a", NULL);
    m = (struct message){.type = MSG_DONE, .done = {.ref = first, .done = report_of(2, 0)}};
    m.done.done.outcome = OUTCOME_CANCELLED;
    fake_send(fake, &m, NULL, 0);
    m = (struct message){.type = MSG_DONE, .done = {.ref = second, .done = report_of(1, 0)}};
    fake_send(fake, &m, NULL, 0);
    /* And what comes for a ref that has ended is ignored. */
    m = (struct message){.type = MSG_CREDIT, .credit = {.ref = first, .bytes = 1}};
    fake_send(fake, &m, NULL, 0);
    fake_silent(fake);
}

static void jobs_beside_each_other(void **state)
{
    (void)state;
    struct fake *fake = fake_start(two_jobs);
    pmap *pool;
    pmap_job *first, *second;
    pmap_result r;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &first), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &second), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pmap_put(first, "i", 1), 0);
    assert_int_equal(pmap_flush(first), 0);
    assert_int_equal(pmap_put(second, "i", 1), 0);
    assert_int_equal(pmap_end(second), 0);
    assert_result(second, 0, "b", 0, NULL, 5);
    assert_int_equal(pmap_cancel(first), 0); /* with a result at hand */
    assert_int_equal(pmap_wait_take(first, LONG_MS, &r), PMAP_CANCELLED);
    assert_int_equal(pmap_put(first, "i", 1), -EPIPE);
    assert_int_equal(pmap_wait_take(second, LONG_MS, &r), PMAP_DONE);
    pmap_close_job(first);
    pmap_close_job(second);
    assert_int_equal(pmap_step(pool), 0);
    pmap_disconnect(pool);
    fake_stop(fake);
}

/* It says DONE to the CANCEL of a job that it has not opened, and results and DONE to one that came whole. */
static void done_at_once(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1))
        return;
    for (uint64_t job = 1; fake_expect(fake, MSG_CANCEL, &m); job++) {
        uint64_t ref = m.cancel.ref;
        if (job > 1) {
            m = (struct message){.results = {.ref = ref}};
            fake_result(fake, &m, "x", NULL);
        }
        m = (struct message){.type = MSG_DONE, .done = {.ref = ref, .done = report_of(2, 0)}};
        m.done.done.job = job;
        m.done.done.outcome = job < 3 ? OUTCOME_CANCELLED : OUTCOME_DONE;
        fake_send(fake, &m, NULL, 0);
    }
}

static void cancelled_before_an_answer(void **state)
{
    (void)state;
    struct fake *fake = fake_start(done_at_once);
    pmap *pool;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    for (uint64_t number = 1; number <= 3; number++) {
        pmap_job *job;
        pmap_result r;
        struct pmap_report report;
        assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
        assert_int_equal(pmap_put(job, "i", 1), 0);
        assert_int_equal(number == 1 ? pmap_flush(job) : pmap_end(job), 0);
        assert_int_equal(pmap_cancel(job), 0);
        assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_CANCELLED);
        pmap_get_report(job, &report);
        assert_int_equal(report.job, number);
        pmap_close_job(job);
    }
    pmap_disconnect(pool);
    fake_stop(fake);
}

/*** Daemons that go away ***/

static void die_after_a_result(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    fake_opened(fake, m.open.ref, 1000);
    m = (struct message){.results = {.ref = m.open.ref}};
    fake_result(fake, &m, "last words", NULL);
    if (fake_wait(fake))
        fake_die(fake);
}

static void dies(void **state)
{
    (void)state;
    struct fake *fake = fake_start(die_after_a_result);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pmap_put(job, "i", 1), 0);
    assert_int_equal(pmap_flush(job), 0);
    assert_result(job, 0, "last words", 0, NULL, 5);
    assert_int_equal(pmap_take(job, &r), PMAP_NONE);
    /* Now nothing is to be done, so the descriptor has to wake us. */
    fake_go(fake);
    int rc = 0;
    while (rc == 0) {
        struct pollfd fd = {.fd = pmap_fd(pool), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, LONG_MS), 1);
        rc = pmap_step(pool);
    }
    assert_int_equal(rc, -ECONNRESET);
    assert_says(pool, fake_endpoint(fake));
    assert_says(pool, "is gone");
    assert_int_equal(pmap_take(job, &r), -ECONNRESET);
    assert_int_equal(pmap_put(job, "i", 1), -ECONNRESET);
    assert_int_equal(pmap_ping(pool, LONG_MS), -ECONNRESET);
    assert_int_equal(pmap_cancel(job), -ECONNRESET);
    pmap_close_job(job);
    pmap_disconnect(pool);
    fake_stop(fake);
}

/* It goes away while the client sends, and not while it waits. */
static void dies_while_we_send(void **state)
{
    (void)state;
    struct fake *fake = fake_start(die_after_a_result);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    assert_int_equal(pmap_put(job, "i", 1), 0);
    assert_int_equal(pmap_flush(job), 0);
    assert_result(job, 0, "last words", 0, NULL, 5);
    fake_go(fake);
    int rc = 0;
    while (rc == 0 || rc == -EAGAIN) {
        rc = pmap_put(job, "i", 1);
        if (rc == 0)
            rc = pmap_flush(job);
        if (rc == 0 || rc == -EAGAIN)
            rc = pmap_take(job, &r);
    }
    assert_int_equal(rc, -ECONNRESET);
    pmap_disconnect(pool);
    fake_stop(fake);
}

/*** A daemon that echoes ***/

static const uint8_t zeroes[8 << 20];

static void send_echo(struct fake *fake, uint64_t ref, uint64_t first, struct bytes lengths,
                      struct bytes bytes, bool more)
{
    struct message m = {.type = MSG_RESULTS, .results = {.ref = ref, .first = first, .more = more}};
    fake_send(fake, &m, (struct bytes[]){lengths, bytes, {zeroes, lengths.size * 2}}, 3);
}

static void send_credit(struct fake *fake, uint64_t ref, uint64_t bytes)
{
    fake_send(fake, &(struct message){.type = MSG_CREDIT, .credit = {ref, bytes}}, NULL, 0);
}

/* A large item comes back in pieces of other sizes when all of it is there. */
static void send_large_echo(struct fake *fake, uint64_t ref, uint64_t first, const uint8_t *large,
                            size_t size)
{
    enum { ECHO_PIECE = 300000 };
    while (size > 0) {
        uint8_t length[4];
        size_t part = size < ECHO_PIECE ? size : ECHO_PIECE;
        store_u32(length, (uint32_t)part);
        size -= part;
        send_echo(fake, ref, first, (struct bytes){length, 4}, (struct bytes){large, part}, size > 0);
        large += part;
    }
}

enum { LARGE = 2 << 20 };

/*
 * An item costs what its result does, so what comes back for the one goes back for the other: what is on its
 * way stays within the client's window. Only a large item, which is over the whole grant, has its credit back
 * piece by piece before there is a result, and its result's goes back for that much less.
 */
static void echo(struct fake *fake)
{
    enum { GRANT = 256 << 10 };
    static uint8_t large[LARGE];
    struct message m;
    if (!fake_welcome(fake, 1, 1))
        return;
    uint64_t ref = 0, next = 0, total = UINT64_MAX, ahead = 0;
    size_t have = 0; /* of a large item */
    while (fake_receive(fake, &m)) {
        struct bytes lengths = {NULL, 0}, bytes = {NULL, 0};
        if (m.type == MSG_OPEN) {
            ref = m.open.ref;
            if (!m.open.end)
                fake_opened(fake, ref, GRANT);
            lengths = fake_frame(fake, 2);
            bytes = fake_frame(fake, 3);
            if (m.open.end)
                total = lengths.size / 4;
        } else if (m.type == MSG_ITEMS) {
            lengths = fake_frame(fake, 1);
            bytes = fake_frame(fake, 2);
        } else if (m.type == MSG_END) {
            total = m.end.total;
        } else if (m.type == MSG_CREDIT && total == UINT64_MAX) {
            uint64_t given = m.credit.bytes < ahead ? m.credit.bytes : ahead;
            ahead -= given;
            if (m.credit.bytes > given)
                send_credit(fake, ref, m.credit.bytes - given);
        }
        if (m.type == MSG_ITEMS && (m.items.more || have > 0)) {
            memcpy(large + have, bytes.data, bytes.size);
            have += bytes.size;
            if (m.items.more) {
                ahead += bytes.size + RECORD_COST;
                send_credit(fake, ref, bytes.size + RECORD_COST);
            } else {
                send_large_echo(fake, ref, next++, large, have);
                have = 0;
            }
        } else if (lengths.size > 0) {
            send_echo(fake, ref, next, lengths, bytes, false);
            next += lengths.size / 4;
        }
        if (next == total)
            fake_send(fake,
                      &(struct message){.type = MSG_DONE, .done = {.ref = ref, .done = report_of(next, 0)}},
                      NULL, 0);
    }
}

/* Items of many sizes, large ones among them, come back as they were. */
static void echoes(void **state)
{
    (void)state;
    enum { COUNT = 30000 };
    uint8_t *large = malloc(LARGE), *back = malloc(LARGE);
    assert_true(large && back);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (uint8_t)(i * 7 + i / 1000);
    for (int unordered = 0; unordered < 2; unordered++) {
        struct fake *fake = fake_start(echo);
        pmap *pool;
        pmap_job *job;
        pmap_result r;
        assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
        assert_int_equal(pmap_open(pool, "echo", &(struct pmap_job_options){.unordered = unordered}, &job),
                         0);
        uint64_t put = 0, taken = 0;
        size_t have = 0;
        int rc = PMAP_NONE;
        while (rc != PMAP_DONE) {
            while (put < COUNT) {
                size_t size = put % 10000 == 5000 ? LARGE : put % 100 == 7 ? 70000 : put % 61;
                rc = pmap_put(job, large + put % 100, size == LARGE ? LARGE - put % 100 : size);
                if (rc == -EAGAIN)
                    break;
                assert_int_equal(rc, 0);
                if (++put == COUNT)
                    assert_int_equal(pmap_end(job), 0);
            }
            for (rc = pmap_wait_take(job, LONG_MS, &r); rc == PMAP_RESULT; rc = pmap_take(job, &r)) {
                assert_int_equal(r.index, taken);
                assert_true(have + r.size <= LARGE);
                memcpy(back + have, r.data, r.size);
                have += r.size;
                if (r.more)
                    continue;
                size_t size = taken % 10000 == 5000 ? LARGE - taken % 100
                              : taken % 100 == 7    ? 70000
                                                    : taken % 61;
                assert_int_equal(have, size);
                assert_memory_equal(back, large + taken % 100, size);
                have = 0;
                taken++;
            }
            if (rc != PMAP_NONE && rc != PMAP_DONE)
                fail_msg("%d after %llu: %s", rc, (unsigned long long)taken, pmap_error(pool));
        }
        assert_int_equal(taken, COUNT);
        pmap_disconnect(pool);
        fake_stop(fake);
    }
    free(large);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(a_refused_job),
        cmocka_unit_test(unanswered),
        cmocka_unit_test(jobs_beside_each_other),
        cmocka_unit_test(cancelled_before_an_answer),
        cmocka_unit_test(dies),
        cmocka_unit_test(dies_while_we_send),
        cmocka_unit_test(echoes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
