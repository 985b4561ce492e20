/*
 * The host's end of the arena protocol; see arena.h.
 */
#include "daemon/worker/host/arena.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* LOOK: between two looks at the socket; SOME: between two messages that something is done. */
enum { LOOK_NS = 100000, SOME_NS = 10000000 };

/* What a child that a module forks is kept away from. */
static struct channel *forked;

static uint64_t cpu_ns(void)
{
    return (uint64_t)clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t channel_now(void)
{
    return now_ns();
}

/*
 * In a child that user code has forked: if it comes back to us instead of ending, it must neither speak for
 * its parent nor write into its results, and the worker must not take it for its parent's being alive.
 */
static void leave_to_parent(void)
{
    struct channel *c = forked;
    if (c->arena && mmap(c->arena, c->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, c->memory,
                         0) == MAP_FAILED)
        _exit(127);
    close(c->socket);
    close(c->memory);
    c->socket = c->memory = -1;
    c->gone = true;
}

int channel_open(struct channel *c)
{
    struct stat st;
    *c = (struct channel){.socket = HOST_SOCKET, .memory = HOST_ARENA};
    if (fcntl(c->socket, F_SETFD, FD_CLOEXEC) < 0 || fcntl(c->memory, F_SETFD, FD_CLOEXEC) < 0 ||
        fstat(c->memory, &st) < 0)
        return -errno;
    if (st.st_size < ARENA_PAGE)
        return -EPROTO;
    void *map = mmap(NULL, ARENA_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, c->memory, 0);
    if (map == MAP_FAILED)
        return -errno;
    c->arena = map;
    c->mapped = ARENA_PAGE;
    forked = c;
    return -pthread_atfork(NULL, NULL, leave_to_parent);
}

static int send_message(struct channel *c, uint32_t type, const char *text, int flags)
{
    struct {
        struct host_message head;
        char text[HOST_TEXT_MAX];
    } packet = {.head = {.type = type}};
    size_t len = strnlen(text, sizeof packet.text);
    memcpy(packet.text, text, len);
    if (c->gone)
        return -EPIPE;
    while (send(c->socket, &packet, sizeof packet.head + len, MSG_NOSIGNAL | flags) < 0) {
        if (errno == EAGAIN && flags != 0)
            return -EAGAIN;
        if (errno != EINTR) {
            c->gone = true;
            return -errno;
        }
    }
    return 0;
}

int channel_ready(struct channel *c)
{
    return send_message(c, HOST_READY, "", 0);
}

int channel_bad(struct channel *c, const char *text)
{
    return send_message(c, HOST_BAD, text, 0);
}

/* The type of the next message; 0: none yet (with MSG_DONTWAIT), or c->gone. */
static uint32_t receive(struct channel *c, int flags)
{
    struct host_message m = {0};
    while (!c->gone) {
        ssize_t got = recv(c->socket, &m, sizeof m, flags);
        if (got == (ssize_t)sizeof m)
            return m.type;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return 0;
        c->gone = true;
    }
    return 0;
}

static void take_message(struct channel *c, uint32_t type)
{
    if (type == HOST_YIELD)
        c->yielded = true;
    else if (type == HOST_DROP)
        c->dropped = true;
}

static int map_arena(struct channel *c)
{
    struct arena *a = c->arena;
    if (a->magic != ARENA_MAGIC || a->size < ARENA_PAGE)
        return -EPROTO;
    if (a->size == c->mapped)
        return 0;
    size_t size = a->size;
    void *map = mremap(a, c->mapped, size, MREMAP_MAYMOVE);
    if (map == MAP_FAILED)
        return -errno;
    c->arena = map;
    c->mapped = size;
    return 0;
}

/* Is there an area of so many bytes at `at`? */
static bool within(const struct channel *c, uint64_t at, uint64_t size)
{
    return at % 8 == 0 && at <= c->mapped && size <= c->mapped - at;
}

static int take_chunk(struct channel *c)
{
    int rc = map_arena(c);
    struct arena *a = c->arena;
    if (rc < 0)
        return rc;
    if (a->count > UINT32_MAX || !within(c, a->lengths, a->count * 4) ||
        !within(c, a->items, a->items_size) || !within(c, a->out_lengths, a->count * 4) ||
        !within(c, a->out_times, a->count * 8) || !within(c, a->bytes, a->bytes_room) ||
        !within(c, a->notes, a->notes_room) || a->bytes_room == 0 ||
        a->notes_room < sizeof(struct arena_note) + ARENA_NOTE_TEXT_MAX)
        return -EPROTO;
    uint8_t *base = (uint8_t *)a;
    c->count = a->count;
    c->items_size = a->items_size;
    c->lengths = (const uint32_t *)(base + a->lengths);
    c->items = base + a->items;
    c->out_lengths = (uint32_t *)(base + a->out_lengths);
    c->out_times = (uint64_t *)(base + a->out_times);
    c->bytes = base + a->bytes;
    c->notes = base + a->notes;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < c->count; i++)
        sum += c->lengths[i];
    return sum <= c->items_size ? 0 : -EPROTO;
}

int channel_next(struct channel *c)
{
    uint32_t type;
    do {
        type = receive(c, 0); /* what is of a chunk that is over is ignored */
    } while (type != HOST_CHUNK && !c->gone);
    if (c->gone)
        return 0;
    int rc = take_chunk(c);
    if (rc < 0)
        return rc;
    c->bytes_used = c->notes_used = c->done = 0;
    c->piece = 0;
    c->yielded = c->dropped = c->waited = false;
    struct arena *a = c->arena;
    _Atomic uint64_t *const words[] = {&a->current,    &a->done,   &a->bytes_used,
                                       &a->notes_used, &a->cpu_ns, &a->together};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        atomic_store_explicit(words[i], 0, memory_order_release);
    int64_t now = channel_now();
    c->look_ns = now + LOOK_NS;
    c->told_ns = now;
    c->told_done = 0;
    c->cpu_base_ns = cpu_ns();
    return 1;
}

static void publish_cpu(struct channel *c)
{
    atomic_store_explicit(&c->arena->cpu_ns, cpu_ns() - c->cpu_base_ns, memory_order_release);
}

/* Has the worker take what is there, and begins anew in both areas. */
static int make_room(struct channel *c)
{
    if (c->done < c->count)
        c->out_lengths[c->done] = c->piece;
    publish_cpu(c);
    atomic_store_explicit(&c->arena->bytes_used, c->bytes_used, memory_order_release);
    atomic_store_explicit(&c->arena->notes_used, c->notes_used, memory_order_release);
    int rc = send_message(c, HOST_FULL, "", 0);
    c->waited = true;
    if (rc < 0)
        return -ECANCELED;
    for (;;) {
        uint32_t type = receive(c, 0);
        take_message(c, type);
        if (channel_unwanted(c))
            return -ECANCELED;
        if (type == HOST_RESUME)
            break;
    }
    c->bytes_used = c->notes_used = 0;
    c->piece = 0;
    atomic_store_explicit(&c->arena->bytes_used, 0, memory_order_release);
    atomic_store_explicit(&c->arena->notes_used, 0, memory_order_release);
    c->told_done = c->done;
    return 0;
}

int channel_put(struct channel *c, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t room = c->arena->bytes_room - c->bytes_used;
        size_t part = len < room ? len : room;
        memcpy(c->bytes + c->bytes_used, bytes, part);
        c->bytes_used += part;
        c->piece += (uint32_t)part;
        bytes += part;
        len -= part;
        if (len > 0) {
            int rc = make_room(c);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

int channel_note(struct channel *c, uint16_t kind, uint16_t code, const char *text, size_t len)
{
    if (len > ARENA_NOTE_TEXT_MAX)
        len = ARENA_NOTE_TEXT_MAX;
    struct arena_note note = {
        .item = (uint32_t)c->done, .kind = kind, .code = code, .text_len = (uint32_t)len};
    size_t size = (sizeof note + len + 7) & ~(size_t)7;
    if (size > c->arena->notes_room - c->notes_used) {
        int rc = make_room(c);
        if (rc < 0)
            return rc;
    }
    uint8_t *to = c->notes + c->notes_used;
    memcpy(to, &note, sizeof note);
    memcpy(to + sizeof note, text, len);
    memset(to + sizeof note + len, 0, size - sizeof note - len);
    c->notes_used += size;
    return 0;
}

void channel_look(struct channel *c, int64_t now)
{
    uint32_t type;
    while ((type = receive(c, MSG_DONTWAIT)) != 0)
        take_message(c, type);
    if (c->done > c->told_done && now - c->told_ns >= SOME_NS) {
        publish_cpu(c);
        if (send_message(c, HOST_SOME, "", MSG_DONTWAIT) == 0) {
            c->told_ns = now;
            c->told_done = c->done;
        }
    }
    c->look_ns = now + LOOK_NS;
}

bool channel_cancelled(struct channel *c, int64_t timeout_ns)
{
    int64_t now = channel_now();
    int64_t until_ns = timeout_ns < INT64_MAX - now ? now + timeout_ns : INT64_MAX;
    if (timeout_ns == 0 && !channel_due(c, now))
        return channel_unwanted(c);
    for (;;) {
        channel_look(c, now);
        if (channel_unwanted(c))
            return true;
        if (now >= until_ns)
            return false;
        int64_t wake_ns = until_ns;
        if (c->done > c->told_done && c->told_ns + SOME_NS < wake_ns)
            wake_ns = c->told_ns + SOME_NS > now ? c->told_ns + SOME_NS : now + LOOK_NS;
        struct timespec left = {.tv_sec = (wake_ns - now) / 1000000000,
                                .tv_nsec = (wake_ns - now) % 1000000000};
        struct pollfd item = {.fd = c->socket, .events = POLLIN};
        ppoll(&item, 1, &left, NULL);
        now = channel_now();
    }
}

int channel_end(struct channel *c)
{
    atomic_store_explicit(&c->arena->current, 0, memory_order_release);
    publish_cpu(c);
    return send_message(c, HOST_END, "", 0);
}
