/*
 * The sockets at which clients connect. They are made while there are still the privileges for it, and before
 * the sandbox; ZeroMQ, which is made after that, is handed them (ZMQ_USE_FD). Single-threaded.
 */
#ifndef PMAPD_LISTEN_H
#define PMAPD_LISTEN_H

#include <stdbool.h>

struct listening {
    int fd;   /* -1: the list's end */
    int file; /* its place in the file system, opened with O_PATH; -1: it was passed */
};

/*
 * For each endpoint (the list ends in NULL) a listening socket, close-on-exec, which does not block: the one
 * that was passed for it, which is taken over, or, where that is -1, one that is bound to its path in place
 * of one that nobody listens at any more. everybody: all may connect (mode 0666), else only this uid (0600).
 * *sockets: from malloc, in the order of the endpoints; for listen_close. Returns 0 or a negative errno,
 * which was logged (-EBUSY: somebody else listens there); nothing is left open then.
 */
int listen_open(char *const *endpoints, const int *passed, bool everybody, struct listening **sockets);

/*
 * Does a socket that we have bound still have a file, which is then ours to rename and remove? A service
 * manager that is told to listen at its path puts another one there.
 */
bool listen_has_file(const struct listening *socket);

/* Does anybody listen there, or could do so for all that can be seen? Who does takes it for a client. */
bool listen_is_served(const char *endpoint);

/* Logs that somebody does. Returns -EBUSY. */
int listen_tell_served(const char *endpoint);

/* Closes and frees them; their files stay. NULL is accepted. */
void listen_close(struct listening *sockets);

#endif
