/*
 * A job as a command line asks for it; see work.h. stream.c runs it.
 */
#include "client/pmapc/work.h"

#include "client/pmapc/connect.h"
#include "client/pmapc/dryrun.h"
#include "client/pmapc/options.h"
#include "client/pmapc/stream.h"
#include "client/pmapc/tell.h"
#include "common/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS_MOST = 65535, RECONNECT_MS = 30000 };
#define TIMEOUT_MOST   4e6 /* seconds: what 32 bits of milliseconds hold */
#define RECONNECT_MOST 2e6 /* the same for 31 */

/*** Options ***/

void work_init(struct work *work)
{
    *work = (struct work){.delimiter = '\n', .end_of_result = '\n', .reconnect_ms = RECONNECT_MS};
}

void work_free(struct work *work)
{
    free(work->lists);
    work->lists = NULL;
}

/* Where in argv a ':::' stands; argc when nowhere. */
static int find_separator(int argc, char **argv, int from)
{
    while (from < argc && strcmp(argv[from], WORK_SEPARATOR) != 0)
        from++;
    return from;
}

int work_separate(struct work *work, int argc, char **argv)
{
    /* What stands behind ':::' is data, also where it looks like an option. */
    int own = find_separator(argc, argv, 1);
    for (int at = own; at < argc;) {
        int end = find_separator(argc, argv, at + 1);
        struct item_list *lists = realloc(work->lists, (work->list_count + 1) * sizeof *lists);
        if (!lists) {
            tell("out of memory");
            return -1;
        }
        work->lists = lists;
        work->lists[work->list_count++] = (struct item_list){argv + at + 1, (size_t)(end - at - 1)};
        at = end;
    }
    if (own < argc)
        argv[own] = NULL;
    return own;
}

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

static int read_halt(struct work *work, const char *value)
{
    static const char *const words[] = {"never", "soon", "now"};
    for (int i = 0; i <= PMAP_HALT_NOW; i++) {
        if (strcmp(value, words[i]) == 0) {
            work->job.halt = i;
            work->halt = i > 0 ? words[i] : NULL;
            return 0;
        }
    }
    tell("--halt: '%s' is none of 'never', 'soon' and 'now'", value);
    return STATUS_USAGE;
}

static int read_timeout(struct work *work, const char *value)
{
    double seconds = 0;
    int status = options_seconds("--timeout", value, TIMEOUT_MOST, &seconds);
    if (status == 0 && seconds <= 0) {
        tell("--timeout: %s is no time at all", value);
        return STATUS_USAGE;
    }
    /* Less than a millisecond is one, not none. */
    work->job.timeout_ms = seconds < 0.001 ? 1 : (unsigned)(seconds * 1000);
    return status;
}

static int read_reconnect(struct work *work, const char *value)
{
    double seconds = 0;
    int status = options_seconds("--reconnect", value, RECONNECT_MOST, &seconds);
    work->reconnect_given = true;
    work->reconnect_ms = seconds > 0 && seconds < 0.001 ? 1 : (unsigned)(seconds * 1000);
    return status;
}

static int read_unsigned(const char *option, const char *value, int64_t min, int64_t max, unsigned *out)
{
    int64_t number = 0;
    int status = options_number(option, value, min, max, &number);
    if (status == 0)
        *out = (unsigned)number;
    return status;
}

static int read_once(const char *option, const char *value, const char **out)
{
    if (*out) {
        tell("%s: given twice ('%s' and '%s')", option, *out, value);
        return STATUS_USAGE;
    }
    *out = value;
    return 0;
}

int work_option(struct work *work, int option, const char *value)
{
    int64_t number = 0;
    int status = 0;
    switch (option) {
    case 'j':
    case 'P':
        return read_unsigned(option == 'j' ? "--slots" : "-P", value, 1, SLOTS_MOST, &work->job.slots);
    case 'c':
        return read_unsigned("--chunksize", value, 1, UINT32_MAX, &work->job.chunksize);
    case OPT_RETRIES:
        return read_unsigned("--retries", value, 0, UINT32_MAX, &work->job.retries);
    case OPT_PRIORITY:
        status = options_number("--priority", value, -1000, 1000, &number);
        work->job.priority = (int)number;
        return status;
    case 'a':
        return read_once("--arg-file", value, &work->arg_file);
    case OPT_RESULTS:
        return read_once("--results", value, &work->results);
    case OPT_JOBLOG:
        return read_once("--joblog", value, &work->joblog);
    case OPT_TRACE:
        return read_once("--trace", value, &work->trace);
    case 'd':
        return options_byte("--delimiter", value, &work->delimiter);
    case OPT_TIMEOUT:
        return read_timeout(work, value);
    case OPT_HALT:
        return read_halt(work, value);
    case OPT_RECONNECT:
        return read_reconnect(work, value);
    case OPT_STATS:
        return read_stats(value, &work->report);
    case '0':
        work->delimiter = work->end_of_result = '\0';
        break;
    case 'u':
        work->job.unordered = 1;
        break;
    case OPT_LINE_BUFFER:
        work->job.live = 1;
        break;
    case OPT_AT_MOST_ONCE:
        work->job.once = 1;
        break;
    case OPT_JOBSERVER:
        work->job.jobserver = 1;
        break;
    case OPT_RESUME:
        work->resume = true;
        break;
    case OPT_RESUME_FAILED:
        work->resume_failed = true;
        break;
    case OPT_PROGRESS:
        work->progress = true;
        break;
    case 'q':
        work->quiet = true;
        break;
    case 'r':
        break;
    case OPT_TAG:
        work->tag = true;
        break;
    case OPT_DRY_RUN:
        work->dry_run = true;
        break;
    default:
        work->help = true;
        work->help_all = value && strcmp(value, "all") == 0;
        if (value && !work->help_all) {
            tell("--help: '%s' is not 'all'", value);
            return STATUS_USAGE;
        }
    }
    return 0;
}

int work_check(struct work *work, const char *command)
{
    if (work->arg_file && work->lists) {
        tell("%s: items from --arg-file and behind ':::' at once are not known", command);
        return STATUS_USAGE;
    }
    if ((work->resume || work->resume_failed) && !work->joblog) {
        tell("%s: --%s needs --joblog", command, work->resume_failed ? "resume-failed" : "resume");
        return STATUS_USAGE;
    }
    work->call.fields = work->max_args > 1 || work->colsep || work->list_count > 1;
    return 0;
}

/*** The run ***/

/* Opens what the records come from. Returns 0 or STATUS_USAGE. */
static int open_descriptor(const struct work *work, struct work_input *input)
{
    bool is_file = work->arg_file && strcmp(work->arg_file, "-") != 0;
    input->name = is_file ? work->arg_file : "stdin";
    int opened = is_file ? open(work->arg_file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    struct stat st;
    if (opened < 0 || fstat(opened, &st) < 0) {
        tell("cannot open %s: %s", input->name, tell_errno(errno));
        return STATUS_USAGE;
    }
    input->fd = opened;
    if (S_ISDIR(st.st_mode)) {
        tell("cannot read %s: %s", input->name, tell_errno(EISDIR));
        return STATUS_USAGE;
    }
    off_t at = S_ISREG(st.st_mode) ? lseek(opened, 0, SEEK_CUR) : -1;
    if (at >= 0 && st.st_size > at)
        input->bytes = (uint64_t)(st.st_size - at);
    input->polls = !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode);
    if (!work->quiet && isatty(opened))
        tell("reading items from the terminal, one a line; Ctrl-D ends them");
    return 0;
}

/* Makes the items of the reader, as the options say. */
static int make_items(const struct work *work, struct work_input *input)
{
    struct items *items = &input->items;
    if (work->list_count > 1 && items_product(items, work->lists, work->list_count) < 0) {
        tell("'" WORK_SEPARATOR "': the product of these lists is too large");
        return STATUS_USAGE;
    }
    if (work->colsep) {
        int rc = items_compile(&input->columns, work->colsep);
        if (rc != 0) {
            char why[128];
            regerror(rc, &input->columns, why, sizeof why);
            tell("--colsep: '%s': %s", work->colsep, why);
            return STATUS_USAGE;
        }
        items->columns = &input->columns;
    }
    items->group = work->max_args > 1 ? work->max_args : 0;
    return 0;
}

int work_open_input(const struct work *work, struct work_input *input)
{
    *input = (struct work_input){.fd = -1};
    int status = work->lists ? 0 : open_descriptor(work, input);
    if (work->lists)
        reader_init_arguments(&input->reader, work->lists[0].arguments, work->lists[0].count,
                              PROTOCOL_ITEM_MAX);
    else
        reader_init(&input->reader, input->fd, work->delimiter, PROTOCOL_ITEM_MAX, 0);
    items_init(&input->items, &input->reader);
    return status != 0 ? status : make_items(work, input);
}

void work_close_input(struct work_input *input)
{
    if (input->items.columns)
        regfree(&input->columns);
    items_free(&input->items);
    reader_free(&input->reader);
    if (input->fd > STDERR_FILENO)
        close(input->fd);
}

static enum joblog_mode joblog_mode(const struct work *work)
{
    return work->resume_failed ? JOBLOG_RESUME_FAILED : work->resume ? JOBLOG_RESUME : JOBLOG_NEW;
}

/* What is written beside the results. */
struct records {
    struct joblog joblog;
    struct folder folder;
    struct trace trace;
};

/* Opens what is asked for, in any case to be closed. */
static int open_records(struct work *work, struct items *items, struct records *r)
{
    struct joblog *joblog = &r->joblog;
    int status = 0;
    if (work->joblog) {
        status = joblog_open(joblog, work->joblog, joblog_mode(work));
        items->done = work->job.done = joblog->done;
        items->done_count = work->job.done_count = joblog->done_count;
    }
    bool verbatim = work->call.kind == PMAP_COMMAND || work->call.kind == PMAP_PIPE;
    if (status == 0 && work->results)
        status = folder_open(&r->folder, work->results, verbatim);
    if (status == 0 && work->trace)
        status = trace_open(&r->trace, work->trace, work->name, work->call.fields != 0);
    return status;
}

static int run_job(const struct globals *globals, struct work *work, struct items *items,
                   const struct stream_options *options)
{
    struct stream_options stream = *options;
    struct records records = {
        .joblog = {.fd = -1}, .folder = {.fd = -1, .out = -1, .err = -1}, .trace = {.fd = -1}};
    pmap *pool = NULL;
    int status = connect_lasting(globals, (int)work->reconnect_ms, work->quiet, &pool, &stream.gap.origin);
    if (status == 0) {
        if (pmap_get_info(pool)->max_item < items->reader->item_max)
            items->reader->item_max = (size_t)pmap_get_info(pool)->max_item;
        status = open_records(work, items, &records);
    }
    if (status == 0) {
        stream.output.joblog = work->joblog ? &records.joblog : NULL;
        stream.output.folder = work->results ? &records.folder : NULL;
        stream.output.trace = work->trace ? &records.trace : NULL;
        status = stream_run(pool, items, &stream);
    }
    pmap_disconnect(pool);
    joblog_close(&records.joblog);
    folder_close(&records.folder);
    int closed = trace_close(&records.trace);
    return status == 0 ? closed : status;
}

/* Shows what would be run, without what the log says is done. */
static int run_dry(const struct work *work, struct items *items, const struct stream_options *options)
{
    struct joblog joblog = {.fd = -1};
    int status = work->joblog ? joblog_read(&joblog, work->joblog, joblog_mode(work)) : 0;
    items->done = joblog.done;
    items->done_count = joblog.done_count;
    if (status == 0)
        status = dry_run(items, options);
    joblog_close(&joblog);
    return status;
}

int work_run(const struct globals *globals, struct work *work)
{
    bool verbatim = work->call.kind == PMAP_COMMAND || work->call.kind == PMAP_PIPE;
    work->job.trace = work->trace || work->joblog; /* the log, too, has when each item began */
    if (work->report == REPORT_NONE && !work->quiet && isatty(STDERR_FILENO))
        work->report = REPORT_LINE;
    struct work_input input;
    int status = work_open_input(work, &input);
    struct shown shown = {.name = NULL};
    struct stream_options stream = {
        .call = &work->call,
        .job = &work->job,
        .name = work->name,
        .input_name = input.name,
        .input_polls = input.polls,
        .input_bytes = input.bytes,
        .progress = work->progress && !work->quiet,
        .report = work->report,
        .gap = {.reconnect_s = work->reconnect_ms / 1e3, .quiet = work->quiet},
        .output = {.verbatim = verbatim,
                   .end_of_result = work->end_of_result,
                   .tag = work->tag,
                   .flush = work->job.live,
                   .halt = work->halt,
                   .shown = &shown,
                   .feeds = work->call.kind == PMAP_PIPE || work->call.kind == PMAP_FILTER,
                   .fields = work->call.fields != 0}};
    if (status == 0 && shown_init(&shown, &work->call, work->name, work->shell) < 0) {
        tell("out of memory");
        status = STATUS_FAILED;
    }
    if (status == 0)
        status = work->dry_run ? run_dry(work, &input.items, &stream)
                               : run_job(globals, work, &input.items, &stream);
    shown_free(&shown);
    work_close_input(&input);
    return status;
}
