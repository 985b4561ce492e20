/*
 * A connection at work: sending, receiving, telling each message to the job that it is for, and errors. How
 * one comes about is connect.c.
 *
 * That the daemon is gone shows without a socket monitor: with ZMQ_IMMEDIATE and without reconnecting, the
 * socket's only pipe ends with the connection, the descriptor wakes, and ZMQ_POLLOUT is gone for good; while
 * the connection lives it is always there, because nothing limits the queue but the credit. What was received
 * and not read by then may be gone as well (libzmq ends the pipe without delay), so it counts as never sent,
 * and a daemon that stops waits for its clients to leave. What follows from that is link.c's.
 */
#include "client/libpmap/connection.h"

#include "client/libpmap/job.h"
#include "common/handover.h"
#include "common/utf8.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Frames from this size on are sent from where they are. */
enum { ZERO_COPY_MIN = 8 << 10 };

int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t deadline_after(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : clock_ns() + (int64_t)timeout_ms * NS_PER_MS;
}

/* What a daemon said may be shown on a terminal. */
static void mask_controls(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
}

int pool_say(pmap *pool, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(pool->text, sizeof pool->text, format, args);
    va_end(args);
    mask_controls(pool->text);
    return error;
}

int pool_fail(pmap *pool, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(pool->text, sizeof pool->text, format, args);
    va_end(args);
    mask_controls(pool->text);
    pool->error = error;
    return error;
}

int pool_errno(uint32_t code)
{
    switch (code) {
    case PERR_REFUSED:
        return -EACCES;
    case PERR_LIMIT:
        return -EDQUOT;
    case PERR_STOPPING:
        return -ESHUTDOWN;
    case PERR_VERSION:
        return -EPROTONOSUPPORT;
    default:
        return -EPROTO;
    }
}

/*** Sending ***/

static void drop_reference(void *data, void *batch)
{
    (void)data;
    handover_take(batch);
    batch_unref(batch);
}

/* A frame that lies in a batch, or, with batch NULL, anywhere. Returns 0 or a negative errno. */
static int send_frame(pmap *pool, const void *data, size_t size, struct batch *batch, bool more)
{
    zmq_msg_t frame;
    if (batch && size >= ZERO_COPY_MIN) {
        /* Nobody writes through the pointer: a frame that is sent is only read. */
        if (zmq_msg_init_data(&frame, (void *)data, size, drop_reference, batch_ref(batch)) < 0) {
            batch_unref(batch);
            return -errno;
        }
        handover_give(batch);
    } else {
        if (zmq_msg_init_size(&frame, size) < 0)
            return -errno;
        if (size > 0)
            memcpy(zmq_msg_data(&frame), data, size);
    }
    while (zmq_msg_send(&frame, pool->socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0)
        if (errno != EINTR) {
            int error = errno;
            zmq_msg_close(&frame);
            return -error;
        }
    return 0;
}

static int send_frames(pmap *pool, const struct text *call, const struct slice *items)
{
    int rc = send_frame(pool, pool->wire.data, pool->wire.size, NULL, call || items);
    if (rc == 0 && call)
        rc = send_frame(pool, call->data, call->len, NULL, items != NULL);
    if (rc == 0 && items)
        rc = send_frame(pool, items->batch->lengths + 4 * (size_t)items->first, 4 * (size_t)items->count,
                        items->batch, true);
    if (rc == 0 && items)
        rc = send_frame(pool, items->batch->bytes + items->offset, items->size, items->batch, false);
    return rc;
}

int pool_send(pmap *pool, const struct message *m, const struct text *call, const struct slice *items)
{
    static const struct text empty;
    if (pool->error < 0)
        return pool->error;
    if (pool->lost || !pool->socket)
        return 0;
    int rc = message_encode(m, &pool->wire);
    if (rc == 0)
        rc = send_frames(pool, m->type == MSG_OPEN && !call ? &empty : call, items);
    if (rc == -EAGAIN) {
        pool->lost = true;
        return 0;
    }
    return rc < 0 ? pool_fail(pool, rc, "cannot send %s: %s", message_name(m->type), strerror(-rc)) : 0;
}

/*** Receiving ***/

int pool_decode(pmap *pool, struct received *r, struct message *m)
{
    const char *why = "";
    int rc = message_decode(pool->decoder, zmq_msg_data(&r->frame[0]), zmq_msg_size(&r->frame[0]), r->count,
                            FROM_DAEMON, m, &why);
    if (rc == -EPROTO)
        return pool_fail(pool, rc, "the daemon broke the protocol: %s", why);
    return rc < 0 ? pool_fail(pool, rc, "cannot read a message: %s", strerror(-rc)) : 0;
}

/* The open job of that ref, or NULL. */
static struct pmap_job *find_job(pmap *pool, uint64_t ref)
{
    struct pmap_job *job = pool->last_found;
    if (!job || job->ref != ref) {
        TAILQ_FOREACH (job, &pool->jobs, link)
            if (job->ref == ref)
                break;
    }
    if (job)
        pool->last_found = job;
    return job && job->end == JOB_RUNS ? job : NULL;
}

static int session_error(pmap *pool, const struct message *m)
{
    struct text text = m->error.text.len > 0 ? m->error.text : text_of(protocol_error_text(m->error.code));
    if (m->error.code == PERR_STOPPING)
        return pool_lost(pool, -ESHUTDOWN, "%.*s", (int)text.len, text.data);
    return pool_fail(pool, pool_errno(m->error.code), "%.*s", (int)text.len, text.data);
}

static void query_refused(pmap *pool, const struct message *m)
{
    struct text text = m->error.text.len > 0 ? m->error.text : text_of(protocol_error_text(m->error.code));
    int error = m->error.code == PERR_QUERY    ? -EINVAL
                : m->error.code == PERR_NO_JOB ? -ENOENT
                                               : pool_errno(m->error.code);
    pool->query_error = pool_say(pool, error, "%.*s", (int)text.len, text.data);
    pool->query_ref = 0;
}

static void answered(pmap *pool, struct received *r)
{
    if (pool->has_answer)
        zmq_msg_close(&pool->answer);
    zmq_msg_init(&pool->answer);
    zmq_msg_move(&pool->answer, &r->frame[1]);
    pool->has_answer = true;
    pool->query_ref = 0;
}

static int error_came(pmap *pool, const struct message *m)
{
    if (!m->error.has_ref)
        return session_error(pool, m);
    if (pool->query_ref != 0 && m->error.ref == pool->query_ref) {
        query_refused(pool, m);
        return 0;
    }
    struct pmap_job *job = find_job(pool, m->error.ref);
    return job ? job_refused(job, m) : 0;
}

/* Deals with one message. What is for a job that is not there any more crossed its end, and is dropped. */
static int dispatch(pmap *pool, struct received **r)
{
    struct message m;
    int rc = pool_decode(pool, *r, &m);
    if (rc < 0)
        return rc;
    struct pmap_job *job;
    switch (m.type) {
    case MSG_OPENED:
        return (job = find_job(pool, m.opened.ref)) ? job_opened(job, &m) : 0;
    case MSG_CREDIT:
        return (job = find_job(pool, m.credit.ref)) ? job_credit(job, &m) : 0;
    case MSG_RESULTS:
        pool->proved = true;
        return (job = find_job(pool, m.results.ref)) ? job_results(job, &m, r) : 0;
    case MSG_DONE:
        pool->proved = true;
        return (job = find_job(pool, m.done.ref)) ? job_done(job, &m.done.done) : 0;
    case MSG_ERROR:
        return error_came(pool, &m);
    case MSG_BEGUN:
        return (job = find_job(pool, m.begun.ref)) ? job_begun(job, &m) : 0;
    case MSG_PONG:
        pool->ping_seen = m.ping.token;
        return 0;
    case MSG_ANSWER:
        pool->proved = true;
        if (pool->query_ref != 0 && m.answer.ref == pool->query_ref)
            answered(pool, *r);
        return 0;
    default:
        return pool_fail(pool, -EPROTO, "the daemon broke the protocol: %s out of place",
                         message_name(m.type));
    }
}

/* Receives all that is there. */
static int receive(pmap *pool, bool *seen)
{
    for (;;) {
        if (!pool->spare && !(pool->spare = received_new()))
            return pool_fail(pool, -ENOMEM, "%s", strerror(ENOMEM));
        int rc = received_next(pool->spare, pool->socket);
        if (rc == -EAGAIN)
            return 0;
        if (rc < 0)
            return pool_fail(pool, rc,
                             rc == -EPROTO ? "the daemon broke the protocol: too many frames" : "%s",
                             strerror(-rc));
        *seen = true;
        rc = dispatch(pool, &pool->spare);
        if (pool->spare)
            received_clear(pool->spare);
        if (rc < 0 || pool->link != LINK_UP)
            return rc;
    }
}

/* Does the daemon still owe us anything? */
static bool is_owed(const pmap *pool)
{
    const struct pmap_job *job;
    TAILQ_FOREACH (job, &pool->jobs, link)
        if (job->end == JOB_RUNS && !job->parked && flow_state(job->flow) != FLOW_NEW)
            return true;
    return pool->query_ref != 0;
}

/* pmap_step; *seen: whether anything was received, or the link has gone or is up again. */
static int step(pmap *pool, bool *seen)
{
    for (;;) {
        if (pool->error < 0)
            return pool->error;
        if (pool->link != LINK_UP) {
            int rc = link_step(pool);
            if (rc < 0 || pool->link != LINK_UP)
                return rc;
            *seen = true;
        }
        if (pool->retry_ns != 0)
            link_retry_due(pool);
        int rc = receive(pool, seen);
        if (rc == 0 && pool->link != LINK_UP)
            continue;
        struct pmap_job *job;
        TAILQ_FOREACH (job, &pool->jobs, link)
            if (rc == 0)
                rc = job_pump(job);
        if (rc < 0)
            return rc;
        /* Sending takes notice of what has come, and so may have used up the descriptor's readiness. */
        int events = 0;
        size_t size = sizeof events;
        if (zmq_getsockopt(pool->socket, ZMQ_EVENTS, &events, &size) < 0)
            return errno == EINTR ? 0 : pool_fail(pool, -errno, "%s", zmq_strerror(errno));
        if (events & ZMQ_POLLIN)
            continue;
        bool gone = pool->lost || !(events & ZMQ_POLLOUT);
        if (!gone && !(pool->leaving && !is_owed(pool)))
            return 0;
        *seen = true;
        rc = pool_lost(pool, gone ? -ECONNRESET : -ESHUTDOWN, "the daemon at %s is %s", pool->endpoint,
                       gone ? "gone" : "stopping");
        if (rc < 0)
            return rc;
    }
}

int pool_poll(pmap *pool, int64_t deadline_ns)
{
    int timeout_ms = -1;
    if (deadline_ns != INT64_MAX) {
        int64_t left_ms = (deadline_ns - clock_ns() + NS_PER_MS - 1) / NS_PER_MS;
        timeout_ms = left_ms < 0 ? 0 : left_ms > INT_MAX ? INT_MAX : (int)left_ms;
    }
    struct pollfd fd = {.fd = pool->fd, .events = POLLIN};
    int rc = poll(&fd, 1, timeout_ms);
    return rc < 0 ? -errno : rc;
}

int pool_wait(pmap *pool, int64_t deadline_ns)
{
    for (;;) {
        bool seen = false;
        int rc = step(pool, &seen);
        if (rc < 0 || seen)
            return rc;
        rc = pool_poll(pool, deadline_ns);
        if (rc <= 0)
            return rc < 0 ? rc : -ETIMEDOUT;
    }
}

/*** The public part ***/

const char *pmap_error(const pmap *pool)
{
    return pool->text;
}

int pmap_fd(const pmap *pool)
{
    return pool->fd;
}

int pmap_step(pmap *pool)
{
    bool seen = false;
    return step(pool, &seen);
}

int pmap_wait(pmap *pool, int timeout_ms)
{
    int rc = pool_wait(pool, deadline_after(timeout_ms));
    return rc == -ETIMEDOUT ? 0 : rc;
}

const struct pmap_info *pmap_get_info(const pmap *pool)
{
    return &pool->info;
}

int64_t pmap_ping(pmap *pool, int timeout_ms)
{
    int64_t start_ns = clock_ns(), deadline_ns = deadline_after(timeout_ms);
    struct message m = {.type = MSG_PING};
    unsigned losses = 0;
    int rc = 0;
    while (rc == 0 && (m.ping.token == 0 || pool->ping_seen != m.ping.token)) {
        /* One that a lost daemon was asked is not answered by the next one. */
        if (pool->link == LINK_UP && (m.ping.token == 0 || losses != pool->info.losses)) {
            m.ping.token = ++pool->ping_sent;
            losses = pool->info.losses;
            rc = pool_send(pool, &m, NULL, NULL);
        }
        if (rc == 0)
            rc = pool_wait(pool, deadline_ns);
    }
    if (rc == -ETIMEDOUT)
        return pool_say(pool, rc, "the daemon at %s does not answer", pool->endpoint);
    return rc < 0 ? rc : clock_ns() - start_ns;
}

/* Asks what *m says, with `ref`, and waits for the answer, which is pool->answer then. again: after a loss of
 * the daemon the next one may be asked the same. */
static int ask(pmap *pool, const struct message *m, uint64_t ref, bool again, int timeout_ms)
{
    int64_t deadline_ns = deadline_after(timeout_ms);
    unsigned losses = 0;
    bool asked = false;
    int rc = 0;
    pool->query_error = 0;
    pool->query_ref = ref;
    while (rc == 0 && pool->query_ref == ref) {
        if (asked && losses != pool->info.losses && !again)
            rc = pool_say(pool, -ECONNRESET, "the daemon at %s was lost before it answered", pool->endpoint);
        else if (pool->link == LINK_UP && (!asked || losses != pool->info.losses)) {
            losses = pool->info.losses;
            asked = true;
            rc = pool_send(pool, m, NULL, NULL);
        }
        if (rc == 0)
            rc = pool_wait(pool, deadline_ns);
    }
    pool->query_ref = 0;
    if (rc == -ETIMEDOUT)
        return pool_say(pool, rc, "the daemon at %s does not answer", pool->endpoint);
    return rc < 0 ? rc : pool->query_error;
}

int pmap_query(pmap *pool, const char *what, int timeout_ms, const void **data, size_t *size)
{
    if (strlen(what) > PROTOCOL_STRING_MAX || !utf8_valid(what, strlen(what)))
        return -EINVAL;
    uint64_t ref = pool->next_ref++;
    struct message m = {.type = MSG_QUERY, .query = {.ref = ref, .what = text_of(what)}};
    int rc = ask(pool, &m, ref, true, timeout_ms);
    if (rc < 0)
        return rc;
    *data = zmq_msg_data(&pool->answer);
    *size = zmq_msg_size(&pool->answer);
    return 0;
}

int pmap_abort(pmap *pool, uint64_t number, int timeout_ms)
{
    uint64_t ref = pool->next_ref++;
    struct message m = {.type = MSG_ABORT, .abort = {.ref = ref, .job = number}};
    return ask(pool, &m, ref, false, timeout_ms);
}

const char *pmap_version(void)
{
    return PMAP_VERSION;
}
