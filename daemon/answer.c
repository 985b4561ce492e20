/* Answers to queries as they are put together; see answer.h. */
#include "daemon/answer.h"

#include "common/protocol.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of PROTOCOL_ANSWER_MAX, for what comes behind the array that is cut short. */
enum { ROOM_BEHIND = 16 << 10 };

static int write_bytes(void *data, const char *bytes, size_t size)
{
    struct answer *a = data;
    if (a->failed || msgpack_sbuffer_write(&a->buffer, bytes, size) < 0)
        a->failed = true;
    return 0;
}

void answer_init(struct answer *a)
{
    memset(a, 0, sizeof *a);
    msgpack_sbuffer_init(&a->buffer);
    msgpack_packer_init(&a->packer, a, write_bytes);
}

void answer_drop(struct answer *a)
{
    msgpack_sbuffer_destroy(&a->buffer);
}

int answer_take(struct answer *a, char **data, size_t *size)
{
    if (a->failed) {
        answer_drop(a);
        return -ENOMEM;
    }
    *size = a->buffer.size;
    *data = msgpack_sbuffer_release(&a->buffer);
    return 0;
}

static void add_text(struct answer *a, const char *text)
{
    size_t len = strlen(text);
    msgpack_pack_str(&a->packer, len);
    msgpack_pack_str_body(&a->packer, text, len);
}

/* Begins a member of what is open. */
static void begin(struct answer *a, const char *key)
{
    if (a->depth > 0)
        a->open[a->depth - 1].count++;
    if (key != NULL)
        add_text(a, key);
}

/* A header whose count is known when it is closed: 32 bits, big-endian, whatever it will be. */
static void open_as(struct answer *a, const char *key, char type)
{
    begin(a, key);
    const char header[5] = {type};
    write_bytes(a, header, sizeof header);
    a->open[a->depth].at = a->buffer.size - 4;
    a->open[a->depth++].count = 0;
}

void answer_map(struct answer *a, const char *key)
{
    open_as(a, key, '\xdf');
}

void answer_array(struct answer *a, const char *key)
{
    open_as(a, key, '\xdd');
}

void answer_close(struct answer *a)
{
    a->depth--;
    uint32_t count = a->open[a->depth].count;
    for (unsigned i = 0; i < 4 && !a->failed; i++)
        a->buffer.data[a->open[a->depth].at + i] = (char)(count >> (24 - 8 * i));
}

void answer_text(struct answer *a, const char *key, const char *text)
{
    begin(a, key);
    add_text(a, text);
}

void answer_count(struct answer *a, const char *key, uint64_t value)
{
    begin(a, key);
    msgpack_pack_uint64(&a->packer, value);
}

void answer_number(struct answer *a, const char *key, int64_t value)
{
    begin(a, key);
    msgpack_pack_int64(&a->packer, value);
}

void answer_real(struct answer *a, const char *key, double value)
{
    begin(a, key);
    msgpack_pack_double(&a->packer, value);
}

void answer_seconds(struct answer *a, const char *key, int64_t ns)
{
    answer_real(a, key, (double)ns / 1e9);
}

void answer_flag(struct answer *a, const char *key, bool value)
{
    begin(a, key);
    if (value)
        msgpack_pack_true(&a->packer);
    else
        msgpack_pack_false(&a->packer);
}

bool answer_is_full(const struct answer *a)
{
    return a->buffer.size > PROTOCOL_ANSWER_MAX - ROOM_BEHIND;
}
