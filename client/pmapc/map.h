/*
 * The command line of `map`, for it and for the subcommands that do something else with the same job (timeit,
 * scale): its options and the function, read into a `struct map`; work.h has what can be done with it.
 */
#ifndef PMAPC_MAP_H
#define PMAPC_MAP_H

#include "client/pmapc/work.h"

#include <getopt.h>
#include <stdbool.h>

/* Options' values of map's own; those of a subcommand that adds to them begin at OPT_MAP_OWN. */
enum { OPT_FILTER = OPT_OWN, OPT_PIPE, OPT_PYTHON, OPT_TYPE, OPT_ISOLATE, OPT_RECYCLE, OPT_MAP_OWN };

/* The name of a command in words is cut to this. */
enum { MAP_NAME_ROOM = 200 };

/* A subcommand that takes map's options, and some of its own. */
struct map_command {
    const char *name;           /* for messages */
    const struct option *longs; /* its own, long ones only, up to a zeroed one */
    /* Reads one of those, by its value in longs. Returns 0 or STATUS_USAGE having told. */
    int (*option)(void *cookie, int option, const char *value);
    void *cookie;
};

struct map {
    struct work work;
    const struct map_command *command_line; /* that is being read */
    const char *function;                   /* the one operand; NULL: none */
    const char *surplus;                    /* a second one */
    const char *python;
    char **command; /* behind "--", NULL-terminated; NULL: there is no "--" */
    bool filter, pipe;
    char *library;                /* a module's file, made absolute */
    const char *argv[2];          /* of what is no command */
    char name[MAP_NAME_ROOM + 1]; /* of a command, for people */
};

/*
 * Reads a command line into *map, which is made anew and is to be freed in any case; it keeps pointers to
 * itself, so it must stay where it is. Where --help was given, work.help is set and the rest was not looked
 * at. Returns 0, or an exit status having told.
 */
int map_read(struct map *map, const struct map_command *command, int argc, char **argv);
void map_free(struct map *map);

#endif
