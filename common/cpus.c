/*
 * How many CPUs this process may really use; see cpus.h. A cgroup's quota binds everything below it, so the
 * cgroup of this process and all those above it, as far as they are mounted, are asked, in v2 and in v1's cpu
 * hierarchy (a hybrid system has both).
 */
#include "common/cpus.h"

#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, CPUS_LIMIT = 1 << 20 };

/* The cgroups of this process, as /proc/self/cgroup tells them: "" where there is none. */
struct membership {
    char v2[PATH_BYTES];
    char v1_cpu[PATH_BYTES];
};

static FILE *open_below(const char *root, const char *path)
{
    char full[2 * PATH_BYTES];
    int len = snprintf(full, sizeof full, "%s%s", root, path);
    return len > 0 && (size_t)len < sizeof full ? fopen(full, "re") : NULL;
}

/* One line of a small file below root, at folder/name. */
static bool read_line(const char *root, const char *folder, const char *name, char *out, size_t size)
{
    char path[PATH_BYTES + 32];
    int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (len < 0 || (size_t)len >= sizeof path)
        return false;
    FILE *file = open_below(root, path);
    if (!file)
        return false;
    bool got = fgets(out, (int)size, file) != NULL;
    fclose(file);
    return got;
}

/* Is `word` one of the words of a list with commas? */
static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += len) {
        if ((p == list || p[-1] == ',') && (p[len] == ',' || p[len] == '\0'))
            return true;
    }
    return false;
}

static void read_membership(const char *root, struct membership *out)
{
    out->v2[0] = out->v1_cpu[0] = '\0';
    FILE *file = open_below(root, "/proc/self/cgroup");
    if (!file)
        return;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        /* "hierarchy:controllers:path"; the path may hold further colons. */
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *controllers++ = '\0';
        *path++ = '\0';
        char *place = NULL;
        if (strcmp(line, "0") == 0 && *controllers == '\0')
            place = out->v2;
        else if (list_has(controllers, "cpu"))
            place = out->v1_cpu;
        size_t len = strlen(path);
        if (place && *path == '/' && len < PATH_BYTES)
            memcpy(place, path, len + 1);
    }
    free(line);
    fclose(file);
}

/* Takes /proc's octal escapes (space is \040) out of s, in place. */
static void unescape(char *s)
{
    char *to = s;
    while (*s) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
            s[3] <= '7') {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *to++ = *s++;
        }
    }
    *to = '\0';
}

/* Is the path only steps upwards, "/..", "/../.." and so on? */
static bool is_above(const char *path)
{
    const char *p = path;
    while (strncmp(p, "/..", 3) == 0)
        p += 3;
    return p != path && *p == '\0';
}

/*
 * Where below a mount of the subtree `mount_root` the cgroup `path` is: the rest of the path, "" for the
 * mount point itself, NULL when this mount does not show it.
 */
static const char *below_mount(const char *mount_root, const char *path)
{
    if (strcmp(mount_root, "/") == 0)
        return is_above(path) || strncmp(path, "/../", 4) == 0 ? NULL : path[1] ? path : "";
    size_t len = strlen(mount_root);
    if (strncmp(path, mount_root, len) == 0 && (path[len] == '/' || path[len] == '\0'))
        return path + len;
    /* Mounted before our cgroup namespace was made: our own place in it has no name here, but all of it is
     * above us. */
    return is_above(mount_root) ? "" : NULL;
}

static double quota_v2(const char *root, const char *folder)
{
    char text[64];
    if (!read_line(root, folder, "cpu.max", text, sizeof text))
        return 0;
    char *end;
    double quota = (double)strtoll(text, &end, 10); /* "max" is 0: no quota */
    double period = (double)strtoll(end, NULL, 10);
    return quota > 0 && period > 0 ? quota / period : 0;
}

static double quota_v1(const char *root, const char *folder)
{
    char text[64];
    if (!read_line(root, folder, "cpu.cfs_quota_us", text, sizeof text))
        return 0;
    double quota = (double)strtoll(text, NULL, 10); /* -1: no quota */
    if (!read_line(root, folder, "cpu.cfs_period_us", text, sizeof text))
        return 0;
    double period = (double)strtoll(text, NULL, 10);
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* The tightest quota of mount_point + rest and of all folders from there up to the mount point; 0: none. */
static double tightest(const char *root, const char *mount_point, const char *rest,
                       double (*quota_of)(const char *root, const char *folder))
{
    char folder[PATH_BYTES];
    int len = snprintf(folder, sizeof folder, "%s%s", strcmp(mount_point, "/") == 0 ? "" : mount_point, rest);
    if (len < 0 || (size_t)len >= sizeof folder)
        return 0;
    size_t stop = (size_t)len - strlen(rest);
    double least = 0;
    for (;;) {
        double quota = quota_of(root, folder);
        if (quota > 0 && (least == 0 || quota < least))
            least = quota;
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < stop)
            return least;
        *slash = '\0';
    }
}

/* What one line of mountinfo means for us: a quota, or 0. */
static double mount_quota(const char *root, char *line, const struct membership *own)
{
    /* "36 35 98:0 /root /mount/point options [tags...] - type source super-options" */
    char *field[5], *save = NULL;
    char *tail = strstr(line, " - ");
    if (!tail)
        return 0;
    *tail = '\0';
    for (int i = 0; i < 5; i++) {
        field[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
        if (!field[i])
            return 0;
    }
    char *type = strtok_r(tail + 3, " ", &save);
    char *source = type ? strtok_r(NULL, " ", &save) : NULL;
    char *options = source ? strtok_r(NULL, " \n", &save) : NULL;
    if (!options)
        return 0;
    bool v2 = strcmp(type, "cgroup2") == 0;
    if (!v2 && (strcmp(type, "cgroup") != 0 || !list_has(options, "cpu")))
        return 0;
    const char *path = v2 ? own->v2 : own->v1_cpu;
    if (*path == '\0')
        return 0;
    unescape(field[3]);
    unescape(field[4]);
    const char *rest = below_mount(field[3], path);
    return rest ? tightest(root, field[4], rest, v2 ? quota_v2 : quota_v1) : 0;
}

void cpus_read_at(const char *root, int online, int affinity, struct cpus *out)
{
    *out = (struct cpus){.online = online > 0 ? online : 1, .affinity = affinity > 0 ? affinity : 1};
    struct membership own;
    read_membership(root, &own);
    FILE *file = open_below(root, "/proc/self/mountinfo");
    if (file) {
        char *line = NULL;
        size_t size = 0;
        while (getline(&line, &size, file) > 0) {
            double quota = mount_quota(root, line, &own);
            if (quota > 0 && (out->quota == 0 || quota < out->quota))
                out->quota = quota;
        }
        free(line);
        fclose(file);
    }
    out->usable = out->affinity;
    if (out->quota > 0 && ceil(out->quota) < out->usable)
        out->usable = (int)ceil(out->quota);
}

/* CPUs in the affinity mask, or 0 when the kernel does not say. */
static int count_affinity(void)
{
    /* The kernel refuses a mask shorter than its own, whose length it does not tell. */
    for (int cpus = 1024; cpus <= CPUS_LIMIT; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set)
            return 0;
        size_t size = CPU_ALLOC_SIZE(cpus);
        int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return count;
    }
    return 0;
}

void cpus_read(struct cpus *out)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int affinity = count_affinity();
    int known = online > 0 ? (int)online : 1;
    cpus_read_at("", known, affinity > 0 ? affinity : known, out);
}
