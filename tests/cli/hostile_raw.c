/* Peers without libzmq: bytes on a socket, and as much of ZMTP as it takes to be let in. */
#include "common/endpoint.h"
#include "tests/cli/hostile.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int raw_connect(struct arena *a, const struct daemon *d)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", endpoint_path(d->endpoint));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    complain(a, "connect: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Waits until one of the events is there. */
static bool wait_for(struct arena *a, int fd, short events, int64_t until)
{
    struct pollfd item = {.fd = fd, .events = events};
    for (;;) {
        int64_t left = until - now_ms();
        if (left <= 0 || !daemon_lives(a, &a->daemon))
            return complain(a, "a raw peer has waited too long");
        if (poll(&item, 1, left < 100 ? (int)left : 100) > 0)
            return true;
    }
}

bool raw_write(struct arena *a, int fd, const void *data, size_t size)
{
    const uint8_t *at = data;
    int64_t until = now_ms() + PATIENCE_MS;
    while (size > 0) {
        ssize_t put = send(fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put >= 0) {
            at += put;
            size -= (size_t)put;
        } else if (errno != EAGAIN && errno != EINTR) {
            return complain(a, "write: %s", strerror(errno));
        } else if (!wait_for(a, fd, POLLOUT, until)) {
            return false;
        }
    }
    return true;
}

/* Reads exactly that. */
static bool raw_read(struct arena *a, int fd, void *data, size_t size)
{
    uint8_t *at = data;
    int64_t until = now_ms() + PATIENCE_MS;
    while (size > 0) {
        ssize_t got = recv(fd, at, size, MSG_DONTWAIT);
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            return complain(a, "a raw peer was cut: %s", got == 0 ? "end" : strerror(errno));
        } else if (!wait_for(a, fd, POLLIN, until)) {
            return false;
        }
    }
    return true;
}

bool raw_closed(struct arena *a, int fd)
{
    uint8_t data[4096];
    int64_t until = now_ms() + PATIENCE_MS;
    for (;;) {
        ssize_t got = recv(fd, data, sizeof data, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return true;
        if (got < 0 && !wait_for(a, fd, POLLIN, until))
            return false;
    }
}

bool raw_greet(struct arena *a, int fd)
{
    uint8_t greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'}, theirs[64];
    return raw_write(a, fd, greeting, sizeof greeting) && raw_read(a, fd, theirs, sizeof theirs) &&
           (memcmp(theirs + 10, "\3", 1) == 0 || complain(a, "the daemon does not speak ZMTP 3"));
}

bool raw_frame(struct arena *a, int fd, unsigned flags, const void *data, size_t size)
{
    uint8_t head[9] = {(uint8_t)flags, (uint8_t)size};
    size_t head_size = 2;
    if (size > 255 || (flags & RAW_LONG)) {
        head[0] |= RAW_LONG;
        for (unsigned i = 0; i < 8; i++)
            head[1 + i] = (uint8_t)((uint64_t)size >> (56 - 8 * i));
        head_size = sizeof head;
    }
    return raw_write(a, fd, head, head_size) && raw_write(a, fd, data, size);
}

ssize_t raw_read_frame(struct arena *a, int fd, uint8_t *flags, void *data, size_t room)
{
    uint8_t size_bytes[8];
    uint64_t size = 0;
    if (!raw_read(a, fd, flags, 1))
        return -1;
    size_t width = *flags & RAW_LONG ? 8 : 1;
    if (!raw_read(a, fd, size_bytes, width))
        return -1;
    for (size_t i = 0; i < width; i++)
        size = size << 8 | size_bytes[i];
    if (size > room) {
        complain(a, "a frame of %llu bytes came", (unsigned long long)size);
        return -1;
    }
    return raw_read(a, fd, data, size) ? (ssize_t)size : -1;
}

bool raw_ready(struct arena *a, int fd, const void *properties, size_t size)
{
    static const char dealer[] = "\5READY\13Socket-Type\0\0\0\6DEALER\10Identity\0\0\0\0";
    uint8_t command[1024], theirs[512], flags;
    uint8_t *end = mempcpy(command, dealer, sizeof dealer - 1);
    end = mempcpy(end, properties, size);
    return raw_frame(a, fd, RAW_COMMAND, command, (size_t)(end - command)) &&
           raw_read_frame(a, fd, &flags, theirs, sizeof theirs) > 0 &&
           ((flags & RAW_COMMAND && memcmp(theirs, "\5READY", 6) == 0) ||
            complain(a, "no READY from the daemon"));
}
