/*
 * A row of a trace; see row.h.
 */
#include "client/pmapc/row.h"

#include <string.h>

/* How many spans begin at or before that time. Most events come in order, so from the end. */
static size_t before(const struct row *row, int64_t time_ns)
{
    size_t i = row->count;
    while (i > 0 && row->spans[i - 1].begin_ns > time_ns)
        i--;
    return i;
}

/* Makes one of a span and the next. */
static void join(struct row *row, size_t i)
{
    row->spans[i].end_ns = row->spans[i + 1].end_ns;
    row->count--;
    memmove(row->spans + i + 1, row->spans + i + 2, (row->count - i - 1) * sizeof *row->spans);
}

/* Makes room for one more. */
static void forget_gap(struct row *row)
{
    size_t least = 0;
    int64_t least_ns = INT64_MAX;
    for (size_t i = 0; i + 1 < row->count; i++) {
        int64_t gap_ns = row->spans[i + 1].begin_ns - row->spans[i].end_ns;
        if (gap_ns < least_ns) {
            least = i;
            least_ns = gap_ns;
        }
    }
    join(row, least);
}

static void insert(struct row *row, const struct span *span)
{
    if (row->count == ROW_SPANS)
        forget_gap(row);
    size_t at = before(row, span->begin_ns);
    memmove(row->spans + at + 1, row->spans + at, (row->count - at) * sizeof *row->spans);
    row->spans[at] = *span;
    row->count++;
    if (at + 1 < row->count && row->spans[at].end_ns == row->spans[at + 1].begin_ns)
        join(row, at);
    if (at > 0 && row->spans[at - 1].end_ns == row->spans[at].begin_ns)
        join(row, at - 1);
}

void row_take(struct row *row, struct span *span)
{
    size_t next = before(row, span->begin_ns);
    if (next > 0 && row->spans[next - 1].end_ns > span->begin_ns)
        span->begin_ns = row->spans[next - 1].end_ns;
    if (next < row->count && row->spans[next].begin_ns < span->end_ns)
        span->end_ns = row->spans[next].begin_ns;
    if (span->end_ns < span->begin_ns)
        span->end_ns = span->begin_ns;
    if (span->end_ns > span->begin_ns)
        insert(row, span);
}
