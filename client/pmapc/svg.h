/*
 * A picture of a job's speed-up and efficiency, as SVG 1.1: two panels, 16 by 9, letters and lines that can
 * be seen from the last row, colours that colour-blind people can tell apart (M. Okabe and K. Ito). Pure.
 */
#ifndef PMAPC_SVG_H
#define PMAPC_SVG_H

#include "client/pmapc/amdahl.h"
#include "client/pmapc/grow.h"

#include <stdbool.h>

/*
 * Adds the picture, a whole file. name: of what was run; it and subtitle may be of any bytes: what XML does
 * not know becomes '?', and what would not fit is cut. Returns false when memory was short.
 */
bool svg_draw(const struct amdahl *amdahl, const char *name, const char *subtitle, struct grow *out);

#endif
