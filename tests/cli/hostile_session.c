/* Breaches of a session's order: HELLO, versions, messages that are not a client's, frames, queries. */
#include "tests/cli/hostile.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/*** HELLO ***/

static bool ping_first(struct peer *p)
{
    return say_ping(p, 1);
}

static bool open_first(struct peer *p)
{
    return say_open(p, 1, "square", 1000, &FRAME("12"), 1, true);
}

static bool ready_first(struct peer *p)
{
    struct message m = {.type = MSG_READY};
    return peer_send(p, &m, NULL, 0);
}

static bool hello_twice(struct peer *p)
{
    return say_hello(p);
}

static bool hello_magic(struct peer *p)
{
    static const uint8_t header[] = "\x95\x01\xa4pmax\x01\x01\xa1x";
    return peer_send_bytes(p, header, sizeof header - 1);
}

static bool hello_binary_magic(struct peer *p)
{
    static const uint8_t header[] = "\x95\x01\xc4\x04pmap\x01\x01\xa1x";
    return peer_send_bytes(p, header, sizeof header - 1);
}

static bool hello_range(struct peer *p)
{
    static const uint8_t header[] = "\x95\x01\xa4pmap\x02\x01\xa1x";
    return peer_send_bytes(p, header, sizeof header - 1);
}

static bool hello_version_0(struct peer *p)
{
    static const uint8_t header[] = "\x95\x01\xa4pmap\x00\x01\xa1x";
    return peer_send_bytes(p, header, sizeof header - 1);
}

/* The range of versions of the future: WELCOME still, then ERROR VERSION. */
static bool run_versions(struct arena *a)
{
    struct peer *p = peer_connect(a, &a->daemon, NULL, 0);
    struct message m = {.type = MSG_HELLO};
    m.hello.min = PROTOCOL_VERSION_MAX + 1;
    m.hello.max = UINT32_MAX;
    m.hello.program = text_of("from the future");
    if (p == NULL)
        return false;
    if (!peer_send(p, &m, NULL, 0) || peer_receive(p, PATIENCE_MS) <= 0 || p->in.type != MSG_WELCOME) {
        peer_free(p);
        return complain(a, "no WELCOME for a HELLO of another version");
    }
    return peer_refused(p, PERR_VERSION, "version");
}

/* A range that reaches into the daemon's is served, whatever else it has. */
static bool run_wide_versions(struct arena *a)
{
    struct peer *p = peer_connect(a, &a->daemon, NULL, 0);
    struct message m = {.type = MSG_HELLO};
    m.hello.min = 1;
    m.hello.max = UINT32_MAX;
    m.hello.program = text_of("");
    bool ok = p != NULL && peer_send(p, &m, NULL, 0) && peer_await(p, MSG_WELCOME) && peer_goes_on(p);
    peer_free(p);
    return ok;
}

/* Nothing of what the peer calls itself may get into the log as it is. */
static bool run_program(struct arena *a)
{
    static const char *const names[] = {"\n<0>pmapd: all is lost", "\033]0;evil\a\033[2J", "%n%n%s%s%s", ""};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct peer *p = peer_connect(a, &a->daemon, NULL, 0);
        struct message m = {.type = MSG_HELLO};
        m.hello.min = m.hello.max = 1;
        m.hello.program = text_of(names[i]);
        if (p == NULL)
            return false;
        if (!peer_send(p, &m, NULL, 0) || !peer_await(p, MSG_WELCOME) ||
            !say_credit(p, 1, UINT64_C(1) << 62) || !peer_goes_on(p) || !say_hello(p)) {
            peer_free(p);
            return false;
        }
        if (!peer_refused(p, PERR_PROTOCOL, "HELLO"))
            return false;
    }
    return true;
}

/*** Messages that are not a client's ***/

/* A message of that type with every field set, its header alone; the frames it wants come with it. */
static bool send_foreign(struct peer *p, enum message_type type, size_t frames)
{
    struct message m = {.type = type};
    struct frame empty[PROTOCOL_FRAMES_MAX] = {0};
    switch (type) {
    case MSG_WELCOME:
        m.welcome.min = m.welcome.max = 1;
        m.welcome.software = text_of("hostile");
        break;
    case MSG_OPENED:
        m.opened = (typeof(m.opened)){.ref = 1, .job = 1, .credit = 1};
        break;
    case MSG_ERROR:
        m.error.code = PERR_STOPPING;
        m.error.text = text_of("you are to stop");
        break;
    case MSG_CHUNK:
        m.chunk.function = text_of("burn");
        break;
    case MSG_WORKED:
        m.worked.chunk = 1;
        m.worked.last = true;
        break;
    default: /* all fields 0 will do */
        break;
    }
    return peer_send(p, &m, empty, frames - 1);
}

static bool run_foreign(struct arena *a)
{
    static const struct {
        enum message_type type;
        unsigned from;
        size_t frames;
    } types[] = {
#define X(name, code, from, least, most) {MSG_##name, (from), (least)},
        MESSAGE_TYPES(X)
#undef X
    };
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (types[i].from & FROM_CLIENT)
            continue;
        struct peer *p = peer_new(a);
        if (p == NULL)
            return false;
        if (!send_foreign(p, types[i].type, types[i].frames)) {
            peer_free(p);
            return false;
        }
        if (!peer_refused(p, PERR_PROTOCOL, "sender")) {
            complain(a, "%s", message_name(types[i].type));
            return false;
        }
    }
    return true;
}

/*** Frames ***/

static bool send_count(struct peer *p, const struct message *m, size_t count)
{
    struct frame *frames = calloc(count, sizeof *frames);
    bool ok = frames != NULL && peer_send(p, m, frames, count - 1);
    free(frames);
    return ok;
}

static bool frames_ping_2(struct peer *p)
{
    return send_count(p, &(struct message){.type = MSG_PING}, 2);
}

static bool frames_ping_7(struct peer *p)
{
    return send_count(p, &(struct message){.type = MSG_PING}, 7);
}

static bool frames_items_1(struct peer *p)
{
    return send_count(p, &(struct message){.type = MSG_ITEMS}, 1);
}

static bool frames_items_2(struct peer *p)
{
    return send_count(p, &(struct message){.type = MSG_ITEMS}, 2);
}

static bool frames_items_4(struct peer *p)
{
    return send_count(p, &(struct message){.type = MSG_ITEMS}, 4);
}

static bool open_frames(struct peer *p, size_t count)
{
    struct message m = {.type = MSG_OPEN};
    m.open.function = text_of("square");
    m.open.credit = 1;
    return send_count(p, &m, count);
}

static bool frames_open_1(struct peer *p)
{
    return open_frames(p, 1);
}

static bool frames_open_3(struct peer *p)
{
    return open_frames(p, 3);
}

static bool frames_open_5(struct peer *p)
{
    return open_frames(p, 5);
}

static bool frames_open_1000(struct peer *p)
{
    return open_frames(p, 1000);
}

static bool frames_100000(struct peer *p)
{
    return send_count(p, &(struct message){.type = MSG_PING}, 100000);
}

static bool frame_empty(struct peer *p)
{
    return peer_send_bytes(p, "", 0);
}

/* Two empty frames: what a REQ socket puts first. */
static bool frames_empty_2(struct peer *p)
{
    return peer_send_frames(p, (struct frame[]){{"", 0}, {"", 0}}, 2);
}

static bool frames_delimiter(struct peer *p)
{
    return peer_send_frames(p, (struct frame[]){{"", 0}, FRAME("\x92\x0c\x01")}, 2);
}

/* Over what the daemon's socket takes: the connection is cut, nothing can be said. */
static bool run_huge_frame(struct arena *a)
{
    static const uint8_t blank[PROTOCOL_CALL_MAX + 1];
    struct peer *p = peer_new(a);
    if (p == NULL)
        return false;
    bool ok = peer_send_frames(p, (struct frame[]){{"", 0}, {blank, sizeof blank}}, 2);
    if (!ok) {
        peer_free(p);
        return false;
    }
    a->dropped[a->dropped_count++] = p;
    return arena_settle(a);
}

/*** Questions and what is to be ignored ***/

static bool run_query(struct arena *a)
{
    static const char *const questions[] = {"", "statu", "status ", "STATUS", "../../etc/shadow", "%n%s%p"};
    struct peer *p = peer_new(a);
    bool ok = p != NULL;
    for (size_t i = 0; ok && i < COUNT_OF(questions); i++) {
        uint64_t ref = p->next_ref++;
        ok = say_query(p, ref, questions[i]) && peer_await_error(p, &ref, PERR_QUERY, NULL);
    }
    ok = ok && peer_goes_on(p);
    peer_free(p);
    return ok;
}

static bool run_unknown_refs(struct arena *a)
{
    struct peer *p = peer_new(a);
    bool ok = p != NULL && say_credit(p, 999, 1) && say_credit(p, 999, PROTOCOL_COUNT_MAX) &&
              say_end(p, 999, 0) && say_end(p, 999, 12) && say_cancel(p, 999) && say_cancel(p, UINT64_MAX) &&
              say_items(p, 999, 0, false, &FRAME("1"), 1) && say_items(p, 999, 5, true, &FRAME("1"), 1) &&
              peer_goes_on(p);
    peer_free(p);
    return ok;
}

/* The refs of one session mean nothing in another one. */
static bool run_others_refs(struct arena *a)
{
    struct peer *victim = peer_new(a), *p = peer_new(a);
    bool ok = victim != NULL && p != NULL && say_open(victim, 500, "square", 100000, NULL, 0, false) &&
              peer_await(victim, MSG_OPENED) && say_cancel(p, 500) && say_end(p, 500, 0) &&
              say_items(p, 500, 0, false, &FRAME("5"), 1) && peer_goes_on(p) &&
              say_items(victim, 500, 0, false, &FRAME("7"), 1) && say_end(victim, 500, 1) &&
              peer_await(victim, MSG_RESULTS);
    if (ok && (victim->count < 3 || zmq_msg_size(&victim->part[2]) != 2 ||
               memcmp(zmq_msg_data(&victim->part[2]), "49", 2) != 0))
        ok = complain(a, "a job of another session was changed");
    peer_free(victim);
    peer_free(p);
    return ok;
}

/*
 * A daemon that is told to stop, and goes on being asked: new jobs get STOPPING by their refs; what runs is
 * answered, and the session's end comes behind that. Who has nothing running is told at once.
 */
static bool run_stopping(struct arena *a)
{
    struct daemon d;
    const uint64_t second = 2;
    bool ok = daemon_start(a, &d, 0);
    struct peer *busy = ok ? peer_connect(a, &d, NULL, 0) : NULL;
    struct peer *idle = ok ? peer_connect(a, &d, NULL, 0) : NULL;
    ok = busy != NULL && idle != NULL && say_hello(busy) && peer_await(busy, MSG_WELCOME) &&
         say_hello(idle) && peer_await(idle, MSG_WELCOME) &&
         say_open(busy, 1, "sleep", 1000, &FRAME("2"), 1, true) && say_ping(busy, 1) &&
         peer_await(busy, MSG_PONG) && kill(d.pid, SIGTERM) == 0;
    ok = ok && peer_await_error(idle, NULL, PERR_STOPPING, "stopping") &&
         say_open(busy, second, "echo", 1000, &FRAME("x"), 1, true) &&
         peer_await_error(busy, &second, PERR_STOPPING, "stopping") && peer_await(busy, MSG_RESULTS);
    if (ok && (busy->in.results.ref != 1 || !busy->in.results.has_done))
        ok = complain(a, "what ran has another answer");
    ok = ok && peer_await_error(busy, NULL, PERR_STOPPING, "stopping");
    peer_free(busy);
    peer_free(idle);
    ok = ok && daemon_stop(a, &d);
    if (!ok)
        daemon_print_log(&d);
    daemon_kill(&d);
    return ok;
}

const struct attack session_attacks[] = {
    {"HELLO is left out: PING", .breach = ping_first, .stranger = true, .words = "HELLO"},
    {"HELLO is left out: OPEN", .breach = open_first, .stranger = true, .words = "HELLO"},
    {"HELLO is left out: READY", .breach = ready_first, .stranger = true, .words = "sender"},
    {"HELLO comes twice", .breach = hello_twice, .words = "HELLO"},
    {"HELLO with another magic", .breach = hello_magic, .stranger = true, .words = "pmap"},
    {"HELLO with a binary magic", .breach = hello_binary_magic, .stranger = true},
    {"HELLO with versions 2 to 1", .breach = hello_range, .stranger = true, .words = "version"},
    {"HELLO with version 0", .breach = hello_version_0, .stranger = true, .words = "version"},
    {"HELLO with versions of the future", .run = run_versions},
    {"HELLO with all versions is served", .run = run_wide_versions},
    {"HELLO with a name that would write on terminals", .run = run_program},
    {"messages of daemons and workers", .run = run_foreign},
    {"an empty message first", .breach = frame_empty, .stranger = true, .words = "empty"},
    {"an empty message", .breach = frame_empty, .words = "empty"},
    {"two empty frames", .breach = frames_empty_2, .words = "empty"},
    {"an empty delimiter before the header", .breach = frames_delimiter, .words = "empty"},
    {"PING of two frames", .breach = frames_ping_2, .words = "frames"},
    {"PING of seven frames", .breach = frames_ping_7, .words = "frames"},
    {"ITEMS of one frame", .breach = frames_items_1, .words = "frames"},
    {"ITEMS of two frames", .breach = frames_items_2, .words = "frames"},
    {"ITEMS of four frames", .breach = frames_items_4, .words = "frames"},
    {"OPEN of one frame", .breach = frames_open_1, .words = "frames"},
    {"OPEN of three frames", .breach = frames_open_3, .words = "frames"},
    {"OPEN of five frames", .breach = frames_open_5, .words = "frames"},
    {"OPEN of a thousand frames", .breach = frames_open_1000, .words = "frames"},
    {"a message of 100,000 empty frames", .breach = frames_100000, .words = "frames"},
    {"a frame of more than 4 MiB", .run = run_huge_frame},
    {"unknown questions", .run = run_query},
    {"unknown refs are ignored", .run = run_unknown_refs},
    {"refs of another session", .run = run_others_refs},
    {"a daemon that is told to stop, and asked on", .run = run_stopping},
    {NULL},
};
