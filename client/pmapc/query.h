/*
 * What the subcommands that only look have in common: --json and --help, and a question to the daemon.
 */
#ifndef PMAPC_QUERY_H
#define PMAPC_QUERY_H

#include "client/libpmap/pmap.h"

#include <msgpack.h>
#include <stdbool.h>

/*
 * Reads the command line of a subcommand that knows --json and --help and takes no argument.
 * Returns -1 to go on; else the exit status: --help has been shown, or the user told what is wrong.
 */
int query_options(int argc, char **argv, const char *help, bool *json);

/*
 * Asks the daemon and unpacks its answer into *answer, an initialised msgpack_unpacked that the caller
 * destroys. Returns 0 or an exit status, having told.
 */
int query_ask(pmap *pool, const char *what, msgpack_unpacked *answer);

/* The value of that key, or NULL when there is none or `map` is no map. */
const msgpack_object *query_field(const msgpack_object *map, const char *key);

#endif
