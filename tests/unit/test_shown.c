/*
 * How items are shown as what is run with them: commands as GNU parallel shows them.
 */
#include "client/pmapc/shown.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void shows_len(const struct pmap_call *call, bool shell, const char *item, size_t len,
                      const char *expected)
{
    struct shown shown;
    struct grow out = {0};
    assert_int_equal(shown_init(&shown, call, "name", shell), 0);
    assert_true(shown_add(&shown, item, len, 7, &out));
    grow_byte(&out, '\0');
    assert_string_equal(out.data, expected);
    grow_free(&out);
    shown_free(&shown);
}

#define COMMAND(...)                                                                                         \
    .kind = PMAP_COMMAND, .argv = (const char *const[])                                                      \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }
#define SHOWS(item, expected, ...)                                                                           \
    shows_len(&(struct pmap_call){COMMAND(__VA_ARGS__)}, false, item, sizeof(item) - 1, expected)
#define SHOWS_FIELDS(item, expected, ...)                                                                    \
    shows_len(&(struct pmap_call){COMMAND(__VA_ARGS__), .fields = 1}, false, item, sizeof(item) - 1, expected)

static void one_item(void **state)
{
    (void)state;
    SHOWS("a b", "echo 'a b'", "echo", "{}");
    SHOWS("a", "echo x a", "echo", "x"); /* appended */
    SHOWS("a", "echo 7", "echo", "{#}");
    SHOWS("a", "echo '{%}'", "echo", "{%}"); /* not known here */
    SHOWS("d/e.c", "d/e.o e.c", "{.}.o", "{/}");
    SHOWS("", "echo ''", "echo", "{}");
    SHOWS("it's", "echo 'it'\\''s'", "echo", "{}");
    SHOWS("a\nb", "echo 'a\nb'", "echo", "{}");
    SHOWS("{}", "echo '{}'", "echo", "{}"); /* what stands in an item is no placeholder */
    SHOWS("a\0b", "name a", "echo", "{}");  /* of which no command can be made */
}

static void several_arguments(void **state)
{
    (void)state;
    SHOWS_FIELDS("a\0b c", "echo a 'b c'", "echo");
    SHOWS_FIELDS("a\0b c", "echo a 'b c'", "echo", "{}");
    SHOWS_FIELDS("a\0b c", "echo 'x a b c'", "echo", "x {}");
    SHOWS_FIELDS("a\0b\0", "echo b-a ''", "echo", "{2}-{1}", "{3}");
    SHOWS_FIELDS("a", "echo ''", "echo", "{2}"); /* there is none */
}

static void what_is_no_command(void **state)
{
    (void)state;
    struct pmap_call call = {COMMAND("mv", "@", "{}"), .placeholder = "@"};
    shows_len(&call, false, "a", 1, "mv a '{}'");
    call = (struct pmap_call){.kind = PMAP_BUILTIN, .name = "square"};
    shows_len(&call, false, "1 2", 3, "name 1 2");
    call = (struct pmap_call){.kind = PMAP_PIPE, .argv = (const char *const[]){"tr", "a b", "{}", NULL}};
    shows_len(&call, false, "a", 1, "tr 'a b' '{}'");
    call = (struct pmap_call){.kind = PMAP_FILTER, .argv = (const char *const[]){"cat", NULL}};
    shows_len(&call, false, "a", 1, "name a");
    call = (struct pmap_call){COMMAND("/bin/sh", "-c", "{}")};
    shows_len(&call, true, "echo {}; ls", 11, "echo {}; ls");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_item),
        cmocka_unit_test(several_arguments),
        cmocka_unit_test(what_is_no_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
