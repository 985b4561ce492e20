/*
 * Daemons that break the protocol: libpmap says so, ends the connection, and neither crashes nor waits for
 * ever.
 */
#include "common/batch.h"
#include "common/protocol.h"
#include "tests/unit/fake.h"
#include "tests/unit/pmap_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum breach {
    /* Of a job that has not come whole */
    RESULTS_UNOPENED,
    OPENED_TWICE,
    DONE_UNOPENED,
    CANCELLED_UNOPENED,
    DONE_BEFORE_END,
    /* Of one that has */
    RESULTS_OUT_OF_ORDER,
    RESULTS_TWICE,
    RESULTS_UNSENT,
    RESULTS_BAD_LENGTHS,
    RESULTS_BAD_NOTE,
    OPENED_WHOLE,
    DONE_EARLY,
    DONE_BEFORE_RESULTS,
    WELCOME_TWICE,
    GARBAGE,
    EMPTY,
    OF_A_CLIENT,
    TOO_MANY_FRAMES,
    BREACHES,
};
static enum breach breach;

/* Has the client said the end with OPEN? */
static bool is_whole(enum breach which)
{
    return which >= RESULTS_OUT_OF_ORDER;
}

static void break_protocol(struct fake *fake)
{
    static const struct bytes many[] = {{"", 0}, {"", 0}, {"", 0}, {"", 0},
                                        {"", 0}, {"", 0}, {"", 0}, {"", 0}};
    uint8_t length[4], time[8] = {0}, note[NOTE_SIZE];
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    uint64_t ref = m.open.ref;
    if (m.open.end != is_whole(breach))
        return; /* which ends the test, in time */
    if (breach == OPENED_TWICE || breach == DONE_BEFORE_END)
        fake_opened(fake, ref, 1000);
    m = (struct message){.type = MSG_RESULTS, .results = {.ref = ref}};
    switch (breach) {
    case RESULTS_OUT_OF_ORDER:
        m.results.first = 1;
        fake_result(fake, &m, "x", NULL);
        break;
    case RESULTS_TWICE:
        fake_result(fake, &m, "x", NULL);
        fake_result(fake, &m, "x", NULL);
        break;
    case RESULTS_UNSENT:
        fake_result(fake, &m, "x", NULL);
        m.results.first = 1;
        fake_result(fake, &m, "x", NULL);
        m.results.first = 2;
        fake_result(fake, &m, "x", NULL);
        break;
    case RESULTS_BAD_LENGTHS:
        store_u32(length, 5);
        fake_send(fake, &m, (struct bytes[]){{length, 4}, {"four", 4}, {time, 8}}, 3);
        break;
    case RESULTS_BAD_NOTE:
        store_u32(length, 4);
        note_store(note, &(struct note){.record = 1, .kind = NOTE_ERROR});
        fake_send(fake, &m, (struct bytes[]){{length, 4}, {"four", 4}, {time, 8}, {note, NOTE_SIZE}, {"", 0}},
                  5);
        break;
    case RESULTS_UNOPENED:
        fake_result(fake, &m, "x", NULL);
        break;
    case OPENED_TWICE:
    case OPENED_WHOLE:
        fake_opened(fake, ref, 1000);
        break;
    case CANCELLED_UNOPENED:
        m = (struct message){.type = MSG_DONE, .done = {.ref = ref, .done = report_of(0, 0)}};
        m.done.done.outcome = OUTCOME_CANCELLED;
        fake_send(fake, &m, NULL, 0);
        break;
    case DONE_BEFORE_END:
        for (int i = 0; i < 2; i++, m.results.first++)
            fake_result(fake, &m, "x", NULL);
        fake_send(fake, &(struct message){.type = MSG_DONE, .done = {.ref = ref, .done = report_of(2, 0)}},
                  NULL, 0);
        break;
    case DONE_EARLY:
        fake_result(fake, &m, "x", NULL);
        fake_send(fake, &(struct message){.type = MSG_DONE, .done = {.ref = ref, .done = report_of(2, 0)}},
                  NULL, 0);
        break;
    case DONE_BEFORE_RESULTS:
    case DONE_UNOPENED:
        fake_send(fake, &(struct message){.type = MSG_DONE, .done = {.ref = ref, .done = report_of(2, 0)}},
                  NULL, 0);
        break;
    case WELCOME_TWICE:
        m = (struct message){
            .type = MSG_WELCOME,
            .welcome = {
                .magic = text_of(PROTOCOL_MAGIC), .min = 1, .max = 1, .max_message = 1 << 20, .max_item = 1}};
        fake_send(fake, &m, NULL, 0);
        break;
    case GARBAGE:
        fake_send_raw(fake, (struct bytes){"\xc1garbage", 8}, NULL, 0);
        break;
    case EMPTY:
        fake_send_raw(fake, (struct bytes){"", 0}, NULL, 0);
        break;
    case OF_A_CLIENT:
        fake_send(fake, &(struct message){.type = MSG_CANCEL, .cancel.ref = ref}, NULL, 0);
        break;
    default:
        fake_send(fake, &m, many, 8);
    }
    fake_silent(fake);
}

static void broken_protocol(void **state)
{
    (void)state;
    for (breach = 0; breach < BREACHES; breach++) {
        struct fake *fake = fake_start(break_protocol);
        pmap *pool;
        pmap_job *job;
        pmap_result r;
        assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
        assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
        assert_int_equal(pmap_put(job, "i", 1), 0);
        assert_int_equal(pmap_put(job, "j", 1), 0);
        assert_int_equal(is_whole(breach) ? pmap_end(job) : pmap_flush(job), 0);
        int rc;
        while ((rc = pmap_wait_take(job, LONG_MS, &r)) == PMAP_RESULT)
            ;
        if (rc != -EPROTO)
            fail_msg("breach %d: %d (%s)", (int)breach, rc, pmap_error(pool));
        assert_says(pool, "the daemon broke the protocol: ");
        assert_int_equal(pmap_put(job, "i", 1), -EPROTO);
        assert_int_equal(pmap_open(pool, "x", NULL, &job), -EPROTO);
        pmap_disconnect(pool);
        fake_stop(fake);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(broken_protocol)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
