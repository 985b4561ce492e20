/*
 * Encoding of headers: walks the table in protocol.c with msgpack-c's packer, which writes into a struct
 * wire.
 */
#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"

void wire_init(struct wire *w)
{
    w->data = w->space;
    w->size = 0;
    w->capacity = sizeof w->space;
}

void wire_free(struct wire *w)
{
    if (w->data != w->space)
        free(w->data);
    wire_init(w);
}

static int wire_grow(struct wire *w, size_t need)
{
    if (need > PROTOCOL_HEADER_MAX)
        return -EMSGSIZE;
    size_t capacity = 2 * w->capacity > need ? 2 * w->capacity : need;
    if (capacity > PROTOCOL_HEADER_MAX)
        capacity = PROTOCOL_HEADER_MAX; /* so that it never holds more */
    uint8_t *data = malloc(capacity);
    if (!data)
        return -ENOMEM;
    memcpy(data, w->data, w->size);
    if (w->data != w->space)
        free(w->data);
    w->data = data;
    w->capacity = capacity;
    return 0;
}

/* The packer's write callback; its result becomes that of the packing call. */
static int wire_write(void *arg, const char *bytes, size_t len)
{
    struct wire *w = arg;
    if (len > w->capacity - w->size) {
        int rc = wire_grow(w, w->size + len);
        if (rc < 0)
            return rc;
    }
    memcpy(w->data + w->size, bytes, len);
    w->size += len;
    return 0;
}

static int encode_number(msgpack_packer *pk, uint64_t v, uint64_t max)
{
    return v <= max ? msgpack_pack_uint64(pk, v) : -EINVAL;
}

static int encode_signed(msgpack_packer *pk, int64_t v, int64_t min, int64_t max)
{
    return v >= min && v <= max ? msgpack_pack_int64(pk, v) : -EINVAL;
}

static int encode_bool(msgpack_packer *pk, bool v)
{
    return v ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
}

static int encode_text(msgpack_packer *pk, const char *data, size_t len)
{
    if (!codec_text_valid(data, len))
        return -EINVAL;
    int rc = msgpack_pack_str(pk, len);
    return rc < 0 || len == 0 ? rc : msgpack_pack_str_body(pk, data, len);
}

static int encode_ranges(msgpack_packer *pk, const struct range *ranges, uint32_t count, uint64_t max)
{
    if (count > PROTOCOL_RANGES_MAX)
        return -EINVAL;
    int rc = msgpack_pack_array(pk, 2 * (size_t)count);
    uint64_t last = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (ranges[i].from < last || ranges[i].to <= ranges[i].from)
            return -EINVAL;
        last = ranges[i].to;
        rc = encode_number(pk, ranges[i].from, max);
        if (rc == 0)
            rc = encode_number(pk, ranges[i].to, max);
    }
    return rc;
}

static int encode_field(msgpack_packer *pk, const struct field *f, const void *base);

static bool option_is_default(const struct option *option, const struct job_options *o)
{
    const uint8_t *p = (const uint8_t *)o + option->field.offset;
    return option->field.kind == FIELD_BOOL ? !*(const bool *)p : *(const uint32_t *)p == 0;
}

static int encode_options(msgpack_packer *pk, const struct job_options *o)
{
    size_t count = 0;
    for (size_t i = 0; i < CODEC_OPTIONS; i++)
        count += !option_is_default(&codec_options[i], o);
    int rc = msgpack_pack_map(pk, count);
    for (size_t i = 0; i < CODEC_OPTIONS && rc == 0; i++) {
        if (option_is_default(&codec_options[i], o))
            continue;
        rc = encode_text(pk, codec_options[i].key, strlen(codec_options[i].key));
        if (rc == 0)
            rc = encode_field(pk, &codec_options[i].field, o);
    }
    return rc;
}

static int encode_fields(msgpack_packer *pk, const struct field *f, const void *base)
{
    int rc = 0;
    for (; f->kind != FIELD_END && rc == 0; f++)
        rc = encode_field(pk, f, base);
    return rc;
}

static int encode_report(msgpack_packer *pk, const struct job_report *report)
{
    int rc = msgpack_pack_array(pk, CODEC_REPORT_FIELDS);
    return rc < 0 ? rc : encode_fields(pk, codec_report, report);
}

static int encode_field(msgpack_packer *pk, const struct field *f, const void *base)
{
    const void *p = (const uint8_t *)base + f->offset, *other = (const uint8_t *)base + f->other;
    const struct text *text = p;
    switch ((enum field_kind)f->kind) {
    case FIELD_U8:
        return encode_number(pk, *(const uint8_t *)p, f->max);
    case FIELD_U32:
        return encode_number(pk, *(const uint32_t *)p, f->max);
    case FIELD_U64:
        return encode_number(pk, *(const uint64_t *)p, f->max);
    case FIELD_I32:
        return encode_signed(pk, *(const int32_t *)p, -(int64_t)f->max, (int64_t)f->max);
    case FIELD_I64:
        return encode_signed(pk, *(const int64_t *)p, 0, (int64_t)f->max);
    case FIELD_BOOL:
        return encode_bool(pk, *(const bool *)p);
    case FIELD_TEXT:
        return encode_text(pk, text->data, text->len);
    case FIELD_MAGIC:
        return encode_text(pk, PROTOCOL_MAGIC, sizeof PROTOCOL_MAGIC - 1);
    case FIELD_RANGES:
        return encode_ranges(pk, *(const struct range *const *)p, *(const uint32_t *)other, f->max);
    case FIELD_OPTIONS:
        return encode_options(pk, p);
    case FIELD_REPORT:
        return encode_report(pk, p);
    case FIELD_REPORT_OR_NIL:
        return *(const bool *)other ? encode_report(pk, p) : msgpack_pack_nil(pk);
    case FIELD_U64_OR_NIL:
        return *(const bool *)other ? encode_number(pk, *(const uint64_t *)p, f->max) : msgpack_pack_nil(pk);
    case FIELD_END:
        break;
    }
    return -EINVAL;
}

int message_encode(const struct message *m, struct wire *w)
{
    w->size = 0;
    const struct codec *codec = codec_of((uint64_t)m->type);
    if (!codec || codec_check(m))
        return -EINVAL;
    msgpack_packer pk;
    msgpack_packer_init(&pk, w, wire_write);
    int rc = msgpack_pack_array(&pk, codec->field_count + 1U);
    if (rc == 0)
        rc = msgpack_pack_uint64(&pk, (uint64_t)m->type);
    if (rc == 0)
        rc = encode_fields(&pk, codec->fields, m);
    if (rc < 0)
        w->size = 0;
    return rc;
}
