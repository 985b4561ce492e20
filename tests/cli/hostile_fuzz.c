/*
 * Random sessions: valid messages in any order with values that are near to what is right, and mutations of
 * them. The series is the seed's (PMAP_HOSTILE_SEED, else always the same one), which is told when something
 * fails.
 */
#include "common/batch.h"
#include "tests/cli/hostile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz {
    uint64_t seed;
    uint8_t header[PROTOCOL_HEADER_MAX + 64];
    uint8_t lengths[4096], bytes[8192];
    struct range done[3];
};

static uint64_t below(struct fuzz *f, uint64_t n)
{
    return next_random(&f->seed) % n;
}

/* Mostly small, sometimes on an edge. */
static uint64_t number(struct fuzz *f)
{
    static const uint64_t edges[] = {
        0, 31, 32, 33, UINT32_MAX, UINT64_C(1) << 32, PROTOCOL_COUNT_MAX, PROTOCOL_COUNT_MAX - 1};
    return below(f, 12) == 0 ? edges[below(f, COUNT_OF(edges))] : below(f, 6);
}

static void make_open(struct fuzz *f, struct message *m)
{
    static const char *const functions[] = {"square", "cube",  "echo",  "length",
                                            "sha256", "upper", "sleep", "none"};
    m->open.ref = below(f, 4);
    m->open.kind = below(f, 20) == 0;
    m->open.function = text_of(functions[below(f, COUNT_OF(functions))]);
    m->open.options.chunksize = (uint32_t)below(f, 4);
    m->open.options.slots = (uint32_t)below(f, 3);
    m->open.options.unordered = below(f, 2) != 0;
    m->open.options.priority = (int32_t)below(f, 5) - 2;
    m->open.credit = 1 + number(f) % PROTOCOL_COUNT_MAX;
    m->open.first = below(f, 3) == 0 ? number(f) : 0;
    m->open.end = below(f, 2) != 0;
    if (below(f, 3) == 0) {
        uint64_t at = m->open.first;
        for (m->open.done_count = 0; m->open.done_count < COUNT_OF(f->done); m->open.done_count++) {
            struct range *range = &f->done[m->open.done_count];
            range->from = at + below(f, 4);
            range->to = at = range->from + 1 + below(f, 4);
            if (range->to > PROTOCOL_COUNT_MAX)
                break;
        }
        m->open.done = f->done;
    }
}

static void make_message(struct fuzz *f, struct message *m)
{
    static const enum message_type types[] = {MSG_OPEN,   MSG_OPEN,  MSG_OPEN, MSG_ITEMS, MSG_ITEMS,
                                              MSG_ITEMS,  MSG_ITEMS, MSG_END,  MSG_END,   MSG_CREDIT,
                                              MSG_CANCEL, MSG_PING,  MSG_QUERY};
    static const char *const questions[] = {"status", "jobs", "slots", "functions", "what"};
    *m = (struct message){.type = types[below(f, COUNT_OF(types))]};
    switch (m->type) {
    case MSG_OPEN:
        make_open(f, m);
        break;
    case MSG_ITEMS:
        m->items = (typeof(m->items)){.ref = below(f, 4), .first = number(f), .more = below(f, 4) == 0};
        break;
    case MSG_END:
        m->end = (typeof(m->end)){.ref = below(f, 4), .total = number(f)};
        break;
    case MSG_CREDIT:
        m->credit = (typeof(m->credit)){.ref = below(f, 4), .bytes = number(f)};
        break;
    case MSG_CANCEL:
        m->cancel.ref = below(f, 4);
        break;
    case MSG_PING:
        m->ping.token = next_random(&f->seed);
        break;
    default:
        m->query.ref = 10 + below(f, 100000);
        m->query.what = text_of(questions[below(f, COUNT_OF(questions))]);
    }
}

/* A few items; mostly ones that add up. Returns the size of the lengths, and that of the bytes in *size. */
static size_t make_items(struct fuzz *f, size_t *size)
{
    static const char *const items[] = {"0", "1", "-3", "12.5", "x", "", "0.001", "99999999999999999999"};
    size_t count = 1 + below(f, below(f, 4) == 0 ? 100 : 5);
    *size = 0;
    for (size_t i = 0; i < count; i++) {
        const char *item = items[below(f, COUNT_OF(items))];
        size_t len = strlen(item);
        memcpy(f->bytes + *size, item, len);
        store_u32(f->lengths + 4 * i, (uint32_t)len);
        *size += len;
    }
    if (below(f, 20) == 0)
        f->lengths[below(f, 4 * count)] ^= (uint8_t)(1 << below(f, 8));
    if (below(f, 30) == 0)
        ++*size;
    return 4 * count - (below(f, 40) == 0);
}

/* Changes some bytes of the header, its size or both. Returns its size. */
static size_t mutate(struct fuzz *f, size_t size)
{
    for (uint64_t i = 1 + below(f, 3); i > 0; i--) {
        size_t at = size > 0 ? below(f, size) : 0;
        switch (below(f, 5)) {
        case 0:
            f->header[at] ^= (uint8_t)(1 << below(f, 8));
            break;
        case 1:
            f->header[at] = (uint8_t)next_random(&f->seed);
            break;
        case 2:
            size = at;
            break;
        case 3: /* one byte more in its midst */
            memmove(f->header + at + 1, f->header + at, size - at);
            f->header[at] = (uint8_t)next_random(&f->seed);
            size++;
            break;
        default: /* one less */
            if (size > 0) {
                memmove(f->header + at, f->header + at + 1, size - at - 1);
                size--;
            }
        }
    }
    return size;
}

static bool send_random(struct fuzz *f, struct peer *p)
{
    struct message m;
    struct frame frames[PROTOCOL_FRAMES_MAX + 2] = {0};
    size_t count = 1, size = 0;
    make_message(f, &m);
    if (message_encode(&m, &p->header) < 0)
        return true; /* a number that no header can hold */
    memcpy(f->header, p->header.data, p->header.size);
    frames[0] = (struct frame){f->header, below(f, 4) == 0 ? mutate(f, p->header.size) : p->header.size};
    if (m.type == MSG_OPEN)
        frames[count++] = (struct frame){"", 0};
    if (m.type == MSG_ITEMS || (m.type == MSG_OPEN && below(f, 2) == 0)) {
        size_t lengths_size = make_items(f, &size);
        frames[count++] = (struct frame){f->lengths, lengths_size};
        frames[count++] = (struct frame){f->bytes, size};
    }
    if (below(f, 30) == 0)
        count = 1 + below(f, COUNT_OF(frames));
    return peer_send_frames(p, frames, count);
}

static bool run_session(struct fuzz *f, struct arena *a)
{
    struct peer *p = below(f, 10) == 0 ? peer_connect(a, &a->daemon, NULL, 0) : peer_new(a);
    bool ok = p != NULL, over = false;
    for (uint64_t i = 1 + below(f, 40); ok && !over && i > 0; i--) {
        ok = send_random(f, p);
        int rc = below(f, 3) == 0 ? peer_receive(p, 1) : 0;
        ok = ok && rc >= 0;
        over = ok && rc > 0 && p->in.type == MSG_ERROR && !p->in.error.has_ref;
    }
    /* Its last words have been read when they are answered, by a PONG or by what ends the session. */
    for (bool answered = !ok || over || !(ok = say_ping(p, UINT64_MAX)); !answered;) {
        ok = peer_receive(p, PATIENCE_MS) > 0 || complain(a, "a session is not answered any more");
        answered = !ok || (p->in.type == MSG_PONG && p->in.ping.token == UINT64_MAX) ||
                   (p->in.type == MSG_ERROR && !p->in.error.has_ref);
    }
    peer_free(p);
    return ok;
}

static bool run_fuzz(struct arena *a)
{
    enum { SESSIONS = 1500, TURN = 50 };
    const char *text = getenv("PMAP_HOSTILE_SEED");
    struct fuzz *f = calloc(1, sizeof *f);
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20240229;
    bool ok = f != NULL;
    for (unsigned i = 0; ok && i < SESSIONS; i++) {
        f->seed = seed + i;
        ok = run_session(f, a);
        if (ok && (i + 1) % TURN == 0)
            ok = status_at_most(a, "connections", 1) && arena_check(a);
        if (!ok)
            printf("# seed %" PRIu64 ", at session %u\n", seed, i);
    }
    free(f);
    return ok && status_at_most(a, "jobs", 0) && status_at_most(a, "orphans", 0) &&
           status_at_most(a, "held_bytes", 0);
}

const struct attack fuzz_attacks[] = {
    {"random sessions", .run = run_fuzz},
    {NULL},
};
