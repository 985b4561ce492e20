/*
 * Text and bars on the screen, in styles which suit the terminal: in colour where it has any and NO_COLOR is
 * not set, else by bold, reverse and underline; bars of block characters in UTF-8, else of ASCII. Nothing
 * that a text holds can steer the terminal. For the one thread that draws.
 */
#ifndef PMAPC_TOP_PAINT_H
#define PMAPC_TOP_PAINT_H

#include <stdbool.h>

enum style {
    STYLE_PLAIN,
    STYLE_STRONG,
    STYLE_QUIET,
    STYLE_MINE, /* what is the user's own */
    STYLE_GOOD, /* a bar */
    STYLE_WARN,
    STYLE_BAD,
    STYLE_HEADING,  /* of a pane */
    STYLE_FOCUS,    /* of the pane in focus */
    STYLE_SELECTED, /* the row that is selected */
    STYLE_COUNT,
};

/* After ncurses was started. Reads the locale's character set and NO_COLOR. */
void paint_init(void);

/* From here on all is dimmed, whatever its style; until it is called with false. */
void paint_fade(bool fade);

/* Fills `width` cells with blanks. */
void paint_blank(int line, int column, int width, enum style style);

/* Writes UTF-8 text into exactly `width` cells; a longer one is cut, and says so. */
void paint_text(int line, int column, int width, bool left, enum style style, const char *text);

/* Writes a text from `column` on, at most up to the edge. Returns the column behind it. */
int paint_run(int line, int column, enum style style, const char *text);

/*
 * A bar of `width` cells, `part` of it full, with a tick at `mark` (negative or NAN: none). NAN as part: an
 * empty one. ground: the style of the row that it is in.
 */
void paint_bar(int line, int column, int width, double part, double mark, enum style style,
               enum style ground);

/* The mark of an order: from the greatest down, or up. */
const char *paint_arrow(bool down);

/* Lines of a box: its frame and an empty inside. */
void paint_box(int line, int column, int lines, int columns);

#endif
