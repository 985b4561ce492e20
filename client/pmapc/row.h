/*
 * A row of a trace: the times at which one slot was busy, so that no two events of it overlap, whatever the
 * clocks said. Keeps a bounded number of spans; the smallest gaps between them are forgotten first. Pure.
 */
#ifndef PMAPC_ROW_H
#define PMAPC_ROW_H

#include <stddef.h>
#include <stdint.h>

enum { ROW_SPANS = 64 };

struct span {
    int64_t begin_ns, end_ns; /* [begin, end) */
};

struct row {
    struct span spans[ROW_SPANS]; /* ascending, with gaps between them */
    size_t count;
};

/* Zeroed is empty. Cuts *span down to what is free there, which may be nothing but a point (behind what is in
 * its way), and takes it. */
void row_take(struct row *row, struct span *span);

#endif
