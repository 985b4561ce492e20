/*
 * Decoding of headers: strict, by the table in protocol.c. Whatever bytes come in, nothing is read past them,
 * nothing is allocated that they do not account for, and what comes out is a message that the protocol knows.
 */
#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/skim.h"

struct decoder {
    msgpack_zone zone;
};

/* The zone's first block: enough for every header but those with many ranges, which take more for a while. */
enum { ZONE_SIZE = 4096 };

struct decoder *decoder_new(void)
{
    struct decoder *d = malloc(sizeof *d);
    if (!d)
        return NULL;
    if (!msgpack_zone_init(&d->zone, ZONE_SIZE)) {
        free(d);
        return NULL;
    }
    return d;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    msgpack_zone_destroy(&d->zone);
    free(d);
}

/* Is that count of frames, between the least and the most of the type, one that it may have? */
static bool frames_valid(enum message_type type, size_t frames)
{
    switch (type) {
    case MSG_OPEN:
        return frames != 3; /* lengths and bytes come together */
    case MSG_RESULTS:
        return frames != 5; /* notes and their texts too */
    case MSG_WORKED:
        return frames == 1 || frames == 4 || frames == 6;
    default:
        return true;
    }
}

static int bad(const char **why, const char *text)
{
    *why = text;
    return -EPROTO;
}

/* The header's array, and within it ranges, options or a report. */
enum { NESTING_MAX = 2 };

static int skim_header(const void *data, size_t size, const char **why)
{
    switch (skim(data, size, NESTING_MAX, false)) {
    case SKIM_FINE:
        return 0;
    case SKIM_SHORT:
        return bad(why, "the header is cut short");
    case SKIM_LONG:
        return bad(why, "bytes after the header's end");
    case SKIM_DEEP:
        return bad(why, "the header is nested too deep");
    case SKIM_TYPE:
        break;
    }
    return bad(why, "a type that no header has");
}

static bool get_number(const msgpack_object *o, uint64_t max, uint64_t *v)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > max)
        return false;
    *v = o->via.u64;
    return true;
}

static int decode_ranges(struct decoder *d, const msgpack_object *o, uint64_t max,
                         const struct range **ranges, uint32_t *count, const char **why)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size % 2 != 0)
        return bad(why, "ranges are an array of pairs of numbers");
    uint32_t n = o->via.array.size / 2;
    if (n > PROTOCOL_RANGES_MAX)
        return bad(why, "too many ranges");
    if (n == 0)
        return 0;
    struct range *r = msgpack_zone_malloc(&d->zone, n * sizeof *r);
    if (!r)
        return -ENOMEM;
    uint64_t last = 0;
    for (uint32_t i = 0; i < n; i++) {
        const msgpack_object *pair = o->via.array.ptr + 2 * (size_t)i;
        if (!get_number(&pair[0], max, &r[i].from) || !get_number(&pair[1], max, &r[i].to))
            return bad(why, "ranges are an array of pairs of numbers");
        if (r[i].from < last || r[i].to <= r[i].from)
            return bad(why, "ranges must ascend, not overlap and not be empty");
        last = r[i].to;
    }
    *ranges = r;
    *count = n;
    return 0;
}

static int decode_field(struct decoder *d, const msgpack_object *o, const struct field *f, void *base,
                        const char **why);

static int decode_options(struct decoder *d, const msgpack_object *o, struct job_options *out,
                          const char **why)
{
    if (o->type != MSGPACK_OBJECT_MAP)
        return bad(why, "options are a map");
    unsigned seen = 0;
    for (uint32_t i = 0; i < o->via.map.size; i++) {
        const msgpack_object_kv *kv = &o->via.map.ptr[i];
        if (kv->key.type != MSGPACK_OBJECT_STR)
            return bad(why, "an option's name is a string");
        struct text key = {kv->key.via.str.ptr, kv->key.via.str.size};
        size_t k = 0;
        while (k < CODEC_OPTIONS && !text_is(key, codec_options[k].key))
            k++;
        if (k == CODEC_OPTIONS)
            return bad(why, "unknown option in OPEN");
        if (seen & 1U << k)
            return bad(why, "an option comes twice in OPEN");
        seen |= 1U << k;
        int rc = decode_field(d, &kv->val, &codec_options[k].field, out, why);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int decode_fields(struct decoder *d, const msgpack_object *o, const struct field *f, void *base,
                         const char **why)
{
    int rc = 0;
    for (; f->kind != FIELD_END && rc == 0; f++, o++)
        rc = decode_field(d, o, f, base, why);
    return rc;
}

static int decode_report(struct decoder *d, const msgpack_object *o, struct job_report *report,
                         const char **why)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != CODEC_REPORT_FIELDS)
        return bad(why, "a report has another form");
    return decode_fields(d, o->via.array.ptr, codec_report, report, why);
}

static int decode_text(const msgpack_object *o, struct text *text, const char **why)
{
    if (o->type != MSGPACK_OBJECT_STR)
        return bad(why, "a field must be a string");
    if (!codec_text_valid(o->via.str.ptr, o->via.str.size))
        return bad(why, "a string is too long, has a NUL in it or is not UTF-8");
    *text = (struct text){o->via.str.ptr, o->via.str.size};
    return 0;
}

static int decode_signed(const msgpack_object *o, const struct field *f, int32_t *v, const char **why)
{
    if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= f->max)
        *v = (int32_t)o->via.u64;
    else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER && o->via.i64 >= -(int64_t)f->max)
        *v = (int32_t)o->via.i64;
    else
        return bad(why, "a number is missing or out of range");
    return 0;
}

static int decode_number(const msgpack_object *o, const struct field *f, void *p, const char **why)
{
    uint64_t v;
    if (!get_number(o, f->max, &v))
        return bad(why, "a number is missing or out of range");
    if (f->kind == FIELD_U8)
        *(uint8_t *)p = (uint8_t)v;
    else if (f->kind == FIELD_U32)
        *(uint32_t *)p = (uint32_t)v;
    else
        *(uint64_t *)p = v; /* int64_t too, whose max keeps the sign clear */
    return 0;
}

static int decode_field(struct decoder *d, const msgpack_object *o, const struct field *f, void *base,
                        const char **why)
{
    void *p = (uint8_t *)base + f->offset, *other = (uint8_t *)base + f->other;
    switch ((enum field_kind)f->kind) {
    case FIELD_U8:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_I64:
        return decode_number(o, f, p, why);
    case FIELD_I32:
        return decode_signed(o, f, p, why);
    case FIELD_BOOL:
        if (o->type != MSGPACK_OBJECT_BOOLEAN)
            return bad(why, "a field must be true or false");
        *(bool *)p = o->via.boolean;
        return 0;
    case FIELD_MAGIC:
    case FIELD_TEXT: {
        int rc = decode_text(o, p, why);
        if (rc == 0 && f->kind == FIELD_MAGIC && !text_is(*(struct text *)p, PROTOCOL_MAGIC))
            return bad(why, "this is not the protocol of pmap");
        return rc;
    }
    case FIELD_RANGES:
        return decode_ranges(d, o, f->max, p, other, why);
    case FIELD_OPTIONS:
        return decode_options(d, o, p, why);
    case FIELD_REPORT_OR_NIL:
        if (o->type == MSGPACK_OBJECT_NIL)
            return 0;
        *(bool *)other = true;
        return decode_report(d, o, p, why);
    case FIELD_REPORT:
        return decode_report(d, o, p, why);
    case FIELD_U64_OR_NIL:
        if (o->type == MSGPACK_OBJECT_NIL)
            return 0;
        *(bool *)other = true;
        return decode_number(o, f, p, why);
    case FIELD_END:
        break;
    }
    return bad(why, "a field of no kind");
}

int message_decode(struct decoder *d, const void *data, size_t size, size_t frames, enum sender from,
                   struct message *m, const char **why)
{
    if (size == 0 || size > PROTOCOL_HEADER_MAX)
        return bad(why, size == 0 ? "the header is empty" : "the header is too large");
    int rc = skim_header(data, size, why);
    if (rc < 0)
        return rc;
    msgpack_zone_clear(&d->zone);
    msgpack_object o;
    size_t used = 0;
    switch (msgpack_unpack(data, size, &used, &d->zone, &o)) {
    case MSGPACK_UNPACK_SUCCESS:
        break;
    case MSGPACK_UNPACK_NOMEM_ERROR:
        return -ENOMEM;
    default:
        return bad(why, "the header is not MessagePack");
    }
    uint64_t type;
    if (o.type != MSGPACK_OBJECT_ARRAY || o.via.array.size == 0 ||
        !get_number(o.via.array.ptr, UINT32_MAX, &type))
        return bad(why, "a header is an array that begins with the message's type");
    const struct codec *codec = codec_of(type);
    if (!codec)
        return bad(why, "unknown type of message");
    if (!(codec->from & from))
        return bad(why, "this message is not the sender's to send");
    if (frames < codec->least || frames > codec->most || !frames_valid((enum message_type)type, frames))
        return bad(why, "wrong number of frames");
    if (o.via.array.size != codec->field_count + 1U)
        return bad(why, "wrong number of fields");
    struct message out;
    memset(&out, 0, sizeof out);
    out.type = (enum message_type)type;
    rc = decode_fields(d, o.via.array.ptr + 1, codec->fields, &out, why);
    if (rc < 0)
        return rc;
    const char *wrong = codec_check(&out);
    if (wrong)
        return bad(why, wrong);
    if (out.type == MSG_WORKED && out.worked.more && frames == 1)
        return bad(why, "a result that goes on, but no result");
    *m = out;
    return 0;
}
