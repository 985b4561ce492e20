/*
 * Frames: multipart ZeroMQ messages in and out of a ROUTER, and batches over what they carry. What is small
 * is copied into one allocation, so that nothing pins a receive buffer; what is large is passed on without a
 * copy. Thread-safety: the sockets' own rule, one thread; batches may be dropped in any thread.
 */
#ifndef PMAPD_FRAMES_H
#define PMAPD_FRAMES_H

#include "common/batch.h"
#include "common/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <zmq.h>

/* Parts of up to this many bytes together are copied. */
enum { FRAMES_COPY_BELOW = 8 << 10 };

/* A received message: the sender's routing id, then its parts. */
struct frames {
    zmq_msg_t id;
    zmq_msg_t part[PROTOCOL_FRAMES_MAX];
    size_t count; /* of parts; more than PROTOCOL_FRAMES_MAX were drained and thrown away */
};

/* Makes *f empty; once before its first use. */
void frames_init(struct frames *f);

/*
 * Receives the next message without waiting; what *f held is let go.
 * Returns 0, -EAGAIN (none), or another negative errno of zmq_msg_recv.
 */
int frames_receive(void *socket, struct frames *f);

/* Lets go what it holds. */
void frames_close(struct frames *f);

/*
 * A batch of the parts from `from` on: lengths and bytes (results false), or what results_init takes. What is
 * large moves out of *f. Returns 0, -EPROTO (they do not fit together) or -ENOMEM.
 */
int frames_batch(struct frames *f, size_t from, bool results, bool more, struct batch **batch);

/*
 * Sends begin: the routing id and the header; `more` parts follow.
 * Returns 0 or a negative errno: -EHOSTUNREACH (the peer is gone), -EAGAIN (its queue is full). Nothing was
 * sent then.
 */
int frames_send_header(void *socket, const void *id, size_t id_size, const struct wire *header, bool more);

/*
 * Sends one part: `size` bytes at data, which `batch` keeps; copied when small, else sent in place with a
 * reference of the batch (NULL: always copied). After the header has gone this can only fail for want of
 * memory: -ENOMEM; the message must then still be ended.
 */
int frames_send_part(void *socket, const void *data, size_t size, struct batch *batch, bool more);

/* A message that could not be sent, kept until it can. */
struct kept_message {
    STAILQ_ENTRY(kept_message) link; /* its keeper's */
    zmq_msg_t part[PROTOCOL_FRAMES_MAX];
    size_t count;
    size_t size; /* of all parts */
};

/*
 * Adds a part: as frames_send_part for data, size and batch.
 * Returns 0 or -ENOMEM.
 */
int frames_keep_part(struct kept_message *kept, const void *data, size_t size, struct batch *batch);

/*
 * Sends it, which uses it up.
 * Returns 0; or a negative errno as frames_send_header, and it is kept.
 */
int frames_send_kept(void *socket, const void *id, size_t id_size, struct kept_message *kept);

/* Lets its parts go. NULL is accepted. */
void frames_drop_kept(struct kept_message *kept);

#endif
