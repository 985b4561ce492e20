/*
 * pmapc map: a function over items. Reads the options and finds the input; stream.c does the work.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/reader.h"
#include "client/pmapc/stream.h"
#include "client/pmapc/tell.h"
#include "client/pmapc/writer.h"
#include "common/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] = "Usage: pmapc map [OPTION...] FUNCTION [::: ITEM...]\n"
                           "Applies a function to each item and prints the results in order, as they come.\n"
                           "Items are stdin's lines, a file's (-a), or the arguments behind ':::'.\n"
                           "\n"
                           "  -j, --slots N        at most N slots at once (default: fair share); also -P\n"
                           "  -c, --chunksize N    at most N items in a chunk (default: adaptive)\n"
                           "  -a, --arg-file FILE  items from FILE\n"
                           "  -0, --null           items and results end in NUL\n"
                           "  -d, --delimiter C    items end in C: one character, or \\n \\t \\r \\0 \\xHH\n"
                           "  -u, --unordered      results as they come\n"
                           "      --priority N     among your own jobs, -1000 to 1000 (default: 0)\n"
                           "      --tag            the item and a tab before each line of its result\n"
                           "      --stats[=FORM]   timing on stderr at the end; FORM: text or json\n"
                           "  -q, --quiet          no summary on stderr (failures are still told)\n"
                           "      --dry-run        print what would be run\n"
                           "  -r                   accepted, does nothing: no input never runs anything\n"
                           "      --help           show this\n"
                           "\n"
                           "Exit status: 0 all done, 1 some item failed, 2 usage, 3 no daemon, 4 refused,\n"
                           "130 interrupted.\n"
                           "\n"
                           "  seq 1000 | pmapc map square          pmapc map cube ::: 1 2 3\n"
                           "  pmapc map -a book.txt upper          find . -print0 | pmapc map -0 length\n"
                           "  pmapc map -c 100 --stats=json -a numbers.txt square >squares.txt\n";

enum { OPT_PRIORITY = 256, OPT_STATS, OPT_TAG, OPT_DRY_RUN, OPT_HELP };

static const struct option longs[] = {{"slots", required_argument, NULL, 'j'},
                                      {"chunksize", required_argument, NULL, 'c'},
                                      {"arg-file", required_argument, NULL, 'a'},
                                      {"null", no_argument, NULL, '0'},
                                      {"delimiter", required_argument, NULL, 'd'},
                                      {"unordered", no_argument, NULL, 'u'},
                                      {"priority", required_argument, NULL, OPT_PRIORITY},
                                      {"stats", optional_argument, NULL, OPT_STATS},
                                      {"quiet", no_argument, NULL, 'q'},
                                      {"tag", no_argument, NULL, OPT_TAG},
                                      {"dry-run", no_argument, NULL, OPT_DRY_RUN},
                                      {"no-run-if-empty", no_argument, NULL, 'r'},
                                      {"help", no_argument, NULL, OPT_HELP},
                                      {NULL, 0, NULL, 0}};
static const char shorts[] = ":j:P:c:a:0d:uqr";

enum { SLOTS_MOST = 65535 };
#define SEPARATOR ":::"

struct map {
    struct stream_options stream;
    const char *arg_file;    /* NULL: none */
    unsigned char delimiter; /* of items */
    char **arguments;        /* behind ':::'; NULL when there is no ':::' */
    size_t argument_count;
    bool quiet, dry_run, help;
};

static int read_stats(const char *form, enum report_form *out)
{
    if (!form || strcmp(form, "text") == 0) {
        *out = REPORT_TEXT;
    } else if (strcmp(form, "json") == 0) {
        *out = REPORT_JSON;
    } else {
        tell("--stats: '%s' is neither 'text' nor 'json'", form);
        return STATUS_USAGE;
    }
    return 0;
}

/* One option. Returns 0 or STATUS_USAGE. */
static int read_option(struct map *map, int option, const char *value)
{
    int64_t number = 0;
    int status = 0;
    switch (option) {
    case 'j':
    case 'P':
        status = options_number(option == 'j' ? "--slots" : "-P", value, 1, SLOTS_MOST, &number);
        map->stream.job.slots = (unsigned)number;
        break;
    case 'c':
        status = options_number("--chunksize", value, 1, UINT32_MAX, &number);
        map->stream.job.chunksize = (unsigned)number;
        break;
    case 'a':
        if (map->arg_file) {
            tell("--arg-file: given twice ('%s' and '%s')", map->arg_file, value);
            return STATUS_USAGE;
        }
        map->arg_file = value;
        break;
    case '0':
        map->delimiter = map->stream.end_of_result = '\0';
        break;
    case 'd':
        status = options_byte("--delimiter", value, &map->delimiter);
        break;
    case 'u':
        map->stream.job.unordered = 1;
        break;
    case 'q':
        map->quiet = true;
        break;
    case 'r':
        break;
    case OPT_PRIORITY:
        status = options_number("--priority", value, -1000, 1000, &number);
        map->stream.job.priority = (int)number;
        break;
    case OPT_STATS:
        status = read_stats(value, &map->stream.report);
        break;
    case OPT_TAG:
        map->stream.tag = true;
        break;
    case OPT_DRY_RUN:
        map->dry_run = true;
        break;
    default:
        map->help = true;
    }
    return status;
}

/* Where in argv a ':::' stands; argc when nowhere. */
static int find_separator(int argc, char **argv, int from)
{
    while (from < argc && strcmp(argv[from], SEPARATOR) != 0)
        from++;
    return from;
}

/* Reads the command line. Returns 0 or STATUS_USAGE. */
static int read_arguments(struct map *map, int argc, char **argv)
{
    /* What stands behind ':::' is data, also where it looks like an option. */
    int own = find_separator(argc, argv, 1);
    if (own < argc) {
        map->arguments = argv + own + 1;
        map->argument_count = (size_t)(argc - own - 1);
        if (find_separator(argc, argv, own + 1) < argc) {
            tell("map: only one ':::' is known");
            return STATUS_USAGE;
        }
        argv[own] = NULL;
    }
    options_begin();
    int option;
    while ((option = getopt_long(own, argv, shorts, longs, NULL)) != -1) {
        if (option == '?' || option == ':')
            return options_bad(option, argv, "map", longs);
        int status = read_option(map, option, optarg);
        if (status != 0 || map->help)
            return status;
    }
    if (strcmp(argv[optind - 1], "--") == 0) {
        tell("map: '--' is not known; name a function (see 'pmapc functions')");
        return STATUS_USAGE;
    }
    if (optind == own) {
        tell("map: which function? (see 'pmapc map --help' and 'pmapc functions')");
        return STATUS_USAGE;
    }
    map->stream.function = argv[optind];
    if (*map->stream.function == '\0') {
        tell("map: the function's name is empty");
        return STATUS_USAGE;
    }
    if (optind + 1 < own) {
        tell("map: unexpected argument '%s': items stand behind ':::'", argv[optind + 1]);
        return STATUS_USAGE;
    }
    if (map->arg_file && map->arguments) {
        tell("map: items from --arg-file and behind ':::' at once are not known");
        return STATUS_USAGE;
    }
    return 0;
}

/* Opens the input and makes *fd of it. Returns 0 or STATUS_USAGE. */
static int open_input(struct map *map, int *fd)
{
    bool is_file = map->arg_file && strcmp(map->arg_file, "-") != 0;
    map->stream.input_name = is_file ? map->arg_file : "stdin";
    int opened = is_file ? open(map->arg_file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    struct stat st;
    if (opened < 0 || fstat(opened, &st) < 0) {
        tell("cannot open %s: %s", map->stream.input_name, tell_errno(errno));
        return STATUS_USAGE;
    }
    if (S_ISDIR(st.st_mode)) {
        tell("cannot read %s: %s", map->stream.input_name, tell_errno(EISDIR));
        if (is_file)
            close(opened);
        return STATUS_USAGE;
    }
    map->stream.input_polls = !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode);
    if (!map->quiet && isatty(opened))
        tell("reading items from the terminal, one a line; Ctrl-D ends them");
    *fd = opened;
    return 0;
}

/* --dry-run: a line an item, without a daemon. */
static int dry_run(const struct map *map, struct reader *reader)
{
    struct writer writer;
    if (writer_init(&writer, STDOUT_FILENO, 0) < 0) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    const char *function = map->stream.function, *data;
    uint64_t items = 0;
    size_t len;
    int status = STATUS_DONE, rc = 0;
    for (;;) {
        while ((rc = reader_next(reader, &data, &len)) > 0) {
            items++;
            writer_put(&writer, function, strlen(function));
            writer_put_byte(&writer, ' ');
            writer_put(&writer, data, len);
            writer_put_byte(&writer, (char)map->stream.end_of_result);
        }
        if (rc == 0)
            rc = writer_flush(&writer);
        if (rc < 0 || reader_finished(reader))
            break;
        struct pollfd fd = {.fd = reader->fd, .events = POLLIN};
        rc = reader_fill(reader);
        if (rc == -EAGAIN)
            poll(&fd, 1, -1);
        else if (rc < 0 && rc != -EINTR)
            break;
    }
    if (writer.error == -EPIPE)
        tell_sigpipe();
    if (writer.error < 0) {
        tell("cannot write to stdout: %s", tell_errno(writer.error));
        status = STATUS_FAILED;
    } else if (rc == -EMSGSIZE) {
        tell("item %ju: larger than %zu bytes", (uintmax_t)items + 1, reader->item_max);
        status = STATUS_FAILED;
    } else if (rc < 0) {
        tell("cannot read %s: %s", map->stream.input_name, tell_errno(rc));
        status = STATUS_USAGE;
    }
    writer_free(&writer);
    return status;
}

static int run(const struct globals *globals, struct map *map)
{
    int fd = -1;
    int status = map->arguments ? 0 : open_input(map, &fd);
    if (status != 0)
        return status;
    pmap *pool = NULL;
    size_t item_max = PROTOCOL_ITEM_MAX;
    if (!map->dry_run) {
        status = connect_pool(globals, CONNECT_START, &pool);
        uint64_t of_pool = status == 0 ? pmap_get_info(pool)->max_item : 0;
        if (of_pool > 0 && of_pool < item_max)
            item_max = (size_t)of_pool;
    }
    if (status == 0) {
        struct reader reader;
        if (map->arguments)
            reader_init_arguments(&reader, map->arguments, map->argument_count, item_max);
        else
            reader_init(&reader, fd, map->delimiter, item_max, 0);
        status = map->dry_run ? dry_run(map, &reader) : stream_run(pool, &reader, &map->stream);
        reader_free(&reader);
    }
    pmap_disconnect(pool);
    if (fd > STDERR_FILENO)
        close(fd);
    return status;
}

int command_map(const struct globals *globals, int argc, char **argv)
{
    struct map map = {.delimiter = '\n', .stream.end_of_result = '\n'};
    int status = read_arguments(&map, argc, argv);
    if (status != 0)
        return status;
    if (map.help) {
        fputs(help, stdout);
        return tell_finish();
    }
    if (map.stream.report == REPORT_NONE && !map.quiet && isatty(STDERR_FILENO))
        map.stream.report = REPORT_LINE;
    return run(globals, &map);
}
