/* Below the protocol: routing ids, ZMTP as it should not be, garbage, and connections without end. */
#include "tests/cli/hostile.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A HELLO and a QUERY for the status, as frames of ZMTP 3. */
static const char hello_frame[] = "\x95\x01\xa4pmap\x01\x01\xa3raw";
static const char status_frame[] = "\x93\x0e\x01\xa6status";

/*** Routing ids ***/

/*
 * libzmq numbers its peers from the first number of rand(), which is 0x6b8b4567 where nobody seeds it.
 * Whoever has claimed the number that the next peer would be given makes libzmq abort.
 */
static bool run_predictable_ids(struct arena *a)
{
    enum { SQUATTERS = 80 };
    struct peer *squatters[SQUATTERS] = {0};
    bool ok = true;
    for (uint32_t i = 0; ok && i < SQUATTERS; i++) {
        uint32_t number = UINT32_C(0x6b8b4567) + i - 4;
        const uint8_t id[5] = {0, (uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                               (uint8_t)number};
        squatters[i] = peer_connect(a, &a->daemon, id, sizeof id);
        ok = squatters[i] != NULL && say_hello(squatters[i]); /* it may be answered, or not */
    }
    ok = ok && status_at_least(a, "connections", SQUATTERS + 1);
    /* More newcomers than there are numbers taken. */
    for (unsigned i = 0; ok && i < 2 * SQUATTERS; i++) {
        struct peer *p = peer_new(a);
        ok = p != NULL && peer_squares(p, 1);
        peer_free(p);
    }
    for (size_t i = 0; i < SQUATTERS; i++)
        peer_free(squatters[i]);
    return ok;
}

/* The second peer of an id is heard by nobody; the first one is served, and so is a third when it has gone.
 */
static bool run_duplicate_ids(struct arena *a)
{
    static const char id[] = "the one and only";
    struct peer *first = peer_connect(a, &a->daemon, id, sizeof id);
    struct peer *second = NULL;
    bool ok = first != NULL && say_hello(first) && peer_await(first, MSG_WELCOME) &&
              (second = peer_connect(a, &a->daemon, id, sizeof id)) != NULL && say_hello(second) &&
              say_cancel(second, 1) && peer_goes_on(first) && arena_check(a) && peer_goes_on(first);
    if (ok && peer_receive(second, 0) != 0)
        ok = complain(a, "a second peer of the same id was answered");
    peer_free(second);
    peer_free(first);
    return ok;
}

/* Whoever has chosen an id may be answered, or not; the next client on its descriptor must be. */
static bool run_odd_ids(struct arena *a)
{
    static const size_t sizes[] = {1, 2, 3, 4, 5, 5, 6, 40, 254, 255};
    bool ok = true;
    for (size_t i = 0; ok && i < COUNT_OF(sizes); i++) {
        uint8_t id[255] = {0};
        memset(id + 1, i % 2 == 0 ? 0 : 0x7f, sizeof id - 1);
        struct peer *p = peer_connect(a, &a->daemon, id, sizes[i]);
        ok = p != NULL && say_hello(p) && say_ping(p, 1) && status_at_least(a, "connections", 2) &&
             arena_check(a);
        peer_free(p);
        ok = ok && status_at_most(a, "connections", 1) && arena_check(a);
    }
    return ok;
}

/*** Identity ***/

/* Properties that say who one is do not count; what the kernel says does. */
static bool run_fake_identity(struct arena *a)
{
    static const char fake[] = "\7User-Id\0\0\0\4root\14Peer-Address\0\0\0\24localhost:4242:42:17"
                               "\14peer-address\0\0\0\17localhost:0:0:1";
    uint8_t flags, data[8192];
    int fd = raw_connect(a, &a->daemon);
    uint64_t uid = 0;
    bool ok = fd >= 0 && raw_greet(a, fd) && raw_ready(a, fd, fake, sizeof fake - 1) &&
              raw_frame(a, fd, 0, hello_frame, sizeof hello_frame - 1) &&
              raw_read_frame(a, fd, &flags, data, sizeof data) > 0 && /* WELCOME */
              raw_frame(a, fd, 0, status_frame, sizeof status_frame - 1) &&
              raw_read_frame(a, fd, &flags, data, sizeof data) > 0;
    ssize_t size = -1;
    if (ok && !(flags & RAW_MORE))
        ok = complain(a, "no ANSWER to a raw peer");
    if (ok)
        ok = (size = raw_read_frame(a, fd, &flags, data, sizeof data)) > 0;
    if (ok) {
        struct peer answer = {.arena = a};
        zmq_msg_init_size(&answer.part[1], (size_t)size);
        memcpy(zmq_msg_data(&answer.part[1]), data, (size_t)size);
        ok = answer_number(&answer, "limits", "uid", &uid);
        zmq_msg_close(&answer.part[1]);
    }
    if (ok && uid != geteuid())
        ok = complain(a, "a peer that says so is taken for uid %" PRIu64, uid);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Another user, whom nothing but the daemon keeps out. Only root can be two users. */
static bool run_stranger(struct arena *a)
{
    char path[80], byte = 0;
    pid_t pid;
    int out;
    if (geteuid() != 0)
        return true;
    snprintf(path, sizeof path, "%s/s", a->daemon.folder);
    if (chmod(a->daemon.folder, 0711) < 0 || chmod(path, 0666) < 0)
        return complain(a, "chmod: %s", strerror(errno));
    bool ok = role_start(a, "stranger", a->daemon.endpoint, &pid, &out);
    if (ok) {
        ok = role_ready(a, out, &byte) &&
             (byte == 'y' || complain(a, "a stranger was not refused: '%c'", byte));
        role_end(pid, out, SIGKILL);
    }
    return chmod(path, 0600) == 0 && chmod(a->daemon.folder, 0700) == 0 && ok;
}

/* Old versions of ZMTP have no metadata, so nobody knows who is there: no answer. */
static bool run_old_zmtp(struct arena *a, const void *greeting, size_t size)
{
    uint8_t theirs[64];
    int fd = raw_connect(a, &a->daemon);
    bool ok = fd >= 0 && raw_write(a, fd, greeting, size) && arena_check(a);
    /* All that may come is the daemon's greeting, which begins with its signature. */
    ssize_t got = ok ? recv(fd, theirs, sizeof theirs, MSG_DONTWAIT) : -1;
    if (got > 0 && memmem(theirs, (size_t)got, "pmap", 4) != NULL)
        ok = complain(a, "a peer that nobody knows was answered");
    ok = ok && arena_check(a);
    if (ok && recv(fd, theirs, sizeof theirs, MSG_DONTWAIT) > 0)
        ok = complain(a, "a peer that nobody knows was answered later");
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool run_zmtp_1(struct arena *a)
{
    static const char bytes[] = "\1\0\17\0\x95\x01\xa4pmap\x01\x01\xa3raw\4\0\x92\x0c\x01";
    return run_old_zmtp(a, bytes, sizeof bytes - 1);
}

static bool run_zmtp_2(struct arena *a)
{
    static const char bytes[] =
        "\xff\0\0\0\0\0\0\0\1\x7f\1\5\0\0\0\16\x95\x01\xa4pmap\x01\x01\xa3raw\0\3\x92\x0c\x01";
    return run_old_zmtp(a, bytes, sizeof bytes - 1);
}

/*** ZMTP as it should not be ***/

static bool run_bad_ready(struct arena *a)
{
    static const struct frame commands[] = {
        FRAME(""),
        FRAME("\5READ"),
        FRAME("\5READY\13Socket-Type\0\0\0\6DEALE"),
        FRAME("\5READY\13Socket-Type\377\377\377\377DEALER"),
        FRAME("\5READY\13Socket-Type\0\0\0\4NONE"),
        FRAME("\5READY\13Socket-Type\0\0\0\3PUB"),
        FRAME("\5READY\377Socket-Type"),
        FRAME("\5READY\10Identity\0\0\0\0"),
        FRAME("\5ERROR\4none"),
        FRAME("\11SUBSCRIBE"),
        FRAME("\4PING\0\1"),
        FRAME("\377\377\377\377"),
    };
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        int fd = raw_connect(a, &a->daemon);
        bool ok =
            fd >= 0 && raw_greet(a, fd) && raw_frame(a, fd, RAW_COMMAND, commands[i].data, commands[i].size);
        /* Whatever libzmq makes of it. */
        ok = ok && raw_frame(a, fd, 0, hello_frame, sizeof hello_frame - 1);
        if (fd >= 0)
            close(fd);
        if (!ok && strncmp(a->why, "write:", 6) != 0)
            return false;
        a->why[0] = '\0';
        if (!arena_check(a))
            return complain(a, "after READY %zu of the list", i);
    }
    return true;
}

/* Commands and broken frames where messages are expected, and ends in the midst of one. */
static bool run_bad_frames(struct arena *a)
{
    static const struct {
        unsigned flags;
        struct frame frame;
    } frames[] = {
        {RAW_COMMAND, FRAME("\4PING\0\1context")},
        {RAW_COMMAND, FRAME("\4PING")},
        {RAW_COMMAND, FRAME("\4PONG")},
        {RAW_COMMAND, FRAME("\5READY")},
        {RAW_COMMAND, FRAME("\6CANCEL")},
        {RAW_COMMAND | RAW_MORE, FRAME("\5ERROR\1x")},
        {0xf8, FRAME("what flags are these")},
        {RAW_MORE, FRAME("\x92\x0c\x01")},
        {RAW_LONG, FRAME("")},
        {RAW_MORE | RAW_LONG, FRAME("\x92\x0c\x01")},
    };
    for (size_t i = 0; i < COUNT_OF(frames); i++) {
        int fd = raw_connect(a, &a->daemon);
        bool ok = fd >= 0 && raw_greet(a, fd) && raw_ready(a, fd, "", 0) &&
                  raw_frame(a, fd, 0, hello_frame, sizeof hello_frame - 1) &&
                  raw_frame(a, fd, frames[i].flags, frames[i].frame.data, frames[i].frame.size);
        ok = ok && arena_check(a);
        if (fd >= 0)
            close(fd);
        if (!ok)
            return complain(a, "frame %zu of the list", i);
    }
    return true;
}

/* Frames that are announced and do not come: 60 times 4 MiB, and sizes that there are not. */
static bool run_promises(struct arena *a)
{
    static const uint8_t sizes[][9] = {
        {RAW_LONG, 0, 0, 0, 0, 0, 0x40, 0, 0},
        {RAW_LONG, 0, 0, 0, 0, 0x40, 0, 0, 0},
        {RAW_LONG, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {RAW_LONG | RAW_MORE, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {RAW_LONG | RAW_COMMAND, 0x80, 0, 0, 0, 0, 0, 0, 0},
    };
    enum { PROMISES = 64 };
    int fds[PROMISES];
    size_t count = 0;
    bool ok = true;
    for (; ok && count < PROMISES; count++) {
        fds[count] = raw_connect(a, &a->daemon);
        if (fds[count] < 0)
            return false;
        size_t kind = count < COUNT_OF(sizes) ? count : 0;
        ok = raw_greet(a, fds[count]) && raw_ready(a, fds[count], "", 0) &&
             raw_frame(a, fds[count], 0, hello_frame, sizeof hello_frame - 1) &&
             raw_write(a, fds[count], sizes[kind], sizeof sizes[kind]) &&
             (kind == 0 || raw_closed(a, fds[count]));
    }
    ok = ok && arena_check(a);
    while (count > 0)
        close(fds[--count]);
    return ok;
}

/*** Garbage and silence ***/

static const uint8_t greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};

static bool run_garbage(struct arena *a)
{
    uint64_t seed = 7;
    uint8_t data[2048];
    for (unsigned i = 0; i < 100; i++) {
        for (size_t k = 0; k < sizeof data; k++)
            data[k] = (uint8_t)next_random(&seed);
        if (i % 2 == 1) /* behind a good beginning */
            memcpy(data, greeting, sizeof greeting);
        int fd = raw_connect(a, &a->daemon);
        if (fd < 0)
            return false;
        /* It may have been cut before all was written. */
        if (!raw_write(a, fd, data, sizeof data) && strncmp(a->why, "write:", 6) == 0)
            a->why[0] = '\0';
        close(fd);
        if (a->why[0] != '\0')
            return false;
    }
    return true;
}

static bool run_half_greetings(struct arena *a)
{
    int fds[64];
    bool ok = true;
    size_t count = 0;
    for (; ok && count < COUNT_OF(fds); count++) {
        fds[count] = raw_connect(a, &a->daemon);
        if (fds[count] < 0)
            return false;
        ok = raw_write(a, fds[count], greeting, count);
    }
    ok = ok && arena_check(a); /* while they are there, and then when they are not */
    while (count > 0)
        close(fds[--count]);
    return ok && status_at_most(a, "connections", 1);
}

/* Hundreds that connect and say nothing, fewer than would be refused; they are not let stay for ever. */
static bool run_silence(struct arena *a)
{
    enum { SILENT = 240 };
    int fds[SILENT];
    size_t count = 0;
    for (; count < SILENT; count++) {
        if ((fds[count] = raw_connect(a, &a->daemon)) < 0)
            break;
    }
    bool ok = count == SILENT && status_at_least(a, "connections", SILENT + 1) && arena_check(a) &&
              status_at_most(a, "connections", 1);
    while (count > 0)
        close(fds[--count]);
    return ok;
}

/*** Too many connections ***/

/* Over the limit one is told so, over twice the limit cut; the older ones are served all the while. */
static bool run_many_connections(struct arena *a)
{
    uint64_t limit = 0, cut = 0;
    struct peer *p = a->witness;
    if (!say_query(p, p->next_ref++, "status") || !peer_await(p, MSG_ANSWER) ||
        !answer_number(p, "limits", "connections", &limit))
        return false;
    size_t count = 0, most = 2 * (size_t)limit + 100;
    int *fds = calloc(most, sizeof *fds);
    bool ok = fds != NULL;
    for (; ok && count < limit + 10; count++)
        ok = (fds[count] = raw_connect(a, &a->daemon)) >= 0;
    ok = ok && status_at_least(a, "connections", limit + 10);
    /* One more, with a HELLO: it hears why. */
    struct peer *late = ok ? peer_connect(a, &a->daemon, NULL, 0) : NULL;
    ok = ok && late != NULL && say_hello(late) && peer_await_error(late, NULL, PERR_LIMIT, "connections");
    peer_free(late);
    for (; ok && count < most; count++)
        ok = (fds[count] = raw_connect(a, &a->daemon)) >= 0;
    ok = ok && status_at_least(a, "cut", 1) && status_number(a, "cut", &cut) && peer_goes_on(a->witness);
    while (count > 0)
        close(fds[--count]);
    free(fds);
    return ok && status_at_most(a, "connections", 1);
}

/*
 * A daemon that may open few files, and a thousand connections: libzmq would abort at the first accept that
 * fails for want of a descriptor. When they have gone, everybody is served.
 */
static bool run_descriptors(struct arena *a)
{
    enum { FILES = 128, FLOOD = 1000 };
    static int fds[FLOOD];
    struct daemon own = a->daemon;
    struct peer *witness = a->witness;
    size_t count = 0;
    bool ok = daemon_start(a, &a->daemon, FILES) && (a->witness = peer_new(a)) != NULL && arena_check(a);
    for (unsigned round = 0; ok && round < 3; round++) {
        for (; ok && count < FLOOD; count++)
            ok = (fds[count] = raw_connect(a, &a->daemon)) >= 0;
        ok = ok && peer_goes_on(a->witness);
        while (count > 0)
            close(fds[--count]);
        ok = ok && status_at_most(a, "connections", 1) && arena_check(a);
    }
    ok = ok && daemon_stop(a, &a->daemon);
    if (!ok)
        daemon_print_log(&a->daemon);
    while (count > 0)
        close(fds[--count]);
    if (a->witness != witness)
        peer_free(a->witness);
    daemon_kill(&a->daemon);
    a->daemon = own;
    a->witness = witness;
    return ok;
}

const struct attack transport_attacks[] = {
    {"routing ids that an unseeded rand() would give", .run = run_predictable_ids},
    {"a routing id twice", .run = run_duplicate_ids},
    {"routing ids that look like numbers", .run = run_odd_ids},
    {"properties that say who one is", .run = run_fake_identity},
    {"another user at a private pool", .run = run_stranger},
    {"a peer of ZMTP 1", .run = run_zmtp_1},
    {"a peer of ZMTP 2", .run = run_zmtp_2},
    {"READY that is none", .run = run_bad_ready},
    {"frames of ZMTP that are none", .run = run_bad_frames},
    {"frames that are announced and do not come", .run = run_promises},
    {"garbage", .run = run_garbage},
    {"greetings cut at each byte", .run = run_half_greetings},
    {"hundreds that say nothing", .run = run_silence},
    {"more connections than allowed", .run = run_many_connections},
    {"a thousand connections where 128 files may be open", .run = run_descriptors},
    {NULL},
};
