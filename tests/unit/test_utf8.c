/*
 * common/utf8.h, against all code points, and where texts are cut.
 */
#include "common/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Every code point and every pair of bytes. */
static void all_characters(void **state)
{
    size_t pairs = 0;

    (void)state;
    for (unsigned c = 0; c < 0x120000; c++) {
        char b[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        bool valid = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);

        for (size_t i = n - 1; i > 0; i--)
            b[i] = (char)(0x80 | ((c >> 6 * (n - 1 - i)) & 0x3f));
        b[0] = (char)(n == 1 ? c : (0xf00 >> n & 0xff) | c >> 6 * (n - 1));
        assert_int_equal(utf8_length(b, n), valid ? n : 0);
        assert_int_equal(utf8_length(b, n - 1), 0);
    }
    for (unsigned first = 0x80; first < 0x100; first++) {
        for (unsigned second = 0; second < 0x100; second++) {
            const char b[2] = {(char)first, (char)second};

            pairs += utf8_length(b, 2) == 2;
        }
    }
    assert_int_equal(pairs, 30 * 64); /* C2 to DF, each with 80 to BF: nothing overlong */
    assert_int_equal(utf8_length("\xe0\x9f\xbf", 3), 0);
    assert_int_equal(utf8_length("\xf0\x8f\xbf\xbf", 4), 0);
}

/* Each of these at each place of a text, so that it lies across the words that are looked at as one, too. */
static void whole_texts(void **state)
{
    static const struct {
        const char *bytes;
        bool valid;
    } cases[] = {
        {"\x7f", true},          {"\xc3\xa9", true},      {"\xe2\x82\xac", true}, {"\xf0\x9f\x92\xa3", true},
        {"\x80", false},         {"\xc3", false},         {"\xe2\x82", false},    {"\xf0\x9f\x92", false},
        {"\xc0\x80", false},     {"\xed\xa0\x80", false}, {"\xff", false},        {"\xf4\x90\x80\x80", false},
        {"\xc3\xa9\xa9", false},
    };
    char text[40];

    (void)state;
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("a\0b", 3));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].bytes);
        for (size_t at = 0; at + n <= sizeof text; at++) {
            memset(text, 'x', sizeof text);
            memcpy(text + at, cases[i].bytes, n);
            if (utf8_valid(text, sizeof text) != cases[i].valid || utf8_valid(text, at + n) != cases[i].valid)
                fail_msg("case %zu at %zu", i, at);
            assert_true(utf8_valid(text, at));
        }
    }
}

static void cuts(void **state)
{
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x92\xa3"};
    char text[200];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        size_t n = strlen(characters[i]);
        for (size_t shift = 0; shift < 4; shift++) {
            size_t size = shift;
            memset(text, 'a', shift);
            for (; size + n <= sizeof text; size += n)
                memcpy(text + size, characters[i], n);
            for (size_t most = shift; most < size; most++) {
                size_t cut = utf8_cut(text, size, most);
                assert_int_equal(cut, most - (most - shift) % n);
                assert_true(utf8_valid(text, cut));
            }
            assert_int_equal(utf8_cut(text, size, size), size);
            assert_int_equal(utf8_cut(text, size, size + 1), size);
        }
    }
    assert_int_equal(utf8_cut("", 0, 0), 0);
    assert_int_equal(utf8_cut(characters[3], 4, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_characters), cmocka_unit_test(whole_texts),
                                       cmocka_unit_test(cuts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
