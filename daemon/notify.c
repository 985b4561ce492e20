/* Messages to a service manager; see notify.h. */
#include "daemon/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* What could not be sent yet, the oldest first. */
static struct {
    char texts[NOTIFY_KEPT_MAX][NOTIFY_TEXT_MAX];
    unsigned count;
} kept;

/* Where $NOTIFY_SOCKET says: a file, or an abstract name behind an @. Returns the size; 0: nowhere. */
static socklen_t read_address(struct sockaddr_un *address)
{
    const char *name = getenv("NOTIFY_SOCKET"); /* NOLINT(concurrency-mt-unsafe): nobody changes it */
    size_t length = name != NULL ? strlen(name) : 0;
    if (length < 2 || length >= sizeof address->sun_path || (name[0] != '/' && name[0] != '@'))
        return 0;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, name, length);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] == '/'));
}

/* May it be otherwise in a while? */
static bool is_passing(int error)
{
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == EMFILE || error == ENFILE ||
           error == EINTR;
}

/* Returns false if it is to be tried again. */
static bool send_now(const char *text)
{
    struct sockaddr_un address;
    socklen_t size = read_address(&address);
    if (size == 0)
        return true;
    /* The manager takes who we are from the message itself; a socket that is kept would be one more to mind.
     */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return !is_passing(errno);
    ssize_t sent =
        sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address, size);
    bool done = sent >= 0 || !is_passing(errno);
    close(fd);
    return done;
}

static void drop_oldest(unsigned count)
{
    kept.count -= count;
    memmove(kept.texts[0], kept.texts[count], kept.count * sizeof kept.texts[0]);
}

bool notify_flush(void)
{
    unsigned sent = 0;
    while (sent < kept.count && send_now(kept.texts[sent]))
        sent++;
    if (sent > 0)
        drop_oldest(sent);
    return kept.count == 0;
}

void notify_send(const char *text)
{
    char cut[NOTIFY_TEXT_MAX];
    snprintf(cut, sizeof cut, "%s", text);
    if (notify_flush() && send_now(cut))
        return;
    /* Twice the same, one after the other, says no more than once. */
    if (kept.count > 0 && strcmp(kept.texts[kept.count - 1], cut) == 0)
        return;
    if (kept.count == NOTIFY_KEPT_MAX)
        drop_oldest(1);
    memcpy(kept.texts[kept.count++], cut, sizeof cut);
}
