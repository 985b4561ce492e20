/* The daemon under attack and the peers in processes of their own: started, watched and ended by pid. */
#include "common/endpoint.h"
#include "tests/cli/hostile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: it must not outlive this program, nor get what is sent to its terminal. */
static void begin_child(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    setpgid(0, 0);
}

static void exec_daemon(const struct arena *a, const struct daemon *d, unsigned files)
{
    struct rlimit limit = {.rlim_cur = files, .rlim_max = files};
    if (files > 0 && setrlimit(RLIMIT_NOFILE, &limit) < 0)
        _exit(127);
    /* The memory that a sanitizer keeps back would look like the daemon's. */
    setenv("ASAN_OPTIONS", "quarantine_size_mb=8", 0);
    dup2(d->log_fd, STDOUT_FILENO);
    dup2(d->log_fd, STDERR_FILENO);
    execl(a->program, "pmapd", "--private", "-e", d->endpoint, "-n", "2", (char *)NULL);
    dprintf(STDERR_FILENO, "%s: %s\n", a->program, strerror(errno));
    _exit(127);
}

/* Has it ended? Says how. */
static bool has_ended(struct arena *a, struct daemon *d)
{
    int status;
    if (d->pid == 0)
        return true;
    if (waitpid(d->pid, &status, WNOHANG) != d->pid)
        return false;
    if (WIFSIGNALED(status))
        complain(a, "the daemon was killed by signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        complain(a, "the daemon has exited with status %d", WEXITSTATUS(status));
    d->pid = 0;
    return true;
}

bool daemon_start(struct arena *a, struct daemon *d, unsigned files)
{
    char log_path[64];
    *d = (struct daemon){.log_fd = -1};
    snprintf(d->folder, sizeof d->folder, "/tmp/pmap-hostile-XXXXXX");
    if (mkdtemp(d->folder) == NULL)
        return complain(a, "mkdtemp: %s", strerror(errno));
    snprintf(d->endpoint, sizeof d->endpoint, "ipc://%s/s", d->folder);
    snprintf(log_path, sizeof log_path, "%s/log", d->folder);
    d->log_fd = open(log_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (d->log_fd < 0)
        return complain(a, "%s: %s", log_path, strerror(errno));
    pid_t parent = getpid();
    d->pid = fork();
    if (d->pid == 0) {
        begin_child(parent);
        exec_daemon(a, d, files);
    }
    if (d->pid < 0) {
        d->pid = 0;
        return complain(a, "fork: %s", strerror(errno));
    }
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until; pause_briefly()) {
        if (has_ended(a, d))
            return false;
        if (endpoint_probe(d->endpoint, PATIENCE_MS, NULL, NULL) == 0)
            return true;
    }
    return complain(a, "the daemon does not listen");
}

void daemon_kill(struct daemon *d)
{
    char path[64];
    if (d->pid > 0) {
        kill(d->pid, SIGKILL);
        while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        d->pid = 0;
    }
    if (d->log_fd >= 0 && d->folder[0] != '\0')
        close(d->log_fd);
    d->log_fd = -1;
    static const char *const files[] = {"s", "s.lock", "log"};
    for (size_t i = 0; d->folder[0] != '\0' && i < COUNT_OF(files); i++) {
        snprintf(path, sizeof path, "%s/%s", d->folder, files[i]);
        unlink(path);
    }
    if (d->folder[0] != '\0')
        rmdir(d->folder);
    d->folder[0] = '\0';
}

/*** The log ***/

/* What no log may have in it. */
static bool check_log_line(struct arena *a, const char *line)
{
    static const char *const marks[] = {"Sanitizer", "runtime error:", "Assertion", "WARNING: Thread"};
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        if (strstr(line, marks[i]) != NULL)
            return complain(a, "the daemon's log says: %.300s", line);
    }
    for (const char *c = line; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c))
            return complain(a, "a control character (%d) got into the daemon's log", *c);
    }
    return true;
}

/* Looks at what has been added since the last look, whole lines only. */
static bool check_log(struct arena *a, struct daemon *d)
{
    char text[8192];
    ssize_t got;
    while ((got = pread(d->log_fd, text, sizeof text - 1, d->log_seen)) > 0) {
        text[got] = '\0';
        char *line = text, *end;
        while ((end = strchr(line, '\n')) != NULL) {
            *end = '\0';
            if (!check_log_line(a, line))
                return false;
            line = end + 1;
        }
        if (line == text) /* half a line, or one too long to be looked at in one piece */
            return got == sizeof text - 1 ? complain(a, "a line in the log is too long") : true;
        d->log_seen += line - text;
    }
    return true;
}

unsigned daemon_log_lines(const struct daemon *d)
{
    char text[4096];
    ssize_t got;
    off_t at = 0;
    unsigned lines = 0;
    while ((got = pread(d->log_fd, text, sizeof text, at)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            lines += text[i] == '\n';
        at += got;
    }
    return lines;
}

void daemon_print_log(const struct daemon *d)
{
    char text[4096];
    off_t size = d->log_fd >= 0 ? lseek(d->log_fd, 0, SEEK_END) : 0;
    off_t at = size > 16384 ? size - 16384 : 0;
    ssize_t got;
    bool begins = true;
    while (d->log_fd >= 0 && (got = pread(d->log_fd, text, sizeof text, at)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            printf("%s%c", begins ? "# | " : "", text[i]);
            begins = text[i] == '\n';
        }
        at += got;
    }
    if (!begins)
        putchar('\n');
}

bool daemon_lives(struct arena *a, struct daemon *d)
{
    bool clean = check_log(a, d);
    return !has_ended(a, d) && clean;
}

bool daemon_stop(struct arena *a, struct daemon *d)
{
    if (!daemon_lives(a, d))
        return false;
    kill(d->pid, SIGTERM);
    int status = 0;
    pid_t ended = 0;
    for (int64_t until = now_ms() + PATIENCE_MS; ended == 0 && now_ms() < until; pause_briefly())
        ended = waitpid(d->pid, &status, WNOHANG);
    if (ended != d->pid)
        return complain(a, "the daemon does not end after SIGTERM");
    d->pid = 0;
    if (!check_log(a, d))
        return false;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return complain(a, "after SIGTERM the daemon ended with wait status 0x%x", (unsigned)status);
    return true;
}

/*** Memory ***/

long daemon_rss_kb(const struct daemon *d)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)d->pid);
    FILE *f = d->pid > 0 ? fopen(path, "re") : NULL;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    }
    if (f != NULL)
        fclose(f);
    return kb;
}

bool daemon_is_small(struct arena *a)
{
    long kb = 0;
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until; pause_briefly()) {
        kb = daemon_rss_kb(&a->daemon);
        if (kb < 0)
            return complain(a, "the daemon is gone");
        if (kb <= RSS_MOST_KB || SANITIZED)
            return true;
    }
    return complain(a, "the daemon holds %ld kB of memory, more than %d", kb, RSS_MOST_KB);
}

/*** Peers in processes of their own ***/

bool role_start(struct arena *a, const char *role, const char *endpoint, pid_t *pid, int *out)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return complain(a, "pipe: %s", strerror(errno));
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        begin_child(parent);
        dup2(ends[1], STDOUT_FILENO);
        execl(a->self, "hostile", "--role", role, endpoint, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return complain(a, "fork: %s", strerror(errno));
    }
    *pid = child;
    *out = ends[0];
    return true;
}

bool role_ready(struct arena *a, int out, char *byte)
{
    struct pollfd item = {.fd = out, .events = POLLIN};
    while (poll(&item, 1, PATIENCE_MS) < 0 && errno == EINTR)
        ;
    if (item.revents == 0 || read(out, byte, 1) != 1)
        return complain(a, "a peer in a process of its own failed, or is too slow");
    return true;
}

void role_end(pid_t pid, int out, int kill_signal)
{
    if (kill_signal != 0)
        kill(pid, kill_signal);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(out);
}
