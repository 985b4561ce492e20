/*
 * The pool's threads as the broker sees them, which pool_broker.c plays. Nothing waits for a time to pass:
 * where a thread's being in the middle of an item is the point, it is waited for a sign of it.
 */
#include "tests/unit/pool_broker.h"

#include "common/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void test_maps_items_in_order(void **state)
{
    struct broker b;
    struct worked_message w;
    (void)state;
    broker_start(&b, 1);
    send_items(&b, 0, 7, "square", (const char *const[]){"3", "-12", "1000000", NULL});
    send_items(&b, 0, 8, "upper", (const char *const[]){"abc", "", "x", NULL});
    next_worked(&b, 0, 7, &w);
    assert_true(w.m.worked.last);
    assert_int_equal(w.batch.count, 3);
    assert_int_equal(w.batch.note_count, 0);
    assert_result(&w, 0, "9");
    assert_result(&w, 1, "144");
    assert_result(&w, 2, "1000000000000");
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 3; i++)
        sum += load_u64(w.batch.times + (size_t)i * 8);
    assert_true(sum > 0);
    assert_true(sum <= (uint64_t)w.m.worked.run_ns);
    worked_release(&w);
    next_worked(&b, 0, 8, &w);
    assert_int_equal(w.batch.count, 3);
    assert_result(&w, 0, "ABC");
    assert_result(&w, 1, "");
    assert_result(&w, 2, "X");
    worked_release(&w);
    broker_stop(&b, 1);
}

static void test_threads_work_side_by_side(void **state)
{
    enum { THREADS = 4, CHUNKS = 50 };
    struct broker b;
    unsigned got[THREADS] = {0};
    (void)state;
    broker_start(&b, THREADS);
    for (unsigned c = 0; c < CHUNKS; c++) {
        for (unsigned t = 0; t < THREADS; t++)
            send_repeated(&b, t, 1 + c * THREADS + t, "cube", "11", 3);
    }
    for (unsigned i = 0; i < THREADS * CHUNKS; i++) {
        struct worked_message w;
        next_message(&b, &w);
        assert_int_equal(w.m.type, MSG_WORKED);
        /* Each in the order of what it was given. */
        assert_int_equal(w.m.worked.chunk, 1 + got[w.slot] * THREADS + w.slot);
        got[w.slot]++;
        assert_int_equal(w.batch.count, 3);
        assert_result(&w, 2, "1331");
        worked_release(&w);
    }
    broker_stop(&b, THREADS);
}

static void test_failures_have_notes(void **state)
{
    struct broker b;
    struct worked_message w;
    (void)state;
    broker_start(&b, 1);
    send_items(&b, 0, 1, "square", (const char *const[]){"2", "two", "3", "", NULL});
    next_worked(&b, 0, 1, &w);
    assert_int_equal(w.batch.count, 4);
    assert_int_equal(results_failed(&w.batch), 2);
    assert_result(&w, 0, "4");
    assert_result(&w, 1, "");
    assert_result(&w, 2, "9");
    struct note note = note_load(w.batch.notes);
    assert_int_equal(note.record, 1);
    assert_int_equal(note.kind, NOTE_ERROR);
    assert_true(note.text_len > 0);
    assert_non_null(memmem(w.batch.note_text, note.text_len, "two", 3));
    note = note_load(w.batch.notes + NOTE_SIZE);
    assert_int_equal(note.record, 3);
    worked_release(&w);
    /* The next chunk starts without them. */
    send_items(&b, 0, 2, "square", (const char *const[]){"5", NULL});
    next_worked(&b, 0, 2, &w);
    assert_int_equal(w.batch.note_count, 0);
    assert_result(&w, 0, "25");
    worked_release(&w);
    send_items(&b, 0, 3, "nonsense", (const char *const[]){"5", "6", NULL});
    next_worked(&b, 0, 3, &w);
    assert_int_equal(w.batch.count, 2);
    assert_int_equal(results_failed(&w.batch), 2);
    worked_release(&w);
    broker_stop(&b, 1);
}

static int64_t real_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* The message's first note is SLOT, of its first record, which began between these times. */
static int64_t assert_slot(const struct worked_message *w, unsigned slot, int64_t after_ns, int64_t before_ns)
{
    assert_true(w->batch.note_count > 0);
    struct note note = note_load(w->batch.notes);
    assert_int_equal(note.kind, NOTE_SLOT);
    assert_int_equal(note.record, 0);
    assert_int_equal(note.code, slot);
    int64_t began_ns = (int64_t)load_u64(w->batch.note_text);
    assert_in_range(began_ns, after_ns, before_ns);
    return began_ns;
}

/* Where it is asked for, each message says in which slot it was made and when that began; a large result's
 * last piece does. */
static void test_slots_are_told(void **state)
{
    struct broker b;
    struct worked_message w;
    (void)state;
    broker_start(&b, 2);
    b.trace = true;
    int64_t start_ns = real_ns(), ended_ns = start_ns;
    send_items(&b, 1, 1, "sleep", (const char *const[]){"0.03", "x", "0.03", "0.03", NULL});
    for (bool last = false; !last;) {
        next_worked(&b, 1, 1, &w);
        last = w.m.worked.last;
        /* The record behind what the message before told of did not begin before that had ended. */
        ended_ns = assert_slot(&w, 2, ended_ns - 1000000, real_ns());
        for (uint32_t i = 0; i < w.batch.count; i++)
            ended_ns += (int64_t)load_u64(w.batch.times + 8 * (size_t)i);
        worked_release(&w);
    }
    assert_in_range(ended_ns, start_ns + 90000000, real_ns());
    size_t size = 3 << 20;
    uint8_t length[4], *bytes = test_malloc(size);
    memset(bytes, 'x', size);
    store_u32(length, (uint32_t)size);
    send_records(&b, 0, 2, "echo", false, length, 1, bytes, size);
    test_free(bytes);
    for (bool more = true; more; worked_release(&w)) {
        next_worked(&b, 0, 2, &w);
        more = w.m.worked.more;
        if (more)
            assert_int_equal(w.batch.note_count, 0);
        else
            assert_slot(&w, 1, start_ns, real_ns());
    }
    b.trace = false;
    send_items(&b, 0, 3, "echo", (const char *const[]){"a", NULL});
    next_worked(&b, 0, 3, &w);
    assert_int_equal(w.batch.note_count, 0);
    worked_release(&w);
    broker_stop(&b, 2);
}

/* Many failing items: their texts fill more than one message, and every one has its note. */
static void test_many_failures(void **state)
{
    enum { COUNT = 20000 };
    struct broker b;
    uint32_t records = 0, failed = 0, messages = 0;
    bool last = false;
    (void)state;
    broker_start(&b, 1);
    send_repeated(&b, 0, 1, "square", "no number at all, and a long one at that", COUNT);
    while (!last) {
        struct worked_message w;
        next_worked(&b, 0, 1, &w);
        last = w.m.worked.last;
        records += w.batch.count;
        failed += results_failed(&w.batch);
        messages++;
        worked_release(&w);
    }
    assert_int_equal(records, COUNT);
    assert_int_equal(failed, COUNT);
    assert_true(messages > 1);
    broker_stop(&b, 1);
}

/* More results than one message holds, of items that are no two alike. */
static void test_many_results_in_messages(void **state)
{
    enum { COUNT = 40000, SPREAD = 700 };
    struct broker b;
    (void)state;
    broker_start(&b, 1);
    /* Item i is i % SPREAD bytes long, all of them (uint8_t)i: about 14 MB, so the CHUNK here is larger than
     * a broker's. */
    uint8_t *lengths = test_malloc((size_t)COUNT * 4), *bytes = test_malloc((size_t)COUNT * SPREAD);
    size_t size = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t len = i % SPREAD;
        store_u32(lengths + (size_t)i * 4, len);
        memset(bytes + size, (uint8_t)i, len);
        size += len;
    }
    send_records(&b, 0, 1, "echo", false, lengths, COUNT, bytes, size);
    uint32_t record = 0, messages = 0;
    size_t offset = 0;
    for (bool last = false; !last; messages++) {
        struct worked_message w;
        next_worked(&b, 0, 1, &w);
        assert_false(w.m.worked.more);
        last = w.m.worked.last;
        assert_memory_equal(w.batch.lengths, lengths + (size_t)record * 4, (size_t)w.batch.count * 4);
        assert_memory_equal(w.batch.bytes, bytes + offset, w.batch.size);
        record += w.batch.count;
        offset += w.batch.size;
        worked_release(&w);
    }
    assert_int_equal(record, COUNT);
    assert_int_equal(offset, size);
    assert_true(messages >= size / PROTOCOL_MESSAGE_MAX);
    test_free(lengths);
    test_free(bytes);
    broker_stop(&b, 1);
}

static void fill(uint8_t *bytes, size_t size)
{
    uint32_t x = 1;
    for (size_t i = 0; i + 4 <= size; i += 4) {
        x = x * 1664525 + 1013904223;
        store_u32(bytes + i, x);
    }
}

/* Sends one item in pieces and checks that its echo comes back whole, in pieces too. */
static void echo_large(struct broker *b, uint64_t chunk, size_t size)
{
    enum { PIECE = 1000000 };
    uint8_t *item = test_malloc(size);
    fill(item, size);
    for (size_t at = 0; at < size; at += PIECE) {
        uint8_t length[4];
        size_t piece = size - at < PIECE ? size - at : PIECE;
        store_u32(length, (uint32_t)piece);
        send_records(b, 0, chunk, "echo", at + piece < size, length, 1, item + at, piece);
    }
    size_t got = 0;
    for (bool more = true; more;) {
        struct worked_message w;
        next_worked(b, 0, chunk, &w);
        more = w.m.worked.more;
        assert_int_equal(w.batch.count, 1);
        assert_int_equal(w.m.worked.last, !more);
        assert_int_equal(load_u64(w.batch.times) > 0, !more);
        assert_true(got + w.batch.size <= size);
        assert_memory_equal(w.batch.bytes, item + got, w.batch.size);
        got += w.batch.size;
        worked_release(&w);
    }
    assert_int_equal(got, size);
    test_free(item);
}

static void test_large_items_in_pieces(void **state)
{
    struct broker b;
    (void)state;
    broker_start(&b, 1);
    echo_large(&b, 1, 64 << 20);
    /* Around the border between one message and two. */
    for (size_t size = PROTOCOL_MESSAGE_MAX - 80; size <= PROTOCOL_MESSAGE_MAX + 16; size += 4)
        echo_large(&b, size, size);
    broker_stop(&b, 1);
}

/* A large result behind small ones (a failed one too) in one chunk, and small ones behind it. */
static void test_large_result_among_small(void **state)
{
    enum { LARGE = 3 << 20 };
    static const char head[6] = "before", tail[6] = "behind"; /* no NUL */
    struct broker b;
    struct worked_message w;
    uint8_t lengths[3 * 4];
    (void)state;
    broker_start(&b, 1);
    uint8_t *bytes = test_malloc(LARGE + 12), *large = bytes + 6;
    memcpy(bytes, head, sizeof head);
    fill(large, LARGE);
    memcpy(large + LARGE, tail, sizeof tail);
    store_u32(lengths, 6);
    store_u32(lengths + 4, LARGE);
    store_u32(lengths + 8, 6);
    send_records(&b, 0, 1, "echo", false, lengths, 3, bytes, LARGE + 12);
    next_worked(&b, 0, 1, &w);
    assert_int_equal(w.batch.count, 1);
    assert_false(w.m.worked.more);
    assert_false(w.m.worked.last);
    assert_result(&w, 0, "before");
    worked_release(&w);
    size_t got = 0;
    for (bool more = true; more;) {
        next_worked(&b, 0, 1, &w);
        more = w.m.worked.more;
        assert_false(w.m.worked.last);
        assert_int_equal(w.batch.count, 1);
        assert_true(got + w.batch.size <= LARGE);
        assert_memory_equal(w.batch.bytes, large + got, w.batch.size);
        got += w.batch.size;
        worked_release(&w);
    }
    assert_int_equal(got, LARGE);
    next_worked(&b, 0, 1, &w);
    assert_true(w.m.worked.last);
    assert_int_equal(w.batch.count, 1);
    assert_result(&w, 0, "behind");
    worked_release(&w);
    test_free(bytes);
    broker_stop(&b, 1);
}

/* Results of a chunk that takes long go out while it runs, also those before an item that takes long by
 * itself. */
static void test_results_do_not_wait(void **state)
{
    struct broker b;
    struct worked_message w;
    (void)state;
    broker_start(&b, 1);
    send_items(&b, 0, 1, "sleep", (const char *const[]){"0", "0", "3600", "0", NULL});
    /* One message, or two on a machine so busy that 10 ms have passed after the first item. */
    for (uint32_t records = 0; records < 2; records += w.batch.count) {
        next_worked(&b, 0, 1, &w);
        assert_true(w.batch.count > 0);
        assert_false(w.m.worked.last);
        assert_true(w.m.worked.run_ns >= 10000000);
        worked_release(&w);
    }
    send_order(&b, 0, MSG_DROP, 1);
    expect_nothing(&b, 0, 1);
    /* Nothing of the first chunk is left in the buffers. */
    send_items(&b, 0, 2, "echo", (const char *const[]){"a", "b", NULL});
    next_worked(&b, 0, 2, &w);
    assert_int_equal(w.batch.count, 2);
    assert_result(&w, 0, "a");
    assert_result(&w, 1, "b");
    worked_release(&w);
    broker_stop(&b, 1);
}

/* As above with results that have to stay where they are while a builtin runs: those before and after are one
 * buffer. */
static void test_results_around_a_long_item(void **state)
{
    struct broker b;
    struct worked_message w;
    (void)state;
    broker_start(&b, 1);
    send_items(&b, 0, 1, "sleep", (const char *const[]){"0.0", "0.3", "0", NULL});
    next_worked(&b, 0, 1, &w);
    assert_int_equal(w.batch.count, 1);
    assert_result(&w, 0, "0.0");
    worked_release(&w);
    uint32_t records = 0;
    for (bool last = false; !last;) {
        next_worked(&b, 0, 1, &w);
        last = w.m.worked.last;
        for (uint32_t i = 0; i < w.batch.count; i++)
            assert_result(&w, i, records++ == 0 ? "0.3" : "0");
        worked_release(&w);
    }
    assert_int_equal(records, 2);
    broker_stop(&b, 1);
}

/* Asked to yield in the middle: stops between two items, what is done is told, and what is queued can be had
 * back too. */
static void test_yield(void **state)
{
    enum { COUNT = 100000 };
    struct broker b;
    struct worked_message w;
    uint32_t records = 0;
    (void)state;
    broker_start(&b, 1);
    send_repeated(&b, 0, 1, "burn", "1000", COUNT);
    send_repeated(&b, 0, 2, "echo", "x", 1);
    next_worked(&b, 0, 1, &w); /* it runs */
    assert_true(w.m.worked.cpu_ns > 0);
    records += w.batch.count;
    worked_release(&w);
    send_order(&b, 0, MSG_YIELD, 2);
    send_order(&b, 0, MSG_YIELD, 1);
    bool queued_back = false;
    for (bool last = false; !last;) {
        next_message(&b, &w);
        assert_int_equal(w.m.type, MSG_WORKED);
        if (w.m.worked.chunk == 2) {
            assert_int_equal(w.count, 0);
            assert_true(w.m.worked.last);
            queued_back = true;
        } else {
            assert_int_equal(w.m.worked.chunk, 1);
            last = w.m.worked.last;
            records += w.batch.count;
        }
        worked_release(&w);
    }
    assert_true(queued_back);
    assert_true(records > 0);
    assert_true(records < COUNT);
    broker_stop(&b, 1);
}

/* Also without a look at the socket by the builtin itself: items of some nanoseconds. */
static void test_yield_between_short_items(void **state)
{
    enum { COUNT = 20000000 };
    struct broker b;
    struct worked_message w;
    uint64_t records = 0;
    (void)state;
    broker_start(&b, 1);
    send_repeated(&b, 0, 1, "echo", "", COUNT);
    next_worked(&b, 0, 1, &w);
    records += w.batch.count;
    assert_false(w.m.worked.last);
    worked_release(&w);
    send_order(&b, 0, MSG_YIELD, 1);
    for (bool last = false; !last;) {
        next_worked(&b, 0, 1, &w);
        last = w.m.worked.last;
        records += w.batch.count;
        worked_release(&w);
    }
    assert_true(records < COUNT);
    broker_stop(&b, 1);
}

static void test_recall(void **state)
{
    struct broker b;
    struct worked_message w;
    (void)state;
    broker_start(&b, 1);
    send_items(&b, 0, 1, "sleep", (const char *const[]){"0", "3600", NULL});
    send_items(&b, 0, 2, "echo", (const char *const[]){"two", NULL});
    send_items(&b, 0, 3, "echo", (const char *const[]){"three", NULL});
    send_items(&b, 0, 4, "echo", (const char *const[]){"four", NULL});
    next_worked(&b, 0, 1, &w);
    worked_release(&w);
    send_order(&b, 0, MSG_RECALL, 3);
    send_order(&b, 0, MSG_RECALL, 1);  /* begun: without effect */
    send_order(&b, 0, MSG_RECALL, 99); /* of another time: without effect */
    send_order(&b, 0, MSG_RECALL, 2);
    expect_nothing(&b, 0, 3);
    expect_nothing(&b, 0, 2);
    send_order(&b, 0, MSG_DROP, 1);
    expect_nothing(&b, 0, 1);
    next_worked(&b, 0, 4, &w);
    assert_result(&w, 0, "four");
    worked_release(&w);
    broker_stop(&b, 1);
}

/* The item under way is given up at once, and a queued chunk goes without being begun. */
static void test_drop(void **state)
{
    struct broker b;
    struct worked_message w;
    (void)state;
    broker_start(&b, 2);
    send_items(&b, 1, 1, "sleep", (const char *const[]){"0", "3600", NULL});
    send_items(&b, 1, 2, "sleep", (const char *const[]){"3600", NULL});
    next_worked(&b, 1, 1, &w);
    worked_release(&w);
    send_order(&b, 1, MSG_DROP, 2);
    expect_nothing(&b, 1, 2);
    int64_t before = now_ns();
    send_order(&b, 1, MSG_DROP, 1);
    expect_nothing(&b, 1, 1);
    assert_true(now_ns() - before < INT64_C(5000000000));
    send_order(&b, 1, MSG_DROP, 1);
    send_items(&b, 1, 3, "burn", (const char *const[]){"20000", "3600000000", NULL});
    next_worked(&b, 1, 3, &w);
    assert_int_equal(w.batch.count, 1);
    worked_release(&w);
    send_order(&b, 1, MSG_DROP, 3);
    expect_nothing(&b, 1, 3);
    broker_stop(&b, 2);
}

/* The broker's own messages that nobody can make sense of change nothing. */
static void test_malformed_is_ignored(void **state)
{
    static const uint8_t id[5] = {'T'};
    struct broker b;
    struct worked_message w;
    uint8_t lengths[2 * 4];
    (void)state;
    broker_start(&b, 1);
    send_frame(&b, id, sizeof id, true);
    for (int i = 0; i < 12; i++)
        send_frame(&b, "garbage", 7, i < 11);
    /* Lengths over the bytes that are there: the items before it are done. */
    store_u32(lengths, 2);
    store_u32(lengths + 4, 1000);
    send_records(&b, 0, 5, "echo", false, lengths, 2, "abcd", 4);
    next_worked(&b, 0, 5, &w);
    assert_true(w.m.worked.last);
    assert_int_equal(w.batch.count, 1);
    assert_result(&w, 0, "ab");
    worked_release(&w);
    broker_stop(&b, 1);
}

static void test_stop_in_the_middle(void **state)
{
    struct broker b;
    struct worked_message w;
    (void)state;
    broker_start(&b, 3);
    send_items(&b, 0, 1, "sleep", (const char *const[]){"0", "3600", NULL});
    send_items(&b, 0, 2, "echo", (const char *const[]){"x", NULL});
    next_worked(&b, 0, 1, &w);
    worked_release(&w);
    broker_stop(&b, 3);
}

/* Shutting the context down ends idle threads and those at work. */
static void test_context_shutdown(void **state)
{
    struct broker b;
    struct worked_message w;
    (void)state;
    broker_start(&b, 2);
    send_items(&b, 1, 1, "sleep", (const char *const[]){"0", "3600", NULL});
    next_worked(&b, 1, 1, &w);
    worked_release(&w);
    assert_int_equal(zmq_ctx_shutdown(b.context), 0);
    pool_join(b.pool);
    broker_end(&b);
}

/* Sockets run out at the third thread: an error, and nothing is left running, or zmq_ctx_term would not
 * return. */
static void test_failing_start(void **state)
{
    struct pool *pool = NULL;
    (void)state;
    void *context = zmq_ctx_new();
    assert_int_equal(zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 3), 0);
    void *router = zmq_socket(context, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(router, POOL_ENDPOINT), 0);
    assert_int_equal(pool_start(context, 8, 8, &pool), -EMFILE);
    assert_null(pool);
    pool_join(NULL);
    zmq_close(router);
    zmq_ctx_term(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_items_in_order),
        cmocka_unit_test(test_threads_work_side_by_side),
        cmocka_unit_test(test_failures_have_notes),
        cmocka_unit_test(test_slots_are_told),
        cmocka_unit_test(test_many_failures),
        cmocka_unit_test(test_many_results_in_messages),
        cmocka_unit_test(test_large_items_in_pieces),
        cmocka_unit_test(test_large_result_among_small),
        cmocka_unit_test(test_results_do_not_wait),
        cmocka_unit_test(test_results_around_a_long_item),
        cmocka_unit_test(test_yield),
        cmocka_unit_test(test_yield_between_short_items),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_malformed_is_ignored),
        cmocka_unit_test(test_stop_in_the_middle),
        cmocka_unit_test(test_context_shutdown),
        cmocka_unit_test(test_failing_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
