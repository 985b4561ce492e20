/*
 * What pmapd does before and after it makes its sockets: the process's own state, the configuration that
 * applies, the folders and locks of its endpoints, and giving up privileges. Each step logs what goes wrong
 * with it, so that main has only the order. Single-threaded, except start_drop.
 */
#ifndef PMAPD_START_H
#define PMAPD_START_H

#include "daemon/common/config.h"
#include "daemon/options.h"

/*
 * Descriptors 0 to 2 are open, others are not but the sockets that a service manager has passed; as many as
 * allowed may be opened, the umask is sane, rand() is seeded from the
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

/*
 * The file that was named on the command line, as it is found from any folder; NULL: none was. From malloc.
 * Returns 0 or a negative errno.
 */
int start_config_path(const struct options *options, char **path);

/* The CPUs that may be used, and how many slots they make where nobody says another number. */
unsigned start_cpus(void);
unsigned start_auto_slots(void);
/* How many slots: as told, as configured, or by that. */
unsigned start_slots(const struct options *options, const struct config *config);

/* Whom the system's daemon runs as. */
struct start_user {
    uid_t uid;
    gid_t gid;
};
/* Looks the configuration's user up. Returns 0, -ENOENT, -EPERM (it is root) or another negative errno. */
int start_user(const struct config *config, struct start_user *user);

/*
 * The listening sockets that a service manager has passed to us: *passed is from malloc, one for each of the
 * configuration's endpoints, a descriptor or -1. One that no endpoint has is an error. Returns 0 or a
 * negative errno.
 */
int start_passed(const struct config *config, int **passed);

/*
 * Makes the folders that are ours to make, checks that nobody else can put a socket in our place, and locks
 * each endpoint: until this process ends, however it ends. A place whose socket was passed is only checked
 * and locked. autostart: another one that already serves, or just ceases to, is nothing wrong; it is waited
 * for up to 3 s. Returns 0, 1 (autostart: another one answers there), or a negative errno (-EBUSY: another
 * one serves there).
 */
int start_places(const struct options *options, const struct config *config, const int *passed,
                 bool private_pool, bool autostart);

/* Becomes that user for good, in all threads. On failure the process must end. Returns 0 or a negative errno.
 */
int start_drop(const struct start_user *user);

#endif
