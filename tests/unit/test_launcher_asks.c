/*
 * pmap-launcher as a program: what it answers the broker apart from workers. That it is there, and that it
 * has read the configuration again, and goes by it. And whether accounts may be used.
 */
#include "daemon/common/config_pack.h"
#include "launcher_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct rig rig;

static void test_ping(void **state)
{
    (void)state;
    int client = rig_start_any(&rig);
    rig_expect(&rig, RECORD_PONG, rig_send(&rig, RECORD_PING, -1));
    rig_start_worker(&rig, client);
    for (int i = 0; i < 1000; i++)
        rig_expect(&rig, RECORD_PONG, rig_send(&rig, RECORD_PING, -1));
    close(client);
    rig_stop(&rig);
}

/* The next record, which comes with a file. */
static int expect_file(uint32_t token, int error)
{
    struct record record = {0};
    struct pollfd item = {.fd = rig.broker, .events = POLLIN};
    int fd = -1;
    assert_int_equal(poll(&item, 1, RIG_LIMIT_MS), 1);
    assert_int_equal(record_receive(rig.broker, 0, &record, &fd), 1);
    assert_int_equal(record.type, RECORD_RELOADED);
    assert_int_equal(record.token, token);
    assert_int_equal(record.error, error);
    assert_true(fd >= 0);
    return fd;
}

/* The rig's configuration is another one from now on, as far as the launcher has been asked to read it. */
static void write_config(const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/conf", rig.folder);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void test_reload(void **state)
{
    (void)state;
    RIG_NEEDS_ROOT("a configuration");
    struct config config;
    rig_start(&rig, "[access]\nallow = *\ndeny = 54321\n");
    int alice = rig_client_of(&rig, ALICE), bob = rig_client_of(&rig, BOB);
    rig_refused(&rig, rig_send(&rig, RECORD_START, alice), EPERM, "no processes for uid 54321");
    rig_start_worker(&rig, bob);
    write_config("[access]\nallow = *\ndeny = 54322\n[defaults]\nweight = 7\n");
    rig_refused(&rig, rig_send(&rig, RECORD_START, alice), EPERM, "no processes for uid 54321"); /* not yet */
    int fd = expect_file(rig_send(&rig, RECORD_RELOAD, -1), 0);
    assert_int_equal(config_unpack(fd, &config), 0);
    assert_int_equal(config.defaults.weight, 7);
    assert_int_equal(config.deny.uids[0], BOB);
    config_free(&config);
    close(fd);
    rig_refused(&rig, rig_send(&rig, RECORD_START, bob), EPERM, "no processes for uid 54322");
    rig_start_worker(&rig, alice);

    /* A wrong one changes nothing. */
    char line[CONFIG_ERROR_MAX] = "";
    write_config("[access]\nallow = *\nnonsense = 1\n");
    fd = expect_file(rig_send(&rig, RECORD_RELOAD, -1), EINVAL);
    assert_true(pread(fd, line, sizeof line - 1, 0) > 0);
    assert_non_null(strstr(line, "/conf:3: unknown key 'nonsense'"));
    close(fd);
    rig_refused(&rig, rig_send(&rig, RECORD_START, bob), EPERM, "no processes for uid 54322");
    rig_start_worker(&rig, alice);

    /* What is there later counts, and nothing is left of the many. */
    write_config("[access]\nallow = *\n");
    size_t descriptors = rig_descriptors(&rig);
    for (int i = 0; i < 20; i++)
        close(expect_file(rig_send(&rig, RECORD_RELOAD, -1), 0));
    assert_in_range(rig_descriptors(&rig), 1, descriptors + 5); /* it has others to see to, too */
    rig_start_worker(&rig, bob);
    close(alice);
    close(bob);
    rig_stop(&rig);
}

/* A private one has nothing to read. */
static void test_private(void **state)
{
    (void)state;
    struct record record;
    rig_start(&rig, NULL);
    rig_send(&rig, RECORD_RELOAD, -1);
    assert_false(rig_next(&rig, &record));
}

/*** Accounts ***/

static void ask_account(uint32_t token, uid_t uid)
{
    const struct record record = {.type = RECORD_ACCOUNT, .token = token, .uid = uid};
    assert_int_equal(record_send(rig.broker, &record, -1), 0);
}

/* Who is in no list of users has no account to be judged by; what accounts that are there come to is told by
 * tests/cli/accounts.bats. */
static void test_account(void **state)
{
    (void)state;
    RIG_NEEDS_ROOT("the system's launcher");
    enum { TIMES = 3 };
    bool seen[ACCOUNT_QUESTIONS_MAX] = {false};
    rig_start(&rig, RIG_OPEN);
    int client = rig_client_of(&rig, ALICE);
    rig_start_worker(&rig, client);
    ask_account(7, ALICE);
    struct record answer = rig_expect(&rig, RECORD_JUDGED, 7);
    assert_int_equal(answer.error, 0);
    assert_int_equal(answer.uid, ALICE);
    assert_string_equal(answer.text, "");

    /* As many as may be at a time, each answered once, and nothing is left of them. */
    size_t descriptors = rig_descriptors(&rig);
    for (int i = 0; i < TIMES; i++) {
        memset(seen, 0, sizeof seen);
        for (unsigned token = 0; token < ACCOUNT_QUESTIONS_MAX; token++)
            ask_account(1000 + token, ALICE + token);
        for (unsigned count = 0; count < ACCOUNT_QUESTIONS_MAX; count++) {
            assert_true(rig_next(&rig, &answer));
            assert_int_equal(answer.type, RECORD_JUDGED);
            assert_int_equal(answer.error, 0);
            assert_in_range(answer.token, 1000, 1000 + ACCOUNT_QUESTIONS_MAX - 1);
            assert_int_equal(answer.uid, ALICE + answer.token - 1000);
            assert_false(seen[answer.token - 1000]);
            seen[answer.token - 1000] = true;
        }
    }
    assert_int_equal(rig_descriptors(&rig), descriptors);
    /* A worker that is on its way is none the worse. */
    rig_start_worker(&rig, client);
    /* Some that are on their way when the broker goes. */
    for (unsigned token = 0; token < ACCOUNT_QUESTIONS_MAX; token++)
        ask_account(token, ALICE);
    close(client);
    rig_stop(&rig);
}

/* A private one asks nobody. */
static void test_private_account(void **state)
{
    (void)state;
    struct record record;
    rig_start(&rig, NULL);
    ask_account(1, ALICE);
    assert_false(rig_next(&rig, &record));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_ping, &rig),    RIG_TEST(test_reload, &rig),          RIG_TEST(test_private, &rig),
        RIG_TEST(test_account, &rig), RIG_TEST(test_private_account, &rig),
    };
    return cmocka_run_group_tests_name("launcher_asks", tests, NULL, NULL);
}
