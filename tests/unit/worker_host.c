/*
 * A host for the tests of pmap-worker, in place of all of them (pmap-exec, pmap-host, python3): what it does
 * with an item stands in the item. Anything that it does not know is echoed.
 */
#include "daemon/worker/host.h"

#include "common/clock.h"
#include "common/protocol.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RESULT_MAX = 8192 };

static struct arena *arena;
static uint64_t mapped;
static char **arguments;
static bool yielded, dropped;
static uint32_t lent, returned; /* tokens, of this chunk */
static uint64_t item_start;     /* bytes_used when the present item began, or at RESUME */

static long number(const char *text)
{
    return strtol(text, NULL, 10);
}

static void say(uint32_t type, const char *text)
{
    char packet[sizeof(struct host_message) + HOST_TEXT_MAX];
    struct host_message m = {.type = type};
    size_t len = text ? strlen(text) : 0;
    memcpy(packet, &m, sizeof m);
    if (len > 0)
        memcpy(packet + sizeof m, text, len);
    if (send(HOST_SOCKET, packet, sizeof m + len, MSG_NOSIGNAL) < 0)
        exit(3);
}

static void say_returned(uint32_t tokens)
{
    struct host_message m = {.type = HOST_RETURNED, .value = tokens};
    if (send(HOST_SOCKET, &m, sizeof m, MSG_NOSIGNAL) < 0)
        exit(3);
}

/* All that is wanted back comes back. */
static void give_back(uint32_t tokens)
{
    if (tokens <= returned)
        return;
    returned = tokens;
    say_returned(tokens);
}

/* The next message; with `flags` of recv(2). 0: none. */
static uint32_t hear(int flags)
{
    struct host_message m;
    ssize_t n = recv(HOST_SOCKET, &m, sizeof m, flags);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n != sizeof m)
        exit(0); /* the worker has gone */
    yielded |= m.type == HOST_YIELD;
    dropped |= m.type == HOST_DROP;
    if (m.type == HOST_CHUNK)
        lent = returned = 0;
    if (m.type == HOST_LEND)
        lent = m.value;
    if (m.type == HOST_BACK)
        give_back(m.value);
    return m.type;
}

static void map_arena(void)
{
    struct stat st;
    if (arena && arena->size <= mapped)
        return;
    if (arena)
        munmap(arena, mapped);
    if (fstat(HOST_ARENA, &st) < 0)
        exit(4);
    mapped = (uint64_t)st.st_size;
    arena = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, HOST_ARENA, 0);
    if (arena == MAP_FAILED || arena->magic != ARENA_MAGIC)
        exit(5);
}

static uint8_t *at(uint64_t offset)
{
    return (uint8_t *)arena + offset;
}

static void wait_for_room(void)
{
    say(HOST_FULL, NULL);
    while (hear(0) != HOST_RESUME)
        ;
    atomic_store(&arena->bytes_used, 0);
    atomic_store(&arena->notes_used, 0);
    item_start = 0;
}

static void put(const void *data, size_t size)
{
    const uint8_t *from = data;
    while (size > 0 && !dropped) {
        uint64_t used = arena->bytes_used, room = arena->bytes_room - used;
        size_t part = size < room ? size : room;
        memcpy(at(arena->bytes + used), from, part);
        atomic_store(&arena->bytes_used, used + part);
        from += part;
        size -= part;
        if (size > 0)
            wait_for_room();
    }
}

static void note(uint32_t item, uint16_t kind, uint16_t code, const char *text)
{
    struct arena_note n = {.item = item, .kind = kind, .code = code, .text_len = (uint32_t)strlen(text)};
    uint64_t size = (sizeof n + n.text_len + 7) / 8 * 8;
    if (arena->notes_room - arena->notes_used < size)
        wait_for_room();
    memcpy(at(arena->notes + arena->notes_used), &n, sizeof n);
    memcpy(at(arena->notes + arena->notes_used + sizeof n), text, n.text_len);
    atomic_store(&arena->notes_used, arena->notes_used + size);
}

/* Until told to stop or that time has passed. */
static void rest(long ms)
{
    int64_t until = now_ns() + ms * INT64_C(1000000);
    while (!dropped && now_ns() < until) {
        struct pollfd item = {.fd = HOST_SOCKET, .events = POLLIN};
        if (poll(&item, 1, (int)((until - now_ns()) / 1000000 + 1)) > 0)
            hear(0);
    }
}

static size_t list_descriptors(char *out, size_t room)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t size = 0;
    if (!folder)
        exit(9);
    for (struct dirent *e; (e = readdir(folder));) {
        if (e->d_name[0] != '.' && number(e->d_name) != dirfd(folder))
            size += (size_t)snprintf(out + size, room - size, "%s ", e->d_name);
    }
    closedir(folder);
    return size;
}

static size_t list_arguments(char *out, size_t room)
{
    size_t size = 0;
    for (char **a = arguments; *a; a++)
        size += (size_t)snprintf(out + size, room - size, "%s|", a == arguments ? "" : *a);
    return size;
}

static size_t show_state(char *out, size_t room)
{
    char cwd[1024];
    struct rlimit files;
    sigset_t blocked;
    struct sigaction usr1;
    mode_t mask = umask(0);
    umask(mask);
    getrlimit(RLIMIT_NOFILE, &files);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    sigaction(SIGUSR1, NULL, &usr1);
    const char *secret = getenv("NOTIFY_SOCKET"), *own = getenv("OWN"), *job = getenv("PMAP_JOB");
    return (size_t)snprintf(
        out, room,
        "cwd=%s umask=%03o nice=%d files=%llu term=%d usr1=%d own=%s notify=%s job=%s slot=%s sid=%d",
        getcwd(cwd, sizeof cwd) ? cwd : "?", (unsigned)mask, getpriority(PRIO_PROCESS, 0),
        (unsigned long long)files.rlim_cur, sigismember(&blocked, SIGTERM), usr1.sa_handler == SIG_IGN,
        own ? own : "-", secret ? secret : "-", job ? job : "-", getenv("PMAP_SLOT"), getsid(0) == getpid());
}

/* A grandchild of its own session that stays. */
static size_t leave_daemon(char *out, size_t room)
{
    int channel[2];
    pid_t pid = 0;
    if (pipe(channel) < 0)
        exit(6);
    if (fork() == 0) {
        setsid();
        pid = fork();
        if (pid == 0) {
            for (;;)
                pause();
        }
        if (write(channel[1], &pid, sizeof pid) < 0)
            _exit(1);
        _exit(0);
    }
    if (read(channel[0], &pid, sizeof pid) != sizeof pid)
        exit(7);
    close(channel[0]);
    close(channel[1]);
    return (size_t)snprintf(out, room, "%d", (int)pid);
}

static void fill(size_t size)
{
    uint8_t block[4096];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)('a' + i % 23);
    for (size_t left = size; left > 0 && !dropped;) {
        size_t part = left < sizeof block ? left : sizeof block;
        put(block, part);
        left -= part;
    }
}

static bool is(const char *item, const char *word)
{
    return strncmp(item, word, strlen(word)) == 0;
}

static void die(const char *item)
{
    if (is(item, "crash"))
        kill(getpid(), SIGSEGV);
    if (is(item, "kill"))
        kill(getpid(), SIGKILL);
    if (is(item, "exit "))
        _exit((int)number(item + 5));
    if (is(item, "once") && arena->attempts == 0)
        kill(getpid(), SIGSEGV);
    if (is(item, "bad ")) {
        say(HOST_BAD, item + 4);
        _exit(1);
    }
    if (is(item, "hang")) {
        signal(SIGTERM, SIG_IGN);
        for (;;)
            pause();
    }
    if (is(item, "wait")) {
        for (;;)
            pause();
    }
    if (is(item, "damage")) {
        atomic_store(&arena->done, arena->count + 5);
        say(HOST_SOME, NULL);
        for (;;)
            pause();
    }
    if (is(item, "shut")) {
        close(HOST_SOCKET);
        signal(SIGTERM, SIG_IGN);
        for (;;)
            pause();
    }
}

static void run_item(uint32_t i, const uint8_t *bytes, size_t len)
{
    char item[256], out[RESULT_MAX];
    size_t size = 0;
    size_t known = len < sizeof item - 1 ? len : sizeof item - 1;
    memcpy(item, bytes, known);
    item[known] = '\0';
    die(item);
    if (is(item, "once"))
        size = (size_t)snprintf(out, sizeof out, "attempts=%d", (int)arena->attempts);
    else if (is(item, "pid"))
        size = (size_t)snprintf(out, sizeof out, "%d", (int)getpid());
    else if (is(item, "descriptors"))
        size = list_descriptors(out, sizeof out);
    else if (is(item, "arguments"))
        size = list_arguments(out, sizeof out);
    else if (is(item, "state"))
        size = show_state(out, sizeof out);
    else if (is(item, "daemon"))
        size = leave_daemon(out, sizeof out);
    else if (is(item, "fill "))
        fill((size_t)number(item + 5));
    else if (is(item, "lent ")) {
        while (lent < (uint32_t)number(item + 5) && !dropped)
            hear(0);
        size = (size_t)snprintf(out, sizeof out, "%u", lent);
    } else if (is(item, "back ")) {
        while (returned < (uint32_t)number(item + 5) && !dropped)
            hear(0);
        size = (size_t)snprintf(out, sizeof out, "%u", returned);
    } else if (is(item, "lie"))
        say_returned(returned + 100);
    else if (is(item, "sleep "))
        rest(number(item + 6));
    else if (is(item, "print ")) {
        if (write(STDOUT_FILENO, item + 6, len - 6) < 0)
            exit(8);
    } else if (is(item, "fail "))
        note(i, NOTE_EXIT, (uint16_t)number(item + 5), "");
    else if (is(item, "line ")) {
        put(item + 5, len - 5);
        say(HOST_SOME, NULL);
        rest(60000);
    } else {
        put(bytes, len);
        return;
    }
    put(out, size);
}

static void run_chunk(uint64_t *served, uint64_t recycle)
{
    const uint32_t *lengths = (uint32_t *)at(arena->lengths);
    const uint8_t *item = at(arena->items);
    int64_t told = now_ns();
    yielded = dropped = false;
    for (uint32_t i = 0; i < arena->count && !yielded && !dropped; i++) {
        int64_t start = now_ns();
        item_start = arena->bytes_used;
        atomic_store(&arena->started_ns, (uint64_t)start);
        atomic_store(&arena->current, (uint64_t)i + 1);
        run_item(i, item, lengths[i]);
        item += lengths[i];
        if (dropped)
            break;
        int64_t end = now_ns();
        ((uint32_t *)at(arena->out_lengths))[i] = (uint32_t)(arena->bytes_used - item_start);
        ((uint64_t *)at(arena->out_times))[i] = (uint64_t)(end - start);
        atomic_store(&arena->cpu_ns, (uint64_t)(i + 1) * 1000);
        atomic_store(&arena->done, (uint64_t)i + 1);
        atomic_store(&arena->current, 0);
        if (end - told > 10000000) {
            say(HOST_SOME, NULL);
            told = end;
        }
        if (recycle > 0 && ++*served == recycle) {
            say(HOST_END, NULL);
            exit(0);
        }
        hear(MSG_DONTWAIT);
    }
    say(HOST_END, NULL);
}

int main(int argc, char **argv)
{
    uint64_t served = 0, recycle = 0;
    arguments = argv;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--recycle") == 0 && i + 1 < argc)
            recycle = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "die-at-once") == 0) {
            fprintf(stderr, "first line\nthe reason\n");
            return 7;
        }
        if (strcmp(argv[i], "bad-at-once") == 0) {
            say(HOST_BAD, "there is no such function");
            return 1;
        }
    }
    map_arena();
    say(HOST_READY, NULL);
    for (;;) {
        if (hear(0) == HOST_CHUNK) {
            map_arena();
            run_chunk(&served, recycle);
        }
    }
}
