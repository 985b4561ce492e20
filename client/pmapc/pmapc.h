/*
 * What all of pmapc's files share: its exit statuses, its global options and its subcommands. Each subcommand
 * is one function in a file of its own; only main's table names them all.
 */
#ifndef PMAPC_H
#define PMAPC_H

#include <stdbool.h>

/* Statuses that a script may rely on. A closed stdout ends pmapc by SIGPIPE, a SIGTERM by SIGTERM. */
enum exit_status {
    STATUS_DONE = 0,
    STATUS_FAILED = 1,  /* some item failed, or output could not be written */
    STATUS_USAGE = 2,   /* bad arguments, unknown function, unreadable input */
    STATUS_NO_POOL = 3, /* no daemon, or lost for good */
    STATUS_REFUSED = 4, /* the daemon, or the kernel, does not let this user in, or a limit is reached */
    STATUS_INTERRUPTED = 130,
};

/* What stands before the subcommand. */
struct globals {
    const char *endpoint;    /* of -e or $PMAP_ENDPOINT; NULL: to be looked for */
    const char *endpoint_by; /* "--endpoint" or "PMAP_ENDPOINT", for messages; NULL where endpoint is */
    bool autostart;          /* a private daemon may be started where none is found */
};

/* A subcommand: argv[0] is its name. Returns an exit status; it has told the user why it is not 0. */
typedef int command_function(const struct globals *globals, int argc, char **argv);

command_function command_map;
command_function command_run;
command_function command_timeit;
command_function command_scale;
command_function command_functions;
command_function command_cpus;
command_function command_status;
command_function command_jobs;
command_function command_explain;
command_function command_cancel;
command_function command_ping;
command_function command_top;

#endif
