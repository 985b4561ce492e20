/*
 * The hosts of a worker: each has an arena and, most of the time, a process. One of them runs a chunk; a few
 * others are kept, warm, for when their job comes again. What they are told and what they answer is host.h;
 * what is made of it is run.c.
 */
#ifndef PMAP_HOSTS_H
#define PMAP_HOSTS_H

#include "daemon/worker/arena.h"
#include "daemon/worker/spawn.h"

#include <sys/queue.h>

struct host {
    TAILQ_ENTRY(host) link; /* the longest unused first */
    uint64_t job;           /* 0: any job of this builtin, with these options */
    char *function;
    uint32_t retries, recycle;
    struct arena_file arena;
    pid_t pid;          /* 0: no process */
    int socket, output; /* -1: none */
    bool ready;         /* the process has said so */
    bool closed;        /* the process has closed its socket */
    bool prints;        /* something has come from `output` */
    uint64_t served;    /* items that the process was given in chunks that it has ended */
    char *text;         /* what came from `output` and was not told yet; of bounded size */
    size_t text_size;
    uint64_t text_lost; /* bytes behind it that were thrown away */
};
TAILQ_HEAD(host_list, host);

/* A process whose host has no use for it any more. */
struct leaver;
LIST_HEAD(leaver_list, leaver);

struct hosts {
    struct spawn spawn;
    struct host_list list;
    struct leaver_list leavers;
    int64_t sweep_ns; /* when to look again for what hosts left behind; INT64_MAX: not */
};

void hosts_init(struct hosts *hosts, const char *folder, unsigned slot, const struct rlimit *files);
/* Kills them all, with all that came of them, and frees them. */
void hosts_end(struct hosts *hosts);

/* The host of a job, made without a process if there is none. Returns 0 or a negative errno. */
int hosts_get(struct hosts *hosts, const struct job *job, struct host **host);
/* A job is forgotten: its host may go, and gets so long to end by itself. */
void hosts_forget(struct hosts *hosts, const struct job *job, int64_t now_ns);
/* Lets those go that are too many. busy: the one that must stay, or NULL. */
void hosts_trim(struct hosts *hosts, const struct host *busy, int64_t now_ns);

/* Starts its process. Returns 0 or a negative errno. */
int host_start(struct hosts *hosts, struct host *host, const struct job *job);
/* Returns 0, or a negative errno when it does not listen any more. */
int host_send(struct host *host, enum host_message_type type, uint32_t value);
/* The next message; text: HOST_TEXT_MAX + 1 bytes, for BAD. Returns 1, 0 (none), -EPIPE (it has closed its
 * end), or -EPROTO. */
int host_receive(struct host *host, struct host_message *message, char *text);
/* Reads what it has written to stdout and stderr, as far as there is room for it. Returns whether there is
 * none left. */
bool host_read_output(struct host *host);
/* Reads and forgets what there was no room for. Returns how much that was. */
uint64_t host_throw_away_output(struct host *host);
/* What there is of it, for a note on an item. */
struct arena_text host_text(struct host *host);
/* It was told, save the last `left` bytes. */
void host_text_told(struct host *host, size_t left);

/* Kills its process, and those of its session, at once. */
void host_kill(const struct host *host);
/* Its process is to end by itself, within that time. The host gets a new arena with the next one, so there
 * must be no large item in this one. */
void host_retire(struct hosts *hosts, struct host *host, int64_t now_ns);
/* Its process is no more. */
void host_ended(struct host *host);

/* A child has ended: what came of it is killed. Returns the host whose process it was, or NULL. */
struct host *hosts_reaped(struct hosts *hosts, pid_t pid);
/* Does what is due. Returns when to call again. */
int64_t hosts_tick(struct hosts *hosts, int64_t now_ns);

#endif
