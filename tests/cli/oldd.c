/*
 * A daemon that pmapc cannot use, for the tests: oldd ENDPOINT version|silent|garbage. It serves one client
 * and exits: with 0 when that client said HELLO as PROTOCOL.md has it. version: answers WELCOME with versions
 * 7 to 9 and ERROR VERSION. silent: answers nothing, until the client leaves. garbage: answers what is no
 * message.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* PROTOCOL.md: [2, "pmap", 7, 9, "pmapd 9.0.0", 1, 2, 1 MiB, 1 GiB] */
static const char welcome[] = "\x99\x02\xa4pmap\x07\x09\xabpmapd 9.0.0\x01\x02\xce\0\x10\0\0\xce\x40\0\0\0";
/* [11, nil, 2, "no common protocol version"] */
static const char version_error[] = "\x94\x0b\xc0\x02\xba"
                                    "no common protocol version";
static const char garbage[] = "\xc1 this is no header";

static int die(const char *what)
{
    fprintf(stderr, "oldd: %s: %s\n", what, zmq_strerror(errno));
    return EXIT_FAILURE;
}

/* Sends a message of one frame to the peer of that routing id. */
static int answer(void *socket, const void *id, size_t id_size, const char *header, size_t size)
{
    return zmq_send(socket, id, id_size, ZMQ_SNDMORE) < 0 || zmq_send(socket, header, size, 0) < 0 ? -1 : 0;
}

/* Takes an event of the monitor: a DISCONNECTED one's descriptor, or -1 for others. Returns 0, or -1 at the
 * time-out. */
static int next_event(void *monitor, int flags, int *fd)
{
    unsigned char event[64];
    int size = zmq_recv(monitor, event, sizeof event, flags);
    if (size < 0)
        return -1;
    int more = 0;
    size_t more_size = sizeof more;
    zmq_getsockopt(monitor, ZMQ_RCVMORE, &more, &more_size);
    uint16_t number = 0;
    int32_t value = -1;
    *fd = -1;
    /* Two frames: number and value, then the endpoint. */
    if (more && (size_t)size == sizeof number + sizeof value) {
        memcpy(&number, event, sizeof number);
        memcpy(&value, event + sizeof number, sizeof value);
        if (number == ZMQ_EVENT_DISCONNECTED)
            *fd = value;
    }
    return 0;
}

/* Waits until the peer of that descriptor is gone, or for 20 s. Returns 0 or -1. */
static int await_departure(void *monitor, int peer_fd)
{
    int timeout_ms = 20000, fd = -1;
    zmq_setsockopt(monitor, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    while (fd != peer_fd) {
        if (next_event(monitor, 0, &fd) < 0)
            return -1;
    }
    return 0;
}

static int serve(void *socket, void *monitor, const char *how)
{
    char id[256];
    zmq_msg_t hello;
    zmq_msg_init(&hello);
    int id_size = zmq_recv(socket, id, sizeof id, 0);
    if (id_size < 0 || zmq_msg_recv(&hello, socket, 0) < 0)
        return die("no client came");
    bool good = !zmq_msg_more(&hello) && zmq_msg_size(&hello) > 8 &&
                memcmp(zmq_msg_data(&hello), "\x95\x01\xa4pmap", 7) == 0;
    int peer_fd = zmq_msg_get(&hello, ZMQ_SRCFD), rc = 0, old_fd;
    zmq_msg_close(&hello);
    if (!good) {
        fprintf(stderr, "oldd: that was no HELLO\n");
        return EXIT_FAILURE;
    }
    /* Whoever only looked whether somebody listens may have had the same descriptor before. */
    while (next_event(monitor, ZMQ_DONTWAIT, &old_fd) == 0)
        ;
    if (strcmp(how, "version") == 0) {
        rc = answer(socket, id, (size_t)id_size, welcome, sizeof welcome - 1);
        if (rc == 0)
            rc = answer(socket, id, (size_t)id_size, version_error, sizeof version_error - 1);
    } else if (strcmp(how, "garbage") == 0) {
        rc = answer(socket, id, (size_t)id_size, garbage, sizeof garbage - 1);
    }
    if (rc < 0)
        return die("cannot answer");
    return await_departure(monitor, peer_fd) < 0 ? die("the client does not leave") : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: oldd ENDPOINT version|silent|garbage\n");
        return 2;
    }
    int status = EXIT_FAILURE, timeout_ms = 20000, linger_ms = 1000;
    void *context = zmq_ctx_new();
    void *socket = context ? zmq_socket(context, ZMQ_ROUTER) : NULL;
    void *monitor = socket ? zmq_socket(context, ZMQ_PAIR) : NULL;
    if (!monitor) {
        status = die("no socket");
    } else {
        zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
        zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        if (zmq_socket_monitor(socket, "inproc://monitor", ZMQ_EVENT_DISCONNECTED) < 0 ||
            zmq_connect(monitor, "inproc://monitor") < 0 || zmq_bind(socket, argv[1]) < 0)
            status = die(argv[1]);
        else
            status = serve(socket, monitor, argv[2]);
        zmq_socket_monitor(socket, NULL, 0);
    }
    if (monitor)
        zmq_close(monitor);
    if (socket)
        zmq_close(socket);
    if (context)
        zmq_ctx_term(context);
    return status;
}
