/*
 * Messages to a service manager that reads late, or not at all. The test is the manager.
 */
#include "daemon/notify.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 20000 }; /* messages that no socket has room for */

static int manager = -1;
static struct sockaddr_un address;
static char said[2 * NOTIFY_TEXT_MAX];

static void listen_at(const char *name, size_t length)
{
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, length);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(manager >= 0);
    assert_int_equal(bind(manager, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
                     0);
}

static int setup(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "/tmp/test_notify.%d", (int)getpid());
    unlink(path);
    listen_at(path, strlen(path) + 1);
    alarm(20); /* whoever waits for us waits for ever */
    return setenv("NOTIFY_SOCKET", path, 1);
}

static int teardown(void **state)
{
    (void)state;
    close(manager);
    unsetenv("NOTIFY_SOCKET");
    assert_true(notify_flush()); /* to nobody */
    if (address.sun_path[0] != '\0')
        unlink(address.sun_path);
    return 0;
}

/* The next message; NULL: there is none. */
static const char *hear(void)
{
    ssize_t n = recv(manager, said, sizeof said - 1, 0);
    if (n < 0) {
        assert_int_equal(errno, EAGAIN);
        return NULL;
    }
    said[n] = '\0';
    return said;
}

/* Others' messages, as many as there is room for. Returns how many. */
static int fill(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), count = 0;
    assert_true(fd >= 0);
    while (count < MOST &&
           sendto(fd, "other", 5, MSG_DONTWAIT, (const struct sockaddr *)&address, sizeof address) == 5)
        count++;
    assert_int_equal(errno, EAGAIN);
    close(fd);
    assert_in_range(count, 1, MOST - 1);
    return count;
}

static void read_others(int count)
{
    while (count-- > 0)
        assert_string_equal(hear(), "other");
}

static void test_told(void **state)
{
    (void)state;
    notify_send("READY=1\nSTATUS=slots: 2");
    assert_string_equal(hear(), "READY=1\nSTATUS=slots: 2");
    assert_true(notify_flush());
    assert_null(hear());
    /* What is too long is cut. */
    char text[NOTIFY_TEXT_MAX + 10];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    notify_send(text);
    assert_int_equal(strlen(hear()), NOTIFY_TEXT_MAX - 1);
}

static void test_full(void **state)
{
    (void)state;
    int others = fill();
    notify_send("RELOADING=1");
    notify_send("READY=1");
    notify_send("WATCHDOG=1");
    notify_send("WATCHDOG=1");
    assert_false(notify_flush());
    assert_false(notify_flush());
    read_others(others);
    assert_null(hear());
    /* Each once, in order, before what is said then. */
    notify_send("STOPPING=1");
    assert_string_equal(hear(), "RELOADING=1");
    assert_string_equal(hear(), "READY=1");
    assert_string_equal(hear(), "WATCHDOG=1");
    assert_string_equal(hear(), "STOPPING=1");
    assert_null(hear());
    assert_true(notify_flush());
}

/* Of too many the last ones are kept. */
static void test_too_many(void **state)
{
    (void)state;
    char text[32];
    int others = fill();
    for (int i = 0; i < NOTIFY_KEPT_MAX + 5; i++) {
        snprintf(text, sizeof text, "STATUS=%d", i);
        notify_send(text);
    }
    read_others(others);
    for (int i = 5; i < NOTIFY_KEPT_MAX + 5;) {
        bool all = notify_flush();
        const char *next = hear();
        assert_true(next || !all);
        for (; next; next = hear(), i++) {
            snprintf(text, sizeof text, "STATUS=%d", i);
            assert_string_equal(next, text);
        }
    }
    assert_true(notify_flush());
}

static void test_nobody(void **state)
{
    (void)state;
    /* Nobody is there: that is no reason to try again. */
    close(manager);
    notify_send("READY=1");
    assert_true(notify_flush());
    unlink(address.sun_path);
    notify_send("READY=1");
    assert_true(notify_flush());
    static const char *const nowhere[] = {"", "/", "@", "relative", "vsock:2:1"};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        setenv("NOTIFY_SOCKET", nowhere[i], 1);
        notify_send("READY=1");
        assert_true(notify_flush());
    }
    /* A name that no file has. */
    char name[64];
    snprintf(name, sizeof name, "@test_notify.%d", (int)getpid());
    setenv("NOTIFY_SOCKET", name, 1);
    size_t length = strlen(name);
    name[0] = '\0';
    listen_at(name, length);
    notify_send("READY=1");
    assert_string_equal(hear(), "READY=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
