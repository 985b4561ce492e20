/*
 * The codec with good messages: every one there and back with extreme values, the table, the limits of what
 * is encoded, and that PROTOCOL.md shows what the code does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/batch.h"
#include "tests/unit/messages.h"

static void every_type_has_its_entry(void **state)
{
    struct fixture *x = *state;
    for (size_t i = 0; i < TYPES; i++) {
        assert_string_equal(message_name(types[i].type), types[i].name);
        encode(x, types[i].type, LEAST);
        assert_int_equal(decode(x, x->wire.data, x->wire.size, types[i].least, a_sender(&types[i])), 0);
        assert_in_range(types[i].most, types[i].least, PROTOCOL_FRAMES_MAX);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(types[i].type, types[j].type);
    }
    assert_string_equal(message_name((enum message_type)0), "?");
    assert_string_equal(message_name((enum message_type)31), "?");
    assert_string_equal(message_name((enum message_type)49), "?");
    assert_string_equal(message_name((enum message_type) - 1), "?");
    assert_string_equal(protocol_error_text(PERR_VERSION), "no common protocol version");
    assert_string_equal(protocol_error_text(0), "unknown error");
    assert_string_equal(protocol_error_text(12), "unknown error");
}

static void there_and_back(void **state)
{
    struct fixture *x = *state;
    for (size_t i = 0; i < TYPES; i++) {
        for (int round = 0; round < 2000; round++) {
            x->maker.how = round < RANDOM ? (enum how)round : RANDOM;
            struct message m = make(&x->maker, types[i].type), got;
            assert_int_equal(message_encode(&m, &x->wire), 0);
            assert_int_equal(message_decode(x->decoder, x->wire.data, x->wire.size, types[i].most,
                                            a_sender(&types[i]), &got, &x->why),
                             0);
            if (!same(&m, &got))
                fail_msg("%s, round %d", types[i].name, round);
        }
    }
}

/* Each field holds its place in the page's table: encoding and decoding in the same wrong order would agree.
 */
static void fields_have_the_order_of_the_page(void **state)
{
    struct fixture *x = *state;
    const struct job_report report = {12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    const struct range done[] = {{8, 9}, {10, 11}};
    const struct message m[] = {
        {.type = MSG_OPEN,
         .open = {1,
                  2,
                  {"f", 1},
                  {.slots = 4},
                  .credit = 5,
                  .first = 6,
                  .done = done,
                  .done_count = 2,
                  .end = true}},
        {.type = MSG_OPENED, .opened = {.ref = 1, .job = 2, .credit = 3}},
        {.type = MSG_ITEMS, .items = {.ref = 1, .first = 2, .more = true}},
        {.type = MSG_END, .end = {.ref = 1, .total = 2}},
        {.type = MSG_CREDIT, .credit = {.ref = 1, .bytes = 2}},
        {.type = MSG_RESULTS, .results = {.ref = 1, .first = 2, .more = true}},
        {.type = MSG_DONE, .done = {.ref = 1, .done = report}},
        {.type = MSG_ERROR, .error = {.has_ref = true, .ref = 1, .code = 2, .text = {"3", 1}}},
        {.type = MSG_ERROR, .error = {.code = 2}},
        {.type = MSG_QUERY, .query = {.ref = 1, .what = {"2", 1}}},
        {.type = MSG_WORKED, .worked = {.chunk = 1, .more = true, .run_ns = 4, .cpu_ns = 5}},
        {.type = MSG_WORKED, .worked = {.chunk = 1, .last = true}},
        {.type = MSG_CHUNK,
         .chunk = {.chunk = 1,
                   .job = 2,
                   .first = 3,
                   .function = {"4", 1},
                   .more = true,
                   .credit = 6,
                   .trace = true}},
        {.type = MSG_DROP, .chunk_id = {.chunk = 1, .grace_ns = 2}},
        {.type = MSG_STOP},
        {.type = MSG_HOLD, .hold = {.ref = 1, .paused = true}},
        {.type = MSG_ABORT, .abort = {.ref = 1, .job = 2}},
        {.type = MSG_BEGUN, .begun = {.ref = 1, .items = done, .count = 2}},
        {.type = MSG_PARKED, .parked = {.chunk = 1, .count = 2, .run_ns = 3, .cpu_ns = 4}},
        {.type = MSG_FAILED, .failed = {.job = 1, .text = {"2", 1}}},
        {.type = MSG_JOB,
         .job = {1,
                 2,
                 {"3", 1},
                 {.timeout_ms = 4, .retries = 5, .halt = 2, .live = true},
                 .kill_grace_ns = 6,
                 .spool = 7,
                 .threads = 8}},
        {.type = MSG_FORGET, .forget = {.job = 1}},
        {.type = MSG_GRANT, .grant = {.chunk = 1, .bytes = 2, .head = true}},
        {.type = MSG_LEND, .lend = {.chunk = 1, .lent = 3, .back = 2}},
        {.type = MSG_RETURNED, .returned = {.chunk = 1, .tokens = 2}},
    };
#define BYTES(s)                                                                                             \
    {                                                                                                        \
        s, sizeof(s) - 1                                                                                     \
    }
    static const struct {
        const char *data;
        size_t size;
    } bytes[] = {
        BYTES("\x99\x03\x01\x02\xa1"
              "f\x81\xa5slots\x04\x05\x06\x94\x08\x09\x0a\x0b\xc3"),
        BYTES("\x94\x04\x01\x02\x03"),
        BYTES("\x94\x05\x01\x02\xc3"),
        BYTES("\x93\x06\x01\x02"),
        BYTES("\x93\x07\x01\x02"),
        BYTES("\x95\x08\x01\x02\xc3\xc0"),
        BYTES("\x93\x09\x01\x9c\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"),
        BYTES("\x94\x0b\x01\x02\xa1"
              "3"),
        BYTES("\x94\x0b\xc0\x02\xa0"),
        BYTES("\x93\x0e\x01\xa1"
              "2"),
        BYTES("\x96\x21\x01\xc3\xc2\x04\x05"),
        BYTES("\x96\x21\x01\xc2\xc3\x00\x00"),
        BYTES("\x98\x28\x01\x02\x03\xa1"
              "4\xc3\x06\xc3"),
        BYTES("\x93\x2b\x01\x02"),
        BYTES("\x91\x2c"),
        BYTES("\x93\x10\x01\xc3"),
        BYTES("\x93\x11\x01\x02"),
        BYTES("\x93\x12\x01\x94\x08\x09\x0a\x0b"),
        BYTES("\x95\x22\x01\x02\x03\x04"),
        BYTES("\x93\x23\x01\xa1"
              "2"),
        BYTES("\x98\x2d\x01\x02\xa1"
              "3\x84\xa7timeout\x04\xa7retries\x05\xa4halt\x02\xa4live\xc3\x06\x07\x08"),
        BYTES("\x92\x2e\x01"),
        BYTES("\x94\x2f\x01\x02\xc3"),
        BYTES("\x94\x30\x01\x03\x02"),
        BYTES("\x93\x24\x01\x02"),
    };
    _Static_assert(sizeof m / sizeof *m == sizeof bytes / sizeof *bytes, "one for each");
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) {
        assert_int_equal(message_encode(&m[i], &x->wire), 0);
        assert_int_equal(x->wire.size, bytes[i].size);
        assert_memory_equal(x->wire.data, bytes[i].data, bytes[i].size);
    }
}

/* What does not fit into a message does not come out of the encoder either. */
static void bad_values_are_not_encoded(void **state)
{
    struct fixture *x = *state;
    static char text[PROTOCOL_STRING_MAX + 1];
    memset(text, 'x', sizeof text);
    x->maker.how = LEAST;
    struct message m;
#define REFUSE(type, change)                                                                                 \
    do {                                                                                                     \
        m = make(&x->maker, type);                                                                           \
        change;                                                                                              \
        assert_int_equal(message_encode(&m, &x->wire), -EINVAL);                                             \
        assert_int_equal(x->wire.size, 0);                                                                   \
    } while (0)
    REFUSE(MSG_STOP, m.type = (enum message_type)19);
    REFUSE(MSG_STOP, m.type = (enum message_type) - 5);
    REFUSE(MSG_HELLO, m.hello.max = 0);
    REFUSE(MSG_HELLO, m.hello.program = ((struct text){text, sizeof text}));
    REFUSE(MSG_HELLO, m.hello.program = ((struct text){"a\0b", 3}));
    REFUSE(MSG_HELLO, m.hello.program = ((struct text){"caf\xe9", 4}));
    REFUSE(MSG_WORKED, m.worked.run_ns = -1);
    REFUSE(MSG_WORKED, m.worked.cpu_ns = INT64_MIN);
    REFUSE(MSG_WORKED, m.worked.more = m.worked.last = true);
    REFUSE(MSG_RESULTS, m.results.more = m.results.has_done = true);
    REFUSE(MSG_DONE, m.done.done.outcome = 2);
    REFUSE(MSG_DONE, m.done.done.queue_ns = -1);
    REFUSE(MSG_END, m.end.total = PROTOCOL_COUNT_MAX + 1);
    REFUSE(MSG_OPEN, m.open.options.priority = 1001);
    REFUSE(MSG_OPEN, m.open.options.priority = -1001);
    REFUSE(MSG_OPEN, m.open.credit = 0);
    REFUSE(MSG_OPENED, m.opened.credit = 0);
    REFUSE(MSG_LEND, m.lend.back = m.lend.lent + 1);
    struct range bad[] = {{5, 5}, {5, 9}, {8, 10}, {1, 2}};
    REFUSE(MSG_OPEN, (m.open.done = bad, m.open.done_count = 1));
    REFUSE(MSG_OPEN, (m.open.done = bad + 1, m.open.done_count = 2));
    REFUSE(MSG_OPEN, (m.open.done = bad + 2, m.open.done_count = 2));
    REFUSE(MSG_OPEN, (m.open.done = bad + 1, m.open.done_count = 1, m.open.first = 6));
}

static void many_ranges(void **state)
{
    struct fixture *x = *state;
    static struct range ranges[PROTOCOL_RANGES_MAX + 1];
    x->maker.how = LEAST;
    struct message m = make(&x->maker, MSG_OPEN), got;
    m.open.done = ranges;
    for (uint64_t i = 0; i <= PROTOCOL_RANGES_MAX; i++)
        ranges[i] = (struct range){10000000 + 2 * i, 10000001 + 2 * i};
    m.open.done_count = PROTOCOL_RANGES_MAX;
    for (int round = 0; round < 3; round++) { /* the wire and the decoder are used again */
        assert_int_equal(message_encode(&m, &x->wire), 0);
        assert_int_equal(
            message_decode(x->decoder, x->wire.data, x->wire.size, 2, FROM_CLIENT, &got, &x->why), 0);
        assert_true(same(&m, &got));
        encode(x, MSG_PING, MOST);
        assert_int_equal(decode(x, x->wire.data, x->wire.size, 1, FROM_CLIENT), 0);
    }
    m.open.done_count++;
    assert_int_equal(message_encode(&m, &x->wire), -EINVAL);
    for (uint64_t i = 0; i < PROTOCOL_RANGES_MAX; i++)
        ranges[i] = (struct range){PROTOCOL_COUNT_MAX - 8194 + 2 * i, PROTOCOL_COUNT_MAX - 8193 + 2 * i};
    m.open.done_count = PROTOCOL_RANGES_MAX;
    assert_int_equal(message_encode(&m, &x->wire), -EMSGSIZE);
    assert_int_equal(x->wire.size, 0);
    /* One range too many for the decoder, in a header that is not too large: small numbers in place of large.
     */
    static uint8_t bytes[PROTOCOL_HEADER_MAX];
    static const uint8_t head[] = {0x99, 0x03, 0x01, 0x00, 0xa1, 'f', 0x80, 0x09, 0x05, 0xdc, 0x20, 0x02};
    memcpy(bytes, head, sizeof head);
    size_t size = sizeof head;
    for (unsigned i = 0; i < 0x2002; i++) {
        bytes[size++] = 0xcd;
        bytes[size++] = (uint8_t)((i + 5) >> 8);
        bytes[size++] = (uint8_t)(i + 5);
    }
    bytes[size++] = 0xc3;
    assert_int_equal(decode(x, bytes, size, 2, FROM_CLIENT), -EPROTO);
    assert_string_equal(x->why, "too many ranges");
}

/*** PROTOCOL.md's worked example ***/

/* The bytes after "\nlabel " in the page: pairs of hex digits, further lines of them indented. */
static size_t page_bytes(const char *page, const char *label, uint8_t *bytes, size_t room)
{
    char start[32];
    size_t size = 0;
    assert_true(snprintf(start, sizeof start, "\n%s ", label) < (int)sizeof start);
    const char *p = strstr(page, start);
    if (!p) {
        fail_msg("no '%s' in PROTOCOL.md", label);
        return 0; /* not reached */
    }
    p += strlen(start);
    while (p[0] != '\n' || p[1] == ' ') {
        if (*p == ' ' || *p == '\n') {
            p++;
            continue;
        }
        const char pair[3] = {p[0], p[1], 0};
        char *end;
        assert_true(size < room);
        bytes[size++] = (uint8_t)strtoul(pair, &end, 16);
        assert_ptr_equal(end, pair + 2);
        p += 2;
    }
    return size;
}

static void page_has(const char *page, const char *label, const void *bytes, size_t size)
{
    uint8_t shown[256];
    size_t shown_size = page_bytes(page, label, shown, sizeof shown);
    if (shown_size == size && (size == 0 || memcmp(shown, bytes, size) == 0))
        return;
    print_error("%s should be", label);
    for (size_t i = 0; i < size; i++)
        print_error(" %02x", ((const uint8_t *)bytes)[i]);
    fail_msg("PROTOCOL.md shows other bytes for %s", label);
}

static void the_page_tells_the_truth(void **state)
{
    struct fixture *x = *state;
    static char page[256 << 10];
    FILE *file = fopen(PROTOCOL_MD, "re");
    assert_non_null(file);
    size_t size = fread(page, 1, sizeof page - 1, file);
    assert_int_equal(fclose(file), 0);
    assert_in_range(size, 1, sizeof page - 2);

    struct message m = {.type = MSG_HELLO, .hello = {.min = 1, .max = 1, .program = text_of("example")}};
    assert_int_equal(message_encode(&m, &x->wire), 0);
    page_has(page, "HELLO 1", x->wire.data, x->wire.size);

    m = (struct message){.type = MSG_WELCOME, .welcome = {.min = 1, .max = 1, .slots = 2}};
    m.welcome.software = text_of("pmapd 0.1.0"), m.welcome.instance = UINT64_C(0x0123456789abcdef);
    m.welcome.max_message = PROTOCOL_MESSAGE_MAX, m.welcome.max_item = PROTOCOL_ITEM_MAX;
    assert_int_equal(message_encode(&m, &x->wire), 0);
    page_has(page, "WELCOME 1", x->wire.data, x->wire.size);

    m = (struct message){.type = MSG_OPEN,
                         .open = {.ref = 1, .function = text_of("square"), .credit = 4 << 20, .end = true}};
    m.open.options.chunksize = 100;
    assert_int_equal(message_encode(&m, &x->wire), 0);
    page_has(page, "OPEN 1", x->wire.data, x->wire.size);
    struct batch *batch = batch_new(2, 3);
    assert_non_null(batch);
    assert_int_equal(batch_append(batch, "12", 2), 0);
    assert_int_equal(batch_append(batch, "x", 1), 0);
    page_has(page, "OPEN 3", batch->lengths, 8);
    page_has(page, "OPEN 4", batch->bytes, batch->size);
    batch_unref(batch);

    m = (struct message){.type = MSG_OPENED, .opened = {.ref = 1, .job = 7, .credit = 4 << 20}};
    assert_int_equal(message_encode(&m, &x->wire), 0);
    page_has(page, "OPENED 1", x->wire.data, x->wire.size);

    m = (struct message){.type = MSG_RESULTS, .results = {.ref = 1, .has_done = true}};
    m.results.done = (struct job_report){.job = 7, .items = 2, .failed = 1, .chunks = 1, .slots = 2};
    m.results.done.queue_ns = 40000, m.results.done.run_ns = 2500, m.results.done.cpu_ns = 2400;
    m.results.done.bytes_in = 3, m.results.done.bytes_out = 3;
    assert_int_equal(message_encode(&m, &x->wire), 0);
    page_has(page, "RESULTS 1", x->wire.data, x->wire.size);
    uint8_t frames[5][32];
    const void *frame[5];
    size_t sizes[5];
    for (int i = 0; i < 5; i++) { /* as the page has them: they must be good results */
        char label[16];
        assert_true(snprintf(label, sizeof label, "RESULTS %d", i + 2) < (int)sizeof label);
        sizes[i] = page_bytes(page, label, frames[i], sizeof frames[i]);
        frame[i] = frames[i];
    }
    struct batch results;
    assert_int_equal(results_init(&results, frame, sizes, 5, false, NULL), 0);
    assert_int_equal(results.count, 2);
    assert_int_equal(results.size, 3);
    assert_memory_equal(results.bytes, "144", 3);
    assert_int_equal(results_failed(&results), 1);
    struct note note = note_load(results.notes);
    assert_int_equal(note.record, 1);
    assert_int_equal(note.kind, NOTE_ERROR);
    assert_int_equal(load_u64(results.times), 1200);

    /* Each message has its own chapter, under its code. */
    for (size_t i = 0; i < TYPES; i++) {
        char title[64];
        assert_true(snprintf(title, sizeof title, "\n### %s (%d)", types[i].name, (int)types[i].type) <
                    (int)sizeof title);
        if (!strstr(page, title))
            fail_msg("no chapter '%s' in PROTOCOL.md", title + 1);
    }
    static const char *const errors[] = {
#define X(name, code, text) "\n| " #code " | " #name " |",
        PROTOCOL_ERRORS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (!strstr(page, errors[i]))
            fail_msg("no line '%s' in PROTOCOL.md", errors[i] + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(every_type_has_its_entry),   TEST(there_and_back), TEST(fields_have_the_order_of_the_page),
        TEST(bad_values_are_not_encoded), TEST(many_ranges),    TEST(the_page_tells_the_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
