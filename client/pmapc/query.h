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

/* An answer of the daemon's, with memory of its own: it outlives the next question, and the pool. */
struct reply {
    void *data;
    msgpack_unpacked unpacked;
    const msgpack_object *value; /* in them */
};

/*
 * Asks `what`, as pmap_query does. Returns 0, or an exit status having told; the reply is to be freed in any
 * case.
 */
int query_ask(pmap *pool, const char *what, struct reply *reply);
void query_free(struct reply *reply);

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

/* Its value as what it should be; 0 or false where it is not there, or is something else. */
uint64_t query_number(const msgpack_object *map, const char *key);
int64_t query_signed(const msgpack_object *map, const char *key);
double query_real(const msgpack_object *map, const char *key); /* of an integer, too */
bool query_flag(const msgpack_object *map, const char *key);

/* Is its value this text? */
bool query_is(const msgpack_object *map, const char *key, const char *text);

/* Its text as a terminal may be given it, see figures_text; empty where there is none. Returns out. */
const char *query_text(const msgpack_object *map, const char *key, char *out, size_t room);

/* Its members, or those of the value itself (key NULL), and their number; 0 where it is no array. */
size_t query_members(const msgpack_object *map, const char *key, const msgpack_object **members);

#endif
