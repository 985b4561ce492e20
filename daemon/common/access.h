/*
 * The lists of [access] in pmapd.conf(5): "*", user names and @groups, made into numbers once. struct
 * access_list and the questions config_keeps_out and config_is_admin are declared in config.h.
 */
#ifndef PMAPD_ACCESS_H
#define PMAPD_ACCESS_H

#include "daemon/common/config.h"

/*
 * Reads a list whose parts are separated by commas or blanks. skip_unknown: leave out names that do not exist
 * (for the built-in defaults, whose names some machine may lack). why: at least CONFIG_ERROR_MAX bytes, set
 * on -EINVAL. Returns 0, -EINVAL or -ENOMEM. Free with access_list_free.
 */
int access_list_read(const char *text, bool skip_unknown, struct access_list *out, char *why);

/* Frees what the list holds and makes it empty. */
void access_list_free(struct access_list *list);

#endif
