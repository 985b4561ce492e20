/*
 * pmapc-top: the program behind `pmapc top`, which starts it. Start-up order only: options, daemon, terminal,
 * thread, loop.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/figures.h"
#include "client/pmapc/options.h"
#include "client/pmapc/tell.h"
#include "client/pmapc/top/batch.h"
#include "client/pmapc/top/draw.h"
#include "client/pmapc/top/keys.h"
#include "client/pmapc/top/paint.h"
#include "client/pmapc/top/screen.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] = "Usage: pmapc top [-d SECONDS] [-u] [-f TEXT] [-n COUNT] [-b]\n"
                           "Shows what the daemon is doing, again and again: slots, users, jobs.\n"
                           "Starts none: exit status 3 when none runs. '?' shows the keys.\n"
                           "\n"
                           "  -d, --delay SECONDS  between two looks (default: 1; at least 0.1)\n"
                           "  -u, --mine           only what is yours\n"
                           "  -f, --filter TEXT    only what has TEXT in its user or function, or\n"
                           "                       a job's number that begins with it\n"
                           "  -n, --count COUNT    end after so many looks\n"
                           "  -b, --batch          plain text instead of a screen, all columns\n"
                           "      --help           show this\n"
                           "\n"
                           "  pmapc top\n"
                           "  pmapc top -b -n 1 -u\n";

enum { OPT_HELP = 256, FRAME_MS = 1000 };
#define DELAY_LEAST_S 0.1
static const struct option longs[] = {
    {"delay", required_argument, NULL, 'd'},  {"mine", no_argument, NULL, 'u'},
    {"filter", required_argument, NULL, 'f'}, {"count", required_argument, NULL, 'n'},
    {"batch", no_argument, NULL, 'b'},        {"endpoint", required_argument, NULL, 'e'},
    {"help", no_argument, NULL, OPT_HELP},    {NULL, 0, NULL, 0}};

static int read_delay(const char *text, double *seconds)
{
    int status = options_seconds("--delay", text, 86400, seconds);
    if (status == 0 && *seconds < DELAY_LEAST_S) {
        tell("--delay: at least %.1f, not '%s'", DELAY_LEAST_S, text);
        return STATUS_USAGE;
    }
    return status;
}

static int read_filter(const char *text, char filter[FILTER_ROOM])
{
    if (strlen(text) >= FILTER_ROOM) {
        tell("--filter: longer than %d bytes", FILTER_ROOM - 1);
        return STATUS_USAGE;
    }
    figures_text(text, strlen(text), 0, filter, FILTER_ROOM);
    return 0;
}

/* As query_options. -e comes from pmapc, which has read it before the subcommand. */
static int read_options(int argc, char **argv, struct top *top, struct globals *globals)
{
    options_begin();
    int option, status = 0;
    while (status == 0 && (option = getopt_long(argc, argv, ":d:uf:n:be:", longs, NULL)) != -1) {
        switch (option) {
        case 'd':
            status = read_delay(optarg, &top->options.interval_s);
            break;
        case 'u':
            top->view.mine = true;
            break;
        case 'f':
            status = read_filter(optarg, top->view.filter);
            break;
        case 'n':
            status = options_number("--count", optarg, 1, INT64_MAX, &top->options.count);
            break;
        case 'b':
            top->options.batch = true;
            break;
        case 'e':
            globals->endpoint = optarg;
            globals->endpoint_by = "--endpoint";
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

static int check_terminal(void)
{
    const char *what = !isatty(STDIN_FILENO) ? "stdin" : !isatty(STDOUT_FILENO) ? "stdout" : NULL;
    if (!what)
        return 0;
    tell("top: %s is not a terminal (-b prints plain text)", what);
    return STATUS_USAGE;
}

/* Until the user, a signal or --count ends it. Returns an exit status, or -1: what screen_status says. */
static int loop(struct top *top)
{
    for (int64_t looks = 0;;) {
        draw(top);
        unsigned key;
        bool special;
        switch (screen_wait(feed_fd(top->feed), FRAME_MS)) {
        case SCREEN_END:
            return -1;
        case SCREEN_KEYS:
            while (screen_key(&key, &special))
                if (!keys_press(top, key, special))
                    return STATUS_DONE;
            break;
        case SCREEN_NEWS:
            if (top_take_news(top) && ++looks == top->options.count)
                return STATUS_DONE;
            break;
        case SCREEN_DRAW:
        case SCREEN_TIME:
            break;
        }
    }
}

/* Takes the pool over. Returns an exit status. */
static int run_on_screen(struct top *top, const struct globals *globals, pmap *pool)
{
    snprintf(top->endpoint, sizeof top->endpoint, "%s", pmap_get_info(pool)->endpoint);
    int rc = screen_signals();
    if (rc == 0)
        rc = feed_start(globals, pool, top->options.interval_s, &top->feed);
    else
        pmap_disconnect(pool);
    if (rc < 0) {
        tell("top: cannot start: %s", tell_errno(rc));
        return STATUS_FAILED;
    }
    int status = STATUS_USAGE;
    rc = screen_start();
    if (rc == 0) {
        paint_init();
        status = loop(top);
        screen_stop();
    }
    if (rc < 0) {
        const char *name = getenv("TERM");
        tell(rc == -ENOTSUP ? "top: a terminal '%s' cannot show a full screen (-b prints plain text)"
                            : "top: unknown terminal '%s' (-b prints plain text)",
             name ? name : "");
    }
    bool stopped = feed_stop(top->feed);
    if (status < 0)
        status = screen_status();
    /* A thread that waits for a daemon which does not answer is not waited for. */
    if (!stopped)
        _exit(status);
    return status;
}

int main(int argc, char **argv)
{
    struct globals globals = {.autostart = false};
    struct top top = {.options = {.interval_s = 1}};
    const char *named = getenv("PMAP_ENDPOINT");
    if (named && *named) {
        globals.endpoint = named;
        globals.endpoint_by = "PMAP_ENDPOINT";
    }
    setlocale(LC_CTYPE, "");
    view_init(&top.view);
    int status = read_options(argc, argv, &top, &globals);
    if (status < 0 && !top.options.batch) {
        int unfit = check_terminal();
        status = unfit != 0 ? unfit : status;
    }
    if (status >= 0)
        return status;
    pmap *pool = NULL;
    status = connect_pool(&globals, CONNECT_ONLY, &pool);
    if (status != 0)
        return status;
    if (top.options.batch) {
        status = batch_run(&top, pool);
        pmap_disconnect(pool);
    } else {
        status = run_on_screen(&top, &globals, pool);
    }
    view_free(&top.view);
    model_clear(&top.model);
    return status;
}
