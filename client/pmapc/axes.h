/*
 * The axes of a speed-up plot, for the terminal and for a picture: what they span and where their marks are.
 * Pure.
 */
#ifndef PMAPC_AXES_H
#define PMAPC_AXES_H

#include "client/pmapc/amdahl.h"

struct axes {
    double left, right; /* slots */
    double top;         /* speed-up; the bottom is 0 */
    double step;        /* between two marks of it */
};

/* Room for all points, and for the curve that fits; the ideal line may leave it through the top. */
struct axes axes_of(const struct amdahl *amdahl);

/* Where a value lies between the ends of its axis, from 0 to 1. */
double axes_x(const struct axes *axes, double slots);
double axes_y(const struct axes *axes, double speedup);

#endif
