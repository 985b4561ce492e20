/*
 * What a seed means: who is in a history, what they want, and how they behave.
 */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "tests/sim/client.h"
#include "tests/sim/worker.h"

/* Draws owners, workers, clients and jobs, and schedules their beginning. */
void plan_random(struct world *world);

/*
 * Backlogged owners of different weights on a pool: runs for some time, then compares the shares of slot
 * time. Breaks "fair share" where one is off by more than 2 %.
 */
void fair_run(struct world *world);

/* A process of this owner, or (NULL) a thread, has started. */
void plan_worker(struct world *world, struct owner *owner);

/* A worker with the behaviour of a thread; its owner is the world. */
struct worker_model *worker_new(struct world *world);
/* A client of this owner with room for so many jobs; its owner is the world. */
struct client *client_new(struct world *world, struct owner *owner, unsigned jobs);
/* Call when job->work is known. */
void job_prepare(struct sim_job *job);

#endif
