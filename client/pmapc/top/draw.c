/*
 * The picture; see draw.h.
 */
#include "client/pmapc/top/draw.h"

#include "client/pmapc/top/paint.h"
#include "client/pmapc/top/popup.h"
#include "client/pmapc/top/units.h"
#include "common/clock.h"

#include <inttypes.h>
#include <math.h>
#include <ncurses.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_MS = 6000, TITLE_ROOM = 32 };

/*** Header ***/

/* Texts one after the other in a line, as long as each has room. */
struct line {
    int line, at;
};

static void item(struct line *line, enum style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void item(struct line *line, enum style style, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (line->at > 1 && line->at + len > COLS) {
        line->at = COLS;
        return;
    }
    line->at = paint_run(line->line, line->at, style, text) + 2;
}

static const char *plural(double count)
{
    return count == 1 ? "" : "s";
}

static void draw_lost(const struct top *top)
{
    char text[FEED_TEXT_ROOM + 200], since[UNITS_ROOM];
    double seconds = (double)(now_ns() - top->news.lost_ns) / 1e9;
    snprintf(text, sizeof text, " NO DAEMON since %s: %s; trying again", units_seconds(floor(seconds), since),
             top->news.why);
    paint_text(0, 0, COLS, true, STYLE_BAD, text);
}

static void draw_title(const struct top *top)
{
    const struct sample *now = top->model.now;
    struct line line = {0, 1};
    char uptime[UNITS_ROOM];
    if (!now) {
        item(&line, STYLE_STRONG, "pmapd");
        item(&line, STYLE_QUIET, "asking ...");
        return;
    }
    item(&line, STYLE_STRONG, "pmapd %s", now->version);
    item(&line, STYLE_PLAIN, "up %s", units_seconds(floor(now->figure[F_UPTIME_S]), uptime));
    if (top->view.mine || *top->view.filter)
        item(&line, STYLE_WARN, "%s%s%s%s", top->view.mine ? "mine only" : "",
             top->view.mine && *top->view.filter ? ", " : "", *top->view.filter ? "filter: " : "",
             top->view.filter);
    int len = (int)strlen(top->endpoint);
    if (line.at + len + 1 < COLS)
        paint_run(0, COLS - len - 1, STYLE_QUIET, top->endpoint);
}

/* The bar of slots in use, with what is said of it behind. */
static void draw_slots(int number, const double figure[F_COUNT])
{
    char busy[UNITS_ROOM], all[UNITS_ROOM], load[UNITS_ROOM], behind[100];
    int len = snprintf(behind, sizeof behind, "%s of %s in use", units_count(figure[F_BUSY], busy),
                       units_count(figure[F_SLOTS], all));
    if (figure[F_ABOVE] > 0)
        len += snprintf(behind + len, sizeof behind - (size_t)len, ", %.0f extra", figure[F_ABOVE]);
    if (!isnan(figure[F_LOAD]))
        len += snprintf(behind + len, sizeof behind - (size_t)len, ", %s on average",
                        units_real(figure[F_LOAD], load));
    struct line line = {number, 1};
    item(&line, STYLE_PLAIN, "Slots");
    int width = COLS - line.at - len - 3;
    if (width >= 6) {
        enum style style = figure[F_BUSY] > figure[F_SLOTS] ? STYLE_WARN : STYLE_GOOD;
        paint_bar(number, line.at, width, figure[F_BUSY] / figure[F_SLOTS], NAN, style, STYLE_PLAIN);
        line.at += width + 2;
    }
    item(&line, STYLE_PLAIN, "%s", behind);
}

static void draw_figures(int number, const double figure[F_COUNT])
{
    char text[UNITS_ROOM];
    struct line line = {number, 1};
    item(&line, STYLE_STRONG, "%s items/s", units_count(figure[F_ITEMS_PER_S], text));
    item(&line, STYLE_PLAIN, "%s item%s queued", units_count(figure[F_QUEUED], text),
         plural(figure[F_QUEUED]));
    item(&line, STYLE_PLAIN, "%s job%s", units_count(figure[F_JOBS], text), plural(figure[F_JOBS]));
    if (figure[F_WAITING] > 0) {
        line.at -= 2;
        item(&line, STYLE_PLAIN, ", %s waiting", units_count(figure[F_WAITING], text));
    }
    item(&line, STYLE_PLAIN, "%s connection%s", units_count(figure[F_CONNECTIONS], text),
         plural(figure[F_CONNECTIONS]));
    if (figure[F_CUT] > 0)
        item(&line, STYLE_WARN, "%s cut", units_count(figure[F_CUT], text));
    item(&line, STYLE_QUIET, "%s held", units_bytes(figure[F_HELD], text));
    item(&line, STYLE_QUIET, "%s items done", units_count(figure[F_ITEMS_DONE], text));
    if (figure[F_ITEMS_FAILED] > 0)
        item(&line, STYLE_QUIET, "%s failed", units_count(figure[F_ITEMS_FAILED], text));
}

static void draw_header(const struct top *top, const struct layout *layout)
{
    if (top->news.lost)
        draw_lost(top);
    else
        draw_title(top);
    if (layout->header < 3 || !top->model.now)
        return;
    paint_fade(top->news.lost);
    draw_slots(1, top->model.now->figure);
    draw_figures(2, top->model.now->figure);
}

/*** Panes ***/

/* What stands behind the title of the column that has most room, that is, `room`: how many rows have none. */
static void note_of(const struct top *top, enum pane number, int rows, int room, char out[64])
{
    const struct pane_view *pane = &top->view.pane[number];
    const double *figure = top->model.now->figure;
    size_t more = pane->count > (size_t)rows ? pane->count - (size_t)rows : 0;
    double idle = 0;
    if (number == PANE_SLOTS)
        idle = figure[F_SLOTS] + (figure[F_ABOVE] > 0 ? figure[F_ABOVE] : 0) - figure[F_BUSY];
    out[0] = '\0';
    if (!top->model.now->pane[number].known)
        snprintf(out, 64, "(not told by this daemon)");
    else if (idle > 0 && more > 0)
        snprintf(out, 64, "(%.0f idle, %zu more)", idle, more);
    else if (idle > 0)
        snprintf(out, 64, "(%.0f idle)", idle);
    else if (more > 0)
        snprintf(out, 64, "(%zu more)", more);
    if (more > 0 && strlen(out) >= (size_t)room)
        snprintf(out, 64, "+%zu", more);
}

/* A column's title, and the mark of the order where that is by it. Returns how many cells it takes. */
static int title_of(const struct column *column, int width, bool ordered, bool reverse, char out[TITLE_ROOM])
{
    int len = snprintf(out, TITLE_ROOM, "%s", column->title);
    if (!ordered)
        return len;
    if (len >= width)
        len = width - 1;
    snprintf(out + len, TITLE_ROOM - (size_t)len, "%s", paint_arrow(column->greatest != reverse));
    return len + 1;
}

static void draw_heading(const struct top *top, enum pane number, const struct layout *layout,
                         const int widths[COLUMNS_MAX])
{
    const struct pane_view *pane = &top->view.pane[number];
    enum style style = number == top->view.focus ? STYLE_FOCUS : STYLE_HEADING;
    int line = layout->pane[number].heading, at = 0, room = 0, room_end = 0;
    size_t count;
    const struct column *columns = columns_of(number, &count);
    paint_blank(line, 0, COLS, style);
    for (size_t i = 0; i < count; i++) {
        if (widths[i] == 0)
            continue;
        char title[TITLE_ROOM];
        int len = title_of(&columns[i], widths[i], i == pane->order, pane->reverse, title);
        paint_text(line, at + 1, widths[i], columns[i].left, style, title);
        at += widths[i] + 1;
        if (columns[i].left && widths[i] - len > room) {
            room = widths[i] - len;
            room_end = at;
        }
    }
    char note[64];
    note_of(top, number, layout->pane[number].rows, room, note);
    int len = (int)strlen(note);
    if (len > 0 && len < room)
        paint_text(line, room_end - len, len, true, style, note);
}

/* How a row looks where it is not selected. */
static enum style style_of(const struct column *column, const struct row *row)
{
    if (column->format == FORMAT_USER && row->mine)
        return STYLE_MINE;
    if (column->format == FORMAT_NOTE)
        return row->asked || row->above ? STYLE_WARN : STYLE_QUIET;
    if (column->value == V_FAILED && row->value[V_FAILED] > 0)
        return STYLE_WARN;
    return column->format == FORMAT_STATE ? STYLE_QUIET : STYLE_PLAIN;
}

static void draw_bar(const struct row *row, int line, int at, int width, enum style ground)
{
    double part = row->value[V_PROGRESS];
    if (isnan(part) && !row->ended && row->value[V_FINISHED] >= 0) {
        /* How many items there will be is not known yet. */
        paint_text(line, at, width, true, ground == STYLE_SELECTED ? ground : STYLE_QUIET,
                   row->job != 0 && width >= 9 ? "more come" : "");
        return;
    }
    if (isnan(part)) {
        paint_blank(line, at, width, ground);
        return;
    }
    paint_bar(line, at, width, part, row->value[V_MARK], row->mine ? STYLE_MINE : STYLE_GOOD, ground);
}

static void draw_row(enum pane number, const struct row *row, int line, bool selected,
                     const int widths[COLUMNS_MAX])
{
    size_t count;
    const struct column *columns = columns_of(number, &count);
    enum style ground = selected ? STYLE_SELECTED : STYLE_PLAIN;
    int at = 0;
    paint_blank(line, 0, COLS, ground);
    for (size_t i = 0; i < count; i++) {
        char cell[CELL_ROOM];
        if (widths[i] == 0)
            continue;
        if (columns[i].format == FORMAT_BAR)
            draw_bar(row, line, at + 1, widths[i], ground);
        else
            paint_text(line, at + 1, widths[i], columns[i].left,
                       selected ? ground : style_of(&columns[i], row), columns_cell(&columns[i], row, cell));
        at += widths[i] + 1;
    }
}

static const char *nothing(const struct top *top, enum pane pane)
{
    static const char *const texts[PANE_COUNT] = {"nobody yet", "nothing runs", "no open jobs"};
    bool filtered = top->view.mine || *top->view.filter;
    return filtered && top->model.now->pane[pane].count > 0 ? "none that the filter lets through"
                                                            : texts[pane];
}

static void draw_pane(struct top *top, enum pane number, const struct layout *layout)
{
    struct pane_view *pane = &top->view.pane[number];
    int heading = layout->pane[number].heading, rows = layout->pane[number].rows;
    int widths[COLUMNS_MAX];
    if (heading < 0)
        return;
    columns_fit(number, COLS, widths);
    view_scroll(&top->view, number, rows > 0 ? (size_t)rows : 0);
    draw_heading(top, number, layout, widths);
    for (int i = 0; i < rows && pane->top + (size_t)i < pane->count; i++) {
        size_t at = pane->top + (size_t)i;
        draw_row(number, pane->row[at], heading + 1 + i, number == top->view.focus && at == pane->at, widths);
    }
    if (pane->count == 0 && rows > 0 && top->model.now->pane[number].known)
        paint_run(heading + 1, 1, STYLE_QUIET, nothing(top, number));
}

/*** The last line ***/

static void draw_keys(int number)
{
    static const struct {
        const char *key, *does;
    } keys[] = {{"q", "quit"}, {"Tab", "pane"},  {"<>", "sort"}, {"/", "filter"}, {"c", "cancel"},
                {"?", "help"}, {"r", "reverse"}, {"u", "mine"},  {"e", "explain"}};
    int at = 1;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int len = (int)(strlen(keys[i].key) + strlen(keys[i].does)) + 1;
        if (at + len > COLS)
            break;
        at = paint_run(number, at, STYLE_STRONG, keys[i].key) + 1;
        at = paint_run(number, at, STYLE_QUIET, keys[i].does) + 2;
    }
}

static void draw_footer(struct top *top, int number)
{
    char text[FEED_TEXT_ROOM + 2];
    if (number < 0)
        return;
    if (top->mode == MODE_ASK) {
        snprintf(text, sizeof text, " Cancel job %" PRIu64 "? y/n ", top->job);
        paint_text(number, 0, COLS, true, STYLE_BAD, text);
    } else if (top->mode == MODE_FILTER) {
        int at = paint_run(number, 1, STYLE_STRONG, "Filter by user, job or function: ");
        at = paint_run(number, at, STYLE_PLAIN, top->view.filter);
        paint_run(number, at, STYLE_SELECTED, " ");
    } else if (*top->message && now_ns() - top->message_ns < MESSAGE_MS * INT64_C(1000000)) {
        snprintf(text, sizeof text, " %s", top->message);
        paint_text(number, 0, COLS, true, STYLE_STRONG, text);
    } else {
        draw_keys(number);
    }
}

/*** All of it ***/

static void divide(const struct top *top, struct layout *layout)
{
    size_t wanted[PANE_COUNT];
    for (enum pane pane = 0; pane < PANE_COUNT; pane++)
        wanted[pane] = top->view.pane[pane].count;
    /* Chunks come and go; the lines are for the slots that they run in, so that panes stay where they are. */
    if (top->model.now && top->model.now->figure[F_SLOTS] > (double)wanted[PANE_SLOTS])
        wanted[PANE_SLOTS] = (size_t)fmin(top->model.now->figure[F_SLOTS], LINES);
    layout_divide(LINES, wanted, top->view.focus, layout);
}

int draw_page(const struct top *top)
{
    struct layout layout;
    divide(top, &layout);
    int rows = layout.pane[top->view.focus].rows;
    return rows > 1 ? rows : 1;
}

void draw(struct top *top)
{
    struct layout layout;
    paint_fade(false);
    erase();
    if (LINES < LAYOUT_LINES_LEAST || COLS < LAYOUT_COLUMNS_LEAST) {
        paint_text(0, 0, COLS, true, STYLE_PLAIN, "too small");
        refresh();
        return;
    }
    divide(top, &layout);
    draw_header(top, &layout);
    paint_fade(top->news.lost);
    for (enum pane pane = 0; top->model.now && pane < PANE_COUNT; pane++)
        draw_pane(top, pane, &layout);
    paint_fade(false);
    draw_footer(top, layout.footer);
    popup_draw(top);
    refresh();
}
