/*
 * Walks trees of processes by /proc/PID/task/TID/children; see tree.h.
 */
#include "daemon/launcher/tree.h"

#include "common/smallfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 64,          /* a descriptor is open for each level; what is deeper surfaces as strays */
    STOP_ROUNDS = 8,         /* most looks for processes that have not been stopped yet */
    CHILDREN_MAX = 16 << 20, /* bytes of one list of children */
    FIELD_PARENT = 4,        /* of /proc/PID/stat, from 1; the state is the one before */
    FIELD_THREADS = 20,
};

/* What is done on a walk, and what was seen. */
struct walk {
    pid_t one; /* only this child of ours; 0: all that are not spared */
    tree_spared *spared;
    void *arg;
    int signal;     /* SIGSTOP or SIGKILL */
    unsigned found; /* alive; that may be killed */
    unsigned fresh; /* of these, those that were not stopped */
    int error;
};

/* One process's line in /proc. */
struct process {
    char state;
    pid_t parent;
    long threads;
};

/*** Reading /proc ***/

/* Reads a file into malloc'd room, NUL-terminated. NULL with errno set when that fails. */
static char *read_list(const char *path)
{
    size_t room = 512, used = 0;
    char *text = NULL;
    ssize_t n = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    while (n > 0) {
        char *more = used + 1 < room && text ? text : realloc(text, text ? room *= 2 : room);
        if (!more || room > CHILDREN_MAX) {
            errno = ENOMEM;
            text = more ? more : text;
            n = -1;
            break;
        }
        text = more;
        n = read(fd, text + used, room - used - 1);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            used += (size_t)n;
    }
    int error = errno;
    close(fd);
    if (n < 0) {
        free(text);
        errno = error;
        return NULL;
    }
    text[used] = '\0';
    return text;
}

static bool read_process(pid_t pid, struct process *process)
{
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (smallfile_read(AT_FDCWD, path, text, sizeof text) <= 0)
        return false;
    /* The name in brackets is the process's own choice and may hold brackets itself. */
    char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || at[2] == '\0')
        return false;
    process->state = at[2];
    at += 3;
    for (int field = FIELD_PARENT; field <= FIELD_THREADS; field++) {
        char *end;
        long value = strtol(at, &end, 10);
        if (end == at)
            return false;
        if (field == FIELD_PARENT)
            process->parent = (pid_t)value;
        process->threads = value;
        at = end;
    }
    return true;
}

/*** Walking ***/

/* A process whose children are looked at. */
struct parent {
    pid_t pid;
    int pidfd; /* -1: ourselves */
    long threads;
    int depth;
};

static void walk_children(struct walk *walk, const struct parent *parent);

static bool exists(int pidfd)
{
    return pidfd < 0 || pidfd_send_signal(pidfd, 0, NULL, 0) == 0 || errno == EPERM;
}

/* Does it run, or could it? The first thread of one that does may be a zombie. */
static bool is_alive(const struct process *process)
{
    return process->state != 'X' && (process->state != 'Z' || process->threads > 1);
}

/*
 * A process that was listed as a child of this parent. Its number may have passed to another since then: so
 * it is looked at again once a descriptor holds it, and it counts if then its parent was the same, and both
 * existed still afterwards.
 */
static void walk_process(struct walk *walk, pid_t pid, const struct parent *parent)
{
    struct process process;
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        if (errno != ESRCH && errno != EINVAL)
            walk->error = errno;
        return;
    }
    if (read_process(pid, &process) && process.parent == parent->pid && is_alive(&process) && exists(pidfd) &&
        exists(parent->pidfd)) {
        const struct parent below = {pid, pidfd, process.threads, parent->depth + 1};
        bool stopped = process.state == 'T' || process.state == 't';
        bool may = pidfd_send_signal(pidfd, walk->signal == SIGSTOP && !stopped ? SIGSTOP : 0, NULL, 0) == 0;
        walk->found += may;
        walk->fresh += may && !stopped;
        walk_children(walk, &below);
        /* From below: what it leaves would not be found below it any more. */
        if (walk->signal == SIGKILL)
            pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    }
    close(pidfd);
}

/* All those in a list of numbers, save our own children that are spared. */
static void walk_list(struct walk *walk, const char *list, const struct parent *parent)
{
    char *end = NULL;
    for (const char *at = list; *at; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at)
            break;
        while (*end == ' ')
            end++;
        if (parent->pidfd >= 0 || !walk->spared(walk->arg, (pid_t)pid))
            walk_process(walk, (pid_t)pid, parent);
    }
}

/* The children that one thread has. */
static void walk_thread(struct walk *walk, const struct parent *parent, pid_t thread)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent->pid, (int)thread);
    char *list = read_list(path);
    if (list)
        walk_list(walk, list, parent);
    else if (errno != ENOENT && errno != ESRCH)
        walk->error = errno;
    free(list);
}

static void walk_children(struct walk *walk, const struct parent *parent)
{
    char path[32];
    if (parent->depth > DEPTH_MAX)
        return;
    if (parent->threads <= 1) {
        walk_thread(walk, parent, parent->pid);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/task", (int)parent->pid);
    DIR *folder = opendir(path);
    if (!folder) {
        if (errno != ENOENT && errno != ESRCH)
            walk->error = errno;
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(folder))) { /* NOLINT(concurrency-mt-unsafe): there are no threads */
        long thread = strtol(entry->d_name, NULL, 10);
        if (thread > 0)
            walk_thread(walk, parent, (pid_t)thread);
    }
    closedir(folder);
}

/*** What is killed ***/

static void walk_roots(struct walk *walk)
{
    const struct parent ours = {.pid = getpid(), .pidfd = -1, .threads = 1};
    if (walk->one > 0)
        walk_process(walk, walk->one, &ours);
    else
        walk_children(walk, &ours);
}

/* Stops all until a look finds none that runs, then kills them. */
static void kill_roots(struct walk *walk)
{
    for (int round = 0; round < STOP_ROUNDS; round++) {
        walk->signal = SIGSTOP;
        walk->found = walk->fresh = 0;
        walk_roots(walk);
        if (walk->fresh == 0)
            break;
    }
    if (walk->found == 0)
        return;
    walk->signal = SIGKILL;
    walk->found = walk->fresh = 0;
    walk_roots(walk);
}

int tree_check(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    return access(path, R_OK) < 0 ? -errno : 0;
}

void tree_kill(pid_t child)
{
    struct walk walk = {.one = child};
    kill_roots(&walk);
    kill(child, SIGKILL); /* not waited for, so the number is its own; even when /proc could not be read */
}

int tree_kill_strays(tree_spared *spared, void *arg)
{
    struct walk walk = {.spared = spared, .arg = arg};
    kill_roots(&walk);
    return walk.error != 0 ? -walk.error : (int)walk.found;
}
