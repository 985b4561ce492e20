/* Starting users' programs; see spawn.h. */
#include "daemon/worker/exec/spawn.h"

#include "daemon/worker/exec/jobserver.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <paths.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The child borrows our memory, on a stack of its own, until it has become another program. Sanitizers, who
 * keep books on stacks, must not look at it.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BORROWER __attribute__((no_sanitize("address", "thread", "undefined")))
#else
#define BORROWER
#endif
enum { STACK_SIZE = 32 << 10 };

int spawn_signals(struct spawner *s)
{
    sigset_t ours, child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    ours = child;
    sigaddset(&ours, SIGPIPE);
    if (sigprocmask(SIG_BLOCK, &ours, &s->mask) < 0)
        return -errno;
    /* Ignored, it would reap our children for us, and nobody would know how they ended. */
    struct sigaction now;
    if (sigaction(SIGCHLD, NULL, &now) < 0)
        return -errno;
    s->child_ignored = now.sa_handler == SIG_IGN;
    if (s->child_ignored && signal(SIGCHLD, SIG_DFL) == SIG_ERR)
        return -errno;
    int fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int spawn_limit(struct spawner *s, int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit now;
    if (resource < 0 || getrlimit((unsigned)resource, &now) < 0)
        return -EINVAL;
    /* More than we may have ourselves cannot be given: the launcher had no privilege to raise it. */
    if (hard > now.rlim_max)
        hard = now.rlim_max;
    if (soft > hard)
        soft = hard;
    if (now.rlim_cur == soft && now.rlim_max == hard)
        return 0;
    if (s->limit_count == SPAWN_LIMITS_MAX)
        return -ENOSPC;
    s->limits[s->limit_count++] = (struct limit){resource, {.rlim_cur = soft, .rlim_max = hard}};
    return 0;
}

/* Can it be executed? 0, or a negative errno; *there: something is. */
static int look_at(const char *path, bool *there)
{
    struct stat status;
    *there = stat(path, &status) == 0;
    if (!*there)
        return -errno;
    return S_ISREG(status.st_mode) && access(path, X_OK) == 0 ? 0 : -EACCES;
}

int spawn_find(const char *name, char path[PATH_MAX])
{
    size_t len = strlen(name);
    bool there;
    if (len == 0)
        return -ENOENT;
    if (len >= PATH_MAX)
        return -ENAMETOOLONG;
    if (strchr(name, '/')) {
        memcpy(path, name, len + 1);
        return look_at(path, &there);
    }
    const char *folder = getenv("PATH");
    if (!folder)
        folder = "/bin:/usr/bin";
    int found = -ENOENT;
    for (;;) {
        size_t folder_len = strcspn(folder, ":");
        if (folder_len + 1 + len < PATH_MAX) {
            memcpy(path, folder, folder_len);
            if (folder_len > 0)
                path[folder_len++] = '/';
            memcpy(path + folder_len, name, len + 1);
            int rc = look_at(path, &there);
            if (rc == 0)
                return 0;
            /* A folder that must not be searched says nothing of the program, whatever execvp(3) makes of it.
             */
            if (there)
                found = rc;
        }
        folder += strcspn(folder, ":");
        if (*folder++ == '\0')
            return found;
    }
}

struct birth {
    const struct spawner *spawner;
    const char *path;
    char **argv;
    char *const *envp;
    int in, out, err; /* in: -1: as it is */
    int group;        /* to be moved to; -1: none, or it is there */
    pid_t parent;
    int *error; /* where parent and child both have it; 0 to begin with */
};

/* Where that is not to be had, it stays in the group that it was born into. */
BORROWER static void join(int group)
{
    int file = openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (file >= 0 && write(file, "0", 1) < 0)
        close(file);
}

/* Between clone and exec: system calls only. What fails is left in birth->error. */
BORROWER static int child_main(void *argument)
{
    struct birth *birth = argument;
    const struct spawner *s = birth->spawner;
    if (birth->group >= 0)
        join(birth->group);
    setsid();
    bool fine = (birth->in < 0 || dup2(birth->in, 0) >= 0) && dup2(birth->out, 1) >= 0 &&
                dup2(birth->err, 2) >= 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) >= 0;
    if (fine && s->in > 0)
        fine = dup2(s->in, JOBSERVER_IN) >= 0 && dup2(s->out, JOBSERVER_OUT) >= 0;
    for (size_t i = 0; fine && i < s->limit_count; i++)
        fine = setrlimit((unsigned)s->limits[i].resource, &s->limits[i].values) >= 0;
    /* Killed meanwhile, our parent would not have taken us along. */
    if (getppid() != birth->parent)
        _exit(127);
    if (fine && s->child_ignored)
        fine = signal(SIGCHLD, SIG_IGN) != SIG_ERR;
    if (fine && sigprocmask(SIG_SETMASK, &s->mask, NULL) >= 0) {
        execve(birth->path, birth->argv, birth->envp);
        if (errno == ENOEXEC) {
            birth->argv[0] = (char *)birth->path;
            birth->argv[-1] = (char *)_PATH_BSHELL;
            execve(_PATH_BSHELL, birth->argv - 1, birth->envp);
        }
    }
    *birth->error = errno;
    _exit(127);
}

/*** Ways into the group ***/

/*
 * The best first. What clone3(2) is refused for as a whole, as in a container whose filter of system calls
 * does not know it, is not tried again: to be moved takes the kernel a millisecond or two.
 */
enum way {
    WAY_BORROW, /* born into it, in our memory */
    WAY_COPY,   /* born into it, in a copy of our memory, which has to be made */
    WAY_MOVE,   /* born beside us, in our memory, and moved */
};

/* For tests, PMAP_COPYING_SPAWN builds here what machines without a borrowing clone_into have. */
#if defined(__x86_64__) && !defined(PMAP_COPYING_SPAWN)
static enum way way = WAY_BORROW;

/*
 * As clone(2), by clone3(2), for which glibc has no function: the child comes back on a stack of its own, so
 * it must not come back into C, which would look for its variables on the old one. Nobody has written that
 * for other machines than this.
 */
BORROWER static long clone_borrowing(const struct clone_args *args, int (*run)(void *), void *argument)
{
    register int (*kept_run)(void *) __asm__("r12") = run;
    register void *kept_argument __asm__("r13") = argument;
    long rc;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "movq %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "ud2\n" /* it does not return */
                     "1:"
                     : "=a"(rc)
                     : "0"((long)SYS_clone3), "D"(args), "S"(sizeof *args), "r"(kept_run), "r"(kept_argument)
                     : "rcx", "r11", "memory");
    return rc;
}

static long borrow(struct birth *birth, int group, const char *stack)
{
    const struct clone_args args = {.flags = CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP,
                                    .exit_signal = SIGCHLD,
                                    .stack = (uintptr_t)stack,
                                    .stack_size = STACK_SIZE,
                                    .cgroup = (unsigned)group};
    return clone_borrowing(&args, child_main, birth);
}
#else
static enum way way = WAY_COPY;

static long borrow(struct birth *birth, int group, const char *stack)
{
    (void)birth;
    (void)group;
    (void)stack;
    return -ENOSYS;
}
#endif

/* As fork(2), which can be had by clone3(2) from C. */
static long copy(struct birth *birth, int group)
{
    static int *shared = MAP_FAILED;
    if (shared == MAP_FAILED)
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -ENOSYS;
    const struct clone_args args = {
        .flags = CLONE_VFORK | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned)group};
    int *own = birth->error;
    *shared = 0;
    birth->error = shared;
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(child_main(birth));
    long rc = pid < 0 ? -errno : pid;
    *own = *shared;
    birth->error = own;
    return rc;
}

/*
 * With CLONE_VFORK we go on when the child has become another program or has ended. Returns its pid or a
 * negative errno.
 */
static pid_t give_birth(struct birth *birth)
{
    static char stack[STACK_SIZE] __attribute__((aligned(16)));
    const int group = birth->spawner->group.folder;
    if (group >= 0 && way != WAY_MOVE) {
        long pid = way == WAY_BORROW ? borrow(birth, group, stack) : copy(birth, group);
        /* What else may be wrong is the group's matter: its user may do with it what he likes. */
        if (pid > 0 || pid == -EAGAIN || pid == -ENOMEM)
            return (pid_t)pid;
        if (pid == -ENOSYS || pid == -EPERM)
            way = WAY_MOVE;
    }
    birth->group = way == WAY_MOVE ? group : -1;
    pid_t pid = clone(child_main, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, birth);
    return pid < 0 ? -errno : pid;
}

static int make_pipes(bool feed, struct process *p, int *in_end)
{
    int in[2] = {-1, -1}, out[2], err[2];
    if (pipe2(out, O_CLOEXEC) < 0)
        return -errno;
    int rc = 0;
    if (pipe2(err, O_CLOEXEC) < 0) {
        rc = -errno;
        err[0] = err[1] = -1;
    } else if (feed && pipe2(in, O_CLOEXEC) < 0) {
        rc = -errno;
        in[0] = in[1] = -1;
    }
    *p = (struct process){.in = in[1], .out = out[0], .err = err[0], .out_end = out[1], .err_end = err[1]};
    *in_end = in[0];
    /* Only our ends: the flag belongs to an end, and the process would see it on its own. */
    if (rc == 0 && (fcntl(p->out, F_SETFL, O_NONBLOCK) < 0 || fcntl(p->err, F_SETFL, O_NONBLOCK) < 0 ||
                    (feed && fcntl(p->in, F_SETFL, O_NONBLOCK) < 0)))
        rc = -errno;
    if (rc < 0) {
        process_close(p);
        if (*in_end >= 0)
            close(*in_end);
    }
    return rc;
}

int spawn_process(const struct spawner *s, const char *path, char **argv, char *const *envp, bool feed,
                  struct process *process)
{
    int in_end = -1;
    int rc = make_pipes(feed, process, &in_end);
    if (rc < 0)
        return rc;
    int error = 0;
    struct birth birth = {.spawner = s,
                          .path = path,
                          .argv = argv,
                          .envp = envp,
                          .in = in_end,
                          .out = process->out_end,
                          .err = process->err_end,
                          .group = -1,
                          .parent = getpid(),
                          .error = &error};
    process->pid = give_birth(&birth);
    rc = process->pid < 0 ? process->pid : -error;
    if (in_end >= 0)
        close(in_end);
    if (rc < 0) {
        if (process->pid > 0)
            waitpid(process->pid, NULL, 0);
        process_close(process);
    }
    return rc;
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void process_close_ends(struct process *process)
{
    close_one(&process->out_end);
    close_one(&process->err_end);
}

void process_close_in(struct process *process)
{
    close_one(&process->in);
}

void process_close(struct process *process)
{
    process_close_ends(process);
    process_close_in(process);
    close_one(&process->out);
    close_one(&process->err);
}
