/*
 * What is looked at; see view.h.
 */
#include "client/pmapc/top/view.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void view_init(struct view *view)
{
    *view = (struct view){.focus = PANE_JOBS};
    for (enum pane pane = 0; pane < PANE_COUNT; pane++)
        view->pane[pane].order = columns_order(pane);
}

void view_free(struct view *view)
{
    for (int i = 0; i < PANE_COUNT; i++)
        free(view->pane[i].row);
    view_init(view);
}

/* Bytes beyond ASCII are compared as they are. */
static bool holds(const char *text, const char *part)
{
    size_t len = strlen(part);
    for (; *text; text++)
        if (strncasecmp(text, part, len) == 0)
            return true;
    return false;
}

/* Does the row itself fit: by its user, its function, or the beginning of its job's number? */
static bool fits(const struct view *view, const struct row *row)
{
    if (view->mine && !row->mine)
        return false;
    if (*view->filter == '\0' || holds(row->user, view->filter) || holds(row->function, view->filter))
        return true;
    char number[24];
    snprintf(number, sizeof number, "%" PRIu64, row->job);
    return row->job != 0 && strncmp(number, view->filter, strlen(view->filter)) == 0;
}

/* The owners of the jobs that fit, in order. They are shown, too, for the sake of these. */
struct owners {
    uint32_t *uid;
    size_t count;
};

static int by_uid(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int find_owners(const struct view *view, const struct model *model, struct owners *owners)
{
    const struct rows *jobs = &model->now->pane[PANE_JOBS];
    owners->count = 0;
    owners->uid = calloc(jobs->count > 0 ? jobs->count : 1, sizeof *owners->uid);
    if (!owners->uid)
        return -ENOMEM;
    for (size_t i = 0; i < jobs->count; i++)
        if (fits(view, &jobs->row[i]))
            owners->uid[owners->count++] = jobs->row[i].uid;
    qsort(owners->uid, owners->count, sizeof *owners->uid, by_uid);
    return 0;
}

struct order {
    const struct column *column;
    bool reverse;
};

static int compare(const void *a, const void *b, void *cookie)
{
    const struct order *order = cookie;
    const struct row *const *x = a, *const *y = b;
    return columns_compare(order->column, order->reverse, *x, *y);
}

/* Where what was selected is now; else the row that has come to its place. */
static void find_selected(struct pane_view *pane)
{
    for (size_t i = 0; i < pane->count; i++)
        if (pane->row[i]->id == pane->id) {
            pane->at = i;
            return;
        }
    if (pane->at >= pane->count)
        pane->at = pane->count > 0 ? pane->count - 1 : 0;
    if (pane->count > 0)
        pane->id = pane->row[pane->at]->id;
}

static int arrange_pane(struct view *view, const struct model *model, enum pane number,
                        const struct owners *owners)
{
    struct pane_view *pane = &view->pane[number];
    const struct rows *rows = &model->now->pane[number];
    pane->count = 0;
    free(pane->row);
    pane->row = calloc(rows->count > 0 ? rows->count : 1, sizeof(const struct row *));
    if (!pane->row)
        return -ENOMEM;
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->row[i];
        if (fits(view, row) ||
            (number == PANE_USERS && bsearch(&row->uid, owners->uid, owners->count, sizeof row->uid, by_uid)))
            pane->row[pane->count++] = row;
    }
    size_t count;
    struct order order = {columns_of(number, &count) + pane->order, pane->reverse};
    qsort_r(pane->row, pane->count, sizeof(const struct row *), compare, &order);
    find_selected(pane);
    return 0;
}

int view_arrange(struct view *view, const struct model *model)
{
    struct owners owners;
    if (!model->now)
        return 0;
    int rc = find_owners(view, model, &owners);
    for (enum pane pane = 0; pane < PANE_COUNT; pane++) {
        view->pane[pane].count = 0;
        if (rc == 0)
            rc = arrange_pane(view, model, pane, &owners);
    }
    free(owners.uid);
    return rc;
}

void view_move(struct view *view, long rows)
{
    struct pane_view *pane = &view->pane[view->focus];
    if (pane->count == 0)
        return;
    long at = (long)pane->at, last = (long)pane->count - 1;
    if (rows < 0)
        at = rows < -at ? 0 : at + rows;
    else
        at = rows > last - at ? last : at + rows;
    pane->at = (size_t)at;
    pane->id = pane->row[at]->id;
}

void view_scroll(struct view *view, enum pane number, size_t rows)
{
    struct pane_view *pane = &view->pane[number];
    /* A pane that nobody moves in shows its beginning. */
    if (number != view->focus || pane->at < pane->top)
        pane->top = number == view->focus ? pane->at : 0;
    if (rows > 0 && number == view->focus && pane->at >= pane->top + rows)
        pane->top = pane->at - rows + 1;
    if (pane->top + rows > pane->count)
        pane->top = pane->count > rows ? pane->count - rows : 0;
}

void view_order(struct view *view, int step, const int shown[COLUMNS_MAX])
{
    struct pane_view *pane = &view->pane[view->focus];
    size_t count, at = pane->order;
    columns_of(view->focus, &count);
    for (size_t i = 0; i < count; i++) {
        at = (at + count + (size_t)step) % count;
        if (shown[at] > 0) {
            pane->order = at;
            pane->reverse = false;
            return;
        }
    }
}

const struct row *view_selected(const struct view *view, enum pane number)
{
    const struct pane_view *pane = &view->pane[number];
    return pane->at < pane->count ? pane->row[pane->at] : NULL;
}
