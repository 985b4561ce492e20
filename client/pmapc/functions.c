/*
 * pmapc functions: what can be mapped.
 */
#include "client/pmapc/connect.h"
#include "client/pmapc/pmapc.h"
#include "client/pmapc/query.h"

#include <stdio.h>

static const char help[] = "Usage: pmapc functions [--json]\n"
                           "Lists the functions that the daemon has: what 'pmapc map' takes for FUNCTION.\n"
                           "\n"
                           "      --json  an array of objects with the keys name and summary\n"
                           "      --help  show this\n"
                           "\n"
                           "  pmapc functions\n"
                           "  pmapc functions --json | jq -r '.[].name'\n";

/* A field's text, or an empty one. */
static const char *text_of_field(const msgpack_object *map, const char *key, int *len)
{
    const msgpack_object *field = query_field(map, key);
    bool is_text = field && field->type == MSGPACK_OBJECT_STR;
    *len = is_text ? (int)field->via.str.size : 0;
    return is_text ? field->via.str.ptr : "";
}

static void print_table(const msgpack_object *functions)
{
    if (functions->type != MSGPACK_OBJECT_ARRAY)
        return;
    const msgpack_object_array *array = &functions->via.array;
    int width = 0, len, summary_len;
    for (uint32_t i = 0; i < array->size; i++) {
        text_of_field(&array->ptr[i], "name", &len);
        width = len > width ? len : width;
    }
    for (uint32_t i = 0; i < array->size; i++) {
        const char *name = text_of_field(&array->ptr[i], "name", &len);
        const char *summary = text_of_field(&array->ptr[i], "summary", &summary_len);
        printf("%.*s%*s  %.*s\n", len, name, width - len, "", summary_len, summary);
    }
}

int command_functions(const struct globals *globals, int argc, char **argv)
{
    static const struct query query = {"functions", help, CONNECT_START, print_table};
    return query_command(globals, argc, argv, &query);
}
