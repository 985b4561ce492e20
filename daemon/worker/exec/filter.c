/*
 * Filters: one lasting process; an item is a line on its stdin, and each line that it answers is the result
 * of the next item. Lines are written ahead as far as the pipe takes them. An item's time runs from the later
 * of "written" and "the answer before it" to its answer; answers that were read at once share the time
 * evenly.
 */
#include "common/protocol.h"
#include "daemon/worker/exec/buffering.h"
#include "daemon/worker/exec/clock.h"
#include "daemon/worker/exec/lasting.h"
#include "daemon/worker/exec/run.h"
#include "daemon/worker/exec/usage.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READ_SIZE = 64 << 10,
    READ_ERR = 1 << 20,
    AHEAD_NS = 20 * NS_PER_MS, /* of work that it may be given ahead */
    AHEAD_FIRST = 16,          /* items, before it is known what they take */
    AHEAD_LEAST = 2,
    /*
     * One that answers faster than this, and has enough to go on with, is left alone for a while between two
     * reads: it would wake us for every line that it writes (of 0.94 s of CPU time for 110,000 lines of sed
     * that took 0.2 s).
     */
    FAST_NS = 20000,
    NAP_NS = 300000,
    NAP_LEAST_NS = 50000,
    SETTLE_NS = 20 * NS_PER_MS, /* for it to come to rest after the last answer */
    SETTLE_STEP_NS = 50000,
};

/* The process, and what it has of the present chunk. */
static struct filter {
    struct lasting life;
    bool closed;               /* we have closed its stdin, so that it answers the rest and ends */
    bool at_end;               /* nothing more comes from its stdout */
    bool young;                /* it was started in this chunk */
    uint64_t answers;          /* in this chunk */
    uint64_t served;           /* answers in its life */
    uint64_t sent;             /* bytes, in this chunk */
    bool splits;               /* an item of this chunk holds a newline */
    struct feed feed;          /* ends where we write ahead to at present: */
    uint64_t ahead;            /* items that it may have unanswered */
    uint64_t limit;            /* the end of what it will be given: of the chunk, or of its own number */
    int64_t each_ns;           /* what an item takes, as of late; 0: unknown */
    double learnt_ns, learnt;  /* what that rests on: the time of so many answers, older ones counted less */
    int64_t wider_ns;          /* when to write further ahead if nothing has come */
    uint8_t buffer[READ_SIZE]; /* what was read and not taken yet */
    size_t at, filled;
    int64_t share_ns; /* the time of each answer in the buffer */
    int64_t last_ns;  /* when the answer before came */
    int64_t read_ns;  /* when to read again */
    int64_t full_since_ns;
    uint64_t offset;   /* of the present item */
    uint64_t attempts; /* at the present item that have failed */
    struct stall stall;
} f;

/* It was seen to keep its answers until its stdin ends: it is given one chunk a process from now on. */
static bool buffers;

/* How an item failed. */
struct failure {
    enum note_kind kind;
    int status; /* SIGNAL */
    char text[NOTE_TEXT];
};

/* Is it one that no line can hold? Most chunks have none, which is seen once for all their items. */
static bool splits(const struct view *view, uint64_t item, uint64_t offset)
{
    return f.splits && feed_splits(view, item, offset);
}

/* It is to be fed from the present item on. */
static void feed_from_here(struct job *job)
{
    const struct view *v = &job->output.view;
    f.feed = (struct feed){.view = v, .item = v->item, .end = v->item, .offset = f.offset, .lines = f.splits};
    uint64_t left = job->recycle > f.served ? job->recycle - f.served : 1;
    f.limit = job->recycle > 0 && left < v->count - v->item ? v->item + left : v->count;
    f.sent = f.answers = 0;
}

/* Something has come or gone, so that it is not waiting for more. */
static void progress(int64_t now)
{
    stall_reset(&f.stall, now);
    f.wider_ns = now + AHEAD_NS;
}

/* Was it given all that it will be? */
static bool all_given(void)
{
    return f.feed.item >= f.limit;
}

/*
 * Says how far to write ahead: so much that it does not run dry, but not so much that a yield would have to
 * wait long for what it has been given. One that has read it all and answers nothing may want more first.
 */
static void look_ahead(const struct job *job, int64_t now)
{
    if (now >= f.wider_ns) {
        int unread = 0;
        if (f.life.process.in >= 0 && ioctl(f.life.process.in, FIONREAD, &unread) == 0 && unread == 0)
            f.ahead *= 2;
        f.wider_ns = now + AHEAD_NS;
    }
    uint64_t item = job->output.view.item, rest = f.limit > item ? f.limit - item : 0;
    uint64_t end = item + (f.ahead < rest && !buffers ? f.ahead : rest);
    if (job->link.yield)
        end = 0;
    uint64_t begun = f.feed.item + (f.feed.within > 0);
    f.feed.end = end > begun ? end : begun;
    if (job->link.yield)
        f.limit = f.feed.end;
}

/*
 * So many answers have taken so long. What an answer takes is the mean over the latest of them, and not that
 * of the reads' means: of one that is read alone it is mostly the wait for the CPU. What took longer than all
 * that may be written ahead is no such wait, and those before are no guide any more.
 */
static void learn(int64_t took_ns, int64_t answers)
{
    if (took_ns > AHEAD_NS)
        f.learnt_ns = f.learnt = 0;
    f.learnt_ns = 0.75 * f.learnt_ns + (double)took_ns;
    f.learnt = 0.75 * f.learnt + (double)answers;
    f.each_ns = (int64_t)(f.learnt_ns / f.learnt) + 1;
    uint64_t ahead = (uint64_t)(AHEAD_NS / f.each_ns);
    f.ahead = ahead < AHEAD_LEAST ? AHEAD_LEAST : ahead;
}

/*
 * When to read again, where so many answers that are still to be taken have been read now: before it can have
 * answered half of what it has left, or half of what the pipe takes, since it would wait for us with a full
 * one.
 */
static int64_t next_read_ns(const struct job *job, uint64_t answers, int64_t now)
{
    if (f.each_ns == 0 || f.each_ns > FAST_NS)
        return 0;
    uint64_t taken = job->output.view.item + answers, rest = f.feed.item > taken ? f.feed.item - taken : 0;
    uint64_t fits = answers * READ_SIZE / f.filled; /* READ_SIZE is what a pipe takes */
    int64_t nap_ns = (int64_t)(rest < fits ? rest : fits) * f.each_ns / 2;
    if (nap_ns > NAP_NS)
        nap_ns = NAP_NS;
    return nap_ns < NAP_LEAST_NS ? 0 : now + nap_ns;
}

static int launch(struct job *job, char why[NOTE_TEXT])
{
    int rc = lasting_start(&f.life, job, why);
    if (rc < 0)
        return rc;
    f.young = true;
    f.closed = f.at_end = false;
    f.served = 0;
    f.at = f.filled = 0;
    f.last_ns = now_ns();
    f.ahead = AHEAD_FIRST;
    f.each_ns = f.read_ns = 0;
    f.learnt_ns = f.learnt = 0;
    feed_from_here(job);
    progress(f.last_ns);
    return 0;
}

/* Begins the present item, having refused those that no line can hold. */
static void begin_item(struct job *job)
{
    struct output *o = &job->output;
    struct view *v = &o->view;
    bool waits = !arena_ready(v);
    int64_t before_ns = waits ? now_ns() : 0;
    int rc = 0;
    while (rc == 0 && v->item < v->count && splits(v, v->item, f.offset)) {
        rc = output_begin(o, false, f.last_ns);
        f.offset += v->lengths[v->item];
        note_error(job, "has a newline, which a filter's line cannot hold");
        output_done(o, 0, f.last_ns);
    }
    if (rc == 0 && v->item < v->count)
        output_begin(o, f.attempts < job->retries, f.last_ns);
    if (waits)
        f.last_ns += now_ns() - before_ns;
}

/* The present item has what it will get. */
static void end_item(struct job *job, uint64_t wall_ns)
{
    struct view *v = &job->output.view;
    if (job->output.held && output_release(&job->output) == -ECANCELED)
        return;
    note_attempts(job, f.attempts + 1);
    f.offset += v->lengths[v->item];
    f.attempts = 0;
    output_done(&job->output, wall_ns, f.last_ns);
    begin_item(job);
}

/* The present item has failed: it is tried again, or ends so. */
static void fail_item(struct job *job, const struct failure *failure)
{
    if (f.attempts < job->retries) {
        f.attempts++;
        output_rewind(&job->output);
        begin_item(job);
        return;
    }
    int64_t now = now_ns();
    int64_t wall_ns = now - f.last_ns;
    f.last_ns = now;
    if (failure->kind == NOTE_SIGNAL)
        note_signal(job, failure->status);
    else if (failure->kind == NOTE_TIMEOUT)
        note_timeout(job);
    else
        note_error(job, "%s", failure->text);
    end_item(job, (uint64_t)wall_ns);
}

static bool items_left(const struct job *job)
{
    return job->output.view.item < job->output.view.count && !link_given_up(&job->link);
}

/* Has it been given an item, or a part of it? */
static bool given(uint64_t item)
{
    return item < f.feed.item || (item == f.feed.item && f.feed.within > 0);
}

/* More came than was asked for: which answer is whose is not known any more. */
static void too_many(struct job *job)
{
    lasting_end(&f.life, job, 0, 0);
    fail_item(job, &(struct failure){.kind = NOTE_ERROR,
                                     .text = "the filter answered more lines than it was given"});
}

/* Is there no item behind the present one that it has been given? */
static bool was_last(const struct job *job)
{
    const struct view *v = &job->output.view;
    uint64_t next = v->item + 1, offset = f.offset + v->lengths[v->item];
    while (next < f.feed.item && splits(v, next, offset))
        offset += v->lengths[next++];
    return !given(next);
}

/*
 * It has answered all that it was given, and nothing waits to be given to it: does it say more all the same
 * before it comes to rest? With another chunk waiting this would be seen at that one's beginning.
 */
static bool says_more(const struct job *job)
{
    const struct view *v = &job->output.view;
    if (job->link.more || v->item + 1 < v->count)
        return false;
    struct pollfd out = {.fd = f.life.process.out, .events = POLLIN};
    const struct timespec step = {.tv_nsec = SETTLE_STEP_NS};
    for (int64_t end_ns = now_ns() + SETTLE_NS; now_ns() < end_ns;) {
        int unread = 0;
        bool rests =
            (f.life.process.in < 0 || (ioctl(f.life.process.in, FIONREAD, &unread) == 0 && unread == 0)) &&
            !tree_runs();
        if (ppoll(&out, 1, rests ? &(struct timespec){0} : &step, NULL) > 0)
            return out.revents & POLLIN;
        if (rests)
            return false;
    }
    return false;
}

/* Takes answers out of the buffer. */
static void take_answers(struct job *job)
{
    struct output *o = &job->output;
    while (f.at < f.filled && items_left(job) && f.life.alive && !o->full) {
        if (!given(o->view.item)) {
            too_many(job);
            return;
        }
        const uint8_t *line = f.buffer + f.at;
        const uint8_t *newline = memchr(line, '\n', f.filled - f.at);
        size_t len = newline ? (size_t)(newline - line) : f.filled - f.at;
        ssize_t n = len > 0 ? output_put(o, line, len) : 0;
        if (n == -ENOSPC && o->full) {
            f.full_since_ns = now_ns();
            return;
        }
        if (n < 0) {
            struct failure failure = {.kind = NOTE_ERROR};
            snprintf(failure.text, sizeof failure.text, "its answer cannot be kept for another attempt: %s",
                     strerror((int)-n));
            lasting_end(&f.life, job, 0, 0);
            f.attempts = job->retries;
            output_rewind(o);
            fail_item(job, &failure);
            return;
        }
        f.at += (size_t)n;
        if (!newline || (size_t)n < len)
            continue;
        f.at++;
        if (was_last(job) && (f.at < f.filled || says_more(job))) {
            too_many(job);
            return;
        }
        f.answers++;
        f.served++;
        end_item(job, (uint64_t)f.share_ns);
    }
}

/* When the present item's time began. */
static int64_t began_ns(const struct job *job)
{
    const struct view *v = &job->output.view;
    int64_t written_ns = v->item < f.feed.item ? (int64_t)v->out_times[v->item] : 0;
    return written_ns > f.last_ns ? written_ns : f.last_ns;
}

static void read_answers(struct job *job)
{
    ssize_t n;
    f.read_ns = 0;
    do
        n = read(f.life.process.out, f.buffer, sizeof f.buffer);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        /* With nobody left to write, empty is the end, whoever still holds the other end. */
        f.at_end = n == 0 || errno != EAGAIN || f.life.reaped.ended;
        return;
    }
    f.at = 0;
    f.filled = (size_t)n;
    int64_t now = now_ns(), lines = 0;
    for (const uint8_t *p = f.buffer; (p = memchr(p, '\n', f.filled - (size_t)(p - f.buffer))); p++)
        lines++;
    if (lines > 0) {
        int64_t took_ns = now - began_ns(job);
        learn(took_ns, lines);
        f.share_ns = took_ns / lines;
        f.last_ns = now;
    }
    f.read_ns = next_read_ns(job, (uint64_t)lines, now);
    progress(now);
}

static void write_items(struct job *job)
{
    uint64_t before = f.feed.item;
    ssize_t n = feed_write(&f.feed, f.life.process.in);
    if (n < 0 && n != -EAGAIN) {
        process_close_in(&f.life.process); /* it reads no more: then it ends, or says so by its silence */
        return;
    }
    int64_t now = now_ns();
    /* Where an answer will put the time: until then it is when the item was written. */
    for (uint64_t i = before; i < f.feed.item; i++)
        if (i >= job->output.view.item)
            job->output.view.out_times[i] = (uint64_t)now;
    if (n > 0)
        f.sent += (uint64_t)n;
    progress(now);
}

static void read_errors(struct job *job)
{
    ssize_t n = output_read(&job->output, f.life.process.err, true, READ_ERR);
    if (n == -ENOSPC && job->output.full) {
        f.full_since_ns = now_ns();
    } else if (n <= 0 && n != -EAGAIN) {
        close(f.life.process.err);
        f.life.process.err = -1;
    }
}

/* Has a process from before this chunk gone without having read anything of it? */
static bool never_read(void)
{
    int unread = 0;
    return !f.young && f.answers == 0 &&
           (f.life.process.in < 0 || ioctl(f.life.process.in, FIONREAD, &unread) < 0 ||
            (uint64_t)unread >= f.sent);
}

/* It has ended, and all that it wrote was taken. */
static void died(struct job *job)
{
    struct view *v = &job->output.view;
    while (f.life.process.err >= 0 && !job->output.full &&
           output_read(&job->output, f.life.process.err, true, READ_ERR) > 0)
        ;
    if (job->output.full) { /* once there is room, we come here again */
        f.full_since_ns = now_ns();
        return;
    }
    bool innocent = never_read() || (!given(v->item) && f.answers > 0);
    bool closed = f.closed;
    uint64_t end = f.feed.item;
    /* Not ended by itself: it has closed its stdout only. */
    bool hung = !lasting_goodbye(&f.life, job);
    int status = f.life.reaped.status;
    bool killed = !hung && WIFSIGNALED(status);
    /* A last line without its newline is an answer if the filter ended well. */
    if (v->bytes_used > v->item_bytes && !hung && status == 0 && v->item < end) {
        end_item(job, (uint64_t)(now_ns() - began_ns(job)));
        innocent = innocent || v->item >= end;
    }
    if (!items_left(job) || innocent) {
        output_rewind(&job->output);
        return;
    }
    struct failure failure = {.kind = killed ? NOTE_SIGNAL : NOTE_ERROR, .status = status};
    if (hung)
        snprintf(failure.text, sizeof failure.text, "the filter closed its output before it answered");
    else if (closed && status == 0)
        snprintf(failure.text, sizeof failure.text, "the filter answered fewer lines than it was given");
    else if (closed && !killed)
        snprintf(failure.text, sizeof failure.text,
                 "the filter answered fewer lines than it was given and exited with status %d",
                 WEXITSTATUS(status));
    else if (!killed)
        snprintf(failure.text, sizeof failure.text, "the filter exited with status %d before it answered",
                 WEXITSTATUS(status));
    bool all = closed && !hung && !killed && status == 0;
    do {
        output_rewind(&job->output);
        f.attempts = all ? job->retries : f.attempts;
        fail_item(job, &failure);
    } while (all && items_left(job) && v->item < end);
}

/* Once in the job's life. */
static void remark(struct job *job)
{
    char text[NOTE_TEXT];
    int len =
        snprintf(text, sizeof text,
                 "'%.100s' has its input and answers nothing: it may buffer its output; closing its input "
                 "to flush it",
                 job->argv[0]);
    arena_note(&job->output.view, NOTE_REMARK, REMARK_BUFFERS, text, (size_t)len);
}

static int64_t deadline_ns(const struct job *job)
{
    return job->timeout_ns > 0 && given(job->output.view.item) && !job->output.full
               ? began_ns(job) + job->timeout_ns
               : NEVER_NS;
}

static bool may_stall(const struct job *job)
{
    return all_given() && f.life.process.in >= 0 && !job->output.full && f.at == f.filled;
}

enum { SOCKET, SIGNALS, IN, OUT, ERR, POLLED };

static void wait_for_events(const struct job *job, struct pollfd polled[POLLED])
{
    const struct output *o = &job->output;
    bool writes = !feed_over(&f.feed), reads = !o->full;
    bool naps = reads && f.read_ns > 0 && now_ns() < f.read_ns;
    polled[SOCKET] = (struct pollfd){.fd = job->link.socket, .events = POLLIN};
    polled[SIGNALS] = (struct pollfd){.fd = job->signals, .events = POLLIN};
    polled[IN] = (struct pollfd){.fd = writes ? f.life.process.in : -1, .events = POLLOUT};
    polled[OUT] =
        (struct pollfd){.fd = reads && !naps && !f.at_end ? f.life.process.out : -1, .events = POLLIN};
    polled[ERR] = (struct pollfd){.fd = reads ? f.life.process.err : -1, .events = POLLIN};
    int64_t until = earlier(output_tell_ns(o), deadline_ns(job));
    if (naps)
        until = earlier(until, f.read_ns);
    if (may_stall(job))
        until = earlier(until, f.stall.look_ns);
    else if (!all_given() && !writes && reads)
        until = earlier(until, f.wider_ns);
    poll_until(polled, POLLED, f.life.left == TREE_MORE ? 0 : until);
}

/* What is due by time. */
static void watch(struct job *job, int64_t now)
{
    if (now >= deadline_ns(job)) {
        lasting_end(&f.life, job, SIGTERM, job->grace_ns);
        fail_item(job, &(struct failure){.kind = NOTE_TIMEOUT});
        return;
    }
    if (may_stall(job) && now >= f.stall.look_ns && stall_look(&f.stall, f.life.process.in, now)) {
        if (!buffers)
            remark(job);
        buffers = true;
    }
    if (buffers && all_given() && f.life.process.in >= 0) {
        process_close_in(&f.life.process);
        f.closed = true;
    }
    output_tell(&job->output, now);
}

/* Waits for something to happen, and deals with it. */
static void go_round(struct job *job)
{
    struct pollfd polled[POLLED];
    look_ahead(job, now_ns());
    wait_for_events(job, polled);
    if (polled[SOCKET].revents)
        link_receive(&job->link);
    if (output_resumed(&job->output))
        f.last_ns += now_ns() - f.full_since_ns; /* the worker's time, not the item's */
    if (polled[SIGNALS].revents || f.life.left == TREE_MORE)
        lasting_signals(&f.life, job);
    if (f.life.reaped.ended && f.life.left != TREE_NONE)
        lasting_end_rest(&f.life, job);
    if (polled[ERR].revents)
        read_errors(job);
    if (polled[IN].revents)
        write_items(job);
    bool rested = f.read_ns > 0 && now_ns() >= f.read_ns; /* its answers were not looked for meanwhile */
    if (f.at == f.filled && !job->output.full && !f.at_end &&
        (polled[OUT].revents || rested || f.life.reaped.ended))
        read_answers(job);
    take_answers(job);
    if (f.life.alive && items_left(job) && f.at == f.filled && f.at_end)
        died(job);
    if (f.life.alive && items_left(job))
        watch(job, now_ns());
}

/* Whether the process from the chunk before is good for this one. */
static void look_after_idleness(struct job *job)
{
    lasting_signals(&f.life, job);
    char extra;
    ssize_t n = f.closed || f.life.reaped.ended ? 0 : read(f.life.process.out, &extra, 1);
    if (n > 0)
        too_many(job);
    else if (n == 0 || errno != EAGAIN)
        lasting_goodbye(&f.life, job);
}

/* Before each round: a process, and something for it to do. Returns whether to go on, or JOB_BAD. */
static int prepare(struct job *job)
{
    const struct view *v = &job->output.view;
    if (f.life.alive)
        look_ahead(job, now_ns());
    if (job->link.yield && (!f.life.alive || v->item >= f.limit))
        return 0;
    if (f.life.alive && v->item >= f.limit)
        lasting_goodbye(&f.life, job); /* it has served its number of items */
    if (f.life.alive)
        return 1;
    char why[NOTE_TEXT];
    int rc = launch(job, why);
    if (rc == JOB_BAD || rc == -ECANCELED)
        return rc == JOB_BAD ? rc : 0;
    if (rc < 0) {
        struct failure failure = {.kind = NOTE_ERROR};
        memcpy(failure.text, why, sizeof failure.text);
        fail_item(job, &failure);
    }
    return 1;
}

static int filter_chunk(struct job *job)
{
    const struct view *v = &job->output.view;
    f.splits = v->items_size > 0 && memchr(v->items, '\n', v->items_size);
    f.offset = f.attempts = 0;
    f.read_ns = 0;
    f.young = false;
    f.at = f.filled = 0;
    f.last_ns = now_ns();
    feed_from_here(job);
    progress(f.last_ns);
    begin_item(job);
    if (f.life.alive) {
        f.life.cpu_base = usage_cpu_ns(f.life.process.pid);
        look_after_idleness(job);
    }
    int rc = 0;
    while (items_left(job) && (rc = prepare(job)) > 0)
        if (f.life.alive)
            go_round(job);
    if (link_given_up(&job->link))
        lasting_end(&f.life, job, SIGTERM, job->link.gone ? 0 : (int64_t)job->link.grace_ms * NS_PER_MS);
    else if (f.life.alive)
        lasting_charge(&f.life, job);
    return rc < 0 ? rc : 0;
}

static void filter_stop(struct job *job)
{
    lasting_stop(&f.life, job);
}

const struct kind filter_kind = {"filter", lasting_init, filter_chunk, filter_stop};
