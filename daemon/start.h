/*
 * What pmapd does before and after it makes its sockets: the process's own state, the configuration that
 * applies, the folders and locks of its endpoints, and giving up privileges. Each step logs what goes wrong
 * with it, so that main has only the order. Single-threaded, except start_drop.
 */
#ifndef PMAPD_START_H
#define PMAPD_START_H

#include "daemon/config.h"
#include "daemon/options.h"

#define START_CONFIG "/etc/pmapd/pmapd.conf"

/*
 * Descriptors 0 to 2 are open, as many as allowed may be opened, the umask is sane, rand() is seeded from the
 * kernel (libzmq draws guessable routing ids from it otherwise), SIGPIPE is ignored, and TERM, INT and HUP
 * are blocked and come out of *signal_fd. Returns 0 or a negative errno.
 */
int start_process(bool private_pool, int *signal_fd);

/*
 * The configuration that applies, its `endpoints` being where to listen: the system's, or for a private pool
 * the defaults, with what was given explicitly over either. Returns 0 or a negative errno; *config is then
 * untouched.
 */
int start_config(const struct options *options, bool private_pool, struct config *config);

/* How many slots: as told, as configured, or the CPUs that may be used. */
unsigned start_slots(const struct options *options, const struct config *config);
/* How many threads one of so many slots may run: the CPUs that may be used, shared out; at least 1. */
unsigned start_threads(unsigned slots);

/* Whom the system's daemon runs as. */
struct start_user {
    uid_t uid;
    gid_t gid;
};
/* Looks the configuration's user up. Returns 0, -ENOENT, -EPERM (it is root) or another negative errno. */
int start_user(const struct config *config, struct start_user *user);

/*
 * Makes the folders that are ours to make, checks that nobody else can put a socket in our place, and locks
 * each endpoint: until this process ends, however it ends. autostart: another one that already serves, or
 * just ceases to, is nothing wrong; it is waited for up to 3 s. Returns 0, 1 (autostart: another one answers
 * there), or a negative errno (-EBUSY: another one serves there).
 */
int start_places(const struct options *options, const struct config *config, bool private_pool,
                 bool autostart);

/* Becomes that user for good, in all threads. On failure the process must end. Returns 0 or a negative errno.
 */
int start_drop(const struct start_user *user);

#endif
