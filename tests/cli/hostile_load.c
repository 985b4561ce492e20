/* Peers that ask for much, read nothing, stop or die: only their own jobs suffer, and memory stays bounded.
 */
#include "tests/cli/hostile.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static bool run_pings(struct arena *a)
{
    enum { PINGS = 20000, TURN = 100 };
    struct peer *p = peer_new(a);
    bool ok = p != NULL;
    for (uint64_t token = 0; ok && token < PINGS; token += TURN) {
        for (uint64_t i = 0; ok && i < TURN; i++)
            ok = say_ping(p, token + i);
        for (uint64_t i = 0; ok && i < TURN; i++) {
            ok = peer_await(p, MSG_PONG);
            if (ok && p->in.ping.token != token + i)
                ok = complain(a, "PONG %" PRIu64 " came as number %" PRIu64, p->in.ping.token, token + i);
        }
    }
    peer_free(p);
    return ok;
}

/*
 * Writes `size` bytes again and again, reading nothing, until `times` is reached, the daemon has cut the
 * connection, or it takes nothing more. The witness must be served meanwhile, and the memory bounded.
 */
static bool flood(struct arena *a, int fd, const uint8_t *data, size_t size, unsigned times)
{
    size_t at = 0;
    int64_t stuck_since = 0;
    for (unsigned i = 0; i < times;) {
        ssize_t put = send(fd, data + at, size - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && errno != EAGAIN && errno != EINTR)
            return true; /* cut */
        if (put < 0) {
            struct pollfd item = {.fd = fd, .events = POLLOUT};
            if (stuck_since == 0)
                stuck_since = now_ms();
            if (now_ms() - stuck_since > 1000)
                return true; /* it reads nothing more of this peer */
            poll(&item, 1, 20);
            continue;
        }
        stuck_since = 0;
        at += (size_t)put;
        if (at < size)
            continue;
        at = 0;
        i++;
        if (i % 16 == 0 && !(peer_squares(a->witness, 2) && daemon_is_small(a)))
            return complain(a, "after %u times %zu bytes", i, size);
    }
    return true;
}

/* Questions without end from a peer that reads no answer. */
static bool run_unread(struct arena *a, const char *message, size_t size, unsigned times)
{
    enum { TURN = 1000 };
    static const char hello[] = "\x95\x01\xa4pmap\x01\x01\xa3raw";
    uint8_t *turn = malloc(TURN * (size + 2)), *at = turn;
    int fd = raw_connect(a, &a->daemon);
    bool ok = turn != NULL && fd >= 0;
    for (unsigned i = 0; ok && i < TURN; i++) {
        *at++ = 0;
        *at++ = (uint8_t)size;
        at = mempcpy(at, message, size);
    }
    ok = ok && raw_greet(a, fd) && raw_ready(a, fd, "", 0) && raw_frame(a, fd, 0, hello, sizeof hello - 1) &&
         flood(a, fd, turn, (size_t)(at - turn), SANITIZED ? times / 10 : times) && daemon_is_small(a);
    if (fd >= 0)
        close(fd);
    free(turn);
    return ok && status_at_most(a, "connections", 1);
}

static bool run_unread_answers(struct arena *a)
{
    static const char query[] = "\x93\x0e\x01\xa6status";
    return run_unread(a, query, sizeof query - 1, 300);
}

static bool run_unread_pongs(struct arena *a)
{
    static const char ping[] = "\x92\x0c\x01";
    return run_unread(a, ping, sizeof ping - 1, 2000);
}

/* Each is answered by an ERROR with its ref, and the session goes on. */
static bool run_unread_errors(struct arena *a)
{
    static const char query[] = "\x93\x0e\x01\xa6nobody";
    return run_unread(a, query, sizeof query - 1, 1000);
}

/*** Clients that stop ***/

/* With results under way to them: another client's job runs at once. */
static bool run_stopped(struct arena *a)
{
    enum { CLIENTS = 3 };
    pid_t pids[CLIENTS];
    int outs[CLIENTS];
    char byte;
    unsigned count = 0;
    bool ok = true;
    for (; ok && count < CLIENTS; count++) {
        if (!role_start(a, "glutton", a->daemon.endpoint, &pids[count], &outs[count])) {
            ok = false;
            break;
        }
        ok = role_ready(a, outs[count], &byte) && kill(pids[count], SIGSTOP) == 0;
    }
    ok =
        ok && status_at_least(a, "jobs", CLIENTS) && arena_check(a) && peer_squares(a->witness, SQUARES_MOST);
    while (count > 0) {
        count--;
        role_end(pids[count], outs[count], SIGKILL);
    }
    return ok && status_at_most(a, "jobs", 0) && status_at_most(a, "orphans", 0) &&
           status_at_most(a, "held_bytes", 0) && daemon_is_small(a);
}

/* In the midst of their jobs, by kill -9: nothing of them goes on. */
static bool run_killed(struct arena *a)
{
    enum { CLIENTS = 3 };
    pid_t pids[CLIENTS];
    int outs[CLIENTS];
    char byte;
    unsigned count = 0;
    bool ok = true;
    for (; ok && count < CLIENTS; count++) {
        if (!role_start(a, "sleeper", a->daemon.endpoint, &pids[count], &outs[count])) {
            ok = false;
            break;
        }
        ok = role_ready(a, outs[count], &byte);
    }
    ok = ok && status_at_least(a, "jobs", CLIENTS);
    while (count > 0) {
        count--;
        role_end(pids[count], outs[count], SIGKILL);
    }
    return ok && status_at_most(a, "jobs", 0) && status_at_most(a, "orphans", 0) &&
           status_at_most(a, "busy", 0) && status_at_most(a, "queued_items", 0) &&
           status_at_most(a, "held_bytes", 0) && status_at_most(a, "connections", 1);
}

/* Sends items as far as its credit goes and reads nothing; the whole output was granted in advance. */
static bool run_no_reader(struct arena *a)
{
    const int one = 1;
    uint64_t done = 0, before = 0, next = 0;
    struct peer *p = peer_connect(a, &a->daemon, NULL, 0);
    bool ok = p != NULL && zmq_setsockopt(p->socket, ZMQ_RCVHWM, &one, sizeof one) == 0 && say_hello(p) &&
              peer_await(p, MSG_WELCOME) && status_number(a, "items_done", &before) &&
              say_open(p, 1, "echo", PROTOCOL_COUNT_MAX, NULL, 0, false) && peer_await(p, MSG_OPENED);
    for (int64_t credit = ok ? (int64_t)p->in.opened.credit : 0; ok && credit > 0; credit -= 1000032)
        ok = say_blanks(p, 1, next++, 1, 1000000);
    ok = ok && status_at_least(a, "items_done", before + next) && status_number(a, "items_done", &done) &&
         peer_squares(a->witness, SQUARES_MOST) && arena_check(a);
    peer_free(p);
    return ok && status_at_most(a, "jobs", 0) && status_at_most(a, "held_bytes", 0);
}

/*
 * Gives back credit for results that it has never read, knowing what they must have cost: credit alone does
 * not bound what waits for such a client. It may be dropped; it may not fill the memory.
 */
static bool run_blind_credit(struct arena *a)
{
    enum { ROUNDS = 100, SIZE = 1000000, COST = SIZE + 32, A_ROUND = 3 };
    uint64_t before = 0, next = 0;
    struct peer *p = peer_connect(a, &a->daemon, NULL, 0);
    const int one = 1;
    bool ok = p != NULL && zmq_setsockopt(p->socket, ZMQ_RCVHWM, &one, sizeof one) == 0 && say_hello(p) &&
              peer_await(p, MSG_WELCOME) && status_number(a, "items_done", &before) &&
              say_open(p, 1, "echo", PROTOCOL_COUNT_MAX, NULL, 0, false) && peer_await(p, MSG_OPENED);
    for (unsigned round = 0; ok && round < (SANITIZED ? 10 : ROUNDS); round++) {
        for (unsigned i = 0; ok && i < A_ROUND; i++)
            ok = say_blanks(p, 1, next++, 1, SIZE);
        uint64_t done = 0, connections = 0;
        do {
            ok = ok && status_number(a, "items_done", &done) && status_number(a, "connections", &connections);
        } while (ok && done < before + next && connections > 1);
        if (!ok || connections == 1)
            break; /* dropped */
        ok = say_credit(p, 1, (uint64_t)A_ROUND * COST) && daemon_is_small(a);
    }
    ok = ok && arena_check(a);
    peer_free(p);
    return ok && status_at_most(a, "jobs", 0) && status_at_most(a, "held_bytes", 0);
}

/* One item of pieces without a byte in them: larger and larger, and yet never too large. */
static bool run_empty_pieces(struct arena *a)
{
    enum { PIECES = SANITIZED ? 50000 : 1500000 };
    struct peer *p = peer_new(a);
    bool ok = p != NULL && say_open(p, 1, "length", 100000, NULL, 0, false) && peer_await(p, MSG_OPENED);
    bool refused = false;
    int64_t credit = ok ? (int64_t)p->in.opened.credit : 0;
    for (unsigned i = 0; ok && !refused && i < PIECES; i++, credit -= 32) {
        if (i % 100000 == 0 && i > 0)
            ok = daemon_is_small(a) || complain(a, "after %u pieces", i);
        while (ok && !refused && (credit <= 0 || i % 32 == 0)) {
            int rc = peer_receive(p, credit <= 0 ? PATIENCE_MS : 0);
            if (rc == 0 && credit > 0)
                break;
            ok = rc > 0 || complain(a, "no more credit after %u pieces", i);
            if (ok && p->in.type == MSG_CREDIT)
                credit += (int64_t)p->in.credit.bytes;
            refused = ok && p->in.type == MSG_ERROR;
        }
        ok = ok && (refused || say_items(p, 1, 0, true, (struct frame[]){{"", 0}}, 1));
    }
    ok = ok && daemon_is_small(a);
    peer_free(p);
    return ok && status_at_most(a, "jobs", 0) && status_at_most(a, "held_bytes", 0);
}

/*** Many at once, and in a hurry ***/

static bool run_hundred(struct arena *a)
{
    enum { CLIENTS = 100 };
    static struct peer *peers[CLIENTS];
    uint64_t refs[CLIENTS];
    bool ok = true;
    for (unsigned i = 0; i < CLIENTS; i++)
        ok = (peers[i] = ok ? peer_connect(a, &a->daemon, NULL, 0) : NULL) != NULL && say_hello(peers[i]);
    for (unsigned round = 0; ok && round < 5; round++) {
        for (unsigned i = 0; ok && i < CLIENTS; i++)
            ok = peer_open_squares(peers[i], 1 + i * 9, &refs[i]);
        for (unsigned i = 0; ok && i < CLIENTS; i++)
            ok = peer_await_squares(peers[i], 1 + i * 9, refs[i]) || complain(a, "client %u", i);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        peer_free(peers[i]);
    return ok && status_at_most(a, "connections", 1);
}

/*
 * Sessions of one process, each begun as soon as the last one has closed its socket right behind its last
 * words: what the daemon reads late must not be held against the next one, which has the same descriptor.
 */
static bool run_hasty(struct arena *a)
{
    const int linger = 2000;
    for (unsigned i = 0; i < 300; i++) {
        struct peer *p = peer_new(a);
        bool ok = p != NULL && peer_squares(p, 3);
        for (unsigned k = 0; ok && k < 40; k++)
            ok = say_ping(p, k);
        if (p != NULL)
            zmq_setsockopt(p->socket, ZMQ_LINGER, &linger, sizeof linger);
        peer_free(p);
        if (!ok)
            return complain(a, "session %u", i);
    }
    return true;
}

/* The same without libzmq, whose closing takes its time: all is written before the daemon reads any of it. */
static bool run_hasty_raw(struct arena *a)
{
    static const char hello[] = "\x95\x01\xa4pmap\x01\x01\xa3raw", ping[] = "\x92\x0c\x01";
    for (unsigned i = 0; i < 300; i++) {
        uint8_t flags, data[512];
        int fd = raw_connect(a, &a->daemon);
        bool ok = fd >= 0 && raw_greet(a, fd) && raw_ready(a, fd, "", 0) &&
                  raw_frame(a, fd, 0, hello, sizeof hello - 1) &&
                  (raw_read_frame(a, fd, &flags, data, sizeof data) > 0 || complain(a, "no WELCOME"));
        for (unsigned k = 0; ok && k < 20; k++)
            ok = raw_frame(a, fd, 0, ping, sizeof ping - 1);
        if (fd >= 0)
            close(fd);
        if (!ok)
            return complain(a, "session %u", i);
    }
    return true;
}

/* Jobs that are left as soon as they run. */
static bool run_churn(struct arena *a)
{
    for (unsigned i = 0; i < 300; i++) {
        static const char *const functions[] = {"sleep", "burn", "sha256", "echo"};
        const struct frame items[] = {FRAME("1000000"), FRAME("1000000"), FRAME("1000000")};
        struct peer *p = peer_new(a);
        bool ok = p != NULL && say_open(p, 1, functions[i % 4], 1, items, 3, i % 3 == 0) &&
                  (i % 5 != 0 || say_cancel(p, 1)) && say_ping(p, 1) && peer_await(p, MSG_PONG);
        peer_free(p);
        if (!ok)
            return complain(a, "session %u", i);
    }
    return status_at_most(a, "jobs", 0) && status_at_most(a, "orphans", 0) && status_at_most(a, "busy", 0) &&
           status_at_most(a, "held_bytes", 0);
}

/* Who breaks the protocol again and again fills no log. */
static bool run_log_flood(struct arena *a)
{
    enum { SESSIONS = 300, LINES_MOST = 10 };
    unsigned before = daemon_log_lines(&a->daemon);
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct peer *p = peer_new(a);
        bool ok =
            p != NULL && peer_send_bytes(p, "\x91\xff", 2) && peer_await_error(p, NULL, PERR_PROTOCOL, NULL);
        peer_free(p);
        if (!ok)
            return complain(a, "session %u", i);
    }
    unsigned lines = daemon_log_lines(&a->daemon) - before;
    return lines <= LINES_MOST || complain(a, "%d sessions make %u lines in the log", SESSIONS, lines);
}

const struct attack load_attacks[] = {
    {"PING, 20,000 times", .run = run_pings},
    {"questions whose answers nobody reads", .run = run_unread_answers},
    {"PINGs whose answers nobody reads", .run = run_unread_pongs},
    {"wrong questions whose answers nobody reads", .run = run_unread_errors},
    {"clients that are stopped with results under way", .run = run_stopped},
    {"clients that are killed in their jobs", .run = run_killed},
    {"a client that reads no results", .run = run_no_reader},
    {"credit for results that were never read", .run = run_blind_credit},
    {"an item of pieces that are empty", .run = run_empty_pieces},
    {"a hundred honest clients at once", .run = run_hundred},
    {"sessions in a hurry", .run = run_hasty},
    {"sessions in a hurry, without libzmq", .run = run_hasty_raw},
    {"jobs that are left as soon as they run", .run = run_churn},
    {"sessions that only break the protocol, and the log", .run = run_log_flood},
    {NULL},
};
