/*
 * What pmapc says to its user beside the results; see tell.h.
 */
#include "client/pmapc/tell.h"

#include "client/pmapc/pmapc.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_ROOM = 8192 };

static void (*before)(void);

void tell_before(void (*act)(void))
{
    before = act;
}

void tell(const char *format, ...)
{
    if (before)
        before();
    char text[LINE_ROOM];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0)
        return;

    char line[LINE_ROOM + 16] = "pmapc: ";
    size_t at = strlen(line);
    for (const char *p = text; *p && at < LINE_ROOM; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f)
            at += (size_t)snprintf(line + at, 5, "\\x%02x", c);
        else
            line[at++] = (char)c;
    }
    line[at++] = '\n';
    /* A message that cannot be written has nobody to be told to. */
    for (size_t done = 0; done < at;) {
        ssize_t n = write(STDERR_FILENO, line + done, at - done);
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            break;
    }
}

const char *tell_errno(int error)
{
    static char text[256];
    snprintf(text, sizeof text, "%s", strerror(error < 0 ? -error : error));
    /* "Connection refused", but not "RPC version wrong". */
    if (isupper((unsigned char)text[0]) && islower((unsigned char)text[1]))
        text[0] = (char)tolower((unsigned char)text[0]);
    return text;
}

void tell_sigpipe(void)
{
    sigset_t set;
    if (before)
        before();
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(SIGPIPE);
    _exit(128 + SIGPIPE);
}

int tell_finish(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return STATUS_DONE;
    if (errno == EPIPE)
        tell_sigpipe();
    tell("cannot write to stdout: %s", errno ? tell_errno(errno) : "write error");
    return STATUS_FAILED;
}

bool tell_utf8(void)
{
    /* By name, so that a terminal reached from another machine counts whose locale is not installed here. */
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *locale = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && (!locale || !*locale); i++)
        locale = getenv(names[i]);
    return locale && (strcasestr(locale, "utf-8") || strcasestr(locale, "utf8"));
}

const char *tell_duration(double seconds, char out[TELL_ROOM])
{
    static const struct {
        double least;
        double scale;
        const char *unit;
    } units[] = {{1, 1, "s"}, {1e-3, 1e3, "ms"}, {1e-6, 1e6, "us"}, {0, 1e9, "ns"}};
    size_t i = 0;
    if (seconds <= 0) {
        snprintf(out, TELL_ROOM, "0 s");
        return out;
    }
    while (seconds < units[i].least && units[i].least > 0)
        i++;
    double value = seconds * units[i].scale;
    snprintf(out, TELL_ROOM,
             value < 9.995   ? "%.2f %s"
             : value < 99.95 ? "%.1f %s"
                             : "%.0f %s",
             value, units[i].unit);
    return out;
}

const char *tell_count(double count, char out[TELL_ROOM])
{
    static const char *const units[] = {"", " k", " M", " G", " T"};
    size_t i = 0;
    while (count >= (i == 0 ? 9999.5 : 999.5) && i + 1 < sizeof units / sizeof units[0]) {
        count /= 1000;
        i++;
    }
    snprintf(out, TELL_ROOM, i > 0 && count < 99.95 ? "%.1f%s" : "%.0f%s", count, units[i]);
    return out;
}
