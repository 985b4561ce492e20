/*
 * The new process between fork and exec; see spawn.h. libzmq's thread is not in it, and what that held is in
 * whatever state it was, so everything here is safe as in a signal handler: no allocation, no stdio.
 */
#include "daemon/worker/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HIGH_FD = 20 }; /* above all that a host has */

/* Puts strings (the last is NULL) together. */
static size_t join(char *to, size_t room, va_list parts)
{
    size_t size = 0;
    const char *part;
    while ((part = va_arg(parts, const char *))) {
        size_t len = strnlen(part, room - size);
        memcpy(to + size, part, len);
        size += len;
    }
    return size;
}

/* Says why this will be no host, and ends. The strings end with a NULL. */
__attribute__((noreturn)) static void bad(int socket, ...)
{
    struct {
        struct host_message head;
        char text[HOST_TEXT_MAX];
    } message = {.head = {.type = HOST_BAD}};
    va_list parts;
    va_start(parts, socket);
    size_t size = join(message.text, sizeof message.text, parts);
    va_end(parts);
    (void)send(socket, &message, sizeof message.head + size, MSG_NOSIGNAL);
    _exit(1);
}

/* strerror() may allocate; this is a table. */
static const char *reason(int error)
{
    const char *text = strerrordesc_np(error);
    return text ? text : "unknown error";
}

static void set_descriptors(int socket, int arena, int output)
{
    int s = fcntl(socket, F_DUPFD_CLOEXEC, HIGH_FD), a = fcntl(arena, F_DUPFD_CLOEXEC, HIGH_FD),
        o = fcntl(output, F_DUPFD_CLOEXEC, HIGH_FD);
    if (s < 0 || a < 0 || o < 0)
        bad(socket, "cannot start a process: ", reason(errno), NULL);
    if (dup2(o, STDOUT_FILENO) < 0 || dup2(o, STDERR_FILENO) < 0 || dup2(s, HOST_SOCKET) < 0 ||
        dup2(a, HOST_ARENA) < 0)
        bad(s, "cannot start a process: ", reason(errno), NULL);
    /* All of our own are close-on-exec; this is for what a library may have forgotten. */
    (void)close_range(HOST_ARENA + 1, ~0U, CLOSE_RANGE_CLOEXEC);
}

static void set_signals(uint64_t ignored, uint64_t blocked)
{
    sigset_t mask;
    sigemptyset(&mask);
    for (int signal = 1; signal < NSIG; signal++) {
        uint64_t bit = UINT64_C(1) << (signal - 1);
        struct sigaction action = {.sa_handler = (ignored & bit) ? SIG_IGN : SIG_DFL};
        (void)sigaction(signal, &action, NULL); /* fails for KILL, STOP and those of libc itself */
        if (blocked & bit)
            sigaddset(&mask, signal);
    }
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

static rlim_t lesser(uint64_t a, rlim_t b)
{
    rlim_t limit = a == UINT64_MAX ? RLIM_INFINITY : (rlim_t)a;
    return limit < b ? limit : b;
}

/* A limit that this machine does not have is no reason to fail. */
static void set_limits(const struct call *call)
{
    for (size_t i = 0; i < call->rlimit_count; i++) {
        const struct call_rlimit *limit = &call->rlimits[i];
        struct rlimit own;
        if (getrlimit((__rlimit_resource_t)limit->resource, &own) < 0)
            continue;
        own.rlim_max = lesser(limit->hard, own.rlim_max);
        own.rlim_cur = lesser(limit->soft, own.rlim_max);
        if (setrlimit((__rlimit_resource_t)limit->resource, &own) < 0)
            bad(HOST_SOCKET, "cannot set the submitter's limits: ", reason(errno), NULL);
    }
}

static void set_priority(const struct call *call)
{
    cpu_set_t cpus[CALL_CPUS_MAX / sizeof(cpu_set_t)];
    errno = 0;
    int own = getpriority(PRIO_PROCESS, 0);
    if (errno == 0 && call->nice > own)
        (void)setpriority(PRIO_PROCESS, 0, call->nice); /* lower is always allowed */
    if (call->cpus_size == 0)
        return;
    memset(cpus, 0, sizeof cpus);
    for (size_t i = 0; i < call->cpus_size * 8; i++) {
        if (call->cpus[i / 8] & (1U << (i % 8)))
            CPU_SET_S(i, sizeof cpus, cpus);
    }
    /* Where none of them may be used by the worker, those that may be it has already. */
    (void)sched_setaffinity(0, sizeof cpus, cpus);
}

/* Returns the errno of the last place where it might have been. */
static int search(const struct program *p)
{
    char path[PATH_MAX];
    int error = ENOENT;
    for (const char *from = p->search, *end;; from = end + 1) {
        end = strchrnul(from, ':');
        size_t len = (size_t)(end - from), name = strlen(p->argv[0]);
        if (len + name + 2 <= sizeof path) {
            memcpy(path, from, len);
            if (len > 0)
                path[len++] = '/'; /* an empty one is the working directory */
            memcpy(path + len, p->argv[0], name + 1);
            execve(path, p->argv, p->env);
            if (errno != ENOENT && errno != ENOTDIR)
                error = errno;
        }
        if (*end == '\0')
            return error;
    }
}

__attribute__((noreturn)) static void become(const struct program *p, const struct spawn *spawn,
                                             const struct job *job, pid_t worker)
{
    const struct call *call = &job->call;
    bool of_submitter =
        job->kind != KIND_BUILTIN; /* whose state makes no difference to what a builtin does */
    if (setsid() < 0)
        bad(HOST_SOCKET, "cannot start a session: ", reason(errno), NULL);
    /* A user's code may never look at the socket again; pmap-exec does, and has processes to end first. */
    if (!job_is_exec(job) && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        bad(HOST_SOCKET, "cannot ask for a death signal: ", reason(errno), NULL);
    if (getppid() != worker)
        _exit(1);
    if (setrlimit(RLIMIT_NOFILE, &spawn->files) < 0)
        bad(HOST_SOCKET, "cannot set the limit of open files: ", reason(errno), NULL);
    if (of_submitter) {
        set_priority(call);
        umask((mode_t)call->umask);
        if (call->cwd && chdir(call->cwd) < 0)
            bad(HOST_SOCKET, "cannot enter ", call->cwd, ": ", reason(errno), NULL);
        if (!job_is_exec(job))
            set_limits(call);
    }
    set_signals(of_submitter ? call->ignored : 0, of_submitter ? call->blocked : 0);
    int error = 0;
    if (p->path) {
        execve(p->path, p->argv, p->env);
        error = errno;
    } else {
        error = search(p);
    }
    bad(HOST_SOCKET, "cannot run ", p->argv[0], ": ", reason(error), NULL);
}

pid_t program_start(const struct program *p, const struct spawn *spawn, const struct job *job, int socket,
                    int arena, int output)
{
    pid_t worker = getpid(), pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        set_descriptors(socket, arena, output);
        become(p, spawn, job, worker);
    }
    return pid;
}
