/*
 * The call: what a function that runs in processes needs beside its name, and the state of the submitter's
 * process that its own are to have. It travels in the second frame of OPEN and of JOB: one MessagePack map,
 * encoded and decoded here and nowhere else. The daemon passes it on unread. Nothing in it is a privilege: a
 * worker process can only do with it what its user may do anyway.
 *
 * Thread-safety: none; a struct call belongs to one thread at a time. Never logs, never exits.
 */
#ifndef PMAP_CALL_H
#define PMAP_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A limit as setrlimit(2) numbers it on this machine; UINT64_MAX is "unlimited". */
struct call_rlimit {
    uint32_t resource;
    uint64_t soft, hard;
};
enum { CALL_RLIMITS_MAX = 32, CALL_CPUS_MAX = 1024 /* bytes of the mask */ };

struct call {
    /*
     * "argv": command, filter, pipe: the program and its arguments, in which the placeholders stand. python:
     * one, the expression, or "FILE:FUNCTION" where `file` says so. module: the absolute path of the shared
     * object; the name of its function is the job's. NULL-terminated; argc strings.
     */
    char **argv;
    size_t argc;
    char *cwd;  /* "cwd": absolute */
    char **env; /* "env": NAME=VALUE, NULL-terminated; env_count strings */
    size_t env_count;
    uint32_t umask;                               /* "umask" */
    int32_t nice;                                 /* "nice": -20 … 19 */
    uint8_t cpus[CALL_CPUS_MAX];                  /* "cpus": bit i of byte i / 8 is CPU 8 * (i / 8) + i % 8 */
    size_t cpus_size;                             /* 0: as the worker's */
    struct call_rlimit rlimits[CALL_RLIMITS_MAX]; /* "rlimits": an array of [resource, soft, hard] */
    size_t rlimit_count;
    uint64_t ignored, blocked; /* "ignored", "blocked": bit n - 1 is signal n */
    bool fields;               /* "fields": an item is several arguments with NUL between them */
    bool file;                 /* "file": python: argv[0] is "FILE:FUNCTION" */
    char *placeholder;         /* "placeholder": what stands for an item, in place of {} */
    char *type;                /* "type": of typed arrays: "" (none), i64, u64, f64, i32 … */
    bool raw;                  /* "raw": typed items are values in memory's form, not text */
};

/* Makes *call empty: no strings, placeholder NULL (which is "{}"), type NULL (none). */
void call_init(struct call *call);

/* Frees what it holds and makes it empty. NULL is accepted. */
void call_free(struct call *call);

/*
 * Takes cwd, environment, umask, nice, CPUs, limits and signals from this process. Where there is no /proc it
 * reads the umask by setting it and setting it back: then no other thread should make files meanwhile.
 * Returns 0, -ENOENT (the working directory is gone), another negative errno, or -ENOMEM; what was taken by
 * then stays in *call.
 */
int call_capture(struct call *call);

/* Replaces argv by a copy of `argc` strings. Returns 0 or -ENOMEM. */
int call_set_argv(struct call *call, const char *const *argv, size_t argc);

/*
 * Encodes into memory from malloc. Returns 0, -ENOMEM, or -EMSGSIZE (over PROTOCOL_CALL_MAX: the arguments or
 * the environment are too large).
 */
int call_encode(const struct call *call, void **data, size_t *size);

/*
 * Decodes strictly: a map whose keys are all known and come once, strings without NUL, cwd absolute, every
 * "env" with a '=', at most the counts above; what is left out is empty. *call need not be initialised; it is
 * set only on success, give it to call_free then. Returns 0, -EPROTO (*why says what, a constant text) or
 * -ENOMEM.
 */
int call_decode(const void *data, size_t size, struct call *call, const char **why);

#endif
