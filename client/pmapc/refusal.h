/*
 * A job that could not be opened, or that the daemon has ended: told, and which exit status that is.
 */
#ifndef PMAPC_REFUSAL_H
#define PMAPC_REFUSAL_H

#include "client/libpmap/pmap.h"

/* pmap_open_call returned `error`. name: of the function, for people. Returns an exit status, having told. */
int refusal_open(const pmap *pool, const char *name, int error);

/* pmap_take has said PMAP_FAILED. Returns an exit status, having told. */
int refusal_job(const pmap_job *job);

#endif
