/* Writing items as lines; see feed.h. */
#include "daemon/worker/exec/feed.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { PORTION_LEAST = 4 << 10, PORTION_MOST = 64 << 10 };

bool feed_splits(const struct view *view, uint64_t item, uint64_t offset)
{
    uint32_t len = view->lengths[item];
    return len > 0 && memchr(view->items + offset, '\n', len);
}

static void next_item(const struct view *view, uint64_t *item, uint64_t *offset)
{
    *offset += view->lengths[*item];
    ++*item;
}

/* Passes over items that are not to be written. */
static void skip(const struct feed *f, uint64_t *item, uint64_t *offset)
{
    while (f->lines && *item < f->end && feed_splits(f->view, *item, *offset))
        next_item(f->view, item, offset);
}

/* Copies what comes next. */
static size_t collect(struct feed *f, uint8_t *buffer, size_t size)
{
    uint64_t item = f->item, offset = f->offset, within = f->within;
    size_t used = 0;
    while (item < f->end && used < size) {
        uint32_t len = f->view->lengths[item];
        if (within < len) {
            size_t n = len - within < size - used ? len - within : size - used;
            memcpy(buffer + used, f->view->items + offset + within, n);
            used += n;
        }
        if (used == size)
            break;
        buffer[used++] = '\n';
        within = 0;
        next_item(f->view, &item, &offset);
        skip(f, &item, &offset);
    }
    return used;
}

static void advance(struct feed *f, size_t n)
{
    while (n > 0) {
        uint64_t left = f->view->lengths[f->item] + UINT64_C(1) - f->within;
        if (n < left) {
            f->within += n;
            return;
        }
        n -= left;
        f->within = 0;
        next_item(f->view, &f->item, &f->offset);
        skip(f, &f->item, &f->offset);
    }
}

ssize_t feed_write(struct feed *f, int fd)
{
    static uint8_t buffer[PORTION_MOST];
    if (f->portion < PORTION_LEAST)
        f->portion = PORTION_MOST;
    if (f->within == 0)
        skip(f, &f->item, &f->offset);
    if (feed_over(f))
        return 0;
    size_t size = collect(f, buffer, f->portion);
    ssize_t n;
    do
        n = write(fd, buffer, size);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    /* A pipe that takes little is not offered much, as what it does not take is collected again. */
    f->portion = (size_t)n < PORTION_MOST / 2 ? 2 * (size_t)n : PORTION_MOST;
    advance(f, (size_t)n);
    return n;
}
