/* What the daemon says. A daemon that breaks the protocol is one that this worker cannot work for. */
#include "daemon/worker/worker.h"

#include <errno.h>

static bool lengths_add_up(zmq_msg_t *lengths, zmq_msg_t *bytes)
{
    size_t size = zmq_msg_size(lengths), sum = 0;
    const uint8_t *length = zmq_msg_data(lengths);
    if (size == 0 || size % 4 != 0 || size + zmq_msg_size(bytes) > PROTOCOL_MESSAGE_MAX)
        return false;
    for (size_t i = 0; i < size; i += 4)
        sum += load_u32(length + i);
    return sum == zmq_msg_size(bytes);
}

/* A piece of a large item goes where its host will look for it. */
static int add_piece(struct worker *w, struct chunk *c, zmq_msg_t *bytes)
{
    size_t size = zmq_msg_size(bytes);
    if (c->large_size + size > PROTOCOL_ITEM_MAX)
        return -EPROTO;
    if (!c->large) {
        struct host *host;
        int rc = hosts_get(&w->hosts, c->job, &host);
        if (rc < 0)
            return rc;
        c->large_at = arena_large_begin(&host->arena);
        c->large = host;
    }
    int rc = arena_large_add(&c->large->arena, c->large_at + c->large_size, zmq_msg_data(bytes), size);
    c->large_size += size;
    return rc;
}

static int begin_chunk(struct worker *w, const struct message *m, struct chunk **out)
{
    struct job *job = job_find(&w->jobs, m->chunk.job);
    if (!job || chunk_find(w, m->chunk.chunk))
        return -EPROTO;
    struct chunk *c = chunk_new(w, m, job);
    if (!c)
        return -ENOMEM;
    c->count = (uint32_t)(zmq_msg_size(&w->link.frame[1]) / 4);
    *out = c;
    return 0;
}

static int take_chunk(struct worker *w, const struct message *m)
{
    zmq_msg_t *lengths = &w->link.frame[1], *bytes = &w->link.frame[2];
    if (!lengths_add_up(lengths, bytes) || (m->chunk.more && zmq_msg_size(lengths) != 4))
        return -EPROTO;
    if (w->refused != 0 && m->chunk.chunk == w->refused) {
        if (!m->chunk.more)
            w->refused = 0;
        return 0;
    }
    struct chunk *c = TAILQ_LAST(&w->queue, chunk_list);
    int rc = 0;
    if (!c || c->whole) {
        rc = begin_chunk(w, m, &c);
        if (rc < 0)
            return rc;
    } else if (c->id != m->chunk.chunk || zmq_msg_size(lengths) != 4) {
        return -EPROTO; /* between the pieces of an item */
    }
    if (m->chunk.more || c->large) {
        rc = add_piece(w, c, bytes);
    } else {
        zmq_msg_move(&c->lengths, lengths);
        zmq_msg_move(&c->bytes, bytes);
    }
    c->whole = !m->chunk.more;
    return rc;
}

/* Out of turn: nothing of it was begun, or nobody wants it. */
static void give_up(struct worker *w, struct chunk_list *list, struct chunk *c)
{
    if (!c->whole)
        w->refused = c->id;
    TAILQ_REMOVE(list, c, link);
    deliver_last(w, c);
    chunk_free(w, c);
}

static void take_back(struct worker *w, const struct message *m)
{
    struct chunk *c = chunk_find(w, m->chunk_id.chunk);
    if (!c)
        return; /* its last word is under way */
    if (c == w->run.chunk) {
        if (m->type == MSG_YIELD)
            run_yield(w);
        else if (m->type == MSG_DROP)
            run_drop(w, m->chunk_id.grace_ns);
    } else if (!c->parked) {
        give_up(w, &w->queue, c);
    } else if (m->type == MSG_DROP) {
        give_up(w, &w->parked, c);
    }
}

static void take_grant(struct worker *w, const struct message *m)
{
    struct chunk *c = chunk_find(w, m->grant.chunk);
    if (!c)
        return;
    if (m->grant.bytes >= PROTOCOL_COUNT_MAX ||
        __builtin_add_overflow(c->credit, (int64_t)m->grant.bytes, &c->credit))
        c->credit = INT64_MAX;
    c->head = m->grant.head;
    deliver_waiting(w, c);
}

static void take_lend(struct worker *w, const struct message *m)
{
    struct chunk *c = chunk_find(w, m->lend.chunk);
    if (!c || c->parked)
        return; /* all has come back, or will with its last word */
    c->lent = m->lend.lent;
    c->back = m->lend.back;
    if (c->back > c->called)
        c->called = c->back;
    if (c == w->run.chunk)
        run_lend(w);
}

static int take_forget(struct worker *w, uint64_t id)
{
    struct job *job = job_find(&w->jobs, id);
    struct chunk *c;
    if (!job || (w->run.chunk && w->run.chunk->job == job))
        return -EPROTO;
    TAILQ_FOREACH (c, &w->queue, link) {
        if (c->job == job)
            return -EPROTO;
    }
    hosts_forget(&w->hosts, job, now_ns());
    job_forget(job);
    return 0;
}

static int take_message(struct worker *w, const struct message *m)
{
    zmq_msg_t *frame = w->link.frame;
    switch (m->type) {
    case MSG_JOB:
        return job_add(&w->jobs, m, zmq_msg_data(&frame[1]), zmq_msg_size(&frame[1]));
    case MSG_FORGET:
        return take_forget(w, m->forget.job);
    case MSG_CHUNK:
        return take_chunk(w, m);
    case MSG_GRANT:
        take_grant(w, m);
        return 0;
    case MSG_LEND:
        take_lend(w, m);
        return 0;
    case MSG_YIELD:
    case MSG_RECALL:
    case MSG_DROP:
        take_back(w, m);
        return 0;
    case MSG_STOP:
        w->stop = true;
        return 0;
    default:
        return -EPROTO;
    }
}

bool serve(struct worker *w, int most)
{
    struct message m;
    for (int i = 0; i < most; i++) {
        int rc = link_receive(&w->link, &m);
        if (rc == 0)
            return false;
        worker_check(w, rc < 0 ? rc : take_message(w, &m));
        if (w->stop || w->error < 0)
            return false;
    }
    return true;
}
