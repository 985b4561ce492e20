/*
 * pmapd's command line; see options.h.
 */
#include "daemon/options.h"

#include "common/endpoint.h"
#include "daemon/common/config.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: pmapd [OPTION]...\n"
    "One worker pool for the whole machine: runs what pmapc hands it, shared fairly between its users.\n"
    "Stays in the foreground and logs to stderr.\n"
    "\n"
    "  -c, --config FILE         read FILE instead of /etc/pmapd/pmapd.conf\n"
    "  -e, --endpoint ENDPOINT   listen at ENDPOINT, ipc:///absolute/path; may be given several times\n"
    "  -n, --slots N             run N chunks at once (default: the CPUs that may be used)\n"
    "      --private             serve only the user who starts it, without the system's configuration;\n"
    "                            always so unless started by root\n"
    "      --idle-exit SECONDS   leave when nobody has been connected for so long\n"
    "      --check-config        say whether the configuration is right, and do nothing else\n"
    "      --version             say which version this is\n"
    "      --help                show this\n"
    "\n"
    "Examples:\n"
    "  pmapd                                          a pool of your own, where pmapc finds it\n"
    "  pmapd -n 2 -e ipc:///tmp/try/pmapd.sock        the same elsewhere (PMAP_ENDPOINT tells pmapc)\n"
    "  pmapd --check-config -c new.conf               before it replaces the old one\n"
    "\n"
    "Exit status: 0 it was told to stop, or another one serves already (with --idle-exit); 1 it failed;\n"
    "2 usage; 69 another one serves there; 78 the configuration is wrong.\n"
    "See pmapd(8), pmapd.conf(5), pmapc(1).\n";

enum { OPTION_PRIVATE = 256, OPTION_IDLE_EXIT, OPTION_CHECK_CONFIG, OPTION_VERSION, OPTION_HELP };

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"endpoint", required_argument, NULL, 'e'},
    {"slots", required_argument, NULL, 'n'},
    {"private", no_argument, NULL, OPTION_PRIVATE},
    {"idle-exit", required_argument, NULL, OPTION_IDLE_EXIT},
    {"check-config", no_argument, NULL, OPTION_CHECK_CONFIG},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static int usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int usage(const char *format, ...)
{
    va_list args;
    fputs("pmapd: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nTry 'pmapd --help'.\n", stderr);
    return -EINVAL;
}

static int read_endpoint(const char *text, struct options *o)
{
    switch (endpoint_check(text)) {
    case 0:
        o->endpoints[o->endpoint_count++] = text;
        return 0;
    case -EPROTONOSUPPORT:
        return usage("'%s': an endpoint begins with ipc://", text);
    case -ENAMETOOLONG:
        return usage("'%s': the path of an endpoint has at most %d bytes", text, ENDPOINT_MAX - 7);
    default:
        return usage("'%s': the path of an endpoint begins with /", text);
    }
}

static int read_slots(const char *text, unsigned *slots)
{
    unsigned value = 0;
    for (const char *p = text; *p >= '0' && *p <= '9' && value <= CONFIG_SLOTS_MAX; p++) {
        value = value * 10 + (unsigned)(*p - '0');
        if (p[1] == '\0' && value >= 1 && value <= CONFIG_SLOTS_MAX) {
            *slots = value;
            return 0;
        }
    }
    return usage("'%s': the number of slots is 1 to %d", text, CONFIG_SLOTS_MAX);
}

/* "600" or "0.5": decimal digits with at most one point between them. */
static int read_idle_exit(const char *text, int64_t *ns)
{
    enum { SECONDS_MAX = 1000000000 };
    int64_t value = 0, unit = 1000000000;
    const char *p = text;
    for (; *p >= '0' && *p <= '9' && value <= SECONDS_MAX; p++)
        value = value * 10 + (*p - '0');
    bool good = p > text && value <= SECONDS_MAX;
    value *= unit;
    if (good && *p == '.') {
        good = p[1] != '\0';
        for (p++; *p >= '0' && *p <= '9'; p++)
            value += (*p - '0') * (unit /= 10);
    }
    if (!good || *p != '\0' || value <= 0)
        return usage("'%s': --idle-exit is a number of seconds above 0, such as 600 or 0.5", text);
    *ns = value;
    return 0;
}

/* One option as getopt_long gave it. Returns as options_read does. */
static int take(int option, char **argv, struct options *o)
{
    switch (option) {
    case 'c':
        o->config_path = optarg;
        return 0;
    case 'e':
        return read_endpoint(optarg, o);
    case 'n':
        return read_slots(optarg, &o->slots);
    case OPTION_PRIVATE:
        o->private_pool = true;
        return 0;
    case OPTION_IDLE_EXIT:
        return read_idle_exit(optarg, &o->idle_exit_ns);
    case OPTION_CHECK_CONFIG:
        o->check_config = true;
        return 0;
    case OPTION_VERSION:
        puts("pmapd " PMAP_VERSION);
        return 1;
    case OPTION_HELP:
        fputs(help, stdout);
        return 1;
    case ':':
        return usage("option '%s' needs a value", argv[optind - 1]);
    default:
        if (optopt >= OPTION_PRIVATE)
            return usage("option '%s' takes no value", argv[optind - 1]);
        if (optopt != 0)
            return usage("unknown option '-%c'", optopt);
        return usage("unknown option '%s'", argv[optind - 1]);
    }
}

int options_read(int argc, char **argv, struct options *options)
{
    struct options o = {.endpoints = calloc((size_t)argc + 1, sizeof *o.endpoints)};
    int rc = o.endpoints ? 0 : -ENOMEM, option;
    while (rc == 0 && (option = getopt_long(argc, argv, ":c:e:n:", long_options, NULL)) != -1)
        rc = take(option, argv, &o);
    if (rc == 0 && optind < argc)
        rc = usage("unexpected argument '%s'", argv[optind]);
    if (rc == 0)
        *options = o;
    else
        options_free(&o);
    return rc;
}

void options_free(struct options *options)
{
    free(options->endpoints);
    options->endpoints = NULL;
}
