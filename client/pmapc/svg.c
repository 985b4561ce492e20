/*
 * A picture of a job's speed-up and efficiency; see svg.h.
 */
#include "client/pmapc/svg.h"

#include "client/pmapc/axes.h"
#include "common/utf8.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum {
    NAME_MOST = 24, /* characters that surely fit */
    SUBTITLE_MOST = 80,
    CURVE_STEPS = 120,
    LABEL_GAP = 24, /* between two numbers of slots */
    LABEL_DIGIT = 20,
};

/* The style is in one place; all that is drawn has a class of it. */
static const char head[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd\">\n"
    "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"1600\" height=\"900\" "
    "viewBox=\"0 0 1600 900\">\n"
    "<style type=\"text/css\">\n"
    "text { font-family: Helvetica, Arial, 'DejaVu Sans', sans-serif; font-size: 32px; fill: #111111 }\n"
    ".title { font-size: 50px; font-weight: bold }\n"
    ".middle { text-anchor: middle }\n"
    ".right { text-anchor: end }\n"
    ".axis { stroke: #111111; stroke-width: 3; fill: none }\n"
    ".grid { stroke: #d8d8d8; stroke-width: 2 }\n"
    ".ideal { stroke: #666666; stroke-width: 5; stroke-dasharray: 4 13; stroke-linecap: round; fill: none }\n"
    ".law { stroke: #d55e00; stroke-width: 7; fill: none }\n"
    ".worth { stroke: #666666; stroke-width: 4; stroke-dasharray: 22 12; fill: none }\n"
    ".measured { fill: #0072b2; stroke: #ffffff; stroke-width: 3 }\n"
    ".recommended { fill: none; stroke: #009e73; stroke-width: 6 }\n"
    "</style>\n"
    "<rect width=\"1600\" height=\"900\" fill=\"#ffffff\"/>\n";

/* Where a panel is in the picture, and what its axes span. */
struct panel {
    double left, right, top, bottom; /* in the picture */
    struct axes axes;
    bool efficiency; /* what is shown: else the speed-up */
};

static double x_of(const struct panel *panel, double slots)
{
    return panel->left + axes_x(&panel->axes, slots) * (panel->right - panel->left);
}

static double y_of(const struct panel *panel, double value)
{
    return panel->bottom - axes_y(&panel->axes, value) * (panel->bottom - panel->top);
}

/*** Parts ***/

/* Is it a character of XML? Control characters are not, nor U+FFFE and U+FFFF. */
static bool is_xml(const char *c, size_t len)
{
    if (len == 0 || (len == 1 && ((unsigned char)*c < 0x20 || *c == 0x7f)))
        return false;
    return !(len == 3 && memcmp(c, "\xef\xbf", 2) == 0 && (unsigned char)c[2] >= 0xbe);
}

/* Adds text, of at most so many characters. */
static void add_text(struct grow *out, const char *text, unsigned most)
{
    const char *end = text + strlen(text);
    for (unsigned count = 0; text < end; count++) {
        size_t len = utf8_length(text, (size_t)(end - text));
        if (count == most) {
            grow_format(out, "…");
            return;
        }
        if (!is_xml(text, len))
            grow_byte(out, '?');
        else if (*text == '&')
            grow_format(out, "&amp;");
        else if (*text == '<')
            grow_format(out, "&lt;");
        else if (*text == '>')
            grow_format(out, "&gt;");
        else
            grow_add(out, text, len);
        text += len > 0 ? len : 1;
    }
}

static void add_line(struct grow *out, const char *class, double x1, double y1, double x2, double y2)
{
    grow_format(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1,
                x2, y2);
}

static void add_circle(struct grow *out, const char *class, double x, double y, int radius)
{
    grow_format(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/>\n", class, x, y, radius);
}

/*** A panel ***/

static void add_marks_up(struct grow *out, const struct panel *panel)
{
    unsigned count = (unsigned)(panel->axes.top / panel->axes.step);
    for (unsigned i = 0; i <= count; i++) {
        double value = i * panel->axes.step, y = y_of(panel, value);
        if (i > 0)
            add_line(out, "grid", panel->left, y, panel->right, y);
        grow_format(out, "<text class=\"right\" x=\"%.1f\" y=\"%.1f\">%g%s</text>\n", panel->left - 16,
                    y + 11, panel->efficiency ? value * 100 : value, panel->efficiency ? " %" : "");
    }
}

/* The room that a number of slots takes below the axis. */
static double label_room(unsigned slots)
{
    double room = LABEL_GAP;
    for (unsigned rest = slots; rest > 0; rest /= 10)
        room += LABEL_DIGIT;
    return room;
}

/* A mark for each number of slots that was tried; its number where that has room, and the last one's surely.
 */
static void add_marks_right(struct grow *out, const struct panel *panel, const struct amdahl *amdahl)
{
    unsigned last = amdahl->points[amdahl->count - 1].slots;
    double free_from = 0, last_from = x_of(panel, last) - label_room(last);
    for (size_t i = 0; i < amdahl->count; i++) {
        unsigned slots = amdahl->points[i].slots;
        double x = x_of(panel, slots);
        add_line(out, "axis", x, panel->bottom, x, panel->bottom + 10);
        if (slots != last && (x < free_from || x > last_from))
            continue;
        free_from = x + label_room(slots);
        grow_format(out, "<text class=\"middle\" x=\"%.1f\" y=\"%.1f\">%u</text>\n", x, panel->bottom + 46,
                    slots);
    }
}

static void add_axes(struct grow *out, const struct panel *panel, const struct amdahl *amdahl,
                     const char *what)
{
    add_marks_up(out, panel);
    grow_format(out, "<path class=\"axis\" d=\"M%.1f %.1f V%.1f H%.1f\"/>\n", panel->left, panel->top,
                panel->bottom, panel->right);
    add_marks_right(out, panel, amdahl);
    double middle = (panel->left + panel->right) / 2, x = panel->left - (panel->efficiency ? 142 : 100);
    grow_format(out, "<text class=\"middle\" x=\"%.1f\" y=\"%.1f\">slots</text>\n", middle,
                panel->bottom + 92);
    double y = (panel->top + panel->bottom) / 2;
    grow_format(
        out, "<text class=\"middle\" x=\"%.1f\" y=\"%.1f\" transform=\"rotate(-90 %.1f %.1f)\">%s</text>\n",
        x, y, x, y, what);
}

/* The curve of the law, as a line of many short pieces. */
static void add_law(struct grow *out, const struct panel *panel, const struct amdahl *amdahl)
{
    double most = amdahl->points[amdahl->count - 1].slots;
    grow_format(out, "<polyline class=\"law\" points=\"");
    for (int i = 0; i <= CURVE_STEPS; i++) {
        double n = 1 + (most - 1) * i / CURVE_STEPS, value = amdahl_speedup(amdahl->serial, n);
        grow_format(out, "%s%.1f,%.1f", i > 0 ? " " : "", x_of(panel, n),
                    y_of(panel, panel->efficiency ? value / n : value));
    }
    grow_format(out, "\"/>\n");
}

static void add_points(struct grow *out, const struct panel *panel, const struct amdahl *amdahl)
{
    for (size_t i = 0; i < amdahl->count; i++) {
        const struct amdahl_point *point = &amdahl->points[i];
        double x = x_of(panel, point->slots);
        double y = y_of(panel, panel->efficiency ? point->efficiency : point->speedup);
        add_circle(out, "measured", x, y, 14);
        if (point->slots == amdahl->recommended)
            add_circle(out, "recommended", x, y, 25);
    }
}

static void add_speedup(struct grow *out, const struct amdahl *amdahl)
{
    struct panel panel = {
        .left = 150, .right = 900, .top = 250, .bottom = 780, .axes = axes_of(amdahl), .efficiency = false};
    double until = fmin(amdahl->points[amdahl->count - 1].slots, panel.axes.top);
    add_axes(out, &panel, amdahl, "speed-up");
    add_line(out, "ideal", x_of(&panel, 1), y_of(&panel, 1), x_of(&panel, until), y_of(&panel, until));
    if (amdahl->fits)
        add_law(out, &panel, amdahl);
    add_points(out, &panel, amdahl);
}

static void add_efficiency(struct grow *out, const struct amdahl *amdahl)
{
    struct panel panel = {
        .left = 1110, .right = 1550, .top = 250, .bottom = 780, .axes = axes_of(amdahl), .efficiency = true};
    double most = amdahl->points[amdahl->count - 1].slots, highest = 1;
    for (size_t i = 0; i < amdahl->count; i++)
        highest = fmax(highest, amdahl->points[i].efficiency);
    panel.axes.top = highest * 1.05;
    panel.axes.step = highest > 2 ? 0.5 : 0.2;
    add_axes(out, &panel, amdahl, "efficiency (speed-up / slots)");
    add_line(out, "ideal", x_of(&panel, 1), y_of(&panel, 1), x_of(&panel, most), y_of(&panel, 1));
    add_line(out, "worth", panel.left, y_of(&panel, AMDAHL_WORTH), panel.right, y_of(&panel, AMDAHL_WORTH));
    if (amdahl->fits)
        add_law(out, &panel, amdahl);
    add_points(out, &panel, amdahl);
}

/*** The whole ***/

/* What is what, in a row above both panels. */
static void add_legend(struct grow *out, const struct amdahl *amdahl)
{
    static const double y = 196, text_y = 207;
    add_circle(out, "measured", 64, y, 14);
    grow_format(out, "<text x=\"90\" y=\"%.1f\">measured</text>\n", text_y);
    add_line(out, "ideal", 290, y, 360, y);
    grow_format(out, "<text x=\"378\" y=\"%.1f\">ideal</text>\n", text_y);
    if (amdahl->fits) {
        add_line(out, "law", 500, y, 570, y);
        grow_format(out, "<text x=\"588\" y=\"%.1f\">Amdahl’s law</text>\n", text_y);
    }
    add_circle(out, "recommended", 850, y, 21);
    grow_format(out, "<text x=\"886\" y=\"%.1f\">recommended: %u</text>\n", text_y, amdahl->recommended);
    add_line(out, "worth", 1230, y, 1312, y);
    grow_format(out, "<text x=\"1328\" y=\"%.1f\">%g %% of ideal</text>\n", text_y, AMDAHL_WORTH * 100);
}

static void add_title(struct grow *out, const struct amdahl *amdahl, const char *name)
{
    unsigned most = amdahl->points[amdahl->count - 1].slots;
    add_text(out, name, NAME_MOST);
    grow_format(out, most > 1 ? " with 1 to %u slots" : " with %u slot", most);
}

bool svg_draw(const struct amdahl *amdahl, const char *name, const char *subtitle, struct grow *out)
{
    grow_add(out, head, sizeof head - 1);
    grow_format(out, "<title>");
    add_title(out, amdahl, name);
    grow_format(out, "</title>\n<text class=\"title\" x=\"50\" y=\"78\">");
    add_title(out, amdahl, name);
    grow_format(out, "</text>\n<text x=\"50\" y=\"134\">");
    add_text(out, subtitle, SUBTITLE_MOST);
    grow_format(out, "</text>\n");
    add_legend(out, amdahl);
    add_speedup(out, amdahl);
    add_efficiency(out, amdahl);
    return grow_add(out, "</svg>\n", 7);
}
