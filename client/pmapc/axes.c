/*
 * The axes of a speed-up plot; see axes.h.
 */
#include "client/pmapc/axes.h"

#include <math.h>

#define MARGIN     0.04 /* of the slots' span, on either side */
#define IDEAL_ROOM 1.6  /* of the highest point: so far the ideal line is shown */
#define MARKS_MOST 6.0

struct axes axes_of(const struct amdahl *amdahl)
{
    static const double steps[] = {1, 2, 5};
    double most = amdahl->points[amdahl->count - 1].slots, highest = 1;
    for (size_t i = 0; i < amdahl->count; i++)
        highest = fmax(highest, amdahl->points[i].speedup);
    if (amdahl->fits)
        highest = fmax(highest, amdahl_speedup(amdahl->serial, most));
    double margin = most > 1 ? (most - 1) * MARGIN : 0.5;
    double top = fmax(highest, fmin(most, highest * IDEAL_ROOM)) * 1.05;
    /* The first of 0.1 0.2 0.5 1 2 5 10 ... with which there are few enough marks. */
    double decade = 0.1, step = decade;
    for (int i = 1; top / step > MARKS_MOST; i++) {
        decade *= i % 3 == 0 ? 10 : 1;
        step = steps[i % 3] * decade;
    }
    return (struct axes){.left = 1 - margin, .right = most + margin, .top = top, .step = step};
}

double axes_x(const struct axes *axes, double slots)
{
    return (slots - axes->left) / (axes->right - axes->left);
}

double axes_y(const struct axes *axes, double speedup)
{
    return speedup / axes->top;
}
