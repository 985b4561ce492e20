/*
 * Which lines of the screen are whose. Pure and thread-safe.
 */
#ifndef PMAPC_TOP_LAYOUT_H
#define PMAPC_TOP_LAYOUT_H

#include "client/pmapc/top/sample.h"

struct layout {
    int header; /* lines of the header, from the top: 3, or 1 where there is little room */
    struct {
        int heading; /* the line of its titles; -1: the pane is not shown */
        int rows;    /* lines behind that */
    } pane[PANE_COUNT];
    int footer; /* the last line; -1: none */
};

/* The least screen on which anything is shown. */
enum { LAYOUT_LINES_LEAST = 3, LAYOUT_COLUMNS_LEAST = 20 };

/*
 * Divides a screen of so many lines among what is to be shown. wanted: the rows that there are of each pane.
 * Where there is no room for all panes, only the one in focus is shown.
 */
void layout_divide(int lines, const size_t wanted[PANE_COUNT], enum pane focus, struct layout *layout);

#endif
