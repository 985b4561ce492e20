/*
 * Control groups: what is written where, in a tree of plain files that stands in for the kernel's with all
 * controllers; and where root may mount one, grouping and killing in a real one, which may have none.
 */
#include "common/smallfile.h"
#include "daemon/launcher/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

enum { ALICE = 54321, BOB = 54322, PATIENCE_MS = 10000 };

static char top[64];       /* the tests' folder: of plain files, or a mount point */
static char own[PATH_MAX]; /* the group in it that is to be divided */
static struct cgroups groups;
static pid_t broker, tasks[4];
static char home[PATH_MAX]; /* the group that we came from; "": none was left */
static char why[CGROUP_WHY_MAX];

/*** Files ***/

static const char *at(const char *name)
{
    static char paths[4][2 * PATH_MAX];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", own, name);
    return path;
}

/* A file as the kernel makes them; what it held is gone. */
static void put(const char *name, const char *text)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void assert_file(const char *name, const char *expected)
{
    char text[256];
    assert_true(smallfile_read(AT_FDCWD, at(name), text, sizeof text) >= 0);
    assert_string_equal(text, expected);
}

static bool is_there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

/*** In plain files ***/

static int fake_setup(void **state)
{
    (void)state;
    static const char *const folders[] = {"", "supervisor", "broker", "users", "users/u54321"};
    static const char *const files[] = {"cgroup.subtree_control",
                                        "supervisor/cgroup.procs",
                                        "supervisor/cpu.weight",
                                        "broker/cgroup.procs",
                                        "broker/cpu.weight",
                                        "broker/memory.max",
                                        "users/cgroup.kill",
                                        "users/cgroup.subtree_control",
                                        "users/u54321/cgroup.subtree_control",
                                        "users/u54321/cpu.weight",
                                        "users/u54321/memory.max",
                                        "users/u54321/pids.max"};
    snprintf(top, sizeof top, "/tmp/test_cgroup_XXXXXX");
    if (!mkdtemp(top))
        return -1;
    snprintf(own, sizeof own, "%s/pmapd.service", top);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        if (mkdir(at(folders[i]), 0700) < 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(files[i], "");
    cgroups_init(&groups);
    return 0;
}

static int fake_teardown(void **state)
{
    (void)state;
    char command[PATH_MAX + 16];
    cgroups_close(&groups);
    snprintf(command, sizeof command, "rm -r %s", top);
    return system(command); /* NOLINT(cert-env33-c) */
}

static void open_fake(void)
{
    if (cgroups_open(own, 4711, UINT64_C(1) << 30, &groups, why) < 0)
        fail_msg("%s", why);
}

static void test_division(void **state)
{
    (void)state;
    char number[16], names[32];
    open_fake();
    snprintf(number, sizeof number, "%d", getpid());
    assert_file("supervisor/cgroup.procs", number);
    assert_file("broker/cgroup.procs", "4711");
    assert_file("supervisor/cpu.weight", "1000");
    assert_file("broker/cpu.weight", "1000");
    assert_file("broker/memory.max", "2415919104"); /* twice that, and 256 MiB */
    assert_file("users/cgroup.kill", "1");          /* what a former launcher has left */
    cgroups_names(&groups, names);
    assert_string_equal(names, " cpu memory pids");
    assert_int_equal(cgroups_limit_broker(&groups, UINT64_C(3) << 30), 0);
    assert_file("broker/memory.max", "6710886400");
}

static void test_division_fails(void **state)
{
    (void)state;
    struct cgroups g;
    cgroups_init(&g);
    assert_int_equal(unlink(at("broker/cgroup.procs")), 0);
    assert_int_equal(cgroups_open(own, 4711, 1, &g, why), -ENOENT);
    assert_string_equal(why, "cannot move process 4711 to the group 'broker': No such file or directory");
    assert_int_equal(g.users, -1);
    assert_int_equal(unlink(at("users/cgroup.kill")), 0);
    assert_int_equal(cgroups_open(own, 4711, 1, &g, why), -ENOENT);
    assert_non_null(strstr(why, "cgroup.kill"));
    assert_int_equal(g.users, -1);
    assert_int_equal(cgroups_open("/nowhere", 4711, 1, &g, why), -ENOENT);
    cgroups_close(&g);
}

static void test_limits(void **state)
{
    (void)state;
    struct limits limits = {.weight = 3, .memory = UINT64_C(512) << 20, .pids = 0};
    int folder = -1;
    struct stat st;
    open_fake();
    /* Nobody's group is made for that. */
    assert_int_equal(cgroups_apply_limits(&groups, BOB, &limits), 0);
    assert_false(is_there("users/u54322"));

    mode_t mask = umask(077);
    assert_int_equal(cgroups_add(&groups, ALICE, 7, &folder), 0);
    umask(mask);
    assert_file("users/u54321/cgroup.subtree_control", "+memory");
    assert_int_equal(fstat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755); /* its counts are for its user to read */
    close(folder);
    assert_int_equal(stat(at("users/u54321"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);

    assert_int_equal(cgroups_apply_limits(&groups, ALICE, &limits), 0);
    assert_file("users/u54321/cpu.weight", "300");
    assert_file("users/u54321/memory.max", "536870912");
    assert_file("users/u54321/pids.max", "max");

    /* Once is enough, */
    put("users/u54321/cpu.weight", "");
    assert_int_equal(cgroups_apply_limits(&groups, ALICE, &limits), 0);
    assert_file("users/u54321/cpu.weight", "");
    /* until they change. */
    put("users/u54321/memory.max", "");
    put("users/u54321/pids.max", "");
    limits = (struct limits){.weight = 10000, .memory = 0, .pids = 50};
    assert_int_equal(cgroups_apply_limits(&groups, ALICE, &limits), 0);
    assert_file("users/u54321/cpu.weight", "10000"); /* the kernel's most */
    assert_file("users/u54321/memory.max", "max");
    assert_file("users/u54321/pids.max", "50");
}

static void test_limits_fail(void **state)
{
    (void)state;
    const struct limits limits = {.weight = 1, .pids = 9};
    int folder = -1;
    open_fake();
    assert_int_equal(cgroups_add(&groups, ALICE, 1, &folder), 0);
    close(folder);
    assert_int_equal(unlink(at("users/u54321/memory.max")), 0);
    assert_int_equal(cgroups_apply_limits(&groups, ALICE, &limits), -ENOENT);
    assert_file("users/u54321/pids.max", "9"); /* the others hold */
    put("users/u54321/memory.max", "");
    assert_int_equal(cgroups_apply_limits(&groups, ALICE, &limits), 0); /* tried again */
    assert_file("users/u54321/memory.max", "max");
}

static void test_sweep(void **state)
{
    (void)state;
    int folder = -1;
    open_fake();
    assert_int_equal(cgroups_add(&groups, ALICE, 1, &folder), 0);
    close(folder);
    assert_int_equal(cgroups_add(&groups, ALICE, 2, &folder), 0);
    close(folder);
    put("users/u54321/w1/cgroup.kill", "");
    assert_int_equal(cgroups_sweep(&groups), 0);
    assert_true(is_there("users/u54321/w1")); /* it has not ended */
    cgroups_end(&groups, ALICE, 1);
    cgroups_end(&groups, BOB, 1);
    assert_file("users/u54321/w1/cgroup.kill", "1");
    assert_int_equal(cgroups_sweep(&groups), 1); /* not empty */
    assert_int_equal(unlink(at("users/u54321/w1/cgroup.kill")), 0);
    assert_int_equal(cgroups_sweep(&groups), 0);
    assert_false(is_there("users/u54321/w1"));
    assert_true(is_there("users/u54321/w2"));
    assert_int_equal(cgroups_kill(&groups, ALICE, 2), -ENOENT); /* no such file in this tree */
    assert_int_equal(cgroups_kill(&groups, BOB, 1), -ENOENT);
}

static void test_nothing_to_find(void **state)
{
    (void)state;
    char found[PATH_MAX];
    assert_int_equal(cgroups_find("/tmp", found, why), -ENOTSUP);
    assert_string_equal(why, "there are none of version 2 at /tmp");
    assert_int_equal(cgroups_find("/nowhere", found, why), -ENOTSUP);
}

/*** In a real hierarchy ***/

static bool write_pid(const char *folder, pid_t pid)
{
    char path[2 * PATH_MAX], number[16];
    snprintf(path, sizeof path, "%s/cgroup.procs", folder);
    snprintf(number, sizeof number, "%d", (int)pid);
    return smallfile_write(AT_FDCWD, path, number) == 0;
}

/* Where a process is, below the group of the tests. */
static const char *place_of(pid_t pid)
{
    static char text[PATH_MAX];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    assert_true(smallfile_read(AT_FDCWD, path, text, sizeof text) > 0);
    char *group = (char *)smallfile_line(text, "0::");
    assert_non_null(group);
    group[strcspn(group, "\n")] = '\0';
    char *below = strstr(group, "/test_cgroup_");
    assert_non_null(below);
    return below + strcspn(below + 1, "/") + 1;
}

static pid_t make_task(uid_t uid)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (uid != 0 && setuid(uid) < 0)
            _exit(1);
        prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL);
        for (;;)
            pause();
    }
    return pid;
}

/* A mount of our own, in a mount namespace of our own, and a group for us in the one that we are in. */
static int real_setup(void **state)
{
    (void)state;
    char text[PATH_MAX];
    home[0] = top[0] = '\0';
    broker = 0;
    memset(tasks, 0, sizeof tasks);
    cgroups_init(&groups);
    snprintf(top, sizeof top, "/tmp/test_cgroup_XXXXXX");
    if (!mkdtemp(top))
        return -1;
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", top, "cgroup2", 0, NULL) < 0 ||
        smallfile_read(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) < 0 || !smallfile_line(text, "0::"))
        return 0; /* and the test is skipped */
    const char *group = smallfile_line(text, "0::");
    int len = (int)strcspn(group, "\n");
    snprintf(home, sizeof home, "%s%.*s", top, len == 1 ? 0 : len, group);
    if (snprintf(own, sizeof own, "%.2000s/test_cgroup_%d", home, getpid()) < 0 || mkdir(own, 0755) < 0 ||
        !write_pid(own, getpid())) {
        rmdir(own);
        home[0] = '\0';
    }
    return 0;
}

static void bury(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

static int real_teardown(void **state)
{
    (void)state;
    int rc = 0;
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        bury(&tasks[i]);
    bury(&broker);
    if (home[0] != '\0') {
        rc = write_pid(home, getpid()) ? 0 : -1;
        cgroups_close(&groups);
        rmdir(at("users"));
        rmdir(at("supervisor"));
        rmdir(at("broker"));
        if (rmdir(own) < 0)
            rc = -1;
    }
    umount2(top, MNT_DETACH);
    return rmdir(top) < 0 ? -1 : rc;
}

#define NEEDS_GROUPS()                                                                                       \
    do {                                                                                                     \
        if (home[0] == '\0') {                                                                               \
            print_message("no control groups to be had here\n");                                             \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

static void open_real(void)
{
    broker = make_task(0);
    if (cgroups_open(own, broker, UINT64_C(1) << 30, &groups, why) < 0)
        fail_msg("%s", why);
}

/* A process in the group of a worker. */
static pid_t put_task_as(uid_t as, uid_t uid, uint32_t worker)
{
    int folder = -1;
    char path[64];
    assert_int_equal(cgroups_add(&groups, uid, worker, &folder), 0);
    close(folder);
    pid_t pid = make_task(as);
    snprintf(path, sizeof path, "users/u%u/w%u/worker", (unsigned)uid, (unsigned)worker);
    assert_true(write_pid(at(path), pid));
    return pid;
}

static pid_t put_task(uid_t uid, uint32_t worker)
{
    return put_task_as(0, uid, worker);
}

static void assert_killed(pid_t *pid)
{
    int status = 0;
    for (int waited = 0; waited < PATIENCE_MS && waitpid(*pid, &status, WNOHANG) == 0; waited++)
        poll(NULL, 0, 1);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    *pid = 0;
}

static void assert_swept(void)
{
    size_t left = 1;
    for (int waited = 0; waited < PATIENCE_MS && (left = cgroups_sweep(&groups)) > 0; waited++)
        poll(NULL, 0, 1);
    assert_int_equal(left, 0);
}

static void test_delegated(void **state)
{
    (void)state;
    char found[PATH_MAX];
    NEEDS_GROUPS();
    assert_int_equal(cgroups_find(top, found, why), -EACCES);
    assert_non_null(strstr(why, "Delegate=yes"));
    assert_int_equal(setxattr(own, "user.delegate", "0", 1, 0), 0);
    assert_int_equal(cgroups_find(top, found, why), -EACCES);
    assert_int_equal(setxattr(own, "user.delegate", "1", 1, 0), 0);
    assert_int_equal(cgroups_find(top, found, why), 0);
    assert_string_equal(found, own);
    /* A user's own, whoever has marked it. */
    assert_int_equal(chown(own, ALICE, (gid_t)-1), 0);
    assert_int_equal(cgroups_find(top, found, why), -EACCES);
}

static void test_moved(void **state)
{
    (void)state;
    char text[64];
    NEEDS_GROUPS();
    open_real();
    assert_string_equal(place_of(getpid()), "/supervisor");
    assert_string_equal(place_of(broker), "/broker");
    assert_int_equal(smallfile_read(AT_FDCWD, at("cgroup.procs"), text, sizeof text), 0);
}

static void assert_owner(const char *name, uid_t uid)
{
    struct stat st;
    assert_int_equal(stat(at(name), &st), 0);
    assert_int_equal(st.st_uid, uid);
}

/* What `act` returns in a child that is this user. */
static bool as_user(uid_t uid, bool (*act)(void))
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(setgid(uid) == 0 && setuid(uid) == 0 && act() ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool moves_to_a_group_of_its_own(void)
{
    char number[16];
    snprintf(number, sizeof number, "%d", (int)tasks[0]);
    return mkdir(at("users/u54321/w1/e1"), 0755) == 0 &&
           smallfile_write(AT_FDCWD, at("users/u54321/w1/e1/cgroup.procs"), number) == 0;
}

static bool makes_another_group(void)
{
    return mkdir(at("users/u54321/w1/e2"), 0755) == 0;
}

static bool gets_out(void)
{
    char number[16];
    snprintf(number, sizeof number, "%d", (int)tasks[0]);
    return mkdir(at("users/u54321/x"), 0755) == 0 || mkdir(at("users/u54321/w1/e1/x"), 0755) == 0 ||
           mkdir(at("users/u54321/w1/worker/x"), 0755) == 0 ||
           smallfile_write(AT_FDCWD, at("users/u54321/w2/worker/cgroup.procs"), number) == 0 ||
           smallfile_write(AT_FDCWD, at("users/u54321/cgroup.procs"), number) == 0 ||
           smallfile_write(AT_FDCWD, at("cgroup.procs"), number) == 0 ||
           smallfile_write(AT_FDCWD, at("users/u54321/w1/cgroup.max.descendants"), "max") == 0 ||
           smallfile_write(AT_FDCWD, at("users/u54321/w2/cgroup.kill"), "1") == 0;
}

static void test_handed_over(void **state)
{
    (void)state;
    NEEDS_GROUPS();
    open_real();
    assert_int_equal(chmod(top, 0755), 0);
    tasks[0] = put_task_as(ALICE, ALICE, 1);
    tasks[1] = put_task_as(ALICE, ALICE, 2);
    assert_owner("users/u54321", 0);
    assert_owner("users/u54321/w1", ALICE);
    assert_owner("users/u54321/w1/cgroup.subtree_control", 0);
    assert_file("users/u54321/w1/cgroup.max.descendants", "64\n");
    assert_true(as_user(ALICE, moves_to_a_group_of_its_own));
    assert_string_equal(place_of(tasks[0]), "/users/u54321/w1/e1");
    assert_false(as_user(ALICE, gets_out));
    /* It goes with all the rest of the worker. */
    assert_true(as_user(ALICE, makes_another_group));
    assert_int_equal(rmdir(at("users/u54321/w1/e2")), 0);
    cgroups_end(&groups, ALICE, 1);
    assert_false(as_user(ALICE, makes_another_group));
    assert_killed(&tasks[0]);
    assert_swept();
    assert_false(is_there("users/u54321/w1"));
    assert_int_equal(waitpid(tasks[1], NULL, WNOHANG), 0);
}

static void test_kill_one(void **state)
{
    (void)state;
    NEEDS_GROUPS();
    open_real();
    tasks[0] = put_task(ALICE, 1);
    tasks[1] = put_task(ALICE, 2);
    tasks[2] = put_task(BOB, 3);
    assert_string_equal(place_of(tasks[2]), "/users/u54322/w3/worker");
    assert_int_equal(cgroups_kill(&groups, ALICE, 1), 0);
    assert_killed(&tasks[0]);
    /* What was killed is told of only later; then it goes. */
    assert_int_equal(cgroups_sweep(&groups), 0);
    assert_true(is_there("users/u54321/w1"));
    cgroups_end(&groups, ALICE, 1);
    assert_swept();
    assert_false(is_there("users/u54321/w1"));
    assert_int_equal(waitpid(tasks[1], NULL, WNOHANG), 0);
    assert_int_equal(waitpid(tasks[2], NULL, WNOHANG), 0);
    /* What is left behind goes with its worker, and the last worker's owner with it. */
    cgroups_end(&groups, BOB, 3);
    assert_killed(&tasks[2]);
    assert_swept();
    assert_false(is_there("users/u54322"));
    assert_int_equal(waitpid(tasks[1], NULL, WNOHANG), 0);
    cgroups_kill_all(&groups);
    assert_killed(&tasks[1]);
    assert_int_equal(waitpid(broker, NULL, WNOHANG), 0);
}

static void test_left_by_another(void **state)
{
    (void)state;
    NEEDS_GROUPS();
    open_real();
    tasks[0] = put_task(ALICE, 1);
    struct cgroups next;
    cgroups_init(&next);
    if (cgroups_open(own, broker, UINT64_C(1) << 30, &next, why) < 0)
        fail_msg("%s", why);
    assert_killed(&tasks[0]);
    /* Its group is not used again: if it could not be removed at once, it is later. */
    int folder = -1, rc = -EBUSY;
    for (int waited = 0; waited < PATIENCE_MS && rc == -EBUSY; waited++) {
        poll(NULL, 0, 1);
        rc = cgroups_add(&next, ALICE, 1, &folder);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(smallfile_read(folder, "cgroup.procs", why, sizeof why), 0);
    close(folder);
    cgroups_close(&next);
    assert_false(is_there("users/u54321"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_division, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_division_fails, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_limits, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_limits_fail, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_sweep, fake_setup, fake_teardown),
        cmocka_unit_test(test_nothing_to_find),
        cmocka_unit_test_setup_teardown(test_delegated, real_setup, real_teardown),
        cmocka_unit_test_setup_teardown(test_moved, real_setup, real_teardown),
        cmocka_unit_test_setup_teardown(test_handed_over, real_setup, real_teardown),
        cmocka_unit_test_setup_teardown(test_kill_one, real_setup, real_teardown),
        cmocka_unit_test_setup_teardown(test_left_by_another, real_setup, real_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
