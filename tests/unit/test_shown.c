/*
 * What becomes of a command with placeholders: as GNU parallel shows it.
 */
#include "client/pmapc/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void shows_len(const struct template *t, const char *item, size_t len, const char *expected)
{
    struct grow out = {0};
    assert_true(template_show(t, item, len, 7, &out));
    grow_byte(&out, '\0');
    assert_string_equal(out.data, expected);
    grow_free(&out);
}

#define ARGV(...) .argv = (const char *const[]){__VA_ARGS__, NULL}, .append = true
#define SHOWS(item, expected, ...)                                                                           \
    shows_len(&(struct template){ARGV(__VA_ARGS__)}, item, sizeof(item) - 1, expected)
#define SHOWS_FIELDS(item, expected, ...)                                                                    \
    shows_len(&(struct template){ARGV(__VA_ARGS__), .fields = true}, item, sizeof(item) - 1, expected)

static void one_item(void **state)
{
    (void)state;
    SHOWS("a b", "echo 'a b'", "echo", "{}");
    SHOWS("a", "echo x a", "echo", "x"); /* appended */
    SHOWS("a", "echo 7 a", "echo", "{#}");
    SHOWS("a", "echo '{%}' a", "echo", "{%}");
    SHOWS("a", "a -x", "{}", "-x");
    SHOWS("a", "echo pre-a-a", "echo", "pre-{}-{}");
    SHOWS("a", "echo pre-a-a", "echo", "pre-{1}-{}");
    SHOWS("", "echo ''", "echo", "{}");
    SHOWS("it's", "echo 'it'\\''s'", "echo", "{}");
    SHOWS("a\nb", "echo 'a\nb'", "echo", "{}");
    SHOWS("{}", "echo '{}'", "echo", "{}"); /* what stands in an item is no placeholder */
}

static void parts_of_paths(void **state)
{
    (void)state;
    SHOWS("d/e.x/f.tar.gz", "d/e.x/f.tar f.tar.gz d/e.x f.tar", "{.}", "{/}", "{//}", "{/.}");
    SHOWS("d.x/f", "d.x/f f d.x f", "{.}", "{/}", "{//}", "{/.}");
    SHOWS("f", "f f . f", "{.}", "{/}", "{//}", "{/.}");
    SHOWS("/f", "/f f / f", "{.}", "{/}", "{//}", "{/.}");
    SHOWS("d/.f", "d/.f .f d .f", "{.}", "{/}", "{//}", "{/.}");
    SHOWS("", "'' '' . ''", "{.}", "{/}", "{//}", "{/.}");
    SHOWS("d/f.c", "d/f.o", "{.}.o");
}

static void several_arguments(void **state)
{
    (void)state;
    SHOWS_FIELDS("a\0b c", "echo a 'b c'", "echo");
    SHOWS_FIELDS("a\0b c", "echo a 'b c'", "echo", "{}");
    SHOWS_FIELDS("a\0b c", "echo 'x a b c'", "echo", "x {}");
    SHOWS_FIELDS("a\0b\0", "echo b-a ''", "echo", "{2}-{1}", "{3}");
    SHOWS_FIELDS("d/a.x\0e/b.y", "a.x e/b b d/a e/b", "{1/}", "{2.}", "{2/.}", "{.}");
    SHOWS_FIELDS("a", "echo ''", "echo", "{2}"); /* there is none */
    SHOWS_FIELDS("", "echo ''", "echo", "{}");
}

static void what_looks_like_a_placeholder(void **state)
{
    (void)state;
    SHOWS("a", "'{' '}' '{x}' '{0}' '{1.2}' '{ }' a", "{", "}", "{x}", "{0}", "{1.2}", "{ }");
    SHOWS("a", "'{a}'", "{{}}");
}

static void other_placeholders(void **state)
{
    (void)state;
    struct template t = {ARGV("mv", "@", "{}/@", "{.}"), .placeholder = "@"};
    shows_len(&t, "a.c", 3, "mv a.c '{}/a.c' a");
    struct template plain = {ARGV("square"), .plain = true};
    shows_len(&plain, "1 2", 3, "square 1 2");
    struct template pipe = {.argv = (const char *const[]){"gzip", "-c", NULL}};
    shows_len(&pipe, "a", 1, "gzip -c");
    struct template line = {.argv = NULL};
    shows_len(&line, "echo {}; ls", 11, "echo {}; ls");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_item),           cmocka_unit_test(parts_of_paths),
        cmocka_unit_test(several_arguments),  cmocka_unit_test(what_looks_like_a_placeholder),
        cmocka_unit_test(other_placeholders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
