/*
 * Text and bars on the screen; see paint.h.
 */
#include "client/pmapc/top/paint.h"

#include "common/utf8.h"

#include <langinfo.h>
#include <math.h>
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

enum { CELLS_MAX = 1024, COLOURS_MANY = 256, GREY = 8 };

/* In 256 colours, in 8, and in none. -1: the terminal's own. */
static const struct {
    short front, back;
    short front8, back8;
    attr_t more; /* with colours */
    attr_t mono; /* without */
} styles[STYLE_COUNT] = {
    [STYLE_PLAIN] = {-1, -1, -1, -1, A_NORMAL, A_NORMAL},
    [STYLE_STRONG] = {-1, -1, -1, -1, A_BOLD, A_BOLD},
    [STYLE_QUIET] = {245, -1, -1, -1, A_NORMAL, A_NORMAL},
    [STYLE_MINE] = {38, -1, COLOR_CYAN, -1, A_NORMAL, A_NORMAL},
    [STYLE_GOOD] = {71, -1, COLOR_GREEN, -1, A_NORMAL, A_NORMAL},
    [STYLE_WARN] = {178, -1, COLOR_YELLOW, -1, A_BOLD, A_BOLD},
    [STYLE_BAD] = {231, 160, COLOR_WHITE, COLOR_RED, A_BOLD, A_REVERSE | A_BOLD},
    [STYLE_HEADING] = {252, 238, COLOR_CYAN, -1, A_NORMAL, A_UNDERLINE},
    [STYLE_FOCUS] = {231, 25, COLOR_BLACK, COLOR_CYAN, A_NORMAL, A_REVERSE},
    [STYLE_SELECTED] = {231, 240, -1, -1, A_REVERSE, A_REVERSE},
};

static bool utf8, fine, coloured, faded;

void paint_init(void)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    /* The console's font has full and half blocks only, and no ellipsis. */
    fine = utf8 && terminal && strncmp(terminal, "linux", 5) != 0;
    coloured = !(no_colour && *no_colour) && has_colors() && start_color() == OK;
    if (!coloured)
        return;
    use_default_colors();
    for (int i = 0; i < STYLE_COUNT; i++) {
        bool many = COLORS >= COLOURS_MANY;
        init_pair((short)(i + 1), many ? styles[i].front : styles[i].front8,
                  many ? styles[i].back : styles[i].back8);
    }
}

void paint_fade(bool fade)
{
    faded = fade;
}

static void use(enum style style)
{
    attr_t attributes = styles[style].mono;
    short pair = 0;
    if (coloured) {
        attributes = styles[style].more;
        pair = (short)(style + 1);
        /* Where there are many colours, that of the row which is selected says enough. */
        if (style == STYLE_SELECTED && COLORS >= COLOURS_MANY)
            attributes = A_NORMAL;
    }
    if (faded) {
        attributes = (attributes & A_REVERSE) | A_DIM;
        pair = 0;
    }
    attr_set(attributes, pair, NULL);
}

/* One character of UTF-8 as it may be shown, and how many cells it takes. */
static wchar_t decode(const char **text, int *cells)
{
    size_t left = strlen(*text), n = utf8_length(*text, left);
    const unsigned char *p = (const unsigned char *)*text;
    static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = n > 0 ? p[0] & lead[n] : L'?';
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    *text += n > 0 ? n : 1;
    *cells = iswprint((wint_t)c) ? wcwidth((wchar_t)c) : 0;
    if (*cells > 0)
        return (wchar_t)c;
    *cells = 1;
    return L'?';
}

/* Turns text into at most `most` cells. Returns how many it took; *whole: it was all. */
static int cells_of(const char *text, int most, wchar_t out[CELLS_MAX], bool *whole)
{
    int taken = 0, count = 0;
    const char *p = text;
    while (*p && count < CELLS_MAX - 1) {
        int cells;
        const char *before = p;
        wchar_t c = decode(&p, &cells);
        if (taken + cells > most) {
            p = before;
            break;
        }
        out[count++] = c;
        taken += cells;
    }
    out[count] = L'\0';
    *whole = *p == '\0';
    return taken;
}

void paint_blank(int line, int column, int width, enum style style)
{
    use(style);
    mvhline(line, column, ' ', width);
}

void paint_text(int line, int column, int width, bool left, enum style style, const char *text)
{
    wchar_t cells[CELLS_MAX];
    bool whole;
    if (width <= 0)
        return;
    int taken = cells_of(text, width, cells, &whole);
    if (!whole)
        taken = cells_of(text, width - 1, cells, &whole);
    bool cut = !whole;
    paint_blank(line, column, width, style);
    mvaddwstr(line, left || cut ? column : column + width - taken, cells);
    if (cut)
        mvaddwstr(line, column + taken, fine ? L"\u2026" : L"~");
}

int paint_run(int line, int column, enum style style, const char *text)
{
    wchar_t cells[CELLS_MAX];
    bool whole;
    if (column >= COLS)
        return column;
    int taken = cells_of(text, COLS - column, cells, &whole);
    use(style);
    mvaddwstr(line, column, cells);
    return column + taken;
}

/* How much of a cell is full, in eighths, as a block character. */
static wchar_t block(int eighths)
{
    static const wchar_t eighth[] = L" \u258f\u258e\u258d\u258c\u258b\u258a\u2589\u2588";
    if (fine)
        return eighth[eighths];
    return eighths >= 8 ? L'\u2588' : eighths >= 4 ? L'\u258c' : L' ';
}

static void put(int line, int column, wchar_t character)
{
    const wchar_t text[] = {character, L'\0'};
    mvaddwstr(line, column, text);
}

void paint_bar(int line, int column, int width, double part, double mark, enum style style, enum style ground)
{
    int inside = width, first = column;
    paint_blank(line, column, width, ground);
    if (!utf8) {
        use(ground);
        put(line, column, L'[');
        put(line, column + width - 1, L']');
        inside -= 2;
        first++;
    }
    if (inside < 1)
        return;
    int eighths = isnan(part) || part < 0 ? 0 : (int)lround(fmin(part, 1) * inside * 8);
    int tick = mark >= 0 ? (int)lround(fmin(mark, 1) * inside) - 1 : -1;
    for (int i = 0; i < inside; i++) {
        int full = eighths - 8 * i;
        full = full < 0 ? 0 : full > 8 ? 8 : full;
        bool is_tick = i == tick && mark > 0;
        /* In a row that is selected the bar keeps the row's ground. */
        use(ground == STYLE_SELECTED ? ground
            : full > 0 && !is_tick   ? style
            : is_tick                ? STYLE_STRONG
                                     : STYLE_QUIET);
        if (is_tick)
            put(line, first + i, utf8 ? L'\u2502' : L'|');
        else if (utf8)
            put(line, first + i, full > 0 ? block(full) : L'\u00b7');
        else
            put(line, first + i, full >= 4 ? L'#' : L' ');
    }
}

const char *paint_arrow(bool down)
{
    if (utf8)
        return down ? "\u25bc" : "\u25b2";
    return down ? "v" : "^";
}

void paint_box(int line, int column, int lines, int columns)
{
    static const wchar_t lines_of_box[] = L"\u250c\u2510\u2514\u2518\u2500\u2502", plain[] = L"++++-|";
    const wchar_t *c = utf8 ? lines_of_box : plain;
    for (int i = 0; i < lines; i++)
        paint_blank(line + i, column, columns, STYLE_PLAIN);
    for (int i = 1; i < columns - 1; i++) {
        put(line, column + i, c[4]);
        put(line + lines - 1, column + i, c[4]);
    }
    for (int i = 1; i < lines - 1; i++) {
        put(line + i, column, c[5]);
        put(line + i, column + columns - 1, c[5]);
    }
    put(line, column, c[0]);
    put(line, column + columns - 1, c[1]);
    put(line + lines - 1, column, c[2]);
    put(line + lines - 1, column + columns - 1, c[3]);
}
