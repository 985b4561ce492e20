/*
 * The daemon's side of a pmap-worker in tests: starts the real program with a folder of its own, in which
 * worker_host.c stands for all hosts, gives it jobs and chunks, and puts together what comes back. Whatever
 * goes wrong, a time-out included, fails the test at hand.
 */
#ifndef TEST_WORKER_RIG_H
#define TEST_WORKER_RIG_H

#include "common/call.h"
#include "common/protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#define ITEMS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define unlimited  PROTOCOL_COUNT_MAX /* credit */
enum { JOB = 40 };                    /* of most tests */

static inline long number_in(const char *text)
{
    return strtol(text, NULL, 10);
}

struct rig {
    char folder[64];
    void *context, *router;
    struct decoder *decoder;
    pid_t worker;
    uint8_t id[256]; /* the worker's routing id */
    size_t id_size;
    bool trace; /* chunks ask for SLOT */
};

/* What came of an item. */
struct result {
    char *bytes; /* NUL-terminated besides */
    size_t len;
    uint64_t ns;
    uint16_t kind, code; /* of the note that fails it; 0: none */
    char *text;          /* that note's; never NULL */
    char *printed;       /* what STDERR notes say; never NULL */
    size_t printed_len;
    unsigned attempts;
    bool placed;       /* it has a note SLOT: … */
    unsigned slot;     /* … in that one … */
    uint64_t began_ns; /* … it began then */
};

/* What came of a chunk. */
struct outcome {
    struct result item[20000];
    uint32_t count;
    bool begun; /* a piece of item[count] has come */
    bool ended; /* `last` has come */
    unsigned messages, pieces;
    uint64_t cost; /* in credit */
    bool parked;
    uint32_t parked_count;
    int64_t run_ns, cpu_ns;
    uint64_t returned; /* tokens */
};

void rig_start(struct rig *rig);
/* STOP, and it must go with status 0 and leave no process behind. */
void rig_stop(struct rig *rig);
/* It must go with this status, and leave no process behind. */
void rig_gone(struct rig *rig, int status);

/* A call for a command whose environment leads to the rig's folder. */
void rig_call(struct rig *rig, struct call *call, const char *argument);
void rig_job(struct rig *rig, uint64_t job, enum function_kind kind, const struct job_options *options,
             const struct call *call, uint64_t spool);
/* A job of this kind with these options and an ordinary call. */
void rig_plain_job(struct rig *rig, uint64_t job, enum function_kind kind, const struct job_options *options);

/* A chunk of these items; the list ends with NULL. */
void rig_chunk(struct rig *rig, uint64_t chunk, uint64_t job, uint64_t credit, const char *const *items);
void rig_records(struct rig *rig, uint64_t chunk, uint64_t job, uint64_t credit, bool more,
                 const uint32_t *lengths, uint32_t count, const void *bytes, size_t size);
/* YIELD, RECALL, DROP, GRANT (value: the grace or the bytes). */
void rig_order(struct rig *rig, enum message_type type, uint64_t chunk, uint64_t value);
/* LEND: so many tokens in all, so many wanted back. */
void rig_lend(struct rig *rig, uint64_t chunk, uint64_t lent, uint64_t back);
/* An item that runs until its chunk's gate is opened, rather than for a time in which a busy machine may get
 * nowhere: "lent 1", and LEND of one token. Once a chunk, whose job need not share a jobserver. */
#define GATE "lent 1"
void rig_open_gate(struct rig *rig, uint64_t chunk);
/* Takes the one message that a credit of 1 pays for, with one result; then opens the gate and takes PARKED.
 */
void rig_until_parked(struct rig *rig, uint64_t chunk, struct outcome *o);
/* GRANT of so many bytes, saying that the chunk is the head. */
void rig_grant_head(struct rig *rig, uint64_t chunk, uint64_t bytes);
void rig_forget(struct rig *rig, uint64_t job);
void rig_send(struct rig *rig, const void *data, size_t size, bool more);

/* Takes one message, which must be of one of these two chunks (or FAILED), into its outcome. Returns its
 * type; what FAILED says is in `failure`. */
enum message_type rig_take(struct rig *rig, uint64_t chunk, struct outcome *o, uint64_t other,
                           struct outcome *other_o);
extern char rig_failure[4096];
/* Takes messages until that chunk has ended, or was parked. */
void rig_until_end(struct rig *rig, uint64_t chunk, struct outcome *o);
/* Is there no message within so many ms? */
bool rig_silent(struct rig *rig, int ms);

/* Runs a chunk with credit without end to its end. */
struct outcome *rig_run(struct rig *rig, uint64_t chunk, uint64_t job, const char *const *items);
/* cmocka's: a test that has failed leaves no process. */
int rig_tear_down(void **state);

struct outcome *outcome_new(void);
void outcome_free(struct outcome *o);
void assert_item(const struct outcome *o, uint32_t i, const char *bytes);

#endif
