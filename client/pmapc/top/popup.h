/*
 * What lies over the picture while it is read: the help, and the explanation of the selected row. For the one
 * thread that draws.
 */
#ifndef PMAPC_TOP_POPUP_H
#define PMAPC_TOP_POPUP_H

#include "client/pmapc/top/top.h"

/* Draws what the mode wants; nothing in the others. */
void popup_draw(const struct top *top);

#endif
