/*
 * How a connection begins and ends: which endpoint, whether somebody is there, who it is, and HELLO and
 * WELCOME. Nothing of the user's leaves the process before the peer has been checked. How it goes on when the
 * daemon is lost is link.c.
 */
#include "client/libpmap/connection.h"
#include "client/libpmap/job.h"
#include "common/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    CONNECT_MS = 5000,       /* default of connect_timeout_ms */
    LOOK_AGAIN_MS = 150,     /* ZeroMQ connects in well under a millisecond; then something is wrong */
    CTX_ZERO_COPY_RECV = 10, /* a context option that zmq.h knows as a draft only */
    FRAME_MAX = (4 << 20) + (64 << 10),
};

static bool nobody(int rc)
{
    return rc == -ENOENT || rc == -ECONNREFUSED || rc == -ENOTDIR;
}

static int use_endpoint(pmap *pool, const char *endpoint)
{
    int rc = endpoint_check(endpoint);
    if (rc == -EPROTONOSUPPORT)
        return pool_fail(pool, rc, "%s: not an ipc:// endpoint", endpoint);
    if (rc == -ENAMETOOLONG)
        return pool_fail(pool, rc, "%s: the path is too long", endpoint);
    if (rc < 0)
        return pool_fail(pool, rc, "%s: not an absolute path", endpoint);
    memcpy(pool->endpoint, endpoint, strlen(endpoint) + 1);
    return 0;
}

static bool trusted(uid_t uid, uid_t folder_uid)
{
    return uid == 0 || uid == folder_uid || uid == geteuid();
}

int pool_look(pmap *pool, int timeout_ms)
{
    uid_t uid, folder;
    int rc = endpoint_probe(pool->endpoint, timeout_ms, &uid, &folder);
    if (nobody(rc))
        return pool_fail(pool, rc == -ENOTDIR ? -ENOENT : rc, "no daemon at %s: %s", pool->endpoint,
                         strerror(-rc));
    if (rc < 0)
        return pool_fail(pool, rc, "%s: %s", pool->endpoint, strerror(-rc));
    /* In /tmp anybody may have made the folder first. */
    if (pool->own && folder != geteuid())
        return pool_fail(pool, -EACCES, "%s: its folder is another user's (uid %u)", pool->endpoint,
                         (unsigned)folder);
    if (!trusted(uid, folder))
        return pool_fail(pool, -EACCES, "%s: not to be trusted, it is served by uid %u", pool->endpoint,
                         (unsigned)uid);
    pool->folder_uid = folder;
    return 0;
}

/* Chooses the endpoint and looks there. */
static int choose(pmap *pool, const char *endpoint, int timeout_ms)
{
    if (!endpoint) {
        const char *named = getenv("PMAP_ENDPOINT");
        if (named && *named)
            endpoint = named;
    }
    int rc = use_endpoint(pool, endpoint ? endpoint : ENDPOINT_SYSTEM);
    if (rc == 0)
        rc = pool_look(pool, timeout_ms);
    if (endpoint || !nobody(rc))
        return rc;
    char own[ENDPOINT_MAX];
    if (endpoint_private(own) < 0)
        return rc;
    pool->error = 0;
    pool->text[0] = '\0';
    pool->own = true;
    rc = use_endpoint(pool, own);
    if (rc == 0)
        rc = pool_look(pool, timeout_ms);
    return nobody(rc) ? pool_fail(pool, rc, "no daemon at %s nor at %s", ENDPOINT_SYSTEM, own) : rc;
}

static int set(pmap *pool, int option, int value)
{
    return zmq_setsockopt(pool->socket, option, &value, sizeof value);
}

int pool_make_socket(pmap *pool)
{
    int64_t frame_max = FRAME_MAX;
    size_t size = sizeof pool->socket_fd;
    pool->lost = false;
    pool->socket = zmq_socket(pool->context, ZMQ_DEALER);
    if (!pool->socket || set(pool, ZMQ_IMMEDIATE, 1) < 0 || set(pool, ZMQ_RECONNECT_IVL, -1) < 0 ||
        set(pool, ZMQ_LINGER, 0) < 0 || set(pool, ZMQ_SNDHWM, 0) < 0 || set(pool, ZMQ_RCVHWM, 0) < 0 ||
        zmq_setsockopt(pool->socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max) < 0 ||
        zmq_getsockopt(pool->socket, ZMQ_FD, &pool->socket_fd, &size) < 0)
        return pool_fail(pool, -errno, "%s", zmq_strerror(errno));
    if (pool->timer_fd < 0) {
        pool->fd = pool->socket_fd;
        return 0;
    }
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(pool->fd, EPOLL_CTL_ADD, pool->socket_fd, &event) < 0)
        return pool_fail(pool, -errno, "%s", strerror(errno));
    return 0;
}

void pool_drop_socket(pmap *pool)
{
    if (!pool->socket)
        return;
    if (pool->timer_fd >= 0)
        epoll_ctl(pool->fd, EPOLL_CTL_DEL, pool->socket_fd, NULL);
    zmq_close(pool->socket);
    pool->socket = NULL;
    pool->socket_fd = -1;
}

/* A descriptor that stays the same when the socket is another one, and wakes also when there is none. */
static int make_epoll(pmap *pool)
{
    struct epoll_event event = {.events = EPOLLIN};
    pool->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (pool->timer_fd < 0 || (pool->fd = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
        epoll_ctl(pool->fd, EPOLL_CTL_ADD, pool->timer_fd, &event) < 0)
        return pool_fail(pool, -errno, "%s", strerror(errno));
    return 0;
}

static int make_context(pmap *pool)
{
    pool->context = zmq_ctx_new();
    if (!pool->context)
        return pool_fail(pool, -errno, "%s", zmq_strerror(errno));
    /* The second may be unknown to another libzmq, and only saves memory. */
    zmq_ctx_set(pool->context, ZMQ_BLOCKY, 0);
    zmq_ctx_set(pool->context, CTX_ZERO_COPY_RECV, 0);
    return 0;
}

int pool_events(pmap *pool)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(pool->socket, ZMQ_EVENTS, &events, &size) < 0 ? 0 : events;
}

int pool_no_answer(pmap *pool)
{
    return pool_say(pool, -ETIMEDOUT, "no answer from the daemon at %s", pool->endpoint);
}

/* Waits until ZeroMQ is connected. The daemon may go in the very moment, so what takes long is looked at
 * again. */
static int connect_socket(pmap *pool, int64_t deadline_ns)
{
    int64_t patience_ns = LOOK_AGAIN_MS * INT64_C(1000000);
    for (;;) {
        if (zmq_connect(pool->socket, pool->endpoint) < 0)
            return pool_fail(pool, -errno, "%s: %s", pool->endpoint, zmq_strerror(errno));
        int64_t until_ns = clock_ns() + patience_ns;
        if (until_ns > deadline_ns)
            until_ns = deadline_ns;
        while (!(pool_events(pool) & ZMQ_POLLOUT)) {
            int rc = pool_poll(pool, until_ns);
            if (rc < 0 && rc != -EINTR)
                return pool_fail(pool, rc, "%s", strerror(-rc));
            if (clock_ns() >= until_ns)
                break;
        }
        if (pool_events(pool) & ZMQ_POLLOUT)
            return 0;
        int rc = pool_look(pool, 0);
        if (rc < 0 && rc != -ETIMEDOUT)
            return rc;
        pool->error = 0;
        if (endpoint_drops(pool->endpoint, LOOK_AGAIN_MS))
            return pool_fail(pool, -ECONNRESET, "the daemon at %s closed the connection", pool->endpoint);
        if (clock_ns() >= deadline_ns)
            return pool->error = pool_no_answer(pool);
        /* With another socket: on this one the connection may come up in this moment, and be taken for the
         * next. */
        pool_drop_socket(pool);
        rc = pool_make_socket(pool);
        if (rc < 0)
            return rc;
        patience_ns *= 2;
    }
}

/* A decimal number of the whole text from `from` to `to`; false for anything else. */
static bool decimal(const char *from, const char *to, uint64_t *value)
{
    uint64_t sum = 0;
    if (from == to || to - from > 10)
        return false;
    for (; from < to; from++) {
        if (*from < '0' || *from > '9')
            return false;
        sum = sum * 10 + (uint64_t)(*from - '0');
    }
    *value = sum;
    return true;
}

/* Who sent this frame: "host:UID:GID:PID", which ZeroMQ has from the kernel. False when it does not say. */
static bool peer_of(zmq_msg_t *frame, uid_t *uid)
{
    const char *address = zmq_msg_gets(frame, "Peer-Address");
    if (!address)
        return false;
    const char *end = address + strlen(address);
    uint64_t field[3]; /* PID, GID, UID */
    for (int i = 0; i < 3; i++) {
        const char *colon = memrchr(address, ':', (size_t)(end - address));
        if (!colon || !decimal(colon + 1, end, &field[i]))
            return false;
        end = colon;
    }
    if (field[2] >= UINT32_MAX)
        return false;
    *uid = (uid_t)field[2];
    return true;
}

int pool_welcome(pmap *pool, struct received *r)
{
    uid_t uid;
    if (!peer_of(&r->frame[0], &uid))
        return pool_fail(pool, -EACCES, "%s: not to be trusted, the kernel does not say who serves it",
                         pool->endpoint);
    if (!trusted(uid, pool->folder_uid))
        return pool_fail(pool, -EACCES, "%s: not to be trusted, it is served by uid %u", pool->endpoint,
                         (unsigned)uid);
    struct message m;
    int rc = pool_decode(pool, r, &m);
    if (rc < 0)
        return rc;
    if (m.type != MSG_WELCOME)
        return pool_fail(pool, -EPROTO, "the daemon broke the protocol: %s instead of WELCOME",
                         message_name(m.type));
    if (m.welcome.max < PROTOCOL_VERSION_MIN || m.welcome.min > PROTOCOL_VERSION_MAX)
        return pool_fail(pool, -EPROTONOSUPPORT,
                         "the daemon speaks protocol versions %u to %u, this library %d to %d", m.welcome.min,
                         m.welcome.max, PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX);
    if (m.welcome.max_message < PROTOCOL_MESSAGE_MAX || m.welcome.max_item == 0)
        return pool_fail(pool, -EPROTO, "the daemon broke the protocol: its limits are too low");
    char *software = strndup(m.welcome.software.data, m.welcome.software.len);
    if (!software)
        return pool_fail(pool, -ENOMEM, "%s", strerror(ENOMEM));
    free(pool->software);
    pool->software = software;
    pool->info = (struct pmap_info){
        .software = pool->software,
        .protocol = m.welcome.max < PROTOCOL_VERSION_MAX ? m.welcome.max : PROTOCOL_VERSION_MAX,
        .instance = m.welcome.instance,
        .slots = m.welcome.slots,
        .max_item = m.welcome.max_item < PROTOCOL_ITEM_MAX ? m.welcome.max_item : PROTOCOL_ITEM_MAX,
        .uid = uid,
        .endpoint = pool->endpoint,
        .losses = pool->info.losses,
        .lost = pool->info.lost,
    };
    return 0;
}

int pool_hello(pmap *pool)
{
    struct message hello = {.type = MSG_HELLO,
                            .hello = {.magic = text_of(PROTOCOL_MAGIC),
                                      .min = PROTOCOL_VERSION_MIN,
                                      .max = PROTOCOL_VERSION_MAX,
                                      .program = text_of(pool->program)}};
    return pool_send(pool, &hello, NULL, NULL);
}

int pool_hear(pmap *pool, int64_t deadline_ns)
{
    for (;;) {
        if (!pool->spare && !(pool->spare = received_new()))
            return pool_say(pool, -ENOMEM, "%s", strerror(ENOMEM));
        int rc = received_next(pool->spare, pool->socket);
        if (rc == 0)
            return 1;
        if (rc != -EAGAIN)
            return pool_say(pool, rc, "the daemon at %s: %s", pool->endpoint, strerror(-rc));
        int events = pool_events(pool);
        if (events & ZMQ_POLLIN)
            continue;
        if (pool->lost || !(events & ZMQ_POLLOUT))
            return pool_say(pool, -ECONNRESET, "the daemon at %s closed the connection", pool->endpoint);
        return clock_ns() >= deadline_ns ? pool_no_answer(pool) : 0;
    }
}

static int handshake(pmap *pool, int64_t deadline_ns)
{
    int rc = pool_hello(pool);
    if (rc < 0)
        return rc;
    while ((rc = pool_hear(pool, deadline_ns)) == 0) {
        rc = pool_poll(pool, deadline_ns);
        if (rc < 0 && rc != -EINTR)
            return pool_fail(pool, rc, "%s", strerror(-rc));
    }
    if (rc < 0)
        return pool->error = rc;
    rc = pool_welcome(pool, pool->spare);
    received_clear(pool->spare);
    return rc;
}

int pmap_connect(const char *endpoint, const struct pmap_options *options, pmap **pool)
{
    int timeout_ms = options && options->connect_timeout_ms > 0 ? options->connect_timeout_ms : CONNECT_MS;
    int64_t deadline_ns = deadline_after(timeout_ms);
    pmap *p = calloc(1, sizeof *p);
    *pool = p;
    if (!p)
        return -ENOMEM;
    p->fd = p->socket_fd = p->timer_fd = -1;
    p->next_ref = 1;
    TAILQ_INIT(&p->jobs);
    wire_init(&p->wire);
    const char *program = options && options->program ? options->program : "libpmap";
    if (strlen(program) > PROTOCOL_STRING_MAX)
        return pool_fail(p, -EINVAL, "the program's name is too long");
    if (!utf8_valid(program, strlen(program)))
        return pool_fail(p, -EINVAL, "the program's name is not UTF-8");
    p->decoder = decoder_new();
    p->spare = received_new();
    p->program = strdup(program);
    if (!p->decoder || !p->spare || !p->program)
        return pool_fail(p, -ENOMEM, "%s", strerror(ENOMEM));
    int reconnect_ms = options && options->reconnect_ms > 0 ? options->reconnect_ms : 0;
    int rc = choose(p, endpoint, timeout_ms);
    if (rc == 0)
        rc = make_context(p);
    if (rc == 0 && reconnect_ms > 0)
        rc = make_epoll(p);
    if (rc == 0)
        rc = pool_make_socket(p);
    if (rc == 0)
        rc = connect_socket(p, deadline_ns);
    if (rc == 0)
        rc = handshake(p, deadline_ns);
    /* A daemon that will not serve us says so right behind WELCOME. */
    if (rc == 0)
        rc = pmap_step(p);
    if (rc == 0) {
        p->reconnect_ns = (int64_t)reconnect_ms * NS_PER_MS;
        p->proved = true;
    }
    return rc;
}

void pmap_disconnect(pmap *pool)
{
    if (!pool)
        return;
    /* With the connection the daemon ends its jobs, so nothing has to be said of each. */
    if (pool->error == 0)
        pool->error = -ECONNRESET;
    while (!TAILQ_EMPTY(&pool->jobs))
        pmap_close_job(TAILQ_FIRST(&pool->jobs));
    received_free(pool->spare);
    if (pool->has_answer)
        zmq_msg_close(&pool->answer);
    pool_drop_socket(pool);
    if (pool->timer_fd >= 0) {
        close(pool->timer_fd);
        if (pool->fd >= 0)
            close(pool->fd);
    }
    if (pool->context)
        while (zmq_ctx_term(pool->context) < 0 && errno == EINTR)
            ;
    decoder_free(pool->decoder);
    wire_free(&pool->wire);
    free(pool->software);
    free(pool->program);
    free(pool);
}
