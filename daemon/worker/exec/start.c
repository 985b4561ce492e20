/* Starting a process for an item, and saying in words why that does not work. */
#include "daemon/worker/exec/clock.h"
#include "daemon/worker/exec/run.h"
#include "daemon/worker/exec/usage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* When the system is short of something: this often, after 10, 20, 40 … ms. */
enum { TRIES = 7, FIRST_PAUSE_NS = 10 * NS_PER_MS };

/* May it be otherwise in a moment? */
static bool passes(int error)
{
    return error == -EAGAIN || error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -ETXTBSY;
}

/* Is it about this item rather than about the program? */
static bool of_item(int error)
{
    return passes(error) || error == -E2BIG;
}

static void say(char *text, size_t size, const char *name, const char *path, int error)
{
    char found[PATH_MAX];
    const char *why = strerror(-error);
    if (error == -ENOENT && *path && spawn_find(path, found) == 0)
        why = "the interpreter that it names does not exist";
    snprintf(text, size, "cannot run '%.200s': %s", name, why);
}

static int start_once(struct job *job, char **argv, char *const *envp, const char *path, bool feed,
                      struct process *process)
{
    int64_t pause_ns = FIRST_PAUSE_NS;
    for (int i = 1;; i++) {
        int rc = spawn_process(&job->spawner, path, argv, envp, feed, process);
        if (!passes(rc) || i == TRIES)
            return rc;
        for (int64_t until = now_ns() + pause_ns; now_ns() < until;) {
            if (link_given_up(&job->link))
                return -ECANCELED;
            link_wait(&job->link, until);
        }
        pause_ns *= 2;
    }
}

int run_start(struct job *job, char **argv, char *const *envp, bool varies, bool feed,
              struct process *process, char why[NOTE_TEXT])
{
    static char varying[PATH_MAX];
    char *path = varies ? varying : job->spawner.path;
    /* What was found before may have gone, or have come in another place. */
    bool remembered = !varies && *path;
    if (group_renew(&job->spawner.group))
        usage_watch(&job->spawner.group);
    int rc = remembered ? 0 : spawn_find(argv[0], path);
    if (rc == 0)
        rc = start_once(job, argv, envp, path, feed, process);
    if (rc == -ENOENT && remembered) {
        rc = spawn_find(argv[0], path);
        if (rc == 0)
            rc = start_once(job, argv, envp, path, feed, process);
    }
    if (rc == 0 || rc == -ECANCELED)
        return rc;
    if (varies || of_item(rc)) {
        say(why, NOTE_TEXT, argv[0], path, rc);
        return rc;
    }
    say(job->bad, sizeof job->bad, argv[0], path, rc);
    return JOB_BAD;
}
