/*
 * The broker's sandbox: what still works in it, and what the kernel says of it.
 */
#include "sandbox_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int try_open(void)
{
    return rig_error(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}
static int try_make(void)
{
    return rig_make_file(folder, "new");
}
static int try_unlink(void)
{
    char path[128];
    return rig_error(unlink(rig_path(path, outside, "file")));
}
static int try_socket(int domain, int type)
{
    return rig_error(socket(domain, type, 0));
}
static int try_inet(void)
{
    return try_socket(AF_INET, SOCK_STREAM);
}
static int try_unix(void)
{
    return try_socket(AF_UNIX, SOCK_STREAM);
}

/*** What works ***/

static void *thread_main(void *arg)
{
    int *seen = arg;
    pthread_setname_np(pthread_self(), "sandboxed");
    *seen = try_inet() == -EPERM && try_open() < 0 ? 1 : 2;
    return NULL;
}

/* And it is born in the sandbox. */
static int do_thread(void)
{
    pthread_t thread;
    int seen = 0, rc = pthread_create(&thread, NULL, thread_main, &seen);
    if (rc != 0)
        return -rc;
    rc = pthread_join(thread, NULL);
    return rc != 0 ? -rc : seen - 1;
}

static int do_memory(void)
{
    enum { SIZE = 64 << 20 };
    char *memory = malloc(SIZE);
    if (!memory)
        return -ENOMEM;
    memset(memory, 1, SIZE);
    char *more = realloc(memory, 2 * (size_t)SIZE);
    int rc = more && more[SIZE - 1] == 1 ? 0 : -ENOMEM;
    free(more ? more : memory);
    return rc;
}

static int do_wait(void)
{
    const struct timespec moment = {.tv_nsec = 1000};
    uint64_t one = 1;
    struct epoll_event event = {.events = EPOLLIN};
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct pollfd item = {.fd = fd, .events = POLLIN};
    if (fd < 0 || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ||
        write(fd, &one, sizeof one) != sizeof one || epoll_wait(epoll, &event, 1, 1000) != 1 ||
        poll(&item, 1, 1000) != 1 || read(fd, &one, sizeof one) != sizeof one || nanosleep(&moment, NULL) < 0)
        return -errno;
    return 0;
}

/* A descriptor goes out and comes in, as between broker and launcher; and is looked at. */
static int do_pass(void)
{
    char data = 'x', room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&data, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    struct ucred peer;
    struct stat st;
    socklen_t size = sizeof peer;
    *header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(header), &pair[0], sizeof(int));
    int copy = fcntl(pair[0], F_DUPFD_CLOEXEC, 0);
    if (copy < 0 || sendmsg(pair[0], &message, 0) < 0 || recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) < 0 ||
        getsockopt(copy, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || fstat(copy, &st) < 0 ||
        shutdown(copy, SHUT_RDWR) < 0 || close(copy) < 0)
        return -errno;
    return 0;
}

static int do_read(void)
{
    unsigned random;
    struct rlimit limit;
    struct rusage usage;
    struct timespec now;
    cpu_set_t cpus;
    if (getrandom(&random, sizeof random, 0) < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
        getrusage(RUSAGE_THREAD, &usage) < 0 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) < 0 ||
        sched_getaffinity(0, sizeof cpus, &cpus) < 0)
        return -errno;
    return 0;
}

static int do_bury(void)
{
    int status = 0;
    if (waitpid(dead, &status, 0) != dead)
        return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 0 : 1;
}

static void test_works(void **state)
{
    static const struct attempt attempts[] = {
        {"a thread", do_thread},           {"memory", do_memory}, {"waiting", do_wait},
        {"passing a descriptor", do_pass}, {"reading", do_read},  {"waiting for the launcher", do_bury},
    };
    (void)state;
    if (!HAS_FILTER)
        skip();
    rig_all(attempts, sizeof attempts / sizeof *attempts, 0);
}

static int do_abort(void)
{
    abort();
}

static void test_aborts(void **state)
{
    int status;
    const struct sandbox sandbox = {0};
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(rig_prepare() == 0 && sandbox_enter(&sandbox) == 0 ? do_abort() : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/*** Sockets' files ***/

static int do_rename(void)
{
    char from[128], to[128];
    int rc = rig_error(rename(rig_path(from, folder, "own.sock"), rig_path(to, folder, "own.sock.leaving")));
    return rc == 0 ? rig_error(unlink(to)) : rc;
}

static int try_rename_away(void)
{
    char from[128], to[128];
    return rig_error(rename(rig_path(from, folder, "own.sock"), rig_path(to, outside, "own.sock")));
}

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

static void bind_socket(const char *path, int *fd)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    *fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(*fd >= 0);
    unlink(path);
    assert_int_equal(bind(*fd, (struct sockaddr *)&name, sizeof name), 0);
}

/* Landlock is what holds here: the filter lets these calls through. */
static void test_own_sockets(void **state)
{
    char path[128];
    const char *const paths[] = {path, NULL};
    const struct sandbox sandbox = {.sockets = paths}, none = {0};
    int fd;
    (void)state;
    if (!HAS_FILTER)
        skip();
    bind_socket(rig_path(path, folder, "own.sock"), &fd);
    assert_int_equal(rig_in_sandbox(&none, do_rename), -EPERM);
    if (has_landlock()) {
        assert_int_equal(rig_in_sandbox(&sandbox, try_unlink), -EACCES);
        int rc = rig_in_sandbox(&sandbox, try_rename_away);
        assert_true(rc == -EXDEV || rc == -EACCES);
    }
    assert_int_equal(rig_in_sandbox(&sandbox, try_make), -EPERM);
    assert_int_equal(rig_in_sandbox(&sandbox, do_rename), 0);
    close(fd);
}

/*** The service manager ***/

static int do_notify(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char path[128];
    snprintf(name.sun_path, sizeof name.sun_path, "%s", (char *)rig_path(path, folder, "notify"));
    return fd < 0 ? -errno : rig_error(sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&name, sizeof name));
}

static void must_hear(int fd)
{
    char said[8] = "";
    assert_int_equal(recv(fd, said, sizeof said, MSG_DONTWAIT), 7);
    assert_memory_equal(said, "READY=1", 7);
}

static void test_notify(void **state)
{
    char path[128];
    const struct sandbox sandbox = {.notify = rig_path(path, folder, "notify")};
    int fd;
    (void)state;
    bind_socket(path, &fd);
    assert_int_equal(rig_in_sandbox(&sandbox, do_notify), 0);
    must_hear(fd);
    if (HAS_FILTER) {
        assert_int_equal(rig_in_sandbox(&sandbox, try_unix), -EPERM);
        assert_int_equal(rig_in_sandbox(&sandbox, try_inet), -EPERM);
    }
    close(fd);
}

/*** What the kernel says of it ***/

/* The value of a line of the process's status, in that base; ~0 when there is none. */
static unsigned long long status_of(const char *name, int base)
{
    static char text[16384];
    ssize_t n = pread(status_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    const char *line = strstr(text, name);
    return line ? strtoull(line + strlen(name), NULL, base) : ~0ULL;
}

static int look_at_status(void)
{
    if (status_of("\nNoNewPrivs:", 10) != 1)
        return 1;
    if (status_of("\nCapInh:", 16) != 0 || status_of("\nCapPrm:", 16) != 0 ||
        status_of("\nCapEff:", 16) != 0 || status_of("\nCapAmb:", 16) != 0)
        return 2;
    return HAS_FILTER && status_of("\nSeccomp:", 10) != 2 ? 3 : 0;
}

static void test_status(void **state)
{
    const struct sandbox sandbox = {0};
    (void)state;
    assert_int_equal(rig_in_sandbox(&sandbox, look_at_status), 0);
}

/*** Root's ***/

static int is_sealed(void)
{
    char path[128];
    struct stat st;
    if (access("/etc/passwd", F_OK) == 0 || errno != ENOENT)
        return 1;
    if (access("/proc", F_OK) == 0 || access(rig_path(path, outside, "file"), F_OK) == 0)
        return 2;
    if (stat("/", &st) < 0 ||
        st.st_nlink != 3) /* itself twice, and the way to the service manager's socket */
        return 3;
    if (mkdir("/new", 0700) == 0 || errno != EROFS)
        return 4;
    return 0;
}

static bool has_capability(int capability)
{
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    int keep = status_fd;
    status_fd = fd;
    bool has = status_of("\nCapEff:", 16) >> capability & 1;
    status_fd = keep;
    close(fd);
    return has;
}

static int as_root(const struct sandbox *sandbox)
{
    if (rig_prepare() < 0 || sandbox_prepare(sandbox) < 0)
        return SETUP_FAILED;
    int rc = HAS_ROOT ? is_sealed() : 0;
    if (rc != 0)
        return rc;
    if (setresgid(54321, 54321, 54321) < 0 || setresuid(54321, 54321, 54321) < 0 ||
        sandbox_enter(sandbox) < 0)
        return SETUP_FAILED;
    if (look_at_status() != 0)
        return 10 + look_at_status();
    if (status_of("\nCapBnd:", 16) != 0)
        return 20;
    return do_notify();
}

static void test_root(void **state)
{
    enum { SETPCAP = 8, SYS_ADMIN = 21 };
    char path[128];
    const struct sandbox sandbox = {.notify = rig_path(path, folder, "notify")};
    int fd, status = 0;
    (void)state;
    if (geteuid() != 0 || !has_capability(SETPCAP) || !has_capability(SYS_ADMIN))
        skip();
    bind_socket(path, &fd);
    assert_int_equal(chmod(path, 0666), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(as_root(&sandbox) & 0xff);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    must_hear(fd);
    close(fd);
    assert_int_equal(access("/proc/self", F_OK), 0); /* out here nothing has changed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_works),  cmocka_unit_test(test_aborts),      cmocka_unit_test(test_notify),
        cmocka_unit_test(test_status), cmocka_unit_test(test_own_sockets), cmocka_unit_test(test_root),
    };
    return cmocka_run_group_tests_name("sandbox", tests, rig_set_up, rig_tear_down);
}
