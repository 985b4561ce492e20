/*
 * pmapc cancel: gives up jobs by their numbers, whichever of one's clients they are of.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>

static const char help[] = "Usage: pmapc cancel JOB...\n"
                           "Gives up jobs of your own, by their numbers ('pmapc jobs' lists them).\n"
                           "\n"
                           "      --help  show this\n"
                           "\n"
                           "  pmapc cancel 42\n";

enum { OPT_HELP = 256, ANSWER_MS = 5000 };

static int cancel_jobs(const struct globals *globals, int argc, char **argv)
{
    pmap *pool = NULL;
    int status = connect_pool(globals, CONNECT_ONLY, &pool);
    if (status != 0)
        return status;
    for (int i = 0; i < argc; i++) {
        int64_t number = 0;
        options_number("cancel", argv[i], 1, INT64_MAX, &number);
        int rc = pmap_abort(pool, (uint64_t)number, ANSWER_MS);
        if (rc == -ENOENT) {
            tell("cancel: job %s: %s", argv[i], pmap_error(pool));
            status = STATUS_FAILED;
        } else if (rc < 0) {
            status = connect_lost(pool, rc);
            break;
        }
    }
    pmap_disconnect(pool);
    return status;
}

int command_cancel(const struct globals *globals, int argc, char **argv)
{
    static const struct option longs[] = {{"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    options_begin();
    int option;
    while ((option = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        if (option != OPT_HELP)
            return options_bad(option, argv, argv[0], longs);
        fputs(help, stdout);
        return tell_finish();
    }
    if (optind == argc) {
        tell("cancel: which job? (see 'pmapc jobs')");
        return STATUS_USAGE;
    }
    for (int i = optind; i < argc; i++) {
        int64_t number;
        int status = options_number("cancel", argv[i], 1, INT64_MAX, &number);
        if (status != 0)
            return status;
    }
    return cancel_jobs(globals, argc - optind, argv + optind);
}
