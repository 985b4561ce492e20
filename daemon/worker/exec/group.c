/*
 * The control group of items; see group.h. Kernels (seen: Debian's 6.1.0-50, and 6.18) kill what is born by
 * clone3 into a group that was killed at any time before. So one that was killed is
 * marked, by having no write permission for its owner, and removed before another takes its place.
 */
#include "daemon/worker/exec/group.h"

#include "common/smallfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN "/worker" /* how the name of our group ends; daemon/launcher/cgroup.h */

/* More than a worker has pmap-execs, those that are leaving included. */
enum { GROUPS = 16 };

/* Our group's path without that end. Returns whether it has it. */
static bool find_workers(char path[PATH_MAX])
{
    char text[PATH_MAX];
    if (smallfile_read(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) < 0)
        return false;
    const char *own = smallfile_line(text, "0::");
    const size_t end = sizeof OWN - 1;
    size_t len = own ? strcspn(own, "\n") : 0;
    if (len <= end || strncmp(own + len - end, OWN, end) != 0)
        return false;
    int n = snprintf(path, PATH_MAX, "/sys/fs/cgroup%.*s", (int)(len - end), own);
    return n > 0 && n < PATH_MAX;
}

/* The folder, locked, which says that it is taken for as long as it is open; -1: it is not to be had. */
static int lock(const char *path)
{
    struct stat st;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0 && flock(folder, LOCK_EX | LOCK_NB) == 0 && fstat(folder, &st) == 0 &&
        (st.st_mode & S_IWUSR))
        return folder;
    if (folder >= 0)
        close(folder);
    return -1;
}

/* Whatever the umask is. Returns whether it is new. */
static bool make(const char *path)
{
    return mkdir(path, 0755) == 0 && chmod(path, 0755) == 0;
}

static int take(const char *path)
{
    if (!make(path) && errno != EEXIST)
        return -1;
    int folder = lock(path);
    /* One that is marked, and that nothing is in any more. */
    if (folder < 0 && rmdir(path) == 0 && make(path))
        folder = lock(path);
    return folder;
}

void group_take(struct group *group)
{
    char workers[PATH_MAX];
    group->folder = -1;
    group->killed = false;
    if (!find_workers(workers))
        return;
    for (int i = 0; i < GROUPS && group->folder < 0; i++) {
        int n = snprintf(group->path, sizeof group->path, "%s/e%d", workers, i);
        if (n > 0 && n < (int)sizeof group->path)
            group->folder = take(group->path);
    }
    /* An item as a whole, or it would go on without a part of it. */
    if (group->folder >= 0)
        smallfile_write(group->folder, "memory.oom.group", "1");
}

bool group_renew(struct group *group)
{
    if (!group->killed)
        return false;
    close(group->folder);
    group_take(group);
    return true;
}

void group_kill(struct group *group)
{
    if (group->folder < 0)
        return;
    group->killed = true;
    fchmod(group->folder, 0555);
    smallfile_write(group->folder, "cgroup.kill", "1");
}
