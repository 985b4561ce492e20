/*
 * --trace; see trace.h. The format is that of the "Trace Event Format" document of Chromium's, as Perfetto
 * reads it: an object with the array `traceEvents`, whose times are microseconds.
 */
#include "client/pmapc/trace.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/row.h"
#include "client/pmapc/tell.h"
#include "common/clock.h"
#include "common/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PID = 1,       /* the job: there is one in a file */
    ASIDE = 65536, /* the row of items that ran in no slot; slots have 16 bits */
    FLUSH_AT = 64 << 10,
    TEXT_MOST = 120, /* bytes of an item or a message that are shown */
};

static const char head[] = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
static const char tail[] = "\n]}\n";

/*** JSON ***/

static void put(struct trace *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds a short text: everything but strings of others. */
static void put(struct trace *t, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    grow_add(&t->buffer, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

static void put_character(struct trace *t, const char *text, size_t len)
{
    unsigned char c = (unsigned char)*text;
    if (c == '\0' && t->fields)
        grow_byte(&t->buffer, ' ');
    else if (c == '"' || c == '\\')
        put(t, "\\%c", c);
    else if (len == 0)
        put(t, "\\\\x%02x", c); /* no UTF-8 */
    else if (c < 0x20 || c == 0x7f)
        put(t, "\\u%04x", c);
    else
        grow_add(&t->buffer, text, len);
}

/* Adds a string of any bytes, the beginning of a long one. */
static void put_string(struct trace *t, const char *text, size_t size)
{
    grow_byte(&t->buffer, '"');
    for (size_t at = 0; at < size;) {
        if (at >= TEXT_MOST) {
            put(t, "\xe2\x80\xa6");
            break;
        }
        size_t len = utf8_length(text + at, size - at);
        put_character(t, text + at, len);
        at += len > 0 ? len : 1;
    }
    grow_byte(&t->buffer, '"');
}

/* Microseconds, to the nanosecond. */
static void put_us(struct trace *t, const char *key, int64_t ns)
{
    put(t, ",\"%s\":%" PRId64 ".%03d", key, ns / 1000, (int)(ns % 1000));
}

static void begin_event(struct trace *t)
{
    put(t, t->any ? ",\n" : "\n");
    t->any = true;
}

/*** Rows ***/

static void name_row(struct trace *t, unsigned tid)
{
    char name[32] = "in no slot";
    if (tid != ASIDE)
        snprintf(name, sizeof name, "slot %u", tid);
    begin_event(t);
    put(t, "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"args\":{\"name\":\"%s\"}}", PID,
        tid, name);
    begin_event(t);
    put(t, "{\"name\":\"thread_sort_index\",\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"args\":{\"sort_index\":%u}}",
        PID, tid, tid);
}

/* The row of a slot, made when it is needed first; NULL when memory is short. */
static struct row *row_of(struct trace *t, unsigned slot)
{
    if (slot >= t->row_count) {
        struct trace_row *rows = reallocarray(t->rows, slot + 1U, sizeof *rows);
        if (!rows)
            return NULL;
        memset(rows + t->row_count, 0, (slot + 1U - t->row_count) * sizeof *rows);
        t->rows = rows;
        t->row_count = slot + 1U;
    }
    struct trace_row *at = &t->rows[slot];
    if (!at->row && (at->row = calloc(1, sizeof *at->row)))
        name_row(t, slot);
    return at->row;
}

/*** The file ***/

int trace_broke(const struct trace *trace, int error)
{
    tell("--trace: cannot write to %s: %s", trace->name, tell_errno(error));
    return STATUS_USAGE;
}

static uint64_t real_ns(void)
{
    return (uint64_t)clock_ns(CLOCK_REALTIME);
}

int trace_open(struct trace *trace, const char *name, const char *function, bool fields)
{
    *trace = (struct trace){.name = name, .function = function, .fields = fields, .start_ns = real_ns()};
    trace->fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (trace->fd < 0)
        return trace_broke(trace, errno);
    trace->seeks = lseek(trace->fd, 0, SEEK_CUR) >= 0;
    put(trace, "%s", head);
    int rc = trace_flush(trace);
    return rc < 0 ? trace_broke(trace, rc) : 0;
}

static int write_all(const struct trace *t, const char *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = t->seeks ? pwrite(t->fd, data + done, size - done, t->at + (off_t)done)
                             : write(t->fd, data + done, size - done);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Writes what is held, and the end behind it where the next events can be written over that. */
static int write_out(struct trace *t, bool end)
{
    size_t len = t->buffer.len;
    if (end)
        grow_add(&t->buffer, tail, sizeof tail - 1);
    int rc = t->buffer.failed ? -ENOMEM : write_all(t, t->buffer.data, t->buffer.len);
    t->at += (off_t)len;
    grow_clear(&t->buffer);
    return rc;
}

int trace_flush(struct trace *trace)
{
    return trace->buffer.len > 0 ? write_out(trace, trace->seeks) : 0;
}

static void free_all(struct trace *t)
{
    for (size_t i = 0; i < t->row_count; i++)
        free(t->rows[i].row);
    free(t->rows);
    grow_free(&t->buffer);
    t->rows = NULL;
    t->row_count = 0;
    t->fd = -1;
}

int trace_close(struct trace *trace)
{
    if (trace->fd < 0)
        return 0;
    int rc = trace->seeks ? trace_flush(trace) : write_out(trace, true);
    if (close(trace->fd) < 0 && rc == 0)
        rc = -errno;
    int status = rc < 0 ? trace_broke(trace, rc) : 0;
    free_all(trace);
    return status;
}

/*** Events ***/

void trace_name(struct trace *trace, uint64_t job)
{
    if (trace->named || job == 0)
        return;
    trace->named = true;
    char name[128];
    snprintf(name, sizeof name, "pmapd job %" PRIu64 ": %.80s", job, trace->function);
    begin_event(trace);
    put(trace, "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":", PID);
    put_string(trace, name, strlen(name));
    put(trace, "}}");
}

static const char *status_of(const struct pmap_result *result)
{
    return !result->failed     ? "done"
           : result->cancelled ? (result->slot > 0 ? "given up" : "not run")
           : result->timed_out ? "timed out"
                               : "failed";
}

static void put_args(struct trace *t, const struct pmap_result *result, const char *item, size_t len)
{
    put(t, ",\"args\":{\"item\":");
    put_string(t, item, len);
    put(t, ",\"seq\":%" PRIu64 ",\"status\":\"%s\"", result->index + 1, status_of(result));
    if (result->error) {
        put(t, ",\"error\":");
        put_string(t, result->error, strlen(result->error));
    }
    put(t, ",\"attempts\":%u", result->attempts);
    if (result->cpu_ns > 0)
        put(t, ",\"cpu_ms\":%" PRIu64 ".%06u", result->cpu_ns / 1000000,
            (unsigned)(result->cpu_ns % 1000000));
    if (result->peak_bytes > 0)
        put(t, ",\"peak_bytes\":%" PRIu64, result->peak_bytes);
    put(t, "}}");
}

/* When it ran, since the trace began; what is before that or beyond all reason is not believed. */
static struct span span_of(const struct trace *t, const struct pmap_result *result)
{
    const int64_t most = INT64_MAX / 4;
    int64_t begin = (int64_t)(result->started_ns - t->start_ns), took = result->time_ns;
    if (result->started_ns < t->start_ns)
        begin = 0;
    if (begin < 0 || begin > most)
        begin = most;
    return (struct span){begin, begin + (took < most ? took : most)};
}

/* An item that ran in a slot is an event in its row; one that never ran, or whose worker died, is a mark
 * aside. */
int trace_add(struct trace *trace, const struct pmap_result *result, const char *item, size_t len)
{
    struct row *row = NULL;
    if (result->slot > 0 && result->slot < ASIDE && !(row = row_of(trace, result->slot)))
        return -ENOMEM;
    if (!row && !trace->aside) {
        trace->aside = true;
        name_row(trace, ASIDE);
    }
    begin_event(trace);
    put(trace, "{\"name\":\"item %" PRIu64 "\",\"cat\":\"%s\",\"pid\":%d,\"tid\":%u", result->index + 1,
        result->failed ? "failed" : "item", PID, row ? result->slot : ASIDE);
    if (row) {
        struct span span = span_of(trace, result);
        row_take(row, &span);
        put(trace, ",\"ph\":\"X\"");
        put_us(trace, "ts", span.begin_ns);
        put_us(trace, "dur", span.end_ns - span.begin_ns);
    } else {
        uint64_t now_ns = real_ns();
        put(trace, ",\"ph\":\"i\",\"s\":\"t\"");
        put_us(trace, "ts", now_ns > trace->start_ns ? (int64_t)(now_ns - trace->start_ns) : 0);
    }
    if (result->failed)
        put(trace, ",\"cname\":\"terrible\"");
    put_args(trace, result, item, len);
    if (trace->buffer.failed)
        return -ENOMEM;
    return trace->buffer.len >= FLUSH_AT ? trace_flush(trace) : 0;
}
