/*
 * What a child does before it is a worker; see start.h. The order matters: what needs privileges first, what
 * touches the user's own things never. Each result is checked, and the first that is wrong ends it.
 */
#include "daemon/launcher/start.h"

#include "common/smallfile.h"
#include "daemon/launcher/account.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    DEADLINE_S = 10,   /* for all of it: a name service may hang */
    FILES_SOFT = 1024, /* select(2) fails with more */
    STATUS_FD = 3,     /* where the pipe is, with nothing above it */
    NAME_SIZE = 256,
    VARIABLE_SIZE = 4200, /* a name and a path */
};

/* What is known of the user by name. */
struct account {
    char name[NAME_SIZE];
    char home[VARIABLE_SIZE - 100], shell[VARIABLE_SIZE - 100];
    bool known;
};

/* The child's own end of the pipe. */
static int status_fd = -1;

static _Noreturn void give_up(const char *text, bool whole, int error)
{
    struct start_status status = {.error = error, .whole = whole};
    ssize_t n;
    snprintf(status.text, sizeof status.text, "%s", text);
    do
        n = write(status_fd, &status, sizeof status);
    while (n < 0 && errno == EINTR);
    _exit(127);
}

static _Noreturn void fail(const char *stage, int error)
{
    give_up(stage, false, error);
}

static void must(bool done, const char *stage)
{
    if (!done)
        fail(stage, errno);
}

/*** The process ***/

/* As a program expects to find them; what is blocked or ignored would go through exec. */
static void reset_signals(void)
{
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigemptyset(&none);
    for (int signal = 1; signal < NSIG; signal++) {
        /* The kernel refuses KILL and STOP, glibc the two that it keeps to itself. */
        if (sigaction(signal, &standard, NULL) < 0)
            must(errno == EINVAL, "sigaction");
    }
    must(sigprocmask(SIG_SETMASK, &none, NULL) == 0, "sigprocmask");
}

/* Nothing but /dev/null as 0 to 2, and the pipe as 3. */
static void reset_descriptors(int status)
{
    status_fd = status;
    if (status != STATUS_FD) {
        must(dup3(status, STATUS_FD, O_CLOEXEC) == STATUS_FD, "dup");
        status_fd = STATUS_FD;
    }
    closefrom(STATUS_FD + 1);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    must(null >= 0, "/dev/null");
    for (int fd = 0; fd <= 2; fd++)
        must(dup2(null, fd) == fd, "dup");
    close(null);
}

/* A lower value than the daemon's unit may have. Raised already, it is left so: it takes privileges to lower
 * it. */
static void reset_oom_score(void)
{
    char text[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    must(fd >= 0, "oom_score_adj");
    must(read(fd, text, sizeof text - 1) > 0, "oom_score_adj");
    if (text[0] == '-')
        must(pwrite(fd, "0", 1, 0) == 1, "oom_score_adj");
    close(fd);
}

/*** As the submitting process ***/

/* What a process may have, before and after a login has had its say. */
struct allowance {
    struct rlimit limits[RLIM_NLIMITS];
    int nice;
};

static void read_allowance(struct allowance *allowance)
{
    for (int resource = 0; resource < (int)RLIM_NLIMITS; resource++)
        must(getrlimit(resource, &allowance->limits[resource]) == 0, "getrlimit");
    errno = 0;
    allowance->nice = getpriority(PRIO_PROCESS, 0);
    must(errno == 0, "getpriority");
}

/* May this error of a wish for more than we have stand, the wish then being cut to what we have? */
static bool is_denied(int error)
{
    return error == EPERM || error == EACCES;
}

static void cut_soft(struct rlimit *limit)
{
    if (limit->rlim_cur > limit->rlim_max)
        limit->rlim_cur = limit->rlim_max;
}

/*
 * Its hard limits, or the login's where it has given one that is lower. Soft ones are the login's, or else as
 * the launcher has them (a call brings the submitter's for what it runs). One that is higher than ours is
 * ours where there is no privilege to raise it.
 */
static void set_limit(int resource, rlim_t hard, const struct rlimit *before, const struct rlimit *now)
{
    struct rlimit limit = {.rlim_cur = now->rlim_cur, .rlim_max = hard};
    if (now->rlim_max != before->rlim_max && now->rlim_max < hard)
        limit.rlim_max = now->rlim_max;
    if (resource == RLIMIT_NOFILE && now->rlim_cur == before->rlim_cur)
        limit.rlim_cur = FILES_SOFT;
    cut_soft(&limit);
    if (setrlimit(resource, &limit) == 0)
        return;
    must(is_denied(errno) && limit.rlim_max > now->rlim_max, "setrlimit");
    limit.rlim_max = now->rlim_max;
    cut_soft(&limit);
    must(setrlimit(resource, &limit) == 0, "setrlimit");
}

/* Niceness: the submitter's, or the login's where it has given one that is higher. */
static void set_scheduling(const struct identity *identity, int before, int now)
{
    int nice = now != before && now > identity->nice ? now : identity->nice;
    if (setpriority(PRIO_PROCESS, 0, nice) < 0)
        must(is_denied(errno) && nice < now, "setpriority");
    must(sched_setaffinity(0, sizeof identity->cpus, (const cpu_set_t *)identity->cpus) == 0,
         "taking over the CPU affinity");
    must(prctl(PR_SET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL) == 0, "timer slack");
}

static void be_like(const struct identity *identity, const struct allowance *before)
{
    struct allowance now;
    read_allowance(&now);
    set_scheduling(identity, before->nice, now.nice);
    for (int resource = 0; resource < (int)RLIM_NLIMITS; resource++)
        set_limit(resource, identity->limits[resource], &before->limits[resource], &now.limits[resource]);
}

/* It does not outlive the launcher. A change of ids takes that back. */
static void end_with(pid_t launcher)
{
    must(prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL) == 0, "PR_SET_PDEATHSIG");
    if (getppid() != launcher)
        fail("looking for the launcher", ESRCH);
}

/*** The user ***/

/*
 * Who is in no list of users has a number for a name and no home: a worker can do without. But where the list
 * cannot be read nobody gets in, for he may have an account that must not be used.
 */
static void find_account(uid_t uid, struct account *account)
{
    errno = 0;
    const struct passwd *entry = getpwuid(uid); /* NOLINT(concurrency-mt-unsafe): there are no threads */
    must(entry || account_is_missing(errno), "looking up the user");
    account->known = entry != NULL;
    snprintf(account->name, sizeof account->name, "%u", (unsigned)uid);
    snprintf(account->home, sizeof account->home, "/");
    snprintf(account->shell, sizeof account->shell, "/bin/sh");
    if (!entry)
        return;
    if (entry->pw_name[0] == '\0' || strlen(entry->pw_name) >= sizeof account->name)
        fail("the user's name", ENAMETOOLONG);
    snprintf(account->name, sizeof account->name, "%s", entry->pw_name);
    if (entry->pw_dir[0] == '/' && strlen(entry->pw_dir) < sizeof account->home)
        snprintf(account->home, sizeof account->home, "%s", entry->pw_dir);
    if (entry->pw_shell[0] == '/' && strlen(entry->pw_shell) < sizeof account->shell)
        snprintf(account->shell, sizeof account->shell, "%s", entry->pw_shell);
}

static void set_groups(const struct identity *identity, const struct account *account)
{
    if (identity->groups_known)
        must(setgroups(identity->group_count, identity->groups) == 0, "setgroups");
    else if (account->known)
        must(initgroups(account->name, identity->gid) == 0, "initgroups");
    else
        must(setgroups(1, &identity->gid) == 0, "setgroups");
}

/* As far as a login would go; a uid that is in no list of users has no account to be judged by. */
static void enter(const struct start *start, const struct account *account)
{
    char text[ACCOUNT_TEXT_MAX] = "";
    uid_t uid = start->identity->uid;
    if (!account->known) {
        account_set_loginuid(uid);
        return;
    }
    int rc = account_enter(NULL, account->name, uid, text);
    if (rc < 0)
        give_up(text, true, -rc);
}

static int compare_gids(const void *a, const void *b)
{
    gid_t x = *(const gid_t *)a, y = *(const gid_t *)b;
    return x < y ? -1 : x > y;
}

/* Are all the ids what they should be, by what the kernel says? */
static void verify_ids(const struct identity *identity)
{
    const uid_t u = identity->uid;
    const gid_t g = identity->gid;
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    must(getresuid(&ruid, &euid, &suid) == 0 && getresgid(&rgid, &egid, &sgid) == 0, "getresuid");
    bool right = ruid == u && euid == u && suid == u && rgid == g && egid == g && sgid == g;
    /* These two change nothing when given -1, and return what there is. */
    right = right && (uid_t)setfsuid((uid_t)-1) == u && (gid_t)setfsgid((gid_t)-1) == g;
    if (right && identity->groups_known) {
        int count = getgroups(0, NULL);
        right = count >= 0 && (size_t)count == identity->group_count;
        gid_t *groups = right && count > 0 ? calloc((size_t)count, sizeof *groups) : NULL;
        if (right && count > 0) {
            must(groups && getgroups(count, groups) == count, "getgroups");
            qsort(groups, (size_t)count, sizeof *groups, compare_gids);
            right = memcmp(groups, identity->groups, (size_t)count * sizeof *groups) == 0;
        }
        free(groups);
    }
    if (!right)
        fail("checking who it is", EPERM);
}

/* Whatever would work here, would work for the user's program. */
static void verify_no_way_back(const struct identity *identity)
{
    const gid_t root = 0;
    bool back = setuid(0) == 0 || seteuid(0) == 0 || setreuid((uid_t)-1, 0) == 0 ||
                setresuid((uid_t)-1, (uid_t)-1, 0) == 0 || setgroups(1, &root) == 0;
    if (identity->gid != 0)
        back = back || setgid(0) == 0 || setegid(0) == 0 || setresgid((gid_t)-1, (gid_t)-1, 0) == 0;
    setfsuid(0);
    setfsgid(0);
    if (back)
        fail("giving up root", EPERM);
    verify_ids(identity);
}

/* None is left, not even to be had by the way of a program's inheritable ones. */
static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}}, left[_LINUX_CAPABILITY_U32S_3];
    must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL) == 0, "ambient capabilities");
    must(prctl(PR_SET_KEEPCAPS, 0UL, 0UL, 0UL, 0UL) == 0, "keeping capabilities");
    must(syscall(SYS_capset, &header, none) == 0, "capset");
    header = (struct __user_cap_header_struct){.version = _LINUX_CAPABILITY_VERSION_3};
    must(syscall(SYS_capget, &header, left) == 0, "capget");
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        if (left[i].effective || left[i].permitted || left[i].inheritable)
            fail("giving up capabilities", EPERM);
    }
}

static void become(const struct identity *identity, const struct account *account)
{
    const uid_t u = identity->uid;
    const gid_t g = identity->gid;
    set_groups(identity, account);
    must(setresgid(g, g, g) == 0, "setresgid");
    must(setresuid(u, u, u) == 0, "setresuid");
    verify_ids(identity);
    /*
     * A session keyring of the user's own. Where the user has used up what he may have of keys, the one that
     * all workers inherit must do: the launcher has made it, empty and not to be written to.
     */
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    if (u != 0) {
        drop_capabilities();
        verify_no_way_back(identity);
    }
}

/*** The program ***/

static void variable(char out[VARIABLE_SIZE], const char *name, const char *value)
{
    int n = snprintf(out, VARIABLE_SIZE, "%s=%s", name, value);
    if (n < 0 || n >= VARIABLE_SIZE)
        fail("making an environment", E2BIG);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* Where a worker's sanitizer reports, and what it leaves out: in builds for tests alone. */
static void add_sanitizers(char **environment)
{
    static const char *const names[] = {"ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (char **v = environ; *v; v++) {
            if (strncmp(*v, names[i], strlen(names[i])) == 0)
                *environment++ = *v;
        }
    }
}
#else
static void add_sanitizers(char **environment)
{
    (void)environment;
}
#endif

/* From nothing: what the daemon's own has is for the daemon. What a call brings is the worker's business. */
static _Noreturn void execute(const struct start *start, const struct account *account)
{
    char home[VARIABLE_SIZE], shell[VARIABLE_SIZE], user[VARIABLE_SIZE], logname[VARIABLE_SIZE];
    char path[VARIABLE_SIZE], lang[VARIABLE_SIZE], endpoint[VARIABLE_SIZE], worker[16], slot[16];
    const char *language = getenv("LANG"); /* NOLINT(concurrency-mt-unsafe): there are no threads */
    const struct start_status ready = {0};
    if (!language || strlen(language) >= NAME_SIZE)
        language = "C.UTF-8";
    variable(home, "HOME", account->home);
    variable(shell, "SHELL", account->shell);
    variable(user, "USER", account->name);
    variable(logname, "LOGNAME", account->name);
    variable(path, "PATH", "/usr/local/bin:/usr/bin:/bin");
    variable(lang, "LANG", language);
    char *environment[] = {home, shell, user, logname, path, lang, NULL, NULL, NULL, NULL};
    add_sanitizers(environment + 6);

    int n = snprintf(endpoint, sizeof endpoint, "ipc://%s", start->socket);
    must(n > 0 && (size_t)n < sizeof endpoint, "naming its socket");
    snprintf(worker, sizeof worker, "%u", (unsigned)start->worker);
    snprintf(slot, sizeof slot, "%u", (unsigned)start->slot);
    char name[] = "pmap-worker";
    char *const arguments[] = {name, endpoint, worker, slot, NULL};

    must(write(status_fd, &ready, sizeof ready) == sizeof ready, "telling that it is ready");
    alarm(0); /* it would ring in the worker */
    execve(start->program, arguments, environment);
    fail("pmap-worker", errno);
}

_Noreturn void start_child(const struct start *start)
{
    struct account account = {0};
    struct allowance before;
    status_fd = start->status;
    alarm(DEADLINE_S);
    reset_signals();
    if (start->move)
        must(smallfile_write(start->group, "cgroup.procs", "0") == 0, "moving to its control group");
    reset_descriptors(start->status);
    must(setsid() >= 0, "setsid");
    find_account(start->identity->uid, &account);
    reset_oom_score();
    read_allowance(&before);
    if (!start->private_pool)
        enter(start, &account);
    be_like(start->identity, &before);
    if (!start->private_pool)
        become(start->identity, &account);
    else if (geteuid() != 0)
        drop_capabilities();
    end_with(start->launcher);
    umask(077);
    must(chdir("/") == 0, "chdir");
    closefrom(STATUS_FD + 1); /* what looking names up may have left */
    execute(start, &account);
}

_Noreturn void start_asking(uid_t uid, pid_t launcher, int status)
{
    const struct start_status may = {0};
    struct account account = {0};
    char text[ACCOUNT_TEXT_MAX] = "";
    status_fd = status;
    reset_signals();
    reset_descriptors(status);
    must(setsid() >= 0, "setsid");
    end_with(launcher);
    find_account(uid, &account);
    int rc = account.known ? account_check(NULL, account.name, uid, text) : 0;
    if (rc < 0)
        give_up(text, true, -rc);
    must(write(status_fd, &may, sizeof may) == sizeof may, "telling what came of it");
    _exit(EXIT_SUCCESS);
}
