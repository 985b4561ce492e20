/*
 * What a service manager is told, and what it passes: readiness, state, sign of life, listening sockets; as
 * sd_notify(3) and sd_listen_fds(3) have it. Where nobody manages us, or without libsystemd at build time,
 * telling does nothing and nothing is passed. The variables of the environment that this goes by are kept
 * from the launcher (launcher/spawn.h). Broker's thread only; never blocks.
 */
#ifndef PMAPD_SERVICE_H
#define PMAPD_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* It serves, or serves again after service_reloading. status: a short line for people. */
void service_ready(const char *status);
/* The configuration is being read again: until service_ready. */
void service_reloading(void);
/* It is about to end. */
void service_stopping(const char *status);

/* Tells what the manager could not be told at once. Returns whether it has been told all; else, again later.
 */
bool service_flush(void);

/* The longest time between two signs of life, in ns; 0: none are wanted. */
int64_t service_watchdog_ns(void);
/* A sign of life. */
void service_alive(void);

/* A listening stream socket of the file system that was passed; close-on-exec, and it does not block. */
struct service_socket {
    int fd;
    char path[108];
};

/* How many descriptors were passed, from 3 on. */
size_t service_passed(void);

/*
 * We shall not serve, nor would the next one: drops the connections that wait at the sockets that were
 * passed. A service manager would start us again and again for those, even where the client has left.
 */
void service_turn_away(void);

/*
 * The sockets that were passed. *sockets: from malloc (NULL when there are none), its descriptors the
 * caller's. To be called once, before anything else opens descriptors in earnest. Returns 0 or a negative
 * errno, logged: one of another kind is an error, which names it.
 */
int service_sockets(struct service_socket **sockets, size_t *count);

#endif
