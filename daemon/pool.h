/*
 * The pool's threads: pthreads that run builtins. Each speaks the worker protocol (PROTOCOL.md) over an
 * inproc DEALER of its own, so that to the broker it is a worker like any other. They run trusted code only.
 * Never logs.
 */
#ifndef PMAPD_POOL_H
#define PMAPD_POOL_H

/* Where the broker's ROUTER for pool threads is bound, before pool_start. */
#define POOL_ENDPOINT "inproc://pool"

struct pool;

/*
 * Starts `threads` (at least 1) threads, which connect to POOL_ENDPOINT in this ZeroMQ context and say READY
 * with their numbers, 0 to threads - 1. most: of them, with those of pool_add; at least `threads`. All
 * signals must be blocked in the caller, so that they are in the threads. Returns 0, or a negative errno
 * (then no thread is left running).
 */
int pool_start(void *context, unsigned threads, unsigned most, struct pool **pool);

/* Starts one more, as the first ones, with the next number. Returns 0, or a negative errno: -ENOSPC when
 * there are as many as may be. Not in two threads at once. */
int pool_add(struct pool *pool);

/*
 * Waits for the threads, which end when they are told STOP or the context is shut down, and frees the pool.
 * NULL is accepted.
 */
void pool_join(struct pool *pool);

#endif
