/* Breaches in what runs in processes: the call, options that are for one kind only, HOLD and ABORT. */
#include "tests/cli/hostile.h"

#include "common/call.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* OPEN of that kind with this call, and one item. */
static bool open_call(struct peer *p, uint64_t ref, enum function_kind kind,
                      const struct job_options *options, const void *call, size_t size)
{
    struct message m = {.type = MSG_OPEN};
    m.open.ref = ref;
    m.open.kind = kind;
    m.open.function = text_of(kind == KIND_BUILTIN ? "square" : "f");
    m.open.credit = 100000;
    m.open.end = true;
    if (options)
        m.open.options = *options;
    return peer_send(p, &m, (struct frame[]){{call, size}, FRAME("\1\0\0\0"), FRAME("7")}, 3);
}

/* Has the last message ended a job? */
static bool is_done(const struct peer *p)
{
    return p->in.type == MSG_DONE || (p->in.type == MSG_RESULTS && p->in.results.has_done);
}

/* Such a job ends with an ERROR of its own or with an item that failed, and the session goes on. */
static bool ends_badly(struct peer *p, uint64_t ref)
{
    bool failed = false;
    for (;;) {
        if (peer_receive(p, PATIENCE_MS) <= 0)
            return false;
        if (p->in.type == MSG_ERROR)
            return p->in.error.has_ref && p->in.error.ref == ref &&
                   (p->in.error.code == PERR_FUNCTION || p->in.error.code == PERR_OPTION ||
                    p->in.error.code == PERR_TOO_LARGE);
        failed = failed || (p->in.type == MSG_RESULTS && p->in.results.ref == ref && p->count > 4 &&
                            zmq_msg_size(&p->part[4]) > 0);
        if (is_done(p))
            return failed || complain(p->arena, "a call that makes no sense was run");
    }
}

/* A call that a real client might send, encoded; the caller frees it. */
static bool true_call(struct arena *a, void **data, size_t *size)
{
    static const char *const argv[] = {"/bin/echo", "{}", NULL};
    struct call call;
    call_init(&call);
    bool ok =
        call_capture(&call) == 0 && call_set_argv(&call, argv, 2) == 0 && call_encode(&call, data, size) == 0;
    call_free(&call);
    return ok || complain(a, "no call could be made");
}

static bool run_no_calls(struct arena *a)
{
    static uint8_t zeros[4096];
    static const struct frame calls[] = {
        FRAME(""),
        FRAME("\xc0"),
        FRAME("\x80"),
        FRAME("\x90"),
        FRAME("\xc1"),
        FRAME("\x81\xa4"
              "argv\xdd\xff\xff\xff\xff"),
        FRAME("\xdf\xff\xff\xff\xff"),
        FRAME("\x81\xa4"
              "argv\x91\xc6\xff\xff\xff\xff"),
        FRAME("\x81\xa4"
              "argv\x91\xc4\x03"
              "a\0b"),
        FRAME("\x81\xa4"
              "argv\x90"),
        FRAME("\x81\xa4"
              "evil\xc3"),
        FRAME("\x82\xa5"
              "umask\x01\xa5"
              "umask\x01"),
        FRAME("\x81\xa3"
              "cwd\xc4\x04"
              "a/.."),
        FRAME("\x81\xa7"
              "rlimits\x91\x93\xce\xff\xff\xff\xff\x00"),
        {zeros, sizeof zeros},
    };
    struct peer *p = peer_new(a);
    bool ok = p != NULL;
    static const struct job_options isolated = {.isolate = true};
    for (uint32_t kind = KIND_BUILTIN; ok && kind <= KIND_MAX; kind++) {
        for (size_t i = kind == KIND_BUILTIN; ok && i < COUNT_OF(calls); i++) {
            uint64_t ref = p->next_ref++;
            /* A builtin needs nothing of a call, so an empty map is a good one. */
            if (kind == KIND_BUILTIN && (i == 2 || i == 9))
                continue;
            ok = (open_call(p, ref, kind, &isolated, calls[i].data, calls[i].size) && ends_badly(p, ref)) ||
                 complain(a, "kind %u, call %zu", kind, i);
        }
    }
    ok = ok && peer_goes_on(p);
    peer_free(p);
    return ok;
}

/* A call of which any one byte is another, or that ends early: it may even make sense, but harms nobody. */
static bool run_bent_calls(struct arena *a)
{
    enum { ROUNDS = SANITIZED ? 50 : 200 };
    void *data = NULL;
    size_t size = 0;
    uint64_t seed = 42;
    struct peer *p = peer_new(a);
    bool ok = p != NULL && true_call(a, &data, &size);
    uint8_t *bent = ok && size > 0 ? malloc(size) : NULL;
    ok = ok && bent != NULL;
    for (unsigned i = 0; ok && i < ROUNDS; i++) {
        uint64_t ref = p->next_ref++, random = next_random(&seed);
        size_t used = i % 4 == 0 ? random % size : size;
        memcpy(bent, data, size);
        bent[(random >> 8) % size] ^= (uint8_t)(1U << (random & 7));
        ok = open_call(p, ref, KIND_COMMAND, NULL, bent, used);
        do
            ok = ok && peer_receive(p, PATIENCE_MS) > 0;
        while (ok && !is_done(p) && p->in.type != MSG_ERROR);
        ok = ok && (is_done(p) || p->in.error.has_ref);
    }
    ok = ok && peer_goes_on(p);
    free(bent);
    free(data);
    peer_free(p);
    return ok && status_at_most(a, "jobs", 0);
}

/* Options that a kind does not have, and a call where there must be none. */
static bool run_wrong_options(struct arena *a)
{
    struct peer *p = peer_new(a);
    bool ok = p != NULL;
    static const struct {
        struct job_options options;
        uint32_t kind;
    } wrong[] = {{{.timeout_ms = 1}, KIND_BUILTIN},
                 {{.retries = 1}, KIND_BUILTIN},
                 {{.jobserver = true}, KIND_BUILTIN},
                 {{.jobserver = true, .isolate = true}, KIND_BUILTIN},
                 {{.jobserver = true}, KIND_FILTER}};
    for (size_t i = 0; ok && i < COUNT_OF(wrong); i++) {
        uint64_t ref = p->next_ref++;
        ok = open_call(p, ref, wrong[i].kind, &wrong[i].options, "", 0) && ends_badly(p, ref);
    }
    ok = ok && peer_goes_on(p);
    peer_free(p);
    return ok;
}

static bool open_halt_3(struct peer *p)
{
    static const uint8_t header[] = "\x99\x03\x01\x00\xa6square\x81\xa4halt\x03\x01\x00\x90\xc2";
    return peer_send_frames(p, (struct frame[]){{header, sizeof header - 1}, {"", 0}}, 2);
}

/* The daemon's launcher; 0 after a complaint. */
static pid_t launcher_of(struct arena *a)
{
    char path[64];
    char text[32] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)a->daemon.pid, (int)a->daemon.pid);
    FILE *file = fopen(path, "r");
    bool read = file != NULL && fgets(text, sizeof text, file) != NULL;
    if (file != NULL)
        fclose(file);
    pid_t pid = read ? (pid_t)strtol(text, NULL, 10) : 0;
    if (pid <= 0)
        complain(a, "the launcher is not to be found");
    return pid;
}

/* More who want a process than the launcher has room for questions: they wait, and all are served. */
static bool run_crowd(struct arena *a)
{
    enum { CROWD = 240 };
    static struct peer *crowd[CROWD];
    static const struct job_options isolated = {.isolate = true};
    void *call = NULL;
    size_t size = 0;
    pid_t launcher = launcher_of(a);
    bool ok = launcher > 0 && true_call(a, &call, &size) && kill(launcher, SIGSTOP) == 0;
    for (unsigned i = 0; i < CROWD; i++)
        ok = ok && (crowd[i] = peer_new(a)) != NULL &&
             open_call(crowd[i], 1000, KIND_BUILTIN, &isolated, call, size);
    ok = ok && peer_goes_on(a->witness);
    if (launcher > 0)
        kill(launcher, SIGCONT);
    for (unsigned i = 0; i < CROWD; i++) {
        do
            ok = ok && peer_receive(crowd[i], PATIENCE_MS) > 0 && crowd[i]->in.type != MSG_ERROR;
        while (ok && !is_done(crowd[i]));
        if (crowd[i] != NULL)
            peer_free(crowd[i]);
        crowd[i] = NULL;
    }
    free(call);
    return ok && status_at_most(a, "jobs", 0);
}

/* Nobody's job is held, and one of ours again and again: it is done all the same. */
static bool run_holds(struct arena *a)
{
    struct peer *p = peer_new(a);
    struct message m = {.type = MSG_HOLD, .hold = {.ref = 999999, .paused = true}};
    bool ok = p != NULL && peer_send(p, &m, NULL, 0) && say_open(p, 1000, "square", 100000, NULL, 0, false) &&
              peer_await(p, MSG_OPENED);
    m.hold.ref = 1000;
    for (unsigned i = 0; ok && i < 2001; i++) {
        m.hold.paused = i % 2 == 0;
        ok =
            peer_send(p, &m, NULL, 0) && (i % 100 != 0 || say_items(p, 1000, i / 100, false, &FRAME("2"), 1));
    }
    /* It is held now; the session goes on, and so does the job when it is let go. */
    ok = ok && say_end(p, 1000, 21) && say_ping(p, 1) && peer_await(p, MSG_PONG);
    m.hold.paused = false;
    ok = ok && peer_send(p, &m, NULL, 0);
    do
        ok = ok && peer_receive(p, PATIENCE_MS) > 0;
    while (ok && !is_done(p));
    peer_free(p);
    return ok && status_at_most(a, "jobs", 0);
}

/* A job that is held is no reason to keep anything once its client has gone. */
static bool run_held_and_gone(struct arena *a)
{
    struct peer *p = peer_new(a);
    struct message m = {.type = MSG_HOLD, .hold = {.ref = 1000, .paused = true}};
    bool ok = p != NULL && say_open(p, 1000, "sleep", 100000, NULL, 0, false) && peer_await(p, MSG_OPENED) &&
              peer_send(p, &m, NULL, 0) && say_items(p, 1000, 0, false, &FRAME("1000"), 1);
    peer_free(p);
    return ok && status_at_most(a, "jobs", 0);
}

static bool run_aborts(struct arena *a)
{
    static const uint64_t nobodys[] = {0, 1, UINT64_MAX, INT64_MAX};
    struct peer *p = peer_new(a);
    bool ok = p != NULL;
    for (size_t i = 0; ok && i < COUNT_OF(nobodys); i++) {
        struct message m = {.type = MSG_ABORT, .abort = {.ref = p->next_ref++, .job = nobodys[i]}};
        ok = peer_send(p, &m, NULL, 0) && peer_await_error(p, &m.abort.ref, PERR_NO_JOB, NULL);
    }
    ok = ok && peer_goes_on(p);
    peer_free(p);
    return ok;
}

/* What only a worker says, and only over a socket of its own. */
static bool say_worker(struct peer *p, const struct message *m)
{
    return peer_send(p, m, NULL, 0);
}

static bool client_says_failed(struct peer *p)
{
    return say_worker(p, &(struct message){.type = MSG_FAILED, .failed = {.job = 1, .text = text_of("x")}});
}

static bool client_says_parked(struct peer *p)
{
    return say_worker(p, &(struct message){.type = MSG_PARKED, .parked = {.chunk = 1, .count = 1}});
}

static bool client_says_forget(struct peer *p)
{
    return say_worker(p, &(struct message){.type = MSG_FORGET, .forget = {.job = 1}});
}

static bool client_says_grant(struct peer *p)
{
    return say_worker(p, &(struct message){.type = MSG_GRANT, .grant = {.chunk = 1, .bytes = 1}});
}

static bool client_says_lend(struct peer *p)
{
    return say_worker(p, &(struct message){.type = MSG_LEND, .lend = {.chunk = 1, .lent = 1}});
}

static bool client_says_returned(struct peer *p)
{
    return say_worker(p, &(struct message){.type = MSG_RETURNED, .returned = {.chunk = 1, .tokens = 1}});
}

const struct attack call_attacks[] = {
    {"calls that are none", .run = run_no_calls},
    {"a call with one bit wrong, or its end missing", .run = run_bent_calls},
    {"options of another kind's", .run = run_wrong_options},
    {"OPEN, halt 3", .breach = open_halt_3},
    {"a crowd that wants processes", .run = run_crowd},
    {"HOLD, again and again", .run = run_holds},
    {"HOLD, and gone", .run = run_held_and_gone},
    {"ABORT of nobody's jobs", .run = run_aborts},
    {"FAILED from a client", .breach = client_says_failed},
    {"PARKED from a client", .breach = client_says_parked},
    {"FORGET from a client", .breach = client_says_forget},
    {"GRANT from a client", .breach = client_says_grant},
    {"LEND from a client", .breach = client_says_lend},
    {"RETURNED from a client", .breach = client_says_returned},
    {NULL},
};
