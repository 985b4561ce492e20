/* pmapc top: how rows are chosen, ordered and laid out, and how their numbers are shown. */
#include "client/pmapc/top/layout.h"
#include "client/pmapc/top/units.h"
#include "client/pmapc/top/view.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void shows_numbers_in_few_columns(void **unused)
{
    (void)unused;
    static const struct {
        const char *(*show)(double value, char out[UNITS_ROOM]);
        double value;
        const char *text;
    } cases[] = {{units_count, NAN, "-"},
                 {units_count, -1, "-"},
                 {units_count, 0, "0"},
                 {units_count, 0.25, "0.25"},
                 {units_count, 9999, "9999"},
                 {units_count, 12345, "12.3k"},
                 {units_count, 999.9e3, "1.0M"},
                 {units_count, 4.5e6, "4.5M"},
                 {units_bytes, 1023, "1023"},
                 {units_bytes, 12544, "12.2K"},
                 {units_bytes, 4718592, "4.5M"},
                 {units_seconds, NAN, "-"},
                 {units_seconds, 0, "0s"},
                 {units_seconds, 0.008, "8ms"},
                 {units_seconds, 0.9996, "1.0s"},
                 {units_seconds, 59.94, "59.9s"},
                 {units_seconds, 59.96, "1:00"},
                 {units_seconds, 754, "12:34"},
                 {units_seconds, 5025, "1:23:45"},
                 {units_seconds, 45240, "12h34m"},
                 {units_seconds, 1e6, "11d13h"},
                 {units_seconds, 1e12, "-"},
                 {units_real, 1.5, "1.50"},
                 {units_real, 12, "12"},
                 {units_real, 12.34, "12.3"},
                 {units_real, 4, "4"}};
    char out[UNITS_ROOM];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(cases[i].show(cases[i].value, out), cases[i].text);
    double value = 1e-5;
    for (int i = 0; i < 260; i++) {
        value *= 1.37;
        assert_true(strlen(units_count(value, out)) <= UNITS_WIDTH);
        assert_true(strlen(units_bytes(value, out)) <= UNITS_WIDTH);
        assert_true(strlen(units_seconds(value, out)) <= UNITS_WIDTH);
        assert_true(strlen(units_real(value, out)) <= UNITS_WIDTH);
    }
}

/*** Layout ***/

/* Every line of the screen is one's or nobody's, from the header down to the footer. */
static void check_layout(int lines, const struct layout *layout, enum pane focus)
{
    int line = layout->header, end = layout->footer < 0 ? lines : layout->footer;
    for (int i = 0; i < PANE_COUNT; i++) {
        if (layout->pane[i].heading < 0)
            continue;
        assert_true(layout->pane[i].heading >= line && layout->pane[i].rows >= 0);
        line = layout->pane[i].heading + 1 + layout->pane[i].rows;
    }
    assert_int_equal(line, end);
    assert_true(layout->pane[focus].heading >= layout->header);
}

static void divides_any_screen(void **unused)
{
    (void)unused;
    for (int lines = LAYOUT_LINES_LEAST; lines < 80; lines++)
        for (size_t i = 0; i < 81; i++) {
            static const size_t counts[] = {0, 3, 200};
            const size_t wanted[PANE_COUNT] = {counts[i % 3], counts[i / 3 % 3], counts[i / 9 % 3]};
            struct layout layout;
            layout_divide(lines, wanted, (enum pane)(i / 27), &layout);
            check_layout(lines, &layout, (enum pane)(i / 27));
        }
}

static void shows_all_panes_at_80_by_24(void **unused)
{
    (void)unused;
    struct layout layout;
    layout_divide(24, (const size_t[PANE_COUNT]){1, 4, 3}, PANE_JOBS, &layout);
    assert_int_equal(layout.header, 3);
    assert_int_equal(layout.footer, 23);
    assert_int_equal(layout.pane[PANE_USERS].heading, 4); /* behind an empty line */
    assert_int_equal(layout.pane[PANE_USERS].rows, 1);
    assert_int_equal(layout.pane[PANE_SLOTS].rows, 4);
    assert_true(layout.pane[PANE_JOBS].rows >= 3);
    /* Where there is more than fits, each has its part, and jobs the largest. */
    layout_divide(24, (const size_t[PANE_COUNT]){100, 100, 100}, PANE_JOBS, &layout);
    assert_int_equal(layout.pane[PANE_USERS].heading, 3);
    assert_true(layout.pane[PANE_USERS].rows >= 3);
    assert_true(layout.pane[PANE_SLOTS].rows > layout.pane[PANE_USERS].rows);
    assert_true(layout.pane[PANE_JOBS].rows > layout.pane[PANE_SLOTS].rows);
    /* Where there is little room, the one in focus. */
    layout_divide(8, (const size_t[PANE_COUNT]){100, 100, 100}, PANE_SLOTS, &layout);
    assert_int_equal(layout.pane[PANE_USERS].heading, -1);
    assert_int_equal(layout.pane[PANE_JOBS].heading, -1);
    assert_int_equal(layout.pane[PANE_SLOTS].rows, 5);
}

/*** Columns ***/

static void fits_columns_into_any_width(void **unused)
{
    (void)unused;
    for (enum pane pane = 0; pane < PANE_COUNT; pane++) {
        size_t count, most = 0;
        const struct column *columns = columns_of(pane, &count);
        assert_true(count <= COLUMNS_MAX);
        for (int width = 40; width <= 300; width++) {
            int widths[COLUMNS_MAX], sum = 0;
            size_t shown = 0;
            columns_fit(pane, width, widths);
            for (size_t i = 0; i < COLUMNS_MAX; i++) {
                sum += widths[i] > 0 ? widths[i] + 1 : 0;
                shown += widths[i] > 0;
                assert_true(i < count || widths[i] == 0);
                assert_true(widths[i] == 0 || widths[i] >= columns[i].width);
                assert_true(i >= count || columns[i].rank > 0 || widths[i] > 0);
            }
            /* Nothing is lost, where something can stretch, and nothing is beyond the edge. */
            assert_int_equal(sum, width);
            assert_true(shown >= most);
            most = shown;
        }
        assert_int_equal(most, count);
    }
}

static size_t column_of(enum pane pane, const char *title)
{
    size_t count;
    const struct column *columns = columns_of(pane, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(columns[i].title, title) == 0)
            return i;
    fail_msg("no column %s", title);
    return 0;
}

static const char *cell(const char *title, const struct row *row)
{
    static char out[CELL_ROOM];
    size_t count;
    return columns_cell(&columns_of(PANE_JOBS, &count)[column_of(PANE_JOBS, title)], row, out);
}

static void shows_cells(void **unused)
{
    (void)unused;
    struct row row = {.job = 12, .function = "sleep", .waits = "turn"};
    for (int i = 0; i < V_COUNT; i++)
        row.value[i] = NAN;
    assert_string_equal(cell("JOB", &row), "12");
    assert_string_equal(cell("%", &row), "-");
    assert_string_equal(cell("STATE", &row), "queued");
    assert_string_equal(cell("PRIO", &row), "-");
    row.value[V_PRIORITY] = -5;
    assert_string_equal(cell("PRIO", &row), "-5");
    row.value[V_RUNNING] = 1;
    assert_string_equal(cell("STATE", &row), "running");
    /* 100% is done, and not nearly done. */
    row.value[V_PROGRESS] = 0.9999;
    assert_string_equal(cell("%", &row), "99%");
    row.value[V_PROGRESS] = 1;
    assert_string_equal(cell("%", &row), "100%");
    row = (struct row){.job = 0};
    assert_string_equal(cell("JOB", &row), "-");
    assert_string_equal(cell("FUNCTION", &row), "-");
    assert_string_equal(cell("STATE", &row), "-");
}

/*** View ***/

/* Jobs of two users; the third is another's, of which little is told. */
static void look(struct model *model, size_t count)
{
    struct sample *sample = sample_new(1);
    assert_non_null(sample);
    sample->taken_ns = model->now ? model->now->taken_ns + 1000000000 : 1;
    struct rows *jobs = &sample->pane[PANE_JOBS], *users = &sample->pane[PANE_USERS];
    *jobs = (struct rows){calloc(count, sizeof(struct row)), count, true};
    *users = (struct rows){calloc(2, sizeof(struct row)), 2, true};
    assert_true(jobs->row && users->row);
    static const char *const functions[] = {"sleep", "square", "", "Sleep 1"};
    for (size_t i = 0; i < count; i++) {
        struct row *row = &jobs->row[i];
        *row = (struct row){.id = i + 10, .job = i + 10, .uid = i == 2 ? 2 : 1, .mine = i != 2};
        snprintf(row->user, sizeof row->user, "%s", i == 2 ? "bob" : "alice");
        snprintf(row->function, sizeof row->function, "%s", functions[i % 4]);
        for (int v = 0; v < V_COUNT; v++)
            row->value[v] = i == 2 ? NAN : (double)(i % 3);
    }
    for (size_t i = 0; i < 2; i++) {
        struct row *row = &users->row[i];
        *row = (struct row){.id = i + 1, .uid = (uint32_t)i + 1, .mine = i == 0};
        snprintf(row->user, sizeof row->user, "%s", i == 0 ? "alice" : "bob");
    }
    model_take(model, sample);
}

/* "10 11 12": the jobs that are shown, in order. */
static void shows(struct view *view, const struct model *model, const char *expected)
{
    char text[200] = "";
    assert_int_equal(view_arrange(view, model), 0);
    const struct pane_view *jobs = &view->pane[PANE_JOBS];
    for (size_t i = 0, at = 0; i < jobs->count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%d", i > 0 ? " " : "", (int)jobs->row[i]->id);
    assert_string_equal(text, expected);
}

static void filters(void **unused)
{
    (void)unused;
    struct model model = {0};
    struct view view;
    view_init(&view);
    look(&model, 4);
    shows(&view, &model, "10 11 12 13");
    strcpy(view.filter, "sLeeP");
    shows(&view, &model, "10 13");
    assert_int_equal(view.pane[PANE_USERS].count, 1); /* whose they are */
    strcpy(view.filter, "bob");
    shows(&view, &model, "12");
    strcpy(view.filter, "11");
    shows(&view, &model, "11");
    strcpy(view.filter, "1");
    shows(&view, &model, "10 11 12 13");
    strcpy(view.filter, "nothing");
    shows(&view, &model, "");
    assert_null(view_selected(&view, PANE_JOBS));
    view.filter[0] = '\0';
    view.mine = true;
    shows(&view, &model, "10 11 13");
    view_free(&view);
    model_clear(&model);
}

static void orders(void **unused)
{
    (void)unused;
    struct model model = {0};
    struct view view;
    view_init(&view);
    look(&model, 5);
    struct pane_view *jobs = &view.pane[PANE_JOBS];
    jobs->order = column_of(PANE_JOBS, "RUN");
    shows(&view, &model, "11 14 10 13 12"); /* 1 1 0 0 -: the greatest first, what is unknown last */
    jobs->reverse = true;
    shows(&view, &model, "10 13 11 14 12");
    jobs->order = column_of(PANE_JOBS, "USER");
    jobs->reverse = false;
    shows(&view, &model, "10 11 13 14 12");
    jobs->order = column_of(PANE_JOBS, "JOB");
    jobs->reverse = true;
    shows(&view, &model, "14 13 12 11 10");
    /* The next column among those that are shown, and round. */
    int shown[COLUMNS_MAX] = {6, 0, 10};
    jobs->order = 0;
    view_order(&view, 1, shown);
    assert_int_equal(jobs->order, 2);
    view_order(&view, 1, shown);
    assert_int_equal(jobs->order, 0);
    view_order(&view, -1, shown);
    assert_int_equal(jobs->order, 2);
    view_free(&view);
    model_clear(&model);
}

static void keeps_what_is_selected(void **unused)
{
    (void)unused;
    struct model model = {0};
    struct view view;
    view_init(&view);
    look(&model, 20);
    assert_int_equal(view_arrange(&view, &model), 0);
    struct pane_view *jobs = &view.pane[PANE_JOBS];
    assert_int_equal(view_selected(&view, PANE_JOBS)->id, 10);
    view_move(&view, 3);
    assert_int_equal(view_selected(&view, PANE_JOBS)->id, 13);
    jobs->reverse = true;
    assert_int_equal(view_arrange(&view, &model), 0);
    assert_int_equal(view_selected(&view, PANE_JOBS)->id, 13);
    assert_int_equal(jobs->at, 16);
    /* It is on the screen, however small that is. */
    view_scroll(&view, PANE_JOBS, 5);
    assert_true(jobs->top <= 16 && 16 < jobs->top + 5);
    view_move(&view, LONG_MIN);
    view_scroll(&view, PANE_JOBS, 5);
    assert_int_equal(view_selected(&view, PANE_JOBS)->id, 29);
    assert_int_equal(jobs->top, 0);
    view_move(&view, LONG_MAX);
    view_scroll(&view, PANE_JOBS, 5);
    assert_int_equal(view_selected(&view, PANE_JOBS)->id, 10);
    assert_int_equal(jobs->top, 15);
    view_scroll(&view, PANE_JOBS, 50);
    assert_int_equal(jobs->top, 0);
    view_scroll(&view, PANE_JOBS, 0);
    /* When it has ended, what has come to its place is selected; or the last one. */
    view_move(&view, -1);
    look(&model, 1);
    assert_int_equal(view_arrange(&view, &model), 0);
    assert_int_equal(view_selected(&view, PANE_JOBS)->id, 10);
    view_free(&view);
    model_clear(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_numbers_in_few_columns),
        cmocka_unit_test(divides_any_screen),
        cmocka_unit_test(shows_all_panes_at_80_by_24),
        cmocka_unit_test(fits_columns_into_any_width),
        cmocka_unit_test(shows_cells),
        cmocka_unit_test(filters),
        cmocka_unit_test(orders),
        cmocka_unit_test(keeps_what_is_selected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
