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
    "Runs each line of stdin, of a file (-a), or each argument, as a command of /bin/sh, as you, here:\n"
    "several at once, and prints what they write in their order.\n"
    "\n"
    "  -j, --slots N       at most N slots at once     -0, --null          commands end in NUL\n"
    "  -a, --arg-file F    commands from F             -d, --delimiter C   commands end in C\n"
    "  -c, --chunksize N   commands in a chunk         -u, --unordered     as they come\n"
    "      --line-buffer   output as it is produced        --timeout SEC   that a command may take\n"
    "      --retries N     further attempts                --halt soon|now on the first failure\n"
    "      --priority N    among your own jobs             --at-most-once  run none again\n"
    "      --joblog FILE   a line a command                --results DIR   a folder a command\n"
    "      --resume        go on by the job log            --resume-failed and run again what failed\n"
    "      --tag           the command before each line    --dry-run       print what would be run\n"
    "      --stats[=json]  timing at the end               --progress      how far it is\n"
    "  -q, --quiet         no summary                  -r                  accepted, does nothing\n"
    "      --help          show this\n"
    "\n"
    "Exit status: 0 done, 1 some failed, 2 usage, 3 no daemon, 4 refused, 130 interrupted.\n"
    "\n"
    "  pmapc run <commands.txt                         pmapc run ::: 'date; echo $$' 'sleep 1'\n";

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
