/*
 * How a connection goes on when the daemon is lost: its endpoint is looked at again and again, and when
 * somebody listens there, everything begins as it did at first, with another socket of ZeroMQ's: who is it,
 * HELLO, WELCOME. Nothing of this waits: link_step does what is due, and a timer says when it is due again.
 * Jobs are told of the loss (job_lost), and go on by themselves when the link is up.
 */
#include "client/libpmap/connection.h"
#include "client/libpmap/job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* In ms. */
enum {
    TRY_SOON = 10, /* between two looks in the first second, which is when a restarted daemon is back */
    TRY_LATER = 50,
    TRY_LATE = 200,
    PATIENCE = 100,       /* for ZeroMQ to connect to somebody who listens; doubled with each failure */
    PATIENCE_MOST = 2000, /* one who listens and does not accept may be a socket without its daemon yet */
    WELCOME_MS = 5000,
};

/*** The timer ***/

static void arm(pmap *pool, int64_t at_ns)
{
    struct itimerspec at = {.it_value = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000}};
    if (at_ns > 0 && at.it_value.tv_sec == 0 && at.it_value.tv_nsec == 0)
        at.it_value.tv_nsec = 1;
    timerfd_settime(pool->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void drain(pmap *pool)
{
    uint64_t times;
    while (read(pool->timer_fd, &times, sizeof times) < 0 && errno == EINTR)
        ;
}

void link_retry(pmap *pool, int64_t at_ns)
{
    if (pool->retry_ns != 0 && pool->retry_ns <= at_ns)
        return;
    pool->retry_ns = at_ns;
    arm(pool, at_ns);
}

void link_retry_due(pmap *pool)
{
    int64_t now_ns = clock_ns(), next_ns = 0;
    if (pool->retry_ns == 0 || now_ns < pool->retry_ns)
        return;
    drain(pool);
    struct pmap_job *job;
    TAILQ_FOREACH (job, &pool->jobs, link) {
        if (job->parked && job->again_ns <= now_ns)
            job->parked = false;
        else if (job->parked && job->again_ns != INT64_MAX && (next_ns == 0 || job->again_ns < next_ns))
            next_ns = job->again_ns;
    }
    pool->retry_ns = next_ns;
    arm(pool, next_ns);
}

/*** Losing it ***/

int pool_lost(pmap *pool, int error, const char *format, ...)
{
    bool told = error == -ESHUTDOWN && pool->info.protocol >= PROTOCOL_VERSION_BEGUN;
    char text[sizeof pool->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (pool->reconnect_ns == 0)
        return pool_fail(pool, error, "%s", text);
    pool_say(pool, error, "%s", text);
    int64_t now_ns = clock_ns();
    /* A daemon that comes back and is lost again before it was of any use has no more time by that: else a
     * job that brings daemons down would bring each of them down. */
    if (pool->proved || now_ns - pool->up_ns >= pool->reconnect_ns)
        pool->until_ns = now_ns + pool->reconnect_ns;
    pool_drop_socket(pool);
    pool->link = LINK_AWAY;
    pool->lost_ns = pool->try_ns = now_ns;
    pool->patience_ns = PATIENCE * (int64_t)NS_PER_MS;
    pool->attempt_error = 0;
    pool->proved = pool->leaving = false;
    pool->retry_ns = 0;
    pool->info.lost = 1;
    pool->info.losses++;
    struct pmap_job *job;
    int rc = 0;
    TAILQ_FOREACH (job, &pool->jobs, link) {
        if (rc == 0)
            rc = job_lost(job, told);
        job->parked = false;
        if (rc == 0)
            rc = job_pump(job);
    }
    return rc;
}

/*** Finding it again ***/

static int64_t pause_ns(const pmap *pool, int64_t now_ns)
{
    int64_t away_ms = (now_ns - pool->lost_ns) / NS_PER_MS;
    bool looked_only = pool->attempt_error == -ENOENT || pool->attempt_error == -ECONNREFUSED;
    return (away_ms >= 5000                   ? TRY_LATE
            : away_ms >= 1000 || !looked_only ? TRY_LATER
                                              : TRY_SOON) *
           (int64_t)NS_PER_MS;
}

/* This one came to nothing, and that is no reason not to try again. */
static void attempt_failed(pmap *pool, int error)
{
    pool_drop_socket(pool);
    pool->error = 0;
    pool->attempt_error = error;
    pool->link = LINK_AWAY;
    int64_t now_ns = clock_ns();
    pool->try_ns = now_ns + pause_ns(pool, now_ns);
}

/* Errors of an attempt that another one would only meet again. */
static bool is_final(int error)
{
    return error == -EPROTONOSUPPORT || error == -EPROTO || error == -ENOMEM;
}

static int settle_attempt(pmap *pool, int error)
{
    if (error < 0 && is_final(error))
        return error;
    if (error < 0)
        attempt_failed(pool, error);
    return 0;
}

static int begin_attempt(pmap *pool, int64_t now_ns)
{
    int rc = pool_look(pool, 0);
    if (rc == 0)
        rc = pool_make_socket(pool);
    if (rc == 0 && zmq_connect(pool->socket, pool->endpoint) < 0)
        rc = pool_fail(pool, -errno, "%s: %s", pool->endpoint, zmq_strerror(errno));
    if (rc < 0)
        return settle_attempt(pool, rc);
    pool->link = LINK_CONNECTING;
    pool->attempt_until_ns = now_ns + pool->patience_ns;
    return 0;
}

static int connecting(pmap *pool, int64_t now_ns)
{
    if (pool_events(pool) & ZMQ_POLLOUT) {
        pool->link = LINK_GREETING;
        pool->welcomed_anew = false;
        pool->attempt_until_ns = now_ns + WELCOME_MS * (int64_t)NS_PER_MS;
        return pool_hello(pool);
    }
    if (now_ns < pool->attempt_until_ns)
        return 0;
    if (pool->patience_ns < PATIENCE_MOST * (int64_t)NS_PER_MS)
        pool->patience_ns *= 2;
    attempt_failed(pool, pool_no_answer(pool));
    return 0;
}

static int greeted(pmap *pool, struct received *r)
{
    struct message m;
    if (!pool->welcomed_anew) {
        int rc = pool_welcome(pool, r);
        pool->welcomed_anew = rc == 0;
        m = (struct message){.type = MSG_PING, .ping.token = ++pool->ping_sent};
        return rc < 0 ? settle_attempt(pool, rc) : pool_send(pool, &m, NULL, NULL);
    }
    int rc = pool_decode(pool, r, &m);
    if (rc < 0)
        return rc;
    if (m.type == MSG_PONG) {
        pool->ping_seen = m.ping.token;
        pool->link = LINK_UP;
        return 0;
    }
    if (m.type != MSG_ERROR || m.error.has_ref)
        return pool_fail(pool, -EPROTO, "the daemon broke the protocol: %s out of place",
                         message_name(m.type));
    struct text text = m.error.text.len > 0 ? m.error.text : text_of(protocol_error_text(m.error.code));
    int error = pool_errno(m.error.code);
    /* One that is about to go as well, or does not know yet that our last session is over. */
    if (m.error.code == PERR_STOPPING || m.error.code == PERR_LIMIT || m.error.code == PERR_MEMORY) {
        attempt_failed(pool, pool_say(pool, error, "%.*s", (int)text.len, text.data));
        return 0;
    }
    return pool_fail(pool, error, "%.*s", (int)text.len, text.data);
}

static int greeting(pmap *pool)
{
    while (pool->link == LINK_GREETING) {
        int rc = pool_hear(pool, pool->attempt_until_ns);
        if (rc == 0)
            return 0;
        if (rc == 1) {
            rc = greeted(pool, pool->spare);
            received_clear(pool->spare);
            if (rc < 0)
                return rc;
        } else if (rc == -ECONNRESET || rc == -ETIMEDOUT) {
            attempt_failed(pool, rc);
        } else {
            return pool->error = rc;
        }
    }
    return 0;
}

static int time_is_up(pmap *pool)
{
    char why[sizeof pool->text];
    snprintf(why, sizeof why, "%s", pool->text);
    int error = pool->attempt_error;
    bool nobody = error == 0 || error == -ENOENT || error == -ECONNREFUSED;
    return pool_fail(pool, error == -EACCES || error == -EDQUOT ? error : -ECONNRESET,
                     "the daemon at %s is gone, and was not back within %g s%s%.800s", pool->endpoint,
                     (double)pool->reconnect_ns / 1e9, nobody ? "" : ": ", nobody ? "" : why);
}

/* The daemon is there again, and serves us. */
static int is_up(pmap *pool)
{
    pool->info.lost = 0;
    pool->up_ns = clock_ns();
    arm(pool, 0);
    struct pmap_job *job;
    int rc = 0;
    TAILQ_FOREACH (job, &pool->jobs, link)
        if (rc == 0)
            rc = job_pump(job);
    return rc;
}

int link_step(pmap *pool)
{
    int64_t now_ns = clock_ns();
    int rc = 0;
    drain(pool);
    if (pool->link == LINK_AWAY && now_ns >= pool->try_ns)
        rc = begin_attempt(pool, now_ns);
    if (rc == 0 && pool->link == LINK_CONNECTING)
        rc = connecting(pool, now_ns);
    if (rc == 0 && pool->link == LINK_GREETING)
        rc = greeting(pool);
    if (rc < 0)
        return rc;
    if (pool->link == LINK_UP)
        return is_up(pool);
    if (now_ns >= pool->until_ns)
        return time_is_up(pool);
    int64_t next_ns = pool->link == LINK_AWAY ? pool->try_ns : pool->attempt_until_ns;
    arm(pool, next_ns < pool->until_ns ? next_ns : pool->until_ns);
    return 0;
}
