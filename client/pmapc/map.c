/*
 * pmapc map: a function over items. Reads what is to be run, and in which way (see map.h); work.c does the
 * rest.
 */
#include "client/pmapc/map.h"

#include "client/pmapc/options.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Items that a process of --pipe gets where nobody says: enough to be worth starting one for. */
enum { PIPE_CHUNK = 1000 };

static const char help[] =
    "Usage: pmapc map [OPTION...] FUNCTION [::: ITEM...]\n"
    "       pmapc map [OPTION...] --python EXPR [::: ITEM...]\n"
    "       pmapc map [OPTION...] [--filter|--pipe] -- COMMAND [ARG...] [::: ITEM...]\n"
    "Applies a function, or a command, to each item and prints the results in order,\n"
    "as they come. Items are stdin's lines, a file's (-a), or stand behind ':::'.\n"
    "FUNCTION: a builtin (see 'pmapc functions'), or ./lib.so:name of a module.\n"
    "EXPR: Python, in which x is the item; or FILE:FUNCTION. COMMAND: no shell; {} in\n"
    "it is the item. --filter: a line in, a line out; --pipe: all of a chunk at once.\n"
    "\n"
    "  -j, --slots N       at most N slots at once (default: fair share); also -P\n"
    "  -c, --chunksize N   at most N items in a chunk (default: adaptive)\n"
    "  -a, --arg-file F    items from F; -0, --null: they end in NUL\n"
    "  -n, --max-args N    N items for each COMMAND; -C, --colsep RE: columns {1} {2}\n"
    "  -u, --unordered     results as they come\n"
    "      --timeout SEC   that an item may take; --retries N: further attempts at it\n"
    "      --joblog FILE   a line an item; --resume: go on with what is missing there\n"
    "      --stats[=FORM]  timing on stderr at the end; --progress: how far it is\n"
    "      --dry-run       print what would be run\n"
    "      --help=all      all options\n"
    "\n"
    "  seq 1000 | pmapc map square           pmapc map -- gzip -k {} ::: *.txt\n"
    "  pmapc map --python 'int(x)**2' ::: 7  pmapc map --filter -a text -- sed s/a/b/\n";

static const char help_all[] =
    "Options of 'pmapc map' ('pmapc run' has those without a *):\n"
    "\n"
    "  -j, -P, --slots N       at most N slots at once (default: fair share)\n"
    "  -c, --chunksize N       at most N items in a chunk (default: adaptive)\n"
    "  -a, --arg-file FILE     items from FILE\n"
    "  -0, --null              items and results end in NUL\n"
    "  -d, --delimiter C       items end in C: one character, or \\n \\t \\r \\0 \\xHH\n"
    "* -n, --max-args N        N items for each COMMAND: {1} {2} ..., or {} for all\n"
    "* -C, --colsep RE         columns, which RE separates, are {1} {2} ...\n"
    "* -I STR                  STR in COMMAND is the item, instead of {}\n"
    "  -u, --unordered         results as they come\n"
    "      --line-buffer       output as it is produced, in order\n"
    "      --tag               the item and a tab before each line of its result\n"
    "      --results DIR       what each item gave in DIR/NUMBER/ as well\n"
    "      --timeout SEC       that an item may take (builtins: implies --isolate)\n"
    "      --retries N         further attempts at an item that fails (likewise)\n"
    "      --halt WHEN         on the first failure: never, soon (begin no more), now\n"
    "                          (give up what runs as well)\n"
    "* --recycle N             a lasting process serves N items (likewise)\n"
    "* --isolate               a builtin runs in a process of yours\n"
    "* --type T                a module's items are numbers: i8 ... i64, u8 ... f64\n"
    "      --jobserver         a COMMAND that is make or cargo uses free slots, too\n"
    "      --priority N        among your own jobs, -1000 to 1000 (default: 0)\n"
    "      --at-most-once      what a lost worker had fails instead of running again\n"
    "      --reconnect SEC     go on if a daemon that was lost is back within SEC\n"
    "                          seconds (default: 30)\n"
    "      --joblog FILE       a line an item in FILE, as GNU parallel's\n"
    "      --resume            do not run what FILE lists\n"
    "      --resume-failed     the same, but run again what failed\n"
    "      --trace FILE        when each item ran in which slot, for Perfetto\n"
    "      --stats[=FORM]      timing on stderr at the end; FORM: text or json\n"
    "      --progress          how far it is, where stderr is a terminal\n"
    "  -q, --quiet             no summary on stderr (failures are still told)\n"
    "      --dry-run           print what would be run\n"
    "  -r                      accepted, does nothing: no input never runs anything\n"
    "\n"
    "In COMMAND: {} item, {.} without extension, {/} without folder, {//} folder,\n"
    "{/.} neither, {#} its number, {%} the slot's; {2} {2.} ... of one of several\n"
    "arguments. Without any of these the item is appended.\n"
    "Several ':::' LIST are all combinations, the last list varying fastest.\n"
    "\n"
    "Exit status: 0 all done, 1 some item failed, 2 usage, 3 no daemon, 4 refused,\n"
    "130 interrupted.\n";

static const struct option longs[] = {{"filter", no_argument, NULL, OPT_FILTER},
                                      {"pipe", no_argument, NULL, OPT_PIPE},
                                      {"python", required_argument, NULL, OPT_PYTHON},
                                      {"type", required_argument, NULL, OPT_TYPE},
                                      {"isolate", no_argument, NULL, OPT_ISOLATE},
                                      {"recycle", required_argument, NULL, OPT_RECYCLE},
                                      {"max-args", required_argument, NULL, 'n'},
                                      {"colsep", required_argument, NULL, 'C'},
                                      WORK_LONGS};
/* "-": in the order of the command line, so that a command behind "--" is told from a function before it. */
static const char shorts[] = "-:n:C:I:" WORK_SHORTS;

enum { MAX_ARGS_MOST = 1000000 };

/* One option. Returns 0 or STATUS_USAGE. */
static int read_option(struct map *map, int option, const char *value)
{
    int64_t number = 0;
    int status = 0;
    switch (option) {
    case 1:
        if (map->function)
            map->surplus = map->surplus ? map->surplus : value;
        else
            map->function = value;
        break;
    case OPT_FILTER:
        map->filter = true;
        break;
    case OPT_PIPE:
        map->pipe = true;
        break;
    case OPT_PYTHON:
        map->python = value;
        break;
    case OPT_TYPE:
        map->work.call.type = value;
        break;
    case OPT_ISOLATE:
        map->work.job.isolate = 1;
        break;
    case OPT_RECYCLE:
        status = options_number("--recycle", value, 1, UINT32_MAX, &number);
        map->work.job.recycle = (unsigned)number;
        break;
    case 'n':
        status = options_number("--max-args", value, 1, MAX_ARGS_MOST, &number);
        map->work.max_args = (unsigned)number;
        break;
    case 'C':
        map->work.colsep = value;
        break;
    case 'I':
        map->work.call.placeholder = value;
        if (*value == '\0') {
            tell("-I: the placeholder is empty");
            status = STATUS_USAGE;
        }
        break;
    default:
        status = option < OPT_MAP_OWN || !map->command_line->option
                     ? work_option(&map->work, option, value)
                     : map->command_line->option(map->command_line->cookie, option, value);
    }
    return status;
}

static int misused(const struct map *map, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int misused(const struct map *map, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const char *name = map->command_line->name;
    tell("%s: %s (see 'pmapc %s --help')", name, what, name);
    return STATUS_USAGE;
}

/*** What is to be run ***/

/* The command in words, as far as there is room, for people. */
static void name_command(struct map *map)
{
    size_t at = 0;
    for (char **word = map->command; *word && at < MAP_NAME_ROOM; word++) {
        if (at > 0)
            map->name[at++] = ' ';
        for (const char *c = *word; *c && at < MAP_NAME_ROOM; c++)
            map->name[at++] = isascii((unsigned char)*c) && isprint((unsigned char)*c) ? *c : '?';
    }
    map->name[at] = '\0';
    map->work.name = map->work.call.name = map->name;
}

static void use_command(struct map *map)
{
    map->work.call.kind = map->filter ? PMAP_FILTER : map->pipe ? PMAP_PIPE : PMAP_COMMAND;
    if (map->pipe && map->work.job.chunksize == 0)
        map->work.job.chunksize = PIPE_CHUNK;
    map->work.call.argv = (const char *const *)map->command;
    name_command(map);
}

/* Is it FILE:FUNCTION and no expression? */
static bool is_file(const char *source)
{
    const char *colon = strrchr(source, ':');
    if (!colon || colon == source || colon[1] == '\0')
        return false;
    for (const char *c = colon + 1; *c; c++)
        if (isascii((unsigned char)*c) && !isalnum((unsigned char)*c) && *c != '_')
            return false;
    size_t len = (size_t)(colon - source);
    if (len > 3 && memcmp(colon - 3, ".py", 3) == 0)
        return true;
    char *path = strndup(source, len);
    bool there = path && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* Returns 0 or an exit status. */
static int use_python(struct map *map)
{
    size_t len = strlen(map->python);
    if (len == 0)
        return misused(map, "--python needs an expression, or FILE.py:FUNCTION");
    if (len > 3 && strcmp(map->python + len - 3, ".py") == 0 && access(map->python, F_OK) == 0)
        return misused(map, "--python %s: which function of it? Say --python %s:FUNCTION", map->python,
                       map->python);
    map->argv[0] = map->python;
    map->work.call.kind = PMAP_PYTHON;
    map->work.call.argv = map->argv;
    map->work.call.file = is_file(map->python);
    map->work.call.name = "python";
    map->work.name = map->python;
    return 0;
}

/* "./lib.so:name": the last colon counts, and the file's name is made absolute. Returns 0 or an exit status.
 */
static int use_module(struct map *map)
{
    const char *colon = strrchr(map->function, ':'), *name = colon + 1;
    if (*name == '\0' || colon == map->function)
        return misused(map, "'%s' is not FILE:FUNCTION", map->function);
    size_t len = (size_t)(colon - map->function);
    char *folder = *map->function == '/' ? NULL : getcwd(NULL, 0);
    if (*map->function != '/' && !folder) {
        tell("the working directory is gone");
        return STATUS_USAGE;
    }
    size_t folder_len = folder ? strlen(folder) : 0;
    map->library = malloc(folder_len + len + 2);
    if (map->library)
        snprintf(map->library, folder_len + len + 2, "%s%s%.*s", folder ? folder : "", folder ? "/" : "",
                 (int)len, map->function);
    free(folder);
    if (!map->library) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    map->argv[0] = map->library;
    map->work.call.kind = PMAP_MODULE;
    map->work.call.argv = map->argv;
    map->work.call.name = name;
    map->work.name = map->function;
    return 0;
}

/* Finds out what is to be run, and that it is one thing. Returns 0 or an exit status. */
static int choose(struct map *map)
{
    const char *command = map->command_line->name;
    if (map->filter && map->pipe)
        return misused(map, "--filter and --pipe are two things");
    if (map->filter || map->pipe) {
        const char *option = map->filter ? "--filter" : "--pipe";
        if (!map->command || map->function)
            return misused(map, "%s needs a command behind '--'", option);
        if (map->python)
            return misused(map, "%s and --python are two things", option);
    }
    if (map->python && (map->function || map->command))
        return misused(map, "--python and '%s' are two things to run; items stand behind ':::'",
                       map->function     ? map->function
                       : map->command[0] ? map->command[0]
                                         : "--");
    if (map->function && map->command)
        return misused(map, "'%s' and a command behind '--' are two things to run", map->function);
    if (map->command) {
        if (!map->command[0] || !*map->command[0])
            return misused(map, "which command? (behind '--')");
        use_command(map);
        return 0;
    }
    if (map->python)
        return use_python(map);
    if (!map->function) {
        tell("%s: which function? (see 'pmapc %s --help' and 'pmapc functions')", command, command);
        return STATUS_USAGE;
    }
    if (*map->function == '\0') {
        tell("%s: the function's name is empty", command);
        return STATUS_USAGE;
    }
    if (map->surplus) {
        tell("%s: unexpected argument '%s': items stand behind ':::', a command behind '--'", command,
             map->surplus);
        return STATUS_USAGE;
    }
    if (strchr(map->function, '/') && strchr(map->function, ':'))
        return use_module(map);
    map->work.call.kind = PMAP_BUILTIN;
    map->work.call.name = map->work.name = map->function;
    return 0;
}

/* Options that make sense for some kinds only. Returns 0 or STATUS_USAGE. */
static int check(struct map *map)
{
    struct work *work = &map->work;
    enum pmap_kind kind = work->call.kind;
    bool command = kind == PMAP_COMMAND;
    if (!command && work->max_args > 0)
        return misused(map, "--max-args is for commands only");
    if (!command && work->colsep)
        return misused(map, "--colsep is for commands only");
    if (!command && work->list_count > 1)
        return misused(map, "several '" WORK_SEPARATOR "' are for commands only");
    if (!command && work->call.placeholder)
        return misused(map, "-I is for commands only");
    if ((work->max_args > 0) + (work->colsep != NULL) + (work->list_count > 1) > 1)
        return misused(map, "--max-args, --colsep and several '" WORK_SEPARATOR "' do not go together");
    if (kind != PMAP_COMMAND && kind != PMAP_PIPE && work->job.live)
        return misused(map, "--line-buffer is for commands and --pipe only");
    if ((command || kind == PMAP_PIPE) && work->job.recycle > 0)
        return misused(map, "--recycle is for processes that last, which a command's is not");
    if (!command && work->job.jobserver)
        return misused(map, "--jobserver is for commands only");
    if (kind != PMAP_MODULE && work->call.type)
        return misused(map, "--type is for functions of modules only (./lib.so:name)");
    if (kind != PMAP_BUILTIN && work->job.isolate)
        return misused(map, "--isolate is for builtins; everything else runs in processes anyway");
    /* What these ask for only processes can give. */
    if (kind == PMAP_BUILTIN && (work->job.timeout_ms > 0 || work->job.retries > 0 || work->job.recycle > 0))
        work->job.isolate = 1;
    return work_check(work, map->command_line->name);
}

/*** The command line ***/

/* map's long options and those of the subcommand, in memory of the caller's; NULL: memory is short. */
static struct option *join_longs(const struct option *own)
{
    size_t count = 0, own_count = 0;
    while (longs[count].name)
        count++;
    while (own && own[own_count].name)
        own_count++;
    struct option *joined = calloc(count + own_count + 1, sizeof *joined);
    if (!joined)
        return NULL;
    memcpy(joined, longs, count * sizeof *joined);
    if (own_count > 0)
        memcpy(joined + count, own, own_count * sizeof *joined);
    return joined;
}

/* Reads the options, and what stands between them. Returns 0 or an exit status. */
static int read_options(struct map *map, const struct option *all, int argc, char **argv)
{
    const char *value = NULL;
    int option;
    options_begin();
    while ((option = getopt_long(argc, argv, shorts, all, NULL)) != -1) {
        if (option == '?' || option == ':')
            return options_bad(option, argv, map->command_line->name, all);
        value = optarg;
        int status = read_option(map, option, optarg);
        if (status != 0 || map->work.help)
            return status;
    }
    /* The "--" may as well have been an option's value. */
    if (optind > 1 && strcmp(argv[optind - 1], "--") == 0 && value != argv[optind - 1])
        map->command = argv + optind;
    return 0;
}

int map_read(struct map *map, const struct map_command *command, int argc, char **argv)
{
    *map = (struct map){.command_line = command};
    work_init(&map->work);
    int own = work_separate(&map->work, argc, argv);
    if (own < 0)
        return STATUS_FAILED;
    struct option *all = join_longs(command->longs);
    if (!all) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    int status = read_options(map, all, own, argv);
    free(all);
    if (status != 0 || map->work.help)
        return status;
    status = choose(map);
    return status != 0 ? status : check(map);
}

void map_free(struct map *map)
{
    free(map->library);
    work_free(&map->work);
}

int command_map(const struct globals *globals, int argc, char **argv)
{
    static const struct map_command command = {.name = "map"};
    struct map map;
    int status = map_read(&map, &command, argc, argv);
    if (status == 0 && map.work.help) {
        fputs(map.work.help_all ? help_all : help, stdout);
        status = tell_finish();
    } else if (status == 0) {
        status = work_run(globals, &map.work);
    }
    map_free(&map);
    return status;
}
