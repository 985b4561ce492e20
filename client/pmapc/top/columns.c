/*
 * The columns of the panes; see columns.h.
 */
#include "client/pmapc/top/columns.h"

#include "client/pmapc/top/units.h"
#include "client/pmapc/waits.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* title, format, value, width, rank, and what is true of it */
static const struct column users[] = {
    {"USER", FORMAT_USER, V_NONE, 8, 0, .left = true, .stretch = true},
    {"SHARE", FORMAT_BAR, V_PROGRESS, 10, 2, .left = true, .greatest = true, .stretch = true},
    {"USED", FORMAT_REAL, V_USED, 5, 0, .greatest = true},
    {"DUE", FORMAT_REAL, V_ENTITLED, 5, 1, .greatest = true},
    {"WEIGHT", FORMAT_COUNT, V_WEIGHT, 6, 5, .greatest = true},
    {"RUN", FORMAT_COUNT, V_RUNNING, 4, 1, .greatest = true},
    {"JOBS", FORMAT_COUNT, V_JOBS, 5, 1, .greatest = true},
    {"QUEUED", FORMAT_COUNT, V_QUEUED, 6, 3, .greatest = true},
    {"ITEMS/S", FORMAT_COUNT, V_RATE, 7, 3, .greatest = true},
    {"DONE", FORMAT_COUNT, V_FINISHED, 6, 6, .greatest = true},
    {"FAILED", FORMAT_COUNT, V_FAILED, 6, 7, .greatest = true},
    {"CPU", FORMAT_SECONDS, V_CPU_S, 7, 7, .greatest = true},
};
static const struct column slots[] = {
    {"SLOT", FORMAT_ID, V_NONE, 5, 0},
    {"USER", FORMAT_USER, V_NONE, 8, 0, .left = true, .stretch = true},
    {"JOB", FORMAT_JOB, V_NONE, 6, 1},
    {"FUNCTION", FORMAT_FUNCTION, V_NONE, 10, 1, .left = true, .stretch = true},
    {"ITEM", FORMAT_INTEGER, V_ITEM, 9, 3, .greatest = true},
    {"CHUNK", FORMAT_FRACTION, V_ITEMS, 11, 4, .greatest = true},
    {"DONE", FORMAT_BAR, V_PROGRESS, 10, 5, .left = true, .greatest = true, .stretch = true},
    {"NOTE", FORMAT_NOTE, V_NONE, 7, 2, .left = true},
    {"TIME", FORMAT_SECONDS, V_AGE_S, 7, 0, .greatest = true},
};
static const struct column jobs[] = {
    {"JOB", FORMAT_JOB, V_NONE, 6, 0},
    {"USER", FORMAT_USER, V_NONE, 8, 0, .left = true, .stretch = true},
    {"FUNCTION", FORMAT_FUNCTION, V_NONE, 10, 1, .left = true, .stretch = true},
    {"PROGRESS", FORMAT_BAR, V_PROGRESS, 8, 3, .left = true, .greatest = true, .stretch = true},
    {"%", FORMAT_PERCENT, V_PROGRESS, 4, 0, .greatest = true},
    {"DONE", FORMAT_COUNT, V_FINISHED, 5, 2, .greatest = true},
    {"ITEMS", FORMAT_COUNT, V_ITEMS, 5, 4, .greatest = true},
    {"FAILED", FORMAT_COUNT, V_FAILED, 6, 6, .greatest = true},
    {"ITEMS/S", FORMAT_COUNT, V_RATE, 7, 2, .greatest = true},
    {"RUN", FORMAT_COUNT, V_RUNNING, 3, 1, .greatest = true},
    {"PRIO", FORMAT_INTEGER, V_PRIORITY, 5, 7, .greatest = true},
    {"AGE", FORMAT_SECONDS, V_AGE_S, 7, 6, .greatest = true},
    {"CLIENT", FORMAT_INTEGER, V_CLIENT, 7, 8},
    {"ETA", FORMAT_SECONDS, V_ETA_S, 7, 0},
    {"STATE", FORMAT_STATE, V_NONE, 11, 2, .left = true},
};
static const struct {
    const struct column *columns;
    size_t count, order;
    const char *name;
} panes[PANE_COUNT] = {
    [PANE_USERS] = {users, sizeof users / sizeof users[0], 2, "users"},
    [PANE_SLOTS] = {slots, sizeof slots / sizeof slots[0], 8, "slots"},
    [PANE_JOBS] = {jobs, sizeof jobs / sizeof jobs[0], 0, "jobs"},
};

const struct column *columns_of(enum pane pane, size_t *count)
{
    *count = panes[pane].count;
    return panes[pane].columns;
}

size_t columns_order(enum pane pane)
{
    return panes[pane].order;
}

const char *columns_pane_name(enum pane pane)
{
    return panes[pane].name;
}

static uint64_t number_of_slot(const struct row *row)
{
    return row->id & INT64_MAX;
}

static const char *note_of(const struct row *row)
{
    return row->asked ? "yields" : row->above ? "extra" : row->process ? "process" : "thread";
}

static const char *state_of(const struct row *row)
{
    return waits_word(row->waits, row->value[V_RUNNING] > 0);
}

static void whole_number(double value, char out[CELL_ROOM])
{
    if (isnan(value))
        snprintf(out, CELL_ROOM, "-");
    else
        snprintf(out, CELL_ROOM, "%.0f", value);
}

static void fraction(const struct row *row, char out[CELL_ROOM])
{
    char of[UNITS_ROOM], all[UNITS_ROOM];
    const double *v = row->value;
    if (isnan(v[V_ITEMS]))
        snprintf(out, CELL_ROOM, "-");
    else
        snprintf(out, CELL_ROOM, "%s/%s", units_count(v[V_FINISHED], of), units_count(v[V_ITEMS], all));
}

const char *columns_cell(const struct column *column, const struct row *row, char out[CELL_ROOM])
{
    double value = row->value[column->value];
    char units[UNITS_ROOM];
    switch (column->format) {
    case FORMAT_USER:
        return row->user;
    case FORMAT_FUNCTION:
        return *row->function ? row->function : "-";
    case FORMAT_STATE:
        return *row->waits ? state_of(row) : "-";
    case FORMAT_NOTE:
        return note_of(row);
    case FORMAT_ID:
        snprintf(out, CELL_ROOM, "%" PRIu64, number_of_slot(row));
        break;
    case FORMAT_JOB:
        if (row->job == 0)
            return "-";
        snprintf(out, CELL_ROOM, "%" PRIu64, row->job);
        break;
    case FORMAT_COUNT:
        snprintf(out, CELL_ROOM, "%s", units_count(value, units));
        break;
    case FORMAT_INTEGER:
        whole_number(value, out);
        break;
    case FORMAT_REAL:
        snprintf(out, CELL_ROOM, "%s", units_real(value, units));
        break;
    case FORMAT_SECONDS:
        snprintf(out, CELL_ROOM, "%s", units_seconds(value, units));
        break;
    case FORMAT_FRACTION:
        fraction(row, out);
        break;
    case FORMAT_PERCENT:
    case FORMAT_BAR:
        if (isnan(value))
            return "-";
        /* 100 is said of what is complete, and of nothing else. */
        snprintf(out, CELL_ROOM, "%.0f%%", floor(value * 100));
        break;
    }
    return out;
}

static int compare_numbers(double a, double b)
{
    return (a > b) - (a < b);
}

/* Where both are known, a text's order or a number's. */
static int compare_values(const struct column *column, const struct row *a, const struct row *b)
{
    switch (column->format) {
    case FORMAT_USER:
        return strcmp(a->user, b->user);
    case FORMAT_FUNCTION:
        return strcmp(a->function, b->function);
    case FORMAT_STATE:
        return strcmp(state_of(a), state_of(b));
    case FORMAT_NOTE:
        return strcmp(note_of(a), note_of(b));
    case FORMAT_ID:
        return (number_of_slot(a) > number_of_slot(b)) - (number_of_slot(a) < number_of_slot(b));
    case FORMAT_JOB:
        return (a->job > b->job) - (a->job < b->job);
    default:
        return compare_numbers(a->value[column->value], b->value[column->value]);
    }
}

static bool unknown(const struct column *column, const struct row *row)
{
    if (column->value != V_NONE)
        return isnan(row->value[column->value]);
    switch (column->format) {
    case FORMAT_FUNCTION:
        return *row->function == '\0';
    case FORMAT_STATE:
        return *row->waits == '\0';
    case FORMAT_JOB:
        return row->job == 0;
    default:
        return false;
    }
}

int columns_compare(const struct column *column, bool reverse, const struct row *a, const struct row *b)
{
    int order = unknown(column, a) - unknown(column, b);
    if (order == 0 && !unknown(column, a)) {
        order = compare_values(column, a, b);
        if (column->greatest != reverse)
            order = -order;
    }
    return order != 0 ? order : (a->id > b->id) - (a->id < b->id);
}

static int taken(const struct column *columns, size_t count, int rank, size_t *stretching)
{
    int sum = 0;
    *stretching = 0;
    for (size_t i = 0; i < count; i++)
        if (columns[i].rank <= rank) {
            sum += columns[i].width + 1;
            *stretching += columns[i].stretch;
        }
    return sum;
}

void columns_fit(enum pane pane, int width, int widths[COLUMNS_MAX])
{
    size_t count, stretching;
    const struct column *columns = columns_of(pane, &count);
    int rank = 9;
    while (rank > 0 && taken(columns, count, rank, &stretching) > width)
        rank--;
    int left = width - taken(columns, count, rank, &stretching);
    for (size_t i = 0; i < COLUMNS_MAX; i++)
        widths[i] = i < count && columns[i].rank <= rank ? columns[i].width : 0;
    /* What is left goes to bars and functions; names are short, and take their part up to sixteen. */
    for (size_t i = 0; i < count && left > 0; i++) {
        if (widths[i] == 0 || !columns[i].stretch)
            continue;
        int part = left / (int)stretching;
        if (columns[i].format == FORMAT_USER && part > 16 - widths[i])
            part = 16 - widths[i];
        if (stretching == 1)
            part = left;
        widths[i] += part;
        left -= part;
        stretching--;
    }
}
