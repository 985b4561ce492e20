/*
 * The table behind the protocol's headers, shared by encode.c and decode.c and by nobody else: which fields
 * each message has, in which order, and where they lie in struct message.
 */
#ifndef PMAP_CODEC_H
#define PMAP_CODEC_H

#include "common/protocol.h"

/* What a field is on the wire, and how it lies in the struct. */
enum field_kind {
    FIELD_END, /* not a field: the list ends */
    FIELD_U8,
    FIELD_U32,
    FIELD_U64,
    FIELD_I32, /* -max … max */
    FIELD_I64, /* 0 … max: times */
    FIELD_BOOL,
    FIELD_TEXT,
    FIELD_MAGIC,  /* a text that is PROTOCOL_MAGIC */
    FIELD_RANGES, /* an array [from, to, from, to, …]; `other` is the count of ranges */
    FIELD_OPTIONS,
    FIELD_REPORT,
    FIELD_REPORT_OR_NIL, /* `other` is the bool that says which */
    FIELD_U64_OR_NIL,    /* likewise */
};

struct field {
    uint8_t kind;           /* enum field_kind */
    uint16_t offset, other; /* in the struct that holds the field */
    uint64_t max;           /* of numbers */
};

struct codec {
    const char *name;
    const struct field *fields; /* field_count of them, then FIELD_END */
    uint8_t field_count;        /* the type not included */
    uint8_t from;               /* enum sender, or-ed */
    uint8_t least, most;        /* frames */
};

/* The entry of a type, or NULL where there is no such type. */
const struct codec *codec_of(uint64_t type);

/* The fields of struct job_report: an array on the wire. */
enum { CODEC_REPORT_FIELDS = 12 };
extern const struct field codec_report[CODEC_REPORT_FIELDS + 1];

/* The fields of struct job_options: a map on the wire. Each one's default is 0 or false, and left out. */
struct option {
    const char *key;
    struct field field;
};
enum { CODEC_OPTIONS = 13 };
extern const struct option codec_options[CODEC_OPTIONS];

/* Is it short enough, UTF-8, and without a NUL? */
bool codec_text_valid(const char *data, size_t len);

/* What the fields must be to one another. Returns NULL, or what is wrong. */
const char *codec_check(const struct message *m);

#endif
