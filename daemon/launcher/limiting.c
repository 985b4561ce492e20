/* Putting limits into force, in a child; see limiting.h. */
#include "daemon/launcher/limiting.h"

#include "daemon/common/log.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void limiting_wish(struct wish *wishes, size_t *count, uid_t uid, const struct limits *limits)
{
    for (size_t i = 0; i < *count; i++) {
        if (wishes[i].uid == uid) {
            cgroups_larger_limits(&wishes[i].limits, limits);
            return;
        }
    }
    wishes[(*count)++] = (struct wish){uid, *limits};
}

/* Returns whether all of it has been done. */
static bool put(struct cgroups *groups, const struct wish *wishes, size_t count, uint64_t queued_bytes)
{
    static struct log_limits logged = LOG_LIMITS(5, 30, 60);
    int rc = cgroups_limit_broker(groups, queued_bytes);
    bool done = rc == 0;
    if (rc < 0)
        log_error("cannot change the broker's limit of memory: %s", strerror(-rc));
    for (size_t i = 0; i < count; i++) {
        rc = cgroups_apply_limits(groups, wishes[i].uid, &wishes[i].limits);
        done = done && rc == 0;
        if (rc < 0)
            log_limited_of(&logged, wishes[i].uid, LOG_ERR,
                           "cannot change the limits of the control group of uid %u: %s",
                           (unsigned)wishes[i].uid, strerror(-rc));
    }
    return done;
}

void limiting_start(struct limiting *limiting, struct cgroups *groups, const struct wish *wishes,
                    size_t count, uint64_t queued_bytes)
{
    if (limiting->pid > 0) {
        kill(limiting->pid, SIGKILL); /* not waited for: its number is its own */
        cgroups_doubt_limits(groups);
    }
    *limiting = (struct limiting){0};
    pid_t pid = fork();
    if (pid == 0) {
        bool done = prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL) == 0 &&
                    put(groups, wishes, count, queued_bytes);
        _exit(done ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    if (pid < 0) {
        (void)put(groups, wishes, count, queued_bytes);
        return;
    }
    limiting->pid = pid;
    for (size_t i = 0; i < count; i++)
        cgroups_note_limits(groups, wishes[i].uid, &wishes[i].limits);
}

bool limiting_end(struct limiting *limiting, struct cgroups *groups, int status)
{
    bool again = limiting->again;
    *limiting = (struct limiting){0};
    if (again || !WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS)
        cgroups_doubt_limits(groups);
    return again;
}
