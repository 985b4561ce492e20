/* What a service manager is told and passes; see service.h. */
#include "daemon/service.h"

#ifdef HAVE_SYSTEMD

#include "common/clock.h"
#include "daemon/common/log.h"
#include "daemon/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

enum { WAITING_MAX = 10000 }; /* more than a backlog has: who comes for ever is not waited for */

/* state: lines, "" or with a newline at their end. A status that is too long is cut. */
static void tell(const char *state, const char *status)
{
    char text[NOTIFY_TEXT_MAX];
    snprintf(text, sizeof text, "%sSTATUS=%s", state, status);
    notify_send(text);
}

void service_ready(const char *status)
{
    tell("READY=1\n", status);
}

void service_reloading(void)
{
    char state[64];
    long long us = now_ns() / 1000;
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld\n", us);
    tell(state, "reading the configuration");
}

void service_stopping(const char *status)
{
    tell("STOPPING=1\n", status);
}

bool service_flush(void)
{
    return notify_flush();
}

int64_t service_watchdog_ns(void)
{
    uint64_t us = 0;
    if (sd_watchdog_enabled(0, &us) <= 0 || us > INT64_MAX / 1000)
        return 0;
    return (int64_t)us * 1000;
}

void service_alive(void)
{
    notify_send("WATCHDOG=1");
}

/* Fills in the path. Returns 0, or -EINVAL for what is no listening stream socket of the file system. */
static int read_socket(int fd, struct service_socket *out)
{
    struct sockaddr_un name = {.sun_family = AF_UNSPEC};
    socklen_t size = sizeof name;
    if (sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) <= 0 ||
        getsockname(fd, (struct sockaddr *)&name, &size) < 0 || size <= sizeof name.sun_family ||
        size > sizeof name || name.sun_path[0] != '/')
        return -EINVAL;
    size_t room = size - offsetof(struct sockaddr_un, sun_path);
    size_t length = strnlen(name.sun_path, room);
    if (length >= sizeof out->path)
        return -EINVAL;
    out->fd = fd;
    memcpy(out->path, name.sun_path, length);
    out->path[length] = '\0';
    return 0;
}

size_t service_passed(void)
{
    static int given = -1; /* service_sockets has the variables removed */
    if (given < 0)
        given = sd_listen_fds(0);
    return given > 0 ? (size_t)given : 0;
}

void service_turn_away(void)
{
    for (size_t i = 0; i < service_passed(); i++) {
        int listening = SD_LISTEN_FDS_START + (int)i, flags = fcntl(listening, F_GETFL), fd = -1;
        if (flags < 0 || fcntl(listening, F_SETFL, flags | O_NONBLOCK) < 0)
            continue;
        for (int count = 0; count < WAITING_MAX && (fd = accept(listening, NULL, NULL)) >= 0; count++)
            close(fd);
    }
}

int service_sockets(struct service_socket **sockets, size_t *count)
{
    int given = sd_listen_fds(1); /* which makes them close-on-exec, and the variables go */
    *sockets = NULL;
    *count = 0;
    if (given <= 0) {
        if (given < 0)
            log_error("cannot take the sockets that were passed: %s", strerror(-given));
        return given;
    }
    struct service_socket *list = calloc((size_t)given, sizeof *list);
    if (list == NULL) {
        log_error("out of memory");
        return -ENOMEM;
    }
    for (int i = 0; i < given; i++) {
        int fd = SD_LISTEN_FDS_START + i, flags = fcntl(fd, F_GETFL);
        if (read_socket(fd, &list[i]) < 0 || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
            log_error(
                "descriptor %d, which was passed as a socket to listen at, is no listening stream socket of "
                "the file system",
                fd);
            free(list);
            return -EINVAL;
        }
    }
    *sockets = list;
    *count = (size_t)given;
    return 0;
}

#else

void service_ready(const char *status)
{
    (void)status;
}

void service_reloading(void)
{
}

void service_stopping(const char *status)
{
    (void)status;
}

bool service_flush(void)
{
    return true;
}

int64_t service_watchdog_ns(void)
{
    return 0;
}

void service_alive(void)
{
}

void service_turn_away(void)
{
}

size_t service_passed(void)
{
    return 0;
}

int service_sockets(struct service_socket **sockets, size_t *count)
{
    *sockets = NULL;
    *count = 0;
    return 0;
}

#endif
