/*
 * pmapc cancel: gives up jobs, by their numbers or all of a user's, whichever of the user's clients they are
 * of.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/figures.h"
#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/query.h"
#include "client/pmapc/tell.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char help[] = "Usage: pmapc cancel JOB...\n"
                           "       pmapc cancel --all | --user NAME\n"
                           "Gives up jobs of yours, by their numbers ('pmapc jobs' lists them), or all of\n"
                           "them, and says how many. Root and admins may give up anybody's.\n"
                           "\n"
                           "      --all        all of your own\n"
                           "      --user NAME  all of this user's (a name, or a uid)\n"
                           "      --help       show this\n"
                           "\n"
                           "  pmapc cancel 42 43\n"
                           "  pmapc cancel --all\n";

enum { OPT_ALL = 256, OPT_USER, OPT_HELP, ANSWER_MS = 5000 };

/* Each of these numbers, which are checked. */
static int cancel_numbers(pmap *pool, int argc, char **argv)
{
    int status = STATUS_DONE;
    for (int i = 0; i < argc; i++) {
        int64_t number = 0;
        options_number("cancel", argv[i], 1, INT64_MAX, &number);
        int rc = pmap_abort(pool, (uint64_t)number, ANSWER_MS);
        if (rc == -ENOENT) {
            tell("cancel: job %s: %s", argv[i], pmap_error(pool));
            status = STATUS_FAILED;
        } else if (rc < 0) {
            return connect_lost(pool, rc);
        }
    }
    return status;
}

/* May who asks give up other users' jobs? Returns 0 or an exit status, having told. */
static int check_admin(pmap *pool, const char *user)
{
    struct reply reply;
    int status = query_ask(pool, "status", &reply);
    const msgpack_object *limits = status == 0 ? query_field(reply.value, "limits") : NULL;
    if (status == 0 && !(limits && query_flag(limits, "admin"))) {
        tell("cancel: only root and admins may give up jobs of another user, %s", user);
        status = STATUS_REFUSED;
    }
    query_free(&reply);
    return status;
}

/* All that this user has open. */
static int cancel_all(pmap *pool, uid_t uid)
{
    struct reply reply;
    int status = query_ask(pool, "jobs", &reply);
    const msgpack_object *jobs = NULL;
    size_t count = status == 0 ? query_members(reply.value, NULL, &jobs) : 0;
    uint64_t cancelled = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        if (query_number(&jobs[i], "uid") != uid)
            continue;
        int rc = pmap_abort(pool, query_number(&jobs[i], "job"), ANSWER_MS);
        if (rc == 0)
            cancelled++;
        else if (rc != -ENOENT) /* which has ended meanwhile */
            status = connect_lost(pool, rc);
    }
    query_free(&reply);
    char text[FIGURE_ROOM];
    if (status == 0 || cancelled > 0)
        printf("%s of %s cancelled\n", figures_of(cancelled, "job", text), figures_user(uid));
    return status;
}

/* What is to be given up. */
struct request {
    bool all;         /* all of one user's */
    const char *user; /* whose; NULL: one's own */
    uid_t uid;        /* the same */
    int argc;         /* numbers of jobs */
    char **argv;
};

/* Returns 0 or an exit status, having told. */
static int check_request(struct request *request)
{
    if (request->all && request->argc > 0) {
        tell("cancel: give either jobs, or --all or --user");
        return STATUS_USAGE;
    }
    if (!request->all && request->argc == 0) {
        tell("cancel: which job? (see 'pmapc jobs')");
        return STATUS_USAGE;
    }
    request->uid = geteuid();
    if (request->user && !figures_uid(request->user, &request->uid)) {
        tell("cancel: --user: there is no user '%s'", request->user);
        return STATUS_USAGE;
    }
    for (int i = 0; i < request->argc; i++) {
        int64_t number;
        int status = options_number("cancel", request->argv[i], 1, INT64_MAX, &number);
        if (status != 0)
            return status;
    }
    return 0;
}

static int cancel(const struct globals *globals, const struct request *request)
{
    pmap *pool = NULL;
    int status = connect_pool(globals, CONNECT_ONLY, &pool);
    if (status != 0)
        return status;
    if (request->uid != geteuid())
        status = check_admin(pool, figures_user(request->uid));
    if (status == 0 && request->all)
        status = cancel_all(pool, request->uid);
    else if (status == 0)
        status = cancel_numbers(pool, request->argc, request->argv);
    pmap_disconnect(pool);
    int finished = tell_finish();
    return status != 0 ? status : finished;
}

int command_cancel(const struct globals *globals, int argc, char **argv)
{
    static const struct option longs[] = {{"all", no_argument, NULL, OPT_ALL},
                                          {"user", required_argument, NULL, OPT_USER},
                                          {"help", no_argument, NULL, OPT_HELP},
                                          {NULL, 0, NULL, 0}};
    struct request request = {.all = false};
    options_begin();
    int option;
    while ((option = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        switch (option) {
        case OPT_USER:
            request.user = optarg;
            request.all = true;
            break;
        case OPT_ALL:
            request.all = true;
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return tell_finish();
        default:
            return options_bad(option, argv, argv[0], longs);
        }
    }
    request.argc = argc - optind;
    request.argv = argv + optind;
    int status = check_request(&request);
    return status != 0 ? status : cancel(globals, &request);
}
