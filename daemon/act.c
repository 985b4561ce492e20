/* Acting: what the core wants done becomes messages. */
#include "daemon/broker_state.h"
#include "daemon/functions/functions.h"
#include "daemon/log.h"

#include <errno.h>
#include <stdlib.h>

/* Encodes and sends the header of a message to a client; false when it could not be sent. */
static bool send_client(struct broker *broker, const struct client *client, const struct message *m,
                        bool more)
{
    int rc = message_encode(m, &broker->header);
    broker->look_clients = true;
    if (rc == 0)
        rc = frames_send_header(broker->clients_socket, client->id, client->id_size, &broker->header, more);
    /* EHOSTUNREACH: it has gone, and the monitor will say so. Nothing else is expected: queues are bounded by
     * credit. */
    if (rc < 0 && rc != -EHOSTUNREACH) {
        static struct log_limit limit = LOG_LIMIT(5, 60);
        log_limited(&limit, LOG_WARNING, "%s could not be sent to a client of uid %u: %s",
                    message_name(m->type), (unsigned)client->uid, zmq_strerror(-rc));
    }
    return rc == 0;
}

void act_tell(struct broker *broker, struct client *client, const struct message *message)
{
    send_client(broker, client, message, false);
}

/*** Results ***/

/* The parts of a message of results, as they are sent. */
struct parts {
    const uint8_t *lengths, *bytes, *times, *notes, *note_text;
    size_t count, size, note_count, note_text_size;
    struct batch *keeper; /* what keeps them; NULL: they are copied */
};

static bool make_room(struct broker *broker, size_t size)
{
    if (size <= broker->merge_capacity)
        return true;
    uint8_t *merge = realloc(broker->merge, size);
    if (merge == NULL)
        return false;
    broker->merge = merge;
    broker->merge_capacity = size;
    return true;
}

/* Puts the blocks of an action one behind the other. */
static bool merge_blocks(struct broker *broker, const struct action *action, struct parts *parts)
{
    struct batch *const *blocks = action->results.blocks;
    *parts = (struct parts){0};
    for (size_t i = 0; i < action->results.count; i++) {
        parts->count += blocks[i]->count;
        parts->size += blocks[i]->size;
        parts->note_count += blocks[i]->note_count;
        parts->note_text_size += blocks[i]->note_text_size;
    }
    if (!make_room(broker,
                   parts->count * 12 + parts->size + parts->note_count * NOTE_SIZE + parts->note_text_size))
        return false;
    uint8_t *lengths = broker->merge, *times = lengths + 4 * parts->count, *bytes = times + 8 * parts->count;
    uint8_t *notes = bytes + parts->size, *text = notes + parts->note_count * NOTE_SIZE;
    *parts = (struct parts){lengths,
                            bytes,
                            times,
                            notes,
                            text,
                            parts->count,
                            parts->size,
                            parts->note_count,
                            parts->note_text_size,
                            NULL};
    uint32_t records = 0;
    for (size_t i = 0; i < action->results.count; i++) {
        const struct batch *b = blocks[i];
        lengths = mempcpy(lengths, b->lengths, 4 * (size_t)b->count);
        times = mempcpy(times, b->times, 8 * (size_t)b->count);
        if (b->size > 0)
            bytes = mempcpy(bytes, b->bytes, b->size);
        for (uint32_t n = 0; n < b->note_count; n++) {
            struct note note = note_load(b->notes + n * (size_t)NOTE_SIZE);
            note.record += records;
            note_store(notes, &note);
            notes += NOTE_SIZE;
        }
        if (b->note_text_size > 0)
            text = mempcpy(text, b->note_text, b->note_text_size);
        records += b->count;
    }
    return true;
}

static void send_results(struct broker *broker, const struct action *action)
{
    struct client *client = session_cookie(action->session);
    struct message m = {.type = MSG_RESULTS};
    m.results.ref = action->ref;
    m.results.first = action->results.first;
    m.results.more = action->results.more;
    m.results.has_done = action->results.has_done;
    m.results.done = action->results.done;

    struct parts p;
    if (action->results.count == 1) {
        struct batch *b = action->results.blocks[0];
        p = (struct parts){b->lengths, b->bytes, b->times,      b->notes,          b->note_text,
                           b->count,   b->size,  b->note_count, b->note_text_size, b};
    } else if (!merge_blocks(broker, action, &p)) {
        log_error("out of memory");
        broker->failed = true;
        return;
    }
    if (!send_client(broker, client, &m, true))
        return;
    void *socket = broker->clients_socket;
    bool notes = p.note_count > 0;
    int rc = frames_send_part(socket, p.lengths, 4 * p.count, p.keeper, true);
    rc |= frames_send_part(socket, p.bytes, p.size, p.keeper, true);
    rc |= frames_send_part(socket, p.times, 8 * p.count, p.keeper, notes);
    if (notes) {
        rc |= frames_send_part(socket, p.notes, NOTE_SIZE * p.note_count, p.keeper, true);
        rc |= frames_send_part(socket, p.note_text, p.note_text_size, p.keeper, false);
    }
    if (rc < 0) { /* half a message is out: nothing can be sent on this socket any more */
        log_error("out of memory");
        broker->failed = true;
    }
}

/*** Chunks ***/

static void send_worker(struct broker *broker, const struct action *action, const struct message *m,
                        bool more)
{
    const struct pool_worker *to = worker_cookie(action->worker);
    int rc = message_encode(m, &broker->header);
    broker->look_pool = true;
    if (rc == 0)
        rc = frames_send_header(broker->pool_socket, to->id, to->id_size, &broker->header, more);
    if (rc < 0) {
        log_error("%s could not be sent to a pool thread: %s", message_name(m->type), zmq_strerror(-rc));
        broker->failed = true;
    }
}

static void send_chunk(struct broker *broker, const struct action *action)
{
    const struct function *function = action->work.function;
    const struct slice *items = &action->work.items;
    struct message m = {.type = MSG_CHUNK};
    m.chunk.chunk = action->chunk;
    m.chunk.job = action->work.job;
    m.chunk.first = action->work.first;
    m.chunk.function = text_of(function->name);
    struct batch *head = items->batch;
    m.chunk.more = head->next_piece != NULL;
    send_worker(broker, action, &m, true);
    if (broker->failed)
        return;
    int rc = frames_send_part(broker->pool_socket, head->lengths + 4 * (size_t)items->first,
                              4 * (size_t)items->count, head, true);
    rc |= frames_send_part(broker->pool_socket, head->bytes + items->offset, items->size, head, false);
    for (struct batch *piece = head->next_piece; piece != NULL && rc == 0; piece = piece->next_piece) {
        m.chunk.more = piece->next_piece != NULL;
        send_worker(broker, action, &m, true);
        if (broker->failed)
            return;
        rc |= frames_send_part(broker->pool_socket, piece->lengths, 4, head, true);
        /* The head's reference keeps all pieces. */
        rc |= frames_send_part(broker->pool_socket, piece->bytes, piece->size, head, false);
    }
    if (rc < 0) {
        log_error("out of memory");
        broker->failed = true;
    }
}

static void act_once(struct broker *broker, const struct action *action)
{
    struct message m = {0};
    switch (action->type) {
    case ACTION_OPENED:
        m.type = MSG_OPENED;
        m.opened.ref = action->ref;
        m.opened.job = action->opened.job;
        m.opened.credit = action->opened.credit;
        act_tell(broker, session_cookie(action->session), &m);
        break;
    case ACTION_CREDIT:
        m.type = MSG_CREDIT;
        m.credit.ref = action->ref;
        m.credit.bytes = action->credit.bytes;
        act_tell(broker, session_cookie(action->session), &m);
        break;
    case ACTION_RESULTS:
        send_results(broker, action);
        break;
    case ACTION_DONE:
        m.type = MSG_DONE;
        m.done.ref = action->ref;
        m.done.done = action->done;
        act_tell(broker, session_cookie(action->session), &m);
        break;
    case ACTION_CHUNK:
        send_chunk(broker, action);
        break;
    case ACTION_YIELD:
    case ACTION_RECALL:
    case ACTION_DROP:
        m.type = action->type == ACTION_YIELD    ? MSG_YIELD
                 : action->type == ACTION_RECALL ? MSG_RECALL
                                                 : MSG_DROP;
        m.chunk_id.chunk = action->chunk;
        send_worker(broker, action, &m, false);
        break;
    }
}

void act(struct broker *broker, int64_t now_ns)
{
    struct action action;
    while (!broker->failed && core_next(broker->core, now_ns, &action))
        act_once(broker, &action);
}
