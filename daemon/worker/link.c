/* The worker's connection to the daemon; see link.h. */
#include "daemon/worker/link.h"

#include "common/handover.h"

#include <errno.h>
#include <string.h>

#define MONITOR "inproc://link"

enum { MAX_FRAME = PROTOCOL_CALL_MAX };

static int set_options(void *socket)
{
    const int none = 0, never = -1;
    const int64_t largest = MAX_FRAME;
    /* No marks: how much a worker is given, and may answer, is a matter of credit. */
    if (zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none) < 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none) < 0 ||
        zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none) < 0 ||
        zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &never, sizeof never) < 0 ||
        zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest) < 0)
        return -errno;
    return 0;
}

static int fd_of(void *socket, int *fd)
{
    size_t size = sizeof *fd;
    return zmq_getsockopt(socket, ZMQ_FD, fd, &size) < 0 ? -errno : 0;
}

static int open_monitor(struct link *l)
{
    const int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED |
                       ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
    if (zmq_socket_monitor(l->socket, MONITOR, events) < 0)
        return -errno;
    l->monitor = zmq_socket(l->context, ZMQ_PAIR);
    if (!l->monitor || zmq_connect(l->monitor, MONITOR) < 0)
        return -errno;
    return fd_of(l->monitor, &l->monitor_fd);
}

int link_open(struct link *l, const char *endpoint)
{
    *l = (struct link){.fd = -1, .monitor_fd = -1, .look = true};
    wire_init(&l->wire);
    for (size_t i = 0; i < PROTOCOL_FRAMES_MAX; i++)
        zmq_msg_init(&l->frame[i]);
    l->decoder = decoder_new();
    l->context = zmq_ctx_new();
    if (!l->decoder || !l->context)
        return -ENOMEM;
    zmq_ctx_set(l->context, ZMQ_BLOCKY, 0);
    l->socket = zmq_socket(l->context, ZMQ_DEALER);
    if (!l->socket)
        return -errno;
    int rc = set_options(l->socket);
    if (rc == 0)
        rc = open_monitor(l);
    if (rc == 0 && zmq_connect(l->socket, endpoint) < 0)
        rc = -errno;
    return rc == 0 ? fd_of(l->socket, &l->fd) : rc;
}

void link_close(struct link *l)
{
    for (size_t i = 0; i < PROTOCOL_FRAMES_MAX; i++)
        zmq_msg_close(&l->frame[i]);
    if (l->monitor) {
        zmq_socket_monitor(l->socket, NULL, 0);
        zmq_close(l->monitor);
    }
    if (l->socket)
        zmq_close(l->socket);
    while (l->context && zmq_ctx_term(l->context) < 0 && errno == EINTR)
        ;
    decoder_free(l->decoder);
    wire_free(&l->wire);
}

/*** In ***/

int link_receive(struct link *l, struct message *m)
{
    const char *why;
    zmq_msg_t *frame;
    l->count = 0;
    do {
        frame = &l->frame[l->count < PROTOCOL_FRAMES_MAX ? l->count : PROTOCOL_FRAMES_MAX - 1];
        while (zmq_msg_recv(frame, l->socket, ZMQ_DONTWAIT) < 0) {
            if (errno != EINTR) {
                l->look = false;
                return errno == EAGAIN ? 0 : -errno;
            }
        }
        handover_take(zmq_msg_data(frame));
        l->count++;
    } while (zmq_msg_more(frame));
    int rc = message_decode(l->decoder, zmq_msg_data(&l->frame[0]), zmq_msg_size(&l->frame[0]), l->count,
                            TO_WORKER, m, &why);
    return rc < 0 ? rc : 1;
}

int link_watch(struct link *l)
{
    for (;;) {
        zmq_msg_t event, address;
        uint16_t type = 0;
        zmq_msg_init(&event);
        int rc = zmq_msg_recv(&event, l->monitor, ZMQ_DONTWAIT);
        if (rc < 0) {
            zmq_msg_close(&event);
            if (errno == EINTR)
                continue;
            return errno == EAGAIN ? 0 : -errno;
        }
        if (rc >= (int)sizeof type)
            memcpy(&type, zmq_msg_data(&event), sizeof type);
        bool more = zmq_msg_more(&event);
        zmq_msg_close(&event);
        zmq_msg_init(&address);
        if (more)
            (void)zmq_msg_recv(&address, l->monitor, 0);
        zmq_msg_close(&address);
        if (type != ZMQ_EVENT_CONNECTED)
            return -ENOTCONN;
        l->connected = true;
    }
}

/*** Out ***/

static int send_frame(struct link *l, const void *data, size_t size, bool more)
{
    /* Nothing can be full here, so EAGAIN means that there is nobody at the other end. */
    while (zmq_send(l->socket, data, size, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0) {
        if (errno != EINTR)
            return errno == EAGAIN ? -ENOTCONN : -errno;
    }
    return 0;
}

static int send_header(struct link *l, const struct message *m, bool more)
{
    int rc = message_encode(m, &l->wire);
    l->look = true;
    return rc < 0 ? rc : send_frame(l, l->wire.data, l->wire.size, more);
}

int link_ready(struct link *l, uint32_t number)
{
    const struct message m = {.type = MSG_READY, .ready = {.slot = number}};
    return send_header(l, &m, false);
}

int link_worked(struct link *l, uint64_t chunk, const struct parcel *p, bool last, int64_t run_ns,
                int64_t cpu_ns)
{
    const struct message m = {
        .type = MSG_WORKED,
        .worked = {.chunk = chunk, .more = p && p->more, .last = last, .run_ns = run_ns, .cpu_ns = cpu_ns}};
    int rc = send_header(l, &m, p != NULL);
    if (rc < 0 || !p)
        return rc;
    bool notes = p->note_count > 0;
    if ((rc = send_frame(l, p->lengths, 4 * (size_t)p->records, true)) < 0 ||
        (rc = send_frame(l, p->bytes, p->size, true)) < 0 ||
        (rc = send_frame(l, p->times, 8 * (size_t)p->records, notes)) < 0 || !notes)
        return rc;
    rc = send_frame(l, p->notes, NOTE_SIZE * (size_t)p->note_count, true);
    return rc < 0 ? rc : send_frame(l, p->texts, p->texts_size, false);
}

int link_parked(struct link *l, uint64_t chunk, uint32_t count, int64_t run_ns, int64_t cpu_ns)
{
    const struct message m = {.type = MSG_PARKED,
                              .parked = {.chunk = chunk, .count = count, .run_ns = run_ns, .cpu_ns = cpu_ns}};
    return send_header(l, &m, false);
}

int link_returned(struct link *l, uint64_t chunk, uint64_t tokens)
{
    const struct message m = {.type = MSG_RETURNED, .returned = {.chunk = chunk, .tokens = tokens}};
    return send_header(l, &m, false);
}

int link_failed(struct link *l, uint64_t job, const char *text)
{
    const struct message m = {.type = MSG_FAILED, .failed = {.job = job, .text = text_of(text)}};
    return send_header(l, &m, false);
}
