/*
 * The run of one job; see stream.h.
 */
#include "client/pmapc/stream.h"

#include "client/pmapc/connect.h"
#include "client/pmapc/interrupt.h"
#include "client/pmapc/progress.h"
#include "client/pmapc/refusal.h"
#include "client/pmapc/tell.h"
#include "common/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    TAKE_MOST =
        8192, /* results in a round, so that the daemon gets new items while the old ones are printed */
    CANCEL_MS = 500, /* that the daemon may take to say that a cancelled job has ended */
    HOLD_MS = 500,   /* that it may take to hold one before pmapc stops */
    RUNNING = -1,    /* no exit status yet */
};

struct stream {
    const struct stream_options *options;
    pmap *pool;
    pmap_job *job;
    struct items *items;
    struct output output;
    struct progress progress;
    struct gap gap;
    int status;       /* RUNNING, or how it ended */
    int input_status; /* STATUS_DONE, or what a broken input makes of a job that went well */
    const char *data; /* the item that is to be put next, when `held` */
    size_t len;
    bool held;        /* it is waiting for credit */
    bool dry;         /* the reader needs a read before it has an item */
    bool input_over;  /* pmap_end has been said, or the job takes no more */
    bool input_ready; /* a read would not wait */
    bool unflushed;   /* something has been put since the last flush, or nothing was flushed yet */
    bool none;        /* pmap_take has said "none", and nothing has been sent since */
    bool deaf;        /* the connection has ended */
    uint64_t put;
};

/*** Signals ***/

/*
 * Ctrl-Z: the daemon is to begin no more items, and then this program stops. That it has been told is certain
 * only when it has answered what was said behind it.
 */
static void suspend(struct stream *s)
{
    progress_clear();
    if (pmap_hold(s->job, 1) == 0 && !s->gap.lost)
        pmap_ping(s->pool, HOLD_MS);
    interrupt_stop();
    pmap_hold(s->job, 0);
    progress_continue(&s->progress, s->output.finished);
    s->none = false;
}

static bool stop_writing(void *cookie)
{
    if (interrupt_stop_pending() && !interrupt_pending())
        suspend(cookie);
    return interrupt_pending();
}

/*
 * stdout's reader takes his time. What the daemon says meanwhile is taken in, as far as its credit goes: when
 * the connection ends, all that nobody has taken in is lost, a stopping daemon's last words too.
 */
static int wait_for_reader(void *cookie, int fd)
{
    struct stream *s = cookie;
    struct pollfd fds[] = {{.fd = fd, .events = POLLOUT},
                           {.fd = s->deaf ? -1 : pmap_fd(s->pool), .events = POLLIN}};
    if (poll(fds, 2, -1) < 0)
        return -errno;
    if (fds[1].revents == 0)
        return 0;
    s->none = false;
    if (pmap_step(s->pool) < 0)
        s->deaf = true; /* pmap_take says so when there is nothing left to be written */
    return 0;
}

/*** Output ***/

static int flush_output(struct stream *s)
{
    struct pmap_report report;
    if (s->options->output.trace && !s->options->output.trace->named) {
        pmap_get_report(s->job, &report);
        trace_name(s->options->output.trace, report.job);
    }
    return output_flush(&s->output);
}

/* Ends the run because results cannot be written. */
static void output_broke(struct stream *s, int error)
{
    if (error == -EINTR)
        return; /* the main loop sees the signal */
    if (error == -EPIPE)
        tell_sigpipe();
    if (error != -ECANCELED) /* else it has been told */
        tell("cannot write to stdout: %s", tell_errno(error));
    s->status = STATUS_FAILED;
}

/*** The job ***/

/* pmap_take, or another call, has said something other than a result or "none". */
static void job_ended(struct stream *s, int said)
{
    if (said == -EINTR || (said == PMAP_CANCELLED && interrupt_pending()))
        return; /* the main loop sees the signal */
    if (said == PMAP_DONE) {
        s->status = s->output.failed > 0 ? STATUS_FAILED : STATUS_DONE;
    } else if (said == PMAP_FAILED) {
        s->status = refusal_job(s->job);
    } else if (said == PMAP_CANCELLED) {
        tell("the job was cancelled");
        s->status = STATUS_NO_POOL;
    } else {
        s->status = connect_lost(s->pool, said);
    }
}

static void take_results(struct stream *s)
{
    struct pmap_result result;
    s->none = false;
    for (unsigned i = 0; i < TAKE_MOST; i++) {
        int rc = pmap_take(s->job, &result);
        if (rc == PMAP_NONE) {
            s->none = true;
            return;
        }
        if (rc != PMAP_RESULT) {
            job_ended(s, rc);
            return;
        }
        rc = output_result(&s->output, &result);
        if (rc < 0) {
            output_broke(s, rc);
            return;
        }
    }
}

/*** Input ***/

/* No more input: all of it has been put, or something is wrong with the rest, of which the user has been
 * told. */
static void end_input(struct stream *s)
{
    s->input_over = true;
    s->unflushed = s->none = false;
    int rc = pmap_end(s->job);
    if (rc < 0 && rc != -EPIPE)
        job_ended(s, rc);
}

static void input_broke(struct stream *s, int error)
{
    uint64_t item = s->items->next + 1;
    if (error == -EMSGSIZE) {
        tell("item %" PRIu64 ": larger than %zu bytes; it and what follows are not run", item,
             s->items->reader->item_max);
        s->input_status = STATUS_FAILED;
    } else if (error == -EILSEQ) {
        tell("item %" PRIu64 ": an argument with a NUL byte in it; it and what follows are not run", item);
        s->input_status = STATUS_FAILED;
    } else {
        if (s->put > 0)
            tell("cannot read %s after item %" PRIu64 ": %s", s->options->input_name, s->put,
                 tell_errno(error));
        else
            tell("cannot read %s: %s", s->options->input_name, tell_errno(error));
        s->input_status = STATUS_USAGE;
    }
    end_input(s);
}

/* Puts the items that are at hand, as far as credit goes. Returns whether any went. */
static bool put_items(struct stream *s)
{
    uint64_t before = s->put;
    int rc = 0;
    while (!s->input_over) {
        if (!s->held) {
            rc = items_next(s->items, &s->data, &s->len);
            if (rc <= 0)
                break;
        }
        rc = pmap_put(s->job, s->data, s->len);
        s->held = rc == -EAGAIN || rc == -EINTR;
        if (rc < 0)
            break;
        if (output_item(&s->output, items_index(s->items), s->data, s->len) < 0) {
            tell("out of memory");
            s->status = STATUS_FAILED;
            break;
        }
        s->put++;
    }
    bool moved = s->put != before;
    if (moved) {
        s->unflushed = true;
        s->none = false;
    }
    s->dry = !s->input_over && !s->held && rc == 0; /* items_next had none */
    if (s->status != RUNNING)
        return moved;
    bool broken = rc == -EMSGSIZE || rc == -EILSEQ;
    if (broken)
        input_broke(s, rc);
    else if (rc == -EPIPE)
        s->input_over = true; /* pmap_take says why */
    else if (s->dry && items_finished(s->items))
        end_input(s);
    else if (rc >= 0 || rc == -EAGAIN)
        rc = moved ? pmap_step(s->pool) : 0;
    if (rc < 0 && !broken && rc != -EPIPE)
        job_ended(s, rc);
    return moved || s->input_over;
}

/* Reads once, if that would not wait. Returns whether that has changed anything. */
static bool read_input(struct stream *s)
{
    if (!s->dry || s->input_over || !s->input_ready)
        return false;
    int rc = reader_fill(s->items->reader);
    s->input_ready = !s->options->input_polls;
    if (rc == -EAGAIN) {
        s->input_ready = false; /* whatever it is, it does not block, and wants to be polled */
        return false;
    }
    if (rc < 0 && rc != -EINTR)
        input_broke(s, rc);
    return true;
}

/*** The loop ***/

/* Looks whether there is input (timeout_ms is 0) or waits for that, for the daemon, or for a signal. */
static void wait_for_anything(struct stream *s, int timeout_ms)
{
    bool want_input = s->dry && !s->input_over;
    struct pollfd fds[] = {{.fd = pmap_fd(s->pool), .events = POLLIN},
                           {.fd = s->items->reader->fd, .events = POLLIN}};
    if (interrupt_poll(fds, want_input ? 2 : 1, timeout_ms) > 0 && want_input && fds[1].revents != 0)
        s->input_ready = true; /* or POLLHUP, POLLERR, POLLNVAL: read(2) has the words for it */
}

static void show_progress(struct stream *s)
{
    if (!progress_due(&s->progress))
        return;
    struct bar bar = {.done = s->output.finished, .failed = s->output.failed, .total = s->put};
    if (!s->input_over)
        bar.total = items_expected(s->items, s->options->input_bytes, &bar.about);
    progress_show(&s->progress, &bar);
}

/* One round. */
static void step(struct stream *s)
{
    if (interrupt_stop_pending())
        suspend(s);
    take_results(s);
    gap_look(&s->gap, s->pool);
    show_progress(s);
    if (s->status != RUNNING)
        return;
    bool over_before = s->input_over;
    bool moved = put_items(s) && !over_before;
    if (s->status != RUNNING)
        return;
    if (read_input(s) || s->status != RUNNING)
        return;
    int rc = 0;
    if (moved || !s->none) {
        if (s->dry && !s->input_over)
            wait_for_anything(s, 0);
    } else if (s->unflushed) {
        s->unflushed = s->none = false;
        rc = pmap_flush(s->job);
        if (rc < 0 && rc != -EPIPE)
            job_ended(s, rc);
    } else if ((rc = flush_output(s)) < 0) {
        output_broke(s, rc);
    } else if (s->none) { /* nothing has come while that was written */
        show_progress(s);
        wait_for_anything(s, progress_wait_ms(&s->progress));
    }
}

/* A signal came: gives the job up, and waits a little for the daemon to say that it has. */
static int cancel(struct stream *s)
{
    struct pmap_result result;
    int64_t deadline_ns = now_ns() + CANCEL_MS * INT64_C(1000000);
    progress_clear();
    int rc = pmap_cancel(s->job);
    while (rc >= 0 || rc == -EINTR) {
        do
            rc = pmap_take(s->job, &result);
        while (rc == PMAP_RESULT);
        int64_t left_ns = deadline_ns - now_ns();
        if ((rc != PMAP_NONE && rc != -EINTR) || left_ns <= 0)
            break;
        /* Not interrupt_poll, which would return at once; a second signal ends the program from its handler.
         */
        struct pollfd fd = {.fd = pmap_fd(s->pool), .events = POLLIN};
        poll(&fd, 1, (int)(left_ns / 1000000) + 1);
    }
    /* What has been written is to be in the log; a stdout that takes nothing ends this program by its alarm.
     */
    bool records = s->options->output.joblog || s->options->output.trace;
    if (records && s->output.writer.error == 0) {
        s->output.writer.stop = NULL;
        flush_output(s);
    }
    return interrupt_status();
}

static int finish(struct stream *s)
{
    struct pmap_report report;
    int64_t start_ns = now_ns();
    int rc = s->output.writer.error < 0 ? 0 : flush_output(s);
    if (rc < 0)
        output_broke(s, rc);
    if (interrupt_pending())
        return cancel(s);
    progress_clear();
    output_summary(&s->output);
    if (s->status == STATUS_DONE || s->status == STATUS_FAILED) {
        if (s->input_status != STATUS_DONE)
            s->status = s->input_status;
        pmap_get_report(s->job, &report);
        report.wall_ns += now_ns() - start_ns; /* up to the last result written, not taken */
        report_print(s->options->report, s->options->name, &report);
    }
    return s->status;
}

int stream_run(pmap *pool, struct items *items, const struct stream_options *options)
{
    struct stream s = {.unflushed = true, /* so that a wrong function is told of before any input has come */
                       .options = options,
                       .pool = pool,
                       .items = items,
                       .gap = options->gap,
                       .status = RUNNING,
                       .input_ready = !options->input_polls};
    int rc = output_init(&s.output, &options->output);
    if (rc >= 0)
        rc = pmap_open_call(pool, options->call, options->job, &s.job);
    int status;
    if (rc < 0) {
        status = refusal_open(pool, options->name, rc);
    } else {
        s.output.writer.stop = stop_writing;
        s.output.writer.wait = wait_for_reader;
        s.output.writer.cookie = &s;
        progress_init(&s.progress, options->progress);
        if (s.progress.wanted && isatty(STDOUT_FILENO))
            s.output.writer.before = progress_make_way;
        interrupt_install();
        while (s.status == RUNNING && !interrupt_pending())
            step(&s);
        status = interrupt_pending() ? cancel(&s) : finish(&s);
        pmap_close_job(s.job);
    }
    output_free(&s.output);
    return status;
}
