/*
 * The columns of the panes: what each is called, what it shows of a row, how rows are ordered by it, and
 * which of them have room. Pure and thread-safe.
 */
#ifndef PMAPC_TOP_COLUMNS_H
#define PMAPC_TOP_COLUMNS_H

#include "client/pmapc/top/sample.h"

enum format {
    FORMAT_USER,
    FORMAT_FUNCTION,
    FORMAT_STATE,   /* that it runs, or what it waits for */
    FORMAT_NOTE,    /* what is unusual about a slot */
    FORMAT_ID,      /* of the row, a process's without the mark that it is one */
    FORMAT_JOB,     /* its number */
    FORMAT_COUNT,   /* the others: of the value */
    FORMAT_INTEGER, /* in full */
    FORMAT_REAL,
    FORMAT_PERCENT,
    FORMAT_SECONDS,
    FORMAT_FRACTION, /* "3/40": V_FINISHED of V_ITEMS */
    FORMAT_BAR,      /* a bar in a terminal, a percentage in plain text */
};

struct column {
    const char *title;
    enum format format;
    enum value value; /* that is shown, and by which rows are ordered; V_NONE where it is no number */
    unsigned char width;
    unsigned char rank; /* those of the highest rank are the first to go where there is no room; 0 stays */
    bool left;          /* its text begins at the left */
    bool greatest;      /* rows are ordered from the greatest down, unless reversed */
    bool stretch;       /* takes part in what room is left */
};
enum { COLUMNS_MAX = 16, CELL_ROOM = FUNCTION_ROOM };

const struct column *columns_of(enum pane pane, size_t *count);

/* The column by which a pane is ordered at first. */
size_t columns_order(enum pane pane);

/* "users", "slots", "jobs" */
const char *columns_pane_name(enum pane pane);

/* A row's text for a column, UTF-8, masked, not padded; "-" where it is unknown. */
const char *columns_cell(const struct column *column, const struct row *row, char out[CELL_ROOM]);

/* As strcmp: less than 0 where a comes before b. What is unknown comes last, and rows that are otherwise
 * equal are in the order of their ids, whether or not the order is reversed. */
int columns_compare(const struct column *column, bool reverse, const struct row *a, const struct row *b);

/* The widths of a pane's columns where they and a space before each may take so many; 0: not shown. */
void columns_fit(enum pane pane, int width, int widths[COLUMNS_MAX]);

#endif
