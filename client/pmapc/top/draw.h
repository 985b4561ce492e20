/*
 * The picture: header, panes, the last line and what may lie over them. For the one thread that draws.
 */
#ifndef PMAPC_TOP_DRAW_H
#define PMAPC_TOP_DRAW_H

#include "client/pmapc/top/layout.h"
#include "client/pmapc/top/top.h"

/* Draws everything, and sends the terminal what is different from before. */
void draw(struct top *top);

/* How many rows of the pane in focus are on a screen of this size. */
int draw_page(const struct top *top);

#endif
