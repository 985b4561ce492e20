/*
 * A speed-up plot of characters, for a terminal. Pure.
 */
#ifndef PMAPC_PLOT_H
#define PMAPC_PLOT_H

#include "client/pmapc/amdahl.h"
#include "client/pmapc/grow.h"

#include <stdbool.h>

/*
 * Adds the plot's lines: the measured points, the ideal line, the curve that fits, the axes, and what is
 * what. columns: of the terminal; fewer than 40 count as 40, more than 100 as 100. utf8: the lines are drawn
 * in Braille dots; else all is ASCII. Returns false when memory was short.
 */
bool plot_draw(const struct amdahl *amdahl, unsigned columns, bool utf8, struct grow *out);

#endif
