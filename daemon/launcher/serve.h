/*
 * The launcher at work: it does what the broker's records ask for, tells what became of it, and kills what
 * came of workers that have ended.
 */
#ifndef PMAPD_LAUNCHER_SERVE_H
#define PMAPD_LAUNCHER_SERVE_H

#include "daemon/launcher/cgroup.h"
#include "daemon/launcher/peer.h"
#include "daemon/launcher/sockets.h"

struct launcher_options {
    int socket;              /* to the broker; it does not block */
    int signal_fd;           /* SIGCHLD, which is blocked, comes out of it */
    const char *worker;      /* absolute path of pmap-worker */
    struct policy *policy;   /* its configuration is replaced when the file is read again, the new one being
                                ours until the end */
    const char *config_path; /* absolute, or NULL: the system's */
    struct sockets *sockets;
    struct cgroups *groups; /* that workers are put into, if there are any */
};

/*
 * Serves until the broker has gone, and then kills all workers and all that came of them, and waits for it.
 * Returns 0, or a negative errno, logged, when it is not the broker's going that ended it.
 */
int launcher_serve(const struct launcher_options *options);

#endif
