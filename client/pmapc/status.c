/*
 * pmapc status: what the daemon is doing, for whom, and what one may have; with --users what each user has
 * had.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/figures.h"
#include "client/pmapc/json.h"
#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/query.h"
#include "client/pmapc/tell.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] = "Usage: pmapc status [--users] [--json]\n"
                           "Shows what the daemon is doing and for whom, and what you may have.\n"
                           "Starts no daemon: exit status 3 when none runs.\n"
                           "\n"
                           "      --users  what each user has had since the daemon's start, most slot\n"
                           "               time first\n"
                           "      --json   all that the daemon says, as an object; with --users an\n"
                           "               array of objects\n"
                           "      --help   show this\n"
                           "\n"
                           "  pmapc status\n"
                           "  pmapc status --users\n"
                           "  pmapc status --json | jq .busy\n";

enum { OPT_USERS = 256, OPT_JSON, OPT_HELP };

/*** What it does ***/

static void print_pool(const msgpack_object *status)
{
    char age[FIGURE_ROOM], version[64];
    uint64_t above = query_number(status, "above");
    printf("slots     %" PRIu64 " of %" PRIu64 " in use", query_number(status, "busy"),
           query_number(status, "slots"));
    if (above > 0)
        printf(", %" PRIu64 " of them above by the guarantee", above);
    printf("\ndaemon    pmapd %s, %s, process %" PRIu64 ", up %s\n",
           query_text(status, "version", version, sizeof version),
           query_flag(status, "private") ? "private" : "for all users", query_number(status, "pid"),
           figures_age(query_real(status, "uptime_s"), age));
}

static void print_rates(const msgpack_object *status)
{
    char items[TELL_ROOM], chunks[TELL_ROOM], window[FIGURE_ROOM];
    const msgpack_object *rates = query_field(status, "rates");
    if (!rates || query_real(rates, "window_s") <= 0)
        return;
    printf("rate      %s items/s, %s chunks/s, %.2f slots in use; the mean of %s\n",
           tell_count(query_real(rates, "items_per_s"), items),
           tell_count(query_real(rates, "chunks_per_s"), chunks), query_real(rates, "busy"),
           figures_age(query_real(rates, "window_s"), window));
}

static void print_queue(const msgpack_object *status)
{
    char text[FIGURE_ROOM], more[FIGURE_ROOM], held[FIGURE_ROOM];
    uint64_t orphans = query_number(status, "orphans"), cut = query_number(status, "cut");
    printf("queue     %s of %s, %s held", figures_of(query_number(status, "queued_items"), "item", text),
           figures_of(query_number(status, "waiting"), "waiting job", more),
           figures_bytes(query_number(status, "held_bytes"), held));
    if (orphans > 0)
        printf("; %s of jobs that are gone", figures_of(orphans, "chunk", text));
    printf("\nopen      %s, %s, %s", figures_of(query_number(status, "jobs"), "job", text),
           figures_of(query_number(status, "sessions"), "session", more),
           figures_of(query_number(status, "connections"), "connection", held));
    if (cut > 0)
        printf("; %s cut since the start", figures_of(cut, "connection", text));
    printf("\ndone      %s, %s", figures_of(query_number(status, "jobs_done"), "job", text),
           figures_of(query_number(status, "items_done"), "item", more));
    printf(" (%s failed), %s of slot time\n", tell_count(query_real(status, "items_failed"), text),
           figures_age(query_real(status, "run_s"), held));
}

/*** Users ***/

/* Has this user something that runs, waits or is open now, or is it that of who asks? */
static bool is_shown(const msgpack_object *owner, uint64_t self)
{
    return query_number(owner, "uid") == self || query_number(owner, "running") > 0 ||
           query_number(owner, "jobs") > 0 || query_real(owner, "used") >= 0.005;
}

static void print_owners(const msgpack_object *status)
{
    static const char *const titles[] = {"USER",     "WEIGHT", "RUNNING", "USED",
                                         "ENTITLED", "JOBS",   "QUEUED",  "DONE"};
    const msgpack_object *owners, *limits = query_field(status, "limits");
    size_t count = query_members(status, "owners", &owners), hidden = 0;
    uint64_t self = limits ? query_number(limits, "uid") : 0;
    char queued[TELL_ROOM], items[TELL_ROOM];
    struct table table;
    table_init(&table, "lrrrrrrr", titles);
    for (size_t i = 0; i < count; i++) {
        const msgpack_object *owner = &owners[i];
        if (!is_shown(owner, self)) {
            hidden++;
            continue;
        }
        table_cell(&table, "%s", figures_user((uid_t)query_number(owner, "uid")));
        table_cell(&table, "%" PRIu64, query_number(owner, "weight"));
        table_cell(&table, "%" PRIu64, query_number(owner, "running"));
        table_cell(&table, "%.2f", query_real(owner, "used"));
        table_cell(&table, "%.2f", query_real(owner, "entitled"));
        table_cell(&table, "%" PRIu64, query_number(owner, "jobs"));
        table_cell(&table, "%s", tell_count(query_real(owner, "queued_items"), queued));
        table_cell(&table, "%s", tell_count(query_real(owner, "items_done"), items));
    }
    putchar('\n');
    table_print(&table, figures_width(), stdout);
    table_free(&table);
    if (hidden > 0)
        printf("and %zu user%s without work\n", hidden, hidden == 1 ? "" : "s");
}

/*** Limits ***/

/* How a limit's value is shown, and what 0 means. */
static const struct limit {
    const char *key, *name, *none;
    bool bytes;
} limits_shown[] = {
    {"weight", "weight", NULL, false},
    {"slots", "slots", "no cap", false},
    {"jobs", "open jobs", NULL, false},
    {"connections", "connections", NULL, false},
    {"queued_bytes", "queued bytes", NULL, true},
    {"spool", "spool", NULL, true},
    {"memory", "memory", "no limit", true},
    {"pids", "pids", "no limit", false},
};

static void print_limits(const msgpack_object *limits)
{
    if (!limits)
        return;
    char text[FIGURE_ROOM];
    printf("\nlimits of %s%s\n", figures_user((uid_t)query_number(limits, "uid")),
           query_flag(limits, "admin") ? ", who may see and cancel everything" : "");
    for (size_t i = 0; i < sizeof limits_shown / sizeof limits_shown[0]; i++) {
        const struct limit *limit = &limits_shown[i];
        uint64_t value = query_number(limits, limit->key);
        if (!query_field(limits, limit->key))
            continue;
        printf("  %-14s", limit->name);
        if (value == 0 && limit->none)
            puts(limit->none);
        else if (limit->bytes)
            puts(figures_bytes(value, text));
        else
            printf("%" PRIu64 "\n", value);
    }
}

static void print_status(const msgpack_object *status)
{
    print_pool(status);
    print_rates(status);
    print_queue(status);
    print_owners(status);
    print_limits(query_field(status, "limits"));
}

/*** What users have had ***/

static int compare_use(const void *a, const void *b)
{
    const msgpack_object *one = *(const msgpack_object *const *)a, *two = *(const msgpack_object *const *)b;
    double first = query_real(one, "run_s"), second = query_real(two, "run_s");
    if (first != second)
        return first < second ? 1 : -1;
    uint64_t left = query_number(one, "uid"), right = query_number(two, "uid");
    return (left > right) - (left < right);
}

static void add_user(struct table *table, const msgpack_object *owner)
{
    char text[TELL_ROOM], age[FIGURE_ROOM];
    uint64_t waits = query_number(owner, "waits");
    table_cell(table, "%s", figures_user((uid_t)query_number(owner, "uid")));
    table_cell(table, "%s", tell_count(query_real(owner, "jobs_done"), text));
    table_cell(table, "%s", tell_count(query_real(owner, "items_done"), text));
    table_cell(table, "%s", tell_count(query_real(owner, "items_failed"), text));
    table_cell(table, "%s", figures_age(query_real(owner, "run_s"), age));
    table_cell(table, "%s", figures_age(query_real(owner, "cpu_s"), age));
    table_cell(table, "%s", waits > 0 ? figures_age(query_real(owner, "wait_s") / (double)waits, age) : "-");
    table_cell(table, "%s", waits > 0 ? figures_age(query_real(owner, "longest_wait_s"), age) : "-");
}

static int users_json(const msgpack_object *const *owners, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *owner = json_of_msgpack(owners[i]);
        json_object_set_new(owner, "user", json_string(figures_user((uid_t)query_number(owners[i], "uid"))));
        json_array_append_new(array, owner);
    }
    return json_print(array, stdout, JSON_INDENT(2));
}

static void users_table(const msgpack_object *const *owners, size_t count)
{
    static const char *const titles[] = {"USER",      "JOBS", "ITEMS",     "FAILED",
                                         "SLOT TIME", "CPU",  "MEAN WAIT", "LONGEST"};
    struct table table;
    table_init(&table, "lrrrrrrr", titles);
    for (size_t i = 0; i < count; i++)
        add_user(&table, owners[i]);
    table_print(&table, figures_width(), stdout);
    table_free(&table);
}

static int print_users(const msgpack_object *status, bool json)
{
    const msgpack_object *owners;
    size_t count = query_members(status, "owners", &owners);
    const msgpack_object **sorted = calloc(count + 1, sizeof(msgpack_object *));
    if (!sorted) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = &owners[i];
    qsort(sorted, count, sizeof(msgpack_object *), compare_use);
    int rc = STATUS_DONE;
    if (json)
        rc = users_json(sorted, count);
    else
        users_table(sorted, count);
    free(sorted);
    return rc;
}

int command_status(const struct globals *globals, int argc, char **argv)
{
    static const struct option longs[] = {{"users", no_argument, NULL, OPT_USERS},
                                          {"json", no_argument, NULL, OPT_JSON},
                                          {"help", no_argument, NULL, OPT_HELP},
                                          {NULL, 0, NULL, 0}};
    bool users = false, json = false;
    options_begin();
    int option;
    while ((option = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        if (option == OPT_USERS) {
            users = true;
        } else if (option == OPT_JSON) {
            json = true;
        } else if (option == OPT_HELP) {
            fputs(help, stdout);
            return tell_finish();
        } else {
            return options_bad(option, argv, argv[0], longs);
        }
    }
    if (optind < argc)
        return options_extra(argv[0], argv[optind]);
    pmap *pool = NULL;
    int status = connect_pool(globals, CONNECT_ONLY, &pool);
    if (status != 0)
        return status;
    struct reply reply;
    status = query_ask(pool, "status", &reply);
    if (status == 0 && users)
        status = print_users(reply.value, json);
    else if (status == 0 && json)
        status = json_print(json_of_msgpack(reply.value), stdout, JSON_INDENT(2));
    else if (status == 0)
        print_status(reply.value);
    query_free(&reply);
    pmap_disconnect(pool);
    int finished = tell_finish();
    return status != 0 ? status : finished;
}
