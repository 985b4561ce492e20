/*
 * Results to where they go; see output.h.
 */
#include "client/pmapc/output.h"

#include "client/pmapc/progress.h"
#include "client/pmapc/tell.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FAILURES_BY_NAME = 10 };

/*
 * stdout; where it is a pipe, by a description of our own that does not block, and nobody else's is changed:
 * so there can be something else to do while its reader takes his time.
 */
static int open_stdout(void)
{
    struct stat st;
    if (fstat(STDOUT_FILENO, &st) < 0 || !S_ISFIFO(st.st_mode))
        return STDOUT_FILENO;
    int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 ? fd : STDOUT_FILENO; /* another user's, or nobody reads it any more */
}

int output_init(struct output *o, const struct output_options *options)
{
    *o = (struct output){.options = options,
                         .keeps_items = options->tag || options->joblog || options->trace,
                         .simple = !options->tag && !options->joblog && !options->trace && !options->folder &&
                                   !options->verbatim};
    return writer_init(&o->writer, open_stdout(), 0);
}

void output_free(struct output *o)
{
    tags_free(&o->tags);
    grow_free(&o->command);
    if (o->writer.fd != STDOUT_FILENO)
        close(o->writer.fd);
    writer_free(&o->writer);
}

/*** stdout ***/

/* The item; of several arguments with a space between them. */
static int put_tag(struct output *o, uint64_t index)
{
    size_t len = 0;
    const char *item = tags_find(&o->tags, index, &len);
    if (item && !o->options->fields)
        writer_put(&o->writer, item, len);
    for (size_t i = 0; item && o->options->fields && i < len; i++)
        writer_put_byte(&o->writer, item[i] != '\0' ? item[i] : ' ');
    return writer_put_byte(&o->writer, '\t');
}

/* The bytes of a result, each line with its tag; also an empty result of a function has one line. */
static int put_tagged(struct output *o, const struct pmap_result *result)
{
    const char *data = result->data, *end = data ? data + result->size : data;
    int rc = 0;
    if (!o->in_result && (result->size > 0 || !o->options->verbatim))
        rc = put_tag(o, result->index);
    while (rc >= 0 && data < end) {
        if (o->in_result && o->line_begins)
            rc = put_tag(o, result->index);
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        const char *line_end = newline ? newline + 1 : end;
        if (rc >= 0)
            rc = writer_put(&o->writer, data, (size_t)(line_end - data));
        o->line_begins = newline != NULL;
        o->in_result = true;
        data = line_end;
    }
    return rc;
}

static int put_stdout(struct output *o, const struct pmap_result *result)
{
    bool verbatim = o->options->verbatim, end_line = !result->more && !verbatim;
    int rc = 0;
    if (result->failed && !verbatim)
        /* Of one that fails nothing is printed, unless a piece of it has been; its line then ends. */
        end_line = o->in_result;
    else if (o->options->tag)
        rc = put_tagged(o, result);
    else
        rc = writer_put(&o->writer, result->data, result->size);
    if (rc >= 0 && end_line)
        rc = writer_put_byte(&o->writer, (char)o->options->end_of_result);
    /* A command that has written nothing yet is not within a line, whatever pieces came. */
    o->in_result = result->more && (o->in_result || !verbatim || result->size > 0);
    if (!result->more)
        o->line_begins = false;
    return rc;
}

/* What an item's process wrote to stderr, in its place between what items wrote to stdout. */
static int put_stderr(struct output *o, const struct pmap_result *result)
{
    const char *data = result->err;
    size_t len = result->err_size;
    int rc = writer_flush(&o->writer);
    progress_make_way(data, len);
    while (len > 0 && rc == 0) {
        ssize_t n = write(STDERR_FILENO, data, len);
        if (n < 0 && errno != EINTR)
            return 0; /* nobody to be told */
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (o->writer.stop && o->writer.stop(o->writer.cookie)) {
            rc = -EINTR;
        }
    }
    return rc;
}

/*** The log ***/

static int cannot_log(const struct output *o, int error)
{
    tell("--joblog: cannot write to %s: %s", o->options->joblog->name, tell_errno(error));
    return -ECANCELED;
}

static double seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

static int log_result(struct output *o, const struct pmap_result *result)
{
    size_t len = 0;
    const char *item = tags_find(&o->tags, result->index, &len);
    grow_clear(&o->command);
    if (!shown_add(o->options->shown, item ? item : "", len, result->index + 1, &o->command))
        return cannot_log(o, -ENOMEM);
    int64_t real_ns = clock_ns(CLOCK_REALTIME);
    struct joblog_entry entry = {
        .number = result->index + 1,
        .started_s =
            seconds(result->started_ns > 0 ? (int64_t)result->started_ns : real_ns - result->time_ns),
        .took_s = seconds(result->time_ns),
        .sent = o->options->feeds ? len + 1 : 0,
        .received = o->received,
        .exit_code = result->exit_code,
        .signal = result->signal,
        .command = o->command.data,
        .command_len = o->command.len,
    };
    if (result->timed_out) { /* as parallel has it, which ends such an item by SIGTERM, too */
        entry.exit_code = -1;
        entry.signal = result->signal > 0 ? result->signal : SIGTERM;
    } else if (result->failed && entry.exit_code == 0 && entry.signal == 0) {
        entry.exit_code = 1;
    }
    int rc = joblog_add(o->options->joblog, &entry);
    return rc < 0 ? cannot_log(o, rc) : 0;
}

/*** The trace ***/

static int cannot_trace(const struct output *o, int error)
{
    trace_broke(o->options->trace, error);
    return -ECANCELED;
}

static int trace_result(struct output *o, const struct pmap_result *result)
{
    size_t len = 0;
    const char *item = tags_find(&o->tags, result->index, &len);
    int rc = trace_add(o->options->trace, result, item ? item : "", item ? len : 0);
    return rc < 0 ? cannot_trace(o, rc) : 0;
}

/*** Results ***/

static void count(struct output *o, const struct pmap_result *result)
{
    o->finished++;
    if (!result->failed)
        return;
    o->failed++;
    if (result->cancelled) {
        o->cancelled++;
    } else if (o->options->verbatim && result->exit_code > 0 && !result->timed_out) {
        o->exited++; /* what a command means by that is its own affair */
    } else if (o->failed - o->cancelled - o->exited <= FAILURES_BY_NAME) {
        char attempts[32] = "";
        if (result->attempts > 1)
            snprintf(attempts, sizeof attempts, " (%u attempts)", result->attempts);
        tell("item %" PRIu64 ": %s%s", result->index + 1, result->error, attempts);
    }
}

/* Whatever is not simply a result to be written. */
static int put_special(struct output *o, const struct pmap_result *result)
{
    const struct output_options *options = o->options;
    int rc = put_stdout(o, result);
    if (rc >= 0 && result->err_size > 0)
        rc = put_stderr(o, result);
    o->received += result->size;
    if (rc >= 0 && options->folder && !result->cancelled && folder_put(options->folder, result) < 0)
        rc = -ECANCELED;
    if (result->more) {
        if (rc >= 0 && options->flush)
            rc = output_flush(o);
        return rc;
    }
    /* What was not run is to be run by a --resume. */
    if (rc >= 0 && options->joblog && !result->cancelled)
        rc = log_result(o, result);
    if (rc >= 0 && options->trace)
        rc = trace_result(o, result);
    o->received = 0;
    if (o->keeps_items)
        tags_remove(&o->tags, result->index);
    count(o, result);
    if (result->remark && !o->remarked) {
        o->remarked = true;
        tell("%s", result->remark);
    }
    return rc;
}

int output_result(struct output *o, const struct pmap_result *result)
{
    if (!o->simple || result->failed || result->err_size > 0 || result->remark)
        return put_special(o, result);
    int rc = writer_put(&o->writer, result->data, result->size);
    o->in_result = result->more;
    if (result->more)
        return rc;
    o->finished++;
    return rc < 0 ? rc : writer_put_byte(&o->writer, (char)o->options->end_of_result);
}

int output_flush(struct output *o)
{
    int rc = writer_flush(&o->writer);
    if (rc == 0 && o->options->joblog) {
        rc = joblog_flush(o->options->joblog);
        if (rc < 0)
            rc = cannot_log(o, rc);
    }
    if (rc == 0 && o->options->trace) {
        rc = trace_flush(o->options->trace);
        if (rc < 0)
            rc = cannot_trace(o, rc);
    }
    return rc;
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

void output_summary(const struct output *o)
{
    uint64_t named = o->failed - o->exited - o->cancelled;
    if (named > FAILURES_BY_NAME) {
        uint64_t more = named - FAILURES_BY_NAME;
        tell("%" PRIu64 " more item%s failed", more, plural(more));
    }
    if (o->cancelled > 0)
        tell("%" PRIu64 " item%s %s not run%s%s%s", o->cancelled, plural(o->cancelled),
             o->cancelled == 1 ? "was" : "were", o->options->halt ? " (--halt " : "",
             o->options->halt ? o->options->halt : "", o->options->halt ? ")" : "");
}
