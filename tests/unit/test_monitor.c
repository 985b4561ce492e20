/*
 * The monitor against real connections: ZeroMQ's own, and raw sockets that come, go and flood. Every wait is
 * for the event itself, with a limit.
 */
#include "daemon/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

enum { LIMIT_MS = 20000, CONNECTIONS = 5, CAP = 2 * CONNECTIONS, OTHER_UID = 65534 };

struct daemon {
    char folder[32], endpoint[64];
    struct config config;
    void *context, *router;
    struct monitor *monitor;
};

static int setup(void **state)
{
    struct daemon *d = calloc(1, sizeof *d);
    const int limit = LIMIT_MS, none = 0, backlog = 4096;
    assert_non_null(d);
    snprintf(d->folder, sizeof d->folder, "/tmp/test_monitor_XXXXXX");
    assert_non_null(mkdtemp(d->folder));
    snprintf(d->endpoint, sizeof d->endpoint, "ipc://%s/s", d->folder);
    assert_int_equal(config_defaults(&d->config), 0);
    d->config.defaults.connections = CONNECTIONS;
    d->context = zmq_ctx_new();
    d->router = zmq_socket(d->context, ZMQ_ROUTER);
    assert_non_null(d->router);
    assert_int_equal(zmq_setsockopt(d->router, ZMQ_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(zmq_setsockopt(d->router, ZMQ_LINGER, &none, sizeof none), 0);
    assert_int_equal(zmq_setsockopt(d->router, ZMQ_BACKLOG, &backlog, sizeof backlog), 0);
    assert_int_equal(monitor_start(d->context, d->router, &d->config, &d->monitor), 0);
    assert_int_equal(zmq_bind(d->router, d->endpoint), 0);
    assert_int_equal(chmod(d->folder, 0755), 0);
    assert_int_equal(chmod(d->endpoint + 6, 0777), 0);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct daemon *d = *state;
    monitor_stop(d->monitor, d->router);
    zmq_close(d->router);
    zmq_ctx_term(d->context);
    config_free(&d->config);
    unlink(d->endpoint + 6);
    rmdir(d->folder);
    free(d);
    return 0;
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, timeout_ms) == 1;
}

/* The next event; waits for it as a broker does. */
static struct peer_event next_event(struct daemon *d)
{
    struct peer_event event;
    while (!monitor_next(d->monitor, &event)) {
        if (!readable(monitor_fd(d->monitor), LIMIT_MS))
            fail_msg("no event within %d ms", LIMIT_MS);
    }
    return event;
}

/* A connection that says nothing. */
static int raw_connect(struct daemon *d)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", d->endpoint + 6);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Has the other end been closed? ZeroMQ's greeting may be there before that. */
static bool is_cut(int fd)
{
    char bytes[256];
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return true;
        if (n < 0)
            return false;
    }
}

static void wait_cut(int fd)
{
    while (!is_cut(fd)) {
        if (!readable(fd, LIMIT_MS))
            fail_msg("not cut within %d ms", LIMIT_MS);
    }
}

static void test_tells_who_comes_and_goes(void **state)
{
    struct daemon *d = *state;
    struct peer_event none;
    assert_false(monitor_next(d->monitor, &none));
    assert_false(readable(monitor_fd(d->monitor), 0));
    int raw = raw_connect(d);
    struct peer_event event = next_event(d);
    assert_int_equal(event.kind, PEER_CONNECTED);
    assert_int_equal(event.uid, geteuid());
    assert_int_equal(event.pid, getpid());
    assert_true(event.group_count >= 1);
    assert_int_equal(event.groups[0], getegid());
    assert_int_equal(event.connections, 1);
    assert_int_equal(monitor_connections(d->monitor), 1);
    assert_false(monitor_next(d->monitor, &none));
    close(raw);
    struct peer_event gone = next_event(d);
    assert_int_equal(gone.kind, PEER_GONE);
    assert_int_equal(gone.fd, event.fd);
    assert_int_equal(monitor_connections(d->monitor), 0);
    assert_int_equal(monitor_cuts(d->monitor), 0);
}

/* monitor_fd stays readable until monitor_next has said that there is no more. */
static void test_descriptor_is_level_triggered(void **state)
{
    struct daemon *d = *state;
    struct peer_event event;
    int a = raw_connect(d), b = raw_connect(d);
    next_event(d);
    next_event(d);
    close(a);
    close(b);
    unsigned left = 2;
    assert_true(readable(monitor_fd(d->monitor), LIMIT_MS));
    while (left > 0) {
        if (monitor_next(d->monitor, &event)) {
            assert_int_equal(event.kind, PEER_GONE);
            left--;
            /* There may be more for all we know, so it must not have been put out. */
            assert_true(readable(monitor_fd(d->monitor), 0));
        } else {
            assert_true(readable(monitor_fd(d->monitor), LIMIT_MS));
        }
    }
    assert_false(monitor_next(d->monitor, &event));
    assert_false(readable(monitor_fd(d->monitor), 0));
}

/* Nobody asks for events, and still all over the cap are cut; the others stay. */
static void test_flood_is_cut(void **state)
{
    enum { FLOOD = 400 };
    struct daemon *d = *state;
    int fd[FLOOD];
    unsigned stay = 0;
    for (int i = 0; i < FLOOD; i++)
        fd[i] = raw_connect(d);
    /* In the order of their connects, so the first CAP of them are within it. */
    for (int i = CAP; i < FLOOD; i++)
        wait_cut(fd[i]);
    for (int i = 0; i < FLOOD; i++)
        stay += !is_cut(fd[i]);
    assert_int_equal(stay, CAP);
    assert_int_equal(monitor_connections(d->monitor), CAP);
    assert_int_equal(monitor_cuts(d->monitor), FLOOD - CAP);
    struct peer_event event;
    for (unsigned i = 1; i <= CAP; i++) {
        event = next_event(d);
        assert_int_equal(event.kind, PEER_CONNECTED);
        assert_int_equal(event.connections, i);
    }
    assert_false(monitor_next(d->monitor, &event)); /* cut ones are not reported, neither come nor gone */
    close(fd[0]);
    event = next_event(d);
    assert_int_equal(event.kind, PEER_GONE);
    /* There is room for one now, and for one only. */
    int again = raw_connect(d);
    event = next_event(d);
    assert_int_equal(event.kind, PEER_CONNECTED);
    assert_int_equal(event.connections, CAP);
    int over = raw_connect(d);
    wait_cut(over);
    assert_false(is_cut(again));
    close(over);
    close(again);
    for (int i = 1; i < FLOOD; i++)
        close(fd[i]);
    for (unsigned i = 0; i < CAP; i++)
        assert_int_equal(next_event(d).kind, PEER_GONE);
    assert_int_equal(monitor_connections(d->monitor), 0);
}

/* What is open, from the events. */
struct tally {
    bool open[1024];
    unsigned connected, gone;
};

static void count(struct tally *t, const struct peer_event *event)
{
    assert_true(event->fd >= 0 && event->fd < 1024);
    assert_int_equal(t->open[event->fd], event->kind == PEER_GONE);
    t->open[event->fd] = event->kind == PEER_CONNECTED;
    t->connected += event->kind == PEER_CONNECTED;
    t->gone += event->kind == PEER_GONE;
}

/* The promise that the broker builds on: a message's sender is known, however soon after its connect it is
 * received. */
static void test_known_before_first_message(void **state)
{
    enum { ROUNDS = 300 };
    struct daemon *d = *state;
    const int none = 0;
    struct tally tally = {0};
    for (int i = 0; i < ROUNDS; i++) {
        void *dealer = zmq_socket(d->context, ZMQ_DEALER);
        assert_non_null(dealer);
        zmq_setsockopt(dealer, ZMQ_LINGER, &none, sizeof none);
        assert_int_equal(zmq_connect(dealer, d->endpoint), 0);
        assert_int_equal(zmq_send(dealer, "hello", 5, 0), 5);
        zmq_msg_t id, body;
        zmq_msg_init(&id);
        zmq_msg_init(&body);
        assert_true(zmq_msg_recv(&id, d->router, 0) > 0);
        assert_int_equal(zmq_msg_recv(&body, d->router, 0), 5);
        int fd = zmq_msg_get(&body, ZMQ_SRCFD);
        assert_true(fd > 0 && fd < 1024);
        struct peer_event event;
        while (monitor_next(d->monitor, &event))
            count(&tally, &event);
        assert_true(tally.open[fd]);
        zmq_msg_close(&id);
        zmq_msg_close(&body);
        zmq_close(dealer);
        /* Earlier ones may still be closing; the cap must not be what this test meets. */
        while (monitor_connections(d->monitor) > CAP / 2) {
            event = next_event(d);
            count(&tally, &event);
        }
    }
    assert_int_equal(monitor_cuts(d->monitor), 0);
}

/* Descriptors that are used anew at once: comings and goings always match, and nothing is left in the end. */
static void test_short_connections(void **state)
{
    enum { ROUNDS = 3000 };
    static const uint8_t greeting[10] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f};
    struct daemon *d = *state;
    struct peer_event event;
    struct tally tally = {0};
    char text[5];
    for (int i = 0; i < ROUNDS; i++) {
        int fd = raw_connect(d);
        if (i % 3 == 0)
            send(fd, greeting, sizeof greeting, MSG_NOSIGNAL); /* it may have been cut */
        close(fd);
        while (i % 7 == 0 && monitor_next(d->monitor, &event))
            count(&tally, &event);
    }
    /* The backlog is worked off in order, so with a message from this one all before it have been accepted.
     */
    void *dealer = zmq_socket(d->context, ZMQ_DEALER);
    assert_int_equal(zmq_connect(dealer, d->endpoint), 0);
    assert_int_equal(zmq_send(dealer, "hello", 5, 0), 5);
    assert_int_equal(zmq_recv(d->router, text, sizeof text, 0), 5);
    assert_int_equal(zmq_recv(d->router, text, sizeof text, 0), 5);
    while (monitor_next(d->monitor, &event))
        count(&tally, &event);
    while (tally.connected - tally.gone > 1) {
        event = next_event(d);
        count(&tally, &event);
    }
    assert_int_equal(tally.connected - tally.gone, 1);
    assert_int_equal(monitor_connections(d->monitor), 1);
    zmq_close(dealer);
    assert_int_equal(next_event(d).kind, PEER_GONE);
    assert_int_equal(monitor_connections(d->monitor), 0);
}

/* Each uid is counted by itself, and credentials are those of the one who connected. */
static void test_uids_are_counted_apart(void **state)
{
    struct daemon *d = *state;
    int ours[CAP], theirs[CAP + 1];
    if (geteuid() != 0)
        skip();
    for (int i = 0; i < CAP; i++)
        ours[i] = raw_connect(d);
    assert_int_equal(setegid(OTHER_UID), 0);
    assert_int_equal(seteuid(OTHER_UID), 0);
    for (int i = 0; i <= CAP; i++)
        theirs[i] = raw_connect(d);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(setegid(0), 0);
    wait_cut(theirs[CAP]);
    assert_int_equal(monitor_cuts(d->monitor), 1);
    for (unsigned i = 1; i <= 2 * CAP; i++) {
        struct peer_event event = next_event(d);
        assert_int_equal(event.kind, PEER_CONNECTED);
        assert_int_equal(event.uid, i <= CAP ? 0 : OTHER_UID);
        assert_int_equal(event.groups[0], i <= CAP ? 0 : OTHER_UID);
        assert_int_equal(event.connections, i <= CAP ? i : i - CAP);
    }
    for (int i = 0; i < CAP; i++) {
        close(ours[i]);
        close(theirs[i]);
    }
    close(theirs[CAP]);
    for (unsigned i = 1; i <= 2 * CAP; i++)
        assert_int_equal(next_event(d).kind, PEER_GONE);
}

/* A process in more groups than an event holds: the first ones come through. */
static void test_many_groups(void **state)
{
    enum { MANY = 200 };
    struct daemon *d = *state;
    gid_t many[MANY], before[NGROUPS_MAX];
    if (geteuid() != 0)
        skip();
    int count = getgroups(NGROUPS_MAX, before);
    assert_true(count >= 0);
    for (unsigned i = 0; i < MANY; i++)
        many[i] = 1000 + i;
    assert_int_equal(setgroups(MANY, many), 0);
    int fd = raw_connect(d);
    assert_int_equal(setgroups((size_t)count, before), 0);
    struct peer_event event = next_event(d);
    assert_int_equal(event.group_count, PEER_GROUPS_MAX);
    assert_int_equal(event.groups[0], getegid());
    for (unsigned i = 1; i < PEER_GROUPS_MAX; i++)
        assert_int_equal(event.groups[i], 1000 + i - 1);
    close(fd);
    assert_int_equal(next_event(d).kind, PEER_GONE);
}

/* Events nobody has taken, connections that are open: all of it is freed (a leak checker sees to that). */
static void test_stop_with_events_waiting(void **state)
{
    struct daemon *d = *state;
    struct peer_event event;
    raw_connect(d);
    raw_connect(d);
    int gone = raw_connect(d);
    assert_true(readable(monitor_fd(d->monitor), LIMIT_MS));
    assert_true(monitor_next(d->monitor, &event));
    close(gone);
}

static void test_context_shutdown(void **state)
{
    struct daemon *d = *state;
    struct peer_event event;
    raw_connect(d);
    next_event(d);
    assert_int_equal(zmq_ctx_shutdown(d->context), 0);
    assert_false(monitor_next(d->monitor, &event));
}

int main(void)
{
#define MONITOR_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        MONITOR_TEST(test_tells_who_comes_and_goes),
        MONITOR_TEST(test_descriptor_is_level_triggered),
        MONITOR_TEST(test_known_before_first_message),
        MONITOR_TEST(test_flood_is_cut),
        MONITOR_TEST(test_short_connections),
        MONITOR_TEST(test_uids_are_counted_apart),
        MONITOR_TEST(test_many_groups),
        MONITOR_TEST(test_stop_with_events_waiting),
        MONITOR_TEST(test_context_shutdown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
