/* Results that wait; see outbox.h. */
#include "daemon/worker/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    MEMORY_MAX = 64 << 10, /* of an outbox, before it has a file */
    GIVE_BACK = 4 << 20,   /* what was read of a file goes back to the disk in such portions */
};

/* What stands before the frames of a parcel: lengths, times, bytes, notes, texts. */
struct entry {
    uint32_t records, note_count, more, unused;
    uint64_t size, texts_size;
};

static size_t frames_size(const struct entry *e)
{
    return 12 * (size_t)e->records + e->size + NOTE_SIZE * (size_t)e->note_count + e->texts_size;
}

static struct entry entry_of(const struct parcel *p)
{
    return (struct entry){.records = p->records,
                          .note_count = p->note_count,
                          .more = p->more,
                          .size = p->size,
                          .texts_size = p->texts_size};
}

static void parcel_of(const struct entry *e, const uint8_t *frames, struct parcel *p)
{
    *p = (struct parcel){.records = e->records,
                         .note_count = e->note_count,
                         .more = e->more != 0,
                         .size = e->size,
                         .texts_size = e->texts_size};
    p->lengths = frames;
    p->times = p->lengths + 4 * (size_t)e->records;
    p->bytes = p->times + 8 * (size_t)e->records;
    p->notes = p->bytes + e->size;
    p->texts = p->notes + NOTE_SIZE * (size_t)e->note_count;
}

enum { PARTS = 6 };

static void parts_of(const struct entry *e, const struct parcel *p, struct iovec part[PARTS])
{
    part[0] = (struct iovec){(void *)e, sizeof *e};
    part[1] = (struct iovec){(void *)p->lengths, 4 * (size_t)p->records};
    part[2] = (struct iovec){(void *)p->times, 8 * (size_t)p->records};
    part[3] = (struct iovec){(void *)p->bytes, p->size};
    part[4] = (struct iovec){(void *)p->notes, NOTE_SIZE * (size_t)p->note_count};
    part[5] = (struct iovec){(void *)p->texts, p->texts_size};
}

static bool file_empty(const struct outbox *o)
{
    return o->file_at == o->file_end;
}

bool outbox_empty(const struct outbox *o)
{
    return o->head.at == o->head.end && file_empty(o) && o->tail.at == o->tail.end;
}

/*** Memory ***/

static int reserve(struct outbox_memory *m, size_t more)
{
    if (m->at > 0 && m->at == m->end)
        m->at = m->end = 0;
    if (m->room - m->end < more && m->at > 0) {
        memmove(m->data, m->data + m->at, m->end - m->at);
        m->end -= m->at;
        m->at = 0;
    }
    if (m->room - m->end >= more)
        return 0;
    size_t room = m->end + more + (m->end + more) / 2;
    uint8_t *data = realloc(m->data, room);
    if (!data)
        return -ENOMEM;
    m->data = data;
    m->room = room;
    return 0;
}

static int put_in_memory(struct outbox_memory *m, const struct parcel *p)
{
    struct entry e = entry_of(p);
    struct iovec part[PARTS];
    if (reserve(m, sizeof e + frames_size(&e)) < 0)
        return -ENOMEM;
    parts_of(&e, p, part);
    for (size_t i = 0; i < PARTS; i++) {
        if (part[i].iov_len > 0)
            memcpy(m->data + m->end, part[i].iov_base, part[i].iov_len);
        m->end += part[i].iov_len;
    }
    return 0;
}

static void free_memory(struct outbox_memory *m)
{
    free(m->data);
    *m = (struct outbox_memory){0};
}

/*** The file ***/

/* A file that has no name, or has lost it. Returns its descriptor (never 0, which is /dev/null) or a negative
 * errno. */
static int open_file(const char *folder)
{
    char path[PATH_MAX];
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT))
        return fd >= 0 ? fd : -errno;
    int n = snprintf(path, sizeof path, "%s/pmap-XXXXXX", folder);
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    fd = mkostemp(path, O_CLOEXEC); /* of mode 0600 */
    if (fd < 0)
        return -errno;
    if (unlink(path) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

/* Writes all or, as far as the next entry is concerned, nothing. */
static int write_parts(int fd, uint64_t at, struct iovec part[PARTS])
{
    size_t i = 0;
    while (i < PARTS) {
        if (part[i].iov_len == 0) {
            i++;
            continue;
        }
        ssize_t n = pwritev(fd, part + i, (int)(PARTS - i), (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        at += (size_t)n;
        for (size_t left = (size_t)n; left > 0;) {
            size_t of_this = left < part[i].iov_len ? left : part[i].iov_len;
            part[i].iov_base = (char *)part[i].iov_base + of_this;
            part[i].iov_len -= of_this;
            left -= of_this;
            if (part[i].iov_len == 0)
                i++;
        }
    }
    return 0;
}

static int put_in_file(struct outbox *o, struct spool *spool, uint64_t limit, const char *folder,
                       const struct parcel *p)
{
    struct entry e = entry_of(p);
    struct iovec part[PARTS];
    uint64_t size = sizeof e + frames_size(&e);
    if (spool->used > limit || size > limit - spool->used)
        return -EDQUOT;
    if (o->fd == 0) {
        int fd = open_file(folder);
        if (fd < 0)
            return fd;
        o->fd = fd;
    }
    parts_of(&e, p, part);
    int rc = write_parts(o->fd, o->file_end, part);
    if (rc < 0) {
        /* What was begun gives its room on the disk back; where it cannot, what follows is written over it.
         */
        int cut = ftruncate(o->fd, (off_t)o->file_end);
        (void)cut;
        return rc;
    }
    o->file_end += size;
    spool->used += size;
    return 0;
}

static int read_file(int fd, uint64_t at, void *data, size_t size)
{
    char *to = data;
    while (size > 0) {
        ssize_t n = pread(fd, to, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        to += n;
        at += (size_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static int first_in_file(struct outbox *o, struct outbox_memory *space, struct parcel *p)
{
    struct entry e;
    int rc = read_file(o->fd, o->file_at, &e, sizeof e);
    if (rc < 0)
        return rc;
    size_t size = frames_size(&e);
    space->at = space->end = 0;
    if (reserve(space, size) < 0)
        return -ENOMEM;
    rc = read_file(o->fd, o->file_at + sizeof e, space->data, size);
    if (rc < 0)
        return rc;
    parcel_of(&e, space->data, p);
    return 1;
}

static void close_file(struct outbox *o, struct spool *spool)
{
    if (o->fd > 0)
        close(o->fd);
    spool->used -= o->file_end - o->file_kept;
    o->fd = 0;
    o->file_at = o->file_end = o->file_kept = 0;
}

static void shift_file(struct outbox *o, struct spool *spool, uint64_t size)
{
    o->file_at += size;
    if (file_empty(o)) {
        close_file(o, spool);
        return;
    }
    /* Where the file system cannot do that, the disk is taken until all has been read. */
    if (o->file_at - o->file_kept >= GIVE_BACK &&
        fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)o->file_kept,
                  (off_t)(o->file_at - o->file_kept)) == 0) {
        spool->used -= o->file_at - o->file_kept;
        o->file_kept = o->file_at;
    }
}

/*** Both ***/

int outbox_put(struct outbox *o, struct spool *spool, uint64_t limit, const char *folder,
               const struct parcel *p)
{
    struct entry e = entry_of(p);
    if (o->tail.at < o->tail.end)
        return -ENOSPC; /* the file has failed, and nothing may overtake what was put behind it */
    if (file_empty(o) && o->head.end - o->head.at + sizeof e + frames_size(&e) <= MEMORY_MAX)
        return put_in_memory(&o->head, p);
    return put_in_file(o, spool, limit, folder, p);
}

int outbox_put_small(struct outbox *o, const struct parcel *p)
{
    bool behind_file = !file_empty(o) || o->tail.at < o->tail.end;
    return put_in_memory(behind_file ? &o->tail : &o->head, p);
}

static int first_in_memory(const struct outbox_memory *m, struct parcel *p)
{
    struct entry e;
    memcpy(&e, m->data + m->at, sizeof e);
    parcel_of(&e, m->data + m->at + sizeof e, p);
    return 1;
}

int outbox_first(struct outbox *o, struct outbox_memory *space, struct parcel *p)
{
    if (o->head.at < o->head.end)
        return first_in_memory(&o->head, p);
    if (!file_empty(o))
        return first_in_file(o, space, p);
    return o->tail.at < o->tail.end ? first_in_memory(&o->tail, p) : 0;
}

bool outbox_is_only(const struct outbox *o, const struct parcel *p)
{
    struct entry e = entry_of(p);
    uint64_t waiting = (o->head.end - o->head.at) + (o->file_end - o->file_at) + (o->tail.end - o->tail.at);
    return waiting == sizeof e + frames_size(&e);
}

void outbox_shift(struct outbox *o, struct spool *spool, const struct parcel *p)
{
    struct entry e = entry_of(p);
    size_t size = sizeof e + frames_size(&e);
    if (o->head.at < o->head.end)
        o->head.at += size;
    else if (!file_empty(o))
        shift_file(o, spool, size);
    else
        o->tail.at += size;
    if (outbox_empty(o))
        outbox_free(o, spool);
}

void outbox_free(struct outbox *o, struct spool *spool)
{
    free_memory(&o->head);
    free_memory(&o->tail);
    close_file(o, spool);
}
