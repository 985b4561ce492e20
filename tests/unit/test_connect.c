/*
 * How libpmap connects: to nobody, to who is not to be trusted, does not answer, speaks another version or
 * refuses.
 */
#include "common/protocol.h"
#include "tests/unit/fake.h"
#include "tests/unit/pmap_rig.h"

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

static void silent_daemon(void **state)
{
    (void)state;
    struct fake *fake = fake_start(fake_silent);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_endpoints), cmocka_unit_test(nobody_behind_the_socket),
        cmocka_unit_test(mute_listener),   cmocka_unit_test(untrusted_peer),
        cmocka_unit_test(foreign_folder),  cmocka_unit_test(silent_daemon),
        cmocka_unit_test(other_version),   cmocka_unit_test(not_welcome),
        cmocka_unit_test(dies_at_hello),   cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
