/*
 * pmapc ping: how long a round trip to the daemon takes.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/interrupt.h"
#include "client/pmapc/json.h"
#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"
#include "common/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char help[] = "Usage: pmapc ping [-c COUNT] [-i SECONDS] [--json]\n"
                           "Times round trips to the daemon. Starts none: exit status 3 when none runs.\n"
                           "\n"
                           "  -c, --count COUNT       so many round trips (default: 4; 0: until Ctrl-C)\n"
                           "  -i, --interval SECONDS  between two of them (default: 0.2)\n"
                           "      --json              the summary as an object, times in seconds\n"
                           "      --help              show this\n"
                           "\n"
                           "  pmapc ping\n"
                           "  pmapc ping -c 1000 -i 0 --json\n";

enum { OPT_JSON = 256, OPT_HELP, ANSWER_MS = 5000 };
static const struct option longs[] = {{"count", required_argument, NULL, 'c'},
                                      {"interval", required_argument, NULL, 'i'},
                                      {"json", no_argument, NULL, OPT_JSON},
                                      {"help", no_argument, NULL, OPT_HELP},
                                      {NULL, 0, NULL, 0}};

struct ping {
    int64_t count; /* 0: no end */
    double interval_s;
    bool json;
};

static double ms(double ns)
{
    return ns / 1e6;
}

/* As query_options, for ping's own. */
static int read_options(int argc, char **argv, struct ping *ping)
{
    options_begin();
    int option, status = 0;
    while (status == 0 && (option = getopt_long(argc, argv, ":c:i:", longs, NULL)) != -1) {
        switch (option) {
        case 'c':
            status = options_number("--count", optarg, 0, INT64_MAX, &ping->count);
            break;
        case 'i':
            status = options_seconds("--interval", optarg, 86400, &ping->interval_s);
            break;
        case OPT_JSON:
            ping->json = true;
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return tell_finish();
        default:
            return options_bad(option, argv, argv[0], longs);
        }
    }
    if (status != 0)
        return status;
    return optind < argc ? options_extra(argv[0], argv[optind]) : -1;
}

/* With the first answer, not before: that the daemon will not serve us may come some time after its greeting.
 */
static void print_head(const pmap *pool)
{
    const struct pmap_info *info = pmap_get_info(pool);
    printf("PING %s: %s, protocol %u, %u slot%s\n", info->endpoint, info->software, info->protocol,
           info->slots, info->slots == 1 ? "" : "s");
}

/* The round trips. Returns 0, also when it was interrupted, or an exit status. */
static int measure(pmap *pool, const struct ping *ping, struct stats *times)
{
    for (int64_t i = 1; !interrupt_pending(); i++) {
        int64_t ns = pmap_ping(pool, ANSWER_MS);
        if (ns == -EINTR)
            continue;
        if (ns < 0)
            return connect_lost(pool, (int)ns);
        stats_add(times, ns);
        if (!ping->json) {
            if (times->count == 1)
                print_head(pool);
            printf("seq=%" PRId64 " time=%.3f ms\n", i, ms((double)ns));
            if (fflush(stdout) != 0)
                return tell_finish();
        }
        if (i == ping->count)
            break;
        interrupt_poll(NULL, 0, (int)(ping->interval_s * 1000));
    }
    return 0;
}

static int print_json(const pmap *pool, const struct stats *times)
{
    bool any = times->count > 0;
    json_t *object = json_object();
    const char *endpoint = pmap_get_info(pool)->endpoint;
    json_object_set_new(object, "endpoint", json_of_text(endpoint, strlen(endpoint)));
    json_object_set_new(object, "count", json_of_unsigned(times->count));
    json_object_set_new(object, "min_s", json_real(any ? (double)times->min / 1e9 : 0));
    json_object_set_new(object, "mean_s", json_real(stats_mean(times) / 1e9));
    json_object_set_new(object, "max_s", json_real(any ? (double)times->max / 1e9 : 0));
    json_object_set_new(object, "std_s", json_real(stats_std(times) / 1e9));
    return json_print(object, stdout, JSON_INDENT(2));
}

int command_ping(const struct globals *globals, int argc, char **argv)
{
    struct ping ping = {.count = 4, .interval_s = 0.2};
    int status = read_options(argc, argv, &ping);
    if (status >= 0)
        return status;
    pmap *pool = NULL;
    status = connect_pool(globals, CONNECT_ONLY, &pool);
    if (status != 0)
        return status;
    struct stats times;
    stats_init(&times, 0);
    interrupt_install();
    status = measure(pool, &ping, &times);
    if (ping.json && status == 0)
        status = print_json(pool, &times);
    else if (!ping.json && times.count > 0)
        printf("%" PRIu64 " round trip%s: min %.3f, mean %.3f, max %.3f, std %.3f ms\n", times.count,
               times.count == 1 ? "" : "s", ms((double)times.min), ms(stats_mean(&times)),
               ms((double)times.max), ms(stats_std(&times)));
    stats_free(&times);
    pmap_disconnect(pool);
    int finished = tell_finish();
    if (interrupt_pending() && status == 0)
        return interrupt_status();
    return status != 0 ? status : finished;
}
