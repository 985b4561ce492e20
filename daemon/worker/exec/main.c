/*
 * pmap-exec: runs users' commands, filters and pipes for pmap-worker (daemon/worker/host.h). It is small, and
 * stays so, because a process that it starts inherits its size as the peak of its memory (getrusage(2) after
 * vfork and exec). Linked statically it has 0.8 MB, dynamically 1.7; /bin/true has 1.0.
 */
#include "daemon/worker/exec/clock.h"
#include "daemon/worker/exec/run.h"
#include "daemon/worker/exec/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KINDS = 3 };
static const struct kind *const kinds[KINDS] = {&command_kind, &filter_kind, &pipe_kind};

static bool number(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *text >= '0' && *text <= '9';
}

/* RESOURCE:SOFT:HARD */
static bool limit(struct job *job, char *text)
{
    uint64_t resource, soft, hard;
    char *rest = NULL;
    const char *parts[3];
    for (int i = 0; i < 3; i++)
        if (!(parts[i] = strtok_r(i == 0 ? text : NULL, ":", &rest)))
            return false;
    return number(parts[0], &resource) && number(parts[1], &soft) && number(parts[2], &hard) &&
           resource < INT_MAX && spawn_limit(&job->spawner, (int)resource, soft, hard) == 0;
}

/* Reads the command line. Returns the kind, or NULL. */
static const struct kind *options(int argc, char **argv, struct job *job)
{
    enum { TIMEOUT = 256, GRACE, RETRIES, RECYCLE, LIVE, FIELDS, JOBSERVER, PLACEHOLDER, RLIMIT };
    static const struct option names[] = {{"timeout", required_argument, NULL, TIMEOUT},
                                          {"grace", required_argument, NULL, GRACE},
                                          {"retries", required_argument, NULL, RETRIES},
                                          {"recycle", required_argument, NULL, RECYCLE},
                                          {"live", no_argument, NULL, LIVE},
                                          {"fields", no_argument, NULL, FIELDS},
                                          {"jobserver", no_argument, NULL, JOBSERVER},
                                          {"placeholder", required_argument, NULL, PLACEHOLDER},
                                          {"rlimit", required_argument, NULL, RLIMIT},
                                          {0}};
    const struct kind *kind = NULL;
    for (size_t i = 0; argc > 1 && i < KINDS; i++)
        if (strcmp(argv[1], kinds[i]->name) == 0)
            kind = kinds[i];
    optind = 2;
    bool fine = true;
    uint64_t timeout_ms = 0, grace_ms = 0;
    for (int option; fine && (option = getopt_long(argc, argv, "+", names, NULL)) >= 0;) {
        switch (option) {
        case TIMEOUT:
            fine = number(optarg, &timeout_ms) && timeout_ms <= UINT32_MAX;
            break;
        case GRACE:
            fine = number(optarg, &grace_ms) && grace_ms <= UINT32_MAX;
            break;
        case RETRIES:
            fine = number(optarg, &job->retries);
            break;
        case RECYCLE:
            fine = number(optarg, &job->recycle);
            break;
        case LIVE:
            job->live = true;
            break;
        case FIELDS:
            job->fields = true;
            break;
        case JOBSERVER:
            job->jobserver.wanted = true;
            break;
        case PLACEHOLDER:
            job->placeholder = optarg;
            break;
        case RLIMIT:
            fine = limit(job, optarg);
            break;
        default:
            fine = false;
        }
    }
    job->timeout_ns = (int64_t)timeout_ms * NS_PER_MS;
    job->grace_ns = (int64_t)grace_ms * NS_PER_MS;
    job->argv = argv + optind;
    job->argc = (size_t)(argc - optind);
    return fine && job->argc > 0 ? kind : NULL;
}

/* Nothing but stdin, stdout and stderr is for users' processes. */
static int own_descriptors(void)
{
    if (fcntl(HOST_SOCKET, F_SETFD, FD_CLOEXEC) < 0 || fcntl(HOST_ARENA, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    closefrom(HOST_ARENA + 1);
    return 0;
}

/* Prepares the job. Returns 0, or -1: job->bad says why not. */
static int begin(struct job *job, const struct kind *kind)
{
    job->link.socket = HOST_SOCKET;
    int rc = own_descriptors();
    group_take(&job->spawner.group);
    if (rc == 0)
        rc = tree_init();
    if (rc == 0)
        rc = job->signals = spawn_signals(&job->spawner);
    if (rc < 0) {
        snprintf(job->bad, sizeof job->bad, "cannot run commands: %s", strerror(-rc));
        return -1;
    }
    usage_watch(&job->spawner.group);
    output_init(&job->output, &job->link, job->live);
    return kind->start(job);
}

/* Serves chunks until the worker goes. Returns 0, or -1: the job cannot be run. */
static int serve(struct job *job, const struct kind *kind)
{
    link_send(&job->link, HOST_READY);
    for (;;) {
        while (!job->link.chunk && !job->link.gone)
            link_wait(&job->link, NEVER_NS);
        if (job->link.gone)
            return 0;
        job->link.chunk = false;
        int rc = output_open(&job->output);
        if (rc < 0) {
            snprintf(job->bad, sizeof job->bad, "cannot read the items: %s", strerror(-rc));
            return -1;
        }
        if (kind->chunk(job) < 0)
            return -1;
        arena_idle(&job->output.view);
        output_rewind(&job->output);
        if (!job->link.gone)
            link_send(&job->link, HOST_END);
    }
}

int main(int argc, char **argv)
{
    static struct job job;
    const struct kind *kind = options(argc, argv, &job);
    if (!kind) {
        fprintf(stderr, "pmap-exec: is started by pmap-worker\n");
        return 2;
    }
    int rc = begin(&job, kind);
    if (rc == 0)
        rc = serve(&job, kind);
    if (rc < 0)
        link_bad(&job.link, job.bad);
    kind->stop(&job);
    return rc < 0 ? 1 : 0;
}
