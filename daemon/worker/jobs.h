/* The jobs that the daemon has told this worker of, and what their functions need. */
#ifndef PMAP_JOBS_H
#define PMAP_JOBS_H

#include "common/call.h"
#include "common/protocol.h"
#include "daemon/worker/host.h"

#include <sys/queue.h>

/* Over what a host says why: a little for words around it. */
enum { JOB_TEXT_MAX = HOST_TEXT_MAX + 256 };

struct job {
    LIST_ENTRY(job) link;
    unsigned refs; /* the list's, until FORGET, and one for each chunk */
    uint64_t id;
    uint32_t kind; /* enum function_kind */
    char *function;
    struct job_options options;
    int64_t kill_grace_ns;
    uint64_t spool;
    uint32_t threads; /* that one slot may run; 0: unknown */
    struct call call;
    char *failure; /* why none of its items can be run; NULL: so far they can */
    bool failure_told;
};
LIST_HEAD(job_list, job);

/* Takes a JOB message with its call. Returns 0, -EEXIST (there is one of that number), or -ENOMEM. A call
 * that makes no sense is the job's failure. */
int job_add(struct job_list *jobs, const struct message *m, const void *call, size_t call_size);
/* The job of that number, or NULL. */
struct job *job_find(const struct job_list *jobs, uint64_t id);
/* The list lets it go. */
void job_forget(struct job *job);
struct job *job_ref(struct job *job);
void job_unref(struct job *job);

/* Says why it cannot be run, unless that was said before. The text is made fit for a message. */
void job_fail(struct job *job, const char *text);

/* Is its host pmap-exec, in which no user's code runs? */
bool job_is_exec(const struct job *job);

/* The value of a variable of the submitter's environment, or NULL. */
const char *job_env(const struct job *job, const char *name);

#endif
