/*
 * libpmap against daemons that are not there, refuse, break the protocol or go away, and against one that
 * echoes.
 */
#include "client/libpmap/pmap.h"

#include "common/batch.h"
#include "common/protocol.h"
#include "tests/unit/fake.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { LONG_MS = 10000 };

/*** Connecting ***/

static int connect_to(const char *endpoint, int timeout_ms, pmap **pool)
{
    struct pmap_options options = {.connect_timeout_ms = timeout_ms, .program = "test_pmap"};
    return pmap_connect(endpoint, &options, pool);
}

static void assert_says(const pmap *pool, const char *words)
{
    if (!strstr(pmap_error(pool), words))
        fail_msg("\"%s\" is not in \"%s\"", words, pmap_error(pool));
}

static void assert_no_connection(const char *endpoint, int timeout_ms, int error, const char *words)
{
    pmap *pool;
    assert_int_equal(connect_to(endpoint, timeout_ms, &pool), error);
    assert_non_null(pool);
    assert_says(pool, words);
    assert_int_equal(pmap_step(pool), error);
    pmap_disconnect(pool);
}

static void wrong_endpoints(void **state)
{
    (void)state;
    assert_no_connection("tcp://127.0.0.1:1", 0, -EPROTONOSUPPORT, "tcp://127.0.0.1:1");
    assert_no_connection("ipc://relative", 0, -EINVAL, "absolute");
    assert_no_connection("ipc:///nonexistent/folder/sock", 0, -ENOENT, "/nonexistent/folder/sock");
    assert_no_connection("ipc:///dev/null/sock", 0, -ENOENT, "/dev/null/sock");
}

/* A listening socket of no ZeroMQ, in a folder of its own. */
struct listener {
    char folder[32], endpoint[64];
    int fd;
};

static struct sockaddr_un address_of(const struct listener *l)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/sock", l->folder);
    return address;
}

static void listener_open(struct listener *l)
{
    snprintf(l->folder, sizeof l->folder, "/tmp/pmap-test-XXXXXX");
    assert_non_null(mkdtemp(l->folder));
    snprintf(l->endpoint, sizeof l->endpoint, "ipc://%s/sock", l->folder);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(l->fd >= 0);
}

static void listener_listen(const struct listener *l)
{
    struct sockaddr_un address = address_of(l);
    assert_int_equal(bind(l->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(l->fd, 10), 0);
}

static void listener_close(const struct listener *l)
{
    struct sockaddr_un address = address_of(l);
    close(l->fd);
    unlink(address.sun_path);
    rmdir(l->folder);
}

static void nobody_behind_the_socket(void **state)
{
    (void)state;
    struct listener l;
    listener_open(&l);
    listener_listen(&l);
    assert_int_equal(close(l.fd), 0); /* the path stays, as after kill -9 */
    assert_no_connection(l.endpoint, 0, -ECONNREFUSED, "no daemon");
    l.fd = -1;
    listener_close(&l);
}

static void mute_listener(void **state)
{
    (void)state;
    struct listener l;
    listener_open(&l);
    listener_listen(&l);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_no_connection(l.endpoint, 400, -ETIMEDOUT, "no answer");
    clock_gettime(CLOCK_MONOTONIC, &to);
    double took = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    assert_true(took >= 0.39 && took < 5);
    listener_close(&l);
}

/* Served by a uid that is neither root's, nor ours, nor the folder's: only root can make such a thing. */
static void untrusted_peer(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    struct listener l;
    listener_open(&l);
    assert_int_equal(chmod(l.folder, 0777), 0);
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct sockaddr_un address = address_of(&l);
        if (setgid(65534) < 0 || setuid(65534) < 0 ||
            bind(l.fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(l.fd, 10) < 0 ||
            write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_no_connection(l.endpoint, 1000, -EACCES, "served by uid 65534");
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]);
    listener_close(&l);
}

/* A user's own pool is only looked for in a folder of his own. */
static void foreign_folder(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    char runtime[] = "/tmp/pmap-test-XXXXXX", folder[64], path[80];
    assert_non_null(mkdtemp(runtime));
    snprintf(folder, sizeof folder, "%s/pmapd", runtime);
    snprintf(path, sizeof path, "%s/pmapd.sock", folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(chown(folder, 65534, 65534), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 10), 0);
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    unsetenv("PMAP_ENDPOINT");
    if (access("/run/pmapd/pmapd.sock", F_OK) < 0)
        assert_no_connection(NULL, 1000, -EACCES, "another user's");
    unsetenv("XDG_RUNTIME_DIR");
    close(fd);
    unlink(path);
    rmdir(folder);
    rmdir(runtime);
}

static void silent(struct fake *fake)
{
    struct message m;
    while (fake_receive(fake, &m))
        ;
}

static void silent_daemon(void **state)
{
    (void)state;
    struct fake *fake = fake_start(silent);
    assert_no_connection(fake_endpoint(fake), 100, -ETIMEDOUT, "no answer");
    fake_stop(fake);
}

static void from_the_future(struct fake *fake)
{
    fake_welcome(fake, 7, 9);
}

static void other_version(void **state)
{
    (void)state;
    struct fake *fake = fake_start(from_the_future);
    assert_no_connection(fake_endpoint(fake), LONG_MS, -EPROTONOSUPPORT, "versions 7 to 9");
    fake_stop(fake);
}

static void no_welcome(struct fake *fake)
{
    struct message m;
    if (fake_expect(fake, MSG_HELLO, &m))
        fake_send(fake, &(struct message){.type = MSG_PONG, .ping.token = 1}, NULL, 0);
}

static void not_welcome(void **state)
{
    (void)state;
    struct fake *fake = fake_start(no_welcome);
    assert_no_connection(fake_endpoint(fake), LONG_MS, -EPROTO, "PONG instead of WELCOME");
    fake_stop(fake);
}

static void hello_and_death(struct fake *fake)
{
    struct message m;
    if (fake_expect(fake, MSG_HELLO, &m))
        fake_die(fake);
}

static void dies_at_hello(void **state)
{
    (void)state;
    struct fake *fake = fake_start(hello_and_death);
    assert_no_connection(fake_endpoint(fake), LONG_MS, -ECONNRESET, "closed the connection");
    fake_stop(fake);
}

/*** Errors of the session ***/

static uint32_t refuse_code;

static void refuse(struct fake *fake)
{
    struct message m = {.type = MSG_ERROR,
                        .error = {.code = refuse_code, .text = text_of("because\nI say so")}};
    if (fake_welcome(fake, 1, 1))
        fake_send(fake, &m, NULL, 0);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t code;
        int error;
    } cases[] = {{PERR_REFUSED, -EACCES},          {PERR_LIMIT, -EDQUOT},    {PERR_STOPPING, -ESHUTDOWN},
                 {PERR_VERSION, -EPROTONOSUPPORT}, {PERR_PROTOCOL, -EPROTO}, {12345, -EPROTO}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refuse_code = cases[i].code;
        struct fake *fake = fake_start(refuse);
        pmap *pool;
        int rc = connect_to(fake_endpoint(fake), LONG_MS, &pool);
        while (rc == 0) /* it comes behind WELCOME */
            rc = pmap_wait(pool, LONG_MS);
        assert_int_equal(rc, cases[i].error);
        assert_string_equal(pmap_error(pool), "because?I say so");
        assert_int_equal(pmap_ping(pool, 100), cases[i].error); /* and so it stays */
        pmap_disconnect(pool);
        fake_stop(fake);
    }
}

/*** Jobs ***/

static void send_opened(struct fake *fake, uint64_t ref, uint64_t credit)
{
    fake_send(fake,
              &(struct message){.type = MSG_OPENED, .opened = {.ref = ref, .job = 42, .credit = credit}},
              NULL, 0);
}

/* One result of `text`, in a message of its own, that took 5 ns; with an error where `error` is not NULL. */
static void send_result(struct fake *fake, struct message *m, const char *text, const char *error)
{
    uint8_t length[4], time[8], note[NOTE_SIZE];
    store_u32(length, (uint32_t)strlen(text));
    store_u64(time, 5);
    struct note n = {.kind = NOTE_ERROR, .text_len = error ? (uint32_t)strlen(error) : 0};
    note_store(note, &n);
    m->type = MSG_RESULTS;
    const struct bytes frames[] = {
        {length, 4}, {text, strlen(text)}, {time, 8}, {note, NOTE_SIZE}, {error, n.text_len}};
    fake_send(fake, m, frames, error ? 5 : 3);
}

static struct job_report report_of(uint64_t items, uint64_t failed)
{
    return (struct job_report){.items = items,
                               .failed = failed,
                               .chunks = 4,
                               .slots = 2,
                               .queue_ns = 10,
                               .run_ns = 20,
                               .cpu_ns = 15,
                               .bytes_in = 6,
                               .bytes_out = 7};
}

static void three_results(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    uint64_t ref = m.open.ref;
    if (!m.open.end || !text_is(m.open.function, "square") || m.open.options.chunksize != 3 ||
        m.open.options.priority != -2 || fake_frame(fake, 3).size != 3 ||
        memcmp(fake_frame(fake, 3).data, "123", 3) != 0)
        return;
    send_opened(fake, ref, 1000);
    m = (struct message){.results = {.ref = ref, .first = 0}};
    send_result(fake, &m, "one", NULL);
    m.results.first = 1;
    m.results.more = true;
    send_result(fake, &m, "tw", NULL);
    send_result(fake, &m, "o", "it broke");
    m.results.more = false;
    send_result(fake, &m, "", NULL);
    m.results.first = 2;
    m.results.has_done = true;
    m.results.done = report_of(3, 2);
    send_result(fake, &m, "", "not a number");
    silent(fake);
}

static void assert_result(pmap_job *job, uint64_t index, const char *text, int more, const char *error,
                          int64_t time_ns)
{
    pmap_result r;
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_RESULT);
    assert_int_equal(r.index, index);
    assert_int_equal(r.size, strlen(text));
    assert_memory_equal(r.data, text, r.size);
    assert_int_equal(r.more, more);
    assert_int_equal(r.failed, error != NULL);
    if (error)
        assert_string_equal(r.error, error);
    else
        assert_null(r.error);
    assert_int_equal(r.time_ns, time_ns);
}

static void a_job(void **state)
{
    (void)state;
    struct fake *fake = fake_start(three_results);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    const struct pmap_info *info = pmap_get_info(pool);
    assert_string_equal(info->software, "fake 1");
    assert_string_equal(info->endpoint, fake_endpoint(fake));
    assert_true(info->slots == 3 && info->instance == 77 && info->protocol == 1 && info->uid == geteuid());
    struct pmap_job_options options = {.chunksize = 3, .priority = -2};
    assert_int_equal(pmap_open(pool, "square", &options, &job), 0);
    assert_int_equal(pmap_take(job, &r), PMAP_NONE);
    for (const char *item = "123"; *item; item++)
        assert_int_equal(pmap_put(job, item, 1), 0);
    assert_int_equal(pmap_end(job), 0);
    assert_int_equal(pmap_end(job), -EPIPE);
    assert_int_equal(pmap_put(job, "4", 1), -EPIPE);
    assert_result(job, 0, "one", 0, NULL, 5);
    assert_result(job, 1, "tw", 1, NULL, 5);
    assert_result(job, 1, "o", 1, NULL, 10);
    assert_result(job, 1, "", 0, "it broke", 15);
    assert_result(job, 2, "", 0, "not a number", 5);
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_DONE);
    assert_int_equal(pmap_take(job, &r), PMAP_DONE);
    struct pmap_report report;
    pmap_get_report(job, &report);
    assert_true(report.job == 42 && report.items == 3 && report.failed == 2 && report.chunks == 4 &&
                report.slots == 2);
    assert_true(report.item_count == 3 && report.item_min_ns == 5 && report.item_max_ns == 15);
    assert_true(report.wall_ns >= report.first_result_ns && report.first_result_ns > 0 &&
                report.run_ns == 20);
    pmap_close_job(job);
    pmap_disconnect(pool);
    fake_stop(fake);
}

static void wrong_options(void **state)
{
    (void)state;
    struct fake *fake = fake_start(three_results);
    pmap *pool;
    pmap_job *job = NULL;
    char name[5000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, name, NULL, &job), -EINVAL);
    assert_int_equal(pmap_open(pool, "x", &(struct pmap_job_options){.priority = 1001}, &job), -EINVAL);
    assert_says(pool, "priority");
    assert_null(job);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    assert_int_equal(pmap_put(job, "", (size_t)PROTOCOL_ITEM_MAX + 1), -EMSGSIZE);
    pmap_disconnect(pool); /* with the job */
    fake_stop(fake);
}

static void refuse_first_job(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    m = (struct message){
        .type = MSG_ERROR,
        .error = {.has_ref = true, .ref = m.open.ref, .code = PERR_FUNCTION, .text = text_of("no 'x'")}};
    fake_send(fake, &m, NULL, 0);
    while (fake_receive(fake, &m))
        if (m.type == MSG_PING)
            fake_send(fake, &(struct message){.type = MSG_PONG, .ping.token = m.ping.token}, NULL, 0);
        else if (m.type == MSG_QUERY && text_is(m.query.what, "status"))
            fake_send(fake, &(struct message){.type = MSG_ANSWER, .answer.ref = m.query.ref},
                      &(struct bytes){"\x80", 1}, 1);
        else if (m.type == MSG_QUERY)
            fake_send(fake,
                      &(struct message){.type = MSG_ERROR,
                                        .error = {.has_ref = true, .ref = m.query.ref, .code = PERR_QUERY}},
                      NULL, 0);
}

static void a_refused_job(void **state)
{
    (void)state;
    struct fake *fake = fake_start(refuse_first_job);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    unsigned code = 0;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    assert_int_equal(pmap_end(job), 0);
    assert_int_equal(pmap_wait_take(job, LONG_MS, &r), PMAP_FAILED);
    assert_string_equal(pmap_job_error(job, &code), "no 'x'");
    assert_int_equal(code, PERR_FUNCTION);
    pmap_close_job(job);
    /* The connection lives on. */
    assert_true(pmap_ping(pool, LONG_MS) > 0);
    const void *data;
    size_t size;
    assert_int_equal(pmap_query(pool, "status", LONG_MS, &data, &size), 0);
    assert_int_equal(size, 1);
    assert_memory_equal(data, "\x80", 1);
    assert_int_equal(pmap_query(pool, "nonsense", LONG_MS, &data, &size), -EINVAL);
    assert_says(pool, protocol_error_text(PERR_QUERY));
    pmap_disconnect(pool);
    fake_stop(fake);
}

static void welcome_only(struct fake *fake)
{
    if (fake_welcome(fake, 1, 1))
        silent(fake);
}

static void unanswered(void **state)
{
    (void)state;
    struct fake *fake = fake_start(welcome_only);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    const void *data;
    size_t size;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_ping(pool, 30), -ETIMEDOUT);
    assert_int_equal(pmap_query(pool, "status", 30, &data, &size), -ETIMEDOUT);
    assert_int_equal(pmap_wait(pool, 30), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    assert_int_equal(pmap_cancel(job), 0); /* before anything was sent */
    assert_int_equal(pmap_take(job, &r), PMAP_CANCELLED);
    pmap_close_job(job);
    pmap_disconnect(pool);
    fake_stop(fake);
}

/* Two jobs at once: the first is cancelled, the second goes on. */
static void two_jobs(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    uint64_t first = m.open.ref;
    if (!fake_expect(fake, MSG_OPEN, &m) || m.open.ref == first)
        return;
    uint64_t second = m.open.ref;
    send_opened(fake, second, 1000);
    send_opened(fake, first, 1000);
    m = (struct message){.results = {.ref = first}};
    send_result(fake, &m, "a", NULL);
    m.results.ref = second;
    send_result(fake, &m, "b", NULL);
    if (!fake_expect(fake, MSG_CANCEL, &m) || m.cancel.ref != first)
        return;
    /* What crosses the cancel is dropped. */
    m = (struct message){.results = {.ref = first, .first = 1}};
    send_result(fake, &m, "a", NULL);
    m = (struct message){.type = MSG_DONE, .done = {.ref = first, .done = report_of(2, 0)}};
    m.done.done.outcome = OUTCOME_CANCELLED;
    fake_send(fake, &m, NULL, 0);
    m = (struct message){.type = MSG_DONE, .done = {.ref = second, .done = report_of(1, 0)}};
    fake_send(fake, &m, NULL, 0);
    /* And what comes for a ref that has ended is ignored. */
    m = (struct message){.type = MSG_CREDIT, .credit = {.ref = first, .bytes = 1}};
    fake_send(fake, &m, NULL, 0);
    silent(fake);
}

static void jobs_beside_each_other(void **state)
{
    (void)state;
    struct fake *fake = fake_start(two_jobs);
    pmap *pool;
    pmap_job *first, *second;
    pmap_result r;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &first), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &second), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pmap_put(first, "i", 1), 0);
    assert_int_equal(pmap_flush(first), 0);
    assert_int_equal(pmap_put(second, "i", 1), 0);
    assert_int_equal(pmap_end(second), 0);
    assert_result(second, 0, "b", 0, NULL, 5);
    assert_int_equal(pmap_cancel(first), 0); /* with a result at hand */
    assert_int_equal(pmap_wait_take(first, LONG_MS, &r), PMAP_CANCELLED);
    assert_int_equal(pmap_put(first, "i", 1), -EPIPE);
    assert_int_equal(pmap_wait_take(second, LONG_MS, &r), PMAP_DONE);
    pmap_close_job(first);
    pmap_close_job(second);
    assert_int_equal(pmap_step(pool), 0);
    pmap_disconnect(pool);
    fake_stop(fake);
}

/*** Daemons that break the protocol ***/

enum breach {
    RESULTS_UNOPENED,
    RESULTS_OUT_OF_ORDER,
    RESULTS_TWICE,
    RESULTS_UNSENT,
    RESULTS_BAD_LENGTHS,
    RESULTS_BAD_NOTE,
    OPENED_TWICE,
    DONE_EARLY,
    DONE_UNOPENED,
    WELCOME_TWICE,
    GARBAGE,
    EMPTY,
    OF_A_CLIENT,
    TOO_MANY_FRAMES,
    BREACHES,
};
static enum breach breach;

static void break_protocol(struct fake *fake)
{
    static const struct bytes many[] = {{"", 0}, {"", 0}, {"", 0}, {"", 0},
                                        {"", 0}, {"", 0}, {"", 0}, {"", 0}};
    uint8_t length[4], time[8] = {0}, note[NOTE_SIZE];
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    uint64_t ref = m.open.ref;
    if (breach != RESULTS_UNOPENED && breach != DONE_UNOPENED)
        send_opened(fake, ref, 1000);
    m = (struct message){.type = MSG_RESULTS, .results = {.ref = ref}};
    switch (breach) {
    case RESULTS_OUT_OF_ORDER:
        m.results.first = 1;
        send_result(fake, &m, "x", NULL);
        break;
    case RESULTS_TWICE:
        send_result(fake, &m, "x", NULL);
        send_result(fake, &m, "x", NULL);
        break;
    case RESULTS_UNSENT:
        send_result(fake, &m, "x", NULL);
        m.results.first = 1;
        send_result(fake, &m, "x", NULL);
        m.results.first = 2;
        send_result(fake, &m, "x", NULL);
        break;
    case RESULTS_BAD_LENGTHS:
        store_u32(length, 5);
        fake_send(fake, &m, (struct bytes[]){{length, 4}, {"four", 4}, {time, 8}}, 3);
        break;
    case RESULTS_BAD_NOTE:
        store_u32(length, 4);
        note_store(note, &(struct note){.record = 1, .kind = NOTE_ERROR});
        fake_send(fake, &m, (struct bytes[]){{length, 4}, {"four", 4}, {time, 8}, {note, NOTE_SIZE}, {"", 0}},
                  5);
        break;
    case RESULTS_UNOPENED:
        send_result(fake, &m, "x", NULL);
        break;
    case OPENED_TWICE:
        send_opened(fake, ref, 1000);
        break;
    case DONE_EARLY:
    case DONE_UNOPENED:
        fake_send(fake, &(struct message){.type = MSG_DONE, .done = {.ref = ref, .done = report_of(2, 0)}},
                  NULL, 0);
        break;
    case WELCOME_TWICE:
        m = (struct message){
            .type = MSG_WELCOME,
            .welcome = {
                .magic = text_of(PROTOCOL_MAGIC), .min = 1, .max = 1, .max_message = 1 << 20, .max_item = 1}};
        fake_send(fake, &m, NULL, 0);
        break;
    case GARBAGE:
        fake_send_raw(fake, (struct bytes){"\xc1garbage", 8}, NULL, 0);
        break;
    case EMPTY:
        fake_send_raw(fake, (struct bytes){"", 0}, NULL, 0);
        break;
    case OF_A_CLIENT:
        fake_send(fake, &(struct message){.type = MSG_CANCEL, .cancel.ref = ref}, NULL, 0);
        break;
    default:
        fake_send(fake, &m, many, 8);
    }
    silent(fake);
}

static void broken_protocol(void **state)
{
    (void)state;
    for (breach = 0; breach < BREACHES; breach++) {
        struct fake *fake = fake_start(break_protocol);
        pmap *pool;
        pmap_job *job;
        pmap_result r;
        assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
        assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
        assert_int_equal(pmap_put(job, "i", 1), 0);
        assert_int_equal(pmap_put(job, "j", 1), 0);
        assert_int_equal(pmap_end(job), 0);
        int rc;
        while ((rc = pmap_wait_take(job, LONG_MS, &r)) == PMAP_RESULT)
            ;
        if (rc != -EPROTO)
            fail_msg("breach %d: %d (%s)", (int)breach, rc, pmap_error(pool));
        assert_says(pool, "the daemon broke the protocol: ");
        assert_int_equal(pmap_put(job, "i", 1), -EPROTO);
        assert_int_equal(pmap_open(pool, "x", NULL, &job), -EPROTO);
        pmap_disconnect(pool);
        fake_stop(fake);
    }
}

/*** Daemons that go away ***/

static void die_after_a_result(struct fake *fake)
{
    struct message m;
    if (!fake_welcome(fake, 1, 1) || !fake_expect(fake, MSG_OPEN, &m))
        return;
    send_opened(fake, m.open.ref, 1000);
    m = (struct message){.results = {.ref = m.open.ref}};
    send_result(fake, &m, "last words", NULL);
    if (fake_wait(fake))
        fake_die(fake);
}

static void dies(void **state)
{
    (void)state;
    struct fake *fake = fake_start(die_after_a_result);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pmap_put(job, "i", 1), 0);
    assert_int_equal(pmap_flush(job), 0);
    assert_result(job, 0, "last words", 0, NULL, 5);
    assert_int_equal(pmap_take(job, &r), PMAP_NONE);
    /* Now nothing is to be done, so the descriptor has to wake us. */
    fake_go(fake);
    int rc = 0;
    while (rc == 0) {
        struct pollfd fd = {.fd = pmap_fd(pool), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, LONG_MS), 1);
        rc = pmap_step(pool);
    }
    assert_int_equal(rc, -ECONNRESET);
    assert_says(pool, fake_endpoint(fake));
    assert_says(pool, "is gone");
    assert_int_equal(pmap_take(job, &r), -ECONNRESET);
    assert_int_equal(pmap_put(job, "i", 1), -ECONNRESET);
    assert_int_equal(pmap_ping(pool, LONG_MS), -ECONNRESET);
    assert_int_equal(pmap_cancel(job), -ECONNRESET);
    pmap_close_job(job);
    pmap_disconnect(pool);
    fake_stop(fake);
}

/* It goes away while the client sends, and not while it waits. */
static void dies_while_we_send(void **state)
{
    (void)state;
    struct fake *fake = fake_start(die_after_a_result);
    pmap *pool;
    pmap_job *job;
    pmap_result r;
    assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
    assert_int_equal(pmap_open(pool, "x", NULL, &job), 0);
    assert_int_equal(pmap_put(job, "i", 1), 0);
    assert_int_equal(pmap_flush(job), 0);
    assert_result(job, 0, "last words", 0, NULL, 5);
    fake_go(fake);
    int rc = 0;
    while (rc == 0 || rc == -EAGAIN) {
        rc = pmap_put(job, "i", 1);
        if (rc == 0)
            rc = pmap_flush(job);
        if (rc == 0 || rc == -EAGAIN)
            rc = pmap_take(job, &r);
    }
    assert_int_equal(rc, -ECONNRESET);
    pmap_disconnect(pool);
    fake_stop(fake);
}

/*** A daemon that echoes ***/

static const uint8_t zeroes[8 << 20];

static void send_echo(struct fake *fake, uint64_t ref, uint64_t first, struct bytes lengths,
                      struct bytes bytes, bool more)
{
    struct message m = {.type = MSG_RESULTS, .results = {.ref = ref, .first = first, .more = more}};
    fake_send(fake, &m, (struct bytes[]){lengths, bytes, {zeroes, lengths.size * 2}}, 3);
}

static void send_credit(struct fake *fake, uint64_t ref, uint64_t bytes)
{
    fake_send(fake, &(struct message){.type = MSG_CREDIT, .credit = {ref, bytes}}, NULL, 0);
}

/* A large item comes back in pieces of other sizes when all of it is there. */
static void send_large_echo(struct fake *fake, uint64_t ref, uint64_t first, const uint8_t *large,
                            size_t size)
{
    enum { ECHO_PIECE = 300000 };
    while (size > 0) {
        uint8_t length[4];
        size_t part = size < ECHO_PIECE ? size : ECHO_PIECE;
        store_u32(length, (uint32_t)part);
        size -= part;
        send_echo(fake, ref, first, (struct bytes){length, 4}, (struct bytes){large, part}, size > 0);
        large += part;
    }
}

static void echo(struct fake *fake)
{
    static uint8_t large[8 << 20];
    struct message m;
    if (!fake_welcome(fake, 1, 1))
        return;
    uint64_t ref = 0, next = 0, total = UINT64_MAX;
    size_t have = 0; /* of a large item */
    while (fake_receive(fake, &m)) {
        struct bytes lengths = {NULL, 0}, bytes = {NULL, 0};
        if (m.type == MSG_OPEN) {
            ref = m.open.ref;
            send_opened(fake, ref, 1 << 20);
            lengths = fake_frame(fake, 2);
            bytes = fake_frame(fake, 3);
            if (m.open.end)
                total = lengths.size / 4;
        } else if (m.type == MSG_ITEMS) {
            lengths = fake_frame(fake, 1);
            bytes = fake_frame(fake, 2);
        } else if (m.type == MSG_END) {
            total = m.end.total;
        } else if (m.type == MSG_CREDIT) {
            /* An item costs what its result does, so what comes back for the one goes back for the other. */
            send_credit(fake, ref, m.credit.bytes);
        }
        if (m.type == MSG_ITEMS && (m.items.more || have > 0)) {
            memcpy(large + have, bytes.data, bytes.size);
            have += bytes.size;
            if (m.items.more) {
                send_credit(fake, ref, bytes.size + RECORD_COST);
            } else {
                send_large_echo(fake, ref, next++, large, have);
                have = 0;
            }
        } else if (lengths.size > 0) {
            send_echo(fake, ref, next, lengths, bytes, false);
            next += lengths.size / 4;
        }
        if (next == total)
            fake_send(fake,
                      &(struct message){.type = MSG_DONE, .done = {.ref = ref, .done = report_of(next, 0)}},
                      NULL, 0);
    }
}

/* Items of many sizes, large ones among them, come back as they were. */
static void echoes(void **state)
{
    (void)state;
    enum { COUNT = 30000, LARGE = 3 << 20 };
    uint8_t *large = malloc(LARGE), *back = malloc(LARGE);
    assert_true(large && back);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (uint8_t)(i * 7 + i / 1000);
    for (int unordered = 0; unordered < 2; unordered++) {
        struct fake *fake = fake_start(echo);
        pmap *pool;
        pmap_job *job;
        pmap_result r;
        assert_int_equal(connect_to(fake_endpoint(fake), LONG_MS, &pool), 0);
        assert_int_equal(pmap_open(pool, "echo", &(struct pmap_job_options){.unordered = unordered}, &job),
                         0);
        uint64_t put = 0, taken = 0;
        size_t have = 0;
        int rc = PMAP_NONE;
        while (rc != PMAP_DONE) {
            while (put < COUNT) {
                size_t size = put % 10000 == 5000 ? LARGE : put % 100 == 7 ? 70000 : put % 61;
                rc = pmap_put(job, large + put % 100, size == LARGE ? LARGE - put % 100 : size);
                if (rc == -EAGAIN)
                    break;
                assert_int_equal(rc, 0);
                if (++put == COUNT)
                    assert_int_equal(pmap_end(job), 0);
            }
            for (rc = pmap_wait_take(job, LONG_MS, &r); rc == PMAP_RESULT; rc = pmap_take(job, &r)) {
                assert_int_equal(r.index, taken);
                assert_true(have + r.size <= LARGE);
                memcpy(back + have, r.data, r.size);
                have += r.size;
                if (r.more)
                    continue;
                size_t size = taken % 10000 == 5000 ? LARGE - taken % 100
                              : taken % 100 == 7    ? 70000
                                                    : taken % 61;
                assert_int_equal(have, size);
                assert_memory_equal(back, large + taken % 100, size);
                have = 0;
                taken++;
            }
            if (rc != PMAP_NONE && rc != PMAP_DONE)
                fail_msg("%d after %llu: %s", rc, (unsigned long long)taken, pmap_error(pool));
        }
        assert_int_equal(taken, COUNT);
        pmap_disconnect(pool);
        fake_stop(fake);
    }
    free(large);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_endpoints),
        cmocka_unit_test(nobody_behind_the_socket),
        cmocka_unit_test(mute_listener),
        cmocka_unit_test(untrusted_peer),
        cmocka_unit_test(foreign_folder),
        cmocka_unit_test(silent_daemon),
        cmocka_unit_test(other_version),
        cmocka_unit_test(not_welcome),
        cmocka_unit_test(dies_at_hello),
        cmocka_unit_test(refused),
        cmocka_unit_test(a_job),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(a_refused_job),
        cmocka_unit_test(unanswered),
        cmocka_unit_test(jobs_beside_each_other),
        cmocka_unit_test(broken_protocol),
        cmocka_unit_test(dies),
        cmocka_unit_test(dies_while_we_send),
        cmocka_unit_test(echoes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
