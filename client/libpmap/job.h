/*
 * The inside of a pmap_job: what its connection tells it. Of no use outside this folder.
 */
#ifndef PMAP_JOB_H
#define PMAP_JOB_H

#include "client/libpmap/connection.h"
#include "client/libpmap/fate.h"
#include "client/libpmap/flow.h"
#include "client/libpmap/pmap.h"
#include "common/stats.h"

enum job_end { JOB_RUNS = 0, JOB_DONE, JOB_CANCELLED, JOB_FAILED };

/* What came of one OPEN, as far as it is known here: of a daemon that is lost there is no report. */
struct job_tally {
    uint64_t messages; /* of results: about the chunks */
    uint64_t retried, cpu_ns;
    double began_ns; /* sum of the items' times when it was sent */
};

struct pmap_job {
    TAILQ_ENTRY(pmap_job) link;
    struct pmap *pool;
    uint64_t ref;
    uint32_t kind; /* enum function_kind */
    char *function;
    struct text call; /* OPEN's second frame, of malloc's memory; NULL for a plain builtin */
    struct job_options options;
    struct flow *flow;
    uint64_t gathered; /* about what was put since the flow was last asked for messages */

    enum job_end end; /* as the daemon said, or pmap_cancel; results may still have to be taken */
    bool cancelled;   /* by pmap_cancel */
    bool held;        /* by pmap_hold */
    bool reported;    /* the daemon has told its report */
    bool in_pieces;   /* a piece of a large result was taken, and not its last */

    struct received_list results; /* that came and were not taken wholly */
    uint32_t record;              /* the next one to take, in the first of them */
    uint32_t note;                /* the next note of that message */
    size_t offset;                /* of the record's bytes */
    size_t note_text;             /* of that note's text */
    uint32_t noted;               /* the record that it is about; UINT32_MAX: no more notes */
    unsigned error_code;          /* why the job failed */
    char *error_text;
    struct fate fate; /* of the item that is being taken */
    /* With options.trace: where and when the next record of that message was made; slot 0: not known. */
    unsigned slot;
    uint64_t began_ns;

    uint64_t id; /* the daemon's number */
    struct job_report report;
    int64_t piece_ns;   /* time of the pieces of a large result so far */
    struct stats times; /* of the items, but those of the message that is being taken */
    uint32_t timed;     /* records of that message that are in `times` already: 1 after pieces, else 0 */
    uint64_t taken, failed;
    uint64_t broken; /* that failed, and not because they were given up or never begun */
    uint64_t bytes_in, bytes_out;
    int64_t open_ns, first_ns, last_ns; /* OPEN sent, first result taken, last one dealt with; 0: not yet */

    /* Over a lost daemon; see resume.c. */
    unsigned losses;     /* after which it is opened anew */
    bool parked;         /* its OPEN has to wait: until again_ns, or (INT64_MAX) for another daemon */
    int64_t again_ns;    /* when parked */
    struct range *begun; /* of a job with options.once: what the daemon says is not to be run again … */
    uint32_t begun_count;
    bool halted;      /* nothing more of it is to be run: an item failed, and then the daemon was lost */
    size_t err_given; /* bytes of stderr of a result in pieces that were taken */
    size_t err_skip;  /* of them, those that come again and have not come yet */
    struct job_tally tally;   /* since OPEN was last sent */
    struct job_report before; /* the OPENs before that, together: chunks, retried, run_ns, cpu_ns */
};

/* Sends what the flow says is due. Returns 0 or the connection's error. */
int job_pump(struct pmap_job *job);

/* What the daemon says. They return 0 or an error that is the connection's, by pool_fail. */
int job_opened(struct pmap_job *job, const struct message *m);
int job_credit(struct pmap_job *job, const struct message *m);
/* Takes *r over, and makes it NULL, where it holds results to be taken. */
int job_results(struct pmap_job *job, const struct message *m, struct received **r);
int job_done(struct pmap_job *job, const struct job_report *report);
int job_refused(struct pmap_job *job, const struct message *m);
int job_begun(struct pmap_job *job, const struct message *m);

/*** Over a lost daemon (resume.c) ***/

/*
 * The session is lost, or has ended this job for a reason that passes (parked or not is its caller's): what
 * has come of it stays to be taken, and the rest is to be asked for anew. told: the daemon has told what it
 * had begun; else that may be all that was sent. Returns 0 or the connection's error.
 */
int job_lost(struct pmap_job *job, bool told);

/* Was it refused for a reason that passes, so that it will be opened again? *rc: 0 or the connection's error.
 */
bool job_is_put_off(struct pmap_job *job, unsigned code, int *rc);

/*
 * Before what the flow has to say of a job that may have been opened before. Returns 1 to go on, 0 when
 * nothing may be sent for now, or the connection's error.
 */
int job_ready(struct pmap_job *job);

/* OPEN is about to be sent again. */
void job_opens_anew(struct pmap_job *job);

/* The flow is to know of a message of results that is dealt with, or will be whatever happens. Returns 0 or
 * the connection's error. */
int job_account(struct pmap_job *job, struct received *r);

/* Puts a message of results behind the others. */
void job_append(struct pmap_job *job, struct received *r);

#endif
