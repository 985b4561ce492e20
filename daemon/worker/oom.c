/* The kernel's counts of processes killed for want of memory; see oom.h. */
#include "daemon/worker/oom.h"

#include "common/smallfile.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MAX_SIZE = 16 << 10 }; /* /proc/vmstat is a few KiB */

/* Our cgroup, of version 2, as a folder. Returns whether there is one. */
static bool find_own(char path[PATH_MAX])
{
    char text[PATH_MAX];
    if (smallfile_read(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) < 0)
        return false;
    const char *group = smallfile_line(text, "0::");
    int n = group ? snprintf(path, PATH_MAX, "/sys/fs/cgroup%.*s", (int)strcspn(group, "\n"), group) : -1;
    return n > 0 && n < PATH_MAX;
}

/* Makes it the cgroup of our owner, above it: …/users/u1000. Returns whether there is one. */
static bool cut_to_owner(char *path)
{
    char *at = strstr(path, "/users/u");
    if (!at)
        return false;
    at += sizeof "/users/u" - 1;
    size_t digits = strspn(at, "0123456789");
    at[digits] = '\0';
    return digits > 0;
}

static uint64_t count_in(const char *folder, const char *file, const char *name)
{
    char path[PATH_MAX + 32], text[FILE_MAX_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return smallfile_read(AT_FDCWD, path, text, sizeof text) < 0 ? UINT64_MAX : smallfile_number(text, name);
}

void oom_read(struct oom *now, const char *group)
{
    char path[PATH_MAX];
    *now = (struct oom){UINT64_MAX, UINT64_MAX, UINT64_MAX};
    now->machine = count_in("/proc", "vmstat", "oom_kill ");
    if (!find_own(path))
        return;
    now->cgroup = count_in(group ? group : path, "memory.events", "oom_kill ");
    if (cut_to_owner(path))
        now->owner = count_in(path, "memory.events.local", "oom ");
}

static bool has_risen(uint64_t before, uint64_t after)
{
    return before != UINT64_MAX && after != UINT64_MAX && after > before;
}

/* The owner's limit as the configuration writes sizes; 0: there is none. */
static uint64_t owner_limit(char *unit)
{
    static const char units[] = {'G', 'M', 'K'};
    char path[PATH_MAX];
    if (!find_own(path) || !cut_to_owner(path))
        return 0;
    uint64_t bytes = count_in(path, "memory.max", "");
    *unit = '\0';
    if (bytes == UINT64_MAX)
        return 0;
    for (size_t i = 0, shift = 30; i < sizeof units; i++, shift -= 10) {
        if (bytes >> shift << shift == bytes) {
            *unit = units[i];
            return bytes >> shift;
        }
    }
    return bytes;
}

const char *oom_text(const struct oom *before, const struct oom *after, char text[OOM_TEXT_MAX])
{
    char unit[2] = "";
    bool known = before->cgroup != UINT64_MAX && after->cgroup != UINT64_MAX;
    if (!has_risen(known ? before->cgroup : before->machine, known ? after->cgroup : after->machine))
        return NULL;
    uint64_t limit = has_risen(before->owner, after->owner) ? owner_limit(unit) : 0;
    if (limit > 0)
        snprintf(text, OOM_TEXT_MAX, "out of memory: its owner's limit of %llu%s", (unsigned long long)limit,
                 unit);
    else
        snprintf(text, OOM_TEXT_MAX, known ? "out of memory" : "out of memory, probably");
    return text;
}
