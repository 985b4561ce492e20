/*
 * The broker's sandbox: what fails in it, and what ends it.
 */
#include "sandbox_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

/*** What fails ***/

static int try_open(void)
{
    return rig_error(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}
static int try_make(void)
{
    return rig_make_file(folder, "new");
}
static int try_stat(void)
{
    struct stat st;
    return rig_error(stat("/etc/passwd", &st));
}
static int try_list(void)
{
    char room[4096];
    return rig_error(syscall(SYS_getdents64, status_fd, room, sizeof room));
}
static int try_chdir(void)
{
    return rig_error(chdir("/tmp"));
}
static int try_chmod(void)
{
    return rig_error(chmod(folder, 0777));
}
static int try_unlink(void)
{
    char path[128];
    return rig_error(unlink(rig_path(path, outside, "file")));
}
static int try_inet(void)
{
    return rig_error(socket(AF_INET, SOCK_STREAM, 0));
}
static int try_unix(void)
{
    return rig_error(socket(AF_UNIX, SOCK_STREAM, 0));
}
static int try_datagram(void)
{
    return rig_error(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}
static int try_netlink(void)
{
    return rig_error(socket(AF_NETLINK, SOCK_RAW, 0));
}
static int try_bind(void)
{
    struct sockaddr name = {.sa_family = AF_INET};
    return rig_error(bind(inet_fd, &name, sizeof name));
}
static int try_connect(void)
{
    struct sockaddr name = {.sa_family = AF_INET};
    return rig_error(connect(inet_fd, &name, sizeof name));
}
static int try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return rig_error(pid);
}
static int try_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -errno
                                                                                                     : 0;
}
static int try_make_code(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? 1 : rig_error(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
}
static int try_kill(void)
{
    return rig_error(kill(alive, SIGTERM));
}
static int try_tgkill(void)
{
    return rig_error(syscall(SYS_tgkill, alive, alive, SIGTERM));
}
static int try_pidfd(void)
{
    return rig_error(syscall(SYS_pidfd_open, alive, 0));
}
static int try_limit(void)
{
    const struct rlimit limit = {16, 16};
    return rig_error(setrlimit(RLIMIT_NOFILE, &limit));
}
static int try_type(void)
{
    return rig_error(ioctl(0, TIOCSTI, "x"));
}
static int try_setuid(void)
{
    return rig_error(syscall(SYS_setuid, 0));
}
static int try_own(void)
{
    return rig_error(fcntl(pair[0], F_SETOWN, alive));
}
static int try_dumpable(void)
{
    return rig_error(prctl(PR_SET_DUMPABLE, 1));
}

static void test_fails(void **state)
{
    static const struct attempt attempts[] = {
        {"open", try_open},
        {"open to write", try_make},
        {"stat", try_stat},
        {"getdents", try_list},
        {"chdir", try_chdir},
        {"chmod", try_chmod},
        {"unlink", try_unlink},
        {"an internet socket", try_inet},
        {"a stream socket", try_unix},
        {"a datagram socket", try_datagram},
        {"netlink", try_netlink},
        {"bind", try_bind},
        {"connect", try_connect},
        {"fork", try_fork},
        {"code", try_code},
        {"memory to code", try_make_code},
        {"kill", try_kill},
        {"tgkill", try_tgkill},
        {"pidfd_open", try_pidfd},
        {"setrlimit", try_limit},
        {"TIOCSTI", try_type},
        {"setuid", try_setuid},
        {"F_SETOWN", try_own},
        {"PR_SET_DUMPABLE", try_dumpable},
    };
    (void)state;
    if (!HAS_FILTER)
        skip();
    rig_all(attempts, sizeof attempts / sizeof *attempts, -EPERM);
}

/*** What ends it ***/

static int try_execve(void)
{
    char *const arguments[] = {NULL};
    return rig_error(execve("/bin/true", arguments, arguments));
}
static int try_execveat(void)
{
    char *const arguments[] = {NULL};
    return rig_error(syscall(SYS_execveat, status_fd, "", arguments, arguments, AT_EMPTY_PATH));
}
static int try_ptrace(void)
{
    return rig_error(ptrace(PTRACE_SEIZE, alive, NULL, NULL));
}
static int try_read_memory(void)
{
    char room[8];
    struct iovec own = {room, sizeof room}, other = {folder, sizeof room};
    return rig_error(process_vm_readv(alive, &own, 1, &other, 1, 0));
}
static int try_unshare(void)
{
    return rig_error(unshare(CLONE_NEWUSER));
}
static int try_mount(void)
{
    return rig_error(mount("none", folder, "tmpfs", 0, NULL));
}
static int try_chroot(void)
{
    return rig_error(chroot(folder));
}
static int try_bpf(void)
{
    return rig_error(syscall(SYS_bpf, 0, NULL, 0));
}
static int try_io_uring(void)
{
    return rig_error(syscall(SYS_io_uring_setup, 1, NULL));
}
static int try_keyctl(void)
{
    return rig_error(syscall(SYS_keyctl, 0, -3, 0));
}
static int try_thread_space(void)
{
    const unsigned long flags =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWUSER;
    return rig_error(syscall(SYS_clone, flags, NULL, NULL, NULL, 0));
}

static void test_ends(void **state)
{
    static const struct attempt attempts[] = {
        {"execve", try_execve},           {"execveat", try_execveat},
        {"ptrace", try_ptrace},           {"process_vm_readv", try_read_memory},
        {"unshare", try_unshare},         {"mount", try_mount},
        {"chroot", try_chroot},           {"bpf", try_bpf},
        {"io_uring_setup", try_io_uring}, {"keyctl", try_keyctl},
    };
    (void)state;
    if (!HAS_FILTER)
        skip();
    rig_all(attempts, sizeof attempts / sizeof *attempts, KILLED);
    assert_int_equal(rig_in_sandbox(&(const struct sandbox){0}, try_thread_space), -EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fails), cmocka_unit_test(test_ends)};
    return cmocka_run_group_tests_name("sandbox", tests, rig_set_up, rig_tear_down);
}
