/*
 * The codec with every broken header that we could think of: none may crash, read past the frame or decode to
 * something that the protocol does not allow.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/messages.h"

enum { FUZZ_ROUNDS = 200000 };

static void cut_short_or_too_long(void **state)
{
    struct fixture *x = *state;
    for (size_t i = 0; i < TYPES; i++) {
        for (enum how how = LEAST; how <= RANDOM; how++) {
            encode(x, types[i].type, how);
            for (size_t size = 0; size < x->wire.size; size++)
                assert_int_equal(decode(x, x->wire.data, size, types[i].most, a_sender(&types[i])), -EPROTO);
            uint8_t longer[PROTOCOL_STRING_MAX * 2];
            memcpy(longer, x->wire.data, x->wire.size);
            for (int byte = 0; byte < 256; byte++) {
                longer[x->wire.size] = (uint8_t)byte;
                assert_int_equal(decode(x, longer, x->wire.size + 1, types[i].most, a_sender(&types[i])),
                                 -EPROTO);
            }
        }
    }
}

/* One field less, one more: whatever prefix of the header is well-formed then. */
static void wrong_count_of_fields(void **state)
{
    struct fixture *x = *state;
    for (size_t i = 0; i < TYPES; i++) {
        encode(x, types[i].type, RANDOM);
        uint8_t bytes[1024];
        size_t size = x->wire.size;
        assert_in_range(size, 1, sizeof bytes - 1);
        memcpy(bytes, x->wire.data, size);
        bytes[0]--;
        for (size_t cut = 1; cut <= size; cut++)
            assert_int_equal(decode(x, bytes, cut, types[i].most, a_sender(&types[i])), -EPROTO);
        bytes[0] += 2;
        bytes[size] = 0;
        assert_int_equal(decode(x, bytes, size + 1, types[i].most, a_sender(&types[i])), -EPROTO);
        assert_string_equal(x->why, "wrong number of fields");
    }
}

static void every_byte_corrupted(void **state)
{
    struct fixture *x = *state;
    size_t accepted = 0, refused = 0;
    for (size_t i = 0; i < TYPES; i++) {
        encode(x, types[i].type, RANDOM);
        uint8_t bytes[1024];
        assert_in_range(x->wire.size, 1, sizeof bytes);
        size_t size = x->wire.size;
        memcpy(bytes, x->wire.data, size);
        for (size_t at = 0; at < size; at++) {
            for (unsigned flip = 1; flip < 256; flip++) {
                bytes[at] ^= (uint8_t)flip;
                if (decode(x, bytes, size, types[i].most, a_sender(&types[i])) == 0)
                    accepted++;
                else
                    refused++;
                bytes[at] ^= (uint8_t)flip;
            }
        }
    }
    assert_true(accepted > 0 && refused > 0);
}

static void only_its_sender_may_send_it(void **state)
{
    struct fixture *x = *state;
    for (size_t i = 0; i < TYPES; i++) {
        encode(x, types[i].type, LEAST);
        static const enum sender senders[] = {FROM_CLIENT, FROM_DAEMON, FROM_WORKER, TO_WORKER};
        for (size_t s = 0; s < sizeof senders / sizeof *senders; s++) {
            int rc = decode(x, x->wire.data, x->wire.size, types[i].most, senders[s]);
            assert_int_equal(rc, types[i].from & senders[s] ? 0 : -EPROTO);
        }
    }
}

static void wrong_count_of_frames(void **state)
{
    struct fixture *x = *state;
    for (size_t i = 0; i < TYPES; i++) {
        encode(x, types[i].type, LEAST);
        for (size_t frames = 0; frames < 12; frames++) {
            bool good = frames >= types[i].least && frames <= types[i].most;
            if (types[i].type == MSG_OPEN)
                good = frames == 2 || frames == 4;
            if (types[i].type == MSG_RESULTS)
                good = frames == 4 || frames == 6;
            if (types[i].type == MSG_WORKED)
                good = frames == 1 || frames == 4 || frames == 6;
            int rc = decode(x, x->wire.data, x->wire.size, frames, a_sender(&types[i]));
            assert_int_equal(rc, good ? 0 : -EPROTO);
        }
    }
}

/* Claims of sizes that are not there, in each place of each message: refused, and not for want of memory. */
static void giant_claims(void **state)
{
    struct fixture *x = *state;
    static const uint8_t claims[] = {0xdd, 0xdf, 0xdb, 0xc6, 0xc9, 0xdc, 0xde, 0xda, 0xc5, 0xc8};
    for (size_t c = 0; c < sizeof claims; c++) {
        uint8_t bytes[1024 + 5] = {claims[c], 0xff, 0xff, 0xff, 0xff};
        for (size_t size = 1; size < 40; size++)
            assert_int_equal(decode(x, bytes, size, 1, FROM_CLIENT), -EPROTO);
        for (size_t i = 0; i < TYPES; i++) {
            encode(x, types[i].type, RANDOM);
            size_t size = x->wire.size;
            assert_in_range(size, 1, 1024);
            for (size_t at = 0; at <= size; at++) {
                memcpy(bytes, x->wire.data, size);
                bytes[at] = claims[c];
                memset(bytes + at + 1, 0xff, 4);
                /* Inside a string or a number it may be harmless; decode() checks what is accepted. */
                (void)decode(x, bytes, at + 5 > size ? at + 5 : size, types[i].most, a_sender(&types[i]));
            }
        }
    }
}

static void deep_nesting_and_size(void **state)
{
    struct fixture *x = *state;
    static uint8_t bytes[PROTOCOL_HEADER_MAX + 1];
    static const uint8_t openers[] = {0x91, 0x81, 0x92};
    for (size_t o = 0; o < sizeof openers; o++) {
        memset(bytes, openers[o], sizeof bytes);
        for (size_t depth = 1; depth < 100; depth++) {
            memset(bytes + depth, 0, 2 * depth); /* enough to fill them all */
            for (size_t more = 0; more <= 2 * depth; more++)
                assert_int_equal(decode(x, bytes, depth + more, 1, FROM_CLIENT), -EPROTO);
            bytes[depth] = openers[o];
        }
        memset(bytes, openers[o], sizeof bytes);
        bytes[PROTOCOL_HEADER_MAX - 1] = 0;
        assert_int_equal(decode(x, bytes, PROTOCOL_HEADER_MAX, 1, FROM_CLIENT), -EPROTO);
    }
    assert_int_equal(decode(x, bytes, 0, 1, FROM_CLIENT), -EPROTO);
    assert_string_equal(x->why, "the header is empty");
    assert_int_equal(decode(x, bytes, sizeof bytes, 1, FROM_CLIENT), -EPROTO);
    assert_string_equal(x->why, "the header is too large");
}

static const struct handmade {
    const char *bytes;
    size_t size, frames;
    const char *why; /* NULL: it is good */
} handmade[] = {
#define NOT_TEXT "a string is too long, has a NUL in it or is not UTF-8"
#define BY_HAND(bytes, frames, why)                                                                          \
    {                                                                                                        \
        bytes, sizeof(bytes) - 1, frames, why                                                                \
    }
    BY_HAND("\x95\x01\xa4pmap\x01\x01\xa0", 1, NULL),
    BY_HAND("\xdc\x00\x05\xcc\x01\xd9\x04pmap\xd1\x00\x01\xcf\0\0\0\0\0\0\0\x01\xdb\0\0\0\x01x", 1, NULL),
    BY_HAND("\x95\x01\xa4pmaq\x01\x01\xa0", 1, "this is not the protocol of pmap"),
    BY_HAND("\x95\x01\xa4pmap\x00\x01\xa0", 1, "bad range of versions"),
    BY_HAND("\x95\x01\xa4pmap\x02\x01\xa0", 1, "bad range of versions"),
    BY_HAND("\x95\x01\xa4pmap\x01\xcf\0\0\0\x01\0\0\0\0\xa0", 1, "a number is missing or out of range"),
    BY_HAND("\x95\x01\xa4pmap\x01\xff\xa0", 1, "a number is missing or out of range"),
    BY_HAND("\x95\x01\xa4pmap\x01\x01\xa1\0", 1, NOT_TEXT),
    BY_HAND("\x95\x01\xa4pmap\x01\x01\xa2\xc3\xa9", 1, NULL),
    BY_HAND("\x95\x01\xa4pmap\x01\x01\xa1\xe9", 1, NOT_TEXT),
    BY_HAND("\x95\x01\xa4pmap\x01\x01\xa2\xe9x", 1, NOT_TEXT),
    BY_HAND("\x95\x01\xa4pmap\x01\x01\xa3\xed\xa0\x80", 1, NOT_TEXT), /* a surrogate */
    BY_HAND("\x93\x0e\x01\xa9statuses\xc3", 1, NOT_TEXT),             /* cut short */
    BY_HAND("\x95\x01\xa4pmap\x01\x01\x00", 1, "a field must be a string"),
    BY_HAND("\x95\x01\xa4pmap\x01\x01\xc4\x01x", 1, "a type that no header has"),
    BY_HAND("\x95\x01\xa4pmap\x01\xca\0\0\0\0\xa0", 1, "a type that no header has"),
    BY_HAND("\x95\x01\xa4pmap\x01\xd4\0\0\xa0", 1, "a type that no header has"),
    BY_HAND("\x95\x01\xa4pmap\x01\xc1\xa0", 1, "a type that no header has"),
    BY_HAND("\x90", 1, "a header is an array that begins with the message's type"),
    BY_HAND("\x80", 1, "a header is an array that begins with the message's type"),
    BY_HAND("\x05", 1, "a header is an array that begins with the message's type"),
    BY_HAND("\x91\xa1x", 1, "a header is an array that begins with the message's type"),
    BY_HAND("\x91\xff", 1, "a header is an array that begins with the message's type"),
    BY_HAND("\x91\x63", 1, "unknown type of message"),
    BY_HAND("\x91\xcd\xff\xff", 1, "unknown type of message"),
    BY_HAND("\x92\x0c\xc0", 1, "a number is missing or out of range"),
    BY_HAND("\x93\x06\x01\xcf\x80\0\0\0\0\0\0\0", 1, "a number is missing or out of range"),
    BY_HAND("\x94\x05\x01\x02\xc2", 3, NULL),
    BY_HAND("\x94\x05\x01\x02\x00", 3, "a field must be true or false"),
    BY_HAND("\x94\x05\x01\x02\xc0", 3, "a field must be true or false"),
/* OPEN: what differs is the map of options and the ranges, from index 5 on. */
#define OPEN(options, ranges, why)                                                                           \
    BY_HAND("\x99\x03\x01\x00\xa1"                                                                           \
            "f" options "\x09\x05" ranges "\xc3",                                                            \
            2, why)
    OPEN("\x80", "\x90", NULL),
    OPEN("\x84\xa5slots\x00\xa9unordered\xc2\xa8priority\xd1\xfc\x18\xa9"
         "chunksize\x07",
         "\x94\x05\x06\x06\x09", NULL),
    OPEN("\x81\xa5slott\x01", "\x90", "unknown option in OPEN"),
    OPEN("\x81\xa4slot\x01", "\x90", "unknown option in OPEN"),
    OPEN("\x81\xa6slots\0\x01", "\x90", "unknown option in OPEN"),
    OPEN("\x82\xa5slots\x01\xa5slots\x01", "\x90", "an option comes twice in OPEN"),
    OPEN("\x81\x01\x01", "\x90", "an option's name is a string"),
    OPEN("\x81\xa8priority\xd1\xfc\x17", "\x90", "a number is missing or out of range"),
    OPEN("\x81\xa8priority\xcd\x03\xe9", "\x90", "a number is missing or out of range"),
    OPEN("\x81\xa9unordered\x01", "\x90", "a field must be true or false"),
    OPEN("\x90", "\x90", "options are a map"),
    OPEN("\x80", "\x80", "ranges are an array of pairs of numbers"),
    OPEN("\x80", "\x93\x05\x06\x07", "ranges are an array of pairs of numbers"),
    OPEN("\x80", "\x92\x05\xff", "ranges are an array of pairs of numbers"),
    OPEN("\x80", "\x92\x05\x05", "ranges must ascend, not overlap and not be empty"),
    OPEN("\x80", "\x94\x05\x07\x06\x09", "ranges must ascend, not overlap and not be empty"),
    OPEN("\x80", "\x94\x08\x09\x05\x06", "ranges must ascend, not overlap and not be empty"),
    OPEN("\x80", "\x92\x04\x06", "a range before the first item"),
    BY_HAND("\x99\x03\x01\x00\xa1"
            "f\x80\x00\x05\x90\xc3",
            2, "OPEN without credit for results"),
};

static void made_by_hand(void **state)
{
    struct fixture *x = *state;
    for (size_t i = 0; i < sizeof handmade / sizeof *handmade; i++) {
        int rc = decode(x, handmade[i].bytes, handmade[i].size, handmade[i].frames, FROM_CLIENT);
        if (rc != (handmade[i].why ? -EPROTO : 0) || (rc < 0 && strcmp(x->why, handmade[i].why) != 0))
            fail_msg("number %zu: %d %s", i, rc, rc ? x->why : "");
    }
    assert_int_equal(decode(x, "\x96\x21\x01\xc3\xc2\x00\x00", 7, 1, FROM_WORKER), -EPROTO);
    assert_string_equal(x->why, "a result that goes on, but no result");
    assert_int_equal(decode(x, "\x96\x21\x01\xc3\xc2\x00\x00", 7, 4, FROM_WORKER), 0);
    assert_int_equal(decode(x, "\x96\x21\x01\xc3\xc3\x00\x00", 7, 4, FROM_WORKER), -EPROTO);
    assert_int_equal(decode(x, "\x96\x21\x01\xc3\xc2\xff\x00", 7, 4, FROM_WORKER), -EPROTO);
}

/* Spoils a header in one of the ways in which headers are spoilt. Returns its new size. */
static size_t mutate(uint64_t *seed, uint8_t *bytes, size_t size, size_t room)
{
    static const uint8_t special[] = {0x00, 0x7f, 0x80, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1,
                                      0xc2, 0xc3, 0xc4, 0xca, 0xcc, 0xcf, 0xd0, 0xd3, 0xd9,
                                      0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff};
    for (uint64_t left = 1 + next_random(seed) % 4; left > 0 && size > 0; left--) {
        size_t at = next_random(seed) % size, len = 1 + next_random(seed) % 8, to = next_random(seed) % size;
        switch (next_random(seed) % 6) {
        case 0:
            bytes[at] = (uint8_t)next_random(seed);
            break;
        case 1:
            bytes[at] = special[next_random(seed) % sizeof special];
            break;
        case 2:
            bytes[at] = (uint8_t)(bytes[at] + (next_random(seed) & 1 ? 1 : -1));
            break;
        case 3: /* a part goes out */
            len = len < size - at ? len : size - at;
            memmove(bytes + at, bytes + at + len, size - at - len);
            size -= len;
            break;
        case 4: /* a part comes twice */
            len = len < size - at ? len : size - at;
            if (size + len > room)
                break;
            memmove(bytes + at + len, bytes + at, size - at);
            size += len;
            break;
        default: /* a part comes somewhere else too */
            len = len < size - at ? len : size - at;
            len = len < size - to ? len : size - to;
            memmove(bytes + to, bytes + at, len);
        }
    }
    return size;
}

static void random_headers(void **state)
{
    struct fixture *x = *state;
    size_t accepted = 0;
    for (x->fuzzed = FUZZ_SEED; x->fuzzed < FUZZ_SEED + FUZZ_ROUNDS; x->fuzzed++) {
        uint64_t seed = x->fuzzed;
        const struct type *type = &types[next_random(&seed) % TYPES];
        uint8_t bytes[2048];
        size_t size;
        if (next_random(&seed) % 16 == 0) {
            size = next_random(&seed) % 64;
            for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t)next_random(&seed);
        } else {
            x->maker.seed = seed;
            encode(x, type->type, RANDOM);
            assert_in_range(x->wire.size, 1, sizeof bytes / 2);
            memcpy(bytes, x->wire.data, x->wire.size);
            size = mutate(&seed, bytes, x->wire.size, sizeof bytes);
        }
        accepted += decode(x, bytes, size, type->most, a_sender(type)) == 0;
    }
    x->fuzzed = 0;
    assert_in_range(accepted, FUZZ_ROUNDS / 100, FUZZ_ROUNDS - FUZZ_ROUNDS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(cut_short_or_too_long),       TEST(wrong_count_of_fields), TEST(every_byte_corrupted),
        TEST(only_its_sender_may_send_it), TEST(wrong_count_of_frames), TEST(giant_claims),
        TEST(deep_nesting_and_size),       TEST(made_by_hand),          TEST(random_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
