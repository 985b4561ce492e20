/*
 * Single points of flow: what it refuses, what it says of a resumed large result, and cancelling. Histories
 * are in test_flow.c.
 */
#include "client/libpmap/flow.h"

#include "common/batch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct flow *opened_flow(bool no_order, uint64_t grant, const char *const *items)
{
    struct flow_config config = {.ref = 1, .unordered = no_order};
    struct flow *flow = flow_new(&config);
    assert_non_null(flow);
    for (; *items; items++)
        assert_int_equal(flow_put(flow, *items, strlen(*items)), 0);
    struct flow_out out;
    assert_false(flow_next(flow, &out)); /* nothing is full, nothing was flushed */
    flow_flush(flow);
    assert_true(flow_next(flow, &out));
    assert_int_equal(out.type, MSG_OPEN);
    assert_false(flow_next(flow, &out));
    assert_int_equal(flow_opened(flow, grant), 0);
    return flow;
}

static struct batch *results(uint32_t count, const char *text)
{
    struct batch *batch = batch_new(count, count * strlen(text));
    assert_non_null(batch);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(batch_append(batch, text, strlen(text)), 0);
    return batch;
}

static const char *const three[] = {"a", "b", "c", NULL};

static void refuses_wrong_results(void **state)
{
    (void)state;
    for (int no_order = 0; no_order < 2; no_order++) {
        struct flow *flow = opened_flow(no_order, 1000, three);
        struct batch *one = results(1, "x"), *four = results(4, "x");
        struct flow_verdict verdict;
        assert_int_equal(flow_results(flow, 0, four, &verdict), -EPROTO); /* more than was sent */
        assert_int_equal(flow_results(flow, 3, one, &verdict), -EPROTO);
        assert_int_equal(flow_results(flow, UINT64_MAX, one, &verdict), -EPROTO);
        assert_int_equal(flow_results(flow, 1, one, &verdict), no_order ? 0 : -EPROTO);
        assert_int_equal(flow_results(flow, 0, one, &verdict), 0);
        assert_int_equal(flow_results(flow, 0, one, &verdict), -EPROTO); /* again */
        assert_int_equal(flow_taken(flow, 2, 1), -EINVAL);               /* never came */
        assert_int_equal(flow_taken(flow, 0, 1), 0);
        assert_int_equal(flow_taken(flow, 0, 1), -EINVAL);
        assert_int_equal(flow_credit(flow, UINT64_MAX), -EPROTO);
        assert_int_equal(flow_done(flow, true), -EPROTO); /* not all had a result */
        assert_int_equal(flow_state(flow), FLOW_ENDED);
        batch_unref(one);
        batch_unref(four);
        flow_free(flow);
    }
}

static void refuses_results_without_credit(void **state)
{
    (void)state;
    struct flow_config config = {.ref = 1, .result_window = 40};
    struct flow *flow = flow_new(&config);
    assert_non_null(flow);
    struct flow_out out;
    for (int i = 0; i < 3; i++)
        assert_int_equal(flow_put(flow, "a", 1), 0);
    assert_int_equal(flow_end(flow), 0);
    assert_true(flow_next(flow, &out));
    assert_true(out.end && out.items.count == 3 && out.bytes == 40);
    struct batch *one = results(1, "x");
    struct flow_verdict verdict;
    assert_int_equal(flow_results(flow, 0, one, &verdict), 0);
    assert_int_equal(flow_results(flow, 1, one, &verdict), 0); /* 7 left: one more may go */
    assert_int_equal(flow_results(flow, 2, one, &verdict), -EPROTO);
    flow_released(flow, 33);
    assert_true(flow_next(flow, &out));
    assert_true(out.type == MSG_CREDIT && out.bytes == 33);
    assert_int_equal(flow_results(flow, 2, one, &verdict), 0);
    assert_int_equal(flow_done(flow, true), 0);
    batch_unref(one);
    flow_free(flow);
}

static void finds_a_different_prefix(void **state)
{
    (void)state;
    struct flow *flow = opened_flow(false, 1000, three);
    struct batch *piece = results(1, "0123456789"), *other = results(1, "0123x"), *one = results(1, "x");
    struct flow_verdict verdict;
    struct flow_out out;
    piece->more = true;
    other->more = true;
    assert_int_equal(flow_results(flow, 0, piece, &verdict), 0);
    assert_int_equal(flow_taken_piece(flow, 0, piece->bytes, piece->size), 0);
    assert_int_equal(flow_lost(flow), 0);
    assert_true(flow_next(flow, &out));
    assert_true(out.type == MSG_OPEN && out.first == 0 && out.items.count == 3);
    assert_int_equal(flow_opened(flow, 1000), 0);
    assert_int_equal(flow_results(flow, 0, other, &verdict), 0);
    assert_true(!verdict.mismatch && verdict.skip == 5); /* not yet known */
    assert_int_equal(flow_results(flow, 0, other, &verdict), 0);
    assert_true(verdict.mismatch);
    assert_int_equal(flow_results(flow, 0, one, &verdict), 0);
    assert_true(verdict.mismatch && verdict.partly == 0);
    assert_int_equal(flow_taken(flow, 0, 1), 0);
    assert_int_equal(flow_results(flow, 1, one, &verdict), 0);
    assert_false(verdict.mismatch);
    /* A second run that is shorter than what was taken. */
    assert_int_equal(flow_taken(flow, 1, 1), 0);
    assert_int_equal(flow_results(flow, 2, piece, &verdict), 0);
    assert_int_equal(flow_taken_piece(flow, 2, piece->bytes, piece->size), 0);
    assert_int_equal(flow_lost(flow), 0);
    assert_true(flow_next(flow, &out));
    assert_int_equal(flow_opened(flow, 1000), 0);
    assert_int_equal(flow_results(flow, 2, one, &verdict), 0);
    assert_true(verdict.mismatch);
    batch_unref(piece);
    batch_unref(other);
    batch_unref(one);
    flow_free(flow);
}

static void cancels(void **state)
{
    (void)state;
    struct flow_out out;
    struct flow_config config = {.ref = 1};
    struct flow *flow = flow_new(&config);
    assert_non_null(flow);
    assert_int_equal(flow_put(flow, "a", 1), 0);
    flow_cancel(flow); /* the daemon never hears of it */
    assert_false(flow_next(flow, &out));
    assert_int_equal(flow_state(flow), FLOW_ENDED);
    flow_free(flow);

    flow = opened_flow(false, 1000, three);
    struct batch *one = results(1, "x");
    struct flow_verdict verdict;
    flow_cancel(flow);
    flow_cancel(flow);
    assert_int_equal(flow_put(flow, "a", 1), -EPIPE);
    assert_true(flow_next(flow, &out));
    assert_int_equal(out.type, MSG_CANCEL);
    assert_false(flow_next(flow, &out));
    assert_int_equal(flow_results(flow, 0, one, &verdict), 0); /* was on its way */
    assert_true(verdict.drop);
    assert_int_equal(flow_credit(flow, 5), 0);
    assert_int_equal(flow_kept(flow), 0);
    assert_int_equal(flow_done(flow, false), 0);
    assert_int_equal(flow_state(flow), FLOW_ENDED);
    batch_unref(one);
    flow_free(flow);
}

/* Sends the OPEN of all items (again); it must have this many from `first` on, and the end. */
static void open_whole(struct flow *flow, uint64_t first, uint32_t count)
{
    struct flow_out out;
    assert_true(flow_next(flow, &out));
    assert_int_equal(out.type, MSG_OPEN);
    assert_int_equal(out.first, first);
    assert_int_equal(out.items.count, count);
    assert_true(out.end && out.done_count == 0);
    assert_int_equal(flow_state(flow), FLOW_OPEN);
    assert_false(flow_next(flow, &out));
}

static struct flow *whole_flow(bool no_order)
{
    struct flow_config config = {.ref = 1, .unordered = no_order};
    struct flow *flow = flow_new(&config);
    assert_non_null(flow);
    for (int i = 0; i < 3; i++)
        assert_int_equal(flow_put(flow, "a", 1), 0);
    assert_int_equal(flow_end(flow), 0);
    open_whole(flow, 0, 3);
    return flow;
}

/* One message out and one back: it waits for no OPENED, takes none, and gives no credit back for input. */
static void a_whole_job(void **state)
{
    (void)state;
    struct batch *one = results(1, "x"), *two = results(2, "x");
    struct flow_verdict verdict;
    struct flow_out out;
    for (int no_order = 0; no_order < 2; no_order++) {
        struct flow *flow = whole_flow(no_order);
        assert_int_equal(flow_opened(flow, 1000), -EPROTO);
        assert_int_equal(flow_results(flow, 0, one, &verdict), 0);
        assert_int_equal(flow_taken(flow, 0, 1), 0);
        flow_released(flow, batch_cost(one));
        assert_false(flow_next(flow, &out));
        assert_int_equal(flow_results(flow, 1, two, &verdict), 0);
        assert_int_equal(flow_done(flow, true), 0);
        assert_int_equal(flow_taken(flow, 1, 2), 0);
        flow_released(flow, batch_cost(two));
        assert_false(flow_next(flow, &out));
        flow_free(flow);

        flow = whole_flow(no_order); /* DONE comes too early */
        assert_int_equal(flow_results(flow, 0, two, &verdict), 0);
        assert_int_equal(flow_done(flow, true), -EPROTO);
        flow_free(flow);

        flow = whole_flow(no_order); /* ERROR, with the job's number */
        assert_int_equal(flow_done(flow, false), 0);
        assert_int_equal(flow_state(flow), FLOW_ENDED);
        assert_int_equal(flow_kept(flow), 0);
        assert_false(flow_next(flow, &out));
        flow_free(flow);
    }
    struct flow *flow = flow_new(&(struct flow_config){.ref = 1}); /* of no items */
    assert_non_null(flow);
    assert_int_equal(flow_end(flow), 0);
    open_whole(flow, 0, 0);
    assert_int_equal(flow_results(flow, 0, one, &verdict), -EPROTO);
    assert_int_equal(flow_done(flow, true), 0);
    flow_free(flow);
    batch_unref(one);
    batch_unref(two);
}

/* After END the input credit is of no use: what is given back is only what results need. */
static void no_input_credit_after_the_end(void **state)
{
    (void)state;
    struct batch *one = results(1, "x");
    struct flow_verdict verdict;
    struct flow_out out;
    for (int end = 0; end < 2; end++) {
        struct flow *flow = opened_flow(false, 100, three);
        if (end) {
            assert_int_equal(flow_end(flow), 0);
            assert_true(flow_next(flow, &out));
            assert_true(out.type == MSG_END && out.first == 3);
        }
        assert_int_equal(flow_results(flow, 0, one, &verdict), 0);
        assert_int_equal(flow_taken(flow, 0, 1), 0);
        flow_released(flow, batch_cost(one));
        assert_int_equal(flow_next(flow, &out), !end); /* a third of the grant */
        assert_true(end || (out.type == MSG_CREDIT && out.bytes == batch_cost(one)));
        flow_free(flow);
    }
    batch_unref(one);
}

static void resumes_a_whole_job(void **state)
{
    (void)state;
    struct batch *one = results(1, "x"), *two = results(2, "x");
    struct flow_verdict verdict;
    struct flow_out out;
    struct flow *flow = whole_flow(false);
    assert_int_equal(flow_results(flow, 0, two, &verdict), 0);
    assert_int_equal(flow_taken(flow, 0, 1), 0); /* the other one came and will come again */
    assert_int_equal(flow_lost(flow), 0);
    open_whole(flow, 1, 2);
    assert_int_equal(flow_opened(flow, 1000), -EPROTO);
    assert_int_equal(flow_results(flow, 0, one, &verdict), -EPROTO);
    assert_int_equal(flow_results(flow, 1, two, &verdict), 0);
    assert_int_equal(flow_taken(flow, 1, 2), 0);
    assert_int_equal(flow_lost(flow), 0); /* with DONE */
    open_whole(flow, 3, 0);
    assert_int_equal(flow_done(flow, true), 0);
    flow_free(flow);

    flow = opened_flow(false, 1000, three); /* it was not whole, and now it is */
    assert_int_equal(flow_results(flow, 0, one, &verdict), 0);
    assert_int_equal(flow_taken(flow, 0, 1), 0);
    assert_int_equal(flow_end(flow), 0);
    assert_int_equal(flow_lost(flow), 0);
    open_whole(flow, 1, 2);
    assert_int_equal(flow_results(flow, 1, two, &verdict), 0);
    assert_int_equal(flow_done(flow, true), 0);
    flow_free(flow);

    flow = whole_flow(true); /* it was whole, and now there is a gap in it */
    assert_int_equal(flow_results(flow, 1, one, &verdict), 0);
    assert_int_equal(flow_taken(flow, 1, 1), 0);
    assert_int_equal(flow_lost(flow), 0);
    assert_true(flow_next(flow, &out));
    assert_true(out.type == MSG_OPEN && out.first == 0 && out.items.count == 1 && !out.end);
    assert_true(out.done_count == 1 && out.done[0].from == 1 && out.done[0].to == 2);
    assert_int_equal(flow_results(flow, 0, one, &verdict), -EPROTO); /* OPENED has to come */
    assert_int_equal(flow_opened(flow, 1000), 0);
    assert_true(flow_next(flow, &out));
    assert_true(out.type == MSG_ITEMS && out.first == 2);
    assert_true(flow_next(flow, &out));
    assert_true(out.type == MSG_END && out.first == 3);
    flow_free(flow);
    batch_unref(one);
    batch_unref(two);
}

/* Before anything came, with a result on its way, and with the end on its way. */
static void cancels_a_whole_job(void **state)
{
    (void)state;
    struct batch *two = results(2, "x");
    struct flow_verdict verdict;
    struct flow_out out;
    for (int late = 0; late < 3; late++) {
        struct flow *flow = whole_flow(false);
        flow_cancel(flow);
        assert_true(flow_next(flow, &out));
        assert_int_equal(out.type, MSG_CANCEL);
        assert_false(flow_next(flow, &out));
        assert_int_equal(flow_kept(flow), 0);
        if (late > 0) {
            assert_int_equal(flow_results(flow, 0, two, &verdict), 0);
            assert_true(verdict.drop);
        }
        assert_int_equal(flow_done(flow, late == 2), 0);
        assert_int_equal(flow_state(flow), FLOW_ENDED);
        flow_free(flow);
    }
    struct flow *flow = whole_flow(false);
    flow_cancel(flow);
    assert_int_equal(flow_lost(flow), 0); /* there is nobody to answer, and nothing to go on with */
    assert_int_equal(flow_state(flow), FLOW_ENDED);
    flow_free(flow);
    batch_unref(two);
}

static void refuses_what_is_too_large(void **state)
{
    (void)state;
    struct flow_config config = {.ref = 1};
    struct flow *flow = flow_new(&config);
    assert_non_null(flow);
    assert_int_equal(flow_put(flow, "", PROTOCOL_ITEM_MAX + 1), -EMSGSIZE);
    assert_int_equal(flow_opened(flow, 5), -EPROTO); /* never asked */
    flow_free(flow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_wrong_results),
        cmocka_unit_test(refuses_results_without_credit),
        cmocka_unit_test(finds_a_different_prefix),
        cmocka_unit_test(cancels),
        cmocka_unit_test(a_whole_job),
        cmocka_unit_test(no_input_credit_after_the_end),
        cmocka_unit_test(resumes_a_whole_job),
        cmocka_unit_test(cancels_a_whole_job),
        cmocka_unit_test(refuses_what_is_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
