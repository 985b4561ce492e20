/*
 * What is said of a process that was killed for want of memory: with the kernel's files of a worker's control
 * group, which are the test's own, put over the machine's in a mount namespace. That takes root.
 */
#include "daemon/worker/oom.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define OWNER  "/sys/fs/cgroup/pmapd.service/users/u1000"
#define WORKER OWNER "/w7/worker"
#define ITEMS  OWNER "/w7/e99"

static bool faked;

static bool put(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return false;
    bool fine = fputs(text, file) >= 0;
    return fclose(file) == 0 && fine;
}

/* The group that we seem to be in. */
static bool fake_membership(const char *text)
{
    char path[] = "/tmp/test_oom_XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        return false;
    close(fd);
    bool fine = put(path, text) && mount(path, "/proc/self/cgroup", NULL, MS_BIND, NULL) == 0;
    unlink(path); /* it stays as long as the mount does */
    return fine;
}

static int group_setup(void **state)
{
    (void)state;
    static const char *const folders[] = {"/sys/fs/cgroup/pmapd.service",
                                          "/sys/fs/cgroup/pmapd.service/users",
                                          OWNER,
                                          OWNER "/w7",
                                          WORKER,
                                          ITEMS};
    faked = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
            mount("none", "/sys/fs/cgroup", "tmpfs", 0, NULL) == 0 &&
            fake_membership("3:memory:/elsewhere\n0::/pmapd.service/users/u1000/w7/worker\n");
    for (size_t i = 0; faked && i < sizeof folders / sizeof *folders; i++)
        faked = mkdir(folders[i], 0755) == 0;
    return 0;
}

#define NEEDS_FILES()                                                                                        \
    do {                                                                                                     \
        if (!faked) {                                                                                        \
            print_message("no files can be put over the kernel's here\n");                                   \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

/* Counts of kills in the items' group, and how often the owner was at his limit. */
static struct oom counts(unsigned items, unsigned owner)
{
    struct oom now;
    char text[128];
    snprintf(text, sizeof text, "low 0\nhigh 0\nmax 9\noom 0\noom_kill %u\noom_group_kill 0\n", items);
    assert_true(put(ITEMS "/memory.events", text));
    snprintf(text, sizeof text, "low 0\nhigh 0\nmax 70\noom %u\noom_kill 0\n", owner);
    assert_true(put(OWNER "/memory.events.local", text));
    oom_read(&now, ITEMS);
    return now;
}

static const char *text_between(struct oom before, struct oom after)
{
    static char text[OOM_TEXT_MAX];
    return oom_text(&before, &after, text);
}

static void test_owners_limit(void **state)
{
    (void)state;
    static const struct {
        const char *limit, *text;
    } cases[] = {
        {"536870912\n", "out of memory: its owner's limit of 512M"},
        {"1610612736\n", "out of memory: its owner's limit of 1536M"},
        {"3221225472\n", "out of memory: its owner's limit of 3G"},
        {"12288\n", "out of memory: its owner's limit of 12K"},
        {"1000000\n", "out of memory: its owner's limit of 1000000"},
        {"max\n", "out of memory"}, /* lifted since */
    };
    NEEDS_FILES();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(put(OWNER "/memory.max", cases[i].limit));
        struct oom before = counts(2, 4), after = counts(4, 5);
        assert_string_equal(text_between(before, after), cases[i].text);
    }
}

static void test_whose_it_was(void **state)
{
    (void)state;
    NEEDS_FILES();
    assert_true(put(OWNER "/memory.max", "536870912\n"));
    assert_string_equal(text_between(counts(2, 4), counts(3, 4)),
                        "out of memory");                  /* the service's, or the machine's */
    assert_null(text_between(counts(2, 4), counts(2, 5))); /* another of the owner's items */
    assert_null(text_between(counts(2, 4), counts(2, 4)));
    /* Somebody else's, anywhere. */
    struct oom before = counts(2, 4), after = counts(2, 4);
    after.machine = before.machine + 1;
    assert_null(text_between(before, after));
}

/* Of one's own group, as pmap-worker asks. */
static void test_own_group(void **state)
{
    (void)state;
    struct oom now;
    NEEDS_FILES();
    oom_read(&now, NULL);
    assert_true(now.cgroup == UINT64_MAX); /* without the controller */
    assert_true(put(WORKER "/memory.events", "oom 0\noom_kill 6\n"));
    oom_read(&now, NULL);
    assert_int_equal(now.cgroup, 6);
    assert_int_equal(unlink(WORKER "/memory.events"), 0);
}

/* Where there are no counts but the machine's, it is a guess. */
static void test_machine(void **state)
{
    (void)state;
    const struct oom before = {UINT64_MAX, 7, UINT64_MAX}, same = before, more = {UINT64_MAX, 8, UINT64_MAX};
    assert_null(text_between(before, same));
    assert_string_equal(text_between(before, more), "out of memory, probably");
    /* A group that has come to have counts since says nothing. */
    const struct oom counted = {5, 7, UINT64_MAX};
    assert_null(text_between(before, counted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owners_limit),
        cmocka_unit_test(test_whose_it_was),
        cmocka_unit_test(test_own_group),
        cmocka_unit_test(test_machine),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
