/*
 * How many CPUs this process may really use: the kernel's affinity mask and the cgroup's CPU quota (v2
 * cpu.max or v1 cpu.cfs_quota_us), not the number in the box. Reads /proc and /sys at each call; never logs.
 * Thread-safe.
 */
#ifndef PMAP_CPUS_H
#define PMAP_CPUS_H

struct cpus {
    int online;   /* CPUs that the kernel runs (at least 1) */
    int affinity; /* CPUs in this process's affinity mask (at least 1) */
    double
        quota;  /* CPUs' worth of time that the tightest cgroup on the path to the root allows; 0: no quota */
    int usable; /* what a pool should use: min(affinity, ceil(quota)), at least 1 */
};

/* Fills *out. Does not fail: what cannot be read counts as no limit. */
void cpus_read(struct cpus *out);

/*
 * As cpus_read, with the files taken from below `root` instead of "/" ("/proc/self/cgroup",
 * "/proc/self/mountinfo", the cgroup trees); affinity and online as given. For tests.
 */
void cpus_read_at(const char *root, int online, int affinity, struct cpus *out);

#endif
