/*
 * How a job stands; see state.h.
 */
#include "client/pmapc/state.h"

#include "client/pmapc/query.h"

bool state_is_full(const msgpack_object *job)
{
    return query_field(job, "waits") != NULL;
}

const char *state_word(const msgpack_object *job)
{
    static const struct {
        const char *waits, *word;
        bool though_running; /* it says more than that it runs */
    } words[] = {
        {"nothing", "ending", false},   {"items", "no items", false},    {"chunk", "few items", false},
        {"turn", "queued", false},      {"job_slots", "own -j", false},  {"owner_slots", "user's cap", false},
        {"process", "starting", false}, {"start", "start fails", false}, {"reader", "not read", true},
        {"paused", "paused", true},     {"halted", "halted", true},
    };
    bool running = query_number(job, "running") > 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (query_is(job, "waits", words[i].waits) && (!running || words[i].though_running))
            return words[i].word;
    }
    return running ? "running" : "waiting"; /* for something that a later daemon knows */
}

double state_remaining(const msgpack_object *job, double slots)
{
    uint64_t items = query_number(job, "items"), finished = query_number(job, "finished");
    double item_s = query_real(job, "item_s");
    if (finished >= items)
        return 0;
    return item_s > 0 && slots > 0 ? (double)(items - finished) * item_s / slots : -1;
}
