/*
 * The daemon's life in a history: it is given another configuration while jobs run, and it is stopped and
 * comes back, with a new core that knows of nothing. Drawn from a stream of its own, so that all else in the
 * history of a seed is as it would be without.
 */
#ifndef SIM_LIFE_H
#define SIM_LIFE_H

#include "tests/sim/daemon.h"

/* What the core is told, where a fault has it so something else than what holds. */
struct core_config life_config(const struct world *world);

/* Draws what will happen. */
void life_plan(struct world *world);

/* After each turn of a daemon that stops: tells clients, and begins anew when nothing is left. */
void life_turn(struct world *world);

/* The daemon stops, and takes no session. */
void life_refuse(struct world *world, struct connection *connection);

#endif
