/*
 * The folder of the workers' sockets and what is in it; see sockets.h.
 */
#include "daemon/launcher/sockets.h"

#include "daemon/common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSTEM_FOLDER  "/run/pmapd"
#define SYSTEM_PREFIX  "workers."
#define PRIVATE_PREFIX "pmapd-workers."

enum {
    BACKLOG = 4096,
    OWNERS_MAX = 16384, /* each one costs a name in /run until the end */
    FOLDER_TRIES = 16,
    FOLDER_MAX = SOCKETS_PATH_MAX - 12, /* leaves room for "/UID" */
};

static int failed(const char *what, int error)
{
    log_error("%s: %s", what, strerror(error));
    return -error;
}

/*** The folder ***/

/* A directory that is ours, opened and locked; -EWOULDBLOCK: its launcher lives. */
static int lock_folder(int parent, const char *name)
{
    struct stat st, there = {0};
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fstat(fd, &st) < 0 ? -errno : st.st_uid != geteuid() ? -EPERM : 0;
    if (rc == 0 &&
        (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstatat(parent, name, &there, AT_SYMLINK_NOFOLLOW) < 0))
        rc = -errno;
    /* Another launcher that starts may have taken it for left over before it was locked. */
    if (rc == 0 && (st.st_dev != there.st_dev || st.st_ino != there.st_ino))
        rc = -ENOENT;
    if (rc < 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

/* Takes away a folder of sockets; others' things in it, if there were any, would be left. */
static void remove_folder(int parent, const char *name, int fd)
{
    DIR *folder = fdopendir(fd);
    struct dirent *entry;
    if (!folder) {
        close(fd);
        return;
    }
    while ((entry = readdir(folder))) { /* NOLINT(concurrency-mt-unsafe): there are no threads */
        struct stat st;
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
            unlinkat(fd, entry->d_name, 0);
    }
    unlinkat(parent, name, AT_REMOVEDIR);
    closedir(folder);
}

/* What launchers left that were killed. */
static void remove_left_over(const char *parent, const char *prefix)
{
    struct dirent *entry;
    DIR *folder = opendir(parent);
    if (!folder)
        return;
    while ((entry = readdir(folder))) { /* NOLINT(concurrency-mt-unsafe): there are no threads */
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        int fd = lock_folder(dirfd(folder), entry->d_name);
        if (fd >= 0)
            remove_folder(dirfd(folder), entry->d_name, fd);
    }
    closedir(folder);
}

/* Makes and locks a new folder. Returns 0 or a negative errno. */
static int make_folder(struct sockets *sockets, const char *parent, const char *prefix)
{
    char path[FOLDER_MAX];
    int n = snprintf(path, sizeof path, "%s/%sXXXXXX", parent, prefix);
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    for (int i = 0; i < FOLDER_TRIES; i++) {
        snprintf(path, sizeof path, "%s/%sXXXXXX", parent, prefix);
        if (!mkdtemp(path))
            return -errno;
        int fd = lock_folder(AT_FDCWD, path);
        if (fd < 0)
            continue;
        /* Nobody may list it, and all may go through to their own. */
        if (!sockets->private_pool && fchmod(fd, 0711) < 0) {
            int rc = -errno;
            remove_folder(AT_FDCWD, path, fd);
            return rc;
        }
        snprintf(sockets->folder, sizeof sockets->folder, "%s", path);
        sockets->lock = fd;
        return 0;
    }
    return -EAGAIN;
}

/* /run/pmapd, in which only root may put anything. */
static int check_system_folder(void)
{
    struct stat st;
    /* Our umask takes from a mode what this one needs. */
    if (mkdir(SYSTEM_FOLDER, 0755) == 0 ? chmod(SYSTEM_FOLDER, 0755) < 0 : errno != EEXIST)
        return failed(SYSTEM_FOLDER, errno);
    if (lstat(SYSTEM_FOLDER, &st) < 0)
        return failed(SYSTEM_FOLDER, errno);
    if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH))) {
        log_error(SYSTEM_FOLDER " must be a directory of root's, and writable by nobody else");
        return -EPERM;
    }
    return 0;
}

/* Makes the folder where it belongs. Returns 0 or a negative errno. */
static int place_folder(struct sockets *sockets)
{
    if (!sockets->private_pool) {
        remove_left_over(SYSTEM_FOLDER, SYSTEM_PREFIX);
        return make_folder(sockets, SYSTEM_FOLDER, SYSTEM_PREFIX);
    }
    const char *runtime = getenv("XDG_RUNTIME_DIR"); /* NOLINT(concurrency-mt-unsafe): there are no threads */
    if (runtime && runtime[0] == '/') {
        remove_left_over(runtime, PRIVATE_PREFIX);
        if (make_folder(sockets, runtime, PRIVATE_PREFIX) == 0)
            return 0;
    }
    remove_left_over("/tmp", PRIVATE_PREFIX);
    return make_folder(sockets, "/tmp", PRIVATE_PREFIX);
}

int sockets_open(bool private_pool, struct sockets *sockets)
{
    *sockets = (struct sockets){.private_pool = private_pool, .lock = -1};
    int rc = private_pool ? 0 : check_system_folder();
    if (rc == 0 && (rc = place_folder(sockets)) < 0)
        log_error("cannot make a folder for the workers' sockets: %s", strerror(-rc));
    return rc;
}

void sockets_close(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        free(sockets->list[i]);
    free(sockets->list);
    sockets->list = NULL;
    sockets->count = 0;
    if (sockets->lock >= 0)
        remove_folder(AT_FDCWD, sockets->folder, sockets->lock);
    sockets->lock = -1;
}

/*** The sockets ***/

static bool is_there(const struct owner_socket *s)
{
    struct stat st;
    return lstat(s->path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == s->dev && st.st_ino == s->ino;
}

/* Nobody may connect until the owner is right: bind makes the name with what the umask (077) leaves, root's.
 */
static int listen_at(const struct owner_socket *s, int *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", s->path);
    if (unlink(s->path) < 0 && errno != ENOENT) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || chmod(s->path, 0600) < 0 ||
        (s->uid != geteuid() && lchown(s->path, s->uid, (gid_t)-1) < 0) || listen(fd, BACKLOG) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    *out = fd;
    return 0;
}

/* Binds the owner's socket; the folder itself may have been cleaned away, too. */
static int bind_socket(struct sockets *sockets, struct owner_socket *s, int *fd)
{
    struct stat st;
    int rc = -ENOENT;
    for (int i = 0; rc == -ENOENT && i < 2; i++) {
        if (i > 0) {
            if (sockets->lock >= 0)
                close(sockets->lock);
            sockets->lock = -1;
            if ((rc = place_folder(sockets)) < 0)
                return rc;
        }
        snprintf(s->path, sizeof s->path, "%.*s/%u", (int)FOLDER_MAX, sockets->folder, (unsigned)s->uid);
        rc = listen_at(s, fd);
    }
    if (rc < 0)
        return rc;
    if (lstat(s->path, &st) < 0) {
        rc = -errno;
        close(*fd);
        return rc;
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    return 0;
}

/* The place for an owner; made when there is none. */
static int find_owner(struct sockets *sockets, uid_t uid, struct owner_socket **out)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->list[i]->uid == uid) {
            *out = sockets->list[i];
            return 0;
        }
    }
    if (sockets->count == OWNERS_MAX)
        return -ENOSPC;
    struct owner_socket **list = realloc(sockets->list, (sockets->count + 1) * sizeof(struct owner_socket *));
    if (!list)
        return -ENOMEM;
    sockets->list = list;
    struct owner_socket *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->uid = uid;
    list[sockets->count++] = s;
    *out = s;
    return 0;
}

int sockets_get(struct sockets *sockets, uid_t uid, const struct owner_socket **socket, int *fd)
{
    struct owner_socket *s;
    int made = -1;
    int rc = find_owner(sockets, uid, &s);
    if (rc == 0 && !is_there(s))
        rc = bind_socket(sockets, s, &made);
    if (rc < 0)
        return rc;
    *socket = s;
    *fd = made;
    return 0;
}
