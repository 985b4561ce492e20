/*
 * What the last look at the daemon shows, together with those before it: rates, progress and the time that is
 * left, from the differences. Pure. Thread-safety: none; one owner.
 */
#ifndef PMAPC_TOP_MODEL_H
#define PMAPC_TOP_MODEL_H

#include "client/pmapc/top/sample.h"

/* What is remembered of a row from one look to the next. */
struct past {
    uint64_t id;
    double finished, rate;
};
struct pasts {
    struct past *past; /* in the order of their ids */
    size_t count;
};

struct model {
    struct sample *now; /* NULL before the first */
    struct pasts pasts[PANE_COUNT];
    double items_done, items_per_s; /* of the pool, for daemons that do not tell a rate */
};

/* Zeroed is empty. Frees what it holds, the model itself is the caller's. */
void model_clear(struct model *model);

/*
 * Takes a look over, which the model owns from now on, and computes what is computed of its rows.
 * A daemon that was started anew begins anew here, too. Where memory is short rates are unknown until the
 * look after the next.
 */
void model_take(struct model *model, struct sample *sample);

#endif
