/*
 * Hostile peers: what the parts of this test share. An arena holds the daemon under attack, a witness (an
 * honest session that lasts), and the peers that broke the protocol and wait to be cut. An attack returns
 * true, or false after it has complained. Everything waits with a time limit.
 */
#ifndef PMAP_TEST_HOSTILE_H
#define PMAP_TEST_HOSTILE_H

#include "common/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <zmq.h>

/* Sanitizers make everything slower and larger, so that times are longer and bounds on memory do not apply.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum {
    PATIENCE_MS = SANITIZED ? 30000 : 8000, /* for any answer */
    DROPPED_MOST = 48,                      /* peers that wait to be cut, before they are waited for */
    RSS_MOST_KB = 96 << 10,                 /* of the daemon, whatever is done to it */
};

struct peer;

struct daemon {
    pid_t pid;
    char folder[48];
    char endpoint[96];
    int log_fd;
    off_t log_seen; /* what is before it was looked at */
};

struct arena {
    const char *program; /* pmapd */
    const char *self;    /* this program, for peers in processes of their own */
    void *context;
    struct daemon daemon;
    struct peer *witness;
    struct peer *dropped[DROPPED_MOST + 2];
    size_t dropped_count;
    const char *attack; /* that is under way */
    char why[1000];
};

/* One line of the report. Either `run`, or `breach`: what a peer sends that must be answered by an ERROR. */
struct attack {
    const char *name;
    bool (*run)(struct arena *a);
    bool (*breach)(struct peer *p);
    bool stranger;     /* the peer of `breach` says no HELLO first */
    const char *words; /* that the ERROR's text must have, NULL: any text */
};
extern const struct attack session_attacks[], header_attacks[], job_attacks[], call_attacks[],
    transport_attacks[], load_attacks[], fuzz_attacks[]; /* each ends with a NULL name */

/* Notes why an attack has failed (the first time); false. */
bool complain(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

int64_t now_ms(void);
/* A few milliseconds between two looks at something that is polled. */
void pause_briefly(void);
/* The next number of a series that begins with any seed. */
uint64_t next_random(uint64_t *seed);

/*** hostile_daemon.c ***/

/* Starts a daemon in a folder of its own and waits until it listens. files: its RLIMIT_NOFILE, 0: as ours. */
bool daemon_start(struct arena *a, struct daemon *d, unsigned files);
/* Asks it to end, and checks that it does so in good order, with nothing to complain in its log. */
bool daemon_stop(struct arena *a, struct daemon *d);
/* Ends it at once and removes its folder. */
void daemon_kill(struct daemon *d);
/* Is it the process that was started, and has its log nothing that a sanitizer or an assertion says? */
bool daemon_lives(struct arena *a, struct daemon *d);
long daemon_rss_kb(const struct daemon *d);
/* Its memory is within bounds now, or soon is. */
bool daemon_is_small(struct arena *a);
/* How many lines its log has. */
unsigned daemon_log_lines(const struct daemon *d);
/* Prints its log as comments. */
void daemon_print_log(const struct daemon *d);

/* Another process of this program in the given role, and the pipe of its standard output. Ends with us. */
bool role_start(struct arena *a, const char *role, const char *endpoint, pid_t *pid, int *out);
/* Waits for a byte from it. */
bool role_ready(struct arena *a, int out, char *byte);
/* Kills it, where kill is not 0, and waits for its end. */
void role_end(pid_t pid, int out, int kill_signal);
/* What the other process does (hostile_roles.c); its exit status. */
int role_main(const char *role, const char *endpoint);

/*** hostile_peer.c: peers on libzmq ***/

struct frame {
    const void *data;
    size_t size;
};
#define FRAME(literal)  ((struct frame){(literal), sizeof(literal) - 1})
#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

struct peer {
    struct arena *arena;
    const char *attack;
    void *socket;
    struct decoder *decoder;
    struct wire header;
    uint64_t next_ref;
    /* The last message that was received. */
    zmq_msg_t part[PROTOCOL_FRAMES_MAX];
    size_t count;
    struct message in;
};

/* Connects and says nothing. id: its routing id, or NULL. NULL after a complaint. */
struct peer *peer_connect(struct arena *a, const struct daemon *d, const void *id, size_t id_size);
/* An honest beginning: HELLO, and WELCOME has come. */
struct peer *peer_new(struct arena *a);
void peer_free(struct peer *p);

bool peer_send_frames(struct peer *p, const struct frame *frames, size_t count);
/* With the message's header as the first frame. */
bool peer_send(struct peer *p, const struct message *m, const struct frame *frames, size_t count);
/* A header of these bytes and nothing else. */
bool peer_send_bytes(struct peer *p, const void *data, size_t size);

bool say_hello(struct peer *p);
bool say_open(struct peer *p, uint64_t ref, const char *function, uint64_t credit, const struct frame *items,
              size_t count, bool end);
bool say_items(struct peer *p, uint64_t ref, uint64_t first, bool more, const struct frame *items,
               size_t count);
/* One message of `count` items of `size` bytes each, at most 1 MiB with their lengths. */
bool say_blanks(struct peer *p, uint64_t ref, uint64_t first, uint32_t count, size_t size);
bool say_end(struct peer *p, uint64_t ref, uint64_t total);
bool say_credit(struct peer *p, uint64_t ref, uint64_t bytes);
bool say_cancel(struct peer *p, uint64_t ref);
bool say_ping(struct peer *p, uint64_t token);
bool say_query(struct peer *p, uint64_t ref, const char *what);

/* 1: a message, decoded; 0: none in time; -1: one that cannot be decoded, after a complaint. */
int peer_receive(struct peer *p, int timeout_ms);
/* Waits for a message of that type, passing over others, but not over an ERROR. */
bool peer_await(struct peer *p, enum message_type type);
/* Waits for an ERROR with that ref (NULL: nil) and code, whose text has these words. */
bool peer_await_error(struct peer *p, const uint64_t *ref, unsigned code, const char *words);
/* … that ends the session; the peer is the arena's then, which checks that it is cut. */
bool peer_refused(struct peer *p, unsigned code, const char *words);
/* The session goes on: PING is answered, and a job is done. */
bool peer_goes_on(struct peer *p);

/* Maps square over the first `count` numbers (1 to SQUARES_MOST) in one OPEN and checks each result. */
enum { SQUARES_MOST = 1000 };
bool peer_squares(struct peer *p, unsigned count);
/* The two halves of it. */
bool peer_open_squares(struct peer *p, unsigned count, uint64_t *ref);
bool peer_await_squares(struct peer *p, unsigned count, uint64_t ref);

/*** hostile_status.c ***/

/* A number in the daemon's answer to `status`, as the witness is told it. */
bool status_number(struct arena *a, const char *key, uint64_t *value);
/* Waits until it is at most (at least) that. */
bool status_at_most(struct arena *a, const char *key, uint64_t most);
bool status_at_least(struct arena *a, const char *key, uint64_t least);
/* A number in a received ANSWER; key2 (may be NULL): within the map `key`. */
bool answer_number(struct peer *p, const char *key, const char *key2, uint64_t *value);

/* Waits until all dropped peers have been cut, and checks that they got nothing after their ERROR. */
bool arena_settle(struct arena *a);
/* What must hold after every attack: the daemon lives, the witness and a new client get their results. */
bool arena_check(struct arena *a);

/*** hostile_raw.c: peers without libzmq ***/

/* A connected descriptor, or -1 after a complaint. */
int raw_connect(struct arena *a, const struct daemon *d);
bool raw_write(struct arena *a, int fd, const void *data, size_t size);
/* Waits until the other side has closed the connection, passing over what it sends. */
bool raw_closed(struct arena *a, int fd);
/* ZMTP 3's greeting (mechanism NULL), and the daemon's read. */
bool raw_greet(struct arena *a, int fd);
/* READY as a DEALER with these properties more ("\4name\0\0\0\5value"…). */
bool raw_ready(struct arena *a, int fd, const void *properties, size_t size);
enum { RAW_MORE = 1, RAW_LONG = 2, RAW_COMMAND = 4 };
/* A frame of ZMTP 2 or 3. */
bool raw_frame(struct arena *a, int fd, unsigned flags, const void *data, size_t size);
/* Reads a frame; its size, or -1. */
ssize_t raw_read_frame(struct arena *a, int fd, uint8_t *flags, void *data, size_t room);

#endif
