/* The kernel's small files; see smallfile.h. */
#include "common/smallfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ssize_t smallfile_read(int folder, const char *path, char *room, size_t size)
{
    size_t used = 0;
    ssize_t n = 1;
    room[0] = '\0';
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    while (n > 0 && used < size - 1) {
        n = read(fd, room + used, size - 1 - used);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            used += (size_t)n;
    }
    int error = n < 0 ? errno : 0;
    char more;
    /* Full to the last byte, it may be whole all the same. */
    if (n > 0 && read(fd, &more, 1) != 0)
        error = EFBIG;
    close(fd);
    room[error != 0 && error != EFBIG ? 0 : used] = '\0';
    return error != 0 ? -error : (ssize_t)used;
}

const char *smallfile_line(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0)
            return line + len;
    }
    return NULL;
}

uint64_t smallfile_number(const char *text, const char *name)
{
    const char *at = smallfile_line(text, name);
    if (!at)
        return UINT64_MAX;
    at += strspn(at, " \t");
    return *at >= '0' && *at <= '9' ? strtoull(at, NULL, 10) : UINT64_MAX;
}

int smallfile_write(int folder, const char *path, const char *text)
{
    int fd = openat(folder, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t len = strlen(text);
    ssize_t n;
    do
        n = write(fd, text, len);
    while (n < 0 && errno == EINTR);
    int rc = n < 0 ? -errno : (size_t)n != len ? -EIO : 0;
    close(fd);
    return rc;
}
