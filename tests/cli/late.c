/*
 * A pmap-launcher that tells late: stands between pmapd and the real one, which is beside it with ".real"
 * behind its name, and passes everything on, but a STARTED only when the worker has nothing to do any more,
 * having said that it is READY. Tells on stderr when it was so.
 */
#include "daemon/launcher/records.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    BROKER = 3,         /* where pmapd has its socket */
    PATIENCE_MS = 1200, /* with one worker: less than pmapd remembers who has come early */
    RESTFUL = 6,        /* looks in a row, LOOK_MS apart, at which all of its threads sleep */
    LOOK_MS = 10,
};

/* Does this thread sleep? */
static bool sleeps(int pid, const char *thread)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%.16s/stat", pid, thread);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    const char *name_end = n > 0 ? strrchr(text, ')') : NULL;
    return name_end && name_end[1] == ' ' && name_end[2] == 'S';
}

/* Does the process, with ZeroMQ's threads, sleep? */
static bool rests(int pid)
{
    char path[64];
    unsigned threads = 0;
    bool all = true;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *list = opendir(path);
    for (struct dirent *entry; list && (entry = readdir(list));) { /* NOLINT(concurrency-mt-unsafe) */
        if (entry->d_name[0] == '.')
            continue;
        threads++;
        all = all && sleeps(pid, entry->d_name);
    }
    if (list)
        closedir(list);
    return threads > 1 && all;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void wait_for(const struct record *started)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    const int64_t end_ms = now_ms() + PATIENCE_MS;
    int restful = 0;
    while (restful < RESTFUL && now_ms() < end_ms) {
        restful = rests(started->pid) ? restful + 1 : 0;
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "late: worker %u %s\n", (unsigned)started->worker,
            restful == RESTFUL ? "rested" : "was busy");
}

/* Passes one record on. Returns false when that was the last. */
static bool pass(int from, int to, bool hold)
{
    struct record record;
    int fd = -1;
    if (record_receive(from, 0, &record, &fd) <= 0)
        return false;
    if (hold && record.type == RECORD_STARTED)
        wait_for(&record);
    bool sent = record_send(to, &record, fd) == 0;
    if (fd >= 0)
        close(fd);
    return sent;
}

static _Noreturn void become_real(char **argv, int end)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof ".real");
    if (n > 0 && dup2(end, BROKER) >= 0 && prctl(PR_SET_PDEATHSIG, 9UL, 0UL, 0UL, 0UL) == 0) {
        snprintf(path + n, sizeof path - (size_t)n, ".real");
        execv(path, argv);
    }
    perror("late");
    _exit(127);
}

int main(int argc, char **argv)
{
    int ends[2];
    if (argc < 2 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return 2;
    pid_t pid = fork();
    if (pid == 0)
        become_real(argv, ends[1]);
    close(ends[1]);
    if (pid < 0)
        return 2;
    struct pollfd items[2] = {{.fd = BROKER, .events = POLLIN}, {.fd = ends[0], .events = POLLIN}};
    bool more = true;
    while (more && (poll(items, 2, -1) >= 0 || errno == EINTR)) {
        if (items[0].revents)
            more = pass(BROKER, ends[0], false);
        if (more && items[1].revents)
            more = pass(ends[0], BROKER, true);
    }
    close(ends[0]);
    waitpid(pid, NULL, 0);
    return 0;
}
