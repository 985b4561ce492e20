/*
 * An empty root directory in a mount namespace of our own; see sandbox.h. A list of what to hide would not
 * do: homes can be anywhere.
 */
#include "daemon/sandbox/parts.h"

#ifdef SANDBOX_SANITIZED

#include <errno.h>

int root_enter(const char *notify)
{
    (void)notify;
    return -EOPNOTSUPP;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where the new root is put together: a directory that every root has. */
#define PLACE "/proc"

/* Makes the folders of an absolute path, and an empty file at its end, below the present directory. */
static int make_file(const char *path)
{
    char name[PATH_MAX];
    if (snprintf(name, sizeof name, "%s", path + 1) >= (int)sizeof name)
        return -ENAMETOOLONG;
    for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(name, 0755) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/* The socket at which the service manager is told something appears in the new root under its own name. */
static int bind_notify(const char *notify)
{
    if (notify == NULL || notify[0] != '/')
        return 0; /* one with an abstract name is no file */
    int rc = make_file(notify);
    return rc == 0 && mount(notify, notify + 1, NULL, MS_BIND, NULL) < 0 ? -errno : rc;
}

/* The present directory, a mount, becomes the root, and what was mounted before is let go of. */
static int change_root(void)
{
    const unsigned long sealed = MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount(NULL, ".", NULL, sealed, NULL) < 0)
        return -errno;
    /* The old root ends up on top of the new one, from where it can be taken (pivot_root(2), NOTES). Where it
     * is no mount, as in a chroot, it can only be left. */
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return chroot(".") < 0 ? -errno : 0;
    return umount2(".", MNT_DETACH) < 0 ? -errno : 0;
}

/* So that nothing of ours appears out there. In a chroot the root is no mount, but what is mounted at PLACE
 * is, and nothing is mounted anywhere else. */
static int become_slaves(void)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0)
        return 0;
    return errno == EINVAL ? mount(NULL, PLACE, NULL, MS_SLAVE, NULL) : -1;
}

int root_enter(const char *notify)
{
    if (unshare(CLONE_NEWNS) < 0 || become_slaves() < 0 ||
        mount("pmapd", PLACE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=4k,nr_inodes=64") <
            0)
        return -errno;
    int rc = chdir(PLACE) < 0 ? -errno : bind_notify(notify);
    if (rc == 0)
        rc = change_root();
    if (chdir("/") < 0 && rc == 0)
        rc = -errno;
    if (rc < 0)
        (void)umount2(PLACE, MNT_DETACH);
    return rc;
}

#endif
