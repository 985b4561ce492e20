/*
 * pmap-launcher as a program: who gets a process, what it is like, and that nothing is left of it. As root
 * with users that exist nowhere; what an ordinary user cannot try is skipped.
 */
#include "daemon/launcher/spawn.h"
#include "launcher_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct rig rig;

static void assert_word(const char *report, const char *word, const char *expected)
{
    char found[256];
    assert_string_equal(rig_word(report, word, found), expected);
}

/* How many a worker has: six, and in builds for tests what their sanitizers are told. */
static const char *expected_variables(char text[256])
{
    unsigned count = 6;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    count += getenv("ASAN_OPTIONS") != NULL;
    count += getenv("UBSAN_OPTIONS") != NULL;
    count += getenv("TSAN_OPTIONS") != NULL;
#endif
    snprintf(text, 256, "%u", count);
    return text;
}

static bool nothing(const void *arg)
{
    (void)arg;
    return true;
}

/*** How it is started ***/

static void test_not_by_hand(void **state)
{
    (void)state;
    int ends[2], status = 0;
    char text[256] = "";
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 2);
        execl(LAUNCHER, "pmap-launcher", "--socket", "3", "--private", "--worker", "/bin/true", NULL);
        _exit(127);
    }
    close(ends[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, "run by pmapd"));
    close(ends[0]);
}

static void test_spawn(void **state)
{
    (void)state;
    const struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};
    char path[64], text[4096] = "";
    const char *found = NULL;
    unsigned long long ignored;
    pid_t pid = -1;
    int status, limit = RIG_LIMIT_MS;
    rig_start(&rig, NULL);
    int client = rig_client(&rig, nothing, NULL);
    sigaction(SIGUSR1, &ignore, NULL);
    int broker = -1;
    assert_int_equal(launcher_spawn(true, NULL, &broker, &pid), 0);
    sigaction(SIGUSR1, &standard, NULL);
    struct record record = {.type = RECORD_IDENTIFY, .token = 9};
    assert_int_equal(record_send(broker, &record, client), 0);
    struct pollfd item = {.fd = broker, .events = POLLIN};
    int fd = -1;
    assert_int_equal(poll(&item, 1, limit), 1);
    assert_int_equal(record_receive(broker, 0, &record, &fd), 1);
    assert_int_equal(record.type, RECORD_CONTEXT);
    assert_int_equal(record.uid, geteuid());
    /* It has neither our signals' state nor our descriptors: its own are /dev/null's three and a few more. */
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    found = strstr(text, "SigIgn:");
    assert_non_null(found);
    ignored = strtoull(found + 7, NULL, 16);
    assert_false(ignored & (1ULL << (SIGUSR1 - 1)));
    close(broker);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(client);
    rig_stop(&rig);
}

/*** What a worker is like ***/

static void assert_like_a_worker(const char *report, const struct record *started)
{
    char text[256];
    snprintf(text, sizeof text, "%u", started->worker);
    assert_word(report, "number", text);
    snprintf(text, sizeof text, "%d", started->pid);
    assert_word(report, "pid", text);
    assert_word(report, "name", "pmap-worker");
    assert_word(report, "slot", "3");
    assert_word(report, "back", "0");
    assert_word(report, "capabilities", "0");
    assert_word(report, "blocked", "0");
    assert_word(report, "ignored", "0");
    assert_word(report, "alarm", "0");
    assert_word(report, "death", "9");
    assert_word(report, "umask", "77");
    assert_word(report, "cwd", "/");
    assert_word(report, "nulls", "1");
    assert_word(report, "descriptors", "0");
    assert_word(report, "session", "1");
    assert_word(report, "group", "1");
    assert_word(report, "variables", expected_variables(text));
    assert_word(report, "PATH", "/usr/local/bin:/usr/bin:/bin");
    assert_true(rig_word(report, "HOME", text)[0] == '/');
    assert_true(rig_word(report, "SHELL", text)[0] == '/');
    assert_string_not_equal(rig_word(report, "LANG", text), "");
}

static void test_private(void **state)
{
    (void)state;
    char report[RIG_REPORT_MAX], text[256];
    rig_start(&rig, NULL);
    int client = rig_client_of(&rig, rig.uid);
    struct record context = rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, client));
    struct record started = rig_start_worker(&rig, client);
    assert_int_equal(context.uid, rig.uid);
    assert_int_equal(started.uid, rig.uid);
    assert_int_equal(started.context, context.context);
    int worker = rig_accept(&rig, rig.uid, report);
    assert_like_a_worker(report, &started);
    snprintf(text, sizeof text, "%u %u %u %u", rig.uid, rig.uid, rig.uid, rig.uid);
    assert_word(report, "uids", text);
    rig_stop(&rig);
    rig_await_end(worker);
    close(client);
}

static void test_private_serves_one(void **state)
{
    (void)state;
    RIG_NEEDS_ROOT("another user");
    rig_start(&rig, NULL);
    int bob = rig_client_of(&rig, BOB), root = rig_client_of(&rig, 0);
    rig_refused(&rig, rig_send(&rig, RECORD_START, bob), EPERM, "private to uid 54321");
    rig_refused(&rig, rig_send(&rig, RECORD_IDENTIFY, root), EPERM, "private to uid 54321");
    close(bob);
    close(root);
    rig_stop(&rig);
}

/* What a submitting process is like. */
static bool be_special(const void *arg)
{
    const int *nice = arg;
    const gid_t groups[] = {60003, 60001, 60002};
    const struct rlimit files = {200, 300}, core = {0, 4096};
    cpu_set_t cpus;
    sigset_t signals;
    sigfillset(&signals);
    sched_getaffinity(0, sizeof cpus, &cpus);
    bool one = false;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &cpus) && one)
            CPU_CLR(cpu, &cpus);
        one = one || CPU_ISSET(cpu, &cpus);
    }
    return sched_setaffinity(0, sizeof cpus, &cpus) == 0 && setrlimit(RLIMIT_NOFILE, &files) == 0 &&
           setrlimit(RLIMIT_CORE, &core) == 0 && setpriority(PRIO_PROCESS, 0, *nice) == 0 &&
           sigprocmask(SIG_BLOCK, &signals, NULL) == 0 && setgroups(3, groups) == 0 && setgid(BOB) == 0 &&
           setuid(ALICE) == 0;
}

static void test_as_the_submitter(void **state)
{
    (void)state;
    RIG_NEEDS_ROOT("another user");
    const int five = 5, six = 6;
    char report[RIG_REPORT_MAX], name[32];
    rig_start(&rig, RIG_OPEN);
    int client = rig_client(&rig, be_special, &five), same = rig_client(&rig, be_special, &five);
    int other = rig_client(&rig, be_special, &six), plain = rig_client_of(&rig, ALICE);
    struct record started = rig_start_worker(&rig, client);
    assert_int_equal(started.uid, ALICE);
    int worker = rig_accept(&rig, ALICE, report);
    assert_like_a_worker(report, &started);
    assert_word(report, "uids", "54321 54321 54321 54321");
    assert_word(report, "gids", "54322 54322 54322 54322");
    assert_word(report, "groups", "60001 60002 60003");
    assert_word(report, "nice", "5");
    assert_word(report, "cpus", "1");
    assert_word(report, "oom", "0");
    assert_word(report, "HOME", "/");
    assert_word(report, "USER", "54321");
    assert_word(report, "LOGNAME", "54321");
    assert_word(report, "SHELL", "/bin/sh");
    snprintf(name, sizeof name, "limit%d", RLIMIT_NOFILE);
    assert_word(report, name, "300 300");
    snprintf(name, sizeof name, "limit%d", RLIMIT_CORE);
    assert_string_not_equal(rig_word(report, name, (char[256]){0}), "");
    /* Equal contexts have one number. */
    struct record context = rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, same));
    assert_int_equal(context.context, started.context);
    assert_int_equal(rig_start_worker(&rig, same).context, started.context);
    struct record second = rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, other));
    assert_int_not_equal(second.context, started.context);
    assert_int_equal(second.uid, ALICE);
    struct record third = rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, plain));
    assert_true(third.context != second.context && third.context != started.context);
    assert_int_equal(rig.owner_count, 1);
    close(client);
    close(same);
    close(other);
    close(plain);
    rig_stop(&rig);
    rig_await_end(worker);
}

static bool connects(uid_t uid, const char *path)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= (int)sizeof address.sun_path)
            _exit(3);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0)
            _exit(3);
        int rc = connect(fd, (const struct sockaddr *)&address, sizeof address);
        _exit(rc == 0 ? 0 : errno == EACCES ? 1 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    return WEXITSTATUS(status) == 0;
}

static void test_sockets_are_the_owners(void **state)
{
    (void)state;
    RIG_NEEDS_ROOT("another user");
    char report[RIG_REPORT_MAX], folder[RECORD_TEXT_MAX];
    struct stat st;
    rig_start(&rig, RIG_OPEN);
    int alice = rig_client_of(&rig, ALICE), bob = rig_client_of(&rig, BOB);
    rig_start_worker(&rig, alice);
    rig_start_worker(&rig, bob);
    assert_int_equal(rig.owner_count, 2);
    close(rig_accept(&rig, ALICE, report));
    assert_word(report, "uids", "54321 54321 54321 54321");
    close(rig_accept(&rig, BOB, report));
    assert_word(report, "uids", "54322 54322 54322 54322");
    assert_int_equal(stat(rig.owners[0].path, &st), 0);
    assert_int_equal(st.st_uid, ALICE);
    assert_int_equal(st.st_mode & 07777, 0600);
    memcpy(folder, rig.owners[0].path, sizeof folder);
    *strrchr(folder, '/') = '\0';
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_mode & 07777, 0711);
    assert_true(connects(ALICE, rig.owners[0].path));
    assert_false(connects(BOB, rig.owners[0].path));
    close(alice);
    close(bob);
    rig_stop(&rig);
}

static void test_socket_comes_again(void **state)
{
    (void)state;
    char report[RIG_REPORT_MAX];
    int client = rig_start_any(&rig);
    rig_start_worker(&rig, client);
    int first = rig_accept(&rig, rig_any_uid(), report);
    assert_int_equal(unlink(rig.owners[0].path), 0);
    rig_start_worker(&rig, client);
    assert_int_equal(access(rig.owners[0].path, F_OK), 0);
    close(rig_accept(&rig, rig_any_uid(), report)); /* at the new one: rig took note of it */
    close(first);
    close(client);
    rig_stop(&rig);
}

/*** Who gets none ***/

static void test_policy(void **state)
{
    (void)state;
    RIG_NEEDS_ROOT("another user");
    const uid_t overflow = 65534, low = 999;
    const int five = 5;
    rig_start(&rig, "[access]\nallow = 54321, 65534, 999, 0\ndeny = @60002\n");
    int fds[] = {rig_client_of(&rig, 0),
                 rig_client_of(&rig, low),
                 rig_client_of(&rig, overflow),
                 rig_client_of(&rig, BOB),
                 rig_client(&rig, be_special, &five),
                 rig_client_of(&rig, ALICE)};
    rig_refused(&rig, rig_send(&rig, RECORD_START, fds[0]), EPERM, "allow_root");
    rig_refused(&rig, rig_send(&rig, RECORD_START, fds[1]), EPERM, "min_uid (1000)");
    rig_refused(&rig, rig_send(&rig, RECORD_START, fds[2]), EPERM, "not known");
    rig_refused(&rig, rig_send(&rig, RECORD_START, fds[3]), EPERM, "'allow' of [access]");
    rig_refused(&rig, rig_send(&rig, RECORD_START, fds[4]), EPERM, "'deny' of [access]");
    rig_refused(&rig, rig_send(&rig, RECORD_IDENTIFY, fds[0]), EPERM, "allow_root");
    rig_expect(&rig, RECORD_CONTEXT, rig_send(&rig, RECORD_IDENTIFY, fds[5]));
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        close(fds[i]);
    rig_stop(&rig);
}

static void test_allow_root(void **state)
{
    (void)state;
    RIG_NEEDS_ROOT("a job of root's");
    char report[RIG_REPORT_MAX];
    rig_start(&rig, "[access]\nallow_root = yes\n");
    int client = rig_client_of(&rig, 0);
    struct record started = rig_start_worker(&rig, client);
    assert_int_equal(started.uid, 0);
    close(rig_accept(&rig, 0, report));
    assert_word(report, "uids", "0 0 0 0");
    assert_word(report, "USER", "root");
    close(client);
    rig_stop(&rig);
}

static bool become_alice(void)
{
    return setgroups(0, NULL) == 0 && setgid(ALICE) == 0 && setuid(ALICE) == 0;
}

static bool be_without_new_privileges(const void *arg)
{
    (void)arg;
    return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) == 0 && become_alice();
}

static bool be_under_seccomp(const void *arg)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog program = {.len = 1, .filter = all};
    (void)arg;
    return prctl(PR_SET_SECCOMP, (unsigned long)SECCOMP_MODE_FILTER, &program, 0UL, 0UL) == 0 &&
           become_alice();
}

static bool be_in_user_namespace(const void *arg)
{
    (void)arg;
    return become_alice() && unshare(CLONE_NEWUSER) == 0;
}

static bool be_in_mount_namespace(const void *arg)
{
    (void)arg;
    return unshare(CLONE_NEWNS) == 0 && become_alice();
}

/* In another root directory, in which the clients' socket has the same path. */
static bool be_in_other_root(const void *arg)
{
    char link[192];
    (void)arg;
    snprintf(link, sizeof link, "%s/tmp", rig.folder);
    if (mkdir(link, 0755) < 0)
        return false;
    snprintf(link, sizeof link, "%s%s", rig.folder, rig.folder);
    return symlink("..", link) == 0 && chroot(rig.folder) == 0 && chdir("/") == 0 && become_alice();
}

static void leave_other_root(void)
{
    char path[192];
    snprintf(path, sizeof path, "%s%s", rig.folder, rig.folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/tmp", rig.folder);
    rmdir(path);
}

static void test_sandboxes(void **state)
{
    (void)state;
    RIG_NEEDS_ROOT("another user");
    static const struct {
        bool (*prepare)(const void *arg);
        const char *words;
    } cases[] = {{be_without_new_privileges, "no_new_privs"},
                 {be_under_seccomp, "seccomp"},
                 {be_in_user_namespace, "user namespace"},
                 {be_in_mount_namespace, "mount namespace"},
                 {be_in_other_root, "root directory"}};
    rig_start(&rig, RIG_OPEN);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int client = rig_client(&rig, cases[i].prepare, NULL);
        if (client < 0) {
            print_message("not possible here: %s\n", cases[i].words);
            continue;
        }
        rig_refused(&rig, rig_send(&rig, RECORD_IDENTIFY, client), EPERM, cases[i].words);
        rig_refused(&rig, rig_send(&rig, RECORD_START, client), EPERM, cases[i].words);
        close(client);
    }
    leave_other_root();
    rig_stop(&rig);

    rig_start(&rig, "[access]\nsame_namespace = no\n");
    int client = rig_client(&rig, be_without_new_privileges, NULL);
    if (client >= 0) {
        rig_start_worker(&rig, client);
        close(client);
    }
    rig_stop(&rig);
}

static void test_client_gone(void **state)
{
    (void)state;
    int client = rig_start_any(&rig);
    rig_client_end(&rig);
    rig_refused(&rig, rig_send(&rig, RECORD_START, client), ESRCH, "gone");
    rig_refused(&rig, rig_send(&rig, RECORD_IDENTIFY, client), ESRCH, "gone");
    close(client);
    rig_stop(&rig);
}

/* Whatever the broker shows that is no connection which a client made to it. */
static void test_no_client(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int pair[2], pipes[2], client = rig_start_any(&rig);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", rig.clients);
    /* The kernel names the one who listens as its peer. */
    int own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(own, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    int packets = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int wrong[] = {own, pair[0], pipes[0], packets, inet, rig.listener, rig.broker};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        rig_refused(&rig, rig_send(&rig, RECORD_START, wrong[i]), ENOTSOCK, "not a client's connection");
    rig_refused(&rig, rig_send(&rig, RECORD_START, -1), EBADF, "no client's connection");
    rig_start_worker(&rig, client);
    close(own);
    close(pair[0]);
    close(pair[1]);
    close(pipes[0]);
    close(pipes[1]);
    close(packets);
    close(inet);
    close(client);
    rig_stop(&rig);
}

/* A worker that cannot be executed is a refusal, and the next one has to wait. */
static void test_start_fails(void **state)
{
    (void)state;
    struct record record = {0};
    char away[256];
    int client = rig_start_any(&rig);
    rig_start_worker(&rig, client);
    snprintf(away, sizeof away, "%s/clients.away", rig.folder);
    assert_int_equal(rename(rig.worker, away), 0);
    rig_refused(&rig, rig_send(&rig, RECORD_START, client), ENOENT, "pmap-worker: No such file");
    rig_refused(&rig, rig_send(&rig, RECORD_START, client), EAGAIN, "failed to start 1 times");
    assert_int_equal(rename(away, rig.worker), 0);
    for (int waited = 0; waited < RIG_LIMIT_MS && record.type != RECORD_STARTED; waited += 20) {
        rig_send(&rig, RECORD_START, client);
        assert_true(rig_next(&rig, &record));
        poll(NULL, 0, 20);
    }
    assert_int_equal(record.type, RECORD_STARTED);
    assert_int_equal(chmod(rig.worker, 0644), 0);
    rig_refused(&rig, rig_send(&rig, RECORD_START, client), EACCES, "pmap-worker: Permission denied");
    close(client);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_not_by_hand, &rig),
        RIG_TEST(test_spawn, &rig),
        RIG_TEST(test_private, &rig),
        RIG_TEST(test_private_serves_one, &rig),
        RIG_TEST(test_as_the_submitter, &rig),
        RIG_TEST(test_sockets_are_the_owners, &rig),
        RIG_TEST(test_socket_comes_again, &rig),
        RIG_TEST(test_policy, &rig),
        RIG_TEST(test_allow_root, &rig),
        RIG_TEST(test_sandboxes, &rig),
        RIG_TEST(test_client_gone, &rig),
        RIG_TEST(test_no_client, &rig),
        RIG_TEST(test_start_fails, &rig),
    };
    return cmocka_run_group_tests_name("launcher", tests, NULL, NULL);
}
