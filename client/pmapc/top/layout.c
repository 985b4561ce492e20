/*
 * Which lines of the screen are whose; see layout.h.
 */
#include "client/pmapc/top/layout.h"

enum {
    HEADER = 3,
    PANE_LEAST = 2, /* rows, where there are as many */
    /* With fewer lines than these, which all have their use, only one pane is shown. */
    SMALL = HEADER + PANE_COUNT * (1 + PANE_LEAST) + 1,
};

/* Of lines that are wanted by several, a pane gets its next one while it has the fewest for its weight. */
static const int weights[PANE_COUNT] = {[PANE_USERS] = 2, [PANE_SLOTS] = 3, [PANE_JOBS] = 4};

/* Returns how many lines nobody wants. */
static int share_out(int left, const size_t wanted[PANE_COUNT], int rows[PANE_COUNT])
{
    for (int i = 0; i < PANE_COUNT; i++) {
        /* An empty pane has a line which says so. */
        rows[i] = wanted[i] < 1 ? 1 : wanted[i] < PANE_LEAST ? (int)wanted[i] : PANE_LEAST;
        left -= rows[i];
    }
    for (; left > 0; left--) {
        int next = -1;
        for (int i = 0; i < PANE_COUNT; i++)
            if ((size_t)rows[i] < wanted[i] &&
                (next < 0 || rows[i] * weights[next] < rows[next] * weights[i]))
                next = i;
        if (next < 0)
            break;
        rows[next]++;
    }
    return left;
}

void layout_divide(int lines, const size_t wanted[PANE_COUNT], enum pane focus, struct layout *layout)
{
    bool small = lines < SMALL;
    *layout =
        (struct layout){.header = small ? 1 : HEADER, .footer = lines > LAYOUT_LINES_LEAST ? lines - 1 : -1};
    int line = layout->header, end = layout->footer < 0 ? lines : layout->footer;
    for (int i = 0; i < PANE_COUNT; i++)
        layout->pane[i].heading = -1;
    if (small) {
        layout->pane[focus].heading = line;
        layout->pane[focus].rows = end - line - 1;
        return;
    }
    int rows[PANE_COUNT];
    int left = share_out(end - line - PANE_COUNT, wanted, rows);
    /* An empty line before each pane, where there are enough; the rest is the jobs'. */
    int gap = left >= PANE_COUNT ? 1 : 0;
    rows[PANE_JOBS] += left - gap * PANE_COUNT;
    for (int i = 0; i < PANE_COUNT; i++) {
        layout->pane[i].heading = line + gap;
        layout->pane[i].rows = rows[i];
        line += gap + 1 + rows[i];
    }
}
