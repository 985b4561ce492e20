/*
 * What is looked at: which pane, ordered by what, filtered by what, and which row is selected. The selection
 * stays with what it is on, however the rows around it move. Pure. Thread-safety: none; one owner.
 */
#ifndef PMAPC_TOP_VIEW_H
#define PMAPC_TOP_VIEW_H

#include "client/pmapc/top/columns.h"
#include "client/pmapc/top/model.h"

enum { FILTER_ROOM = 64 };

struct pane_view {
    size_t order; /* the column by which it is ordered */
    bool reverse;
    const struct row **row; /* those that are shown, in order; into the model's sample */
    size_t count;
    size_t at;   /* the selected one */
    uint64_t id; /* what that one is */
    size_t top;  /* the first that is on the screen */
};

struct view {
    struct pane_view pane[PANE_COUNT];
    enum pane focus;
    char filter[FILTER_ROOM]; /* UTF-8; "": all */
    bool mine;                /* the asking user's only */
};

void view_init(struct view *view);
void view_free(struct view *view);

/*
 * Chooses and orders the rows anew: after each look, and each change of the filter or an order. The rows are
 * good until the model takes the next look. Returns 0 or -ENOMEM, and then nothing is shown.
 */
int view_arrange(struct view *view, const struct model *model);

/* Moves the selection of the pane in focus by so many rows, as far as there are any. */
void view_move(struct view *view, long rows);

/* Has `rows` rows of that pane's on the screen: moves what is shown so that the selected one is among them.
 */
void view_scroll(struct view *view, enum pane pane, size_t rows);

/* Orders the pane in focus by the column `step` further, among those of `shown` that are not 0. */
void view_order(struct view *view, int step, const int shown[COLUMNS_MAX]);

/* The selected row of a pane; NULL where it has none. */
const struct row *view_selected(const struct view *view, enum pane pane);

#endif
