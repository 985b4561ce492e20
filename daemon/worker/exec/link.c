/* The socket to the worker; see link.h. */
#include "daemon/worker/exec/link.h"

#include "daemon/worker/exec/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static void take(struct link *l, const struct host_message *message)
{
    switch (message->type) {
    case HOST_CHUNK:
        l->chunk = true;
        l->more = message->value != 0;
        l->yield = l->drop = l->resumed = false;
        l->tokens = (struct tokens){0};
        break;
    case HOST_LEND:
        l->tokens.lent = message->value;
        break;
    case HOST_BACK:
        l->tokens.back = message->value;
        link_return(l);
        break;
    case HOST_RESUME:
        l->resumed = true;
        break;
    case HOST_YIELD:
        l->yield = true;
        break;
    case HOST_DROP:
        l->drop = true;
        l->grace_ms = message->value;
        break;
    default:
        break; /* of a later version: not for us */
    }
}

void link_receive(struct link *l)
{
    while (!l->gone) {
        struct host_message message;
        ssize_t n = recv(l->socket, &message, sizeof message, MSG_DONTWAIT);
        if (n == sizeof message)
            take(l, &message);
        else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        else if (n >= 0 || errno != EINTR)
            l->gone = true; /* the end, or what no worker sends */
    }
}

void link_wait(struct link *l, int64_t until_ns)
{
    struct pollfd poll_socket = {.fd = l->socket, .events = POLLIN};
    poll_until(&poll_socket, 1, until_ns);
    if (poll_socket.revents)
        link_receive(l);
}

static void send_parts(struct link *l, const struct iovec *parts, size_t count)
{
    struct msghdr packet = {.msg_iov = (struct iovec *)parts, .msg_iovlen = count};
    ssize_t n;
    do
        n = sendmsg(l->socket, &packet, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        l->gone = true;
}

static void send_value(struct link *l, enum host_message_type type, uint32_t value)
{
    struct host_message message = {type, value};
    send_parts(l, &(struct iovec){&message, sizeof message}, 1);
}

void link_send(struct link *l, enum host_message_type type)
{
    send_value(l, type, 0);
}

void link_return(struct link *l)
{
    struct tokens *t = &l->tokens;
    uint32_t due = t->back > t->returned ? t->back - t->returned : 0;
    uint32_t here = t->lent - t->returned - t->given, count = due < here ? due : here;
    if (count == 0)
        return;
    t->returned += count;
    send_value(l, HOST_RETURNED, t->returned);
}

void link_bad(struct link *l, const char *text)
{
    struct host_message message = {.type = HOST_BAD};
    size_t len = strnlen(text, HOST_TEXT_MAX);
    struct iovec parts[] = {{&message, sizeof message}, {(void *)text, len}};
    send_parts(l, parts, 2);
}
