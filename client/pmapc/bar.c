/*
 * The line of --progress; see bar.h.
 */
#include "client/pmapc/bar.h"

#include "client/pmapc/tell.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    INNER_LEAST = 8, /* columns of a bar, between its ends */
    PART_ROOM = 48,
    ECHO = 3, /* columns for what a terminal shows of Ctrl-C, "^C", and for the cursor */
};
enum { FEW = 5, PATIENCE = 5 };
#define SAMPLE_NS INT64_C(200000000)
#define WINDOW_NS INT64_C(5000000000)

/*** Words ***/

/* "0:07", "1:02:03", "3d 04h" */
static void put_time(char out[PART_ROOM], double seconds)
{
    uint64_t s = seconds < 1e12 ? (uint64_t)(seconds + 0.5) : UINT64_C(1000000000000);
    if (s < 3600)
        snprintf(out, PART_ROOM, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
    else if (s < UINT64_C(100) * 3600)
        snprintf(out, PART_ROOM, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, PART_ROOM, "%" PRIu64 "d %02" PRIu64 "h", s / 86400, s / 3600 % 24);
}

/* "1.2 k/s", "0.5/s", "3.0/min", "1.5/h" */
static void put_rate(char out[PART_ROOM], double rate)
{
    char text[TELL_ROOM];
    if (rate >= 10 || rate == 0)
        snprintf(out, PART_ROOM, "  %s/s", tell_count(rate, text));
    else if (rate >= 0.1)
        snprintf(out, PART_ROOM, "  %.1f/s", rate);
    else if (rate >= 0.01)
        snprintf(out, PART_ROOM, "  %.1f/min", rate * 60);
    else
        snprintf(out, PART_ROOM, "  %.1f/h", rate * 3600);
}

/* What of a total is done, less than 1 as long as something is missing. */
static double share(const struct bar *bar)
{
    if (bar->done >= bar->total)
        return bar->about ? 0.999 : 1;
    return (double)bar->done / (double)bar->total;
}

struct words {
    char percent[PART_ROOM], count[PART_ROOM], items[PART_ROOM], rate[PART_ROOM], time[PART_ROOM],
        failed[PART_ROOM];
};

static void find_words(const struct bar *bar, struct words *w)
{
    char time[PART_ROOM] = "--:--";
    *w = (struct words){0};
    if (bar->total > 0) {
        snprintf(w->percent, PART_ROOM, "%3d%%", (int)(100 * share(bar)));
        snprintf(w->count, PART_ROOM, "%" PRIu64 "/%s%" PRIu64, bar->done, bar->about ? "~" : "", bar->total);
        if (bar->rate > 0) /* rounded up: not 0:00 before it is over */
            put_time(time, bar->done < bar->total ? (double)(bar->total - bar->done) / bar->rate + 0.49 : 0);
        snprintf(w->time, PART_ROOM, "  ETA %.40s", time);
    } else {
        snprintf(w->count, PART_ROOM, "%" PRIu64, bar->done);
        put_time(time, bar->elapsed_s);
        snprintf(w->time, PART_ROOM, "  %.40s", time);
    }
    snprintf(w->items, PART_ROOM, " item%s",
             bar->total == 1 || (bar->total == 0 && bar->done == 1) ? "" : "s");
    if (bar->rate >= 0)
        put_rate(w->rate, bar->rate);
    if (bar->failed > 0)
        snprintf(w->failed, PART_ROOM, ", %" PRIu64 " failed", bar->failed);
}

/* The words, fewer at each level; false: there is no such level. */
static bool say(const struct words *w, bool known, unsigned level, char out[BAR_ROOM])
{
    static const struct {
        bool count, items, rate, time, failed;
    } levels[] = {
        {true, true, true, true, true},     {true, false, true, true, true},
        {false, false, true, true, true},   {false, false, false, true, true},
        {false, false, false, false, true}, {false, false, false, false, false},
    };
    if (level >= sizeof levels / sizeof levels[0])
        return false;
    bool count = levels[level].count || !known;
    snprintf(out, BAR_ROOM, "%s%s%s%s%s%s%s", w->percent, known && count ? " " : "", count ? w->count : "",
             levels[level].items ? w->items : "", levels[level].rate ? w->rate : "",
             levels[level].time ? w->time : "", levels[level].failed ? w->failed : "");
    return true;
}

/*** The bar ***/

static size_t put_blocks(char *out, double share, unsigned inner)
{
    static const char eighths[][4] = {" ",      "\u258f", "\u258e", "\u258d", "\u258c",
                                      "\u258b", "\u258a", "\u2589", "\u2588"};
    unsigned filled = (unsigned)(share * inner * 8);
    char *end = out;
    for (unsigned i = 0; i < inner; i++, filled -= filled < 8 ? filled : 8)
        end = stpcpy(end, eighths[filled < 8 ? filled : 8]);
    return (size_t)(end - out);
}

static size_t put_signs(char *out, double share, unsigned inner)
{
    unsigned filled = (unsigned)(share * inner);
    for (unsigned i = 0; i < inner; i++)
        out[i] = i < filled ? '#' : i == filled ? '>' : ' ';
    return inner;
}

size_t bar_line(char out[BAR_ROOM], const struct bar *bar, unsigned columns, bool utf8)
{
    char text[BAR_ROOM];
    struct words words;
    bool known = bar->total > 0;
    unsigned room = columns < BAR_COLUMNS ? columns : BAR_COLUMNS, ends = 3; /* "[] " */
    room -= room < ECHO ? room : ECHO;
    find_words(bar, &words);
    for (unsigned level = 0; known && say(&words, known, level, text); level++) {
        size_t len = strlen(text);
        if (len + ends + INNER_LEAST > room)
            continue;
        unsigned inner = room - ends - (unsigned)len;
        out[0] = '[';
        size_t at = 1 + (utf8 ? put_blocks : put_signs)(out + 1, share(bar), inner);
        memcpy(mempcpy(out + at, "] ", 2), text, len + 1);
        return at + 2 + len;
    }
    for (unsigned level = 0; say(&words, known, level, text); level++) {
        size_t len = strlen(text);
        if (len > room)
            continue;
        memcpy(out, text, len + 1);
        return len;
    }
    out[0] = '\0';
    return 0;
}

/*** The pace ***/

void pace_begin(struct pace *pace, int64_t now_ns, uint64_t count)
{
    *pace = (struct pace){
        .used = 1, .begin_ns = now_ns, .moved_ns = now_ns, .begin_count = count, .count = count};
    pace->samples[0].time_ns = now_ns;
    pace->samples[0].count = count;
}

/* Few came of late: how it has been since the beginning, unless nothing has come for much longer than that
 * would let one expect; then 0. */
static double long_run(const struct pace *pace, int64_t now_ns)
{
    double all = (double)(pace->count - pace->begin_count), since_ns = (double)(now_ns - pace->begin_ns);
    if (all == 0 || (double)(now_ns - pace->moved_ns) * all > PATIENCE * since_ns)
        return 0;
    return all * 1e9 / since_ns;
}

double pace_look(struct pace *pace, int64_t now_ns, uint64_t count)
{
    if (count != pace->count)
        pace->moved_ns = now_ns;
    pace->count = count;
    unsigned last = (pace->first + pace->used - 1) % PACE_SAMPLES;
    /* What is older than the window goes, but for one to compare with. */
    while (pace->used > 1 && pace->samples[(pace->first + 1) % PACE_SAMPLES].time_ns <= now_ns - WINDOW_NS) {
        pace->first = (pace->first + 1) % PACE_SAMPLES;
        pace->used--;
    }
    int64_t since_ns = now_ns - pace->samples[pace->first].time_ns;
    uint64_t came = count - pace->samples[pace->first].count;
    if (now_ns - pace->samples[last].time_ns >= SAMPLE_NS && pace->used < PACE_SAMPLES) {
        last = (pace->first + pace->used++) % PACE_SAMPLES;
        pace->samples[last].time_ns = now_ns;
        pace->samples[last].count = count;
    }
    if (since_ns < SAMPLE_NS)
        return -1;
    double slow = came < FEW ? long_run(pace, now_ns) : 0;
    return slow > 0 ? slow : (double)came * 1e9 / (double)since_ns;
}
