/*
 * The state of the live view; see top.h.
 */
#include "client/pmapc/top/top.h"

#include "common/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

void top_say(struct top *top, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(top->message, sizeof top->message, format, args);
    va_end(args);
    top->message_ns = now_ns();
}

bool top_take_news(struct top *top)
{
    feed_take(top->feed, &top->news);
    if (*top->news.message)
        top_say(top, "%s", top->news.message);
    if (!top->news.sample)
        return false;
    model_take(&top->model, top->news.sample);
    top->news.sample = NULL;
    if (view_arrange(&top->view, &top->model) < 0)
        top_say(top, "Out of memory.");
    return true;
}

uint64_t top_selected_job(struct top *top)
{
    const struct row *row = view_selected(&top->view, top->view.focus);
    if (top->view.focus == PANE_USERS)
        top_say(top, "Choose a job or a slot first (Tab).");
    else if (!row)
        top_say(top, "There is no %s to choose.", top->view.focus == PANE_JOBS ? "job" : "slot");
    else if (row->job == 0)
        top_say(top, "This is another user's, and the daemon does not say which job it is of.");
    else
        return row->job;
    return 0;
}
