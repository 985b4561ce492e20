/*
 * pmapc status: what the daemon is doing.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/json.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/query.h"

#include <stdio.h>

static const char help[] = "Usage: pmapc status [--json]\n"
                           "Shows what the daemon is doing. Starts none: exit status 3 when none runs.\n"
                           "\n"
                           "      --json  all that the daemon says, as an object\n"
                           "      --help  show this\n"
                           "\n"
                           "  pmapc status\n"
                           "  pmapc status --json | jq .busy\n";

/* A value in a line: a text as it is, a map as "uid 1000, weight 1", everything else as JSON. */
static void print_value(const msgpack_object *value)
{
    if (value->type == MSGPACK_OBJECT_STR) {
        printf("%.*s", (int)value->via.str.size, value->via.str.ptr);
    } else if (value->type == MSGPACK_OBJECT_MAP) {
        for (uint32_t i = 0; i < value->via.map.size; i++) {
            printf("%s", i > 0 ? ", " : "");
            print_value(&value->via.map.ptr[i].key);
            putchar(' ');
            print_value(&value->via.map.ptr[i].val);
        }
    } else {
        json_t *json = json_of_msgpack(value);
        json_dumpf(json, stdout, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        json_decref(json);
    }
}

/* A line of the answer: its key, underscores shown as spaces, and its value; a list has a line for each
 * member. */
static void print_field(const msgpack_object_kv *field, int width)
{
    int len = (int)field->key.via.str.size;
    for (int i = 0; i < len; i++)
        putchar(field->key.via.str.ptr[i] == '_' ? ' ' : field->key.via.str.ptr[i]);
    printf("%*s  ", width - len, "");
    if (field->val.type == MSGPACK_OBJECT_ARRAY) {
        printf("%u\n", field->val.via.array.size);
        for (uint32_t i = 0; i < field->val.via.array.size; i++) {
            printf("  ");
            print_value(&field->val.via.array.ptr[i]);
            putchar('\n');
        }
    } else {
        print_value(&field->val);
        putchar('\n');
    }
}

static void print_lines(const msgpack_object *status)
{
    if (status->type != MSGPACK_OBJECT_MAP)
        return;
    const msgpack_object_map *map = &status->via.map;
    int width = 0;
    for (uint32_t i = 0; i < map->size; i++) {
        if (map->ptr[i].key.type == MSGPACK_OBJECT_STR && (int)map->ptr[i].key.via.str.size > width)
            width = (int)map->ptr[i].key.via.str.size;
    }
    for (uint32_t i = 0; i < map->size; i++) {
        if (map->ptr[i].key.type == MSGPACK_OBJECT_STR)
            print_field(&map->ptr[i], width);
    }
}

int command_status(const struct globals *globals, int argc, char **argv)
{
    static const struct query query = {"status", help, CONNECT_ONLY, print_lines};
    return query_command(globals, argc, argv, &query);
}
