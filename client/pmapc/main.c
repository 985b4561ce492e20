/*
 * pmapc: the thin client of pmapd. Reads what stands before the subcommand, and hands over to it.
 */
#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command {
    const char *name, *summary;
    command_function *run;
} commands[] = {
    {"map", "apply a function to each item, results in order", command_map},
    {"run", "run each line of the input as a shell command", command_run},
    {"timeit", "time a job as IPython's %timeit does", command_timeit},
    {"scale", "time a job with 1, 2, ... slots", command_scale},
    {"functions", "list the functions that the daemon has", command_functions},
    {"cpus", "the CPUs that may really be used here, and the pool's slots", command_cpus},
    {"status", "what the daemon is doing", command_status},
    {"top", "what the daemon is doing, live on a full screen", command_top},
    {"jobs", "the jobs that are open", command_jobs},
    {"explain", "why a job waits, and what it may expect", command_explain},
    {"cancel", "give jobs up", command_cancel},
    {"ping", "time round trips to the daemon", command_ping},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const char help_before[] =
    "Usage: pmapc [-e ENDPOINT] [--no-autostart] COMMAND [ARGUMENT...]\n"
    "Hands work to this machine's pool (pmapd) and prints the results in order.\n"
    "\n"
    "Commands ('pmapc COMMAND --help' tells more):\n";
static const char help_after[] =
    "\n"
    "  -e, --endpoint ENDPOINT  the daemon's ipc:///path (default: $PMAP_ENDPOINT,\n"
    "                           else the system's daemon, else your own)\n"
    "      --no-autostart       start no daemon of your own where none is found\n"
    "      --version, --help    show the version; show this\n"
    "\n"
    "  seq 10 | pmapc map square\n"
    "  pmapc map -- gzip -k {} ::: *.txt\n";

enum { OPT_NO_AUTOSTART = 256, OPT_VERSION, OPT_HELP };
static const struct option longs[] = {{"endpoint", required_argument, NULL, 'e'},
                                      {"no-autostart", no_argument, NULL, OPT_NO_AUTOSTART},
                                      {"version", no_argument, NULL, OPT_VERSION},
                                      {"help", no_argument, NULL, OPT_HELP},
                                      {NULL, 0, NULL, 0}};

static const char *command_name(unsigned i, const void *cookie)
{
    (void)cookie;
    return i < COMMAND_COUNT ? commands[i].name : NULL;
}

static int show_help(void)
{
    fputs(help_before, stdout);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs(help_after, stdout);
    return tell_finish();
}

/*
 * A program that was started with stdin, stdout or stderr closed would get their numbers for its sockets, and
 * then write results into them. What stands in for them here fails in the one direction in which it is used.
 */
static int occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return -1;
    }
    return 0;
}

static int run_command(const struct globals *globals, int argc, char **argv)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, argv[0]) == 0)
            return commands[i].run(globals, argc, argv);
    }
    const char *near = options_suggest(argv[0], command_name, NULL);
    if (near)
        tell("unknown command '%s'; did you mean '%s'? (see 'pmapc --help')", argv[0], near);
    else
        tell("unknown command '%s' (see 'pmapc --help')", argv[0]);
    return STATUS_USAGE;
}

int main(int argc, char **argv)
{
    struct globals globals = {.autostart = true};
    if (occupy_standard_descriptors() < 0)
        return STATUS_USAGE;
    options_begin();
    int option;
    while ((option = getopt_long(argc, argv, "+:e:", longs, NULL)) != -1) {
        switch (option) {
        case 'e':
            globals.endpoint = optarg;
            globals.endpoint_by = "--endpoint";
            break;
        case OPT_NO_AUTOSTART:
            globals.autostart = false;
            break;
        case OPT_VERSION:
            puts("pmapc " PMAP_VERSION);
            return tell_finish();
        case OPT_HELP:
            return show_help();
        default:
            return options_bad(option, argv, NULL, longs);
        }
    }
    const char *from_environment = getenv("PMAP_ENDPOINT");
    if (!globals.endpoint && from_environment && *from_environment) {
        globals.endpoint = from_environment;
        globals.endpoint_by = "PMAP_ENDPOINT";
    }
    if (optind >= argc) {
        tell("which command? (see 'pmapc --help')");
        return STATUS_USAGE;
    }
    return run_command(&globals, argc - optind, argv + optind);
}
