/*
 * --progress; see progress.h. The line is the terminal's, of which a program has one: hence the global.
 */
#include "client/pmapc/progress.h"

#include "client/pmapc/tell.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_MS = 100 };
#define PERIOD_NS (PERIOD_MS * INT64_C(1000000))

static bool shown; /* a line stands there */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void put(const char *text)
{
    /* A terminal that takes nothing has nobody to be told. */
    ssize_t n = write(STDERR_FILENO, text, strlen(text));
    (void)n;
}

void progress_init(struct progress *progress, bool wanted)
{
    *progress = (struct progress){.wanted = wanted && isatty(STDERR_FILENO)};
    if (progress->wanted) {
        progress->start_ns = progress->shown_ns = now_ns();
        tell_before(progress_clear);
    }
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total, uint64_t failed)
{
    int64_t now = progress->wanted ? now_ns() : 0;
    if (!progress->wanted || now - progress->shown_ns < PERIOD_NS)
        return;
    progress->shown_ns = now;
    char line[160], of[32] = "", rate[TELL_ROOM], failures[48] = "";
    if (total > 0)
        snprintf(of, sizeof of, "/%" PRIu64, total);
    if (failed > 0)
        snprintf(failures, sizeof failures, ", %" PRIu64 " failed", failed);
    snprintf(line, sizeof line, "\r\033[K%" PRIu64 "%s items, %s/s%s", done, of,
             tell_count((double)done * 1e9 / (double)(now - progress->start_ns), rate), failures);
    put(line);
    shown = true;
}

int progress_wait_ms(const struct progress *progress)
{
    return progress->wanted ? PERIOD_MS : -1;
}

void progress_clear(void)
{
    if (shown)
        put("\r\033[K");
    shown = false;
}
