/* What the files of daemon/core do for each other, and for nobody else. */
#ifndef PMAP_CORE_INTERNAL_H
#define PMAP_CORE_INTERNAL_H

#include "daemon/core/state.h"

/*** core.c ***/

void *spare_take(struct spare *spare); /* zeroed; NULL when memory is short */
void spare_give(struct spare *spare, void *object);

/* Zeroed memory from the start of a line of the cache on, for free(); NULL when it is short. */
void *allocate_lines(size_t size);
/* Lets go what the last action pointed to: first in each function that the broker calls. */
void settle_last_action(struct core *core);

/*** order.c: who is next ***/

/* The job is opened, and has its place among its owner's others of this priority. Returns 0 or -ENOMEM. */
int order_join(struct job *job, int32_t priority);
/* It will not be runnable again. */
void order_leave(struct job *job);
/* Who has that share. */
struct owner *order_owner(struct share *share);
struct job *order_job(struct share *share);

/* Puts the job among its owner's runnable ones, and the owner among the core's, or takes them out, as their
 * state has it now. */
void order_update(struct core *core, struct job *job, int64_t now_ns);
/* The same for all jobs: what they may use has changed. */
void order_update_all(struct core *core, int64_t now_ns);
/* The same where nothing of a job has changed but its items and results: a chunk of it was cut, or answered.
 */
void order_ran(struct core *core, struct job *job, int64_t now_ns);
/* Is there nobody whose key tells anything? Jobs of owners at their cap wait among themselves. */
static inline bool order_is_alone(const struct core *core)
{
    return core->runnable_jobs <= 1 && core->held_up_owners == 0;
}
/* Both have another place in the order than before: a later one, or an earlier one. */
void order_move_back(struct core *core, struct job *job, int64_t now_ns);
void order_move_on(struct core *core, struct job *job, int64_t now_ns);
/* A chunk of the job was given to a worker: others come before it and its owner now. */
static inline void order_served(struct core *core, struct job *job, int64_t now_ns)
{
    if (!order_is_alone(core))
        order_move_back(core, job, now_ns);
}
/* Less is charged to both, or waits for them, than before. More of it need not be told; see share.h. */
static inline void order_moved(struct core *core, struct job *job, int64_t now_ns)
{
    if (!order_is_alone(core))
        order_move_on(core, job, now_ns);
}
/* The job whose turn it is, or NULL. */
struct job *order_pick(struct core *core, int64_t now_ns);
/* The same among the jobs of this owner alone. */
struct job *order_pick_of(struct owner *owner, int64_t now_ns);
/* Could a chunk be cut from it, caps on slots and want of workers left aside? */
bool order_has_work(const struct core *core, const struct job *job);
/* Is what would be cut next its head? There is something (queued_items > 0). */
bool order_next_is_head(const struct job *job);
/* May it not be run twice, and is there something before what was begun of it? Without that the results
 * behind could not go out, so it is begun also by a daemon that stops. */
bool order_has_gap(const struct job *job);
/* The job, whose turn it was, has to wait until a worker of its crew is idle. */
void order_starve(struct core *core, struct job *job, int64_t now_ns);
/* A worker of this crew is idle: its jobs wait no longer. */
void order_feed(struct core *core, struct crew *crew, int64_t now_ns);
/* Do as many workers hold a chunk of it, or of this owner's, as may? */
bool order_capped(const struct job *job);
bool order_owner_capped(const struct owner *owner);
/* Puts the owner among the core's runnable ones, or takes it out, as its jobs and its cap have it now. */
void order_owner_update(struct core *core, struct owner *owner, int64_t now_ns);
/* It has another weight or cap than before. */
void order_owner_changed(struct core *core, struct owner *owner, int64_t now_ns);
/* Slots that it may use at most. */
uint32_t order_slots(const struct core *core, const struct job *job);

/*** guarantee.c: who has waited for too long ***/

/* What the owner has to do, or what runs of it, has changed: has it work and nothing running? */
void guarantee_look(struct core *core, struct owner *owner, int64_t now_ns);
/* The job of an owner that is to have a slot above the pool's number now, and an idle worker for it; NULL
 * when there is none. */
struct job *guarantee_pick(struct core *core, struct worker **worker, int64_t now_ns);
/* When guarantee_pick may find one at the earliest. */
int64_t guarantee_deadline(const struct core *core);

/*** job.c: its life, and what goes out ***/

/* Adds the job to the outbox. */
void job_tell(struct core *core, struct job *job);
/* The next thing to tell its session; false: nothing now. */
bool job_next(struct core *core, struct job *job, struct action *action, int64_t now_ns);
/* Its session is gone, or has had DONE(cancelled): what is at workers is dropped, and it is freed with the
 * last of that. */
void job_orphan(struct core *core, struct job *job, int64_t now_ns);
/* Nothing of it is at a worker: frees it, or has that told first. */
void job_free(struct core *core, struct job *job);
/* Frees its memory. */
void job_destroy(struct job *job);

/*** input.c: what the client may send, and what has come ***/

/* The job is opened: its owner is known, nothing has come. Returns 0 or -ENOMEM. */
int input_begin(struct core *core, struct job *job, const struct job_request *request);
/* Items of this cost have been delivered: their credit is owed, which input_settle gives back. */
void input_delivered(struct core *core, struct job *job, uint64_t cost);
/* Gives credit back for what was delivered, or more of it for a large item: tells the session when it is
 * time.
 */
void input_settle(struct core *core, struct job *job);
/* The credit that is to be given back now; false: none. */
bool input_next_credit(struct job *job, struct action *action);
/* Gives each owner's first job whose large item had to wait more credit, where the limits allow it now. */
void input_try_refused(struct core *core);
/* Drops what no worker holds. */
void input_drop(struct core *core, struct job *job);
/* The job is over: others may have its window. */
void input_end(struct core *core, struct job *job);

/*** cut.c: from segments to chunks and back ***/

void cut_add_queued(struct core *core, struct job *job, uint64_t count);
void cut_sub_queued(struct core *core, struct job *job, uint64_t count);
/* Has an exact job as many items as a chunk of it must have, or as it will get? */
bool cut_is_due(const struct job *job);
/* How many items the next chunk of the job, which has some, can have at most: what is left of a batch, and of
 * that about CHUNK_BYTES_MAX. */
uint32_t cut_most(const struct job *job);
/*
 * Cuts the next chunk's items off the job, which has some (queued_items > 0): `chunk` gets first, items and
 * deaths. count: how many at most, if the job is not exact. Returns 0 or -ENOMEM.
 */
int cut_next(struct core *core, struct job *job, uint32_t count, struct chunk *chunk);
/* The chunk's items without a result are to be cut anew, before all that is behind them; so many workers have
 * died on the first of them. */
void cut_hand_back(struct core *core, struct chunk *chunk, uint32_t deaths);
/* Leaves the first `count` of the chunk's items without a result to it, and hands the others back. Returns 0
 * or -ENOMEM. */
int cut_shorten(struct core *core, struct chunk *chunk, uint32_t count);
/* The first segment becomes a chunk that no worker has, for results that need none; NULL when memory is
 * short. */
struct chunk *cut_void(struct core *core, struct job *job);
/* The next `count` items of the chunk without a result. */
struct slice cut_unanswered(const struct chunk *chunk, uint32_t count);

/*** halt.c: jobs that stop before their end ***/

/* Has one of the results failed by itself? */
bool halt_is_due(const struct batch *results);
/* Nothing of the job is begun any more. */
void halt_job(struct core *core, struct job *job, int64_t now_ns);
/* What waits in segments of a halted job is answered. */
void halt_queued(struct core *core, struct job *job, int64_t now_ns);
/* The rest of a halted job's chunk, which its worker has handed back, is answered. Returns 0 or -ENOMEM. */
int halt_rest(struct core *core, struct chunk *chunk);

/*** results.c: ordering ***/

/* Results of the next records of a chunk, whose items cost input_cost. 0 or -ENOMEM. */
int results_add(struct core *core, struct chunk *chunk, struct batch *batch, uint64_t input_cost);
/* The next `count` items of the chunk, which its worker no longer answers, fail: a note of this kind says
 * why. 0 or -ENOMEM: then some may have. */
int results_fail(struct core *core, struct chunk *chunk, uint32_t count, uint16_t kind, const char *why);
/* Moves what may go out now to the job's ready list, and frees chunks that are through. changed: the chunk
 * that has more results, or has had its worker's last word. */
void results_flush(struct core *core, struct job *job, struct chunk *changed);
/* The next message of results, into *action; false when there is none or no credit for it. */
bool results_next(struct core *core, struct job *job, struct action *action);
/* Drops what is ready, or what a chunk has. */
void results_drop_ready(struct core *core, struct job *job);
void results_drop_chunk(struct core *core, struct chunk *chunk);

/*** grants.c: credit for what processes answer ***/

/* The chunk goes to a process. */
void grants_begin(struct core *core, struct chunk *chunk);
/* It is begun: its credit counts. */
void grants_count(struct chunk *chunk);
/* Its worker has sent results. */
void grants_use(struct chunk *chunk, uint64_t cost);
/* Its worker will send no more. */
void grants_end(struct core *core, struct chunk *chunk);
/* Gives the job's chunks what they may have now. */
void grants_look(struct core *core, struct job *job);
/* ACTION_GRANT, when one is due. */
bool grants_next(struct core *core, struct action *action);

/*** lend.c: slots that are lent to running chunks ***/

/* The chunk, of a job with a jobserver, has taken its slot; or is about to give it up, and all that it
 * borrowed with it. */
void lend_begin(struct core *core, struct chunk *chunk);
void lend_end(struct core *core, struct chunk *chunk, int64_t now_ns);
/* Lends what is free, or calls back what somebody waits for. */
void lend_look(struct core *core, int64_t now_ns);
/* ACTION_LEND, when one is due. */
bool lend_next(struct core *core, struct action *action);
/* For core_check: NULL, or what is wrong. */
const char *lend_check(const struct core *core);

/*** workers.c: crews, and which of their workers is there for whom ***/

void crew_init(struct crew *crew);
/* Slots: chunks that may run at once. */
static inline uint32_t slots_of(const struct core *core)
{
    return core->config.slots != 0 ? core->config.slots : core->threads.workers;
}

static inline bool slot_free(const struct core *core)
{
    return core->running < slots_of(core);
}

/* Chunks that may run with those of the guarantee. */
static inline uint32_t slots_most(const struct core *core)
{
    uint32_t above = core->config.guarantee_max != 0 ? core->config.guarantee_max : slots_of(core);
    return slots_of(core) + (core->config.guarantee_after_ns != 0 ? above : 0);
}

/* Chunks that the job's queued items could make now, at most. */
uint64_t chunks_left(const struct job *job);
/* Is there a worker that has nothing to do and may run what would be cut next of the job? */
bool worker_for(const struct job *job);
/* The one that suits best; NULL when there is none. */
struct worker *worker_choose(struct core *core, const struct job *job);
/* Should another worker of this crew be started, the delay after failures left aside? */
bool start_is_wanted(const struct core *core, const struct crew *crew);
/* Puts the worker into the list where it belongs now. */
void worker_relist(struct core *core, struct worker *worker, int64_t now_ns);
/* ACTION_START and ACTION_STOP, when one is due. */
bool workers_next(struct core *core, struct action *action, int64_t now_ns);
/* When time alone makes something of workers due. */
int64_t workers_deadline(const struct core *core);
/* The number of slots is another one: lets those go that rest and are too many for it. */
void workers_configured(struct core *core, int64_t now_ns);
/* Lets those go that have rested for long. */
void workers_tick(struct core *core, int64_t now_ns);
/* It is no longer there. */
void worker_forget(struct core *core, struct worker *worker, int64_t now_ns);
/* Frees all that is left of workers and crews. */
void workers_free(struct core *core);

/*** chunks.c: what workers do ***/

void chunk_free(struct core *core, struct chunk *chunk);
/* Puts it into its job's list. */
void chunk_insert(struct job *job, struct chunk *chunk);
/* Takes it out of its worker's queue, whose next chunk starts if this one ran. correct: its run_ns is the
 * whole truth. */
void chunks_leave_queue(struct core *core, struct chunk *chunk, bool correct, int64_t now_ns);
/* Takes it off its worker, whose last word on it has come. */
void chunks_leave_worker(struct core *core, struct chunk *chunk, bool correct, int64_t now_ns);

/* Cuts the next chunk and gives it to a worker; NULL when none is due. */
struct chunk *chunks_dispatch(struct core *core, int64_t now_ns);
/* Asks for something to be sent to the chunk's worker, unless something as strong was. */
void chunks_control(struct core *core, struct chunk *chunk, enum control control);
/* Has all that runs and could stop between two items looked at soon. */
void chunks_look_soon(struct core *core, int64_t now_ns);
/* The worker is not looked at any more. */
void chunks_stop_looking(struct core *core, struct worker *worker);
/* Asks for all that the job has at workers: what was begun is to stop where it can, the rest to come back. */
void chunks_call_back(struct core *core, struct job *job);

#endif
