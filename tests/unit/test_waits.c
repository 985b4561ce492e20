/*
 * What keeps a job from going on, in a word and in a sentence.
 */
#include "client/pmapc/waits.h"

#include "daemon/core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_says(struct waits_facts facts, const char *wanted)
{
    char text[WAITS_SENTENCE_ROOM];
    facts.user = "alice";
    assert_true(waits_sentence(&facts, text, sizeof text));
    assert_string_equal(text, wanted);
}

/* Each that a daemon may say has a word and a sentence. */
static void knows_all(void **state)
{
    (void)state;
    static const char *const all[] = {
#define X(name, text) text,
        JOB_WAITS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char text[WAITS_SENTENCE_ROOM];
        const struct waits_facts facts = {.waits = all[i], .user = "alice"};
        assert_true(waits_sentence(&facts, text, sizeof text));
        size_t len = strlen(text);
        assert_true(len > 20 && len < sizeof text - 1 && text[len - 1] == '.');
        assert_string_not_equal(waits_word(all[i], false), "waiting");
        assert_true(strlen(waits_word(all[i], false)) <= 11);
    }
}

static void knows_what_it_does_not(void **state)
{
    (void)state;
    char text[WAITS_SENTENCE_ROOM];
    assert_false(waits_sentence(&(struct waits_facts){.waits = "moon", .user = "alice"}, text, sizeof text));
    assert_string_equal(text, "");
    assert_string_equal(waits_word("moon", false), "waiting");
    assert_string_equal(waits_word("moon", true), "running");
    assert_string_equal(waits_word("turn", true), "running");
    assert_string_equal(waits_word("reader", true), "not read");
}

static void tells_figures(void **state)
{
    (void)state;
    assert_says((struct waits_facts){.waits = "turn", .queued = 1, .pool = 2, .busy = 2},
                "1 item waits for a slot: all 2 are in use.");
    assert_says((struct waits_facts){.waits = "turn", .queued = 3, .pool = 2, .busy = 1},
                "3 items wait for their turn: others are to be served first.");
    assert_says((struct waits_facts){.waits = "turn", .queued = 3, .pool = 2, .busy = 2, .ahead = 1},
                "3 items wait for their turn: 1 job of alice's has a higher priority.");
    assert_says((struct waits_facts){.waits = "turn", .queued = 3, .pool = 2, .busy = 2, .ahead = 2},
                "3 items wait for their turn: 2 jobs of alice's have a higher priority.");
    assert_says((struct waits_facts){.waits = "items", .items = 4, .client = 42},
                "Workers have all the items that have come; its client (process 42) may send more.");
    assert_says((struct waits_facts){.waits = "items"}, "No item has come yet; its client may send some.");
    assert_says(
        (struct waits_facts){.waits = "owner_slots", .queued = 2, .cap = 3},
        "2 items wait: alice has as many slots in use as the daemon's configuration allows this user, "
        "3.");
    assert_says((struct waits_facts){.waits = "nothing", .items = 2, .finished = 2},
                "All its items are done; what is left is for its client to read.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_all),
        cmocka_unit_test(knows_what_it_does_not),
        cmocka_unit_test(tells_figures),
    };
    return cmocka_run_group_tests_name("waits", tests, NULL, NULL);
}
