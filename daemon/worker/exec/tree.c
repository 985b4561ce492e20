/* The processes that came of an item; see tree.h. */
#include "daemon/worker/exec/tree.h"

#include "common/smallfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reaped in one go, so that a flood of processes does not keep us from our clock and our socket. */
enum { REAPED_AT_ONCE = 1000 };

/* Does the kernel keep lists of children (CONFIG_PROC_CHILDREN)? */
static bool has_lists;

int tree_init(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    has_lists = access(path, R_OK) == 0;
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

enum tree_left tree_reap(pid_t process, struct reaped *reaped)
{
    for (int i = 0; i < REAPED_AT_ONCE; i++) {
        struct rusage usage;
        int status;
        pid_t pid = wait4(-1, &status, WNOHANG | __WALL, &usage);
        if (pid < 0)
            return TREE_NONE;
        if (pid == 0)
            return TREE_SOME;
        reaped->count++;
        reaped->cpu_ns += (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * UINT64_C(1000000000) +
                          (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
        uint64_t peak = (uint64_t)usage.ru_maxrss * 1024;
        if (peak > reaped->peak_bytes)
            reaped->peak_bytes = peak;
        if (pid == process) {
            reaped->ended = true;
            reaped->status = status;
        }
    }
    return TREE_MORE;
}

struct pids {
    pid_t *list;
    size_t count, size;
};

static void pids_add(struct pids *pids, pid_t pid)
{
    if (pids->count == pids->size) {
        size_t size = pids->size ? 2 * pids->size : 64;
        pid_t *list = realloc(pids->list, size * sizeof *list);
        if (!list)
            return; /* what is not found now is found when its parent is gone */
        pids->list = list;
        pids->size = size;
    }
    pids->list[pids->count++] = pid;
}

/* The numbers in a file, space between them. */
static void add_numbers(struct pids *pids, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    char buffer[4096];
    pid_t pid = 0;
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (buffer[i] >= '0' && buffer[i] <= '9') {
                pid = pid * 10 + (buffer[i] - '0');
            } else if (pid > 0) {
                pids_add(pids, pid);
                pid = 0;
            }
        }
    }
    if (pid > 0)
        pids_add(pids, pid);
    close(fd);
}

/* What /proc tells of a process. Returns false if it is gone. */
static bool look_at(pid_t pid, char *state, pid_t *parent)
{
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (smallfile_read(AT_FDCWD, path, stat, sizeof stat) <= 0)
        return false;
    /* The name, in parentheses, may hold anything; then the state, then the parent. */
    const char *name_end = strrchr(stat, ')');
    if (!name_end || strlen(name_end) < 5)
        return false;
    *state = name_end[2];
    *parent = (pid_t)strtol(name_end + 4, NULL, 10);
    return true;
}

static pid_t pid_of(const char *name)
{
    char *end;
    long pid = strtol(name, &end, 10);
    return *end || pid <= 0 ? -1 : (pid_t)pid;
}

/* Where the kernel keeps no list of children: asks every process for its parent. */
static void add_by_parent(struct pids *pids, pid_t parent)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return;
    for (struct dirent *entry; (entry = readdir(proc));) {
        pid_t pid = pid_of(entry->d_name), its_parent;
        char state;
        if (pid > 0 && look_at(pid, &state, &its_parent) && its_parent == parent)
            pids_add(pids, pid);
    }
    closedir(proc);
}

/* The children of all threads of a process. */
static void add_children(struct pids *pids, pid_t parent)
{
    if (!has_lists) {
        add_by_parent(pids, parent);
        return;
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)parent);
    DIR *tasks = opendir(path);
    if (!tasks)
        return;
    for (struct dirent *entry; (entry = readdir(tasks));) {
        pid_t thread = pid_of(entry->d_name);
        if (thread < 0)
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)thread);
        add_numbers(pids, path);
    }
    closedir(tasks);
}

bool tree_find(bool (*look)(pid_t pid, void *cookie), void *cookie)
{
    struct pids pids = {0};
    bool found = false;
    add_children(&pids, getpid());
    for (size_t i = 0; !found && i < pids.count; i++) {
        /* In this order: what is told to end may have lost its children when it is looked at again. */
        add_children(&pids, pids.list[i]);
        found = look(pids.list[i], cookie);
    }
    free(pids.list);
    return found;
}

static bool runs(pid_t pid, void *cookie)
{
    (void)cookie;
    char state;
    pid_t parent;
    return look_at(pid, &state, &parent) && (state == 'R' || state == 'D');
}

bool tree_runs(void)
{
    return tree_find(runs, NULL);
}

static bool signal_one(pid_t pid, void *cookie)
{
    kill(pid, *(const int *)cookie);
    kill(pid, SIGCONT);
    return false;
}

void tree_signal(int number)
{
    tree_find(signal_one, &number);
}

size_t tree_kill(void)
{
    struct pids pids = {0};
    add_children(&pids, getpid());
    size_t killed = 0;
    pid_t own = getpgrp(), last = 0;
    for (size_t i = 0; i < pids.count; i++) {
        /*
         * Whole groups first: that reaches all of a group at one instant, so that a process which does
         * nothing but fork cannot get away. Children of ours, not reaped yet: their numbers are still theirs.
         */
        pid_t group = getpgid(pids.list[i]);
        if (group > 1 && group != own && group != last) {
            kill(-group, SIGKILL);
            last = group;
        }
        killed += kill(pids.list[i], SIGKILL) == 0;
    }
    free(pids.list);
    return killed;
}
