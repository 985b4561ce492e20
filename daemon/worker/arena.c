/* The worker's side of an arena; see arena.h. */
#include "daemon/worker/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Ordinary chunks fit the first part whatever they hold: at most 1 MiB of lengths and items (a message),
 * three times the lengths for those and the times of the results, and room for results.
 */
enum {
    ORDINARY = 8 << 20,
    BYTES_ROOM = 1 << 20,
    LARGE_STEP = 16 << 20, /* the file grows by so much for large items */
};
_Static_assert(ARENA_PAGE + 4 * PROTOCOL_MESSAGE_MAX + BYTES_ROOM + PARCEL_NOTES_AREA + 64 < ORDINARY,
               "any chunk fits");

static struct arena *header(const struct arena_file *a)
{
    return (struct arena *)a->map;
}

static int set_size(struct arena_file *a, uint64_t size)
{
    if (ftruncate(a->fd, (off_t)size) < 0)
        return -errno;
    a->size = size;
    return 0;
}

int arena_open(struct arena_file *a)
{
    *a = (struct arena_file){.fd = memfd_create("pmap-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (a->fd < 0)
        return -errno;
    int rc = set_size(a, ORDINARY);
    /* Nobody makes it shorter while others have it mapped: that would kill them. */
    if (rc == 0 && fcntl(a->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        rc = -errno;
    if (rc == 0) {
        a->map = mmap(NULL, ORDINARY, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);
        if (a->map == MAP_FAILED)
            rc = -errno;
    }
    if (rc < 0) {
        close(a->fd);
        *a = (struct arena_file){.fd = -1};
        return rc;
    }
    a->large_end = ORDINARY;
    header(a)->magic = ARENA_MAGIC;
    header(a)->size = a->size;
    return 0;
}

void arena_close(struct arena_file *a)
{
    if (a->fd < 0)
        return;
    munmap(a->map, ORDINARY);
    close(a->fd);
    *a = (struct arena_file){.fd = -1};
}

/*** Large items ***/

uint64_t arena_large_begin(struct arena_file *a)
{
    a->large_items++;
    a->large_end = (a->large_end + 7) & ~UINT64_C(7);
    return a->large_end;
}

int arena_large_add(struct arena_file *a, uint64_t at, const void *data, size_t size)
{
    const char *from = data;
    int rc = 0;
    if (at + size > a->size)
        rc = set_size(a, (at + size + LARGE_STEP - 1) / LARGE_STEP * LARGE_STEP);
    while (rc == 0 && size > 0) {
        ssize_t n = pwrite(a->fd, from, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += n;
        at += (size_t)n;
        size -= (size_t)n;
    }
    if (rc == 0)
        a->large_end = at;
    return rc;
}

void arena_large_end(struct arena_file *a)
{
    if (--a->large_items > 0)
        return;
    /* The memory goes, the size stays, so that nobody's mapping ends. */
    if (a->size > ORDINARY)
        (void)fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, ORDINARY,
                        (off_t)(a->size - ORDINARY));
    a->large_end = ORDINARY;
}

/*** A chunk goes in ***/

/* The next area of the arena, at a multiple of 8. */
static uint64_t place(uint64_t *end, uint64_t size)
{
    uint64_t at = *end;
    *end += (size + 7) & ~UINT64_C(7);
    return at;
}

void arena_lay(struct arena_file *a, const struct arena_chunk *chunk)
{
    struct arena *h = header(a);
    uint64_t end = ARENA_PAGE, count = chunk->count;
    uint64_t lengths = place(&end, 4 * count);
    uint64_t items = chunk->lengths ? place(&end, chunk->size) : chunk->large;
    uint32_t *to = (uint32_t *)(a->map + lengths);
    if (chunk->lengths) {
        for (uint64_t i = 0; i < count; i++)
            to[i] = load_u32(chunk->lengths + 4 * i);
        if (chunk->size > 0)
            memcpy(a->map + items, chunk->items, chunk->size);
    } else {
        to[0] = (uint32_t)chunk->size;
    }
    a->count = chunk->count;
    a->out_lengths = place(&end, 4 * count);
    a->out_times = place(&end, 8 * count);
    a->bytes = place(&end, BYTES_ROOM);
    a->notes = place(&end, PARCEL_NOTES_AREA);
    a->taken = 0;
    a->skip = false;
    arena_resumed(a);

    h->magic = ARENA_MAGIC;
    h->size = a->size;
    h->job = chunk->job;
    h->first = chunk->first;
    h->count = count;
    h->lengths = lengths;
    h->items = items;
    h->items_size = chunk->size;
    h->out_lengths = a->out_lengths;
    h->out_times = a->out_times;
    h->bytes = a->bytes;
    h->bytes_room = BYTES_ROOM;
    h->notes = a->notes;
    h->notes_room = PARCEL_NOTES_AREA;
    h->slot = chunk->slot;
    h->attempts = chunk->attempts;
    h->single = chunk->single;
    atomic_store_explicit(&h->current, 0, memory_order_relaxed);
    atomic_store_explicit(&h->started_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&h->done, 0, memory_order_relaxed);
    atomic_store_explicit(&h->bytes_used, 0, memory_order_relaxed);
    atomic_store_explicit(&h->notes_used, 0, memory_order_relaxed);
    atomic_store_explicit(&h->together, 0, memory_order_relaxed);
    atomic_store_explicit(&h->cpu_ns, 0, memory_order_release);
}

/*** Results come out ***/

uint64_t arena_done(const struct arena_file *a)
{
    return atomic_load_explicit(&header(a)->done, memory_order_acquire);
}

/* Each number is read once: the host could change it between two looks. */
static uint32_t out_length(const struct arena_file *a, uint32_t item)
{
    return __atomic_load_n((uint32_t *)(a->map + a->out_lengths) + item, __ATOMIC_RELAXED);
}

static uint64_t out_time(const struct arena_file *a, uint32_t item)
{
    return __atomic_load_n((uint64_t *)(a->map + a->out_times) + item, __ATOMIC_RELAXED);
}

/* The note at notes_at, if there is one there and it is of an item below `until`. Returns 1, 0 or -EBADMSG.
 */
static int look_at_note(const struct arena_file *a, uint64_t until, struct arena_note *note)
{
    uint64_t used = atomic_load_explicit(&header(a)->notes_used, memory_order_acquire);
    if (used > PARCEL_NOTES_AREA || used < a->notes_at)
        return -EBADMSG;
    if (used == a->notes_at)
        return 0;
    if (used - a->notes_at < sizeof *note)
        return -EBADMSG;
    memcpy(note, a->map + a->notes + a->notes_at, sizeof *note);
    if (note->item >= until)
        return 0;
    bool fits = note->item >= a->taken && note->text_len <= ARENA_NOTE_TEXT_MAX &&
                note->text_len <= used - a->notes_at - sizeof *note && note_fails(note->kind) >= 0 &&
                note_text_fits(note->kind, note->text_len);
    return fits ? 1 : -EBADMSG;
}

static void pass_note(struct arena_file *a, const struct arena_note *note)
{
    uint64_t at = a->notes_at + sizeof *note + ((note->text_len + UINT64_C(7)) & ~UINT64_C(7));
    a->notes_at = at < PARCEL_NOTES_AREA ? at : PARCEL_NOTES_AREA;
}

/* Adds the notes of the items below `until` to a parcel that begins at the first that is not taken. */
static int take_notes(struct arena_file *a, uint64_t until, struct parcel_space *space, struct parcel *p)
{
    struct arena_note note;
    uint32_t last = a->taken;
    int rc;
    while ((rc = look_at_note(a, until, &note)) > 0) {
        if (note.item < last || p->note_count >= PARCEL_NOTES - 2)
            return -EBADMSG;
        last = note.item;
        struct note wire = {note.item - a->taken, note.kind, note.code, note.text_len};
        parcel_note(p, space, wire, a->map + a->notes + a->notes_at + sizeof note);
        pass_note(a, &note);
    }
    return rc;
}

static void take_text(struct arena_text *text, struct parcel_space *space, struct parcel *p)
{
    if (text->size == 0)
        return;
    struct note note = {p->records - 1, NOTE_STDERR, 0, (uint32_t)text->size};
    parcel_note(p, space, note, text->data);
    text->size = 0;
}

/* Passes over what there is of an item that is not wanted. Returns 0 or -EBADMSG. */
static int skip_item(struct arena_file *a, uint64_t done, bool begun)
{
    struct arena_note note;
    int rc;
    if (a->taken >= done && !begun)
        return 0;
    uint64_t used = atomic_load_explicit(&header(a)->bytes_used, memory_order_acquire);
    uint64_t end = used;
    if (a->taken >= done && arena_done(a) != a->taken)
        return 0; /* some of it may be the next one's */
    if (a->taken < done)
        end = a->bytes_at - a->part_at + out_length(a, a->taken);
    if (end < a->bytes_at || end > BYTES_ROOM)
        return -EBADMSG;
    while ((rc = look_at_note(a, (uint64_t)a->taken + 1, &note)) > 0)
        pass_note(a, &note);
    a->part_at += end - a->bytes_at;
    a->bytes_at = end;
    if (rc == 0 && a->taken < done) {
        a->taken++;
        a->part_at = 0;
        a->skip = false;
    }
    return rc;
}

/* A part of the item's result of which there are `size` bytes that were not taken. */
static int take_piece(struct arena_file *a, uint64_t size, struct parcel_space *space, struct parcel *p)
{
    parcel_begin(p, space);
    p->bytes = a->map + a->bytes + a->bytes_at;
    p->more = true;
    parcel_record(p, space, (uint32_t)(size < PARCEL_BYTES ? size : PARCEL_BYTES), 0);
    a->bytes_at += p->size;
    a->part_at += p->size;
    return 1;
}

static int take_begun(struct arena_file *a, struct arena_text *text, struct parcel_space *space,
                      struct parcel *p)
{
    uint64_t used = atomic_load_explicit(&header(a)->bytes_used, memory_order_acquire);
    if (used > BYTES_ROOM || used < a->bytes_at)
        return -EBADMSG;
    if (a->taken >= a->count || arena_done(a) != a->taken)
        return 0; /* in the second case some of it may be the next one's */
    take_piece(a, used - a->bytes_at, space, p);
    if (p->size == PARCEL_BYTES)
        return 1;
    int rc = take_notes(a, (uint64_t)a->taken + 1, space, p);
    if (rc < 0)
        return rc;
    take_text(text, space, p);
    return p->size > 0 || p->note_count > 0;
}

int arena_take(struct arena_file *a, uint64_t done, bool begun, struct arena_text *text,
               struct parcel_space *space, struct parcel *p)
{
    int rc;
    if (done > a->count || done < a->taken)
        return -EBADMSG;
    if (a->skip) {
        if ((rc = skip_item(a, done, begun)) < 0)
            return rc;
        if (a->skip)
            return 0;
    }
    if (a->taken == done)
        return begun ? take_begun(a, text, space, p) : 0;

    parcel_begin(p, space);
    p->bytes = a->map + a->bytes + a->bytes_at;
    uint64_t room = BYTES_ROOM - a->bytes_at;
    uint32_t item = a->taken;
    for (; item < done && p->records < PARCEL_RECORDS; item++) {
        uint64_t len = out_length(a, item), part = item == a->taken ? a->part_at : 0;
        if (len < part || len - part > room - p->size)
            return -EBADMSG;
        len -= part;
        if (p->size + len > PARCEL_BYTES) {
            if (p->records > 0)
                break;
            return take_piece(a, len, space, p);
        }
        parcel_record(p, space, (uint32_t)len, out_time(a, item));
    }
    if ((rc = take_notes(a, item, space, p)) < 0)
        return rc;
    if (item == done)
        take_text(text, space, p);
    a->bytes_at += p->size;
    a->part_at = 0;
    a->taken = item;
    return 1;
}

bool arena_has_done(const struct arena_file *a)
{
    return arena_done(a) != a->taken;
}

int64_t arena_waiting(const struct arena_file *a)
{
    uint64_t done = arena_done(a), sum = 0;
    for (uint64_t item = a->taken; item < done && item < a->count; item++) {
        uint64_t ns = out_time(a, (uint32_t)item);
        sum = ns < INT64_MAX - sum ? sum + ns : INT64_MAX;
    }
    return (int64_t)sum;
}

void arena_resumed(struct arena_file *a)
{
    a->bytes_at = a->part_at = a->notes_at = 0;
}

int64_t arena_current(const struct arena_file *a)
{
    uint64_t current = atomic_load_explicit(&header(a)->current, memory_order_acquire), done = arena_done(a);
    if (done > a->count)
        done = a->taken; /* somebody has written over it; what was taken was true */
    if (current == 0 || current > a->count || current - 1 < done)
        return -1;
    return (int64_t)current - 1;
}

bool arena_together(const struct arena_file *a)
{
    return atomic_load_explicit(&header(a)->together, memory_order_acquire) > 1;
}

int64_t arena_started(const struct arena_file *a, int64_t now_ns)
{
    uint64_t started = atomic_load_explicit(&header(a)->started_ns, memory_order_acquire);
    return started > 0 && started <= (uint64_t)now_ns ? (int64_t)started : now_ns;
}

uint64_t arena_cpu(const struct arena_file *a)
{
    return atomic_load_explicit(&header(a)->cpu_ns, memory_order_acquire);
}
