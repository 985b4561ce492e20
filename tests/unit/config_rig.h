/*
 * What tests of the configuration share: files that lie in memory, the one that is installed.
 */
#ifndef CONFIG_RIG_H
#define CONFIG_RIG_H

#include "daemon/common/config.h"

#include <stddef.h>

/* config_read of these bytes, with what it has said in rig_error, without the path that stands before it. */
int rig_read(const char *bytes, size_t size, struct config *c);
int rig_read_text(const char *text, struct config *c);
extern char rig_error[CONFIG_ERROR_MAX];

void rig_assert_limits(struct limits a, struct limits b);

/* The file that is installed, to be freed. */
char *rig_installed(void);
/* Takes the '#' from each `#key = default`; returns how many there were. */
int rig_uncomment(char *text);

#endif
