/* Killing what hosts leave behind; see reap.h. */
#include "daemon/worker/reap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PASSES = 200,            /* of a sweep */
    PASS_NS = 500000,        /* between two passes, once there is nothing new to kill */
    CHILDREN_MAX = 64 << 10, /* bytes of a list of children that are read at a time */
};

int reap_init(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

pid_t reap_next(int *status)
{
    pid_t pid;
    do
        pid = waitpid(-1, status, WNOHANG);
    while (pid < 0 && errno == EINTR);
    return pid > 0 ? pid : 0;
}

/* Reads the children of the one thread that has any, as many as fit. Returns the bytes, NUL-terminated. */
static size_t read_children(char *list)
{
    char path[64];
    size_t size = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    for (;;) {
        ssize_t n = read(fd, list + size, CHILDREN_MAX - 1 - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        size += (size_t)n;
    }
    close(fd);
    list[size] = '\0';
    return size;
}

struct others {
    bool (*is_host)(const void *cookie, pid_t pid);
    const void *cookie;
};

/* The next child of the list that is no host, and *list behind it; 0: there is none. */
static pid_t next_other(const struct others *others, const char **list)
{
    for (;;) {
        char *end;
        pid_t pid = (pid_t)strtol(*list, &end, 10);
        /* A blank is behind each: without it the number may go on where the list was cut. */
        if (end == *list || *end != ' ' || pid <= 0)
            return 0;
        *list = end;
        if (!others->is_host(others->cookie, pid))
            return pid;
    }
}

/* Sends a signal to each child that is no host. Returns how many there are, ended ones included. */
static size_t signal_others(const struct others *others, const char *list, int signal)
{
    size_t count = 0;
    pid_t pid;
    for (; (pid = next_other(others, &list)) > 0; count++)
        (void)kill(pid, signal); /* it was not waited for: its number is nobody else's */
    return count;
}

/* Waits for those of the list that have ended. */
static void wait_others(const struct others *others, const char *list)
{
    pid_t pid;
    while ((pid = next_other(others, &list)) > 0)
        (void)waitpid(pid, NULL, WNOHANG);
}

bool reap_sweep(bool (*is_host)(const void *cookie, pid_t pid), const void *cookie)
{
    static char list[CHILDREN_MAX];
    const struct others others = {is_host, cookie};
    for (int pass = 0; pass < PASSES; pass++) {
        read_children(list);
        /* Stopped first, all of them, so that none forks while the others die. */
        if (signal_others(&others, list, SIGSTOP) == 0)
            return true;
        signal_others(&others, list, SIGKILL);
        wait_others(&others, list);
        const struct timespec pause = {.tv_nsec = PASS_NS};
        nanosleep(&pause, NULL);
    }
    return false;
}
