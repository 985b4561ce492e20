/*
 * How a job stands; see state.h.
 */
#include "client/pmapc/state.h"

#include "client/pmapc/query.h"
#include "client/pmapc/waits.h"

bool state_is_full(const msgpack_object *job)
{
    return query_field(job, "waits") != NULL;
}

const char *state_word(const msgpack_object *job)
{
    char waits[32];
    return waits_word(query_text(job, "waits", waits, sizeof waits), query_number(job, "running") > 0);
}

double state_remaining(const msgpack_object *job, double slots)
{
    uint64_t items = query_number(job, "items"), finished = query_number(job, "finished");
    double item_s = query_real(job, "item_s");
    if (finished >= items)
        return 0;
    return item_s > 0 && slots > 0 ? (double)(items - finished) * item_s / slots : -1;
}
