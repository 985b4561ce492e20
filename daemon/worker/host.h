/*
 * Hosts: the lasting children of pmap-worker in which users' functions run, and how they talk. A host is a
 * program that is given chunks of items one at a time and leaves their results in shared memory, the arena,
 * as it finishes each; so whatever becomes of the host, no finished result is lost, and the item that it was
 * on is known. There are pmap-exec (commands, filters, pipes; it starts the user's processes), pmap-host
 * (modules, builtins with limits) and the Python harness. The worker knows nothing of what they do, and they
 * nothing of ZeroMQ.
 *
 * A host is started with the socket (SOCK_SEQPACKET) as descriptor HOST_SOCKET and the arena (a memfd) as
 * descriptor HOST_ARENA, stdin from /dev/null, stdout and stderr as one pipe to the worker (what comes there
 * goes, as stderr, with the item that was under way), and in the state that the call asks for: cwd,
 * environment, umask, niceness, CPUs, signals; limits too, but for pmap-exec, which gives them to the
 * processes that it starts. It ends when the socket does.
 *
 *   worker → host
 *     CHUNK     a chunk is in the arena
 *     RESUME    the results have been taken
 *     YIELD     end after the present item; pmap-host and the harness run a first one in any case, or a
 *               chunk that waited for them to start would come to nothing, time after time
 *     DROP      give the chunk up now
 *     LEND      so many slots were lent to the chunk for its items' jobservers (pmap-exec --jobserver), since
 *               CHUNK
 *     BACK      so many of these are wanted back, since CHUNK; it may be fewer than were wanted before
 *
 *   host → worker
 *     READY     once: it can take chunks; or BAD: it never will
 *     SOME      look at the arena; sent at most every 10 ms or so, or when live
 *     FULL      no room: waits for RESUME
 *     END       the chunk is over: `done` items have results
 *     RETURNED  so many lent slots have come back, since CHUNK; what is left comes back by END
 *     BAD       the job cannot be run at all: text says why; then it exits
 *
 * Of a chunk, `done` items have results when END comes; fewer than `count` only after YIELD or DROP, or
 * before the host exits because it has served its number of items (--recycle): then the worker starts another
 * for the rest. YIELD and DROP for a chunk that is over are ignored. After DROP an item's result may be left
 * out.
 *
 * Who is to blame: a host that ends in any other way was ended by the item that `current` names, save
 * pmap-exec, in which no user's code runs: its present item counts as not run. A module's chunk function has
 * several items in hand at once (`together`): where the host dies of such a call, it is nobody's fault yet,
 * and the worker starts another with the chunk's rest and `single`, so that the next death names one item.
 *
 * Retries: a host tries an item again that fails, up to --retries times, and leaves only the last attempt's
 * result, with a note ATTEMPTS. Where the host itself dies, the worker starts another one with that item
 * first and says in `attempts` how many it has had. The timeout of commands, filters and pipes is
 * pmap-exec's; of modules and Python it is the worker's, which kills the host.
 *
 * Command lines (N: decimal, MS: milliseconds, 0: none):
 *   pmap-exec KIND --timeout MS --grace MS --retries N --recycle N [--live] [--fields] [--jobserver]
 *             [--placeholder STR] [--rlimit RESOURCE:SOFT:HARD]… -- ARGV…       KIND: command, filter, pipe
 *   pmap-host builtin --retries N --recycle N NAME
 *   pmap-host module --retries N --recycle N [--type TYPE] [--raw] PATH FUNCTION
 *   python3 pmap_harness.py [--file] --retries N --recycle N SOURCE
 */
#ifndef PMAP_HOST_H
#define PMAP_HOST_H

#include <stdatomic.h>
#include <stdint.h>

enum { HOST_SOCKET = 3, HOST_ARENA = 4 };

/* Messages: one struct host_message each; BAD has its text behind it in the same packet (UTF-8, no NUL). */
enum host_message_type {
    HOST_CHUNK = 1,
    HOST_RESUME = 2,
    HOST_YIELD = 3,
    HOST_DROP = 4,
    HOST_LEND = 5,
    HOST_BACK = 6,
    HOST_READY = 16,
    HOST_SOME = 17,
    HOST_FULL = 18,
    HOST_END = 19,
    HOST_BAD = 20,
    HOST_RETURNED = 21,
};
struct host_message {
    uint32_t type;
    /* CHUNK: 1 if another one is waiting; DROP: ms between TERM and KILL, for pmap-exec; LEND, BACK,
     * RETURNED: a number of slots; 0 in all others. */
    uint32_t value;
};
enum { HOST_TEXT_MAX = 2000 };

/*
 * The arena's first page. All offsets are from the arena's beginning and multiples of 8; all numbers are of
 * the machine's byte order. `size` may be larger with a new chunk than before: the host then maps the arena
 * anew.
 *
 *   [struct arena][lengths u32 × count][items …]
 *   [out_lengths u32 × count][out_times u64 × count][bytes …][notes …]
 */
enum { ARENA_MAGIC = 0x616d7031, ARENA_PAGE = 4096 };

struct arena {
    /* Written by the worker, before CHUNK. */
    uint64_t magic, size;
    uint64_t job, first;     /* the job's number; index of the chunk's first item, from 0 */
    uint64_t count;          /* items */
    uint64_t lengths, items; /* where they are; items_size bytes of items, one after the other */
    uint64_t items_size;
    uint64_t out_lengths, out_times; /* where the results' are to be */
    uint64_t bytes, bytes_room;      /* where the results' bytes go, and how much there is room for */
    uint64_t notes, notes_room;
    uint64_t slot;     /* PMAP_SLOT, from 1 */
    uint64_t attempts; /* that the chunk's first item has had in hosts that died of it */
    uint64_t single;   /* not 0: a host died with several items in hand; this one is to take one at a time */
    uint64_t reserved[15];

    /* Written by the host, each with release order once what it counts is in place; at 256. All are 0 when a
     * chunk begins: both sides see to that, so that a host that dies before it has read CHUNK has done
     * nothing. */
    _Atomic uint64_t current; /* 1 + the item that it is on; 0: none, what happens is not an item's fault */
    _Atomic uint64_t started_ns; /* CLOCK_MONOTONIC, when it began that item (this attempt at it) */
    _Atomic uint64_t done;       /* items whose results are complete */
    /* Also by the present item's beginning, where that is more than the done ones'. */
    _Atomic uint64_t bytes_used;
    _Atomic uint64_t notes_used; /* whole notes only; notes of the present item may come before it is done */
    _Atomic uint64_t cpu_ns;     /* CPU time spent on the chunk so far */
    _Atomic uint64_t together;   /* items from the current one on that one call has in hand; 0 and 1: that */
};
_Static_assert(sizeof(struct arena) == 256 + 56, "Python reads it too");

/*
 * Results. The bytes of the done items are one after the other from `bytes` on: out_lengths[i] of item i,
 * which took out_times[i] ns. When they do not fit, the host sends FULL: the worker takes what is there, also
 * the beginning of the present item's result, and answers RESUME; bytes_used and notes_used, which the host
 * sets to 0 then, count anew from the beginnings of their areas, and out_lengths of the present item counts
 * only what came since. `done` goes on. With a live job (pmap-exec --live) the worker takes the beginning of
 * the present item's result also at SOME.
 */

/* A note (protocol.h: enum note_kind), then its text, then padding to a multiple of 8. Notes ascend by item.
 */
struct arena_note {
    uint32_t item; /* of the chunk, from 0 */
    uint16_t kind, code;
    uint32_t text_len;
    uint32_t unused; /* 0 */
};

/* The largest text of one note; longer stderr is several notes. */
enum { ARENA_NOTE_TEXT_MAX = 32 << 10 };

#endif
