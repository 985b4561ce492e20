/*
 * pmapc top: hands over to a program of its own, pmapc-top. What that needs, ncurses above all, would cost
 * every other subcommand a part of its start-up.
 */
#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "pmapc-top"

static bool is_in(const char *folder, const char *below, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s%s/" PROGRAM, folder, below);
    return n > 0 && n < PATH_MAX && access(out, X_OK) == 0;
}

/* Beside us, as in the build folder; in the libexec folder of our prefix; else where it was to be installed.
 */
static void find_program(char out[PATH_MAX])
{
    char folder[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (len > 0) {
        folder[len] = '\0';
        char *slash = strrchr(folder, '/');
        if (slash) {
            *slash = '\0';
            if (is_in(folder, "", out) || is_in(folder, "/../" PMAP_LIBEXEC_NAME, out))
                return;
        }
    }
    is_in(PMAP_LIBEXECDIR, "", out);
}

int command_top(const struct globals *globals, int argc, char **argv)
{
    char program[PATH_MAX];
    find_program(program);
    /* Its name, -e and what that was, its own arguments, and the end. */
    char **arguments = calloc((size_t)argc + 3, sizeof *arguments);
    if (!arguments) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    int count = 0;
    arguments[count++] = argv[0];
    if (globals->endpoint && strcmp(globals->endpoint_by, "--endpoint") == 0) {
        arguments[count++] = "--endpoint";
        arguments[count++] = (char *)globals->endpoint;
    }
    for (int i = 1; i < argc; i++)
        arguments[count++] = argv[i];
    execv(program, arguments);
    tell("top: cannot run %s: %s", program, tell_errno(errno));
    free(arguments);
    return STATUS_FAILED;
}
