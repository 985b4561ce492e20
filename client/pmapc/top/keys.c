/*
 * What keys do; see keys.h.
 */
#include "client/pmapc/top/keys.h"

#include "client/pmapc/top/columns.h"
#include "client/pmapc/top/draw.h"
#include "client/pmapc/top/screen.h"
#include "common/utf8.h"

#include <limits.h>
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum {
    KEY_ESCAPE = 27,
    KEY_TABULATOR = '\t',
    KEY_REDRAW = 'l' & 0x1f,
    KEY_LINE = 'u' & 0x1f,
    KEY_DELETE = 127
};

static void arrange(struct top *top)
{
    if (view_arrange(&top->view, &top->model) < 0)
        top_say(top, "Out of memory.");
}

/* Returns false for a key that moves nothing. */
static bool go(struct top *top, unsigned key)
{
    switch (key) {
    case KEY_UP:
        view_move(&top->view, -1);
        return true;
    case KEY_DOWN:
        view_move(&top->view, 1);
        return true;
    case KEY_PPAGE:
        view_move(&top->view, -draw_page(top));
        return true;
    case KEY_NPAGE:
        view_move(&top->view, draw_page(top));
        return true;
    case KEY_HOME:
        view_move(&top->view, LONG_MIN);
        return true;
    case KEY_END:
        view_move(&top->view, LONG_MAX);
        return true;
    case KEY_BTAB:
        top->view.focus = (top->view.focus + PANE_COUNT - 1) % PANE_COUNT;
        return true;
    default:
        return false;
    }
}

static void order(struct top *top, int step)
{
    int shown[COLUMNS_MAX];
    columns_fit(top->view.focus, COLS, shown);
    view_order(&top->view, step, shown);
    arrange(top);
}

static void ask_to_cancel(struct top *top)
{
    top->job = top_selected_job(top);
    if (top->job == 0)
        return;
    if (top->news.lost)
        top_say(top, "There is no daemon to cancel it.");
    else
        top->mode = MODE_ASK;
}

/* Keys in the rows that are characters. Returns false for the end. */
static bool command(struct top *top, unsigned key)
{
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case KEY_TABULATOR:
        top->view.focus = (top->view.focus + 1) % PANE_COUNT;
        break;
    case '>':
    case 's':
        order(top, 1);
        break;
    case '<':
    case 'S':
        order(top, -1);
        break;
    case 'r':
        top->view.pane[top->view.focus].reverse = !top->view.pane[top->view.focus].reverse;
        arrange(top);
        break;
    case '/':
        top->mode = MODE_FILTER;
        break;
    case 'u':
        top->view.mine = !top->view.mine;
        arrange(top);
        break;
    case KEY_ESCAPE:
        top->view.filter[0] = '\0';
        arrange(top);
        break;
    case 'c':
    case 'k':
        ask_to_cancel(top);
        break;
    case 'e':
        top->mode = MODE_EXPLAIN;
        break;
    case 'h':
    case '?':
        top->mode = MODE_HELP;
        break;
    case ' ':
        feed_wake(top->feed);
        break;
    default:
        break;
    }
    return true;
}

static void append(char filter[FILTER_ROOM], unsigned key)
{
    char bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    size_t len = strlen(filter), n = wcrtomb(bytes, (wchar_t)key, &state);
    if (n == (size_t)-1 || len + n >= FILTER_ROOM || !utf8_valid(bytes, n))
        return;
    memcpy(filter + len, bytes, n);
    filter[len + n] = '\0';
}

/* The filter takes effect while it is typed. */
static void type(struct top *top, unsigned key, bool special)
{
    char *filter = top->view.filter;
    if (key == KEY_BACKSPACE || (!special && (key == KEY_DELETE || key == '\b'))) {
        size_t len = strlen(filter);
        filter[len > 0 ? utf8_cut(filter, len, len - 1) : 0] = '\0';
    } else if (!special && key == KEY_LINE) {
        filter[0] = '\0';
    } else if (key == KEY_ENTER || (!special && (key == '\r' || key == '\n'))) {
        top->mode = MODE_ROWS;
    } else if (!special && key == KEY_ESCAPE) {
        filter[0] = '\0';
        top->mode = MODE_ROWS;
    } else if (!special && key >= ' ') {
        append(filter, key);
    }
    arrange(top);
}

static void answer(struct top *top, unsigned key)
{
    top->mode = MODE_ROWS;
    top->message[0] = '\0';
    if (key == 'y' || key == 'Y')
        feed_cancel(top->feed, top->job);
    else
        top_say(top, "Not cancelled.");
}

bool keys_press(struct top *top, unsigned key, bool special)
{
    if (special && key == KEY_RESIZE)
        return true;
    if (!special && key == KEY_REDRAW) {
        screen_redraw();
        return true;
    }
    switch (top->mode) {
    case MODE_FILTER:
        type(top, key, special);
        return true;
    case MODE_ASK:
        answer(top, special ? 0 : key);
        return true;
    case MODE_EXPLAIN:
        if (special && go(top, key))
            return true;
        top->mode = MODE_ROWS;
        return true;
    case MODE_HELP:
        top->mode = MODE_ROWS;
        return true;
    case MODE_ROWS:
        break;
    }
    top->message[0] = '\0';
    if (special) {
        go(top, key);
        return true;
    }
    return command(top, key);
}
