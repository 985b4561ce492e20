/*
 * --progress: one line on the terminal that stderr is, at most ten times a second, out of the way whenever
 * anything else is written there.
 */
#ifndef PMAPC_PROGRESS_H
#define PMAPC_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool wanted; /* and stderr is a terminal */
    int64_t start_ns, shown_ns;
};

void progress_init(struct progress *progress, bool wanted);

/* Shows how far it is; total: 0 where it is not known yet. Does nothing when it was shown just now. */
void progress_show(struct progress *progress, uint64_t done, uint64_t total, uint64_t failed);

/* How long, in ms, until progress_show would show something new; -1: never. */
int progress_wait_ms(const struct progress *progress);

/* Takes the line away, until it is shown again. Costs nothing where none is shown. */
void progress_clear(void);

#endif
