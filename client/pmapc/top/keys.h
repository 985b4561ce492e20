/*
 * What keys do. For the one thread that draws.
 */
#ifndef PMAPC_TOP_KEYS_H
#define PMAPC_TOP_KEYS_H

#include "client/pmapc/top/top.h"

/* Does what a key asks for (see screen_key). Returns false when it is to end. */
bool keys_press(struct top *top, unsigned key, bool special);

#endif
