/*
 * The speed-up plot of characters, and the picture.
 */
#include "client/pmapc/plot.h"
#include "client/pmapc/svg.h"
#include "common/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct amdahl_point points[64];
static struct amdahl amdahl = {.points = points};
static struct grow text;

/* Points of the law with that fraction, with 1 ... count slots, `apart` between two. */
static void make(double serial, size_t count, unsigned apart)
{
    for (size_t i = 0; i < count; i++) {
        unsigned slots = 1 + (unsigned)i * apart;
        points[i] = (struct amdahl_point){.slots = slots, .time_s = 1 / amdahl_speedup(serial, slots)};
    }
    amdahl.count = count;
    amdahl_fill(&amdahl);
}

/* How often a text occurs in what was drawn. */
static size_t count_of(const char *what)
{
    size_t count = 0, len = strlen(what);
    for (size_t i = 0; i + len <= text.len; i++)
        count += memcmp(text.data + i, what, len) == 0;
    return count;
}

static void draw(unsigned columns, bool utf8)
{
    grow_clear(&text);
    assert_true(plot_draw(&amdahl, columns, utf8, &text));
}

/* The columns of the longest line; that no line ends in a space is checked. */
static size_t width(void)
{
    size_t longest = 0, now = 0;
    for (size_t at = 0; at < text.len;) {
        size_t len = utf8_length(text.data + at, text.len - at);
        assert_true(len > 0);
        if (text.data[at] == '\n') {
            assert_true(at == 0 || text.data[at - 1] != ' ');
            longest = now > longest ? now : longest;
            now = 0;
        } else {
            now++;
        }
        at += len;
    }
    assert_int_equal(now, 0);
    return longest;
}

static void small_in_ascii(void **state)
{
    (void)state;
    make(0.5, 3, 1);
    draw(40, false);
    grow_byte(&text, '\0');
    /* 1.33 and 1.5 are in one line, which goes from 1.26 to 1.57. */
    assert_string_equal(text.data, "speed-up\n"
                                   "   2.5 +                   .. .\n"
                                   "     2 +               .. .\n"
                                   "       |           ...\n"
                                   "   1.5 +     .. .. *****o*************o\n"
                                   "     1 + o**********\n"
                                   "       |\n"
                                   "   0.5 +\n"
                                   "       |\n"
                                   "     0 +-+--------------+-------------+-\n"
                                   "  slots  1              2             3\n"
                                   "        o measured   . . . ideal   ***** Amdahl\n");
}

static void fits_the_terminal(void **state)
{
    (void)state;
    static const unsigned columns[] = {0, 40, 41, 79, 80, 99, 100, 5000};
    static const double fractions[] = {-0.2, 0, 0.01, 0.3, 1, 1.5};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        for (size_t j = 0; j < sizeof fractions / sizeof fractions[0]; j++) {
            for (size_t count = 1; count <= 64; count = count * 2 + 1) {
                make(fractions[j], count, count % 2 == 1 ? 1 : 100);
                draw(columns[i], false);
                unsigned most = columns[i] < 40 ? 40 : columns[i] > 100 ? 100 : columns[i];
                size_t ascii_width = width();
                assert_in_range(ascii_width, most / 2, most > 47 ? most : 47); /* the legend has 47 */
                for (size_t at = 0; at < text.len; at++)
                    assert_true((unsigned char)text.data[at] < 0x80);
                draw(columns[i], true);
                assert_true(width() <= (most > 47 ? most : 47));
            }
        }
    }
}

static void what_is_in_it(void **state)
{
    (void)state;
    make(0.1, 4, 1);
    draw(80, true);
    assert_int_equal(count_of("●"), 4 + 1); /* the points, and the legend */
    assert_int_equal(count_of("┬"), 4);
    assert_int_equal(count_of("Amdahl"), 1);
    make(0, 1, 1);
    draw(80, true);
    assert_int_equal(count_of("●"), 1 + 1);
    assert_int_equal(count_of("Amdahl"), 0);
}

/*** The picture ***/

static void draw_picture(const char *name, const char *subtitle)
{
    grow_clear(&text);
    assert_true(svg_draw(&amdahl, name, subtitle, &text));
    assert_true(utf8_valid(text.data, text.len));
    assert_int_equal(count_of("nan"), 0);
    assert_int_equal(count_of("inf"), 0);
    assert_int_equal(count_of("</svg>\n"), 1);
}

static void picture(void **state)
{
    (void)state;
    make(0.1, 6, 1);
    draw_picture("cube", "50000 items");
    assert_int_equal(count_of("cube with 1 to 6 slots"), 2);
    assert_int_equal(count_of("50000 items"), 1);
    assert_int_equal(count_of("<circle class=\"measured\""), 2 * 6 + 1); /* both panels, and the legend */
    assert_int_equal(count_of("<circle class=\"recommended\""), 2 + 1);
    assert_int_equal(count_of("<polyline class=\"law\""), 2);
    assert_int_equal(count_of(">speed-up<"), 1);
    assert_int_equal(count_of(">efficiency (speed-up / slots)<"), 1);
    assert_int_equal(count_of(">slots<"), 2);
    assert_int_equal(count_of(">70 % of ideal<"), 1);
    make(0.1, 1, 1);
    draw_picture("cube", "");
    assert_int_equal(count_of("cube with 1 slot<"), 2);
    assert_int_equal(count_of("<polyline"), 0);
    make(1.3, 64, 1000);
    draw_picture("cube", "");
    make(-0.3, 2, 1);
    draw_picture("cube", "");
}

static void any_name(void **state)
{
    (void)state;
    make(0.1, 2, 1);
    draw_picture("a<b>&\"'\x01\xff\xef\xbf\xbfµ\n", "<&>");
    assert_int_equal(count_of(">a&lt;b&gt;&amp;\"'???µ? with 1 to 2 slots<"), 2);
    assert_int_equal(count_of(">&lt;&amp;&gt;<"), 1);
    draw_picture("123456789012345678901234", "");
    assert_int_equal(count_of(">123456789012345678901234 with"), 2);
    draw_picture("µµµµµµµµµµµµµµµµµµµµµµµµµ", "");
    assert_int_equal(count_of(">µµµµµµµµµµµµµµµµµµµµµµµµ… with"), 2);
}

static int forget(void **state)
{
    (void)state;
    grow_free(&text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_in_ascii), cmocka_unit_test(fits_the_terminal),
        cmocka_unit_test(what_is_in_it),  cmocka_unit_test(picture),
        cmocka_unit_test(any_name),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
