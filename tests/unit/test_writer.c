/*
 * The writer brings every byte out, in order, whatever the sizes of what is put, also through a descriptor
 * that does not block; it stops at the first error and keeps to it; and a signal ends a wait for a reader
 * that has stalled.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/pmapc/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TOTAL = 1 << 21 };

static char pattern(size_t i)
{
    return (char)(i * 2654435761U >> 13);
}

struct sink {
    int fd;
    size_t len;
    bool right;
};

/* Reads to the end, a little more slowly than the writer writes, and compares. */
static void *read_all(void *cookie)
{
    struct sink *sink = cookie;
    char buffer[1999];
    ssize_t n;
    while ((n = read(sink->fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            sink->right = sink->right && buffer[i] == pattern(sink->len++);
    }
    sink->right = sink->right && n == 0;
    return NULL;
}

/* Puts TOTAL bytes in pieces of 0 to `most`, one in seven of them by writer_put_byte, into a pipe with these
 * flags. */
static void check_pieces(size_t capacity, size_t most, int flags)
{
    int fds[2];
    pthread_t thread;
    struct writer w;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, flags), 0);
    struct sink sink = {.fd = fds[0], .right = true};
    assert_int_equal(pthread_create(&thread, NULL, read_all, &sink), 0);
    assert_int_equal(writer_init(&w, fds[1], capacity), 0);
    char *data = malloc(TOTAL);
    assert_non_null(data);
    for (size_t i = 0; i < TOTAL; i++)
        data[i] = pattern(i);
    uint64_t seed = capacity + most;
    for (size_t at = 0; at < TOTAL;) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        size_t len = (seed >> 33) % (most + 1);
        if (len > TOTAL - at)
            len = TOTAL - at;
        if (seed >> 60 == 7) {
            assert_int_equal(writer_put_byte(&w, data[at]), 0);
            len = 1;
        } else {
            assert_int_equal(writer_put(&w, data + at, len), 0);
        }
        at += len;
        if (seed >> 59 == 9)
            assert_int_equal(writer_flush(&w), 0);
        assert_true(w.len <= w.capacity);
    }
    assert_int_equal(writer_flush(&w), 0);
    assert_int_equal(writer_flush(&w), 0);
    close(fds[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(sink.len, TOTAL);
    assert_true(sink.right);
    close(fds[0]);
    writer_free(&w);
    free(data);
}

static void test_pieces(void **state)
{
    (void)state;
    check_pieces(0, 100, 0);
    check_pieces(64, 200, 0);
    check_pieces(1, 3000, 0);
    check_pieces(4096, 300000, 0);
}

static void test_pieces_without_blocking(void **state)
{
    (void)state;
    check_pieces(0, 100, O_NONBLOCK);
    check_pieces(1000, 300000, O_NONBLOCK);
}

static void test_errors_stay(void **state)
{
    (void)state;
    struct writer w;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(writer_init(&w, fd, 8), 0);
    assert_int_equal(writer_put(&w, "1234", 4), 0);
    assert_int_equal(writer_put(&w, "56789", 5), -ENOSPC);
    assert_int_equal(writer_flush(&w), -ENOSPC);
    assert_int_equal(writer_put(&w, "a longer text", 13), -ENOSPC);
    assert_int_equal(w.error, -ENOSPC);
    writer_free(&w);
    close(fd);

    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(writer_init(&w, fds[1], 8), 0);
    assert_int_equal(writer_put_byte(&w, 'x'), 0);
    assert_int_equal(writer_flush(&w), -EPIPE);
    writer_free(&w);
    close(fds[1]);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

/* Gives up at the third signal, so that the first two have to be waited through. */
static bool stop_at_three(void *cookie)
{
    (void)cookie;
    return alarms >= 3;
}

/* Nobody reads. The write has got somewhere (a pipe's room) when the first signal comes, and nowhere after
 * that. */
static void check_stop(int flags)
{
    int fds[2];
    struct writer w;
    struct sigaction action = {.sa_handler = on_alarm}, before;
    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, flags), 0);
    assert_int_equal(writer_init(&w, fds[1], 16), 0);
    w.stop = stop_at_three;
    char *data = calloc(1, TOTAL);
    assert_non_null(data);
    alarms = 0;
    /* It repeats, since a signal between two waits would be lost. */
    struct itimerspec every = {.it_value.tv_nsec = 5000000, .it_interval.tv_nsec = 5000000}, never = {0};
    timer_t timer;
    assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &every, NULL), 0);
    assert_int_equal(writer_put(&w, data, TOTAL), -EINTR);
    assert_true(alarms >= 3);
    assert_int_equal(timer_settime(timer, 0, &never, NULL), 0);
    timer_delete(timer);
    sigaction(SIGALRM, &before, NULL);
    writer_free(&w);
    free(data);
    close(fds[0]);
    close(fds[1]);
}

static void test_signal_ends_wait(void **state)
{
    (void)state;
    check_stop(0);
    check_stop(O_NONBLOCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_pieces_without_blocking),
        cmocka_unit_test(test_errors_stay),
        cmocka_unit_test(test_signal_ends_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
