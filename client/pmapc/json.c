/*
 * JSON out; see json.h.
 */
#include "client/pmapc/json.h"

#include "client/pmapc/pmapc.h"
#include "client/pmapc/tell.h"

#include <math.h>
#include <stdlib.h>

json_t *json_of_text(const char *text, size_t len)
{
    json_t *value = json_stringn(text, len);
    if (value)
        return value;
    /* Not UTF-8, as a whole: keep what is ASCII. Rare enough that nothing finer is worth its lines. */
    static const char replacement[] = "\xef\xbf\xbd";
    char *copy = malloc(3 * len + 1);
    if (!copy)
        return NULL;
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x80) {
            copy[at++] = text[i];
        } else {
            for (const char *p = replacement; *p; p++)
                copy[at++] = *p;
        }
    }
    value = json_stringn(copy, at);
    free(copy);
    return value;
}

json_t *json_of_unsigned(uint64_t value)
{
    return value <= INT64_MAX ? json_integer((json_int_t)value) : json_real((double)value);
}

static json_t *of_array(const msgpack_object_array *array)
{
    json_t *value = json_array();
    for (uint32_t i = 0; i < array->size; i++)
        json_array_append_new(value, json_of_msgpack(&array->ptr[i]));
    return value;
}

static void set_key(json_t *object, const msgpack_object *key, json_t *value)
{
    json_t *name = json_of_msgpack(key);
    if (json_is_string(name)) {
        json_object_setn_new(object, json_string_value(name), json_string_length(name), value);
    } else {
        char *text = json_dumps(name, JSON_ENCODE_ANY | JSON_COMPACT);
        if (text)
            json_object_set_new(object, text, value);
        else
            json_decref(value);
        free(text);
    }
    json_decref(name);
}

static json_t *of_map(const msgpack_object_map *map)
{
    json_t *value = json_object();
    for (uint32_t i = 0; i < map->size; i++)
        set_key(value, &map->ptr[i].key, json_of_msgpack(&map->ptr[i].val));
    return value;
}

json_t *json_of_msgpack(const msgpack_object *object)
{
    /* msgpack-c bounds the nesting of what it unpacks, and with it this recursion. */
    switch (object->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(object->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return json_of_unsigned(object->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return json_integer(object->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return isfinite(object->via.f64) ? json_real(object->via.f64) : json_null();
    case MSGPACK_OBJECT_STR:
        return json_of_text(object->via.str.ptr, object->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return json_of_text(object->via.bin.ptr, object->via.bin.size);
    case MSGPACK_OBJECT_ARRAY:
        return of_array(&object->via.array);
    case MSGPACK_OBJECT_MAP:
        return of_map(&object->via.map);
    case MSGPACK_OBJECT_NIL:
    case MSGPACK_OBJECT_EXT:
        break;
    }
    return json_null();
}

int json_print(json_t *value, FILE *stream, size_t flags)
{
    /* Twelve digits: a picosecond in a second; all seventeen would show 0.1 as 0.10000000000000001. */
    char *text = json_dumps(value, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    json_decref(value);
    if (!text) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    fprintf(stream, "%s\n", text);
    free(text);
    return STATUS_DONE;
}
