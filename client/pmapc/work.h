/*
 * A job as a command line asks for it: the options that `map` and `run` have in common, where the items come
 * from, and the run of it all.
 */
#ifndef PMAPC_WORK_H
#define PMAPC_WORK_H

#include "client/libpmap/pmap.h"
#include "client/pmapc/items.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/report.h"

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

/* What stands between the command line's own part and its items, and between lists of items. */
#define WORK_SEPARATOR ":::"

struct work {
    /* What is run: set by the subcommand. Strings are the command line's. */
    struct pmap_call call;
    const char *name; /* for people */
    bool shell;       /* each item is a command line: it is shown as it is */
    struct pmap_job_options job;
    /* Input */
    const char *arg_file;    /* NULL: none */
    unsigned char delimiter; /* of items */
    struct item_list *lists; /* behind each ':::' */
    size_t list_count;
    unsigned max_args;  /* records an item; 0: one */
    const char *colsep; /* NULL: none */
    /* Output */
    unsigned char end_of_result;
    enum report_form report;
    bool tag, quiet, progress, dry_run, resume, resume_failed, help, help_all;
    unsigned reconnect_ms; /* for how long a lost daemon is sought; 0: never */
    bool reconnect_given;
    const char *halt, *results, *joblog, *trace; /* NULL: not given */
};

/* Options' values for getopt_long(3); those of a subcommand alone begin at OPT_OWN. */
enum {
    OPT_PRIORITY = 256,
    OPT_STATS,
    OPT_TAG,
    OPT_DRY_RUN,
    OPT_HELP,
    OPT_LINE_BUFFER,
    OPT_TIMEOUT,
    OPT_RETRIES,
    OPT_HALT,
    OPT_AT_MOST_ONCE,
    OPT_RESULTS,
    OPT_JOBLOG,
    OPT_RESUME,
    OPT_RESUME_FAILED,
    OPT_PROGRESS,
    OPT_JOBSERVER,
    OPT_TRACE,
    OPT_RECONNECT,
    OPT_OWN,
};

/* The common part of the tables for getopt_long(3). */
#define WORK_SHORTS "j:P:c:a:0d:uqr"
#define WORK_LONGS                                                                                           \
    {"slots", required_argument, NULL, 'j'}, {"chunksize", required_argument, NULL, 'c'},                    \
        {"arg-file", required_argument, NULL, 'a'}, {"null", no_argument, NULL, '0'},                        \
        {"delimiter", required_argument, NULL, 'd'}, {"unordered", no_argument, NULL, 'u'},                  \
        {"line-buffer", no_argument, NULL, OPT_LINE_BUFFER},                                                 \
        {"timeout", required_argument, NULL, OPT_TIMEOUT},                                                   \
        {"retries", required_argument, NULL, OPT_RETRIES}, {"halt", required_argument, NULL, OPT_HALT},      \
        {"priority", required_argument, NULL, OPT_PRIORITY},                                                 \
        {"at-most-once", no_argument, NULL, OPT_AT_MOST_ONCE},                                               \
        {"jobserver", no_argument, NULL, OPT_JOBSERVER}, {"results", required_argument, NULL, OPT_RESULTS},  \
        {"joblog", required_argument, NULL, OPT_JOBLOG}, {"resume", no_argument, NULL, OPT_RESUME},          \
        {"resume-failed", no_argument, NULL, OPT_RESUME_FAILED},                                             \
        {"stats", optional_argument, NULL, OPT_STATS}, {"progress", no_argument, NULL, OPT_PROGRESS},        \
        {"trace", required_argument, NULL, OPT_TRACE}, {"quiet", no_argument, NULL, 'q'},                    \
        {"reconnect", required_argument, NULL, OPT_RECONNECT}, {"tag", no_argument, NULL, OPT_TAG},          \
        {"dry-run", no_argument, NULL, OPT_DRY_RUN}, {"no-run-if-empty", no_argument, NULL, 'r'},            \
        {"help", optional_argument, NULL, OPT_HELP},                                                         \
    {                                                                                                        \
        NULL, 0, NULL, 0                                                                                     \
    }

/* Makes *work one without options. */
void work_init(struct work *work);
void work_free(struct work *work);

/*
 * Cuts the lists of items off the command line. Returns how many words are left of it, the subcommand
 * included, or -1 having told.
 */
int work_separate(struct work *work, int argc, char **argv);

/* One of the common options, or --help. Returns 0 or STATUS_USAGE having told. */
int work_option(struct work *work, int option, const char *value);

/* What the common options must be to one another; the last to be called of these. command: for messages. As
 * work_option. */
int work_check(struct work *work, const char *command);

/* Where the items come from, opened. Must stay where it is: its parts refer to one another. */
struct work_input {
    const char *name; /* for messages; NULL: arguments */
    bool polls;       /* false: a regular file or arguments, which are always ready */
    int fd;           /* -1: none */
    uint64_t bytes;   /* of a regular file, from where it is read on; 0: not known */
    struct reader reader;
    struct items items;
    regex_t columns; /* where items.columns is it */
};

/* Opens it. Returns 0, or STATUS_USAGE having told; it is to be closed in any case. */
int work_open_input(const struct work *work, struct work_input *input);
void work_close_input(struct work_input *input);

/* Runs it. Returns an exit status, having told of everything that went wrong. */
int work_run(const struct globals *globals, struct work *work);

#endif
