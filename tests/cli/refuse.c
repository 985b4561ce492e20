/*
 * refuse ERRNO CALL... -- COMMAND...: runs a command for which, and for all that comes of it, these system
 * calls fail with this number, as a container's filter would have it that does not know them.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLS_MAX = 8 };

/* Returns the call's number, or -1. */
static long number_of(const char *name)
{
    static const struct {
        const char *name;
        long number;
    } known[] = {{"clone3", SYS_clone3}, {"close_range", SYS_close_range}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0)
            return known[i].number;
    }
    return -1;
}

static int refuse(const long *calls, size_t count, unsigned error)
{
    struct sock_filter code[CALLS_MAX + 3];
    size_t n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    /* Each jumps over those behind it and the leave to go on. */
    for (size_t i = 0; i < count; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i],
                                                 (uint8_t)(count - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
    const struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    /* As root; else only without new privileges. */
    if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
    long calls[CALLS_MAX];
    size_t count = 0;
    int at = 2;
    for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (count == CALLS_MAX || (calls[count++] = number_of(argv[at])) < 0)
            return 2;
    }
    long error = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
    if (at + 1 >= argc || count == 0 || error <= 0 || error >= 4096)
        return 2;
    int rc = refuse(calls, count, (unsigned)error);
    if (rc < 0) {
        fprintf(stderr, "refuse: %s\n", strerror(-rc));
        return 3;
    }
    execvp(argv[at + 1], argv + at + 1);
    fprintf(stderr, "refuse: %s: %s\n", argv[at + 1], strerror(errno));
    return 127;
}
