/*
 * Processes that enter the sandbox; see sandbox_rig.h.
 */
#include "sandbox_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

int pair[2], status_fd, inet_fd;
pid_t alive, dead;
char folder[64], outside[64];

char *rig_path(char room[128], const char *where, const char *name)
{
    snprintf(room, 128, "%s/%s", where, name);
    return room;
}

int rig_make_file(const char *where, const char *name)
{
    char path[128];
    int fd = open(rig_path(path, where, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : close(fd);
}

int rig_set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/pmap-sandbox.XXXXXX");
    strcpy(outside, "/tmp/pmap-sandbox.XXXXXX");
    if (!mkdtemp(folder) || !mkdtemp(outside) || rig_make_file(folder, "own.sock") < 0 ||
        rig_make_file(outside, "file") < 0)
        return -1;
    return chmod(folder, 0755);
}

int rig_tear_down(void **state)
{
    static const char *const names[] = {"own.sock", "own.sock.leaving", "file", "notify"};
    char path[128];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unlink(rig_path(path, folder, names[i]));
        unlink(rig_path(path, outside, names[i]));
    }
    return rmdir(folder) < 0 || rmdir(outside) < 0 ? -1 : 0;
}

/*** Each in a process of its own ***/

int rig_prepare(void)
{
    const struct rlimit no_core = {0};
    setrlimit(RLIMIT_CORE, &no_core); /* of those that are killed */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    inet_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* It lives until its end of file: a signal for the parent's death would not come from another uid. */
    int leash[2];
    char byte;
    if (pipe2(leash, O_CLOEXEC) < 0)
        return -1;
    alive = fork();
    if (alive == 0) {
        close(leash[1]);
        _exit(read(leash[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(leash[0]);
    dead = fork();
    if (dead == 0)
        _exit(7);
    return status_fd < 0 || alive < 0 || dead < 0 ? -1 : 0;
}

/* What the attempt returns there, KILLED when it ended the process with SIGSYS. */
int rig_in_sandbox(const struct sandbox *sandbox, int (*attempt)(void))
{
    int report[2], result = SETUP_FAILED, status = 0;
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int said = SETUP_FAILED;
        close(report[0]);
        if (rig_prepare() == 0 && sandbox_enter(sandbox) == 0)
            said = attempt();
        _exit(write(report[1], &said, sizeof said) == sizeof said ? 0 : 1);
    }
    close(report[1]);
    ssize_t n = read(report[0], &result, sizeof result);
    close(report[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (n == 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        return KILLED;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(n, sizeof result);
    return result;
}

void rig_all(const struct attempt *attempts, size_t count, int want)
{
    for (size_t i = 0; i < count; i++) {
        int rc = rig_in_sandbox(&(const struct sandbox){0}, attempts[i].attempt);
        if (rc != want)
            fail_msg("%s: %d (%s)", attempts[i].name, rc, rc < 0 ? strerror(-rc) : "");
    }
}

int rig_error(long rc)
{
    return rc < 0 ? -errno : 0;
}
