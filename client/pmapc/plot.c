/*
 * A speed-up plot of characters; see plot.h.
 */
#include "client/pmapc/plot.h"

#include "client/pmapc/axes.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    COLUMNS_LEAST = 40,
    COLUMNS_MOST = 100,
    MARGIN = 8, /* columns left of the area: a mark's label, and the axis */
    WIDTH_MOST = COLUMNS_MOST - MARGIN,
    HEIGHT_MOST = 18,
    DOTS_X = 2, /* of a Braille character */
    DOTS_Y = 4,
    DOTTED = 4, /* of so many dots of the ideal line one is drawn */
    LABEL_ROOM = 32,
};

/* What is in a cell: Braille dots, and which of the three. */
enum { DOTS = 0xff, IDEAL = 0x100, CURVE = 0x200, MEASURED = 0x400 };

struct canvas {
    unsigned width, height; /* cells */
    uint16_t cells[HEIGHT_MOST][WIDTH_MOST];
};

/* How things look. */
struct glyphs {
    const char *measured, *ideal, *curve, *ideal_sample, *curve_sample;
    const char *side, *side_mark, *corner, *floor, *floor_mark;
};

static const struct glyphs ascii = {"o", ".", "*", ". . .", "*****", "|", "+", "+", "-", "+"};
static const struct glyphs braille = {"●", NULL, NULL, "⠂⠐ ⠂", "⠤⠤⠤⠤", "│", "┤", "└", "─", "┬"};

/*** The area ***/

/* Of a value from 0 to 1 which one of so many; SIZE_MAX: none. */
static size_t place(double part, size_t count)
{
    if (!(part >= 0 && part < 1))
        return SIZE_MAX;
    return (size_t)(part * (double)count);
}

/* Sets a dot; x from the left, y from the bottom. */
static void set_dot(struct canvas *canvas, size_t x, size_t y, unsigned what)
{
    /* U+2800 numbers the dots of its upper three rows column by column, and those of the fourth row last. */
    static const uint8_t bits[DOTS_Y][DOTS_X] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    size_t from_top = (size_t)canvas->height * DOTS_Y - 1 - y;
    uint16_t *cell = &canvas->cells[from_top / DOTS_Y][x / DOTS_X];
    *cell |= bits[from_top % DOTS_Y][x % DOTS_X] | what;
}

/* A dotted line, whichever way it is steeper. */
static void draw_ideal(struct canvas *canvas, const struct axes *axes, const struct amdahl *amdahl)
{
    size_t width = (size_t)canvas->width * DOTS_X, height = (size_t)canvas->height * DOTS_Y;
    size_t steps = width > height ? width : height;
    double until = fmin(amdahl->points[amdahl->count - 1].slots, axes->top);
    for (size_t i = 0; i < steps; i += DOTTED) {
        double n = 1 + (until - 1) * (double)i / (double)steps;
        size_t x = place(axes_x(axes, n), width), y = place(axes_y(axes, n), height);
        if (x != SIZE_MAX && y != SIZE_MAX)
            set_dot(canvas, x, y, IDEAL);
    }
}

static void draw_curve(struct canvas *canvas, const struct axes *axes, const struct amdahl *amdahl)
{
    size_t width = (size_t)canvas->width * DOTS_X, height = (size_t)canvas->height * DOTS_Y;
    size_t before = SIZE_MAX;
    double most = amdahl->points[amdahl->count - 1].slots;
    for (size_t x = 0; x < width; x++) {
        double n = axes->left + ((double)x + 0.5) / (double)width * (axes->right - axes->left);
        size_t y =
            n < 1 || n > most ? SIZE_MAX : place(axes_y(axes, amdahl_speedup(amdahl->serial, n)), height);
        if (y == SIZE_MAX)
            continue;
        /* Where it is steep, without gaps. */
        for (size_t fill = before != SIZE_MAX && before < y ? before + 1 : y; fill <= y; fill++)
            set_dot(canvas, x, fill, CURVE);
        before = y;
    }
}

static void draw_points(struct canvas *canvas, const struct axes *axes, const struct amdahl *amdahl)
{
    for (size_t i = 0; i < amdahl->count; i++) {
        size_t x = place(axes_x(axes, amdahl->points[i].slots), canvas->width);
        size_t y = place(axes_y(axes, amdahl->points[i].speedup), canvas->height);
        if (x != SIZE_MAX && y != SIZE_MAX)
            canvas->cells[canvas->height - 1 - y][x] |= MEASURED;
    }
}

static void add_cell(struct grow *out, uint16_t cell, const struct glyphs *glyphs)
{
    if (cell & MEASURED) {
        grow_format(out, "%s", glyphs->measured);
    } else if (cell == 0) {
        grow_byte(out, ' ');
    } else if (glyphs->curve) {
        grow_format(out, "%s", cell & CURVE ? glyphs->curve : glyphs->ideal);
    } else {
        unsigned point = 0x2800 | (cell & DOTS);
        char utf8[] = {(char)(0xe0 | point >> 12), (char)(0x80 | (point >> 6 & 0x3f)),
                       (char)(0x80 | (point & 0x3f))};
        grow_add(out, utf8, sizeof utf8);
    }
}

/*** Around it ***/

/* Adds a line without the spaces at its end. */
static void end_line(struct grow *out)
{
    while (out->len > 0 && out->data[out->len - 1] == ' ')
        out->len--;
    grow_byte(out, '\n');
}

/* The area's lines, and the marks of the speed-up at their left. */
static void add_area(struct grow *out, const struct canvas *canvas, const struct axes *axes,
                     const struct glyphs *glyphs)
{
    for (unsigned row = 0; row < canvas->height; row++) {
        char label[LABEL_ROOM] = "";
        for (unsigned i = 1; i * axes->step < axes->top; i++)
            if (place(axes_y(axes, i * axes->step), canvas->height) == canvas->height - 1 - row)
                snprintf(label, sizeof label, "%g", i * axes->step);
        grow_format(out, "%*s %s", MARGIN - 2, label, *label ? glyphs->side_mark : glyphs->side);
        for (unsigned x = 0; x < canvas->width; x++)
            add_cell(out, canvas->cells[row][x], glyphs);
        end_line(out);
    }
}

/* Writes a number of slots under its place, unless another is too near. */
static bool put_label(char *line, size_t room, size_t x, unsigned slots)
{
    char text[LABEL_ROOM];
    size_t len = (size_t)snprintf(text, sizeof text, "%u", slots);
    size_t start = x >= len / 2 ? x - len / 2 : 0;
    if (start + len > room)
        start = room - len;
    size_t from = start > 0 ? start - 1 : 0, to = start + len < room ? start + len + 1 : room;
    for (size_t i = from; i < to; i++)
        if (line[i] != ' ')
            return false;
    memcpy(line + start, text, len);
    return true;
}

/* The axis of the slots: a mark and a number for each that was tried, the last one first, as far as there is
 * room. */
static void add_floor(struct grow *out, const struct canvas *canvas, const struct axes *axes,
                      const struct amdahl *amdahl, const struct glyphs *glyphs)
{
    char labels[WIDTH_MOST];
    bool marks[WIDTH_MOST] = {false};
    memset(labels, ' ', sizeof labels);
    for (size_t i = 0; i < amdahl->count; i++) {
        unsigned slots = amdahl->points[i > 0 ? i - 1 : amdahl->count - 1].slots;
        size_t x = place(axes_x(axes, slots), canvas->width);
        if (x != SIZE_MAX)
            marks[x] = put_label(labels, canvas->width, x, slots) || marks[x];
    }
    grow_format(out, "%*s %s", MARGIN - 2, "0", glyphs->corner);
    for (unsigned x = 0; x < canvas->width; x++)
        grow_format(out, "%s", marks[x] ? glyphs->floor_mark : glyphs->floor);
    grow_byte(out, '\n');
    grow_format(out, "%*s ", MARGIN - 1, "slots");
    grow_add(out, labels, canvas->width);
    end_line(out);
}

bool plot_draw(const struct amdahl *amdahl, unsigned columns, bool utf8, struct grow *out)
{
    const struct glyphs *glyphs = utf8 ? &braille : &ascii;
    struct axes axes = axes_of(amdahl);
    columns = columns < COLUMNS_LEAST ? COLUMNS_LEAST : columns > COLUMNS_MOST ? COLUMNS_MOST : columns;
    struct canvas canvas = {.width = columns - MARGIN, .height = columns / 5};
    if (canvas.height > HEIGHT_MOST)
        canvas.height = HEIGHT_MOST;
    draw_ideal(&canvas, &axes, amdahl);
    if (amdahl->fits)
        draw_curve(&canvas, &axes, amdahl);
    draw_points(&canvas, &axes, amdahl);
    grow_format(out, "speed-up\n");
    add_area(out, &canvas, &axes, glyphs);
    add_floor(out, &canvas, &axes, amdahl, glyphs);
    grow_format(out, "%*s%s measured   %s ideal", MARGIN, "", glyphs->measured, glyphs->ideal_sample);
    if (amdahl->fits)
        grow_format(out, "   %s Amdahl", glyphs->curve_sample);
    return grow_byte(out, '\n');
}
