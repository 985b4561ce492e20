/*
 * pmap-worker: runs chunks of one user's jobs, as that user, for pmapd. It supervises: users' functions run
 * in hosts, its children. This file is its start and its loop.
 */
#include "daemon/worker/worker.h"

#include "daemon/worker/reap.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum {
    TURN = 64, /* messages of the daemon's that are taken before a look at the hosts */
    CONNECT_MS = 10000,
};

void worker_check(struct worker *w, int rc)
{
    if (rc < 0 && w->error == 0)
        w->error = rc;
}

/* Reaps what has ended. Hosts go before everything else: what they left in the arena is looked at. */
static void reap(struct worker *w)
{
    int status;
    pid_t pid;
    while ((pid = reap_next(&status)) > 0) {
        struct host *host = hosts_reaped(&w->hosts, pid);
        if (host && host == w->run.host)
            blame_ended(w, status);
        else if (host)
            host_ended(host);
    }
}

static void read_signals(struct worker *w)
{
    struct signalfd_siginfo info;
    while (read(w->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            w->reap = true;
        else
            w->stop = true;
    }
}

static struct timespec time_until(int64_t due, int64_t now)
{
    int64_t left = due > now ? due - now : 0;
    return (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
}

/* Waits for something to happen, at most until `due`, and sees to it. */
static void wait_for(struct worker *w, int64_t due, int64_t now)
{
    enum { LINK, SOCKET, SIGNALS, OUTPUT, MONITOR, ITEMS };
    struct run *r = &w->run;
    const struct host *host = r->host;
    struct pollfd item[ITEMS] = {
        [LINK] = {.fd = w->link.fd, .events = POLLIN},
        [SOCKET] = {.fd = host && !host->closed ? host->socket : -1, .events = POLLIN},
        [SIGNALS] = {.fd = w->signals, .events = POLLIN},
        [OUTPUT] = {.fd = host ? host->output : -1, .events = POLLIN},
        [MONITOR] = {.fd = w->link.monitor_fd, .events = POLLIN},
    };
    if (w->reap)
        due = 0;
    struct timespec left = time_until(due, now);
    if (ppoll(item, ITEMS, due == INT64_MAX ? NULL : &left, NULL) < 0) {
        worker_check(w, errno == EINTR ? 0 : -errno);
        return;
    }
    if (item[LINK].revents != 0)
        w->link.look = true;
    /* What it wrote goes with the item that was under way, so that is read before the item's end is. */
    if (item[OUTPUT].revents != 0)
        run_read_output(w);
    if (item[SOCKET].revents != 0)
        (void)run_listen(w);
    if (item[SIGNALS].revents != 0)
        read_signals(w);
    if (w->reap) {
        w->reap = false;
        reap(w);
    }
    if (item[MONITOR].revents != 0)
        worker_check(w, link_watch(&w->link));
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void worker_listen(struct worker *w, int64_t until)
{
    int64_t now = now_ns(), due = hosts_tick(&w->hosts, now);
    wait_for(w, w->link.look ? 0 : earlier(due, until), now);
    while (w->link.look && w->error == 0 && !w->stop && serve(w, TURN))
        ;
}

void worker_await(struct worker *w, int64_t until)
{
    struct pollfd item[] = {{.fd = w->link.fd, .events = POLLIN},
                            {.fd = w->link.monitor_fd, .events = POLLIN},
                            {.fd = w->signals, .events = POLLIN}};
    int64_t now = now_ns(), due = earlier(until, hosts_tick(&w->hosts, now));
    if (w->link.look)
        due = 0;
    struct timespec left = time_until(due, now);
    if (ppoll(item, 3, due == INT64_MAX ? NULL : &left, NULL) < 0) {
        worker_check(w, errno == EINTR ? 0 : -errno);
        return;
    }
    w->link.look |= item[0].revents != 0;
    if (item[1].revents != 0)
        worker_check(w, link_watch(&w->link));
    if (item[2].revents != 0)
        read_signals(w); /* children are reaped later: their ends are no matter of ours here */
    while (w->link.look && w->error == 0 && !w->stop && serve(w, TURN))
        ;
}

static void work(struct worker *w)
{
    worker_check(w, link_watch(&w->link)); /* the descriptor tells of what comes after that */
    int64_t connect_by = now_ns() + CONNECT_MS * INT64_C(1000000);
    for (;;) {
        int64_t now = now_ns(), due = hosts_tick(&w->hosts, now);
        bool more = false;
        run_tick(w, now);
        run_step(w);
        while (w->link.look && !more && w->error == 0 && !w->stop) {
            more = serve(w, TURN);
            run_step(w);
        }
        if (w->stop || w->error < 0)
            return;
        if (!w->link.connected) {
            due = earlier(due, connect_by);
            worker_check(w, now > connect_by ? -ETIMEDOUT : 0);
        }
        due = more ? 0 : earlier(due, run_due(w));
        wait_for(w, due, now_ns());
    }
}

/*** Start ***/

/* The folder in which this program is, and the others are. */
static int own_folder(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    if (n < 0)
        return -errno;
    path[n] = '\0';
    char *end = strrchr(path, '/');
    if (!end)
        return -ENOENT;
    *end = '\0';
    return 0;
}

/* Outputs that wait have a descriptor for each chunk, so as many as there may be. */
static int raise_files(struct rlimit *given)
{
    if (getrlimit(RLIMIT_NOFILE, given) < 0)
        return -errno;
    struct rlimit most = {given->rlim_max, given->rlim_max};
    return setrlimit(RLIMIT_NOFILE, &most) < 0 ? -errno : 0;
}

static int open_signals(void)
{
    sigset_t all, taken;
    sigfillset(&all);
    sigemptyset(&taken);
    sigaddset(&taken, SIGCHLD);
    sigaddset(&taken, SIGTERM);
    sigaddset(&taken, SIGINT);
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

static bool number_from(const char *text, uint32_t least, uint32_t *out)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < least || value > UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

static void worker_end(struct worker *w)
{
    struct run *r = &w->run;
    struct chunk *c;
    struct job *job;
    if (r->chunk)
        TAILQ_INSERT_TAIL(&w->queue, r->chunk, link);
    TAILQ_CONCAT(&w->queue, &w->parked, link);
    while ((c = TAILQ_FIRST(&w->queue))) {
        TAILQ_REMOVE(&w->queue, c, link);
        chunk_free(w, c);
    }
    while ((job = LIST_FIRST(&w->jobs)))
        job_forget(job);
    hosts_end(&w->hosts);
    free(w->replay.data);
    out_free(&w->direct.out);
    free(w->space);
    link_close(&w->link);
}

int main(int argc, char **argv)
{
    static struct worker w;
    char folder[PATH_MAX];
    struct rlimit files;
    uint32_t number, slot;
    if (argc != 4 || !number_from(argv[2], 0, &number) || !number_from(argv[3], 1, &slot)) {
        fprintf(stderr, "pmap-worker is started by pmap-launcher: pmap-worker ENDPOINT NUMBER SLOT\n");
        return 2;
    }
    TAILQ_INIT(&w.queue);
    TAILQ_INIT(&w.parked);
    LIST_INIT(&w.jobs);
    run_init(&w.run);
    direct_init(&w.direct);
    w.signals = open_signals(); /* before libzmq has its thread */
    int rc = w.signals < 0 ? w.signals : reap_init();
    if (rc == 0)
        rc = own_folder(folder, sizeof folder);
    if (rc == 0)
        rc = raise_files(&files);
    if (rc < 0)
        return 1;
    hosts_init(&w.hosts, folder, slot, &files);
    w.space = malloc(sizeof *w.space);
    worker_check(&w, w.space ? 0 : -ENOMEM);
    worker_check(&w, link_open(&w.link, argv[1]));
    if (w.error == 0)
        worker_check(&w, link_ready(&w.link, number));
    if (w.error == 0)
        work(&w);
    worker_end(&w);
    return w.error < 0 ? 1 : 0;
}
