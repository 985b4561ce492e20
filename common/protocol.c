/*
 * The protocol's tables: which fields each message has, and the texts that go with types and errors. encode.c
 * and decode.c walk them; what a message means is its receiver's business.
 */
#include "common/protocol.h"

#include <string.h>

#include "common/codec.h"
#include "common/utf8.h"

#define IN(strct, kind, member, max) FIELD_##kind, offsetof(struct strct, member), 0, max
#define U32(member)                  IN(message, U32, member, UINT32_MAX)
#define U64(member)                  IN(message, U64, member, UINT64_MAX)
#define COUNT(member)                IN(message, U64, member, PROTOCOL_COUNT_MAX)
#define TIME(member)                 IN(message, I64, member, INT64_MAX)
#define BOOL(member)                 IN(message, BOOL, member, 0)
#define TEXT(member)                 IN(message, TEXT, member, 0)
#define MAGIC(member)                IN(message, MAGIC, member, 0)
#define OPTIONS(member)              IN(message, OPTIONS, member, 0)
#define REPORT(member)               IN(message, REPORT, member, 0)
#define WITH(kind, member, with, max)                                                                        \
    FIELD_##kind, offsetof(struct message, member), offsetof(struct message, with), max
#define END FIELD_END, 0, 0, 0

/* clang-format off */
#define F static const struct field
F fields_HELLO[] = {{MAGIC(hello.magic)}, {U32(hello.min)}, {U32(hello.max)}, {TEXT(hello.program)}, {END}};
F fields_WELCOME[] = {
    {MAGIC(welcome.magic)}, {U32(welcome.min)}, {U32(welcome.max)}, {TEXT(welcome.software)},
    {U64(welcome.instance)}, {U32(welcome.slots)}, {COUNT(welcome.max_message)}, {COUNT(welcome.max_item)}, {END}};
F fields_OPEN[] = {
    {U64(open.ref)}, {U32(open.kind)}, {TEXT(open.function)}, {OPTIONS(open.options)},
    {COUNT(open.credit)}, {COUNT(open.first)}, {WITH(RANGES, open.done, open.done_count, PROTOCOL_COUNT_MAX)},
    {BOOL(open.end)}, {END}};
F fields_OPENED[] = {{U64(opened.ref)}, {U64(opened.job)}, {COUNT(opened.credit)}, {END}};
F fields_ITEMS[] = {{U64(items.ref)}, {COUNT(items.first)}, {BOOL(items.more)}, {END}};
F fields_END[] = {{U64(end.ref)}, {COUNT(end.total)}, {END}};
F fields_CREDIT[] = {{U64(credit.ref)}, {COUNT(credit.bytes)}, {END}};
F fields_RESULTS[] = {
    {U64(results.ref)}, {COUNT(results.first)}, {BOOL(results.more)},
    {WITH(REPORT_OR_NIL, results.done, results.has_done, 0)}, {END}};
F fields_DONE[] = {{U64(done.ref)}, {REPORT(done.done)}, {END}};
F fields_CANCEL[] = {{U64(cancel.ref)}, {END}};
F fields_ERROR[] = {
    {WITH(U64_OR_NIL, error.ref, error.has_ref, UINT64_MAX)}, {U32(error.code)}, {TEXT(error.text)}, {END}};
F fields_PING[] = {{U64(ping.token)}, {END}};
F fields_PONG[] = {{U64(ping.token)}, {END}};
F fields_QUERY[] = {{U64(query.ref)}, {TEXT(query.what)}, {END}};
F fields_ANSWER[] = {{U64(answer.ref)}, {END}};
F fields_HOLD[] = {{U64(hold.ref)}, {BOOL(hold.paused)}, {END}};
F fields_ABORT[] = {{U64(abort.ref)}, {U64(abort.job)}, {END}};
F fields_BEGUN[] = {
    {U64(begun.ref)}, {WITH(RANGES, begun.items, begun.count, PROTOCOL_COUNT_MAX)}, {END}};
F fields_READY[] = {{U32(ready.slot)}, {END}};
F fields_WORKED[] = {
    {U64(worked.chunk)}, {BOOL(worked.more)}, {BOOL(worked.last)}, {TIME(worked.run_ns)}, {TIME(worked.cpu_ns)},
    {END}};
F fields_CHUNK[] = {
    {U64(chunk.chunk)}, {U64(chunk.job)}, {COUNT(chunk.first)}, {TEXT(chunk.function)}, {BOOL(chunk.more)},
    {COUNT(chunk.credit)}, {BOOL(chunk.trace)}, {END}};
F fields_PARKED[] = {
    {U64(parked.chunk)}, {U32(parked.count)}, {TIME(parked.run_ns)}, {TIME(parked.cpu_ns)}, {END}};
F fields_FAILED[] = {{U64(failed.job)}, {TEXT(failed.text)}, {END}};
F fields_YIELD[] = {{U64(chunk_id.chunk)}, {END}};
F fields_RECALL[] = {{U64(chunk_id.chunk)}, {END}};
F fields_DROP[] = {{U64(chunk_id.chunk)}, {TIME(chunk_id.grace_ns)}, {END}};
F fields_STOP[] = {{END}};
F fields_JOB[] = {
    {U64(job.job)}, {IN(message, U32, job.kind, KIND_MAX)}, {TEXT(job.function)}, {OPTIONS(job.options)},
    {TIME(job.kill_grace_ns)}, {COUNT(job.spool)}, {U32(job.threads)}, {END}};
F fields_FORGET[] = {{U64(forget.job)}, {END}};
F fields_GRANT[] = {{U64(grant.chunk)}, {COUNT(grant.bytes)}, {BOOL(grant.head)}, {END}};
F fields_LEND[] = {{U64(lend.chunk)}, {COUNT(lend.lent)}, {COUNT(lend.back)}, {END}};
F fields_RETURNED[] = {{U64(returned.chunk)}, {COUNT(returned.tokens)}, {END}};
#undef F
/* clang-format on */

const struct field codec_report[CODEC_REPORT_FIELDS + 1] = {
    {IN(job_report, U64, job, UINT64_MAX)},
    {IN(job_report, U8, outcome, OUTCOME_CANCELLED)},
    {IN(job_report, U64, items, PROTOCOL_COUNT_MAX)},
    {IN(job_report, U64, failed, PROTOCOL_COUNT_MAX)},
    {IN(job_report, U64, retried, PROTOCOL_COUNT_MAX)},
    {IN(job_report, U64, chunks, PROTOCOL_COUNT_MAX)},
    {IN(job_report, U32, slots, UINT32_MAX)},
    {IN(job_report, I64, queue_ns, INT64_MAX)},
    {IN(job_report, I64, run_ns, INT64_MAX)},
    {IN(job_report, I64, cpu_ns, INT64_MAX)},
    {IN(job_report, U64, bytes_in, PROTOCOL_COUNT_MAX)},
    {IN(job_report, U64, bytes_out, PROTOCOL_COUNT_MAX)},
    {END},
};

const struct option codec_options[CODEC_OPTIONS] = {
    {"chunksize", {IN(job_options, U32, chunksize, UINT32_MAX)}},
    {"slots", {IN(job_options, U32, slots, UINT32_MAX)}},
    {"unordered", {IN(job_options, BOOL, unordered, 0)}},
    {"priority", {IN(job_options, I32, priority, PROTOCOL_PRIORITY_MAX)}},
    {"timeout", {IN(job_options, U32, timeout_ms, UINT32_MAX)}},
    {"retries", {IN(job_options, U32, retries, UINT32_MAX)}},
    {"halt", {IN(job_options, U32, halt, HALT_MAX)}},
    {"recycle", {IN(job_options, U32, recycle, UINT32_MAX)}},
    {"isolate", {IN(job_options, BOOL, isolate, 0)}},
    {"live", {IN(job_options, BOOL, live, 0)}},
    {"once", {IN(job_options, BOOL, once, 0)}},
    {"jobserver", {IN(job_options, BOOL, jobserver, 0)}},
    {"trace", {IN(job_options, BOOL, trace, 0)}},
};

/* Indexed by type. A message of MESSAGE_TYPES without its fields_NAME does not compile. */
static const struct codec codecs[] = {
#define X(name, code, from, least, most)                                                                     \
    [code] = {#name, fields_##name, sizeof fields_##name / sizeof *fields_##name - 1, from, least, most},
    MESSAGE_TYPES(X)
#undef X
};

const struct codec *codec_of(uint64_t type)
{
    return type < sizeof codecs / sizeof *codecs && codecs[type].name ? &codecs[type] : NULL;
}

const char *message_name(enum message_type type)
{
    const struct codec *codec = codec_of((uint64_t)type);
    return codec ? codec->name : "?";
}

const char *protocol_error_text(unsigned code)
{
    switch (code) {
#define X(name, code, text)                                                                                  \
    case code:                                                                                               \
        return text;
        PROTOCOL_ERRORS(X)
#undef X
    }
    return "unknown error";
}

struct text text_of(const char *s)
{
    return (struct text){s, strlen(s)};
}

bool text_is(struct text text, const char *s)
{
    return strlen(s) == text.len && (text.len == 0 || memcmp(text.data, s, text.len) == 0);
}

bool codec_text_valid(const char *data, size_t len)
{
    return len <= PROTOCOL_STRING_MAX && (len == 0 || (!memchr(data, 0, len) && utf8_valid(data, len)));
}

const char *codec_check(const struct message *m)
{
    switch (m->type) {
    case MSG_HELLO:
        return m->hello.min >= 1 && m->hello.min <= m->hello.max ? NULL : "bad range of versions";
    case MSG_WELCOME:
        return m->welcome.min >= 1 && m->welcome.min <= m->welcome.max ? NULL : "bad range of versions";
    case MSG_OPEN:
        if (m->open.credit == 0)
            return "OPEN without credit for results";
        return m->open.done_count > 0 && m->open.done[0].from < m->open.first
                   ? "a range before the first item"
                   : NULL;
    case MSG_OPENED:
        return m->opened.credit == 0 ? "OPENED without credit for items" : NULL;
    case MSG_RESULTS:
        return m->results.more && m->results.has_done ? "a job cannot be done in the middle of a result"
                                                      : NULL;
    case MSG_LEND:
        return m->lend.back > m->lend.lent ? "more tokens are wanted back than were lent" : NULL;
    case MSG_WORKED:
        return m->worked.more && m->worked.last ? "a chunk cannot end in the middle of a result" : NULL;
    default:
        return NULL;
    }
}
