/*
 * What a job's times with 1, 2, ... slots say; see amdahl.h.
 */
#include "client/pmapc/amdahl.h"

enum { EACH_UP_TO = 8 };

double amdahl_speedup(double serial, double n)
{
    double f = serial > 0 ? serial : 0;
    return 1 / (f + (1 - f) / n);
}

/*
 * The law is a straight line through the origin: 1/S - 1/n = f (1 - 1/n). So the f of the least squares is
 * the sum of the products of both sides over that of the squares of the right one.
 */
static double fit(const struct amdahl *amdahl)
{
    double products = 0, squares = 0;
    for (size_t i = 0; i < amdahl->count; i++) {
        const struct amdahl_point *point = &amdahl->points[i];
        double shared = 1 - 1.0 / point->slots;
        products += (1 / point->speedup - 1.0 / point->slots) * shared;
        squares += shared * shared;
    }
    return products / squares;
}

void amdahl_fill(struct amdahl *amdahl)
{
    amdahl->recommended = 1;
    for (size_t i = 0; i < amdahl->count; i++) {
        struct amdahl_point *point = &amdahl->points[i];
        double n = point->slots;
        point->speedup = amdahl->points[0].time_s / point->time_s;
        point->efficiency = point->speedup / n;
        point->serial = n > 1 ? (1 / point->speedup - 1 / n) / (1 - 1 / n) : 0;
        if (point->efficiency >= AMDAHL_WORTH)
            amdahl->recommended = point->slots;
    }
    amdahl->fits = amdahl->count > 1;
    amdahl->serial = amdahl->fits ? fit(amdahl) : 0;
}

size_t amdahl_choose(unsigned most, bool all, unsigned *out, size_t room)
{
    size_t count = 0;
    unsigned step = 1;
    for (unsigned n = 1; n < most && count + 1 < room; n += step) {
        out[count++] = n;
        /* 4 6 8 12 16 24: from each power of two in two steps to the next. */
        if (!all && most > EACH_UP_TO && n >= 4 && (n & (n - 1)) == 0)
            step = n / 2;
    }
    out[count++] = most;
    return count;
}
