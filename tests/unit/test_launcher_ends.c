/*
 * pmap-launcher as a program: what becomes of workers and all that came of them when one is killed, dies, or
 * loses its broker; and what a broker may not send.
 */
#include "launcher_rig.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct rig rig;

static void test_kill(void **state)
{
    (void)state;
    char report[RIG_REPORT_MAX];
    int client = rig_start_any(&rig);
    struct record a = rig_start_worker(&rig, client), b = rig_start_worker(&rig, client);
    int first = rig_accept(&rig, rig_any_uid(), report), second = rig_accept(&rig, rig_any_uid(), report);
    assert_int_not_equal(a.worker, b.worker);
    if (strtol(rig_word(report, "number", (char[256]){0}), NULL, 10) == a.worker) {
        int swap = first;
        first = second;
        second = swap;
    }
    rig_tell(first, 'd');
    rig_tell(first, 's');
    rig_tell(second, 'd');
    rig_kill(&rig, 4711);
    rig_kill(&rig, a.worker);
    struct record exited = rig_expect(&rig, RECORD_EXITED, 0);
    assert_int_equal(exited.worker, a.worker);
    assert_true(WIFSIGNALED(exited.status) && WTERMSIG(exited.status) == SIGKILL);
    rig_await_end(first);
    /* Once only, and the other one has not noticed. */
    rig_kill(&rig, a.worker);
    rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, client));
    rig_tell(second, 's');
    rig_kill(&rig, b.worker);
    assert_int_equal(rig_expect(&rig, RECORD_EXITED, 0).worker, b.worker);
    rig_await_end(second);
    close(client);
    rig_stop(&rig);
}

static void test_death_leaves_nothing(void **state)
{
    (void)state;
    char report[RIG_REPORT_MAX];
    int client = rig_start_any(&rig);
    struct record a = rig_start_worker(&rig, client);
    int first = rig_accept(&rig, rig_any_uid(), report);
    rig_start_worker(&rig, client);
    int second = rig_accept(&rig, rig_any_uid(), report);
    rig_tell(first, 'd');
    rig_tell(first, 's');
    const char die = 'x';
    assert_int_equal(write(first, &die, 1), 1);
    struct record exited = rig_expect(&rig, RECORD_EXITED, 0);
    assert_int_equal(exited.worker, a.worker);
    assert_int_equal(exited.pid, a.pid);
    assert_true(WIFEXITED(exited.status) && WEXITSTATUS(exited.status) == 7);
    rig_await_end(first);
    rig_tell(second, 's');
    close(client);
    rig_stop(&rig);
    rig_await_end(second);
}

static void test_broker_dies(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    int workers[COUNT];
    char report[RIG_REPORT_MAX];
    int client = rig_start_any(&rig);
    for (int i = 0; i < COUNT; i++) {
        rig_start_worker(&rig, client);
        workers[i] = rig_accept(&rig, rig_any_uid(), report);
        rig_tell(workers[i], 'd');
        rig_tell(workers[i], 's');
    }
    for (int i = 0; i < COUNT; i++)
        rig_send(&rig, RECORD_START, client); /* some on their way */
    close(client);
    rig_stop(&rig);
    for (int i = 0; i < COUNT; i++)
        rig_await_end(workers[i]);
}

static bool be_limited(const void *arg)
{
    const struct rlimit processes = {60, 60};
    (void)arg;
    return setrlimit(RLIMIT_NPROC, &processes) == 0 && setgroups(0, NULL) == 0 && setgid(ALICE) == 0 &&
           setuid(ALICE) == 0;
}

static void test_fork_bomb(void **state)
{
    (void)state;
    RIG_NEEDS_ROOT("a user of whom nothing else runs");
    char report[RIG_REPORT_MAX];
    rig_start(&rig, RIG_OPEN);
    int client = rig_client(&rig, be_limited, NULL);
    struct record started = rig_start_worker(&rig, client);
    int worker = rig_accept(&rig, ALICE, report);
    rig_tell(worker, 'b');
    rig_kill(&rig, started.worker);
    assert_int_equal(rig_expect(&rig, RECORD_EXITED, 0).worker, started.worker);
    rig_await_end(worker);
    rig_start_worker(&rig, client);
    worker = rig_accept(&rig, ALICE, report);
    rig_tell(worker, 'b');
    close(client);
    rig_stop(&rig);
    rig_await_end(worker);
}

static unsigned scaled(unsigned count)
{
    const char *scale = getenv("PMAP_TEST_SCALE");
    return scale && strtol(scale, NULL, 10) > 1 ? count / 5 : count;
}

static void test_many(void **state)
{
    (void)state;
    const unsigned count = scaled(200);
    unsigned started = 0, exited = 0;
    struct record record;
    int client = rig_start_any(&rig);
    rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, client));
    size_t descriptors = rig_descriptors(&rig);
    /* All at once, and no answer is read before the last one is asked for. */
    for (unsigned i = 0; i < count; i++)
        rig_send(&rig, RECORD_START, client);
    while (exited < count) {
        assert_true(rig_next(&rig, &record));
        if (record.type == RECORD_STARTED) {
            started++;
            rig_kill(&rig, record.worker);
        } else {
            assert_int_equal(record.type, RECORD_EXITED);
            exited++;
        }
    }
    assert_int_equal(started, count);
    rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, client));
    assert_int_equal(rig_descriptors(&rig), descriptors);
    assert_false(rig_has_children(&rig));
    close(client);
    rig_stop(&rig);
}

/*** What a broker may not send ***/

static void test_many_descriptors(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    const struct record request = {.type = RECORD_IDENTIFY, .token = 77};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(COUNT * sizeof(int))];
    } control = {.space = {0}};
    struct iovec data = {(void *)&request, sizeof request};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    int fds[COUNT], client = rig_start_any(&rig);
    for (int i = 0; i < COUNT; i++)
        fds[i] = client;
    rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, client));
    size_t descriptors = rig_descriptors(&rig);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    assert_int_equal(sendmsg(rig.broker, &message, 0), sizeof request);
    rig_expect(&rig, RECORD_CONTEXT, 77);
    /* An administrator's signal does not end it either: it ends with its broker. */
    kill(rig.pid, SIGTERM);
    rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, client));
    assert_int_equal(rig_descriptors(&rig), descriptors);
    close(client);
    rig_stop(&rig);
}

static void test_not_a_record(void **state)
{
    (void)state;
    static const char bytes[400] = {[1] = 1};
    const struct record unknown = {.type = 9};
    struct record unended = {.type = RECORD_IDENTIFY}, last;
    memset(unended.text, 'x', sizeof unended.text);
    const struct {
        const void *data;
        size_t size;
    } wrong[] = {{bytes, 1},
                 {bytes, sizeof(struct record) - 1},
                 {bytes, sizeof bytes},
                 {&unknown, sizeof unknown},
                 {&unended, sizeof unended}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char report[RIG_REPORT_MAX];
        int status = 0, client = rig_start_any(&rig);
        rig_start_worker(&rig, client);
        int worker = rig_accept(&rig, rig_any_uid(), report);
        rig_tell(worker, 'd');
        assert_int_equal(send(rig.broker, wrong[i].data, wrong[i].size, MSG_NOSIGNAL), wrong[i].size);
        assert_false(rig_next(&rig, &last));
        rig_await_end(worker);
        assert_int_equal(waitpid(rig.pid, &status, 0), rig.pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        rig.pid = -1;
        close(client);
        rig_abort(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_kill, &rig),         RIG_TEST(test_death_leaves_nothing, &rig),
        RIG_TEST(test_broker_dies, &rig),  RIG_TEST(test_fork_bomb, &rig),
        RIG_TEST(test_many, &rig),         RIG_TEST(test_many_descriptors, &rig),
        RIG_TEST(test_not_a_record, &rig),
    };
    return cmocka_run_group_tests_name("launcher_ends", tests, NULL, NULL);
}
