/*
 * What the subcommands that only look have in common; see query.h.
 */
#include "client/pmapc/query.h"

#include "client/pmapc/json.h"
#include "client/pmapc/options.h"
#include "client/pmapc/tell.h"

#include <errno.h>
#include <stdio.h>
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

/* Asks, and unpacks the answer into *answer, which is initialised. Returns 0 or an exit status, having told.
 */
static int ask(pmap *pool, const char *what, msgpack_unpacked *answer)
{
    const void *data = NULL;
    size_t size = 0;
    int rc = pmap_query(pool, what, ANSWER_MS, &data, &size);
    if (rc == -EINVAL) {
        tell("the daemon does not know the question '%s'", what);
        return STATUS_NO_POOL;
    }
    if (rc < 0)
        return connect_lost(pool, rc);
    size_t used = 0;
    if (msgpack_unpack_next(answer, data, size, &used) != MSGPACK_UNPACK_SUCCESS || used != size) {
        tell("the daemon's answer to '%s' makes no sense", what);
        return STATUS_NO_POOL;
    }
    return 0;
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
    msgpack_unpacked answer;
    msgpack_unpacked_init(&answer);
    status = ask(pool, query->what, &answer);
    if (status == 0 && json)
        status = json_print(json_of_msgpack(&answer.data), stdout, JSON_INDENT(2));
    else if (status == 0)
        query->print(&answer.data);
    msgpack_unpacked_destroy(&answer);
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
