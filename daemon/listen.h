/*
 * The sockets at which clients connect. They are made while there are still the privileges for it, and before
 * the sandbox; ZeroMQ, which is made after that, is handed them (ZMQ_USE_FD). Single-threaded.
 */
#ifndef PMAPD_LISTEN_H
#define PMAPD_LISTEN_H

#include <stdbool.h>

/*
 * For each endpoint (the list ends in NULL) a listening socket, close-on-exec, which does not block: the one
 * that was passed for it, which is taken over, or, where that is -1, one that is bound to its path in place
 * of what was there. everybody: all may connect (mode 0666), else only this uid (0600). *sockets: from
 * malloc, in the order of the endpoints, with a -1 at its end; for listen_close. Returns 0 or a negative
 * errno, which was logged; nothing is left open then.
 */
int listen_open(char *const *endpoints, const int *passed, bool everybody, int **sockets);

/* Closes and frees them; their files stay. NULL is accepted. */
void listen_close(int *sockets);

#endif
