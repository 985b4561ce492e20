/*
 * accept4 as libzmq gets it in this program. libzmq 4.3.4 aborts the process when accept on an ipc socket
 * fails for want of a descriptor or of memory (ipc_listener.cpp, the assertion in accept), so any local user
 * could end the daemon by opening connections faster than the monitor cuts them. A program's own definition
 * stands before the C library's for the libraries too; this one says "nobody is waiting" instead: the
 * connection stays in the backlog until there is room.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How long ZeroMQ's thread waits then: it would try again at once, and take the CPU from the thread that
 * cuts. */
enum { PAUSE_NS = 1000000 };

__attribute__((visibility("default"))) int accept4(int fd, struct sockaddr *address, socklen_t *size,
                                                   int flags)
{
    long rc = syscall(SYS_accept4, fd, address, size, flags);
    if (rc < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
        const struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
        errno = EAGAIN;
    }
    return (int)rc;
}
