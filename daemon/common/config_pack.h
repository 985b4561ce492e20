/*
 * A configuration on its way to another process that was forked from the same program, or is of the same
 * build: as numbers, so that whoever gets it looks no name up and reads no file. Never logs.
 */
#ifndef PMAPD_CONFIG_PACK_H
#define PMAPD_CONFIG_PACK_H

#include "daemon/common/config.h"

/* Writes it to a file, from where that stands. Returns 0 or a negative errno. */
int config_pack(const struct config *c, int fd);

/*
 * Reads it from the beginning of a file. Returns 0, -EPROTO (it was not written by config_pack), -ENOMEM or
 * another negative errno; *c is overwritten on success (free it with config_free), untouched on failure.
 */
int config_unpack(int fd, struct config *c);

#endif
