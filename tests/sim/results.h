/*
 * Each result that a client takes is the right one, in its place, once; and so is what is said at the end.
 */
#ifndef SIM_RESULTS_H
#define SIM_RESULTS_H

#include "tests/sim/client.h"

/* The client takes one record of the packet, or a piece of one, and has the flow know it. */
void results_take(struct world *world, struct sim_job *job, const struct packet *packet, uint32_t record,
                  const uint8_t *data, uint32_t size);

/* The job has ended with this report. */
void results_done(struct world *world, struct sim_job *job, const struct job_report *report);

#endif
