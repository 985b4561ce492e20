/* The command line and the environment of a host; see spawn.h and host.h. */
#include "daemon/worker/spawn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

static char *format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

static char *format(const char *pattern, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, pattern);
    int n = vasprintf(&text, pattern, args);
    va_end(args);
    return n < 0 ? NULL : text;
}

/* Lists whose strings are all their own; a NULL to add means that memory was short, and makes the list so. */
struct list {
    char **strings;
    size_t count, room;
    bool failed;
};

static void add(struct list *list, char *text)
{
    if (text && list->count + 1 >= list->room) {
        size_t room = list->room * 2 + 16;
        char **strings = realloc(list->strings, room * sizeof *strings);
        if (strings) {
            list->strings = strings;
            list->room = room;
        }
    }
    if (!text || list->count + 1 >= list->room) {
        free(text);
        list->failed = true;
        return;
    }
    list->strings[list->count++] = text;
    list->strings[list->count] = NULL;
}

static void add_text(struct list *list, const char *text)
{
    add(list, strdup(text));
}

static void add_number(struct list *list, const char *name, uint64_t value)
{
    add_text(list, name);
    add(list, format("%" PRIu64, value));
}

/*** Command lines ***/

static void add_exec(struct list *argv, const struct job *job)
{
    static const char *const kinds[] = {
        [KIND_COMMAND] = "command", [KIND_FILTER] = "filter", [KIND_PIPE] = "pipe"};
    const struct call *call = &job->call;
    add_text(argv, "pmap-exec");
    add_text(argv, kinds[job->kind]);
    add_number(argv, "--timeout", job->options.timeout_ms);
    add_number(argv, "--grace", (uint64_t)(job->kill_grace_ns + 999999) / 1000000);
    add_number(argv, "--retries", job->options.retries);
    add_number(argv, "--recycle", job->options.recycle);
    if (job->options.live)
        add_text(argv, "--live");
    if (call->fields)
        add_text(argv, "--fields");
    if (job->options.jobserver)
        add_text(argv, "--jobserver");
    if (call->placeholder) {
        add_text(argv, "--placeholder");
        add_text(argv, call->placeholder);
    }
    for (size_t i = 0; i < call->rlimit_count; i++) {
        const struct call_rlimit *limit = &call->rlimits[i];
        add_text(argv, "--rlimit");
        add(argv, format("%" PRIu32 ":%" PRIu64 ":%" PRIu64, limit->resource, limit->soft, limit->hard));
    }
    add_text(argv, "--");
    for (size_t i = 0; i < call->argc; i++)
        add_text(argv, call->argv[i]);
}

static void add_lasting(struct list *argv, const struct job *job)
{
    add_number(argv, "--retries", job->options.retries);
    add_number(argv, "--recycle", job->options.recycle);
}

static void add_host(struct list *argv, const struct job *job)
{
    add_text(argv, "pmap-host");
    if (job->kind == KIND_BUILTIN) {
        add_text(argv, "builtin");
        add_lasting(argv, job);
        add_text(argv, job->function);
        return;
    }
    add_text(argv, "module");
    add_lasting(argv, job);
    if (job->call.type && *job->call.type) {
        add_text(argv, "--type");
        add_text(argv, job->call.type);
    }
    if (job->call.raw)
        add_text(argv, "--raw");
    add_text(argv, job->call.argv[0]);
    add_text(argv, job->function);
}

static void add_python(struct list *argv, const struct spawn *spawn, const struct job *job)
{
    add_text(argv, "python3");
    add(argv, format("%s/pmap_harness.py", spawn->folder));
    if (job->call.file)
        add_text(argv, "--file");
    add_lasting(argv, job);
    add_text(argv, job->call.argv[0]);
}

/*** Environment ***/

/* What a service's unit tells that service alone; a submitter that is one must not hand it on. */
static bool leaks(const char *variable)
{
    static const char *const names[] = {
        "NOTIFY_SOCKET",
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "JOURNAL_STREAM",
        "INVOCATION_ID",
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
        "CACHE_DIRECTORY",
        "LOGS_DIRECTORY",
        "CONFIGURATION_DIRECTORY",
        "CREDENTIALS_DIRECTORY",
        /* ours, of a job within a job */
        "PMAP_JOB",
        "PMAP_SLOT",
    };
    size_t len = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], variable, len) == 0)
            return true;
    }
    return false;
}

/* Threads that the process may run: no more than it has CPUs, where its submitter has less than all. */
static uint32_t threads_of(const struct job *job)
{
    uint32_t cpus = 0;
    for (size_t i = 0; i < job->call.cpus_size; i++)
        cpus += (uint32_t)__builtin_popcount(job->call.cpus[i]);
    return cpus > 0 && cpus < job->threads ? cpus : job->threads;
}

/*
 * What libraries that start threads of their own take for their number, unless the submitter has said it.
 * Those that look at OpenMP's number themselves are left to it where the submitter has set that.
 */
static void add_threads(struct list *env, const struct job *job)
{
    static const struct {
        const char *name;
        bool as_openmp;
        uint32_t most; /* that the library takes; more is an error to it. 0: any */
    } names[] = {
        {"OMP_NUM_THREADS", true, 0},      {"OPENBLAS_NUM_THREADS", true, 0}, {"MKL_NUM_THREADS", true, 0},
        {"NUMEXPR_NUM_THREADS", true, 64}, {"RAYON_NUM_THREADS", false, 0},
    };
    uint32_t threads = threads_of(job);
    if (threads == 0)
        return;
    bool openmp = job_env(job, "OMP_NUM_THREADS") != NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if ((names[i].as_openmp && openmp) || job_env(job, names[i].name))
            continue;
        uint32_t most = names[i].most;
        add(env, format("%s=%u", names[i].name, most > 0 && most < threads ? most : threads));
    }
}

static void add_environment(struct list *env, const struct spawn *spawn, const struct job *job)
{
    for (size_t i = 0; i < job->call.env_count; i++) {
        if (!leaks(job->call.env[i]))
            add_text(env, job->call.env[i]);
    }
    add(env, format("PMAP_JOB=%" PRIu64, job->id));
    add(env, format("PMAP_SLOT=%u", spawn->slot));
    add_threads(env, job);
}

/*** All of it ***/

int program_make(struct program *p, const struct spawn *spawn, const struct job *job)
{
    struct list argv = {0}, env = {0};
    *p = (struct program){0};
    if (job_is_exec(job))
        add_exec(&argv, job);
    else if (job->kind == KIND_PYTHON)
        add_python(&argv, spawn, job);
    else
        add_host(&argv, job);
    add_environment(&env, spawn, job);
    p->argv = argv.strings;
    p->argc = argv.count;
    p->env = env.strings;
    p->envc = env.count;
    if (argv.failed || env.failed)
        return -ENOMEM;
    if (job->kind == KIND_PYTHON) {
        const char *search = job_env(job, "PATH");
        p->search = strdup(search ? search : DEFAULT_PATH);
        return p->search ? 0 : -ENOMEM;
    }
    p->path = format("%s/%s", spawn->folder, p->argv[0]);
    return p->path ? 0 : -ENOMEM;
}

static void free_strings(char **strings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(strings[i]);
    free(strings);
}

void program_free(struct program *p)
{
    free_strings(p->argv, p->argc);
    free_strings(p->env, p->envc);
    free(p->path);
    free(p->search);
    *p = (struct program){0};
}
