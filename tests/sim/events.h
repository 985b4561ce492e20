/*
 * The event queue: a binary heap ordered by virtual time, and among equal times by the order of scheduling,
 * so that a history is the same each time it is run.
 */
#ifndef SIM_EVENTS_H
#define SIM_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world;

typedef void event_function(struct world *world, void *target, uint64_t argument);

struct event {
    int64_t at_ns;
    uint64_t number; /* order of scheduling */
    event_function *run;
    void *target;
    uint64_t argument;
};

struct events {
    struct event *heap;
    size_t count, capacity;
    uint64_t scheduled;
};

void events_free(struct events *events);

void events_add(struct events *events, int64_t at_ns, event_function *run, void *target, uint64_t argument);

/* The earliest event, taken out, into *event; false when there is none. */
bool events_take(struct events *events, struct event *event);

/* Time of the earliest event, INT64_MAX when there is none. */
int64_t events_next_ns(const struct events *events);

/* malloc and realloc that end the program: a simulation that is short of memory proves nothing. */
void *need(size_t size);
void *need_zeroed(size_t count, size_t size);
void *need_more(void *old, size_t size);

#endif
