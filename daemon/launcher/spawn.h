/*
 * How pmapd starts its launcher.
 */
#ifndef PMAPD_SPAWN_H
#define PMAPD_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Forks and executes the pmap-launcher beside this program, or where it is installed. To be called before
 * there are threads, a context of ZeroMQ, or anything that the launcher should not have: it gets descriptors
 * 0 to 2 and the socket, and signals as a program expects them. It keeps who it is: so root's pmapd calls
 * this before it gives up its privileges. What a service manager has put into our environment for us alone is
 * left out of its. config_path: as given on the command line (relative to the present
 * directory), or NULL. *socket: our end (close-on-exec) for records.h; its end of file is the launcher's end.
 * Returns 0 or a negative errno, which was logged; *socket and *pid are then untouched.
 */
int launcher_spawn(bool private_pool, const char *config_path, int *socket, pid_t *pid);

/*
 * Waits until the launcher has ended, which it does once our end of the socket is closed and nothing is left
 * of what it has started; for some seconds at most.
 */
void launcher_wait(pid_t pid);

#endif
