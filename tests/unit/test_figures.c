/* How durations, sizes, users, texts and tables are shown. */
#include "client/pmapc/figures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void shows_ages(void **unused)
{
    (void)unused;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {0, "0 s"},       {-1, "0 s"},        {85e-6, "85.0 us"},       {1.25, "1.25 s"}, {99.9, "99.9 s"},
        {99.96, "1m40s"}, {3599.4, "59m59s"}, {3599.6, "1h00m"},        {7500, "2h05m"},  {86399, "23h59m"},
        {86400, "1d00h"}, {363600, "4d05h"},  {1e30, "11574074074d01h"}};
    char out[FIGURE_ROOM];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(figures_age(cases[i].seconds, out), cases[i].text);
}

static void shows_bytes_and_counts(void **unused)
{
    (void)unused;
    char out[FIGURE_ROOM];
    assert_string_equal(figures_bytes(0, out), "0 B");
    assert_string_equal(figures_bytes(1023, out), "1023 B");
    assert_string_equal(figures_bytes(1024, out), "1 KiB");
    assert_string_equal(figures_bytes(72102, out), "70.4 KiB");
    assert_string_equal(figures_bytes(64 << 20, out), "64 MiB");
    assert_string_equal(figures_bytes((1 << 20) - 1, out), "1 MiB");
    assert_string_equal(figures_bytes(UINT64_MAX, out), "16 EiB");
    assert_string_equal(figures_of(0, "item", out), "0 items");
    assert_string_equal(figures_of(1, "item", out), "1 item");
    assert_string_equal(figures_of(81234, "item", out), "81.2 k items");
}

static void names_users_where_they_have_names(void **unused)
{
    (void)unused;
    uid_t uid = 1;
    assert_string_equal(figures_user(0), "root");
    assert_string_equal(figures_user(4000000001U), "4000000001");
    assert_ptr_equal(figures_user(4000000001U), figures_user(4000000001U));
    assert_true(figures_uid("root", &uid));
    assert_int_equal(uid, 0);
    assert_true(figures_uid("4000000001", &uid));
    assert_int_equal(uid, 4000000001U);
    static const char *const none[] = {"",    "no such user",        "-1", "12x", "4294967295",
                                       " 12", "99999999999999999999"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_false(figures_uid(none[i], &uid));
    assert_int_equal(uid, 4000000001U);
}

static void assert_text(const char *text, size_t most, const char *expected)
{
    char out[64];
    assert_string_equal(figures_text(text, strlen(text), most, out, sizeof out), expected);
}

static void masks_what_could_harm_a_terminal(void **unused)
{
    (void)unused;
    assert_text("plain", 0, "plain");
    assert_text("a\x1b[31m\n\x7f", 0, "a?[31m??");
    assert_text("gr\xc3\xbc\xc3\x9f", 0, "gr\xc3\xbc\xc3\x9f");
    assert_text("\xc2\x9b"
                "2J",
                0, "??2J"); /* a control character of two bytes */
    assert_text("\xff-\xc3-\xe2\x82", 0,
                "?-?-?"
                "?"); /* not UTF-8 */
    assert_text("abcdefgh", 8, "abcdefgh");
    assert_text("abcdefghi", 8, "abcde...");
    assert_text("\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc", 5, "\xc3\xa4\xc3\xb6...");
    char small[6];
    assert_string_equal(figures_text("abcd\xc3\xbc", 6, 0, small, sizeof small),
                        "abcd"); /* no half character */
}

static void assert_table(const struct table *table, size_t width, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    table_print(table, width, stream);
    fclose(stream);
    assert_string_equal(text, expected);
    free(text);
}

static void aligns_tables(void **unused)
{
    (void)unused;
    static const char *const titles[] = {"N", "USER", "WHAT"};
    struct table table;
    table_init(&table, "rll", titles);
    assert_table(&table, 0, "N  USER  WHAT\n");
    table_cell(&table, "%d", 7);
    table_cell(&table, "j\xc3\xbcrgen");
    table_cell(&table, "something long");
    table_cell(&table, "%d", 1234);
    table_cell(&table, "al");
    table_cell(&table, "x");
    assert_table(&table, 0,
                 "   N  USER    WHAT\n"
                 "   7  j\xc3\xbcrgen  something long\n"
                 "1234  al      x\n");
    assert_table(&table, 24,
                 "   N  USER    WHAT\n"
                 "   7  j\xc3\xbcrgen  somethi...\n"
                 "1234  al      x\n");
    table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_ages),
        cmocka_unit_test(shows_bytes_and_counts),
        cmocka_unit_test(names_users_where_they_have_names),
        cmocka_unit_test(masks_what_could_harm_a_terminal),
        cmocka_unit_test(aligns_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
