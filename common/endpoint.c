/*
 * Endpoints: their form, where a private one is, its folder, and whether anybody listens there; see
 * endpoint.h.
 */
#include "common/endpoint.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char scheme[] = "ipc://";
enum { SCHEME_LEN = sizeof scheme - 1, PATH_LEN_MAX = ENDPOINT_MAX - SCHEME_LEN - 1 };

_Static_assert(PATH_LEN_MAX + 1 == sizeof((struct sockaddr_un *)0)->sun_path,
               "ENDPOINT_MAX is sockaddr_un's limit");

int endpoint_check(const char *endpoint)
{
    if (strncmp(endpoint, scheme, SCHEME_LEN) != 0)
        return -EPROTONOSUPPORT;
    const char *path = endpoint + SCHEME_LEN;
    if (*path != '/')
        return -EINVAL;
    return strlen(path) > PATH_LEN_MAX ? -ENAMETOOLONG : 0;
}

const char *endpoint_path(const char *endpoint)
{
    return endpoint + SCHEME_LEN;
}

int endpoint_private(char out[ENDPOINT_MAX])
{
    char text[ENDPOINT_MAX];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int len;
    if (runtime && *runtime == '/') {
        size_t folder_len = strlen(runtime);
        while (folder_len > 0 && runtime[folder_len - 1] == '/')
            folder_len--;
        if (folder_len > PATH_LEN_MAX)
            return -ENAMETOOLONG;
        len = snprintf(text, sizeof text, "%s%.*s/pmapd/pmapd.sock", scheme, (int)folder_len, runtime);
    } else {
        len = snprintf(text, sizeof text, "%s/tmp/pmapd-%u/pmapd.sock", scheme, (unsigned)geteuid());
    }
    if (len < 0 || (size_t)len >= sizeof text)
        return -ENAMETOOLONG;
    memcpy(out, text, (size_t)len + 1);
    return 0;
}

/* The folder of a checked endpoint's socket, without slashes at its end: with one, O_NOFOLLOW would follow a
 * link. */
static void folder_of(const char *endpoint, char out[PATH_LEN_MAX + 1])
{
    const char *path = endpoint_path(endpoint);
    size_t len = (size_t)(strrchr(path, '/') - path);
    while (len > 0 && path[len - 1] == '/')
        len--;
    if (len == 0)
        len = 1; /* the root */
    memcpy(out, path, len);
    out[len] = '\0';
}

int endpoint_make_folder(const char *endpoint)
{
    int rc = endpoint_check(endpoint);
    if (rc < 0)
        return rc;
    char folder[PATH_LEN_MAX + 1];
    folder_of(endpoint, folder);
    /* Made or found, it is judged by what is there now: in /tmp somebody else may have been first. */
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ELOOP ? -ENOTDIR : -errno;
    struct stat st;
    rc = fstat(fd, &st) < 0 ? -errno : 0;
    close(fd);
    if (rc < 0)
        return rc;
    return st.st_uid == geteuid() && (st.st_mode & (S_IRWXG | S_IRWXO)) == 0 ? 0 : -EPERM;
}

/*
 * Connects fd, waiting for room in a full backlog until the deadline. It is the kernel that waits: poll(2)
 * has nothing to say about a backlog, but connect(2) of an AF_UNIX socket keeps to SO_SNDTIMEO.
 */
static int connect_until(int fd, const struct sockaddr_un *address, int64_t deadline_ns)
{
    for (;;) {
        int64_t left_us = (deadline_ns - now_ns()) / 1000;
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0)
            return -errno;
        /* A time-out of 0 would be none at all, so the last try does not block. */
        if (left_us <= 0) {
            if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        } else {
            struct timeval left = {.tv_sec = left_us / 1000000, .tv_usec = left_us % 1000000};
            if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof left) < 0)
                return -errno;
        }
        if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;
        if (left_us <= 0)
            return -ETIMEDOUT;
    }
}

static struct sockaddr_un address_of(const char *endpoint)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = endpoint_path(endpoint);
    memcpy(address.sun_path, path, strlen(path) + 1);
    return address;
}

/* The rest of endpoint_probe, with a socket that its caller closes. */
static int probe_with(int fd, const char *endpoint, int timeout_ms, uid_t *uid, uid_t *folder_uid)
{
    struct sockaddr_un address = address_of(endpoint);
    int rc = connect_until(fd, &address, now_ns() + (timeout_ms > 0 ? timeout_ms : 0) * INT64_C(1000000));
    if (rc < 0)
        return rc;
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    char folder[PATH_LEN_MAX + 1];
    folder_of(endpoint, folder);
    struct stat st;
    if (folder_uid && stat(folder, &st) < 0)
        return -errno;
    if (uid)
        *uid = peer.uid;
    if (folder_uid)
        *folder_uid = st.st_uid;
    return 0;
}

int endpoint_probe(const char *endpoint, int timeout_ms, uid_t *uid, uid_t *folder_uid)
{
    int rc = endpoint_check(endpoint);
    if (rc < 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    rc = probe_with(fd, endpoint, timeout_ms, uid, folder_uid);
    close(fd);
    return rc;
}

bool endpoint_drops(const char *endpoint, int timeout_ms)
{
    struct sockaddr_un address = address_of(endpoint);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool drops = false;
    struct pollfd item = {.fd = fd, .events = POLLIN};
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        poll(&item, 1, timeout_ms) > 0) {
        char byte;
        ssize_t got = recv(fd, &byte, 1, 0);
        drops = got == 0 || (got < 0 && errno == ECONNRESET);
    }
    close(fd);
    return drops;
}
