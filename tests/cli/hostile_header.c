/* Headers that are no headers: garbage, cut short, too long, fields of wrong types, claims that lie. */
#include "tests/cli/hostile.h"

#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A session that sends these bytes as a header, with `frames` frames in all, must be refused. */
static bool refused_bytes(struct arena *a, const void *data, size_t size, size_t frames)
{
    struct frame all[PROTOCOL_FRAMES_MAX] = {{data, size}};
    struct peer *p = peer_new(a);
    if (p == NULL)
        return false;
    if (!peer_send_frames(p, all, frames)) {
        peer_free(p);
        return false;
    }
    return peer_refused(p, PERR_PROTOCOL, NULL);
}

static bool header_too_large(struct peer *p)
{
    static uint8_t header[PROTOCOL_HEADER_MAX + 1];
    memset(header, 1, sizeof header);
    return peer_send_bytes(p, header, sizeof header);
}

/* Valid but for its size: an array of many empty ranges' numbers would be refused later. */
static bool header_largest(struct peer *p)
{
    static uint8_t header[PROTOCOL_HEADER_MAX];
    memset(header, 0, sizeof header);
    memcpy(header, (const uint8_t[]){0xdd, 0, 0, 0xff, 0xfb, MSG_PING}, 6);
    return peer_send_bytes(p, header, sizeof header);
}

static bool type_not_there(struct peer *p)
{
    return peer_send_bytes(p, "\x90", 1);
}

static bool run_first_bytes(struct arena *a)
{
    for (unsigned c = 0; c < 256; c += c < 0x80 ? 0x15 : 3) {
        uint8_t header[1] = {(uint8_t)c};
        if (!refused_bytes(a, header, 1, 1))
            return complain(a, "byte 0x%02x", c);
    }
    return true;
}

static bool run_types(struct arena *a)
{
    static const struct frame headers[] = {
        FRAME("\x91\x00"),
        FRAME("\x91\x10"),
        FRAME("\x91\x1f"),
        FRAME("\x91\x2d"),
        FRAME("\x91\xcc\xff"),
        FRAME("\x91\xce\xff\xff\xff\xff"),
        FRAME("\x91\xcf\x00\x00\x00\x01\x00\x00\x00\x0c"), /* PING's number in its lower half */
        FRAME("\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        FRAME("\x91\xff"),
        FRAME("\x91\xa4PING"),
        FRAME("\x91\xc0"),
        FRAME("\x91\xc3"),
        FRAME("\x91\x91\x0c"),
        FRAME("\x91\xca\x41\x40\x00\x00"),
        FRAME("\x81\x0c\x01"), /* a map */
    };
    for (size_t i = 0; i < COUNT_OF(headers); i++) {
        if (!refused_bytes(a, headers[i].data, headers[i].size, 1))
            return complain(a, "type %zu of the list", i);
    }
    return true;
}

/* What claims to be much larger than it is, or nests. */
static bool run_claims(struct arena *a)
{
    static const struct frame headers[] = {
        FRAME("\xdd\xff\xff\xff\xff"),
        FRAME("\xdd\xff\xff\xff\xff\x0c"),
        FRAME("\xdf\xff\xff\xff\xff"),
        FRAME("\x92\x0c\xdd\xff\xff\xff\xff"),
        FRAME("\x92\x0c\xdf\x7f\xff\xff\xff"),
        FRAME("\x93\x0e\x01\xdb\xff\xff\xff\xff"),
        FRAME("\x93\x0e\x01\xdb\x7f\xff\xff\xff"
              "status"),
        FRAME("\x93\x0e\x01\xda\xff\xff"
              "status"),
        FRAME("\x93\x0e\x01\xc6\xff\xff\xff\xff"),
        FRAME("\x93\x0e\x01\xc9\xff\xff\xff\xff\x01"),
        FRAME("\x92\x0c\xc7\xff\x01"),
        FRAME("\x92\x0c\xd8\x01"),
    };
    uint8_t *nested = malloc(PROTOCOL_HEADER_MAX);
    bool ok = nested != NULL;
    for (size_t i = 0; ok && i < COUNT_OF(headers); i++)
        ok = refused_bytes(a, headers[i].data, headers[i].size, 1) || complain(a, "claim %zu of the list", i);
    if (ok) {
        memset(nested, 0x91, PROTOCOL_HEADER_MAX); /* arrays of one, 65,536 deep */
        ok = refused_bytes(a, nested, PROTOCOL_HEADER_MAX, 1);
    }
    if (ok) {
        memset(nested, 0x81, PROTOCOL_HEADER_MAX);
        ok = refused_bytes(a, nested, PROTOCOL_HEADER_MAX, 1);
    }
    free(nested);
    return ok;
}

/*** Cut short, too long ***/

/* One valid header of each kind that a client sends, and how many frames go with it. */
static const struct sample {
    struct frame header;
    size_t frames;
} samples[] = {
    {FRAME("\x99\x03\x01\x00\xa6square\x81\xa9"
           "chunksize\x64\xce\x00\x40\x00\x00\x00\x92\x05\x06\xc2"),
     2},
    {FRAME("\x94\x05\x01\x00\xc2"), 3},
    {FRAME("\x93\x06\x01\xcd\x01\x00"), 1},
    {FRAME("\x93\x07\x01\xcf\x00\x00\x00\x00\x00\x00\x00\x09"), 1},
    {FRAME("\x92\x0a\x01"), 1},
    {FRAME("\x92\x0c\xce\x00\x00\x00\x01"), 1},
    {FRAME("\x93\x0e\x01\xd9\x06status"), 1},
};

static bool run_cut_short(struct arena *a)
{
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        for (size_t size = 0; size < samples[i].header.size; size++) {
            if (!refused_bytes(a, samples[i].header.data, size, samples[i].frames))
                return complain(a, "header %zu, cut to %zu bytes", i, size);
        }
    }
    return true;
}

static bool run_trailing(struct arena *a)
{
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        static const uint8_t tails[] = {0x00, 0xc0, 0xc1, 0x90};
        uint8_t header[128];
        memcpy(header, samples[i].header.data, samples[i].header.size);
        for (size_t t = 0; t < sizeof tails; t++) {
            header[samples[i].header.size] = tails[t];
            if (!refused_bytes(a, header, samples[i].header.size + 1, samples[i].frames))
                return complain(a, "header %zu, with a byte 0x%02x behind it", i, tails[t]);
        }
    }
    return true;
}

/* The samples themselves must be good, or the tests above would say nothing. */
static bool run_samples(struct arena *a)
{
    struct decoder *decoder = decoder_new();
    bool ok = decoder != NULL;
    for (size_t i = 0; ok && i < COUNT_OF(samples); i++) {
        struct message m;
        const char *why = "no memory";
        if (message_decode(decoder, samples[i].header.data, samples[i].header.size, samples[i].frames,
                           FROM_CLIENT, &m, &why) < 0)
            ok = complain(a, "sample %zu is not valid: %s", i, why);
    }
    decoder_free(decoder);
    return ok;
}

/*** Fields of wrong types ***/

/* OPEN's fields by their number from 1; the one that is `wrong` is left to the caller. */
static void pack_open_field(msgpack_packer *pk, unsigned field)
{
    switch (field) {
    case 3:
        msgpack_pack_str(pk, 6);
        msgpack_pack_str_body(pk, "square", 6);
        break;
    case 4:
        msgpack_pack_map(pk, 0);
        break;
    case 5:
        msgpack_pack_uint64(pk, 1000);
        break;
    case 7:
        msgpack_pack_array(pk, 0);
        break;
    case 8:
        msgpack_pack_false(pk);
        break;
    default:
        msgpack_pack_uint64(pk, 0);
    }
}

enum {
    WRONG_NIL,
    WRONG_NEGATIVE,
    WRONG_FLOAT,
    WRONG_BINARY,
    WRONG_LARGE,
    WRONG_STRING,
    WRONG_MAP,
    WRONG_KINDS
};

static void pack_wrong(msgpack_packer *pk, unsigned kind)
{
    switch (kind) {
    case WRONG_NIL:
        msgpack_pack_nil(pk);
        break;
    case WRONG_NEGATIVE:
        msgpack_pack_int64(pk, -1);
        break;
    case WRONG_FLOAT:
        msgpack_pack_double(pk, 1.0);
        break;
    case WRONG_BINARY:
        msgpack_pack_bin(pk, 6);
        msgpack_pack_bin_body(pk, "square", 6);
        break;
    case WRONG_LARGE:
        msgpack_pack_uint64(pk, UINT64_MAX);
        break;
    case WRONG_STRING:
        msgpack_pack_str(pk, 3);
        msgpack_pack_str_body(pk, "x\0y", 3);
        break;
    default: /* of a key that no option has */
        msgpack_pack_map(pk, 1);
        msgpack_pack_uint64(pk, 1);
        msgpack_pack_uint64(pk, 1);
    }
}

static bool run_wrong_fields(struct arena *a)
{
    for (unsigned field = 1; field <= 8; field++) {
        for (unsigned kind = 0; kind < WRONG_KINDS; kind++) {
            msgpack_sbuffer buffer;
            msgpack_packer pk;
            if (field == 1 && kind == WRONG_LARGE)
                continue; /* a ref may be that */
            msgpack_sbuffer_init(&buffer);
            msgpack_packer_init(&pk, &buffer, msgpack_sbuffer_write);
            msgpack_pack_array(&pk, 9);
            msgpack_pack_uint8(&pk, MSG_OPEN);
            for (unsigned i = 1; i <= 8; i++) {
                if (i == field)
                    pack_wrong(&pk, kind);
                else
                    pack_open_field(&pk, i);
            }
            bool ok = refused_bytes(a, buffer.data, buffer.size, 2);
            msgpack_sbuffer_destroy(&buffer);
            if (!ok)
                return complain(a, "field %u of OPEN, wrong in manner %u", field, kind);
        }
    }
    return true;
}

static bool run_field_counts(struct arena *a)
{
    static const struct sample headers[] = {
        {FRAME("\x91\x0c"), 1},
        {FRAME("\x93\x0c\x01\x01"), 1},
        {FRAME("\x91\x0a"), 1},
        {FRAME("\x92\x06\x01"), 1},
        {FRAME("\x94\x07\x01\x01\x01"), 1},
        {FRAME("\x93\x05\x01\x00"), 3},
        {FRAME("\x98\x03\x01\x00\xa6square\x80\x64\x00\x90"), 2},
        {FRAME("\x9a\x03\x01\x00\xa6square\x80\x64\x00\x90\xc2\xc0"), 2},
    };
    for (size_t i = 0; i < COUNT_OF(headers); i++) {
        if (!refused_bytes(a, headers[i].header.data, headers[i].header.size, headers[i].frames))
            return complain(a, "header %zu of the list", i);
    }
    return true;
}

/* Behind "options" in OPEN: each map breaks a rule of theirs. */
static bool run_options(struct arena *a)
{
    static const struct frame maps[] = {
        FRAME("\x81\xa5tempo\x01"),
        FRAME("\x81\xa0\x01"),
        FRAME("\x81\xc0\x01"),
        FRAME("\x82\xa5slots\x01\xa5slots\x01"),
        FRAME("\x81\xa5slots\xff"),
        FRAME("\x81\xa5slots\xa1"
              "1"),
        FRAME("\x81\xa5slots\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        FRAME("\x81\xa9"
              "chunksize\xc0"),
        FRAME("\x81\xa9unordered\x01"),
        FRAME("\x81\xa8priority\xcd\x03\xe9"),
        FRAME("\x81\xa8priority\xd1\xfc\x17"),
        FRAME("\x81\xa8priority\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
        FRAME("\x81\xa8priority\x80"),
        FRAME("\x81\xa8priority"),
        FRAME("\x90"),
    };
    for (size_t i = 0; i < COUNT_OF(maps); i++) {
        uint8_t header[128], *at = header;
        at = mempcpy(at, "\x99\x03\x01\x00\xa6square", 11);
        at = mempcpy(at, maps[i].data, maps[i].size);
        at = mempcpy(at, "\x64\x00\x90\xc2", 4);
        if (!refused_bytes(a, header, (size_t)(at - header), 2))
            return complain(a, "options %zu of the list", i);
    }
    return true;
}

/* The same for ranges. */
static bool run_ranges(struct arena *a)
{
    static const struct frame lists[] = {
        FRAME("\x91\x05"),
        FRAME("\x92\x05\x05"),
        FRAME("\x92\x06\x05"),
        FRAME("\x94\x05\x07\x06\x09"),
        FRAME("\x94\x08\x09\x05\x06"),
        FRAME("\x92\x01\x03"),
        FRAME("\x92\xc0\x05"),
        FRAME("\x92\xff\x05"),
        FRAME("\x91\x92\x05\x06"),
        FRAME("\x92\x05\xcf\x80\x00\x00\x00\x00\x00\x00\x00"),
        FRAME("\x81\x05\x06"),
        FRAME("\xdd\x00\x00\xff\xff"),
    };
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        uint8_t header[128], *at = header;
        at = mempcpy(at, "\x99\x03\x01\x00\xa6square\x80\x64\x02", 14);
        at = mempcpy(at, lists[i].data, lists[i].size);
        at = mempcpy(at, "\xc2", 1);
        if (!refused_bytes(a, header, (size_t)(at - header), 2))
            return complain(a, "ranges %zu of the list", i);
    }
    return true;
}

/* 4097 ranges, in a header that is small enough. */
static bool ranges_too_many(struct peer *p)
{
    static uint8_t header[PROTOCOL_HEADER_MAX];
    uint8_t *at = mempcpy(header, "\x99\x03\x01\x00\xa6square\x80\x64\x00\xdc\x20\x02", 17);
    for (unsigned i = 0; i < 2 * (PROTOCOL_RANGES_MAX + 1); i++) {
        *at++ = 0xcd;
        *at++ = (uint8_t)(i >> 8);
        *at++ = (uint8_t)i;
    }
    *at++ = 0xc2;
    return peer_send_frames(p, (struct frame[]){{header, (size_t)(at - header)}, {"", 0}}, 2);
}

/*** Texts ***/

static bool send_text(struct peer *p, const void *data, size_t size)
{
    uint8_t header[PROTOCOL_STRING_MAX + 16] = "\x93\x0e\x01\xda";
    header[4] = (uint8_t)(size >> 8);
    header[5] = (uint8_t)size;
    memcpy(header + 6, data, size);
    return peer_send_bytes(p, header, size + 6);
}

static bool text_too_long(struct peer *p)
{
    char text[PROTOCOL_STRING_MAX + 1];
    memset(text, 's', sizeof text);
    return send_text(p, text, sizeof text);
}

static bool text_with_nul(struct peer *p)
{
    return send_text(p, "status\0", 7);
}

static bool text_not_utf8(struct peer *p)
{
    return send_text(p, "st\xff\xc0\x80", 5);
}

const struct attack header_attacks[] = {
    {"a header of 64 KiB + 1", .breach = header_too_large, .words = "too large"},
    {"a header of 64 KiB that is an array of zeros", .breach = header_largest},
    {"a header without a type", .breach = type_not_there},
    {"a header of one byte, whichever", .run = run_first_bytes},
    {"unknown types of messages", .run = run_types},
    {"headers that claim to be larger, or nest", .run = run_claims},
    {"(the headers below are valid before they are changed)", .run = run_samples},
    {"headers that are cut short at each byte", .run = run_cut_short},
    {"headers with a byte behind them", .run = run_trailing},
    {"headers with fields of wrong types", .run = run_wrong_fields},
    {"headers with too few and too many fields", .run = run_field_counts},
    {"options that are wrong", .run = run_options},
    {"ranges that are wrong", .run = run_ranges},
    {"ranges that are too many", .breach = ranges_too_many, .words = "ranges"},
    {"a text that is too long", .breach = text_too_long, .words = "string"},
    {"a text with a NUL", .breach = text_with_nul, .words = "string"},
    {"a text that is not UTF-8", .breach = text_not_utf8},
    {NULL},
};
