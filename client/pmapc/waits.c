/*
 * What a job's `waits` means; see waits.h.
 */
#include "client/pmapc/waits.h"

#include <stddef.h>
#include <string.h>

const char *waits_word(const char *waits, bool running)
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
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].waits, waits) == 0 && (!running || words[i].though_running))
            return words[i].word;
    }
    return running ? "running" : "waiting"; /* for something that a later daemon knows */
}
