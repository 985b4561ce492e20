/*
 * Plain text instead of a screen; see batch.h.
 */
#include "client/pmapc/top/batch.h"

#include "client/pmapc/connect.h"
#include "client/pmapc/tell.h"
#include "client/pmapc/top/units.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static void print_header(const struct sample *now)
{
    char a[UNITS_ROOM], b[UNITS_ROOM], c[UNITS_ROOM], d[UNITS_ROOM];
    const double *figure = now->figure;
    printf("pmapd %s, up %s\n", now->version, units_seconds(figure[F_UPTIME_S], a));
    printf("slots %s of %s in use, %s extra, %s on average\n", units_count(figure[F_BUSY], a),
           units_count(figure[F_SLOTS], b), units_count(figure[F_ABOVE], c), units_real(figure[F_LOAD], d));
    printf("%s items/s, %s items queued, %s held\n", units_count(figure[F_ITEMS_PER_S], a),
           units_count(figure[F_QUEUED], b), units_bytes(figure[F_HELD], c));
    printf("%s jobs, %s waiting, %s connections, %s cut\n", units_count(figure[F_JOBS], a),
           units_count(figure[F_WAITING], b), units_count(figure[F_CONNECTIONS], c),
           units_count(figure[F_CUT], d));
}

/* A column is as wide as its widest cell; the last one has nothing behind it. */
static void print_pane(const struct view *view, enum pane number)
{
    const struct pane_view *pane = &view->pane[number];
    size_t count;
    const struct column *columns = columns_of(number, &count);
    int widths[COLUMNS_MAX];
    char cell[CELL_ROOM];
    for (size_t c = 0; c < count; c++) {
        widths[c] = (int)strlen(columns[c].title);
        for (size_t i = 0; i < pane->count; i++) {
            int len = (int)strlen(columns_cell(&columns[c], pane->row[i], cell));
            widths[c] = len > widths[c] ? len : widths[c];
        }
    }
    printf("\n%s: %zu\n", columns_pane_name(number), pane->count);
    for (size_t i = 0; pane->count > 0 && i <= pane->count; i++) {
        for (size_t c = 0; c < count; c++) {
            const char *text = i == 0 ? columns[c].title : columns_cell(&columns[c], pane->row[i - 1], cell);
            int width = columns[c].left ? -widths[c] : widths[c];
            printf("%s%*s", c > 0 ? "  " : "", c + 1 == count && columns[c].left ? 0 : width, text);
        }
        putchar('\n');
    }
}

static int print_look(struct top *top)
{
    if (view_arrange(&top->view, &top->model) < 0) {
        tell("out of memory");
        return STATUS_FAILED;
    }
    print_header(top->model.now);
    for (enum pane pane = 0; pane < PANE_COUNT; pane++)
        print_pane(&top->view, pane);
    return tell_finish();
}

/* Takes one look. Returns 0, or an exit status having told. */
static int look(struct top *top, pmap *pool)
{
    struct sample *sample = NULL;
    int rc = feed_look(pool, &sample);
    if (rc == -EBADMSG || rc == -EINVAL || rc == -ENOMEM) {
        tell(rc == -ENOMEM ? "out of memory" : "the daemon's answer to 'status' makes no sense");
        return STATUS_NO_POOL;
    }
    if (rc < 0)
        return connect_lost(pool, rc);
    model_take(&top->model, sample);
    return 0;
}

int batch_run(struct top *top, pmap *pool)
{
    for (int64_t i = 1;; i++) {
        int status = look(top, pool);
        if (status != 0)
            return status;
        if (i > 1)
            printf("\n");
        status = print_look(top);
        if (status != 0 || i == top->options.count)
            return status;
        /* Ctrl-C ends it here as it ends any program: nothing is to be tidied up. */
        poll(NULL, 0, (int)(top->options.interval_s * 1000));
    }
}
