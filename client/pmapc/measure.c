/*
 * A job that is run again and again, to be timed; see measure.h.
 */
#include "client/pmapc/measure.h"

#include "client/pmapc/connect.h"
#include "client/pmapc/interrupt.h"
#include "client/pmapc/options.h"
#include "client/pmapc/refusal.h"
#include "client/pmapc/tell.h"
#include "client/pmapc/timing.h"
#include "common/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    ITEMS_MOST = 1 << 30, /* bytes that are kept */
    PUT_MOST = 4096,      /* items between two looks for results, so that neither waits for the other */
    RUNS_MOST = 10000,
    DONE = -1, /* no exit status: the job has ended well */
};

/*** The command line ***/

static int read_option(void *cookie, int option, const char *value)
{
    struct measure *m = cookie;
    int64_t number = 0;
    int status = 0;
    switch (option) {
    case OPT_LOOPS:
        status = options_number("--loops", value, 1, TIMING_LOOPS_MOST, &number);
        m->loops = (uint64_t)number;
        break;
    case OPT_RUNS:
        status = options_number("--runs", value, 1, RUNS_MOST, &number);
        m->runs = (unsigned)number;
        break;
    case OPT_JSON:
        m->json = true;
        break;
    default:
        status = m->option(m->cookie, option, value);
    }
    return status;
}

/* Options of map that are about results, of which nothing is kept here. Returns 0 or STATUS_USAGE. */
static int check(const struct measure *m)
{
    const struct work *work = &m->map.work;
    const struct {
        bool given;
        const char *option;
    } senseless[] = {{work->joblog != NULL, "--joblog"},       {work->results != NULL, "--results"},
                     {work->trace != NULL, "--trace"},         {work->tag, "--tag"},
                     {work->progress, "--progress"},           {work->dry_run, "--dry-run"},
                     {work->report != REPORT_NONE, "--stats"}, {work->halt != NULL, "--halt"},
                     {work->reconnect_given, "--reconnect"}};
    for (size_t i = 0; i < sizeof senseless / sizeof senseless[0]; i++) {
        if (senseless[i].given) {
            tell("%s: %s has no place here: results are only timed, and an item that fails, or a daemon that "
                 "is lost, ends it",
                 m->command, senseless[i].option);
            return STATUS_USAGE;
        }
    }
    return 0;
}

int measure_read(struct measure *m, const struct map_command *command, unsigned runs, const char *help,
                 int argc, char **argv)
{
    *m = (struct measure){
        .command = command->name, .option = command->option, .cookie = command->cookie, .runs = runs};
    struct map_command with_ours = *command;
    with_ours.option = read_option;
    with_ours.cookie = m;
    int status = map_read(&m->map, &with_ours, argc, argv);
    m->map.command_line = NULL;
    if (status == 0 && m->map.work.help) {
        fputs(help, stdout);
        return tell_finish();
    }
    if (status == 0)
        status = check(m);
    return status != 0 ? status : -1;
}

int measure_begin(struct measure *m, const struct globals *globals)
{
    struct work_input input;
    int status = work_open_input(&m->map.work, &input);
    if (status == 0)
        status = connect_pool(globals, CONNECT_START, &m->pool);
    if (status == 0) {
        if (pmap_get_info(m->pool)->max_item < input.reader.item_max)
            input.reader.item_max = (size_t)pmap_get_info(m->pool)->max_item;
        status = kept_read(&m->items, &input, ITEMS_MOST, m->command);
    }
    work_close_input(&input);
    if (status == 0)
        interrupt_install();
    return status;
}

void measure_free(struct measure *m)
{
    pmap_disconnect(m->pool);
    m->pool = NULL;
    kept_free(&m->items);
    map_free(&m->map);
}

/*** A job ***/

/* What the process of an item that failed had to say. */
static void show_stderr(const struct pmap_result *result)
{
    const char *data = result->err;
    for (size_t left = result->err_size; left > 0;) {
        ssize_t n = write(STDERR_FILENO, data, left);
        if (n < 0)
            return; /* nobody to be told, or a signal, which ends this anyway */
        data += n;
        left -= (size_t)n;
    }
}

/* Looks at a result that will be thrown away. Returns DONE, or STATUS_FAILED having told. */
static int look_at(struct measure *m, const struct pmap_result *result)
{
    if (result->failed) {
        show_stderr(result);
        tell("item %" PRIu64 ": %s", result->index + 1, result->error);
        return STATUS_FAILED;
    }
    if (result->remark && !m->remarked) {
        m->remarked = true;
        tell("%s", result->remark);
    }
    return DONE;
}

/* Puts some of the items that are left, and says the end behind the last. Returns how many, or a negative
 * errno. */
static int put_some(const struct measure *m, pmap_job *job, size_t *next)
{
    int put = 0;
    while (*next < m->items.count && put < PUT_MOST) {
        size_t len;
        const char *item = kept_item(&m->items, *next, &len);
        int rc = pmap_put(job, item, len);
        if (rc == -EAGAIN)
            break;
        if (rc < 0)
            return rc;
        put++;
        if (++*next == m->items.count && (rc = pmap_end(job)) < 0)
            return rc;
    }
    return put;
}

/* Takes the results that are there; *taken: were there any? Returns PMAP_NONE, or how the job or the
 * connection has ended; *status is set where that was by a result. */
static int take_some(struct measure *m, pmap_job *job, bool *taken, int *status)
{
    struct pmap_result result;
    int rc;
    while ((rc = pmap_take(job, &result)) == PMAP_RESULT) {
        *taken = true;
        *status = result.more ? DONE : look_at(m, &result);
        if (*status != DONE)
            return PMAP_CANCELLED;
    }
    return rc;
}

/* What pmap_take or pmap_put has said, as an exit status or DONE. */
static int ended(const struct measure *m, const pmap_job *job, int said)
{
    if (said == PMAP_DONE)
        return DONE;
    if (said == PMAP_FAILED)
        return refusal_job(job);
    if (said == PMAP_CANCELLED) {
        tell("the job was cancelled");
        return STATUS_NO_POOL;
    }
    return connect_lost(m->pool, said);
}

/* From the first item put to the last result taken. Returns DONE, or an exit status having told. */
static int run_job(struct measure *m, pmap_job *job)
{
    struct pollfd fd = {.fd = pmap_fd(m->pool), .events = POLLIN};
    size_t next = 0;
    for (;;) {
        /* A run that was stopped will show it, by the time that it took. */
        if (interrupt_stop_pending())
            interrupt_stop();
        if (interrupt_pending())
            return interrupt_status();
        int put = put_some(m, job, &next);
        if (put < 0 && put != -EPIPE) /* -EPIPE: what there is to take says why */
            return ended(m, job, put);
        bool taken = false;
        int status = DONE, rc = take_some(m, job, &taken, &status);
        if (status != DONE)
            return status;
        if (rc != PMAP_NONE && rc != -EINTR)
            return ended(m, job, rc);
        if (put <= 0 && !taken)
            interrupt_poll(&fd, 1, -1);
    }
}

int measure_run(struct measure *m, unsigned slots, uint64_t loops, int64_t *took_ns)
{
    struct pmap_job_options options = m->map.work.job;
    if (slots > 0)
        options.slots = slots;
    int64_t start_ns = now_ns(), end_ns = start_ns;
    for (uint64_t i = 0; i < loops; i++) {
        pmap_job *job = NULL;
        int rc = pmap_open_call(m->pool, &m->map.work.call, &options, &job);
        if (rc < 0)
            return refusal_open(m->pool, m->map.work.name, rc);
        int status = run_job(m, job);
        end_ns = now_ns();
        struct pmap_report report;
        pmap_get_report(job, &report);
        m->slots = report.slots;
        m->busy_ns += report.run_ns;
        pmap_close_job(job);
        if (status != DONE)
            return status;
    }
    *took_ns = end_ns - start_ns;
    return 0;
}
