/*
 * The event queue of the simulation; see events.h.
 */
#include "tests/sim/events.h"

#include <stdio.h>
#include <stdlib.h>

static void *have(void *memory)
{
    if (!memory) {
        fputs("pmap_sim: out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

void *need(size_t size)
{
    return have(malloc(size ? size : 1));
}

void *need_zeroed(size_t count, size_t size)
{
    return have(calloc(count ? count : 1, size));
}

void *need_more(void *old, size_t size)
{
    return have(realloc(old, size));
}

void events_free(struct events *events)
{
    free(events->heap);
    *events = (struct events){0};
}

static bool before(const struct event *a, const struct event *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->number < b->number);
}

void events_add(struct events *events, int64_t at_ns, event_function *run, void *target, uint64_t argument)
{
    if (events->count == events->capacity) {
        events->capacity = events->capacity ? events->capacity * 2 : 64;
        events->heap = need_more(events->heap, events->capacity * sizeof *events->heap);
    }
    struct event event = {at_ns, events->scheduled++, run, target, argument};
    size_t i = events->count++;
    while (i > 0 && before(&event, &events->heap[(i - 1) / 2])) {
        events->heap[i] = events->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    events->heap[i] = event;
}

bool events_take(struct events *events, struct event *event)
{
    if (events->count == 0)
        return false;
    *event = events->heap[0];
    struct event last = events->heap[--events->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= events->count)
            break;
        if (child + 1 < events->count && before(&events->heap[child + 1], &events->heap[child]))
            child++;
        if (!before(&events->heap[child], &last))
            break;
        events->heap[i] = events->heap[child];
        i = child;
    }
    if (events->count > 0)
        events->heap[i] = last;
    return true;
}

int64_t events_next_ns(const struct events *events)
{
    return events->count ? events->heap[0].at_ns : INT64_MAX;
}
