/*
 * Messages for the tests of the codec, and how two are compared.
 */
#include "tests/unit/messages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const struct type types[TYPES] = {
#define X(name, code, from, least, most) {#name, MSG_##name, from, least, most},
    MESSAGE_TYPES(X)
#undef X
};

enum sender a_sender(const struct type *type)
{
    return (enum sender)(type->from & -type->from); /* the lowest of those who may send it */
}

uint64_t next_random(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/*** Messages with every field set ***/

static uint64_t number(struct maker *k, uint64_t max)
{
    if (k->how != RANDOM)
        return k->how == LEAST ? 0 : max;
    uint64_t v = next_random(&k->seed) >> next_random(&k->seed) % 64; /* of every length */
    return v <= max ? v : max == UINT64_MAX ? v : v % (max + 1);
}

#define INDEX(k)  number(k, PROTOCOL_COUNT_MAX)
#define CREDIT(k) (1 + number(k, PROTOCOL_COUNT_MAX - 1))
#define ANY64(k)  number(k, UINT64_MAX)
#define ANY32(k)  ((uint32_t)number(k, UINT32_MAX))
#define BOOL(k)   (number(k, 1) != 0)
#define TIME(k)   ((int64_t)number(k, INT64_MAX))

static struct text some_text(struct maker *k)
{
    size_t len = number(k, k->how == RANDOM ? 40 : sizeof k->text);
    return (struct text){k->text, len};
}

static struct job_report report(struct maker *k)
{
    return (struct job_report){
        .job = ANY64(k),
        .outcome = (uint8_t)number(k, OUTCOME_CANCELLED),
        .items = INDEX(k),
        .failed = INDEX(k),
        .retried = INDEX(k),
        .chunks = INDEX(k),
        .slots = ANY32(k),
        .queue_ns = TIME(k),
        .run_ns = TIME(k),
        .cpu_ns = TIME(k),
        .bytes_in = INDEX(k),
        .bytes_out = INDEX(k),
    };
}

static void make_versions(struct maker *k, uint32_t *min, uint32_t *max)
{
    *min = k->how == LEAST ? 1 : 1 + (uint32_t)number(k, UINT32_MAX - 1);
    *max = k->how == RANDOM ? *min + (uint32_t)number(k, UINT32_MAX - *min) : *min;
}

static struct job_options options(struct maker *k)
{
    return (struct job_options){
        .chunksize = ANY32(k),
        .slots = ANY32(k),
        .unordered = BOOL(k),
        .priority = (int32_t)number(k, 2000) - 1000,
        .timeout_ms = ANY32(k),
        .retries = ANY32(k),
        .halt = (uint32_t)number(k, HALT_MAX),
        .recycle = ANY32(k),
        .isolate = BOOL(k),
        .live = BOOL(k),
        .once = BOOL(k),
        .jobserver = BOOL(k),
        .trace = BOOL(k),
    };
}

/* Up to 8 ranges from `at` on; MOST: to the greatest index. Returns their number, which is 0 with LEAST. */
static uint32_t make_ranges(struct maker *k, uint64_t at)
{
    uint32_t count = k->how == LEAST ? 0 : 1 + (uint32_t)number(k, 8);
    for (uint32_t i = 0; i < count; i++) {
        k->ranges[i].from = at += number(k, 1000); /* 0: right behind the one before */
        k->ranges[i].to = at += 1 + number(k, 1000);
    }
    if (k->how == MOST)
        k->ranges[count - 1].to = PROTOCOL_COUNT_MAX;
    return count;
}

static void make_open(struct maker *k, struct message *m)
{
    m->open.ref = ANY64(k);
    m->open.kind = ANY32(k);
    m->open.function = some_text(k);
    m->open.options = options(k);
    m->open.credit = CREDIT(k);
    m->open.first = k->how == LEAST ? 0 : number(k, PROTOCOL_COUNT_MAX / 2);
    m->open.done_count = make_ranges(k, m->open.first);
    m->open.done = m->open.done_count ? k->ranges : NULL;
    m->open.end = BOOL(k);
}

struct message make(struct maker *k, enum message_type type)
{
    struct message m;
    memset(&m, 0, sizeof m);
    m.type = type;
    switch (type) {
    case MSG_HELLO:
        m.hello.magic = text_of(PROTOCOL_MAGIC);
        make_versions(k, &m.hello.min, &m.hello.max);
        m.hello.program = some_text(k);
        break;
    case MSG_WELCOME:
        m.welcome.magic = text_of(PROTOCOL_MAGIC);
        make_versions(k, &m.welcome.min, &m.welcome.max);
        m.welcome.software = some_text(k);
        m.welcome.instance = ANY64(k);
        m.welcome.slots = ANY32(k);
        m.welcome.max_message = INDEX(k);
        m.welcome.max_item = INDEX(k);
        break;
    case MSG_OPEN:
        make_open(k, &m);
        break;
    case MSG_OPENED:
        m.opened.ref = ANY64(k), m.opened.job = ANY64(k), m.opened.credit = CREDIT(k);
        break;
    case MSG_ITEMS:
        m.items.ref = ANY64(k), m.items.first = INDEX(k), m.items.more = BOOL(k);
        break;
    case MSG_END:
        m.end.ref = ANY64(k), m.end.total = INDEX(k);
        break;
    case MSG_CREDIT:
        m.credit.ref = ANY64(k), m.credit.bytes = INDEX(k);
        break;
    case MSG_RESULTS:
        m.results.ref = ANY64(k), m.results.first = INDEX(k);
        m.results.has_done = BOOL(k);
        if (m.results.has_done)
            m.results.done = report(k);
        else
            m.results.more = BOOL(k);
        break;
    case MSG_DONE:
        m.done.ref = ANY64(k), m.done.done = report(k);
        break;
    case MSG_CANCEL:
        m.cancel.ref = ANY64(k);
        break;
    case MSG_ERROR:
        m.error.has_ref = BOOL(k);
        m.error.ref = m.error.has_ref ? ANY64(k) : 0;
        m.error.code = ANY32(k);
        m.error.text = some_text(k);
        break;
    case MSG_PING:
    case MSG_PONG:
        m.ping.token = ANY64(k);
        break;
    case MSG_QUERY:
        m.query.ref = ANY64(k), m.query.what = some_text(k);
        break;
    case MSG_ANSWER:
        m.answer.ref = ANY64(k);
        break;
    case MSG_HOLD:
        m.hold.ref = ANY64(k), m.hold.paused = BOOL(k);
        break;
    case MSG_ABORT:
        m.abort.ref = ANY64(k), m.abort.job = ANY64(k);
        break;
    case MSG_BEGUN:
        m.begun.ref = ANY64(k);
        m.begun.count = make_ranges(k, m.begun.ref % PROTOCOL_RANGES_MAX);
        m.begun.items = m.begun.count ? k->ranges : NULL;
        break;
    case MSG_READY:
        m.ready.slot = ANY32(k);
        break;
    case MSG_WORKED:
        m.worked.chunk = ANY64(k), m.worked.last = BOOL(k), m.worked.more = !m.worked.last && BOOL(k);
        m.worked.run_ns = TIME(k), m.worked.cpu_ns = TIME(k);
        break;
    case MSG_CHUNK:
        m.chunk.chunk = ANY64(k), m.chunk.job = ANY64(k), m.chunk.first = INDEX(k);
        m.chunk.function = some_text(k), m.chunk.more = BOOL(k), m.chunk.credit = INDEX(k);
        m.chunk.trace = BOOL(k);
        break;
    case MSG_PARKED:
        m.parked.chunk = ANY64(k), m.parked.count = ANY32(k);
        m.parked.run_ns = TIME(k), m.parked.cpu_ns = TIME(k);
        break;
    case MSG_FAILED:
        m.failed.job = ANY64(k), m.failed.text = some_text(k);
        break;
    case MSG_JOB:
        m.job.job = ANY64(k), m.job.kind = (uint32_t)number(k, KIND_MAX), m.job.function = some_text(k);
        m.job.options = options(k);
        m.job.kill_grace_ns = TIME(k), m.job.spool = INDEX(k), m.job.threads = ANY32(k);
        break;
    case MSG_FORGET:
        m.forget.job = ANY64(k);
        break;
    case MSG_GRANT:
        m.grant.chunk = ANY64(k), m.grant.bytes = INDEX(k), m.grant.head = BOOL(k);
        break;
    case MSG_LEND:
        m.lend.chunk = ANY64(k), m.lend.lent = INDEX(k), m.lend.back = number(k, m.lend.lent);
        break;
    case MSG_RETURNED:
        m.returned.chunk = ANY64(k), m.returned.tokens = INDEX(k);
        break;
    case MSG_YIELD:
    case MSG_RECALL:
    case MSG_DROP:
        m.chunk_id.chunk = ANY64(k);
        m.chunk_id.grace_ns = type == MSG_DROP ? TIME(k) : 0;
        break;
    case MSG_STOP:
        break;
    }
    return m;
}

/*** Comparing ***/

#define EQUAL(member) (a->member == b->member)
#define TEXT(member)                                                                                         \
    (a->member.len == b->member.len &&                                                                       \
     (a->member.len == 0 || memcmp(a->member.data, b->member.data, a->member.len) == 0))

static bool same_report(const struct job_report *a, const struct job_report *b)
{
    return EQUAL(job) && EQUAL(outcome) && EQUAL(items) && EQUAL(failed) && EQUAL(retried) && EQUAL(chunks) &&
           EQUAL(slots) && EQUAL(queue_ns) && EQUAL(run_ns) && EQUAL(cpu_ns) && EQUAL(bytes_in) &&
           EQUAL(bytes_out);
}

static bool same_options(const struct job_options *a, const struct job_options *b)
{
    return EQUAL(chunksize) && EQUAL(slots) && EQUAL(unordered) && EQUAL(priority) && EQUAL(timeout_ms) &&
           EQUAL(retries) && EQUAL(halt) && EQUAL(recycle) && EQUAL(isolate) && EQUAL(live) && EQUAL(once) &&
           EQUAL(jobserver) && EQUAL(trace);
}

static bool same_ranges(const struct range *a, const struct range *b, uint32_t count)
{
    bool same = true;
    for (uint32_t i = 0; same && i < count; i++)
        same = a[i].from == b[i].from && a[i].to == b[i].to;
    return same;
}

static bool same_open(const struct message *a, const struct message *b)
{
    return EQUAL(open.ref) && EQUAL(open.kind) && TEXT(open.function) &&
           same_options(&a->open.options, &b->open.options) && EQUAL(open.credit) && EQUAL(open.first) &&
           EQUAL(open.end) && EQUAL(open.done_count) &&
           same_ranges(a->open.done, b->open.done, a->open.done_count);
}

bool same(const struct message *a, const struct message *b)
{
    if (!EQUAL(type))
        return false;
    switch (a->type) {
    case MSG_HELLO:
        return TEXT(hello.magic) && EQUAL(hello.min) && EQUAL(hello.max) && TEXT(hello.program);
    case MSG_WELCOME:
        return TEXT(welcome.magic) && EQUAL(welcome.min) && EQUAL(welcome.max) && TEXT(welcome.software) &&
               EQUAL(welcome.instance) && EQUAL(welcome.slots) && EQUAL(welcome.max_message) &&
               EQUAL(welcome.max_item);
    case MSG_OPEN:
        return same_open(a, b);
    case MSG_OPENED:
        return EQUAL(opened.ref) && EQUAL(opened.job) && EQUAL(opened.credit);
    case MSG_ITEMS:
        return EQUAL(items.ref) && EQUAL(items.first) && EQUAL(items.more);
    case MSG_END:
        return EQUAL(end.ref) && EQUAL(end.total);
    case MSG_CREDIT:
        return EQUAL(credit.ref) && EQUAL(credit.bytes);
    case MSG_RESULTS:
        return EQUAL(results.ref) && EQUAL(results.first) && EQUAL(results.more) && EQUAL(results.has_done) &&
               same_report(&a->results.done, &b->results.done);
    case MSG_DONE:
        return EQUAL(done.ref) && same_report(&a->done.done, &b->done.done);
    case MSG_CANCEL:
        return EQUAL(cancel.ref);
    case MSG_ERROR:
        return EQUAL(error.has_ref) && EQUAL(error.ref) && EQUAL(error.code) && TEXT(error.text);
    case MSG_PING:
    case MSG_PONG:
        return EQUAL(ping.token);
    case MSG_QUERY:
        return EQUAL(query.ref) && TEXT(query.what);
    case MSG_ANSWER:
        return EQUAL(answer.ref);
    case MSG_READY:
        return EQUAL(ready.slot);
    case MSG_WORKED:
        return EQUAL(worked.chunk) && EQUAL(worked.more) && EQUAL(worked.last) && EQUAL(worked.run_ns) &&
               EQUAL(worked.cpu_ns);
    case MSG_CHUNK:
        return EQUAL(chunk.chunk) && EQUAL(chunk.job) && EQUAL(chunk.first) && TEXT(chunk.function) &&
               EQUAL(chunk.more) && EQUAL(chunk.credit) && EQUAL(chunk.trace);
    case MSG_HOLD:
        return EQUAL(hold.ref) && EQUAL(hold.paused);
    case MSG_ABORT:
        return EQUAL(abort.ref) && EQUAL(abort.job);
    case MSG_BEGUN:
        return EQUAL(begun.ref) && EQUAL(begun.count) &&
               same_ranges(a->begun.items, b->begun.items, a->begun.count);
    case MSG_PARKED:
        return EQUAL(parked.chunk) && EQUAL(parked.count) && EQUAL(parked.run_ns) && EQUAL(parked.cpu_ns);
    case MSG_FAILED:
        return EQUAL(failed.job) && TEXT(failed.text);
    case MSG_JOB:
        return EQUAL(job.job) && EQUAL(job.kind) && TEXT(job.function) &&
               same_options(&a->job.options, &b->job.options) && EQUAL(job.kill_grace_ns) &&
               EQUAL(job.spool) && EQUAL(job.threads);
    case MSG_FORGET:
        return EQUAL(forget.job);
    case MSG_GRANT:
        return EQUAL(grant.chunk) && EQUAL(grant.bytes) && EQUAL(grant.head);
    case MSG_LEND:
        return EQUAL(lend.chunk) && EQUAL(lend.lent) && EQUAL(lend.back);
    case MSG_RETURNED:
        return EQUAL(returned.chunk) && EQUAL(returned.tokens);
    case MSG_YIELD:
    case MSG_RECALL:
    case MSG_DROP:
        return EQUAL(chunk_id.chunk) && EQUAL(chunk_id.grace_ns);
    case MSG_STOP:
        return true;
    }
    return false;
}

/*** Everything a test needs ***/

int set_up(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    if (!x)
        return -1;
    x->decoder = decoder_new();
    if (!x->decoder) {
        free(x);
        return -1;
    }
    wire_init(&x->wire);
    wire_init(&x->again);
    memset(x->maker.text, 'x', sizeof x->maker.text);
    x->maker.seed = FUZZ_SEED;
    *state = x;
    return 0;
}

int tear_down(void **state)
{
    struct fixture *x = *state;
    if (x->fuzzed) /* the test did not come to its end */
        print_error("the seed was %#" PRIx64 "\n", x->fuzzed);
    decoder_free(x->decoder);
    wire_free(&x->wire);
    wire_free(&x->again);
    free(x);
    return 0;
}

int decode(struct fixture *x, const void *data, size_t size, size_t frames, enum sender from)
{
    static const char nothing[] = "nothing was said";
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct message m, untouched, second;
    memset(&m, 0x5a, sizeof m);
    memset(&untouched, 0x5a, sizeof untouched);
    x->why = nothing;
    int rc = message_decode(x->decoder, copy, size, frames, from, &m, &x->why);
    if (rc == 0) {
        assert_ptr_equal(x->why, nothing);
        assert_int_equal(message_encode(&m, &x->again), 0);
        struct decoder *other = decoder_new();
        assert_non_null(other);
        assert_int_equal(message_decode(other, x->again.data, x->again.size, frames, from, &second, &x->why),
                         0);
        assert_true(same(&m, &second));
        decoder_free(other);
    } else {
        assert_int_equal(rc, -EPROTO);
        assert_ptr_not_equal(x->why, nothing);
        assert_memory_equal(&m, &untouched, sizeof m);
    }
    free(copy);
    return rc;
}

void encode(struct fixture *x, enum message_type type, enum how how)
{
    x->maker.how = how;
    struct message m = make(&x->maker, type);
    assert_int_equal(message_encode(&m, &x->wire), 0);
}
