/* Peers on libzmq: they say what they are told to, valid or not, and read what comes back. */
#include "common/batch.h"
#include "tests/cli/hostile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer *peer_connect(struct arena *a, const struct daemon *d, const void *id, size_t id_size)
{
    const int never = -1, none = 0, mark = 64;
    struct peer *p = calloc(1, sizeof *p);
    if (p == NULL) {
        complain(a, "out of memory");
        return NULL;
    }
    p->arena = a;
    p->attack = a->attack;
    p->next_ref = 1;
    wire_init(&p->header);
    for (size_t i = 0; i < PROTOCOL_FRAMES_MAX; i++)
        zmq_msg_init(&p->part[i]);
    p->decoder = decoder_new();
    p->socket = zmq_socket(a->context, ZMQ_DEALER);
    if (p->socket == NULL || p->decoder == NULL) {
        complain(a, "no socket: %s", zmq_strerror(errno));
        peer_free(p);
        return NULL;
    }
    zmq_setsockopt(p->socket, ZMQ_RECONNECT_IVL, &never, sizeof never);
    zmq_setsockopt(p->socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(p->socket, ZMQ_SNDHWM, &mark, sizeof mark);
    if ((id != NULL && zmq_setsockopt(p->socket, ZMQ_ROUTING_ID, id, id_size) < 0) ||
        zmq_connect(p->socket, d->endpoint) < 0) {
        complain(a, "connect: %s", zmq_strerror(errno));
        peer_free(p);
        return NULL;
    }
    return p;
}

struct peer *peer_new(struct arena *a)
{
    struct peer *p = peer_connect(a, &a->daemon, NULL, 0);
    if (p != NULL && say_hello(p) && peer_await(p, MSG_WELCOME))
        return p;
    peer_free(p);
    return NULL;
}

void peer_free(struct peer *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < PROTOCOL_FRAMES_MAX; i++)
        zmq_msg_close(&p->part[i]);
    if (p->socket != NULL)
        zmq_close(p->socket);
    decoder_free(p->decoder);
    wire_free(&p->header);
    free(p);
}

/*** Sending ***/

static bool send_part(struct peer *p, const void *data, size_t size, int flags)
{
    int64_t until = now_ms() + PATIENCE_MS;
    while (zmq_send(p->socket, data, size, flags | ZMQ_DONTWAIT) < 0) {
        if (errno != EAGAIN && errno != EINTR)
            return complain(p->arena, "send: %s", zmq_strerror(errno));
        zmq_pollitem_t item = {.socket = p->socket, .events = ZMQ_POLLOUT};
        if (!daemon_lives(p->arena, &p->arena->daemon) || now_ms() >= until)
            return complain(p->arena, "a message could not be sent in time");
        zmq_poll(&item, 1, 50);
    }
    return true;
}

bool peer_send_frames(struct peer *p, const struct frame *frames, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!send_part(p, frames[i].data, frames[i].size, i + 1 < count ? ZMQ_SNDMORE : 0))
            return false;
    }
    return true;
}

bool peer_send(struct peer *p, const struct message *m, const struct frame *frames, size_t count)
{
    int rc = message_encode(m, &p->header);
    if (rc < 0)
        return complain(p->arena, "%s cannot be encoded: %s", message_name(m->type), strerror(-rc));
    return send_part(p, p->header.data, p->header.size, count > 0 ? ZMQ_SNDMORE : 0) &&
           peer_send_frames(p, frames, count);
}

bool peer_send_bytes(struct peer *p, const void *data, size_t size)
{
    return peer_send_frames(p, &(struct frame){data, size}, 1);
}

bool say_hello(struct peer *p)
{
    struct message m = {.type = MSG_HELLO};
    m.hello.min = PROTOCOL_VERSION_MIN;
    m.hello.max = PROTOCOL_VERSION_MAX;
    m.hello.program = text_of("hostile");
    return peer_send(p, &m, NULL, 0);
}

bool say_open(struct peer *p, uint64_t ref, const char *function, uint64_t credit, const struct frame *items,
              size_t count, bool end)
{
    struct message m = {.type = MSG_OPEN};
    m.open.ref = ref;
    m.open.function = text_of(function);
    m.open.credit = credit;
    m.open.end = end;
    if (count == 0)
        return peer_send(p, &m, &FRAME(""), 1);
    struct batch *batch = batch_new((uint32_t)count, PROTOCOL_INLINE_MAX);
    bool fits = batch != NULL;
    for (size_t i = 0; fits && i < count; i++)
        fits = batch_append(batch, items[i].data, items[i].size) == 0;
    bool ok =
        fits
            ? peer_send(p, &m,
                        (struct frame[]){FRAME(""), {batch->lengths, 4 * count}, {batch->bytes, batch->size}},
                        3)
            : complain(p->arena, "the items do not fit");
    batch_unref(batch);
    return ok;
}

static bool send_items(struct peer *p, uint64_t ref, uint64_t first, bool more, const struct batch *batch)
{
    struct message m = {.type = MSG_ITEMS};
    m.items.ref = ref;
    m.items.first = first;
    m.items.more = more;
    const struct frame frames[] = {{batch->lengths, 4 * (size_t)batch->count}, {batch->bytes, batch->size}};
    return peer_send(p, &m, frames, 2);
}

bool say_items(struct peer *p, uint64_t ref, uint64_t first, bool more, const struct frame *items,
               size_t count)
{
    struct batch *batch = batch_new((uint32_t)count, PROTOCOL_MESSAGE_MAX);
    bool ok = batch != NULL;
    for (size_t i = 0; ok && i < count; i++)
        ok = batch_append(batch, items[i].data, items[i].size) == 0;
    ok = ok && send_items(p, ref, first, more, batch);
    batch_unref(batch);
    return ok;
}

bool say_blanks(struct peer *p, uint64_t ref, uint64_t first, uint32_t count, size_t size)
{
    static const uint8_t blank[PROTOCOL_MESSAGE_MAX];
    struct batch *batch = batch_new(count, count * size);
    bool ok = batch != NULL;
    for (uint32_t i = 0; ok && i < count; i++)
        ok = batch_append(batch, blank, size) == 0;
    ok = ok && send_items(p, ref, first, false, batch);
    batch_unref(batch);
    return ok;
}

bool say_end(struct peer *p, uint64_t ref, uint64_t total)
{
    struct message m = {.type = MSG_END};
    m.end.ref = ref;
    m.end.total = total;
    return peer_send(p, &m, NULL, 0);
}

bool say_credit(struct peer *p, uint64_t ref, uint64_t bytes)
{
    struct message m = {.type = MSG_CREDIT};
    m.credit.ref = ref;
    m.credit.bytes = bytes;
    return peer_send(p, &m, NULL, 0);
}

bool say_cancel(struct peer *p, uint64_t ref)
{
    struct message m = {.type = MSG_CANCEL};
    m.cancel.ref = ref;
    return peer_send(p, &m, NULL, 0);
}

bool say_ping(struct peer *p, uint64_t token)
{
    struct message m = {.type = MSG_PING};
    m.ping.token = token;
    return peer_send(p, &m, NULL, 0);
}

bool say_query(struct peer *p, uint64_t ref, const char *what)
{
    struct message m = {.type = MSG_QUERY};
    m.query.ref = ref;
    m.query.what = text_of(what);
    return peer_send(p, &m, NULL, 0);
}

/*** Receiving ***/

int peer_receive(struct peer *p, int timeout_ms)
{
    zmq_pollitem_t item = {.socket = p->socket, .events = ZMQ_POLLIN};
    int64_t until = now_ms() + timeout_ms;
    /* In short turns, so that a daemon that has died is noticed, and is the reason that is told. */
    while (zmq_poll(&item, 1, timeout_ms < 100 ? timeout_ms : 100) < 0 || item.revents == 0) {
        int64_t left = until - now_ms();
        if (!daemon_lives(p->arena, &p->arena->daemon))
            return -1;
        if (left <= 0)
            return 0;
        timeout_ms = (int)left;
    }
    p->count = 0;
    do {
        if (p->count == PROTOCOL_FRAMES_MAX) {
            complain(p->arena, "the daemon sent too many frames");
            return -1;
        }
        if (zmq_msg_recv(&p->part[p->count], p->socket, ZMQ_DONTWAIT) < 0) {
            complain(p->arena, "receive: %s", zmq_strerror(errno));
            return -1;
        }
    } while (zmq_msg_more(&p->part[p->count++]));
    const char *why = "no memory";
    if (message_decode(p->decoder, zmq_msg_data(&p->part[0]), zmq_msg_size(&p->part[0]), p->count,
                       FROM_DAEMON, &p->in, &why) < 0) {
        complain(p->arena, "the daemon sent a message that cannot be decoded: %s", why);
        return -1;
    }
    return 1;
}

bool peer_await(struct peer *p, enum message_type type)
{
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until;) {
        int rc = peer_receive(p, (int)(until - now_ms()));
        if (rc < 0)
            return false;
        if (rc > 0 && p->in.type == type)
            return true;
        if (rc > 0 && p->in.type == MSG_ERROR)
            return complain(p->arena, "waiting for %s: ERROR %u, \"%.*s\"", message_name(type),
                            p->in.error.code, (int)p->in.error.text.len, p->in.error.text.data);
    }
    return complain(p->arena, "waiting for %s: no answer", message_name(type));
}

static bool is_utf8(struct text text)
{
    for (size_t i = 0; i < text.len;) {
        uint8_t c = (uint8_t)text.data[i++];
        size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : 3;
        if ((c >= 0x80 && c < 0xc2) || c > 0xf4)
            return false;
        for (; more > 0; more--, i++) {
            if (i == text.len || ((uint8_t)text.data[i] & 0xc0) != 0x80)
                return false;
        }
    }
    return true;
}

bool peer_await_error(struct peer *p, const uint64_t *ref, unsigned code, const char *words)
{
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until;) {
        int rc = peer_receive(p, (int)(until - now_ms()));
        if (rc < 0)
            return false;
        if (rc == 0 || p->in.type != MSG_ERROR)
            continue;
        struct text text = p->in.error.text;
        if (p->in.error.has_ref != (ref != NULL) || (ref != NULL && *ref != p->in.error.ref) ||
            p->in.error.code != code)
            return complain(p->arena, "wanted ERROR %u about %s, got ERROR %u about %s, \"%.*s\"", code,
                            ref != NULL ? "a ref" : "the session", p->in.error.code,
                            p->in.error.has_ref ? "a ref" : "the session", (int)text.len, text.data);
        if (text.len == 0)
            return complain(p->arena, "the ERROR does not say what is wrong");
        if (!is_utf8(text))
            return complain(p->arena, "the ERROR's text is not UTF-8");
        if (words != NULL && memmem(text.data, text.len, words, strlen(words)) == NULL)
            return complain(p->arena, "the ERROR says \"%.*s\", and nothing of \"%s\"", (int)text.len,
                            text.data, words);
        return true;
    }
    return complain(p->arena, "waiting for ERROR %u: no answer", code);
}

bool peer_refused(struct peer *p, unsigned code, const char *words)
{
    struct arena *a = p->arena;
    bool ok = peer_await_error(p, NULL, code, words) && say_ping(p, 77);
    if (!ok) {
        peer_free(p);
        return false;
    }
    a->dropped[a->dropped_count++] = p;
    return a->dropped_count < DROPPED_MOST || arena_settle(a);
}

bool peer_goes_on(struct peer *p)
{
    return say_ping(p, 4711) && peer_await(p, MSG_PONG) &&
           (p->in.ping.token == 4711 || complain(p->arena, "PONG with another token")) && peer_squares(p, 3);
}

/*** An honest job ***/

/* Checks the received RESULTS against the squares from *next on. */
static bool check_squares(struct peer *p, uint64_t ref, uint64_t *next)
{
    const void *frames[PROTOCOL_FRAMES_MAX];
    size_t sizes[PROTOCOL_FRAMES_MAX];
    struct batch batch;
    for (size_t i = 1; i < p->count; i++) {
        frames[i - 1] = zmq_msg_data(&p->part[i]);
        sizes[i - 1] = zmq_msg_size(&p->part[i]);
    }
    if (p->in.results.ref != ref)
        return complain(p->arena, "RESULTS for ref %" PRIu64 " came for %" PRIu64, p->in.results.ref, ref);
    if (results_init(&batch, frames, sizes, p->count - 1, p->in.results.more, NULL) < 0)
        return complain(p->arena, "RESULTS that are no batch");
    if (p->in.results.first != *next || results_failed(&batch) != 0)
        return complain(p->arena, "squares: results from %" PRIu64 " on instead of %" PRIu64 ", %u failed",
                        p->in.results.first, *next, results_failed(&batch));
    size_t at = 0;
    for (uint32_t i = 0; i < batch.count; i++, ++*next) {
        char wanted[32];
        int len = snprintf(wanted, sizeof wanted, "%" PRIu64, *next * *next);
        if (batch_length(&batch, i) != (uint32_t)len || memcmp(batch.bytes + at, wanted, (size_t)len) != 0)
            return complain(p->arena, "the square of %" PRIu64 " is wrong", *next);
        at += (size_t)len;
    }
    return true;
}

bool peer_open_squares(struct peer *p, unsigned count, uint64_t *ref)
{
    char digits[SQUARES_MOST][4];
    struct frame items[SQUARES_MOST];
    *ref = p->next_ref++;
    for (unsigned i = 0; i < count; i++) {
        int len = snprintf(digits[i], sizeof digits[i], "%u", i % SQUARES_MOST);
        items[i] = (struct frame){digits[i], (size_t)len};
    }
    return say_open(p, *ref, "square", 1 << 20, items, count, true);
}

bool peer_await_squares(struct peer *p, unsigned count, uint64_t ref)
{
    uint64_t next = 0;
    bool done = false;
    while (!done) {
        if (!peer_await(p, MSG_RESULTS) || !check_squares(p, ref, &next))
            return false;
        done = p->in.results.has_done;
    }
    return next == count || complain(p->arena, "%" PRIu64 " squares of %u came", next, count);
}

bool peer_squares(struct peer *p, unsigned count)
{
    uint64_t ref;
    return peer_open_squares(p, count, &ref) && peer_await_squares(p, count, ref);
}
