/* What the daemon says of itself, and what must hold after every attack. */
#include "tests/cli/hostile.h"

#include <inttypes.h>
#include <msgpack.h>
#include <string.h>

static const msgpack_object *find_key(const msgpack_object *map, const char *key)
{
    for (uint32_t i = 0; map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
        const msgpack_object *name = &map->via.map.ptr[i].key;
        if (name->type == MSGPACK_OBJECT_STR && name->via.str.size == strlen(key) &&
            memcmp(name->via.str.ptr, key, name->via.str.size) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

bool answer_number(struct peer *p, const char *key, const char *key2, uint64_t *value)
{
    msgpack_zone zone;
    msgpack_object map;
    const msgpack_object *found = NULL;
    size_t used = 0;
    zmq_msg_t *part = &p->part[1];
    if (!msgpack_zone_init(&zone, 8192))
        return complain(p->arena, "out of memory");
    if (msgpack_unpack(zmq_msg_data(part), zmq_msg_size(part), &used, &zone, &map) == MSGPACK_UNPACK_SUCCESS)
        found = find_key(&map, key);
    if (found != NULL && key2 != NULL)
        found = find_key(found, key2);
    bool ok = found != NULL && found->type == MSGPACK_OBJECT_POSITIVE_INTEGER;
    if (ok)
        *value = found->via.u64;
    msgpack_zone_destroy(&zone);
    return ok || complain(p->arena, "the status has no number '%s'", key2 != NULL ? key2 : key);
}

bool status_number(struct arena *a, const char *key, uint64_t *value)
{
    struct peer *p = a->witness;
    uint64_t ref = p->next_ref++;
    return say_query(p, ref, "status") && peer_await(p, MSG_ANSWER) &&
           (p->in.answer.ref == ref || complain(a, "ANSWER to another QUERY")) &&
           answer_number(p, key, NULL, value);
}

static bool status_await(struct arena *a, const char *key, uint64_t least, uint64_t most)
{
    uint64_t value = 0;
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until; pause_briefly()) {
        if (!status_number(a, key, &value))
            return false;
        if (value >= least && value <= most)
            return true;
    }
    if (value > most)
        return complain(a, "'%s' of the status stays at %" PRIu64 ", above %" PRIu64, key, value, most);
    return complain(a, "'%s' of the status stays at %" PRIu64 ", below %" PRIu64, key, value, least);
}

bool status_at_most(struct arena *a, const char *key, uint64_t most)
{
    return status_await(a, key, 0, most);
}

bool status_at_least(struct arena *a, const char *key, uint64_t least)
{
    return status_await(a, key, least, UINT64_MAX);
}

/* Nothing may have come behind the ERROR but the same again. */
static bool check_silence(struct peer *p)
{
    int rc;
    while ((rc = peer_receive(p, 0)) > 0) {
        if (p->in.type != MSG_ERROR || p->in.error.has_ref)
            return complain(p->arena, "\"%s\": %s came behind the ERROR that ended the session", p->attack,
                            message_name(p->in.type));
    }
    return rc == 0;
}

bool arena_settle(struct arena *a)
{
    bool ok = a->dropped_count == 0 || status_at_most(a, "connections", 1);
    if (!ok && a->dropped_count > 0)
        complain(a, "peers are not cut, from \"%s\" on", a->dropped[0]->attack);
    for (size_t i = 0; i < a->dropped_count; i++) {
        ok = ok && check_silence(a->dropped[i]);
        peer_free(a->dropped[i]);
    }
    a->dropped_count = 0;
    return ok;
}

bool arena_check(struct arena *a)
{
    uint64_t pid = 0;
    if (!daemon_lives(a, &a->daemon) || !status_number(a, "pid", &pid))
        return false;
    if (pid != (uint64_t)a->daemon.pid)
        return complain(a, "another process serves now");
    if (!peer_squares(a->witness, 5))
        return complain(a, "the witness is not served");
    struct peer *newcomer = peer_new(a);
    bool ok = newcomer != NULL && peer_squares(newcomer, 5);
    peer_free(newcomer);
    return ok && daemon_is_small(a) && daemon_lives(a, &a->daemon);
}
