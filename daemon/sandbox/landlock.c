/*
 * Landlock: no file, no TCP port, no signal, whatever the uid could have had; see sandbox.h. Its system calls
 * have no wrappers, and each version of the kernel knows more rights: those that are asked for are the ones
 * it says that it knows.
 */
#include "daemon/sandbox/parts.h"

#include <errno.h>

#if !defined(SANDBOX_SANITIZED) && __has_include(<linux/landlock.h>)

#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As struct landlock_ruleset_attr of the newest kernel; older headers have less of it. */
struct ruleset {
    uint64_t files, net, scoped;
};

/* Rights by the version that brought them; the header of Debian 12 ends with the second. */
enum {
    FILES_FIRST = (1 << 13) - 1, /* everything up to MAKE_SYM */
    FILES_REFER = 1 << 13,       /* 2: to another folder */
    FILES_TRUNCATE = 1 << 14,    /* 3 */
    FILES_IOCTL = 1 << 15,       /* 5: of devices that are opened from now on */
    NET_ALL = 3,                 /* 4: TCP, bind and connect */
    SCOPED_ABSTRACT = 1,         /* 6: to abstract sockets of others */
};

static struct ruleset all_rights(int version, const char *notify)
{
    struct ruleset set = {.files = FILES_FIRST};
    if (version >= 2)
        set.files |= FILES_REFER;
    if (version >= 3)
        set.files |= FILES_TRUNCATE;
    if (version >= 4)
        set.net = NET_ALL;
    if (version >= 5)
        set.files |= FILES_IOCTL;
    if (version >= 6 && (notify == NULL || notify[0] != '@'))
        set.scoped = SCOPED_ABSTRACT;
    return set;
}

/* In a socket's folder, sockets may be removed and get a name: what it takes to rename one. */
static int allow_folder(int ruleset, const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = slash != NULL && slash > path ? (size_t)(slash - path) : 1;
    if (size >= sizeof folder)
        return -ENAMETOOLONG;
    memcpy(folder, path, size);
    folder[size] = '\0';
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_SOCK, .parent_fd = fd};
    int rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

int landlock_enter(const char *const *sockets, const char *notify)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 0)
        return -errno;
    const struct ruleset set = all_rights((int)version, notify);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &set, sizeof set, 0);
    if (fd < 0)
        return -errno;
    int rc = 0;
    for (const char *const *path = sockets; rc == 0 && path != NULL && *path != NULL; path++)
        rc = allow_folder(fd, *path);
    if (rc == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

#else

int landlock_enter(const char *const *sockets, const char *notify)
{
    (void)sockets;
    (void)notify;
    return -EOPNOTSUPP;
}

#endif
