/*
 * Who is at the other end of a client's socket: the kernel is asked, never the broker. Whether processes may
 * be started for them is decided here, too, from the launcher's own reading of the configuration.
 */
#ifndef PMAPD_PEER_H
#define PMAPD_PEER_H

#include "daemon/common/config.h"
#include "daemon/launcher/context.h"
#include "daemon/launcher/records.h"

/* What can be seen of a process that a sandbox would have changed. */
struct sandbox {
    struct {
        dev_t dev;
        ino_t ino;
    } places[4]; /* the namespaces, and the root directory */
    bool no_new_privs, seccomp;
};

/* Who may have processes. */
struct policy {
    const struct config *config; /* NULL: a private pool; only `own` is served */
    uid_t own;
    struct sandbox sandbox; /* the launcher's */
};

/* config: NULL for a private pool; kept. Returns 0 or a negative errno. */
int policy_init(const struct config *config, struct policy *policy);

/*
 * Reads and judges who connected to the socket that fd is our end of. Returns 0, or a negative errno and in
 * text, for the client, why no process is started: -EPERM, -EACCES: not as long as the configuration is as it
 * is; -ENOTSOCK: fd is not the accepted end of a connection to a socket in the file system; -ESRCH: the
 * process has gone; or what failed. *identity is the caller's to clear, and untouched on failure.
 */
int peer_read(const struct policy *policy, int fd, struct identity *identity, char text[RECORD_TEXT_MAX]);

/* What the configuration, which there must be, lets them have. Returns 0 or -ENOMEM. */
int policy_limits(const struct policy *policy, const struct identity *who, struct limits *limits);

#endif
