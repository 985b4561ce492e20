/*
 * Endpoints: where a daemon is found. Names only; no socket of ZeroMQ is opened here. Thread-safe.
 */
#ifndef PMAP_ENDPOINT_H
#define PMAP_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* "ipc://" + a path of at most 107 bytes (struct sockaddr_un's limit) + NUL. */
enum { ENDPOINT_MAX = 6 + 107 + 1 };

#define ENDPOINT_SYSTEM "ipc:///run/pmapd/pmapd.sock"

/*
 * Checks the form of an endpoint: "ipc://" and an absolute path of 1 to 107 bytes.
 * Returns 0, -EPROTONOSUPPORT (not ipc://), -EINVAL (no absolute path: abstract names have no permissions, so
 * they are refused) or -ENAMETOOLONG.
 */
int endpoint_check(const char *endpoint);

/* The path of a checked endpoint: points into it. */
const char *endpoint_path(const char *endpoint);

/*
 * The endpoint of this user's private pool, into out: ipc://$XDG_RUNTIME_DIR/pmapd/pmapd.sock where that
 * variable holds an absolute path, else ipc:///tmp/pmapd-UID/pmapd.sock. Creates nothing. Returns 0 or
 * -ENAMETOOLONG (out is then untouched).
 */
int endpoint_private(char out[ENDPOINT_MAX]);

/*
 * Makes the folder of a private endpoint: mode 0700, and refuses one that is there already unless it is a
 * real directory (no symbolic link), is owned by the effective uid and gives group and others nothing. Only
 * the last component is created. Returns 0, -EPERM (it is not ours, or open to others), -ENOTDIR, or what
 * mkdir or stat said.
 */
int endpoint_make_folder(const char *endpoint);

/*
 * Tries a plain connect(2) to the endpoint and closes it again, so that "nobody listens" is known at once and
 * not after a time-out. Waits at most timeout_ms for room in a full backlog. *uid (may be NULL): the uid that
 * the kernel says is listening. *folder_uid (may be NULL): owner of the socket's folder. Both only on
 * success. Returns 0 when somebody listens, -ENOENT or -ECONNREFUSED when nobody does, -EACCES, -ETIMEDOUT
 * when the backlog stayed full (somebody listens and does not accept), what endpoint_check says, or another
 * negative errno.
 */
int endpoint_probe(const char *endpoint, int timeout_ms, uid_t *uid, uid_t *folder_uid);

/*
 * Is a connection to this endpoint, which must be one, closed by the other side without a word? Waits up to
 * timeout_ms for that or for a word. False also where nobody listens, or the backlog is full.
 */
bool endpoint_drops(const char *endpoint, int timeout_ms);

#endif
