/* Running one process to its end; see run.h. */
#include "daemon/worker/exec/run.h"

#include "common/protocol.h"
#include "daemon/worker/exec/clock.h"
#include "daemon/worker/exec/usage.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LEFTOVER_NS = 10 * NS_PER_MS, /* for what outlives the item's process to come to its own end */
    ROUND_NS = 5 * NS_PER_MS,     /* between two rounds of killing */
    DYING_MS = 10000,             /* for what was killed to die, when the worker has gone */
    READ_MOST = 1 << 20,
    TOUCHED_MOST = 128 << 10, /* the resident set may grow so far before it is made small again */
};

enum phase {
    RUNS,
    ENDING,  /* it was told to, or only its leftovers are there; killed at kill_ns */
    KILLING, /* the next round is at kill_ns */
};
struct run {
    struct job *job;
    struct process *process;
    struct feed *feed;
    struct outcome *outcome;
    enum phase phase;
    int64_t deadline_ns, kill_ns;
    uint64_t round_over; /* KILLING: as soon as so many have been reaped there is another round */
    int64_t full_since_ns;
    enum tree_left left;
    bool hopeless;         /* what is left cannot be killed, or does not die of it */
    int64_t gone_ns;       /* when the worker had gone */
    bool counted;          /* the process has ended, and: */
    size_t rest, rest_err; /* bytes that are still in its pipes */
};

enum { SOCKET, SIGNALS, IN, OUT, ERR, TOKENS, POLLED };

static bool tree_gone(const struct run *r)
{
    return r->hopeless || (r->outcome->reaped.ended && r->left == TREE_NONE);
}

static int64_t next_event_ns(const struct run *r)
{
    const struct output *o = &r->job->output;
    int64_t until = output_tell_ns(o);
    if (r->phase != RUNS)
        return earlier(until, r->kill_ns);
    return o->full ? until : earlier(until, r->deadline_ns);
}

static void wait_for_events(struct run *r, struct pollfd polled[POLLED])
{
    const struct process *p = r->process;
    bool reads = !r->job->output.full;
    polled[SOCKET] = (struct pollfd){.fd = r->job->link.socket, .events = POLLIN};
    polled[SIGNALS] = (struct pollfd){.fd = r->job->signals, .events = POLLIN};
    polled[IN] = (struct pollfd){.fd = p->in, .events = POLLOUT};
    polled[OUT] = (struct pollfd){.fd = reads ? p->out : -1, .events = POLLIN};
    polled[ERR] = (struct pollfd){.fd = reads ? p->err : -1, .events = POLLIN};
    const struct jobserver *js = &r->job->jobserver;
    polled[TOKENS] = (struct pollfd){.fd = js->open ? js->returned : -1, .events = POLLIN};
    poll_until(polled, POLLED, r->left == TREE_MORE ? 0 : next_event_ns(r));
}

/* Takes what is in a pipe, once. Returns the bytes taken. */
static size_t take(struct run *r, int *fd, bool err, size_t most)
{
    ssize_t n = output_read(&r->job->output, *fd, err, most);
    if (n > 0)
        return (size_t)n;
    if (n == -EAGAIN)
        return 0;
    if (n == -ENOSPC && r->job->output.full) {
        r->full_since_ns = now_ns();
        return 0;
    }
    if (n < 0) {
        /* What it writes is lost, so that it needs no more time. */
        r->outcome->error = (int)n;
        r->phase = KILLING;
        r->kill_ns = 0;
    }
    close(*fd);
    *fd = -1;
    return 0;
}

static void feed_some(struct run *r)
{
    ssize_t n = feed_write(r->feed, r->process->in);
    /* EPIPE: it has closed its stdin, as head does; that is no failure. */
    if (feed_over(r->feed) || (n < 0 && n != -EAGAIN))
        process_close_in(r->process);
}

static void end_begin(struct run *r, int64_t grace_ns, int64_t now)
{
    r->phase = grace_ns > 0 ? ENDING : KILLING;
    r->kill_ns = now + grace_ns;
    if (grace_ns > 0)
        tree_signal(SIGTERM);
}

/* Returns whether there was something to kill, and in *round_over at which count of reaped ones it is all
 * dead. */
static bool kill_all(struct job *job, const struct reaped *reaped, uint64_t *round_over)
{
    group_kill(&job->spawner.group);
    size_t killed = tree_kill();
    *round_over = killed > 0 ? reaped->count + killed : UINT64_MAX;
    return killed > 0;
}

/* Decides whether anything is to be ended. */
static void watch(struct run *r, int64_t now)
{
    struct job *job = r->job;
    struct outcome *outcome = r->outcome;
    if (job->link.gone) {
        outcome->given_up = true;
        if (r->gone_ns == 0) {
            r->gone_ns = now;
            end_begin(r, 0, now);
        }
    } else if (job->link.drop && !outcome->given_up) {
        outcome->given_up = true;
        int64_t grace_ns = (int64_t)job->link.grace_ms * NS_PER_MS;
        if (r->phase == RUNS)
            end_begin(r, grace_ns, now);
        else
            r->kill_ns = earlier(r->kill_ns, now + grace_ns);
    }
    if (r->phase == RUNS && !outcome->reaped.ended && !job->output.full && now >= r->deadline_ns) {
        outcome->timed_out = true;
        end_begin(r, job->grace_ns, now);
    }
    if (r->phase == RUNS && outcome->reaped.ended && r->left != TREE_NONE) {
        r->phase = ENDING;
        r->kill_ns = now + LEFTOVER_NS;
    }
    if (r->phase == ENDING && now >= r->kill_ns)
        r->phase = KILLING;
    bool round = now >= r->kill_ns || outcome->reaped.count >= r->round_over;
    if (r->phase == KILLING && round && !tree_gone(r)) {
        bool killed = kill_all(r->job, &outcome->reaped, &r->round_over);
        r->kill_ns = now + ROUND_NS;
        if (r->gone_ns > 0)
            r->hopeless = !killed || now >= r->gone_ns + INT64_C(1) * DYING_MS * NS_PER_MS;
        else
            r->hopeless = !killed && outcome->reaped.ended;
    }
}

static void reap(struct run *r)
{
    struct signalfd_siginfo info;
    if (read(r->job->signals, &info, sizeof info) < 0 && errno != EAGAIN && errno != EINTR)
        r->job->link.gone = true; /* without it we would wait for ever */
    r->left = tree_reap(r->process->pid, &r->outcome->reaped);
}

static size_t in_pipe(int fd)
{
    int n = 0;
    return fd >= 0 && ioctl(fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/* With nobody left to write, takes what there is. Returns false where there is no room for it yet. */
static bool drain(struct run *r)
{
    struct process *p = r->process;
    if (!r->counted) {
        r->rest = in_pipe(p->out);
        r->rest_err = in_pipe(p->err);
        r->counted = true;
    }
    while (r->rest > 0 || r->rest_err > 0) {
        if (r->outcome->given_up || r->outcome->error < 0)
            return true;
        bool err = r->rest_err > 0;
        size_t *rest = err ? &r->rest_err : &r->rest;
        size_t n = take(r, err ? &p->err : &p->out, err, *rest);
        if (n == 0 && r->job->output.full)
            return false;
        *rest = n > 0 ? *rest - n : 0;
    }
    return true;
}

int job_find(struct job *job)
{
    int rc = spawn_find(job->argv[0], job->spawner.path);
    if (rc < 0)
        snprintf(job->bad, sizeof job->bad, "cannot run '%.200s': %s", job->argv[0], strerror(-rc));
    return rc < 0 ? JOB_BAD : 0;
}

void run_process(struct job *job, struct process *process, struct feed *feed, struct outcome *outcome)
{
    struct run r = {.job = job,
                    .process = process,
                    .feed = feed,
                    .outcome = outcome,
                    .round_over = UINT64_MAX,
                    .left = TREE_SOME};
    r.deadline_ns = job->timeout_ns > 0 ? outcome->started_ns + job->timeout_ns : NEVER_NS;
    while (!tree_gone(&r) || !drain(&r)) {
        struct pollfd polled[POLLED];
        jobserver_step(&job->jobserver, &job->link);
        wait_for_events(&r, polled);
        if (polled[SOCKET].revents)
            link_receive(&job->link);
        if (output_resumed(&job->output) && r.deadline_ns != NEVER_NS)
            r.deadline_ns += now_ns() - r.full_since_ns; /* the worker's time, not the item's */
        if (polled[IN].revents)
            feed_some(&r);
        if (polled[OUT].revents && !r.counted)
            take(&r, &process->out, false, READ_MOST);
        if (polled[ERR].revents && !r.counted && process->err >= 0)
            take(&r, &process->err, true, READ_MOST);
        if (polled[SIGNALS].revents || r.left == TREE_MORE)
            reap(&r);
        int64_t now = now_ns();
        if (outcome->reaped.ended && outcome->ended_ns == 0)
            outcome->ended_ns = now;
        watch(&r, now);
        output_tell(&job->output, now);
    }
    process_close(process);
    arena_cpu(&job->output.view, outcome->reaped.cpu_ns);
}

bool outcome_failed(const struct outcome *outcome)
{
    return outcome->timed_out || outcome->error < 0 || outcome->reaped.status != 0;
}

void note_error(struct job *job, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (len < 0)
        len = 0;
    arena_note(&job->output.view, NOTE_ERROR, 0, text,
               (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

void note_timeout(struct job *job)
{
    char text[64];
    int len = snprintf(text, sizeof text, "timed out after %g s", (double)job->timeout_ns / 1e9);
    arena_note(&job->output.view, NOTE_TIMEOUT, 0, text, (size_t)len);
}

void note_signal(struct job *job, int status)
{
    const char *text = WTERMSIG(status) == SIGKILL ? usage_out_of_memory() : NULL;
    if (!text)
        text = WCOREDUMP(status) ? "core dumped" : "";
    arena_note(&job->output.view, NOTE_SIGNAL, (uint16_t)WTERMSIG(status), text, strlen(text));
}

void outcome_note(struct job *job, const struct outcome *outcome)
{
    int status = outcome->reaped.status;
    if (outcome->error < 0)
        note_error(job, "its output cannot be kept for another attempt: %s", strerror(-outcome->error));
    else if (outcome->timed_out)
        note_timeout(job);
    else if (WIFSIGNALED(status))
        note_signal(job, status);
    else if (WEXITSTATUS(status) != 0)
        arena_note(&job->output.view, NOTE_EXIT, (uint16_t)WEXITSTATUS(status), NULL, 0);
}

void outcome_note_usage(struct job *job, const struct outcome *outcome)
{
    uint64_t peak = outcome->reaped.peak_bytes;
    struct usage usage = {.started_ns = (uint64_t)outcome->started_real_ns,
                          .cpu_ns = outcome->reaped.cpu_ns,
                          .peak_bytes = peak > job->own_peak ? peak : 0};
    uint8_t text[NOTE_USAGE_SIZE];
    usage_store(text, &usage);
    arena_note(&job->output.view, NOTE_USAGE, 0, text, sizeof text);
}

void note_attempts(struct job *job, uint64_t attempts)
{
    if (attempts > 1)
        arena_note(&job->output.view, NOTE_ATTEMPTS,
                   (uint16_t)(attempts < UINT16_MAX ? attempts : UINT16_MAX), NULL, 0);
}

void run_kill(struct job *job, pid_t process, struct reaped *reaped, int64_t most_ns)
{
    int64_t until = now_ns() + most_ns, round_ns = 0;
    uint64_t round_over = UINT64_MAX;
    enum tree_left left;
    while ((left = tree_reap(process, reaped)) != TREE_NONE && now_ns() < until) {
        if (left == TREE_MORE)
            continue;
        if (now_ns() >= round_ns || reaped->count >= round_over) {
            if (!kill_all(job, reaped, &round_over))
                break;
            round_ns = now_ns() + ROUND_NS;
        }
        struct pollfd polled = {.fd = job->signals, .events = POLLIN};
        struct signalfd_siginfo info;
        if (poll(&polled, 1, ROUND_NS / NS_PER_MS) > 0 && read(job->signals, &info, sizeof info) < 0 &&
            errno != EAGAIN && errno != EINTR)
            break;
    }
}

void run_shrink(struct job *job)
{
    struct view *v = &job->output.view;
    if (job->base_peak == 0 || v->touched > TOUCHED_MOST) {
        arena_shrink(v);
        usage_forget_peak();
        job->base_peak = usage_own_peak();
    }
    job->own_peak = job->base_peak + v->touched;
}
