/* The hosts of a worker; see hosts.h. */
#include "daemon/worker/hosts.h"

#include "daemon/worker/reap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    KEPT = 2, /* hosts, beside the one that runs */
    TEXT_ROOM = ARENA_NOTE_TEXT_MAX,
    TEXT_RESERVE = 80, /* of it, for saying that something is missing */
    LEAVE_MS = 2000,   /* for a process to end by itself */
    SWEEP_AGAIN_MS = 100,
    LAST_SWEEPS = 30,
};

struct leaver {
    LIST_ENTRY(leaver) link;
    pid_t pid;
    int64_t kill_ns;
};

void hosts_init(struct hosts *hosts, const char *folder, unsigned slot, const struct rlimit *files)
{
    *hosts = (struct hosts){.spawn = {folder, slot, *files}, .sweep_ns = INT64_MAX};
    TAILQ_INIT(&hosts->list);
    LIST_INIT(&hosts->leavers);
}

/*** Those there are ***/

static bool serves(const struct host *host, const struct job *job)
{
    if (job->kind != KIND_BUILTIN)
        return host->job == job->id;
    return host->job == 0 && host->retries == job->options.retries && host->recycle == job->options.recycle &&
           strcmp(host->function, job->function) == 0;
}

static struct host *find(const struct hosts *hosts, const struct job *job)
{
    struct host *host;
    TAILQ_FOREACH (host, &hosts->list, link) {
        if (serves(host, job))
            return host;
    }
    return NULL;
}

static void free_host(struct hosts *hosts, struct host *host)
{
    TAILQ_REMOVE(&hosts->list, host, link);
    arena_close(&host->arena);
    free(host->function);
    free(host->text);
    free(host);
}

static int make(struct hosts *hosts, const struct job *job, struct host **out)
{
    struct host *host = calloc(1, sizeof *host);
    if (!host)
        return -ENOMEM;
    host->job = job->kind == KIND_BUILTIN ? 0 : job->id;
    host->retries = job->options.retries;
    host->recycle = job->options.recycle;
    host->arena.fd = host->socket = host->output = -1;
    TAILQ_INSERT_TAIL(&hosts->list, host, link);
    host->function = strdup(job->function);
    host->text = malloc(TEXT_ROOM);
    int rc = host->function && host->text ? arena_open(&host->arena) : -ENOMEM;
    if (rc < 0)
        free_host(hosts, host);
    else
        *out = host;
    return rc;
}

int hosts_get(struct hosts *hosts, const struct job *job, struct host **out)
{
    struct host *host = find(hosts, job);
    if (!host)
        return make(hosts, job, out);
    if (host->arena.fd < 0) {
        int rc = arena_open(&host->arena);
        if (rc < 0)
            return rc;
    }
    TAILQ_REMOVE(&hosts->list, host, link);
    TAILQ_INSERT_TAIL(&hosts->list, host, link);
    *out = host;
    return 0;
}

static void let_go(struct hosts *hosts, struct host *host, int64_t now_ns)
{
    host_retire(hosts, host, now_ns);
    free_host(hosts, host);
}

void hosts_forget(struct hosts *hosts, const struct job *job, int64_t now_ns)
{
    struct host *host = find(hosts, job);
    if (host && host->job != 0)
        let_go(hosts, host, now_ns);
}

void hosts_trim(struct hosts *hosts, const struct host *busy, int64_t now_ns)
{
    struct host *host, *next;
    unsigned count = 0;
    TAILQ_FOREACH (host, &hosts->list, link)
        count += host != busy;
    for (host = TAILQ_FIRST(&hosts->list); host && count > KEPT; host = next) {
        next = TAILQ_NEXT(host, link);
        if (host == busy || host->arena.large_items > 0)
            continue;
        let_go(hosts, host, now_ns);
        count--;
    }
}

/*** A process ***/

static int open_channels(struct host *host, int pair[2], int out[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    if (pipe2(out, O_CLOEXEC) < 0) {
        int rc = -errno;
        close(pair[0]);
        close(pair[1]);
        return rc;
    }
    host->socket = pair[0];
    host->output = out[0];
    return 0;
}

static void close_channels(struct host *host)
{
    if (host->socket >= 0)
        close(host->socket);
    if (host->output >= 0)
        close(host->output);
    host->socket = host->output = -1;
}

int host_start(struct hosts *hosts, struct host *host, const struct job *job)
{
    struct program program;
    int pair[2] = {-1, -1}, out[2] = {-1, -1};
    int rc = program_make(&program, &hosts->spawn, job);
    if (rc == 0)
        rc = open_channels(host, pair, out);
    if (rc == 0) {
        pid_t pid = -EIO;
        if (fcntl(out[0], F_SETFL, O_NONBLOCK) == 0)
            pid = program_start(&program, &hosts->spawn, job, pair[1], host->arena.fd, out[1]);
        close(pair[1]);
        close(out[1]);
        if (pid < 0) {
            close_channels(host);
            rc = pid;
        } else {
            host->pid = pid;
            host->ready = host->closed = host->prints = false;
            host->served = 0;
            host->text_size = 0;
            host->text_lost = 0;
        }
    }
    program_free(&program);
    return rc;
}

int host_send(struct host *host, enum host_message_type type, uint32_t value)
{
    const struct host_message message = {type, value};
    while (send(host->socket, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int host_receive(struct host *host, struct host_message *message, char *text)
{
    struct iovec part[2] = {{message, sizeof *message}, {text, HOST_TEXT_MAX}};
    struct msghdr packet = {.msg_iov = part, .msg_iovlen = 2};
    ssize_t n;
    /* ECONNRESET comes once, before what it said, when it has ended without reading all that it was told. */
    do
        n = recvmsg(host->socket, &packet, MSG_DONTWAIT);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0) {
        host->closed = true;
        return -EPIPE;
    }
    if ((size_t)n < sizeof *message)
        return -EPROTO;
    text[(size_t)n - sizeof *message] = '\0';
    return 1;
}

bool host_read_output(struct host *host)
{
    while (host->output >= 0 && host->text_size < TEXT_ROOM - TEXT_RESERVE) {
        ssize_t n =
            read(host->output, host->text + host->text_size, TEXT_ROOM - TEXT_RESERVE - host->text_size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0) { /* closed by the host and all that has it; it may go on for long */
            close(host->output);
            host->output = -1;
        }
        if (n <= 0)
            return true;
        host->text_size += (size_t)n;
        host->prints = true;
    }
    return host->output < 0;
}

uint64_t host_throw_away_output(struct host *host)
{
    char waste[4096];
    ssize_t n;
    do
        n = host->output >= 0 ? read(host->output, waste, sizeof waste) : 0;
    while (n < 0 && errno == EINTR);
    return n > 0 ? (uint64_t)n : 0;
}

struct arena_text host_text(struct host *host)
{
    if (host->text_lost > 0 && host->text_size <= TEXT_ROOM - TEXT_RESERVE) {
        int n = snprintf(host->text + host->text_size, TEXT_RESERVE,
                         "\n[%" PRIu64 " bytes more were not kept]\n", host->text_lost);
        host->text_size += n > 0 ? (size_t)n : 0;
        host->text_lost = 0;
    }
    return (struct arena_text){host->text, host->text_size};
}

void host_text_told(struct host *host, size_t left)
{
    host->text_size = left;
}

/*** Its end ***/

void host_kill(const struct host *host)
{
    if (host->pid == 0)
        return;
    (void)kill(-host->pid, SIGKILL); /* it may not have a session of its own yet */
    (void)kill(host->pid, SIGKILL);
}

void host_ended(struct host *host)
{
    close_channels(host);
    host->pid = 0;
}

void host_retire(struct hosts *hosts, struct host *host, int64_t now_ns)
{
    if (host->pid == 0)
        return;
    struct leaver *leaver = malloc(sizeof *leaver);
    if (leaver) {
        *leaver = (struct leaver){.pid = host->pid, .kill_ns = now_ns + LEAVE_MS * INT64_C(1000000)};
        LIST_INSERT_HEAD(&hosts->leavers, leaver, link);
    } else {
        host_kill(host); /* nobody will remember it, so it is reaped as any child is */
        hosts->sweep_ns = now_ns;
    }
    host_ended(host);
    arena_close(&host->arena); /* the old process may still write to it */
}

static bool is_host(const void *cookie, pid_t pid)
{
    const struct hosts *hosts = cookie;
    const struct host *host;
    const struct leaver *leaver;
    TAILQ_FOREACH (host, &hosts->list, link) {
        if (host->pid == pid)
            return true;
    }
    LIST_FOREACH (leaver, &hosts->leavers, link) {
        if (leaver->pid == pid)
            return true;
    }
    return false;
}

static void sweep(struct hosts *hosts, int64_t now_ns)
{
    hosts->sweep_ns = reap_sweep(is_host, hosts) ? INT64_MAX : now_ns + SWEEP_AGAIN_MS * INT64_C(1000000);
}

struct host *hosts_reaped(struct hosts *hosts, pid_t pid)
{
    struct host *host;
    struct leaver *leaver;
    TAILQ_FOREACH (host, &hosts->list, link) {
        if (host->pid == pid) {
            hosts->sweep_ns = 0;
            return host;
        }
    }
    LIST_FOREACH (leaver, &hosts->leavers, link) {
        if (leaver->pid == pid) {
            LIST_REMOVE(leaver, link);
            free(leaver);
            hosts->sweep_ns = 0;
            break;
        }
    }
    return NULL;
}

int64_t hosts_tick(struct hosts *hosts, int64_t now_ns)
{
    int64_t due_ns = INT64_MAX;
    struct leaver *leaver;
    LIST_FOREACH (leaver, &hosts->leavers, link) {
        if (leaver->kill_ns <= now_ns) {
            (void)kill(-leaver->pid, SIGKILL);
            (void)kill(leaver->pid, SIGKILL);
            leaver->kill_ns = INT64_MAX;
        }
        due_ns = leaver->kill_ns < due_ns ? leaver->kill_ns : due_ns;
    }
    if (hosts->sweep_ns <= now_ns)
        sweep(hosts, now_ns);
    return hosts->sweep_ns < due_ns ? hosts->sweep_ns : due_ns;
}

void hosts_end(struct hosts *hosts)
{
    struct host *host, *next;
    struct leaver *leaver;
    for (host = TAILQ_FIRST(&hosts->list); host; host = next) {
        next = TAILQ_NEXT(host, link);
        host_kill(host);
        close_channels(host);
        free_host(hosts, host);
    }
    while ((leaver = LIST_FIRST(&hosts->leavers))) {
        LIST_REMOVE(leaver, link);
        free(leaver);
    }
    for (int i = 0; i < LAST_SWEEPS && !reap_sweep(is_host, hosts); i++)
        ;
}
