/*
 * Output through one large buffer: results are gathered and written with write(2), since stdio's locks and
 * limits cost more than the rest of the way. Nothing is kept back: the caller flushes before it waits for
 * anything. Thread-safety: none; one owner.
 */
#ifndef PMAPC_WRITER_H
#define PMAPC_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct writer {
    int fd;    /* borrowed */
    int error; /* the first error, negative; everything after it is dropped */
    char *buffer;
    size_t len, capacity;
    bool (*stop)(
        void *cookie); /* asked when a signal interrupts a wait: true gives up with -EINTR; may be NULL */
    /* How it waits where the descriptor does not block and is full; NULL: by poll(2) and for nothing else.
     * Returns 0 to try again, or a negative errno. */
    int (*wait)(void *cookie, int fd);
    void *cookie;
    void (*before)(const char *data, size_t len); /* called with what is about to be written; may be NULL */
};

/* capacity: of the buffer; 0: the default, 256 KiB. Returns 0 or -ENOMEM. */
int writer_init(struct writer *w, int fd, size_t capacity);

/* Frees the buffer with what is in it. */
void writer_free(struct writer *w);

/*
 * Writes out what has been gathered; waits where a descriptor that does not block is full.
 * Returns 0, or the writer's error: -EINTR (stop said so), or what write(2) said (-EPIPE, -ENOSPC, -EBADF …).
 */
int writer_flush(struct writer *w);

/* The slow half of writer_put. Not called directly. */
int writer_put_large(struct writer *w, const void *data, size_t len);

/* Adds bytes. Returns as writer_flush. */
static inline int writer_put(struct writer *w, const void *data, size_t len)
{
    if (len > w->capacity - w->len)
        return writer_put_large(w, data, len);
    if (len > 0)
        memcpy(w->buffer + w->len, data, len);
    w->len += len;
    return 0;
}

/* Adds one byte. Returns as writer_flush. */
static inline int writer_put_byte(struct writer *w, char byte)
{
    if (w->len == w->capacity)
        return writer_put_large(w, &byte, 1);
    w->buffer[w->len++] = byte;
    return 0;
}

#endif
