/*
 * pmapc jobs: the jobs that are open, one's own in detail.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/query.h"
#include "client/pmapc/tell.h"

#include <inttypes.h>
#include <stdio.h>

static const char help[] =
    "Usage: pmapc jobs [--json]\n"
    "Lists the open jobs; of those of others only whose they are, and how many items.\n"
    "\n"
    "      --json  an array of objects\n"
    "      --help  show this\n"
    "\n"
    "  pmapc jobs\n"
    "  pmapc jobs --json | jq '.[].job'\n";

static uint64_t number_of(const msgpack_object *map, const char *key)
{
    const msgpack_object *field = query_field(map, key);
    return field && field->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? field->via.u64 : 0;
}

static double real_of(const msgpack_object *map, const char *key)
{
    const msgpack_object *field = query_field(map, key);
    bool is_real = field && (field->type == MSGPACK_OBJECT_FLOAT64 || field->type == MSGPACK_OBJECT_FLOAT32);
    return is_real ? field->via.f64 : (double)number_of(map, key);
}

/* A text as it may be shown on a terminal. */
static void print_text(const msgpack_object *text)
{
    for (uint32_t i = 0; i < text->via.str.size; i++) {
        unsigned char c = (unsigned char)text->via.str.ptr[i];
        putchar(c < 0x20 || c == 0x7f ? '?' : c);
    }
}

static void print_job(const msgpack_object *job)
{
    char age[TELL_ROOM];
    printf("%8" PRIu64 "  %6" PRIu64 "  %10" PRIu64, number_of(job, "job"), number_of(job, "uid"),
           number_of(job, "items"));
    const msgpack_object *function = query_field(job, "function");
    if (function && function->type == MSGPACK_OBJECT_STR) {
        printf("  %10" PRIu64 "  %8" PRIu64 "  %7" PRIu64 "  %8s  ", number_of(job, "finished"),
               number_of(job, "failed"), number_of(job, "running"),
               tell_duration(real_of(job, "age_s"), age));
        print_text(function);
    }
    putchar('\n');
}

static void print_table(const msgpack_object *jobs)
{
    if (jobs->type != MSGPACK_OBJECT_ARRAY || jobs->via.array.size == 0)
        return;
    printf("%8s  %6s  %10s  %10s  %8s  %7s  %8s  %s\n", "job", "uid", "items", "finished", "failed",
           "running", "age", "function");
    for (uint32_t i = 0; i < jobs->via.array.size; i++)
        print_job(&jobs->via.array.ptr[i]);
}

int command_jobs(const struct globals *globals, int argc, char **argv)
{
    static const struct query query = {"jobs", help, CONNECT_ONLY, print_table};
    return query_command(globals, argc, argv, &query);
}
