/* Memory and CPU time as the kernel tells it; see usage.h. */
#include "daemon/worker/exec/usage.h"

#include "common/smallfile.h"
#include "daemon/worker/oom.h"

#include <fcntl.h>
#include <time.h>

enum { FILE_MAX = 8 << 10 };

static const struct group *items;
static struct oom oom; /* when it was last looked at */

static void look(void)
{
    oom_read(&oom, items->folder >= 0 ? items->path : NULL);
}

void usage_watch(const struct group *group)
{
    items = group;
    look();
}

const char *usage_out_of_memory(void)
{
    static char text[OOM_TEXT_MAX];
    struct oom before = oom;
    look();
    return oom_text(&before, &oom, text);
}

uint64_t usage_own_peak(void)
{
    char text[FILE_MAX];
    uint64_t kib = smallfile_read(AT_FDCWD, "/proc/self/status", text, sizeof text) < 0
                       ? UINT64_MAX
                       : smallfile_number(text, "VmHWM:");
    return kib == UINT64_MAX ? 0 : kib * 1024;
}

void usage_forget_peak(void)
{
    /* If that fails the peak stays what it was, and what is smaller is not told: no harm. */
    smallfile_write(AT_FDCWD, "/proc/self/clear_refs", "5");
}

uint64_t usage_cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        return 0;
    return (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
}
