/*
 * CPUs: cgroup quotas of v1, v2 and both, read from a tree made up in a folder of the test's own; and what
 * the real system says.
 */
#include "common/cpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSFS "22 21 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
#define V2_MOUNT                                                                                             \
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_CPU "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
#define V1_OTHERS                                                                                            \
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                                      \
    "34 31 0:31 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
#define HYBRID_V2 "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

static int make_root(void **state)
{
    const char *base = getenv("TMPDIR");
    char *root = NULL;
    if (asprintf(&root, "%s/pmap-cpus-XXXXXX", base ? base : "/tmp") < 0 || !mkdtemp(root))
        return -1;
    *state = root;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int remove_root(void **state)
{
    int rc = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return rc;
}

/* Writes a file below root, with the folders above it. */
static void put(const char *root, const char *path, const char *text)
{
    char full[4096];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_cpus(const char *root, int affinity, double quota, int usable)
{
    struct cpus cpus;
    cpus_read_at(root, 64, affinity, &cpus);
    if (cpus.online != 64 || cpus.affinity != affinity || cpus.quota != quota || cpus.usable != usable)
        fail_msg("quota %g usable %d, not %g and %d", cpus.quota, cpus.usable, quota, usable);
}

static void nothing_to_read_is_no_limit(void **state)
{
    assert_cpus(*state, 8, 0, 8);
    put(*state, "/proc/self/cgroup", "nonsense\n\n0:\n0::\n0::relative\n");
    put(*state, "/proc/self/mountinfo", "nonsense\n1 2 3 - cgroup2\n" V2_MOUNT);
    put(*state, "/sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_cpus(*state, 8, 0, 8);
    struct cpus cpus;
    cpus_read_at(*state, 0, -1, &cpus);
    assert_int_equal(cpus.online, 1);
    assert_int_equal(cpus.affinity, 1);
    assert_int_equal(cpus.usable, 1);
}

static void v2_takes_the_tightest_on_the_way_up(void **state)
{
    put(*state, "/proc/self/cgroup", "0::/a.slice/b.service/leaf\n");
    put(*state, "/proc/self/mountinfo", SYSFS V2_MOUNT);
    assert_cpus(*state, 8, 0, 8);
    put(*state, "/sys/fs/cgroup/a.slice/b.service/leaf/cpu.max", "max 100000\n");
    assert_cpus(*state, 8, 0, 8);
    put(*state, "/sys/fs/cgroup/a.slice/b.service/cpu.max", "400000 100000\n");
    assert_cpus(*state, 8, 4, 4);
    put(*state, "/sys/fs/cgroup/a.slice/cpu.max", "75000 50000\n");
    assert_cpus(*state, 8, 1.5, 2);
    put(*state, "/sys/fs/cgroup/a.slice/b.service/leaf/cpu.max", "20000 100000\n");
    assert_cpus(*state, 8, 0.2, 1);
    put(*state, "/sys/fs/cgroup/a.slice/b.service/leaf/cpu.max", "max 100000\n");
    /* In a container, its own cgroup is the root of what it sees, and has limits. */
    put(*state, "/sys/fs/cgroup/cpu.max", "120000 100000\n");
    assert_cpus(*state, 8, 1.2, 2);
    /* A neighbour's and a child's limits are not ours. */
    put(*state, "/sys/fs/cgroup/a.slice/other/cpu.max", "1000 100000\n");
    put(*state, "/sys/fs/cgroup/a.slice/b.service/leaf/below/cpu.max", "1000 100000\n");
    assert_cpus(*state, 8, 1.2, 2);
    /* The mask may be tighter still. */
    assert_cpus(*state, 1, 1.2, 1);
}

static void broken_files_are_no_limit(void **state)
{
    put(*state, "/proc/self/cgroup", "0::/a\n");
    put(*state, "/proc/self/mountinfo", V2_MOUNT);
    static const char *const broken[] = {"",      "\n",        "100000\n", "100000 0\n", "-1 100000\n",
                                         "x y\n", "0 100000\n"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        put(*state, "/sys/fs/cgroup/a/cpu.max", broken[i]);
        assert_cpus(*state, 8, 0, 8);
    }
}

static void v1_takes_the_tightest_on_the_way_up(void **state)
{
    put(*state, "/proc/self/cgroup",
        "9:name=systemd:/x\n5:cpuset:/y\n4:cpuacct,cpu:/jobs/one\n2:memory:/z\n");
    put(*state, "/proc/self/mountinfo", V1_OTHERS V1_CPU);
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_quota_us", "-1\n");
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_period_us", "100000\n");
    put(*state, "/sys/fs/cgroup/cpuset/y/cpu.cfs_quota_us", "1000\n");
    put(*state, "/sys/fs/cgroup/cpuset/y/cpu.cfs_period_us", "100000\n");
    assert_cpus(*state, 8, 0, 8);
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "500000\n");
    assert_cpus(*state, 8, 0, 8); /* no period, no quota */
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "200000\n");
    assert_cpus(*state, 8, 2.5, 3);
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_quota_us", "110000\n");
    assert_cpus(*state, 8, 1.1, 2);
}

static void other_hierarchies_do_not_count(void **state)
{
    put(*state, "/proc/self/cgroup", "9:name=cpu:/x\n5:cpuset:/x\n4:cpuacct:/x\n");
    put(*state, "/proc/self/mountinfo",
        "35 31 0:32 / /sys/fs/cgroup/named rw - cgroup cgroup rw,xattr,name=cpu\n" V1_OTHERS V1_CPU);
    static const char *const places[] = {"named", "cpuset", "cpuacct", "cpu,cpuacct"};
    for (size_t i = 0; i < 4; i++) {
        char path[256];
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/x/cpu.cfs_quota_us", places[i]);
        put(*state, path, "100000\n");
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/x/cpu.cfs_period_us", places[i]);
        put(*state, path, "100000\n");
    }
    assert_cpus(*state, 8, 0, 8);
    /* Those mounts are not it, and the one that is does not show a cgroup of ours until we are in one. */
    put(*state, "/proc/self/cgroup", "9:name=cpu:/y\n5:cpuset:/y\n4:cpuacct:/y\n1:cpu:/x\n");
    assert_cpus(*state, 8, 1, 1);
    put(*state, "/proc/self/mountinfo",
        "35 31 0:32 / /sys/fs/cgroup/named rw - cgroup cgroup rw,xattr,name=cpu\n" V1_OTHERS);
    assert_cpus(*state, 8, 0, 8);
}

static void a_hybrid_system_has_both(void **state)
{
    put(*state, "/proc/self/cgroup", "1:cpu:/one\n0::/two\n");
    put(*state, "/proc/self/mountinfo", V1_OTHERS V1_CPU HYBRID_V2);
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/one/cpu.cfs_quota_us", "300000\n");
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/one/cpu.cfs_period_us", "100000\n");
    assert_cpus(*state, 8, 3, 3);
    put(*state, "/sys/fs/cgroup/unified/two/cpu.max", "200000 100000\n");
    assert_cpus(*state, 8, 2, 2);
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/one/cpu.cfs_quota_us", "100000\n");
    assert_cpus(*state, 8, 1, 1);
}

static void a_mount_may_show_a_part_only(void **state)
{
    /* A container without a cgroup namespace: the whole path, and a mount that begins in the middle of it. */
    put(*state, "/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc/in\n0::/docker/abc/in\n");
    put(*state, "/proc/self/mountinfo",
        "50 49 0:29 /docker/abc /sys/fs/cgroup/my\\040cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
        "51 49 0:29 /docker/ab /sys/fs/cgroup/neighbour ro - cgroup cgroup rw,cpu,cpuacct\n"
        "52 49 0:26 /docker/xyz /sys/fs/cgroup/other ro - cgroup2 cgroup2 rw\n");
    put(*state, "/sys/fs/cgroup/neighbour/cpu.cfs_quota_us", "10000\n");
    put(*state, "/sys/fs/cgroup/neighbour/cpu.cfs_period_us", "100000\n");
    put(*state, "/sys/fs/cgroup/neighbourc/cpu.cfs_quota_us", "10000\n"); /* its path and the rest of ours */
    put(*state, "/sys/fs/cgroup/neighbourc/cpu.cfs_period_us", "100000\n");
    put(*state, "/sys/fs/cgroup/other/cpu.max", "10000 100000\n");
    assert_cpus(*state, 8, 0, 8);
    put(*state, "/sys/fs/cgroup/my cpu/cpu.cfs_quota_us", "250000\n");
    put(*state, "/sys/fs/cgroup/my cpu/cpu.cfs_period_us", "100000\n");
    assert_cpus(*state, 8, 2.5, 3);
    put(*state, "/sys/fs/cgroup/my cpu/in/cpu.cfs_quota_us", "150000\n");
    put(*state, "/sys/fs/cgroup/my cpu/in/cpu.cfs_period_us", "100000\n");
    assert_cpus(*state, 8, 1.5, 2);
}

static void a_mount_may_be_above_the_namespace(void **state)
{
    put(*state, "/proc/self/cgroup", "0::/job\n");
    put(*state, "/proc/self/mountinfo", "52 49 0:26 /../.. /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
    put(*state, "/sys/fs/cgroup/cpu.max", "300000 100000\n");
    put(*state, "/sys/fs/cgroup/job/cpu.max", "10000 100000\n"); /* somebody else's of that name */
    assert_cpus(*state, 8, 3, 3);
    /* And a process may be outside of what the mount shows. */
    put(*state, "/proc/self/cgroup", "0::/../elsewhere\n");
    put(*state, "/proc/self/mountinfo", V2_MOUNT);
    assert_cpus(*state, 8, 0, 8);
}

static void the_real_system_agrees_with_the_kernel(void **state)
{
    (void)state;
    cpu_set_t before, one;
    if (sched_getaffinity(0, sizeof before, &before) < 0)
        skip(); /* more CPUs than this test's mask holds */
    struct cpus cpus;
    cpus_read(&cpus);
    assert_int_equal(cpus.affinity, CPU_COUNT(&before));
    assert_int_equal(cpus.online, sysconf(_SC_NPROCESSORS_ONLN));
    assert_in_range(cpus.usable, 1, cpus.affinity);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    cpus_read(&cpus);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(cpus.affinity, 1);
    assert_int_equal(cpus.usable, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_to_read_is_no_limit, make_root, remove_root),
        cmocka_unit_test_setup_teardown(v2_takes_the_tightest_on_the_way_up, make_root, remove_root),
        cmocka_unit_test_setup_teardown(broken_files_are_no_limit, make_root, remove_root),
        cmocka_unit_test_setup_teardown(v1_takes_the_tightest_on_the_way_up, make_root, remove_root),
        cmocka_unit_test_setup_teardown(other_hierarchies_do_not_count, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_hybrid_system_has_both, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_mount_may_show_a_part_only, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_mount_may_be_above_the_namespace, make_root, remove_root),
        cmocka_unit_test(the_real_system_agrees_with_the_kernel),
    };
    return cmocka_run_group_tests_name("cpus", tests, NULL, NULL);
}
