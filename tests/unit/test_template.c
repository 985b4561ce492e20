/* Placeholders, and the arguments made of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/template.h"

/* Fills a template of up to eight arguments for item 7 in slot 2 and joins what comes of it with '|'. */
static const char *filled(const char *placeholder, bool fields, const char *item, size_t len,
                          const char *const *argv)
{
    static char joined[1000];
    size_t argc = 0;
    while (argv[argc])
        argc++;
    struct template *t = template_new((char *const *)argv, argc, placeholder, fields);
    assert_non_null(t);
    struct arguments a = {0};
    assert_int_equal(template_fill(t, (const uint8_t *)item, len, 7, 2, &a), 0);
    size_t used = 0;
    for (size_t i = 0; i < a.argc; i++)
        used += (size_t)snprintf(joined + used, sizeof joined - used, "%s%s", i ? "|" : "", a.argv[i]);
    assert_true(used < sizeof joined);
    assert_null(a.argv[a.argc]);
    a.argv[-1] = NULL; /* is there */
    arguments_free(&a);
    template_free(t);
    return joined;
}
#define ARGV(...)         ((const char *const[]){__VA_ARGS__, NULL})
#define FILLED(item, ...) filled(NULL, false, item, strlen(item), ARGV(__VA_ARGS__))
/* An item in which the fields are literal: "a\0b". */
#define FIELDS(item, ...) filled(NULL, true, item, sizeof(item) - 1, ARGV(__VA_ARGS__))

static void the_forms_are_those_of_parallel(void **state)
{
    (void)state;
    static const struct {
        const char *item, *whole, *bare, *base, *folder, *bare_base;
    } cases[] = {
        {"foo.jpg", "foo.jpg", "foo", "foo.jpg", ".", "foo"},
        {"subdir/foo.jpg", "subdir/foo.jpg", "subdir/foo", "foo.jpg", "subdir", "foo"},
        {"sub.dir/foo.jpg", "sub.dir/foo.jpg", "sub.dir/foo", "foo.jpg", "sub.dir", "foo"},
        {"sub.dir/bar", "sub.dir/bar", "sub.dir/bar", "bar", "sub.dir", "bar"},
        {"foo.tar.gz", "foo.tar.gz", "foo.tar", "foo.tar.gz", ".", "foo.tar"},
        {"foo", "foo", "foo", "foo", ".", "foo"},
        {"/foo", "/foo", "/foo", "foo", "/", "foo"},
        {"/", "/", "/", "", "/", ""},
        {"a/b/", "a/b/", "a/b/", "", "a", ""},
        {"a//b", "a//b", "a//b", "b", "a", "b"},
        {".profile", ".profile", "", ".profile", ".", ""},
        {"", "", "", "", ".", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *forms[] = {"{}", "{.}", "{/}", "{//}", "{/.}"};
        const char *expected[] = {cases[i].whole, cases[i].bare, cases[i].base, cases[i].folder,
                                  cases[i].bare_base};
        for (int form = 0; form < 5; form++) {
            assert_string_equal(FILLED(cases[i].item, forms[form]), expected[form]);
            char pattern[20], with[100];
            snprintf(pattern, sizeof pattern, "<%s>", forms[form]);
            snprintf(with, sizeof with, "<%s>", expected[form]);
            assert_string_equal(FILLED(cases[i].item, pattern), with);
        }
    }
}

static void numbers_of_the_item_and_the_slot(void **state)
{
    (void)state;
    assert_string_equal(FILLED("x", "c", "{#}", "s{%}", "{}"), "c|7|s2|x");
    assert_string_equal(FILLED("x", "c", "{#}-{#}"), "c|7-7");
}

static void without_a_placeholder_the_item_is_appended(void **state)
{
    (void)state;
    assert_string_equal(FILLED("x", "c", "-a"), "c|-a|x");
    assert_string_equal(FILLED("", "c"), "c|");
    assert_string_equal(FIELDS("a\0b", "c"), "c|a|b");
    assert_string_equal(FILLED("x", "c", "{ }", "{..}", "{", "}", "{}"), "c|{ }|{..}|{|}|x");
    assert_string_equal(FILLED("x", "c", "{a}", "{1a}", "{-}", "{0}", "{.1}"), "c|{a}|{1a}|{-}|{0}|{.1}|x");
}

static void fields_are_arguments_or_joined(void **state)
{
    (void)state;
    assert_string_equal(FIELDS("a.x\0b.y", "c", "{}"), "c|a.x|b.y");
    assert_string_equal(FIELDS("a.x\0b.y", "c", "<{}>"), "c|<a.x b.y>");
    assert_string_equal(FIELDS("a.x\0b.y", "c", "{.}"), "c|a|b");
    assert_string_equal(FIELDS("a.x\0b.y", "c", "<{.}>{}"), "c|<a b>a.x b.y");
    assert_string_equal(FIELDS("a\0", "c", "{}"), "c|a|");
    assert_string_equal(FIELDS("a\0\0b", "c", "<{}>"), "c|<a  b>");
}

static void positions_name_fields(void **state)
{
    (void)state;
    assert_string_equal(FIELDS("a\0d/b.x\0c", "c", "{2}", "{1}{3}"), "c|d/b.x|ac");
    assert_string_equal(FIELDS("a\0d/b.x\0c", "c", "{2.}", "{2/}", "{2//}", "{2/.}"), "c|d/b|b.x|d|b");
    assert_string_equal(FIELDS("a\0d/b.x\0c", "c", "{-1}", "{-2/.}", "{-4}", "{4}"), "c|c|b||");
    assert_string_equal(FILLED("x", "c", "{1}", "{2}", "<{-1}>"), "c|x||<x>");
    assert_string_equal(FILLED("x", "c", "{99999999999999999999}"), "c|{99999999999999999999}|x");
}

static void another_placeholder(void **state)
{
    (void)state;
    assert_string_equal(filled("XX", false, "a.b", 3, ARGV("c", "XX", "{}", "{.}", "-XXX-", "{1}")),
                        "c|a.b|{}|a|-a.bX-|a.b");
    assert_string_equal(filled("%", false, "a", 1, ARGV("c", "{%}", "50%")), "c|2|50a");
    assert_string_equal(filled("XX", false, "a", 1, ARGV("c", "{}")), "c|{}|a");
    assert_string_equal(filled("", false, "a", 1, ARGV("c", "{}", "{#}", "{1}")), "c|{}|{#}|{1}|a");
}

static void the_program_may_vary(void **state)
{
    (void)state;
    struct template *t = template_new((char *const *)ARGV("./{}", "x"), 2, NULL, false);
    assert_true(template_varies(t));
    template_free(t);
    t = template_new((char *const *)ARGV("c", "{}"), 2, NULL, false);
    assert_false(template_varies(t));
    template_free(t);
}

static void what_no_argument_can_hold(void **state)
{
    (void)state;
    struct template *t = template_new((char *const *)ARGV("c", "{}", "{}", "{}"), 4, NULL, false);
    struct arguments a = {0};
    assert_int_equal(template_fill(t, (const uint8_t *)"a\0b", 3, 1, 1, &a), -EINVAL);
    size_t large = 5 << 20;
    uint8_t *item = malloc(large);
    assert_non_null(item);
    memset(item, 'x', large);
    assert_int_equal(template_fill(t, item, large, 1, 1, &a), -E2BIG);
    /* And it goes on working, with as much as it had been before. */
    assert_int_equal(template_fill(t, item, 200 << 10, 1, 1, &a), 0);
    assert_int_equal(strlen(a.argv[3]), 200 << 10);
    assert_int_equal(template_fill(t, item, 1, 1, 1, &a), 0);
    assert_string_equal(a.argv[3], "x");
    assert_true(a.bytes_size < 64 << 10);
    free(item);
    arguments_free(&a);
    template_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_forms_are_those_of_parallel),
        cmocka_unit_test(numbers_of_the_item_and_the_slot),
        cmocka_unit_test(without_a_placeholder_the_item_is_appended),
        cmocka_unit_test(fields_are_arguments_or_joined),
        cmocka_unit_test(positions_name_fields),
        cmocka_unit_test(another_placeholder),
        cmocka_unit_test(the_program_may_vary),
        cmocka_unit_test(what_no_argument_can_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
