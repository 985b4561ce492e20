/*
 * Stands in for pmap-worker in the launcher's tests: connects to the socket that it was given, tells what it
 * finds itself to be, and then does what it is told, one letter a command. What comes of it keeps the
 * connection open, so that its end is the end of all of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

static void report_ids(FILE *out)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid, groups[64];
    getresuid(&ruid, &euid, &suid);
    getresgid(&rgid, &egid, &sgid);
    fprintf(out, "uids %u %u %u %u\n", ruid, euid, suid, (unsigned)setfsuid((uid_t)-1));
    fprintf(out, "gids %u %u %u %u\n", rgid, egid, sgid, (unsigned)setfsgid((gid_t)-1));
    int count = getgroups(64, groups);
    fprintf(out, "groups");
    for (int i = 0; i < count; i++)
        fprintf(out, " %u", groups[i]);
    bool back = ruid != 0 && (setuid(0) == 0 || seteuid(0) == 0 || setresuid(0, 0, 0) == 0 ||
                              (rgid != 0 && setgid(0) == 0) || setgroups(0, NULL) == 0);
    fprintf(out, "\nback %d\n", back);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2] = {{0}};
    syscall(SYS_capget, &header, caps);
    fprintf(out, "capabilities %x\n",
            caps[0].effective | caps[0].permitted | caps[0].inheritable | caps[1].effective |
                caps[1].permitted | caps[1].inheritable);
}

static void report_limits(FILE *out)
{
    struct rlimit limit;
    for (int resource = 0; resource < (int)RLIM_NLIMITS; resource++) {
        getrlimit(resource, &limit);
        fprintf(out, "limit%d %llu %llu\n", resource, (unsigned long long)limit.rlim_cur,
                (unsigned long long)limit.rlim_max);
    }
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    fprintf(out, "nice %d\ncpus %d\n", getpriority(PRIO_PROCESS, 0), CPU_COUNT(&cpus));
}

static void report_signals(FILE *out)
{
    sigset_t mask;
    int blocked = 0, ignored = 0, death = 0;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int signal = 1; signal < NSIG; signal++) {
        struct sigaction action;
        blocked += sigismember(&mask, signal) == 1;
        ignored += sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
    }
    prctl(PR_GET_PDEATHSIG, &death);
    fprintf(out, "blocked %d\nignored %d\ndeath %d\nalarm %u\n", blocked, ignored, death, alarm(0));
}

/* Open descriptors but 0 to 2 and those that it has opened itself. */
static int count_descriptors(int own)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        count += fd > 2 && fd != own && fd != dirfd(folder);
    }
    if (folder)
        closedir(folder);
    return count;
}

static void report_place(FILE *out, char **argv, int own, int descriptors)
{
    char cwd[256] = "", null[256] = "", path[32];
    mode_t mask = umask(0);
    umask(mask);
    if (!getcwd(cwd, sizeof cwd))
        cwd[0] = '\0';
    bool nulls = true;
    for (int fd = 0; fd <= 2; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        memset(null, 0, sizeof null);
        nulls = nulls && readlink(path, null, sizeof null - 1) > 0 && strcmp(null, "/dev/null") == 0;
    }
    char oom[16] = "";
    FILE *file = fopen("/proc/self/oom_score_adj", "re");
    if (file) {
        if (!fgets(oom, sizeof oom, file))
            oom[0] = '\0';
        fclose(file);
    }
    fprintf(out, "umask %o\ncwd %s\nnulls %d\ndescriptors %d\noom %s", (unsigned)mask, cwd, nulls,
            own < 0 ? -1 : descriptors, oom);
    fprintf(out, "session %d\ngroup %d\n", getsid(0) == getpid(), getpgrp() == getpid());
    fprintf(out, "name %s\nnumber %s\nslot %s\n", argv[0], argv[2], argv[3]);
    int variables = 0;
    for (char **e = environ; *e; e++, variables++)
        fprintf(out, "%s\n", *e);
    fprintf(out, "variables %d\n", variables);
}

/* A process in the manner of daemons, that nothing but the connection ties to the worker. */
static void daemonise(void)
{
    if (fork() != 0)
        return;
    setsid();
    if (fork() != 0)
        _exit(0);
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &ignore, NULL);
    for (;;)
        pause();
}

/* All that the limit of processes allows, all the time, of parents that go and of parents that stay. */
static _Noreturn void bomb(void)
{
    for (unsigned i = 0;; i++) {
        if (fork() != 0 && i % 3 == 2)
            _exit(0);
    }
}

static _Noreturn void obey(int fd)
{
    char command;
    while (read(fd, &command, 1) == 1) {
        switch (command) {
        case 'd':
            daemonise();
            break;
        case 'b':
            if (fork() == 0) {
                setsid();
                bomb();
            }
            break;
        case 's': /* children of each kind: one that has stopped, one below another */
            if (fork() == 0) {
                if (fork() == 0)
                    raise(SIGSTOP);
                for (;;)
                    pause();
            }
            break;
        case 'x':
            _exit(7);
        default:
            _exit(99);
        }
        if (write(fd, &command, 1) != 1) /* it is done */
            break;
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[16384];
    if (argc != 4 || strncmp(argv[1], "ipc://", 6) != 0)
        return 98;
    int descriptors = count_descriptors(-1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1] + 6);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return 97;
    FILE *out = fmemopen(text, sizeof text, "w");
    if (!out)
        return 96;
    report_ids(out);
    report_limits(out);
    report_signals(out);
    report_place(out, argv, fd, descriptors);
    fprintf(out, "pid %d\nend\n", getpid());
    fclose(out);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return 95;
    obey(fd);
}
