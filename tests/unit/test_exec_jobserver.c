/* The jobserver that pmap-exec gives an item, with the real program: see exec_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exec_rig.h"

#define JOBSERVER "--timeout", "0", "--grace", "0", "--retries", "0", "--recycle", "0", "--jobserver"
/* `take N` and `give N` are what make does; `until_read` waits until nothing given is left in the pipe; `at
 * WORD` says how far it is, `await WORD` waits for a file. */
static const char words[] = "take() { local x; read -r -N \"$1\" -u 20 x; }\n"
                            "give() { printf '%.0s+' $(seq \"$1\") >&21; }\n"
                            "until_read() { python3 -c 'import fcntl, termios, time\n"
                            "while any(fcntl.ioctl(21, termios.FIONREAD, bytes(4))): time.sleep(0.01)'; }\n"
                            "at() { : >\"$folder/$1\"; }\n"
                            "await() { until [ -e \"$folder/$1\" ]; do sleep 0.02; done; }\n";
#define BASH(script) "--", "bash", "-c", "folder=$1; . \"$folder/words\"; eval \"$0\"", script

enum { LIMIT_MS = 20000 };

static char folder[] = "/tmp/exec-jobserver-XXXXXX";

static const char *path(const char *word)
{
    static char text[100];
    snprintf(text, sizeof text, "%s/%s", folder, word);
    return text;
}

static const char *waited_for;

static bool is_there(struct rig *rig)
{
    (void)rig;
    return access(path(waited_for), F_OK) == 0;
}

/* Until the item has come so far. */
static void until_at(struct rig *rig, const char *word)
{
    waited_for = word;
    assert_true(rig_until(rig, is_there, LIMIT_MS));
    unlink(path(word));
}

static void let_go_on(const char *word)
{
    FILE *file = fopen(path(word), "we");
    assert_non_null(file);
    fclose(file);
}

static uint32_t wanted_back;

static bool has_returned(struct rig *rig)
{
    return rig->returned >= wanted_back;
}

static void until_returned(struct rig *rig, uint32_t tokens)
{
    wanted_back = tokens;
    assert_true(rig_until(rig, has_returned, LIMIT_MS));
    assert_int_equal(rig->returned, tokens);
}

static bool never(struct rig *rig)
{
    (void)rig;
    return false;
}

/* What is put back can be taken again, and no more than is lent. */
static void gives_out_what_is_lent(void **state)
{
    (void)state;
    struct rig *rig =
        RIG("command", JOBSERVER, BASH("take 3; give 2; take 2; give 3; take 3; at taken; await end"));
    RIG_CHUNK(rig, folder);
    rig_send(rig, HOST_LEND, 1);
    rig_send(rig, HOST_LEND, 3);
    until_at(rig, "taken");
    let_go_on("end");
    rig_run(rig);
    assert_int_equal(rig->results[0].fails, 0);
    assert_int_equal(rig->returned, 0); /* nobody wanted any */
    unlink(path("end"));
    rig_stop(rig);
}

static void returns_at_once_what_nobody_has(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", JOBSERVER, BASH("take 1; at taken; await end"));
    RIG_CHUNK(rig, folder);
    rig_send(rig, HOST_LEND, 4);
    until_at(rig, "taken");
    rig_send(rig, HOST_BACK, 2);
    until_returned(rig, 2);
    rig_send(rig, HOST_BACK, 0); /* a wish for less than has come back means nothing */
    rig_send(rig, HOST_LEND, 6);
    rig_send(rig, HOST_BACK, 5);
    until_returned(rig, 5);
    let_go_on("end");
    rig_run(rig);
    unlink(path("end"));
    rig_stop(rig);
}

static void returns_what_is_taken_when_it_is_put_back(void **state)
{
    (void)state;
    struct rig *rig =
        RIG("command", JOBSERVER,
            BASH("take 3; at taken; await one; give 1; await two; give 1; at given; await end"));
    RIG_CHUNK(rig, folder);
    rig_send(rig, HOST_LEND, 3);
    until_at(rig, "taken");
    rig_send(rig, HOST_BACK, 2);
    assert_false(rig_until(rig, never, 100));
    assert_int_equal(rig->returned, 0);
    let_go_on("one");
    until_returned(rig, 1);
    /* Nobody wants the other one any more. */
    rig_send(rig, HOST_BACK, 1);
    let_go_on("two");
    until_at(rig, "given");
    assert_false(rig_until(rig, never, 100));
    assert_int_equal(rig->returned, 1);
    /* With the item's end all that is wanted is there. */
    rig_send(rig, HOST_BACK, 3);
    until_returned(rig, 2);
    let_go_on("end");
    rig_run(rig);
    assert_int_equal(rig->returned, 3);
    unlink(path("one"));
    unlink(path("two"));
    unlink(path("end"));
    rig_stop(rig);
}

/* What one item eats, leaves open or writes too much of does not concern the next one. */
static void each_item_has_its_own(void **state)
{
    (void)state;
    struct rig *rig = RIG("command", JOBSERVER, "--", "bash", "-c",
                          "read -r -N 2 -u 20 x; echo $x; printf ++++++ >&21; [ $0 = last ] || kill -9 $$");
    RIG_CHUNK(rig, "1", "2", "last");
    rig_send(rig, HOST_LEND, 2);
    rig_run(rig);
    for (int i = 0; i < 3; i++)
        assert_string_equal(rig->results[i].out.bytes, "++\n");
    assert_int_equal(rig->results[1].signal, 9);
    /* A new chunk has nothing. */
    rig_send(rig, HOST_LEND, 2);
    RIG_CHUNK(rig, "last");
    rig_send(rig, HOST_LEND, 3);
    rig_send(rig, HOST_BACK, 1);
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "++\n");
    rig_stop(rig);
}

/*
 * More than was taken does not come back, and so is not given out either: a flood neither blocks nor helps.
 * What of it still lay in the pipe when tokens are taken would be them put back, so they are lent only behind
 * it.
 */
static void believes_no_flood(void **state)
{
    (void)state;
    static const char script[] = "head -c 200000 /dev/zero >&21; until_read; at flooded; take 2; "
                                 "read -r -N 1 -t 0.3 -u 20 x || at empty; await end";
    struct rig *rig = RIG("command", JOBSERVER, BASH(script));
    RIG_CHUNK(rig, folder);
    until_at(rig, "flooded");
    rig_send(rig, HOST_LEND, 2);
    until_at(rig, "empty");
    let_go_on("end");
    rig_run(rig);
    assert_int_equal(rig->results[0].fails, 0);
    unlink(path("end"));
    rig_stop(rig);
}

static void the_ends_are_pipes_that_block(void **state)
{
    (void)state;
    /* Nothing is lent at first: a read waits. And no other descriptor is there: 3 is the folder that ls
     * reads. */
    struct rig *rig = RIG("command", JOBSERVER, BASH("ls /proc/self/fd; at begun; take 1; echo taken"));
    RIG_CHUNK(rig, folder);
    until_at(rig, "begun");
    rig_send(rig, HOST_LEND, 1);
    rig_run(rig);
    assert_string_equal(rig->results[0].out.bytes, "0\n1\n2\n20\n21\n3\ntaken\n");
    rig_stop(rig);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    FILE *file = fopen(path("words"), "we");
    if (!file)
        return -1;
    fputs(words, file);
    return fclose(file);
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path("words"));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_out_what_is_lent),
        cmocka_unit_test(returns_at_once_what_nobody_has),
        cmocka_unit_test(returns_what_is_taken_when_it_is_put_back),
        cmocka_unit_test(each_item_has_its_own),
        cmocka_unit_test(believes_no_flood),
        cmocka_unit_test(the_ends_are_pipes_that_block),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
