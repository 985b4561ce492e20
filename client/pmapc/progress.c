/*
 * --progress; see progress.h. The line is the terminal's, of which a program has one: hence the globals.
 */
#include "client/pmapc/progress.h"

#include "client/pmapc/tell.h"
#include "common/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_MS = 100 };
#define PERIOD_NS (PERIOD_MS * INT64_C(1000000))

static volatile sig_atomic_t shown; /* a line stands there */
static bool within_line;            /* what was written to the terminal last has not ended its line */

static void put(const char *text, size_t len)
{
    /* A terminal that takes nothing has nobody to be told. */
    ssize_t n = write(STDERR_FILENO, text, len);
    (void)n;
}

void progress_clear(void)
{
    static const char clear[] = "\r\033[K";
    if (shown)
        put(clear, sizeof clear - 1);
    shown = 0;
}

void progress_make_way(const char *data, size_t len)
{
    progress_clear();
    if (len > 0)
        within_line = data[len - 1] != '\n';
}

static void make_way_for_line(void)
{
    progress_make_way("\n", 1);
}

/* As setlocale(3) would have it, which changes more than is wanted here. */
static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

static bool terminal_is_dumb(void)
{
    const char *name = getenv("TERM");
    return !name || !*name || strcmp(name, "dumb") == 0;
}

void progress_init(struct progress *progress, bool wanted)
{
    *progress = (struct progress){.wanted = wanted && isatty(STDERR_FILENO) && !terminal_is_dumb()};
    if (!progress->wanted)
        return;
    progress->utf8 = locale_is_utf8();
    progress->start_ns = progress->shown_ns = now_ns();
    pace_begin(&progress->pace, progress->start_ns, 0);
    tell_before(make_way_for_line);
}

bool progress_due(const struct progress *progress)
{
    return progress->wanted && now_ns() - progress->shown_ns >= PERIOD_NS;
}

static unsigned columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : BAR_COLUMNS;
}

void progress_show(struct progress *progress, struct bar *bar)
{
    static const char begin[] = "\r", end[] = "\033[K"; /* over the old line, so that nothing flickers */
    char text[sizeof begin + BAR_ROOM + sizeof end];
    if (!progress_due(progress))
        return;
    int64_t now = progress->shown_ns = now_ns();
    bar->rate = pace_look(&progress->pace, now, bar->done);
    bar->elapsed_s = (double)(now - progress->start_ns) / 1e9;
    if (within_line || tcgetpgrp(STDERR_FILENO) != getpgrp())
        return;
    size_t at = sizeof begin - 1;
    memcpy(text, begin, at);
    at += bar_line(text + at, bar, columns(), progress->utf8);
    memcpy(text + at, end, sizeof end);
    shown = 1;
    put(text, at + sizeof end - 1);
}

void progress_continue(struct progress *progress, uint64_t done)
{
    if (progress->wanted)
        pace_begin(&progress->pace, now_ns(), done);
}

int progress_wait_ms(const struct progress *progress)
{
    if (!progress->wanted)
        return -1;
    int64_t left_ns = PERIOD_NS - (now_ns() - progress->shown_ns);
    return left_ns > 0 ? (int)(left_ns / 1000000) + 1 : 0;
}
