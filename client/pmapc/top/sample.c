/*
 * One look at the daemon; see sample.h.
 */
#include "client/pmapc/top/sample.h"

#include "client/pmapc/figures.h"

#include <errno.h>
#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_OF_PROCESS (UINT64_C(1) << 63)

/* Which key of an answer's map goes where. */
struct key {
    const char *name;
    int index;
};

static const struct key figures[] = {
    {"uptime_s", F_UPTIME_S},
    {"slots", F_SLOTS},
    {"busy", F_BUSY},
    {"above", F_ABOVE},
    {"connections", F_CONNECTIONS},
    {"cut", F_CUT},
    {"jobs", F_JOBS},
    {"waiting", F_WAITING},
    {"queued_items", F_QUEUED},
    {"held_bytes", F_HELD},
    {"jobs_done", F_JOBS_DONE},
    {"items_done", F_ITEMS_DONE},
    {"items_failed", F_ITEMS_FAILED},
};
static const struct key rates[] = {{"items_per_s", F_ITEMS_PER_S}, {"busy", F_LOAD}};

static const struct key users[] = {
    {"weight", V_WEIGHT},       {"jobs", V_JOBS},   {"running", V_RUNNING},     {"entitled", V_ENTITLED},
    {"used", V_USED},           {"run_s", V_RUN_S}, {"queued_items", V_QUEUED}, {"held_bytes", V_HELD},
    {"items_done", V_FINISHED}, {"cpu_s", V_CPU_S}, {"items_failed", V_FAILED}, {"wait_s", V_WAIT_S},
};
static const struct key slots[] = {
    {"age_s", V_AGE_S}, {"item", V_ITEM}, {"items", V_ITEMS}, {"done", V_FINISHED}};
static const struct key jobs[] = {
    {"items", V_ITEMS},     {"finished", V_FINISHED}, {"failed", V_FAILED}, {"queued_items", V_QUEUED},
    {"running", V_RUNNING}, {"slots", V_SLOTS},       {"age_s", V_AGE_S},   {"priority", V_PRIORITY},
    {"run_s", V_RUN_S},     {"wait_s", V_WAIT_S},     {"item_s", V_ITEM_S}, {"client", V_CLIENT},
};
static const struct {
    const struct key *keys;
    size_t count;
} of_pane[PANE_COUNT] = {
    [PANE_USERS] = {users, sizeof users / sizeof users[0]},
    [PANE_SLOTS] = {slots, sizeof slots / sizeof slots[0]},
    [PANE_JOBS] = {jobs, sizeof jobs / sizeof jobs[0]},
};

struct sample *sample_new(uint32_t me)
{
    struct sample *sample = calloc(1, sizeof *sample);
    if (!sample)
        return NULL;
    sample->me = me;
    for (int i = 0; i < F_COUNT; i++)
        sample->figure[i] = NAN;
    return sample;
}

void sample_free(struct sample *sample)
{
    if (!sample)
        return;
    for (int i = 0; i < PANE_COUNT; i++)
        free(sample->pane[i].row);
    free(sample);
}

static bool is_key(const msgpack_object *object, const char *name)
{
    return object->type == MSGPACK_OBJECT_STR && object->via.str.size == strlen(name) &&
           memcmp(object->via.str.ptr, name, object->via.str.size) == 0;
}

static const msgpack_object *find(const msgpack_object_map *map, const char *name)
{
    for (uint32_t i = 0; i < map->size; i++)
        if (is_key(&map->ptr[i].key, name))
            return &map->ptr[i].val;
    return NULL;
}

static double number_of(const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return (double)object->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return (double)object->via.i64;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return isfinite(object->via.f64) ? object->via.f64 : NAN;
    default:
        return NAN;
    }
}

static uint64_t id_of(const msgpack_object_map *map, const char *name)
{
    const msgpack_object *object = find(map, name);
    return object && object->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? object->via.u64 : 0;
}

static bool flag_of(const msgpack_object_map *map, const char *name)
{
    const msgpack_object *object = find(map, name);
    return object && object->type == MSGPACK_OBJECT_BOOLEAN && object->via.boolean;
}

static void text_of(const msgpack_object_map *map, const char *name, char *out, size_t room)
{
    const msgpack_object *object = find(map, name);
    if (object && object->type == MSGPACK_OBJECT_STR)
        figures_text(object->via.str.ptr, object->via.str.size, 0, out, room);
}

static void numbers(const msgpack_object_map *map, const struct key *keys, size_t count, double *out)
{
    for (uint32_t i = 0; i < map->size; i++)
        for (size_t k = 0; k < count; k++)
            if (is_key(&map->ptr[i].key, keys[k].name))
                out[keys[k].index] = number_of(&map->ptr[i].val);
}

static void decode_row(struct sample *sample, enum pane pane, const msgpack_object_map *map, struct row *row)
{
    for (int i = 0; i < V_COUNT; i++)
        row->value[i] = NAN;
    numbers(map, of_pane[pane].keys, of_pane[pane].count, row->value);
    row->uid = (uint32_t)id_of(map, "uid");
    row->mine = row->uid == sample->me;
    snprintf(row->user, sizeof row->user, "%u", row->uid);
    if (pane == PANE_USERS) {
        row->id = row->uid;
        return;
    }
    row->job = id_of(map, "job");
    row->id = row->job;
    text_of(map, "function", row->function, sizeof row->function);
    text_of(map, "waits", row->waits, sizeof row->waits);
    row->ended = flag_of(map, "ended");
    if (pane == PANE_SLOTS) {
        row->process = flag_of(map, "process");
        row->above = flag_of(map, "above");
        row->asked = flag_of(map, "asked");
        row->id = id_of(map, "slot") | (row->process ? SLOT_OF_PROCESS : 0);
        row->value[V_ITEM] += 1; /* on the wire they count from 0 */
    }
}

static int decode_rows(struct sample *sample, enum pane pane, const msgpack_object *answer)
{
    if (answer->type != MSGPACK_OBJECT_ARRAY)
        return -EBADMSG;
    const msgpack_object_array *array = &answer->via.array;
    struct row *row = calloc(array->size > 0 ? array->size : 1, sizeof *row);
    if (!row)
        return -ENOMEM;
    size_t count = 0;
    for (uint32_t i = 0; i < array->size; i++)
        if (array->ptr[i].type == MSGPACK_OBJECT_MAP)
            decode_row(sample, pane, &array->ptr[i].via.map, &row[count++]);
    free(sample->pane[pane].row);
    sample->pane[pane] = (struct rows){.row = row, .count = count, .known = true};
    return 0;
}

static int decode_status(struct sample *sample, const msgpack_object *answer)
{
    if (answer->type != MSGPACK_OBJECT_MAP)
        return -EBADMSG;
    const msgpack_object_map *map = &answer->via.map;
    numbers(map, figures, sizeof figures / sizeof figures[0], sample->figure);
    text_of(map, "version", sample->version, sizeof sample->version);
    const msgpack_object *part = find(map, "rates");
    if (part && part->type == MSGPACK_OBJECT_MAP)
        numbers(&part->via.map, rates, sizeof rates / sizeof rates[0], sample->figure);
    part = find(map, "limits");
    if (part && part->type == MSGPACK_OBJECT_MAP && find(&part->via.map, "uid"))
        sample->me = (uint32_t)id_of(&part->via.map, "uid");
    part = find(map, "owners");
    return part ? decode_rows(sample, PANE_USERS, part) : 0;
}

int sample_decode(struct sample *sample, enum pane pane, const void *data, size_t size)
{
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t used = 0;
    msgpack_unpack_return got = msgpack_unpack_next(&unpacked, data, size, &used);
    int rc = 0;
    if (got == MSGPACK_UNPACK_NOMEM_ERROR)
        rc = -ENOMEM;
    else if (got != MSGPACK_UNPACK_SUCCESS || used != size)
        rc = -EBADMSG;
    else if (pane == PANE_USERS)
        rc = decode_status(sample, &unpacked.data);
    else
        rc = decode_rows(sample, pane, &unpacked.data);
    msgpack_unpacked_destroy(&unpacked);
    return rc;
}
