/*
 * Accounts, as the broker has them: what is asked, who waits, and how long an answer holds. The test is the
 * launcher, and its clients are bare.
 */
#include "daemon/accounts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const int64_t SECOND = 1000000000, START = 5000000000;

enum { CLIENTS = 1200, ALICE = 1000, BOB = 1001 };

static struct accounts accounts;
static int launcher; /* our end of it */
static struct client *clients;

/* What was answered. */
static unsigned answers[CLIENTS], codes[CLIENTS];
static char words[RECORD_TEXT_MAX];

static void note(void *cookie, struct client *client, unsigned code, const char *text, int64_t now_ns)
{
    size_t i = (size_t)(client - clients);
    assert_ptr_equal(cookie, &launcher);
    assert_true(now_ns >= START);
    assert_null(client->account);
    answers[i]++;
    codes[i] = code;
    snprintf(words, sizeof words, "%s", text);
}

static int setup(void **state)
{
    (void)state;
    int ends[2];
    const int small = 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0 ||
        setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) < 0)
        return -1;
    launcher = ends[1];
    accounts_init(&accounts, ends[0], note, &launcher);
    memset(answers, 0, sizeof answers);
    clients = calloc(CLIENTS, sizeof *clients);
    return clients ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        accounts_client_gone(&accounts, &clients[i]);
    accounts_free(&accounts);
    free(clients);
    close(accounts.launcher);
    close(launcher);
    return 0;
}

static void hello(size_t i, uid_t uid, int64_t now_ns)
{
    clients[i].uid = uid;
    accounts_ask(&accounts, &clients[i], now_ns);
}

/* The next question; 0: there is none. */
static uint32_t question(uid_t *uid)
{
    struct record record;
    int fd, rc = record_receive(launcher, 0, &record, &fd);
    if (rc == -EAGAIN)
        return 0;
    assert_int_equal(rc, 1);
    assert_int_equal(fd, -1);
    assert_int_equal(record.type, RECORD_ACCOUNT);
    assert_int_not_equal(record.token, 0);
    *uid = record.uid;
    return record.token;
}

/* The next question, which must be about this user. */
static uint32_t question_of(uid_t uid)
{
    uid_t asked = 0;
    uint32_t token = question(&asked);
    assert_int_not_equal(token, 0);
    assert_int_equal(asked, uid);
    return token;
}

static void no_question(void)
{
    uid_t uid;
    assert_int_equal(question(&uid), 0);
}

static void judge(uint32_t token, int error, const char *text, int64_t now_ns)
{
    struct record record = {.type = RECORD_JUDGED, .token = token, .error = error};
    snprintf(record.text, sizeof record.text, "%s", text);
    accounts_take(&accounts, &record, now_ns);
}

static void test_one_question(void **state)
{
    (void)state;
    enum { MANY = 100 };
    for (size_t i = 0; i < MANY; i++)
        hello(i, ALICE, START);
    hello(MANY, BOB, START);
    uint32_t token = question_of(ALICE), other = question_of(BOB);
    no_question();
    for (size_t i = 0; i <= MANY; i++) {
        assert_non_null(clients[i].account);
        assert_int_equal(answers[i], 0);
    }
    judge(other + 1000, 0, "", START); /* nobody's */
    judge(token, 0, "", START);
    judge(token, EACCES, "", START); /* once only */
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(answers[i], 1);
        assert_int_equal(codes[i], 0);
    }
    assert_int_equal(answers[MANY], 0);
    judge(other, 0, "", START);
    assert_int_equal(answers[MANY], 1);
    no_question();
}

static void test_answer_holds(void **state)
{
    (void)state;
    hello(0, ALICE, START);
    judge(question_of(ALICE), 0, "", START);
    hello(1, ALICE, START + 60 * SECOND - 1);
    assert_int_equal(answers[1], 1);
    assert_int_equal(codes[1], 0);
    no_question();
    hello(2, ALICE, START + 60 * SECOND);
    assert_int_equal(answers[2], 0);
    judge(question_of(ALICE), 0, "", START + 60 * SECOND);
    assert_int_equal(answers[2], 1);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        int error;
        unsigned code;
    } cases[] = {
        {EACCES, PERR_REFUSED}, {EPERM, PERR_REFUSED}, {ETIMEDOUT, PERR_LIMIT}, {EAGAIN, PERR_LIMIT}};
    int64_t now_ns = START;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hello(2 * i, ALICE, now_ns);
        judge(question_of(ALICE), cases[i].error, "your account has expired", now_ns);
        assert_int_equal(answers[2 * i], 1);
        assert_int_equal(codes[2 * i], cases[i].code);
        assert_string_equal(words, "your account has expired");
        /* In the same words for a moment, and not for much longer. */
        words[0] = '\0';
        now_ns += SECOND - 1;
        hello(2 * i + 1, ALICE, now_ns);
        assert_int_equal(answers[2 * i + 1], 1);
        assert_int_equal(codes[2 * i + 1], cases[i].code);
        assert_string_equal(words, "your account has expired");
        no_question();
        now_ns += 1;
    }
}

static void test_gone(void **state)
{
    (void)state;
    hello(0, ALICE, START);
    hello(1, ALICE, START);
    uint32_t token = question_of(ALICE);
    accounts_client_gone(&accounts, &clients[0]);
    assert_null(clients[0].account);
    accounts_client_gone(&accounts, &clients[0]);
    accounts_client_gone(&accounts, &clients[1]);
    judge(token, 0, "", START);
    assert_int_equal(answers[0] + answers[1], 0);
    /* It was not asked in vain. */
    hello(2, ALICE, START);
    assert_int_equal(answers[2], 1);
    no_question();
}

/* Not more at a time than the launcher takes; who goes before its turn costs no question. */
static void test_many_users(void **state)
{
    (void)state;
    enum { USERS = ACCOUNT_QUESTIONS_MAX + 3 };
    uint32_t tokens[USERS];
    unsigned asked = 0;
    for (unsigned i = 0; i < USERS; i++) {
        hello(i, ALICE + i, START);
        while (asked < ACCOUNT_QUESTIONS_MAX && asked <= i)
            tokens[asked] = question_of(ALICE + asked), asked++;
    }
    no_question();
    assert_true(accounts_tick(&accounts, START) == INT64_MAX);
    no_question();
    accounts_client_gone(&accounts, &clients[ACCOUNT_QUESTIONS_MAX]);
    judge(tokens[0], 0, "", START);
    question_of(ALICE + ACCOUNT_QUESTIONS_MAX + 1);
    no_question();
    judge(tokens[1], 0, "", START);
    question_of(ALICE + ACCOUNT_QUESTIONS_MAX + 2);
    judge(tokens[2], 0, "", START);
    no_question();
}

static void test_launcher_is_slow(void **state)
{
    (void)state;
    enum { USERS = 40 };
    unsigned asked = 0;
    uid_t uid;
    for (unsigned i = 0; i < USERS; i++)
        hello(i, ALICE + i, START);
    int64_t again_ns = accounts_tick(&accounts, START);
    assert_true(again_ns > START && again_ns < START + SECOND);
    while (asked < USERS) {
        unsigned before = asked;
        for (uint32_t token; (token = question(&uid)) != 0; asked++) {
            assert_int_equal(uid, ALICE + asked);
            judge(token, 0, "", START);
        }
        assert_true(asked > before);
        (void)accounts_tick(&accounts, START);
    }
    assert_true(accounts_tick(&accounts, START) == INT64_MAX);
    for (unsigned i = 0; i < USERS; i++)
        assert_int_equal(answers[i], 1);
}

static void test_forget(void **state)
{
    (void)state;
    hello(0, ALICE, START);
    judge(question_of(ALICE), 0, "", START);
    hello(1, BOB, START);
    uint32_t early = question_of(BOB);
    accounts_forget(&accounts);
    hello(2, ALICE, START);
    judge(question_of(ALICE), EACCES, "no", START);
    assert_int_equal(codes[2], PERR_REFUSED);
    /* Who comes now is not told what was asked about before. */
    hello(3, BOB, START);
    uint32_t late = question_of(BOB);
    judge(early, 0, "", START);
    assert_int_equal(answers[1], 1);
    assert_int_equal(answers[3], 0);
    hello(4, BOB, START);
    no_question();
    judge(late, EACCES, "no", START);
    assert_int_equal(codes[1], 0);
    assert_int_equal(codes[3], PERR_REFUSED);
    assert_int_equal(codes[4], PERR_REFUSED);
}

/* What is remembered has a limit: the oldest answers go. */
static void test_limit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1100; i++) {
        hello(i, ALICE + i, START);
        judge(question_of(ALICE + i), 0, "", START);
    }
    assert_int_equal(accounts.known_count, 1024);
    hello(1100, ALICE + 1099, START);
    hello(1101, ALICE + 76, START);
    assert_int_equal(answers[1100] + answers[1101], 2);
    no_question();
    hello(1102, ALICE + 75, START);
    question_of(ALICE + 75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_question, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_users, setup, teardown),
        cmocka_unit_test_setup_teardown(test_launcher_is_slow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
    };
    return cmocka_run_group_tests_name("accounts", tests, NULL, NULL);
}
