/* Plays pmap-worker for pmap-exec; see exec_rig.h. */
#include "tests/unit/exec_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/protocol.h"

enum { TEXTS = 6 };
enum { LIMIT_MS = 50000, NOTES_ROOM = 64 << 10, BYTES_ROOM = 1 << 20 };

/* In the environment of all that comes of this program's rigs: the same test may run twice on a machine. */
static char origin[32];

int64_t rig_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void text_add(struct heap_text *text, const void *data, size_t len)
{
    if (text->len + len + 1 > text->size) {
        text->size = 2 * (text->len + len + 1);
        text->bytes = realloc(text->bytes, text->size);
        assert_non_null(text->bytes);
    }
    if (len > 0)
        memcpy(text->bytes + text->len, data, len);
    text->len += len;
    text->bytes[text->len] = '\0';
}

/* In the child: becomes pmap-exec. */
static void become(int socket, int arena, int output, const char *const *arguments)
{
    int null = open("/dev/null", O_RDONLY);
    /* Out of the way first. */
    socket = fcntl(socket, F_DUPFD, 20);
    arena = fcntl(arena, F_DUPFD, 20);
    output = fcntl(output, F_DUPFD, 20);
    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ||
        dup2(socket, HOST_SOCKET) < 0 || dup2(arena, HOST_ARENA) < 0)
        _exit(99);
    /* Something that must not reach users' processes. */
    fcntl(output, F_DUPFD, 30);
    putenv(origin);
    const char *argv[64] = {"pmap-exec"};
    for (size_t i = 0; arguments[i] && i < 60; i++)
        argv[i + 1] = arguments[i];
    execv(PMAP_EXEC, (char *const *)argv);
    _exit(98);
}

static bool has_begun(struct rig *rig)
{
    return rig->ready || rig->bad.len > 0 || rig->gone;
}

struct rig *rig_start(size_t bytes_room, const char *const *arguments)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->bytes_room = bytes_room ? bytes_room : BYTES_ROOM;
    rig->notes_room = NOTES_ROOM;
    rig->slot = 3;
    int sockets[2], output[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    rig->arena_fd = memfd_create("arena", MFD_CLOEXEC);
    assert_true(rig->arena_fd >= 0);
    snprintf(origin, sizeof origin, "EXEC_RIG=%d", (int)getpid());
    rig->pid = fork();
    assert_true(rig->pid >= 0);
    if (rig->pid == 0)
        become(sockets[1], rig->arena_fd, output[1], arguments);
    close(sockets[1]);
    close(output[1]);
    rig->socket = sockets[0];
    rig->output = output[0];
    assert_true(rig_until(rig, has_begun, LIMIT_MS));
    return rig;
}

static void forget_results(struct rig *rig)
{
    for (size_t i = 0; i < rig->count; i++) {
        struct result *r = &rig->results[i];
        struct heap_text *texts[TEXTS] = {&r->out,    &r->err,         &r->error,
                                          &r->remark, &r->signal_text, &r->timeout_text};
        for (size_t t = 0; t < TEXTS; t++)
            free(texts[t]->bytes);
    }
    free(rig->results);
    rig->results = NULL;
    rig->count = 0;
}

static size_t place(size_t *at, size_t size)
{
    size_t begin = *at;
    *at += (size + 7) & ~(size_t)7;
    return begin;
}

void rig_chunk(struct rig *rig, size_t count, const char *const *items, const size_t *lengths)
{
    forget_results(rig);
    rig->returned = 0;
    rig->results = calloc(count ? count : 1, sizeof *rig->results);
    assert_non_null(rig->results);
    for (size_t i = 0; i < count; i++) {
        struct result *r = &rig->results[i];
        struct heap_text *texts[TEXTS] = {&r->out,    &r->err,         &r->error,
                                          &r->remark, &r->signal_text, &r->timeout_text};
        for (size_t t = 0; t < TEXTS; t++)
            text_add(texts[t], NULL, 0);
    }
    rig->count = count;
    rig->taken = rig->bytes_taken = rig->notes_taken = 0;
    rig->ended = false;
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += lengths ? lengths[i] : strlen(items[i]);
    size_t at = ARENA_PAGE;
    struct arena head = {.magic = ARENA_MAGIC,
                         .job = 1,
                         .first = rig->first,
                         .count = count,
                         .items_size = total,
                         .bytes_room = rig->bytes_room,
                         .notes_room = rig->notes_room,
                         .slot = rig->slot};
    head.lengths = place(&at, 4 * count);
    head.items = place(&at, total);
    head.out_lengths = place(&at, 4 * count);
    head.out_times = place(&at, 8 * count);
    head.bytes = place(&at, rig->bytes_room);
    head.notes = place(&at, rig->notes_room);
    head.size = (at + ARENA_PAGE - 1) & ~(size_t)(ARENA_PAGE - 1);
    if (head.size > rig->size) {
        if (rig->arena)
            munmap(rig->arena, rig->size);
        assert_int_equal(ftruncate(rig->arena_fd, (off_t)head.size), 0);
        rig->size = head.size;
        rig->arena = mmap(NULL, rig->size, PROT_READ | PROT_WRITE, MAP_SHARED, rig->arena_fd, 0);
        assert_ptr_not_equal(rig->arena, MAP_FAILED);
    }
    head.size = rig->size;
    memcpy(rig->arena, &head, sizeof head);
    uint32_t *out = (uint32_t *)((uint8_t *)rig->arena + head.lengths);
    uint8_t *bytes = (uint8_t *)rig->arena + head.items;
    for (size_t i = 0; i < count; i++) {
        size_t len = lengths ? lengths[i] : strlen(items[i]);
        out[i] = (uint32_t)len;
        memcpy(bytes, items[i], len);
        bytes += len;
    }
    rig_send(rig, HOST_CHUNK, 0);
}

void rig_send(struct rig *rig, enum host_message_type type, uint32_t value)
{
    struct host_message message = {.type = type, .value = value};
    assert_int_equal(send(rig->socket, &message, sizeof message, MSG_NOSIGNAL), sizeof message);
}

static void take_note(struct rig *rig, const struct arena_note *note)
{
    const uint8_t *text = (const uint8_t *)(note + 1);
    assert_in_range(note->item, 0, rig->count - 1);
    assert_true(note->text_len <= ARENA_NOTE_TEXT_MAX);
    struct result *r = &rig->results[note->item];
    r->fails += note_fails(note->kind) == 1;
    switch ((enum note_kind)note->kind) {
    case NOTE_ERROR:
        r->errors++;
        text_add(&r->error, text, note->text_len);
        break;
    case NOTE_EXIT:
        assert_int_not_equal(note->code, 0);
        r->exit_code = note->code;
        break;
    case NOTE_SIGNAL:
        r->signal = note->code;
        text_add(&r->signal_text, text, note->text_len);
        break;
    case NOTE_TIMEOUT:
        r->timeouts++;
        text_add(&r->timeout_text, text, note->text_len);
        break;
    case NOTE_STDERR:
        text_add(&r->err, text, note->text_len);
        break;
    case NOTE_USAGE: {
        assert_int_equal(note->text_len, NOTE_USAGE_SIZE);
        struct usage usage = usage_load(text);
        r->usages++;
        r->started_ns = usage.started_ns;
        r->cpu_ns = usage.cpu_ns;
        r->peak_bytes = usage.peak_bytes;
        break;
    }
    case NOTE_ATTEMPTS:
        r->attempts = note->code;
        break;
    case NOTE_REMARK:
        text_add(&r->remark, text, note->text_len);
        break;
    case NOTE_CANCELLED:
        fail_msg("pmap-exec cancels nothing by itself");
        break;
    case NOTE_SLOT:
        fail_msg("pmap-exec tells of no slot");
    }
}

/* Takes the results that are in the arena; `all`: the present item's beginning, too. */
static void take(struct rig *rig, bool all)
{
    struct arena *a = rig->arena;
    uint64_t done = atomic_load_explicit(&a->done, memory_order_acquire);
    uint64_t bytes = atomic_load_explicit(&a->bytes_used, memory_order_acquire);
    uint64_t notes = atomic_load_explicit(&a->notes_used, memory_order_acquire);
    assert_true(done <= rig->count && bytes <= rig->bytes_room && notes <= rig->notes_room);
    const uint8_t *base = (const uint8_t *)a;
    const uint32_t *lengths = (const uint32_t *)(base + a->out_lengths);
    const uint64_t *times = (const uint64_t *)(base + a->out_times);
    static uint64_t begun; /* bytes of the present item that were taken before it was done */
    if (rig->bytes_taken == 0)
        begun = 0;
    for (; rig->taken < done; rig->taken++) {
        struct result *r = &rig->results[rig->taken];
        assert_true(lengths[rig->taken] >= begun);
        uint64_t rest = lengths[rig->taken] - begun;
        assert_true(rig->bytes_taken + rest <= bytes);
        text_add(&r->out, base + a->bytes + rig->bytes_taken, rest);
        rig->bytes_taken += rest;
        begun = 0;
        r->wall_ns = times[rig->taken];
        r->done = true;
    }
    /* With more done since, some of these bytes are not the present item's; but not while it waits for
     * RESUME. */
    bool further = atomic_load_explicit(&a->done, memory_order_acquire) != rig->taken;
    assert_true(!further || !rig->full);
    if (all && rig->taken < rig->count && !further) {
        uint64_t rest = bytes - rig->bytes_taken;
        text_add(&rig->results[rig->taken].out, base + a->bytes + rig->bytes_taken, rest);
        rig->bytes_taken += rest;
        begun += rest;
    }
    while (rig->notes_taken < notes) {
        const struct arena_note *note = (const struct arena_note *)(base + a->notes + rig->notes_taken);
        take_note(rig, note);
        rig->notes_taken += (sizeof *note + note->text_len + 7) & ~(uint64_t)7;
    }
}

static void receive(struct rig *rig)
{
    struct {
        struct host_message head;
        char text[HOST_TEXT_MAX];
    } message;
    ssize_t n = recv(rig->socket, &message, sizeof message, 0);
    if (n <= 0) {
        rig->gone = true;
        return;
    }
    assert_true(n >= (ssize_t)sizeof message.head);
    switch (message.head.type) {
    case HOST_READY:
        assert_false(rig->ready);
        rig->ready = true;
        break;
    case HOST_SOME:
        rig->somes++;
        take(rig, true);
        break;
    case HOST_FULL:
        rig->fulls++;
        rig->full = true;
        take(rig, true);
        rig->full = false;
        if (rig->hold_full)
            break;
        rig->bytes_taken = rig->notes_taken = 0;
        rig_send(rig, HOST_RESUME, 0);
        break;
    case HOST_RETURNED:
        assert_true(message.head.value > rig->returned);
        rig->returned = message.head.value;
        break;
    case HOST_END:
        take(rig, false);
        rig->ended = true;
        break;
    case HOST_BAD:
        text_add(&rig->bad, message.text, (size_t)n - sizeof message.head);
        break;
    default:
        fail_msg("message %u", message.head.type);
    }
}

bool rig_until(struct rig *rig, bool (*until)(struct rig *rig), int ms)
{
    int64_t end = rig_now_ms() + ms;
    while (!until(rig)) {
        int64_t left = end - rig_now_ms();
        if (left <= 0)
            return false;
        struct pollfd polled = {.fd = rig->gone ? -1 : rig->socket, .events = POLLIN};
        if (poll(&polled, 1, left < 20 ? (int)left : 20) > 0)
            receive(rig);
    }
    return true;
}

static bool is_over(struct rig *rig)
{
    return rig->ended || rig->bad.len > 0 || rig->gone;
}

void rig_run(struct rig *rig)
{
    assert_true(rig_until(rig, is_over, LIMIT_MS));
}

/* Does that file of a process hold these bytes? Not where it has gone. */
static bool holds(const char *pid, const char *name, const char *bytes, size_t len)
{
    static char held[1 << 20]; /* arguments and environment of tests are far less */
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t size = 0;
    ssize_t n;
    while (size < sizeof held && (n = read(fd, held + size, sizeof held - size)) > 0)
        size += (size_t)n;
    close(fd);
    return memmem(held, size, bytes, len) != NULL;
}

int rig_processes(const char *marker)
{
    int found = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    for (struct dirent *entry; (entry = readdir(proc));) {
        const char *pid = entry->d_name;
        if (pid[0] < '0' || pid[0] > '9' || strtol(pid, NULL, 10) == getpid())
            continue;
        /* The marker stands in pmap-exec's own command line too. */
        if (holds(pid, "cmdline", marker, strlen(marker)) &&
            holds(pid, "environ", origin, strlen(origin) + 1) &&
            !holds(pid, "cmdline", "pmap-exec", sizeof "pmap-exec"))
            found++;
    }
    closedir(proc);
    return found;
}

void rig_stop(struct rig *rig)
{
    close(rig->socket);
    int status, rc;
    int64_t end = rig_now_ms() + LIMIT_MS;
    while ((rc = waitpid(rig->pid, &status, WNOHANG)) == 0 && rig_now_ms() < end)
        poll(NULL, 0, 2);
    if (rc == 0)
        kill(rig->pid, SIGKILL);
    assert_int_equal(rc, rig->pid);
    char said[4096];
    ssize_t n = read(rig->output, said, sizeof said - 1);
    said[n > 0 ? n : 0] = '\0';
    if (n > 0)
        print_message("%s\n", said);
    assert_int_equal(n, 0);
    assert_int_equal(WIFSIGNALED(status), rig->killed);
    if (!rig->killed)
        assert_int_equal(WEXITSTATUS(status), rig->bad.len > 0);
    forget_results(rig);
    free(rig->bad.bytes);
    if (rig->arena)
        munmap(rig->arena, rig->size);
    close(rig->arena_fd);
    close(rig->output);
    free(rig);
}
