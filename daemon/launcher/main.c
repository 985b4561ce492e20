/*
 * pmap-launcher: starts and kills users' worker processes for pmapd, which runs it and has no privileges of
 * its own. This file is the order in which it starts and ends.
 */
#include "daemon/common/config.h"
#include "daemon/common/log.h"
#include "daemon/launcher/account.h"
#include "daemon/launcher/cgroup.h"
#include "daemon/launcher/peer.h"
#include "daemon/launcher/reading.h"
#include "daemon/launcher/serve.h"
#include "daemon/launcher/sockets.h"
#include "daemon/launcher/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

struct arguments {
    int socket; /* -1: not given */
    bool private_pool;
    const char *config, *worker; /* worker: an absolute path */
};

static int failed(const char *what, int error)
{
    log_error("%s: %s", what, strerror(error));
    return -error;
}

static int read_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const struct option known[] = {{"socket", required_argument, NULL, 's'},
                                          {"private", no_argument, NULL, 'p'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"worker", required_argument, NULL, 'w'},
                                          {0}};
    *arguments = (struct arguments){.socket = -1};
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0) { /* NOLINT(concurrency-mt-unsafe) */
        char *end = NULL;
        long number;
        switch (option) {
        case 's':
            number = strtol(optarg, &end, 10);
            if (end == optarg || *end != '\0' || number < 0 || number > INT_MAX)
                return -EINVAL;
            arguments->socket = (int)number;
            break;
        case 'p':
            arguments->private_pool = true;
            break;
        case 'c':
            arguments->config = optarg;
            break;
        case 'w':
            arguments->worker = optarg;
            break;
        default:
            return -EINVAL;
        }
    }
    bool whole = arguments->socket > STDERR_FILENO && arguments->worker && arguments->worker[0] == '/';
    return optind == argc && whole ? 0 : -EINVAL;
}

/* Is that what pmapd gives us? */
static bool is_brokers_socket(int fd)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
        return false;
    size = sizeof type;
    return domain == AF_UNIX && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           type == SOCK_SEQPACKET;
}

/*** The process ***/

static int open_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) < 0)
            return -errno;
    }
    return 0;
}

/* It ends with pmapd and not before, so nothing that a terminal or an administrator sends ends it sooner. */
static int set_up_signals(int *signal_fd)
{
    static const int ignored[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGTTOU, SIGTTIN};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    const struct sigaction child = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
    sigset_t signals;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        if (sigaction(ignored[i], &ignore, NULL) < 0)
            return failed("cannot set up signals", errno);
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    if (sigaction(SIGCHLD, &child, NULL) < 0 || sigprocmask(SIG_SETMASK, &signals, NULL) < 0 ||
        (*signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return failed("cannot set up signals", errno);
    return 0;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("cannot raise the limit of open files: %s", strerror(errno));
}

/*
 * Out of whatever session keyring root had, for one that is empty and can be looked into only: a worker whose
 * user may not have another key stays in it. Where there are no keyrings there is nothing to leave.
 */
static void leave_keyring(void)
{
    enum { POSSESSOR_VIEW_AND_SEARCH = 0x09000000 };
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0 &&
        syscall(SYS_keyctl, KEYCTL_SETPERM, KEY_SPEC_SESSION_KEYRING, POSSESSOR_VIEW_AND_SEARCH) < 0)
        log_warning("cannot close the session keyring: %s", strerror(errno));
}

static int set_up_process(const struct arguments *arguments, int *signal_fd)
{
    int rc;
    int flags = fcntl(arguments->socket, F_GETFL);
    if (flags < 0 || fcntl(arguments->socket, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(arguments->socket, F_SETFD, FD_CLOEXEC) < 0)
        return failed("cannot set up the socket", errno);
    setsid(); /* fails where pmapd's fork has made it the leader of one already */
    umask(077);
    raise_descriptor_limit();
    if (!arguments->private_pool)
        leave_keyring();
    if (prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL) < 0)
        return failed("cannot take over what workers leave behind", errno);
    if ((rc = tree_check()) < 0)
        return failed("this kernel does not list the children of a process (CONFIG_PROC_CHILDREN)", -rc);
    return set_up_signals(signal_fd);
}

/*** Control groups ***/

/* The broker: who made the socket, if that is our parent still. Returns 0 when it has gone. */
static pid_t brokers_pid(int socket)
{
    struct ucred cred;
    socklen_t size = sizeof cred;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 || cred.pid != getppid())
        return 0;
    return cred.pid;
}

/* Where there are none to be had we do without; either is said once. */
static void open_groups(int socket, const struct config *config, struct cgroups *groups)
{
    char own[PATH_MAX], why[CGROUP_WHY_MAX] = "pmapd has gone", names[32];
    pid_t broker = brokers_pid(socket);
    int rc = broker == 0 ? -ESRCH : cgroups_find(CGROUP_ROOT, own, why);
    if (rc == 0)
        rc = cgroups_open(own, broker, config->queued_bytes, groups, why);
    if (rc < 0) {
        log_notice(
            "no control groups: %s; weight holds for slots only, memory and pids do not hold, and what "
            "is to be killed is found by its parents",
            why);
        return;
    }
    cgroups_names(groups, names);
    log_info("control groups in %s:%s", own, names[0] == '\0' ? " no controllers" : names);
    if (!groups->memory)
        log_warning("memory is not limited: %s has no such controller", own);
    if (!groups->pids)
        log_warning("the number of processes is not limited: %s has no such controller", own);
}

/* Said once, as it makes a difference for all. */
static void look_for_pam(void)
{
    const char *why;
    if (!account_has_pam(NULL, &why))
        log_notice(
            "PAM is not asked, %s: limits.conf does not hold; of account rules only expiry and nologin do",
            why);
}

/*** In order ***/

static int serve(const struct arguments *arguments, const struct config *config, int signal_fd)
{
    struct policy policy;
    struct sockets sockets;
    struct cgroups groups;
    struct launcher_options options = {.socket = arguments->socket,
                                       .signal_fd = signal_fd,
                                       .worker = arguments->worker,
                                       .policy = &policy,
                                       .config_path = arguments->config,
                                       .sockets = &sockets,
                                       .groups = &groups};
    int rc;
    cgroups_init(&groups);
    if ((rc = policy_init(config, &policy)) < 0)
        return failed("cannot read /proc/self", -rc);
    if ((rc = sockets_open(config == NULL, &sockets)) < 0)
        return rc;
    if (chdir("/") < 0)
        rc = failed("/", errno);
    if (rc == 0 && config) {
        look_for_pam();
        open_groups(arguments->socket, config, &groups);
    }
    if (rc == 0)
        rc = launcher_serve(&options);
    cgroups_close(&groups);
    sockets_close(&sockets);
    return rc;
}

static int run(const struct arguments *arguments)
{
    struct config config = {0};
    char error[CONFIG_ERROR_MAX];
    int signal_fd = -1;
    int rc = set_up_process(arguments, &signal_fd);
    if (rc == 0 && !arguments->private_pool && (rc = config_load(arguments->config, &config, error)) < 0)
        log_error("%s", error);
    if (rc == 0) {
        rc = serve(arguments, arguments->private_pool ? NULL : &config, signal_fd);
        config_free(&config);
    }
    if (signal_fd >= 0)
        close(signal_fd);
    return rc;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    if (open_standard_descriptors() < 0)
        return EXIT_FAILURE; /* there is nowhere to say so */
    log_init("pmap-launcher", LOG_INFO);
    if (read_arguments(argc, argv, &arguments) < 0 || !is_brokers_socket(arguments.socket)) {
        fprintf(stderr, "pmap-launcher: this program is run by pmapd, and by nobody else\n");
        return EXIT_USAGE;
    }
    if (getuid() != geteuid() || getgid() != getegid() || (!arguments.private_pool && geteuid() != 0)) {
        log_error("only root's launcher serves others; without root's privileges a pool is private");
        return EXIT_USAGE;
    }
    return run(&arguments) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
