/*
 * --progress: one line on the terminal that stderr is, at most ten times a second, out of the way whenever
 * anything else is written there, and gone at the end. bar.h says what stands in it.
 */
#ifndef PMAPC_PROGRESS_H
#define PMAPC_PROGRESS_H

#include "client/pmapc/bar.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    bool wanted; /* and stderr is a terminal that can take a line away */
    bool utf8;
    int64_t start_ns, shown_ns;
    struct pace pace;
};

void progress_init(struct progress *progress, bool wanted);

/* May it be shown again by now? */
bool progress_due(const struct progress *progress);

/* Shows how far it is, when it is due: items done, failed, total and about of *bar. Not while another program
 * has the terminal, and not behind a line of the output that has no end yet. */
void progress_show(struct progress *progress, struct bar *bar);

/* This program was stopped until now, so what it did then says nothing of its pace. */
void progress_continue(struct progress *progress, uint64_t done);

/* How long, in ms, until it is due; -1: never. */
int progress_wait_ms(const struct progress *progress);

/* Takes the line away, until it is shown again. Costs nothing where none is shown. Async-signal-safe. */
void progress_clear(void);

/* The same, because this is about to be written to the terminal. */
void progress_make_way(const char *data, size_t len);

#endif
