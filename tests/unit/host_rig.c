/*
 * pmap-worker, as far as a host sees it; see host_rig.h.
 */
#include "tests/unit/host_rig.h"

#include "common/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 30000, BYTES_ROOM = 4 << 20, NOTES_ROOM = 1 << 20 };

static int above(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    assert_true(moved >= 0);
    close(fd);
    return moved;
}

/* In the child: never returns. */
static void become(const char *const *argv, int socket, int memory, int output)
{
    char path[4096];
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ||
        dup2(socket, HOST_SOCKET) < 0 || dup2(memory, HOST_ARENA) < 0)
        _exit(126);
    if (argv[0][0] != '/') {
        snprintf(path, sizeof path, "%s/%s", PROGRAMS, argv[0]);
        execv(path, (char *const *)argv);
    } else {
        execvp(argv[0], (char *const *)argv);
    }
    _exit(127);
}

void rig_start(struct rig *r, const char *const *argv)
{
    int pair[2], pipes[2];
    *r = (struct rig){.bytes_room = BYTES_ROOM, .notes_room = NOTES_ROOM, .size = ARENA_PAGE};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    r->memory = above(memfd_create("arena", MFD_CLOEXEC));
    assert_int_equal(ftruncate(r->memory, ARENA_PAGE), 0);
    r->socket = above(pair[0]);
    r->output = above(pipes[0]);
    int socket = above(pair[1]), output = above(pipes[1]);
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (r->pid == 0)
        become(argv, socket, r->memory, output);
    close(socket);
    close(output);
}

/* The next packet: its type, 0 at the end; the text behind it. */
static uint32_t receive(struct rig *r, char text[HOST_TEXT_MAX + 1])
{
    struct {
        struct host_message head;
        char text[HOST_TEXT_MAX];
    } packet = {0};
    struct pollfd item = {.fd = r->socket, .events = POLLIN};
    if (poll(&item, 1, WAIT_MS) != 1)
        fail_msg("the host says nothing");
    ssize_t got = recv(r->socket, &packet, sizeof packet, 0);
    if (got <= 0)
        return 0;
    assert_true(got >= (ssize_t)sizeof packet.head);
    if (text) {
        size_t len = (size_t)got - sizeof packet.head;
        memcpy(text, packet.text, len);
        text[len] = 0;
    }
    return packet.head.type;
}

void rig_ready(struct rig *r)
{
    char text[HOST_TEXT_MAX + 1] = "";
    uint32_t type = receive(r, text);
    if (type != HOST_READY)
        fail_msg("not ready: %u %s", type, text);
}

const char *rig_bad(struct rig *r)
{
    static char text[HOST_TEXT_MAX + 1];
    assert_int_equal(receive(r, text), HOST_BAD);
    assert_null(strchr(text, '\n'));
    assert_int_equal(receive(r, NULL), 0);
    return text;
}

void rig_send(struct rig *r, uint32_t type)
{
    struct host_message m = {.type = type};
    send(r->socket, &m, sizeof m, MSG_NOSIGNAL);
}

static void forget(struct rig *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->results[i].data);
        free(r->results[i].error);
        free(r->results[i].words);
        r->results[i] = (struct rig_result){0};
    }
    r->count = r->taken = 0;
    r->fulls = r->somes = 0;
}

static uint64_t up(uint64_t size)
{
    return (size + 7) & ~UINT64_C(7);
}

static void map_anew(struct rig *r, size_t size)
{
    if (r->map)
        munmap(r->map, r->size);
    if (size > r->size)
        r->size = size;
    assert_int_equal(ftruncate(r->memory, (off_t)r->size), 0);
    r->map = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->memory, 0);
    assert_true(r->map != MAP_FAILED);
    r->arena = (struct arena *)r->map;
}

void rig_chunk(struct rig *r, const char *const *items, const size_t *lengths, size_t count)
{
    size_t sum = 0;
    forget(r);
    assert_true(count <= RIG_ITEMS_MAX);
    for (size_t i = 0; i < count; i++)
        sum += lengths ? lengths[i] : strlen(items[i]);
    struct arena a = {.magic = ARENA_MAGIC, .job = 12, .first = 100, .count = count, .items_size = sum};
    a.lengths = ARENA_PAGE;
    a.items = a.lengths + up(count * 4);
    a.out_lengths = a.items + up(sum);
    a.out_times = a.out_lengths + up(count * 4);
    a.bytes = a.out_times + count * 8;
    a.bytes_room = r->bytes_room;
    a.notes = a.bytes + up(r->bytes_room);
    a.notes_room = r->notes_room;
    a.slot = 3;
    a.attempts = r->attempts;
    a.single = r->single;
    map_anew(r, a.notes + a.notes_room);
    a.size = r->size;
    memcpy(r->map, &a, sizeof a);
    uint8_t *to = r->map + a.items;
    for (size_t i = 0; i < count; i++) {
        uint32_t len = (uint32_t)(lengths ? lengths[i] : strlen(items[i]));
        memcpy(r->map + a.lengths + i * 4, &len, 4);
        memcpy(to, items[i], len);
        to += len;
    }
    r->count = count;
    rig_send(r, HOST_CHUNK);
}

static char *text_of_note(const struct arena_note *note)
{
    char *text = calloc(1, note->text_len + 1);
    assert_non_null(text);
    memcpy(text, note + 1, note->text_len);
    return text;
}

static void take_notes(struct rig *r)
{
    uint64_t used = atomic_load(&r->arena->notes_used), at = 0;
    uint32_t last = 0;
    while (at < used) {
        const struct arena_note *note = (const struct arena_note *)(r->map + r->arena->notes + at);
        assert_true(note->item < r->count && note->item >= last);
        assert_true(note->item >= r->taken); /* what is taken is told to its end */
        last = note->item;
        struct rig_result *result = &r->results[note->item];
        if (note->kind == NOTE_ERROR && !result->error)
            result->error = text_of_note(note);
        else if (note->kind == NOTE_STDERR && !result->words)
            result->words = text_of_note(note);
        else if (note->kind == NOTE_ATTEMPTS)
            result->attempts = note->code;
        else
            fail_msg("a note of kind %u", note->kind);
        at += up(sizeof *note + note->text_len);
    }
    assert_int_equal(at, used);
}

static size_t append(struct rig *r, size_t item, size_t at)
{
    uint32_t len = ((const uint32_t *)(r->map + r->arena->out_lengths))[item];
    struct rig_result *result = &r->results[item];
    assert_true(at + len <= atomic_load(&r->arena->bytes_used));
    result->data = realloc(result->data, result->len + len + 1);
    assert_non_null(result->data);
    memcpy(result->data + result->len, r->map + r->arena->bytes + at, len);
    result->len += len;
    result->data[result->len] = 0;
    return len;
}

/* Takes what is in the arena, all of it: at FULL, END and when the host has gone. */
static void take_all(struct rig *r, bool present)
{
    size_t at = 0, done = atomic_load(&r->arena->done);
    assert_true(done <= r->count);
    take_notes(r);
    for (; r->taken < done; r->taken++) {
        at += append(r, r->taken, at);
        r->results[r->taken].time_ns = ((const uint64_t *)(r->map + r->arena->out_times))[r->taken];
    }
    if (present && done < r->count)
        at += append(r, done, at);
    if (present)
        assert_int_equal(at, atomic_load(&r->arena->bytes_used));
}

uint32_t rig_next(struct rig *r)
{
    uint32_t type = receive(r, NULL);
    if (type == HOST_FULL) {
        r->fulls++;
        take_all(r, true);
    } else if (type == HOST_SOME) {
        r->somes++;
    } else if (type == HOST_END || type == 0) {
        take_all(r, false);
    }
    return type;
}

bool rig_take(struct rig *r)
{
    for (;;) {
        uint32_t type = rig_next(r);
        if (type == HOST_END) {
            assert_int_equal(atomic_load(&r->arena->current), 0);
            return true;
        }
        if (type == 0)
            return false;
        if (type == HOST_FULL)
            rig_send(r, HOST_RESUME);
    }
}

size_t rig_map(struct rig *r, const char *const *items)
{
    size_t count = 0;
    while (items[count])
        count++;
    rig_chunk(r, items, NULL, count);
    assert_true(rig_take(r));
    return r->taken;
}

int rig_stop(struct rig *r, char *output, size_t size)
{
    int status = -1;
    size_t len = 0;
    close(r->socket);
    for (;;) {
        char bytes[4096];
        struct pollfd item = {.fd = r->output, .events = POLLIN};
        if (poll(&item, 1, WAIT_MS) != 1)
            kill(r->pid, SIGKILL);
        ssize_t got = read(r->output, bytes, sizeof bytes);
        if (got <= 0)
            break;
        if (output && len + (size_t)got < size) {
            memcpy(output + len, bytes, (size_t)got);
            len += (size_t)got;
        }
    }
    if (output)
        output[len] = 0;
    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    close(r->output);
    close(r->memory);
    forget(r);
    if (r->map)
        munmap(r->map, r->size);
    return status;
}

void rig_assert(const struct rig *r, size_t item, const char *text)
{
    const struct rig_result *result = &r->results[item];
    if (result->error)
        fail_msg("item %zu: %s", item, result->error);
    assert_non_null(result->data);
    assert_string_equal((const char *)result->data, text);
}

void rig_assert_error(const struct rig *r, size_t item, const char *error)
{
    const struct rig_result *result = &r->results[item];
    assert_non_null(result->error);
    assert_string_equal(result->error, error);
    assert_int_equal(result->len, 0);
}
