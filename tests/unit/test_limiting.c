/*
 * Limits of control groups, in plain files: an owner's contexts together, and a kernel that takes its time to
 * put a lower one into force, which is a pipe that nobody reads.
 */
#include "daemon/launcher/limiting.h"

#include "common/smallfile.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ALICE = 54321, BOB = 54322 };

static char top[64];
static struct cgroups groups;
static struct limiting limiting;

static const char *at(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static void put(const char *name, const char *text)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static bool has(const char *name, const char *expected)
{
    char text[64] = "";
    return smallfile_read(AT_FDCWD, at(name), text, sizeof text) >= 0 && strcmp(text, expected) == 0;
}

static int setup(void **state)
{
    (void)state;
    static const char *const folders[] = {"",      "supervisor",   "broker",
                                          "users", "users/u54321", "users/u54322"};
    static const char *const files[] = {
        "cgroup.subtree_control",
        "supervisor/cgroup.procs",
        "broker/cgroup.procs",
        "broker/memory.max",
        "users/cgroup.kill",
        "users/cgroup.subtree_control",
        "users/u54321/memory.max",
        "users/u54321/pids.max",
        "users/u54321/cpu.weight",
        "users/u54322/memory.max",
        "users/u54322/pids.max",
        "users/u54322/cpu.weight",
        "users/u54321/cgroup.subtree_control",
        "users/u54322/cgroup.subtree_control",
    };
    char why[CGROUP_WHY_MAX];
    int folder;
    snprintf(top, sizeof top, "/tmp/test_limiting_XXXXXX");
    if (!mkdtemp(top))
        return -1;
    for (size_t i = 1; i < sizeof folders / sizeof *folders; i++) {
        if (mkdir(at(folders[i]), 0700) < 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(files[i], "");
    cgroups_init(&groups);
    limiting = (struct limiting){0};
    if (cgroups_open(top, 4711, 1 << 20, &groups, why) < 0 || cgroups_add(&groups, ALICE, 1, &folder) < 0)
        return -1;
    close(folder);
    if (cgroups_add(&groups, BOB, 2, &folder) < 0)
        return -1;
    close(folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    if (limiting.pid > 0) {
        kill(limiting.pid, SIGKILL);
        waitpid(limiting.pid, NULL, 0);
    }
    cgroups_close(&groups);
    snprintf(command, sizeof command, "rm -r %s", top);
    return system(command); /* NOLINT(cert-env33-c) */
}

static int wait_for_it(void)
{
    int status = -1;
    assert_true(limiting.pid > 0);
    assert_int_equal(waitpid(limiting.pid, &status, 0), limiting.pid);
    return status;
}

/* In whatever order an owner's sessions come, he has the larger of what each would give. */
static void test_widened(void **state)
{
    (void)state;
    const struct limits little = {.weight = 2, .memory = 64 << 20, .pids = 0, .slots = 7},
                        much = {.weight = 1, .memory = 256 << 20, .pids = 50};
    for (int order = 0; order < 2; order++) {
        const int uid = order == 0 ? ALICE : BOB;
        const char *folder = order == 0 ? "users/u54321" : "users/u54322";
        char memory[64], pids[64], weight[64];
        snprintf(memory, sizeof memory, "%s/memory.max", folder);
        snprintf(pids, sizeof pids, "%s/pids.max", folder);
        snprintf(weight, sizeof weight, "%s/cpu.weight", folder);
        struct limits limits = order == 0 ? little : much;
        assert_int_equal(cgroups_widen_limits(&groups, (uid_t)uid, &limits), 0);
        assert_true(has(memory, order == 0 ? "67108864" : "268435456"));
        limits = order == 0 ? much : little;
        assert_int_equal(cgroups_widen_limits(&groups, (uid_t)uid, &limits), 0);
        assert_true(has(memory, "268435456"));
        assert_true(has(pids, "max"));
        assert_true(has(weight, "200"));
        assert_int_equal(limits.memory, 256 << 20); /* what a refusal names */
        assert_int_equal(limits.pids, 0);
    }
}

static void test_wishes(void **state)
{
    (void)state;
    struct wish wishes[3];
    size_t count = 0;
    limiting_wish(wishes, &count, ALICE, &(struct limits){.weight = 1, .memory = 5 << 20, .pids = 9});
    limiting_wish(wishes, &count, BOB, &(struct limits){.weight = 3});
    limiting_wish(wishes, &count, ALICE, &(struct limits){.weight = 4, .memory = 4 << 20, .pids = 10});
    assert_int_equal(count, 2);
    limiting_start(&limiting, &groups, wishes, count, UINT64_C(1) << 30);
    assert_false(limiting_end(&limiting, &groups, wait_for_it()));
    assert_true(has("broker/memory.max", "2415919104"));
    assert_true(has("users/u54321/cpu.weight", "400"));
    assert_true(has("users/u54321/memory.max", "5242880"));
    assert_true(has("users/u54321/pids.max", "10"));
    assert_true(has("users/u54322/cpu.weight", "300"));
    assert_true(has("users/u54322/memory.max", "max"));
    /* They are in force here as well: nothing is written again. */
    put("users/u54321/memory.max", "");
    assert_int_equal(cgroups_apply_limits(&groups, ALICE, &wishes[0].limits), 0);
    assert_true(has("users/u54321/memory.max", ""));
}

static void test_slow(void **state)
{
    (void)state;
    struct wish wishes[1];
    size_t count = 0;
    alarm(20);
    limiting_wish(wishes, &count, ALICE, &(struct limits){.weight = 1, .memory = 4 << 20});
    assert_int_equal(unlink(at("users/u54321/memory.max")), 0);
    assert_int_equal(mkfifo(at("users/u54321/memory.max"), 0600), 0);
    limiting_start(&limiting, &groups, wishes, count, 1 << 20); /* we do not wait */
    pid_t first = limiting.pid;
    assert_true(first > 0);
    assert_int_equal(waitpid(first, NULL, WNOHANG), 0);
    /* Meanwhile a worker has come: its limits may have been overtaken. */
    limiting.again = true;
    /* Another reload takes the place of the first. */
    limiting_start(&limiting, &groups, wishes, count, 1 << 20);
    int status;
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_false(limiting.again);
    limiting.again = true;
    int pipe = open(at("users/u54321/memory.max"), O_RDONLY | O_CLOEXEC);
    char text[16] = "";
    assert_int_equal(read(pipe, text, sizeof text - 1), 7);
    assert_string_equal(text, "4194304");
    close(pipe);
    assert_true(limiting_end(&limiting, &groups, wait_for_it()));
    assert_int_equal(limiting.pid, 0);
    /* So they are written once more. */
    assert_int_equal(unlink(at("users/u54321/memory.max")), 0);
    put("users/u54321/memory.max", "");
    limiting_start(&limiting, &groups, wishes, count, 1 << 20);
    assert_false(limiting_end(&limiting, &groups, wait_for_it()));
    assert_true(has("users/u54321/memory.max", "4194304"));
}

/* What the child has not done the owner's next worker brings about. */
static void test_fails(void **state)
{
    (void)state;
    struct limits limits = {.weight = 1, .memory = 4 << 20};
    const struct wish wish = {ALICE, limits};
    assert_int_equal(unlink(at("users/u54321/memory.max")), 0);
    limiting_start(&limiting, &groups, &wish, 1, 1 << 20);
    assert_false(limiting_end(&limiting, &groups, wait_for_it()));
    put("users/u54321/memory.max", "");
    assert_int_equal(cgroups_widen_limits(&groups, ALICE, &limits), 0);
    assert_true(has("users/u54321/memory.max", "4194304"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_widened, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wishes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fails, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
