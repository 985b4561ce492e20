/*
 * Callees: what a job applies to its items, as the core holds it for the broker (job_request.function). A
 * builtin that threads run is its entry in the table of builtins and nothing else; what runs in processes has
 * one of these, made at OPEN and given back by ACTION_OVER. Broker's thread only.
 */
#ifndef PMAPD_CALLEE_H
#define PMAPD_CALLEE_H

#include "common/protocol.h"
#include "daemon/functions/functions.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

/* Bytes of calls (argv, environment …) that the open jobs of one uid may hold in all. */
enum { CALLEE_BYTES_MAX = 64 << 20 };

struct callee {
    struct function function; /* first: only its name is set */
    LIST_ENTRY(callee) link;
    enum function_kind kind;
    struct job_options options;
    uid_t uid;      /* whose job it is */
    uint64_t spool; /* bytes on disk that its worker may use for outputs that wait */
    void *call;     /* the call frame; call_size bytes */
    size_t call_size;
};

struct callee_account; /* what one uid holds: private to callee.c */
struct callees {       /* empty when all its bytes are 0 */
    struct callee_account *accounts;
    LIST_HEAD(, callee) list;
};

/*
 * Makes one, with copies of the name and the call. Returns 0, -EDQUOT (CALLEE_BYTES_MAX) or -ENOMEM.
 */
int callee_new(struct callees *callees, uid_t uid, struct text name, const void *call, size_t call_size,
               struct callee **out);

/* NULL is accepted. */
void callee_free(struct callees *callees, struct callee *callee);

/* Frees all that are left: the core must have been freed. */
void callees_free(struct callees *callees);

/* The callee of a job's function; NULL: it is a builtin, for threads. */
struct callee *callee_of(const void *function);

#endif
