/* Sockets to listen at; see listen.h. */
#include "daemon/listen.h"

#include "common/endpoint.h"
#include "daemon/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static int failed(const char *endpoint, int error)
{
    log_error("cannot listen at %s: %s", endpoint, strerror(error));
    return -error;
}

static int listen_at(const char *endpoint, bool everybody, int *out)
{
    const char *path = endpoint_path(endpoint);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return failed(endpoint, ENAMETOOLONG);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return failed(endpoint, errno);
    /* Its mode comes from the umask at bind, so that nobody finds it with another; connecting takes write
     * permission. */
    mode_t mask = umask(everybody ? 0111 : 0177);
    int rc = unlink(path) < 0 && errno != ENOENT ? -errno : 0;
    if (rc == 0 &&
        (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0))
        rc = -errno;
    umask(mask);
    if (rc < 0) {
        close(fd);
        return failed(endpoint, -rc);
    }
    *out = fd;
    return 0;
}

int listen_open(char *const *endpoints, const int *passed, bool everybody, int **sockets)
{
    size_t count = 0;
    while (endpoints[count] != NULL)
        count++;
    int *list = malloc((count + 1) * sizeof *list);
    if (list == NULL) {
        log_error("out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i <= count; i++)
        list[i] = -1;
    for (size_t i = 0; i < count; i++) {
        list[i] = passed[i];
        int rc = passed[i] < 0 ? listen_at(endpoints[i], everybody, &list[i]) : 0;
        if (rc < 0) {
            listen_close(list);
            return rc;
        }
    }
    *sockets = list;
    return 0;
}

void listen_close(int *sockets)
{
    for (int *fd = sockets; fd != NULL && *fd >= 0; fd++)
        close(*fd);
    free(sockets);
}
