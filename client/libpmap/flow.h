/*
 * Flow: the client's side of one job, pure: what may be sent, what has to be kept for a replay, what is owed
 * in credit, and where to go on after a lost daemon. No socket, no clock. libpmap moves its messages; the
 * simulation drives the same code against the core.
 *
 * The client keeps exactly the input whose results have not been taken, so the memory for replay never
 * exceeds what the daemon granted, and an input stream is never read twice. Thread-safety: none; one flow
 * belongs to one thread at a time. Never logs, never exits.
 */
#ifndef PMAP_FLOW_H
#define PMAP_FLOW_H

#include "common/batch.h"
#include "common/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flow;

struct flow_config {
    uint64_t ref;
    bool unordered;
    uint64_t result_window; /* credit that is granted for results; 0: the default (4 MiB) */
    size_t batch_size; /* items are gathered until a batch costs about this much; 0: the default (256 KiB) */
    uint32_t ranges_max; /* most ranges that OPEN lists as done; 0: as many as fit */
    /* Indices whose items are not wanted (a run that goes on with an earlier one): the items that are put get
     * the others, in ascending order. Copied. Ascending, disjoint, none empty; see flow_done_valid. */
    const struct range *done;
    uint32_t done_count;
};

/* Are these ranges in order, and few enough to be listed in an OPEN? */
bool flow_done_valid(const struct range *done, size_t count);

struct flow *flow_new(const struct flow_config *config); /* NULL when memory is short */
void flow_free(struct flow *flow);                       /* NULL is accepted */

/*** The caller's side ***/

/*
 * Adds an item (copied). Never blocks. After -EAGAIN what has been gathered counts as flushed.
 * Returns 0, -EAGAIN (take results first: what is kept has reached what was granted), -EPIPE (after flow_end,
 * or the job has ended), -EMSGSIZE (over PROTOCOL_ITEM_MAX), -ENOMEM.
 */
int flow_put(struct flow *flow, const void *data, size_t len);

/* Lets go what has been gathered although it would not fill a batch: the input has nothing more at the
 * moment. */
void flow_flush(struct flow *flow);

/* There will be no more items. Returns 0, or -EPIPE when it was said before. */
int flow_end(struct flow *flow);

/* The job is not wanted any more: a CANCEL goes out where OPEN did, and results are dropped from here on. */
void flow_cancel(struct flow *flow);

/*
 * The caller has taken (written, processed) `count` whole results from index `first` on: their items need not
 * be kept any more. Ordered: first must be the index that comes next. bytes: their credit is counted by
 * flow_released. Returns 0 or -EINVAL (results that never came, or taken before).
 */
int flow_taken(struct flow *flow, uint64_t first, uint32_t count);

/*
 * The caller has taken a piece of the large result `index`, not the last one; after a resume without the
 * prefix that was to be skipped. With the last piece comes flow_taken. One result at a time may be taken in
 * part, and its rest is what comes next, also after a resume and without order: that item then has a job of
 * its own, before the others go on. Returns 0 or -EINVAL (another result is taken in part).
 */
int flow_taken_piece(struct flow *flow, uint64_t index, const void *data, size_t len);

/* A message of results of this cost (batch_cost) has been dealt with wholly: its credit may go back. */
void flow_released(struct flow *flow, uint64_t cost);

/*** The wire's side ***/

enum flow_state {
    FLOW_NEW,     /* OPEN has not gone out */
    FLOW_OPENING, /* OPEN is out, OPENED has not come; an OPEN with all items is not answered so */
    FLOW_OPEN,
    FLOW_ENDED, /* DONE has come, or the job was refused */
};
enum flow_state flow_state(const struct flow *flow);

/* What to send next. */
struct flow_out {
    enum message_type type; /* MSG_OPEN, MSG_ITEMS, MSG_END, MSG_CREDIT, MSG_CANCEL */
    uint64_t first;         /* OPEN: first index wanted; ITEMS: index of the first item; END: total */
    uint64_t bytes;         /* CREDIT, and OPEN: the credit granted for results */
    bool more;              /* ITEMS: a piece whose next follows */
    bool end;               /* OPEN: its items are all */
    /* ITEMS, and OPEN where count > 0: the flow has a reference to the batch until the next call that may end
     * it (taken, done, cancel, free), so who needs it for longer takes one. Of a batch with next_piece, this
     * piece alone. */
    struct slice items;
    const struct range *done; /* OPEN: the list of what is done, good until the next call */
    uint32_t done_count;
};

/*
 * The next message, into *out; false when there is none for now. What it says counts as sent.
 * OPEN comes once (and again after flow_lost), with the items that are there by then where they fit and
 * nothing more is needed; so it waits until something was put, flushed or ended. CREDIT comes when about a
 * quarter of the window is to be given back, or when the items wait for credit.
 */
bool flow_next(struct flow *flow, struct flow_out *out);

/* OPENED. Returns 0 or -EPROTO. */
int flow_opened(struct flow *flow, uint64_t credit);

/* CREDIT. Returns 0 or -EPROTO (not open, or beyond all bounds). */
int flow_credit(struct flow *flow, uint64_t bytes);

/* What is to be done with a message of results. */
struct flow_verdict {
    bool drop;   /* all of it is to be dropped: the job was cancelled */
    bool filter; /* some of its records were taken before the daemon was lost: drop those that flow_is_taken
                    knows */
    /* After a resume in the middle of a large result: the first `skip` bytes of record `partly` were taken
     * already. */
    uint32_t partly;
    size_t skip;
    /* What was taken of it is not how it begins now: the item has failed, and this record is to be dropped.
     * Its further pieces say so too; with its last one comes flow_taken. */
    bool mismatch;
};

/*
 * RESULTS: checks that they are results that this job still wants: in order and without a gap, or (unordered)
 * of items that were sent and had no result, and that the daemon had the credit. Returns 0 or -EPROTO.
 */
int flow_results(struct flow *flow, uint64_t first, const struct batch *batch, struct flow_verdict *verdict);

/* Was the result of this item taken already? */
bool flow_is_taken(struct flow *flow, uint64_t index);

/*
 * DONE, or ERROR with this ref. complete: it says that every item had its result.
 * Returns 0, or -EPROTO: they had not. The job has ended in either case, but where flow_state says FLOW_NEW:
 * then that was the end of the one item that had to come first after a resume (see flow_taken_piece), and the
 * others follow in a further OPEN when its result has been taken.
 */
int flow_done(struct flow *flow, bool complete);

/*
 * The daemon is lost: everything that was sent and has no taken result is to be sent anew, from the first
 * index wanted. The next message is OPEN again. Results that came and were not taken will come again: the
 * caller drops them. Returns 0, or -ENOMEM: the job cannot go on and has ended.
 */
int flow_lost(struct flow *flow);

/*
 * For items that are not to be run (again): of those in *items that were put and have no taken result, each
 * call gives the next run, at most `most`, whose results the caller makes up: they count as taken, and
 * *items becomes what is left. In order all that is before them is meant as well. To be called before
 * flow_lost, or of all items, and then OPEN is not to go out any more. Returns false when there are none.
 */
bool flow_give_up(struct flow *flow, struct range *items, uint32_t most, uint64_t *first, uint32_t *count);

/* Items below this index were sent (wholly), or need not be sent. */
uint64_t flow_sent(const struct flow *flow);

/* flow_end was called, and all items have had their results taken. */
bool flow_is_finished(const struct flow *flow);

/* Index that the next item gets. */
uint64_t flow_total(const struct flow *flow);

/* Bytes of input kept for a replay, as credit counts them. */
uint64_t flow_kept(const struct flow *flow);

#endif
