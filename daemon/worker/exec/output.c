/* Where the results of items go; see output.h. */
#include "daemon/worker/exec/output.h"

#include "common/protocol.h"
#include "daemon/worker/exec/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long results may lie before the worker is told. */
enum { TELL_NS = 10 * NS_PER_MS };

/* A piece in the file of what is kept back: this, then its bytes. */
struct piece {
    uint32_t err; /* 1: stderr's */
    uint32_t len;
};
static uint8_t buffer[64 << 10];

void output_init(struct output *o, struct link *link, bool live)
{
    *o = (struct output){.link = link, .live = live, .kept = -1};
}

int output_open(struct output *o)
{
    o->full = o->held = false;
    o->shown = 0;
    o->told_ns = now_ns();
    return arena_open(&o->view, HOST_ARENA);
}

/* Asks the worker to take what is there. */
static void output_full(struct output *o)
{
    if (o->full)
        return;
    o->full = true;
    o->shown = o->view.item;
    o->link->resumed = false;
    arena_show(&o->view, o->view.bytes_used);
    link_send(o->link, HOST_FULL);
}

bool output_resumed(struct output *o)
{
    if (!o->full || !o->link->resumed)
        return false;
    o->full = o->link->resumed = false;
    arena_resumed(&o->view);
    return true;
}

/* Waits, with nothing else to look after, until the worker has made room. */
static int output_wait(struct output *o)
{
    output_full(o);
    while (!output_resumed(o)) {
        if (link_given_up(o->link))
            return -ECANCELED;
        link_wait(o->link, NEVER_NS);
    }
    return 0;
}

int output_begin(struct output *o, bool held, int64_t now)
{
    o->held = held;
    int rc = 0;
    if (!arena_ready(&o->view))
        rc = output_wait(o);
    arena_begin(&o->view, now);
    return rc;
}

static int kept_open(void)
{
    const char *folder = getenv("TMPDIR");
    if (!folder || !*folder)
        folder = "/tmp";
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd < 0 ? -errno : fd;
    char path[4096];
    if (snprintf(path, sizeof path, "%s/pmap-XXXXXX", folder) >= (int)sizeof path)
        return -ENAMETOOLONG;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    unlink(path);
    return fd;
}

static int keep_all(struct output *o, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = pwrite(o->kept, (const uint8_t *)data + at, len - at, o->kept_size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        o->kept_size += n;
        at += (size_t)n;
    }
    return 0;
}

static int keep(struct output *o, bool err, const void *data, size_t len)
{
    struct piece piece = {err, (uint32_t)len};
    int rc = len > 0 ? keep_all(o, &piece, sizeof piece) : 0;
    return rc < 0 ? rc : keep_all(o, data, len);
}

/* Moves what the present attempt has in the arena to a file, where all the rest of it goes from now on. */
static int keep_begin(struct output *o)
{
    struct view *v = &o->view;
    o->kept = kept_open();
    o->kept_size = 0;
    if (o->kept < 0) {
        int rc = o->kept;
        o->kept = -1;
        return rc;
    }
    int rc = keep(o, false, v->bytes + v->item_bytes, v->bytes_used - v->item_bytes);
    for (uint64_t at = v->item_notes; rc == 0 && at < v->notes_used;) {
        const struct arena_note *note = (const struct arena_note *)(v->notes + at);
        rc = keep(o, true, note + 1, note->text_len);
        at += (sizeof *note + note->text_len + 7) & ~(uint64_t)7;
    }
    arena_rewind(v);
    return rc;
}

/* Shows the worker the lines that the present item has ended, at once. */
static void output_lines(struct output *o, const uint8_t *fresh, size_t n, bool err)
{
    const uint8_t *line = memrchr(fresh, '\n', n);
    if (!line)
        return;
    uint64_t end = err ? o->view.bytes_used : (uint64_t)(line + 1 - o->view.bytes);
    uint64_t already = atomic_load_explicit(&o->view.head->bytes_used, memory_order_relaxed);
    if (err) /* leave half lines of stdout where they are */
        end = already > o->view.item_bytes ? already : o->view.item_bytes;
    arena_show(&o->view, end > already ? end : already);
    link_send(o->link, HOST_SOME);
}

static ssize_t read_some(int fd, void *where, size_t size)
{
    ssize_t n;
    do
        n = read(fd, where, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static size_t room(struct output *o, bool err, uint8_t **where)
{
    return err ? arena_text_room(&o->view, where) : arena_room(&o->view, where);
}

static void added(struct output *o, bool err, const uint8_t *where, size_t n)
{
    if (err)
        arena_text_add(&o->view, n);
    else
        arena_add(&o->view, n);
    if (o->live && !o->held)
        output_lines(o, where, n, err);
}

/* Where the next bytes go: the arena, or the buffer on the way to the file. Returns the room or an error. */
static ssize_t place(struct output *o, bool err, uint8_t **where)
{
    if (o->full)
        return -ENOSPC;
    size_t size = o->kept < 0 ? room(o, err, where) : 0;
    if (size > 0)
        return (ssize_t)size;
    if (!o->held) {
        output_full(o);
        return -ENOSPC;
    }
    int rc = o->kept < 0 ? keep_begin(o) : 0;
    *where = buffer;
    return rc < 0 ? rc : (ssize_t)sizeof buffer;
}

ssize_t output_read(struct output *o, int fd, bool err, size_t most)
{
    uint8_t *where;
    ssize_t size = place(o, err, &where);
    if (size < 0)
        return size;
    ssize_t n = read_some(fd, where, (size_t)size < most ? (size_t)size : most);
    if (n <= 0)
        return n;
    if (where == buffer) {
        int rc = keep(o, err, buffer, (size_t)n);
        return rc < 0 ? rc : n;
    }
    added(o, err, where, (size_t)n);
    return n;
}

ssize_t output_put(struct output *o, const void *data, size_t len)
{
    uint8_t *where;
    ssize_t size = place(o, false, &where);
    if (size < 0)
        return size;
    if (len > (size_t)size)
        len = (size_t)size;
    if (where == buffer) {
        int rc = keep(o, false, data, len);
        return rc < 0 ? rc : (ssize_t)len;
    }
    memcpy(where, data, len);
    added(o, false, where, len);
    return (ssize_t)len;
}

static void kept_close(struct output *o)
{
    if (o->kept >= 0)
        close(o->kept);
    o->kept = -1;
}

void output_rewind(struct output *o)
{
    arena_rewind(&o->view);
    kept_close(o);
}

/* Puts one piece of the file, of `len` bytes from `at`, into the arena. */
static int release_piece(struct output *o, off_t at, const struct piece *piece)
{
    for (size_t left = piece->len; left > 0;) {
        uint8_t *where;
        size_t size = room(o, piece->err, &where);
        int rc = size == 0 ? output_wait(o) : 0;
        if (rc < 0)
            return rc;
        if (size == 0)
            continue;
        ssize_t n = pread(o->kept, where, size < left ? size : left, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        added(o, piece->err, where, (size_t)n);
        at += n;
        left -= (size_t)n;
    }
    return 0;
}

int output_release(struct output *o)
{
    o->held = false;
    int rc = 0;
    for (off_t at = 0; rc == 0 && o->kept >= 0 && at < o->kept_size;) {
        struct piece piece;
        ssize_t n = pread(o->kept, &piece, sizeof piece, at);
        if (n != sizeof piece) {
            rc = n < 0 ? -errno : -EIO;
            break;
        }
        at += (off_t)sizeof piece;
        rc = release_piece(o, at, &piece);
        at += piece.len;
    }
    kept_close(o);
    /* There may be less room than was taken back. And nothing is done between FULL and RESUME: the worker
     * would not know which of it it has. */
    if (rc == 0 && (o->full || !arena_ready(&o->view)))
        rc = output_wait(o);
    return rc;
}

void output_done(struct output *o, uint64_t wall_ns, int64_t now)
{
    arena_done(&o->view, wall_ns);
    if (o->view.item < o->view.count) /* else END says it */
        output_tell(o, now);
}

/* Not between FULL and RESUME: the worker would take what it has taken already for what came since. */
int64_t output_tell_ns(const struct output *o)
{
    return o->shown < o->view.item && !o->full ? o->told_ns + TELL_NS : NEVER_NS;
}

void output_tell(struct output *o, int64_t now)
{
    if (now < output_tell_ns(o))
        return;
    o->shown = o->view.item;
    o->told_ns = now;
    link_send(o->link, HOST_SOME);
}
