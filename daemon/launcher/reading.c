/* Reading the configuration again, in a child; see reading.h. */
#include "daemon/launcher/reading.h"

#include "daemon/common/config_pack.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    DEADLINE_S = 30, /* for all names: a name service may hang */
    EXIT_WRONG = 1,  /* the line has been written */
};

static void write_line(int fd, const char *line)
{
    if (ftruncate(fd, 0) < 0 || pwrite(fd, line, strlen(line), 0) < 0)
        return; /* an empty line is one, too */
}

static _Noreturn void read_child(const char *path, int fd)
{
    struct config config;
    char error[CONFIG_ERROR_MAX];
    alarm(DEADLINE_S);
    if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL) < 0)
        _exit(EXIT_WRONG);
    int rc = config_load(path, &config, error);
    if (rc == 0 && (rc = config_pack(&config, fd)) < 0)
        snprintf(error, sizeof error, "cannot pass the configuration on: %s", strerror(-rc));
    if (rc < 0)
        write_line(fd, error);
    _exit(rc < 0 ? EXIT_WRONG : EXIT_SUCCESS);
}

int reading_start(struct reading *reading, const char *path, uint32_t token)
{
    int fd = memfd_create("pmapd.conf", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        read_child(path, fd);
    if (pid < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    *reading = (struct reading){.pid = pid, .token = token, .fd = fd};
    return 0;
}

int reading_end(struct reading *reading, int status, struct config *config)
{
    int rc = -EINVAL;
    reading->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS) {
        rc = config ? config_unpack(reading->fd, config) : -ENOMEM;
        if (rc < 0)
            write_line(reading->fd, "the configuration cannot be passed on");
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_WRONG) {
        write_line(reading->fd, "reading the configuration takes too long, or its reader was killed");
        rc = -ETIMEDOUT;
    }
    return rc;
}
