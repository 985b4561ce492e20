/*
 * pmapc jobs: the jobs that are open, one's own in detail.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/figures.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/query.h"
#include "client/pmapc/state.h"
#include "client/pmapc/tell.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static const char help[] = "Usage: pmapc jobs [--json]\n"
                           "Lists the open jobs: your own (for root and admins: all) with their state or\n"
                           "what they wait for, items done and come (+: more may come), failed ones, slots\n"
                           "in use, age, and the time left; of others' only whose they are, and how many\n"
                           "items they have. 'pmapc explain' tells more.\n"
                           "\n"
                           "      --json  an array of objects\n"
                           "      --help  show this\n"
                           "\n"
                           "  pmapc jobs\n"
                           "  pmapc jobs --json | jq '.[].job'\n";

/* What is left of a job all of whose items have come, on the slots that it has. */
static const char *time_left(const msgpack_object *job, char out[FIGURE_ROOM])
{
    double left = query_flag(job, "ended") ? state_remaining(job, query_real(job, "running")) : -1;
    return left > 0 ? figures_age(left, out) : "-";
}

static void add_job(struct table *table, const msgpack_object *job, bool users)
{
    char done[TELL_ROOM], come[TELL_ROOM], failed[TELL_ROOM], age[FIGURE_ROOM], left[FIGURE_ROOM], name[1024];
    table_cell(table, "%" PRIu64, query_number(job, "job"));
    if (users)
        table_cell(table, "%s", figures_user((uid_t)query_number(job, "uid")));
    table_cell(table, "%s", state_word(job));
    table_cell(table, "%s/%s%s", tell_count(query_real(job, "finished"), done),
               tell_count(query_real(job, "items"), come), query_flag(job, "ended") ? "" : "+");
    table_cell(table, "%s", tell_count(query_real(job, "failed"), failed));
    table_cell(table, "%" PRIu64, query_number(job, "running"));
    table_cell(table, "%s", figures_age(query_real(job, "age_s"), age));
    table_cell(table, "%s", time_left(job, left));
    table_cell(table, "%s", query_text(job, "function", name, sizeof name));
}

/* Those that are told in full. */
static void print_full(const msgpack_object *jobs, size_t count, bool users)
{
    static const char *const all[] = {"JOB",   "USER", "STATE", "DONE/COME", "FAILED",
                                      "SLOTS", "AGE",  "LEFT",  "FUNCTION"};
    static const char *const own[] = {"JOB",   "STATE", "DONE/COME", "FAILED",
                                      "SLOTS", "AGE",   "LEFT",      "FUNCTION"};
    struct table table;
    table_init(&table, users ? "rllrrrrrl" : "rlrrrrrl", users ? all : own);
    for (size_t i = 0; i < count; i++) {
        if (state_is_full(&jobs[i]))
            add_job(&table, &jobs[i], users);
    }
    table_print(&table, figures_width(), stdout);
    table_free(&table);
}

static void print_others(const msgpack_object *jobs, size_t count)
{
    static const char *const titles[] = {"JOB", "USER", "ITEMS"};
    struct table table;
    char items[TELL_ROOM];
    table_init(&table, "rlr", titles);
    for (size_t i = 0; i < count; i++) {
        if (state_is_full(&jobs[i]))
            continue;
        table_cell(&table, "%" PRIu64, query_number(&jobs[i], "job"));
        table_cell(&table, "%s", figures_user((uid_t)query_number(&jobs[i], "uid")));
        table_cell(&table, "%s", tell_count(query_real(&jobs[i], "items"), items));
    }
    table_print(&table, figures_width(), stdout);
    table_free(&table);
}

static void print_jobs(const msgpack_object *answer)
{
    const msgpack_object *jobs;
    size_t count = query_members(answer, NULL, &jobs), full = 0;
    bool users = false;
    for (size_t i = 0; i < count; i++) {
        bool is_full = state_is_full(&jobs[i]);
        full += is_full;
        users = users || (is_full && query_number(&jobs[i], "uid") != geteuid());
    }
    if (full > 0)
        print_full(jobs, count, users);
    if (full > 0 && full < count)
        putchar('\n');
    if (full < count)
        print_others(jobs, count);
}

int command_jobs(const struct globals *globals, int argc, char **argv)
{
    static const struct query query = {"jobs", help, CONNECT_ONLY, print_jobs};
    return query_command(globals, argc, argv, &query);
}
