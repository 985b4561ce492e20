/*
 * The state of the live view: what is known of the daemon, what is looked at, and what the user is about to
 * do. One thread owns it all; only the feed has one of its own.
 */
#ifndef PMAPC_TOP_TOP_H
#define PMAPC_TOP_TOP_H

#include "client/pmapc/pmapc.h"
#include "client/pmapc/top/feed.h"
#include "client/pmapc/top/view.h"

/* What keys mean at the moment. */
enum mode {
    MODE_ROWS,
    MODE_FILTER,  /* the filter is being typed */
    MODE_ASK,     /* is this job to be cancelled? */
    MODE_HELP,    /* any key goes back */
    MODE_EXPLAIN, /* the same; arrows choose another row meanwhile */
};

struct options {
    double interval_s;
    int64_t count; /* looks before the end; 0: no end */
    bool batch;
};

struct top {
    struct options options;
    char endpoint[FEED_TEXT_ROOM]; /* for the header */
    struct feed *feed;             /* NULL in batch mode */
    struct model model;
    struct view view;
    struct news news; /* the last; its sample is the model's by now */
    enum mode mode;
    uint64_t job; /* MODE_ASK */
    char message[FEED_TEXT_ROOM];
    int64_t message_ns; /* when it was set, CLOCK_MONOTONIC */
};

/* Shows a message in the last line for a while. */
void top_say(struct top *top, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes what has come. Returns whether it was a look at the daemon. */
bool top_take_news(struct top *top);

/* The job of the selected row: its number, or 0 having said why there is none. */
uint64_t top_selected_job(struct top *top);

#endif
