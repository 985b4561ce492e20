/*
 * Results on their way to the daemon: at once while there is credit, otherwise into the chunk's outbox, and
 * from there as credit comes. What cannot be kept waits if everything else waits for this chunk; otherwise it
 * fails the item whose result it is, and that alone.
 */
#include "daemon/worker/worker.h"

#include "common/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define DEFAULT_FOLDER "/tmp"
/* The daemon tells a chunk's worker that it is the head as soon as that matters: within this time. */
#define HEAD_TOLD_NS INT64_C(1000000000)

static void spend(struct chunk *c, const struct parcel *p)
{
    if (c->credit != INT64_MAX)
        c->credit -= (int64_t)parcel_cost(p);
}

static void send_parcel(struct worker *w, struct chunk *c, const struct parcel *p, bool last)
{
    int64_t run_ns = 0, cpu_ns = 0;
    if (c == w->run.chunk)
        run_account(w, &run_ns, &cpu_ns);
    worker_check(w, link_worked(&w->link, c->id, p, last, run_ns, cpu_ns));
    spend(c, p);
    c->ended = last;
}

void deliver_last(struct worker *w, struct chunk *c)
{
    int64_t run_ns = 0, cpu_ns = 0;
    if (c == w->run.chunk)
        run_account(w, &run_ns, &cpu_ns);
    worker_check(w, link_worked(&w->link, c->id, NULL, true, run_ns, cpu_ns));
    c->ended = true;
}

void deliver_waiting(struct worker *w, struct chunk *c)
{
    struct parcel p;
    int rc = 0;
    while (w->error == 0 && !c->dropped && c->credit > 0 &&
           (rc = outbox_first(&c->outbox, &w->replay, &p)) > 0) {
        send_parcel(w, c, &p, c->parked && outbox_is_only(&c->outbox, &p));
        outbox_shift(&c->outbox, &w->spool, &p);
    }
    worker_check(w, rc < 0 ? rc : 0); /* results that are lost: the daemon has it all run elsewhere */
    if (c->parked && c->ended) {
        TAILQ_REMOVE(&w->parked, c, link);
        chunk_free(w, c);
    }
}

/*** What cannot be kept ***/

static int say_why(char *to, size_t size, uint64_t bytes, bool over, const char *folder, int error,
                   uint64_t limit)
{
    int n = snprintf(to, size,
                     "its output of %s%" PRIu64 " bytes could not be kept in %.100s: ", over ? "over " : "",
                     bytes, folder);
    if (error == -EDQUOT && limit > 0)
        return n + snprintf(to + n, size - (size_t)n, "the limit of %" PRIu64 " bytes is reached", limit);
    return n + snprintf(to + n, size - (size_t)n, "%s", strerrordesc_np(-error));
}

/* The note SLOT of a parcel: it has one or none, and that is its first note. */
static bool slot_of(const struct parcel *p, uint16_t *slot, uint64_t *began_ns)
{
    struct note note = p->note_count > 0 ? note_load(p->notes) : (struct note){0};
    if (note.kind != NOTE_SLOT)
        return false;
    *slot = note.code;
    *began_ns = load_u64(p->texts);
    return true;
}

/* Each record of the parcel fails; one that goes on ends here. The new parcel is made where the old one was,
 * record by record, so each length is read before it is written over. */
static void fail_records(struct worker *w, struct chunk *c, struct parcel *p, const char *folder, int error)
{
    struct parcel old = *p;
    uint16_t slot;
    uint64_t began_ns;
    bool traced = slot_of(p, &slot, &began_ns);
    char text[300];
    parcel_begin(p, w->space);
    for (uint32_t i = 0; i < old.records; i++) {
        uint64_t size = load_u32(old.lengths + 4 * (size_t)i) + (i == 0 ? c->piece_bytes : 0);
        int len = say_why(text, sizeof text, size, old.more, folder, error, c->job->spool);
        if (p->texts_size + (size_t)len > PARCEL_TEXTS)
            len = 0;
        struct note note = {i, NOTE_ERROR, 0, (uint32_t)len};
        parcel_record(p, w->space, 0, load_u64(old.times + 8 * (size_t)i));
        parcel_note(p, w->space, note, text);
    }
    if (traced)
        parcel_slot(p, w->space, slot, began_ns);
}

/* The item that it fails in may go on for long: no more of it is wanted. */
static void stop_item(struct worker *w, const struct chunk *c)
{
    struct run *r = &w->run;
    int64_t grace_ns = c->job->kill_grace_ns;
    if (!r->laid)
        return;
    r->host->arena.skip = true;
    if (arena_has_done(&r->host->arena))
        return; /* it is done, and what remains of it is in the arena */
    r->told_to_end = true;
    (void)host_send(r->host, HOST_DROP, (uint32_t)(grace_ns / 1000000));
    if (r->ending == ENDING_NOT) {
        r->ending = ENDING_DROP;
        r->kill_ns = now_ns() + (job_is_exec(c->job) ? 2 : 1) * grace_ns;
    }
}

/* Is this what the opening of a file in a folder fails with that is none, or none of the user's? */
static bool is_no_folder(int error)
{
    return error == -ENOENT || error == -ENOTDIR || error == -EACCES || error == -EPERM || error == -EROFS;
}

/* Puts it into the chunk's outbox. *folder: where its file is. */
static int try_to_keep(struct worker *w, struct chunk *c, const struct parcel *p, const char **folder)
{
    int rc = -ENOENT;
    *folder = job_env(c->job, "TMPDIR");
    if (*folder && **folder == '/')
        rc = outbox_put(&c->outbox, &w->spool, c->job->spool, *folder, p);
    if (!is_no_folder(rc))
        return rc;
    *folder = DEFAULT_FOLDER;
    return outbox_put(&c->outbox, &w->spool, c->job->spool, *folder, p);
}

/*
 * What cannot be kept can wait here where everything else waits for this chunk: its credit comes as soon as
 * the client takes what it has. Of any other chunk we may not hold up the slot, perhaps the head is to have
 * it; but that this chunk is the head may be under way to us. Returns whether to try again.
 */
static bool wait_for_credit(struct worker *w, const struct chunk *c, int64_t give_up_ns)
{
    bool waits = c->head || (!c->no_room && now_ns() < give_up_ns);
    if (waits)
        worker_await(w, c->head ? INT64_MAX : give_up_ns);
    return waits && !c->dropped && !w->stop && w->error == 0;
}

/* Sends it or keeps it, whichever is possible first. */
static void send_or_keep(struct worker *w, struct chunk *c, struct parcel *p, bool last)
{
    const char *folder;
    int rc = try_to_keep(w, c, p, &folder);
    int64_t give_up_ns = now_ns() + HEAD_TOLD_NS;
    while (rc < 0 && rc != -ENOMEM && wait_for_credit(w, c, give_up_ns)) {
        if (outbox_empty(&c->outbox) && c->credit > 0) {
            send_parcel(w, c, p, last);
            return;
        }
        rc = try_to_keep(w, c, p, &folder);
    }
    if (rc < 0 && !c->dropped) {
        bool more = p->more;
        c->no_room = true;
        fail_records(w, c, p, folder, rc);
        worker_check(w, outbox_put_small(&c->outbox, p));
        if (more)
            stop_item(w, c);
    }
    if (!c->stopping && !c->dropped)
        run_yield(w);
}

/*** Results of the running chunk ***/

static int64_t sum_ns(int64_t sum, uint64_t ns)
{
    return ns < (uint64_t)(INT64_MAX - sum) ? sum + (int64_t)ns : INT64_MAX;
}

/*
 * Says of a parcel where and when its items were run. Their times are known, and that the last of them ended
 * before those began that are done as well, and the one that the host is on; none of them began before those
 * told of had ended.
 */
static void trace(struct worker *w, struct parcel *p)
{
    struct run *r = &w->run;
    int64_t now = now_ns(), end = now, took = 0;
    if (r->laid) {
        if (arena_current(&r->host->arena) >= 0)
            end = arena_started(&r->host->arena, now);
        took = arena_waiting(&r->host->arena);
    }
    int64_t behind = took;
    for (uint32_t i = 0; i < p->records; i++)
        took = sum_ns(took, load_u64(p->times + 8 * (size_t)i));
    int64_t began = took < end - r->traced_ns ? end - took : r->traced_ns;
    took -= behind;
    r->traced_ns = took < now - began ? began + took : now;
    parcel_slot(p, w->space, (uint16_t)w->hosts.spawn.slot,
                (uint64_t)(clock_ns(CLOCK_REALTIME) - (now - began)));
}

static void count_records(struct run *r, struct chunk *c, const struct parcel *p)
{
    if (p->more) {
        c->in_piece = true;
        c->piece_bytes += p->size;
        return;
    }
    c->next += p->records;
    c->in_piece = false;
    c->piece_bytes = 0;
    r->attempts = r->losses = r->strikes = 0;
}

void deliver(struct worker *w, struct parcel *p, bool last)
{
    struct chunk *c = w->run.chunk;
    if (c->dropped)
        return;
    if (c->trace && !p->more)
        trace(w, p);
    deliver_waiting(w, c);
    if (outbox_empty(&c->outbox) && c->credit > 0)
        send_parcel(w, c, p, last);
    else
        send_or_keep(w, c, p, last);
    count_records(&w->run, c, p);
}

static void park(struct worker *w, struct chunk *c)
{
    int64_t run_ns, cpu_ns;
    run_account(w, &run_ns, &cpu_ns);
    worker_check(w, link_parked(&w->link, c->id, c->next, run_ns, cpu_ns));
    c->parked = true;
    job_unref(c->job);
    c->job = NULL;
    zmq_msg_close(&c->lengths);
    zmq_msg_close(&c->bytes);
    zmq_msg_init(&c->lengths);
    zmq_msg_init(&c->bytes);
    if (c->large)
        arena_large_end(&c->large->arena);
    c->large = NULL;
    TAILQ_INSERT_TAIL(&w->parked, c, link);
}

void deliver_end(struct worker *w)
{
    struct chunk *c = w->run.chunk;
    if (!c->dropped)
        deliver_waiting(w, c);
    if (!c->dropped && !outbox_empty(&c->outbox)) {
        park(w, c);
        return;
    }
    if (!c->ended)
        deliver_last(w, c);
    chunk_free(w, c);
}
