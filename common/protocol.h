/*
 * The protocol, encoded and decoded in one place. PROTOCOL.md beside this file is the normative text; this
 * header is its C form. A message is a ZeroMQ multipart message: a MessagePack header (an array: the type,
 * then the fields in the order of the table below), then raw frames. Nothing here touches a socket.
 *
 * Decoding is strict: every byte of the header is used, every field has its exact type and range, the number
 * of fields and of frames is the table's. Strings in a decoded message point into the frame that was decoded
 * and live as long. Thread-safety: none of a struct decoder or wire may be used by two threads at once.
 */
#ifndef PMAP_PROTOCOL_H
#define PMAP_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_MAGIC "pmap"

enum {
    PROTOCOL_VERSION_MIN = 1,
    PROTOCOL_VERSION_MAX = 2,
    PROTOCOL_VERSION_BEGUN = 2,     /* of a session in which BEGUN is said */
    PROTOCOL_HEADER_MAX = 64 << 10, /* bytes of a header frame */
    PROTOCOL_INLINE_MAX = 64 << 10, /* bytes of items in an OPEN */
    PROTOCOL_PIECE_MIN = 1 << 10,   /* bytes of a piece of an item whose next piece follows */
    PROTOCOL_MESSAGE_MAX =
        1 << 20,                 /* bytes of records in any other message: lengths, bytes, times and notes */
    PROTOCOL_CALL_MAX = 4 << 20, /* bytes of the call frame of OPEN */
    PROTOCOL_ANSWER_MAX = 3 << 20, /* bytes of frame 2 of ANSWER */
    PROTOCOL_FRAMES_MAX = 6,       /* frames of any message */
    PROTOCOL_STRING_MAX = 4096,    /* bytes of any string in a header */
    PROTOCOL_RANGES_MAX = 4096,    /* ranges in OPEN's list of what is done, or BEGUN's */
    PROTOCOL_PRIORITY_MAX = 1000,  /* of a job's priority, and of its negative */
};
#define PROTOCOL_ITEM_MAX (1ULL << 30) /* bytes of an item, or of a result of a builtin */
/* Indices, counts and credit on the wire are at most this, so that the sum of two never overflows a uint64_t.
 */
#define PROTOCOL_COUNT_MAX ((uint64_t)INT64_MAX)

/* Who may send a message. */
enum sender { FROM_CLIENT = 1, FROM_DAEMON = 2, FROM_WORKER = 4, TO_WORKER = 8 };

/* name, code, who sends it, fewest and most frames (header included) */
#define MESSAGE_TYPES(X)                                                                                     \
    X(HELLO, 1, FROM_CLIENT, 1, 1)                                                                           \
    X(WELCOME, 2, FROM_DAEMON, 1, 1)                                                                         \
    X(OPEN, 3, FROM_CLIENT, 2, 4)                                                                            \
    X(OPENED, 4, FROM_DAEMON, 1, 1)                                                                          \
    X(ITEMS, 5, FROM_CLIENT, 3, 3)                                                                           \
    X(END, 6, FROM_CLIENT, 1, 1)                                                                             \
    X(CREDIT, 7, FROM_CLIENT | FROM_DAEMON, 1, 1)                                                            \
    X(RESULTS, 8, FROM_DAEMON, 4, 6)                                                                         \
    X(DONE, 9, FROM_DAEMON, 1, 1)                                                                            \
    X(CANCEL, 10, FROM_CLIENT, 1, 1)                                                                         \
    X(ERROR, 11, FROM_DAEMON, 1, 1)                                                                          \
    X(PING, 12, FROM_CLIENT, 1, 1)                                                                           \
    X(PONG, 13, FROM_DAEMON, 1, 1)                                                                           \
    X(QUERY, 14, FROM_CLIENT, 1, 1)                                                                          \
    X(ANSWER, 15, FROM_DAEMON, 2, 2)                                                                         \
    X(HOLD, 16, FROM_CLIENT, 1, 1)                                                                           \
    X(ABORT, 17, FROM_CLIENT, 1, 1)                                                                          \
    X(BEGUN, 18, FROM_DAEMON, 1, 1)                                                                          \
    X(READY, 32, FROM_WORKER, 1, 1)                                                                          \
    X(WORKED, 33, FROM_WORKER, 1, 6)                                                                         \
    X(PARKED, 34, FROM_WORKER, 1, 1)                                                                         \
    X(FAILED, 35, FROM_WORKER, 1, 1)                                                                         \
    X(RETURNED, 36, FROM_WORKER, 1, 1)                                                                       \
    X(CHUNK, 40, TO_WORKER, 3, 3)                                                                            \
    X(YIELD, 41, TO_WORKER, 1, 1)                                                                            \
    X(RECALL, 42, TO_WORKER, 1, 1)                                                                           \
    X(DROP, 43, TO_WORKER, 1, 1)                                                                             \
    X(STOP, 44, TO_WORKER, 1, 1)                                                                             \
    X(JOB, 45, TO_WORKER, 2, 2)                                                                              \
    X(FORGET, 46, TO_WORKER, 1, 1)                                                                           \
    X(GRANT, 47, TO_WORKER, 1, 1)                                                                            \
    X(LEND, 48, TO_WORKER, 1, 1)

enum message_type {
#define X(name, code, from, least, most) MSG_##name = (code),
    MESSAGE_TYPES(X)
#undef X
};

/* name, code, what it means (also the text that is shown when the peer gave none) */
#define PROTOCOL_ERRORS(X)                                                                                   \
    X(PROTOCOL, 1, "the peer broke the protocol")                                                            \
    X(VERSION, 2, "no common protocol version")                                                              \
    X(REFUSED, 3, "access denied")                                                                           \
    X(LIMIT, 4, "a limit is reached")                                                                        \
    X(FUNCTION, 5, "unknown function")                                                                       \
    X(OPTION, 6, "bad option")                                                                               \
    X(NO_JOB, 7, "no such job")                                                                              \
    X(TOO_LARGE, 8, "an item is too large")                                                                  \
    X(STOPPING, 9, "the daemon is stopping")                                                                 \
    X(MEMORY, 10, "the daemon is short of memory")                                                           \
    X(QUERY, 11, "unknown query")

enum protocol_error {
#define X(name, code, text) PERR_##name = (code),
    PROTOCOL_ERRORS(X)
#undef X
};

/* Text of an error's code, or "unknown error". */
const char *protocol_error_text(unsigned code);

/* A string in a message: not NUL-terminated. */
struct text {
    const char *data;
    size_t len;
};
/* A struct text of a NUL-terminated string, which must outlive it. */
struct text text_of(const char *s);
/* Is it this NUL-terminated string? */
bool text_is(struct text text, const char *s);

/* Indices [from, to) of items. */
struct range {
    uint64_t from, to;
};

/*
 * What a function is. All but builtins (and those too with `isolate`) run in processes of the submitting
 * user, and their OPEN carries a call (call.h).
 */
enum function_kind {
    KIND_BUILTIN = 0,
    KIND_COMMAND = 1, /* a process an item */
    KIND_FILTER = 2,  /* a lasting process a slot: a line in, a line out */
    KIND_PIPE = 3,    /* a process a chunk: the items on its stdin, all its output the one result */
    KIND_PYTHON = 4,  /* a lasting interpreter a slot */
    KIND_MODULE = 5,  /* a function of a shared object of the user's */
    KIND_MAX = KIND_MODULE,
};

/* What happens to the rest of a job when an item fails. */
enum halt { HALT_NEVER = 0, HALT_SOON = 1, HALT_NOW = 2, HALT_MAX = HALT_NOW };

/* What a job may be told at OPEN; on the wire a map in which what has its default is left out. */
struct job_options {
    uint32_t chunksize;  /* "chunksize": most items in a chunk; 0: adaptive */
    uint32_t slots;      /* "slots": most slots at once; 0: the fair share of all */
    bool unordered;      /* "unordered": results as they come */
    int32_t priority;    /* "priority": among the owner's own jobs, -1000 … 1000 */
    uint32_t timeout_ms; /* "timeout": that an item may take; 0: as long as it likes */
    uint32_t retries;    /* "retries": further attempts at an item that fails */
    uint32_t halt;       /* "halt": enum halt */
    uint32_t recycle;    /* "recycle": items that a lasting child serves; 0: no limit */
    bool isolate;        /* "isolate": a builtin runs in a worker process of the owner's */
    bool live;           /* "live": a command's output goes out line by line as it is produced */
    bool once; /* "once": what a lost worker was given and did not answer fails instead of running again */
    bool jobserver; /* "jobserver": a command finds a GNU make jobserver, whose tokens are free slots */
    bool trace;     /* "trace": results come with notes SLOT: where they were made, and when */
};

/* How a job ended. */
enum job_outcome { OUTCOME_DONE = 0, OUTCOME_CANCELLED = 1 };

/* What DONE says of a job. Times in ns. */
struct job_report {
    uint64_t job;    /* the daemon's number for it */
    uint8_t outcome; /* enum job_outcome */
    uint64_t items;  /* that got a result, over all messages of this job */
    uint64_t failed;
    uint64_t retried;
    uint64_t chunks;
    uint32_t slots;               /* min(-j, the owner's cap, the pool's slots) */
    int64_t queue_ns;             /* OPEN to the first chunk's start */
    int64_t run_ns;               /* busy slot time */
    int64_t cpu_ns;               /* CPU time of that */
    uint64_t bytes_in, bytes_out; /* of the items and of the results, without their lengths */
};

struct message {
    enum message_type type;
    union {
        struct {
            struct text magic; /* checked in decoding, written by itself in encoding; so in WELCOME */
            uint32_t min, max; /* protocol versions that the client speaks */
            struct text program;
        } hello;
        struct {
            struct text magic;
            uint32_t min, max;
            struct text software;
            uint64_t instance; /* random, new with each start of the daemon */
            uint32_t slots;
            uint64_t max_message, max_item;
        } welcome;
        struct {
            uint64_t ref;  /* the client's number for the job, unique in its session */
            uint32_t kind; /* enum function_kind */
            struct text function;
            struct job_options options;
            uint64_t credit; /* for results */
            uint64_t first;  /* index of the first item wanted */
            const struct range
                *done; /* items from `first` on that are not sent and not wanted: ascending, disjoint */
            uint32_t done_count;
            bool end; /* no items but those in this message */
        } open;
        struct {
            uint64_t ref, job, credit;
        } opened;
        struct {
            uint64_t ref, first; /* index of its first item */
            bool more;
        } items;
        struct {
            uint64_t ref, total; /* the index after the last item's */
        } end;
        struct {
            uint64_t ref, bytes;
        } credit;
        struct {
            uint64_t ref, first;
            bool more;
            bool has_done; /* nil on the wire when false */
            struct job_report done;
        } results;
        struct {
            uint64_t ref;
            struct job_report done;
        } done;
        struct {
            uint64_t ref;
        } cancel;
        struct {
            bool has_ref; /* nil on the wire when false: it is about the session, which ends with it */
            uint64_t ref;
            uint32_t code; /* enum protocol_error */
            struct text text;
        } error;
        struct {
            uint64_t token;
        } ping; /* and PONG, which repeats it */
        struct {
            uint64_t ref;
            struct text what;
        } query;
        struct {
            uint64_t ref;
        } answer;
        struct {
            uint64_t ref;
            bool paused; /* start no more items, until this says false */
        } hold;
        struct {
            uint64_t ref, job; /* the daemon's number for a job, of any session of the same owner's */
        } abort;
        struct {
            uint64_t ref;
            const struct range *items; /* that may have been begun and will get no result: as open.done */
            uint32_t count;
        } begun;
        struct {
            uint32_t slot; /* the worker's number */
        } ready;
        struct {
            uint64_t chunk;
            bool more;              /* the last record goes on in the next WORKED */
            bool last;              /* the chunk ends here; items without a result are handed back */
            int64_t run_ns, cpu_ns; /* spent on this chunk since the last WORKED of it */
        } worked;
        struct {
            uint64_t chunk;
            uint32_t count;         /* items of the chunk that have been run; the rest is handed back */
            int64_t run_ns, cpu_ns; /* as in WORKED */
        } parked;
        struct {
            uint64_t job;
            struct text text; /* why it cannot be run at all */
        } failed;
        struct {
            uint64_t chunk, job, first;
            struct text function;
            bool more;
            uint64_t credit; /* for its results; PROTOCOL_COUNT_MAX: no limit */
            bool trace;      /* results are to come with notes SLOT */
        } chunk;
        struct {
            uint64_t job;
            uint32_t kind; /* enum function_kind */
            struct text function;
            struct job_options options;
            int64_t kill_grace_ns; /* between TERM and KILL */
            uint64_t spool; /* bytes on disk for outputs that wait, all jobs of the owner's at this worker */
            uint32_t threads; /* CPUs' worth of threads that one slot may use; 0: unknown */
        } job;                /* frame 2 is the call */
        struct {
            uint64_t job;
        } forget;
        struct {
            uint64_t chunk, bytes; /* more credit for its results */
            bool head;             /* everything else waits for them */
        } grant;
        struct {
            uint64_t chunk;
            uint64_t lent, back; /* tokens lent to it so far, and those of them that are wanted back */
        } lend;
        struct {
            uint64_t chunk, tokens; /* given back so far */
        } returned;
        struct {
            uint64_t chunk;
            int64_t grace_ns; /* DROP only: between TERM and KILL */
        } chunk_id;           /* YIELD, RECALL, DROP */
    };
};

/* An encoded header. Small ones stay in `space`, so that encoding them allocates nothing. */
struct wire {
    uint8_t *data;
    size_t size, capacity;
    uint8_t space[160];
};

/* Makes *w empty and usable; wire_free gives back what it grew to. */
void wire_init(struct wire *w);
void wire_free(struct wire *w);

/*
 * Encodes m into *w, which is emptied first.
 * Returns 0, -ENOMEM, -EMSGSIZE (over PROTOCOL_HEADER_MAX) or -EINVAL (no such type, a value out of its
 * range).
 */
int message_encode(const struct message *m, struct wire *w);

struct decoder;                    /* memory that decoding reuses */
struct decoder *decoder_new(void); /* NULL when memory is short */
void decoder_free(struct decoder *d);

/*
 * Decodes a header frame of `size` bytes that came with `frames` frames in all (header included) from `from`.
 * *m is good until the next call with this decoder, and its strings while the frame lives.
 * Returns 0, -EPROTO (malformed, not its sender's to send, wrong count of fields or frames, value out of
 * range: *why then says what, in a constant text for the peer), or -ENOMEM.
 */
int message_decode(struct decoder *d, const void *data, size_t size, size_t frames, enum sender from,
                   struct message *m, const char **why);

/* The name of a type ("OPEN"), or "?" */
const char *message_name(enum message_type type);

/*
 * Notes: what is to be said of a result over its bytes. NOTE_SIZE bytes each on the wire, all little-endian:
 * u32 record (its place in the batch), u16 kind, u16 code, u32 length of its text. Ascending by record; more
 * than one for a record are allowed. A record without a note of a failing kind was mapped.
 */
enum { NOTE_SIZE = 12 };
enum note_kind {
    NOTE_ERROR = 1,     /* the function refused the item: text says why */
    NOTE_CANCELLED = 2, /* given up, or never begun, because its job was cancelled or halted */
    NOTE_EXIT = 3,      /* its process exited with this code, which is not 0 */
    NOTE_SIGNAL = 4,    /* its process was killed by the signal of this number; text: more on it, or empty */
    NOTE_TIMEOUT = 5,   /* it took too long; text says so */
    NOTE_STDERR = 6,    /* text: bytes that its process wrote to stderr */
    NOTE_USAGE = 7,     /* text: NOTE_USAGE_SIZE bytes, see struct usage */
    NOTE_ATTEMPTS = 8,  /* code: how often it was tried, where that is more than once */
    NOTE_REMARK = 9,    /* text: something on the function, to be shown once a job */
    NOTE_SLOT = 10,     /* code: number of the worker's slot, from 1; text: NOTE_SLOT_SIZE bytes: when this
                           record began, u64 LE of CLOCK_REALTIME in ns. Those behind it: as each one ended */
    NOTE_MAX = NOTE_SLOT,
};
/* REMARK's code. */
enum { REMARK_PLAIN = 0, REMARK_BUFFERS = 1 /* a filter that answers at the end of its input only */ };

/* What an item's processes used: three u64, little-endian. */
enum { NOTE_USAGE_SIZE = 24 };
struct usage {
    uint64_t started_ns; /* CLOCK_REALTIME */
    uint64_t cpu_ns;     /* user and system time */
    uint64_t peak_bytes; /* the largest resident set of one of them; 0: unknown */
};
struct usage usage_load(const uint8_t *p);
void usage_store(uint8_t *p, const struct usage *usage);

/* The size of a SLOT's text. */
enum { NOTE_SLOT_SIZE = 8 };

/* Has a text of a note of this kind the size that it must have? True where any will do. */
bool note_text_fits(uint16_t kind, uint32_t text_len);

/* Does a record with a note of this kind count as failed? 1, 0, or -1: there is no such kind. */
int note_fails(uint16_t kind);

struct note {
    uint32_t record;
    uint16_t kind, code;
    uint32_t text_len;
};
struct note note_load(const uint8_t *p);
void note_store(uint8_t *p, const struct note *note);

struct batch;
/*
 * Makes *batch of the frames behind the header of a RESULTS or WORKED: lengths, bytes, times[, notes, texts];
 * frame[i] and size[i] for `count` (3 or 5) of them. As batch_init for ownership. `more` is set; a batch with
 * it must hold one record. Checks that times fit the count, that notes ascend within the batch and that their
 * texts add up. Returns 0 or -EPROTO.
 */
int results_init(struct batch *batch, const void *const *frame, const size_t *size, size_t count, bool more,
                 void (*release)(struct batch *));

/* How many records of the batch failed: records with at least one note of a failing kind. */
uint32_t results_failed(const struct batch *batch);

#endif
