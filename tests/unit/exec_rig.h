/*
 * Plays pmap-worker for a real pmap-exec: makes the arena, hands out chunks, takes the results as they come,
 * and checks the contract of daemon/worker/host.h on the way. Each test has its own; stopping it checks that
 * no process is left.
 */
#ifndef EXEC_RIG_H
#define EXEC_RIG_H

#include "daemon/worker/host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A buffer that grows. Always has a NUL behind its bytes. */
struct heap_text {
    char *bytes;
    size_t len, size;
};

/* What became of an item, all its pieces put together. */
struct result {
    bool done;
    struct heap_text out, err, error, remark; /* stdout; notes' texts */
    struct heap_text signal_text, timeout_text;
    int exit_code, signal, timeouts, attempts, errors, usages, fails;
    uint64_t wall_ns, started_ns, cpu_ns, peak_bytes;
};

struct rig {
    pid_t pid; /* of pmap-exec */
    int socket, arena_fd;
    int output; /* pmap-exec's own stdout and stderr */
    struct arena *arena;
    size_t size;
    size_t bytes_room, notes_room;
    struct result *results;
    size_t count;
    uint64_t taken;       /* items done of which the results were taken */
    uint64_t bytes_taken; /* in the arena as it is */
    uint64_t notes_taken;
    bool ready, ended, gone;
    int fulls, somes;
    bool full;      /* it has said FULL, and waits */
    bool hold_full; /* do not answer FULL yet */
    bool killed;    /* by the test: it ends by SIGKILL */
    struct heap_text bad;
    uint64_t slot, first;
    uint32_t returned; /* tokens, as RETURNED said last */
};

/*
 * Starts pmap-exec with arguments up to a NULL, and waits for READY or BAD. bytes_room: 0 for the usual 1
 * MiB; rooms must be multiples of 8.
 */
struct rig *rig_start(size_t bytes_room, const char *const *arguments);
#define RIG(...) rig_start(0, (const char *const[]){__VA_ARGS__, NULL})

/* Gives it a chunk of `count` items; lengths NULL: strings. The results before it are forgotten. */
void rig_chunk(struct rig *rig, size_t count, const char *const *items, const size_t *lengths);
#define RIG_CHUNK(rig, ...)                                                                                  \
    do {                                                                                                     \
        const char *const rig_items[] = {__VA_ARGS__};                                                       \
        rig_chunk(rig, sizeof rig_items / sizeof *rig_items, rig_items, NULL);                               \
    } while (0)

void rig_send(struct rig *rig, enum host_message_type type, uint32_t value);

/* Takes messages, and results with them, until END, BAD or the end; fails the test after 50 s. */
void rig_run(struct rig *rig);
/* The same until `until` is true, or `ms` have passed; returns whether it was. */
bool rig_until(struct rig *rig, bool (*until)(struct rig *rig), int ms);

/* Counts the processes that came of this program's rigs, but pmap-exec itself, whose command line holds the
 * marker. */
int rig_processes(const char *marker);

/* Closes the socket, waits for pmap-exec's end, checks its status and that it said nothing itself. */
void rig_stop(struct rig *rig);

int64_t rig_now_ms(void);

#endif
