/* Acting: what the core wants done becomes messages. */
#include "daemon/broker_state.h"
#include "daemon/common/log.h"
#include "daemon/functions/functions.h"

#include <errno.h>
#include <stdlib.h>

/* Between TERM and KILL for what a client has left behind, who cannot ask for patience any more. */
#define GRACE_GONE_NS INT64_C(500000000)

static void out_of_memory(struct broker *broker)
{
    log_error("out of memory");
    broker->failed = true;
}

/*** To a client ***/

/* A message on its way to a client: to its socket, or, while it does not read, into what is kept for it. */
struct outgoing {
    struct broker *broker;
    struct client *client;
    struct kept_message *kept; /* NULL: to the socket */
    int rc;                    /* nothing more is to be done when this is negative */
};

/* Begins a message; `more` parts follow. */
static struct outgoing begin(struct broker *broker, struct client *client, const struct message *m, bool more)
{
    struct outgoing out = {.broker = broker, .client = client, .rc = message_encode(m, &broker->header)};
    broker->look_clients = true;
    if (out.rc == 0)
        out.rc = clients_is_stalled(client) ? -EAGAIN
                                            : frames_send_header(broker->clients_socket, client->id,
                                                                 client->id_size, &broker->header, more);
    if (out.rc == -EAGAIN) {
        out.kept = calloc(1, sizeof *out.kept);
        out.rc = out.kept != NULL ? frames_keep_part(out.kept, broker->header.data, broker->header.size, NULL)
                                  : -ENOMEM;
    }
    if (out.rc == -ENOMEM)
        out_of_memory(broker);
    return out;
}

/* Adds a part; `more` follow. */
static void add(struct outgoing *out, const void *data, size_t size, struct batch *batch, bool more)
{
    if (out->rc < 0)
        return;
    out->rc = out->kept != NULL ? frames_keep_part(out->kept, data, size, batch)
                                : frames_send_part(out->broker->clients_socket, data, size, batch, more);
    if (out->rc < 0)
        out_of_memory(out->broker); /* half a message is out: nothing can be sent on this socket any more */
}

/*
 * Ends the message. What the core's action points to is no longer good after it.
 * Returns 0 (sent, or kept), -EAGAIN (too much is kept for this client: it is to be dropped), or what sending
 * said: -EHOSTUNREACH, which the monitor will tell of too.
 */
static int end(struct outgoing *out)
{
    struct client *client = out->client;
    if (out->kept == NULL)
        return out->rc;
    if (out->rc < 0 || !clients_keep(&out->broker->clients, client, out->kept)) {
        frames_drop_kept(out->kept);
        free(out->kept);
        return out->rc < 0 ? out->rc : -EAGAIN;
    }
    if (client->session != NULL)
        core_session_block(out->broker->core, client->session, true);
    return 0;
}

/* The core speaks only to sessions for which nothing is kept, so what it says is always kept when it is not
 * sent. */
static void tell(struct broker *broker, struct client *client, const struct message *message)
{
    struct outgoing out = begin(broker, client, message, false);
    (void)end(&out);
}

int act_answer(struct broker *broker, struct client *client, const struct message *message, const void *data,
               size_t size)
{
    struct outgoing out = begin(broker, client, message, data != NULL);
    if (data != NULL)
        add(&out, data, size, NULL, false);
    return end(&out);
}

bool act_retry(struct broker *broker)
{
    struct client *client, *next;
    bool moved = false;
    for (client = TAILQ_FIRST(&broker->clients.stalled); client != NULL; client = next) {
        next = TAILQ_NEXT(client, stalled_link);
        if (!clients_send_kept(&broker->clients, client, broker->clients_socket))
            continue;
        moved = true;
        if (client->session != NULL)
            core_session_block(broker->core, client->session, false);
    }
    return moved;
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
        out_of_memory(broker);
        return;
    }
    bool notes = p.note_count > 0;
    struct outgoing out = begin(broker, client, &m, true);
    add(&out, p.lengths, 4 * p.count, p.keeper, true);
    add(&out, p.bytes, p.size, p.keeper, true);
    add(&out, p.times, 8 * p.count, p.keeper, notes);
    if (notes) {
        add(&out, p.notes, NOTE_SIZE * p.note_count, p.keeper, true);
        add(&out, p.note_text, p.note_text_size, p.keeper, false);
    }
    (void)end(&out);
}

/*** Chunks ***/

/* Where a worker is to be reached. */
struct address {
    void *socket;
    const uint8_t *id;
    size_t id_size;
    struct process *process; /* NULL: it is a thread */
};

static struct address address_of(struct broker *broker, const struct action *action)
{
    void *cookie = worker_cookie(action->worker);
    if (worker_crew(action->worker) == NULL) {
        const struct pool_worker *thread = cookie;
        broker->look_pool = true;
        return (struct address){broker->pool_socket, thread->id, thread->id_size, NULL};
    }
    struct process *process = cookie;
    broker->look_workers = true;
    return (struct address){broker->processes.socket, process->id, process->id_size, process};
}

/* Sends a header to a worker; `more` parts follow. Returns false where they cannot: a process that has gone
 * (the launcher will say so), or a thread, which ends the daemon. */
static bool send_worker(struct broker *broker, const struct address *to, const struct message *m, bool more)
{
    int rc = message_encode(m, &broker->header);
    if (rc == 0)
        rc = frames_send_header(to->socket, to->id, to->id_size, &broker->header, more);
    if (rc == 0)
        return true;
    if (to->process == NULL || rc == -ENOMEM) {
        log_error("%s could not be sent to a worker: %s", message_name(m->type), zmq_strerror(-rc));
        broker->failed = true;
    }
    return false;
}

/* Tells a process of the job that it is about to be given a chunk of, unless it knows. */
static bool send_job(struct broker *broker, const struct address *to, uint64_t job,
                     const struct callee *callee)
{
    int known = processes_tell(to->process, job);
    if (known < 0)
        out_of_memory(broker);
    if (known != 0)
        return known > 0;
    struct message m = {.type = MSG_JOB};
    m.job.job = job;
    m.job.kind = callee->kind;
    m.job.function = text_of(callee->function.name);
    m.job.options = callee->options;
    m.job.kill_grace_ns = broker->options.config->kill_grace_ns;
    m.job.spool = callee->spool;
    m.job.threads =
        broker->options.cpus > broker->options.slots ? broker->options.cpus / broker->options.slots : 1;
    if (!send_worker(broker, to, &m, true))
        return false;
    if (frames_send_part(to->socket, callee->call, callee->call_size, NULL, false) == 0)
        return true;
    out_of_memory(broker);
    return false;
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
    m.chunk.credit = action->work.credit;
    m.chunk.trace = action->work.trace;
    struct batch *head = items->batch;
    m.chunk.more = head->next_piece != NULL;
    struct address to = address_of(broker, action);
    if (to.process != NULL && !send_job(broker, &to, action->work.job, callee_of(function)))
        return;
    if (!send_worker(broker, &to, &m, true))
        return;
    int rc = frames_send_part(to.socket, head->lengths + 4 * (size_t)items->first, 4 * (size_t)items->count,
                              head, true);
    rc |= frames_send_part(to.socket, head->bytes + items->offset, items->size, head, false);
    for (struct batch *piece = head->next_piece; piece != NULL && rc == 0; piece = piece->next_piece) {
        m.chunk.more = piece->next_piece != NULL;
        if (!send_worker(broker, &to, &m, true))
            return;
        rc |= frames_send_part(to.socket, piece->lengths, 4, head, true);
        /* The head's reference keeps all pieces. */
        rc |= frames_send_part(to.socket, piece->bytes, piece->size, head, false);
    }
    if (rc < 0)
        out_of_memory(broker);
}

/* YIELD, RECALL, DROP, GRANT or LEND. */
static void send_control(struct broker *broker, const struct action *action, int64_t now_ns)
{
    struct address to = address_of(broker, action);
    struct message m = {0};
    if (action->type == ACTION_GRANT) {
        m.type = MSG_GRANT;
        m.grant.chunk = action->chunk;
        m.grant.bytes = action->grant.bytes;
        m.grant.head = action->grant.head;
    } else if (action->type == ACTION_LEND) {
        m.type = MSG_LEND;
        m.lend.chunk = action->chunk;
        m.lend.lent = action->lend.lent;
        m.lend.back = action->lend.back;
    } else {
        m.type = action->type == ACTION_YIELD    ? MSG_YIELD
                 : action->type == ACTION_RECALL ? MSG_RECALL
                                                 : MSG_DROP;
        m.chunk_id.chunk = action->chunk;
    }
    if (action->type == ACTION_DROP) {
        int64_t grace_ns = broker->options.config->kill_grace_ns;
        /* When we stop, its client has not gone but been told to. */
        if (action->drop.client_gone && !broker->stopping && grace_ns > GRACE_GONE_NS)
            grace_ns = GRACE_GONE_NS;
        m.chunk_id.grace_ns = grace_ns;
        if (to.process != NULL)
            processes_drop(to.process, grace_ns, now_ns);
    }
    (void)send_worker(broker, &to, &m, false);
}

/* The guarantee needs one thread more. */
static void start_thread(struct broker *broker, int64_t now_ns)
{
    int rc = pool_add(broker->pool);
    if (rc == 0) {
        broker->threads_started++;
        return;
    }
    static struct log_limit limit = LOG_LIMIT(5, 60);
    log_limited(&limit, LOG_WARNING, "cannot start another pool thread: %s", zmq_strerror(-rc));
    core_start_failed(broker->core, NULL, now_ns);
}

static void act_once(struct broker *broker, const struct action *action, int64_t now_ns)
{
    struct message m = {0};
    switch (action->type) {
    case ACTION_OPENED:
        m.type = MSG_OPENED;
        m.opened.ref = action->ref;
        m.opened.job = action->opened.job;
        m.opened.credit = action->opened.credit;
        tell(broker, session_cookie(action->session), &m);
        break;
    case ACTION_CREDIT:
        m.type = MSG_CREDIT;
        m.credit.ref = action->ref;
        m.credit.bytes = action->credit.bytes;
        tell(broker, session_cookie(action->session), &m);
        break;
    case ACTION_RESULTS:
        send_results(broker, action);
        break;
    case ACTION_DONE:
        m.type = MSG_DONE;
        m.done.ref = action->ref;
        m.done.done = action->done;
        tell(broker, session_cookie(action->session), &m);
        break;
    case ACTION_CHUNK:
        send_chunk(broker, action);
        break;
    case ACTION_YIELD:
    case ACTION_RECALL:
    case ACTION_DROP:
    case ACTION_GRANT:
    case ACTION_LEND:
        send_control(broker, action, now_ns);
        break;
    case ACTION_START:
        if (action->crew != NULL)
            processes_start(broker, crew_cookie(action->crew), now_ns);
        else
            start_thread(broker, now_ns);
        break;
    case ACTION_STOP:
        processes_stop(broker, worker_cookie(action->worker), now_ns);
        break;
    case ACTION_OVER: {
        struct callee *callee = callee_of(action->over.function);
        uint64_t job = action->over.job; /* the action is the core's, which is called below */
        callee_free(&broker->callees, callee);
        processes_over(broker, job);
        break;
    }
    }
}

void act(struct broker *broker, int64_t now_ns)
{
    struct action action;
    while (!broker->failed && core_next(broker->core, now_ns, &action))
        act_once(broker, &action, now_ns);
}
