/* Programs that buffer their output; see buffering.h. */
#include "daemon/worker/exec/buffering.h"

#include "daemon/worker/exec/clock.h"
#include "daemon/worker/exec/tree.h"
#include "daemon/worker/exec/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    LOOK_NS = 500 * NS_PER_MS,
    /* Without progress for so long, whatever it waits for. */
    HOPELESS_MS = 10000,
};

int buffering_environment(char *settings[BUFFERING_SETTINGS])
{
    static const char *const places[] = {
        "/usr/libexec/coreutils/libstdbuf.so", "/usr/lib/coreutils/libstdbuf.so",
        "/usr/lib64/coreutils/libstdbuf.so", "/usr/local/libexec/coreutils/libstdbuf.so"};
    const char *library = NULL;
    for (size_t i = 0; !library && i < sizeof places / sizeof *places; i++)
        if (access(places[i], R_OK) == 0)
            library = places[i];
    int count = 0;
    if (!getenv("PYTHONUNBUFFERED") && !(settings[count++] = strdup("PYTHONUNBUFFERED=1")))
        return -ENOMEM;
    if (!library || getenv("_STDBUF_O"))
        return count;
    const char *preload = getenv("LD_PRELOAD");
    bool several = preload && *preload;
    if (!(settings[count++] = strdup("_STDBUF_O=L")))
        return -ENOMEM;
    if (asprintf(&settings[count++], "LD_PRELOAD=%s%s%s", several ? preload : "", several ? ":" : "",
                 library) < 0)
        return -ENOMEM;
    return count;
}

void stall_reset(struct stall *s, int64_t now)
{
    *s = (struct stall){.look_ns = now + LOOK_NS};
}

static bool add_cpu(pid_t pid, void *cookie)
{
    *(uint64_t *)cookie += usage_cpu_ns(pid);
    return false;
}

/* Does it wait in read(2) on its stdin, and is that the pipe? Where that cannot be seen, yes. */
static bool reads_stdin(pid_t pid, void *cookie)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    bool hidden = n < 0 && (errno == EACCES || errno == EPERM || access("/proc/self/syscall", R_OK) < 0);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return hidden;
    text[n] = '\0';
    char *end;
    if (strtol(text, &end, 10) != SYS_read || end == text || strncmp(end, " 0x0 ", 5) != 0)
        return false;
    struct stat its;
    const struct stat *ours = cookie;
    snprintf(path, sizeof path, "/proc/%d/fd/0", (int)pid);
    return stat(path, &its) == 0 && its.st_ino == ours->st_ino && its.st_dev == ours->st_dev;
}

bool stall_look(struct stall *s, int stdin_end, int64_t now)
{
    s->look_ns = now + LOOK_NS;
    int unread = 0;
    struct stat ours;
    uint64_t cpu_ns = 0;
    tree_find(add_cpu, &cpu_ns);
    bool progress = s->since_ns == 0 || cpu_ns != s->cpu_ns || fstat(stdin_end, &ours) < 0 ||
                    ioctl(stdin_end, FIONREAD, &unread) < 0 || unread > 0;
    if (progress) {
        s->since_ns = now;
        s->cpu_ns = cpu_ns;
        return false;
    }
    if ((now - s->since_ns) / NS_PER_MS >= HOPELESS_MS)
        return true;
    return tree_find(reads_stdin, &ours);
}
