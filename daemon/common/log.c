/*
 * The daemon's log: builds a whole line, harmless to a terminal and to the journal, and writes it at once.
 * Who logs what, and when, is the callers' business.
 */
#include "daemon/common/log.h"

#include "common/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A write of up to PIPE_BUF (4096) bytes to a pipe is atomic, so lines of several threads and processes do
 * not mix. */
enum { LOG_LINE_MAX = 4096, LOG_TEXT_MAX = 3072 };

/* Set once by log_init, before there are threads; read only afterwards. */
static struct {
    const char *program;
    int level;
    bool journal; /* stderr goes to the journal: <N> before each line, no time */
} log_to = {.program = "pmapd", .level = LOG_INFO};

/* Guards the counters of every struct log_limit; held for the bookkeeping only, never while a line is
 * written. */
static pthread_mutex_t limit_lock = PTHREAD_MUTEX_INITIALIZER;

/* Does $JOURNAL_STREAM ("device:inode", set by systemd) name what stderr is now? After `2>file` it does not.
 */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[64];
    struct stat st;

    if (stream == NULL || fstat(STDERR_FILENO, &st) < 0)
        return false;
    snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, ours) == 0;
}

void log_init(const char *program, int level)
{
    log_to.program = program;
    log_to.level = level;
    log_to.journal = stderr_is_journal();
    tzset(); /* reads the time zone's file now: later there may be no file to read in a sandbox */
}

/* Writes what comes before the text into line; returns its length. */
static size_t put_prefix(char *line, size_t size, int priority)
{
    struct timespec now;
    struct tm day;
    int n;

    if (log_to.journal) {
        n = snprintf(line, size, "<%d>", priority);
    } else {
        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &day);
        n = snprintf(line, size, "%02d:%02d:%02d.%03ld %.64s: ", day.tm_hour, day.tm_min, day.tm_sec,
                     now.tv_nsec / 1000000, log_to.program);
    }
    return n < 0 ? 0 : (size_t)n;
}

/*
 * Copies text to out with control characters (also U+0080 to U+009F, which some terminals obey) and bytes
 * that are not UTF-8 as \xNN. Returns the length written; *cut is set when not all fitted. No NUL is added.
 */
static size_t put_escaped(char *out, size_t size, const char *text, bool *cut)
{
    static const char digits[] = "0123456789abcdef";
    size_t left = strlen(text), used = 0;

    while (left > 0) {
        size_t n = utf8_length(text, left);
        unsigned char first = (unsigned char)text[0];
        bool plain =
            n > 0 && first >= 0x20 && first != 0x7f && !(first == 0xc2 && (unsigned char)text[1] < 0xa0);
        size_t need = plain ? n : 4;

        if (used + need > size) {
            *cut = true;
            break;
        }
        if (plain) {
            memcpy(out + used, text, n);
        } else {
            n = 1;
            out[used] = '\\';
            out[used + 1] = 'x';
            out[used + 2] = digits[first >> 4];
            out[used + 3] = digits[first & 15];
        }
        used += need;
        text += n;
        left -= n;
    }
    return used;
}

/* One line, with a note of how many were left out before it where that is not 0. Keeps errno. */
static void put_line(int priority, unsigned long left_out, const char *format, va_list args)
{
    int saved = errno;
    char text[LOG_TEXT_MAX], line[LOG_LINE_MAX], end[64] = "\n";
    bool cut = false;
    size_t used, end_length;
    ssize_t written;
    int n;

    n = vsnprintf(text, sizeof(text), format, args);
    if (n < 0)
        snprintf(text, sizeof(text), "cannot format this message: %s", format);
    else if ((size_t)n >= sizeof(text))
        cut = true;
    if (left_out > 0)
        snprintf(end, sizeof(end), " (%lu more like this left out)\n", left_out);
    end_length = strlen(end);

    used = put_prefix(line, sizeof(line), priority);
    used += put_escaped(line + used, sizeof(line) - used - end_length - 3, text, &cut);
    for (int dots = cut ? 3 : 0; dots > 0; dots--)
        line[used++] = '.';
    memcpy(line + used, end, end_length);
    used += end_length;
    do {
        written = write(STDERR_FILENO, line, used);
    } while (written < 0 && errno == EINTR);
    errno = saved; /* a log that cannot be written must not become its caller's error */
}

void log_line(int priority, const char *format, ...)
{
    va_list args;

    if (priority > log_to.level)
        return;
    va_start(args, format);
    put_line(priority, 0, format, args);
    va_end(args);
}

/* Counts one line against the limit. True when it may be written; *left_out is then how many were not, before
 * it. With the lock held. */
static bool limit_pass(struct log_limit *limit, unsigned long *left_out)
{
    struct timespec now;
    bool pass;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (limit->used == 0 || now.tv_sec - limit->window_s >= limit->interval_s) {
        limit->window_s = now.tv_sec;
        limit->used = 0;
    }
    pass = limit->used < limit->burst;
    if (pass) {
        limit->used++;
        *left_out = limit->suppressed;
        limit->suppressed = 0;
    } else {
        limit->suppressed++;
    }
    return pass;
}

/* The limit of this uid: its own, or that of whoever came to its place first and is still limited. */
static struct log_limit *limit_of(struct log_limits *limits, unsigned uid)
{
    struct log_limit *limit = &limits->of[uid % LOG_UIDS].limit;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (limits->of[uid % LOG_UIDS].used &&
        (limits->of[uid % LOG_UIDS].uid == uid || now.tv_sec - limit->window_s < limits->interval_s))
        return limit;
    limits->of[uid % LOG_UIDS].used = true;
    limits->of[uid % LOG_UIDS].uid = uid;
    *limit = (struct log_limit)LOG_LIMIT(limits->burst, limits->interval_s);
    return limit;
}

void log_limited(struct log_limit *limit, int priority, const char *format, ...)
{
    int saved = errno;
    unsigned long left_out = 0;
    va_list args;
    bool pass;

    if (priority > log_to.level)
        return;
    pthread_mutex_lock(&limit_lock);
    pass = limit_pass(limit, &left_out);
    pthread_mutex_unlock(&limit_lock);
    errno = saved; /* for a %m in the format */
    if (!pass)
        return;
    va_start(args, format);
    put_line(priority, left_out, format, args);
    va_end(args);
}

void log_limited_of(struct log_limits *limits, unsigned uid, int priority, const char *format, ...)
{
    int saved = errno;
    unsigned long left_out = 0, all_left_out = 0;
    va_list args;
    bool pass;

    if (priority > log_to.level)
        return;
    pthread_mutex_lock(&limit_lock);
    pass = limit_pass(limit_of(limits, uid), &left_out) && limit_pass(&limits->all, &all_left_out);
    pthread_mutex_unlock(&limit_lock);
    errno = saved;
    if (!pass)
        return;
    va_start(args, format);
    put_line(priority, left_out + all_left_out, format, args);
    va_end(args);
}
