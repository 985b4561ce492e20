/*
 * Workers' sockets: one listening socket an owner, which only that owner can connect to, in a folder that
 * only we can put anything into. The broker gets each one to accept at; we keep the name, to know whether it
 * is still there and to take it away at the end.
 */
#ifndef PMAPD_SOCKETS_H
#define PMAPD_SOCKETS_H

#include "daemon/launcher/records.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { SOCKETS_PATH_MAX = 100 }; /* with its NUL: fits struct sockaddr_un and a record's text */
_Static_assert((int)SOCKETS_PATH_MAX <= (int)RECORD_TEXT_MAX, "told in a record");

struct owner_socket {
    uid_t uid;
    dev_t dev;
    ino_t ino;
    char path[SOCKETS_PATH_MAX];
};

struct sockets {
    bool private_pool;
    char folder[SOCKETS_PATH_MAX];
    int lock; /* the folder, locked: it is in use */
    struct owner_socket **list;
    size_t count;
};

/*
 * Makes the folder: in /run/pmapd, or of a private pool in $XDG_RUNTIME_DIR or /tmp. Folders there of
 * launchers that were killed are removed. Returns 0 or a negative errno, which was logged.
 */
int sockets_open(bool private_pool, struct sockets *sockets);

/*
 * The owner's socket, valid until the next call. *fd: -1 when it is the one that was given out before, else a
 * new listening one, the caller's to pass on. Returns 0 or a negative errno.
 */
int sockets_get(struct sockets *sockets, uid_t uid, const struct owner_socket **socket, int *fd);

/* Removes all of it from the file system. */
void sockets_close(struct sockets *sockets);

#endif
