/*
 * What the subcommands that only look have in common: --json and --help, and a question to the daemon.
 */
#ifndef PMAPC_QUERY_H
#define PMAPC_QUERY_H

#include "client/pmapc/connect.h"

#include <msgpack.h>
#include <stdbool.h>

/*
 * Reads the command line of a subcommand that knows --json and --help and takes no argument.
 * Returns -1 to go on; else the exit status: --help has been shown, or the user told what is wrong.
 */
int query_options(int argc, char **argv, const char *help, bool *json);

struct query {
    const char *what; /* as pmap_query wants it */
    const char *help;
    enum connect_mode mode;
    void (*print)(const msgpack_object *answer); /* for people; with --json it is printed as JSON */
};

/* A whole subcommand that asks the daemon one thing. Returns the exit status. */
int query_command(const struct globals *globals, int argc, char **argv, const struct query *query);

/* The value of that key, or NULL when there is none or `map` is no map. */
const msgpack_object *query_field(const msgpack_object *map, const char *key);

#endif
