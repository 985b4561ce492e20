/*
 * What the subcommands that only look have in common; see query.h.
 */
#include "client/pmapc/query.h"

#include "client/pmapc/figures.h"
#include "client/pmapc/json.h"
#include "client/pmapc/options.h"
#include "client/pmapc/tell.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_JSON = 256, OPT_HELP, ANSWER_MS = 5000 };

int query_options(int argc, char **argv, const char *help, bool *json)
{
    static const struct option longs[] = {
        {"json", no_argument, NULL, OPT_JSON}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    options_begin();
    int option;
    while ((option = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        switch (option) {
        case OPT_JSON:
            *json = true;
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return tell_finish();
        default:
            return options_bad(option, argv, argv[0], longs);
        }
    }
    return optind < argc ? options_extra(argv[0], argv[optind]) : -1;
}

int query_ask(pmap *pool, const char *what, struct reply *reply)
{
    *reply = (struct reply){.data = NULL};
    msgpack_unpacked_init(&reply->unpacked);
    const void *data = NULL;
    size_t size = 0;
    int rc = pmap_query(pool, what, ANSWER_MS, &data, &size);
    if (rc == -EINVAL) {
        tell("the daemon does not know the question '%s'", what);
        return STATUS_NO_POOL;
    }
    if (rc < 0)
        return connect_lost(pool, rc);
    char *copy = malloc(size + 1);
    if (!copy) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    memcpy(copy, data, size);
    size_t used = 0;
    rc = msgpack_unpack_next(&reply->unpacked, copy, size, &used);
    reply->data = copy; /* texts point into it */
    if (rc != MSGPACK_UNPACK_SUCCESS || used != size) {
        tell("the daemon's answer to '%s' makes no sense", what);
        return STATUS_NO_POOL;
    }
    reply->value = &reply->unpacked.data;
    return 0;
}

void query_free(struct reply *reply)
{
    msgpack_unpacked_destroy(&reply->unpacked);
    free(reply->data);
}

int query_command(const struct globals *globals, int argc, char **argv, const struct query *query)
{
    bool json = false;
    int status = query_options(argc, argv, query->help, &json);
    if (status >= 0)
        return status;
    pmap *pool = NULL;
    status = connect_pool(globals, query->mode, &pool);
    if (status != 0)
        return status;
    struct reply reply;
    status = query_ask(pool, query->what, &reply);
    if (status == 0 && json)
        status = json_print(json_of_msgpack(reply.value), stdout, JSON_INDENT(2));
    else if (status == 0)
        query->print(reply.value);
    query_free(&reply);
    pmap_disconnect(pool);
    int finished = tell_finish();
    return status != 0 ? status : finished;
}

const msgpack_object *query_field(const msgpack_object *map, const char *key)
{
    if (map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == strlen(key) &&
            memcmp(kv->key.via.str.ptr, key, strlen(key)) == 0)
            return &kv->val;
    }
    return NULL;
}

uint64_t query_number(const msgpack_object *map, const char *key)
{
    const msgpack_object *field = query_field(map, key);
    return field && field->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? field->via.u64 : 0;
}

int64_t query_signed(const msgpack_object *map, const char *key)
{
    const msgpack_object *field = query_field(map, key);
    if (field && field->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return field->via.i64;
    return field && field->type == MSGPACK_OBJECT_POSITIVE_INTEGER && field->via.u64 <= INT64_MAX
               ? (int64_t)field->via.u64
               : 0;
}

double query_real(const msgpack_object *map, const char *key)
{
    const msgpack_object *field = query_field(map, key);
    bool is_real = field && (field->type == MSGPACK_OBJECT_FLOAT64 || field->type == MSGPACK_OBJECT_FLOAT32);
    return is_real ? field->via.f64 : (double)query_number(map, key);
}

bool query_flag(const msgpack_object *map, const char *key)
{
    const msgpack_object *field = query_field(map, key);
    return field && field->type == MSGPACK_OBJECT_BOOLEAN && field->via.boolean;
}

bool query_is(const msgpack_object *map, const char *key, const char *text)
{
    const msgpack_object *field = query_field(map, key);
    return field && field->type == MSGPACK_OBJECT_STR && field->via.str.size == strlen(text) &&
           memcmp(field->via.str.ptr, text, field->via.str.size) == 0;
}

const char *query_text(const msgpack_object *map, const char *key, char *out, size_t room)
{
    const msgpack_object *field = query_field(map, key);
    bool is_text = field && field->type == MSGPACK_OBJECT_STR;
    return figures_text(is_text ? field->via.str.ptr : "", is_text ? field->via.str.size : 0, 0, out, room);
}

size_t query_members(const msgpack_object *map, const char *key, const msgpack_object **members)
{
    const msgpack_object *array = key ? query_field(map, key) : map;
    bool is_array = array && array->type == MSGPACK_OBJECT_ARRAY;
    *members = is_array ? array->via.array.ptr : NULL;
    return is_array ? array->via.array.size : 0;
}
