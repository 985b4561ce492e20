/*
 * Starting a private daemon; see start.h.
 */
#include "client/pmapc/start.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"
#include "common/clock.h"
#include "common/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define IDLE_EXIT_DEFAULT "600"
enum {
    WAIT_MS = 5000,
    AGAIN_MS = 100,    /* after a daemon that left the place to another which then does not listen */
    LOG_MAX = 1 << 20, /* bytes that the log may have grown to before it is begun anew */
};

struct start {
    const char *endpoint;
    char program[PATH_MAX]; /* with a slash, or a name to be looked for in PATH */
    char log_path[ENDPOINT_MAX + 16];
    int log_fd;
    off_t log_begin; /* where the log of our daemon begins */
};

static int64_t now_ms(void)
{
    return now_ns() / 1000000;
}

/* The pmapd that was built or installed with us, so that the two always fit; else one in PATH. */
static void find_program(char out[PATH_MAX])
{
    static const char *const places[] = {"pmapd", "../sbin/pmapd"};
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len > 0) {
        self[len] = '\0';
        char *slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
        for (size_t i = 0; slash && i < sizeof places / sizeof places[0]; i++) {
            int n = snprintf(out, PATH_MAX, "%s/%s", self, places[i]);
            if (n > 0 && n < PATH_MAX && access(out, X_OK) == 0)
                return;
        }
    }
    memcpy(out, "pmapd", sizeof "pmapd");
}

/* Opens the daemon's log, beside its socket. Returns 0 or an exit status. */
static int open_log(struct start *s)
{
    const char *path = endpoint_path(s->endpoint);
    int folder_len = (int)(strrchr(path, '/') - path);
    snprintf(s->log_path, sizeof s->log_path, "%.*s/pmapd.log", folder_len, path);
    s->log_fd = open(s->log_path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat st;
    if (s->log_fd < 0 || fstat(s->log_fd, &st) < 0) {
        tell("cannot open %s: %s", s->log_path, tell_errno(errno));
        return STATUS_NO_POOL;
    }
    if (st.st_size > LOG_MAX && ftruncate(s->log_fd, 0) == 0)
        st.st_size = 0;
    s->log_begin = st.st_size;
    return 0;
}

/* What a service manager has told the caller is for the caller: it is not the daemon that is ready with it.
 */
static void forget_manager(void)
{
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                        "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]); /* NOLINT(concurrency-mt-unsafe): the child has one thread */
}

/* The rest of the child: nothing of the caller's session, terminal, descriptors or signals goes on. Does not
 * return. */
static _Noreturn void become_daemon(const struct start *s, int error_fd)
{
    const char *idle_exit = getenv("PMAP_IDLE_EXIT");
    const char *argv[] = {
        "pmapd", "--private", "--idle-exit", idle_exit && *idle_exit ? idle_exit : IDLE_EXIT_DEFAULT,
        "-e",    s->endpoint, NULL};
    forget_manager();
    setsid();
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd >= 0 && chdir("/") == 0 && dup2(null_fd, STDIN_FILENO) >= 0 &&
        dup2(null_fd, STDOUT_FILENO) >= 0 && dup2(s->log_fd, STDERR_FILENO) >= 0) {
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* where the kernel has it not, pmapd closes them itself */
        execvp(s->program, (char *const *)argv);
    }
    int error = errno;
    while (write(error_fd, &error, sizeof error) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* Starts one daemon. Returns its pid, or a negative errno when it could not be executed. */
static pid_t spawn(const struct start *s)
{
    int pipe_fd[2];
    if (pipe2(pipe_fd, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        become_daemon(s, pipe_fd[1]);
    int error = errno;
    close(pipe_fd[1]);
    if (pid > 0) {
        /* The end of file is the exec that closed the other end. */
        ssize_t n;
        while ((n = read(pipe_fd[0], &error, sizeof error)) < 0 && errno == EINTR)
            ;
        if (n == 0)
            error = 0;
        else
            waitpid(pid, NULL, 0);
    }
    close(pipe_fd[0]);
    return error == 0 ? pid : -error;
}

/* Tells that the daemon did not start, with the last line that it has logged. */
static int tell_failure(const struct start *s, const char *what)
{
    char tail[2048];
    int fd = open(s->log_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    ssize_t len = 0;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > s->log_begin) {
        off_t from =
            st.st_size - s->log_begin < (off_t)sizeof tail ? s->log_begin : st.st_size - (off_t)sizeof tail;
        len = pread(fd, tail, sizeof tail - 1, from);
    }
    if (fd >= 0)
        close(fd);
    while (len > 0 && tail[len - 1] == '\n')
        len--;
    if (len <= 0) {
        tell("%s %s; its log is %s", s->program, what, s->log_path);
        return STATUS_NO_POOL;
    }
    tail[len] = '\0';
    const char *line = strrchr(tail, '\n');
    tell("%s %s: %s", s->program, what, line ? line + 1 : tail);
    return STATUS_NO_POOL;
}

/* Waits for the end of a child for up to timeout_ms. */
static void wait_child(pid_t pid, int timeout_ms)
{
    int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    poll(&poll_fd, 1, timeout_ms);
    if (fd >= 0)
        close(fd);
}

/* Starts daemons until one, ours or another's, listens. Returns 0 or an exit status. */
static int start_until_listening(const struct start *s)
{
    int64_t deadline_ms = now_ms() + WAIT_MS, again_ms = 0;
    pid_t pid = 0; /* 0: no child of ours runs */
    int pause_ms = 1;
    for (;;) {
        if (pid == 0 && now_ms() >= again_ms) {
            pid = spawn(s);
            if (pid < 0) {
                tell("cannot start %s: %s", s->program, tell_errno(pid));
                return STATUS_NO_POOL;
            }
        }
        int rc = endpoint_probe(s->endpoint, 0, NULL, NULL);
        if (rc == 0 || rc == -ETIMEDOUT)
            return 0;
        if (now_ms() >= deadline_ms)
            return tell_failure(s, "did not start listening within 5 s");
        wait_child(pid, pause_ms);
        pause_ms = pause_ms < 16 ? 2 * pause_ms : 16;
        int status;
        if (pid > 0 && waitpid(pid, &status, WNOHANG) == pid) {
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return tell_failure(s, "did not start");
            /*
             * It found the lock taken: by one that is about to listen, or by one that is about to leave. The
             * latter shows in that nobody listens after a while.
             */
            pid = 0;
            again_ms = now_ms() + AGAIN_MS;
        }
    }
}

/* Makes everything ready for a daemon at this endpoint. Returns 0 or an exit status. */
static int prepare(struct start *s)
{
    int rc = endpoint_make_folder(s->endpoint);
    if (rc < 0) {
        tell("cannot start a daemon at %s: %s", s->endpoint,
             rc == -EPERM ? "its folder is not yours alone" : tell_errno(rc));
        return STATUS_NO_POOL;
    }
    find_program(s->program);
    return open_log(s);
}

int start_daemon(const char *endpoint)
{
    struct start s = {.endpoint = endpoint, .log_fd = -1};
    int status = prepare(&s);
    if (status == 0)
        status = start_until_listening(&s);
    if (s.log_fd >= 0)
        close(s.log_fd);
    return status;
}

int start_again(const char *endpoint, pid_t *pid)
{
    struct start s = {.endpoint = endpoint, .log_fd = -1};
    int status = prepare(&s);
    pid_t child = status == 0 ? spawn(&s) : 0;
    if (child < 0) {
        tell("cannot start %s: %s", s.program, tell_errno(child));
        status = STATUS_NO_POOL;
    } else if (status == 0) {
        *pid = child;
    }
    if (s.log_fd >= 0)
        close(s.log_fd);
    return status;
}
