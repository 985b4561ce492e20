/*
 * Reads the submitting process; see peer.h. Its pid is only worth something while it lives: what is read by
 * that number counts when a pidfd says afterwards that the process was there all the time.
 */
#include "daemon/launcher/peer.h"

#include "common/smallfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

/* Linux 6.5; glibc 2.36 does not have it. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum {
    UID_OVERFLOW = 65534, /* how a uid appears that this user namespace does not have */
    STATUS_MAX = 16 << 10,
    GROUPS_FEW = 64,
};

/* What stays the same unless a process is in a sandbox: file in /proc/PID, and how to call it. */
static const struct {
    const char *file, *name;
} places[] = {{"ns/mnt", "mount namespace"},
              {"ns/pid", "pid namespace"},
              {"ns/user", "user namespace"},
              {"root", "root directory"}};
_Static_assert(sizeof places / sizeof *places ==
                   sizeof((struct sandbox *)0)->places / sizeof *((struct sandbox *)0)->places,
               "a place each");

/* Says why not, and returns the error. */
__attribute__((format(printf, 3, 4))) static int refuse(char text[RECORD_TEXT_MAX], int error,
                                                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(text, RECORD_TEXT_MAX, format, args);
    va_end(args);
    return error;
}

/*** Files of /proc/PID ***/

static int read_status(int proc, char status[STATUS_MAX])
{
    ssize_t n = smallfile_read(proc, "status", status, STATUS_MAX);
    return n < 0 ? (int)n : 0;
}

/* Up to `most` numbers; returns how many there are. */
static size_t numbers(const char *text, unsigned long *out, size_t most)
{
    size_t count = 0;
    char *end = NULL;
    for (; text && count < most; text = end) {
        while (*text == ' ' || *text == '\t')
            text++;
        if (*text < '0' || *text > '9')
            break;
        out[count++] = strtoul(text, &end, 10);
    }
    return count;
}

/*
 * Hard limits from /proc/PID/limits: prlimit(2) would need CAP_SYS_RESOURCE for another user's process, and
 * not every root has that.
 */
static int read_limits(int proc, rlim_t limits[RLIM_NLIMITS])
{
    static const struct {
        const char *name;
        int resource;
    } names[] = {
        {"Max cpu time", RLIMIT_CPU},
        {"Max file size", RLIMIT_FSIZE},
        {"Max data size", RLIMIT_DATA},
        {"Max stack size", RLIMIT_STACK},
        {"Max core file size", RLIMIT_CORE},
        {"Max resident set", RLIMIT_RSS},
        {"Max processes", RLIMIT_NPROC},
        {"Max open files", RLIMIT_NOFILE},
        {"Max locked memory", RLIMIT_MEMLOCK},
        {"Max address space", RLIMIT_AS},
        {"Max file locks", RLIMIT_LOCKS},
        {"Max pending signals", RLIMIT_SIGPENDING},
        {"Max msgqueue size", RLIMIT_MSGQUEUE},
        {"Max nice priority", RLIMIT_NICE},
        {"Max realtime priority", RLIMIT_RTPRIO},
        {"Max realtime timeout", RLIMIT_RTTIME},
    };
    _Static_assert(sizeof names / sizeof *names == RLIM_NLIMITS, "every limit");
    char file[4096], soft[32], hard[32];
    ssize_t rc = smallfile_read(proc, "limits", file, sizeof file);
    for (size_t i = 0; rc >= 0 && i < sizeof names / sizeof *names; i++) {
        const char *line = smallfile_line(file, names[i].name);
        if (!line || sscanf(line, "%31s %31s", soft, hard) != 2)
            return -EPROTO;
        char *end = hard;
        limits[names[i].resource] =
            strcmp(hard, "unlimited") == 0 ? RLIM_INFINITY : (rlim_t)strtoull(hard, &end, 10);
        if (limits[names[i].resource] != RLIM_INFINITY && (end == hard || *end != '\0'))
            return -EPROTO;
    }
    return rc < 0 ? (int)rc : 0;
}

/* Namespaces, root directory, NoNewPrivs and Seccomp; status: the process's file of that name. */
static int read_sandbox(int proc, const char *status, struct sandbox *sandbox)
{
    unsigned long no_new_privs = 0, seccomp = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct statx st;
        /* A root directory may be of a file system that its user serves, or that is on another machine: what
         * the kernel knows by itself will do, and nobody is waited for. */
        if (statx(proc, places[i].file, AT_STATX_DONT_SYNC, STATX_INO, &st) < 0)
            return -errno;
        sandbox->places[i].dev = makedev(st.stx_dev_major, st.stx_dev_minor);
        sandbox->places[i].ino = st.stx_ino;
    }
    if (numbers(smallfile_line(status, "NoNewPrivs:"), &no_new_privs, 1) != 1)
        return -EPROTO;
    numbers(smallfile_line(status, "Seccomp:"), &seccomp, 1); /* not there where the kernel has none */
    sandbox->no_new_privs = no_new_privs != 0;
    sandbox->seccomp = seccomp != 0;
    return 0;
}

/*** Policy ***/

int policy_init(const struct config *config, struct policy *policy)
{
    struct policy p = {.config = config, .own = geteuid()};
    char status[STATUS_MAX];
    int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return -errno;
    int rc = read_status(proc, status);
    if (rc == 0)
        rc = read_sandbox(proc, status, &p.sandbox);
    close(proc);
    if (rc == 0)
        *policy = p;
    return rc;
}

/* The primary one and the others, so one more than who->group_count; malloc'd. */
static gid_t *all_groups(const struct identity *who)
{
    gid_t *groups = malloc((who->group_count + 1) * sizeof *groups);
    if (!groups)
        return NULL;
    groups[0] = who->gid;
    if (who->group_count > 0)
        memcpy(groups + 1, who->groups, who->group_count * sizeof *groups);
    return groups;
}

int policy_limits(const struct policy *policy, const struct identity *who, struct limits *limits)
{
    gid_t *groups = all_groups(who);
    if (!groups)
        return -ENOMEM;
    *limits = config_limits(policy->config, who->uid, groups, who->group_count + 1);
    free(groups);
    return 0;
}

/* By uid and groups alone. */
static int judge_owner(const struct policy *policy, const struct identity *who, char *text)
{
    const struct config *config = policy->config;
    if (who->uid == (uid_t)-1 || who->uid == UID_OVERFLOW)
        return refuse(text, -EPERM, "no processes for uid %u: it stands for a user that is not known here",
                      (unsigned)who->uid);
    if (!config)
        return who->uid == policy->own
                   ? 0
                   : refuse(text, -EPERM, "this pool is private to uid %u", (unsigned)policy->own);
    if (who->uid == 0 && !config->allow_root)
        return refuse(text, -EPERM, "no processes for root: allow_root is off in pmapd's configuration");
    if (who->uid != 0 && who->uid < config->min_uid)
        return refuse(text, -EPERM, "no processes for uid %u: it is below min_uid (%u)", (unsigned)who->uid,
                      (unsigned)config->min_uid);
    gid_t *groups = all_groups(who);
    if (!groups)
        return refuse(text, -ENOMEM, "the launcher is out of memory");
    const char *why = config_keeps_out(config, who->uid, groups, who->group_count + 1);
    free(groups);
    return why == NULL ? 0 : refuse(text, -EPERM, "no processes for uid %u: %s", (unsigned)who->uid, why);
}

/* A service in a sandbox must not get out of it through us. */
static int judge_sandbox(const struct policy *policy, const struct sandbox *its, char *text)
{
    const struct sandbox *ours = &policy->sandbox;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (its->places[i].dev != ours->places[i].dev || its->places[i].ino != ours->places[i].ino)
            return refuse(text, -EPERM, "no processes for a client in another %s (same_namespace)",
                          places[i].name);
    }
    if (its->no_new_privs && !ours->no_new_privs)
        return refuse(text, -EPERM, "no processes for a client with no_new_privs set (same_namespace)");
    if (its->seccomp && !ours->seccomp)
        return refuse(text, -EPERM, "no processes for a client under seccomp (same_namespace)");
    return 0;
}

/*** The process ***/

/* Is it still there? A zombie has gone. */
static bool alive(int pidfd)
{
    struct pollfd item = {.fd = pidfd, .events = POLLIN};
    return poll(&item, 1, 0) == 0;
}

static int gone(char *text)
{
    return refuse(text, -ESRCH, "the process that connected has gone");
}

/* What is read by pid or through its folder in /proc. */
static int read_process(const struct policy *policy, int proc, pid_t pid, struct identity *who, char *text)
{
    char status[STATUS_MAX] = "";
    unsigned long uids[4];
    int rc = read_status(proc, status);
    if (rc < 0 || numbers(smallfile_line(status, "Uid:"), uids, 4) != 4)
        return refuse(text, rc < 0 ? rc : -EPROTO, "cannot read your process's status");
    if (uids[0] != who->uid && uids[1] != who->uid && uids[2] != who->uid)
        return refuse(text, -ESRCH, "the process that connected has another uid now");
    if (policy->config && policy->config->same_namespace) {
        struct sandbox its = {0};
        if ((rc = read_sandbox(proc, status, &its)) < 0)
            return refuse(text, rc, "cannot read your process's namespaces: %s", strerror(-rc));
        if ((rc = judge_sandbox(policy, &its, text)) < 0)
            return rc;
    }
    if ((rc = read_limits(proc, who->limits)) < 0)
        return refuse(text, rc, "cannot read your process's limits: %s", strerror(-rc));
    errno = 0;
    who->nice = getpriority(PRIO_PROCESS, (id_t)pid);
    if (errno != 0 || sched_getaffinity(pid, sizeof who->cpus, (cpu_set_t *)who->cpus) < 0) {
        rc = -errno;
        return refuse(text, rc, "cannot read your process's niceness and CPUs: %s", strerror(-rc));
    }
    return 0;
}

/* As the kernel noted it when the process connected; for older kernels, whoever has the number now. */
static int open_process(int fd, pid_t pid)
{
    int pidfd;
    socklen_t size = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return pidfd;
    if (errno != ENOPROTOOPT)
        return errno == EINVAL || errno == ENODATA ? -ESRCH : -errno;
    pidfd = pidfd_open(pid, 0);
    return pidfd < 0 ? -errno : pidfd;
}

static int look_at_process(const struct policy *policy, int fd, pid_t pid, struct identity *who, char *text)
{
    char path[32];
    int pidfd = open_process(fd, pid);
    if (pidfd < 0)
        return pidfd == -ESRCH ? gone(text) : refuse(text, pidfd, "cannot watch your process");
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    int proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int rc = proc < 0 ? refuse(text, -errno, "cannot read your process: %s", strerror(errno))
                      : read_process(policy, proc, pid, who, text);
    /* Only now is it certain whose folder that was, and that what was refused was not another's. */
    if (!alive(pidfd))
        rc = gone(text);
    if (proc >= 0)
        close(proc);
    close(pidfd);
    return rc;
}

/*** The socket ***/

/*
 * Is this the end that accept(2) gave of a connection to a named socket? Of a connection that the broker made
 * itself, to any socket that somebody listens at, the kernel would tell that somebody's credentials: but then
 * the name is the other end's. And a pair has no names.
 */
static bool is_accepted(int fd)
{
    struct sockaddr_un name;
    int domain = 0, type = 0, listens = 1;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX)
        return false;
    size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        return false;
    size = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || listens)
        return false;
    size = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &size) < 0 || size <= sizeof name.sun_family)
        return false;
    size = sizeof name;
    return getpeername(fd, (struct sockaddr *)&name, &size) == 0 && size <= sizeof name.sun_family;
}

static int compare_gids(const void *a, const void *b)
{
    gid_t x = *(const gid_t *)a, y = *(const gid_t *)b;
    return x < y ? -1 : x > y;
}

/* Supplementary groups. Returns 0 or a negative errno. */
static int read_groups(int fd, struct identity *who)
{
    socklen_t size = GROUPS_FEW * sizeof(gid_t);
    gid_t *groups = malloc(size);
    if (!groups)
        return -ENOMEM;
    int rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
    if (rc < 0 && errno == ERANGE) {
        /* The size is now the one that it takes. */
        free(groups);
        if (!(groups = malloc(size)))
            return -ENOMEM;
        rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
    }
    if (rc < 0) {
        rc = errno == ENOPROTOOPT ? 0 : -errno;
        free(groups);
        return rc;
    }
    who->groups = groups;
    who->groups_known = true;
    who->group_count = size / sizeof *groups;
    qsort(groups, who->group_count, sizeof *groups, compare_gids);
    return 0;
}

static int read_socket(const struct policy *policy, int fd, struct identity *who, pid_t *pid, char *text)
{
    struct ucred cred;
    socklen_t size = sizeof cred;
    if (!is_accepted(fd))
        return refuse(text, -ENOTSOCK, "not a client's connection");
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 || size != sizeof cred)
        return refuse(text, -ENOTSOCK, "the kernel does not say who connected");
    who->uid = cred.uid;
    who->gid = cred.gid;
    *pid = cred.pid;
    if (!policy->config)
        return 0; /* its own groups are what a private pool's processes have */
    int rc = read_groups(fd, who);
    return rc < 0 ? refuse(text, rc, "cannot read your groups: %s", strerror(-rc)) : 0;
}

int peer_read(const struct policy *policy, int fd, struct identity *identity, char text[RECORD_TEXT_MAX])
{
    struct identity who = {0};
    pid_t pid = 0;
    int rc = read_socket(policy, fd, &who, &pid, text);
    if (rc == 0)
        rc = judge_owner(policy, &who, text);
    if (rc == 0 && pid <= 0)
        rc = refuse(text, -EPERM, "no processes for a client in another pid namespace");
    if (rc == 0)
        rc = look_at_process(policy, fd, pid, &who, text);
    if (rc < 0) {
        identity_clear(&who);
        return rc;
    }
    if (!policy->config)
        who.gid = getegid();
    *identity = who;
    return 0;
}
