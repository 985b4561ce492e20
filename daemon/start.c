/*
 * Starting pmapd, step by step; see start.h.
 */
#include "daemon/start.h"

#include "common/cpus.h"
#include "common/endpoint.h"
#include "daemon/common/log.h"
#include "daemon/listen.h"
#include "daemon/service.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    TAKEOVER_TRIES = 150, /* of TAKEOVER_PAUSE_NS: 3 s */
    TAKEOVER_PAUSE_NS = 20000000,
    FILES_WANTED = 4096,
    PLACE_MAX = ENDPOINT_MAX + 8, /* a socket's path and what a lock's name adds to it */
};

/* Logs what failed with this errno, which is returned negative. */
static int failed(const char *what, int error)
{
    log_error("%s: %s", what, strerror(error));
    return -error;
}

/*** The process ***/

/* A program that was started without them would give the numbers to sockets, and write its log to one. */
static int reset_descriptors(void)
{
    /* What whoever has started us forgot to close is not ours to keep, nor to hand on. */
    closefrom(STDERR_FILENO + 1 + (int)service_passed());
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) < 0)
            return -errno;
    }
    return 0;
}

static int seed_rand(void)
{
    unsigned seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return failed("cannot get random numbers", errno);
    srand(seed); /* NOLINT(cert-msc51-cpp,cert-msc32-c): the kernel's randomness is the seed */
    return 0;
}

/* As many as may be. libzmq aborts when it cannot accept, and the monitor needs room to cut a flood of
 * connections. */
static void raise_descriptor_limit(bool private_pool)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    rlim_t had = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        limit.rlim_cur = had;
    if (!private_pool && limit.rlim_cur < FILES_WANTED)
        log_warning(
            "only %llu files may be open: a flood of connections could exhaust that; allow %d or more",
            (unsigned long long)limit.rlim_cur, FILES_WANTED);
}

int start_process(bool private_pool, int *signal_fd)
{
    sigset_t signals;
    int rc = reset_descriptors();
    if (rc < 0)
        return rc; /* there is nowhere to log it */
    umask(private_pool ? 077 : 022);
    raise_descriptor_limit(private_pool);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return failed("cannot set up signals", errno);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return failed("cannot set up signals", errno);
    if ((rc = seed_rand()) < 0) {
        close(fd);
        return rc;
    }
    *signal_fd = fd;
    return 0;
}

/*** The configuration ***/

/* Replaces the endpoints. Returns 0 or -ENOMEM. */
static int set_endpoints(struct config *config, const char *const *list, size_t count)
{
    char **endpoints = calloc(count + 1, sizeof *endpoints);
    if (!endpoints)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!(endpoints[i] = strdup(list[i]))) {
            while (i > 0)
                free(endpoints[--i]);
            free(endpoints);
            return -ENOMEM;
        }
    }
    for (char **e = config->endpoints; e && *e; e++)
        free(*e);
    free(config->endpoints);
    config->endpoints = endpoints;
    return 0;
}

/* Does the configuration name the system's endpoint and no other, as it does when nothing was said? */
static bool only_system_endpoint(const struct config *config)
{
    char **e = config->endpoints;
    return !e || !e[0] || (strcmp(e[0], ENDPOINT_SYSTEM) == 0 && !e[1]);
}

static int choose_endpoints(const struct options *options, bool private_pool, struct config *config)
{
    char own[ENDPOINT_MAX];
    const char *list[] = {own};
    int rc = 0;
    if (options->endpoint_count > 0)
        return set_endpoints(config, options->endpoints, options->endpoint_count);
    /* That one is root's: a private pool means another, whatever file its user took for a model. */
    if (private_pool && only_system_endpoint(config)) {
        if ((rc = endpoint_private(own)) < 0) {
            log_error("the path of a socket in $XDG_RUNTIME_DIR would be too long");
            return rc;
        }
        rc = set_endpoints(config, list, 1);
    }
    return rc;
}

int start_config(const struct options *options, bool private_pool, struct config *config)
{
    char error[CONFIG_ERROR_MAX] = "out of memory";
    struct config c;
    int rc = private_pool && !options->config_path ? config_defaults(&c)
                                                   : config_load(options->config_path, &c, error);
    if (rc < 0) {
        log_error("%s", error);
        return rc;
    }
    if ((rc = choose_endpoints(options, private_pool, &c)) < 0) {
        if (rc == -ENOMEM)
            log_error("out of memory");
        config_free(&c);
        return rc;
    }
    *config = c;
    return 0;
}

int start_config_path(const struct options *options, char **path)
{
    const char *named = options->config_path;
    char *folder = NULL, *made = NULL;
    if (!named)
        return 0;
    /* Not with links resolved: the next file may be where a link leads by then. */
    if (named[0] == '/')
        made = strdup(named);
    else if (!(folder = get_current_dir_name()) || asprintf(&made, "%s/%s", folder, named) < 0)
        made = NULL;
    free(folder);
    if (!made)
        return failed(named, errno);
    *path = made;
    return 0;
}

unsigned start_cpus(void)
{
    struct cpus cpus;
    cpus_read(&cpus);
    return cpus.usable > 0 ? (unsigned)cpus.usable : 1;
}

unsigned start_auto_slots(void)
{
    unsigned cpus = start_cpus();
    return cpus < CONFIG_SLOTS_MAX ? cpus : CONFIG_SLOTS_MAX;
}

unsigned start_slots(const struct options *options, const struct config *config)
{
    if (options->slots > 0)
        return options->slots;
    return config->slots > 0 ? (unsigned)config->slots : start_auto_slots();
}

int start_user(const struct config *config, struct start_user *user)
{
    errno = 0;
    const struct passwd *entry =
        getpwnam(config->user); /* NOLINT(concurrency-mt-unsafe): there are no threads yet */
    if (!entry) {
        /* getpwnam(3): these are how various sources say that there is none. */
        if (errno == 0 || errno == ENOENT || errno == ESRCH || errno == EBADF || errno == EPERM) {
            log_error(
                "the user '%s', whom pmapd is to run as, does not exist; make it, name another as 'user' in "
                "[daemon] of " CONFIG_FILE ", or start a pool of your own with --private",
                config->user);
            return -ENOENT;
        }
        int error = errno;
        log_error("cannot look up the user '%s': %s", config->user, strerror(error));
        return -error;
    }
    if (entry->pw_uid == 0) {
        log_error("pmapd does not run as root: name another 'user' in [daemon] than '%s'", config->user);
        return -EPERM;
    }
    *user = (struct start_user){.uid = entry->pw_uid, .gid = entry->pw_gid};
    return 0;
}

/*** Sockets that were passed ***/

/* Puts each socket to its endpoint. */
static int assign_sockets(const struct config *config, const struct service_socket *sockets, size_t count,
                          int *passed)
{
    for (size_t s = 0; s < count; s++) {
        size_t i = 0;
        while (config->endpoints[i] && strcmp(endpoint_path(config->endpoints[i]), sockets[s].path) != 0)
            i++;
        if (!config->endpoints[i] || passed[i] >= 0) {
            log_error("the socket %s was passed, and %s", sockets[s].path,
                      config->endpoints[i] ? "so was another one of this path"
                                           : "no endpoint of the configuration has this path");
            return -EINVAL;
        }
        passed[i] = sockets[s].fd;
    }
    return 0;
}

int start_passed(const struct config *config, int **passed)
{
    struct service_socket *sockets;
    size_t count, endpoints = 0;
    int rc = service_sockets(&sockets, &count);
    if (rc < 0)
        return rc;
    while (config->endpoints[endpoints])
        endpoints++;
    int *list = calloc(endpoints + 1, sizeof *list);
    if (!list)
        rc = failed("taking the sockets that were passed", ENOMEM);
    for (size_t i = 0; list && i < endpoints; i++)
        list[i] = -1;
    if (rc == 0)
        rc = assign_sockets(config, sockets, count, list);
    free(sockets);
    if (rc < 0)
        free(list);
    else
        *passed = list;
    return rc;
}

/*** Folders and locks ***/

/* The folder of a socket's path. */
static void folder_of(const char *path, char out[PLACE_MAX])
{
    size_t len = (size_t)(strrchr(path, '/') - path);
    memcpy(out, path, len);
    out[len] = '\0';
    if (len == 0)
        memcpy(out, "/", 2);
}

/*
 * The system's socket is in a folder in which only root can put anything: whoever could would be taken for
 * pmapd by every user. Only the last component is made.
 */
static int make_system_folder(const char *endpoint)
{
    char folder[PLACE_MAX];
    struct stat st;
    folder_of(endpoint_path(endpoint), folder);
    if (mkdir(folder, 0755) < 0 && errno != EEXIST)
        return failed(folder, errno);
    int fd = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return failed(folder, errno);
    int rc = fstat(fd, &st) < 0 ? -errno : 0;
    close(fd);
    if (rc < 0)
        return failed(folder, -rc);
    if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH))) {
        log_error("%s must belong to root and be writable by nobody else", folder);
        return -EPERM;
    }
    return 0;
}

static int make_private_folder(const char *endpoint)
{
    char folder[PLACE_MAX];
    int rc = endpoint_make_folder(endpoint);
    folder_of(endpoint_path(endpoint), folder);
    if (rc == -EPERM)
        log_error("%s must belong to you and be closed to all others (mode 0700)", folder);
    else if (rc < 0)
        failed(folder, -rc);
    return rc;
}

/* zmq_bind removes whatever has the socket's name, so it had better be an old socket. */
static int check_socket_place(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : failed(path, errno);
    if (S_ISSOCK(st.st_mode))
        return 0;
    log_error("%s exists and is no socket", path);
    return -EEXIST;
}

/*
 * Takes the lock of a socket: "x.lock" beside "x.sock". It stays with the descriptor, which nobody closes.
 * The file is never removed: two could then hold a lock of the same name. Returns 0, -EWOULDBLOCK (somebody
 * else holds it), or another negative errno, which was logged.
 */
static int lock_place(const char *socket_path)
{
    char path[PLACE_MAX];
    struct stat st;
    size_t len = strlen(socket_path);
    if (len > 5 && strcmp(socket_path + len - 5, ".sock") == 0)
        len -= 5;
    snprintf(path, sizeof path, "%.*s.lock", (int)len, socket_path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0)
        return failed(path, errno);
    int rc = fstat(fd, &st) < 0 ? failed(path, errno) : 0;
    if (rc == 0 && (!S_ISREG(st.st_mode) || st.st_uid != geteuid())) {
        log_error("%s is not a file of ours", path);
        rc = -EPERM;
    }
    if (rc == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
        rc = errno == EWOULDBLOCK ? -EWOULDBLOCK : failed(path, errno);
    if (rc < 0)
        close(fd);
    return rc;
}

/*
 * The socket is there already, and who comes waits in its queue: only a daemon with the lock takes him. A
 * private pool that pmapc had started may still have it, for those who were there before the socket was: it
 * is not to be found any more, nor known to its user, and leaves after them.
 */
static int take_passed_place(const char *endpoint, bool private_pool)
{
    int rc = lock_place(endpoint_path(endpoint));
    if (rc != -EWOULDBLOCK)
        return rc;
    if (!private_pool)
        return listen_tell_served(endpoint);
    log_notice(
        "another pmapd has not left %s yet, where its socket has been replaced by the one passed to us",
        endpoint);
    return 0;
}

/* Returns as start_places does. */
static int take_place(const char *endpoint, bool autostart)
{
    const char *path = endpoint_path(endpoint);
    int rc = check_socket_place(path);
    bool served = false;
    if (rc < 0)
        return rc;
    rc = lock_place(path);
    for (int i = 0; rc == -EWOULDBLOCK && autostart && i < TAKEOVER_TRIES; i++) {
        /* The other one answers, or will in a moment, or is leaving and the lock will be free in a moment. */
        const struct timespec pause = {.tv_nsec = TAKEOVER_PAUSE_NS};
        if ((served = listen_is_served(endpoint)))
            break;
        nanosleep(&pause, NULL);
        rc = lock_place(path);
    }
    /* Somebody without a lock may listen there too: its file may have been cleaned away from /tmp. */
    if (rc == 0 && listen_is_served(endpoint)) {
        served = true;
        rc = -EWOULDBLOCK;
    }
    if (rc != -EWOULDBLOCK)
        return rc;
    return autostart && served ? 1 : listen_tell_served(endpoint);
}

int start_places(const struct options *options, const struct config *config, const int *passed,
                 bool private_pool, bool autostart)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && config->endpoints[i]; i++) {
        const char *endpoint = config->endpoints[i];
        if (!private_pool)
            rc = make_system_folder(endpoint);
        else if (options->endpoint_count == 0)
            rc = make_private_folder(endpoint);
        if (rc == 0)
            rc = passed[i] >= 0 ? take_passed_place(endpoint, private_pool) : take_place(endpoint, autostart);
    }
    return rc;
}

/*** Privileges ***/

int start_drop(const struct start_user *user)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    /* glibc makes each of these hold for all threads, those of libzmq included. */
    if (setgroups(1, &user->gid) < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0 || getresuid(&ruid, &euid, &suid) < 0 ||
        getresgid(&rgid, &egid, &sgid) < 0)
        return failed("cannot give up privileges", errno);
    bool ours = ruid == user->uid && euid == user->uid && suid == user->uid && rgid == user->gid &&
                egid == user->gid && sgid == user->gid;
    /* Also by a capability that was kept, or a security bit that keeps them. */
    if (!ours || setuid(0) == 0 || seteuid(0) == 0 || (user->gid != 0 && setegid(0) == 0)) {
        log_error("privileges were given up and could be had back");
        return -EPERM;
    }
    return 0;
}
