/*
 * The rules of a login: expiry by the shadow file's fields, and PAM with services of the tests' own.
 */
#include "daemon/launcher/account.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char name[64];
static char text[ACCOUNT_TEXT_MAX];

static void write_file(const char *file, const char *content)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    assert_true(fputs(content, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static int setup(void **state)
{
    (void)state;
    const struct passwd *entry = getpwuid(geteuid());
    snprintf(name, sizeof name, "%s", entry ? entry->pw_name : "root");
    snprintf(folder, sizeof folder, "/tmp/test_account_XXXXXX");
    text[0] = '\0';
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const files[] = {"pmapd", "limits"};
    char path[128];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static int enter(const char *service)
{
    write_file("pmapd", service);
    return account_enter(folder, name, geteuid(), text);
}

#define NEEDS_PAM()                                                                                          \
    do {                                                                                                     \
        if (!PMAP_PAM) {                                                                                     \
            print_message("built without PAM\n");                                                            \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

static void test_expired(void **state)
{
    (void)state;
    /* Fields as in shadow(5): last change, most days; expires. -1: empty. */
    static const struct {
        long change, most, expires;
        const char *why;
    } cases[] = {
        {-1, -1, -1, NULL},
        {19000, 99999, -1, NULL},
        {19000, 99999, 20001, NULL},
        {19000, 99999, 20000, "has expired"},
        {19000, 99999, 1, "has expired"},
        {0, 99999, -1, "needs a new password first"},
        {19000, 1000, -1, NULL},
        {19000, 999, -1, "needs a new password first: the old one has expired"},
        {19000, -1, -1, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct spwd entry = {.sp_lstchg = cases[i].change,
                                   .sp_max = cases[i].most,
                                   .sp_inact = -1,
                                   .sp_expire = cases[i].expires};
        const char *why = account_expired(&entry, 20000);
        if (cases[i].why)
            assert_string_equal(why, cases[i].why);
        else
            assert_null(why);
    }
}

static void test_permitted(void **state)
{
    (void)state;
    NEEDS_PAM();
    assert_int_equal(enter("account required pam_permit.so\nsession required pam_permit.so\n"), 0);
    assert_string_equal(text, "");
}

static void test_refused(void **state)
{
    (void)state;
    NEEDS_PAM();
    assert_int_equal(enter("account required pam_deny.so\nsession required pam_permit.so\n"), -EACCES);
    assert_string_equal(text, "PAM refuses your account: Authentication failure");
    /* What a module says is told, in one line. */
    assert_int_equal(enter("account optional pam_echo.so ask%%%u\naccount required pam_deny.so\n"), -EACCES);
    char expected[256];
    snprintf(expected, sizeof expected, "PAM refuses your account: ask%%%s", name);
    assert_string_equal(text, expected);
}

/* A module that fails has not judged anybody, and the next time it may work. */
static void test_fails(void **state)
{
    (void)state;
    NEEDS_PAM();
    static const struct {
        const char *returned; /* by pam_debug, as its option has it */
        int rc;
    } cases[] = {
        {"authinfo_unavail", -EAGAIN},
        {"system_err", -EAGAIN},
        {"service_err", -EAGAIN},
        {"buf_err", -EAGAIN},
        {"abort", -EAGAIN},
        {"cred_unavail", -EAGAIN},
        {"module_unknown", -EAGAIN},
        {"auth_err", -EACCES},
        {"perm_denied", -EACCES},
        {"acct_expired", -EACCES},
        {"new_authtok_reqd", -EACCES},
        {"user_unknown", -EACCES},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char service[128];
        snprintf(service, sizeof service, "account required pam_debug.so acct=%s\n", cases[i].returned);
        print_message("%s\n", cases[i].returned);
        assert_int_equal(enter(service), cases[i].rc);
        const char *words = cases[i].rc == -EACCES
                                ? "PAM refuses your account: "
                                : "PAM cannot say whether your account may be used, try again: ";
        assert_int_equal(strncmp(text, words, strlen(words)), 0);
        assert_true(strlen(text) > strlen(words));
    }
    /* A session is needed as well, and one that is not to be had is no judgement. */
    assert_int_equal(enter("account required pam_permit.so\nsession required pam_deny.so\n"), -EAGAIN);
    /* So is a service that makes sense. */
    assert_int_equal(enter("account required pam_of_nobody.so\nsession required pam_permit.so\n"), -EAGAIN);
}

/* The same rules without the session. */
static void test_check(void **state)
{
    (void)state;
    NEEDS_PAM();
    write_file("pmapd", "account required pam_permit.so\nsession required pam_deny.so\n");
    assert_int_equal(account_check(folder, name, geteuid(), text), 0);
    assert_string_equal(text, "");
    write_file("pmapd", "account required pam_deny.so\nsession required pam_permit.so\n");
    assert_int_equal(account_check(folder, name, geteuid(), text), -EACCES);
    assert_string_equal(text, "PAM refuses your account: Authentication failure");
}

/* limits.conf holds for who enters, and thus for what it becomes. */
static void test_limits(void **state)
{
    (void)state;
    NEEDS_PAM();
    char service[256], limits[256];
    int status;
    snprintf(limits, sizeof limits, "%s hard nofile 77\n%s soft nofile 33\n", name, name);
    snprintf(service, sizeof service,
             "account required pam_permit.so\nsession required pam_limits.so conf=%s/limits\n", folder);
    write_file("limits", limits);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit files = {0};
        int rc = enter(service);
        getrlimit(RLIMIT_NOFILE, &files);
        _exit(rc == 0 && files.rlim_cur == 33 && files.rlim_max == 77 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_no_service(void **state)
{
    (void)state;
    const char *why = NULL;
    assert_false(account_has_pam(folder, &why));
    assert_non_null(why);
    if (!PMAP_PAM)
        return;
    assert_non_null(strstr(why, "no service 'pmapd'"));
    write_file("pmapd", "");
    assert_true(account_has_pam(folder, &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expired),
        cmocka_unit_test_setup_teardown(test_permitted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_service, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
