/* pmapc top: the daemon's answers, decoded, and what is computed from one look to the next. */
#include "client/pmapc/top/model.h"

#include <errno.h>
#include <math.h>
#include <msgpack.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static msgpack_sbuffer buffer;
static msgpack_packer packer;

static void begin(void)
{
    msgpack_sbuffer_clear(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
}

static void text(const char *value)
{
    msgpack_pack_str_with_body(&packer, value, strlen(value));
}

static void number(const char *key, uint64_t value)
{
    text(key);
    msgpack_pack_uint64(&packer, value);
}

static void real(const char *key, double value)
{
    text(key);
    msgpack_pack_double(&packer, value);
}

static void flag(const char *key, bool value)
{
    text(key);
    value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer);
}

static void words(const char *key, const char *value)
{
    text(key);
    text(value);
}

static int decode(struct sample *sample, enum pane pane)
{
    return sample_decode(sample, pane, buffer.data, buffer.size);
}

/* status: four slots, one owner, who uses `used` of them and has done `done` items. */
static void add_status(struct sample *sample, double used, uint64_t done)
{
    begin();
    msgpack_pack_map(&packer, 7);
    words("version", "1.2\x1b[31m");
    number("slots", 4);
    number("items_done", done);
    text("rates");
    msgpack_pack_map(&packer, 1);
    real("busy", used);
    text("owners");
    msgpack_pack_array(&packer, 1);
    msgpack_pack_map(&packer, 4);
    number("uid", 1001);
    real("used", used);
    real("entitled", 2);
    number("items_done", done);
    text("limits");
    msgpack_pack_map(&packer, 1);
    number("uid", 1001);
    words("of a later daemon", "is passed over");
    assert_int_equal(decode(sample, PANE_USERS), 0);
}

struct told {
    uint64_t items, finished, running;
    bool more; /* may come */
    double item_s;
    const char *waits;
};

static void add_job(struct sample *sample, const struct told *told)
{
    begin();
    msgpack_pack_array(&packer, 2);
    msgpack_pack_map(&packer, 10);
    number("job", 7);
    number("uid", 1001);
    number("items", told->items);
    number("finished", told->finished);
    number("running", told->running);
    words("function", "sleep");
    words("waits", told->waits ? told->waits : "turn");
    flag("ended", !told->more);
    real("item_s", told->item_s);
    real("age_s", 10);
    msgpack_pack_map(&packer, 3); /* another's */
    number("job", 9);
    number("uid", 1002);
    number("items", 50);
    assert_int_equal(decode(sample, PANE_JOBS), 0);
}

static struct sample *look(int64_t taken_s, uint64_t instance)
{
    struct sample *sample = sample_new(0);
    assert_non_null(sample);
    sample->taken_ns = taken_s * SECOND;
    sample->instance = instance;
    return sample;
}

static void decodes_status(void **unused)
{
    (void)unused;
    struct sample *sample = look(1, 1);
    add_status(sample, 1.5, 10);
    assert_string_equal(sample->version, "1.2?[31m");
    assert_int_equal(sample->me, 1001);
    assert_true(sample->figure[F_SLOTS] == 4 && sample->figure[F_LOAD] == 1.5);
    assert_true(isnan(sample->figure[F_QUEUED])); /* not told */
    const struct rows *users = &sample->pane[PANE_USERS];
    assert_true(users->known);
    assert_int_equal(users->count, 1);
    assert_true(users->row[0].mine);
    assert_string_equal(users->row[0].user, "1001");
    assert_true(users->row[0].value[V_USED] == 1.5 && users->row[0].value[V_ENTITLED] == 2);
    assert_false(sample->pane[PANE_JOBS].known);
    sample_free(sample);
}

static void decodes_jobs_and_slots(void **unused)
{
    (void)unused;
    struct sample *sample = look(1, 1);
    add_status(sample, 1, 1);
    add_job(sample, &(struct told){.items = 40, .finished = 10});
    const struct row *job = &sample->pane[PANE_JOBS].row[0];
    assert_int_equal(job[0].id, 7);
    assert_string_equal(job[0].function, "sleep");
    assert_true(job[0].mine && job[0].ended && job[0].value[V_FINISHED] == 10);
    assert_false(job[1].mine);
    assert_true(job[1].value[V_ITEMS] == 50 && isnan(job[1].value[V_FINISHED]));
    begin();
    msgpack_pack_array(&packer, 2);
    for (int i = 0; i < 2; i++) {
        msgpack_pack_map(&packer, 4);
        number("slot", 3);
        number("uid", 1002);
        flag("process", i == 1);
        number("item", 0);
    }
    assert_int_equal(decode(sample, PANE_SLOTS), 0);
    const struct row *slot = sample->pane[PANE_SLOTS].row;
    /* A thread and a process may have the same number, and are two rows all the same. */
    assert_true(slot[0].id != slot[1].id);
    assert_int_equal(slot[0].job, 0);
    assert_true(slot[0].value[V_ITEM] == 1); /* people count from 1 */
    sample_free(sample);
}

static void refuses_what_is_no_answer(void **unused)
{
    (void)unused;
    static const char *const bad[] = {"", "\xc1", "\xa1x", "\x91\x80\x80", "\xdc\xff\xff"};
    struct sample *sample = look(1, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (enum pane pane = 0; pane < PANE_COUNT; pane++)
            assert_true(sample_decode(sample, pane, bad[i], strlen(bad[i])) < 0);
    /* A status is a map, the others are arrays. */
    assert_int_equal(sample_decode(sample, PANE_USERS, "\x90", 1), -EBADMSG);
    assert_int_equal(sample_decode(sample, PANE_JOBS, "\x80", 1), -EBADMSG);
    /* What is no map among the rows is passed over, and values of other types are unknown. */
    begin();
    msgpack_pack_array(&packer, 2);
    text("job");
    msgpack_pack_map(&packer, 4);
    words("job", "7");
    words("items", "many");
    real("finished", INFINITY);
    number("function", 5);
    assert_int_equal(decode(sample, PANE_JOBS), 0);
    assert_int_equal(sample->pane[PANE_JOBS].count, 1);
    const struct row *row = sample->pane[PANE_JOBS].row;
    assert_true(row->job == 0 && *row->function == '\0');
    assert_true(isnan(row->value[V_ITEMS]) && isnan(row->value[V_FINISHED]));
    sample_free(sample);
}

static void take(struct model *model, int64_t taken_s, uint64_t instance, const struct told *told)
{
    struct sample *sample = look(taken_s, instance);
    add_status(sample, 1, told->finished);
    add_job(sample, told);
    model_take(model, sample);
}

static double job_value(const struct model *model, enum value value)
{
    return model->now->pane[PANE_JOBS].row[0].value[value];
}

static void computes_rates_and_the_time_left(void **unused)
{
    (void)unused;
    struct model model = {0};
    take(&model, 10, 1, &(struct told){.items = 1000, .finished = 100, .running = 2});
    assert_true(isnan(job_value(&model, V_RATE)));
    assert_true(job_value(&model, V_PROGRESS) == 0.1);
    /* Nothing but its age says how fast it is: 100 in 10 s. */
    assert_true(job_value(&model, V_ETA_S) == 90);
    const struct row *user = model.now->pane[PANE_USERS].row;
    assert_true(user->value[V_PROGRESS] == 0.25 && user->value[V_MARK] == 0.5);
    take(&model, 12, 1, &(struct told){.items = 1000, .finished = 300, .running = 2});
    assert_true(job_value(&model, V_RATE) == 100);
    assert_true(job_value(&model, V_ETA_S) == 7);
    assert_true(model.now->figure[F_ITEMS_PER_S] == 100);
    /* It follows a change, though not at once. */
    take(&model, 14, 1, &(struct told){.items = 1000, .finished = 300, .running = 2});
    assert_true(job_value(&model, V_RATE) > 50 && job_value(&model, V_RATE) < 100);
    /* Another daemon's numbers are not compared with those before. */
    take(&model, 16, 2, &(struct told){.items = 1000, .finished = 20, .running = 2});
    assert_true(isnan(job_value(&model, V_RATE)) && isnan(model.now->figure[F_ITEMS_PER_S]));
    model_clear(&model);
}

static double eta(const struct told *told)
{
    struct model model = {0};
    take(&model, 1, 1, told);
    double seconds = job_value(&model, V_ETA_S);
    model_clear(&model);
    return seconds;
}

static void tells_no_time_that_nobody_knows(void **unused)
{
    (void)unused;
    assert_true(isnan(eta(&(struct told){.items = 10, .finished = 5, .more = true})));
    assert_true(isnan(eta(&(struct told){.items = 10, .finished = 5, .waits = "paused"})));
    assert_true(isnan(eta(&(struct told){.items = 10, .finished = 5, .waits = "halted"})));
    assert_true(isnan(eta(&(struct told){.items = 10})));
    assert_true(eta(&(struct told){.items = 10, .finished = 10}) == 0);
    assert_true(eta(&(struct told){.items = 10, .finished = 4, .running = 2, .item_s = 3}) == 9);
    assert_true(eta(&(struct told){.items = 10, .running = 1, .item_s = 0.5}) == 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_status),
        cmocka_unit_test(decodes_jobs_and_slots),
        cmocka_unit_test(refuses_what_is_no_answer),
        cmocka_unit_test(computes_rates_and_the_time_left),
        cmocka_unit_test(tells_no_time_that_nobody_knows),
    };
    msgpack_sbuffer_init(&buffer);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    msgpack_sbuffer_destroy(&buffer);
    return failed;
}
