/*
 * pmapc top --batch: what is shown, as plain text, one look after the other.
 */
#ifndef PMAPC_TOP_BATCH_H
#define PMAPC_TOP_BATCH_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/top/top.h"

/* Prints looks at a daemon until there were as many as are wanted. Returns an exit status, having told why
 * it is not 0. The pool stays the caller's. */
int batch_run(struct top *top, pmap *pool);

#endif
