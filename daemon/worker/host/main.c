/*
 * pmap-host: the process in which functions of modules, and builtins that are to be isolated, run for
 * pmap-worker; see host.h for how the two talk and PROTOCOL.md for what a job is. Command lines are host.h's.
 */
#include "daemon/worker/host/chunked.h"
#include "daemon/worker/host/isolated.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_BAD = 1, EXIT_USAGE = 2 };

struct options {
    bool module, raw;
    uint64_t retries, recycle;
    const char *type;        /* NULL: none */
    const char *path, *name; /* path: of a module */
};

static int usage(void)
{
    fputs("usage: pmap-host builtin --retries N --recycle N NAME\n"
          "       pmap-host module --retries N --recycle N [--type TYPE] [--raw] PATH FUNCTION\n"
          "Started by pmap-worker; of no use by itself.\n",
          stderr);
    return EXIT_USAGE;
}

static bool parse_count(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno)
        return false;
    *out = value;
    return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {{"retries", required_argument, NULL, 'r'},
                                          {"recycle", required_argument, NULL, 'c'},
                                          {"type", required_argument, NULL, 't'},
                                          {"raw", no_argument, NULL, 'w'},
                                          {0}};
    *o = (struct options){0};
    if (argc < 2 || (strcmp(argv[1], "builtin") != 0 && strcmp(argv[1], "module") != 0))
        return false;
    o->module = argv[1][0] == 'm';
    bool good = true;
    optind = 2;
    for (int c; (c = getopt_long(argc, argv, "+", known, NULL)) != -1;) {
        if (c == 'r')
            good = good && parse_count(optarg, &o->retries);
        else if (c == 'c')
            good = good && parse_count(optarg, &o->recycle);
        else if (c == 't' && o->module)
            o->type = optarg;
        else if (c == 'w' && o->module)
            o->raw = true;
        else
            good = false;
    }
    if (!good || argc - optind != 1 + o->module)
        return false;
    o->path = o->module ? argv[optind] : NULL;
    o->name = argv[argc - 1];
    return true;
}

/* What the function is, in its three forms. */
struct host {
    struct serve serve;
    struct isolated builtin;
    struct module module;
    struct chunked chunked;
    struct item_function *item; /* NULL: a chunk function */
};

/* Makes the function ready. Returns 0 or a negative errno with the reason in why. */
static int prepare(struct host *h, const struct options *o, char *why, size_t why_size)
{
    struct channel *c = &h->serve.channel;
    if (!o->module) {
        h->item = &h->builtin.base;
        return isolated_init(&h->builtin, o->name, c, why, why_size);
    }
    int rc = module_init(&h->module, o->path, o->name, o->type, o->raw, c, why, why_size);
    if (rc < 0)
        return rc;
    h->item = h->module.function->item ? &h->module.base : NULL;
    h->chunked = (struct chunked){.module = &h->module, .raw = o->raw};
    return 0;
}

static int serve(struct host *h)
{
    struct serve *s = &h->serve;
    int rc = channel_ready(&s->channel);
    while (rc == 0 && (rc = channel_next(&s->channel)) > 0) {
        rc = 0;
        if (h->item)
            serve_items(s, h->item);
        else
            rc = chunked_serve(&h->chunked, s);
        if (rc < 0 || channel_end(&s->channel) < 0 || (s->recycle > 0 && s->served >= s->recycle))
            break;
    }
    /* A worker that has gone is no failure. */
    return s->channel.gone ? 0 : rc;
}

int main(int argc, char **argv)
{
    static struct host host;
    struct options options;
    char why[HOST_TEXT_MAX];
    if (!parse(argc, argv, &options))
        return usage();
    /* What a module prints goes to a pipe, and is to be there when its item is done or kills the process. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    int rc = channel_open(&host.serve.channel);
    if (rc < 0) {
        fprintf(stderr, "pmap-host: no worker to serve: %s\n", strerror(-rc));
        return usage();
    }
    host.serve.retries = options.retries;
    host.serve.recycle = options.recycle;
    if (prepare(&host, &options, why, sizeof why) < 0) {
        channel_bad(&host.serve.channel, why);
        return EXIT_BAD;
    }
    rc = serve(&host);
    if (rc < 0)
        fprintf(stderr, "pmap-host: %s\n", strerror(-rc));
    if (options.module)
        module_fini(&host.module);
    chunked_free(&host.chunked);
    out_free(&host.serve.out);
    return rc < 0 ? EXIT_BAD : 0;
}
