/*
 * Gathering results and telling them; see worked.h. Small frames are copied into their messages (up to 33
 * bytes ZeroMQ keeps them inline, so that a chunk of one short item costs no allocation at all); larger
 * results leave with the buffer that the builtin wrote them to, which all messages that refer into it free
 * together.
 */
#include "daemon/worked.h"

#include "common/batch.h"
#include "common/clock.h"
#include "common/handover.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

enum {
    RECORDS_MAX = 8192,                     /* records gathered at most */
    TEXTS_MAX = 64 << 10,                   /* bytes of the notes' texts gathered at most */
    FULL_SIZE = 256 << 10,                  /* bytes of all kinds that are told at once */
    COPY_MAX = 16 << 10,                    /* results up to this are copied and the warm buffer is kept */
    RECORD_SIZE = 4 + 8,                    /* bytes of a record beside its own: length and time */
    PIECE_SIZE = PROTOCOL_MESSAGE_MAX - 64, /* bytes of one piece of a large result */
    FRAMES = 6,                             /* of a WORKED with notes */
    SLOT_SIZE = NOTE_SIZE + NOTE_SLOT_SIZE, /* bytes of the note SLOT */
};

_Static_assert(FULL_SIZE + RECORD_SIZE + NOTE_SIZE + FUNCTION_ERROR_MAX + SLOT_SIZE < PROTOCOL_MESSAGE_MAX,
               "all records but a large last one fit one message");
_Static_assert(PIECE_SIZE + RECORD_SIZE + SLOT_SIZE <= PROTOCOL_MESSAGE_MAX, "a piece fits one message");

/* A result buffer that has left: freed with the last of the messages that refer into it, in whichever thread.
 */
struct shared {
    atomic_uint refs;
    uint8_t *data;
};

static void shared_unref(struct shared *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
        free(s->data);
        free(s);
    }
}

/* A zmq_free_fn. */
static void shared_release(void *data, void *hint)
{
    (void)data;
    handover_take(hint);
    shared_unref(hint);
}

int worked_init(struct worked *w, void *socket)
{
    uint8_t *room = malloc((size_t)RECORDS_MAX * (RECORD_SIZE + NOTE_SIZE) + TEXTS_MAX + SLOT_SIZE);
    if (!room)
        return -ENOMEM;
    *w = (struct worked){.socket = socket, .lengths = room};
    w->times = w->lengths + (size_t)RECORDS_MAX * 4;
    /* With room in front of both for the note SLOT, which is made last. */
    w->notes = w->times + (size_t)RECORDS_MAX * 8 + NOTE_SIZE;
    w->texts = w->notes + (size_t)RECORDS_MAX * NOTE_SIZE + NOTE_SLOT_SIZE;
    wire_init(&w->wire);
    return 0;
}

void worked_free(struct worked *w)
{
    free(w->lengths);
    out_free(&w->out);
    wire_free(&w->wire);
}

static void add_note(struct worked *w, enum note_kind kind, const char *text)
{
    size_t size = strnlen(text, FUNCTION_ERROR_MAX);
    struct note note = {.record = w->count, .kind = kind, .text_len = (uint32_t)size};
    note_store(w->notes + (size_t)w->note_count * NOTE_SIZE, &note);
    memcpy(w->texts + w->texts_size, text, size);
    w->note_count++;
    w->texts_size += size;
}

void worked_add(struct worked *w, enum function_result result, const char *error, int64_t ns)
{
    /* A result whose length no frame could state does not come from the builtins: they answer about what they
     * get. */
    if (result == FUNCTION_OK && w->out.len - w->end > PROTOCOL_ITEM_MAX) {
        result = FUNCTION_FAILED;
        error = "the result is too large";
    }
    if (result != FUNCTION_OK) {
        w->out.len = w->end;
        add_note(w, result == FUNCTION_FAILED ? NOTE_ERROR : NOTE_CANCELLED,
                 result == FUNCTION_FAILED ? error : "");
    }
    store_u32(w->lengths + (size_t)w->count * 4, (uint32_t)(w->out.len - w->end));
    store_u64(w->times + (size_t)w->count * 8, ns > 0 ? (uint64_t)ns : 0);
    w->count++;
    w->end = w->out.len;
}

/* Bytes of the gathered records, of all kinds. */
static size_t gathered(const struct worked *w)
{
    return w->end - w->sent + (size_t)w->count * RECORD_SIZE + (size_t)w->note_count * NOTE_SIZE +
           w->texts_size;
}

bool worked_full(const struct worked *w)
{
    return gathered(w) >= FULL_SIZE || w->count >= RECORDS_MAX ||
           w->texts_size > TEXTS_MAX - FUNCTION_ERROR_MAX;
}

/* After telling: the records are gone, their bytes stay in the buffer until no item is under way in it. */
static void forget(struct worked *w, bool within)
{
    w->count = w->note_count = 0;
    w->texts_size = 0;
    if (within) {
        w->sent = w->end;
    } else {
        w->sent = w->end = 0;
        w->out.len = 0;
    }
}

void worked_clear(struct worked *w)
{
    forget(w, false);
}

static int copy_frame(zmq_msg_t *frame, const void *data, size_t size)
{
    if (zmq_msg_init_size(frame, size) < 0)
        return -errno;
    if (size > 0)
        memcpy(zmq_msg_data(frame), data, size);
    return 0;
}

/* A frame of result bytes: refers into the buffer where it has left as `shared`, is a copy otherwise. */
static int bytes_frame(zmq_msg_t *frame, struct shared *shared, uint8_t *data, size_t size)
{
    if (!shared || size <= COPY_MAX)
        return copy_frame(frame, data, size);
    atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    if (zmq_msg_init_data(frame, data, size, shared_release, shared) < 0) {
        int rc = -errno;
        shared_unref(shared);
        return rc;
    }
    handover_give(shared);
    return 0;
}

/* Sends the frames and closes what could not be sent. Returns 0 or a negative errno. */
static int send_frames(void *socket, zmq_msg_t *frames, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int rc;
        handover_give(zmq_msg_data(&frames[i]));
        do {
            rc = zmq_msg_send(&frames[i], socket, i + 1 < count ? ZMQ_SNDMORE : 0);
        } while (rc < 0 && errno == EINTR);
        if (rc < 0) {
            rc = -errno;
            for (; i < count; i++)
                zmq_msg_close(&frames[i]);
            return rc;
        }
    }
    return 0;
}

/* Records of one message: `count` of them, the first at `data`; no notes where note_count is 0. */
struct part {
    const uint8_t *lengths, *times;
    uint32_t count, note_count;
    bool slot; /* in front of the notes stands SLOT */
    uint8_t *data;
    size_t size;
};

/* Puts the note SLOT before the others: the part's first record began when all from it on had not been run.
 */
static void say_slot(struct worked *w, struct part *p)
{
    const uint8_t *end = w->times + 8 * (size_t)w->count;
    int64_t began_ns = clock_ns(CLOCK_REALTIME) - (clock_ns(CLOCK_MONOTONIC) - w->ended_ns);
    for (const uint8_t *time = p->times; time < end; time += 8)
        began_ns -= (int64_t)load_u64(time);
    struct note note = {.kind = NOTE_SLOT, .code = w->slot, .text_len = NOTE_SLOT_SIZE};
    note_store(w->notes - NOTE_SIZE, &note);
    store_u64(w->texts - NOTE_SLOT_SIZE, began_ns > 0 ? (uint64_t)began_ns : 0);
    p->slot = true;
}

/* Makes all frames of a message or none. Returns their number or -ENOMEM. */
static int make_frames(struct worked *w, const struct message *m, const struct part *p, struct shared *shared,
                       zmq_msg_t frames[FRAMES])
{
    int rc = message_encode(m, &w->wire);
    if (rc < 0 || (rc = copy_frame(&frames[0], w->wire.data, w->wire.size)) < 0)
        return rc;
    int made = 1;
    if (p->count > 0 && (rc = copy_frame(&frames[made], p->lengths, (size_t)p->count * 4)) == 0) {
        made++;
        if ((rc = bytes_frame(&frames[made], shared, p->data, p->size)) == 0) {
            made++;
            rc = copy_frame(&frames[made], p->times, (size_t)p->count * 8);
            made += rc == 0;
        }
    }
    size_t own = p->slot ? 1 : 0, notes = (p->note_count + own) * NOTE_SIZE;
    if (rc == 0 && notes > 0 && (rc = copy_frame(&frames[made], w->notes - own * NOTE_SIZE, notes)) == 0) {
        size_t texts = own * NOTE_SLOT_SIZE + (p->note_count > 0 ? w->texts_size : 0);
        made++;
        rc = copy_frame(&frames[made], w->texts - own * NOTE_SLOT_SIZE, texts);
        made += rc == 0;
    }
    if (rc == 0)
        return made;
    while (made > 0)
        zmq_msg_close(&frames[--made]);
    return rc;
}

/* Sends one WORKED, waiting for memory where that is short. Returns 0 or a negative errno. */
static int send_part(struct worked *w, const struct message *m, const struct part *p, struct shared *shared)
{
    zmq_msg_t frames[FRAMES];
    int made = make_frames(w, m, p, shared, frames);
    while (made == -ENOMEM) {
        const struct timespec pause = {.tv_nsec = 10000000};
        nanosleep(&pause, NULL);
        made = make_frames(w, m, p, shared, frames);
    }
    return made < 0 ? made : send_frames(w->socket, frames, (size_t)made);
}

/* A record of its own that is too large for one message. */
static int tell_pieces(struct worked *w, struct message *m, const uint8_t *time, size_t offset, bool last,
                       struct shared *shared)
{
    static const uint8_t no_time[8] = {0};
    int64_t run_ns = m->worked.run_ns, cpu_ns = m->worked.cpu_ns;
    m->worked.run_ns = m->worked.cpu_ns = 0;
    for (int rc;;) {
        size_t left = w->end - offset, size = left < PIECE_SIZE ? left : PIECE_SIZE;
        bool more = size < left;
        uint8_t length[4];
        store_u32(length, (uint32_t)size);
        struct part p = {.lengths = length,
                         .times = more ? no_time : time,
                         .count = 1,
                         .data = w->out.data + offset,
                         .size = size};
        m->worked.more = more;
        m->worked.last = last && !more;
        if (!more) {
            if (w->slot != 0)
                say_slot(w, &p);
            m->worked.run_ns = run_ns;
            m->worked.cpu_ns = cpu_ns;
        }
        if ((rc = send_part(w, m, &p, shared)) < 0 || !more)
            return rc;
        offset += size;
    }
}

/* Lets the buffer go, as something that messages can refer into. NULL where it stays: they are copies then.
 */
static struct shared *share_buffer(struct worked *w, bool within)
{
    if (within || w->end - w->sent <= COPY_MAX)
        return NULL;
    struct shared *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    /* What the broker holds counts as the results' size, so it should not be much more than that. */
    if (w->out.capacity - w->end > w->end / 4) {
        uint8_t *smaller = realloc(w->out.data, w->end);
        if (smaller) {
            w->out.data = smaller;
            w->out.capacity = w->end;
        }
    }
    atomic_init(&s->refs, 1);
    s->data = w->out.data;
    return s;
}

int worked_tell(struct worked *w, uint64_t chunk, bool last, bool within, int64_t run_ns, int64_t cpu_ns)
{
    struct shared *shared = share_buffer(w, within); /* first: it may move the buffer */
    struct message m = {.type = MSG_WORKED,
                        .worked = {.chunk = chunk, .last = last, .run_ns = run_ns, .cpu_ns = cpu_ns}};
    struct part p = {.lengths = w->lengths,
                     .times = w->times,
                     .count = w->count,
                     .note_count = w->note_count,
                     .data = w->out.data ? w->out.data + w->sent : NULL,
                     .size = w->end - w->sent};
    int rc = 0;
    if (w->slot != 0 && p.count > 0)
        say_slot(w, &p);
    if (gathered(w) <= PROTOCOL_MESSAGE_MAX - SLOT_SIZE) {
        rc = send_part(w, &m, &p, shared);
    } else {
        /* Only the last record can have made it so large, and a failed one has no bytes: no note is of it. */
        p.count--;
        p.size -= load_u32(w->lengths + (size_t)p.count * 4);
        if (p.count > 0) {
            m.worked.last = false;
            m.worked.run_ns = m.worked.cpu_ns = 0;
            rc = send_part(w, &m, &p, shared);
            m.worked.run_ns = run_ns;
            m.worked.cpu_ns = cpu_ns;
        }
        if (rc == 0)
            rc = tell_pieces(w, &m, w->times + (size_t)p.count * 8, w->sent + p.size, last, shared);
    }
    if (shared) {
        size_t next = w->end - w->sent < FULL_SIZE ? w->end - w->sent : FULL_SIZE;
        shared_unref(shared);
        w->out = (struct out){0};
        out_reserve(&w->out, next); /* as much again is likely; failing here does no harm */
    }
    forget(w, within);
    return rc;
}

int worked_tell_nothing(struct worked *w, uint64_t chunk, int64_t run_ns, int64_t cpu_ns)
{
    struct message m = {.type = MSG_WORKED,
                        .worked = {.chunk = chunk, .last = true, .run_ns = run_ns, .cpu_ns = cpu_ns}};
    const struct part nothing = {0};
    return send_part(w, &m, &nothing, NULL);
}
