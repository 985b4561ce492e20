/*
 * What lies over the picture; see popup.h.
 */
#include "client/pmapc/top/popup.h"

#include "client/pmapc/top/paint.h"
#include "client/pmapc/top/units.h"
#include "client/pmapc/waits.h"

#include <inttypes.h>
#include <math.h>
#include <ncurses.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINES_MAX = 24, WIDTH = 66 };

/* Lines to be shown, put together before there is a box that is large enough for them. */
struct page {
    char line[LINES_MAX][4 * WIDTH];
    int count, width;
};

/* How much of a text goes into a line: up to the last space where it does not fit. */
static int fitting(const char *text, int width)
{
    int len = (int)strlen(text);
    if (len <= width)
        return len;
    for (int i = width; i > 0; i--)
        if (text[i] == ' ')
            return i;
    return width;
}

/* Adds a paragraph; bytes are counted, which for names beyond ASCII breaks a line a little early. */
static void add(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct page *page, const char *format, ...)
{
    char text[4 * WIDTH];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *p = text;
    do {
        int len = fitting(p, page->width);
        if (page->count < LINES_MAX)
            snprintf(page->line[page->count++], sizeof page->line[0], "%.*s", len, p);
        p += len;
        p += *p == ' ';
    } while (*p);
}

static void help(struct page *page)
{
    add(page, "Tab            the next pane: users, slots, jobs");
    add(page, "Up Down PgUp PgDn Home End    choose a row");
    add(page, "<  >  s  S     order by another column (back, on, on, back)");
    add(page, "r              the other way round");
    add(page, "/              filter by user, job or function; Esc clears");
    add(page, "u              only what is mine, or everybody's");
    add(page, "c  k           cancel the job that is chosen, after a question");
    add(page, "e              explain what is chosen: why it waits");
    add(page, "Space          look at once    ^L  draw anew");
    add(page, "q              quit            ^Z  suspend");
    add(page, "%s", "");
    add(page, "A user's bar is the part of the slots that he uses, with a tick at");
    add(page, "what he is due. \"extra\": a slot above the pool's, so that nobody");
    add(page, "waits behind long items; \"yields\": asked to give its rest back.");
}

static void explain_user(struct page *page, const struct row *user)
{
    const double *v = user->value;
    char a[UNITS_ROOM], b[UNITS_ROOM], c[UNITS_ROOM];
    add(page, "User %s, weight %s", user->user, units_count(v[V_WEIGHT], a));
    add(page, "Uses %s slots, is due %s now.", units_real(v[V_USED], a), units_real(v[V_ENTITLED], b));
    add(page, "%s open jobs, %s items queued, %s held.", units_count(v[V_JOBS], a),
        units_count(v[V_QUEUED], b), units_bytes(v[V_HELD], c));
    add(page, "Since the daemon's start: %s items, %s failed.", units_count(v[V_FINISHED], a),
        units_count(v[V_FAILED], b));
    add(page, "Slot time %s, CPU time %s; waited %s for first chunks.", units_seconds(v[V_RUN_S], a),
        units_seconds(v[V_CPU_S], b), units_seconds(v[V_WAIT_S], c));
}

static void explain_slot(struct page *page, const struct row *slot)
{
    const double *v = slot->value;
    char a[UNITS_ROOM], b[UNITS_ROOM];
    add(page, "Slot %" PRIu64 ", a %s, for %s since %s", (uint64_t)(slot->id & INT64_MAX),
        slot->process ? "process of the user's" : "thread of the daemon", slot->user,
        units_seconds(v[V_AGE_S], a));
    if (slot->job != 0)
        add(page, "Job %" PRIu64 ", %s: item %.0f; %s of %s items of its chunk are done.", slot->job,
            slot->function, v[V_ITEM], units_count(v[V_FINISHED], a), units_count(v[V_ITEMS], b));
    if (slot->above)
        add(page, "It runs above the pool's slots, so that its owner need not wait.");
    if (slot->asked)
        add(page, "It was asked to stop after the present item, or was given up.");
}

/* 0 where it is not known. */
static uint64_t count_of(double value)
{
    return value > 0 ? (uint64_t)value : 0;
}

/* Who has the slots now, those with most first. */
static void holders(struct page *page, const struct model *model)
{
    enum { MOST = 3 };
    const struct row *most[MOST] = {NULL};
    const struct rows *users = &model->now->pane[PANE_USERS];
    for (size_t i = 0; i < users->count; i++) {
        const struct row *user = &users->row[i];
        for (int k = 0; k < MOST && user && user->value[V_RUNNING] > 0; k++)
            if (!most[k] || most[k]->value[V_RUNNING] < user->value[V_RUNNING]) {
                const struct row *moved = most[k];
                most[k] = user;
                user = moved;
            }
    }
    char a[UNITS_ROOM], b[UNITS_ROOM];
    for (int k = 0; k < MOST && most[k]; k++)
        add(page, "- %s runs on %s, is due %s", most[k]->user, units_count(most[k]->value[V_RUNNING], a),
            units_real(most[k]->value[V_ENTITLED], b));
}

static bool why_it_waits(const struct row *job, const struct model *model, char out[WAITS_SENTENCE_ROOM])
{
    const double *v = job->value, *figure = model->now->figure;
    const struct rows *jobs = &model->now->pane[PANE_JOBS];
    struct waits_facts facts = {
        .waits = job->waits,
        .items = count_of(v[V_ITEMS]),
        .finished = count_of(v[V_FINISHED]),
        .queued = count_of(v[V_QUEUED]),
        .running = count_of(v[V_RUNNING]),
        .slots = count_of(v[V_SLOTS]),
        .client = count_of(v[V_CLIENT]),
        .pool = count_of(figure[F_SLOTS]),
        .busy = count_of(figure[F_BUSY]),
        .user = job->user,
    };
    for (size_t i = 0; i < jobs->count; i++) {
        const struct row *other = &jobs->row[i];
        facts.ahead += other->uid == job->uid && strcmp(other->waits, "turn") == 0 &&
                       other->value[V_PRIORITY] > v[V_PRIORITY];
    }
    return waits_sentence(&facts, out, WAITS_SENTENCE_ROOM);
}

static void explain_job(struct page *page, const struct row *job, const struct model *model)
{
    const double *v = job->value;
    char a[UNITS_ROOM], b[UNITS_ROOM], c[UNITS_ROOM];
    add(page, "Job %" PRIu64 " of %s%s%s", job->job, job->user, *job->function ? ", " : "", job->function);
    if (isnan(v[V_FINISHED])) {
        add(page, "%s items have come; of others' jobs no more is told.", units_count(v[V_ITEMS], a));
        return;
    }
    add(page, "%s of %s items%s are done, %s failed.", units_count(v[V_FINISHED], a),
        units_count(v[V_ITEMS], b), job->ended ? "" : " that have come", units_count(v[V_FAILED], c));
    add(page, "It runs on %s of at most %s slots, and is %s old.", units_count(v[V_RUNNING], a),
        units_count(v[V_SLOTS], b), units_seconds(v[V_AGE_S], c));
    if (v[V_ITEM_S] > 0)
        add(page, "An item is expected to take %s.", units_seconds(v[V_ITEM_S], a));
    if (!isnan(v[V_ETA_S]))
        add(page, "At this pace it is done in %s.", units_seconds(v[V_ETA_S], a));
    char why[WAITS_SENTENCE_ROOM];
    if (!why_it_waits(job, model, why))
        return;
    add(page, "%s", "");
    add(page, "%s", why);
    if (strcmp(job->waits, "turn") == 0)
        holders(page, model);
}

static void explain(const struct top *top, struct page *page)
{
    const struct row *row = view_selected(&top->view, top->view.focus);
    if (!row)
        add(page, "Nothing is chosen.");
    else if (top->view.focus == PANE_USERS)
        explain_user(page, row);
    else if (top->view.focus == PANE_SLOTS)
        explain_slot(page, row);
    else
        explain_job(page, row, &top->model);
}

void popup_draw(const struct top *top)
{
    struct page page = {.width = COLS < WIDTH + 4 ? COLS - 4 : WIDTH};
    if (top->mode == MODE_HELP)
        help(&page);
    else if (top->mode == MODE_EXPLAIN && top->model.now)
        explain(top, &page);
    if (page.count == 0)
        return;
    int columns = COLS < WIDTH + 4 ? COLS : WIDTH + 4;
    int lines = LINES < page.count + 2 ? LINES : page.count + 2;
    int line = (LINES - lines) / 2, column = (COLS - columns) / 2;
    paint_box(line, column, lines, columns);
    for (int i = 0; i < lines - 2; i++)
        paint_text(line + 1 + i, column + 2, columns - 4, true, STYLE_PLAIN, page.line[i]);
    paint_run(line, column + 2, STYLE_STRONG, top->mode == MODE_HELP ? " Keys " : " Explained ");
}
