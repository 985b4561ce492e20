/*
 * What a job took; see report.h. The keys of the JSON object are a contract (pmapc(1)).
 */
#include "client/pmapc/report.h"

#include "client/pmapc/json.h"
#include "client/pmapc/tell.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static double seconds(double ns)
{
    return ns / 1e9;
}

static double rate(const struct pmap_report *r)
{
    return r->wall_ns > 0 ? (double)r->items / seconds((double)r->wall_ns) : 0;
}

static double efficiency(const struct pmap_report *r)
{
    return r->wall_ns > 0 && r->slots > 0 ? (double)r->run_ns / ((double)r->wall_ns * r->slots) : 0;
}

/* "1 item", "2 items" */
static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void print_line(const struct pmap_report *r)
{
    char failed[48] = "", per_second[TELL_ROOM];
    if (r->failed > 0)
        snprintf(failed, sizeof failed, " (%" PRIu64 " failed)", r->failed);
    tell("%" PRIu64 " item%s%s, %u slot%s, %.3f s (%s items/s, efficiency %.2f)", r->items, plural(r->items),
         failed, r->slots, plural(r->slots), seconds((double)r->wall_ns), tell_count(rate(r), per_second),
         efficiency(r));
}

static void print_text(const char *function, const struct pmap_report *r)
{
    char a[TELL_ROOM], b[TELL_ROOM], c[TELL_ROOM], d[TELL_ROOM], e[TELL_ROOM];
    tell("job %" PRIu64 ", %s: %" PRIu64 " item%s, %" PRIu64 " failed, %" PRIu64 " retried, %" PRIu64
         " chunk%s, %u slot%s",
         r->job, function, r->items, plural(r->items), r->failed, r->retried, r->chunks, plural(r->chunks),
         r->slots, plural(r->slots));
    tell("wall %s, queued %s, first result %s, busy %s, CPU %s",
         tell_duration(seconds((double)r->wall_ns), a), tell_duration(seconds((double)r->queue_ns), b),
         tell_duration(seconds((double)r->first_result_ns), c), tell_duration(seconds((double)r->run_ns), d),
         tell_duration(seconds((double)r->cpu_ns), e));
    if (r->item_count > 0)
        tell("an item: mean %s, std %s, min %s, max %s", tell_duration(seconds(r->item_mean_ns), a),
             tell_duration(seconds(r->item_std_ns), b), tell_duration(seconds((double)r->item_min_ns), c),
             tell_duration(seconds((double)r->item_max_ns), d));
    tell("%s items/s, efficiency %.2f, %s bytes in, %s bytes out", tell_count(rate(r), a), efficiency(r),
         tell_count((double)r->bytes_in, b), tell_count((double)r->bytes_out, c));
}

static void print_json(const char *function, const struct pmap_report *r)
{
    bool timed = r->item_count > 0;
    const struct {
        const char *key;
        json_t *value;
    } fields[] = {
        {"job", json_of_unsigned(r->job)},
        {"function", json_of_text(function, strlen(function))},
        {"items", json_of_unsigned(r->items)},
        {"failed", json_of_unsigned(r->failed)},
        {"retried", json_of_unsigned(r->retried)},
        {"chunks", json_of_unsigned(r->chunks)},
        {"slots", json_of_unsigned(r->slots)},
        {"wall_s", json_real(seconds((double)r->wall_ns))},
        {"queue_s", json_real(seconds((double)r->queue_ns))},
        {"first_result_s", json_real(seconds((double)r->first_result_ns))},
        {"run_s", json_real(seconds((double)r->run_ns))},
        {"cpu_s", json_real(seconds((double)r->cpu_ns))},
        {"item_mean_s", json_real(timed ? seconds(r->item_mean_ns) : 0)},
        {"item_std_s", json_real(timed ? seconds(r->item_std_ns) : 0)},
        {"item_min_s", json_real(timed ? seconds((double)r->item_min_ns) : 0)},
        {"item_max_s", json_real(timed ? seconds((double)r->item_max_ns) : 0)},
        {"items_per_s", json_real(rate(r))},
        {"efficiency", json_real(efficiency(r))},
        {"bytes_in", json_of_unsigned(r->bytes_in)},
        {"bytes_out", json_of_unsigned(r->bytes_out)},
    };
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        json_object_set_new(object, fields[i].key, fields[i].value);
    json_print(object, stderr, JSON_COMPACT);
}

void report_print(enum report_form form, const char *function, const struct pmap_report *report)
{
    switch (form) {
    case REPORT_NONE:
        break;
    case REPORT_LINE:
        print_line(report);
        break;
    case REPORT_TEXT:
        print_text(function, report);
        break;
    case REPORT_JSON:
        print_json(function, report);
        break;
    }
}
