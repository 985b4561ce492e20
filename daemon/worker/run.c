/*
 * The running of chunks, one at a time: the first one of the queue is laid into its host's arena, all of it
 * or, after a host has died of an item, the part that is still to be run; results are taken as the host tells
 * of them or after a while.
 */
#include "daemon/worker/worker.h"

#include "common/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS INT64_C(1000000)

enum {
    LOOK_MS = 10,        /* the arena is looked at unasked after so long, then after twice as long … */
    LOOK_MOST_MS = 640,  /* … up to this: a host tells by itself, save at first */
    SUSPECT_MS = 1,      /* an item that takes too long is looked at twice */
    START_AGAIN_MS = 20, /* after a host that could not be used, and twice as long after the next */
    STRIKES = 3,
    OUTPUT_READS = 4, /* a pipe holds less than so many times what a note does */
    OOM_STALE_MS = 1000,
    CPUS_MOST = 4096, /* what a host says of its CPU time is believed up to this many times its time */
};

static void forget_host(struct run *r)
{
    r->laid = r->over = r->damaged = r->killed = false;
    r->look_ns = r->timeout_ns = r->kill_ns = INT64_MAX;
    r->suspect = r->excused = -1;
    r->ending = ENDING_NOT;
}

void run_init(struct run *r)
{
    *r = (struct run){0};
    forget_host(r);
}

/*** Times ***/

static void read_cpu(struct run *r)
{
    if (!r->laid)
        return;
    uint64_t cpu = arena_cpu(&r->host->arena), seen = r->cpu_seen;
    r->cpu_seen = cpu;
    if (cpu > seen && cpu - seen <= INT64_MAX / 2 - r->cpu_ns)
        r->cpu_ns += cpu - seen;
}

void run_account(struct worker *w, int64_t *run_ns, int64_t *cpu_ns)
{
    struct run *r = &w->run;
    int64_t now = now_ns();
    read_cpu(r);
    *run_ns = now - r->told_ns;
    *cpu_ns = (int64_t)r->cpu_ns;
    if (r->cpu_ns > (uint64_t)*run_ns * CPUS_MOST)
        *cpu_ns = *run_ns * CPUS_MOST;
    r->told_ns = now;
    r->cpu_ns = 0;
}

void run_unlaid(struct worker *w)
{
    read_cpu(&w->run);
    forget_host(&w->run);
}

/*** Results ***/

/*
 * Output for which there is no more room: it is told as a piece of the item whose result comes next, where
 * that cannot be tried again, and otherwise what is too much is thrown away.
 */
static void pass_output_on(struct worker *w)
{
    struct run *r = &w->run;
    struct host *host = r->host;
    if (!r->laid || r->damaged || r->chunk->next >= r->part_end || r->chunk->job->options.retries > 0) {
        host->text_lost += host_throw_away_output(host);
        return;
    }
    struct arena_text text = host_text(host);
    struct parcel p;
    parcel_begin(&p, w->space);
    p.more = true;
    p.bytes = w->space->texts; /* none */
    parcel_record(&p, w->space, 0, 0);
    parcel_note(&p, w->space, (struct note){0, NOTE_STDERR, 0, (uint32_t)text.size}, text.data);
    host_text_told(host, 0);
    deliver(w, &p, false);
}

void run_read_output(struct worker *w)
{
    if (!host_read_output(w->run.host))
        pass_output_on(w);
}

/* How far results are taken at once: the rest of one of which a piece has gone is a message of its own. */
static uint64_t until(const struct run *r, uint64_t done)
{
    uint64_t taken = r->host->arena.taken;
    return r->chunk->in_piece && done > taken ? taken + 1 : done;
}

void run_take(struct worker *w, bool begun)
{
    struct run *r = &w->run;
    struct chunk *c = r->chunk;
    struct parcel p;
    int rc = 0;
    uint64_t done = arena_done(&r->host->arena);
    /* What these items wrote is in the pipe, and may be more than what there is room for at once. */
    for (int i = 0; i < OUTPUT_READS && r->host->prints && !host_read_output(r->host); i++)
        pass_output_on(w);
    struct arena_text text = host_text(r->host);
    while (!r->damaged && w->error == 0 &&
           (rc = arena_take(&r->host->arena, until(r, done), begun, &text, w->space, &p)) > 0) {
        bool all = c->next + p.records >= c->count || c->stopping;
        if (c->next + p.records > c->count)
            break;
        deliver(w, &p, r->over && all && !p.more && !arena_has_done(&r->host->arena));
    }
    host_text_told(r->host, text.size);
    if (rc < 0) {
        r->damaged = true;
        r->ending = ENDING_DAMAGE;
        r->kill_ns = 0;
    }
}

static void look_again(struct run *r, int64_t step_ns)
{
    r->look_step_ns = step_ns;
    r->look_ns = now_ns() + step_ns;
}

/*** Lent slots ***/

static void give_back(struct worker *w, uint64_t returned)
{
    struct chunk *c = w->run.chunk;
    if (c->ended || returned <= c->returned || returned > c->called)
        return;
    c->returned = returned;
    worker_check(w, link_returned(&w->link, c->id, returned));
}

void run_lend(struct worker *w)
{
    const struct run *r = &w->run;
    const struct chunk *c = r->chunk;
    if (!r->laid) {
        give_back(w, c->back); /* nothing runs that could have them */
        return;
    }
    uint64_t back = c->back > r->returned_base ? c->back - r->returned_base : 0;
    (void)host_send(r->host, HOST_LEND, (uint32_t)(c->lent - r->returned_base));
    (void)host_send(r->host, HOST_BACK, (uint32_t)back);
}

/*** The host speaks ***/

/* The host has no use any more: it ends by itself, or, while its arena is needed, is ended. */
static void let_host_go(struct worker *w)
{
    struct run *r = &w->run;
    run_unlaid(w);
    if (r->host->arena.large_items > 0) {
        r->ending = ENDING_CLOSED;
        r->kill_ns = 0;
    } else {
        host_retire(&w->hosts, r->host, now_ns());
    }
}

static void host_has_ended_it(struct worker *w)
{
    struct run *r = &w->run;
    struct chunk *c = r->chunk;
    uint32_t before = c->next;
    bool termed = r->ending == ENDING_TIMEOUT;
    r->over = true;
    run_take(w, false);
    if (r->damaged)
        return;
    bool early = c->next < r->part_end && !r->told_to_end;
    uint32_t recycle = c->job->options.recycle;
    r->host->served += r->part_end - r->base;
    bool none = early && c->next == before && !c->in_piece;
    bool spent = recycle > 0 && r->host->served >= recycle && r->host->arena.large_items == 0;
    if (termed || early || spent)
        let_host_go(w);
    else
        run_unlaid(w);
    if (none)
        run_strike(w, "its host ended a chunk without a result");
}

static void host_is_bad(struct worker *w, const char *text)
{
    job_fail(w->run.chunk->job, *text != '\0' ? text : "its host cannot run it");
    let_host_go(w);
}

/* An item that has waited for the worker to take its result gets that time on top. */
static void excuse(struct run *r, int64_t item, int64_t ns)
{
    r->excused_ns = item == r->excused ? r->excused_ns + ns : ns;
    r->excused = item;
}

static void host_is_full(struct worker *w)
{
    struct run *r = &w->run;
    int64_t item = arena_current(&r->host->arena), since_ns = now_ns();
    run_take(w, true);
    if (r->damaged)
        return;
    excuse(r, item, now_ns() - since_ns);
    arena_resumed(&r->host->arena);
    (void)host_send(r->host, HOST_RESUME, 0); /* one that has gone is noticed by its end */
    look_again(r, LOOK_MS * MS);
}

bool run_listen(struct worker *w)
{
    struct run *r = &w->run;
    struct host_message m;
    char text[HOST_TEXT_MAX + 1];
    int rc = host_receive(r->host, &m, text);
    if (rc == 0)
        return false;
    if (rc < 0) {
        /* It is about to end; when it has ended, it is seen to what it leaves. */
        r->ending = r->ending == ENDING_NOT ? ENDING_CLOSED : r->ending;
        if (r->kill_ns == INT64_MAX)
            r->kill_ns = now_ns() + (rc == -EPIPE ? r->chunk->job->kill_grace_ns : 0);
        r->host->closed = true;
        return false;
    }
    if (m.type == HOST_READY)
        r->host->ready = true;
    if (!r->laid)
        return true;
    switch (m.type) {
    case HOST_SOME:
        run_take(w, r->chunk->job->options.live);
        look_again(r, LOOK_MS * MS);
        break;
    case HOST_FULL:
        host_is_full(w);
        break;
    case HOST_END:
        host_has_ended_it(w);
        break;
    case HOST_BAD:
        host_is_bad(w, text);
        break;
    case HOST_RETURNED:
        give_back(w, r->returned_base + m.value);
        break;
    default:
        break;
    }
    return true;
}

/*** A part of the chunk goes to the host ***/

void run_strike(struct worker *w, const char *why)
{
    struct run *r = &w->run;
    if (++r->strikes >= STRIKES)
        job_fail(r->chunk->job, why);
    if (r->strikes > 1) /* once, it may have been about to end anyway */
        r->start_ns = now_ns() + (START_AGAIN_MS * MS << r->strikes);
}

/* A process that is there, or why not. */
static bool ready_host(struct worker *w)
{
    struct run *r = &w->run;
    struct chunk *c = r->chunk;
    int rc = hosts_get(&w->hosts, c->job, &r->host);
    if (rc == 0 && r->host->pid == 0)
        rc = host_start(&w->hosts, r->host, c->job);
    if (rc == 0) {
        hosts_trim(&w->hosts, r->host, now_ns());
        return true;
    }
    char text[128];
    snprintf(text, sizeof text, "cannot start a process: %s", strerrordesc_np(-rc));
    run_strike(w, text);
    return false;
}

static void refresh_oom(struct run *r, int64_t now)
{
    if (now - r->oom_ns < OOM_STALE_MS * MS && r->oom_ns != 0)
        return;
    oom_read(&r->oom, NULL);
    r->oom_ns = now;
}

/* How many of the items from the next one on. */
static uint32_t part_of(const struct run *r, const struct chunk *c)
{
    if (r->blame.set)
        return r->blame.item - c->next;
    return c->stopping ? 1 : c->count - c->next;
}

static void lay(struct worker *w)
{
    struct run *r = &w->run;
    struct chunk *c = r->chunk;
    if (!ready_host(w))
        return;
    struct arena_chunk part = {.job = c->job->id,
                               .first = c->first + c->next,
                               .slot = w->hosts.spawn.slot,
                               .attempts = r->attempts,
                               .single = r->single,
                               .count = part_of(r, c),
                               .size = c->large_size,
                               .large = c->large_at};
    if (!c->large) {
        const uint8_t *lengths = zmq_msg_data(&c->lengths);
        part.items = zmq_msg_data(&c->bytes);
        part.size = zmq_msg_size(&c->bytes);
        part.lengths = lengths + 4 * (size_t)c->next;
        for (uint32_t i = 0; i < c->next; i++) {
            part.items += load_u32(lengths + 4 * (size_t)i);
            part.size -= load_u32(lengths + 4 * (size_t)i);
        }
        for (uint32_t i = c->next + part.count; i < c->count; i++)
            part.size -= load_u32(lengths + 4 * (size_t)i);
    }
    arena_lay(&r->host->arena, &part);
    r->base = c->next;
    r->part_end = c->next + part.count;
    r->told_to_end = false;
    r->cpu_seen = 0;
    int64_t now = now_ns();
    refresh_oom(r, now);
    int rc = host_send(r->host, HOST_CHUNK, !TAILQ_EMPTY(&w->queue));
    if (rc < 0 && r->host->ready) {
        let_host_go(w); /* it was about to end when it got this: another */
        return;
    }
    /* One that is not there yet and has gone already has said why. */
    r->laid = true;
    r->returned_base = c->returned;
    if (c->lent > c->returned)
        run_lend(w);
    look_again(r, LOOK_MS * MS);
    if (c->job->options.timeout_ms > 0 && !job_is_exec(c->job))
        r->timeout_ns = now + c->job->options.timeout_ms * MS;
}

/*** What is to be done next ***/

static void tell_failure(struct worker *w)
{
    struct run *r = &w->run;
    struct job *job = r->chunk->job;
    if (r->chunk->in_piece) {
        r->blame = (struct blame){.set = true, .item = r->chunk->next, .kind = NOTE_ERROR};
        snprintf(r->blame.text, sizeof r->blame.text, "%s", job->failure);
        blame_deliver(w);
    }
    if (!job->failure_told)
        worker_check(w, link_failed(&w->link, job->id, job->failure));
    job->failure_told = true;
    r->chunk->stopping = true;
}

static void begin(struct worker *w, struct chunk *c)
{
    struct run *r = &w->run;
    TAILQ_REMOVE(&w->queue, c, link);
    r->chunk = c;
    r->told_ns = r->traced_ns = now_ns();
    r->cpu_ns = 0;
    r->attempts = r->losses = r->strikes = 0;
    r->single = false;
    r->start_ns = 0;
    r->blame.set = false;
}

/* Is the item that stands next one that has to be finished, although the chunk is to stop? */
static bool has_begun(const struct run *r, const struct chunk *c)
{
    return c->in_piece || r->attempts > 0 || r->losses > 0;
}

static void end(struct worker *w)
{
    deliver_end(w);
    w->run.chunk = NULL;
    w->run.host = NULL;
}

/* One step. Returns whether there may be another. */
static bool step(struct worker *w)
{
    struct run *r = &w->run;
    struct chunk *c = r->chunk;
    if (!c) {
        c = TAILQ_FIRST(&w->queue);
        if (!c || !c->whole)
            return false;
        begin(w, c);
    }
    if (r->laid || (r->ending != ENDING_NOT && r->host && r->host->pid != 0))
        return false;
    if (c->dropped) {
        end(w);
        return true;
    }
    if (r->blame.set && c->next > r->blame.item)
        r->blame.set = false; /* it has failed otherwise */
    if (r->blame.set && c->next == r->blame.item) {
        blame_deliver(w);
        return true;
    }
    if (c->job->failure)
        tell_failure(w);
    if (c->next == c->count || c->job->failure || (c->stopping && !has_begun(r, c))) {
        end(w);
        return true;
    }
    if (r->start_ns > now_ns())
        return false;
    if (!direct_fits(&w->direct, c)) {
        lay(w);
        return true;
    }
    direct_run(w);
    return c->next == c->count || c->stopping || c->dropped || c->job->failure;
}

void run_step(struct worker *w)
{
    while (!w->stop && w->error == 0 && step(w))
        ;
}

/*** The daemon's wishes, and time ***/

void run_yield(struct worker *w)
{
    struct run *r = &w->run;
    r->chunk->stopping = true;
    if (!r->laid)
        return;
    r->told_to_end = true;
    (void)host_send(r->host, HOST_YIELD, 0);
}

void run_drop(struct worker *w, int64_t grace_ns)
{
    struct run *r = &w->run;
    int64_t now = now_ns();
    r->chunk->dropped = true;
    outbox_free(&r->chunk->outbox, &w->spool);
    if (!r->laid)
        return;
    r->told_to_end = true;
    int64_t ms = (grace_ns + MS - 1) / MS;
    (void)host_send(r->host, HOST_DROP, ms <= UINT32_MAX ? (uint32_t)ms : UINT32_MAX);
    /* pmap-exec has a KILL to send itself, after the grace. */
    int64_t patience_ns = grace_ns < INT64_MAX / 4 ? grace_ns : INT64_MAX / 4;
    if (job_is_exec(r->chunk->job))
        patience_ns += patience_ns / 2 + 1000 * MS;
    if (r->ending == ENDING_NOT)
        r->ending = ENDING_DROP;
    if (now + patience_ns < r->kill_ns)
        r->kill_ns = now + patience_ns;
}

/* Does the item under way take too long? It may be another one by now, so it is looked at twice. */
static void check_timeout(struct worker *w, int64_t now)
{
    struct run *r = &w->run;
    int64_t limit = r->chunk->job->options.timeout_ms * MS;
    int64_t item = arena_current(&r->host->arena);
    int64_t started = item >= 0 ? arena_started(&r->host->arena, now) : now;
    if (item >= 0 && item == r->excused)
        started += r->excused_ns;
    if (started + limit > now) {
        r->suspect = -1;
        r->timeout_ns = started + limit;
    } else if (item != r->suspect || started != r->suspect_started) {
        r->suspect = item;
        r->suspect_started = started;
        r->timeout_ns = now + SUSPECT_MS * MS;
    } else {
        r->timeout_ns = INT64_MAX;
        r->ending = ENDING_TIMEOUT;
        r->kill_ns = now + r->chunk->job->kill_grace_ns;
        (void)kill(-r->host->pid, SIGTERM);
    }
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void run_tick(struct worker *w, int64_t now)
{
    struct run *r = &w->run;
    if (!r->chunk)
        return;
    if (r->laid && r->look_ns <= now) {
        bool news = arena_has_done(&r->host->arena);
        run_take(w, false);
        int64_t step_ns = news ? LOOK_MS * MS : 2 * r->look_step_ns;
        look_again(r, earliest(step_ns, LOOK_MOST_MS * MS));
    }
    if (r->laid && r->timeout_ns <= now && r->ending == ENDING_NOT)
        check_timeout(w, now);
    if (r->kill_ns <= now && r->host) {
        r->kill_ns = INT64_MAX;
        r->killed = true;
        host_kill(r->host);
    }
}

int64_t run_due(const struct worker *w)
{
    const struct run *r = &w->run;
    int64_t due = r->kill_ns;
    if (!r->chunk)
        return INT64_MAX;
    if (r->laid)
        due = earliest(due, r->look_ns);
    if (r->laid && r->ending == ENDING_NOT)
        due = earliest(due, r->timeout_ns);
    if (!r->laid && r->ending == ENDING_NOT)
        due = earliest(due, r->start_ns);
    return due;
}
