/* The broker's side of the pool threads in tests; see pool_broker.h. */
#include "tests/unit/pool_broker.h"

#include "common/handover.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT_MS = 20000 };

static void keep(struct batch *batch)
{
    (void)batch;
}

/* Receives one frame or fails the test after LIMIT_MS. */
static bool receive(struct broker *b, zmq_msg_t *frame)
{
    int rc = zmq_msg_recv(frame, b->router, 0);
    if (rc < 0)
        fail_msg("no message within %d ms: %s", LIMIT_MS, zmq_strerror(errno));
    handover_take(zmq_msg_data(frame));
    return zmq_msg_more(frame);
}

void next_message(struct broker *b, struct worked_message *w)
{
    zmq_msg_t id;
    zmq_msg_init(&id);
    assert_true(receive(b, &id));
    assert_int_equal(zmq_msg_size(&id), 5);
    assert_int_equal(*(char *)zmq_msg_data(&id), 'T');
    memset(w, 0, sizeof *w);
    w->slot = load_u32((uint8_t *)zmq_msg_data(&id) + 1);
    zmq_msg_close(&id);
    bool more = true;
    size_t n = 0;
    for (; more; n++) {
        assert_true(n < FRAMES);
        zmq_msg_init(&w->frame[n]);
        more = receive(b, &w->frame[n]);
    }
    w->count = n - 1;
    const char *why = "";
    if (message_decode(b->decoder, zmq_msg_data(&w->frame[0]), zmq_msg_size(&w->frame[0]), n, FROM_WORKER,
                       &w->m, &why) < 0)
        fail_msg("malformed message: %s", why);
    if (w->count == 0)
        return;
    const void *data[FRAMES];
    size_t size[FRAMES];
    for (size_t i = 0; i < w->count; i++) {
        data[i] = zmq_msg_data(&w->frame[i + 1]);
        size[i] = zmq_msg_size(&w->frame[i + 1]);
        w->size += size[i];
    }
    assert_true(w->size <= PROTOCOL_MESSAGE_MAX);
    assert_int_equal(results_init(&w->batch, data, size, w->count, w->m.worked.more, keep), 0);
}

void worked_release(struct worked_message *w)
{
    for (size_t i = 0; i <= w->count; i++)
        zmq_msg_close(&w->frame[i]);
}

void next_worked(struct broker *b, unsigned slot, uint64_t chunk, struct worked_message *w)
{
    next_message(b, w);
    assert_int_equal(w->m.type, MSG_WORKED);
    assert_int_equal(w->slot, slot);
    assert_int_equal(w->m.worked.chunk, chunk);
    assert_true(w->m.worked.run_ns >= 0);
    assert_true(w->m.worked.cpu_ns >= 0);
    assert_true(w->m.worked.cpu_ns <= w->m.worked.run_ns);
}

void expect_nothing(struct broker *b, unsigned slot, uint64_t chunk)
{
    struct worked_message w;
    next_worked(b, slot, chunk, &w);
    assert_int_equal(w.count, 0);
    assert_true(w.m.worked.last);
    worked_release(&w);
}

void send_frame(struct broker *b, const void *data, size_t size, bool more)
{
    assert_int_equal(zmq_send(b->router, data, size, more ? ZMQ_SNDMORE : 0), (int)size);
}

static void send_header(struct broker *b, unsigned slot, const struct message *m, bool more)
{
    uint8_t id[5] = {'T'};
    struct wire wire;
    store_u32(id + 1, slot);
    wire_init(&wire);
    assert_int_equal(message_encode(m, &wire), 0);
    send_frame(b, id, sizeof id, true);
    send_frame(b, wire.data, wire.size, more);
    wire_free(&wire);
}

void send_order(struct broker *b, unsigned slot, enum message_type type, uint64_t chunk)
{
    struct message m = {.type = type, .chunk_id = {.chunk = chunk}};
    send_header(b, slot, &m, false);
}

static void send_stop(struct broker *b, unsigned slot)
{
    struct message m = {.type = MSG_STOP};
    send_header(b, slot, &m, false);
}

void send_records(struct broker *b, unsigned slot, uint64_t chunk, const char *function, bool more,
                  const uint8_t *lengths, uint32_t count, const void *bytes, size_t size)
{
    struct message m = {
        .type = MSG_CHUNK,
        .chunk = {.chunk = chunk, .job = 1, .function = text_of(function), .more = more, .trace = b->trace}};
    send_header(b, slot, &m, true);
    send_frame(b, lengths, (size_t)count * 4, true);
    send_frame(b, bytes, size, false);
}

void send_repeated(struct broker *b, unsigned slot, uint64_t chunk, const char *function, const char *item,
                   uint32_t count)
{
    size_t len = strlen(item);
    uint8_t *lengths = test_malloc((size_t)count * 4), *bytes = test_malloc(count * len + 1);
    const void *from = item; /* bytes, not a string */
    for (uint32_t i = 0; i < count; i++) {
        store_u32(lengths + (size_t)i * 4, (uint32_t)len);
        memcpy(bytes + i * len, from, len);
    }
    send_records(b, slot, chunk, function, false, lengths, count, bytes, count * len);
    test_free(lengths);
    test_free(bytes);
}

void send_items(struct broker *b, unsigned slot, uint64_t chunk, const char *function,
                const char *const *items)
{
    uint8_t lengths[64 * 4];
    char bytes[4096];
    uint32_t count = 0;
    size_t size = 0;
    for (; items[count]; count++) {
        size_t len = strlen(items[count]);
        store_u32(lengths + (size_t)count * 4, (uint32_t)len);
        memcpy(bytes + size, items[count], len);
        size += len;
    }
    send_records(b, slot, chunk, function, false, lengths, count, bytes, size);
}

void broker_start(struct broker *b, unsigned threads)
{
    const int limit = LIMIT_MS, none = 0, yes = 1;
    b->trace = false;
    b->context = zmq_ctx_new();
    b->router = zmq_socket(b->context, ZMQ_ROUTER);
    b->decoder = decoder_new();
    assert_non_null(b->router);
    assert_non_null(b->decoder);
    assert_int_equal(zmq_setsockopt(b->router, ZMQ_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(zmq_setsockopt(b->router, ZMQ_SNDHWM, &none, sizeof none), 0);
    assert_int_equal(zmq_setsockopt(b->router, ZMQ_RCVHWM, &none, sizeof none), 0);
    assert_int_equal(zmq_setsockopt(b->router, ZMQ_LINGER, &none, sizeof none), 0);
    assert_int_equal(zmq_setsockopt(b->router, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes), 0);
    assert_int_equal(zmq_bind(b->router, POOL_ENDPOINT), 0);
    assert_int_equal(pool_start(b->context, threads, threads + 1, &b->pool), 0);
    uint64_t seen = 0;
    for (unsigned i = 0; i < threads; i++) {
        struct worked_message w;
        next_message(b, &w);
        assert_int_equal(w.m.type, MSG_READY);
        assert_int_equal(w.m.ready.slot, w.slot);
        assert_true(w.slot < threads);
        seen |= UINT64_C(1) << w.slot;
        worked_release(&w);
    }
    assert_int_equal(seen, (UINT64_C(1) << threads) - 1);
}

void broker_end(struct broker *b)
{
    decoder_free(b->decoder);
    zmq_close(b->router);
    zmq_ctx_term(b->context);
}

void broker_stop(struct broker *b, unsigned threads)
{
    for (unsigned i = 0; i < threads; i++)
        send_stop(b, i);
    pool_join(b->pool);
    broker_end(b);
}

void assert_result(const struct worked_message *w, uint32_t record, const char *text)
{
    const uint8_t *at = w->batch.bytes;
    assert_true(record < w->batch.count);
    for (uint32_t i = 0; i < record; i++)
        at += batch_length(&w->batch, i);
    assert_int_equal(batch_length(&w->batch, record), strlen(text));
    assert_memory_equal(at, text, strlen(text));
}
