/*
 * --dry-run: what would be run, a line an item, without a daemon.
 */
#ifndef PMAPC_DRYRUN_H
#define PMAPC_DRYRUN_H

#include "client/pmapc/stream.h"

/* Prints them. Returns an exit status, having told. Does not return from a closed stdout. */
int dry_run(struct items *items, const struct stream_options *options);

#endif
