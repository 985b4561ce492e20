/* The arena from the host's side; see arena.h. */
#include "daemon/worker/exec/arena.h"

#include "common/protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Less room for a text than this, with something there to be taken first, is none. */
enum { TEXT_LEAST = 512 };

static uint64_t padded(uint64_t n)
{
    return (n + 7) & ~(uint64_t)7;
}

/* Is [at, at + size) within the arena, behind its first page? */
static bool within(const struct arena *head, uint64_t at, uint64_t size)
{
    return at % 8 == 0 && at >= ARENA_PAGE && at <= head->size && size <= head->size - at;
}

/* Maps the arena, anew if its size has changed. */
static int arena_remap(struct view *v, int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    size_t size = (size_t)status.st_size;
    if (size < ARENA_PAGE)
        return -EPROTO;
    if (v->head && size == v->mapped)
        return 0;
    if (v->head)
        munmap(v->head, v->mapped);
    v->head = NULL;
    v->mapped = 0;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    v->head = p;
    v->mapped = size;
    return 0;
}

int arena_open(struct view *v, int fd)
{
    int rc = arena_remap(v, fd);
    if (rc < 0)
        return rc;
    struct arena *head = v->head;
    if (!head)
        return -EPROTO;
    uint64_t count = head->count;
    if (head->magic != ARENA_MAGIC || head->size > v->mapped || count > UINT32_MAX ||
        !within(head, head->lengths, 4 * count) || !within(head, head->items, head->items_size) ||
        !within(head, head->out_lengths, 4 * count) || !within(head, head->out_times, 8 * count) ||
        !within(head, head->bytes, head->bytes_room) || !within(head, head->notes, head->notes_room) ||
        head->bytes_room < ARENA_PAGE || head->bytes_room > UINT32_MAX ||
        head->notes_room < UINT64_C(2) * ARENA_RESERVE)
        return -EPROTO;
    uint8_t *base = (uint8_t *)head;
    const uint32_t *lengths = (const uint32_t *)(base + head->lengths);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += lengths[i];
    if (sum > head->items_size)
        return -EPROTO;
    v->count = count;
    v->lengths = lengths;
    v->items = base + head->items;
    v->items_size = head->items_size;
    v->out_lengths = (uint32_t *)(base + head->out_lengths);
    v->out_times = (uint64_t *)(base + head->out_times);
    v->bytes = base + head->bytes;
    v->notes = base + head->notes;
    v->bytes_room = head->bytes_room;
    v->notes_room = head->notes_room;
    v->bytes_used = v->notes_used = v->item_bytes = v->item_notes = v->item = 0;
    v->open = NULL;
    v->touched += 4 * count;
    arena_idle(v);
    arena_show(v, 0);
    atomic_store_explicit(&head->cpu_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&head->done, 0, memory_order_release);
    return 0;
}

void arena_begin(struct view *v, int64_t now_ns)
{
    atomic_store_explicit(&v->head->started_ns, (uint64_t)now_ns, memory_order_relaxed);
    atomic_store_explicit(&v->head->current, v->item + 1, memory_order_release);
}

void arena_idle(struct view *v)
{
    atomic_store_explicit(&v->head->current, 0, memory_order_release);
}

bool arena_ready(const struct view *v)
{
    return v->notes_room - v->notes_used >= ARENA_RESERVE;
}

size_t arena_room(struct view *v, uint8_t **where)
{
    *where = v->bytes + v->bytes_used;
    return v->bytes_room - v->bytes_used;
}

void arena_add(struct view *v, size_t n)
{
    v->bytes_used += n;
    v->touched += n;
}

/* Where the text of the open note ends. */
static uint8_t *text_end(struct view *v)
{
    return (uint8_t *)(v->open + 1) + v->open->text_len;
}

size_t arena_text_room(struct view *v, uint8_t **where)
{
    if (v->open && v->open->text_len >= ARENA_NOTE_TEXT_MAX)
        v->open = NULL;
    uint64_t head = v->open ? 0 : sizeof(struct arena_note);
    uint64_t used = v->open ? (uint64_t)(text_end(v) - v->notes) : v->notes_used;
    /* The reserve, and what the padding may take. */
    uint64_t taken = used + head + ARENA_RESERVE + 8;
    if (taken + (v->notes_used > 0 ? TEXT_LEAST : 1) > v->notes_room)
        return 0;
    uint64_t room = v->notes_room - taken;
    uint64_t most = ARENA_NOTE_TEXT_MAX - (v->open ? v->open->text_len : 0);
    *where = v->notes + used + head;
    return room < most ? room : most;
}

void arena_text_add(struct view *v, size_t n)
{
    if (!v->open) {
        v->open = (struct arena_note *)(v->notes + v->notes_used);
        *v->open = (struct arena_note){.item = (uint32_t)v->item, .kind = NOTE_STDERR};
    }
    v->open->text_len += (uint32_t)n;
    v->notes_used = padded((uint64_t)(text_end(v) - v->notes));
    v->touched += n;
}

void arena_note(struct view *v, uint16_t kind, uint16_t code, const void *text, size_t len)
{
    struct arena_note *note = (struct arena_note *)(v->notes + v->notes_used);
    uint64_t room = v->notes_room - v->notes_used;
    if (room < sizeof *note)
        return;
    if (len > room - sizeof *note)
        len = room - sizeof *note;
    *note =
        (struct arena_note){.item = (uint32_t)v->item, .kind = kind, .code = code, .text_len = (uint32_t)len};
    if (len > 0)
        memcpy(note + 1, text, len);
    uint64_t end = padded(v->notes_used + sizeof *note + len);
    v->notes_used = end < v->notes_room ? end : v->notes_room;
    v->open = NULL;
}

void arena_rewind(struct view *v)
{
    v->bytes_used = v->item_bytes;
    v->notes_used = v->item_notes;
    v->open = NULL;
}

void arena_show(struct view *v, uint64_t bytes)
{
    v->open = NULL;
    atomic_store_explicit(&v->head->bytes_used, bytes, memory_order_release);
    atomic_store_explicit(&v->head->notes_used, v->notes_used, memory_order_release);
}

void arena_done(struct view *v, uint64_t wall_ns)
{
    v->out_lengths[v->item] = (uint32_t)(v->bytes_used - v->item_bytes);
    v->out_times[v->item] = wall_ns;
    v->item++;
    v->touched += sizeof *v->out_lengths + sizeof *v->out_times;
    v->item_bytes = v->bytes_used;
    v->item_notes = v->notes_used;
    arena_show(v, v->bytes_used);
    atomic_store_explicit(&v->head->done, v->item, memory_order_release);
}

void arena_resumed(struct view *v)
{
    v->bytes_used = v->item_bytes = v->notes_used = v->item_notes = 0;
    arena_show(v, 0);
}

void arena_shrink(struct view *v)
{
    if (v->head)
        madvise(v->head, v->mapped, MADV_DONTNEED);
    v->touched = 0;
}

void arena_cpu(struct view *v, uint64_t ns)
{
    uint64_t sum = atomic_load_explicit(&v->head->cpu_ns, memory_order_relaxed);
    atomic_store_explicit(&v->head->cpu_ns, sum + ns, memory_order_release);
}
