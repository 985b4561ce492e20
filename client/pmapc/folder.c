/*
 * --results; see folder.h.
 */
#include "client/pmapc/folder.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int folder_open(struct folder *folder, const char *name, bool verbatim)
{
    *folder = (struct folder){.name = name, .fd = -1, .verbatim = verbatim, .out = -1, .err = -1};
    if (mkdir(name, 0777) < 0 && errno != EEXIST) {
        tell("--results: cannot make %s: %s", name, tell_errno(errno));
        return STATUS_USAGE;
    }
    folder->fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0) {
        tell("--results: cannot open %s: %s", name, tell_errno(errno));
        return STATUS_USAGE;
    }
    return 0;
}

static int open_file(const struct folder *folder, uint64_t number, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "%" PRIu64 "/%s", number, name);
    int fd = openat(folder->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return fd < 0 ? -errno : fd;
}

static int open_item(struct folder *folder, uint64_t number)
{
    char path[32];
    snprintf(path, sizeof path, "%" PRIu64, number);
    if (mkdirat(folder->fd, path, 0777) < 0 && errno != EEXIST)
        return -errno;
    int fd = open_file(folder, number, folder->verbatim ? "stdout" : "result");
    if (fd < 0)
        return fd;
    folder->out = fd;
    fd = open_file(folder, number, "stderr");
    if (fd < 0)
        return fd;
    folder->err = fd;
    return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int close_file(int *fd)
{
    int rc = *fd >= 0 && close(*fd) < 0 && errno != EINTR ? -errno : 0;
    *fd = -1;
    return rc;
}

int folder_put(struct folder *folder, const struct pmap_result *result)
{
    int rc = folder->out < 0 ? open_item(folder, result->index + 1) : 0;
    /* The result of a function that failed is none. */
    if (rc == 0 && (folder->verbatim || !result->failed))
        rc = write_all(folder->out, result->data, result->size);
    if (rc == 0)
        rc = write_all(folder->err, result->err, result->err_size);
    if (!result->more || rc < 0) {
        int closed = close_file(&folder->out), err_closed = close_file(&folder->err);
        rc = rc < 0 ? rc : closed < 0 ? closed : err_closed;
    }
    if (rc < 0)
        tell("--results: item %" PRIu64 ": cannot write to %s: %s", result->index + 1, folder->name,
             tell_errno(rc));
    return rc;
}

void folder_close(struct folder *folder)
{
    close_file(&folder->out);
    close_file(&folder->err);
    close_file(&folder->fd);
}
