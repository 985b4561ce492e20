/* Breaches in a job: OPEN, items, credit, the end. */
#include "tests/cli/hostile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* OPEN with these lengths and bytes as they are. */
static bool open_raw(struct peer *p, const void *lengths, size_t lengths_size, const void *bytes, size_t size,
                     bool end)
{
    struct message m = {.type = MSG_OPEN};
    m.open.ref = 1;
    m.open.function = text_of("length");
    m.open.credit = 1000;
    m.open.end = end;
    return peer_send(p, &m, (struct frame[]){{"", 0}, {lengths, lengths_size}, {bytes, size}}, 3);
}

/* A job of ref 1 that waits for items. */
static bool open_waiting(struct peer *p, const char *function)
{
    return say_open(p, 1, function, 100000, NULL, 0, false) && peer_await(p, MSG_OPENED);
}

/* ITEMS for it, with these lengths and bytes as they are. */
static bool items_raw(struct peer *p, bool more, const void *lengths, size_t lengths_size, const void *bytes,
                      size_t size)
{
    struct message m = {.type = MSG_ITEMS};
    m.items.ref = 1;
    m.items.more = more;
    return open_waiting(p, "length") &&
           peer_send(p, &m, (struct frame[]){{lengths, lengths_size}, {bytes, size}}, 2);
}

/*** OPEN ***/

static bool open_ref_in_use(struct peer *p)
{
    return open_waiting(p, "square") && say_open(p, 1, "square", 1000, NULL, 0, false);
}

/* In the same turn of the daemon. */
static bool open_twice(struct peer *p)
{
    bool ok = true;
    for (unsigned i = 0; ok && i < 2; i++)
        ok = say_open(p, 1, "square", 1000, NULL, 0, false);
    return ok;
}

static bool open_no_credit(struct peer *p)
{
    static const uint8_t header[] = "\x99\x03\x01\x00\xa6square\x80\x00\x00\x90\xc2";
    return peer_send_frames(p, (struct frame[]){{header, sizeof header - 1}, {"", 0}}, 2);
}

static bool open_too_short(struct peer *p)
{
    return open_raw(p, "\2\0\0\0\1\0\0\0", 8, "12", 2, true);
}

static bool open_too_long(struct peer *p)
{
    return open_raw(p, "\2\0\0\0\1\0\0\0", 8, "1234", 4, true);
}

static bool open_overflow(struct peer *p)
{
    /* Two lengths whose sum is 2 in 32 bits. */
    return open_raw(p, "\xff\xff\xff\xff\3\0\0\0", 8, "12", 2, true);
}

static bool open_odd(struct peer *p)
{
    return open_raw(p, "\2\0\0\0\1\0\0", 7, "12", 2, true);
}

static bool open_no_records(struct peer *p)
{
    return open_raw(p, "", 0, "", 0, false);
}

static bool open_large_bytes(struct peer *p)
{
    static const uint8_t bytes[PROTOCOL_INLINE_MAX + 1];
    return open_raw(p, "\1\0\1\0", 4, bytes, sizeof bytes, false);
}

static bool open_many_lengths(struct peer *p)
{
    static const uint8_t lengths[PROTOCOL_INLINE_MAX + 4];
    return open_raw(p, lengths, sizeof lengths, "", 0, false);
}

/* Items from 0 on, although a range of them is done. */
static bool open_done(struct peer *p, struct range done, size_t count, bool end)
{
    static const uint8_t lengths[16];
    struct message m = {.type = MSG_OPEN};
    m.open.ref = 1;
    m.open.function = text_of("length");
    m.open.credit = 1000;
    m.open.done = &done;
    m.open.done_count = 1;
    m.open.end = end;
    return peer_send(p, &m, (struct frame[]){{"", 0}, {lengths, 4 * count}, {"", 0}}, 3);
}

static bool open_into_done(struct peer *p)
{
    return open_done(p, (struct range){2, 3}, 4, false);
}

/* What is done may begin right at the end, and is of no meaning further on. */
static bool run_end_before_done(struct arena *a)
{
    bool ok = true;
    for (uint64_t from = 4; ok && from <= 10; from += 6) {
        struct peer *p = peer_new(a);
        ok = p != NULL && open_done(p, (struct range){from, 20}, 4, true) && peer_await(p, MSG_RESULTS);
        while (ok && !p->in.results.has_done && p->in.type != MSG_DONE)
            ok = peer_receive(p, PATIENCE_MS) > 0;
        ok = ok && peer_goes_on(p);
        peer_free(p);
    }
    return ok;
}

/* What is wrong with a name costs the job and not the session. */
static bool run_functions(struct arena *a)
{
    static char longest[PROTOCOL_STRING_MAX + 1];
    static const char *const names[] = {"",         "squar",    "square ",       "SQUARE",           "%s%n%s",
                                        "\033[31m", "square\n", "./evil.so:map", "\xf0\x9f\x92\xa3", longest};
    memset(longest, 'q', PROTOCOL_STRING_MAX);
    struct peer *p = peer_new(a);
    bool ok = p != NULL;
    for (size_t i = 0; ok && i < COUNT_OF(names); i++) {
        uint64_t ref = p->next_ref++;
        ok = say_open(p, ref, names[i], 1000, &FRAME("1"), 1, true) &&
             peer_await_error(p, &ref, PERR_FUNCTION, NULL);
    }
    struct message m = {.type = MSG_OPEN};
    m.open.ref = 4000;
    m.open.kind = UINT32_MAX;
    m.open.function = text_of("square");
    m.open.credit = 1;
    ok = ok && peer_send(p, &m, &FRAME(""), 1) &&
         peer_await_error(p, &(uint64_t){4000}, PERR_FUNCTION, NULL) && peer_goes_on(p);
    peer_free(p);
    return ok;
}

/* A name that is cut for showing it must not be cut within a character. */
static bool run_long_name(struct arena *a)
{
    static char name[200];
    struct peer *p = peer_new(a);
    bool ok = p != NULL;
    for (unsigned shift = 0; ok && shift < 4; shift++) {
        uint64_t ref = p->next_ref++;
        size_t at = shift;
        memset(name, 'a', sizeof name);
        for (; at + 4 < sizeof name; at += 4)
            memcpy(name + at, "\xf0\x9f\x92\xa3", 4);
        name[at] = '\0';
        ok = say_open(p, ref, name, 1000, NULL, 0, true) && peer_await_error(p, &ref, PERR_FUNCTION, NULL);
    }
    ok = ok && peer_goes_on(p);
    peer_free(p);
    return ok;
}

/* The last index that there is: what would be behind it does not exist. */
static bool run_last_index(struct arena *a)
{
    struct peer *p = peer_new(a);
    struct message m = {.type = MSG_OPEN};
    m.open.ref = 1;
    m.open.function = text_of("length");
    m.open.credit = 100000;
    m.open.first = PROTOCOL_COUNT_MAX;
    m.open.options.chunksize = 1;
    m.open.end = true;
    if (p == NULL)
        return false;
    if (!peer_send(p, &m, (struct frame[]){FRAME(""), FRAME("\1\0\0\0\1\0\0\0\1\0\0\0"), FRAME("abc")}, 3)) {
        peer_free(p);
        return false;
    }
    return peer_refused(p, PERR_PROTOCOL, NULL);
}

static bool items_behind_last_index(struct peer *p)
{
    struct message m = {.type = MSG_OPEN};
    m.open.ref = 1;
    m.open.function = text_of("length");
    m.open.credit = 100000;
    m.open.first = PROTOCOL_COUNT_MAX - 1;
    m.open.options.chunksize = 1;
    return peer_send(p, &m, &FRAME(""), 1) && peer_await(p, MSG_OPENED) &&
           say_blanks(p, 1, PROTOCOL_COUNT_MAX - 1, 5, 1);
}

/* One job more than an owner may have is refused, and no other harm done; all are gone with the session. */
static bool run_many_jobs(struct arena *a)
{
    uint64_t limit = 0;
    struct peer *p = peer_new(a);
    bool ok = p != NULL && say_query(p, p->next_ref++, "status") && peer_await(p, MSG_ANSWER) &&
              answer_number(p, "limits", "jobs", &limit);
    for (uint64_t ref = 100; ok && ref < 100 + limit; ref++)
        ok = say_open(p, ref, "square", 1000, NULL, 0, false) && peer_await(p, MSG_OPENED);
    ok = ok && say_open(p, 99, "square", 1000, NULL, 0, false) &&
         peer_await_error(p, &(uint64_t){99}, PERR_LIMIT, NULL) && say_cancel(p, 100) &&
         peer_await(p, MSG_DONE) && peer_goes_on(p);
    peer_free(p);
    return ok && status_at_most(a, "jobs", 0);
}

/*** ITEMS ***/

/* As much as the credit allows, and one message more. */
static bool items_without_credit(struct peer *p)
{
    uint64_t next = 0;
    if (!say_open(p, 1, "echo", 1, NULL, 0, false) || !peer_await(p, MSG_OPENED))
        return false;
    int64_t credit = (int64_t)p->in.opened.credit;
    for (; credit > 0; credit -= 100000 + 32)
        if (!say_blanks(p, 1, next++, 1, 100000))
            return false;
    return say_blanks(p, 1, next, 1, 1);
}

static bool items_too_high(struct peer *p)
{
    return open_waiting(p, "square") && say_items(p, 1, 1, false, &FRAME("1"), 1);
}

static bool items_too_low(struct peer *p)
{
    return open_waiting(p, "square") && say_items(p, 1, 0, false, &FRAME("1"), 1) &&
           say_items(p, 1, 0, false, &FRAME("1"), 1);
}

static bool items_far(struct peer *p)
{
    return open_waiting(p, "square") && say_items(p, 1, PROTOCOL_COUNT_MAX, false, &FRAME("1"), 1);
}

static bool items_into_done(struct peer *p)
{
    struct message m = {.type = MSG_OPEN};
    m.open.ref = 1;
    m.open.function = text_of("length");
    m.open.credit = 1000;
    m.open.done = &(struct range){3, 5};
    m.open.done_count = 1;
    return peer_send(p, &m, &FRAME(""), 1) && peer_await(p, MSG_OPENED) && say_blanks(p, 1, 0, 2, 1) &&
           say_blanks(p, 1, 2, 2, 1);
}

/* The item sleeps, so that the job is still there when the next ones come. */
static bool items_after_end(struct peer *p)
{
    return open_waiting(p, "sleep") && say_items(p, 1, 0, false, &FRAME("1000"), 1) && say_end(p, 1, 1) &&
           say_items(p, 1, 1, false, &FRAME("0"), 1);
}

static bool items_after_open_end(struct peer *p)
{
    return say_open(p, 1, "sleep", 1000, &FRAME("1000"), 1, true) &&
           say_items(p, 1, 1, false, &FRAME("0"), 1);
}

static bool items_too_short(struct peer *p)
{
    return items_raw(p, false, "\2\0\0\0\1\0\0\0", 8, "12", 2);
}

static bool items_too_long(struct peer *p)
{
    return items_raw(p, false, "\1\0\0\0", 4, "12", 2);
}

static bool items_odd(struct peer *p)
{
    return items_raw(p, false, "\1\0\0\0\0", 5, "1", 1);
}

static bool items_none(struct peer *p)
{
    return items_raw(p, false, "", 0, "", 0);
}

static bool items_no_lengths(struct peer *p)
{
    return items_raw(p, false, "", 0, "12", 2);
}

static bool items_over_1_mib(struct peer *p)
{
    static const uint8_t bytes[PROTOCOL_MESSAGE_MAX - 3];
    return items_raw(p, false, "\xfd\xff\x0f\0", 4, bytes, sizeof bytes);
}

/* The largest frames that are let in. */
static bool items_of_4_mib(struct peer *p)
{
    static const uint8_t bytes[PROTOCOL_CALL_MAX];
    return items_raw(p, false, bytes, sizeof bytes, bytes, sizeof bytes);
}

/*** Pieces ***/

static bool piece_of_two(struct peer *p)
{
    static const uint8_t bytes[2 * PROTOCOL_PIECE_MIN];
    return items_raw(p, true, "\0\4\0\0\0\4\0\0", 8, bytes, sizeof bytes);
}

/* The least piece of the first item. */
static bool piece_least(struct peer *p)
{
    static const uint8_t bytes[PROTOCOL_PIECE_MIN];
    return items_raw(p, true, "\0\4\0\0", 4, bytes, sizeof bytes);
}

static bool piece_too_small(struct peer *p)
{
    static const uint8_t bytes[PROTOCOL_PIECE_MIN - 1];
    return items_raw(p, true, "\xff\3\0\0", 4, bytes, sizeof bytes);
}

static bool piece_empty(struct peer *p)
{
    return items_raw(p, true, "\0\0\0\0", 4, "", 0);
}

static bool piece_then_two(struct peer *p)
{
    return piece_least(p) && say_items(p, 1, 0, false, (struct frame[]){FRAME("2"), FRAME("3")}, 2);
}

static bool piece_then_next(struct peer *p)
{
    return piece_least(p) && say_items(p, 1, 1, false, &FRAME("2"), 1);
}

static bool piece_then_end(struct peer *p)
{
    return piece_least(p) && say_end(p, 1, 0);
}

static bool piece_then_end_1(struct peer *p)
{
    return piece_least(p) && say_end(p, 1, 1);
}

/* Left without its end: the job is cancelled, and then the session closed, in the midst of an item. */
static bool run_half_items(struct arena *a)
{
    for (unsigned i = 0; i < 20; i++) {
        struct peer *p = peer_new(a);
        bool ok = p != NULL && piece_least(p) &&
                  (i % 2 == 0 || (say_cancel(p, 1) && peer_await(p, MSG_DONE) && peer_goes_on(p)));
        peer_free(p);
        if (!ok)
            return false;
    }
    return status_at_most(a, "jobs", 0) && status_at_most(a, "held_bytes", 0);
}

/*** END, CREDIT ***/

static bool end_too_high(struct peer *p)
{
    return open_waiting(p, "square") && say_items(p, 1, 0, false, &FRAME("1"), 1) && say_end(p, 1, 2);
}

static bool end_too_low(struct peer *p)
{
    return open_waiting(p, "square") && say_items(p, 1, 0, false, &FRAME("1"), 1) && say_end(p, 1, 0);
}

static bool end_far(struct peer *p)
{
    return open_waiting(p, "square") && say_end(p, 1, PROTOCOL_COUNT_MAX);
}

static bool end_twice(struct peer *p)
{
    return open_waiting(p, "sleep") && say_items(p, 1, 0, false, &FRAME("1000"), 1) && say_end(p, 1, 1) &&
           say_end(p, 1, 1);
}

static bool end_after_open_end(struct peer *p)
{
    return say_open(p, 1, "sleep", 1000, &FRAME("1000"), 1, true) && say_end(p, 1, 1);
}

static bool credit_for_nothing(struct peer *p)
{
    return open_waiting(p, "square") && say_credit(p, 1, 1);
}

static bool credit_most(struct peer *p)
{
    return open_waiting(p, "square") && say_credit(p, 1, PROTOCOL_COUNT_MAX);
}

/* One byte more than the result of one item has cost. */
static bool credit_too_much(struct peer *p)
{
    return open_waiting(p, "echo") && say_items(p, 1, 0, false, &FRAME("12345"), 1) &&
           peer_await(p, MSG_RESULTS) && say_credit(p, 1, 30) && say_credit(p, 1, 8);
}

/* ITEMS and CREDIT that the daemon may see before it has said OPENED: served or refused, nothing else. */
static bool run_items_before_opened(struct arena *a)
{
    for (unsigned i = 0; i < 20; i++) {
        struct peer *p = peer_new(a);
        bool ok = p != NULL && say_open(p, 1, "square", 1000, NULL, 0, false) &&
                  say_items(p, 1, 0, false, &FRAME("3"), 1) && say_end(p, 1, 1);
        for (bool done = !ok; !done;) {
            if (peer_receive(p, PATIENCE_MS) <= 0) {
                ok = complain(a, "no answer");
                break;
            }
            done = p->in.type == MSG_ERROR || p->in.type == MSG_DONE ||
                   (p->in.type == MSG_RESULTS && p->in.results.has_done);
            ok = p->in.type != MSG_ERROR || p->in.error.code == PERR_PROTOCOL;
        }
        peer_free(p);
        if (!ok)
            return complain(a, "neither served nor refused");
    }
    return true;
}

/* The least credit that there is: one message of results at a time, and all come. */
static bool run_miser(struct arena *a)
{
    enum { ITEMS = 200 };
    struct peer *p = peer_new(a);
    struct frame items[ITEMS];
    uint64_t next = 0;
    bool done = false;
    for (unsigned i = 0; i < ITEMS; i++)
        items[i] = FRAME("7");
    bool ok = p != NULL && say_open(p, 1, "square", 1, items, ITEMS, true);
    while (ok && !done && (ok = peer_await(p, MSG_RESULTS))) {
        uint64_t count = zmq_msg_size(&p->part[1]) / 4;
        if (p->in.results.first != next)
            ok = complain(a, "results from %" PRIu64 " on instead of %" PRIu64, p->in.results.first, next);
        next += count;
        done = p->in.results.has_done;
        ok = ok && say_credit(p, 1, count * 32 + zmq_msg_size(&p->part[2]));
    }
    peer_free(p);
    return ok && (next == ITEMS || complain(a, "%" PRIu64 " results came", next));
}

/* Jobs that come whole are answered by RESULTS, DONE or ERROR and by nothing else: no OPENED, no CREDIT. */
static bool run_whole(struct arena *a)
{
    enum { JOBS = 60, ITEMS = 8 };
    struct peer *p = peer_new(a);
    struct frame items[ITEMS];
    uint64_t ended = 0, last_job = 0;
    bool ok = p != NULL;
    for (unsigned i = 0; i < ITEMS; i++)
        items[i] = FRAME("7");
    for (uint64_t ref = 0; ok && ref < JOBS; ref++)
        ok = say_open(p, ref, ref % 4 == 3 ? "none" : "square", 1 + 200 * (ref % 2), items,
                      ref % 4 == 1 ? 0 : ITEMS, true);
    while (ok && ended < JOBS) {
        const struct message *m = &p->in;
        const struct job_report *report = NULL;
        if (peer_receive(p, PATIENCE_MS) <= 0) {
            ok = complain(a, "%" PRIu64 " of %d jobs ended", ended, JOBS);
            break;
        }
        switch (m->type) {
        case MSG_RESULTS:
            ok =
                say_credit(p, m->results.ref, zmq_msg_size(&p->part[1]) / 4 * 32 + zmq_msg_size(&p->part[2]));
            report = m->results.has_done ? &m->results.done : NULL;
            break;
        case MSG_DONE:
            report = &m->done.done;
            break;
        case MSG_ERROR:
            ok = m->error.has_ref && m->error.ref % 4 == 3 && m->error.code == PERR_FUNCTION;
            ended++;
            break;
        default:
            ok = false;
        }
        if (!ok)
            complain(a, "%s came", message_name(m->type));
        if (report == NULL)
            continue;
        ended++;
        if (report->job == 0 || report->job == last_job || (report->items != 0 && report->items != ITEMS))
            ok = complain(a, "a report of %" PRIu64 " items of job %" PRIu64 " behind that of %" PRIu64,
                          report->items, report->job, last_job);
        last_job = report->job;
    }
    ok = ok && peer_goes_on(p);
    peer_free(p);
    return ok && status_at_most(a, "jobs", 0);
}

/* CANCEL again and again, before and after everything: one DONE a job. */
static bool run_cancel_storm(struct arena *a)
{
    enum { JOBS = 300 };
    struct peer *p = peer_new(a);
    uint64_t done = 0;
    bool ok = p != NULL;
    for (uint64_t ref = 1; ok && ref <= JOBS; ref++) {
        ok = say_open(p, ref, ref % 3 == 0 ? "sleep" : "square", 1000, &FRAME("1000"), 1, ref % 2 == 0) &&
             say_cancel(p, ref) && say_cancel(p, ref) && say_end(p, ref, 1);
    }
    while (ok && done < JOBS) {
        if (peer_receive(p, PATIENCE_MS) <= 0)
            ok = complain(a, "%" PRIu64 " of %d jobs ended", done, JOBS);
        else if (p->in.type == MSG_ERROR)
            ok = complain(a, "ERROR: %.*s", (int)p->in.error.text.len, p->in.error.text.data);
        else if (p->in.type == MSG_DONE || (p->in.type == MSG_RESULTS && p->in.results.has_done))
            done++;
    }
    ok = ok && peer_goes_on(p);
    peer_free(p);
    return ok && status_at_most(a, "jobs", 0) && status_at_most(a, "orphans", 0) &&
           status_at_most(a, "busy", 0);
}

const struct attack job_attacks[] = {
    {"OPEN of a ref in use", .breach = open_ref_in_use, .words = "in use"},
    {"OPEN twice at once", .breach = open_twice, .words = "in use"},
    {"OPEN without credit", .breach = open_no_credit, .words = "credit"},
    {"OPEN, lengths over the bytes", .breach = open_too_short},
    {"OPEN, lengths under the bytes", .breach = open_too_long},
    {"OPEN, lengths that overflow", .breach = open_overflow},
    {"OPEN, lengths of odd size", .breach = open_odd},
    {"OPEN, a batch of no records", .breach = open_no_records},
    {"OPEN, bytes over 64 KiB", .breach = open_large_bytes},
    {"OPEN, lengths over 64 KiB", .breach = open_many_lengths},
    {"OPEN, items that reach into what is done", .breach = open_into_done},
    {"OPEN, an end before what is done", .run = run_end_before_done},
    {"OPEN of unknown functions", .run = run_functions},
    {"OPEN of long names in UTF-8", .run = run_long_name},
    {"OPEN, items behind the last index", .run = run_last_index},
    {"ITEMS behind the last index", .breach = items_behind_last_index},
    {"more jobs than allowed", .run = run_many_jobs},
    {"ITEMS without credit", .breach = items_without_credit, .words = "credit"},
    {"ITEMS from too high an index", .breach = items_too_high, .words = "ITEMS"},
    {"ITEMS from too low an index", .breach = items_too_low, .words = "ITEMS"},
    {"ITEMS from the last index", .breach = items_far, .words = "ITEMS"},
    {"ITEMS that reach into what is done", .breach = items_into_done, .words = "ITEMS"},
    {"ITEMS after END", .breach = items_after_end, .words = "ITEMS"},
    {"ITEMS after OPEN with the end", .breach = items_after_open_end, .words = "ITEMS"},
    {"ITEMS, lengths over the bytes", .breach = items_too_short, .words = "ITEMS"},
    {"ITEMS, lengths under the bytes", .breach = items_too_long, .words = "ITEMS"},
    {"ITEMS, lengths of odd size", .breach = items_odd, .words = "ITEMS"},
    {"ITEMS, a batch of no records", .breach = items_none, .words = "ITEMS"},
    {"ITEMS, bytes without lengths", .breach = items_no_lengths, .words = "ITEMS"},
    {"ITEMS of 1 MiB + 1", .breach = items_over_1_mib, .words = "ITEMS"},
    {"ITEMS of 8 MiB", .breach = items_of_4_mib, .words = "ITEMS"},
    {"a piece of 1023 bytes", .breach = piece_too_small, .words = "ITEMS"},
    {"a piece without a byte", .breach = piece_empty, .words = "ITEMS"},
    {"a piece of two records", .breach = piece_of_two, .words = "ITEMS"},
    {"a piece, then two records", .breach = piece_then_two, .words = "ITEMS"},
    {"a piece, then the next item", .breach = piece_then_next, .words = "ITEMS"},
    {"a piece, then END", .breach = piece_then_end, .words = "END"},
    {"a piece, then END behind it", .breach = piece_then_end_1, .words = "END"},
    {"items that are left without their end", .run = run_half_items},
    {"END of more than came", .breach = end_too_high, .words = "END"},
    {"END of less than came", .breach = end_too_low, .words = "END"},
    {"END at the last index", .breach = end_far, .words = "END"},
    {"END twice", .breach = end_twice, .words = "END"},
    {"END after OPEN with the end", .breach = end_after_open_end, .words = "END"},
    {"CREDIT for nothing", .breach = credit_for_nothing, .words = "CREDIT"},
    {"CREDIT of the greatest number", .breach = credit_most, .words = "CREDIT"},
    {"CREDIT of more than was sent", .breach = credit_too_much, .words = "CREDIT"},
    {"ITEMS that do not wait for OPENED", .run = run_items_before_opened},
    {"the least credit", .run = run_miser},
    {"jobs that come whole", .run = run_whole},
    {"CANCEL, again and again", .run = run_cancel_storm},
    {NULL},
};
