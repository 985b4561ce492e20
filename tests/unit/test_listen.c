/*
 * Sockets to listen at: where nobody is, where somebody has been, and where somebody is.
 */
#include "daemon/listen.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[96], endpoint[104];
static char *endpoints[] = {endpoint, NULL};
static const int none[] = {-1};

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_listen_XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/d.sock", folder);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Somebody else who has bound the path, and listens there or not. */
static int other(int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_true(backlog < 0 || listen(fd, backlog) == 0);
    return fd;
}

static int connect_there(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    int rc = connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static ino_t inode(void)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    return st.st_ino;
}

static void test_new(void **state)
{
    (void)state;
    struct listening *sockets = NULL;
    struct stat st;
    assert_int_equal(listen_open(endpoints, none, true, &sockets), 0);
    assert_int_equal(sockets[1].fd, -1);
    assert_int_equal(connect_there(), 0);
    assert_true(listen_is_served(endpoint));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    assert_true(listen_has_file(sockets));
    listen_close(sockets);
    assert_false(listen_is_served(endpoint));
    /* What is left is nobody's. */
    assert_int_equal(listen_open(endpoints, none, false, &sockets), 0);
    assert_int_equal(connect_there(), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    listen_close(sockets);
}

static void test_taken(void **state)
{
    (void)state;
    struct listening *sockets = NULL;
    int fd = other(5);
    ino_t before = inode();
    assert_int_equal(listen_open(endpoints, none, false, &sockets), -EBUSY);
    assert_null(sockets);
    assert_int_equal(inode(), before);
    close(fd);
    unlink(path);
    /* A queue that is full: who is behind it will come to it. */
    fd = other(0);
    before = inode();
    while (connect_there() == 0)
        ;
    assert_int_equal(listen_open(endpoints, none, false, &sockets), -EBUSY);
    assert_int_equal(inode(), before);
    close(fd);
}

static void test_replaced(void **state)
{
    (void)state;
    struct listening *sockets = NULL;
    char hidden[112];
    assert_int_equal(listen_open(endpoints, none, false, &sockets), 0);
    /* By another name it is ours still. */
    snprintf(hidden, sizeof hidden, "%s.leaving", path);
    assert_int_equal(rename(path, hidden), 0);
    assert_true(listen_has_file(sockets));
    assert_int_equal(rename(hidden, path), 0);
    unlink(path);
    assert_false(listen_has_file(sockets));
    int fd = other(5);
    assert_false(listen_has_file(sockets));
    assert_int_equal(connect_there(), 0);
    listen_close(sockets);
    close(fd);
}

static void test_passed(void **state)
{
    (void)state;
    struct listening *sockets = NULL;
    int fd = other(5);
    assert_int_equal(listen_open(endpoints, &fd, false, &sockets), 0);
    assert_int_equal(sockets->fd, fd);
    assert_false(listen_has_file(sockets));
    assert_int_equal(connect_there(), 0);
    listen_close(sockets);
    assert_int_equal(connect_there(), -ECONNREFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
