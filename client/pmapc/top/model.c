/*
 * Rates, progress and the time that is left; see model.h.
 */
#include "client/pmapc/top/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A rate follows what is measured with this time constant: steady to read, and right after a few refreshes.
 */
#define RATE_TAU_S 5.0
/* Items that take longer than this finish so seldom that their expected time says more than their rate. */
#define SLOW_ITEM_S 1.0
/* A rate below is that of a job that stands still. */
#define RATE_LEAST 1e-3

static int by_id(const void *a, const void *b)
{
    const struct past *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void pasts_clear(struct pasts *pasts)
{
    free(pasts->past);
    *pasts = (struct pasts){NULL, 0};
}

void model_clear(struct model *model)
{
    sample_free(model->now);
    for (int i = 0; i < PANE_COUNT; i++)
        pasts_clear(&model->pasts[i]);
    model->now = NULL;
    model->items_done = model->items_per_s = NAN;
}

static double smooth(double before, double measured, double elapsed_s)
{
    if (isnan(before) || isnan(measured))
        return measured;
    return before + (measured - before) * (1 - exp(-elapsed_s / RATE_TAU_S));
}

/* Sets the rates of these rows, and makes them the past. */
static void rate_rows(struct rows *rows, struct pasts *pasts, double elapsed_s)
{
    struct past *next = calloc(rows->count > 0 ? rows->count : 1, sizeof *next);
    for (size_t i = 0; i < rows->count; i++) {
        struct row *row = &rows->row[i];
        struct past key = {.id = row->id};
        const struct past *old = NULL;
        if (pasts->count > 0)
            old = bsearch(&key, pasts->past, pasts->count, sizeof key, by_id);
        double finished = row->value[V_FINISHED];
        if (old)
            row->value[V_RATE] = smooth(old->rate, (finished - old->finished) / elapsed_s, elapsed_s);
        if (next)
            next[i] = (struct past){row->id, finished, row->value[V_RATE]};
    }
    free(pasts->past);
    *pasts = (struct pasts){next, next ? rows->count : 0};
    if (next)
        qsort(next, rows->count, sizeof *next, by_id);
}

/* The seconds until a job will be done, or NAN where that cannot be known: as long as items come, while it is
 * held, and before anything of it has been done. Reads the other values of the row, its rate among them. */
static double eta(const struct row *job)
{
    const double *v = job->value;
    double left = v[V_ITEMS] - v[V_FINISHED];
    if (!job->ended || isnan(left) || strcmp(job->waits, "paused") == 0 || strcmp(job->waits, "halted") == 0)
        return NAN;
    if (left <= 0)
        return 0;
    bool expected = v[V_ITEM_S] > 0 && v[V_RUNNING] > 0;
    if (expected && v[V_ITEM_S] >= SLOW_ITEM_S)
        return left * v[V_ITEM_S] / v[V_RUNNING];
    if (v[V_RATE] > RATE_LEAST)
        return left / v[V_RATE];
    if (expected)
        return left * v[V_ITEM_S] / v[V_RUNNING];
    /* The mean of its whole life, where there is no other measure. */
    return v[V_FINISHED] > 0 && v[V_AGE_S] > 0 ? left * v[V_AGE_S] / v[V_FINISHED] : NAN;
}

static void derive(struct row *row, enum pane pane, double slots)
{
    double *v = row->value;
    if (pane == PANE_USERS && slots > 0) {
        if (isnan(v[V_USED]))
            v[V_USED] = v[V_RUNNING];
        v[V_PROGRESS] = fmin(v[V_USED] / slots, 1);
        v[V_MARK] = fmin(v[V_ENTITLED] / slots, 1);
    }
    if (pane != PANE_USERS && v[V_ITEMS] > 0 && (pane == PANE_SLOTS || row->ended))
        v[V_PROGRESS] = fmin(v[V_FINISHED] / v[V_ITEMS], 1);
    if (pane == PANE_JOBS)
        v[V_ETA_S] = eta(row);
}

void model_take(struct model *model, struct sample *sample)
{
    double elapsed_s = 0;
    if (model->now && model->now->instance == sample->instance)
        elapsed_s = (double)(sample->taken_ns - model->now->taken_ns) / 1e9;
    if (!(elapsed_s > 0))
        model_clear(model);
    double *figure = sample->figure;
    if (elapsed_s > 0) {
        double measured = (figure[F_ITEMS_DONE] - model->items_done) / elapsed_s;
        model->items_per_s = smooth(model->items_per_s, measured, elapsed_s);
    }
    model->items_done = figure[F_ITEMS_DONE];
    if (isnan(figure[F_ITEMS_PER_S]))
        figure[F_ITEMS_PER_S] = model->items_per_s;
    for (enum pane pane = 0; pane < PANE_COUNT; pane++) {
        struct rows *rows = &sample->pane[pane];
        if (pane != PANE_SLOTS)
            rate_rows(rows, &model->pasts[pane], elapsed_s);
        for (size_t i = 0; i < rows->count; i++)
            derive(&rows->row[i], pane, figure[F_SLOTS]);
    }
    sample_free(model->now);
    model->now = sample;
}
