/*
 * daemon/common/config.h: what pmapd.conf(5) means, and what is said of a file that is wrong. Names are
 * looked up on the real machine: root is on every one, the other users are given by number.
 */
#include "tests/unit/config_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MS           INT64_C(1000000)
#define S            (1000 * MS)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void assert_list_equal(const struct access_list *a, const struct access_list *b)
{
    assert_int_equal(a->everyone, b->everyone);
    assert_int_equal(a->uid_count, b->uid_count);
    assert_int_equal(a->gid_count, b->gid_count);
    if (a->uid_count > 0)
        assert_memory_equal(a->uids, b->uids, a->uid_count * sizeof(*a->uids));
    if (a->gid_count > 0)
        assert_memory_equal(a->gids, b->gids, a->gid_count * sizeof(*a->gids));
}

static void assert_config_equal(const struct config *a, const struct config *b)
{
    assert_string_equal(a->user, b->user);
    for (size_t i = 0;; i++) {
        if (a->endpoints[i] == NULL || b->endpoints[i] == NULL) {
            assert_ptr_equal(a->endpoints[i], b->endpoints[i]);
            break;
        }
        assert_string_equal(a->endpoints[i], b->endpoints[i]);
    }
    assert_int_equal(a->stop_timeout_ns, b->stop_timeout_ns);
    assert_int_equal(a->kill_grace_ns, b->kill_grace_ns);
    assert_int_equal(a->queued_bytes, b->queued_bytes);
    assert_int_equal(a->slots, b->slots);
    assert_int_equal(a->chunk_target_ns, b->chunk_target_ns);
    assert_int_equal(a->guarantee, b->guarantee);
    assert_int_equal(a->guarantee_after_ns, b->guarantee_after_ns);
    assert_int_equal(a->guarantee_max, b->guarantee_max);
    assert_list_equal(&a->allow, &b->allow);
    assert_list_equal(&a->deny, &b->deny);
    assert_list_equal(&a->admin, &b->admin);
    assert_int_equal(a->allow_root, b->allow_root);
    assert_int_equal(a->min_uid, b->min_uid);
    assert_int_equal(a->same_namespace, b->same_namespace);
    rig_assert_limits(a->defaults, b->defaults);
    assert_int_equal(a->section_count, 0);
    assert_int_equal(b->section_count, 0);
}

static void test_defaults(void **state)
{
    const struct limits limits = {.weight = 1,
                                  .slots = 0,
                                  .jobs = 1000,
                                  .connections = 256,
                                  .queued_bytes = 64 << 20,
                                  .spool = UINT64_C(10) << 30,
                                  .memory = 0,
                                  .pids = 0};
    struct config c;

    (void)state;
    assert_int_equal(config_defaults(&c), 0);
    assert_string_equal(c.user, "pmapd");
    assert_string_equal(c.endpoints[0], "ipc:///run/pmapd/pmapd.sock");
    assert_null(c.endpoints[1]);
    assert_int_equal(c.stop_timeout_ns, 10 * S);
    assert_int_equal(c.kill_grace_ns, 2 * S);
    assert_int_equal(c.queued_bytes, UINT64_C(1) << 30);
    assert_int_equal(c.slots, 0);
    assert_int_equal(c.chunk_target_ns, 10 * MS);
    assert_true(c.guarantee);
    assert_int_equal(c.guarantee_after_ns, 100 * MS);
    assert_int_equal(c.guarantee_max, 0);
    assert_true(c.allow.everyone);
    assert_false(c.deny.everyone);
    assert_int_equal(c.deny.uid_count + c.deny.gid_count, 0);
    assert_false(c.admin.everyone);
    assert_int_equal(c.admin.uid_count, 1);
    assert_int_equal(c.admin.uids[0], 0);
    assert_false(c.allow_root);
    assert_int_equal(c.min_uid, 1000);
    assert_true(c.same_namespace);
    rig_assert_limits(c.defaults, limits);
    rig_assert_limits(config_limits(&c, 12345, NULL, 0), limits);
    config_free(&c);
    config_free(&c);
    config_free(NULL);
}

/* Does the text have this line, in this section? */
static bool has_line(const char *text, const char *section, const char *line)
{
    char head[64], whole[256];
    snprintf(head, sizeof head, "\n[%s]\n", section);
    snprintf(whole, sizeof whole, "\n%s\n", line);
    const char *begin = strstr(text, head);
    const char *found = begin ? strstr(begin, whole) : NULL;
    const char *next = begin ? strstr(begin + strlen(head), "\n[") : NULL;
    return found && (!next || found < next);
}

/* Each key stands in the installed file, in its section, with its default. */
static void test_installed_keys(void **state)
{
    char *text = rig_installed();
    struct config_key key;
    size_t i = 0;

    (void)state;
    for (; config_key(i, &key); i++) {
        char line[200];
        snprintf(line, sizeof line, "#%s =%s%s", key.name, *key.initial ? " " : "", key.initial);
        if (!has_line(text, key.section, line))
            fail_msg("pmapd.conf has no '%s' in [%s]", line, key.section);
    }
    assert_int_equal(rig_uncomment(text), i); /* and no other */
    free(text);
}

/* The installed file says nothing but the defaults, with its keys commented out and without. */
static void test_installed_file(void **state)
{
    struct config defaults, c;
    char *text = rig_installed(), *adm;

    (void)state;
    assert_int_equal(config_defaults(&defaults), 0);
    assert_int_equal(config_read(PMAPD_CONF, &c, rig_error), 0);
    assert_config_equal(&c, &defaults);
    config_free(&c);

    rig_uncomment(text);
    /* A machine without the group adm has no such admins by default, but a file that names it is wrong there.
     */
    adm = strstr(text, ", @adm");
    assert_non_null(adm);
    if (defaults.admin.gid_count == 0)
        memset(adm, ' ', strlen(", @adm"));
    assert_int_equal(rig_read_text(text, &c), 0);
    assert_config_equal(&c, &defaults);
    config_free(&c);
    config_free(&defaults);
    free(text);
}

static void test_values(void **state)
{
    const struct limits limits = {7, 3, 5, 9, 1 << 20, 0, UINT64_C(8) << 30, 512};
    struct config c;

    (void)state;
    assert_int_equal(rig_read_text("[daemon]\n"
                                   "user=_pmap\n"
                                   "endpoint = ipc:///a, ipc:///b/c\tipc:///d ,\n"
                                   "stop_timeout = 1m\nkill_grace = 1500ms\nqueued_bytes = 2G\n"
                                   "[pool]\n"
                                   "slots = 12\nchunk_target = 250us\nguarantee = no\n"
                                   "guarantee_after = 1h\nguarantee_max = 2\n"
                                   "[access]\n"
                                   "allow = root,1234 5678\n"
                                   "deny = @4321\n"
                                   "admin =\n"
                                   "allow_root = yes\nmin_uid = 0\nsame_namespace = no\n"
                                   "[defaults]\n"
                                   "weight = 7\nslots = 3\njobs = 5\nconnections = 9\nqueued_bytes = 1024K\n"
                                   "spool = 0\nmemory = 8G\npids = 512\n",
                                   &c),
                     0);
    assert_string_equal(c.user, "_pmap");
    assert_string_equal(c.endpoints[0], "ipc:///a");
    assert_string_equal(c.endpoints[1], "ipc:///b/c");
    assert_string_equal(c.endpoints[2], "ipc:///d");
    assert_null(c.endpoints[3]);
    assert_int_equal(c.stop_timeout_ns, 60 * S);
    assert_int_equal(c.kill_grace_ns, 1500 * MS);
    assert_int_equal(c.queued_bytes, UINT64_C(2) << 30);
    assert_int_equal(c.slots, 12);
    assert_int_equal(c.chunk_target_ns, MS / 4);
    assert_false(c.guarantee);
    assert_int_equal(c.guarantee_after_ns, 3600 * S);
    assert_int_equal(c.guarantee_max, 2);
    assert_list_equal(&c.allow, &(struct access_list){.uids = (uid_t[]){0, 1234, 5678}, .uid_count = 3});
    assert_list_equal(&c.deny, &(struct access_list){.gids = (gid_t[]){4321}, .gid_count = 1});
    assert_list_equal(&c.admin, &(struct access_list){0});
    assert_true(c.allow_root);
    assert_int_equal(c.min_uid, 0);
    assert_false(c.same_namespace);
    rig_assert_limits(c.defaults, limits);
    config_free(&c);
}

/* Indentation, comments, blank lines, CRLF and a missing last newline: none of them changes what a line says.
 */
static void test_forms(void **state)
{
    static const char *const same[] = {
        "[pool]\nslots = 5\n[access]\nallow = 7\ndeny = 8\n",
        "[pool]\r\nslots = 5\r\n\r\n[access]\r\nallow = 7\r\ndeny = 8\r\n",
        "# a\n ; b\n\n \t \n  [ pool ]  \n\tslots=5\t\n\t# c\n[access]\nallow = 7\n\n    deny = 8",
        "\xef\xbb\xbf[pool]\nslots = 5\n[access]\nallow = 7,\n        deny = 8",
    };

    struct config c;

    (void)state;
    for (size_t i = 0; i < COUNT(same); i++) {
        assert_int_equal(rig_read_text(same[i], &c), 0);
        assert_int_equal(c.slots, 5);
        assert_list_equal(&c.allow, &(struct access_list){.uids = (uid_t[]){7}, .uid_count = 1});
        assert_list_equal(&c.deny, &(struct access_list){.uids = (uid_t[]){8}, .uid_count = 1});
        config_free(&c);
    }
    assert_int_equal(rig_read_text("# caf\xc3\xa9\n;\n", &c), 0);
    config_free(&c);
    assert_int_equal(rig_read_text("", &c), 0);
    config_free(&c);
}

static void test_errors(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"[pool]\nslot = 2\n", "2: unknown key 'slot' in [pool]; did you mean 'slots'?"},
        {"[pool]\n\nSlots = 2\n", "3: unknown key 'Slots' in [pool]; did you mean 'slots'?"},
        {"[access]\nalow_rot = yes\n", "2: unknown key 'alow_rot' in [access]; did you mean 'allow_root'?"},
        {"[pool]\nweight = 2\n", "2: unknown key 'weight' in [pool]; it belongs in [defaults]"},
        {"[user root]\nmin_uid = 2\n", "2: unknown key 'min_uid' in [user root]; it belongs in [access]"},
        {"[pool]\ncolour = red\n", "2: unknown key 'colour' (= 'red') in [pool]"},
        {"[poll]\n", "1: unknown section [poll]; did you mean [pool]?"},
        {"[usr x]\n", "1: unknown section [usr x]; did you mean [user NAME]?"},
        {"[pool x]\n", "1: unknown section [pool x]; did you mean [pool]?"},
        {"[default]\nx = 1", "1: unknown section [default]; did you mean [defaults]?"},
        {"[elephant]\n", "1: unknown section [elephant]"},
        {"[user]\nweight = 2\n", "1: [user] needs a name: [user NAME]"},
        {"[group ]\n", "1: [group] needs a name: [group NAME]"},

        {"# c\nslots = 2\n[pool]\n", "2: key 'slots' before any section"},
        {"[pool]\nslots\n",
         "2: 'slots' is not of the form key = value (a value cannot go on in the next line)"},
        {"[access]\ndeny = 1,\n   2\n",
         "3: '2' is not of the form key = value (a value cannot go on in the next line)"},
        {"[pool]\n/* slots = 2 */\n", "2: unknown key '/* slots' (= '2 */') in [pool]"},
        {"[pool]\n/*\n[access]\n*/\n",
         "2: '/*' is not of the form key = value (a value cannot go on in the next line)"},
        {"[pool]\n = 2\n", "2: no key before the '='"},
        {"[pool\n", "1: '[pool': a section is a name in [ ], and nothing behind it"},
        {"[pool] # c\n", "1: '[pool] # c': a section is a name in [ ], and nothing behind it"},
        {"[", "1: '[': a section is a name in [ ], and nothing behind it"},
        {"[]\n", "1: a section without a name"},
        {"[ \t ]\n", "1: a section without a name"},
        {"[a]b]\n", "1: ']' in the name of a section"},
        {"[a!b]\n", "1: '!' in the name of a section"},
        {"[pool]\nsl!ots = 2\n", "2: '!' in the key 'sl!ots'"},
        {"[pool]\nslots = 2\x1b\n", "2: control character 0x1b"},
        {"[pool]\nslots = 2\n# caf\xe9\n", "3: byte 0xe9 is not UTF-8"},
        {"\xff\xfe[", "1: byte 0xff is not UTF-8"},

        {"[pool]\nslots = 2\n[access]\n[ pool]\nguarantee = no\n",
         "4: section [pool] is in line 1 already (capital or small makes no difference)"},
        {"[user 7]\n[USER 7]\n",
         "2: section [user 7] is in line 1 already (capital or small makes no difference)"},
        {"[user 7]\n[user  7]\n", "2: [user  7] is the same user as in line 1"},
        {"[user 0]\n[group 0]\n[user root]\n", "3: [user root] is the same user as in line 1"},
        {"[pool]\nslots = 2\n\n  SLOTS = 3\n", "4: 'SLOTS = 3': Duplicate key is not allowed."},
        {"[pool]\nslots = 2\n\nslots = 3\n", "4: 'slots = 3': Duplicate key is not allowed."},

        {"[pool]\nslots = 0\n", "2: slots = '0' in [pool]: must be 'auto' or a whole number from 1 to 4096"},
        {"[pool]\nslots = -1\n",
         "2: slots = '-1' in [pool]: must be 'auto' or a whole number from 1 to 4096"},
        {"[pool]\nslots =\n", "2: slots = '' in [pool]: must be 'auto' or a whole number from 1 to 4096"},
        {"[pool]\nslots = 2 # two\n",
         "2: slots = '2 # two' in [pool]: must be 'auto' or a whole number from 1 to 4096"},
        {"[pool]\nguarantee_max = 18446744073709551617\n",
         "2: guarantee_max = '18446744073709551617' in [pool]: must be a whole number from 0 to 4096"},
        {"[pool]\nguarantee = true\n", "2: guarantee = 'true' in [pool]: must be 'yes' or 'no'"},
        {"[pool]\nchunk_target = 10\n",
         "2: chunk_target = '10' in [pool]: must be a time: a whole number with "
         "its unit (us, ms, s, m or h) from 10us to 1m"},
        {"[pool]\nchunk_target = 61s\n", "2: chunk_target = '61s' in [pool]: must be a time: a whole number "
                                         "with its unit (us, ms, s, m or h) from 10us to 1m"},
        {"[defaults]\nqueued_bytes = 64m\n", "2: queued_bytes = '64m' in [defaults]: must be a size: a whole "
                                             "number of bytes, or one with K, M or G "
                                             "behind it, from 64K to 1048576G"},
        {"[defaults]\nmemory = 64\n",
         "2: memory = '64' in [defaults]: must be a size: a whole number of bytes, or one with K, M or G "
         "behind it, from 1M to 1048576G, or 0 for no limit"},
        {"[user 7]\nweight = 10001\n",
         "2: weight = '10001' in [user 7]: must be a whole number from 1 to 10000"},
        {"[access]\nmin_uid = 4294967295\n",
         "2: min_uid = '4294967295' in [access]: must be a whole number from 0 to 4294967294"},
        {"[daemon]\nuser = a b\n", "2: user = 'a b' in [daemon]: must be one user's name"},
        {"[daemon]\nuser =\n", "2: user = '' in [daemon]: must be one user's name"},

        {"[access]\nallow = root, no-such-user\n",
         "2: allow = 'root, no-such-user' in [access]: no user 'no-such-user' on this machine"},
        {"[access]\nadmin = @no-such-group\n",
         "2: admin = '@no-such-group' in [access]: no group 'no-such-group' on this machine"},
        {"[access]\ndeny = 4294967295\n",
         "2: deny = '4294967295' in [access]: no user '4294967295' on this machine"},
        {"[access]\ndeny = -1\n", "2: deny = '-1' in [access]: no user '-1' on this machine"},
        {"[access]\ndeny = @\n", "2: deny = '@' in [access]: '@' without a group's name"},
        {"[access]\nadmin = root # me\n",
         "2: admin = 'root # me' in [access]: a comment needs a line of its own"},
        {"[user no-such-user]\n", "1: [user no-such-user]: no user 'no-such-user' on this machine"},
        {"[pool]\n[group no such]\n", "2: [group no such]: no group 'no such' on this machine"},

        {"[daemon]\nendpoint = tcp://*:1\n",
         "2: endpoint = 'tcp://*:1' in [daemon]: 'tcp://*:1' does not begin with "
         "ipc://, the only kind that is served"},
        {"[daemon]\nendpoint = ipc:///a ipc://b\n",
         "2: endpoint = 'ipc:///a ipc://b' in [daemon]: 'ipc://b' needs an absolute path behind ipc://"},
        {"[daemon]\nendpoint = ipc:///a,ipc:///a\n",
         "2: endpoint = 'ipc:///a,ipc:///a' in [daemon]: 'ipc:///a' is there twice"},
        {"[daemon]\nendpoint = ,\n", "2: endpoint = ',' in [daemon]: must be at least one endpoint, such as "
                                     "ipc:///run/pmapd/pmapd.sock"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct config c, before;

        memset(&c, 0x5a, sizeof(c));
        before = c;
        assert_int_equal(rig_read_text(cases[i].text, &c), -EINVAL);
        assert_string_equal(rig_error, cases[i].error);
        assert_memory_equal(&c, &before, sizeof(c)); /* untouched */
    }
}

/* Overwrites bytes with a string, without its NUL. */
static void put(char *bytes, const char *string)
{
    while (*string != '\0')
        *bytes++ = *string++;
}

/* Things that are too long, and bytes that no string literal holds. */
static void test_lengths(void **state)
{
    char *text = malloc(300000);
    struct config c;

    (void)state;
    assert_non_null(text);
    /* A line of 4096 bytes is read, one more is too much; also where it is the last, without a newline. */
    memset(text, ' ', 300000);
    put(text, "[pool]\nslots = 3");
    put(text + 7 + 4096, "\n#");
    assert_int_equal(rig_read(text, 7 + 4096 + 2, &c), 0);
    assert_int_equal(c.slots, 3);
    config_free(&c);
    put(text + 7 + 4096, " \n#");
    assert_int_equal(rig_read(text, 7 + 4096 + 3, &c), -EINVAL);
    assert_string_equal(rig_error, "2: the line is longer than 4096 bytes");
    assert_int_equal(rig_read(text, 7 + 4096 + 1, &c), -EINVAL);
    assert_string_equal(rig_error, "2: the line is longer than 4096 bytes");

    /* A long value is shown by its beginning. */
    memset(text + 7 + 8, 'x', 4000);
    assert_int_equal(rig_read(text, 7 + 8 + 4000, &c), -EINVAL);
    assert_memory_equal(rig_error, "2: slots = 'xxxxx", 15);
    assert_in_range(strlen(rig_error), 100, 200);

    memset(text, 'k', 600);
    put(text, "[pool]\n");
    put(text + 600, "=1");
    assert_int_equal(rig_read(text, 602, &c), -EINVAL);
    assert_string_equal(rig_error, "2: the key is longer than 512 bytes");
    memset(text + 5, 'k', 595);
    text[599] = ']';
    assert_int_equal(rig_read(text, 600, &c), -EINVAL);
    assert_string_equal(rig_error, "1: the section's name is longer than 512 bytes");

    assert_int_equal(rig_read("[pool]\nslots = 2\0\n", 18, &c), -EINVAL);
    assert_string_equal(rig_error, "2: NUL byte");
    assert_int_equal(rig_read("[pool]\n#\0", 9, &c), -EINVAL);
    assert_string_equal(rig_error, "2: NUL byte");

    /* Numbers of sections and of keys. */
    memset(text, '\n', 300000);
    for (int i = 0; i <= 4096; i++) {
        char name[32];

        snprintf(name, sizeof(name), "[user %d]", i);
        put(text + (size_t)16 * i, name);
    }
    assert_int_equal(rig_read(text, (size_t)16 * 4097, &c), -EINVAL);
    assert_non_null(strstr(rig_error, "more than 4096 sections"));
    assert_int_equal(rig_read(text, (size_t)16 * 400, &c), 0);
    assert_int_equal(c.section_count, 400);
    config_free(&c);
    memset(text, '\n', 300000);
    put(text, "[pool]");
    for (int i = 0; i <= 256; i++)
        put(text + 16 + (size_t)16 * i, "k=");
    assert_int_equal(rig_read(text, (size_t)16 * 258, &c), -EINVAL);
    assert_non_null(strstr(rig_error, "more than 256 keys in a section"));

    memset(text, '\n', 300000);
    assert_int_equal(rig_read(text, 256 << 10, &c), 0);
    config_free(&c);
    assert_int_equal(rig_read(text, (256 << 10) + 1, &c), -EINVAL);
    assert_string_equal(rig_error, " larger than 262144 bytes");
    free(text);
}

static void test_files(void **state)
{
    char folder[] = "/tmp/test_config.XXXXXX", path[64], longest[3000];
    struct config c;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/x", folder);
    assert_int_equal(config_read(path, &c, rig_error), -ENOENT);
    assert_memory_equal(rig_error, path, strlen(path));
    assert_string_equal(rig_error + strlen(path), ": No such file or directory");
    assert_int_equal(config_read(folder, &c, rig_error), -EINVAL);
    assert_string_equal(rig_error + strlen(folder), ": not a regular file");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(config_read(path, &c, rig_error), -EINVAL); /* and does not wait for a writer */
    assert_string_equal(rig_error + strlen(path), ": not a regular file");
    unlink(path);
    rmdir(folder);

    /* A long path leaves room for the message. */
    memset(longest, '/', sizeof(longest));
    snprintf(longest + 2900, 100, "/no/such/file");
    assert_int_equal(config_read(longest, &c, rig_error), -ENOENT);
    assert_non_null(strstr(rig_error, "/no/such/file: No such file or directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_installed_file),
        cmocka_unit_test(test_installed_keys), cmocka_unit_test(test_values),
        cmocka_unit_test(test_forms),          cmocka_unit_test(test_errors),
        cmocka_unit_test(test_lengths),        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
