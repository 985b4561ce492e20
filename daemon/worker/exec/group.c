/* The control group of items; see group.h. */
#include "daemon/worker/exec/group.h"

#include "common/smallfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN "/worker" /* how the name of our group ends; daemon/launcher/cgroup.h */

void group_init(struct group *group)
{
    char text[PATH_MAX];
    group->folder = -1;
    if (smallfile_read(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) < 0)
        return;
    const char *own = smallfile_line(text, "0::");
    size_t len = own ? strcspn(own, "\n") : 0;
    if (len < sizeof OWN || strncmp(own + len - (sizeof OWN - 1), OWN, sizeof OWN - 1) != 0)
        return;
    len -= sizeof OWN - 1;
    int n = snprintf(group->path, sizeof group->path, "/sys/fs/cgroup%.*s/e%d", (int)len, own, (int)getpid());
    if (n < 0 || n >= (int)sizeof group->path || mkdir(group->path, 0755) < 0)
        return;
    group->folder = open(group->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group->folder < 0)
        rmdir(group->path);
    else /* an item as a whole, or it would go on without a part of it */
        smallfile_write(group->folder, "memory.oom.group", "1");
}

void group_kill(const struct group *group)
{
    if (group->folder >= 0)
        smallfile_write(group->folder, "cgroup.kill", "1");
}

void group_end(struct group *group)
{
    if (group->folder < 0)
        return;
    close(group->folder);
    rmdir(group->path);
    group->folder = -1;
}
