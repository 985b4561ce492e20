/*
 * Received messages; see received.h.
 */
#include "client/libpmap/received.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct received *received_new(void)
{
    return calloc(1, sizeof(struct received));
}

void received_clear(struct received *r)
{
    for (unsigned i = 0; i < r->count; i++)
        zmq_msg_close(&r->frame[i]);
    r->count = 0;
}

void received_free(struct received *r)
{
    if (!r)
        return;
    received_clear(r);
    free(r->known);
    free(r);
}

static int receive_frame(zmq_msg_t *frame, void *socket)
{
    zmq_msg_init(frame);
    while (zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) < 0)
        if (errno != EINTR) {
            int error = errno;
            zmq_msg_close(frame);
            return -error;
        }
    return 0;
}

int received_next(struct received *r, void *socket)
{
    bool more = true;
    while (more) {
        zmq_msg_t surplus, *frame = r->count < PROTOCOL_FRAMES_MAX ? &r->frame[r->count] : &surplus;
        int rc = receive_frame(frame, socket);
        if (rc < 0) {
            /* ZeroMQ delivers messages whole, so within one this is no lack of frames but an error. */
            bool within = r->count > 0;
            received_clear(r);
            return within && rc == -EAGAIN ? -EPROTO : rc;
        }
        more = zmq_msg_more(frame);
        if (frame != &surplus) {
            r->count++;
            continue;
        }
        zmq_msg_close(&surplus);
        if (!more) {
            received_clear(r);
            return -EPROTO;
        }
    }
    return 0;
}

static void release(struct batch *batch)
{
    received_free((struct received *)((char *)batch - offsetof(struct received, batch)));
}

int received_results(struct received *r, uint64_t first, bool more)
{
    const void *data[PROTOCOL_FRAMES_MAX];
    size_t size[PROTOCOL_FRAMES_MAX];
    for (unsigned i = 1; i < r->count; i++) {
        data[i - 1] = zmq_msg_data(&r->frame[i]);
        size[i - 1] = zmq_msg_size(&r->frame[i]);
    }
    int rc = results_init(&r->batch, data, size, r->count - 1, more, release);
    if (rc == 0)
        r->first = first;
    return rc;
}

struct received *received_made(uint64_t first, uint32_t count, uint16_t kind, struct text text)
{
    const size_t size[] = {0, 4, 0, 8, NOTE_SIZE, text.len}; /* of a record, by frame */
    struct received *r = received_new();
    for (unsigned i = 0; r && i < sizeof size / sizeof size[0]; i++) {
        if (zmq_msg_init_size(&r->frame[i], size[i] * count) < 0) {
            received_free(r);
            return NULL;
        }
        r->count++;
        if (size[i] > 0)
            memset(zmq_msg_data(&r->frame[i]), 0, size[i] * count);
    }
    if (!r)
        return NULL;
    uint8_t *notes = zmq_msg_data(&r->frame[4]), *texts = zmq_msg_data(&r->frame[5]);
    for (uint32_t i = 0; i < count; i++) {
        const struct note note = {.record = i, .kind = kind, .text_len = (uint32_t)text.len};
        note_store(notes + (size_t)NOTE_SIZE * i, &note);
        memcpy(texts + text.len * i, text.data, text.len);
    }
    if (received_results(r, first, false) < 0) {
        received_free(r);
        return NULL;
    }
    r->made = true;
    return r;
}
