/*
 * User and group names to numbers, by the machine's name service. May block (LDAP), so only where nobody
 * waits: at start-up, and in a child that reads the configuration again.
 * Thread-safe.
 */
#ifndef PMAPD_NAMES_H
#define PMAPD_NAMES_H

#include <sys/types.h>

/*
 * A name, or a number where no such name exists (the number need not belong to anybody yet).
 * Return 0, -ENOENT (no such name), -ENOMEM, or another negative errno where the name service failed.
 */
int names_user(const char *name, uid_t *out);
int names_group(const char *name, gid_t *out);

#endif
