/* Multipart messages in and out, and batches over received parts. */
#include "daemon/frames.h"

#include "common/handover.h"

#include <errno.h>
#include <stdlib.h>

void frames_init(struct frames *f)
{
    zmq_msg_init(&f->id);
    for (size_t i = 0; i < PROTOCOL_FRAMES_MAX; i++)
        zmq_msg_init(&f->part[i]);
    f->count = 0;
}

void frames_close(struct frames *f)
{
    zmq_msg_close(&f->id);
    for (size_t i = 0; i < PROTOCOL_FRAMES_MAX; i++)
        zmq_msg_close(&f->part[i]);
    frames_init(f);
}

static int receive_part(void *socket, zmq_msg_t *part)
{
    while (zmq_msg_recv(part, socket, ZMQ_DONTWAIT) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    handover_take(zmq_msg_data(part));
    return 0;
}

int frames_receive(void *socket, struct frames *f)
{
    /* zmq_msg_recv lets go what the message held, so parts of the last message need no closing. */
    int rc = receive_part(socket, &f->id);
    f->count = 0;
    if (rc < 0)
        return rc;
    zmq_msg_t excess;
    zmq_msg_init(&excess);
    zmq_msg_t *last = &f->id;
    while (zmq_msg_more(last)) {
        last = f->count < PROTOCOL_FRAMES_MAX ? &f->part[f->count] : &excess;
        rc = receive_part(socket, last);
        if (rc < 0)
            break; /* the parts of a message come together, so this is a broken socket */
        f->count++;
    }
    zmq_msg_close(&excess);
    return rc;
}

/* A batch that keeps received parts. */
struct kept {
    struct batch batch;
    zmq_msg_t part[PROTOCOL_FRAMES_MAX - 1];
    size_t count;
};

static void release_kept(struct batch *batch)
{
    struct kept *kept = (struct kept *)batch; /* its first member */
    for (size_t i = 0; i < kept->count; i++)
        zmq_msg_close(&kept->part[i]);
    free(kept);
}

static void release_copied(struct batch *batch)
{
    free(batch);
}

static int init_batch(struct batch *batch, const void *const *data, const size_t *size, size_t count,
                      bool results, bool more, void (*release)(struct batch *))
{
    if (results)
        return results_init(batch, data, size, count, more, release);
    if (count != 2)
        return -EPROTO;
    int rc = batch_init(batch, data[0], size[0], data[1], size[1], release);
    if (rc == 0)
        batch->more = more;
    return rc == 0 && more && batch->count != 1 ? -EPROTO : rc;
}

static int copy_batch(struct frames *f, size_t from, size_t total, bool results, bool more,
                      struct batch **out)
{
    struct batch *batch = malloc(sizeof *batch + total);
    if (batch == NULL)
        return -ENOMEM;
    uint8_t *to = (uint8_t *)(batch + 1);
    const void *data[PROTOCOL_FRAMES_MAX];
    size_t size[PROTOCOL_FRAMES_MAX], count = 0;
    for (size_t i = from; i < f->count; i++, count++) {
        data[count] = to;
        size[count] = zmq_msg_size(&f->part[i]);
        memcpy(to, zmq_msg_data(&f->part[i]), size[count]);
        to += size[count];
    }
    int rc = init_batch(batch, data, size, count, results, more, release_copied);
    if (rc < 0) {
        free(batch);
        return rc;
    }
    *out = batch;
    return 0;
}

static int keep_batch(struct frames *f, size_t from, bool results, bool more, struct batch **out)
{
    struct kept *kept = malloc(sizeof *kept);
    if (kept == NULL)
        return -ENOMEM;
    kept->count = 0;
    const void *data[PROTOCOL_FRAMES_MAX];
    size_t size[PROTOCOL_FRAMES_MAX];
    for (size_t i = from; i < f->count; i++) {
        zmq_msg_t *part = &kept->part[kept->count];
        zmq_msg_init(part);
        zmq_msg_move(part, &f->part[i]);
        data[kept->count] = zmq_msg_data(part);
        size[kept->count++] = zmq_msg_size(part);
    }
    int rc = init_batch(&kept->batch, data, size, kept->count, results, more, release_kept);
    if (rc < 0) {
        release_kept(&kept->batch);
        return rc;
    }
    *out = &kept->batch;
    return 0;
}

int frames_batch(struct frames *f, size_t from, bool results, bool more, struct batch **out)
{
    if (f->count > PROTOCOL_FRAMES_MAX || from >= f->count)
        return -EPROTO;
    size_t total = 0;
    for (size_t i = from; i < f->count; i++)
        total += zmq_msg_size(&f->part[i]);
    if (total > PROTOCOL_MESSAGE_MAX)
        return -EPROTO;
    return total < FRAMES_COPY_BELOW ? copy_batch(f, from, total, results, more, out)
                                     : keep_batch(f, from, results, more, out);
}

static int send_copy(void *socket, const void *data, size_t size, int flags)
{
    while (zmq_send(socket, data, size, flags | ZMQ_DONTWAIT) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int frames_send_header(void *socket, const void *id, size_t id_size, const struct wire *header, bool more)
{
    int rc = send_copy(socket, id, id_size, ZMQ_SNDMORE);
    return rc < 0 ? rc : send_copy(socket, header->data, header->size, more ? ZMQ_SNDMORE : 0);
}

static void drop_reference(void *data, void *batch)
{
    (void)data;
    handover_take(batch);
    batch_unref(batch);
}

/* A message part: copied when small, else over the batch's own memory with a reference of it. */
static int make_part(zmq_msg_t *part, const void *data, size_t size, struct batch *batch)
{
    if (batch != NULL && size >= FRAMES_COPY_BELOW) {
        if (zmq_msg_init_data(part, (void *)data, size, drop_reference, batch_ref(batch)) == 0) {
            handover_give(batch);
            return 0;
        }
        batch_unref(batch);
    }
    if (zmq_msg_init_size(part, size) < 0)
        return -ENOMEM;
    if (size > 0)
        memcpy(zmq_msg_data(part), data, size);
    return 0;
}

static int send_part(void *socket, zmq_msg_t *part, bool more)
{
    handover_give(zmq_msg_data(part));
    while (zmq_msg_send(part, socket, (more ? ZMQ_SNDMORE : 0) | ZMQ_DONTWAIT) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int frames_send_part(void *socket, const void *data, size_t size, struct batch *batch, bool more)
{
    zmq_msg_t part;
    int rc = make_part(&part, data, size, batch);
    if (rc < 0)
        return rc;
    rc = send_part(socket, &part, more);
    if (rc < 0)
        zmq_msg_close(&part);
    return rc;
}

int frames_keep_part(struct kept_message *kept, const void *data, size_t size, struct batch *batch)
{
    int rc = make_part(&kept->part[kept->count], data, size, batch);
    if (rc == 0) {
        kept->count++;
        kept->size += size;
    }
    return rc;
}

int frames_send_kept(void *socket, const void *id, size_t id_size, struct kept_message *kept)
{
    int rc = send_copy(socket, id, id_size, ZMQ_SNDMORE);
    for (size_t i = 0; rc == 0 && i < kept->count; i++)
        rc = send_part(socket, &kept->part[i], i + 1 < kept->count);
    return rc;
}

void frames_drop_kept(struct kept_message *kept)
{
    if (kept == NULL)
        return;
    for (size_t i = 0; i < kept->count; i++)
        zmq_msg_close(&kept->part[i]);
    kept->count = 0;
}
