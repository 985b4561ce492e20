/*
 * Input as items; see reader.h.
 */
#include "client/pmapc/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROOM_DEFAULT = 256 << 10 };

void reader_init(struct reader *r, int fd, unsigned char delimiter, size_t item_max, size_t room)
{
    *r = (struct reader){
        .fd = fd, .delimiter = delimiter, .item_max = item_max, .room = room ? room : ROOM_DEFAULT};
}

void reader_init_arguments(struct reader *r, char **arguments, size_t count, size_t item_max)
{
    *r = (struct reader){
        .fd = -1, .ended = true, .item_max = item_max, .arguments = arguments, .argument_count = count};
}

void reader_free(struct reader *r)
{
    free(r->buffer);
    r->buffer = NULL;
    r->capacity = r->start = r->end = r->scanned = 0;
}

static int next_argument(struct reader *r, const char **data, size_t *len)
{
    if (r->argument_next == r->argument_count)
        return 0;
    const char *argument = r->arguments[r->argument_next];
    size_t size = strlen(argument);
    if (size > r->item_max)
        return -EMSGSIZE;
    r->argument_next++;
    *data = argument;
    *len = size;
    return 1;
}

int reader_next(struct reader *r, const char **data, size_t *len)
{
    if (r->fd < 0)
        return next_argument(r, data, len);
    if (r->start == r->end)
        return 0;
    const char *found = memchr(r->buffer + r->scanned, r->delimiter, r->end - r->scanned);
    size_t item_end = found ? (size_t)(found - r->buffer) : r->end;
    if (item_end - r->start > r->item_max)
        return -EMSGSIZE;
    if (!found && !r->ended) {
        r->scanned = r->end;
        return 0;
    }
    *data = r->buffer + r->start;
    *len = item_end - r->start;
    r->start = r->scanned = found ? item_end + 1 : item_end;
    return 1;
}

bool reader_finished(const struct reader *r)
{
    return r->ended && r->start == r->end && r->argument_next == r->argument_count;
}

static int resize(struct reader *r, size_t capacity)
{
    char *buffer = realloc(r->buffer, capacity);
    if (!buffer)
        return -ENOMEM;
    r->buffer = buffer;
    r->capacity = capacity;
    return 0;
}

/* Makes room behind r->end, for at least one byte. */
static int make_room(struct reader *r)
{
    size_t left = r->end - r->start;
    if (r->start > 0) {
        memmove(r->buffer, r->buffer + r->start, left);
        r->scanned -= r->start;
        r->start = 0;
        r->end = left;
    }
    /* What a large item needed goes back to the system when that item is through. */
    if (r->capacity > 16 * r->room && left < r->room)
        return resize(r, 2 * r->room);
    if (r->capacity == 0)
        return resize(r, r->room);
    /* The rest of a long item in small reads would cost more calls than copying it to a larger buffer does.
     */
    return left > r->capacity / 2 ? resize(r, 2 * r->capacity) : 0;
}

int reader_fill(struct reader *r)
{
    if (r->ended)
        return 0;
    int rc = make_room(r);
    if (rc < 0)
        return rc;
    ssize_t n = read(r->fd, r->buffer + r->end, r->capacity - r->end);
    if (n < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    if (n == 0) {
        r->ended = true;
        return 0;
    }
    r->end += (size_t)n;
    r->total += (uint64_t)n;
    return 1;
}
