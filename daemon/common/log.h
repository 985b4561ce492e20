/*
 * The daemon's log: one line an event worth waking up for, to stderr; with <N> priorities under systemd (when
 * $JOURNAL_STREAM names our stderr), with a time of day and the program's name otherwise. The journal adds
 * unit, pid and program by itself, and a line says "uid N" and "job N" wherever it is about one, so nothing
 * is left that fields of our own would add. Only daemon/ logs; the core, common/ and libpmap return errors.
 * Thread-safe: a line is one write(2). Nothing of a user's data goes in.
 */
#ifndef PMAPD_LOG_H
#define PMAPD_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <syslog.h> /* the LOG_ERR … LOG_DEBUG priorities */

/* program: shown before each line, kept by reference. level: the least urgent priority that is written. */
void log_init(const char *program, int level);

/* Writes one line; a newline is added, control characters are written as \xNN. Keeps errno. */
void log_line(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * As log_line, but at most `burst` lines in any `interval_s` seconds for this `limit` (a static of the
 * caller's); then, with the next line that gets through, how many were left out.
 */
struct log_limit {
    long window_s;
    int burst, interval_s;
    int used;
    unsigned long suppressed;
};
#define LOG_LIMIT(burst_, interval_)                                                                         \
    {                                                                                                        \
        .burst = (burst_), .interval_s = (interval_)                                                         \
    }
void log_limited(struct log_limit *limit, int priority, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The same for lines that a user can bring about: at most `burst` for each uid, so that one who floods hides
 * no other's, and at most `all` for everybody. A uid may share its count with others when there are many.
 */
enum { LOG_UIDS = 32 };
struct log_limits {
    int burst, interval_s;
    struct log_limit all;
    struct {
        bool used;
        unsigned uid;
        struct log_limit limit;
    } of[LOG_UIDS];
};
#define LOG_LIMITS(burst_, all_, interval_)                                                                  \
    {                                                                                                        \
        .burst = (burst_), .interval_s = (interval_), .all = LOG_LIMIT(all_, interval_)                      \
    }
void log_limited_of(struct log_limits *limits, unsigned uid, int priority, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define log_error(...)   log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)

#endif
