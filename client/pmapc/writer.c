/*
 * Output through one large buffer; see writer.h.
 */
#include "client/pmapc/writer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { CAPACITY_DEFAULT = 256 << 10 };

int writer_init(struct writer *w, int fd, size_t capacity)
{
    *w = (struct writer){.fd = fd, .capacity = capacity ? capacity : CAPACITY_DEFAULT};
    w->buffer = malloc(w->capacity);
    return w->buffer ? 0 : -ENOMEM;
}

void writer_free(struct writer *w)
{
    free(w->buffer);
    w->buffer = NULL;
    w->len = w->capacity = 0;
}

static int write_all(struct writer *w, const char *data, size_t len)
{
    if (w->before && len > 0 && w->error == 0)
        w->before(data, len);
    while (len > 0 && w->error == 0) {
        ssize_t n = write(w->fd, data, len);
        int error = errno;
        if (n >= 0) {
            data += n;
            len -= (size_t)n;
            if (len == 0)
                break;
            error = EINTR; /* a signal makes a write that has got somewhere return short */
        }
        if (error == EAGAIN || error == EWOULDBLOCK) {
            struct pollfd fd = {.fd = w->fd, .events = POLLOUT};
            error = w->wait ? -w->wait(w->cookie, w->fd) : poll(&fd, 1, -1) < 0 ? errno : 0;
        }
        if (error == EINTR)
            w->error = w->stop && w->stop(w->cookie) ? -EINTR : 0;
        else
            w->error = -error;
    }
    return w->error;
}

int writer_flush(struct writer *w)
{
    size_t len = w->len;
    w->len = 0;
    return write_all(w, w->buffer, len);
}

int writer_put_large(struct writer *w, const void *data, size_t len)
{
    int rc = writer_flush(w);
    if (rc < 0)
        return rc;
    if (len >= w->capacity)
        return write_all(w, data, len);
    return writer_put(w, data, len);
}
