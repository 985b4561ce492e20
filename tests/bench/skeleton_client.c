/* The skeleton's client, which measures; see skeleton.h. */
#include "tests/bench/skeleton.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

/* What is in front of every message: an answer that is not one of ours is noticed. */
struct stamp {
    uint64_t number;
    uint64_t check; /* ~number */
};

static int send_stamped(void *socket, uint8_t *buffer, size_t bytes, uint64_t number)
{
    struct stamp stamp = {.number = number, .check = ~number};
    memcpy(buffer, &stamp, sizeof stamp);
    return zmq_send(socket, buffer, bytes, 0) < 0 ? failed("send") : 0;
}

/* Takes one answer. Returns 0 with its number, -EAGAIN with ZMQ_DONTWAIT in flags and none there, or an
 * error. */
static int recv_stamped(void *socket, uint8_t *buffer, size_t bytes, int flags, uint64_t *number)
{
    int got = zmq_recv(socket, buffer, bytes, flags);
    if (got < 0) {
        return errno == EAGAIN ? -EAGAIN : failed("recv");
    }
    struct stamp stamp;
    memcpy(&stamp, buffer, sizeof stamp);
    if ((size_t)got != bytes || stamp.check != ~stamp.number) {
        fputs("skeleton: an answer is not what was sent\n", stderr);
        return -EBADMSG;
    }
    *number = stamp.number;
    return 0;
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Round trips, one message in flight; the first tenth (and at least ten) is not counted. */
int run_latency(void *socket, const struct mode *mode, const struct options *options)
{
    int64_t warm_up = options->count / 10 > 10 ? options->count / 10 : 10;
    int64_t *times = calloc((size_t)options->count, sizeof *times);
    uint8_t *buffer = calloc(1, mode->bytes);
    int rc = times && buffer ? 0 : -ENOMEM;
    for (int64_t i = 0; rc == 0 && i < warm_up + options->count; i++) {
        uint64_t number = 0;
        int64_t start = now_ns();
        if ((rc = send_stamped(socket, buffer, mode->bytes, (uint64_t)i)) == 0 &&
            (rc = recv_stamped(socket, buffer, mode->bytes, 0, &number)) == 0) {
            if (number != (uint64_t)i) {
                rc = -EBADMSG;
            } else if (i >= warm_up) {
                times[i - warm_up] = now_ns() - start;
            }
        }
    }
    if (rc == 0) {
        qsort(times, (size_t)options->count, sizeof *times, compare_ns);
        int64_t median_ns = times[options->count / 2];
        int64_t p99_ns = times[options->count * 99 / 100];
        printf("{\"mode\": \"%s\", \"rounds\": %" PRId64
               ", \"workers\": %d, \"median_us\": %.2f, \"p99_us\": %.2f}\n",
               mode->name, options->count, options->workers, (double)median_ns / 1e3, (double)p99_ns / 1e3);
    }
    free(times);
    free(buffer);
    return rc;
}

/* Messages pipelined: the window is filled up again whenever all that has come is taken. */
int run_rate(void *socket, const struct mode *mode, const struct options *options)
{
    uint8_t *buffer = calloc(1, mode->bytes);
    if (!buffer) {
        return -ENOMEM;
    }
    int64_t sent = 0;
    int64_t taken = 0;
    uint64_t sum = 0;
    int rc = 0;
    int64_t start = now_ns();
    while (rc == 0 && taken < options->count) {
        while (rc == 0 && sent < options->count && sent - taken < options->window) {
            rc = send_stamped(socket, buffer, mode->bytes, (uint64_t)sent++);
        }
        for (int flags = 0; rc == 0 && taken < sent; flags = ZMQ_DONTWAIT) {
            uint64_t number = 0;
            if ((rc = recv_stamped(socket, buffer, mode->bytes, flags, &number)) == 0) {
                sum += number;
                taken++;
            }
        }
        rc = rc == -EAGAIN ? 0 : rc;
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    free(buffer);
    if (rc < 0) {
        return rc;
    }
    uint64_t count = (uint64_t)options->count;
    if (sum != count * (count - 1) / 2) {
        fputs("skeleton: an answer came twice\n", stderr);
        return -EBADMSG;
    }
    printf("{\"mode\": \"%s\", \"messages\": %" PRIu64
           ", \"workers\": %d, \"per_s\": %.0f, \"mb_per_s\": %.1f}\n",
           mode->name, count, options->workers, (double)count / seconds,
           (double)count * (double)mode->bytes / seconds / 1e6);
    return 0;
}

int client_main(const char *endpoint, int ready_fd, const struct mode *mode, const struct options *options)
{
    char byte;
    if (read(ready_fd, &byte, 1) != 1) {
        return -EIO;
    }
    void *context = zmq_ctx_new();
    void *socket = context ? open_socket(context, ZMQ_DEALER) : NULL;
    if (!socket || zmq_connect(socket, endpoint) < 0) {
        return failed("connect");
    }
    int rc = mode->run(socket, mode, options);
    if (rc == 0) {
        int linger_ms = 5000; /* the last message must arrive */
        zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        rc = zmq_send(socket, "", 0, 0) < 0 ? failed("send") : 0;
        zmq_close(socket);
        zmq_ctx_term(context);
    }
    return rc;
}
