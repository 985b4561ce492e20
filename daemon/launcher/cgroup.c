/*
 * Control groups; see cgroup.h. They are folders and small files, and what is done here is to make, write and
 * remove them.
 */
#include "daemon/launcher/cgroup.h"

#include "common/smallfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    WEIGHT_UNIT = 100, /* the kernel's for "as any other" */
    WEIGHT_MOST = 10000,
    WEIGHT_OURS = 1000, /* of the broker and of ourselves, against all users' together */
    NAME_ROOM = 32,
    NUMBER_ROOM = 24,
    DEPTH = 3,  /* of owners, workers and what is in those, below users/ */
    ITEMS = 64, /* the most groups in a worker's */
};

#define BROKER_MEMORY (UINT64_C(256) << 20) /* without what it holds for clients */

/* Says why, and returns the error. */
__attribute__((format(printf, 3, 4))) static int fail(char why[CGROUP_WHY_MAX], int error, const char *format,
                                                      ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, CGROUP_WHY_MAX, format, args);
    va_end(args);
    return error;
}

/*** Finding it ***/

/* systemd marks what it delegates. What is another's he could mark himself, and he moves processes about
 * there as he likes. */
static bool is_delegated(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0 || st.st_uid != geteuid())
        return false;
    static const char *const marks[] = {"user.delegate", "trusted.delegate"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        char value = '\0';
        if (getxattr(path, marks[i], &value, 1) == 1 && value == '1')
            return true;
    }
    return false;
}

int cgroups_find(const char *root, char own[PATH_MAX], char why[CGROUP_WHY_MAX])
{
    struct statfs fs;
    char text[PATH_MAX];
    if (statfs(root, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
        return fail(why, -ENOTSUP, "there are none of version 2 at %s", root);
    ssize_t n = smallfile_read(AT_FDCWD, "/proc/self/cgroup", text, sizeof text);
    const char *path = n < 0 ? NULL : smallfile_line(text, "0::");
    if (!path)
        return fail(why, -ENOTSUP, "/proc/self/cgroup names none of version 2");
    int len = (int)strcspn(path, "\n");
    n = snprintf(own, PATH_MAX, "%s%.*s", root, len, path);
    if (n < 0 || n >= PATH_MAX || len == 0 || path[0] != '/' || strstr(own, "/../"))
        return fail(why, -EACCES, "the group that pmapd is in is not to be seen at %s", root);
    if (!is_delegated(own))
        return fail(why, -EACCES, "%s is not pmapd's to divide (its unit should say Delegate=yes)", own);
    return 0;
}

/*** Folders ***/

/* Makes a folder that all may look into, whatever our umask is, or finds it. Returns it or a negative errno.
 */
static int make_folder(int folder, const char *name)
{
    if (mkdirat(folder, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fchmod(fd, 0755) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

static bool enable(int folder, const char *controller)
{
    return smallfile_write(folder, "cgroup.subtree_control", controller) == 0;
}

static void write_number(int folder, const char *file, uint64_t number, int *rc)
{
    char text[NUMBER_ROOM];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    int error = smallfile_write(folder, file, number == 0 ? "max" : text);
    if (error < 0 && *rc == 0)
        *rc = error;
}

static int kill_group(int folder, const char *name)
{
    char path[NAME_ROOM + sizeof "/cgroup.kill"];
    snprintf(path, sizeof path, "%s/cgroup.kill", name);
    return smallfile_write(folder, path, "1");
}

/* Removes the empty folders in this one, and so deep below. Those that are not empty stay. */
static void remove_below(int folder, int depth)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
    if (!list) {
        if (copy >= 0)
            close(copy);
        return;
    }
    for (struct dirent *entry; (entry = readdir(list));) { /* NOLINT(concurrency-mt-unsafe): no threads */
        if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int below =
            depth > 1 ? openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        if (below >= 0) {
            remove_below(below, depth - 1);
            close(below);
        }
        unlinkat(folder, entry->d_name, AT_REMOVEDIR);
    }
    closedir(list);
}

/* Removes a group and those in it. Returns whether it is gone. */
static bool remove_group(int folder, const char *name)
{
    int below = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below >= 0) {
        remove_below(below, 1);
        close(below);
    }
    return unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/*** The division ***/

void cgroups_init(struct cgroups *groups)
{
    *groups = (struct cgroups){.users = -1, .broker = -1};
    LIST_INIT(&groups->owners);
}

/*
 * Makes one of the two for a daemon and moves it there: a new one if possible, for kernels (seen: Debian's
 * 6.1.0-50, and 6.18) kill what is born by clone3 into another group than its parent's, if one of the two was
 * killed before and the other was not. Returns the folder or a negative errno.
 */
static int settle(int own, const char *name, pid_t pid, char why[CGROUP_WHY_MAX])
{
    char number[NUMBER_ROOM];
    unlinkat(own, name, AT_REMOVEDIR);
    int folder = make_folder(own, name);
    if (folder < 0)
        return fail(why, folder, "cannot make the group '%s': %s", name, strerror(-folder));
    snprintf(number, sizeof number, "%d", (int)pid);
    int rc = smallfile_write(folder, "cgroup.procs", number);
    if (rc == 0)
        return folder;
    close(folder);
    return fail(why, rc, "cannot move process %d to the group '%s': %s", (int)pid, name, strerror(-rc));
}

/* One by one: one that is not there, or is held by somebody else, keeps none of the others out. */
static void enable_controllers(int own, struct cgroups *g)
{
    g->cpu = enable(own, "+cpu") && enable(g->users, "+cpu");
    g->memory = enable(own, "+memory") && enable(g->users, "+memory");
    g->pids = enable(own, "+pids") && enable(g->users, "+pids");
}

static int make_users(int own, struct cgroups *g, char why[CGROUP_WHY_MAX])
{
    g->users = make_folder(own, "users");
    if (g->users < 0)
        return fail(why, g->users, "cannot make the group 'users': %s", strerror(-g->users));
    /* Linux 5.14 has it; born into their group (5.7) processes can then be, too. */
    int rc = smallfile_write(g->users, "cgroup.kill", "1");
    if (rc < 0) {
        close(g->users);
        g->users = -1;
        return fail(why, rc, "this kernel cannot kill a group (cgroup.kill): %s", strerror(-rc));
    }
    remove_below(g->users, DEPTH);
    return 0;
}

int cgroups_limit_broker(const struct cgroups *groups, uint64_t queued_bytes)
{
    int rc = 0;
    if (groups->memory)
        write_number(groups->broker, "memory.max", 2 * queued_bytes + BROKER_MEMORY, &rc);
    return rc;
}

/* What of it fails is done without. */
static void set_up_daemons(const struct cgroups *g, int supervisor, uint64_t queued_bytes)
{
    int ignored = 0;
    if (g->cpu) {
        write_number(supervisor, "cpu.weight", WEIGHT_OURS, &ignored);
        write_number(g->broker, "cpu.weight", WEIGHT_OURS, &ignored);
    }
    cgroups_limit_broker(g, queued_bytes);
}

int cgroups_open(const char *own_path, pid_t broker, uint64_t queued_bytes, struct cgroups *groups,
                 char why[CGROUP_WHY_MAX])
{
    int supervisor = -1;
    int own = open(own_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0)
        return fail(why, -errno, "%s: %s", own_path, strerror(errno));
    int rc = make_users(own, groups, why);
    if (rc == 0 && (supervisor = settle(own, "supervisor", getpid(), why)) < 0)
        rc = supervisor;
    if (rc == 0 && (groups->broker = settle(own, "broker", broker, why)) < 0)
        rc = groups->broker;
    if (rc == 0) {
        enable_controllers(own, groups);
        set_up_daemons(groups, supervisor, queued_bytes);
    } else {
        cgroups_close(groups);
    }
    if (supervisor >= 0)
        close(supervisor);
    close(own);
    return rc;
}

void cgroups_names(const struct cgroups *groups, char names[32])
{
    snprintf(names, 32, "%s%s%s", groups->cpu ? " cpu" : "", groups->memory ? " memory" : "",
             groups->pids ? " pids" : "");
}

/*** Owners and workers ***/

static void owner_name(uid_t uid, char name[NAME_ROOM])
{
    snprintf(name, NAME_ROOM, "u%u", (unsigned)uid);
}

static void worker_name(uint32_t number, char name[NAME_ROOM])
{
    snprintf(name, NAME_ROOM, "w%u", (unsigned)number);
}

static struct cgroup_owner *find_owner(const struct cgroups *g, uid_t uid)
{
    struct cgroup_owner *owner;
    LIST_FOREACH (owner, &g->owners, link) {
        if (owner->uid == uid)
            break;
    }
    return owner;
}

static struct cgroup_worker *find_worker(const struct cgroup_owner *owner, uint32_t number)
{
    struct cgroup_worker *worker;
    LIST_FOREACH (worker, &owner->workers, link) {
        if (worker->number == number)
            break;
    }
    return worker;
}

/* Forgets an owner without workers; the folder goes if it is empty. */
static void drop_owner(struct cgroups *g, struct cgroup_owner *owner)
{
    char name[NAME_ROOM];
    owner_name(owner->uid, name);
    close(owner->folder);
    unlinkat(g->users, name, AT_REMOVEDIR);
    LIST_REMOVE(owner, link);
    free(owner);
}

/* NULL with *rc set when that fails. */
static struct cgroup_owner *make_owner(struct cgroups *g, uid_t uid, int *rc)
{
    char name[NAME_ROOM];
    struct cgroup_owner *owner = calloc(1, sizeof *owner);
    if (!owner) {
        *rc = -ENOMEM;
        return NULL;
    }
    owner_name(uid, name);
    *owner = (struct cgroup_owner){.uid = uid, .folder = make_folder(g->users, name)};
    if (owner->folder < 0) {
        *rc = owner->folder;
        free(owner);
        return NULL;
    }
    LIST_INIT(&owner->workers);
    /* A worker's own counts: of those that the kernel has killed for want of memory. */
    if (g->memory)
        enable(owner->folder, "+memory");
    LIST_INSERT_HEAD(&g->owners, owner, link);
    return owner;
}

/* Root's again; what cannot be given back stays as it is. */
static void take_back(int folder, const char *name)
{
    int rc = fchownat(folder, name, 0, (gid_t)-1, AT_SYMLINK_NOFOLLOW);
    (void)rc;
}

/* What its owner needs for groups in it; where he cannot have it, there will be none. */
static void hand_over(int folder, int inner, uid_t uid)
{
    const gid_t same = (gid_t)-1;
    int ignored = 0;
    write_number(folder, "cgroup.max.depth", 1, &ignored);
    write_number(folder, "cgroup.max.descendants", ITEMS, &ignored);
    if (ignored == 0 && fchownat(inner, "cgroup.procs", uid, same, 0) == 0 &&
        fchownat(folder, "cgroup.procs", uid, same, 0) == 0 && fchown(folder, uid, same) < 0)
        take_back(folder, "cgroup.procs");
}

/* The folder that it is to be born into, or a negative errno. Not one that was there: see settle. */
static int make_worker(const struct cgroups *g, const struct cgroup_owner *owner, const char *name)
{
    int folder = remove_group(owner->folder, name) ? make_folder(owner->folder, name) : -EBUSY;
    if (folder < 0)
        return folder;
    /* Counts for each group in it, and the killing of one as a whole. */
    if (g->memory)
        enable(folder, "+memory");
    int inner = make_folder(folder, "worker");
    if (inner >= 0)
        hand_over(folder, inner, owner->uid);
    close(folder);
    if (inner < 0)
        remove_group(owner->folder, name);
    return inner;
}

int cgroups_add(struct cgroups *groups, uid_t uid, uint32_t worker, int *folder)
{
    char name[NAME_ROOM];
    int rc = -ENOMEM;
    struct cgroup_owner *owner = find_owner(groups, uid);
    struct cgroup_worker *w = calloc(1, sizeof *w);
    if (w && !owner)
        owner = make_owner(groups, uid, &rc);
    if (!w || !owner) {
        free(w);
        return rc;
    }
    worker_name(worker, name);
    int fd = make_worker(groups, owner, name);
    if (fd < 0) {
        free(w);
        if (LIST_EMPTY(&owner->workers))
            drop_owner(groups, owner);
        return fd;
    }
    w->number = worker;
    LIST_INSERT_HEAD(&owner->workers, w, link);
    *folder = fd;
    return 0;
}

static uint64_t larger(uint64_t one, uint64_t other)
{
    return one == 0 || other == 0 ? 0 : one > other ? one : other;
}

void cgroups_larger_limits(struct limits *limits, const struct limits *other)
{
    if (other->weight > limits->weight)
        limits->weight = other->weight;
    limits->memory = larger(limits->memory, other->memory);
    limits->pids = (int)larger((uint64_t)limits->pids, (uint64_t)other->pids);
}

static bool are_same(const struct limits *one, const struct limits *other)
{
    return one->weight == other->weight && one->memory == other->memory && one->pids == other->pids;
}

int cgroups_apply_limits(struct cgroups *groups, uid_t uid, const struct limits *limits)
{
    struct cgroup_owner *owner = find_owner(groups, uid);
    int rc = 0;
    if (!owner || (owner->limited && owner->sure && are_same(&owner->limits, limits)))
        return 0;
    uint64_t weight = (uint64_t)limits->weight * WEIGHT_UNIT;
    if (groups->cpu)
        write_number(owner->folder, "cpu.weight", weight < WEIGHT_MOST ? weight : WEIGHT_MOST, &rc);
    if (groups->memory)
        write_number(owner->folder, "memory.max", limits->memory, &rc);
    if (groups->pids)
        write_number(owner->folder, "pids.max", (uint64_t)limits->pids, &rc);
    owner->limited = true;
    owner->sure = rc == 0;
    owner->limits = *limits;
    return rc;
}

int cgroups_widen_limits(struct cgroups *groups, uid_t uid, struct limits *limits)
{
    const struct cgroup_owner *owner = find_owner(groups, uid);
    if (owner && owner->limited)
        cgroups_larger_limits(limits, &owner->limits);
    return cgroups_apply_limits(groups, uid, limits);
}

void cgroups_note_limits(struct cgroups *groups, uid_t uid, const struct limits *limits)
{
    struct cgroup_owner *owner = find_owner(groups, uid);
    if (!owner)
        return;
    owner->limited = owner->sure = true;
    owner->limits = *limits;
}

void cgroups_doubt_limits(struct cgroups *groups)
{
    struct cgroup_owner *owner;
    LIST_FOREACH (owner, &groups->owners, link)
        owner->sure = false;
}

int cgroups_kill(struct cgroups *groups, uid_t uid, uint32_t worker)
{
    char name[NAME_ROOM];
    struct cgroup_owner *owner = find_owner(groups, uid);
    worker_name(worker, name);
    return owner ? kill_group(owner->folder, name) : -ENOENT;
}

void cgroups_end(struct cgroups *groups, uid_t uid, uint32_t worker)
{
    char name[NAME_ROOM];
    struct cgroup_owner *owner = find_owner(groups, uid);
    struct cgroup_worker *w = owner ? find_worker(owner, worker) : NULL;
    if (!w)
        return;
    w->ended = true;
    worker_name(worker, name);
    /* Or its owner could go on making groups in it, and it would never be empty. */
    take_back(owner->folder, name);
    kill_group(owner->folder, name);
}

/* Removes the groups of an owner's workers that have ended. Returns how many could not be yet. */
static size_t sweep_owner(struct cgroup_owner *owner)
{
    struct cgroup_worker *next;
    size_t left = 0;
    for (struct cgroup_worker *w = LIST_FIRST(&owner->workers); w; w = next) {
        char name[NAME_ROOM];
        next = LIST_NEXT(w, link);
        if (!w->ended)
            continue;
        worker_name(w->number, name);
        if (!remove_group(owner->folder, name)) {
            kill_group(owner->folder, name); /* whoever may have been put there since */
            left++;
            continue;
        }
        LIST_REMOVE(w, link);
        free(w);
    }
    return left;
}

size_t cgroups_sweep(struct cgroups *groups)
{
    struct cgroup_owner *next;
    size_t left = 0;
    for (struct cgroup_owner *owner = LIST_FIRST(&groups->owners); owner; owner = next) {
        next = LIST_NEXT(owner, link);
        left += sweep_owner(owner);
        if (LIST_EMPTY(&owner->workers))
            drop_owner(groups, owner);
    }
    return left;
}

void cgroups_kill_all(struct cgroups *groups)
{
    smallfile_write(groups->users, "cgroup.kill", "1");
}

void cgroups_close(struct cgroups *groups)
{
    struct cgroup_owner *owner;
    struct cgroup_worker *w;
    while ((owner = LIST_FIRST(&groups->owners))) {
        LIST_FOREACH (w, &owner->workers, link)
            w->ended = true;
        sweep_owner(owner);
        while ((w = LIST_FIRST(&owner->workers))) {
            LIST_REMOVE(w, link);
            free(w);
        }
        drop_owner(groups, owner);
    }
    if (groups->users >= 0)
        close(groups->users);
    if (groups->broker >= 0)
        close(groups->broker);
    groups->users = groups->broker = -1;
}
