/*
 * pmapc run: each item is a command line for the shell. work.c does the rest.
 */
#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"
#include "client/pmapc/work.h"

#include <stdio.h>

static const char help[] =
    "Usage: pmapc run [OPTION...] [::: COMMAND...]\n"
    "Runs each line of stdin, of a file (-a), or each COMMAND, by /bin/sh, as you and\n"
    "here, several at once, and prints what they write in the order of the lines.\n"
    "\n"
    "  -j, --slots N       at most N slots at once (default: fair share); also -P\n"
    "  -a, --arg-file F    commands from F; -0, --null: they end in NUL\n"
    "  -u, --unordered     output as commands end\n"
    "      --line-buffer   output as it is produced, in order\n"
    "      --tag           the command and a tab before each line of its output\n"
    "      --timeout SEC   that a command may take; --retries N: further attempts\n"
    "      --halt soon     on the first failure begin no more; now: give up what runs\n"
    "      --jobserver     make and cargo in a command use free slots, too\n"
    "      --joblog FILE   a line a command; --resume: go on with what is not there\n"
    "      --stats[=FORM]  timing on stderr at the end; --progress: how far it is\n"
    "      --dry-run       print what would be run\n"
    "      --help          show this; 'pmapc map --help=all' has more options\n"
    "\n"
    "Exit status: 0 all done, 1 some command failed, 2 usage, 3 no daemon, 4 refused,\n"
    "130 interrupted.\n"
    "\n"
    "  pmapc run <commands.txt             pmapc run ::: 'date; echo $$' 'sleep 1'\n";

static const struct option longs[] = {WORK_LONGS};
static const char shorts[] = ":" WORK_SHORTS;

/* Reads the command line. Returns 0 or an exit status. */
static int read_arguments(struct work *work, int argc, char **argv)
{
    int own = work_separate(work, argc, argv);
    if (own < 0)
        return STATUS_FAILED;
    int option;
    options_begin();
    while ((option = getopt_long(own, argv, shorts, longs, NULL)) != -1) {
        if (option == '?' || option == ':')
            return options_bad(option, argv, "run", longs);
        int status = work_option(work, option, optarg);
        if (status != 0 || work->help)
            return status;
    }
    if (optind < own) {
        tell("run: unexpected argument '%s': commands are lines of the input, or stand behind ':::'",
             argv[optind]);
        return STATUS_USAGE;
    }
    if (work->list_count > 1) {
        tell("run: only one ':::' is known");
        return STATUS_USAGE;
    }
    return work_check(work, "run");
}

int command_run(const struct globals *globals, int argc, char **argv)
{
    static const char *const shell[] = {"/bin/sh", "-c", "{}", NULL};
    struct work work;
    work_init(&work);
    work.call = (struct pmap_call){.kind = PMAP_COMMAND, .name = "sh", .argv = shell};
    work.name = "sh";
    work.shell = true;
    int status = read_arguments(&work, argc, argv);
    if (status == 0 && work.help) {
        fputs(help, stdout);
        status = tell_finish();
    } else if (status == 0) {
        status = work_run(globals, &work);
    }
    work_free(&work);
    return status;
}
