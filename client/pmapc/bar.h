/*
 * The line that --progress shows, as text; and how fast things go, over the last few seconds. Pure.
 */
#ifndef PMAPC_BAR_H
#define PMAPC_BAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bar {
    uint64_t done, failed; /* items */
    uint64_t total;        /* 0: not known */
    bool about;            /* it is an estimate */
    double rate;           /* items a second; negative: not known yet */
    double elapsed_s;
};

enum {
    BAR_COLUMNS = 80,  /* a line has at most so many */
    BAR_ROOM = 4 * 80, /* and so many bytes, its NUL included */
};

/*
 * The line for a terminal of so many columns, the last few of which stay free; what does not fit is left out,
 * the least important first. utf8: with blocks instead of ASCII. Returns its length in bytes.
 */
size_t bar_line(char out[BAR_ROOM], const struct bar *bar, unsigned columns, bool utf8);

/* The pace of something that is counted. */
enum { PACE_SAMPLES = 32 };
struct pace {
    struct {
        int64_t time_ns;
        uint64_t count;
    } samples[PACE_SAMPLES]; /* a ring, at most one in a fifth of a second */
    unsigned first, used;
    int64_t begin_ns, moved_ns; /* when it began, and when the count was seen to have grown last */
    uint64_t begin_count, count;
};

/* Begins, also anew, at this count. */
void pace_begin(struct pace *pace, int64_t now_ns, uint64_t count);
/*
 * So many there are now. Returns how many came in a second, of late; of what comes too seldom for that, since
 * it began; negative: too early to tell.
 */
double pace_look(struct pace *pace, int64_t now_ns, uint64_t count);

#endif
