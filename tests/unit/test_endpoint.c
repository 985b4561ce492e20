/*
 * Endpoints: their form, the private one's place, its folder against those who were there first, and the
 * probe against sockets of every kind. What needs a second user runs where the test is root's.
 */
#include "common/endpoint.h"

#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY = 65534, CONNECTIONS_MAX = 64 };

static char root[64]; /* the test's own folder, in /tmp: a socket's path has to be short */

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/pmap-endpoint-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The endpoint, or the path, of a name below the test's folder; the buffer lives until the next but three
 * calls. */
static const char *below(const char *prefix, const char *name)
{
    static char buffers[4][ENDPOINT_MAX];
    static unsigned next;
    char *text = buffers[next++ % 4];
    int len = snprintf(text, ENDPOINT_MAX, "%s%s/%s", prefix, root, name);
    assert_in_range(len, 1, ENDPOINT_MAX - 1);
    return text;
}

static const char *path_of(const char *name)
{
    return below("", name);
}

static const char *endpoint_of(const char *name)
{
    return below("ipc://", name);
}

static void only_absolute_ipc_paths_are_endpoints(void **state)
{
    (void)state;
    assert_int_equal(endpoint_check(ENDPOINT_SYSTEM), 0);
    assert_string_equal(endpoint_path(ENDPOINT_SYSTEM), "/run/pmapd/pmapd.sock");
    assert_int_equal(endpoint_check("ipc:///"), 0);
    assert_int_equal(endpoint_check(""), -EPROTONOSUPPORT);
    assert_int_equal(endpoint_check("ipc:/"), -EPROTONOSUPPORT);
    assert_int_equal(endpoint_check("IPC:///x"), -EPROTONOSUPPORT);
    assert_int_equal(endpoint_check("tcp://127.0.0.1:1"), -EPROTONOSUPPORT);
    assert_int_equal(endpoint_check("/run/pmapd/pmapd.sock"), -EPROTONOSUPPORT);
    assert_int_equal(endpoint_check("ipc://"), -EINVAL);
    assert_int_equal(endpoint_check("ipc://@abstract"), -EINVAL);
    assert_int_equal(endpoint_check("ipc://relative/x"), -EINVAL);
    char text[ENDPOINT_MAX + 1];
    memset(text, 'x', sizeof text);
    memcpy(text, "ipc:///", 7);
    text[ENDPOINT_MAX] = '\0';
    assert_int_equal(endpoint_check(text), -ENAMETOOLONG);
    text[ENDPOINT_MAX - 1] = '\0';
    assert_int_equal(endpoint_check(text), 0);
    assert_int_equal(strlen(endpoint_path(text)), 107);
}

static void the_private_one_is_where_the_session_is(void **state)
{
    (void)state;
    const char *before = getenv("XDG_RUNTIME_DIR");
    char *saved = before ? strdup(before) : NULL;
    char out[ENDPOINT_MAX], in_tmp[ENDPOINT_MAX];
    snprintf(in_tmp, sizeof in_tmp, "ipc:///tmp/pmapd-%u/pmapd.sock", (unsigned)geteuid());

    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(endpoint_private(out), 0);
    assert_string_equal(out, in_tmp);
    static const char *const no_place[] = {"", "run/user/1000", "."};
    for (size_t i = 0; i < 3; i++) {
        setenv("XDG_RUNTIME_DIR", no_place[i], 1);
        assert_int_equal(endpoint_private(out), 0);
        assert_string_equal(out, in_tmp);
    }
    setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
    assert_int_equal(endpoint_private(out), 0);
    assert_string_equal(out, "ipc:///run/user/1000/pmapd/pmapd.sock");
    setenv("XDG_RUNTIME_DIR", "/run/user/1000//", 1);
    assert_int_equal(endpoint_private(out), 0);
    assert_string_equal(out, "ipc:///run/user/1000/pmapd/pmapd.sock");

    /* The longest that fits, one more, and much more. */
    static const char tail[] = "/pmapd/pmapd.sock";
    char folder[ENDPOINT_MAX * 2];
    memset(folder, 'f', sizeof folder);
    folder[0] = '/';
    folder[107 - (sizeof tail - 1)] = '\0';
    setenv("XDG_RUNTIME_DIR", folder, 1);
    assert_int_equal(endpoint_private(out), 0);
    assert_int_equal(strlen(out), ENDPOINT_MAX - 1);
    assert_int_equal(endpoint_check(out), 0);
    strcpy(out, "as it was");
    folder[107 - (sizeof tail - 1)] = 'f';
    folder[108 - (sizeof tail - 1)] = '\0';
    setenv("XDG_RUNTIME_DIR", folder, 1);
    assert_int_equal(endpoint_private(out), -ENAMETOOLONG);
    folder[108 - (sizeof tail - 1)] = 'f';
    folder[sizeof folder - 1] = '\0';
    setenv("XDG_RUNTIME_DIR", folder, 1);
    assert_int_equal(endpoint_private(out), -ENAMETOOLONG);
    assert_string_equal(out, "as it was");

    if (saved)
        setenv("XDG_RUNTIME_DIR", saved, 1);
    else
        unsetenv("XDG_RUNTIME_DIR");
    free(saved);
}

static void a_folder_is_made_for_its_owner_alone(void **state)
{
    (void)state;
    mode_t mask = umask(0);
    int rc = endpoint_make_folder(endpoint_of("new/pmapd.sock"));
    umask(mask);
    assert_int_equal(rc, 0);
    struct stat st;
    assert_int_equal(lstat(path_of("new"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0700);
    /* Again, and with slashes to spare. */
    assert_int_equal(endpoint_make_folder(endpoint_of("new/pmapd.sock")), 0);
    assert_int_equal(endpoint_make_folder(endpoint_of("new//pmapd.sock")), 0);
    assert_int_equal(endpoint_make_folder(endpoint_of("no/such/pmapd.sock")), -ENOENT);
    assert_int_equal(endpoint_make_folder("tcp://x"), -EPROTONOSUPPORT);
    assert_int_equal(endpoint_make_folder("ipc:///pmapd.sock"), -EPERM); /* "/" is open to all */
}

static void a_folder_of_the_wrong_kind_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path_of("real"), 0700), 0);
    assert_int_equal(symlink(path_of("real"), path_of("link")), 0);
    assert_int_equal(endpoint_make_folder(endpoint_of("link/pmapd.sock")), -ENOTDIR);
    assert_int_equal(endpoint_make_folder(endpoint_of("link//pmapd.sock")), -ENOTDIR);
    assert_int_equal(symlink(path_of("nowhere"), path_of("dangling")), 0);
    assert_int_equal(endpoint_make_folder(endpoint_of("dangling/pmapd.sock")), -ENOTDIR);
    assert_int_equal(access(path_of("nowhere"), F_OK), -1);
    int fd = open(path_of("file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(endpoint_make_folder(endpoint_of("file/pmapd.sock")), -ENOTDIR);
    assert_int_equal(endpoint_make_folder(endpoint_of("file/deeper/pmapd.sock")), -ENOTDIR);
}

static void a_folder_that_is_open_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path_of("open"), 0700), 0);
    static const mode_t bits[] = {040, 020, 010, 04, 02, 01, 0, 01000, 02000};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        assert_int_equal(chmod(path_of("open"), 0700 | bits[i]), 0);
        assert_int_equal(endpoint_make_folder(endpoint_of("open/pmapd.sock")), bits[i] & 0777 ? -EPERM : 0);
    }
}

static void a_folder_of_another_is_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir(path_of("theirs"), 0700), 0);
    assert_int_equal(chown(path_of("theirs"), NOBODY, NOBODY), 0);
    assert_int_equal(endpoint_make_folder(endpoint_of("theirs/pmapd.sock")), -EPERM);
    /* It is the effective uid that counts. */
    assert_int_equal(chmod(root, 0711), 0);
    assert_int_equal(mkdir(path_of("ours"), 0700), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    int theirs = endpoint_make_folder(endpoint_of("theirs/pmapd.sock"));
    int ours = endpoint_make_folder(endpoint_of("ours/pmapd.sock"));
    int none = endpoint_make_folder(endpoint_of("none/pmapd.sock"));
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(theirs, 0);
    assert_int_equal(ours, -EPERM);
    assert_int_equal(none, -EACCES);
}

static int bound_socket(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void a_probe_tells_who_listens(void **state)
{
    (void)state;
    const char *endpoint = endpoint_of("pmapd.sock");
    uid_t uid = 4711, folder_uid = 4712;
    assert_int_equal(endpoint_probe("tcp://x", 0, &uid, &folder_uid), -EPROTONOSUPPORT);
    assert_int_equal(endpoint_probe(endpoint, 0, &uid, &folder_uid), -ENOENT);
    int fd = bound_socket(path_of("pmapd.sock"), SOCK_STREAM);
    assert_int_equal(endpoint_probe(endpoint, 0, &uid, &folder_uid), -ECONNREFUSED); /* bound only */
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(uid, 4711);
    assert_int_equal(folder_uid, 4712);
    assert_int_equal(endpoint_probe(endpoint, 0, NULL, NULL), 0);
    assert_int_equal(endpoint_probe(endpoint, 1000, &uid, &folder_uid), 0);
    assert_int_equal(uid, geteuid());
    assert_int_equal(folder_uid, geteuid());
    /* It has closed again. */
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    char byte;
    assert_true(peer >= 0);
    assert_int_equal(read(peer, &byte, 1), 0);
    close(peer);
    close(fd);
    /* What a daemon that died leaves behind. */
    assert_int_equal(endpoint_probe(endpoint, 1000, NULL, NULL), -ECONNREFUSED);
    fd = bound_socket(path_of("datagrams"), SOCK_DGRAM);
    assert_int_equal(endpoint_probe(endpoint_of("datagrams"), 1000, NULL, NULL), -EPROTOTYPE);
    close(fd);
}

static void a_probe_tells_the_kernels_uids(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(root, 0711), 0);
    assert_int_equal(mkdir(path_of("theirs"), 0711), 0);
    assert_int_equal(chown(path_of("theirs"), NOBODY, NOBODY), 0);
    int fd = bound_socket(path_of("theirs/sock"), SOCK_STREAM);
    /* The uid that counts is the one that called listen(2). */
    assert_int_equal(seteuid(NOBODY), 0);
    int rc = listen(fd, 8);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(rc, 0);
    uid_t uid = 4711, folder_uid = 4712;
    assert_int_equal(endpoint_probe(endpoint_of("theirs/sock"), 1000, &uid, &folder_uid), 0);
    assert_int_equal(uid, NOBODY);
    assert_int_equal(folder_uid, NOBODY);
    close(fd);

    fd = bound_socket(path_of("root.sock"), SOCK_STREAM);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(chmod(path_of("root.sock"), 0600), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    rc = endpoint_probe(endpoint_of("root.sock"), 1000, &uid, &folder_uid);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(rc, -EACCES);
    assert_int_equal(uid, NOBODY);
    close(fd);
}

/* Connects until the backlog is full; how many connections that took. */
static size_t fill_backlog(const char *path, int connections[CONNECTIONS_MAX])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    for (size_t count = 0; count < CONNECTIONS_MAX; count++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
            assert_int_equal(errno, EAGAIN);
            close(fd);
            return count;
        }
        connections[count] = fd;
    }
    fail_msg("the backlog has no end");
    return 0;
}

struct prober {
    const char *endpoint;
    uid_t uid;
    int rc;
};

static void *probe_patiently(void *argument)
{
    struct prober *prober = argument;
    prober->rc = endpoint_probe(prober->endpoint, 60000, &prober->uid, NULL);
    return NULL;
}

static void a_full_backlog_is_waited_for(void **state)
{
    (void)state;
    const char *endpoint = endpoint_of("full.sock");
    int fd = bound_socket(path_of("full.sock"), SOCK_STREAM), connections[CONNECTIONS_MAX];
    assert_int_equal(listen(fd, 1), 0);
    size_t count = fill_backlog(path_of("full.sock"), connections);
    assert_true(count > 0);

    uid_t uid = 4711;
    assert_int_equal(endpoint_probe(endpoint, 0, &uid, NULL), -ETIMEDOUT);
    assert_int_equal(endpoint_probe(endpoint, -1, &uid, NULL), -ETIMEDOUT);
    int64_t before_ns = now_ns();
    assert_int_equal(endpoint_probe(endpoint, 30, &uid, NULL), -ETIMEDOUT);
    assert_true(now_ns() - before_ns >= 30000000);
    assert_int_equal(uid, 4711);

    struct prober prober = {.endpoint = endpoint, .uid = 4711};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, probe_patiently, &prober), 0);
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(prober.rc, 0);
    assert_int_equal(prober.uid, geteuid());
    close(peer);
    while (count > 0)
        close(connections[--count]);
    close(fd);
}

/* What a listener does with the one connection that it accepts: drops it, or says a word. */
struct greeter {
    int fd;
    bool drops;
};

static void *greet(void *argument)
{
    const struct greeter *greeter = argument;
    int fd = accept(greeter->fd, NULL, NULL);
    if (!greeter->drops && send(fd, "x", 1, MSG_NOSIGNAL) == 1)
        (void)recv(fd, &(char){0}, 1, 0); /* until it has gone */
    close(fd);
    return NULL;
}

static void a_dropped_connection_is_noticed(void **state)
{
    (void)state;
    const int long_ms = 30000;
    assert_false(endpoint_drops(endpoint_of("s"), long_ms)); /* nobody */
    int fd = bound_socket(path_of("s"), SOCK_STREAM);
    assert_int_equal(listen(fd, 8), 0);
    assert_false(endpoint_drops(endpoint_of("s"), 0)); /* somebody who takes his time */
    int first = accept(fd, NULL, NULL);
    for (int drops = 0; drops < 2; drops++) {
        struct greeter greeter = {fd, drops};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, greet, &greeter), 0);
        assert_int_equal(endpoint_drops(endpoint_of("s"), long_ms), drops);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    close(first);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_absolute_ipc_paths_are_endpoints),
        cmocka_unit_test(the_private_one_is_where_the_session_is),
        cmocka_unit_test_setup_teardown(a_folder_is_made_for_its_owner_alone, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_folder_of_the_wrong_kind_is_refused, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_folder_that_is_open_is_refused, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_folder_of_another_is_refused, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_probe_tells_who_listens, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_probe_tells_the_kernels_uids, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_full_backlog_is_waited_for, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_dropped_connection_is_noticed, make_root, remove_root),
    };
    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
