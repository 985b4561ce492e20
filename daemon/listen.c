/* Sockets to listen at; see listen.h. */
#include "daemon/listen.h"

#include "common/endpoint.h"
#include "daemon/common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, PROBE_MS = 1000 };

static int failed(const char *endpoint, int error)
{
    log_error("cannot listen at %s: %s", endpoint, strerror(error));
    return -error;
}

bool listen_is_served(const char *endpoint)
{
    int rc = endpoint_probe(endpoint, PROBE_MS, NULL, NULL);
    return rc == 0 || rc == -EACCES || rc == -ETIMEDOUT;
}

int listen_tell_served(const char *endpoint)
{
    log_error("another pmapd serves %s", endpoint);
    return -EBUSY;
}

/*
 * In place of one that nobody listens at: whoever is to listen may have come since that was looked at last, a
 * service manager for instance, who takes no lock. Returns 0 or a negative errno, logged.
 */
static int bind_at(int fd, const char *endpoint, const struct sockaddr_un *address)
{
    const struct sockaddr *name = (const struct sockaddr *)address;
    if (bind(fd, name, sizeof *address) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return failed(endpoint, errno);
    if (listen_is_served(endpoint))
        return listen_tell_served(endpoint);
    if ((unlink(address->sun_path) < 0 && errno != ENOENT) || bind(fd, name, sizeof *address) < 0)
        return failed(endpoint, errno);
    return 0;
}

/* Listens with this socket. Returns the descriptor of its file, or a negative errno, logged. */
static int listen_with(int fd, const char *endpoint, const struct sockaddr_un *address, bool everybody)
{
    /* Its mode comes from the umask at bind, so that nobody finds it with another; connecting takes write
     * permission. */
    mode_t mask = umask(everybody ? 0111 : 0177);
    int rc = bind_at(fd, endpoint, address);
    umask(mask);
    if (rc < 0)
        return rc;
    int file = open(address->sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (file >= 0 && listen(fd, BACKLOG) == 0)
        return file;
    rc = failed(endpoint, errno);
    if (file >= 0)
        close(file);
    return rc;
}

static int listen_at(const char *endpoint, bool everybody, struct listening *out)
{
    const char *path = endpoint_path(endpoint);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return failed(endpoint, ENAMETOOLONG);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return failed(endpoint, errno);
    int file = listen_with(fd, endpoint, &address, everybody);
    if (file < 0) {
        close(fd);
        return file;
    }
    *out = (struct listening){.fd = fd, .file = file};
    return 0;
}

int listen_open(char *const *endpoints, const int *passed, bool everybody, struct listening **sockets)
{
    size_t count = 0;
    while (endpoints[count] != NULL)
        count++;
    struct listening *list = malloc((count + 1) * sizeof *list);
    if (list == NULL) {
        log_error("out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i <= count; i++)
        list[i] = (struct listening){.fd = i < count ? passed[i] : -1, .file = -1};
    for (size_t i = 0; i < count; i++) {
        int rc = passed[i] < 0 ? listen_at(endpoints[i], everybody, &list[i]) : 0;
        if (rc < 0) {
            listen_close(list);
            return rc;
        }
    }
    *sockets = list;
    return 0;
}

bool listen_has_file(const struct listening *socket)
{
    struct stat st;
    return socket->file >= 0 && fstat(socket->file, &st) == 0 && st.st_nlink > 0;
}

void listen_close(struct listening *sockets)
{
    for (struct listening *socket = sockets; socket != NULL && socket->fd >= 0; socket++) {
        close(socket->fd);
        if (socket->file >= 0)
            close(socket->file);
    }
    free(sockets);
}
