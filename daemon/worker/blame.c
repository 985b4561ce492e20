/*
 * Hosts that end in the midst of a chunk, and whose fault that is: of the item that the arena names, save
 * where no user's code runs in the host; that item then fails or is tried again. What else was done stands.
 */
#include "daemon/worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { LOSSES = 3 /* pmap-execs that an item may take with it */ };

static const char *program_name(const struct job *job)
{
    if (job_is_exec(job))
        return "pmap-exec";
    return job->kind == KIND_PYTHON ? "python3" : "pmap-host";
}

/* What became of the program, in words. */
static void say_status(char *to, size_t size, const struct job *job, int status)
{
    const char *name = program_name(job);
    if (WIFSIGNALED(status))
        snprintf(to, size, "%s was killed by signal %d (%s)", name, WTERMSIG(status),
                 sigdescr_np(WTERMSIG(status)) ? sigdescr_np(WTERMSIG(status)) : "unknown");
    else
        snprintf(to, size, "%s exited with status %d", name, WEXITSTATUS(status));
}

/* The last line that it wrote, if any. */
static struct arena_text last_line(const struct host *host)
{
    const char *text = host->text;
    size_t end = host->text_size;
    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r'))
        end--;
    size_t begin = end;
    while (begin > 0 && text[begin - 1] != '\n')
        begin--;
    return (struct arena_text){text + begin, end - begin};
}

/* It ended without an item to blame. */
static void strike(struct worker *w, int status)
{
    const struct run *r = &w->run;
    char what[128], text[512];
    struct arena_text line = last_line(r->host);
    say_status(what, sizeof what, r->chunk->job, status);
    snprintf(text, sizeof text, "%s%s%.*s", what, line.size > 0 ? ": " : "",
             (int)(line.size < 300 ? line.size : 300), line.data);
    run_strike(w, text);
}

static void blame_item(struct run *r, uint32_t item, enum note_kind kind, uint16_t code, int64_t ns)
{
    r->blame = (struct blame){.set = true, .item = item, .kind = kind, .code = code, .ns = ns};
}

/* The words for a host that its item has ended. */
static void judge(struct run *r, const struct job *job, uint32_t item, int status, int64_t ns)
{
    struct blame *b = &r->blame;
    if (r->ending == ENDING_TIMEOUT) {
        blame_item(r, item, NOTE_TIMEOUT, 0, ns);
        snprintf(b->text, sizeof b->text, "timed out after %.10g s", job->options.timeout_ms / 1000.0);
    } else if (r->ending == ENDING_DAMAGE) {
        blame_item(r, item, NOTE_ERROR, 0, ns);
        snprintf(b->text, sizeof b->text, "it wrote to memory that is not its own");
    } else if (r->ending == ENDING_CLOSED && r->killed) {
        blame_item(r, item, NOTE_ERROR, 0, ns);
        snprintf(b->text, sizeof b->text, "it closed a descriptor that is not its own");
    } else if (WIFSIGNALED(status)) {
        struct oom now;
        char room[OOM_TEXT_MAX];
        const char *text = NULL;
        oom_read(&now, NULL);
        if (WTERMSIG(status) == SIGKILL)
            text = oom_text(&r->oom, &now, room);
        r->oom = now;
        blame_item(r, item, NOTE_SIGNAL, (uint16_t)WTERMSIG(status), ns);
        snprintf(b->text, sizeof b->text, "%s", text ? text : "in the function");
    } else {
        blame_item(r, item, NOTE_ERROR, 0, ns);
        snprintf(b->text, sizeof b->text, "the host exited with status %d", WEXITSTATUS(status));
    }
}

/* pmap-exec is gone: no item has done that, but one that goes with it every time fails. */
static void exec_lost(struct worker *w, int64_t current, int status, int64_t ns)
{
    struct run *r = &w->run;
    struct chunk *c = r->chunk;
    bool on_item = current >= 0 || c->in_piece;
    if (on_item && !c->in_piece && !c->job->options.once && ++r->losses < LOSSES)
        return;
    if (!on_item) {
        strike(w, status);
        return;
    }
    blame_item(r, c->next, NOTE_ERROR, 0, ns);
    say_status(r->blame.text, sizeof r->blame.text, c->job, status);
}

/* A host in which the user's function ran has ended while it was on the item. */
static void item_ended_it(struct run *r, uint32_t item, int status, int64_t ns)
{
    struct chunk *c = r->chunk;
    bool next = item == c->next;
    if (next && !c->in_piece && r->attempts < c->job->options.retries) {
        r->attempts++;
        return;
    }
    if (next)
        r->attempts++;
    judge(r, c->job, item, status, ns);
}

static void find_fault(struct worker *w, int status)
{
    struct run *r = &w->run;
    struct chunk *c = r->chunk;
    const struct arena_file *a = &r->host->arena;
    int64_t now = now_ns(), current = arena_current(a);
    int64_t ns = current >= 0 ? now - arena_started(a, now) : 0;
    uint64_t item = current >= 0 ? r->base + (uint64_t)current : 0;
    bool one = current >= 0 && item >= c->next && item < c->count;
    if (r->blame.set && c->next < r->blame.item)
        r->blame.set = false; /* those before it have not come through: they are seen to first */
    if (r->ending == ENDING_DROP)
        return; /* of an item that has failed already */
    if (r->ending == ENDING_TIMEOUT && current != r->suspect)
        return; /* it had come to another item by the time it died of the TERM */
    if (job_is_exec(c->job)) {
        exec_lost(w, one ? current : -1, status, ns);
    } else if (one && arena_together(a) && !r->single && !c->job->options.once) {
        r->single = true; /* which of them it was shows when they are run one by one */
    } else if (one) {
        item_ended_it(r, (uint32_t)item, status, ns);
    } else {
        strike(w, status);
    }
}

void blame_ended(struct worker *w, int status)
{
    struct run *r = &w->run;
    struct host *host = r->host;
    host->pid = 0;
    /* What it said and wrote before it ended comes first; END among it means that all is well. */
    if (host->output >= 0)
        (void)host_read_output(host);
    while (r->laid && !host->closed && run_listen(w))
        ;
    if (r->laid) {
        run_take(w, false);
        if (!r->chunk->dropped)
            find_fault(w, status);
    }
    host_ended(host);
    run_unlaid(w);
}

void blame_deliver(struct worker *w)
{
    struct run *r = &w->run;
    const struct blame *b = &r->blame;
    struct parcel p;
    parcel_begin(&p, w->space);
    p.bytes = w->space->texts; /* none */
    parcel_record(&p, w->space, 0, (uint64_t)b->ns);
    if (r->host && r->host->text_size > 0) {
        struct arena_text text = host_text(r->host);
        parcel_note(&p, w->space, (struct note){0, NOTE_STDERR, 0, (uint32_t)text.size}, text.data);
        host_text_told(r->host, 0);
    }
    struct note note = {0, b->kind, b->code, (uint32_t)strlen(b->text)};
    parcel_note(&p, w->space, note, b->text);
    if (r->attempts > 1) {
        note = (struct note){0, NOTE_ATTEMPTS,
                             (uint16_t)(r->attempts < UINT16_MAX ? r->attempts : UINT16_MAX), 0};
        parcel_note(&p, w->space, note, NULL);
    }
    r->blame.set = false;
    deliver(w, &p, false);
}
