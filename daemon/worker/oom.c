/* The kernel's counts of processes killed for want of memory; see oom.h. */
#include "daemon/worker/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX_SIZE = 16 << 10 }; /* /proc/vmstat is a few KiB */

/* Reads a small file of the kernel's as a string. Returns whether it could. */
static bool read_file(const char *path, char text[FILE_MAX_SIZE])
{
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (size < FILE_MAX_SIZE - 1) {
        ssize_t n = read(fd, text + size, FILE_MAX_SIZE - 1 - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        size += (size_t)n;
    }
    close(fd);
    text[size] = '\0';
    return size > 0;
}

/* The number behind "NAME " at the beginning of a line. */
static uint64_t number_of(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            return strtoull(line + len + 1, NULL, 10);
    }
    return UINT64_MAX;
}

void oom_read(struct oom *now)
{
    char text[FILE_MAX_SIZE], path[PATH_MAX];
    *now = (struct oom){UINT64_MAX, UINT64_MAX};
    if (read_file("/proc/vmstat", text))
        now->machine = number_of(text, "oom_kill");
    if (!read_file("/proc/self/cgroup", text))
        return;
    const char *group = strstr(text, "0::/");
    if (!group)
        return;
    group += strlen("0::");
    int n = snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/memory.events", (int)strcspn(group, "\n"), group);
    if (n > 0 && (size_t)n < sizeof path && read_file(path, text))
        now->cgroup = number_of(text, "oom_kill");
}

static bool has_risen(uint64_t before, uint64_t after)
{
    return before != UINT64_MAX && after != UINT64_MAX && after > before;
}

const char *oom_text(const struct oom *before, const struct oom *after)
{
    if (has_risen(before->cgroup, after->cgroup))
        return "by the kernel's out-of-memory killer";
    if (has_risen(before->machine, after->machine))
        return "probably by the kernel's out-of-memory killer";
    return NULL;
}
