/*
 * daemon/common/config_pack.h: a configuration that was packed is the same when it is unpacked, and what is
 * no packed one is refused.
 */
#include "daemon/common/config_pack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* Each kind of key, and none with its default. */
static const char text[] = "[daemon]\n"
                           "user = nobody\n"
                           "endpoint = ipc:///run/a.sock, ipc:///run/b.sock\n"
                           "stop_timeout = 3s\n"
                           "queued_bytes = 2G\n"
                           "[pool]\n"
                           "slots = 7\n"
                           "guarantee = no\n"
                           "[access]\n"
                           "allow = root, 1234, @0, @4321\n"
                           "deny = 77\n"
                           "admin = *\n"
                           "min_uid = 500\n"
                           "[defaults]\n"
                           "weight = 3\n"
                           "memory = 1M\n"
                           "[user 1234]\n"
                           "weight = 9\n"
                           "[group 4321]\n"
                           "slots = 2\n"
                           "spool = 5M\n";

static int new_file(const void *data, size_t size)
{
    int fd = memfd_create("pack", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    return fd;
}

static void read_it(struct config *c)
{
    char path[64], error[CONFIG_ERROR_MAX] = "";
    int fd = new_file(text, sizeof text - 1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (config_read(path, c, error) < 0)
        fail_msg("%s", error);
    close(fd);
}

static void assert_list(const struct access_list *a, const struct access_list *b)
{
    assert_int_equal(a->everyone, b->everyone);
    assert_int_equal(a->uid_count, b->uid_count);
    assert_int_equal(a->gid_count, b->gid_count);
    for (size_t i = 0; i < a->uid_count; i++)
        assert_int_equal(a->uids[i], b->uids[i]);
    for (size_t i = 0; i < a->gid_count; i++)
        assert_int_equal(a->gids[i], b->gids[i]);
}

static void assert_limits(const struct config *a, const struct config *b, uid_t uid, gid_t gid)
{
    struct limits one = config_limits(a, uid, &gid, 1), other = config_limits(b, uid, &gid, 1);
    assert_int_equal(one.weight, other.weight);
    assert_int_equal(one.slots, other.slots);
    assert_int_equal(one.spool, other.spool);
    assert_int_equal(one.memory, other.memory);
    assert_string_equal(config_limit_section(a, uid, &gid, 1, "weight"),
                        config_limit_section(b, uid, &gid, 1, "weight"));
}

static void comes_back_the_same(void **state)
{
    (void)state;
    struct config before, after;
    read_it(&before);
    int fd = new_file("", 0);
    assert_int_equal(config_pack(&before, fd), 0);
    assert_int_equal(config_unpack(fd, &after), 0);
    close(fd);
    assert_string_equal(after.user, "nobody");
    assert_string_equal(after.endpoints[0], "ipc:///run/a.sock");
    assert_string_equal(after.endpoints[1], "ipc:///run/b.sock");
    assert_null(after.endpoints[2]);
    assert_int_equal(after.stop_timeout_ns, INT64_C(3000000000));
    assert_int_equal(after.kill_grace_ns, before.kill_grace_ns);
    assert_int_equal(after.queued_bytes, UINT64_C(2) << 30);
    assert_int_equal(after.slots, 7);
    assert_false(after.guarantee);
    assert_int_equal(after.guarantee_after_ns, before.guarantee_after_ns);
    assert_int_equal(after.allow.uid_count, 2);
    assert_list(&before.allow, &after.allow);
    assert_list(&before.deny, &after.deny);
    assert_list(&before.admin, &after.admin);
    assert_int_equal(after.min_uid, 500);
    assert_int_equal(after.same_namespace, before.same_namespace);
    assert_int_equal(after.section_count, 2);
    assert_limits(&before, &after, 1, 1);
    assert_limits(&before, &after, 1234, 1);
    assert_limits(&before, &after, 1, 4321);
    assert_limits(&before, &after, 1234, 4321);
    config_free(&before);
    config_free(&after);
}

/* Cut anywhere, or with a byte of it changed, it is refused, or one that can be freed. */
static void what_is_none_is_refused(void **state)
{
    (void)state;
    struct config before, after;
    read_it(&before);
    int whole = new_file("", 0);
    assert_int_equal(config_pack(&before, whole), 0);
    config_free(&before);
    size_t size = (size_t)lseek(whole, 0, SEEK_END);
    char *bytes = malloc(size);
    assert_non_null(bytes);
    assert_int_equal(pread(whole, bytes, size, 0), (ssize_t)size);
    close(whole);
    for (size_t cut = 0; cut < size; cut++) {
        int fd = new_file(bytes, cut);
        assert_int_equal(config_unpack(fd, &after), -EPROTO);
        close(fd);
    }
    bytes[size - 1] ^= 1;
    int fd = new_file(bytes, size);
    assert_int_equal(config_unpack(fd, &after), -EPROTO);
    close(fd);
    assert_int_equal(config_unpack(-1, &after), -EBADF);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(comes_back_the_same),
                                       cmocka_unit_test(what_is_none_is_refused)};
    return cmocka_run_group_tests_name("config_pack", tests, NULL, NULL);
}
