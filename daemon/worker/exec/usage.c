/* Memory and CPU time as the kernel tells it; see usage.h. */
#include "daemon/worker/exec/usage.h"

#include "daemon/worker/exec/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 8 << 10 };
static uint64_t oom_kills; /* when it was last looked at */
static char oom_path[512]; /* memory.events of our cgroup; "": the whole machine's count */

/* The beginning of a file as a string; "" where there is none. */
static const char *read_file(const char *path)
{
    static char text[FILE_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return "";
    size_t len = 0;
    ssize_t n;
    while (len < sizeof text - 1 && (n = read(fd, text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    close(fd);
    return text;
}

/* The number behind `key` at the beginning of a line; 0: there is none. */
static uint64_t number_of(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0)
            return strtoull(line + len, NULL, 10);
    }
    return 0;
}

static uint64_t count_kills(void)
{
    return number_of(read_file(oom_path[0] ? oom_path : "/proc/vmstat"), "oom_kill ");
}

void usage_init(void)
{
    const char *line = strstr(read_file("/proc/self/cgroup"), "0::/");
    int len = line ? (int)strcspn(line + 3, "\n") : 0;
    if (len > 0) {
        int n = snprintf(oom_path, sizeof oom_path, "/sys/fs/cgroup%.*s/memory.events", len, line + 3);
        if (n >= (int)sizeof oom_path || access(oom_path, R_OK) < 0)
            oom_path[0] = '\0';
    }
    oom_kills = count_kills();
}

bool usage_out_of_memory(void)
{
    uint64_t before = oom_kills;
    oom_kills = count_kills();
    return oom_kills > before;
}

uint64_t usage_own_peak(void)
{
    return number_of(read_file("/proc/self/status"), "VmHWM:") * 1024;
}

void usage_forget_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    /* If that fails the peak stays what it was, and what is smaller is not told: no harm. */
    ssize_t n = write(fd, "5", 1);
    (void)n;
    close(fd);
}

uint64_t usage_cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        return 0;
    return (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
}
